//! Multipart uploads.

use std::collections::BTreeMap;

use s3s::dto::{
    ChecksumAlgorithm, ChecksumType, CommonPrefix, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CompletedPart, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, ListMultipartUploadsInput, ListMultipartUploadsOutput,
    ListPartsInput, ListPartsOutput, MultipartUpload, Part as PartInfo, UploadPartInput,
    UploadPartOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::backend::Backend;
use super::behaviour::Behaviour;
use super::blob::Content;
use super::checksum::{Algorithm, Checksum, Kind, crc32_text, given_checksum, set_checksum};
use super::copy::digest;
use super::index::{Completed, ObjectData, PartData, UploadData, WriteCondition, hex};
use super::listing::{After, encoded, page, page_size};
use super::objects::{Claims, attributes_of, named_algorithm, parse_tags};
use super::s3_types::{quoted, timestamp};

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
        let plan = self.plan(&input)?;
        let data = UploadData {
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            initiated: self.now(),
            sequence: self.next_number(),
            attributes: attributes_of!(input),
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

    /// UploadPart.
    pub(crate) async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let mut input = request.input;
        let plan = self.upload_plan(&input.upload_id, &input.bucket, &input.key)?;
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

    /// CompleteMultipartUpload.
    pub(crate) async fn complete_upload(
        &self,
        input: CompleteMultipartUploadInput,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let behaviour = self.behaviour();
        let id = &input.upload_id;
        let wanted = input
            .multipart_upload
            .as_ref()
            .and_then(|upload| upload.parts.clone())
            .unwrap_or_default();
        if wanted.is_empty() {
            return Err(s3_error!(MalformedXML));
        }
        let plan = match self.upload_plan(id, &input.bucket, &input.key) {
            Ok(plan) => plan,
            Err(error) => {
                let earlier = self
                    .earlier_complete(&input)
                    .filter(|_| behaviour.repeats_complete);
                return earlier.map(answer).ok_or(error);
            }
        };
        let (upload, parts) = self.chosen_parts(id, &wanted)?;
        check_sizes(&parts, &behaviour)?;
        let size: u64 = parts.iter().map(|part| part.content.length()).sum();
        if let Some(claimed) = input
            .mpu_object_size
            .filter(|_| behaviour.object_size_check)
            && u64::try_from(claimed) != Ok(size)
        {
            return Err(s3_error!(
                InvalidRequest,
                "The provided 'x-amz-mp-object-size' header value {claimed} does not match what was computed: {size}"
            ));
        }
        let content = Content::from_segments(
            parts
                .iter()
                .flat_map(|part| part.content.segments().iter().cloned()),
        );
        let checksum = match plan {
            None => None,
            Some((algorithm, Kind::Composite)) => {
                require_part_checksums(algorithm, &wanted)?;
                let sums = parts.iter().filter_map(|part| part.checksum.as_ref());
                Some(Checksum::composite(
                    algorithm,
                    sums.map(|(_, value)| value.as_str()),
                )?)
            }
            Some((algorithm, Kind::FullObject)) => {
                Some(whole_checksum(algorithm, &parts, &content).await?)
            }
        };
        check_claim(&input, plan, checksum.as_ref(), &behaviour)?;
        let etag = {
            use md5::Digest as _;
            let mut md5 = md5::Md5::new();
            parts.iter().for_each(|part| md5.update(part.md5));
            format!("{}-{}", hex(&md5.finalize().into()), parts.len())
        };
        let data = ObjectData {
            content,
            etag: etag.clone(),
            modified: self.now(),
            sequence: self.next_number(),
            attributes: upload.attributes,
            tags: upload.tags,
            checksum: checksum.clone(),
        };
        let completed = Completed {
            upload_id: id.clone(),
            bucket: input.bucket.clone(),
            key: input.key.clone(),
            etag,
            checksum,
        };
        let condition = WriteCondition {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
        };
        let object = self.seal(&input.bucket, &input.key, data).await?;
        self.publish_upload(object, completed.clone(), &condition)?;
        Ok(answer(completed))
    }

    fn earlier_complete(&self, input: &CompleteMultipartUploadInput) -> Option<Completed> {
        let state = self.state();
        let mut earlier = state.completed.iter();
        earlier
            .find(|done| {
                done.upload_id == input.upload_id
                    && done.bucket == input.bucket
                    && done.key == input.key
            })
            .cloned()
    }

    /// The parts that Complete names, in its order.
    fn chosen_parts(
        &self,
        id: &str,
        wanted: &[CompletedPart],
    ) -> S3Result<(UploadData, Vec<PartData>)> {
        let numbers = wanted.iter().map(|part| part.part_number.unwrap_or(0));
        if !numbers.is_sorted_by(|a, b| a < b) {
            return Err(s3_error!(InvalidPartOrder));
        }
        let state = self.state();
        let upload = state.uploads.get(id);
        let upload = upload.ok_or_else(|| s3_error!(NoSuchUpload))?;
        let mut parts = Vec::with_capacity(wanted.len());
        for part in wanted {
            let there = upload.parts.get(&part.part_number.unwrap_or(0));
            let there = there.map(|there| &there.data);
            let meant = there.filter(|there| {
                let etag = part.e_tag.as_ref().map(|etag| etag.value());
                let checksum = given_checksum!(part);
                etag == Some(there.etag().as_str())
                    && (checksum.is_none() || checksum == there.checksum)
            });
            parts.push(meant.ok_or_else(|| s3_error!(InvalidPart))?.clone());
        }
        Ok((upload.data.clone(), parts))
    }

    /// AbortMultipartUpload.
    pub(crate) fn abort_upload(&self, id: &str, bucket: &str, key: &str) -> S3Result<()> {
        self.upload_plan(id, bucket, key)?;
        let _aborted = self.state().uploads.remove(id);
        Ok(())
    }

    /// ListParts.
    pub(crate) fn list_parts(
        &self,
        input: ListPartsInput,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let max = page_size(input.max_parts)?;
        let after = input.part_number_marker.unwrap_or(0);
        let plan = self.upload_plan(&input.upload_id, &input.bucket, &input.key)?;
        let state = self.state();
        let upload = state.uploads.get(&input.upload_id);
        let upload = upload.ok_or_else(|| s3_error!(NoSuchUpload))?;
        let mut following = upload
            .parts
            .range((std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded))
            .peekable();
        let mut parts = Vec::new();
        while let Some((number, part)) = following.next_if(|_| parts.len() < max) {
            let mut info = PartInfo {
                e_tag: quoted(&part.data.etag()),
                last_modified: timestamp(part.data.modified),
                part_number: Some(*number),
                size: i64::try_from(part.data.content.length()).ok(),
                ..PartInfo::default()
            };
            set_checksum!(info, part.data.checksum.clone());
            parts.push(info);
        }
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            part_number_marker: Some(after),
            next_part_number_marker: parts.last().and_then(|part| part.part_number),
            max_parts: i32::try_from(max).ok(),
            is_truncated: Some(following.peek().is_some() && max > 0),
            checksum_algorithm: algorithm_of(plan),
            checksum_type: type_of(plan),
            parts: Some(parts),
            ..ListPartsOutput::default()
        }))
    }

    /// ListMultipartUploads: by key, uploads of one key in the order of their start.
    pub(crate) fn list_uploads(
        &self,
        input: ListMultipartUploadsInput,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        self.check_bucket(&input.bucket)?;
        let max = page_size(input.max_uploads)?;
        let prefix = input.prefix.clone().unwrap_or_default();
        let exact = !self.behaviour().lists_uploads_by_prefix && !prefix.is_empty();
        let key_marker = input.key_marker.clone().unwrap_or_default();
        let upload_marker = input.upload_id_marker.clone().unwrap_or_default();
        let mut after = match (key_marker.is_empty(), upload_marker.is_empty()) {
            (true, _) => After::Start,
            // After all uploads of that key.
            (false, true) => After::Key(format!("{key_marker}\0{}", char::MAX)),
            (false, false) => After::Key(format!("{key_marker}\0{upload_marker}")),
        };
        let mut sorted = BTreeMap::new();
        for (id, upload) in &self.state().uploads {
            if upload.data.bucket != input.bucket || (exact && upload.data.key != prefix) {
                continue;
            }
            // Ids sort by time and sequence. If the marker is a common prefix, the page starts
            // after it.
            let name = format!("{}\0{id}", upload.data.key);
            let info = (id.clone(), upload.data.clone());
            sorted.insert(name, info);
        }
        if let Some(delimiter) = &input.delimiter
            && !delimiter.is_empty()
            && upload_marker.is_empty()
            && key_marker.ends_with(delimiter.as_str())
        {
            after = After::Prefix(key_marker.clone());
        }
        let page = page(&sorted, &prefix, input.delimiter.as_deref(), &after, max);
        let encoding = input.encoding_type.as_ref();
        let encode = |name: &str| encoded(encoding, name);
        let (next_key, next_id) = match &page.next {
            None | Some(After::Start) => (None, None),
            Some(After::Prefix(prefix)) => (Some(prefix.clone()), None),
            Some(After::Key(name)) => {
                let (key, id) = name.rsplit_once('\0').unwrap_or((name, ""));
                (Some(key.to_owned()), Some(id.to_owned()))
            }
        };
        let uploads = page
            .entries
            .into_iter()
            .map(|(_, (id, data))| MultipartUpload {
                upload_id: Some(id),
                key: Some(encode(&data.key)),
                initiated: timestamp(data.initiated),
                checksum_algorithm: algorithm_of(data.checksum),
                checksum_type: type_of(data.checksum),
                ..MultipartUpload::default()
            });
        let prefixes = page.prefixes.iter().map(|prefix| CommonPrefix {
            prefix: Some(encode(prefix)),
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            uploads: Some(uploads.collect()),
            common_prefixes: Some(prefixes.collect()),
            bucket: Some(input.bucket),
            prefix: Some(encode(&prefix)),
            delimiter: input.delimiter.as_deref().map(encode),
            key_marker: Some(encode(&key_marker)),
            upload_id_marker: Some(upload_marker),
            max_uploads: i32::try_from(max).ok(),
            is_truncated: Some(page.next.is_some()),
            next_key_marker: next_key.as_deref().map(encode),
            next_upload_id_marker: next_id,
            encoding_type: input.encoding_type,
            ..ListMultipartUploadsOutput::default()
        }))
    }
}

