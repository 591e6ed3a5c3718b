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

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use s3s::S3Result;

use super::blob::{Blob, Content, Segment};
use super::checksum::{Algorithm, Checksum, Kind};
use super::index::{
    Attributes, Bucket, Object, ObjectData, Part, PartData, State, Upload, UploadData,
};
use super::record::{Record, StoredFile};
use super::s3_types::internal;

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
        let mut loader = Loader::new(&disk);
        loader.load()?;
        let Loader {
            state,
            next,
            blobs,
            rubbish,
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
        drop(rubbish);
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
    ];
    for (name, value) in headers {
        if let Some(value) = value {
            record.push(name, value);
        }
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

/// Reads a data directory into an index.
struct Loader<'a> {
    disk: &'a Disk,
    state: State,
    next: u64,
    blobs: HashMap<String, Arc<Blob>>,
    /// Superseded values: held until all is read, then dropped with their files.
    rubbish: Vec<Box<dyn std::any::Any>>,
    /// Unusable records, and the reasons.
    left_out: Vec<(PathBuf, io::Error)>,
}

impl Loader<'_> {
    fn new(disk: &Disk) -> Loader<'_> {
        Loader {
            disk,
            state: State::default(),
            next: 1,
            blobs: HashMap::new(),
            rubbish: Vec::new(),
            left_out: Vec::new(),
        }
    }

    fn load(&mut self) -> io::Result<()> {
        for entry in fs::read_dir(self.disk.root.join("buckets"))? {
            let entry = entry?;
            let created = entry
                .metadata()?
                .modified()?
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs());
            let name = entry.file_name().to_string_lossy().into_owned();
            let bucket = Bucket {
                created,
                objects: BTreeMap::new(),
            };
            self.state.buckets.insert(name, bucket);
        }
        self.each_record("objects", Self::load_object)?;
        self.each_record("uploads", Self::load_upload)?;
        self.each_record("parts", Self::load_part)?;
        for entry in fs::read_dir(self.disk.root.join("blobs"))? {
            self.use_number(&entry?.path());
        }
        Ok(())
    }

    /// Loads the records of a directory in the order of their numbers, and notes unusable ones.
    fn each_record(
        &mut self,
        directory: &str,
        load: impl Fn(&mut Self, &Record, StoredFile) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut paths = BTreeSet::new();
        for entry in fs::read_dir(self.disk.root.join(directory))? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "record")
            {
                paths.insert((self.use_number(&path), path));
            }
        }
        for (_, path) in paths {
            let file = StoredFile::new(path.clone(), Arc::clone(&self.disk.closing));
            let loaded = Record::read(&path).and_then(|record| load(self, &record, file));
            if let Err(error) = loaded {
                self.left_out.push((path, error));
            }
        }
        Ok(())
    }

    fn use_number(&mut self, path: &Path) -> u64 {
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let number = stem.and_then(|stem| stem.parse().ok()).unwrap_or(0);
        self.next = self.next.max(number + 1);
        number
    }

    fn load_object(&mut self, record: &Record, file: StoredFile) -> io::Result<()> {
        let (attributes, tags) = read_attributes(record);
        let checksum = match record.optional("checksum") {
            None => None,
            Some(value) => Some(Checksum {
                algorithm: algorithm(record)?,
                kind: kind(record)?,
                value: value.to_owned(),
            }),
        };
        let data = ObjectData {
            content: self.read_content(record)?,
            etag: record.value("etag")?.to_owned(),
            modified: record.parsed("modified")?,
            sequence: record.parsed("sequence")?,
            attributes,
            tags,
            checksum,
        };
        let object = Arc::new(Object::new(data, Some(file)));
        let bucket = record.value("bucket")?.to_owned();
        let bucket = self.state.buckets.entry(bucket).or_default();
        let key = record.value("key")?.to_owned();
        self.rubbish
            .push(Box::new(bucket.objects.insert(key, object)));
        Ok(())
    }

    fn load_upload(&mut self, record: &Record, file: StoredFile) -> io::Result<()> {
        let (id, data) = read_upload(record)?;
        self.state.uploads.insert(id, Upload::new(data, Some(file)));
        Ok(())
    }

    fn load_part(&mut self, record: &Record, file: StoredFile) -> io::Result<()> {
        let (number, data) = self.read_part(record)?;
        let part = Part::new(data, Some(file));
        let superseded = match self.state.uploads.get_mut(record.value("upload")?) {
            Some(upload) => upload.parts.insert(number, part),
            // Its upload was completed or aborted.
            None => Some(part),
        };
        self.rubbish.push(Box::new(superseded));
        Ok(())
    }

    fn read_part(&mut self, record: &Record) -> io::Result<(i32, PartData)> {
        let checksum = match record.optional("checksum") {
            None => None,
            Some(value) => Some((algorithm(record)?, value.to_owned())),
        };
        let data = PartData {
            content: self.read_content(record)?,
            md5: record.parsed::<u128>("md5")?.to_be_bytes(),
            crc32: record.parsed("crc32")?,
            checksum,
            modified: record.parsed("modified")?,
        };
        Ok((record.parsed("number")?, data))
    }

    fn read_content(&mut self, record: &Record) -> io::Result<Content> {
        let mut segments = Vec::new();
        for (_, text) in record.with_prefix("segment") {
            let mut words = text.split(' ');
            let file = words.next().unwrap_or_default();
            let mut number = || words.next()?.parse::<u64>().ok();
            let (Some(length), Some(start), Some(end)) = (number(), number(), number()) else {
                return Err(damaged("a segment"));
            };
            let blob = match self.blobs.get(file) {
                Some(blob) => Arc::clone(blob),
                None => self.open_blob(file, length)?,
            };
            if start > end || end > blob.length() {
                return Err(damaged("a segment"));
            }
            segments.push(Segment {
                blob,
                range: start..end,
            });
        }
        Ok(Content::from_segments(segments))
    }

    fn open_blob(&mut self, file: &str, length: u64) -> io::Result<Arc<Blob>> {
        let stored = self.disk.file("blobs", file.to_owned());
        let blob = |problem: String| damaged(&format!("blob {file} {problem}"));
        match fs::metadata(stored.path()) {
            Ok(metadata) if metadata.len() == length => {}
            Ok(metadata) => {
                return Err(blob(format!("has {} bytes, not {length}", metadata.len())));
            }
            Err(error) => return Err(blob(format!("can't be read: {error}"))),
        }
        let blob = Arc::new(Blob::stored(stored, length));
        self.blobs.insert(file.to_owned(), Arc::clone(&blob));
        Ok(blob)
    }
}

