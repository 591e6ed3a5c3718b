//! LIST -R and NLST -R: all keys below a directory → blocks, as `ls -R` prints them.
//!
//! ListObjectsV2 without a delimiter returns the keys in their order, in which the files of a
//! directory alternate with those of its subdirectories. `ls -R` prints a whole directory before
//! the first of its subdirectories. So the lister collects a block for each directory, up to a
//! number of bytes, and then prints all blocks, parents first. A directory that does not fit comes
//! in several blocks, each with its heading: parsers of `ls -lR` go by the headings. The mounts
//! below the directory follow, each with its own keys.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::memory::{Budget, Grant};
use crate::namespace::{Mount, Namespace, Permission, Permissions, Resolved, VirtualPath};
use crate::object::{Entry, HELD, Listing, Location, ObjectError, Page};
use ftp_proto::glob::Glob;
use ftp_proto::listing::{ListedEntry, list_line, name_line};

use crate::session::transfer::list_format::{HEADS, LineFormat, kept_time};
use crate::session::transfer::tree_blocks::{Blocks, below};

/// The number of bytes of blocks that are collected, if the budget has them.
const COLLECTED: usize = 256 * 1024;

/// The number of bytes if the budget has no more: the admission of the listing covers such blocks.
const COLLECTED_LEAST: usize = 16 * 1024;

/// The number of entries that are turned into lines at once.
const STEP: usize = 64;

/// Turns all keys below a directory into blocks.
pub(in crate::session) struct TreeLister {
    format: LineFormat,
    /// Selects among the names directly below the first root.
    glob: Option<Glob>,
    /// The roots that remain: the directory, then the mounts below it.
    roots: VecDeque<Root>,
    walk: Option<Walk>,
    blocks: Blocks,
    unnameable: u64,
    limit: usize,
    _memory: Option<Grant>,
}

/// A directory whose keys are one ListObjectsV2.
struct Root {
    heading: String,
    /// `None` for a directory above all mounts.
    mount: Option<(Arc<Mount>, Location)>,
    /// The mount points below it, by their elements. Keys of this root at these paths are not
    /// shown.
    below: Vec<Vec<String>>,
}

/// A root that is being walked.
struct Walk {
    root: Root,
    glob: Option<Glob>,
    keys: Option<Pages>,
    /// The temporary files of the directory that was opened last, until they have their lines.
    temporary: Option<TemporaryFiles>,
    /// The directories above mount points whose block has begun.
    ways: BTreeSet<Vec<String>>,
}

/// The pages of a listing.
struct Pages {
    listing: Listing,
    /// A page, and its next entry.
    page: Option<(Page, usize)>,
    /// When the page came.
    since: Instant,
}

/// The user's temporary files of one directory.
struct TemporaryFiles {
    pages: Pages,
    location: Location,
    /// The directory below the root: empty, or with a slash at its end.
    directory: String,
}

/// Whether lines of a directory can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entered {
    Yes,
    /// Its temporary files, or those of a directory above it, come first.
    AfterTemporary,
}

impl Pages {
    fn of(listing: Listing) -> Pages {
        Pages {
            listing,
            page: None,
            since: Instant::now(),
        }
    }

    /// Lists the next page; whether there is one.
    async fn turn(&mut self) -> Result<bool, ObjectError> {
        self.page = self.listing.next_page().await?.map(|page| (page, 0));
        self.since = Instant::now();
        Ok(self.page.is_some())
    }

    /// Whether the page shows anything, a marker included.
    fn shows_any(&self) -> bool {
        let page = self.page.as_ref();
        page.is_some_and(|(page, _)| page.marker || !page.entries.is_empty())
    }

    /// Puts a page back of which `done` entries have their lines.
    fn put_back(&mut self, page: Page, done: usize) {
        if done < page.entries.len() {
            self.page = Some((page, done));
        }
    }

    fn relieve(&mut self, now: Instant) {
        if self.listing.contended()
            && now.saturating_duration_since(self.since) >= HELD
            && let Some((page, next)) = self.page.take()
        {
            self.listing.give_back(page, next);
        }
    }
}

