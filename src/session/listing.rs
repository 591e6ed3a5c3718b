//! LIST, NLST, MLSD, MLST, STAT with a path (RFC 959, 4.1.3; 1123, 4.1.2.7; 3659, 7).
//!
//! A [`Lister`] turns pages of ListObjectsV2 into lines, a page at a time: LIST, NLST and MLSD send them over the data
//! connection, STAT over the control connection. Nothing is sorted or collected: keys come in order, and mount points
//! come first.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use jiff::Timestamp;

use crate::config::Timeouts;
use crate::data::linger::Lingering;
use crate::memory::Budget;
use crate::namespace::{Mount, Permission, Place, VirtualPath};
use crate::object::{Entry, Listing, Location, ObjectError, TransferId, directory_exists, head};
use crate::protocol::Reply;
use crate::protocol::command::ListArgument;
use crate::protocol::facts::{FactSet, FactType, Facts, fact_line};
use crate::protocol::glob::Glob;
use crate::protocol::listing::{ListedEntry, list_line, name_line};

use super::control::ControlError;
use super::data_setup::DataSetup;
use super::download::Sink;
use super::files::describe;
use super::transfer::{End, Failure, Label, Link, Signal};
use super::{Flow, Handled, Session, replies, require};

/// HEADs at once where a mount keeps times in the metadata.
const HEADS: usize = 8;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// LIST, STAT.
    Long,
    /// NLST.
    Names,
}

/// How one entry becomes a line.
#[derive(Debug, Clone)]
enum Format {
    Long {
        now: Timestamp,
    },
    /// What stands before each name: NLST of a directory gives names that work as they are (RFC 1123, 4.1.2.7).
    Names {
        prefix: String,
    },
    Facts {
        set: FactSet,
    },
}

/// One line's entry.
struct Item<'a> {
    name: &'a str,
    size: Option<u64>,
    modified: Option<Timestamp>,
}

impl Session {
    pub(super) async fn list(
        &mut self,
        argument: &ListArgument,
        style: Style,
    ) -> Result<Flow, ControlError> {
        let verb = match style {
            Style::Long => "LIST",
            Style::Names => "NLST",
        };
        let prepared = self.prepare_list(argument, style).await;
        self.send_listing(prepared, verb).await
    }

    /// MLSD (RFC 3659, 7.2): directories only.
    pub(super) async fn machine_list(&mut self, path: Option<&str>) -> Result<Flow, ControlError> {
        let prepared = self.prepare_machine_list(path).await;
        self.send_listing(prepared, "MLSD").await
    }

    /// STAT path: as LIST, over the control connection, page by page.
    pub(super) async fn stat_path(
        &mut self,
        argument: &ListArgument,
    ) -> Result<Flow, ControlError> {
        let (path, mut lister) = match self.prepare_list(argument, Style::Long).await {
            Ok(prepared) => prepared,
            Err(reply) => {
                self.control.reply(&reply).await?;
                return Ok(Flow::Continue);
            }
        };
        let code = if lister.single { 213 } else { 212 };
        self.control
            .send(format!("{code}-Status of {path}:\r\n").as_bytes())
            .await?;
        let last = loop {
            if self.gateway.cut.is_cancelled() {
                break "Broken off: the server is shutting down, the list is not complete"
                    .to_owned();
            }
            match lister.next_lines().await {
                Ok(Some(lines)) => {
                    let mut shown = Vec::with_capacity(lines.len() + lines.len() / 64);
                    for line in lines.split_inclusive(|byte| *byte == b'\n') {
                        // So that no name that begins with digits looks like the reply's last line.
                        shown.push(b' ');
                        shown.extend_from_slice(line);
                    }
                    self.control.send(&shown).await?;
                }
                Ok(None) => break "End".to_owned(),
                Err(error) => {
                    tracing::warn!(%path, %error, "listing broken off");
                    break "Broken off: the store failed, the list is not complete".to_owned();
                }
            }
        };
        self.control.reply(&Reply::new(code, last)).await?;
        Ok(Flow::Continue)
    }

