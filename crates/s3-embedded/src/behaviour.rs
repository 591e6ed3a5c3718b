//! Switches for the differences between S3-compatible stores.

use std::collections::BTreeMap;

/// How the embedded store behaves, for each difference between real stores. The default is AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behaviour {
    /// The smallest part except the last that CompleteMultipartUpload accepts, bytes.
    pub min_part_size: u64,
    /// The largest body of PutObject and UploadPart and the largest source of CopyObject, bytes.
    pub max_single_size: u64,
    /// Whether `If-None-Match` and `If-Match` on PutObject and CompleteMultipartUpload are honoured
    /// or ignored.
    pub conditional_writes: bool,
    /// Whether those on CompleteMultipartUpload are honoured, if those on PutObject are.
    pub conditional_complete: bool,
    /// Whether `If-Match` on DeleteObject is honoured or ignored.
    pub conditional_deletes: bool,
    /// Whether checksums are verified, stored and returned, or ignored.
    pub checksums: bool,
    /// Whether a multipart upload can have a checksum of the whole object. If not, the store
    /// ignores the requested type and makes one of the parts' checksums.
    pub full_object: bool,
    /// Whether CompleteMultipartUpload verifies or ignores `x-amz-mp-object-size`.
    pub object_size_check: bool,
    /// Whether a repeated CompleteMultipartUpload gets the same answer, or NoSuchUpload.
    pub repeats_complete: bool,
    /// Whether ListMultipartUploads accepts any prefix, or exact keys only.
    pub lists_uploads_by_prefix: bool,
    /// Whether all parts except the last must have the same size.
    pub equal_parts: bool,
    /// Whether an object that is newer than the start of a multipart upload survives its
    /// completion.
    pub hides_older_uploads: bool,
    /// Whether a PutObject drops the open uploads of its key.
    pub put_drops_uploads: bool,
    /// Aliases of buckets, such as Garage's aliases and AWS's access points: alias → name of the
    /// bucket.
    pub aliases: BTreeMap<String, String>,
    /// Whether an object `a` hides the objects `a/…` from listings, and none can be written there.
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
    /// The observed behaviour of MinIO.
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

    /// The observed behaviour of Garage.
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
