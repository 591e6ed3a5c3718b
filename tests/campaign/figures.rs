//! The figures of a run.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::chaos::{KINDS, PLACES};

/// What each run must have reached.
const ALWAYS: [&str; 4] = [
    "acknowledged",
    "broken off",
    "resumes that went on",
    "downloads",
];

/// What a long run must have reached in addition.
const IN_LONG_RUNS: [&str; 11] = [
    "answers lost",
    "appends",
    "deletes",
    "gateways killed",
    "gateways stopped and started",
    "refused or failed",
    "renames",
    "restarts inside objects",
    "resumes of shared names",
    "resumes that broke off again",
    "left: records",
];

/// Uploads that were broken off by ABOR or a close: everything that was sent arrived, and is saved.
const NOT_RESET: &str = "resumed after ABOR or close";
/// Those that were broken off by a reset, which discards bytes in flight.
const RESET: &str = "resumed after resets";
/// How often a byte of the former may be sent on average: each break may cost one part, and a busy
/// machine some more.
const MOST_SENT: f64 = 1.05;

#[derive(Default)]
pub struct Figures {
    /// Transfers still to be tried.
    wanted: u64,
    tried: AtomicU64,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    faults: Mutex<BTreeMap<&'static str, u64>>,
    /// Bytes sent, and bytes of the files, by the kind of break.
    resumed: Mutex<BTreeMap<&'static str, (u64, u64)>>,
    /// Operations and keys that faults hit.
    places: Mutex<BTreeMap<String, u64>>,
}

impl Figures {
    pub fn new(wanted: u64) -> Figures {
        Figures {
            wanted,
            ..Figures::default()
        }
    }

    /// Whether the run is long enough for everything to occur.
    pub fn long(&self) -> bool {
        self.wanted >= 2000
    }

    /// Takes one of the transfers still to be tried.
    pub fn next(&self) -> bool {
        self.tried.fetch_add(1, Ordering::Relaxed) < self.wanted
    }

    pub fn count(&self, what: &'static str) {
        self.add(what, 1);
    }

    pub fn add(&self, what: &'static str, by: u64) {
        *self.counts.lock().unwrap().entry(what).or_default() += by;
    }

    /// Keeps the largest value.
    pub fn most(&self, what: &'static str, seen: u64) {
        let mut counts = self.counts.lock().unwrap();
        let most = counts.entry(what).or_default();
        *most = seen.max(*most);
    }

    pub fn fault(&self, what: &'static str) {
        *self.faults.lock().unwrap().entry(what).or_default() += 1;
    }

    /// An operation, or a kind of key, that a fault hit.
    pub fn place(&self, what: &str) {
        let mut places = self.places.lock().unwrap();
        *places.entry(what.to_owned()).or_default() += 1;
    }

    pub fn of(&self, what: &str) -> u64 {
        self.counts.lock().unwrap().get(what).copied().unwrap_or(0)
    }

    /// An upload that only its client broke off, and that was resumed to its end: bytes sent, and
    /// bytes of the file.
    pub fn resumed(&self, reset: bool, sent: u64, size: u64) {
        let how = if reset { RESET } else { NOT_RESET };
        let mut resumed = self.resumed.lock().unwrap();
        let sums = resumed.entry(how).or_default();
        *sums = (sums.0 + sent, sums.1 + size);
    }

    /// How often a byte was sent.
    fn ratio(&self, how: &str) -> Option<f64> {
        let (sent, size) = self.resumed.lock().unwrap().get(how).copied()?;
        (size > 0).then(|| sent as f64 / size as f64)
    }

    /// Asserts that the campaign has tried what it is for.
    pub fn check(&self) {
        for what in ALWAYS {
            assert!(self.of(what) > 0, "none: {what}");
        }
        if !self.long() {
            return;
        }
        let sent_twice = self.ratio(NOT_RESET);
        assert!(
            sent_twice.is_some_and(|ratio| ratio < MOST_SENT),
            "{NOT_RESET}: {sent_twice:?} of each byte was sent"
        );
        for what in IN_LONG_RUNS {
            assert!(self.of(what) > 0, "none: {what}");
        }
        for kind in KINDS {
            let had = self.faults.lock().unwrap().get(kind).copied();
            assert!(had.is_some(), "no fault: {kind}");
        }
        for place in PLACES {
            let had = self.places.lock().unwrap().get(place).copied();
            assert!(had.is_some(), "no fault of {place}");
        }
    }

    pub fn print(&self, took: Duration, peak: u64) {
        println!("| figure | value |\n| --- | --- |");
        println!("| transfers | {} |", self.wanted);
        for (what, count) in self.counts.lock().unwrap().iter() {
            println!("| {what} | {count} |");
        }
        for how in [NOT_RESET, RESET] {
            if let Some(ratio) = self.ratio(how) {
                println!("| {how}: sent / size | {ratio:.4} |");
            }
        }
        for (what, count) in self.faults.lock().unwrap().iter() {
            println!("| fault: {what} | {count} |");
        }
        for (what, count) in self.places.lock().unwrap().iter() {
            println!("| faults of {what} | {count} |");
        }
        println!("| seconds | {} |", took.as_secs());
        println!("| peak memory of a gateway, KiB | {peak} |");
    }
}
