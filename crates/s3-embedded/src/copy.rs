//! CopyObject and UploadPartCopy: the new object or part shares the source's blobs.

use std::ops::Range;
use std::sync::Arc;

use futures::StreamExt;
use md5::Digest as _;
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource,
    MetadataDirective, TaggingDirective, UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use super::backend::{Backend, Event};
use super::blob::Content;
use super::checksum::{Algorithm, Checksum, Hasher, Kind, set_checksum};
use super::encryption::{self, customer_key, source_key};
use super::index::{Attributes, Object, ObjectData, PartData, WriteCondition};
use super::objects::{ReadConditions, attributes_of, check_metadata, named_algorithm, parse_tags};
use super::s3_types::{internal, quoted, timestamp};

/// Digests of some content.
pub(crate) struct Digests {
    pub(crate) md5: [u8; 16],
    pub(crate) crc32: u32,
    pub(crate) checksum: Option<(Algorithm, String)>,
}

/// Reads all of a content.
pub(crate) async fn digest(content: &Content, algorithm: Option<Algorithm>) -> S3Result<Digests> {
    let mut md5 = md5::Md5::new();
    let mut crc32 = crc32fast::Hasher::new();
    let mut hasher = algorithm.map(Hasher::new);
    let mut pieces = content.stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| internal(std::io::Error::other(error)))?;
        md5.update(&piece);
        crc32.update(&piece);
        if let Some(hasher) = &mut hasher {
            hasher.update(&piece);
        }
        // Reading a large blob in memory never waits, so yield between pieces.
        tokio::task::yield_now().await;
    }
    Ok(Digests {
        md5: md5.finalize().into(),
        crc32: crc32.finalize(),
        checksum: hasher.map(|hasher| (hasher.algorithm(), hasher.finish())),
    })
}

/// The conditions of a copy on its source.
macro_rules! source_conditions_of {
    ($input:expr) => {
        ReadConditions {
            if_match: $input.copy_source_if_match.as_ref(),
            if_none_match: $input.copy_source_if_none_match.as_ref(),
            if_modified_since: $input.copy_source_if_modified_since.as_ref(),
            if_unmodified_since: $input.copy_source_if_unmodified_since.as_ref(),
        }
    };
}

impl Backend {
    /// CopyObject.
    pub(crate) async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        // s3s does not pass these two on for a copy.
        let condition = WriteCondition {
            if_match: header_condition(&request, http::header::IF_MATCH)?,
            if_none_match: header_condition(&request, http::header::IF_NONE_MATCH)?,
        };
        let input = request.input;
        self.check_bucket(&input.bucket)?;
        customer_key!(input)?;
        let (from, source) = self.copy_source(&input.copy_source)?;
        encryption::check_read(&source.data.attributes, source_key!(input)?.as_deref())?;
        source_conditions_of!(input)
            .check(&source.data)
            .map_err(refused_source)?;
        let limit = self.behaviour().max_single_size;
        if source.data.content.length() > limit {
            return Err(s3_error!(
                InvalidRequest,
                "The specified copy source is larger than the maximum allowable size for a copy source: {limit}"
            ));
        }
        let to_itself = from == (input.bucket.clone(), input.key.clone());
        let (attributes, tags) = copied_attributes(&input, &source.data, to_itself)?;
        let algorithm = named_algorithm(input.checksum_algorithm.as_ref())?.or(source
            .data
            .checksum
            .as_ref()
            .map(|sum| sum.algorithm));
        // The ETag of a copy is that of one PutObject, also if the source was multipart.
        let digests = digest(&source.data.content, algorithm).await?;
        let data = ObjectData {
            content: source.data.content.clone(),
            etag: encryption::etag(&attributes, &digests.md5),
            modified: self.now(),
            sequence: self.next_number(),
            attributes,
            tags,
            checksum: digests.checksum.map(|(algorithm, value)| Checksum {
                algorithm,
                kind: Kind::FullObject,
                value,
            }),
        };
        let mut result = CopyObjectResult {
            e_tag: quoted(&data.etag),
            last_modified: timestamp(data.modified),
            ..CopyObjectResult::default()
        };
        let checksum = data.checksum.clone();
        set_checksum!(result, checksum.map(|sum| (sum.algorithm, sum.value)));
        let object = self.seal(&input.bucket, &input.key, data).await?;
        self.publish(&input.bucket, &input.key, object, &condition)?;
        self.notify(Event::Copied {
            from,
            to: (input.bucket, input.key),
        });
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(result),
            ..CopyObjectOutput::default()
        }))
    }

    /// UploadPartCopy.
    pub(crate) async fn upload_part_copy(
        &self,
        input: UploadPartCopyInput,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let plan = self.upload_plan(&input.upload_id, &input.bucket, &input.key)?;
        self.check_part_key(&input.upload_id, customer_key!(input)?.as_deref())?;
        let (_, source) = self.copy_source(&input.copy_source)?;
        encryption::check_read(&source.data.attributes, source_key!(input)?.as_deref())?;
        source_conditions_of!(input)
            .check(&source.data)
            .map_err(refused_source)?;
        let behaviour = self.behaviour();
        let size = source.data.content.length();
        let content = match &input.copy_source_range {
            None => source.data.content.clone(),
            Some(_) if size < behaviour.min_part_size => {
                return Err(s3_error!(
                    InvalidRequest,
                    "The specified copy source is not supported as a byte-range copy source"
                ));
            }
            Some(header) => {
                let range = copy_range(header)
                    .filter(|range| range.end <= size)
                    .ok_or_else(|| {
                        s3_error!(
                            InvalidArgument,
                            "Range specified is not valid for source object of size: {size}"
                        )
                    })?;
                source.data.content.slice(range)
            }
        };
        if content.length() > behaviour.max_single_size {
            return Err(s3_error!(EntityTooLarge));
        }
        let digests = digest(&content, plan.map(|(algorithm, _)| algorithm)).await?;
        let part = PartData {
            content,
            md5: digests.md5,
            crc32: digests.crc32,
            checksum: digests.checksum,
            modified: self.now(),
        };
        let mut result = CopyPartResult {
            e_tag: quoted(&part.etag()),
            last_modified: timestamp(part.modified),
            ..CopyPartResult::default()
        };
        set_checksum!(result, part.checksum.clone());
        self.add_part(&input.upload_id, input.part_number, part)
            .await?;
        Ok(S3Response::new(UploadPartCopyOutput {
            copy_part_result: Some(result),
            ..UploadPartCopyOutput::default()
        }))
    }

    fn copy_source(&self, source: &CopySource) -> S3Result<((String, String), Arc<Object>)> {
        let CopySource::Bucket {
            bucket,
            key,
            version_id: None,
        } = source
        else {
            return Err(s3_error!(NotImplemented, "this kind of copy source"));
        };
        let mut bucket = bucket.to_string();
        self.resolve(&mut bucket);
        let object = self.find(&bucket, key)?;
        Ok(((bucket, key.to_string()), object))
    }
}