impl TreeLister {
    /// Lists a directory under `heading`. Of the names directly below it only those that match
    /// `glob` are shown.
    pub(in crate::session) fn new(
        namespace: &Namespace,
        resolved: &Resolved,
        heading: &str,
        glob: Option<Glob>,
        format: LineFormat,
        budget: &Budget,
    ) -> TreeLister {
        let top = resolved.path();
        let mut roots = vec![(Vec::new(), resolved.clone())];
        let mut points: Vec<Vec<String>> = Vec::new();
        for mount in namespace.mounts() {
            let Some(below) = mount.path.strip_prefix(top) else {
                continue;
            };
            let Some(first) = below.first() else {
                continue;
            };
            points.push(below.to_vec());
            let shown = glob.as_ref().is_none_or(|glob| glob.matches(first));
            if shown && mount.permissions.allows(Permission::List) {
                roots.push((below.to_vec(), namespace.resolve(&mount.path)));
            }
        }
        roots.sort_by(|(one, _), (other, _)| one.cmp(other));
        let roots = roots.into_iter().map(|(elements, resolved)| Root {
            heading: elements
                .iter()
                .fold(heading.to_owned(), |heading, name| below(&heading, name)),
            mount: match &resolved {
                Resolved::Mounted { mount, .. } => resolved
                    .directory()
                    .map(|location| (mount.clone(), location)),
                _ => None,
            },
            below: points
                .iter()
                .filter_map(|point| point.strip_prefix(elements.as_slice()))
                .filter(|point| !point.is_empty())
                .map(<[String]>::to_vec)
                .collect(),
        });
        let memory = budget.try_grant(COLLECTED as u64);
        TreeLister {
            format,
            glob,
            roots: roots.collect(),
            walk: None,
            blocks: Blocks::default(),
            unnameable: 0,
            limit: match memory {
                Some(_) => COLLECTED,
                None => COLLECTED_LEAST,
            },
            _memory: memory,
        }
    }

    /// Asks for the first page; whether there is anything.
    pub(in crate::session) async fn fetch_first(&mut self) -> Result<bool, ObjectError> {
        self.begin_next();
        let Some(walk) = &mut self.walk else {
            return Ok(false);
        };
        if let Some(temporary) = &mut walk.temporary
            && temporary.pages.turn().await?
            && temporary.pages.shows_any()
        {
            return Ok(true);
        }
        let Some(keys) = &mut walk.keys else {
            return Ok(false);
        };
        keys.turn().await?;
        Ok(keys.shows_any())
    }

    /// The next blocks, `None` after the last.
    pub(in crate::session) async fn next_blocks(&mut self) -> Result<Option<Vec<u8>>, ObjectError> {
        loop {
            let Some(walk) = &mut self.walk else {
                if self.begin_next() {
                    continue;
                }
                if self.unnameable > 0 {
                    tracing::warn!(
                        keys = std::mem::take(&mut self.unnameable),
                        "keys that FTP can't name were left out of a listing"
                    );
                }
                let last = self.blocks.print();
                return Ok(Some(last).filter(|last| !last.is_empty()));
            };
            if walk.temporary.is_some() {
                self.unnameable += walk.temporary_step(&mut self.blocks, &self.format).await?;
            } else if walk.has_page().await? {
                self.unnameable += walk.step(&mut self.blocks, &self.format).await?;
            } else {
                walk.finish(&mut self.blocks, &self.format);
                self.walk = None;
                continue;
            }
            if self.blocks.bytes >= self.limit {
                return Ok(Some(self.blocks.print()));
            }
        }
    }

    /// Gives the memory of the page back if its client is slow and others wait for memory.
    pub(in crate::session) fn relieve(&mut self, now: Instant) {
        if let Some(walk) = &mut self.walk {
            let temporary = walk.temporary.as_mut().map(|files| &mut files.pages);
            for pages in temporary.into_iter().chain(&mut walk.keys) {
                pages.relieve(now);
            }
        }
    }

