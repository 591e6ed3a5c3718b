//! What became of a write whose answer was lost, and the conditions a write is made under.
//!
//! Each object that we write carries the id of its transfer in its metadata; whoever finds his id there has written it.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

use crate::object::client::Location;
use crate::object::error::ObjectError;
use crate::object::head::{ObjectInfo, head};
use crate::object::identity::ObjectIdentity;
use crate::object::transfer_id::TransferId;

/// Name of the user metadata that holds the transfer id.
pub(in crate::object) const TRANSFER_KEY: &str = "s3ftpd-transfer";

/// A lost answer is looked for this long at most.
const LOOKING: Duration = Duration::from_secs(10);

/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What a HEAD shows of a write.
#[derive(Debug)]
pub(in crate::object) enum WriteCheck {
    /// Our object.
    Ours(ObjectInfo),
    /// Another one.
    Other(ObjectInfo),
    /// None.
    Absent,
    /// The store does not tell.
    Unknown(ObjectError),
}

impl WriteCheck {
    /// The error of a write that has failed with `error` and is not ours as far as was seen: that the store does not
    /// tell is more than a condition, after which nobody would try again.
    pub(in crate::object) fn unless_unseen(self, error: ObjectError) -> ObjectError {
        match self {
            WriteCheck::Unknown(unseen) if !matches!(unseen, ObjectError::Denied(_)) => unseen,
            _ => error,
        }
    }
}

/// One look. Where a size is given ours has that: uploads that were gone on with by two processes have one id.
pub(in crate::object) async fn look(
    location: &Location,
    id: &TransferId,
    size: Option<u64>,
) -> WriteCheck {
    match head(location).await {
        Ok(info) if is_by(&info, id) && size.is_none_or(|size| size == info.size) => {
            WriteCheck::Ours(info)
        }
        Ok(info) => WriteCheck::Other(info),
        Err(ObjectError::NotFound) => WriteCheck::Absent,
        Err(error) => WriteCheck::Unknown(error),
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
) -> WriteCheck {
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
) -> WriteCheck {
    let deadline = Instant::now() + time;
    let mut pause = Duration::from_millis(200);
    let mut last = WriteCheck::Unknown(ObjectError::Timeout);
    loop {
        match timeout_at(deadline, look(location, id, size)).await {
            Ok(check @ WriteCheck::Ours(_)) => return check,
            Ok(check @ (WriteCheck::Other(_) | WriteCheck::Absent)) if !patient => return check,
            // Without permission to look there is nothing to wait for.
            Ok(check @ WriteCheck::Unknown(ObjectError::Denied(_))) => return check,
            Ok(check) => last = check,
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
pub(in crate::object) enum Precondition {
    /// Nothing.
    None,
    /// There is none.
    Absent,
    /// It still has this ETag; for objects whose bytes are never the same twice, as records are.
    Etag(String),
    /// It is still this version.
    Version(ObjectIdentity),
}

/// The headers that make the store check a [`Precondition`].
#[derive(Debug, Clone, Default)]
pub(in crate::object) struct PreconditionHeaders {
    /// If-None-Match
    pub if_none_match: Option<String>,
    /// If-Match
    pub if_match: Option<String>,
}

impl Precondition {
    /// Whether there must be an object.
    pub(in crate::object) fn wants_object(&self) -> bool {
        matches!(self, Precondition::Etag(_) | Precondition::Version(_))
    }

    /// The headers where the store honours them; else looks now, right before the write.
    pub(in crate::object) async fn conditions(
        &self,
        location: &Location,
    ) -> Result<PreconditionHeaders, ObjectError> {
        if *self == Precondition::None {
            return Ok(PreconditionHeaders::default());
        }
        if location.store.conditional_writes(&location.bucket).await {
            return Ok(match self {
                Precondition::None => PreconditionHeaders::default(),
                Precondition::Absent => PreconditionHeaders {
                    if_none_match: Some("*".to_owned()),
                    if_match: None,
                },
                Precondition::Etag(etag) => PreconditionHeaders {
                    if_none_match: None,
                    if_match: Some(etag.clone()),
                },
                Precondition::Version(version) => PreconditionHeaders {
                    if_none_match: None,
                    if_match: Some(version.etag().to_owned()),
                },
            });
        }
        self.check(location).await?;
        Ok(PreconditionHeaders::default())
    }

    /// The same for a CompleteMultipartUpload. It is PutObject that is probed, and stores have learnt conditions of the
    /// one long before those of the other, which they ignore until then: where it is not AWS it is also looked now.
    pub(in crate::object) async fn conditions_of_parts(
        &self,
        location: &Location,
    ) -> Result<PreconditionHeaders, ObjectError> {
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
        if *self == Precondition::None {
            return Ok(());
        }
        let found = match head(location).await {
            Ok(info) => Some(info),
            Err(ObjectError::NotFound) => None,
            Err(error) => return Err(error),
        };
        match (self, found) {
            (Precondition::None, _) | (Precondition::Absent, None) => Ok(()),
            (Precondition::Etag(expected), Some(info)) if *expected == info.etag => Ok(()),
            (Precondition::Version(expected), Some(info)) if *expected == info.identity() => Ok(()),
            _ => Err(ObjectError::Conflict),
        }
    }
}
