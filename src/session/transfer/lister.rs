//! [`Lister`]: pages of ListObjectsV2 → lines, a block at a time.
//!
//! The listing's admission covers the block that is being sent; the page has memory of its own. If
//! others wait for memory, a slow client keeps only the block: the page is given back, and its rest
//! is listed again.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::memory::Admission;
use crate::namespace::{Mount, Permission, Permissions, Resolved, VirtualPath};
use crate::object::{Entry, HELD, Listing, Location, ObjectError, Page};
use ftp_proto::facts::{FactType, Facts, fact_line};
use ftp_proto::glob::Glob;
use ftp_proto::listing::{ListedEntry, list_line, name_line};

use crate::session::resolve::modified;
use crate::session::transfer::job::TransferError;
use crate::session::transfer::list_format::{HEADS, Item, LineFormat, kept_time};
use crate::session::transfer::sink::Outgoing;
use crate::session::transfer::tree_lister::TreeLister;

/// A block of lines is full when it is this long, bytes.
const BLOCK: usize = 32 * 1024;

/// The number of entries that are turned into lines at once. Their lines have 100 KiB at most.
const STEP: usize = 64;

/// One listing of the store. The files of a directory that are temporary have one of their own.
pub(in crate::session) struct ListSource {
    listing: Listing,
    /// What its names are relative to.
    location: Location,
    kind: ListSourceKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListSourceKind {
    /// The keys of the directory.
    Directory,
    /// The user's temporary files of the directory.
    Temporary,
}

impl ListSource {
    /// What a directory of a mount lists: first the temporary files, so that one that is renamed
    /// between the two listings may be shown twice, and is never missing. `prefix` is what the names
    /// begin with.
    pub(in crate::session) fn of(directory: &Resolved, prefix: &str) -> VecDeque<ListSource> {
        let sources = [
            (directory.temporary_directory(), ListSourceKind::Temporary),
            (directory.directory(), ListSourceKind::Directory),
        ];
        let sources = sources.into_iter().filter_map(|(location, kind)| {
            let location = location?;
            Some(ListSource {
                listing: Listing::new(&location, prefix),
                location,
                kind,
            })
        });
        sources.collect()
    }
}

/// Turns pages into lines.
pub(in crate::session) struct Lister {
    /// What remains to be listed; the first of them is being listed.
    pub(in crate::session) sources: VecDeque<ListSource>,
    pub(in crate::session) location: Option<Location>,
    pub(in crate::session) resolved: Resolved,
    pub(in crate::session) mount: Option<Arc<Mount>>,
    /// Directories that are mount points or lead to one. They are shown first, and in place of keys
    /// of the same name.
    pub(in crate::session) mount_names: BTreeMap<String, Resolved>,
    pub(in crate::session) mounts_sent: bool,
    pub(in crate::session) glob: Option<Glob>,
    pub(in crate::session) format: LineFormat,
    /// The page whose entries are sent now.
    pub(in crate::session) showing: Option<Showing>,
    /// Whether the first page showed anything, a marker included.
    pub(in crate::session) seen: bool,
    pub(in crate::session) always_there: bool,
    /// The number of keys that FTP cannot name.
    pub(in crate::session) unnameable: u64,
    /// A listing of one entry, not of a directory's content.
    pub(in crate::session) single: bool,
    pub(in crate::session) ready: Option<Vec<u8>>,
    /// The memory of a block.
    pub(in crate::session) admission: Admission,
    /// Replaces everything above for LIST -R.
    pub(in crate::session) tree: Option<Box<TreeLister>>,
}

impl Outgoing for Lister {
    async fn next(&mut self) -> Result<Option<Bytes>, TransferError> {
        Ok(self.next_lines().await?.map(Bytes::from))
    }

    fn relieve(&mut self) {
        Lister::relieve(self, Instant::now());
    }
}

/// A page, and the first entry that has no line yet.
pub(in crate::session) struct Showing {
    page: Page,
    /// The next entry.
    next: usize,
    since: Instant,
}

impl From<Page> for Showing {
    fn from(page: Page) -> Self {
        Showing {
            page,
            next: 0,
            since: Instant::now(),
        }
    }
}

impl Lister {
    /// A listing of one line.
    pub(in crate::session) fn single(
        name: &str,
        file: Option<(&crate::object::ObjectInfo, &Resolved)>,
        resolved: &Resolved,
        format: LineFormat,
        admission: Admission,
    ) -> Self {
        let mut lister = Lister {
            sources: VecDeque::new(),
            location: None,
            resolved: resolved.clone(),
            mount: None,
            mount_names: BTreeMap::new(),
            mounts_sent: true,
            glob: None,
            format,
            showing: None,
            seen: true,
            always_there: true,
            unnameable: 0,
            single: true,
            ready: None,
            tree: None,
            admission,
        };
        let item = Item {
            name,
            size: file.map(|(info, _)| info.size),
            modified: file.map(|(info, resolved)| modified(info, resolved)),
        };
        let mut out = Vec::new();
        lister.line(&mut out, &item);
        lister.ready = Some(out);
        lister
    }