    /// MLST (RFC 3659, 7.2): one entry, over the control connection.
    pub(super) async fn mlst(&mut self, argument: Option<&str>) -> Handled {
        let (path, place) = self.place(argument.unwrap_or(""))?;
        require(&path, &place, Permission::List)?;
        let known = describe(&path, &place).await?;
        let facts = Facts {
            name: &path.to_string(),
            kind: if known.is_some() {
                FactType::File
            } else {
                FactType::Directory
            },
            size: known.as_ref().map(|info| info.size),
            modified: known
                .as_ref()
                .map(|info| super::files::modified(info, &place)),
            perm: place.perm(known.is_none()),
            unique: place.unique(known.is_none()),
        };
        let mut line = Vec::new();
        fact_line(&mut line, &facts, &self.facts);
        let line = String::from_utf8_lossy(&line).into_owned();
        Ok(Reply::lines(
            250,
            vec![format!("Listing {path}"), line, "End".to_owned()],
        ))
    }

    async fn send_listing(
        &mut self,
        prepared: Result<(VirtualPath, Lister), Reply>,
        verb: &'static str,
    ) -> Result<Flow, ControlError> {
        let prepared = prepared.and_then(|(path, lister)| Ok((path, lister, self.take_data()?)));
        let (path, lister, data) = match prepared {
            Ok(prepared) => prepared,
            Err(reply) => {
                self.drop_connected_data();
                self.control.reply(&reply).await?;
                return Ok(Flow::Continue);
            }
        };
        let label = Label {
            id: TransferId::generate(),
            verb,
            path: path.clone(),
            location: lister.location.clone(),
        };
        let job = Job {
            path,
            lister,
            data,
            budget: self.gateway.budget.clone(),
            timeouts: self.gateway.config.timeouts.clone(),
            lingering: self.gateway.lingering.clone(),
        };
        self.run_transfer(label, |link| job.run(link)).await
    }

    /// LIST, NLST and STAT: a directory, a glob in the last element, or a file.
    async fn prepare_list(
        &mut self,
        argument: &ListArgument,
        style: Style,
    ) -> Result<(VirtualPath, Lister), Reply> {
        let text = argument.path.as_deref().unwrap_or("");
        let (parent_text, last) = match text.rsplit_once('/') {
            Some((parent, last)) => (&text[..parent.len() + 1], last),
            None => ("", text),
        };
        let glob = Glob::new(last);
        let long = style == Style::Long || argument.long;
        let now = Timestamp::now();
        let format = |prefix: String| {
            if long {
                Format::Long { now }
            } else {
                Format::Names { prefix }
            }
        };

        // Brackets are as often part of a name as of a glob: the name goes first.
        let named = last.contains('[') && {
            let (path, place) = self.place(text)?;
            require(&path, &place, Permission::List)?;
            describe(&path, &place).await.is_ok()
        };
        if let Some(glob) = glob.filter(|_| !named) {
            let (path, place) = self.place(parent_text)?;
            require(&path, &place, Permission::List)?;
            let lister = self.lister(&place, Some(glob), format(parent_text.to_owned()))?;
            return Ok((path, lister));
        }
        let (path, place) = self.place(text)?;
        require(&path, &place, Permission::List)?;
        // The longest keys can only be those of files: a directory's has a slash more.
        let longest = place.object().is_some() && place.directory().is_none();
        if argument.directory || longest {
            let info = describe(&path, &place).await?;
            return Ok((
                path.clone(),
                Lister::single(
                    text_or_dot(text),
                    info.as_ref().map(|info| (info, &place)),
                    &place,
                    format(String::new()),
                ),
            ));
        }
        let prefix = match text {
            "" => String::new(),
            _ if text.ends_with('/') => text.to_owned(),
            _ => format!("{text}/"),
        };
        let mut lister = self.lister(&place, None, format(prefix))?;
        // The first page before the 150: what is not there must be told as 550, not as an empty list.
        lister
            .fetch_first()
            .await
            .map_err(|error| replies::object_error(&path, &error))?;
        if lister.proves_directory() || path == self.cwd {
            return Ok((path, lister));
        }
        let info = describe(&path, &place).await?;
        match info {
            Some(info) => {
                let single =
                    Lister::single(text, Some((&info, &place)), &place, format(String::new()));
                Ok((path, single))
            }
            None => Ok((path, lister)),
        }
    }

    async fn prepare_machine_list(
        &mut self,
        argument: Option<&str>,
    ) -> Result<(VirtualPath, Lister), Reply> {
        let (path, place) = self.place(argument.unwrap_or(""))?;
        require(&path, &place, Permission::List)?;
        let mut lister = self.lister(
            &place,
            None,
            Format::Facts {
                set: self.facts.clone(),
            },
        )?;
        lister
            .fetch_first()
            .await
            .map_err(|error| replies::object_error(&path, &error))?;
        if !lister.proves_directory()
            && path != self.cwd
            && describe(&path, &place).await?.is_some()
        {
            return Err(Reply::new(
                501,
                format!("{path}: is a file, MLSD lists directories (MLST tells of a file)"),
            ));
        }
        Ok((path, lister))
    }