fn check_sizes(parts: &[PartData], behaviour: &Behaviour) -> S3Result<()> {
    let sizes: Vec<u64> = parts.iter().map(|part| part.content.length()).collect();
    let Some((last, others)) = sizes.split_last() else {
        return Ok(());
    };
    if others.iter().any(|size| *size < behaviour.min_part_size) {
        return Err(s3_error!(EntityTooSmall));
    }
    let unequal = others.windows(2).any(|two| two[0] != two[1])
        || others.first().is_some_and(|first| last > first);
    if behaviour.equal_parts && unequal {
        return Err(s3_error!(
            InvalidPart,
            "All non-trailing parts must have the same length."
        ));
    }
    Ok(())
}

fn require_part_checksums(algorithm: Algorithm, wanted: &[CompletedPart]) -> S3Result<()> {
    let missing = wanted.iter().find(|part| given_checksum!(part).is_none());
    match missing {
        None => Ok(()),
        Some(part) => Err(s3_error!(
            InvalidRequest,
            "The upload was created using a {} checksum. The complete request must include the checksum for each \
             part. It was missing for part {} in the request.",
            algorithm.name().to_lowercase(),
            part.part_number.unwrap_or(0)
        )),
    }
}

/// The checksum of all bytes: a CRC-32 from those of the parts, others by reading the bytes.
async fn whole_checksum(
    algorithm: Algorithm,
    parts: &[PartData],
    content: &Content,
) -> S3Result<Checksum> {
    let value = match algorithm {
        Algorithm::Crc32 => {
            let mut whole = crc32fast::Hasher::new();
            for part in parts {
                let length = part.content.length();
                whole.combine(&crc32fast::Hasher::new_with_initial_len(part.crc32, length));
            }
            crc32_text(whole.finalize())
        }
        _ => {
            let checksum = digest(content, Some(algorithm)).await?.checksum;
            checksum.map(|(_, value)| value).unwrap_or_default()
        }
    };
    Ok(Checksum {
        algorithm,
        kind: Kind::FullObject,
        value,
    })
}

