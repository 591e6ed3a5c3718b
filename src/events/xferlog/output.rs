//! Where the lines go: standard output, or a file that others may move away.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc::O_NONBLOCK;

use crate::events::options::TransferLogPlace;

/// The names of users and files are not for everybody on the machine.
const MODE: u32 = 0o640;

/// Takes whole lines.
pub(super) enum Output {
    Stdout,
    File(LogFile),
}

/// Lines that could not be written.
pub(super) struct WriteFailure {
    /// Why.
    pub error: io::Error,
    /// How many, also one that was written in part.
    pub lines: u64,
}

impl Output {
    pub(super) fn open(place: &TransferLogPlace) -> io::Result<Output> {
        Ok(match place {
            TransferLogPlace::Stdout => Output::Stdout,
            TransferLogPlace::File(path) => Output::File(LogFile::open(path.clone())?),
        })
    }

    /// Opens the file anew with the next write.
    pub(super) fn reopen(&mut self) {
        if let Output::File(file) = self {
            file.open = None;
        }
    }

    /// Writes lines, or opens the file anew if there are none.
    pub(super) fn write(&mut self, lines: &str) -> Result<(), WriteFailure> {
        let mut rest = lines.as_bytes();
        let written = match self {
            Output::Stdout => {
                let mut out = io::stdout().lock();
                write(&mut out, &mut rest).and_then(|()| out.flush())
            }
            Output::File(file) => file.write(&mut rest),
        };
        written.map_err(|error| WriteFailure {
            error,
            lines: rest.iter().filter(|byte| **byte == b'\n').count() as u64,
        })
    }
}

/// A file that is written at its end. If it was moved away or removed, a new one takes its place.
pub(super) struct LogFile {
    path: PathBuf,
    open: Option<File>,
    /// The last write ended in the middle of a line.
    torn: bool,
}

impl LogFile {
    fn open(path: PathBuf) -> io::Result<LogFile> {
        let mut file = LogFile {
            path,
            open: None,
            torn: false,
        };
        file.current()?;
        Ok(file)
    }

    fn write(&mut self, rest: &mut &[u8]) -> io::Result<()> {
        let torn = self.torn;
        let file = self.current()?;
        if torn {
            file.write_all(b"\n")?;
        }
        let all = *rest;
        let written = write(file, rest);
        let done = &all[..all.len() - rest.len()];
        self.torn = done.last().is_some_and(|byte| *byte != b'\n');
        written
    }

    /// The file that has the path now.
    fn current(&mut self) -> io::Result<&mut File> {
        match self.open.take() {
            Some(file) if self.is_at_the_path(&file) => Ok(self.open.insert(file)),
            _ => {
                let file = open(&self.path)?;
                self.torn &= file.metadata()?.len() > 0;
                Ok(self.open.insert(file))
            }
        }
    }

    fn is_at_the_path(&self, file: &File) -> bool {
        let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
        match (file.metadata(), std::fs::metadata(&self.path)) {
            (Ok(open), Ok(named)) => identity(open) == identity(named),
            _ => false,
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(MODE)
        // A named pipe that no process reads is an error instead of a wait.
        .custom_flags(O_NONBLOCK)
        .open(path)
}

/// Writes; what is not written stays in `rest`.
fn write(to: &mut impl Write, rest: &mut &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match to.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(bytes) => *rest = &rest[bytes..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
