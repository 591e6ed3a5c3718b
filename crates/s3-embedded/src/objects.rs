//! PutObject, GetObject, HeadObject, DeleteObject and tags.

use std::sync::Arc;

use futures::StreamExt;
use md5::Digest as _;
use s3s::dto::{
    ChecksumMode, ChecksumType, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag,
    ETagCondition, Error, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput,
    PutObjectInput, PutObjectOutput, Range, StreamingBlob, Tag, Timestamp,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result, TrailingHeaders, s3_error};

use super::backend::{Backend, Event};
use super::blob::{Blob, Content};
use super::checksum::{Algorithm, Checksum, Hasher, Kind, given_checksum, parse_md5, set_checksum};
use super::encryption::{self, customer_key};
use super::index::{Attributes, Object, ObjectData, WriteCondition, matches};
use super::record::percent_decode;
use super::s3_types::{internal, quoted, timestamp};

/// What a request states about its body.
pub(crate) struct Claims {
    pub(crate) length: Option<i64>,
    pub(crate) md5: Option<String>,
    pub(crate) checksum: Option<(Algorithm, String)>,
    /// The algorithm, whose value can follow the body.
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) trailers: Option<TrailingHeaders>,
}

/// A body that has been read and is as the request states.
pub(crate) struct Ingested {
    pub(crate) blob: Arc<Blob>,
    pub(crate) md5: [u8; 16],
    pub(crate) crc32: u32,
    pub(crate) checksum: Option<(Algorithm, String)>,
}

/// The attributes in the input of PutObject, CopyObject and CreateMultipartUpload.
macro_rules! attributes_of {
    ($input:expr) => {
        $crate::index::Attributes {
            cache_control: $input.cache_control.clone(),
            content_disposition: $input.content_disposition.clone(),
            content_encoding: $input.content_encoding.clone(),
            content_language: $input.content_language.clone(),
            content_type: $input.content_type.clone(),
            storage_class: $input
                .storage_class
                .as_ref()
                .map(|class| class.as_str().to_owned()),
            server_side_encryption: $input
                .server_side_encryption
                .as_ref()
                .map(|encryption| encryption.as_str().to_owned()),
            kms_key_id: $input.ssekms_key_id.clone(),
            bucket_key: $input.bucket_key_enabled,
            customer_key_md5: $input.sse_customer_key_md5.clone(),
            acl: $input.acl.as_ref().map(|acl| acl.as_str().to_owned()),
            metadata: $input
                .metadata
                .clone()
                .unwrap_or_default()
                .into_iter()
                .collect(),
        }
    };
}
pub(crate) use attributes_of;

/// The conditions of GetObject and HeadObject.
macro_rules! conditions_of {
    ($input:expr) => {
        ReadConditions {
            if_match: $input.if_match.as_ref(),
            if_none_match: $input.if_none_match.as_ref(),
            if_modified_since: $input.if_modified_since.as_ref(),
            if_unmodified_since: $input.if_unmodified_since.as_ref(),
        }
    };
}

/// Sets the fields that GetObject and HeadObject both return.
macro_rules! describe {
    ($output:expr, $data:expr) => {{
        let attributes: Attributes = $data.attributes.clone();
        $output.accept_ranges = Some("bytes".to_owned());
        $output.cache_control = attributes.cache_control;
        $output.content_disposition = attributes.content_disposition;
        $output.content_encoding = attributes.content_encoding;
        $output.content_language = attributes.content_language;
        $output.content_type = attributes
            .content_type
            .or_else(|| Some("binary/octet-stream".to_owned()));
        $output.storage_class = attributes.storage_class.map(Into::into);
        $output.server_side_encryption = attributes.server_side_encryption.map(Into::into);
        $output.ssekms_key_id = attributes.kms_key_id;
        $output.bucket_key_enabled = attributes.bucket_key;
        $output.sse_customer_algorithm = attributes
            .customer_key_md5
            .as_ref()
            .map(|_| "AES256".to_owned());
        $output.sse_customer_key_md5 = attributes.customer_key_md5;
        $output.e_tag = quoted(&$data.etag);
        $output.last_modified = timestamp($data.modified);
        $output.metadata = Some(attributes.metadata.into_iter().collect());
    }};
}

/// Adds the checksum of an object.
macro_rules! add_checksum {
    ($output:expr, $data:expr) => {
        if let Some(checksum) = $data.checksum.clone() {
            $output.checksum_type = Some(ChecksumType::from_static(checksum.kind.name()));
            set_checksum!($output, Some((checksum.algorithm, checksum.value)));
        }
    };
}

