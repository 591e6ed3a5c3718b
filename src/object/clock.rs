//! [`StoreClock`]: the store's clock, from its answers. The machine's clock decides nothing in the
//! store.

use std::sync::{Mutex, PoisonError};

use aws_sdk_s3::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::object::error::http_date;

/// If answers are this much older than expected, the store's clock was set back, milliseconds.
const SET_BACK: i64 = 2000;

/// The best guess is made anew after this time, milliseconds: our clock may run faster than the
/// store's, so that an old guess gets ahead of the truth.
const RENEWED: i64 = 600_000;

/// Reads the Date header of each answer. A date is cut to the second and was written before the
/// answer arrived, so each is a lower bound of the time. The largest is the best estimate, and
/// never after the true time.
#[derive(Debug)]
pub(super) struct StoreClock {
    /// What times of ours are counted from.
    origin: Instant,
    seen: Mutex<LastDate>,
}

#[derive(Debug, Default)]
struct LastDate {
    /// The last header, so that it is parsed once a second.
    last: String,
    /// The store's time at our origin, milliseconds since 1970.
    offset: Option<i64>,
    /// When that was found, after our origin.
    found: i64,
}

impl StoreClock {
    pub(super) fn new() -> Self {
        StoreClock {
            origin: Instant::now(),
            seen: Mutex::default(),
        }
    }

    /// The store's time, at least; `None` before its first answer.
    pub(super) fn now(&self) -> Option<Timestamp> {
        self.at(self.local())
    }

    fn at(&self, local: i64) -> Option<Timestamp> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        Timestamp::from_millisecond(seen.offset? + local).ok()
    }

    fn see(&self, date: &str) {
        self.see_at(date, self.local());
    }

    fn see_at(&self, date: &str, local: i64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.last == date {
            return;
        }
        let Some(time) = http_date(date) else { return };
        date.clone_into(&mut seen.last);
        let offset = time.as_millisecond() - local;
        let stays =
            |best: i64| (best - SET_BACK..=best).contains(&offset) && local - seen.found < RENEWED;
        if !seen.offset.is_some_and(stays) {
            seen.offset = Some(offset);
            seen.found = local;
        }
    }

    fn local(&self) -> i64 {
        SignedDuration::try_from(self.origin.elapsed())
            .ok()
            .and_then(|passed| i64::try_from(passed.as_millis()).ok())
            .unwrap_or(0)
    }
}

/// The clock as a part of the SDK's client. It reads what
/// [`JudgeAnswers`](super::answer::JudgeAnswers) has left: an ingress has a clock of its own, and
/// by a wrong one uploads that run would be taken for old ones.
#[derive(Debug)]
pub(super) struct ReadClock(pub(super) std::sync::Arc<StoreClock>);

impl Intercept for ReadClock {
    fn name(&self) -> &'static str {
        "store clock"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let is_the_stores = match context.output_or_error() {
            Some(Ok(_)) => true,
            Some(Err(error)) => error.is_operation_error(),
            None => false,
        };
        let date = context
            .response()
            .and_then(|response| response.headers().get("date"));
        if let Some(date) = date.filter(|_| is_the_stores) {
            self.0.see(date);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_that_was_told_counts() {
        let clock = StoreClock::new();
        let at = |local| clock.at(local).map(Timestamp::as_millisecond);
        assert_eq!(at(0), None);
        clock.see_at("Thu, 01 Jan 1970 00:01:40 GMT", 0);
        assert_eq!(at(0), Some(100_000));
        // It has reported 100 only because it reports whole seconds.
        clock.see_at("Thu, 01 Jan 1970 00:01:40 GMT", 900);
        assert_eq!(at(900), Some(100_900));
        clock.see_at("Thu, 01 Jan 1970 00:01:41 GMT", 900);
        assert_eq!(at(900), Some(101_000));
        clock.see_at("Thu, 01 Jan 1970 00:01:42 GMT", 2899);
        assert_eq!(at(2899), Some(102_999));
        // Our clock is faster, by a second in ten minutes: then the guess is made anew.
        clock.see_at("Thu, 01 Jan 1970 00:11:39 GMT", 600_000);
        assert_eq!(at(600_000), Some(700_100));
        clock.see_at("Thu, 01 Jan 1970 00:11:40 GMT", 601_000);
        assert_eq!(at(601_000), Some(700_000));
        clock.see_at("Thu, 01 Jan 1970 00:00:10 GMT", 2899);
        assert_eq!(at(2899), Some(10_000));
        clock.see_at("rubbish", 2899);
        assert_eq!(at(2899), Some(10_000));
    }
}
