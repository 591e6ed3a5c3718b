//! Reading a data directory: its records → the index.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::blob::{Blob, Content, Segment};
use crate::checksum::{Algorithm, Checksum, Kind};
use crate::index::{
    Attributes, Bucket, Object, ObjectData, Part, PartData, State, Upload, UploadData,
};
use crate::record::{Record, StoredFile};

/// Reads a data directory into an index.
pub(super) struct Loader<'a> {
    root: &'a Path,
    /// See [`StoredFile::new`].
    closing: Arc<AtomicBool>,
    pub(super) state: State,
    /// The first unused number.
    pub(super) next: u64,
    pub(super) blobs: HashMap<String, Arc<Blob>>,
    /// Superseded values: held until all is read, then dropped with their files.
    pub(super) replaced: Vec<Box<dyn std::any::Any>>,
    /// Unusable records, and the reasons.
    pub(super) left_out: Vec<(PathBuf, io::Error)>,
}

impl Loader<'_> {
    pub(super) fn new(root: &Path, closing: Arc<AtomicBool>) -> Loader<'_> {
        Loader {
            root,
            closing,
            state: State::default(),
            next: 1,
            blobs: HashMap::new(),
            replaced: Vec::new(),
            left_out: Vec::new(),
        }
    }

    pub(super) fn load(&mut self) -> io::Result<()> {
        for entry in fs::read_dir(self.root.join("buckets"))? {
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
        for entry in fs::read_dir(self.root.join("blobs"))? {
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
        for entry in fs::read_dir(self.root.join(directory))? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "record")
            {
                paths.insert((self.use_number(&path), path));
            }
        }
        for (_, path) in paths {
            let file = StoredFile::new(path.clone(), Arc::clone(&self.closing));
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
        self.replaced
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
        self.replaced.push(Box::new(superseded));
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
        let path = self.root.join("blobs").join(file);
        let stored = StoredFile::new(path, Arc::clone(&self.closing));
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
        kms_key_id: text("kms-key"),
        bucket_key: record.optional("bucket-key").map(|text| text == "true"),
        customer_key_md5: text("customer-key-md5"),
        acl: text("acl"),
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
