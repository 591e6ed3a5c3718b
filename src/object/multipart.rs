//! Multipart uploads as requests: create, copy a range, complete, abort. Shared by uploads, appends
//! and large copies.

pub(in crate::object) mod list_parts;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tracing::warn;

use crate::object::attributes::{CustomerKey, with_key, with_source_key};
use crate::object::backoff::Backoff;
use crate::object::checksum::{Integrity, crc_from_header, crc_header};
use crate::object::echo::{Echo, Echoed};
use crate::object::error::{NotS3, ObjectError, RequestFailure, failure};
use crate::object::head::{Attributes, with_attributes};
use crate::object::keys;
use crate::object::location::Location;
use crate::object::part_sizes::{CopyRange, SMALLEST_PART};
use crate::object::precondition::Precondition;
use crate::object::retry::{Attempts, LookFirst, Sent};
use crate::object::transfer_id::{TRANSFER_KEY, TransferId};
use crate::object::verify::{LateWrite, WriteCheck, look, look_until};

/// How often a CompleteMultipartUpload without a clear end is sent again, beyond the SDK's own
/// attempts.
const COMPLETE_ROUNDS: u32 = 3;

/// How often an abort is tried, beyond the SDK's own attempts.
const ABORT_ROUNDS: u32 = 4;

/// Between two attempts to copy a part or to complete an upload.
const PAUSES: Backoff = Backoff::doubling(Duration::from_millis(600));

/// Between two attempts to abort an upload.
const ABORT_PAUSES: Backoff = Backoff::quadrupling(Duration::from_millis(500));

/// What is written where, and by which transfer.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// The object.
    pub location: Location,
    /// The key that its bytes are written to before it is published by a copy, if it has one.
    pub staged: Option<Location>,
    /// The transfer.
    pub id: TransferId,
    /// Its attributes; the metadata hold the transfer id.
    pub attributes: Attributes,
}

/// What parts are copied from.
#[derive(Debug, Clone, Copy)]
pub(super) struct CopySource<'a> {
    /// Where it is.
    pub at: &'a Location,
    /// Its ETag.
    pub etag: &'a str,
    /// The customer's key that it is encrypted with.
    pub key: Option<&'a CustomerKey>,
}

/// A multipart upload that is open in the store.
#[derive(Debug, Clone)]
pub(super) struct Created {
    /// S3's UploadId.
    pub upload_id: Arc<str>,
    /// How its parts are protected.
    pub integrity: Integrity,
    /// When it was created.
    pub at: Instant,
}

/// A part that the store has.
#[derive(Debug, Clone)]
pub(super) struct DonePart {
    /// 1 to 10,000.
    pub number: u32,
    /// ETag with its quotes.
    pub etag: String,
    /// CRC-32 of its bytes, if known.
    pub crc: Option<u32>,
    /// Bytes.
    pub size: u64,
}

/// What a finished multipart upload is.
#[derive(Debug)]
pub(super) struct Completed {
    /// ETag with its quotes.
    pub etag: Option<String>,
    /// The version, if the answer named it.
    pub version_id: Option<String>,
    /// The CRC-32 of all bytes, if that of each part is known.
    pub crc32: Option<u32>,
}

/// A CompleteMultipartUpload that was answered with 200.
#[derive(Debug)]
struct CompleteAnswer {
    completed: Completed,
    /// What it says of the checksum.
    echoed: Echoed,
}

/// Where the bytes of the parts come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartSource {
    /// All are sent from here.
    Sent,
    /// Some are copied inside the store.
    Copied,
}

/// How a multipart upload that is given up is aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AbortMode {
    /// At once: it was never completed.
    AtOnce,
    /// It may have been completed: only if the object is seen not to be ours, or the store keeps
    /// silent to the end.
    LookFirst,
}

/// How a CompleteMultipartUpload failed.
#[derive(Debug)]
pub(super) struct CompleteError {
    /// Why.
    pub error: ObjectError,
    /// How the upload is to be aborted: it may have been completed all the same.
    pub abort: AbortMode,
}

