//! [`Trial`]: what the server does with a bucket, done with probe objects, which are removed.
//!
//! All keys of a trial begin with `.s3ftpd/probe-`, the prefix of the server's probes, and an id of
//! the trial, by which the end of it finds what an answer that was lost has left. What it can't
//! remove, the sweep does.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use tokio_util::sync::CancellationToken;

use crate::object::capabilities::probe::{self, PROBE_PREFIX, ProbeTarget};
use crate::object::error::{ObjectError, failure};
use crate::object::head::{Attributes, with_attributes};
use crate::object::keys::copy_source;
use crate::object::location::Location;
use crate::object::look::{LookFailure, StoreTrouble, in_time, look};
use crate::object::options::Capability;
use crate::object::transfer_id::TransferId;

const BODY: &[u8] = b"s3ftpd tries what it may do in this bucket";

/// Keys that one page of the clean-up lists; a trial makes fewer.
const LEFT: i32 = 100;

/// Something that the server does in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialStep {
    /// ListObjectsV2.
    List,
    /// PutObject.
    Put,
    /// GetObject, of the bytes that were put.
    Get,
    /// CopyObject.
    Copy,
    /// CreateMultipartUpload, UploadPart, CompleteMultipartUpload.
    Multipart,
    /// CreateMultipartUpload, UploadPart, AbortMultipartUpload.
    Abort,
    /// DeleteObject.
    Delete,
}

impl TrialStep {
    /// Its fixed name.
    pub fn name(self) -> &'static str {
        match self {
            TrialStep::List => "list",
            TrialStep::Put => "put",
            TrialStep::Get => "get",
            TrialStep::Copy => "copy",
            TrialStep::Multipart => "multipart",
            TrialStep::Abort => "abort",
            TrialStep::Delete => "delete",
        }
    }
}

/// Something that not every store can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    /// A wrong CRC-32 is refused.
    Checksums,
    /// A wrong CRC-32 of a whole multipart upload is refused.
    FullObject,
    /// `If-None-Match: *` at PutObject is honoured.
    ConditionalWrites,
    /// `If-None-Match: *` at CompleteMultipartUpload is honoured.
    ConditionalComplete,
    /// If-Match at DeleteObject is honoured.
    ConditionalDeletes,
    /// An object hides the objects below its name from listings.
    FilesHideDirectories,
}

impl Ability {
    const ALL: [Ability; 6] = [
        Ability::Checksums,
        Ability::FullObject,
        Ability::ConditionalWrites,
        Ability::ConditionalComplete,
        Ability::ConditionalDeletes,
        Ability::FilesHideDirectories,
    ];

    /// Its fixed name: that of the key of the store, if there is one.
    pub fn name(self) -> &'static str {
        match self {
            Ability::Checksums => "checksums",
            Ability::FullObject => "full_object_checksums",
            Ability::ConditionalWrites => "conditional_writes",
            Ability::ConditionalComplete => "conditional_complete",
            Ability::ConditionalDeletes => "conditional_deletes",
            Ability::FilesHideDirectories => "files_hide_directories",
        }
    }

    async fn probe(self, at: ProbeTarget<'_>) -> Result<bool, ObjectError> {
        let answer = match self {
            Ability::Checksums => probe::checksums(at).await,
            Ability::FullObject => probe::full_object(at).await,
            Ability::ConditionalWrites => probe::conditions(at).await,
            Ability::ConditionalComplete => probe::conditional_complete(at).await,
            Ability::ConditionalDeletes => probe::conditional_deletes(at).await,
            Ability::FilesHideDirectories => probe::files_hide_directories(at).await,
        };
        answer.map_err(|failure| failure.error)
    }

    /// The key of the store that says what the store does not do, so that the server would rely on
    /// it in vain.
    fn contradicts(self, found: bool, at: &Location) -> Option<&'static str> {
        let config = at.store.config();
        let (stated, harmful, words) = match self {
            Ability::Checksums | Ability::FullObject => {
                (config.checksums, Capability::Yes, "checksums = \"crc32\"")
            }
            Ability::ConditionalWrites => (
                config.conditional_writes,
                Capability::Yes,
                "conditional_writes = true",
            ),
            Ability::ConditionalDeletes => (
                config.conditional_deletes,
                Capability::Yes,
                "conditional_deletes = true",
            ),
            Ability::FilesHideDirectories => (
                config.files_hide_directories,
                Capability::No,
                "files_hide_directories = false",
            ),
            // Probed whatever is configured.
            Ability::ConditionalComplete => return None,
        };
        let truth = match found {
            true => Capability::Yes,
            false => Capability::No,
        };
        (stated == harmful && truth != harmful).then_some(words)
    }
}

