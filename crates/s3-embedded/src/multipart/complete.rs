//! CompleteMultipartUpload: the parts that the request names become an object.

use s3s::dto::{
    ChecksumType, CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart,
};
use s3s::{S3Response, S3Result, s3_error};

use super::Plan;
use crate::backend::Backend;
use crate::behaviour::Behaviour;
use crate::blob::Content;
use crate::checksum::{Algorithm, Checksum, Kind, crc32_text, given_checksum, set_checksum};
use crate::copy::digest;
use crate::encryption::customer_key;
use crate::index::{Completed, ObjectData, PartData, UploadData, WriteCondition, hex};
use crate::s3_types::quoted;

impl Backend {
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
        if let Some(given) = customer_key!(input)? {
            self.check_part_key(id, Some(&given))?;
        }
        let (upload, parts) = self.chosen_parts(id, &wanted)?;
        check_sizes(&parts, &behaviour)?;
        check_claimed_size(&input, &parts, &behaviour)?;
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
        let etag = etag_of(&parts);
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

/// Compares the size that Complete names with that of the parts.
fn check_claimed_size(
    input: &CompleteMultipartUploadInput,
    parts: &[PartData],
    behaviour: &Behaviour,
) -> S3Result<()> {
    let size: u64 = parts.iter().map(|part| part.content.length()).sum();
    match input.mpu_object_size {
        Some(claimed) if behaviour.object_size_check && u64::try_from(claimed) != Ok(size) => {
            Err(s3_error!(
                InvalidRequest,
                "The provided 'x-amz-mp-object-size' header value {claimed} does not match what was computed: {size}"
            ))
        }
        _ => Ok(()),
    }
}

/// The MD5 of the parts' MD5s, and the number of parts.
fn etag_of(parts: &[PartData]) -> String {
    use md5::Digest as _;
    let mut md5 = md5::Md5::new();
    parts.iter().for_each(|part| md5.update(part.md5));
    format!("{}-{}", hex(&md5.finalize().into()), parts.len())
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
