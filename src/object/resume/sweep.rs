//! Removes what interrupted uploads have left and no client has resumed.
//!
//! Records are read one after the other; whatever a record that stays names is left alone, and so
//! is what belongs to a process that is alive. A record that cannot be read protects all open
//! uploads and tails of its bucket and key. Open multipart uploads that no record names may be
//! another tool's: they are only reported, and removed if that is asked for by hand. Those that a
//! probe has opened (capabilities) are ours by their key.
//!
//! Whether the upload behind a leftover runs is known if it is one of this process, or if its
//! record is refreshed. Without either of these the leftover stays for [`NO_SIGN_OF_LIFE`], even
//! if the caller asks for less.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::object::capabilities::probe::PROBE_PREFIX;
use crate::object::client::Store;
use crate::object::delete::delete;
use crate::object::error::{NotS3, ObjectError, failure};
use crate::object::head::{head, timestamp};
use crate::object::list::RawPage;
use crate::object::location::Location;
use crate::object::multipart::abort_upload;
use crate::object::multipart::list_parts::last_part;
use crate::object::resume::discard::end;
use crate::object::resume::keys::{
    STATE_PREFIX, all_records, all_tails, all_temporary, is_aside, name_in, name_of, object_hash,
    object_hash_in, record_name, user_hash_in,
};
use crate::object::resume::record::RecordState;
use crate::object::resume::records::{self, LaterRecord, Leave, SlotContent};
use crate::object::resume::stored::{StoredRecord, age, now, written_since};

/// An empty record of this age is deleted: no writer replaces it at the same moment, as far as that
/// can be ruled out on a store that ignores conditions.
const EMPTY: Duration = Duration::from_secs(600);

/// What has no refreshed record stays for this time, since another process may be at work on it: an
/// upload that can't be resumed has no record, one whose record was set aside does not refresh it, a
/// staged file of one part waits for its check, and probes are under way. None of these is silent
/// for a day: a client that needs a day for a part of 8 MiB sends less than 100 bytes a second.
const NO_SIGN_OF_LIFE: Duration = Duration::from_secs(24 * 3600);

/// What to sweep.
#[derive(Debug, Clone)]
pub struct SweepOptions {
    /// Only what has not moved for this time. What may belong to a running upload that no record
    /// shows to be alive has to be older: see [`SweepOptions::unrecorded_age`].
    pub older_than: Duration,
    /// An interrupted upload over an existing object ends after this time.
    pub over_object: Duration,
    /// Report, and remove nothing.
    pub dry_run: bool,
    /// Where open multipart uploads that no record names are looked for, and whether they are
    /// removed.
    pub unrecorded: Unrecorded,
}

impl SweepOptions {
    /// The age at which something is removed that no record shows to be dead: `older_than`, and at
    /// least 24 h.
    pub fn unrecorded_age(&self) -> Duration {
        self.older_than.max(NO_SIGN_OF_LIFE)
    }
}

/// What becomes of open multipart uploads that no record names: a foreign tool's, or ours whose
/// process was killed, or whose CreateMultipartUpload lost its answer, before a record could name
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrecorded {
    /// They are not looked for.
    Ignore,
    /// They are reported.
    Report,
    /// They are removed.
    Remove,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// What it is.
    pub kind: SweptKind,
    /// Its bucket.
    pub bucket: String,
    /// The object's key, or that of a tail or probe object.
    pub key: String,
    /// Whose it is, where known.
    pub user: String,
    /// How long it has not moved.
    pub age: Duration,
    /// Whether it was removed, or would be without a dry run.
    pub removed: bool,
}

/// What is left of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweptKind {
    /// An upload with its record, and whatever that names.
    Upload,
    /// A tail that no record names.
    Tail,
    /// An object that was written, or an upload that was opened, to find out what the store can do.
    Probe,
    /// An open multipart upload that no record names.
    Unrecorded,
    /// A temporary file.
    Temporary,
}

