//! The requests that read, write and end a record.
//!
//! A record changes only under a condition on what it replaces: `If-Match` on its ETag, or
//! `If-None-Match: *`. On a store without conditions a HEAD right before the write takes their
//! place.
//!
//! A record ends by DeleteObject under `If-Match`. On a store that ignores that condition a delete
//! could hit the record of another writer, so the record is overwritten as empty instead. An empty
//! record is as good as none; the sweep deletes it later.

use aws_sdk_s3::primitives::ByteStream;
use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use tokio::time::timeout;

use crate::object::delete::delete;
use crate::object::error::{ObjectError, RequestFailure, failure};
use crate::object::head::{Attributes, timestamp, with_attributes};
use crate::object::location::Location;
use crate::object::precondition::{Precondition, PreconditionHeaders};
use crate::object::record_cache::RecordCache;
use crate::object::resume::keys::record_name;
use crate::object::resume::record::{Record, RecordContent, StableFields, parse};
use crate::object::resume::stored::StoredRecord;

/// How often the body of a record is asked for: the SDK does not retry a GET whose body broke off.
const BODIES: u32 = 3;

/// Whatever is larger is not a record, bytes.
const LARGEST_RECORD: usize = 256 * 1024;

/// What lies where a record belongs.
#[derive(Debug, Clone)]
pub(in crate::object) enum SlotContent {
    /// Nothing.
    Nothing,
    /// An empty record, with this ETag.
    Empty(String),
    /// A record.
    Record(Box<StoredRecord>),
    /// A record of a later format.
    Later(Box<LaterRecord>),
    /// Something that is not a record, with this ETag.
    Garbage(String),
}

impl SlotContent {
    /// Whether it is a record of this object, of whatever format.
    pub(in crate::object) fn is_of(&self, object: &Location) -> bool {
        match self {
            SlotContent::Record(stored) => stored.record.is_of(object),
            SlotContent::Later(later) => later.names.are_of(object),
            SlotContent::Nothing | SlotContent::Empty(_) | SlotContent::Garbage(_) => false,
        }
    }
}

/// A record of a later format.
#[derive(Debug, Clone)]
pub(in crate::object) struct LaterRecord {
    /// What it names.
    pub names: StableFields,
    /// Its bytes.
    pub body: Bytes,
    /// Its ETag.
    pub etag: String,
    /// When it was written, by the store's clock.
    pub written: Timestamp,
}

/// Why a record was not written.
#[derive(Debug)]
pub(in crate::object) enum SaveError {
    /// This is there instead of what was to be replaced.
    Conflict(SlotContent),
    /// The store.
    Object(ObjectError),
}

/// GetObject of a record.
pub(in crate::object) async fn read(at: &Location) -> Result<SlotContent, ObjectError> {
    let mut attempt = 1;
    loop {
        match get(at).await {
            Err(ObjectError::Unavailable(error)) if attempt < BODIES => {
                tracing::debug!(
                    key = at.key,
                    error,
                    "a record could not be read; it is asked for again"
                );
                attempt += 1;
            }
            // An answer may have been cut on its way: a record is not called unreadable after one
            // look.
            Ok(SlotContent::Garbage(_)) if attempt < BODIES => attempt += 1,
            result => return result,
        }
    }
}

async fn get(at: &Location) -> Result<SlotContent, ObjectError> {
    let request = at
        .store
        .client()
        .get_object()
        .bucket(&*at.bucket)
        .key(&at.key);
    let mut output = match Box::pin(request.send()).await.map_err(failure) {
        Ok(output) => output,
        Err(failure) => {
            return match failure.error {
                // Without the right to list a bucket S3 calls each key that is not there forbidden.
                ObjectError::NotFound | ObjectError::Denied(_) => Ok(SlotContent::Nothing),
                error => Err(error),
            };
        }
    };
    let etag = output.e_tag().unwrap_or_default().to_owned();
    let written = timestamp(output.last_modified()).unwrap_or(Timestamp::UNIX_EPOCH);
    let deadline = at.store.config().request_timeout;
    let mut body = BytesMut::new();
    loop {
        let chunk = timeout(deadline, output.body.next())
            .await
            .map_err(|_| ObjectError::Timeout)?;
        match chunk {
            Some(Ok(chunk)) if body.len() + chunk.len() <= LARGEST_RECORD => {
                body.extend_from_slice(&chunk);
            }
            Some(Ok(_)) => {
                tracing::warn!(
                    key = at.key,
                    "this is too large for the record of an upload and is passed over"
                );
                return Ok(SlotContent::Garbage(etag));
            }
            Some(Err(error)) => return Err(ObjectError::Unavailable(error.to_string())),
            None => break,
        }
    }
    Ok(match parse(&body) {
        RecordContent::Empty => SlotContent::Empty(etag),
        RecordContent::Record(record) => SlotContent::Record(Box::new(StoredRecord {
            bucket: at.bucket.clone(),
            key: at.key.clone(),
            record: *record,
            etag,
            written,
        })),
        RecordContent::Later(names) => SlotContent::Later(Box::new(LaterRecord {
            names,
            body: body.freeze(),
            etag,
            written,
        })),
        RecordContent::Garbage(error) => {
            tracing::warn!(
                key = at.key,
                error,
                "this is not the record of an upload and is passed over"
            );
            SlotContent::Garbage(etag)
        }
    })
}

