//! When each user has last uploaded a file: for an alert if a partner's daily file does not come.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use lru::LruCache;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// The last uploads of a bounded number of users. If it is full, the user goes whose last upload is
/// the oldest.
#[derive(Debug)]
pub(super) struct LastUploads(Mutex<LruCache<Arc<str>, f64>>);

impl LastUploads {
    pub(super) fn new(users: NonZeroUsize) -> LastUploads {
        LastUploads(Mutex::new(LruCache::sparse(users)))
    }

    pub(super) fn note(&self, user: &str, time: Timestamp) {
        let seconds = time.as_duration().as_secs_f64();
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match users.get_mut(user) {
            Some(last) => *last = seconds,
            None => drop(users.put(user.into(), seconds)),
        }
    }

    fn all(&self) -> Vec<(Arc<str>, f64)> {
        let users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = users.iter();
        all.map(|(user, last)| (Arc::clone(user), *last)).collect()
    }
}

impl Collector for LastUploads {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let all = self.all();
        if all.is_empty() {
            return Ok(());
        }
        let mut metric = encoder.encode_descriptor(
            "last_upload_timestamp",
            "When the user has last uploaded a file, since 1970",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        for (user, seconds) in all {
            metric
                .encode_family(&[("user", user)])?
                .encode_gauge(&seconds)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_user_with_the_oldest_upload_makes_room() {
        let last = LastUploads::new(NonZeroUsize::new(2).unwrap());
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        for (user, seconds) in [("ann", 1), ("bob", 2), ("ann", 3), ("cem", 4)] {
            last.note(user, at(seconds));
        }
        let mut all = last.all();
        all.sort_by(|a, b| a.1.total_cmp(&b.1));
        assert_eq!(all, [("ann".into(), 3.0), ("cem".into(), 4.0)]);
    }
}