impl std::fmt::Display for SweptKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            SweptKind::Upload => "upload",
            SweptKind::Tail => "tail",
            SweptKind::Probe => "probe",
            SweptKind::Unrecorded => "unrecorded upload",
            SweptKind::Temporary => "temporary file",
        })
    }
}

/// What the records of state buckets name. Those of all of them have to be read before anything of
/// a bucket is called unrecorded: the state of its uploads can be in several.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Upload ids.
    uploads: HashSet<String>,
    /// Hashes of bucket and key of records that could not be read: what they name is not known.
    unread: HashSet<String>,
}

/// Sweeps one state bucket of a store, returns all that is there, and notes what its records name.
/// Errors of single requests are logged, and what they were about is left for the next time; the
/// error here is that of the listing.
pub async fn sweep(
    store: &Arc<Store>,
    state_bucket: &Arc<str>,
    options: &SweepOptions,
    recorded: &mut Recorded,
) -> Result<Vec<Swept>, ObjectError> {
    let mut sweep = Sweep {
        state: Location {
            store: Arc::clone(store),
            bucket: Arc::clone(state_bucket),
            key: String::new(),
            attributes: None,
        },
        options,
        recorded,
        tails: HashSet::new(),
        found: Vec::new(),
    };
    sweep.records().await?;
    sweep.tails().await?;
    Ok(sweep.found)
}

/// Sweeps what probes have left in a bucket: they are made where objects are.
pub async fn sweep_probes(
    store: &Arc<Store>,
    bucket: &Arc<str>,
    options: &SweepOptions,
) -> Result<Vec<Swept>, ObjectError> {
    let bucket = Location {
        store: Arc::clone(store),
        bucket: Arc::clone(bucket),
        key: String::new(),
        attributes: None,
    };
    objects(&bucket, PROBE_PREFIX, SweptKind::Probe, options, |_| false).await
}

/// Sweeps the open multipart uploads of a bucket that are ours by their key: those that probes have
/// left, and those of staged keys and temporary files that no record names. Reports the others that no record names, if
/// that is asked for, or removes them. Errors as in [`sweep()`]. Not every store lists the uploads
/// of a prefix (MinIO takes it for a whole key): there ours are found where all are listed.
pub async fn sweep_uploads(
    store: &Arc<Store>,
    bucket: &Arc<str>,
    options: &SweepOptions,
    recorded: &Recorded,
) -> Result<Vec<Swept>, ObjectError> {
    let prefix = (options.unrecorded == Unrecorded::Ignore).then(|| STATE_PREFIX.to_owned());
    let mut found = Vec::new();
    let (mut key_marker, mut id_marker): (Option<String>, Option<String>) = (None, None);
    loop {
        let request = store
            .client()
            .list_multipart_uploads()
            .bucket(&**bucket)
            .set_prefix(prefix.clone())
            .set_key_marker(key_marker.clone())
            .set_upload_id_marker(id_marker.clone());
        let output = Box::pin(request.send()).await.map_err(failure)?;
        for upload in output.uploads() {
            let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) else {
                continue;
            };
            let object = Location {
                store: Arc::clone(store),
                bucket: Arc::clone(bucket),
                key: key.to_owned(),
                attributes: None,
            };
            let probe = key.starts_with(PROBE_PREFIX);
            let staged = key.starts_with(&all_tails());
            let temporary = key.starts_with(&all_temporary());
            if !probe && recorded.may_name(&object, id)
                || staged && recorded.may_stage(&object)
                || temporary && is_active(&object)
            {
                continue;
            }
            let begun = timestamp(upload.initiated()).unwrap_or(Timestamp::UNIX_EPOCH);
            let moved = match last_part(&object, id).await {
                Ok(part) => begun.max(part),
                Err(error) => {
                    tracing::warn!(key, upload_id = id, %error,
                        "an open upload could not be looked at; it is left for the next time");
                    continue;
                }
            };
            let age = age(now(&object), moved);
            let ours = probe || staged || temporary || options.unrecorded == Unrecorded::Remove;
            let remove = ours && age >= options.unrecorded_age();
            found.push(Swept {
                kind: match probe {
                    true => SweptKind::Probe,
                    false => SweptKind::Unrecorded,
                },
                bucket: bucket.to_string(),
                key: key.to_owned(),
                user: String::new(),
                age,
                removed: remove,
            });
            if remove && !options.dry_run {
                abort_upload(&object, id).await;
            }
        }
        if output.is_truncated() != Some(true) || output.next_key_marker().is_none() {
            return Ok(found);
        }
        let next = (
            output.next_key_marker().map(str::to_owned),
            output.next_upload_id_marker().map(str::to_owned),
        );
        if next == (key_marker, id_marker) {
            return Err(NotS3::result(200, "whose next page is the same again"));
        }
        (key_marker, id_marker) = next;
    }
}

