//! Removes what broken uploads have left and nobody has gone on with.
//!
//! Records are read one after the other; whatever a record that stays names is left alone, and so is what belongs to
//! a process that is alive. Open multipart uploads that no record names may be anybody's: they are only told, and
//! removed where that is asked for by hand. Those that a probe has opened (capabilities) are ours by their key.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::super::capabilities::PROBE_PREFIX;
use super::super::error::failure;
use super::super::head::timestamp;
use super::super::list::RawPage;
use super::super::multipart::abort_upload;
use super::super::{Location, ObjectError, Store, delete, head};
use super::find::{discard, last_part, now, superseded};
use super::record::{self, Keep, Read, STATE_PREFIX};
use super::running::name_in;

/// What to sweep.
#[derive(Debug, Clone)]
pub struct SweepOptions {
    /// Only what has not moved for so long.
    pub older_than: Duration,
    /// Tell, and remove nothing.
    pub dry_run: bool,
    /// Where open multipart uploads that no record names are looked for, and whether they are removed.
    pub unrecorded: Unrecorded,
}

/// What becomes of open multipart uploads that no record names: a foreign tool's, or ours whose process was killed, or
/// whose CreateMultipartUpload lost its answer, before a record could name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrecorded {
    /// They are not looked for.
    Ignore,
    /// They are told.
    Tell,
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
}

impl std::fmt::Display for SweptKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            SweptKind::Upload => "upload",
            SweptKind::Tail => "tail",
            SweptKind::Probe => "probe",
            SweptKind::Unrecorded => "unrecorded upload",
        })
    }
}

/// What the records of state buckets name. Those of all of them have to be read before anything of a bucket is called
/// unrecorded: the state of its uploads can be in several.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Upload ids.
    uploads: HashSet<String>,
    /// Names of records that could not be read: what they name is not known.
    unread: HashSet<String>,
}

/// Sweeps one state bucket of a store, tells all that is there, and notes what its records name. Errors of single
/// requests are told in the log, and what they were about is left for the next time; the error here is that of the
/// listing.
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
    };
    objects(&bucket, PROBE_PREFIX, SweptKind::Probe, options, |_| false).await
}

/// Sweeps the open multipart uploads of a bucket that probes have left, and tells those that no record names, where that
/// is asked for, or removes them. Errors as in [`sweep()`]. Not every store lists the uploads of a prefix (MinIO takes it
/// for a whole key): there those of probes are found where all are listed.
pub async fn sweep_uploads(
    store: &Arc<Store>,
    bucket: &Arc<str>,
    options: &SweepOptions,
    recorded: &Recorded,
) -> Result<Vec<Swept>, ObjectError> {
    let prefix = (options.unrecorded == Unrecorded::Ignore).then(|| PROBE_PREFIX.to_owned());
    let mut found = Vec::new();
    let (mut key_marker, mut id_marker) = (None, None);
    loop {
        let request = store
            .client()
            .list_multipart_uploads()
            .bucket(&**bucket)
            .set_prefix(prefix.clone())
            .set_key_marker(key_marker)
            .set_upload_id_marker(id_marker);
        let output = Box::pin(request.send()).await.map_err(failure)?;
        for upload in output.uploads() {
            let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) else {
                continue;
            };
            let object = Location {
                store: Arc::clone(store),
                bucket: Arc::clone(bucket),
                key: key.to_owned(),
            };
            let probe = key.starts_with(PROBE_PREFIX);
            if !probe && recorded.may_name(&object, id) {
                continue;
            }
            let begun = timestamp(upload.initiated()).unwrap_or(Timestamp::UNIX_EPOCH);
            let moved = match last_part(&object, id).await {
                Ok(part) => begun.max(part),
                Err(error) => {
                    tracing::warn!(key, upload_id = id, %error, "an open upload could not be looked at; it is left for the next time");
                    continue;
                }
            };
            let age = age(now(&object), moved);
            let ours = probe || options.unrecorded == Unrecorded::Remove;
            let remove = ours && age >= options.older_than;
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
        key_marker = output.next_key_marker().map(str::to_owned);
        id_marker = output.next_upload_id_marker().map(str::to_owned);
    }
}

