//! Whether a bucket can be used: looked at by one list, or tried out with probe objects.
//!
//! [`look`] is cheap and changes nothing: for the start, and once a minute. [`Trial`] does what the
//! server does with a bucket, below the prefix of its probes, and removes it: for `s3ftpd check`.

mod trial;

use std::fmt;
use std::time::Duration;

use tokio::time::timeout;

use crate::events::Class;
use crate::object::error::{ObjectError, failure};
use crate::object::location::Location;

pub use trial::{Ability, Trial, TrialStep};

/// The longest that a look, or a step of a trial, may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// What is wrong with a store or one of its buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreTrouble {
    /// A policy denies the request.
    Denied,
    /// The credentials are not taken.
    Credentials,
    /// The clocks differ.
    Clock,
    /// The bucket does not exist.
    NoBucket,
    /// No connection, or 5xx.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// The store asks to slow down.
    Overloaded,
    /// Something other than S3 answers.
    NotS3,
    /// The store refuses the request for another reason, or does not do what it says.
    Refused,
}

impl StoreTrouble {
    /// Its fixed name, in JSON and in log lines.
    pub fn name(self) -> &'static str {
        match self {
            StoreTrouble::Denied => "denied",
            StoreTrouble::Credentials => "credentials",
            StoreTrouble::Clock => "clock",
            StoreTrouble::NoBucket => "no_bucket",
            StoreTrouble::Unreachable => "unreachable",
            StoreTrouble::Timeout => "timeout",
            StoreTrouble::Overloaded => "overloaded",
            StoreTrouble::NotS3 => "not_s3",
            StoreTrouble::Refused => "refused",
        }
    }

    /// The class of its event.
    pub fn class(self) -> Class {
        match self {
            StoreTrouble::Denied => Class::StoreDenied,
            StoreTrouble::Credentials | StoreTrouble::Clock => Class::StoreCredentials,
            StoreTrouble::NoBucket | StoreTrouble::Refused => Class::StoreError,
            StoreTrouble::Unreachable
            | StoreTrouble::Timeout
            | StoreTrouble::Overloaded
            | StoreTrouble::NotS3 => Class::StoreUnreachable,
        }
    }

    /// Whether no request to the store can succeed, whatever its bucket.
    pub fn is_of_store(self) -> bool {
        match self {
            StoreTrouble::Credentials
            | StoreTrouble::Clock
            | StoreTrouble::Unreachable
            | StoreTrouble::Timeout
            | StoreTrouble::Overloaded
            | StoreTrouble::NotS3 => true,
            StoreTrouble::Denied | StoreTrouble::NoBucket | StoreTrouble::Refused => false,
        }
    }
}

/// Why a look or a step of a trial failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookFailure {
    /// What is wrong.
    pub trouble: StoreTrouble,
    /// The store's words, or the network's.
    pub reason: String,
}

impl fmt::Display for LookFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.trouble.name(), self.reason)
    }
}

impl From<ObjectError> for LookFailure {
    fn from(error: ObjectError) -> Self {
        let trouble = match &error {
            ObjectError::Denied(_) => StoreTrouble::Denied,
            ObjectError::Credentials(_) => StoreTrouble::Credentials,
            ObjectError::Clock(_) => StoreTrouble::Clock,
            ObjectError::NoSuchBucket => StoreTrouble::NoBucket,
            ObjectError::Unavailable(_) => StoreTrouble::Unreachable,
            ObjectError::Timeout => StoreTrouble::Timeout,
            ObjectError::Throttled => StoreTrouble::Overloaded,
            ObjectError::Foreign(_) => StoreTrouble::NotS3,
            _ => StoreTrouble::Refused,
        };
        let reason = match error {
            ObjectError::Denied(text)
            | ObjectError::Credentials(text)
            | ObjectError::Clock(text)
            | ObjectError::Unavailable(text)
            | ObjectError::Unsupported(text)
            | ObjectError::Other(text) => text,
            error => error.to_string(),
        };
        LookFailure { trouble, reason }
    }
}

/// Lists at most one key of a directory: 1 ListObjectsV2, repeated as the store's `attempts` say.
///
/// # Errors
/// What the store answers, or that it did not within 30 s.
pub async fn look(directory: &Location) -> Result<(), LookFailure> {
    let client = directory.store.client();
    let request = client.list_objects_v2().bucket(&*directory.bucket);
    let request = request.prefix(&directory.key).max_keys(1);
    in_time(async {
        let listed = Box::pin(request.send()).await;
        listed.map(|_| ()).map_err(|error| failure(error).error)
    })
    .await
}

async fn in_time<T>(doing: impl Future<Output = Result<T, ObjectError>>) -> Result<T, LookFailure> {
    let done = timeout(DEADLINE, doing).await;
    done.unwrap_or(Err(ObjectError::Timeout))
        .map_err(LookFailure::from)
}