    /// A listing of the directory a place is.
    fn lister(&self, place: &Place, glob: Option<Glob>, format: Format) -> Result<Lister, Reply> {
        let (path, mount) = match place {
            Place::Mounted { path, mount, .. } => (path, Some(mount.clone())),
            Place::Virtual(path) => (path, None),
            Place::Nowhere(path) => return Err(replies::not_found(path)),
        };
        let namespace = &self.user()?.namespace;
        let mount_names: BTreeMap<String, Place> = namespace
            .mount_names(path)
            .into_iter()
            .filter(|name| glob.as_ref().is_none_or(|glob| glob.matches(name)))
            .filter_map(|name| {
                path.child(&name)
                    .ok()
                    .map(|below| (name, namespace.resolve(&below)))
            })
            .collect();
        let location = match place {
            Place::Mounted { .. } => {
                Some(place.directory().ok_or_else(|| replies::not_found(path))?)
            }
            _ => None,
        };
        let prefix = glob.as_ref().map_or("", |glob| glob.literal_prefix());
        Ok(Lister {
            listing: location
                .as_ref()
                .map(|location| Listing::new(location, prefix)),
            always_there: place_is_mount_root(place)
                || !mount_names.is_empty()
                || location.is_none(),
            place: place.clone(),
            mount,
            location,
            mount_names,
            mounts_sent: false,
            first: None,
            seen: false,
            unnameable: 0,
            single: false,
            ready: None,
            glob,
            format,
        })
    }
}

fn place_is_mount_root(place: &Place) -> bool {
    matches!(place, Place::Mounted { rest, .. } if rest.is_empty())
}

fn text_or_dot(text: &str) -> &str {
    if text.is_empty() { "." } else { text }
}

/// Turns pages into lines.
struct Lister {
    listing: Option<Listing>,
    location: Option<Location>,
    place: Place,
    mount: Option<Arc<Mount>>,
    /// Directories that are mount points or lead to one: shown first, and in place of keys of the same name.
    mount_names: BTreeMap<String, Place>,
    mounts_sent: bool,
    glob: Option<Glob>,
    format: Format,
    /// A page fetched before the 150.
    first: Option<crate::object::Page>,
    /// Whether the first page showed anything, a marker included.
    seen: bool,
    always_there: bool,
    /// Keys FTP can't name.
    unnameable: u64,
    /// A listing of one thing that is no directory's content.
    single: bool,
    ready: Option<Vec<u8>>,
}

impl Lister {
    /// A listing of one line.
    fn single(
        name: &str,
        file: Option<(&crate::object::ObjectInfo, &Place)>,
        place: &Place,
        format: Format,
    ) -> Self {
        let mut lister = Lister {
            listing: None,
            location: None,
            place: place.clone(),
            mount: None,
            mount_names: BTreeMap::new(),
            mounts_sent: true,
            glob: None,
            format,
            first: None,
            seen: true,
            always_there: true,
            unnameable: 0,
            single: true,
            ready: None,
        };
        let item = Item {
            name,
            size: file.map(|(info, _)| info.size),
            modified: file.map(|(info, place)| super::files::modified(info, place)),
        };
        let mut out = Vec::new();
        lister.line(&mut out, &item);
        lister.ready = Some(out);
        lister
    }

    async fn fetch_first(&mut self) -> Result<(), ObjectError> {
        if let Some(listing) = &mut self.listing {
            self.first = listing.next_page().await?;
            self.seen = self
                .first
                .as_ref()
                .is_some_and(|page| page.marker || !page.entries.is_empty());
        }
        Ok(())
    }

    fn proves_directory(&self) -> bool {
        self.always_there || self.seen
    }

    /// The next lines, `None` after the last.
    async fn next_lines(&mut self) -> Result<Option<Vec<u8>>, ObjectError> {
        if let Some(ready) = self.ready.take() {
            return Ok(Some(ready));
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
        let page = match (self.first.take(), &mut self.listing) {
            (Some(page), _) => Some(page),
            (None, Some(listing)) => listing.next_page().await?,
            (None, None) => None,
        };
        let Some(page) = page else {
            if self.unnameable > 0 {
                tracing::warn!(keys = self.unnameable, location = ?self.location.as_ref().map(|l| &l.key), "keys that FTP can't name were left out of a listing");
            }
            return Ok(None);
        };
        let times = self.client_times(&page.entries).await?;
        let mut out = Vec::with_capacity(page.entries.len() * 80);
        for (index, entry) in page.entries.iter().enumerate() {
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
                self.line(&mut out, &item);
            }
        }
        Ok(Some(out))
    }