/// Lists the names of the records of a state bucket, so that this process knows of them: a small upload, or a DELE, asks
/// for a record only where there is one. 1 ListObjectsV2 for each 1,000.
pub async fn learn(store: &Arc<Store>, state_bucket: &Arc<str>) -> Result<(), ObjectError> {
    let state = Location {
        store: Arc::clone(store),
        bucket: Arc::clone(state_bucket),
        key: String::new(),
    };
    let running = &store.context().replica.running;
    let prefix = format!("{STATE_PREFIX}uploads/");
    let mut token = None;
    loop {
        let page = RawPage::fetch(&state, &prefix, None, 1000, token).await?;
        for key in &page.keys {
            running.hint(&name_in(store, key.key.trim_start_matches(&prefix)));
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
        let prefix = format!("{STATE_PREFIX}uploads/");
        let mut token = None;
        loop {
            let page = RawPage::fetch(&self.state, &prefix, None, 1000, token).await?;
            for key in &page.keys {
                let name = key.key.trim_start_matches(&prefix).to_owned();
                if let Err(error) = self.record(&key.key, &name).await {
                    self.recorded.unread.insert(name);
                    tracing::warn!(key = key.key, %error, "a record could not be swept; it is left for the next time");
                }
            }
            if page.next.is_none() {
                return Ok(());
            }
            token = page.next;
        }
    }

    async fn record(&mut self, key: &str, name: &str) -> Result<(), ObjectError> {
        let at = Location {
            key: key.to_owned(),
            ..self.state.clone()
        };
        let Some(read) = record::read(&at).await? else {
            self.recorded.unread.insert(name.to_owned());
            return Ok(());
        };
        let record = &read.record;
        let object = Location {
            bucket: record.bucket.as_str().into(),
            key: record.key.clone(),
            ..self.state.clone()
        };
        let others = record.others.iter().chain(&record.given_up);
        for upload in record.upload.iter().chain(others) {
            self.recorded.uploads.insert(upload.id.clone());
        }
        let replica = &self.state.store.context().replica;
        let now = now(&self.state);
        let here = name_in(&self.state.store, name);
        let alive = replica.running.holds(&here) || read.alive_for(replica, now).is_some();
        let age = age(now, self.moved(&read, &object).await?);
        // Whoever has taken the place of the object has ended what was kept of it.
        let ended = !alive && !record.is_nobodys() && {
            let info = match head(&object).await {
                Ok(info) => Some(info),
                Err(ObjectError::NotFound) => None,
                Err(error) => return Err(error),
            };
            superseded(record, info.as_ref())
        };
        let remove = !alive && (ended || age >= self.options.older_than);
        self.found.push(Swept {
            kind: SweptKind::Upload,
            bucket: record.bucket.clone(),
            key: record.key.clone(),
            user: record.user.clone(),
            age,
            removed: remove,
        });
        if remove && !self.options.dry_run {
            let keep = Keep {
                user: record.user.as_str().into(),
                state_bucket: Arc::clone(&self.state.bucket),
            };
            discard(&read, &object, &keep).await;
        }
        if !remove {
            replica.running.hint(&here);
        }
        if !remove || self.options.dry_run {
            self.tails
                .extend(record.tail.as_ref().map(|tail| tail.key.clone()));
        }
        Ok(())
    }

    /// When an upload has last moved: when its record was written, or the last of its parts. One that has no record of
    /// its own any more, since a newer one of its key took that over, may still run.
    async fn moved(&self, read: &Read, object: &Location) -> Result<Timestamp, ObjectError> {
        let mut moved = read.written;
        if read.record.is_nobodys()
            && let Some(upload) = &read.record.upload
        {
            moved = moved.max(last_part(object, &upload.id).await?);
        }
        Ok(moved)
    }

    async fn tails(&mut self) -> Result<(), ObjectError> {
        let prefix = format!("{STATE_PREFIX}tails/");
        let running = &self.state.store.context().replica.running;
        let is_named = |key: &str| {
            let name = key.trim_start_matches(&prefix);
            let name = name.split('/').next().unwrap_or_default();
            self.tails.contains(key)
                || self.recorded.unread.contains(name)
                || running.holds(&name_in(&self.state.store, name))
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

/// Objects of a bucket that nobody names.
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
            let remove = age >= options.older_than;
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
                    tracing::warn!(key = at.key, %error, "could not be removed; it is left for the next time");
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
                .contains(&record::name(&object.bucket, &object.key))
    }
}

fn age(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}