/// Lists the names of the records of a state bucket, so that this process knows of them: a small
/// upload, or a DELE, asks for a record only if there is one. 1 ListObjectsV2 for each 1,000.
pub async fn refresh_record_cache(
    store: &Arc<Store>,
    state_bucket: &Arc<str>,
) -> Result<(), ObjectError> {
    let state = Location {
        store: Arc::clone(store),
        bucket: Arc::clone(state_bucket),
        key: String::new(),
        attributes: None,
    };
    let cache = &store.context().record_cache;
    let prefix = all_records();
    let mut token = None;
    loop {
        let page = RawPage::fetch(&state, &prefix, None, 1000, token).await?;
        for key in page.keys {
            if key.size > 0 {
                let object = name_in(store, object_hash_in(&key.key));
                cache.insert(&object, user_hash_in(&key.key));
            } else {
                let at = Location {
                    key: key.key,
                    ..state.clone()
                };
                cache.insert_emptied(&record_name(&at), key.etag);
            }
        }
        if page.next.is_none() {
            return Ok(());
        }
        token = page.next;
    }
}

struct Sweep<'a> {
    state: Location,
    options: &'a SweepOptions,
    recorded: &'a mut Recorded,
    /// Keys of tails that records name which stay.
    tails: HashSet<String>,
    found: Vec<Swept>,
}

