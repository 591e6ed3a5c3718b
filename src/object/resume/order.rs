//! Which of two uploads of one user and name began first.
//!
//! Two uploads of one process have serial numbers. Between processes only the store's clock counts:
//! a replica's own clock, or an id made from it, can be wrong by any amount. The store reports its
//! time in seconds, so two uploads that begin within [`UNCLEAR`] of each other cannot be ordered,
//! and neither of them is kept if it breaks off.

use serde::{Deserialize, Serialize};

/// Two processes can differ by this in what they take for the store's time, milliseconds: an
/// answer's Date is cut to the second, and it arrives late.
const UNCLEAR: u64 = 2000;

/// When an upload began. A resume does not change it: it is the content that is ordered, not the
/// sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::object) struct Began {
    /// [`Replica::process`](crate::object::replica::Replica::process) in which it began.
    pub process: String,
    /// Its serial number there.
    pub serial: u64,
    /// When, by the store's clock: milliseconds since 1970.
    pub at_ms: i64,
}

/// How an upload stands to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::object) enum BeganOrder {
    /// It began before the other.
    Before,
    /// It began after the other.
    After,
    /// That cannot be decided.
    Unclear,
}

impl Began {
    /// How this upload stands to the other.
    pub(in crate::object) fn order(&self, other: &Began) -> BeganOrder {
        let before = if self.process == other.process {
            self.serial < other.serial
        } else if self.at_ms.abs_diff(other.at_ms) < UNCLEAR {
            return BeganOrder::Unclear;
        } else {
            self.at_ms < other.at_ms
        };
        match before {
            true => BeganOrder::Before,
            false => BeganOrder::After,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_counts_and_two_ask_the_store() {
        let began = |process: &str, serial, at_ms| Began {
            process: process.to_owned(),
            serial,
            at_ms,
        };
        for (one, other, order) in [
            (began("p", 1, 9000), began("p", 2, 1000), BeganOrder::Before),
            (began("p", 2, 1000), began("p", 1, 1000), BeganOrder::After),
            (
                began("p", 9, 1000),
                began("q", 1, 1000),
                BeganOrder::Unclear,
            ),
            (
                began("p", 9, 1000),
                began("q", 1, 2999),
                BeganOrder::Unclear,
            ),
            (
                began("p", 9, 2999),
                began("q", 1, 1000),
                BeganOrder::Unclear,
            ),
            (began("p", 9, 1000), began("q", 1, 3000), BeganOrder::Before),
            (began("p", 1, 3000), began("q", 9, 1000), BeganOrder::After),
        ] {
            assert_eq!(one.order(&other), order, "{one:?} {other:?}");
        }
    }
}