/// Compares the checksum of Complete with that of the object.
fn check_claim(
    input: &CompleteMultipartUploadInput,
    plan: Plan,
    checksum: Option<&Checksum>,
    behaviour: &Behaviour,
) -> S3Result<()> {
    if !behaviour.checksums {
        return Ok(());
    }
    if let Some(kind) = &input.checksum_type
        && behaviour.full_object
        && Some(Kind::from_name(kind.as_str())?) != plan.map(|(_, kind)| kind)
    {
        return Err(s3_error!(
            InvalidRequest,
            "The upload was created using another checksum type than {}.",
            kind.as_str()
        ));
    }
    let Some((algorithm, claimed)) = given_checksum!(input) else {
        return Ok(());
    };
    match checksum {
        Some(checksum) if checksum.algorithm == algorithm => match checksum.value == claimed {
            true => Ok(()),
            false => Err(s3_error!(
                BadDigest,
                "The {} you specified did not match the calculated checksum.",
                algorithm.name()
            )),
        },
        _ => Err(s3_error!(
            InvalidRequest,
            "The upload was not created for the checksum algorithm {}.",
            algorithm.name()
        )),
    }
}

fn answer(done: Completed) -> S3Response<CompleteMultipartUploadOutput> {
    let mut output = CompleteMultipartUploadOutput {
        location: Some(format!("/{}/{}", done.bucket, done.key)),
        e_tag: quoted(&done.etag),
        bucket: Some(done.bucket),
        key: Some(done.key),
        ..CompleteMultipartUploadOutput::default()
    };
    if let Some(checksum) = done.checksum {
        output.checksum_type = Some(ChecksumType::from_static(checksum.kind.name()));
        set_checksum!(output, Some((checksum.algorithm, checksum.value)));
    }
    S3Response::new(output)
}

fn algorithm_of(plan: Plan) -> Option<ChecksumAlgorithm> {
    plan.map(|(algorithm, _)| ChecksumAlgorithm::from_static(algorithm.name()))
}

fn type_of(plan: Plan) -> Option<ChecksumType> {
    plan.map(|(_, kind)| ChecksumType::from_static(kind.name()))
}