impl Sweep<'_> {
    async fn records(&mut self) -> Result<(), ObjectError> {
        let prefix = all_records();
        let mut token = None;
        loop {
            let page = RawPage::fetch(&self.state, &prefix, None, 1000, token).await?;
            for key in &page.keys {
                if let Err(error) = self.record(&key.key).await {
                    self.protect(&key.key);
                    tracing::warn!(key = key.key, %error,
                        "a record could not be swept; it is left for the next time");
                }
            }
            if page.next.is_none() {
                return Ok(());
            }
            token = page.next;
        }
    }

    /// All open uploads and tails of a record's bucket and key stay.
    fn protect(&mut self, key: &str) {
        let hash = object_hash_in(key).to_owned();
        self.recorded.unread.insert(hash);
    }

    async fn record(&mut self, key: &str) -> Result<(), ObjectError> {
        let at = Location {
            key: key.to_owned(),
            ..self.state.clone()
        };
        match records::read(&at).await? {
            SlotContent::Record(read)
                if is_named_rightly(&read.record.bucket, &read.record.key, key) =>
            {
                self.known(&read).await
            }
            SlotContent::Later(later)
                if is_named_rightly(&later.names.bucket, &later.names.key, key) =>
            {
                self.later(&at, *later).await
            }
            SlotContent::Empty(etag) => self.empty(&at, &etag).await,
            // It was listed, so it is there and cannot be read.
            SlotContent::Nothing
            | SlotContent::Garbage(_)
            | SlotContent::Record(_)
            | SlotContent::Later(_) => {
                self.protect(key);
                Ok(())
            }
        }
    }

    async fn known(&mut self, read: &StoredRecord) -> Result<(), ObjectError> {
        let record = &read.record;
        let object = self.object(&record.bucket, &record.key);
        if let Some(upload) = &record.upload {
            self.recorded.uploads.insert(upload.id.clone());
        }
        let context = self.state.store.context();
        let active = &context.active_uploads;
        let now = now(&self.state);
        let here = name_in(&self.state.store, object_hash_in(&read.key));
        let aside = is_aside(&read.key);
        let alive = read.in_use_for(&context.replica, now).is_some()
            || if aside {
                active.has_attempt(&here, &record.attempt.id)
            } else {
                active.has_upload_by(&here, &record.user)
            };
        // An upload whose record was set aside may run without refreshing it.
        let moved = match &record.upload {
            Some(upload) if aside => {
                let parts = upload.at(&object, &self.state);
                read.written.max(last_part(&parts, &upload.id).await?)
            }
            _ => read.written,
        };
        let age = age(now, moved);
        let ended = !alive && !aside && self.has_ended(read, &object, age).await?;
        let old = match aside {
            true => self.options.unrecorded_age(),
            false => self.options.older_than,
        };
        let remove = !alive && (ended || age >= old);
        self.found.push(Swept {
            kind: SweptKind::Upload,
            bucket: record.bucket.clone(),
            key: record.key.clone(),
            user: record.user.clone(),
            age,
            removed: remove,
        });
        if remove && !self.options.dry_run {
            read.discard(&object).await;
        } else {
            if !remove {
                context.record_cache.insert(&here, user_hash_in(&read.key));
            }
            let tail = record.tail.iter();
            self.tails.extend(tail.flat_map(|tail| tail.keys()));
        }
        Ok(())
    }

    /// Whether an upload that does not run can never be resumed: it is being removed, or was never
    /// to be kept, or the object has been written since, or it has lain over an existing object for
    /// too long.
    async fn has_ended(
        &self,
        read: &StoredRecord,
        object: &Location,
        age: Duration,
    ) -> Result<bool, ObjectError> {
        if matches!(
            read.record.state,
            RecordState::Removing | RecordState::Doubtful
        ) {
            return Ok(true);
        }
        let info = match head(object).await {
            Ok(info) => Some(info),
            Err(ObjectError::NotFound) => None,
            // It is there: no more can be seen of it without the key.
            Err(ObjectError::OtherKey) => return Ok(age >= self.options.over_object),
            Err(error) => return Err(error),
        };
        let expired = info.is_some() && age >= self.options.over_object;
        Ok(expired || written_since(&read.record, info.as_ref()))
    }

    /// A record of a later format: what it names is removed by the fields that never change, once
    /// it is old. Until then it protects whatever it may name.
    async fn later(&mut self, at: &Location, later: LaterRecord) -> Result<(), ObjectError> {
        let names = &later.names;
        let object = self.object(&names.bucket, &names.key);
        let moved = match &names.upload {
            Some(upload) => {
                let parts = upload.at(&object, &self.state);
                later.written.max(last_part(&parts, &upload.id).await?)
            }
            None => later.written,
        };
        let age = age(now(&self.state), moved);
        // How its process says that it is alive is not known.
        let remove = age >= self.options.unrecorded_age();
        self.found.push(Swept {
            kind: SweptKind::Upload,
            bucket: names.bucket.clone(),
            key: names.key.clone(),
            user: String::new(),
            age,
            removed: remove,
        });
        if !remove || self.options.dry_run {
            self.protect(&at.key);
            return Ok(());
        }
        if let Some(upload) = &names.upload
            && !abort_upload(&upload.at(&object, &self.state), &upload.id).await
        {
            self.protect(&at.key);
            return Ok(());
        }
        if let Some(tail) = names.tail_prefix() {
            remove_all(&self.state, tail).await?;
        }
        end(at, &later.etag, Leave::Nothing).await;
        Ok(())
    }

    /// An empty record is deleted once it is old, whatever the store thinks of conditions: it is
    /// looked at right before.
    async fn empty(&mut self, at: &Location, etag: &str) -> Result<(), ObjectError> {
        let info = match head(at).await {
            Ok(info) => info,
            Err(ObjectError::NotFound) => return Ok(()),
            Err(error) => return Err(error),
        };
        let old = age(now(at), info.modified) >= EMPTY;
        if info.size == 0 && old && !self.options.dry_run {
            match delete(at, Some(etag)).await {
                Ok(()) | Err(ObjectError::Conflict) => {}
                Err(ObjectError::Unsupported(_)) => delete(at, None).await?,
                Err(error) => return Err(error),
            }
            let cache = &at.store.context().record_cache;
            cache.take_emptied(&record_name(at));
        }
        Ok(())
    }

    fn object(&self, bucket: &str, key: &str) -> Location {
        Location {
            bucket: bucket.into(),
            key: key.to_owned(),
            ..self.state.clone()
        }
    }

    async fn tails(&mut self) -> Result<(), ObjectError> {
        let prefix = all_tails();
        let active = &self.state.store.context().active_uploads;
        let is_named = |key: &str| {
            let hash = object_hash_in(key);
            self.tails.contains(key)
                || self.recorded.unread.contains(hash)
                || active.has_upload(&name_in(&self.state.store, hash))
        };
        let found = objects(
            &self.state,
            &prefix,
            SweptKind::Tail,
            self.options,
            is_named,
        );
        let found = found.await?;
        self.found.extend(found);
        Ok(())
    }
}