impl Target {
    /// Adds the transfer id to the attributes.
    pub(super) fn new(location: Location, id: TransferId, mut attributes: Attributes) -> Self {
        attributes
            .metadata
            .insert(TRANSFER_KEY.to_owned(), id.as_str().to_owned());
        Target {
            location,
            staged: None,
            id,
            attributes,
        }
    }

    /// The same object, whose bytes are written to a staged key first.
    pub(super) fn staged_at(self, staged: Option<Location>) -> Self {
        Target { staged, ..self }
    }

    /// Where its bytes are written: at the staged key, if there is one, else at the object.
    pub(super) fn written_at(&self) -> &Location {
        self.staged.as_ref().unwrap_or(&self.location)
    }

    /// The attributes of what is written there: most of those of the object are for the object.
    pub(super) fn written_attributes(&self) -> Cow<'_, Attributes> {
        match self.staged {
            None => Cow::Borrowed(&self.attributes),
            Some(_) => Cow::Owned(self.attributes.of_staged()),
        }
    }

    /// The customer's key that it is encrypted with, at both places.
    pub(super) fn key(&self) -> Option<&CustomerKey> {
        self.location.key_of(&self.attributes)
    }

    /// CreateMultipartUpload; `tagging`, as in `x-amz-tagging`, if the attributes have none.
    pub(super) async fn create(
        &self,
        tagging: Option<String>,
        parts: PartSource,
    ) -> Result<Created, ObjectError> {
        let store = &self.written_at().store;
        // Where the upload has a checksum each part needs one, and few stores but AWS compute it of
        // a copied part (MinIO refuses it).
        let integrity = if parts == PartSource::Copied && store.config().endpoint.is_some() {
            Integrity::Signed
        } else {
            store.integrity_of_parts(&self.written_at().bucket).await
        };
        let crc = integrity == Integrity::Crc32;
        let attributes = self.written_attributes();
        let request = with_attributes!(store.client().create_multipart_upload(), &attributes)
            .bucket(&*self.written_at().bucket)
            .key(&self.written_at().key)
            .set_tagging(attributes.tagging.clone().or(tagging))
            .set_checksum_algorithm(crc.then_some(ChecksumAlgorithm::Crc32))
            .set_checksum_type(crc.then_some(ChecksumType::FullObject));
        let request = with_key!(request, self.key());
        let output = Box::pin(request.send()).await.map_err(failure)?;
        match output.upload_id() {
            Some(id) => Ok(Created {
                upload_id: id.into(),
                integrity,
                at: Instant::now(),
            }),
            None => Err(ObjectError::Other(
                "CreateMultipartUpload without an UploadId".to_owned(),
            )),
        }
    }

    /// UploadPartCopy of a range of `source`, pinned to its ETag. One that fails is
    /// sent again, unless the store has been silent for as long as a copy may take.
    pub(super) async fn copy_part(
        &self,
        created: &Created,
        number: u32,
        source: CopySource<'_>,
        range: CopyRange,
    ) -> Result<DonePart, ObjectError> {
        let store = &self.written_at().store;
        let rounds = store.config().attempts.max(1);
        let mut round = 0;
        loop {
            let begun = Instant::now();
            let attempts = Attempts::after(round);
            let once = self.copy_part_once(created, number, source, range, attempts);
            let failure = match once.await {
                Ok(part) => return Ok(part),
                Err(failure) => failure,
            };
            let silent = begun.elapsed() >= store.copy_silence(range.size);
            let unclear = failure.ambiguous() || failure.error.transient();
            round += 1;
            if silent || !unclear || round == rounds {
                return Err(failure.error);
            }
            PAUSES.pause(round).await;
        }
    }

    async fn copy_part_once(
        &self,
        created: &Created,
        number: u32,
        source: CopySource<'_>,
        range: CopyRange,
        attempts: Attempts,
    ) -> Result<DonePart, RequestFailure> {
        let store = &self.written_at().store;
        let request = store
            .client()
            .upload_part_copy()
            .bucket(&*self.written_at().bucket)
            .key(&self.written_at().key)
            .upload_id(&*created.upload_id)
            .part_number(part_number(number))
            .copy_source(keys::copy_source(&source.at.bucket, &source.at.key))
            .copy_source_if_match(source.etag)
            .set_copy_source_range(copy_source_range(range));
        let request = with_key!(request, self.key());
        let request = with_source_key!(request, source.key)
            .customize()
            .interceptor(attempts)
            .config_override(
                store
                    .deadline_for_copy(range.size)
                    .retry_classifier(LookFirst),
            );
        let output = Box::pin(request.send()).await.map_err(failure)?;
        let result = output.copy_part_result();
        let etag = result.and_then(|part| part.e_tag());
        Ok(DonePart {
            number,
            etag: whole_etag(etag)
                .ok_or_else(|| {
                    RequestFailure::unclear("UploadPartCopy was answered without an ETag")
                })?
                .to_owned(),
            crc: result
                .and_then(|part| part.checksum_crc32())
                .and_then(crc_from_header),
            size: range.size,
        })
    }

    /// Why a part could not be stored. Some stores drop open uploads of a key when it is written:
    /// then the newer object says more than that the upload is unknown.
    pub(super) async fn part_failed(
        &self,
        created: &Created,
        failure: RequestFailure,
    ) -> ObjectError {
        if failure.no_such_upload()
            && let WriteCheck::Other(info) = look(self.written_at(), &self.id, None).await
            && newer(info.modified, created, &failure)
        {
            return ObjectError::Superseded;
        }
        if failure.no_such_upload() {
            return ObjectError::Lost;
        }
        failure.error
    }

    /// CompleteMultipartUpload under a condition. An answer without a clear end is settled by
    /// looking for the transfer id, and by sending the request again, which S3 allows.
    pub(super) async fn complete(
        &self,
        created: &Created,
        mut parts: Vec<DonePart>,
        precondition: &Precondition,
    ) -> Result<Completed, CompleteError> {
        parts.sort_unstable_by_key(|part| part.number);
        let size = Some(parts.iter().map(|part| part.size).sum());
        let crc32 = combined_crc(&parts);
        let mut last = ObjectError::Timeout;
        let attempts = Attempts::default();
        for round in 0..COMPLETE_ROUNDS {
            if round > 0 {
                PAUSES.pause(round).await;
            }
            let answer = self.complete_once(created, &parts, precondition, &attempts);
            let answer = answer.await;
            let sent = attempts.sent();
            let failure = match answer {
                Ok(answer) if answer.echoed == Echoed::AsEver && sent == Sent::Once => {
                    return Ok(answer.completed);
                }
                // A store that was killed while it put the parts together may say 200 from then on,
                // with no object there (versitygw).
                Ok(answer) => {
                    match look_until(self.written_at(), &self.id, size, LateWrite::Impossible).await
                    {
                        WriteCheck::Ours(_) => {
                            if answer.echoed == Echoed::Missing {
                                self.written_at().store.echoes().complete.missed();
                            }
                            return Ok(answer.completed);
                        }
                        // Nothing else speaks against the answer.
                        WriteCheck::Unknown(ObjectError::Denied(_)) => return Ok(answer.completed),
                        WriteCheck::Unknown(error) => {
                            return Err(CompleteError {
                                error,
                                abort: AbortMode::LookFirst,
                            });
                        }
                        WriteCheck::Other(_) | WriteCheck::Absent => {
                            last = match answer.echoed {
                                Echoed::Missing => Echo::missing(),
                                Echoed::AsEver => not_there(),
                            };
                            continue;
                        }
                    }
                }
                Err(failure) => failure,
            };
            // A 404 of the key is how S3 says that If-Match has nothing to match.
            let condition = failure.condition_failed()
                || (precondition.wants_object() && matches!(failure.error, ObjectError::NotFound));
            let lost = failure.no_such_upload();
            if !(condition || lost || failure.ambiguous() || failure.concurrent_write()) {
                let check = match sent {
                    Sent::Repeatedly if !failure.stored_wrong() => {
                        Some(look(self.written_at(), &self.id, size).await)
                    }
                    Sent::Once | Sent::Repeatedly => None,
                };
                if let Some(WriteCheck::Ours(info)) = check {
                    return Ok(Completed {
                        etag: Some(info.etag),
                        version_id: None,
                        crc32,
                    });
                }
                // The round before had no clear answer.
                let open = round > 0 || matches!(check, Some(WriteCheck::Unknown(_)));
                return Err(CompleteError {
                    error: failure.error,
                    abort: match open {
                        false => AbortMode::AtOnce,
                        true => AbortMode::LookFirst,
                    },
                });
            }
            let decided = |error| {
                Err(CompleteError {
                    error,
                    abort: AbortMode::AtOnce,
                })
            };
            match look_until(self.written_at(), &self.id, size, LateWrite::Impossible).await {
                WriteCheck::Ours(info) => {
                    return Ok(Completed {
                        etag: Some(info.etag),
                        version_id: None,
                        crc32,
                    });
                }
                WriteCheck::Other(_) | WriteCheck::Absent if condition => {
                    return decided(ObjectError::Conflict);
                }
                WriteCheck::Other(info) if lost && newer(info.modified, created, &failure) => {
                    return decided(ObjectError::Superseded);
                }
                WriteCheck::Other(_) | WriteCheck::Absent if lost => {
                    return decided(ObjectError::Lost);
                }
                WriteCheck::Other(_) | WriteCheck::Absent => last = failure.error,
                // An attempt before this one may have completed it.
                WriteCheck::Unknown(unseen) if condition && sent == Sent::Repeatedly => {
                    return Err(CompleteError {
                        error: unseen,
                        abort: AbortMode::LookFirst,
                    });
                }
                // That the store can't be reached says more than the condition.
                check @ WriteCheck::Unknown(_) if condition || lost => {
                    return Err(CompleteError {
                        error: check.unless_unseen(failure.error),
                        abort: AbortMode::LookFirst,
                    });
                }
                WriteCheck::Unknown(error) => {
                    warn!(key = self.written_at().key, transfer = %self.id, %error,
                        "CompleteMultipartUpload has no clear answer, and the object could not be \
                         looked at");
                    return Err(CompleteError {
                        error: failure.error,
                        abort: AbortMode::LookFirst,
                    });
                }
            }
        }
        Err(CompleteError {
            error: last,
            abort: AbortMode::LookFirst,
        })
    }

    async fn complete_once(
        &self,
        created: &Created,
        parts: &[DonePart],
        precondition: &Precondition,
        attempts: &Attempts,
    ) -> Result<CompleteAnswer, RequestFailure> {
        let store = &self.written_at().store;
        let conditions = precondition
            .conditions_of_parts(self.written_at())
            .await
            .map_err(RequestFailure::from_error)?;
        let crc = (created.integrity == Integrity::Crc32)
            .then(|| combined_crc(parts))
            .flatten();
        let size: u64 = parts.iter().map(|part| part.size).sum();
        let list = parts
            .iter()
            .map(|part| {
                CompletedPart::builder()
                    .part_number(part_number(part.number))
                    .e_tag(&part.etag)
                    .set_checksum_crc32(
                        part.crc
                            .filter(|_| created.integrity == Integrity::Crc32)
                            .map(crc_header),
                    )
                    .build()
            })
            .collect();
        let request = store
            .client()
            .complete_multipart_upload()
            .bucket(&*self.written_at().bucket)
            .key(&self.written_at().key)
            .upload_id(&*created.upload_id)
            .multipart_upload(
                CompletedMultipartUpload::builder()
                    .set_parts(Some(list))
                    .build(),
            )
            .set_checksum_type(crc.map(|_| ChecksumType::FullObject))
            .set_checksum_crc32(crc.map(crc_header))
            .set_mpu_object_size(i64::try_from(size).ok())
            .set_if_none_match(conditions.if_none_match)
            .set_if_match(conditions.if_match);
        let request = with_key!(request, self.key())
            .customize()
            .interceptor(attempts.clone())
            .config_override(store.deadline_for_parts(parts.len()));
        let output = Box::pin(request.send()).await.map_err(failure)?;
        let echo = &store.echoes().complete;
        let echoed = echo
            .check(crc, output.checksum_crc32())
            .map_err(RequestFailure::of)?;
        Ok(CompleteAnswer {
            completed: Completed {
                etag: output.e_tag().map(str::to_owned),
                version_id: output.version_id().map(str::to_owned),
                crc32: combined_crc(parts),
            },
            echoed,
        })
    }

    /// ListParts of one part; `None` if the store does not have it.
    pub(super) async fn listed_part(
        &self,
        created: &Created,
        number: u32,
    ) -> Result<Option<DonePart>, ObjectError> {
        let store = &self.written_at().store;
        let request = store
            .client()
            .list_parts()
            .bucket(&*self.written_at().bucket)
            .key(&self.written_at().key)
            .upload_id(&*created.upload_id)
            .part_number_marker((number - 1).to_string())
            .max_parts(1);
        let request = with_key!(request, self.key());
        let output = Box::pin(request.send()).await.map_err(failure)?;
        let part = output
            .parts()
            .iter()
            .find(|part| part.part_number() == Some(part_number(number)));
        Ok(part.map(|part| DonePart {
            number,
            etag: part.e_tag().unwrap_or_default().to_owned(),
            crc: part.checksum_crc32().and_then(crc_from_header),
            size: part
                .size()
                .and_then(|size| u64::try_from(size).ok())
                .unwrap_or(0),
        }))
    }

    /// Aborts until nothing is left.
    pub(super) async fn abort(&self, upload_id: &str, mode: AbortMode) {
        for round in 1..=ABORT_ROUNDS {
            if mode == AbortMode::LookFirst {
                match look(self.written_at(), &self.id, None).await {
                    WriteCheck::Ours(_) => {
                        warn!(key = self.written_at().key, transfer = %self.id,
                            "the upload was completed after it had been given up");
                        return;
                    }
                    WriteCheck::Unknown(_) if round < ABORT_ROUNDS => {
                        ABORT_PAUSES.pause(round).await;
                        continue;
                    }
                    _ => {}
                }
            }
            if abort_once(self.written_at(), upload_id).await {
                return;
            }
            if round < ABORT_ROUNDS {
                ABORT_PAUSES.pause(round).await;
            }
        }
    }
}

