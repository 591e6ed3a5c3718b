//! What became of a write whose answer was lost.
//!
//! Each object that we write carries the id of its transfer in its metadata: the transfer that
//! finds its id there has written it.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::object::backoff::Backoff;
use crate::object::error::ObjectError;
use crate::object::head::{ObjectInfo, head};
use crate::object::location::Location;
use crate::object::transfer_id::{TRANSFER_KEY, TransferId};

/// A lost answer is looked for this long at most.
const LOOKING: Duration = Duration::from_secs(10);

/// Between two looks.
const PAUSES: Backoff =
    Backoff::doubling(Duration::from_millis(200)).at_most(Duration::from_secs(10));

/// What a HEAD shows of a write.
#[derive(Debug)]
pub(in crate::object) enum WriteCheck {
    /// The object that we have written.
    Ours(ObjectInfo),
    /// Another object.
    Other(ObjectInfo),
    /// No object.
    Absent,
    /// The HEAD failed.
    Unknown(ObjectError),
}

impl WriteCheck {
    /// The error of a write that has failed with `error` and is not ours as far as was seen: that
    /// the store could not be asked says more than a condition, after which no client would retry.
    pub(in crate::object) fn unless_unseen(self, error: ObjectError) -> ObjectError {
        match self {
            WriteCheck::Unknown(unseen) if !matches!(unseen, ObjectError::Denied(_)) => unseen,
            _ => error,
        }
    }
}

/// One look. If a size is given, ours has that: an upload that two processes resumed has one id.
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
    written_by(info).as_ref() == Some(id)
}

/// The transfer that has written an object; `None` if it was another program.
pub(in crate::object) fn written_by(info: &ObjectInfo) -> Option<TransferId> {
    let id = info.attributes.metadata.get(TRANSFER_KEY)?;
    Some(TransferId::named(id))
}

/// Whether a write whose answer was lost can still take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::object) enum LateWrite {
    /// The store is done with it: what is there now is what became of it.
    Impossible,
    /// It may: another object, or none, is looked at again.
    Possible,
}

/// Looks until the object is ours or the time is over, and returns the last check.
pub(in crate::object) async fn look_until(
    location: &Location,
    id: &TransferId,
    size: Option<u64>,
    late: LateWrite,
) -> WriteCheck {
    let time = LOOKING.min(location.store.config().request_timeout);
    look_within(location, id, size, late, time).await
}

/// [`look_until`] with another time.
pub(in crate::object) async fn look_within(
    location: &Location,
    id: &TransferId,
    size: Option<u64>,
    late: LateWrite,
    time: Duration,
) -> WriteCheck {
    let deadline = Instant::now() + time;
    let mut looks = 0;
    let mut last = WriteCheck::Unknown(ObjectError::Timeout);
    loop {
        match timeout_at(deadline, look(location, id, size)).await {
            Ok(check @ WriteCheck::Ours(_)) => return check,
            Ok(check @ (WriteCheck::Other(_) | WriteCheck::Absent))
                if late == LateWrite::Impossible =>
            {
                return check;
            }
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
        looks += 1;
        if Instant::now() + PAUSES.after(looks) >= deadline {
            return last;
        }
        PAUSES.pause(looks).await;
    }
}
