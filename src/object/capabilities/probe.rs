//! The probes themselves. The sweep removes what a probe leaves if its process is killed or a
//! request fails.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use tracing::debug;

use crate::object::checksum::crc_header;
use crate::object::error::{RequestFailure, failure};
use crate::object::transfer_id::TransferId;

/// What the keys of all probes begin with.
pub(in crate::object) const PROBE_PREFIX: &str = ".s3ftpd/probe-";

const BODY: &[u8] = b"s3ftpd looks what this store can do";

/// ETag of no probe.
const WRONG_ETAG: &str = "\"00000000000000000000000000000000\"";

/// CRC-32 of no probe body.
const WRONG_CRC32: &str = "AAAAAA==";

/// The bucket that is probed.
#[derive(Debug, Clone, Copy)]
pub(in crate::object) struct ProbeTarget<'a> {
    /// The store's client.
    pub(in crate::object) client: &'a Client,
    /// The bucket.
    pub(in crate::object) bucket: &'a str,
    /// What the names of the probe objects begin with, after [`PROBE_PREFIX`].
    pub(in crate::object) run: &'a str,
    /// How often a request is sent that may be sent again, with its first time.
    pub(in crate::object) attempts: u32,
}

/// Whether a wrong CRC-32 is refused because it is wrong.
pub(in crate::object) async fn checksums(at: ProbeTarget<'_>) -> Result<bool, RequestFailure> {
    let key = probe_key(at);
    let answer = put(at, &key, Some(WRONG_CRC32), false).await;
    // Some stores keep what they have refused.
    remove(at, &key).await;
    match answer {
        Ok(()) => Ok(false),
        Err(failure) if names_checksum(&failure) => Ok(true),
        // The store knows neither the header nor unsigned payloads.
        Err(failure) if refuses_feature(&failure) => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Whether a second PutObject under `If-None-Match: *` is refused.
pub(in crate::object) async fn conditions(at: ProbeTarget<'_>) -> Result<bool, RequestFailure> {
    let key = probe_key(at);
    put(at, &key, None, false).await?;
    let answer = match put(at, &key, None, true).await {
        Ok(()) => Ok(false),
        Err(failure) if failure.condition_failed() => Ok(true),
        Err(failure) if refuses_feature(&failure) => Ok(false),
        Err(failure) => Err(failure),
    };
    remove(at, &key).await;
    answer
}

/// Whether a DeleteObject under an `If-Match` that does not hold is refused.
pub(in crate::object) async fn conditional_deletes(
    at: ProbeTarget<'_>,
) -> Result<bool, RequestFailure> {
    let key = probe_key(at);
    put(at, &key, None, false).await?;
    let request = at
        .client
        .delete_object()
        .bucket(at.bucket)
        .key(&key)
        .if_match(WRONG_ETAG)
        .customize()
        .config_override(attempts(1));
    let answer = match Box::pin(request.send()).await.map_err(failure) {
        Ok(_) => return Ok(false),
        Err(failure) if failure.condition_failed() => Ok(true),
        Err(failure) if refuses_feature(&failure) => Ok(false),
        Err(failure) => Err(failure),
    };
    remove(at, &key).await;
    answer
}

/// Whether a CompleteMultipartUpload under `If-None-Match: *` is refused if the object exists.
pub(in crate::object) async fn conditional_complete(
    at: ProbeTarget<'_>,
) -> Result<bool, RequestFailure> {
    let key = probe_key(at);
    put(at, &key, None, false).await?;
    let answer = complete_if_absent(at, &key).await;
    remove(at, &key).await;
    answer
}

async fn complete_if_absent(at: ProbeTarget<'_>, key: &str) -> Result<bool, RequestFailure> {
    let create = at.client.create_multipart_upload();
    let create = create.bucket(at.bucket).key(key).send();
    let created = Box::pin(create).await.map_err(failure)?;
    let upload_id = created.upload_id.unwrap_or_default();
    let answer = async {
        let part = at.client.upload_part().bucket(at.bucket).key(key);
        let part = part.upload_id(&upload_id).part_number(1);
        let part = part.body(ByteStream::from_static(BODY)).send();
        let sent = Box::pin(part).await.map_err(failure)?;
        let part = CompletedPart::builder().part_number(1);
        let part = part.e_tag(sent.e_tag.unwrap_or_default()).build();
        let parts = CompletedMultipartUpload::builder().parts(part).build();
        let complete = at.client.complete_multipart_upload();
        let complete = complete.bucket(at.bucket).key(key).upload_id(&upload_id);
        let complete = complete.multipart_upload(parts).if_none_match("*").send();
        match Box::pin(complete).await.map_err(failure) {
            Ok(_) => Ok(false),
            Err(failure) if failure.condition_failed() => Ok(true),
            Err(failure) if refuses_feature(&failure) => Ok(false),
            Err(failure) => Err(failure),
        }
    }
    .await;
    if !matches!(answer, Ok(false)) {
        abort(at, key, &upload_id).await;
    }
    answer
}

/// Whether the key `a/b` is in no listing any more once there is an object `a`. A store that
/// refuses that object hides nothing.
pub(in crate::object) async fn files_hide_directories(
    at: ProbeTarget<'_>,
) -> Result<bool, RequestFailure> {
    let file = probe_key(at);
    let below = format!("{file}/below");
    put(at, &below, None, false).await?;
    let answer = match put(at, &file, None, false).await {
        Ok(()) => {
            let list = at.client.list_objects_v2().bucket(at.bucket);
            let list = list.prefix(format!("{file}/")).send();
            let listed = Box::pin(list).await.map_err(failure);
            listed.map(|listed| listed.contents().is_empty())
        }
        Err(failure) if matches!(failure.status, Some(400 | 409)) => Ok(false),
        Err(failure) => Err(failure),
    };
    remove(at, &file).await;
    remove(at, &below).await;
    answer
}

/// Whether a multipart upload is verified by the CRC-32 of the whole object: a Complete that names
/// a wrong one is refused, and the very same with the right one is not. Some stores know no more
/// than a checksum of the parts' checksums (Cloudflare R2, MinIO before 2025): they refuse the
/// type, or compare the whole's checksum with that.
pub(in crate::object) async fn full_object(at: ProbeTarget<'_>) -> Result<bool, RequestFailure> {
    let key = probe_key(at);
    let request = at
        .client
        .create_multipart_upload()
        .bucket(at.bucket)
        .key(&key)
        .checksum_algorithm(ChecksumAlgorithm::Crc32)
        .checksum_type(ChecksumType::FullObject)
        .customize()
        .config_override(attempts(1));
    let upload_id = match Box::pin(request.send()).await.map_err(failure) {
        Ok(output) => output.upload_id.unwrap_or_default(),
        Err(failure) if refuses_feature(&failure) => return Ok(false),
        Err(failure) => return Err(failure),
    };
    let answer = part_and_complete(at, &key, &upload_id).await;
    // The answer to a Complete that was carried out may have been lost: first nothing is left that
    // could be completed.
    if !matches!(answer, Ok(true)) {
        abort(at, &key, &upload_id).await;
    }
    remove(at, &key).await;
    answer
}

async fn part_and_complete(
    at: ProbeTarget<'_>,
    key: &str,
    upload_id: &str,
) -> Result<bool, RequestFailure> {
    let crc = crc_header(crc32fast::hash(BODY));
    let request = at
        .client
        .upload_part()
        .bucket(at.bucket)
        .key(key)
        .upload_id(upload_id)
        .part_number(1)
        .checksum_crc32(&crc)
        .body(ByteStream::from_static(BODY))
        .customize()
        .disable_payload_signing()
        .config_override(attempts(1));
    let etag = match Box::pin(request.send()).await.map_err(failure) {
        Ok(output) => output.e_tag.unwrap_or_default(),
        Err(failure) if refused(&failure) => return Ok(false),
        Err(failure) => return Err(failure),
    };
    let part = CompletedPart::builder()
        .part_number(1)
        .e_tag(etag)
        .checksum_crc32(&crc)
        .build();
    let complete = async |whole: &str| {
        let parts = CompletedMultipartUpload::builder().parts(part.clone());
        let request = at
            .client
            .complete_multipart_upload()
            .bucket(at.bucket)
            .key(key)
            .upload_id(upload_id)
            .multipart_upload(parts.build())
            .checksum_type(ChecksumType::FullObject)
            .checksum_crc32(whole)
            .set_mpu_object_size(i64::try_from(BODY.len()).ok())
            .customize()
            .config_override(attempts(1));
        Box::pin(request.send()).await.map_err(failure)
    };
    match complete(WRONG_CRC32).await {
        // The store has not compared it.
        Ok(_) => return Ok(false),
        Err(failure) if refused(&failure) => {}
        Err(failure) => return Err(failure),
    }
    match complete(&crc).await {
        Ok(_) => Ok(true),
        Err(failure) if refused(&failure) || failure.no_such_upload() => Ok(false),
        Err(failure) => Err(failure),
    }
}

fn names_checksum(failure: &RequestFailure) -> bool {
    failure.code.contains("Digest") || failure.code.contains("Checksum")
}

/// An answer that what was asked is wrong, or not known here.
fn refused(failure: &RequestFailure) -> bool {
    names_checksum(failure) || refuses_feature(failure)
}

fn refuses_feature(failure: &RequestFailure) -> bool {
    matches!(failure.status, Some(400 | 501))
}

fn probe_key(at: ProbeTarget<'_>) -> String {
    format!("{PROBE_PREFIX}{}{}", at.run, TransferId::generate())
}

async fn put(
    at: ProbeTarget<'_>,
    key: &str,
    crc32: Option<&str>,
    if_absent: bool,
) -> Result<(), RequestFailure> {
    let request = at
        .client
        .put_object()
        .bucket(at.bucket)
        .key(key)
        .body(ByteStream::from_static(BODY))
        .set_checksum_crc32(crc32.map(str::to_owned))
        .set_if_none_match(if_absent.then(|| "*".to_owned()))
        .customize();
    let request = if crc32.is_some() {
        request.disable_payload_signing()
    } else {
        request
    };
    // Some stores answer a wrong checksum in a way that the SDK would try again.
    let once = attempts(if crc32.is_some() { 1 } else { at.attempts });
    Box::pin(request.config_override(once).send())
        .await
        .map(|_| ())
        .map_err(failure)
}

/// The settings of a request that is sent at most `attempts` times.
fn attempts(attempts: u32) -> Builder {
    Builder::default().retry_config(RetryConfig::standard().with_max_attempts(attempts))
}

async fn abort(at: ProbeTarget<'_>, key: &str, upload_id: &str) {
    let request = at
        .client
        .abort_multipart_upload()
        .bucket(at.bucket)
        .key(key)
        .upload_id(upload_id);
    match Box::pin(request.send()).await.map_err(failure) {
        Ok(_) => {}
        // It was completed.
        Err(failure) if failure.status == Some(404) => {}
        Err(failure) => {
            debug!(bucket = at.bucket, key, error = %failure.error,
                "a probe's multipart upload could not be aborted")
        }
    }
}

async fn remove(at: ProbeTarget<'_>, key: &str) {
    let request = at.client.delete_object().bucket(at.bucket).key(key);
    if let Err(error) = Box::pin(request.send()).await.map_err(failure) {
        debug!(bucket = at.bucket, key, error = %error.error,
            "a probe object could not be removed");
    }
}
