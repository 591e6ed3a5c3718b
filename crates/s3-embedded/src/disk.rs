//! The data directory of a store with files, and how a later start reads it.
//!
//! ```text
//! lock                  held while a store has the directory open
//! buckets/<name>        an empty file for each bucket
//! blobs/<n>.blob        bytes
//! objects/<n>.record    an object: bucket, key, attributes, its slices of blobs
//! uploads/<n>.record    an open multipart upload
//! parts/<n>.record      a part of one
//! ```
//!
//! Numbers come from one sequence and are used once. A record is written after its blobs. Blobs
//! without a record are left by a process that died, and the next start removes them. If two
//! records have one key, the process died between a write and the removal of the old record: the
//! later one counts. A record that can't be read, or whose blob is missing, is left out with a
//! warning that names the file. Then nothing is removed, since a blob without a record may belong
//! to that one.
//!
//! Files are not synced: the store survives the death of its process, but not that of the machine.

mod load;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use s3s::S3Result;

use super::blob::{Blob, Content};
use super::index::{Attributes, ObjectData, PartData, State, UploadData};
use super::record::{Record, StoredFile};
use super::s3_types::internal;
use load::Loader;

const DIRECTORIES: [&str; 5] = ["buckets", "blobs", "objects", "uploads", "parts"];

/// An open data directory.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    closing: Arc<AtomicBool>,
    /// Unlocked when it is closed.
    _lock: fs::File,
}

impl Disk {
    /// Opens a data directory, makes it if it is missing, and reads its content.
    /// The number is the first unused one of the sequence.
    pub(crate) fn open(root: &Path) -> io::Result<(Disk, State, u64)> {
        for name in DIRECTORIES {
            fs::create_dir_all(root.join(name))?;
        }
        let lock = fs::File::create(root.join("lock"))?;
        lock.try_lock().map_err(|_| {
            io::Error::new(
                io::ErrorKind::ResourceBusy,
                "another store has this directory open",
            )
        })?;
        let disk = Disk {
            root: root.to_owned(),
            // Nothing may be removed until all is read: an error must leave the directory as it is.
            closing: Arc::new(AtomicBool::new(true)),
            _lock: lock,
        };
        let mut loader = Loader::new(&disk.root, Arc::clone(&disk.closing));
        loader.load()?;
        let Loader {
            state,
            next,
            blobs,
            replaced,
            left_out,
            ..
        } = loader;
        for (path, error) in &left_out {
            tracing::warn!(path = %path.display(), %error, "embedded store: a damaged record is left out");
        }
        if left_out.is_empty() {
            disk.closing.store(false, Ordering::Release);
            disk.sweep(&blobs)?;
        }
        drop(replaced);
        disk.closing.store(false, Ordering::Release);
        Ok((disk, state, next))
    }