    fn begin_next(&mut self) -> bool {
        let Some(root) = self.roots.pop_front() else {
            return false;
        };
        // The glob is for the first root only.
        let glob = self.glob.take();
        let prefix = glob.as_ref().map_or("", |glob| glob.literal_prefix());
        let listing = root
            .mount
            .as_ref()
            .map(|(_, location)| Listing::all_below(location, prefix));
        self.blocks.begin(root.heading.clone());
        let temporary = root.temporary_of("", prefix);
        let mut walk = Walk {
            root,
            glob,
            keys: listing.map(Pages::of),
            temporary,
            ways: BTreeSet::new(),
        };
        walk.ways_of(&[], &mut self.blocks, &self.format);
        self.walk = Some(walk);
        true
    }
}

impl Root {
    /// The temporary files of a directory, which is empty or ends in a slash, whose names begin with
    /// `prefix`. `None` if the mount has no such names.
    fn temporary_of(&self, directory: &str, prefix: &str) -> Option<TemporaryFiles> {
        let (mount, location) = self.mount.as_ref()?;
        let location = mount.temporary_in(&Location {
            key: format!("{}{directory}", location.key),
            ..location.clone()
        })?;
        Some(TemporaryFiles {
            pages: Pages::of(Listing::new(&location, prefix)),
            location,
            directory: directory.to_owned(),
        })
    }
}

impl Walk {
    /// Whether there are entries that have no lines yet.
    async fn has_page(&mut self) -> Result<bool, ObjectError> {
        match &mut self.keys {
            Some(keys) => Ok(keys.page.is_some() || keys.turn().await?),
            None => Ok(false),
        }
    }

    /// Turns some entries of the page into lines. Returns the number of those that FTP cannot name.
    async fn step(&mut self, blocks: &mut Blocks, format: &LineFormat) -> Result<u64, ObjectError> {
        let (Some(keys), Some((mount, location))) = (&mut self.keys, &self.root.mount) else {
            return Ok(0);
        };
        let Some((page, next)) = keys.page.take() else {
            return Ok(0);
        };
        let (mount, location) = (Arc::clone(mount), location.clone());
        let entries = &page.entries[next..page.entries.len().min(next + STEP)];
        let entries = match mount.temporary {
            // Between two directories the temporary files of the second have their lines.
            Some(_) => of_one_directory(entries),
            None => entries,
        };
        let wanted = |name: &str| {
            let file = name.rsplit('/').next().unwrap_or(name);
            !file.is_empty() && !mount.is_temporary(file) && self.shows(name, &mount, &location)
        };
        let times = times_of(&mount, &location, entries, format, wanted).await;
        let mut unnameable = 0;
        let mut done = next;
        for (entry, time) in entries.iter().zip(times) {
            done += 1;
            let Entry::File {
                name,
                size,
                modified,
                ..
            } = entry
            else {
                continue;
            };
            let (directory, file) = name.rsplit_once('/').unwrap_or(("", name.as_str()));
            let elements = directory.split('/').filter(|_| !directory.is_empty());
            let names = elements.clone().chain(Some(file).filter(|f| !f.is_empty()));
            if !names.clone().all(VirtualPath::nameable) {
                unnameable += 1;
                continue;
            }
            if !self.shows(name, &mount, &location) {
                continue;
            }
            let elements: Vec<&str> = elements.collect();
            if self.enter(&elements, blocks, format) == Entered::AfterTemporary {
                done -= 1;
                break;
            }
            if !file.is_empty() && !mount.is_temporary(file) {
                let line = FileLine {
                    name: file,
                    size: *size,
                    modified: time?.unwrap_or(*modified),
                    permissions: mount.permissions,
                };
                line.write(blocks, format);
            }
        }
        if let Some(keys) = &mut self.keys {
            keys.put_back(page, done);
        }
        Ok(unnameable)
    }