/// S3 takes no range of an object that is smaller than a part: it is copied whole.
fn copy_source_range(range: CopyRange) -> Option<String> {
    let whole = range.first == 0 && range.size < SMALLEST_PART;
    let last = range.first + range.size.saturating_sub(1);
    (!whole).then(|| format!("bytes={}-{last}", range.first))
}

/// Why the 200 to a repeated CompleteMultipartUpload is not taken.
fn not_there() -> ObjectError {
    NotS3::result(200, "and the object is not there")
}

/// Aborts an upload that is not needed any more; whether nothing is left of it.
pub(super) async fn abort_upload(object: &Location, upload_id: &str) -> bool {
    for round in 1..=ABORT_ROUNDS {
        if abort_once(object, upload_id).await {
            return true;
        }
        if round < ABORT_ROUNDS {
            ABORT_PAUSES.pause(round).await;
        }
    }
    false
}

/// AbortMultipartUpload; whether nothing is left of it.
async fn abort_once(object: &Location, upload_id: &str) -> bool {
    let request = object
        .store
        .client()
        .abort_multipart_upload()
        .bucket(&*object.bucket)
        .key(&object.key)
        .upload_id(upload_id);
    match Box::pin(request.send()).await.map_err(failure) {
        Ok(_) => true,
        Err(failure) if failure.status == Some(404) => true,
        Err(failure) => {
            warn!(key = object.key, upload_id, error = %failure.error,
                "AbortMultipartUpload failed");
            false
        }
    }
}