impl Backend {
    /// PutObject.
    pub(crate) async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let mut input = request.input;
        self.check_bucket(&input.bucket)?;
        let tags = parse_tags(input.tagging.as_deref())?;
        customer_key!(input)?;
        let attributes = attributes_of!(input);
        check_metadata(&attributes)?;
        let claims = Claims {
            length: input.content_length,
            md5: input.content_md5.take(),
            checksum: given_checksum!(input),
            algorithm: named_algorithm(input.checksum_algorithm.as_ref())?,
            trailers: request.trailing_headers,
        };
        let body = self.ingest(input.body.take(), claims).await?;
        let data = ObjectData {
            content: Content::from(body.blob),
            etag: encryption::etag(&attributes, &body.md5),
            modified: self.now(),
            sequence: self.next_number(),
            attributes,
            tags,
            checksum: body.checksum.map(|(algorithm, value)| Checksum {
                algorithm,
                kind: Kind::FullObject,
                value,
            }),
        };
        let mut output = PutObjectOutput {
            e_tag: quoted(&data.etag),
            ..PutObjectOutput::default()
        };
        add_checksum!(output, data);
        let size = data.content.length();
        let condition = WriteCondition {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
        };
        let object = self.seal(&input.bucket, &input.key, data).await?;
        self.publish(&input.bucket, &input.key, object, &condition)?;
        self.notify(Event::Landed {
            bucket: input.bucket,
            key: input.key,
            size,
        });
        Ok(S3Response::new(output))
    }

    /// Reads a body, and compares it with what the request states.
    pub(crate) async fn ingest(
        &self,
        body: Option<StreamingBlob>,
        claims: Claims,
    ) -> S3Result<Ingested> {
        let behaviour = self.behaviour();
        let length = claims
            .length
            .ok_or_else(|| s3_error!(MissingContentLength))?;
        let length = u64::try_from(length).map_err(|error| s3_error!(error, InvalidArgument))?;
        if length > behaviour.max_single_size {
            return Err(s3_error!(EntityTooLarge));
        }
        let algorithm = claims
            .checksum
            .as_ref()
            .map(|(algorithm, _)| *algorithm)
            .or(claims.algorithm)
            .filter(|_| behaviour.checksums);
        let mut md5 = md5::Md5::new();
        let mut crc32 = crc32fast::Hasher::new();
        let mut hasher = algorithm.map(Hasher::new);
        let mut writer = self.new_blob().await?;
        let mut received = 0;
        if let Some(mut body) = body {
            while let Some(piece) = body.next().await {
                let piece = piece.map_err(body_error)?;
                received += piece.len() as u64;
                md5.update(&piece);
                crc32.update(&piece);
                if let Some(hasher) = &mut hasher {
                    hasher.update(&piece);
                }
                writer.write(&piece).await.map_err(internal)?;
            }
        }
        if received != length {
            return Err(s3_error!(IncompleteBody));
        }
        let md5: [u8; 16] = md5.finalize().into();
        if let Some(claimed) = &claims.md5
            && parse_md5(claimed)? != md5
        {
            return Err(s3_error!(BadDigest));
        }
        let checksum = hasher.map(|hasher| (hasher.algorithm(), hasher.finish()));
        if let Some((algorithm, computed)) = &checksum {
            let claimed = claims.checksum.map(|(_, value)| value);
            let claimed = claimed.or_else(|| trailing_value(claims.trailers.as_ref(), *algorithm));
            if claimed.is_some_and(|claimed| claimed != *computed) {
                return Err(s3_error!(
                    BadDigest,
                    "The {} you specified did not match the calculated checksum.",
                    algorithm.name()
                ));
            }
        }
        Ok(Ingested {
            blob: Arc::new(writer.finish().await.map_err(internal)?),
            md5,
            crc32: crc32.finalize(),
            checksum,
        })
    }

    /// GetObject.
    pub(crate) fn get_object(
        &self,
        input: GetObjectInput,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let object = self.find(&input.bucket, &input.key)?;
        let data = &object.data;
        encryption::check_read(&data.attributes, customer_key!(input)?.as_deref())?;
        conditions_of!(input).check(data)?;
        if input.part_number.is_some() {
            return Err(s3_error!(NotImplemented, "partNumber"));
        }
        let size = data.content.length();
        let range = match &input.range {
            None => 0..size,
            Some(range) => satisfiable(range, size)?,
        };
        let whole = range == (0..size);
        let content = data.content.slice(range.clone());
        let mut output = GetObjectOutput {
            content_length: i64::try_from(content.length()).ok(),
            content_range: input
                .range
                .map(|_| format!("bytes {}-{}/{size}", range.start, range.end - 1)),
            body: Some(StreamingBlob::new(content.stream())),
            tag_count: i32::try_from(data.tags.len()).ok().filter(|n| *n > 0),
            ..GetObjectOutput::default()
        };
        describe!(output, data);
        if whole && asks_checksum(input.checksum_mode.as_ref()) {
            add_checksum!(output, data);
        }
        Ok(S3Response::new(output))
    }

    /// HeadObject.
    pub(crate) fn head_object(
        &self,
        input: HeadObjectInput,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let object = self.find(&input.bucket, &input.key)?;
        let data = &object.data;
        encryption::check_read(&data.attributes, customer_key!(input)?.as_deref())?;
        conditions_of!(input).check(data)?;
        let mut output = HeadObjectOutput {
            content_length: i64::try_from(data.content.length()).ok(),
            ..HeadObjectOutput::default()
        };
        describe!(output, data);
        if asks_checksum(input.checksum_mode.as_ref()) {
            add_checksum!(output, data);
        }
        Ok(S3Response::new(output))
    }

    /// DeleteObject; deleting a missing object succeeds.
    pub(crate) fn delete_object(
        &self,
        bucket: &str,
        key: &str,
        if_match: Option<&ETagCondition>,
    ) -> S3Result<()> {
        let condition = if_match.filter(|_| self.behaviour().conditional_deletes);
        self.take(bucket, key, condition).map(drop)
    }

    /// DeleteObjects.
    pub(crate) fn delete_objects(
        &self,
        input: DeleteObjectsInput,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.check_bucket(&input.bucket)?;
        if input.delete.objects.len() > 1000 {
            return Err(s3_error!(MalformedXML));
        }
        let quiet = input.delete.quiet.unwrap_or(false);
        let (mut deleted, mut errors) = (Vec::new(), Vec::new());
        for object in input.delete.objects {
            let condition = object.e_tag.map(ETagCondition::ETag);
            match self.delete_object(&input.bucket, &object.key, condition.as_ref()) {
                Ok(()) if quiet => {}
                Ok(()) => deleted.push(DeletedObject {
                    key: Some(object.key),
                    ..DeletedObject::default()
                }),
                Err(error) => errors.push(Error {
                    code: Some(error.code().as_str().to_owned()),
                    key: Some(object.key),
                    message: error.message().map(str::to_owned),
                    version_id: None,
                }),
            }
        }
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: Some(deleted),
            errors: Some(errors),
            ..DeleteObjectsOutput::default()
        }))
    }

    /// PutObjectTagging: the same object with other tags.
    pub(crate) async fn put_tags(&self, bucket: &str, key: &str, tags: Vec<Tag>) -> S3Result<()> {
        let object = self.find(bucket, key)?;
        if tags.len() > 10 {
            return Err(s3_error!(
                InvalidTag,
                "Object tags cannot be greater than 10"
            ));
        }
        let data = ObjectData {
            tags: tags
                .into_iter()
                .map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()))
                .collect(),
            sequence: self.next_number(),
            ..object.data.clone()
        };
        let condition = WriteCondition {
            if_match: Some(ETagCondition::ETag(ETag::Strong(data.etag.clone()))),
            if_none_match: None,
        };
        let object: Object = self.seal(bucket, key, data).await?;
        self.publish(bucket, key, object, &condition)
    }
}

