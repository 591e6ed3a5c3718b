//! Holds one stream of bytes to a rate.
//!
//! Sleeps end late, by a timer's grain and by whatever else runs on the machine. So the pacer computes from
//! deadlines, not from durations: bytes are due at the time that the rate gives them, and what a late wake-up lost
//! is made good by the bytes that follow. Only a little is: a peer that paused can't come back faster than the line.

use std::thread;
use std::time::{Duration, Instant};

/// How much lost time is made good at most.
const CREDIT: Duration = Duration::from_millis(10);
/// Shorter waits are put off and add up, so that a wake-up pays.
const GRAIN: Duration = Duration::from_micros(500);

/// The pace of one body in one direction.
#[derive(Debug)]
pub struct Pacer {
    /// Nanoseconds that one byte takes; `None`: no limit.
    byte_nanos: Option<f64>,
    /// When all bytes so far are through.
    due: Instant,
}

impl Pacer {
    /// Begins at `now`, at so many bytes a second; `None`: without a limit.
    pub fn new(rate: Option<f64>, now: Instant) -> Self {
        Pacer {
            byte_nanos: rate.map(|rate| 1e9 / rate),
            due: now,
        }
    }

    /// These bytes have gone through: waits as long as that puts the stream ahead of its rate.
    pub fn pass(&mut self, bytes: usize) {
        if self.byte_nanos.is_some() {
            let wait = self.advance(bytes, Instant::now());
            if wait >= GRAIN {
                thread::sleep(wait);
            }
        }
    }

    /// The last byte has gone through: waits until it is due.
    pub fn finish(&self) {
        if self.byte_nanos.is_some() {
            thread::sleep(self.due.saturating_duration_since(Instant::now()));
        }
    }

    /// Accounts for the bytes at `now` and tells how far ahead of the rate the stream is.
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
