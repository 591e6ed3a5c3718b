//! This process among all that serve the same buckets.

use std::sync::Arc;
use std::time::Duration;

use crate::object::transfer_id::TransferId;

/// This process among all that serve the same buckets.
#[derive(Debug)]
pub struct Replica {
    /// A name that no other living process has, if one is configured. A running upload that an
    /// earlier process has recorded under that name is known to be dead at once.
    pub name: Option<String>,
    /// The id of this process; another one at each start.
    pub process: String,
    /// The interval at which records of running uploads are refreshed.
    pub refresh: Duration,
}

impl Replica {
    /// A process that begins.
    pub fn new(name: Option<String>, refresh: Duration) -> Arc<Replica> {
        Arc::new(Replica {
            name,
            process: TransferId::generate().as_str().to_owned(),
            refresh,
        })
    }
}

impl Default for Replica {
    fn default() -> Self {
        Replica {
            name: None,
            process: TransferId::generate().as_str().to_owned(),
            refresh: Duration::from_secs(60),
        }
    }
}