/// The conditions of a read: of GetObject, HeadObject and the source of a copy.
pub(crate) struct ReadConditions<'a> {
    pub(crate) if_match: Option<&'a ETagCondition>,
    pub(crate) if_none_match: Option<&'a ETagCondition>,
    pub(crate) if_modified_since: Option<&'a Timestamp>,
    pub(crate) if_unmodified_since: Option<&'a Timestamp>,
}

impl ReadConditions<'_> {
    /// The condition of an ETag overrides that of a time (RFC 9110, 13.2.2).
    pub(crate) fn check(&self, data: &ObjectData) -> S3Result<()> {
        let modified = timestamp(data.modified);
        match (self.if_match, self.if_unmodified_since) {
            (Some(condition), _) if !matches(condition, &data.etag) => {
                return Err(s3_error!(PreconditionFailed));
            }
            (None, Some(since)) if modified.as_ref() > Some(since) => {
                return Err(s3_error!(PreconditionFailed));
            }
            _ => {}
        }
        match (self.if_none_match, self.if_modified_since) {
            (Some(condition), _) if matches(condition, &data.etag) => Err(s3_error!(NotModified)),
            (None, Some(since)) if modified.as_ref() <= Some(since) => Err(s3_error!(NotModified)),
            _ => Ok(()),
        }
    }
}