    /// Turns some temporary files into lines of the directory that is open. Returns the number of
    /// those that FTP cannot name.
    async fn temporary_step(
        &mut self,
        blocks: &mut Blocks,
        format: &LineFormat,
    ) -> Result<u64, ObjectError> {
        let (Some(mut files), Some((mount, location))) = (self.temporary.take(), &self.root.mount)
        else {
            return Ok(0);
        };
        let (mount, location) = (Arc::clone(mount), location.clone());
        if files.pages.page.is_none() && !files.pages.turn().await? {
            return Ok(0);
        }
        let Some((page, next)) = files.pages.page.take() else {
            return Ok(0);
        };
        let entries = &page.entries[next..page.entries.len().min(next + STEP)];
        let wanted = |name: &str| {
            let path = format!("{}{name}", files.directory);
            mount.is_temporary(name) && self.shows(&path, &mount, &location)
        };
        let times = times_of(&mount, &files.location, entries, format, wanted).await;
        let mut unnameable = 0;
        for (entry, time) in entries.iter().zip(times) {
            let Entry::File {
                name,
                size,
                modified,
                ..
            } = entry
            else {
                continue;
            };
            if !VirtualPath::nameable(name) {
                unnameable += 1;
            } else if wanted(name) {
                let line = FileLine {
                    name,
                    size: *size,
                    modified: time?.unwrap_or(*modified),
                    permissions: mount.temporary_permissions(),
                };
                line.write(blocks, format);
            }
        }
        let done = next + entries.len();
        files.pages.put_back(page, done);
        self.temporary = Some(files);
        Ok(unnameable)
    }

    /// Whether a key below the root is shown: it matches the glob, it is not the server's own, and
    /// no mount point hides it.
    fn shows(&self, name: &str, mount: &Mount, location: &Location) -> bool {
        let first = name.split('/').next().unwrap_or(name);
        if self.glob.as_ref().is_some_and(|glob| !glob.matches(first)) {
            return false;
        }
        let hides = |point: &Vec<String>| {
            let mut elements = name.split('/');
            let mut common = 0;
            for wanted in point {
                match elements.next() {
                    Some(element) if element == wanted => common += 1,
                    Some(_) => return false,
                    None => break,
                }
            }
            // In the mount, or a file in the place of the way to it.
            common == point.len() || !name.ends_with('/')
        };
        !self.root.below.iter().any(hides) && !mount.hidden(&format!("{}{name}", location.key))
    }

    /// Makes this the directory that lines go to. Each new directory on the way gets a line in its
    /// parent's block. If a new one can have temporary files, it is the last that is opened, until
    /// those have their lines.
    fn enter(&mut self, elements: &[&str], blocks: &mut Blocks, format: &LineFormat) -> Entered {
        for depth in blocks.leave_to(elements)..elements.len() {
            let name = elements[depth];
            let way = elements[..=depth].iter().copied();
            if !self.is_way(way) {
                self.directory_line(name, blocks, format);
            }
            blocks.open(name);
            self.ways_of(&elements[..=depth], blocks, format);
            let directory = format!("{}/", elements[..=depth].join("/"));
            self.temporary = self.root.temporary_of(&directory, "");
            if self.temporary.is_some() {
                return Entered::AfterTemporary;
            }
        }
        Entered::Yes
    }

    /// Writes the lines of the mount points, and of the directories above mount points, in the
    /// directory that was just opened.
    fn ways_of(&mut self, directory: &[&str], blocks: &mut Blocks, format: &LineFormat) {
        let names: BTreeSet<String> = self
            .root
            .below
            .iter()
            .filter(|point| {
                point.len() > directory.len() && point.iter().zip(directory).all(|(a, b)| a == b)
            })
            .map(|point| point[directory.len()].clone())
            .collect();
        if names.is_empty() {
            return;
        }
        self.ways
            .insert(directory.iter().map(ToString::to_string).collect());
        for name in names {
            let shown =
                !directory.is_empty() || self.glob.as_ref().is_none_or(|glob| glob.matches(&name));
            if shown {
                self.directory_line(&name, blocks, format);
            }
        }
    }

