//! [`Inputs`]: the files that a configuration was read from, as they were when they were read.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a configuration was read from: its files, the files of its secrets, and directories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    files: BTreeMap<PathBuf, Option<FileStamp>>,
    directories: BTreeMap<PathBuf, Option<Vec<PathBuf>>>,
}

/// What tells a file from another one, or from an earlier state of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FileStamp {
    /// What a symbolic link leads to; `None` if it is not one.
    target: Option<PathBuf>,
    device: u64,
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

impl FileStamp {
    /// `None` if there is no such file.
    fn of(path: &Path) -> Option<FileStamp> {
        let is_link = path.symlink_metadata().ok()?.is_symlink();
        let target = match is_link {
            true => Some(path.canonicalize().ok()?),
            false => None,
        };
        let metadata = path.metadata().ok()?;
        Some(FileStamp {
            target,
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

impl Inputs {
    /// Notes a file that is about to be read.
    pub fn note_file(&mut self, path: &Path) {
        if !self.files.contains_key(path) {
            self.files.insert(path.to_owned(), FileStamp::of(path));
        }
    }

    /// Notes a directory, and returns the files of it that are read.
    ///
    /// # Errors
    /// It can't be read.
    pub fn note_directory(&mut self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let pieces = pieces_of(path);
        let noted = pieces.as_ref().ok().cloned();
        self.directories.insert(path.to_owned(), noted);
        pieces
    }

    /// The files, as they are named.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().map(PathBuf::as_path)
    }

    /// The directories of `include`.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.directories.keys().map(PathBuf::as_path)
    }

    /// The same files and directories as they are now.
    pub fn now(&self) -> Inputs {
        let files = self.files.keys();
        let directories = self.directories.keys();
        Inputs {
            files: files
                .map(|path| (path.clone(), FileStamp::of(path)))
                .collect(),
            directories: directories
                .map(|path| (path.clone(), pieces_of(path).ok()))
                .collect(),
        }
    }

    /// Adds those of another configuration.
    pub(super) fn extend(&mut self, other: Inputs) {
        self.files.extend(other.files);
        self.directories.extend(other.directories);
    }

    /// Whether a link that was followed leads elsewhere: the way in which Kubernetes replaces all
    /// files of a volume at once.
    pub(super) fn is_swap_of(&self, before: &Inputs) -> bool {
        let target = |inputs: &Inputs, path: &PathBuf| -> Option<PathBuf> {
            inputs.files.get(path)?.as_ref()?.target.clone()
        };
        before.files.keys().any(|path| {
            let (was, is) = (target(before, path), target(self, path));
            was.is_some() && is.is_some() && was != is
        })
    }

    /// The files that differ.
    pub(super) fn changed_since<'i>(
        &'i self,
        before: &'i Inputs,
    ) -> impl Iterator<Item = &'i PathBuf> {
        let changed = self.files.iter();
        changed
            .filter(|(path, stamp)| before.files.get(*path) != Some(stamp))
            .map(|(path, _)| path)
    }
}

/// The files of a directory that `include` reads, in the order of their names: `*.toml`, `*.yaml`
/// and `*.yml`, but none whose name begins with a dot, such as the `..data` of Kubernetes.
///
/// # Errors
/// The directory can't be read.
fn pieces_of(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut pieces = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if !hidden && matches!(extension, Some("toml" | "yaml" | "yml")) {
            pieces.push(path);
        }
    }
    pieces.sort();
    Ok(pieces)
}
