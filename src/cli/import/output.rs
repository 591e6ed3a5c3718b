//! Pieces of configuration → files of a directory.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::cli::import::toml::ImportedFile;

/// The file of the server's part.
const SERVER: &str = "server.toml";
/// The longest file name without its ending, bytes. File systems allow 255 in all.
const LONGEST: usize = 200;

/// Why the files can't be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    /// Files exist that would be replaced.
    #[error("{}: exists already{}; use another directory, or --force", .0.display(), more(.1))]
    Exists(PathBuf, usize),
    /// The system's answer.
    #[error("{}: can't be written: {}", .0.display(), .1)]
    Write(PathBuf, io::Error),
}

fn more(count: &usize) -> String {
    match count {
        0 => String::new(),
        count => format!(", and so do {count} other files"),
    }
}

/// What happens to files that exist.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    /// They stay, and nothing is written.
    Keep,
    /// They are replaced.
    Replace,
}

/// The name of the file of each piece.
pub(super) fn file_names(pieces: &[ImportedFile]) -> Vec<String> {
    // Two names that differ only in case are one file on some file systems.
    let mut taken = HashSet::from([SERVER.to_owned()]);
    let mut name_of = |piece: &ImportedFile| {
        let Some(user) = &piece.user else {
            return SERVER.to_owned();
        };
        let stem = file_stem(user);
        let mut name = format!("{stem}.toml");
        let mut number = 2;
        while !taken.insert(name.to_lowercase()) {
            name = format!("{stem}~{number}.toml");
            number += 1;
        }
        name
    };
    pieces.iter().map(&mut name_of).collect()
}

/// A user's name as the name of a file: bytes that have a meaning to a shell or a file system are
/// percent-encoded; a long name ends in a hash.
fn file_stem(user: &str) -> String {
    let mut stem = String::new();
    for (index, byte) in user.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric()
            || matches!(byte, b'_' | b'@' | b'+')
            || (index > 0 && matches!(byte, b'.' | b'-'));
        match plain {
            true => stem.push(char::from(byte)),
            false => stem.push_str(&format!("%{byte:02X}")),
        }
    }
    if stem.is_empty() {
        // Every name has another letter than this one.
        return "~".to_owned();
    }
    if stem.len() > LONGEST {
        let digest = Sha256::digest(user.as_bytes());
        let digest: String = digest[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        stem.truncate(LONGEST - 17);
        stem = format!("{stem}~{digest}");
    }
    stem
}

/// Writes each piece into a file of its own, which only the owner may read. A file appears whole or
/// not at all.
///
/// # Errors
/// [`OutputError`]. If a file exists, none is written.
pub(super) fn write(
    directory: &Path,
    pieces: &[ImportedFile],
    names: &[String],
    existing: Existing,
) -> Result<(), OutputError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        |error| OutputError::Write(path, error)
    };
    if existing == Existing::Keep {
        let paths = names.iter().map(|name| directory.join(name));
        let mut exist = paths.filter(|path| path.symlink_metadata().is_ok());
        if let Some(first) = exist.next() {
            return Err(OutputError::Exists(first, exist.count()));
        }
    }
    std::fs::create_dir_all(directory).map_err(at(directory))?;
    for (piece, name) in pieces.iter().zip(names) {
        let path = directory.join(name);
        // Made with mode 0600; its name is not one that `include` reads.
        let mut file = tempfile::NamedTempFile::new_in(directory).map_err(at(&path))?;
        file.write_all(piece.text.as_bytes()).map_err(at(&path))?;
        let done = match existing {
            Existing::Keep => file.persist_noclobber(&path),
            Existing::Replace => file.persist(&path),
        };
        done.map_err(|error| OutputError::Write(path, error.error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn piece(user: Option<&str>) -> ImportedFile {
        ImportedFile {
            user: user.map(str::to_owned),
            text: "# x\n".to_owned(),
            lost: Vec::new(),
        }
    }

    #[test]
    fn names_are_safe_and_distinct() {
        let long = "x".repeat(300);
        let users = [
            "anna",
            "Anna",
            "ANNA",
            "server",
            "../../etc/x",
            "",
            ".",
            "-rf",
            "a b",
            "a%20b",
            "m\u{fc}",
            "~",
            "anna~2",
            long.as_str(),
            &long[1..],
        ];
        let mut pieces = vec![piece(None)];
        pieces.extend(users.map(|user| piece(Some(user))));
        let names = file_names(&pieces);
        let expected = [
            "server.toml",
            "anna.toml",
            "Anna~2.toml",
            "ANNA~3.toml",
            "server~2.toml",
            "%2E.%2F..%2Fetc%2Fx.toml",
            "~.toml",
            "%2E.toml",
            "%2Drf.toml",
            "a%20b.toml",
            "a%2520b.toml",
            "m%C3%BC.toml",
            "%7E.toml",
            "anna%7E2.toml",
        ];
        assert_eq!(names[..expected.len()], expected);
        let distinct: HashSet<_> = names.iter().map(|name| name.to_lowercase()).collect();
        assert_eq!(distinct.len(), names.len());
        assert!(
            names
                .iter()
                .all(|name| name.len() <= 255 && !name.contains('/'))
        );
    }

    #[test]
    fn files_are_private_and_never_replaced_unless_asked() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let inside = directory.path().join("new/users");
        let pieces = [piece(Some("a")), piece(Some("b"))];
        let names = file_names(&pieces);
        write(&inside, &pieces, &names, Existing::Keep).unwrap();
        let mode = inside
            .join("a.toml")
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(inside.join("a.toml"), "mine").unwrap();
        std::fs::remove_file(inside.join("b.toml")).unwrap();
        let again = write(&inside, &pieces, &names, Existing::Keep);
        assert!(matches!(again, Err(OutputError::Exists(_, 0))));
        assert_eq!(std::fs::read(inside.join("a.toml")).unwrap(), b"mine");
        assert!(!inside.join("b.toml").exists());
        write(&inside, &pieces, &names, Existing::Replace).unwrap();
        assert_eq!(std::fs::read(inside.join("a.toml")).unwrap(), b"# x\n");
        assert_eq!(inside.read_dir().unwrap().count(), 2);
    }
}
