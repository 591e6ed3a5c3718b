//! Multipart uploads.

mod complete;
mod listings;

use s3s::dto::{
    ChecksumAlgorithm, ChecksumType, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    UploadPartInput, UploadPartOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::backend::Backend;
use super::blob::Content;
use super::checksum::{Algorithm, Kind, given_checksum, set_checksum};
use super::encryption::{self, customer_key};
use super::index::{PartData, UploadData};
use super::objects::{Claims, attributes_of, check_metadata, named_algorithm, parse_tags};
use super::s3_types::quoted;

/// The highest part number.
const MAX_PARTS: i32 = 10_000;

/// The checksum of an upload.
pub(crate) type Plan = Option<(Algorithm, Kind)>;

impl Backend {
    /// CreateMultipartUpload.
    pub(crate) async fn create_upload(
        &self,
        input: CreateMultipartUploadInput,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.check_bucket(&input.bucket)?;
        customer_key!(input)?;
        let attributes = attributes_of!(input);
        check_metadata(&attributes)?;
        let plan = self.plan(&input)?;
        let data = UploadData {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            initiated: self.now(),
            sequence: self.next_number(),
            attributes,
            tags: parse_tags(input.tagging.as_deref())?,
            checksum: plan,
        };
        // As long as S3's and unlike a number. The sequence makes it unique in this store.
        let id = format!(
            "{:08x}{:016x}{:024x}",
            data.initiated, data.sequence, 0x5eed
        );
        let upload = self.seal_upload(&id, data).await?;
        self.state().uploads.insert(id.clone(), upload);
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id),
            checksum_algorithm: algorithm_of(plan),
            checksum_type: type_of(plan),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    fn plan(&self, input: &CreateMultipartUploadInput) -> S3Result<Plan> {
        if !self.behaviour().checksums {
            return Ok(None);
        }
        let kind = input.checksum_type.as_ref();
        let kind = kind
            .filter(|_| self.behaviour().full_object)
            .map(|kind| Kind::from_name(kind.as_str()))
            .transpose()?;
        match (named_algorithm(input.checksum_algorithm.as_ref())?, kind) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(s3_error!(
                InvalidRequest,
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
            )),
            (Some(algorithm), kind) => {
                let kind = kind.unwrap_or(algorithm.default_kind());
                if !algorithm.allows(kind) {
                    return Err(s3_error!(
                        InvalidRequest,
                        "The {} checksum type cannot be used with the {} checksum algorithm.",
                        kind.name(),
                        algorithm.name()
                    ));
                }
                Ok(Some((algorithm, kind)))
            }
        }
    }

    /// The settings of an open upload, or NoSuchUpload.
    pub(crate) fn upload_plan(&self, id: &str, bucket: &str, key: &str) -> S3Result<Plan> {
        let state = self.state();
        let upload = state.uploads.get(id);
        upload
            .filter(|upload| upload.data.bucket == bucket && upload.data.key == key)
            .map(|upload| upload.data.checksum)
            .ok_or_else(|| s3_error!(NoSuchUpload))
    }

    /// Whether a part with this customer's key may be added to an upload.
    pub(crate) fn check_part_key(&self, id: &str, given: Option<&str>) -> S3Result<()> {
        let state = self.state();
        let upload = state
            .uploads
            .get(id)
            .ok_or_else(|| s3_error!(NoSuchUpload))?;
        encryption::check_part(&upload.data.attributes, given)
    }

    /// UploadPart.
    pub(crate) async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let mut input = request.input;
        let plan = self.upload_plan(&input.upload_id, &input.bucket, &input.key)?;
        self.check_part_key(&input.upload_id, customer_key!(input)?.as_deref())?;
        let given = given_checksum!(input);
        let named = named_algorithm(input.checksum_algorithm.as_ref())?;
        let used = given.as_ref().map(|(algorithm, _)| *algorithm).or(named);
        if let Some((planned, kind)) = plan
            && used != Some(planned)
            && (used.is_some() || kind == Kind::Composite)
        {
            return Err(s3_error!(
                InvalidRequest,
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                planned.name().to_lowercase(),
                used.map_or("null".to_owned(), |used| used.name().to_lowercase())
            ));
        }
        let claims = Claims {
            length: input.content_length,
            md5: input.content_md5.take(),
            checksum: given,
            algorithm: named.or(plan.map(|(algorithm, _)| algorithm)),
            trailers: request.trailing_headers,
        };
        let body = self.ingest(input.body.take(), claims).await?;
        let part = PartData {
            content: Content::from(body.blob),
            md5: body.md5,
            crc32: body.crc32,
            checksum: body.checksum,
            modified: self.now(),
        };
        let mut output = UploadPartOutput {
            e_tag: quoted(&part.etag()),
            ..UploadPartOutput::default()
        };
        set_checksum!(output, part.checksum.clone());
        self.add_part(&input.upload_id, input.part_number, part)
            .await?;
        Ok(S3Response::new(output))
    }

    /// Adds a part to its upload, and replaces one with the same number.
    pub(crate) async fn add_part(&self, id: &str, number: i32, part: PartData) -> S3Result<()> {
        if !(1..=MAX_PARTS).contains(&number) {
            return Err(s3_error!(
                InvalidArgument,
                "Part number must be an integer between 1 and {MAX_PARTS}, inclusive"
            ));
        }
        let part = self.seal_part(id, number, part).await?;
        // The replaced part is dropped after the lock.
        let _replaced = {
            let mut state = self.state();
            let upload = state.uploads.get_mut(id);
            upload
                .ok_or_else(|| s3_error!(NoSuchUpload))?
                .parts
                .insert(number, part)
        };
        Ok(())
    }

    /// AbortMultipartUpload.
    pub(crate) fn abort_upload(&self, id: &str, bucket: &str, key: &str) -> S3Result<()> {
        self.upload_plan(id, bucket, key)?;
        let _aborted = self.state().uploads.remove(id);
        Ok(())
    }
}

fn algorithm_of(plan: Plan) -> Option<ChecksumAlgorithm> {
    plan.map(|(algorithm, _)| ChecksumAlgorithm::from_static(algorithm.name()))
}

fn type_of(plan: Plan) -> Option<ChecksumType> {
    plan.map(|(_, kind)| ChecksumType::from_static(kind.name()))
}