    /// Gives the admission to a listing of another kind.
    pub(in crate::session) fn into_admission(self) -> Admission {
        self.admission
    }

    pub(in crate::session) async fn fetch_first(&mut self) -> Result<(), ObjectError> {
        if let Some(tree) = &mut self.tree {
            self.seen = tree.fetch_first().await?;
            return Ok(());
        }
        while !self.seen
            && let Some(page) = self.next_page().await?
        {
            self.seen = page.marker || !page.entries.is_empty();
            self.showing = Some(page.into());
        }
        Ok(())
    }

    async fn next_page(&mut self) -> Result<Option<Page>, ObjectError> {
        while let Some(source) = self.sources.front_mut() {
            if let Some(page) = source.listing.next_page().await? {
                return Ok(Some(page));
            }
            self.sources.pop_front();
        }
        Ok(None)
    }

    pub(in crate::session) fn proves_directory(&self) -> bool {
        self.always_there || self.seen
    }

    /// The next lines, `None` after the last.
    pub(in crate::session) async fn next_lines(&mut self) -> Result<Option<Vec<u8>>, ObjectError> {
        if let Some(ready) = self.ready.take() {
            return Ok(Some(ready));
        }
        if let Some(tree) = &mut self.tree {
            return tree.next_blocks().await;
        }
        if !self.mounts_sent {
            self.mounts_sent = true;
            let mut out = Vec::new();
            for name in self.mount_names.keys() {
                self.line(
                    &mut out,
                    &Item {
                        name,
                        size: None,
                        modified: None,
                    },
                );
            }
            if !out.is_empty() {
                return Ok(Some(out));
            }
        }
        loop {
            if self.showing.is_none() {
                self.showing = self.next_page().await?.map(Showing::from);
            }
            // Taken out so that it is not borrowed with `self`, and put back unless it is done.
            let Some(mut showing) = self.showing.take() else {
                break;
            };
            let out = self.block(&mut showing).await?;
            if showing.next < showing.page.entries.len() {
                self.showing = Some(showing);
            }
            if !out.is_empty() {
                return Ok(Some(out));
            }
        }
        if self.unnameable > 0 {
            tracing::warn!(keys = self.unnameable, location = ?self.location.as_ref().map(|l| &l.key), "keys that FTP can't name were left out of a listing");
        }
        Ok(None)
    }

    /// The lines of the next entries of a page; empty if none of them is shown.
    async fn block(&mut self, showing: &mut Showing) -> Result<Vec<u8>, ObjectError> {
        let mut out = Vec::with_capacity(BLOCK);
        while out.len() < BLOCK && showing.next < showing.page.entries.len() {
            let rest = &showing.page.entries[showing.next..];
            let entries = &rest[..rest.len().min(STEP)];
            showing.next += entries.len();
            self.lines(&mut out, entries).await?;
        }
        Ok(out)
    }

    async fn lines(&mut self, out: &mut Vec<u8>, entries: &[Entry]) -> Result<(), ObjectError> {
        let times = self.client_times(entries).await?;
        for (index, entry) in entries.iter().enumerate() {
            let item = match entry {
                Entry::File {
                    name,
                    size,
                    modified,
                    ..
                } => Item {
                    name,
                    size: Some(*size),
                    modified: Some(times.get(index).copied().flatten().unwrap_or(*modified)),
                },
                Entry::Directory { name } => Item {
                    name,
                    size: None,
                    modified: None,
                },
            };
            if !VirtualPath::nameable(item.name) {
                self.unnameable += 1;
                continue;
            }
            if self.shows(&item) {
                self.line(out, &item);
            }
        }
        Ok(())
    }