/// PutObject of a record in place of the one with this ETag, or of none. Returns its ETag.
pub(in crate::object) async fn save(
    at: &Location,
    record: &Record,
    replaces: Option<&str>,
) -> Result<String, SaveError> {
    let body = serde_json::to_vec(record)
        .map_err(|error| SaveError::Object(ObjectError::Other(error.to_string())))?;
    let emptied = match replaces {
        Some(_) => None,
        None => cache(at).take_emptied(&record_name(at)),
    };
    match put(at, body.into(), replaces.or(emptied.as_deref())).await? {
        Put::Done(etag) => Ok(etag),
        // It may be what we have just written, with an answer that was lost.
        Put::Conflict(SlotContent::Record(found)) if found.record == *record => Ok(found.etag),
        Put::Conflict(there) => Err(SaveError::Conflict(there)),
    }
}

/// PutObject of a record of another writer under a name that only this call writes.
pub(in crate::object) async fn copy_to(at: &Location, body: Bytes) -> Result<(), ObjectError> {
    send(at, body, PreconditionHeaders::default())
        .await
        .map(drop)
        .map_err(|failure| failure.error)
}

/// How a record has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::object) enum Ended {
    /// There is no record any more, or an empty one.
    Gone,
    /// Another record had taken its place, which may be empty.
    Conflict,
}

/// What is left of a record that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::object) enum Leave {
    /// Nothing, if the store can do that.
    Nothing,
    /// An empty one. By it the upload that was set aside learns that it was.
    Empty,
}

/// Ends the record with this ETag.
pub(in crate::object) async fn end(
    at: &Location,
    etag: &str,
    leave: Leave,
) -> Result<Ended, ObjectError> {
    if leave == Leave::Nothing && at.store.conditional_deletes(&at.bucket).await {
        match delete(at, Some(etag)).await {
            Ok(()) => return Ok(Ended::Gone),
            Err(ObjectError::Conflict) => return Ok(Ended::Conflict),
            Err(ObjectError::Unsupported(_)) => {}
            Err(error) => return Err(error),
        }
    }
    match put(at, Bytes::new(), Some(etag)).await {
        Ok(Put::Done(etag)) => {
            cache(at).insert_emptied(&record_name(at), etag);
            Ok(Ended::Gone)
        }
        Ok(Put::Conflict(SlotContent::Nothing)) => Ok(Ended::Gone),
        Ok(Put::Conflict(_)) => Ok(Ended::Conflict),
        Err(SaveError::Conflict(_)) => Ok(Ended::Conflict),
        Err(SaveError::Object(error)) => Err(error),
    }
}

enum Put {
    /// Written, with this ETag.
    Done(String),
    Conflict(SlotContent),
}

async fn put(at: &Location, body: Bytes, replaces: Option<&str>) -> Result<Put, SaveError> {
    let precondition = match replaces {
        Some(etag) => Precondition::Etag(etag.to_owned()),
        None => Precondition::Absent,
    };
    let conditions = match precondition.conditions(at).await {
        Ok(conditions) => conditions,
        Err(ObjectError::Conflict) => {
            return read(at).await.map(Put::Conflict).map_err(SaveError::Object);
        }
        Err(error) => return Err(SaveError::Object(error)),
    };
    match send(at, body, conditions).await {
        Ok(etag) => Ok(Put::Done(etag)),
        Err(failure)
            if failure.condition_failed()
                || failure.concurrent_write()
                || matches!(failure.error, ObjectError::NotFound) =>
        {
            read(at).await.map(Put::Conflict).map_err(SaveError::Object)
        }
        Err(failure) => Err(SaveError::Object(failure.error)),
    }
}

async fn send(
    at: &Location,
    body: Bytes,
    conditions: PreconditionHeaders,
) -> Result<String, RequestFailure> {
    let attributes = Attributes {
        content_type: Some("application/json".to_owned()),
        ..Attributes::of_record(at)
    };
    let request = with_attributes!(at.store.client().put_object(), &attributes)
        .bucket(&*at.bucket)
        .key(&at.key)
        .set_if_none_match(conditions.if_none_match)
        .set_if_match(conditions.if_match)
        .body(ByteStream::from(body));
    let output = Box::pin(request.send()).await.map_err(failure)?;
    Ok(output.e_tag().unwrap_or_default().to_owned())
}

fn cache(at: &Location) -> &RecordCache {
    &at.store.context().record_cache
}