impl RequestFailure {
    /// An answer that is a success, but not for us.
    pub(super) fn of(error: ObjectError) -> Self {
        RequestFailure {
            status: Some(200),
            code: String::new(),
            headers: Box::default(),
            error,
        }
    }

    /// A success that does not say what was done: the request may have been carried out, or not.
    pub(super) fn unclear(what: &str) -> Self {
        RequestFailure {
            status: None,
            code: String::new(),
            headers: Box::default(),
            error: ObjectError::Unavailable(what.to_owned()),
        }
    }

    /// Whether other bytes are stored than were sent: there is nothing to look for.
    pub(super) fn stored_wrong(&self) -> bool {
        self.status == Some(200) && matches!(self.error, ObjectError::Integrity(_))
    }

    /// A failure before the request itself.
    fn from_error(error: ObjectError) -> Self {
        RequestFailure {
            // Neither ambiguous nor a condition: the error is final. A condition that we have
            // looked at ourselves may have met what an earlier round has written.
            status: match error {
                ObjectError::Conflict => Some(412),
                _ => Some(400),
            },
            code: String::new(),
            headers: Box::default(),
            error,
        }
    }
}

/// Whether an object was written after our upload began, by the store's clock alone: its time when
/// it answered, less what has passed here since.
fn newer(modified: Timestamp, created: &Created, failure: &RequestFailure) -> bool {
    let Some(now) = failure.headers.date else {
        return false;
    };
    // Both times are cut to seconds.
    let passed = created.at.elapsed() + Duration::from_secs(2);
    SignedDuration::try_from(passed)
        .ok()
        .and_then(|passed| now.checked_sub(passed).ok())
        .is_some_and(|began| modified >= began)
}

