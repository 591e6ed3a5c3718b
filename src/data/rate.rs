//! [`RateLimiter`]: the rate of one user's transfers in one direction, shared by all of them.
//!
//! It is a token bucket without a queue. A transfer reserves its next turn: a number of bytes, and
//! the time from which it may move them. Each reservation moves the time of the next one, so the
//! sum of all transfers keeps the rate, and transfers that always have something to move get turns
//! of one size one after the other. A transfer reserves its next turn only when it has used up the
//! last one: a slow client leaves the rate to the others. No transfer waits for another one to act,
//! so a session that is busy with its control connection delays only its own transfer.
//!
//! While no turn is reserved the bucket fills, up to half a second's worth. So a rate is not lost while a
//! transfer waits for the store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What the bucket holds at most, as a time at the full rate.
const BURST: Duration = Duration::from_millis(500);

/// Turns in a second. With more transfers than this there are as many turns as transfers, so that
/// each of them moves once in a second.
const TURNS: u64 = 10;

/// The rate of one user's transfers in one direction. Share it in an `Arc`.
#[derive(Debug)]
pub struct RateLimiter {
    /// The lock is held for a computation only.
    schedule: Mutex<Schedule>,
}

#[derive(Debug)]
struct Schedule {
    /// Bytes in a second; at least 1.
    rate: u64,
    /// When the next turn begins. Up to [`BURST`] in the past: the bucket is not empty.
    next: Instant,
    /// The number of transfers.
    shares: u64,
}

/// A turn that a transfer has reserved.
#[derive(Debug, Clone, Copy)]
struct RateTurn {
    begins: Instant,
    bytes: u64,
}

impl RateLimiter {
    /// A limiter with a full bucket. `rate`: bytes in a second.
    pub fn new(rate: u64) -> Self {
        RateLimiter {
            schedule: Mutex::new(Schedule::new(rate, Instant::now())),
        }
    }

    /// Changes the rate, for all turns that are not reserved yet.
    pub fn set_rate(&self, rate: u64) {
        self.schedule().rate = rate.max(1);
    }