    /// From now on dropping a value removes no file.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    pub(crate) fn create_bucket(&self, name: &str) -> io::Result<()> {
        // The file's time is the bucket's creation, so an existing file must not be written.
        let path = self.root.join("buckets").join(name);
        fs::File::options()
            .create(true)
            .append(true)
            .open(path)
            .map(drop)
    }

    pub(crate) fn blob_file(&self, number: u64) -> StoredFile {
        self.file("blobs", format!("{number}.blob"))
    }

    pub(crate) async fn write_object(
        &self,
        bucket: &str,
        key: &str,
        data: &ObjectData,
    ) -> S3Result<StoredFile> {
        let mut record = Record::default();
        record.push("bucket", bucket);
        record.push("key", key);
        record.push("sequence", data.sequence);
        record.push("modified", data.modified);
        record.push("etag", &data.etag);
        if let Some(checksum) = &data.checksum {
            record.push("checksum-algorithm", checksum.algorithm.name());
            record.push("checksum-type", checksum.kind.name());
            record.push("checksum", &checksum.value);
        }
        push_attributes(&mut record, &data.attributes, &data.tags);
        push_content(&mut record, &data.content);
        self.write("objects", data.sequence, &record).await
    }

    pub(crate) async fn write_upload(&self, id: &str, data: &UploadData) -> S3Result<StoredFile> {
        let mut record = Record::default();
        record.push("id", id);
        record.push("bucket", &data.bucket);
        record.push("key", &data.key);
        record.push("sequence", data.sequence);
        record.push("initiated", data.initiated);
        if let Some((algorithm, kind)) = data.checksum {
            record.push("checksum-algorithm", algorithm.name());
            record.push("checksum-type", kind.name());
        }
        push_attributes(&mut record, &data.attributes, &data.tags);
        self.write("uploads", data.sequence, &record).await
    }

    pub(crate) async fn write_part(
        &self,
        file: u64,
        id: &str,
        number: i32,
        data: &PartData,
    ) -> S3Result<StoredFile> {
        let mut record = Record::default();
        record.push("upload", id);
        record.push("number", number);
        record.push("modified", data.modified);
        record.push("md5", u128::from_be_bytes(data.md5));
        record.push("crc32", data.crc32);
        if let Some((algorithm, value)) = &data.checksum {
            record.push("checksum-algorithm", algorithm.name());
            record.push("checksum", value);
        }
        push_content(&mut record, &data.content);
        self.write("parts", file, &record).await
    }

    async fn write(&self, directory: &str, number: u64, record: &Record) -> S3Result<StoredFile> {
        let stored = self.file(directory, format!("{number}.record"));
        record.write(stored.path()).await.map_err(internal)?;
        Ok(stored)
    }

    fn file(&self, directory: &str, name: String) -> StoredFile {
        StoredFile::new(
            self.root.join(directory).join(name),
            Arc::clone(&self.closing),
        )
    }

    /// Removes blobs without a record, and records that were never renamed into place.
    fn sweep(&self, blobs: &HashMap<String, Arc<Blob>>) -> io::Result<()> {
        for entry in fs::read_dir(self.root.join("blobs"))? {
            let entry = entry?;
            let known = entry
                .file_name()
                .to_str()
                .is_some_and(|n| blobs.contains_key(n));
            if !known {
                fs::remove_file(entry.path())?;
            }
        }
        for directory in ["objects", "uploads", "parts"] {
            for entry in fs::read_dir(self.root.join(directory))? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "new") {
                    fs::remove_file(path)?;
                }
            }
        }
        Ok(())
    }
}

fn push_attributes(record: &mut Record, attributes: &Attributes, tags: &[(String, String)]) {
    let headers = [
        ("cache-control", &attributes.cache_control),
        ("content-disposition", &attributes.content_disposition),
        ("content-encoding", &attributes.content_encoding),
        ("content-language", &attributes.content_language),
        ("content-type", &attributes.content_type),
        ("storage-class", &attributes.storage_class),
        ("encryption", &attributes.server_side_encryption),
        ("kms-key", &attributes.kms_key_id),
        ("customer-key-md5", &attributes.customer_key_md5),
        ("acl", &attributes.acl),
    ];
    for (name, value) in headers {
        if let Some(value) = value {
            record.push(name, value);
        }
    }
    if let Some(bucket_key) = attributes.bucket_key {
        record.push("bucket-key", bucket_key);
    }
    for (name, value) in &attributes.metadata {
        record.push(format!("meta.{name}"), value);
    }
    for (name, value) in tags {
        record.push(format!("tag.{name}"), value);
    }
}

fn push_content(record: &mut Record, content: &Content) {
    for segment in content.segments() {
        // A store with a directory has no blob without a file.
        let file = segment.blob.file_name().unwrap_or_default();
        let (length, range) = (segment.blob.length(), &segment.range);
        record.push(
            "segment",
            format!("{file} {length} {} {}", range.start, range.end),
        );
    }
}