/// The bytes of a Range header, or 416 with the size (RFC 9110, 14.4).
fn satisfiable(range: &Range, size: u64) -> S3Result<std::ops::Range<u64>> {
    match range.check(size) {
        Ok(range) if !range.is_empty() => Ok(range),
        _ => {
            let mut error = S3Error::new(S3ErrorCode::InvalidRange);
            let mut headers = http::HeaderMap::new();
            headers.insert(
                http::header::CONTENT_TYPE,
                http::HeaderValue::from_static("application/xml"),
            );
            if let Ok(value) = http::HeaderValue::try_from(format!("bytes */{size}")) {
                headers.insert(http::header::CONTENT_RANGE, value);
            }
            error.set_headers(headers);
            error.set_message("The requested range is not satisfiable");
            Err(error)
        }
    }
}

fn asks_checksum(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
}

pub(crate) fn named_algorithm(
    name: Option<&s3s::dto::ChecksumAlgorithm>,
) -> S3Result<Option<Algorithm>> {
    name.map(|name| Algorithm::from_name(name.as_str()))
        .transpose()
}

fn trailing_value(trailers: Option<&TrailingHeaders>, algorithm: Algorithm) -> Option<String> {
    trailers?.read(|headers| {
        let value = headers.get(algorithm.header())?;
        value.to_str().ok().map(str::to_owned)
    })?
}

/// Tags as in the header `x-amz-tagging`: `a=1&b=2`, form-encoded.
pub(crate) fn parse_tags(header: Option<&str>) -> S3Result<Vec<(String, String)>> {
    let decode = |text: &str| {
        percent_decode(&text.replace('+', " "))
            .ok_or_else(|| s3_error!(InvalidArgument, "The header 'x-amz-tagging' is damaged"))
    };
    let pairs = header
        .unwrap_or_default()
        .split('&')
        .filter(|p| !p.is_empty());
    let tags: Vec<_> = pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect::<S3Result<_>>()?;
    match tags.len() > 10 {
        true => Err(s3_error!(
            InvalidTag,
            "Object tags cannot be greater than 10"
        )),
        false => Ok(tags),
    }
}

/// User metadata of more than 2 KB are refused.
pub(crate) fn check_metadata(attributes: &Attributes) -> S3Result<()> {
    let metadata = attributes.metadata.iter();
    let length: usize = metadata.map(|(name, value)| name.len() + value.len()).sum();
    match length > 2048 {
        true => Err(s3_error!(
            MetadataTooLarge,
            "Your metadata headers exceed the maximum allowed metadata size"
        )),
        false => Ok(()),
    }
}

/// A body that was cut or does not match its signature.
fn body_error(error: s3s::StdError) -> S3Error {
    // s3s has no public type for it.
    let code = match error.to_string().contains("Sha256Mismatch") {
        true => S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()),
        false => S3ErrorCode::IncompleteBody,
    };
    let mut mapped = S3Error::with_source(code, error);
    mapped.set_status_code(http::StatusCode::BAD_REQUEST);
    mapped
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn ranges() {
        let int = |first, last| Range::Int { first, last };
        assert_eq!(satisfiable(&int(2, Some(4)), 10).unwrap(), 2..5);
        assert_eq!(satisfiable(&int(2, Some(99)), 10).unwrap(), 2..10);
        assert_eq!(satisfiable(&int(2, None), 10).unwrap(), 2..10);
        assert_eq!(
            satisfiable(&Range::Suffix { length: 3 }, 10).unwrap(),
            7..10
        );
        for (range, size) in [
            (int(10, None), 10),
            (int(0, None), 0),
            (Range::Suffix { length: 3 }, 0),
            (Range::Suffix { length: 0 }, 10),
        ] {
            let error = satisfiable(&range, size).unwrap_err();
            assert_eq!(error.code(), &S3ErrorCode::InvalidRange);
            let headers = error.headers().unwrap();
            assert_eq!(headers["content-range"], format!("bytes */{size}"));
        }
    }

    #[test]
    fn tags() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            parse_tags(Some("a=1&b+c=%3D&d")).unwrap(),
            [pair("a", "1"), pair("b c", "="), pair("d", "")]
        );
        assert_eq!(parse_tags(None).unwrap(), []);
        assert!(parse_tags(Some("a=%zz")).is_err());
    }
}