/// Objects of a bucket that no record names.
async fn objects(
    bucket: &Location,
    prefix: &str,
    kind: SweptKind,
    options: &SweepOptions,
    is_named: impl Fn(&str) -> bool,
) -> Result<Vec<Swept>, ObjectError> {
    let mut found = Vec::new();
    let mut token = None;
    loop {
        let page = RawPage::fetch(bucket, prefix, None, 1000, token).await?;
        for key in page.keys.iter().filter(|key| !is_named(&key.key)) {
            let age = age(now(bucket), key.modified);
            let remove = age >= options.unrecorded_age();
            found.push(Swept {
                kind,
                bucket: bucket.bucket.to_string(),
                key: key.key.clone(),
                user: String::new(),
                age,
                removed: remove,
            });
            if remove && !options.dry_run {
                let at = Location {
                    key: key.key.clone(),
                    ..bucket.clone()
                };
                if let Err(error) = delete(&at, None).await {
                    tracing::warn!(key = at.key, %error,
                        "could not be removed; it is left for the next time");
                }
            }
        }
        if page.next.is_none() {
            return Ok(found);
        }
        token = page.next;
    }
}

impl Recorded {
    fn may_name(&self, object: &Location, upload_id: &str) -> bool {
        self.uploads.contains(upload_id)
            || self
                .unread
                .contains(&object_hash(&object.bucket, &object.key))
    }

    /// Whether a staged key is of an object that this process uploads, or whose record could not be
    /// read.
    fn may_stage(&self, staged: &Location) -> bool {
        let hash = object_hash_in(&staged.key);
        let active = &staged.store.context().active_uploads;
        self.unread.contains(hash) || active.has_upload(&name_in(&staged.store, hash))
    }
}

/// Whether this process uploads an object.
fn is_active(object: &Location) -> bool {
    let active = &object.store.context().active_uploads;
    active.has_upload(&name_of(object))
}

/// Whether a record of this bucket and key lies where it belongs: else what it names is not to be
/// believed.
fn is_named_rightly(bucket: &str, key: &str, at: &str) -> bool {
    object_hash(bucket, key) == object_hash_in(at)
}

/// Deletes all objects of a prefix.
async fn remove_all(state: &Location, prefix: &str) -> Result<(), ObjectError> {
    let mut token = None;
    loop {
        let page = RawPage::fetch(state, prefix, None, 1000, token).await?;
        for key in page.keys {
            let at = Location {
                key: key.key,
                ..state.clone()
            };
            delete(&at, None).await?;
        }
        if page.next.is_none() {
            return Ok(());
        }
        token = page.next;
    }
}