    /// Whether it is as a new one would be: no transfer has a share, and the bucket is full.
    pub fn is_unused(&self) -> bool {
        let schedule = self.schedule();
        schedule.shares == 0 && schedule.is_full(Instant::now())
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        // Each step leaves it whole.
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The start of the next turn if the bucket is full.
fn full(now: Instant) -> Instant {
    now.checked_sub(BURST).unwrap_or(now)
}

impl Schedule {
    fn new(rate: u64, now: Instant) -> Self {
        Schedule {
            rate: rate.max(1),
            next: full(now),
            shares: 0,
        }
    }

    fn is_full(&self, now: Instant) -> bool {
        self.next <= full(now)
    }

    fn reserve(&mut self, now: Instant) -> RateTurn {
        let bytes = (self.rate / TURNS.max(self.shares)).max(1);
        let begins = self.next.max(full(now));
        self.next = begins + self.time_of(bytes);
        RateTurn { begins, bytes }
    }

    /// Bytes that were reserved will not be moved.
    fn give_back(&mut self, bytes: u64) {
        let time = self.time_of(bytes);
        self.next = self.next.checked_sub(time).unwrap_or(self.next);
    }

    fn time_of(&self, bytes: u64) -> Duration {
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The share of one transfer. On drop what it has reserved and not moved goes to the others.
#[derive(Debug)]
struct RateShare {
    limiter: Arc<RateLimiter>,
    /// The turn that it waits for.
    reserved: Option<RateTurn>,
    /// Bytes of its turn that it has not moved yet.
    left: u64,
}

impl RateShare {
    fn of(limiter: Arc<RateLimiter>) -> Self {
        limiter.schedule().shares += 1;
        RateShare {
            limiter,
            reserved: None,
            left: 0,
        }
    }

    /// Waits for a turn, if the last one is used up. Cancel safe: a turn stays reserved.
    async fn wait(&mut self) -> u64 {
        if self.left == 0 {
            let now = Instant::now();
            let turn = *self
                .reserved
                .get_or_insert_with(|| self.limiter.schedule().reserve(now));
            if turn.begins > now {
                sleep_until(turn.begins).await;
            }
            self.reserved = None;
            self.left = turn.bytes;
        }
        self.left
    }
}

impl Drop for RateShare {
    fn drop(&mut self) {
        let reserved = self.reserved.map_or(0, |turn| turn.bytes);
        let mut schedule = self.limiter.schedule();
        schedule.shares -= 1;
        schedule.give_back(reserved + self.left);
    }
}

/// What holds one transfer to its user's rate, if there is one.
#[derive(Debug, Default)]
pub struct Throttle(Option<RateShare>);

impl Throttle {
    /// The transfer moves as fast as it can.
    pub fn none() -> Self {
        Throttle(None)
    }

    /// The transfer is one of those that share a rate.
    pub fn by(limiter: Arc<RateLimiter>) -> Self {
        Throttle(Some(RateShare::of(limiter)))
    }

    /// Whether there is a rate.
    pub fn is_limited(&self) -> bool {
        self.0.is_some()
    }

    /// The number of bytes that may be moved now, at least 1; `None` if none may.
    pub fn ready(&self) -> Option<usize> {
        match &self.0 {
            None => Some(usize::MAX),
            Some(share) => Some(clamp(share.left)).filter(|bytes| *bytes > 0),
        }
    }

    /// Waits until bytes may be moved; returns their number. Cancel safe.
    pub async fn wait(&mut self) -> usize {
        match &mut self.0 {
            None => usize::MAX,
            Some(share) => clamp(share.wait().await),
        }
    }

    /// Bytes were moved, at most as many as [`wait`](Self::wait) has returned.
    pub fn moved(&mut self, bytes: usize) {
        if let Some(share) = &mut self.0 {
            share.left = share.left.saturating_sub(bytes as u64);
        }
    }
}

fn clamp(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const MIB: u64 = 1 << 20;
    const SECONDS: u64 = 20;

    /// A transfer of the simulation.
    #[derive(Debug, Clone, Copy)]
    struct Simulated {
        /// What it moves at once, at most.
        step: u64,
        /// How long it is busy elsewhere after each step, for example with a store.
        busy: Duration,
        moved: u64,
        left: u64,
        /// When it continues.
        at: Instant,
    }

    fn simulated(step: u64, busy_ms: u64, at: Instant) -> Simulated {
        let busy = Duration::from_millis(busy_ms);
        let (moved, left) = (0, 0);
        Simulated {
            step,
            busy,
            moved,
            left,
            at,
        }
    }

    /// Runs transfers for [`SECONDS`]; returns what each has moved.
    fn run(schedule: &mut Schedule, transfers: &mut [Simulated]) -> Vec<u64> {
        let end = transfers[0].at + Duration::from_secs(SECONDS);
        schedule.shares = transfers.len() as u64;
        while let Some(next) = transfers.iter_mut().min_by_key(|one| one.at)
            && next.at < end
        {
            if next.left == 0 {
                let turn = schedule.reserve(next.at);
                next.left = turn.bytes;
                next.at = next.at.max(turn.begins);
                continue;
            }
            let step = next.step.min(next.left);
            next.left -= step;
            next.moved += step;
            next.at += next.busy;
        }
        transfers.iter().map(|one| one.moved).collect()
    }

    /// `bytes` are those of the rate within [`SECONDS`], within this number of percents.
    fn assert_near(bytes: u64, rate: u64, percents: u64, what: &str) {
        let expected = rate * SECONDS;
        let bounds = expected * (100 - percents) / 100..=expected * (100 + percents) / 100;
        assert!(bounds.contains(&bytes), "{what}: {bytes} of {expected}");
    }

    #[test]
    fn transfers_keep_the_rate_together_and_get_equal_shares() {
        let now = Instant::now();
        for rate in [1024, 100_000, 20 * MIB, 1024 * MIB] {
            for count in [1, 2, 3, 25, 300] {
                // Under TLS a read returns 16 KiB at most.
                for steps in [[256 * 1024, 256 * 1024], [256 * 1024, 16 * 1024]] {
                    let mut schedule = Schedule::new(rate, now);
                    let all = (0..count).map(|n| simulated(steps[n % 2], 0, now));
                    let moved = run(&mut schedule, &mut all.collect::<Vec<_>>());
                    let what = format!("{count} transfers, {rate} bytes/s, {steps:?}");
                    assert_near(moved.iter().sum(), rate, 10, &what);
                    let (least, most) = (moved.iter().min(), moved.iter().max());
                    let spread = most.zip(least).map_or(0, |(most, least)| most - least);
                    let turn = rate / TURNS.max(count as u64);
                    // The burst goes to the first that come.
                    let burst = rate / 2;
                    assert!(spread <= burst + 2 * turn.max(1), "{what}: {spread}");
                }
            }
        }
    }

    #[test]
    fn waits_for_the_store_do_not_cost_the_rate() {
        let now = Instant::now();
        for busy in [20, 90] {
            let mut schedule = Schedule::new(MIB, now);
            let moved = run(&mut schedule, &mut [simulated(u64::MAX, busy, now)]);
            assert_near(moved[0], MIB, 4, &format!("busy for {busy} ms"));
        }
        for busy in [20, 250, 2000] {
            let mut schedule = Schedule::new(MIB, now);
            let mut both = [simulated(u64::MAX, busy, now), simulated(u64::MAX, 0, now)];
            let moved = run(&mut schedule, &mut both);
            assert_near(
                moved.iter().sum(),
                MIB,
                4,
                &format!("with one busy for {busy} ms"),
            );
        }
    }

    #[test]
    fn an_unused_rate_is_saved_for_half_a_second_only() {
        let now = Instant::now();
        let mut schedule = Schedule::new(1000, now);
        for later in [0, 3600] {
            let now = now + Duration::from_secs(later);
            let at_once = std::iter::repeat_with(|| schedule.reserve(now));
            let at_once: u64 = at_once
                .take_while(|turn| turn.begins <= now)
                .map(|turn| turn.bytes)
                .sum();
            assert_eq!(at_once, 600, "half a second and a turn");
            schedule.give_back(100);
            assert!(!schedule.is_full(now));
        }
    }

    #[test]
    fn a_new_rate_counts_from_the_next_turn_on() {
        let now = Instant::now();
        let mut schedule = Schedule::new(1000, now);
        while schedule.reserve(now).begins < now {}
        let reserved = schedule.next;
        schedule.rate = 10_000;
        let turn = schedule.reserve(now);
        assert_eq!((turn.begins, turn.bytes), (reserved, 1000));
    }

    #[tokio::test]
    async fn what_is_reserved_and_not_moved_is_given_back() {
        let limiter = Arc::new(RateLimiter::new(10));
        for _ in 0..1000 {
            let mut throttle = Throttle::by(Arc::clone(&limiter));
            // Of a turn that has come, and of one that is waited for.
            let _ = throttle.wait().now_or_never();
            throttle.moved(1);
            let _ = throttle.wait().now_or_never();
            drop(throttle);
            let due = limiter.schedule().next;
            limiter.schedule().next = due - Duration::from_millis(100);
        }
        let due = limiter.schedule().next;
        assert!(due <= Instant::now(), "{:?}", due - Instant::now());
    }

    #[tokio::test]
    async fn a_wait_that_is_cut_keeps_its_turn() {
        let limiter = Arc::new(RateLimiter::new(10));
        let mut throttle = Throttle::by(Arc::clone(&limiter));
        while let Some(most) = throttle.wait().now_or_never() {
            assert_eq!(throttle.ready(), Some(most));
            throttle.moved(most);
        }
        let due = limiter.schedule().next;
        for _ in 0..10 {
            assert!(throttle.wait().now_or_never().is_none());
        }
        assert_eq!(limiter.schedule().next, due);
        assert_eq!(throttle.ready(), None);
        assert_eq!(throttle.wait().await, 1);
    }

    #[tokio::test]
    async fn without_a_rate_nothing_waits() {
        let mut throttle = Throttle::none();
        throttle.moved(usize::MAX);
        assert_eq!(throttle.wait().now_or_never(), Some(usize::MAX));
        assert_eq!(throttle.ready(), Some(usize::MAX));
        assert!(!throttle.is_limited());
    }
}
