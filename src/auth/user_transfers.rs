//! Limits on the transfers of each user: how many run at the same time, and how fast.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::auth::options::UserOptions;
use crate::data::rate::{RateLimiter, Throttle};
use crate::events::Direction;

/// Counts the transfers of each user, and shares out their rates. Share it in an `Arc`.
#[derive(Debug, Default)]
pub struct TransferLimiter {
    /// The lock is held for a look-up only.
    users: Mutex<TransfersByUser>,
}

#[derive(Debug, Default)]
struct TransfersByUser {
    /// Those with a transfer, and those whose rates are not as new.
    by_name: HashMap<String, UserLoad>,
    /// Unused entries are removed when there are more than this number.
    prune_above: usize,
}

/// The transfers of one user.
#[derive(Debug, Default)]
struct UserLoad {
    running: usize,
    upload: Option<Arc<RateLimiter>>,
    download: Option<Arc<RateLimiter>>,
}

/// The permit of one transfer; given back on drop.
#[derive(Debug)]
pub struct TransferPermit {
    limiter: Arc<TransferLimiter>,
    user: String,
    /// What holds the transfer to the user's rate.
    pub throttle: Throttle,
}

/// The user has the largest number of transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransfersFull {
    /// That number.
    pub limit: usize,
}

impl TransferLimiter {
    /// Returns a permit for one more transfer of the user.
    ///
    /// # Errors
    ///
    /// The user has reached the limit.
    pub fn begin(
        self: &Arc<Self>,
        user: &UserOptions,
        direction: Direction,
    ) -> Result<TransferPermit, TransfersFull> {
        let mut users = self.users();
        users.prune();
        let load = match users.by_name.get_mut(&user.name) {
            Some(load) => load,
            None => users.by_name.entry(user.name.clone()).or_default(),
        };
        let limit = user.limits.transfers.unwrap_or(usize::MAX);
        if load.running >= limit {
            return Err(TransfersFull { limit });
        }
        load.running += 1;
        let throttle = load.throttle(user, direction);
        drop(users);
        Ok(TransferPermit {
            limiter: Arc::clone(self),
            user: user.name.clone(),
            throttle,
        })
    }

    fn users(&self) -> MutexGuard<'_, TransfersByUser> {
        // Each step leaves it whole.
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TransfersByUser {
    /// Removes entries without a use, now and then: each costs a constant time.
    fn prune(&mut self) {
        if self.by_name.len() > self.prune_above {
            self.by_name.retain(|_, load| !load.is_unused());
            self.prune_above = 2 * self.by_name.len() + 16;
        }
    }
}

impl UserLoad {
    /// The user's rate may have changed since the last transfer began.
    fn throttle(&mut self, user: &UserOptions, direction: Direction) -> Throttle {
        let (limiter, rate) = match direction {
            Direction::In => (&mut self.upload, user.limits.upload_rate),
            Direction::Out => (&mut self.download, user.limits.download_rate),
        };
        let Some(rate) = rate else {
            *limiter = None;
            return Throttle::none();
        };
        let limiter = limiter.get_or_insert_with(|| Arc::new(RateLimiter::new(rate)));
        limiter.set_rate(rate);
        Throttle::by(Arc::clone(limiter))
    }

    fn is_unused(&self) -> bool {
        let mut limiters = [&self.upload, &self.download].into_iter().flatten();
        self.running == 0 && limiters.all(|limiter| limiter.is_unused())
    }
}

impl Drop for TransferPermit {
    fn drop(&mut self) {
        // What it has reserved goes to the others first.
        self.throttle = Throttle::none();
        let mut users = self.limiter.users();
        if let Some(load) = users.by_name.get_mut(&self.user) {
            load.running -= 1;
            // A rate that is not as new must be remembered: else a client could begin anew with
            // each of its files.
            if load.is_unused() {
                users.by_name.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures::FutureExt;

    use super::*;
    use crate::auth::options::UserLimits;

    fn user(name: &str, limits: UserLimits) -> UserOptions {
        UserOptions {
            limits,
            ..UserOptions::new(name)
        }
    }

    #[test]
    fn each_user_has_a_limit_and_gets_permits_back() {
        let limiter = Arc::new(TransferLimiter::default());
        let two = UserLimits {
            transfers: Some(2),
            ..UserLimits::default()
        };
        let (anna, bert) = (user("anna", two), user("bert", UserLimits::default()));
        let mut held = vec![
            limiter.begin(&anna, Direction::In).unwrap(),
            limiter.begin(&anna, Direction::Out).unwrap(),
        ];
        let full = limiter.begin(&anna, Direction::In).unwrap_err();
        assert_eq!(full, TransfersFull { limit: 2 });
        let berts: Vec<_> = (0..100)
            .map(|_| limiter.begin(&bert, Direction::In).unwrap())
            .collect();
        held.pop();
        held.push(limiter.begin(&anna, Direction::In).unwrap());
        drop((held, berts));
        assert!(
            limiter.users().by_name.is_empty(),
            "users without transfers are forgotten"
        );
    }

    #[tokio::test]
    async fn a_rate_outlives_the_transfers_that_have_used_it_up() {
        let limiter = Arc::new(TransferLimiter::default());
        let slow = UserLimits {
            upload_rate: Some(10),
            ..UserLimits::default()
        };
        let anna = user("anna", slow);
        // One file after the other does not begin with a new bucket each.
        let mut moved = 0;
        for _ in 0..100 {
            let mut permit = limiter.begin(&anna, Direction::In).unwrap();
            if let Some(most) = permit.throttle.wait().now_or_never() {
                permit.throttle.moved(most);
                moved += most;
            }
            let other = limiter.begin(&anna, Direction::Out).unwrap();
            assert!(!other.throttle.is_limited());
        }
        assert!((6..50).contains(&moved), "{moved}");
        assert_eq!(limiter.users().by_name.len(), 1);
        // Another user has another one.
        let mut bert = limiter.begin(&user("bert", slow), Direction::In).unwrap();
        assert!(bert.throttle.wait().now_or_never().is_some());
    }

    #[test]
    fn rates_that_are_as_new_are_forgotten_in_time() {
        let limiter = Arc::new(TransferLimiter::default());
        let anna = user("anna", UserLimits::default());
        for n in 0..100 {
            let unused = UserLoad {
                upload: Some(Arc::new(RateLimiter::new(1))),
                ..UserLoad::default()
            };
            limiter.users().by_name.insert(format!("u{n}"), unused);
        }
        let _permit = limiter.begin(&anna, Direction::In).unwrap();
        assert_eq!(limiter.users().by_name.len(), 1);
    }

    #[tokio::test]
    async fn a_rate_that_has_changed_counts_for_transfers_that_run() {
        let limiter = Arc::new(TransferLimiter::default());
        let rate = |rate| UserLimits {
            download_rate: rate,
            ..UserLimits::default()
        };
        let begin = |limits| {
            limiter
                .begin(&user("anna", limits), Direction::Out)
                .unwrap()
        };
        let mut first = begin(rate(Some(1000)));
        let _second = begin(rate(Some(5000)));
        assert_eq!(first.throttle.wait().await, 500);
        let third = begin(rate(None));
        assert!(!third.throttle.is_limited());
    }
}
