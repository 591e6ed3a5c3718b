//! What is counted.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::chaos::{KINDS, PLACES};

/// What each run must have had.
const ALWAYS: [&str; 4] = [
    "acknowledged",
    "broken off",
    "resumes that went on",
    "downloads",
];

/// What a long run must have had, too.
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

#[derive(Default)]
pub struct Figures {
    /// Transfers to be tried.
    wanted: u64,
    tried: AtomicU64,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    faults: Mutex<BTreeMap<&'static str, u64>>,
    /// Operations and keys that faults have hit.
    places: Mutex<BTreeMap<String, u64>>,
}

impl Figures {
    pub fn new(wanted: u64) -> Figures {
        Figures {
            wanted,
            ..Figures::default()
        }
    }

    /// Whether it is long enough for everything to come about.
    pub fn long(&self) -> bool {
        self.wanted >= 2000
    }

    /// Takes one of the transfers that are still to be tried.
    pub fn next(&self) -> bool {
        self.tried.fetch_add(1, Ordering::Relaxed) < self.wanted
    }

    pub fn count(&self, what: &'static str) {
        self.add(what, 1);
    }

    pub fn add(&self, what: &'static str, by: u64) {
        *self.counts.lock().unwrap().entry(what).or_default() += by;
    }

    /// Keeps the most of what is seen.
    pub fn most(&self, what: &'static str, seen: u64) {
        let mut counts = self.counts.lock().unwrap();
        let most = counts.entry(what).or_default();
        *most = seen.max(*most);
    }

    pub fn fault(&self, what: &'static str) {
        *self.faults.lock().unwrap().entry(what).or_default() += 1;
    }

    /// An operation, or a kind of key, that a fault has hit.
    pub fn place(&self, what: &str) {
        let mut places = self.places.lock().unwrap();
        *places.entry(what.to_owned()).or_default() += 1;
    }

    pub fn of(&self, what: &str) -> u64 {
        self.counts.lock().unwrap().get(what).copied().unwrap_or(0)
    }

    /// That the campaign has tried what it is for.
    pub fn check(&self) {
        for what in ALWAYS {
            assert!(self.of(what) > 0, "none: {what}");
        }
        if !self.long() {
            return;
        }
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
        for how in ["resumed after ABOR, close", "resumed after resets"] {
            let sent = self.of(&format!("{how}: bytes sent"));
            let sizes = self.of(&format!("{how}: bytes of the files"));
            if sizes > 0 {
                println!("| {how}: sent / size | {:.4} |", sent as f64 / sizes as f64);
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