/// What a trial of a bucket has found.
#[derive(Debug, Default)]
pub struct Trial {
    /// What was tried, in order. After a step without which the next one means nothing, no more.
    pub steps: Vec<(TrialStep, Result<(), LookFailure>)>,
    /// What the store can do; an error: a probe without a result.
    pub abilities: Vec<(Ability, Result<bool, LookFailure>)>,
    /// Keys of the store that say what the store does not do.
    pub contradictions: Vec<&'static str>,
    /// Why probe objects may be left, for the sweep to remove.
    pub left: Option<LookFailure>,
}

impl Trial {
    /// Lists the directory: 1 ListObjectsV2. If it is cancelled, it has found nothing.
    pub async fn by_list(directory: &Location, cancel: &CancellationToken) -> Trial {
        let mut trial = Trial::default();
        if let Some(listed) = cancel.run_until_cancelled(look(directory)).await {
            trial.steps.push((TrialStep::List, listed));
        }
        trial
    }

    /// Does everything that the server may do in the directory's bucket. If it is cancelled, it
    /// ends with what it has found. It removes what it has made in each case.
    pub async fn by_writing(directory: &Location, cancel: &CancellationToken) -> Trial {
        let run = format!("{}-", TransferId::generate());
        let mut trial = Trial::by_list(directory, cancel).await;
        let reached = match trial.steps.last() {
            Some((_, Err(failure))) => {
                !failure.trouble.is_of_store() && failure.trouble != StoreTrouble::NoBucket
            }
            _ => true,
        };
        if !reached || cancel.is_cancelled() {
            return trial;
        }
        let bucket = TrialBucket {
            directory,
            run: &run,
        };
        cancel.run_until_cancelled(bucket.write(&mut trial)).await;
        // A key that may only read may not delete, either.
        if !trial.put_was_denied() {
            trial.left = bucket.clean_up().await.err();
        }
        trial
    }

    /// Whether a policy has denied the first write, so that nothing was made.
    fn put_was_denied(&self) -> bool {
        matches!(
            self.steps.last(),
            Some((TrialStep::Put, Err(failure))) if failure.trouble == StoreTrouble::Denied
        )
    }

    /// Whether everything that was tried is allowed, and the configuration agrees.
    pub fn passed(&self) -> bool {
        self.steps.iter().all(|(_, result)| result.is_ok())
            && self.contradictions.is_empty()
            && self.left.is_none()
    }
}

/// The bucket, and what the names of the probe objects of this trial begin with.
struct TrialBucket<'a> {
    directory: &'a Location,
    run: &'a str,
}

impl TrialBucket<'_> {
    async fn write(&self, trial: &mut Trial) {
        let object = self.at("object");
        let put = in_time(put(&object)).await;
        let stored = put.is_ok();
        trial.steps.push((TrialStep::Put, put));
        if !stored {
            return;
        }
        let steps = &mut trial.steps;
        steps.push((TrialStep::Get, in_time(get(&object)).await));
        let copied = in_time(copy(&object, &self.at("copy"))).await;
        steps.push((TrialStep::Copy, copied));
        let completed = in_time(multipart(&self.at("multipart"), EndOfUpload::Complete)).await;
        steps.push((TrialStep::Multipart, completed));
        let aborted = in_time(multipart(&self.at("aborted"), EndOfUpload::Abort)).await;
        steps.push((TrialStep::Abort, aborted));
        steps.push((TrialStep::Delete, in_time(delete(&object)).await));
        for ability in Ability::ALL {
            let found = in_time(ability.probe(self.probe_target())).await;
            if let Ok(found) = found
                && let Some(stated) = ability.contradicts(found, self.directory)
                && !trial.contradictions.contains(&stated)
            {
                trial.contradictions.push(stated);
            }
            trial.abilities.push((ability, found));
        }
    }

    /// Removes what this trial may have left: the objects by their names, then what can be listed.
    async fn clean_up(&self) -> Result<(), LookFailure> {
        let mut removed = Ok(());
        for name in ["object", "copy", "multipart"] {
            removed = removed.and(in_time(delete(&self.at(name))).await);
        }
        removed?;
        match in_time(self.remove_listed()).await {
            // Access keys that may only read and write objects may not list.
            Err(failure) if failure.trouble == StoreTrouble::Denied => Ok(()),
            removed => removed,
        }
    }

    async fn remove_listed(&self) -> Result<(), ObjectError> {
        let store = &self.directory.store;
        let bucket = &*self.directory.bucket;
        let prefix = format!("{PROBE_PREFIX}{}", self.run);
        let list = store.client().list_objects_v2().bucket(bucket);
        let list = list.prefix(&prefix).max_keys(LEFT).send();
        let listed = Box::pin(list).await.map_err(failure)?;
        for key in listed.contents().iter().filter_map(|object| object.key()) {
            delete(&self.keyed(key)).await?;
        }
        // Without a prefix: MinIO takes it for a whole key.
        let list = store.client().list_multipart_uploads().bucket(bucket);
        let listed = Box::pin(list.send()).await.map_err(failure)?;
        for upload in listed.uploads() {
            if let (Some(key), Some(id)) = (upload.key(), upload.upload_id())
                && key.starts_with(&prefix)
            {
                abort(&self.keyed(key), id).await?;
            }
        }
        Ok(())
    }

    fn at(&self, name: &str) -> Location {
        self.keyed(&format!("{PROBE_PREFIX}{}{name}", self.run))
    }

    fn keyed(&self, key: &str) -> Location {
        Location {
            key: key.to_owned(),
            ..self.directory.clone()
        }
    }

    fn probe_target(&self) -> ProbeTarget<'_> {
        ProbeTarget {
            client: self.directory.store.client(),
            bucket: &self.directory.bucket,
            run: self.run,
            attempts: self.directory.store.config().attempts.max(1),
        }
    }
}

