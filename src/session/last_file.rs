//! What SIZE and MDTM have just learnt about a file, so that the MDTM and RETR that follow need no
//! request (docs/design/promises.md, 7).
//!
//! Clients such as curl send SIZE before each RETR. From the second small file of a session on,
//! SIZE is a GET of the first bytes. RETR then sends these bytes, and the file has cost one
//! request.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::memory::Grant;
use crate::namespace::VirtualPath;
use crate::object::ObjectInfo;

/// The number of bytes that SIZE gets in place of a HEAD.
pub(in crate::session) const PEEK: u64 = 64 * 1024;

/// How long the memory is valid: for commands that follow each other over a slow line.
const FRESH: Duration = Duration::from_secs(5);

/// The memory of one file.
#[derive(Debug, Default)]
pub(in crate::session) struct LastFile {
    file: Option<File>,
    /// The last SIZE was followed by a RETR of a file that is no longer than [`PEEK`].
    peek_pays: bool,
}

#[derive(Debug)]
struct File {
    path: VirtualPath,
    info: ObjectInfo,
    /// The CRC-32 of the whole file, if SIZE asked for it and the store has it.
    crc: Option<u32>,
    /// All of its bytes, if SIZE got them and they fit.
    whole: Option<Whole>,
    at: Instant,
}

/// All bytes of a file, and their memory from the budget.
#[derive(Debug)]
pub(in crate::session) struct Whole {
    pub(in crate::session) bytes: Bytes,
    pub(in crate::session) grant: Option<Grant>,
}

impl LastFile {
    /// Forgets the file: another command came in between.
    pub(in crate::session) fn forget(&mut self) {
        self.file = None;
    }

    /// Drops the bytes of the file if no command comes. What a RETR is compared with stays.
    pub(in crate::session) fn release(&mut self) {
        if let Some(file) = &mut self.file {
            file.whole = None;
        }
    }

    /// When an idle session drops the bytes it holds; `None` if it holds none.
    pub(in crate::session) fn expires(&self) -> Option<Instant> {
        let file = self.file.as_ref()?;
        file.whole.as_ref().map(|_| file.at + FRESH)
    }

    /// Whether SIZE should get the first bytes in place of a HEAD.
    pub(in crate::session) fn peek_pays(&self) -> bool {
        self.peek_pays
    }

    pub(in crate::session) fn remember(
        &mut self,
        path: VirtualPath,
        info: ObjectInfo,
        whole: Option<Whole>,
    ) {
        self.file = Some(File {
            path,
            info,
            crc: None,
            whole,
            at: Instant::now(),
        });
    }

    /// Adds the CRC-32 of the file that was just remembered.
    pub(in crate::session) fn remember_crc(&mut self, crc: Option<u32>) {
        if let Some(file) = &mut self.file {
            file.crc = crc;
        }
    }

    /// The CRC-32 of a file, with the ETag of the version it belongs to.
    pub(in crate::session) fn crc(&self, path: &VirtualPath) -> Option<(String, u32)> {
        let file = self.file.as_ref().filter(|file| file.path == *path)?;
        Some((file.info.etag.clone(), file.crc?))
    }

    /// The remembered information about a file.
    pub(in crate::session) fn info(&self, path: &VirtualPath) -> Option<&ObjectInfo> {
        self.file
            .as_ref()
            .filter(|file| file.path == *path && file.at.elapsed() < FRESH)
            .map(|file| &file.info)
    }

    /// A RETR of the file follows. Returns what was reported about it, at any age, and its bytes if
    /// all of them are here and fresh. Learns whether a peek pays.
    pub(in crate::session) fn retrieve(
        &mut self,
        path: &VirtualPath,
    ) -> Option<(ObjectInfo, Option<Whole>)> {
        let file = self.file.take().filter(|file| file.path == *path)?;
        if file.at.elapsed() >= FRESH {
            return Some((file.info, None));
        }
        self.peek_pays = file.info.size <= PEEK;
        Some((file.info, file.whole))
    }
}
