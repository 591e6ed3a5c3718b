//! What a store can do: from the configuration, known of AWS, or found by a probe.
//!
//! A probe writes a tiny object `.s3ftpd/probe-<random>` into the bucket at hand and looks whether
//! the store refuses what it must refuse: a wrong checksum, or an `If-None-Match: *` if the object
//! exists. A store that ignores such headers would silently accept damage or an overwrite. Whether
//! it knows the checksum of a whole multipart upload is asked when the first one begins; whether it
//! honours conditions at CompleteMultipartUpload, when a write has nothing else to rely on; whether
//! a file hides the directory of its name, before the first upload.

pub(in crate::object) mod probe;

use std::time::Duration;

use aws_sdk_s3::Client;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::object::capabilities::probe::ProbeTarget;
use crate::object::error::RequestFailure;
use crate::object::options::{Capability, StoreOptions};

/// Pause after a probe without a result (no permission, store down).
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// What one store can do.
#[derive(Debug)]
pub(super) struct Capabilities {
    /// The store's name, for log lines.
    store: String,
    /// How often a request is sent, with its first time.
    attempts: u32,
    checksums: Probed,
    full_object: Probed,
    conditional_writes: Probed,
    conditional_deletes: Probed,
    conditional_complete: Probed,
    files_hide_directories: Probed,
}

/// One capability. A probe deliberately holds the lock, so that it runs once: a task that waits for
/// the lock needs the result. Nothing else happens under it.
#[derive(Debug)]
struct Probed {
    /// From the configuration, or known of AWS.
    stated: Option<bool>,
    found: std::sync::OnceLock<bool>,
    flight: Mutex<Option<Instant>>,
}

impl Capabilities {
    pub(super) fn new(config: &StoreOptions) -> Self {
        let aws = config.endpoint.is_none();
        Capabilities {
            store: config.name.clone(),
            attempts: config.attempts.max(1),
            checksums: Probed::new(config.checksums, aws.then_some(true)),
            full_object: Probed::new(config.checksums, aws.then_some(true)),
            conditional_writes: Probed::new(config.conditional_writes, aws.then_some(true)),
            // Many stores learnt conditions on PutObject long before: what is configured is taken
            // for that.
            conditional_complete: Probed::new(
                match config.conditional_writes {
                    Capability::No => Capability::No,
                    Capability::Auto | Capability::Yes => Capability::Auto,
                },
                aws.then_some(true),
            ),
            files_hide_directories: Probed::new(
                config.files_hide_directories,
                aws.then_some(false),
            ),
            conditional_deletes: Probed::new(config.conditional_deletes, aws.then_some(true)),
        }
    }

    /// Whether the store verifies CRC-32 checksums.
    pub(super) async fn checksums(&self, client: &Client, bucket: &str) -> bool {
        self.checksums
            .get("checksums", &self.store, || {
                probe::checksums(self.at(client, bucket))
            })
            .await
    }

    /// Whether the store verifies the CRC-32 of a whole multipart upload, if it verifies others.
    pub(super) async fn full_object(&self, client: &Client, bucket: &str) -> bool {
        self.full_object
            .get("full_object", &self.store, || {
                probe::full_object(self.at(client, bucket))
            })
            .await
    }

    /// Whether the store honours conditions on writes.
    pub(super) async fn conditional_writes(&self, client: &Client, bucket: &str) -> bool {
        self.conditional_writes
            .get("conditional_writes", &self.store, || {
                probe::conditions(self.at(client, bucket))
            })
            .await
    }

    /// Whether the store honours `If-Match` on DeleteObject.
    pub(super) async fn conditional_deletes(&self, client: &Client, bucket: &str) -> bool {
        self.conditional_deletes
            .get("conditional_deletes", &self.store, || {
                probe::conditional_deletes(self.at(client, bucket))
            })
            .await
    }

    /// Whether the store honours `If-None-Match: *` on CompleteMultipartUpload.
    pub(super) async fn conditional_complete(&self, client: &Client, bucket: &str) -> bool {
        self.conditional_complete
            .get("conditional_complete", &self.store, || {
                probe::conditional_complete(self.at(client, bucket))
            })
            .await
    }

    /// Whether an object hides the objects below its name from listings.
    pub(super) async fn files_hide_directories(&self, client: &Client, bucket: &str) -> bool {
        self.files_hide_directories
            .get("files_hide_directories", &self.store, || {
                probe::files_hide_directories(self.at(client, bucket))
            })
            .await
    }

    fn at<'a>(&self, client: &'a Client, bucket: &'a str) -> ProbeTarget<'a> {
        ProbeTarget {
            client,
            bucket,
            run: "",
            attempts: self.attempts,
        }
    }

    /// `false` if checksums are known not to work.
    pub(super) fn may_have_checksums(&self) -> bool {
        self.checksums.known() != Some(false)
    }

    /// `false` if those of multipart uploads are known not to work.
    pub(super) fn may_have_full_object(&self) -> bool {
        self.may_have_checksums() && self.full_object.known() != Some(false)
    }
}

impl Probed {
    /// `known`: what an unprobed store is known to do.
    fn new(capability: Capability, known: Option<bool>) -> Self {
        let stated = match capability {
            Capability::Yes => Some(true),
            Capability::No => Some(false),
            Capability::Auto => known,
        };
        Probed {
            stated,
            found: std::sync::OnceLock::new(),
            flight: Mutex::new(None),
        }
    }

    fn known(&self) -> Option<bool> {
        self.stated.or_else(|| self.found.get().copied())
    }

    async fn get<F>(&self, name: &str, store: &str, probe: impl FnOnce() -> F) -> bool
    where
        F: Future<Output = Result<bool, RequestFailure>>,
    {
        if let Some(known) = self.known() {
            return known;
        }
        let mut inconclusive = self.flight.lock().await;
        if let Some(known) = self.known() {
            return known;
        }
        if inconclusive.is_some_and(|at| at.elapsed() < RETRY_AFTER) {
            return false;
        }
        match Box::pin(probe()).await {
            Ok(answer) => {
                info!(store, capability = name, answer, "probed");
                *self.found.get_or_init(|| answer)
            }
            Err(failure) => {
                warn!(store, capability = name, error = %failure.error,
                    "the probe has no result; it is repeated after a minute");
                *inconclusive = Some(Instant::now());
                false
            }
        }
    }
}
