//! The parts of an open multipart upload, as the store lists them.

use crate::object::attributes::with_key;
use crate::object::checksum::crc_from_header;
use crate::object::error::{NotS3, ObjectError, failure};
use crate::object::head::timestamp;
use crate::object::location::Location;
use crate::object::multipart::DonePart;
use crate::object::part_sizes::PartSizes;

/// The unbroken run from the first part. A part that does not have the size of its number was the
/// last of an upload that came to its end: nothing can follow it.
pub(in crate::object) fn run(
    copied: u32,
    sizes: &PartSizes,
    parts: Vec<DonePart>,
) -> Vec<DonePart> {
    let whole =
        |part: &DonePart| part.number <= copied || part.size == sizes.size(part.number - copied);
    (1..)
        .zip(parts)
        .take_while(|(number, part)| part.number == *number && whole(part))
        .map(|(_, part)| part)
        .collect()
}

/// When the last part of an upload was stored; 1970 if it has none, or is not known.
pub(in crate::object) async fn last_part(
    object: &Location,
    upload_id: &str,
) -> Result<jiff::Timestamp, ObjectError> {
    let mut last = jiff::Timestamp::UNIX_EPOCH;
    each_part(object, upload_id, |part| {
        if let Some(stored) = timestamp(part.last_modified()) {
            last = last.max(stored);
        }
        Ok(())
    })
    .await?;
    Ok(last)
}

/// ListParts, in the order of their numbers; `None` if the upload is not known.
pub(in crate::object) async fn list_parts(
    object: &Location,
    upload_id: &str,
) -> Result<Option<Vec<DonePart>>, ObjectError> {
    let mut parts = Vec::new();
    let known = each_part(object, upload_id, |part| {
        let number = part
            .part_number()
            .and_then(|number| u32::try_from(number).ok());
        let size = part.size().and_then(|size| u64::try_from(size).ok());
        let (Some(number), Some(size)) = (number, size) else {
            return Err(ObjectError::Other(
                "ListParts reports a part without number or size".to_owned(),
            ));
        };
        parts.push(DonePart {
            number,
            etag: part.e_tag().unwrap_or_default().to_owned(),
            crc: part.checksum_crc32().and_then(crc_from_header),
            size,
        });
        Ok(())
    })
    .await?;
    parts.sort_unstable_by_key(|part| part.number);
    Ok(known.then_some(parts))
}

/// Goes through the pages of ListParts; `false` if the upload is not known.
async fn each_part(
    object: &Location,
    upload_id: &str,
    mut each: impl FnMut(&aws_sdk_s3::types::Part) -> Result<(), ObjectError>,
) -> Result<bool, ObjectError> {
    let mut marker: Option<u32> = None;
    loop {
        let request = object
            .store
            .client()
            .list_parts()
            .bucket(&*object.bucket)
            .key(&object.key)
            .upload_id(upload_id)
            .set_part_number_marker(marker.map(|marker| marker.to_string()));
        let request = with_key!(request, object.customer_key());
        let output = match Box::pin(request.send()).await.map_err(failure) {
            Ok(output) => output,
            Err(failure)
                if failure.no_such_upload() || matches!(failure.error, ObjectError::NotFound) =>
            {
                return Ok(false);
            }
            Err(failure) => return Err(failure.error),
        };
        for part in output.parts() {
            each(part)?;
        }
        if output.is_truncated() != Some(true) {
            return Ok(true);
        }
        // Parts are listed in the order of their numbers.
        let next = output.next_part_number_marker();
        let next = next.and_then(|next| next.parse().ok());
        if next.is_none() || next <= marker {
            return Err(NotS3::result(200, "that does not say where it goes on"));
        }
        marker = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_the_unbroken_run_of_whole_parts() {
        let part = |(number, size)| DonePart {
            number,
            etag: String::new(),
            crc: None,
            size,
        };
        for (parts, kept) in [
            (vec![], 0),
            (vec![(1, 7)], 1),
            (vec![(1, 7), (2, 10), (3, 10)], 3),
            (vec![(1, 7), (2, 10), (4, 10)], 2),
            (vec![(2, 10)], 0),
            (vec![(1, 7), (2, 9), (3, 10)], 1),
            (vec![(1, 7), (2, 10), (3, 9)], 2),
        ] {
            let found: Vec<DonePart> = parts.iter().copied().map(part).collect();
            let sizes = PartSizes::new(10, 100);
            assert_eq!(run(1, &sizes, found).len(), kept, "{parts:?}");
        }
    }
}
