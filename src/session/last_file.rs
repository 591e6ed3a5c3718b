//! What SIZE and MDTM have just learnt of a file, so that the MDTM and RETR that follow need not
//! ask again (docs/design/promises.md, 7).
//!
//! Clients such as curl ask SIZE before each RETR. From the second small file of a session on, SIZE is asked as a GET
//! of the first bytes: these are then what RETR sends, and the file has cost one request.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::memory::Grant;
use crate::namespace::VirtualPath;
use crate::object::ObjectInfo;

/// What is asked of a file by SIZE in place of a HEAD, bytes.
pub(in crate::session) const PEEK: u64 = 64 * 1024;

/// How long it holds: "back to back" over a slow line, no longer.
const FRESH: Duration = Duration::from_secs(5);

/// The memory of one file.
#[derive(Debug, Default)]
pub(in crate::session) struct LastFile {
    file: Option<File>,
    /// The last SIZE was followed by a RETR of a file that a peek holds.
    peek_pays: bool,
}

#[derive(Debug)]
struct File {
    path: VirtualPath,
    info: ObjectInfo,
    /// The CRC-32 of the whole, if the store holds it and was asked.
    crc: Option<u32>,
    /// All of its bytes, where they were asked for and fit.
    whole: Option<Whole>,
    at: Instant,
}

/// All bytes of a file, and the memory they take out of the budget.
#[derive(Debug)]
pub(in crate::session) struct Whole {
    pub(in crate::session) bytes: Bytes,
    pub(in crate::session) grant: Option<Grant>,
}

impl LastFile {
    /// Another command came in between.
    pub(in crate::session) fn forget(&mut self) {
        self.file = None;
    }

    /// No command came for too long: the bytes go, and what a RETR is compared with stays.
    pub(in crate::session) fn release(&mut self) {
        if let Some(file) = &mut self.file {
            file.whole = None;
        }
    }

    /// When an idle session gives back the bytes it holds; `None` where it holds none.
    pub(in crate::session) fn expires(&self) -> Option<Instant> {
        let file = self.file.as_ref()?;
        file.whole.as_ref().map(|_| file.at + FRESH)
    }

    /// Whether SIZE should ask for the first bytes in place of a HEAD.
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

    /// The CRC-32 of the file that was just remembered.
    pub(in crate::session) fn remember_crc(&mut self, crc: Option<u32>) {
        if let Some(file) = &mut self.file {
            file.crc = crc;
        }
    }

    /// The CRC-32 of a file, and the ETag of the version that it is of.
    pub(in crate::session) fn crc(&self, path: &VirtualPath) -> Option<(String, u32)> {
        let file = self.file.as_ref().filter(|file| file.path == *path)?;
        Some((file.info.etag.clone(), file.crc?))
    }

    /// What is known of a file.
    pub(in crate::session) fn info(&self, path: &VirtualPath) -> Option<&ObjectInfo> {
        self.file
            .as_ref()
            .filter(|file| file.path == *path && file.at.elapsed() < FRESH)
            .map(|file| &file.info)
    }

    /// A RETR of the file follows: gives what was reported of it, however long ago, and its bytes if they are all here and
    /// fresh. Learns whether a peek pays.
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
