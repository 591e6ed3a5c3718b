//! ListParts and ListMultipartUploads.

use std::collections::BTreeMap;

use s3s::dto::{
    CommonPrefix, ListMultipartUploadsInput, ListMultipartUploadsOutput, ListPartsInput,
    ListPartsOutput, MultipartUpload, Part as PartInfo,
};
use s3s::{S3Response, S3Result, s3_error};

use super::{algorithm_of, type_of};
use crate::backend::Backend;
use crate::checksum::set_checksum;
use crate::listing::{After, encoded, page, page_size};
use crate::s3_types::{quoted, timestamp};

impl Backend {
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
