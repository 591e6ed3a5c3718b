//! What is counted.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub struct Figures {
    /// Transfers to be tried.
    wanted: u64,
    tried: AtomicU64,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    faults: Mutex<BTreeMap<&'static str, u64>>,
}

impl Figures {
    pub fn new(wanted: u64) -> Figures {
        Figures {
            wanted,
            tried: AtomicU64::new(0),
            counts: Mutex::default(),
            faults: Mutex::default(),
        }
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

    pub fn fault(&self, what: &'static str) {
        *self.faults.lock().unwrap().entry(what).or_default() += 1;
    }

    pub fn lost_create(&self) {
        self.count("lost answers to Create");
    }

    fn of(&self, what: &str) -> u64 {
        self.counts.lock().unwrap().get(what).copied().unwrap_or(0)
    }

    pub fn lost_creates(&self) -> u64 {
        self.of("lost answers to Create")
    }

    /// Each can cut as many uploads off in the moment of their Create as there are clients.
    pub fn kills(&self) -> u64 {
        self.of("gateways killed") * crate::WORKERS as u64
    }

    /// That the campaign has tried what it is for.
    pub fn check(&self) {
        for what in [
            "acknowledged",
            "broken off",
            "resumes that went on",
            "downloads",
        ] {
            assert!(self.of(what) > 0, "none: {what}");
        }
    }

    pub fn print(&self, took: Duration, peak: u64, open: usize, unrecorded: u64) {
        println!("| figure | value |\n| --- | --- |");
        println!("| transfers | {} |", self.wanted);
        for (what, count) in self.counts.lock().unwrap().iter() {
            println!("| {what} | {count} |");
        }
        for (what, count) in self.faults.lock().unwrap().iter() {
            println!("| fault: {what} | {count} |");
        }
        println!("| seconds | {} |", took.as_secs());
        println!("| peak memory of a gateway, KiB | {peak} |");
        println!("| open uploads before the sweep, unrecorded | {open}, {unrecorded} |");
    }
}
