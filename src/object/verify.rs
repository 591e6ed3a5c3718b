//! What became of a write whose answer was lost, and the conditions a write is made under.
//!
//! Each object that we write carries the id of its transfer in its metadata; whoever finds his id there has written it.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

use crate::object::upload::TransferId;
use crate::object::{Location, ObjectError, ObjectIdentity, ObjectInfo, head};

/// Name of the user metadata that holds the transfer id.
pub(in crate::object) const TRANSFER_KEY: &str = "s3ftpd-transfer";

/// A lost answer is looked for this long at most.
const LOOKING: Duration = Duration::from_secs(10);

/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What a HEAD shows of a write.
#[derive(Debug)]
pub(in crate::object) enum Sight {
    /// Our object.
    Ours(ObjectInfo),
    /// Another one.
    Other(ObjectInfo),
    /// None.
    Absent,
    /// The store does not tell.
    Unknown(ObjectError),
}

impl Sight {
    /// The error of a write that has failed with `error` and is not ours as far as was seen: that the store does not
    /// tell is more than a condition, after which nobody would try again.
    pub(in crate::object) fn unless_unseen(self, error: ObjectError) -> ObjectError {
        match self {
            Sight::Unknown(unseen) if !matches!(unseen, ObjectError::Denied(_)) => unseen,
            _ => error,
        }
    }
}

/// One look. Where a size is given ours has that: uploads that were gone on with by two processes have one id.
pub(in crate::object) async fn look(
    location: &Location,
    id: &TransferId,
    size: Option<u64>,
) -> Sight {
    match head(location).await {
        Ok(info) if is_by(&info, id) && size.is_none_or(|size| size == info.size) => {
            Sight::Ours(info)
        }
        Ok(info) => Sight::Other(info),
        Err(ObjectError::NotFound) => Sight::Absent,
        Err(error) => Sight::Unknown(error),
    }
}

/// Whether an object was written by a transfer.
pub(in crate::object) fn is_by(info: &ObjectInfo, id: &TransferId) -> bool {
    info.attributes
        .metadata
        .get(TRANSFER_KEY)
        .map(String::as_str)
        == Some(id.as_str())
}

/// Looks again and again until the object is ours or the time is over, and gives the last sight. With `patient` also a
/// sight of another object, or of none, is looked at again: the write may take effect late.
pub(in crate::object) async fn look_until(
    location: &Location,
    id: &TransferId,
    size: Option<u64>,
    patient: bool,
) -> Sight {
    let time = LOOKING.min(location.store.config().request_timeout);
    look_within(location, id, size, patient, time).await
}

/// The same for another time.
pub(in crate::object) async fn look_within(
    location: &Location,
    id: &TransferId,
    size: Option<u64>,
    patient: bool,
    time: Duration,
) -> Sight {
    let deadline = Instant::now() + time;
    let mut pause = Duration::from_millis(200);
    let mut last = Sight::Unknown(ObjectError::Timeout);
    loop {
        match timeout_at(deadline, look(location, id, size)).await {
            Ok(sight @ Sight::Ours(_)) => return sight,
            Ok(sight @ (Sight::Other(_) | Sight::Absent)) if !patient => return sight,
            // Without permission to look there is nothing to wait for.
            Ok(sight @ Sight::Unknown(ObjectError::Denied(_))) => return sight,
            Ok(sight) => last = sight,
            Err(_) => return last,
        }
        debug!(
            key = location.key,
            ?last,
            "the answer to a write was lost; looking again"
        );
        if Instant::now() + pause >= deadline {
            return last;
        }
        sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// What must hold of the object that is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::object) enum Pin {
    /// Nothing.
    None,
    /// There is none.
    Absent,
    /// It still has this ETag; for objects whose bytes are never the same twice, as records are.
    Etag(String),
    /// It is still this version.
    Version(ObjectIdentity),
}

/// The headers that make the store check a [`Pin`].
#[derive(Debug, Clone, Default)]
pub(in crate::object) struct Conditions {
    /// If-None-Match
    pub if_none_match: Option<String>,
    /// If-Match
    pub if_match: Option<String>,
}

impl Pin {
    /// Whether there must be an object.
    pub(in crate::object) fn wants_object(&self) -> bool {
        matches!(self, Pin::Etag(_) | Pin::Version(_))
    }

    /// The headers where the store honours them; else looks now, right before the write.
    pub(in crate::object) async fn conditions(
        &self,
        location: &Location,
    ) -> Result<Conditions, ObjectError> {
        if *self == Pin::None {
            return Ok(Conditions::default());
        }
        if location.store.conditional_writes(&location.bucket).await {
            return Ok(match self {
                Pin::None => Conditions::default(),
                Pin::Absent => Conditions {
                    if_none_match: Some("*".to_owned()),
                    if_match: None,
                },
                Pin::Etag(etag) => Conditions {
                    if_none_match: None,
                    if_match: Some(etag.clone()),
                },
                Pin::Version(version) => Conditions {
                    if_none_match: None,
                    if_match: Some(version.etag().to_owned()),
                },
            });
        }
        self.check(location).await?;
        Ok(Conditions::default())
    }

    /// The same for a CompleteMultipartUpload. It is PutObject that is probed, and stores have learnt conditions of the
    /// one long before those of the other, which they ignore until then: where it is not AWS it is also looked now.
    pub(in crate::object) async fn conditions_of_parts(
        &self,
        location: &Location,
    ) -> Result<Conditions, ObjectError> {
        let conditions = self.conditions(location).await?;
        let sent = conditions.if_match.is_some() || conditions.if_none_match.is_some();
        if sent && location.store.config().endpoint.is_some() {
            match self.check(location).await {
                // Who may only write, or may not list and asks for what is not there, has the condition alone.
                Ok(()) | Err(ObjectError::Denied(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(conditions)
    }

    /// Looks whether it holds: 1 HEAD, none where nothing is asked.
    pub(in crate::object) async fn check(&self, location: &Location) -> Result<(), ObjectError> {
        if *self == Pin::None {
            return Ok(());
        }
        let found = match head(location).await {
            Ok(info) => Some(info),
            Err(ObjectError::NotFound) => None,
            Err(error) => return Err(error),
        };
        match (self, found) {
            (Pin::None, _) | (Pin::Absent, None) => Ok(()),
            (Pin::Etag(expected), Some(info)) if *expected == info.etag => Ok(()),
            (Pin::Version(expected), Some(info)) if *expected == info.identity() => Ok(()),
            _ => Err(ObjectError::Conflict),
        }
    }
}