/// The attributes and tags of a copy: those of the source, or those of the request if its directive
/// is REPLACE.
fn copied_attributes(
    input: &CopyObjectInput,
    source: &ObjectData,
    to_itself: bool,
) -> S3Result<(Attributes, Vec<(String, String)>)> {
    let replaces = |directive: Option<&str>| directive == Some(MetadataDirective::REPLACE);
    let replaces_metadata = replaces(input.metadata_directive.as_ref().map(|d| d.as_str()));
    let replaces_tags = input
        .tagging_directive
        .as_ref()
        .is_some_and(|d| d.as_str() == TaggingDirective::REPLACE);
    let mut attributes = match replaces_metadata {
        true => attributes_of!(input),
        false => source.attributes.clone(),
    };
    // Class, encryption and ACL come from the request or are the default; they are never copied.
    let requested = attributes_of!(input);
    attributes.storage_class = requested.storage_class;
    attributes.server_side_encryption = requested.server_side_encryption;
    attributes.kms_key_id = requested.kms_key_id;
    attributes.bucket_key = requested.bucket_key;
    attributes.customer_key_md5 = requested.customer_key_md5;
    attributes.acl = requested.acl;
    check_metadata(&attributes)?;
    if to_itself && !replaces_metadata && attributes == source.attributes {
        return Err(s3_error!(
            InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself without changing the \
             object's metadata, storage class, website redirect location or encryption attributes."
        ));
    }
    let tags = match replaces_tags {
        true => parse_tags(input.tagging.as_deref())?,
        false => source.tags.clone(),
    };
    Ok((attributes, tags))
}

/// A source that does not meet a condition is always 412, never 304.
fn refused_source(error: S3Error) -> S3Error {
    match error.code() {
        S3ErrorCode::NotModified => s3_error!(PreconditionFailed),
        _ => error,
    }
}

fn header_condition(
    request: &S3Request<CopyObjectInput>,
    name: http::HeaderName,
) -> S3Result<Option<s3s::dto::ETagCondition>> {
    let value = request.headers.get(name);
    value
        .map(|value| s3s::dto::ETagCondition::parse_http_header(value.as_bytes()))
        .transpose()
        .map_err(|error| s3_error!(error, InvalidArgument))
}

/// `bytes=first-last`, the only form that a copy accepts.
fn copy_range(header: &str) -> Option<Range<u64>> {
    let (first, last) = header.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some(first..last.checked_add(1)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_copy_takes_one_form_of_range() {
        assert_eq!(copy_range("bytes=0-9"), Some(0..10));
        for bad in [
            "bytes=0-",
            "bytes=-5",
            "bytes=9-0",
            "0-9",
            "bytes=0-18446744073709551615",
        ] {
            assert_eq!(copy_range(bad), None, "{bad}");
        }
    }
}
