//! What a store can do: told by the configuration, assumed of AWS, or found out by a probe.
//!
//! A probe writes a tiny object `.s3ftpd/probe-<random>` into the bucket at hand and looks whether the store refuses
//! what it must refuse: a wrong checksum, or an `If-None-Match: *` where the object exists. A store that only accepts
//! such headers without looking at them would let damage or an overwrite pass in silence.

use std::time::Duration;

use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::primitives::ByteStream;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::Store;
use super::error::{Failure, failure};
use super::upload::TransferId;
use crate::config::{Capability, StoreConfig};

/// After a probe that told nothing (no permission, store down) the next one waits for this long.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// CRC-32 of no probe body.
const WRONG_CRC32: &str = "AAAAAA==";

/// How the bytes of an upload are protected on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Integrity {
    /// A CRC-32 that the store verifies; the payload is not signed.
    Crc32,
    /// The payload is signed (SHA-256).
    Signed,
}

/// What one store can do.
#[derive(Debug)]
pub(super) struct Capabilities {
    checksums: Probed,
    conditional_writes: Probed,
}

/// One capability. The lock is held while a probe runs, on purpose: it is what makes the probe run once; whoever
/// waits for it needs the answer. Nothing else is ever done under it.
#[derive(Debug)]
struct Probed {
    told: Option<bool>,
    found: std::sync::OnceLock<bool>,
    flight: Mutex<Option<Instant>>,
}

impl Capabilities {
    pub(super) fn new(config: &StoreConfig) -> Self {
        let aws = config.endpoint.is_none();
        Capabilities {
            checksums: Probed::new(config.checksums, aws),
            conditional_writes: Probed::new(config.conditional_writes, aws),
        }
    }

    /// Whether the store verifies CRC-32 checksums.
    pub(super) async fn checksums(&self, store: &Store, bucket: &str) -> bool {
        self.checksums
            .get("checksums", store, || probe_checksums(store, bucket))
            .await
    }

    /// Whether the store honours conditions on writes.
    pub(super) async fn conditional_writes(&self, store: &Store, bucket: &str) -> bool {
        self.conditional_writes
            .get("conditional_writes", store, || {
                probe_conditions(store, bucket)
            })
            .await
    }

    /// `false` where it is known that checksums do not work.
    pub(super) fn may_have_checksums(&self) -> bool {
        self.checksums.known() != Some(false)
    }
}

impl Probed {
    fn new(capability: Capability, aws: bool) -> Self {
        let told = match capability {
            Capability::Yes => Some(true),
            Capability::No => Some(false),
            Capability::Auto if aws => Some(true),
            Capability::Auto => None,
        };
        Probed {
            told,
            found: std::sync::OnceLock::new(),
            flight: Mutex::new(None),
        }
    }

    fn known(&self) -> Option<bool> {
        self.told.or_else(|| self.found.get().copied())
    }

    async fn get<F>(&self, name: &str, store: &Store, probe: impl FnOnce() -> F) -> bool
    where
        F: Future<Output = Result<bool, Failure>>,
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
                info!(store = store.name(), capability = name, answer, "probed");
                *self.found.get_or_init(|| answer)
            }
            Err(failure) => {
                warn!(store = store.name(), capability = name, error = %failure.error,
                    "the probe told nothing; it is tried again in a minute");
                *inconclusive = Some(Instant::now());
                false
            }
        }
    }
}

/// Whether a wrong CRC-32 is refused because it is wrong.
async fn probe_checksums(store: &Store, bucket: &str) -> Result<bool, Failure> {
    let key = probe_key();
    let answer = put(store, bucket, &key, Some(WRONG_CRC32), false).await;
    // Some stores keep what they have refused.
    remove(store, bucket, &key).await;
    match answer {
        Ok(()) => Ok(false),
        Err(failure) if failure.code.contains("Digest") || failure.code.contains("Checksum") => {
            Ok(true)
        }
        // The store knows neither the header nor unsigned payloads.
        Err(failure) if refuses_feature(&failure) => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Whether a second PutObject under `If-None-Match: *` is refused.
async fn probe_conditions(store: &Store, bucket: &str) -> Result<bool, Failure> {
    let key = probe_key();
    put(store, bucket, &key, None, false).await?;
    let answer = match put(store, bucket, &key, None, true).await {
        Ok(()) => Ok(false),
        Err(failure) if failure.condition_failed() => Ok(true),
        Err(failure) if refuses_feature(&failure) => Ok(false),
        Err(failure) => Err(failure),
    };
    remove(store, bucket, &key).await;
    answer
}

fn refuses_feature(failure: &Failure) -> bool {
    matches!(failure.status, Some(400 | 501))
}

fn probe_key() -> String {
    format!(".s3ftpd/probe-{}", TransferId::generate())
}

async fn put(
    store: &Store,
    bucket: &str,
    key: &str,
    crc32: Option<&str>,
    if_absent: bool,
) -> Result<(), Failure> {
    let request = store
        .client()
        .put_object()
        .bucket(bucket)
        .key(key)
        .body(ByteStream::from_static(
            b"s3ftpd looks what this store can do",
        ))
        .set_checksum_crc32(crc32.map(str::to_owned))
        .set_if_none_match(if_absent.then(|| "*".to_owned()))
        .customize();
    let request = if crc32.is_some() {
        request.disable_payload_signing()
    } else {
        request
    };
    // Some stores answer a wrong checksum in a way that the SDK would try again.
    let once = Builder::default().retry_config(RetryConfig::standard().with_max_attempts(
        if crc32.is_some() {
            1
        } else {
            store.config().attempts.max(1)
        },
    ));
    Box::pin(request.config_override(once).send())
        .await
        .map(|_| ())
        .map_err(failure)
}

async fn remove(store: &Store, bucket: &str, key: &str) {
    let request = store.client().delete_object().bucket(bucket).key(key);
    if let Err(error) = Box::pin(request.send()).await.map_err(failure) {
        debug!(bucket, key, error = %error.error, "a probe object stays behind");
    }
}