fn read_upload(record: &Record) -> io::Result<(String, UploadData)> {
    let (attributes, tags) = read_attributes(record);
    let checksum = match record.optional("checksum-algorithm") {
        None => None,
        Some(_) => Some((algorithm(record)?, kind(record)?)),
    };
    let data = UploadData {
        bucket: record.value("bucket")?.to_owned(),
        key: record.value("key")?.to_owned(),
        initiated: record.parsed("initiated")?,
        sequence: record.parsed("sequence")?,
        attributes,
        tags,
        checksum,
    };
    Ok((record.value("id")?.to_owned(), data))
}

fn read_attributes(record: &Record) -> (Attributes, Vec<(String, String)>) {
    let text = |name| record.optional(name).map(str::to_owned);
    let pairs = |prefix| {
        let entries = record.with_prefix(prefix);
        entries
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect::<Vec<_>>()
    };
    let attributes = Attributes {
        cache_control: text("cache-control"),
        content_disposition: text("content-disposition"),
        content_encoding: text("content-encoding"),
        content_language: text("content-language"),
        content_type: text("content-type"),
        storage_class: text("storage-class"),
        server_side_encryption: text("encryption"),
        metadata: pairs("meta.").into_iter().collect(),
    };
    (attributes, pairs("tag."))
}

fn algorithm(record: &Record) -> io::Result<Algorithm> {
    Algorithm::from_name(record.value("checksum-algorithm")?)
        .map_err(|_| damaged("checksum-algorithm"))
}

