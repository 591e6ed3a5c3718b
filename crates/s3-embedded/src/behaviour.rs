//! Where S3-compatible stores differ from each other, as switches.

use std::collections::BTreeMap;

/// How the embedded store behaves where real stores differ. The default is AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    /// The smallest part but the last that CompleteMultipartUpload takes, bytes.
    pub min_part_size: u64,
    /// The largest body of PutObject and UploadPart and the largest source of CopyObject, bytes.
    pub max_single_size: u64,
    /// Whether `If-None-Match` and `If-Match` on PutObject and CompleteMultipartUpload are honoured; else ignored.
    pub conditional_writes: bool,
    /// Whether those on CompleteMultipartUpload are, where those on PutObject are; else ignored.
    pub conditional_complete: bool,
    /// Whether `If-Match` on DeleteObject is honoured; else ignored.
    pub conditional_deletes: bool,
    /// Whether checksums are verified, kept and told; else ignored.
    pub checksums: bool,
    /// Whether a multipart upload can have a checksum of the whole object; else the type that it asks for is ignored, and
    /// it has one of its parts' checksums.
    pub full_object: bool,
    /// Whether `x-amz-mp-object-size` is verified at CompleteMultipartUpload; else ignored.
    pub object_size_check: bool,
    /// Whether a second CompleteMultipartUpload answers as the first; else NoSuchUpload.
    pub repeats_complete: bool,
    /// Whether ListMultipartUploads takes any prefix; else exact keys only.
    pub lists_uploads_by_prefix: bool,
    /// Whether all parts but the last must have one size.
    pub equal_parts: bool,
    /// Whether an object written after a multipart upload began stays when that upload is completed later.
    pub hides_older_uploads: bool,
    /// Whether a PutObject drops the open uploads of its key.
    pub put_drops_uploads: bool,
    /// Further names of buckets, as Garage's aliases and AWS's access points are: each with the bucket's own name.
    pub aliases: BTreeMap<String, String>,
    /// Whether an object `a` hides the objects `a/…` from listings, and no object can be written below it.
    pub files_hide_directories: bool,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour {
            min_part_size: 5 * 1024 * 1024,
            max_single_size: 5 * 1024 * 1024 * 1024,
            conditional_writes: true,
            conditional_complete: true,
            conditional_deletes: true,
            checksums: true,
            full_object: true,
            object_size_check: true,
            repeats_complete: true,
            lists_uploads_by_prefix: true,
            equal_parts: false,
            hides_older_uploads: false,
            put_drops_uploads: false,
            aliases: BTreeMap::new(),
            files_hide_directories: false,
        }
    }
}

impl Behaviour {
    /// As MinIO was seen to behave.
    pub fn minio() -> Behaviour {
        Behaviour {
            conditional_deletes: false,
            object_size_check: false,
            repeats_complete: false,
            lists_uploads_by_prefix: false,
            files_hide_directories: true,
            ..Behaviour::default()
        }
    }

    /// As Garage was seen to behave.
    pub fn garage() -> Behaviour {
        Behaviour {
            min_part_size: 0,
            conditional_writes: false,
            conditional_deletes: false,
            object_size_check: false,
            repeats_complete: false,
            put_drops_uploads: true,
            ..Behaviour::default()
        }
    }
}
