//! What can be resumed: the record as it was read, judged by what the store has.

use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};

use tracing::Instrument;

use crate::object::error::ObjectError;
use crate::object::head::{ObjectInfo, head};
use crate::object::location::Location;
use crate::object::multipart::list_parts::{list_parts, run};
use crate::object::part_sizes::PartSizes;
use crate::object::parts::tail::{PieceNote, TailNote};
use crate::object::precondition::Precondition;
use crate::object::resume::keys::{name_of, user_hash};
use crate::object::resume::record::RecordState;
use crate::object::resume::resumable::ResumableUpload;
use crate::object::resume::stored::{StoredRecord, age, now, written_since};
use crate::object::transfer_id::TRANSFER_KEY;

/// The pieces of a tail that are asked for at once.
const PIECES: usize = 8;

/// What there is to resume.
#[derive(Debug)]
pub enum Lookup {
    /// Nothing.
    None,
    /// An upload that another process is still receiving, as far as its record shows.
    InUse {
        /// The time after which it may be free, in whole seconds.
        retry_after: Duration,
    },
    /// A record of a later format: it is not known what it names.
    LaterFormat(u32),
    /// This.
    Resumable(Box<ResumableUpload>),
}

/// Where the bytes of an upload go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staging {
    /// To the object.
    Direct,
    /// To a staged key below the state prefix: the whole can be read there before it is published.
    Staged,
}

/// Who wants to resume, and under which terms.
#[derive(Debug, Clone, Copy)]
pub(in crate::object) struct Resumer<'a> {
    /// The user.
    pub user: &'a str,
    /// How long an upload over an object that is there can be resumed.
    pub over_object: Duration,
    /// Where the bytes of a new upload would go.
    pub staging: Staging,
}

/// What the user can resume, if `info` is what a HEAD has just reported of the object (`None`: it
/// does not exist). Asks for the parts: 1 ListParts for each 1,000, and a HEAD for each piece of
/// the tail. One that is encrypted with another customer's key counts as none, and stays. An upload that cannot be resumed any more, if only since the object has been there for
/// [`Resumer::over_object`], is discarded in the background.
pub(in crate::object) async fn judge(
    stored: &StoredRecord,
    object: &Location,
    resumer: Resumer<'_>,
    info: Option<&ObjectInfo>,
) -> Result<Lookup, ObjectError> {
    let record = &stored.record;
    if *record.user != *resumer.user || record.state == RecordState::Removing {
        return Ok(Lookup::None);
    }
    let by = info.and_then(|info| info.attributes.metadata.get(TRANSFER_KEY));
    if by == Some(&record.transfer) && record.state.is_running() {
        // It is published, and its process is about to remove the record.
        return Ok(Lookup::None);
    }
    let context = object.store.context();
    let now = now(object);
    if let Some(left) = stored.in_use_for(&context.replica, now) {
        let retry_after = Duration::from_secs(left.as_secs() + 1);
        return Ok(Lookup::InUse { retry_after });
    }
    if !object.has_key_of(&record.attributes) {
        // A new upload of the name has to remove it.
        let cache = &context.record_cache;
        cache.insert(&name_of(object), &user_hash(resumer.user));
        return Ok(Lookup::None);
    }
    let expired = info.is_some() && age(now, stored.written) >= resumer.over_object;
    // What is to be asked about before it is published can't be read in an open upload of the
    // object.
    let upload = record.upload.as_ref();
    let unreadable =
        resumer.staging == Staging::Staged && upload.is_some_and(|upload| upload.key.is_none());
    if record.state == RecordState::Doubtful || expired || unreadable || written_since(record, info)
    {
        discard_in_background(stored, object);
        return Ok(Lookup::None);
    }
    let at = stored.at(object);
    let object = &object.encrypting_as(&record.attributes);
    let parts = async {
        match &record.upload {
            Some(upload) => list_parts(&upload.at(object, &at), &upload.id).await,
            None => Ok(Some(Vec::new())),
        }
    };
    let tail = async {
        match &record.tail {
            Some(tail) => still_there(&at, tail).await,
            None => Ok(None),
        }
    };
    let (parts, tail) = tokio::try_join!(parts, tail)?;
    let known = parts.is_some();
    let parts = match (&record.upload, parts) {
        (Some(upload), Some(parts)) => {
            let sizes = PartSizes::new(record.schedule.first, record.schedule.largest);
            let run = run(upload.copied, &sizes, parts);
            // The numbers of the parts after the copied ones are counted from those.
            let copied = usize::try_from(upload.copied).unwrap_or(usize::MAX);
            if run.len() < copied { Vec::new() } else { run }
        }
        _ => Vec::new(),
    };
    let copied = record.upload.as_ref().map(|upload| upload.copied);
    let end: u64 = parts.iter().map(|part| part.size).sum();
    let tail = tail.filter(|tail| (tail.offset..tail.end()).contains(&end));
    let resumable = ResumableUpload {
        record_etag: stored.etag.clone(),
        open: known && copied.is_some_and(|copied| copied == 0 || !parts.is_empty()),
        parts,
        skip: tail.as_ref().map_or(0, |tail| end - tail.offset),
        tail,
        precondition: match info {
            Some(info) => Precondition::Version(info.identity()),
            None => Precondition::Absent,
        },
        written: stored.written,
        record: record.clone(),
    };
    if resumable.size() <= record.old_bytes || resumable.reported_len() == 0 {
        discard_in_background(stored, object);
        return Ok(Lookup::None);
    }
    // If the user begins anew, this process knows that there is something to remove.
    let name = name_of(object);
    context.record_cache.insert(&name, &user_hash(resumer.user));
    Ok(Lookup::Resumable(Box::new(resumable)))
}

/// The tail as far as it is what the record says: all pieces up to the first that is not.
async fn still_there(record: &Location, tail: &TailNote) -> Result<Option<TailNote>, ObjectError> {
    let ask = |piece: &PieceNote| {
        let at = Location {
            key: tail.piece_key(piece),
            ..record.clone()
        };
        let piece = piece.clone();
        async move {
            match head(&at).await {
                Ok(info) => Ok(info.etag == piece.etag && info.size == piece.size),
                Err(ObjectError::NotFound) => Ok(false),
                Err(error) => Err(error),
            }
        }
    };
    let asked: Vec<_> = tail.pieces.iter().map(ask).collect();
    let there: Vec<bool> = stream::iter(asked).buffered(PIECES).try_collect().await?;
    Ok(tail.truncated(there.iter().take_while(|there| **there).count()))
}

fn discard_in_background(stored: &StoredRecord, object: &Location) {
    let context = object.store.context();
    let user = &stored.record.user;
    if context.active_uploads.has_upload_by(&name_of(object), user) {
        return;
    }
    let (stored, object) = (stored.clone(), object.clone());
    let discarded = async move { stored.discard(&object).await };
    context.cleanups.spawn(discarded.in_current_span());
}