    fn shows(&self, item: &Item<'_>) -> bool {
        if self.mount_names.contains_key(item.name)
            || self
                .glob
                .as_ref()
                .is_some_and(|glob| !glob.matches(item.name))
        {
            return false;
        }
        match (&self.mount, &self.location) {
            (Some(mount), Some(location)) => {
                !mount.hidden(&format!("{}{}", location.key, item.name))
            }
            _ => true,
        }
    }

    /// Where a mount keeps times in the metadata: a HEAD an entry, several at once, in order.
    async fn client_times(&self, entries: &[Entry]) -> Result<Vec<Option<Timestamp>>, ObjectError> {
        let (Some(mount), Some(location)) = (&self.mount, &self.location) else {
            return Ok(Vec::new());
        };
        if !mount.times_metadata || matches!(self.format, Format::Names { .. }) {
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

    async fn client_time(
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
        let key = format!("{}{name}", location.key);
        match head(&Location {
            key,
            ..location.clone()
        })
        .await
        {
            Ok(info) => Ok(info.client_modified()),
            // Deleted since the page was made.
            Err(ObjectError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn line(&self, out: &mut Vec<u8>, item: &Item<'_>) {
        let directory = item.size.is_none();
        match &self.format {
            Format::Long { now } => list_line(
                out,
                &ListedEntry {
                    name: item.name,
                    directory,
                    size: item.size.unwrap_or(0),
                    modified: item.modified,
                    writable: self.place.allows(if directory {
                        Permission::Write
                    } else {
                        Permission::Overwrite
                    }),
                },
                *now,
            ),
            Format::Names { prefix } => {
                out.extend_from_slice(prefix.as_bytes());
                name_line(out, item.name);
            }
            Format::Facts { set } => {
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
                        (None, Some(mount)) => mount.permissions.perm(directory),
                        (None, None) => self.place.perm(directory),
                    },
                    unique: self.location.as_ref().zip(self.mount.as_ref()).map(
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

/// A listing, ready to be sent.
struct Job {
    path: VirtualPath,
    lister: Lister,
    data: DataSetup,
    budget: Budget,
    timeouts: Timeouts,
    lingering: Lingering,
}

impl Job {
    async fn run(self, link: Link) -> End {
        match self.transfer(&link).await {
            Ok(()) => End::Finished("Listing complete".to_owned()),
            Err(None) => End::Aborted,
            Err(Some(failure)) => End::Failed(failure),
        }
    }

    /// `Err(None)`: aborted.
    async fn transfer(self, link: &Link) -> Result<(), Option<Failure>> {
        let Job {
            path,
            mut lister,
            data,
            budget,
            timeouts,
            lingering,
        } = self;
        let stream = tokio::select! {
            biased;
            () = link.abort.cancelled() => return Err(None),
            opened = data.open(timeouts.data_connect) => opened.map_err(|error| Some(error.into()))?,
        };
        link.signal(Signal::Preliminary(Reply::new(
            150,
            format!("Listing of {path}"),
        )));
        let mut sink = Sink {
            stream,
            budget: &budget,
            stall: timeouts.data_stall,
            link,
        };
        let sending = async {
            while let Some(lines) = lister.next_lines().await? {
                sink.send(Bytes::from(lines)).await?;
            }
            Ok::<_, Failure>(())
        };
        let sent = tokio::select! {
            biased;
            () = link.abort.cancelled() => Err(None),
            sent = sending => sent.map_err(Some),
        };
        sink.close(&lingering, sent).await
    }
}

/// Whether a directory is there: mount roots and ways to mounts without a request.
pub(super) async fn is_directory(
    path: &VirtualPath,
    place: &Place,
    session: &Session,
) -> Result<bool, Reply> {
    match place {
        Place::Virtual(_) => Ok(true),
        Place::Nowhere(_) => Ok(false),
        Place::Mounted { .. }
            if place_is_mount_root(place) || session.user()?.namespace.holds_mount(path) =>
        {
            Ok(true)
        }
        Place::Mounted { .. } => match place.directory() {
            Some(location) => directory_exists(&location)
                .await
                .map_err(|error| replies::object_error(path, &error)),
            None => Ok(false),
        },
    }
}