async fn put(at: &Location) -> Result<(), ObjectError> {
    let attributes = Attributes::of_record(at);
    let request = with_attributes!(at.store.client().put_object(), &attributes);
    let request = request.bucket(&*at.bucket).key(&at.key);
    let request = request.body(ByteStream::from_static(BODY)).send();
    Box::pin(request).await.map_err(failure)?;
    Ok(())
}

async fn get(at: &Location) -> Result<(), ObjectError> {
    let request = at.store.client().get_object();
    let request = request.bucket(&*at.bucket).key(&at.key).send();
    let output = Box::pin(request).await.map_err(failure)?;
    let unreadable = |error: aws_sdk_s3::primitives::ByteStreamError| {
        ObjectError::Unavailable(error.to_string())
    };
    let bytes = output.body.collect().await.map_err(unreadable)?;
    match bytes.into_bytes() == BODY {
        true => Ok(()),
        false => Err(ObjectError::Integrity("other bytes came back".to_owned())),
    }
}

async fn copy(from: &Location, to: &Location) -> Result<(), ObjectError> {
    let attributes = Attributes::of_record(to);
    let request = with_attributes!(to.store.client().copy_object(), &attributes);
    let request = request.bucket(&*to.bucket).key(&to.key);
    let request = request.copy_source(copy_source(&from.bucket, &from.key));
    Box::pin(request.send()).await.map_err(failure)?;
    Ok(())
}

async fn delete(at: &Location) -> Result<(), ObjectError> {
    let request = at.store.client().delete_object();
    let request = request.bucket(&*at.bucket).key(&at.key).send();
    match Box::pin(request).await.map_err(failure) {
        Ok(_) => Ok(()),
        Err(failure) if matches!(failure.error, ObjectError::NotFound) => Ok(()),
        Err(failure) => Err(failure.error),
    }
}

#[derive(Debug, Clone, Copy)]
enum EndOfUpload {
    Complete,
    Abort,
}

async fn multipart(at: &Location, end: EndOfUpload) -> Result<(), ObjectError> {
    let attributes = Attributes::of_record(at);
    let create = with_attributes!(at.store.client().create_multipart_upload(), &attributes);
    let create = create.bucket(&*at.bucket).key(&at.key).send();
    let created = Box::pin(create).await.map_err(failure)?;
    let id = created.upload_id.unwrap_or_default();
    let ended = match (part(at, &id).await, end) {
        (Ok(part), EndOfUpload::Complete) => complete(at, &id, part).await,
        (Ok(_), EndOfUpload::Abort) => return abort(at, &id).await,
        (Err(error), _) => Err(error),
    };
    if ended.is_err() {
        // What is left if this fails, too, is listed at the end.
        let _ = abort(at, &id).await;
    }
    ended
}

async fn part(at: &Location, upload_id: &str) -> Result<CompletedPart, ObjectError> {
    let request = at.store.client().upload_part();
    let request = request.bucket(&*at.bucket).key(&at.key);
    let request = request.upload_id(upload_id).part_number(1);
    let request = request.body(ByteStream::from_static(BODY)).send();
    let sent = Box::pin(request).await.map_err(failure)?;
    let part = CompletedPart::builder().part_number(1);
    Ok(part.e_tag(sent.e_tag.unwrap_or_default()).build())
}

async fn complete(at: &Location, upload_id: &str, part: CompletedPart) -> Result<(), ObjectError> {
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    let request = at.store.client().complete_multipart_upload();
    let request = request.bucket(&*at.bucket).key(&at.key);
    let request = request.upload_id(upload_id).multipart_upload(parts);
    Box::pin(request.send()).await.map_err(failure)?;
    Ok(())
}

async fn abort(at: &Location, upload_id: &str) -> Result<(), ObjectError> {
    let request = at.store.client().abort_multipart_upload();
    let request = request.bucket(&*at.bucket).key(&at.key);
    match Box::pin(request.upload_id(upload_id).send())
        .await
        .map_err(failure)
    {
        Ok(_) => Ok(()),
        Err(failure) if failure.status == Some(404) => Ok(()),
        Err(failure) => Err(failure.error),
    }
}