    /// Gives the memory of the page back if its client is slow and others wait for memory.
    pub(in crate::session) fn relieve(&mut self, now: Instant) {
        if let Some(tree) = &mut self.tree {
            return tree.relieve(now);
        }
        let Some(ListSource { listing, .. }) = self.sources.front_mut() else {
            return;
        };
        if let Some(showing) = self.showing.take_if(|showing| {
            listing.contended() && now.saturating_duration_since(showing.since) >= HELD
        }) {
            // Each entry is counted once, even if its page is listed several times.
            listing.give_back(showing.page, showing.next);
        }
    }

    pub(in crate::session) fn shows(&self, item: &Item<'_>) -> bool {
        if self.mount_names.contains_key(item.name)
            || self
                .glob
                .as_ref()
                .is_some_and(|glob| !glob.matches(item.name))
        {
            return false;
        }
        let (Some(mount), Some(source)) = (&self.mount, self.sources.front()) else {
            return true;
        };
        let temporary = item.size.is_some() && mount.is_temporary(item.name);
        match source.kind {
            ListSourceKind::Temporary => temporary,
            ListSourceKind::Directory => {
                !temporary && !mount.hidden(&format!("{}{}", source.location.key, item.name))
            }
        }
    }

    /// What the user may do with an entry.
    fn permissions(&self, directory: bool) -> Permissions {
        let source = self.sources.front().map(|source| source.kind);
        match (&self.mount, source) {
            (Some(mount), Some(ListSourceKind::Temporary)) if !directory => {
                mount.temporary_permissions()
            }
            (Some(mount), _) => mount.permissions,
            (None, _) => self.resolved.permissions_for(directory),
        }
    }

    /// The times that clients have set, in the order of the entries. A mount that keeps times in
    /// the metadata needs a HEAD for each entry; several run in parallel.
    pub(in crate::session) async fn client_times(
        &self,
        entries: &[Entry],
    ) -> Result<Vec<Option<Timestamp>>, ObjectError> {
        let (Some(mount), Some(source)) = (&self.mount, self.sources.front()) else {
            return Ok(Vec::new());
        };
        let location = &source.location;
        if !mount.times_metadata || matches!(self.format, LineFormat::Names { .. }) {
            return Ok(Vec::new());
        }
        let asked: Vec<_> = entries
            .iter()
            .map(|entry| self.client_time(location, entry))
            .collect();
        stream::iter(asked)
            .buffered(HEADS)
            .collect::<Vec<_>>()
            .await
            .into_iter()
            .collect()
    }

    pub(in crate::session) async fn client_time(
        &self,
        location: &Location,
        entry: &Entry,
    ) -> Result<Option<Timestamp>, ObjectError> {
        let Entry::File { name, .. } = entry else {
            return Ok(None);
        };
        if !VirtualPath::nameable(name)
            || self.glob.as_ref().is_some_and(|glob| !glob.matches(name))
        {
            return Ok(None);
        }
        kept_time(location, name).await
    }

    /// What the name of an entry is relative to.
    fn place_of(&self, directory: bool) -> Option<&Location> {
        match self.sources.front() {
            Some(source) if !directory => Some(&source.location),
            _ => self.location.as_ref(),
        }
    }

    pub(in crate::session) fn line(&self, out: &mut Vec<u8>, item: &Item<'_>) {
        let directory = item.size.is_none();
        match &self.format {
            LineFormat::Long { now } => list_line(
                out,
                &ListedEntry {
                    name: item.name,
                    directory,
                    size: item.size.unwrap_or(0),
                    modified: item.modified,
                    writable: self.permissions(directory).allows(if directory {
                        Permission::Write
                    } else {
                        Permission::Overwrite
                    }),
                },
                *now,
            ),
            LineFormat::Names { prefix } => {
                out.extend_from_slice(prefix.as_bytes());
                name_line(out, item.name);
            }
            LineFormat::Facts { set } => {
                let facts = Facts {
                    name: item.name,
                    kind: if directory {
                        FactType::Directory
                    } else {
                        FactType::File
                    },
                    size: item.size,
                    modified: item.modified,
                    perm: match (self.mount_names.get(item.name), &self.mount) {
                        (Some(mounted), _) => mounted.perm(directory),
                        (None, Some(_)) => self.permissions(directory).perm(directory),
                        (None, None) => self.resolved.perm(directory),
                    },
                    unique: self.place_of(directory).zip(self.mount.as_ref()).map(
                        |(location, mount)| {
                            let slash = if directory { "/" } else { "" };
                            mount.unique(&format!("{}{}{slash}", location.key, item.name))
                        },
                    ),
                };
                fact_line(out, &facts, set);
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}
