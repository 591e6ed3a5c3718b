//! What a record names, and the record, are removed.

use tracing::warn;

use crate::object::delete::delete;
use crate::object::location::Location;
use crate::object::multipart::abort_upload;
use crate::object::parts::tail::TailNote;
use crate::object::resume::keys::set_aside_at;
use crate::object::resume::record::{Record, new_attempt};
use crate::object::resume::records::{self, Ended, LaterRecord, Leave, SaveError};
use crate::object::resume::stored::StoredRecord;

impl StoredRecord {
    /// Removes the multipart upload, the tail and the record, in this order. Before that the record
    /// says that it is being removed: of a client that resumes the upload in the same moment and
    /// this, one finds out before anything is lost. What fails is left to the sweep, which the
    /// record still leads to.
    pub async fn discard(&self, object: &Location) {
        let (at, record) = (self.at(object), self.record.removing());
        let etag = match records::save(&at, &record, Some(&self.etag)).await {
            Ok(etag) => etag,
            Err(SaveError::Conflict(_)) => return,
            Err(SaveError::Object(error)) => {
                warn!(key = object.key, %error, "what is left of an upload could not be removed");
                return;
            }
        };
        if remove_named(object, &at, &record).await {
            end(&at, &etag, Leave::Nothing).await;
        }
    }
}

/// Removes the multipart upload and the tail that a record names; whether no upload is left.
pub(in crate::object) async fn remove_named(
    object: &Location,
    at: &Location,
    record: &Record,
) -> bool {
    let gone = match &record.upload {
        Some(upload) => abort_upload(&upload.at(object, at), &upload.id).await,
        None => true,
    };
    if let Some(tail) = &record.tail {
        remove_tail(at, tail).await;
    }
    gone
}

/// Takes a record of a later format out of the way of its user, who begins anew: it gets a name of
/// its own, under which the sweep finds what it names.
pub(in crate::object) async fn set_aside(at: &Location, later: LaterRecord) {
    let aside = set_aside_at(at, &new_attempt());
    match records::copy_to(&aside, later.body).await {
        Ok(()) if end(at, &later.etag, Leave::Nothing).await == Some(Ended::Gone) => {}
        // It is where it was, or another one is there.
        Ok(()) => remove_object(&aside, aside.key.clone()).await,
        Err(error) => {
            warn!(key = at.key, %error, "a record of a later format could not be set aside");
        }
    }
}

/// Ends a record. A failure is logged and left to the sweep.
pub(in crate::object) async fn end(at: &Location, etag: &str, leave: Leave) -> Option<Ended> {
    match records::end(at, etag, leave).await {
        Ok(ended) => Some(ended),
        Err(error) => {
            warn!(key = at.key, %error, "the record of an upload could not be removed");
            None
        }
    }
}

/// DeleteObject of each piece of a tail. `state` is in its bucket.
pub(in crate::object) async fn remove_tail(state: &Location, tail: &TailNote) {
    for key in tail.keys() {
        remove_object(state, key).await;
    }
}

/// DeleteObject of an object of the state that only one writer ever writes. A failure is left to
/// the sweep.
pub(in crate::object) async fn remove_object(state: &Location, key: String) {
    let at = Location {
        key,
        ..state.clone()
    };
    if let Err(error) = delete(&at, None).await {
        warn!(key = at.key, %error, "the state of an upload could not be removed");
    }
}
