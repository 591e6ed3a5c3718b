//! Limits on the sessions of each user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::auth::options::UserOptions;

/// Counts the sessions of each user. Share it in an `Arc`.
#[derive(Debug)]
pub struct UserLimiter {
    /// For users without a limit of their own.
    limit: Option<usize>,
    /// Users without sessions are not in it. The lock is held for a look-up only.
    held: Mutex<HashMap<String, usize>>,
}

/// The permit of one session of a user; given back on drop.
#[derive(Debug)]
pub struct UserPermit {
    limiter: Arc<UserLimiter>,
    user: String,
}

impl UserLimiter {
    /// Creates it with this limit for users without one of their own; `None`: no limit.
    pub fn new(limit: Option<usize>) -> Self {
        UserLimiter {
            limit,
            held: Mutex::default(),
        }
    }

    /// Returns a permit for one more session of the user; `None` if the user has reached the limit.
    pub fn enter(self: &Arc<Self>, user: &UserOptions) -> Option<UserPermit> {
        let limit = user.sessions.or(self.limit).unwrap_or(usize::MAX);
        let mut held = self.held();
        let sessions = held.get(&user.name).copied().unwrap_or(0);
        if sessions >= limit {
            return None;
        }
        held.insert(user.name.clone(), sessions + 1);
        drop(held);
        Some(UserPermit {
            limiter: Arc::clone(self),
            user: user.name.clone(),
        })
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        // Each step leaves it whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UserPermit {
    fn drop(&mut self) {
        let mut held = self.limiter.held();
        if let Some(sessions) = held.get_mut(&self.user) {
            *sessions -= 1;
            if *sessions == 0 {
                held.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn user(name: &str, sessions: Option<usize>) -> UserOptions {
        UserOptions {
            sessions,
            ..UserOptions::new(name)
        }
    }

    #[test]
    fn each_user_has_a_limit_and_gets_permits_back() {
        let limiter = Arc::new(UserLimiter::new(Some(1)));
        let (anna, bert) = (user("anna", None), user("bert", Some(2)));
        let first = limiter.enter(&anna).unwrap();
        assert!(limiter.enter(&anna).is_none());
        let berts = [limiter.enter(&bert).unwrap(), limiter.enter(&bert).unwrap()];
        assert!(limiter.enter(&bert).is_none());
        drop(first);
        let _again = limiter.enter(&anna).unwrap();
        drop(berts);
        assert_eq!(
            limiter.held().len(),
            1,
            "users without sessions are forgotten"
        );
    }

    #[test]
    fn without_a_limit_there_is_none() {
        let limiter = Arc::new(UserLimiter::new(None));
        let held: Vec<_> = (0..1000)
            .map(|_| limiter.enter(&user("anna", None)))
            .collect();
        assert!(held.iter().all(Option::is_some));
    }
}
