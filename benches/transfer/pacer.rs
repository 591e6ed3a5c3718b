//! Limits one stream of bytes to a rate.
//!
//! Sleeps end late, because of the timer's resolution and of other work on the machine. So the
//! pacer computes with deadlines, not with durations: the rate gives each byte its time, and the
//! bytes that follow make up for a late wake-up. They make up for little only: a peer that paused
//! can't return faster than the line.

use std::thread;
use std::time::{Duration, Instant};

/// Upper limit of the lost time that is made up for.
const CREDIT: Duration = Duration::from_millis(10);
/// Shorter waits are postponed and add up, so that a wake-up is worth its cost.
const GRAIN: Duration = Duration::from_micros(500);

/// The pace of one body in one direction.
#[derive(Debug)]
pub struct Pacer {
    /// Nanoseconds that one byte takes; `None`: no limit.
    byte_nanos: Option<f64>,
    /// The time at which all bytes so far have passed.
    due: Instant,
}

impl Pacer {
    /// Starts at `now` with a rate in bytes a second; `None`: no limit.
    pub fn new(rate: Option<f64>, now: Instant) -> Self {
        Pacer {
            byte_nanos: rate.map(|rate| 1e9 / rate),
            due: now,
        }
    }

    /// Counts bytes that have passed, and waits while they put the stream ahead of its rate.
    pub fn pass(&mut self, bytes: usize) {
        if self.byte_nanos.is_some() {
            let wait = self.advance(bytes, Instant::now());
            if wait >= GRAIN {
                thread::sleep(wait);
            }
        }
    }

    /// Waits until the last byte is due.
    pub fn finish(&self) {
        if self.byte_nanos.is_some() {
            thread::sleep(self.due.saturating_duration_since(Instant::now()));
        }
    }

    /// Counts the bytes at `now`, and returns how far the stream is ahead of its rate.
    pub fn advance(&mut self, bytes: usize, now: Instant) -> Duration {
        let Some(byte_nanos) = self.byte_nanos else {
            return Duration::ZERO;
        };
        if let Some(earliest) = now.checked_sub(CREDIT) {
            self.due = self.due.max(earliest);
        }
        self.due += Duration::from_nanos((bytes as f64 * byte_nanos) as u64);
        self.due.saturating_duration_since(now)
    }
}