fn kind(record: &Record) -> io::Result<Kind> {
    Kind::from_name(record.value("checksum-type")?).map_err(|_| damaged("checksum-type"))
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("damaged: {what}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::backend::Backend;
    use super::*;

    fn files(root: &Path) -> usize {
        ["blobs", "objects", "uploads", "parts"]
            .iter()
            .map(|name| fs::read_dir(root.join(name)).unwrap().count())
            .sum()
    }

    #[tokio::test]
    async fn what_was_written_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let odd = "a//b/../\r\n\u{1} \u{fc}.txt";
        {
            let store = Backend::open(root).unwrap();
            store.create_bucket("demo").unwrap();
            store.put("demo", "x", b"first").await.unwrap();
            store.put("demo", "x", b"second").await.unwrap();
            store.put("demo", "x/y", b"").await.unwrap();
            store.put("demo", odd, b"odd").await.unwrap();
            store.put("demo", "gone", b"gone").await.unwrap();
            assert!(store.remove("demo", "gone"));
        }
        fs::write(root.join("blobs/999.blob"), "rubbish").unwrap();
        fs::write(root.join("objects/998.new"), "rubbish").unwrap();
        let store = Backend::open(root).unwrap();
        assert_eq!(store.keys("demo"), [odd, "x", "x/y"]);
        assert_eq!(store.object("demo", "x").await.unwrap(), b"second");
        assert_eq!(store.object("demo", "x/y").await.unwrap(), b"");
        assert_eq!(store.object("demo", odd).await.unwrap(), b"odd");
        // Three objects with a blob each (the file of an empty one has no slice, so it was
        // removed).
        assert_eq!(files(root), 5);
        store.put("demo", "new", b"new").await.unwrap();
        assert_eq!(store.object("demo", "x").await.unwrap(), b"second");
    }

    #[test]
    fn one_store_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let first = Backend::open(directory.path()).unwrap();
        let second = Backend::open(directory.path());
        assert_eq!(second.unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        drop(first);
        Backend::open(directory.path()).unwrap();
    }

    #[tokio::test]
    async fn damaged_records_are_left_out_and_nothing_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        {
            let store = Backend::open(root).unwrap();
            store.create_bucket("demo").unwrap();
            for key in ["good", "cut", "empty", "without a blob"] {
                store.put("demo", key, key.as_bytes()).await.unwrap();
            }
        }
        let record_of = |key: &str| {
            let key = format!("key {}\n", super::super::record::percent_encode(key));
            let records = fs::read_dir(root.join("objects")).unwrap();
            let mut paths = records.map(|entry| entry.unwrap().path());
            paths
                .find(|path| fs::read_to_string(path).unwrap().contains(&key))
                .unwrap()
        };
        let (cut, empty, blobless) = (
            record_of("cut"),
            record_of("empty"),
            record_of("without a blob"),
        );
        let text = fs::read_to_string(&cut).unwrap();
        fs::write(&cut, &text[..text.len() / 2]).unwrap();
        fs::write(&empty, "").unwrap();
        let record = Record::read(&blobless).unwrap();
        let (_, segment) = record.with_prefix("segment").next().unwrap();
        let blob = root.join("blobs").join(segment.split(' ').next().unwrap());
        fs::remove_file(blob).unwrap();
        let strays = [
            root.join("parts/77.record"),
            root.join("uploads/stray.record"),
        ];
        for stray in &strays {
            fs::write(stray, "upload %zz\n").unwrap();
        }
        // It has no record, but the cut record may have named it.
        fs::write(root.join("blobs/76.blob"), "rubbish").unwrap();
        let before = files(root);
        let store = Backend::open(root).unwrap();
        assert_eq!(store.keys("demo"), ["good"]);
        assert_eq!(store.object("demo", "good").await.unwrap(), b"good");
        assert_eq!(files(root), before);
        // It works as any other store.
        store.put("demo", "cut", b"again").await.unwrap();
        drop(store);
        let (disk, _, _) = {
            for damaged in [cut, empty, blobless].iter().chain(&strays) {
                assert!(damaged.exists(), "{}", damaged.display());
                fs::remove_file(damaged).unwrap();
            }
            Disk::open(root).unwrap()
        };
        drop(disk);
        assert!(!root.join("blobs/76.blob").exists());
    }

    #[tokio::test]
    async fn what_is_left_out_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        drop(Backend::open(root).unwrap());
        fs::write(root.join("parts/77.record"), "upload %zz\nend\n").unwrap();
        let disk = Disk {
            root: root.to_owned(),
            closing: Arc::new(AtomicBool::new(true)),
            _lock: fs::File::create(root.join("lock")).unwrap(),
        };
        let mut loader = Loader::new(&disk);
        loader.load().unwrap();
        let [(path, error)] = loader.left_out.as_slice() else {
            panic!("{:?}", loader.left_out)
        };
        assert_eq!(*path, root.join("parts/77.record"));
        assert_eq!(error.to_string(), "a damaged escape");
    }
}