/// An ETag, if there is one that was not cut: one that begins with a quote ends with one, too.
pub(super) fn whole_etag(etag: Option<&str>) -> Option<&str> {
    etag.filter(|etag| match etag.strip_prefix('"') {
        Some(rest) => rest.len() > 1 && rest.ends_with('"'),
        None => !etag.is_empty(),
    })
}

/// A part number as the SDK wants it; it is at most 10,000.
pub(super) fn part_number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// The CRC-32 of the whole object, if that of each part is known.
pub(super) fn combined_crc(parts: &[DonePart]) -> Option<u32> {
    let mut whole = crc32fast::Hasher::new();
    for part in parts {
        whole.combine(&crc32fast::Hasher::new_with_initial_len(
            part.crc?, part.size,
        ));
    }
    Some(whole.finalize())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn crcs_combine() {
        let (a, b) = (b"hello ".as_slice(), b"world".as_slice());
        let part = |number, bytes: &[u8]| DonePart {
            number,
            etag: String::new(),
            crc: Some(crc32fast::hash(bytes)),
            size: bytes.len() as u64,
        };
        let mut parts = vec![part(1, a), part(2, b)];
        assert_eq!(combined_crc(&parts), Some(crc32fast::hash(b"hello world")));
        parts[0].crc = None;
        assert_eq!(combined_crc(&parts), None);
    }

    #[test]
    fn etags_that_are_whole() {
        for whole in ["\"a\"", "a", "\"a-2\""] {
            assert_eq!(whole_etag(Some(whole)), Some(whole));
        }
        for cut in ["", "\"", "\"\"", "\"a", "\"a-"] {
            assert_eq!(whole_etag(Some(cut)), None, "{cut}");
        }
    }
}