    /// Whether these elements name a mount point or a directory above one.
    fn is_way<'a>(&self, elements: impl Iterator<Item = &'a str> + Clone) -> bool {
        self.root.below.iter().any(|point| {
            let mut wanted = point.iter();
            elements
                .clone()
                .all(|element| wanted.next().is_some_and(|wanted| wanted == element))
        })
    }

    fn directory_line(&self, name: &str, blocks: &mut Blocks, format: &LineFormat) {
        let writable = self
            .root
            .mount
            .as_ref()
            .is_some_and(|(mount, _)| mount.permissions.allows(Permission::Write));
        blocks.line(|out| match format {
            LineFormat::Long { now } => list_line(
                out,
                &ListedEntry {
                    name,
                    directory: true,
                    size: 0,
                    modified: None,
                    writable,
                },
                *now,
            ),
            _ => name_line(out, name),
        });
    }

    /// After the last key: writes the blocks of directories that exist only above mount points.
    fn finish(&mut self, blocks: &mut Blocks, format: &LineFormat) {
        for point in self.root.below.clone() {
            for depth in 1..point.len() {
                let way = &point[..depth];
                let in_other_mount = self.root.below.iter().any(|other| way.starts_with(other));
                let matched = self.glob.as_ref().is_none_or(|glob| glob.matches(&way[0]));
                if in_other_mount || !matched {
                    break;
                }
                if !self.ways.contains(way) {
                    let way: Vec<&str> = way.iter().map(String::as_str).collect();
                    // The keys are listed to their end, and no temporary file is looked for.
                    while self.enter(&way, blocks, format) == Entered::AfterTemporary {}
                    self.temporary = None;
                }
            }
        }
    }
}

/// The line of a file.
struct FileLine<'a> {
    name: &'a str,
    size: u64,
    modified: Timestamp,
    permissions: Permissions,
}

impl FileLine<'_> {
    fn write(&self, blocks: &mut Blocks, format: &LineFormat) {
        blocks.line(|out| match format {
            LineFormat::Long { now } => list_line(
                out,
                &ListedEntry {
                    name: self.name,
                    directory: false,
                    size: self.size,
                    modified: Some(self.modified),
                    writable: self.permissions.allows(Permission::Overwrite),
                },
                *now,
            ),
            _ => name_line(out, self.name),
        });
    }
}

/// The first entries that are in the same directory.
fn of_one_directory(entries: &[Entry]) -> &[Entry] {
    let first = entries.first().map(directory_of);
    let same = entries
        .iter()
        .take_while(|entry| Some(directory_of(entry)) == first);
    &entries[..same.count()]
}

/// The directory of an entry of a listing of all keys.
fn directory_of(entry: &Entry) -> &str {
    match entry {
        Entry::File { name, .. } => name.rsplit_once('/').map_or("", |(directory, _)| directory),
        Entry::Directory { .. } => "",
    }
}

/// The times that clients have set of those entries that are wanted, if the mount keeps them and
/// the lines show them.
async fn times_of(
    mount: &Mount,
    location: &Location,
    entries: &[Entry],
    format: &LineFormat,
    wanted: impl Fn(&str) -> bool,
) -> Vec<Result<Option<Timestamp>, ObjectError>> {
    let asks = mount.times_metadata && matches!(format, LineFormat::Long { .. });
    let asked: Vec<_> = entries
        .iter()
        .map(|entry| {
            let asked = asks && matches!(entry, Entry::File { name, .. } if wanted(name));
            time_of(location, entry, asked)
        })
        .collect();
    stream::iter(asked).buffered(HEADS).collect().await
}

async fn time_of(
    location: &Location,
    entry: &Entry,
    wanted: bool,
) -> Result<Option<Timestamp>, ObjectError> {
    match entry {
        Entry::File { name, .. } if wanted => kept_time(location, name).await,
        _ => Ok(None),
    }
}
