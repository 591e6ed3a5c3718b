//! [`Access`]: whether a store takes the server's own access, by its answers to all requests.
//!
//! If its credentials or its clock are wrong, or a bucket of the configuration does not exist, the
//! operator has to act. One line a minute and store says so, however many requests fail. What is
//! known also explains the refusal of a HEAD, which has no words.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::config::endpoint::Params;
use aws_sdk_s3::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::endpoint::EndpointResolverParams;
use tokio::time::Instant;

use crate::object::error::{ObjectError, chain, sort};
use crate::object::retry::element;

/// Time between two lines about the same store.
const PACE: Duration = Duration::from_secs(60);

/// An answer that takes the credentials counts for this time.
const FRESH: Duration = Duration::from_secs(5);

/// What a store's last answers say of the server's access to it.
#[derive(Debug)]
pub(super) struct Access {
    /// The store's name in the configuration.
    store: String,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// When the credentials were last taken; `None` if they have been refused since.
    accepted: Option<Instant>,
    /// Whether the last answer refused the credentials or the clock.
    refused: bool,
    /// Buckets of the configuration that do not exist.
    missing: BTreeSet<String>,
    /// When the last line was logged.
    logged: Option<Instant>,
    /// Failed requests since then.
    unlogged: u64,
}

impl Access {
    pub(super) fn new(store: &str) -> Arc<Access> {
        Arc::new(Access {
            store: store.to_owned(),
            known: Mutex::default(),
        })
    }

    /// Whether the credentials were taken lately, so that a refusal is of the request.
    pub(super) fn recently_accepted(&self) -> bool {
        self.accepted_before(Instant::now())
    }

    fn accepted_before(&self, now: Instant) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.accepted.is_some_and(|at| now - at < FRESH)
    }

    /// Whether the last answers refused the credentials or the clock, or said that the bucket does
    /// not exist.
    pub(super) fn is_refused(&self, bucket: &str) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.refused || known.missing.contains(bucket)
    }

    /// A request was carried out, or refused for a reason of its own.
    fn accepted(&self, bucket: &str, now: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.accepted = Some(now);
        known.refused = false;
        if !known.missing.is_empty() {
            known.missing.remove(bucket);
        }
    }

    /// The server's access is at fault.
    fn refused(&self, bucket: &str, error: &ObjectError, now: Instant) {
        let unlogged = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            match error {
                ObjectError::NoSuchBucket => {
                    known.accepted = Some(now);
                    known.refused = false;
                    known.missing.insert(bucket.to_owned());
                }
                _ => {
                    known.accepted = None;
                    known.refused = true;
                }
            }
            if known.logged.is_some_and(|at| now - at < PACE) {
                known.unlogged += 1;
                return;
            }
            known.logged = Some(now);
            std::mem::take(&mut known.unlogged)
        };
        tracing::error!(
            store = self.store, bucket, reason = %error, others = unlogged,
            "the server's access to the store is refused"
        );
    }
}

/// Reads each answer of a store's client.
#[derive(Debug)]
pub(super) struct WatchAccess(pub(super) Arc<Access>);

impl Intercept for WatchAccess {
    fn name(&self) -> &'static str {
        "watch access"
    }

    fn read_after_execution(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let params = config.load::<EndpointResolverParams>();
        let bucket = params.and_then(|params| params.get::<Params>()?.bucket());
        let bucket = bucket.unwrap_or_default();
        let now = Instant::now();
        match (context.output_or_error(), context.response()) {
            (Some(Ok(_)), _) => self.0.accepted(bucket, now),
            (Some(Err(error)), None) => {
                // Nothing was sent.
                let text = chain(error);
                if text.contains("credentials") {
                    self.0.refused(bucket, &ObjectError::Credentials(text), now);
                }
            }
            (Some(Err(error)), Some(response)) if error.is_operation_error() => {
                let body = String::from_utf8_lossy(response.body().bytes().unwrap_or_default());
                let Some(code) = element(&body, "Code") else {
                    return Ok(());
                };
                let status = response.status().as_u16();
                let message = element(&body, "Message").unwrap_or_default();
                match sort(status, code, message) {
                    error if error.is_servers_fault() => self.0.refused(bucket, &error, now),
                    _ if status < 500 => self.0.accepted(bucket, now),
                    _ => {}
                }
            }
            // No answer, or one that is not the store's.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_a_minute() {
        let access = Access::new("main");
        let wrong = ObjectError::Credentials("InvalidAccessKeyId".to_owned());
        let begin = Instant::now();
        for (seconds, unlogged) in [(0, 0), (1, 1), (59, 2), (60, 0), (119, 1), (200, 0)] {
            access.refused("files", &wrong, begin + Duration::from_secs(seconds));
            let known = access.known.lock().map(|known| known.unlogged);
            assert_eq!(known.ok(), Some(unlogged), "{seconds}");
        }
    }

    #[test]
    fn the_last_answers_count() {
        let (access, now) = (Access::new("main"), Instant::now());
        assert!(!access.accepted_before(now) && !access.is_refused("files"));
        access.refused("files", &ObjectError::NoSuchBucket, now);
        assert!(access.accepted_before(now) && access.is_refused("files"));
        access.accepted("other", now);
        assert!(access.is_refused("files"));
        access.accepted("files", now);
        assert!(!access.is_refused("files"));
        access.refused("files", &ObjectError::Clock(String::new()), now);
        assert!(!access.accepted_before(now) && access.is_refused("files"));
        access.accepted("files", now);
        assert!(!access.is_refused("files"));
        assert!(access.accepted_before(now) && !access.accepted_before(now + FRESH));
    }
}
