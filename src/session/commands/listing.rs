//! LIST, NLST, MLSD, MLST, STAT with a path (RFC 959, 4.1.3; 1123, 4.1.2.7; 3659, 7).
//!
//! A [`Lister`] turns pages of ListObjectsV2 into lines, one page at a time. LIST, NLST and MLSD
//! send them over the data connection, STAT over the control connection. Nothing is sorted or
//! collected: keys arrive in order, and mount points come first.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::data::rate::Throttle;
use crate::events::Kind;
use crate::memory::Admission;
use crate::namespace::{Permission, Resolved, VirtualPath};
use crate::object::{ObjectInfo, TransferId};
use ftp_proto::Reply;
use ftp_proto::command::ListArgument;
use ftp_proto::facts::{FactType, Facts, fact_line};
use ftp_proto::glob::Glob;

use crate::session::chronicle::Names;
use crate::session::control::ControlError;
use crate::session::replies::{Handled, Refusal, success};
use crate::session::resolve::{
    describe, existing_object, is_directory, is_mount_root, modified, require,
};
use crate::session::resume::FileStatus;
use crate::session::state::{Flow, Session};
use crate::session::transfer::job::{ControlEnd, End, Label, Link};
use crate::session::transfer::list_format::LineFormat;
use crate::session::transfer::lister::{ListSource, Lister};
use crate::session::transfer::sink::{Sink, Stop};
use crate::session::transfer::tree_lister::TreeLister;

/// The form of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum Style {
    /// LIST, STAT.
    Long,
    /// NLST.
    Names,
}

/// Why a STAT path has not sent all its lines.
enum StatusError {
    /// The last line can say it.
    Refused(Refusal),
    /// No line reaches the client.
    Control(ControlError),
}

impl From<Refusal> for StatusError {
    fn from(refusal: Refusal) -> StatusError {
        StatusError::Refused(refusal)
    }
}

impl From<ControlError> for StatusError {
    fn from(error: ControlError) -> StatusError {
        StatusError::Control(error)
    }
}

impl Session {
    pub(in crate::session) async fn list(
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
    pub(in crate::session) async fn machine_list(
        &mut self,
        path: Option<&str>,
    ) -> Result<Flow, ControlError> {
        let prepared = self.prepare_machine_list(path).await;
        self.send_listing(prepared, "MLSD").await
    }

    /// STAT path: as LIST, over the control connection, page by page.
    pub(in crate::session) async fn stat_path(
        &mut self,
        argument: &ListArgument,
    ) -> Result<Flow, ControlError> {
        let (path, mut lister) = match self.prepare_list(argument, Style::Long).await {
            Ok(prepared) => prepared,
            Err(refusal) => {
                let reply = self.refuse(refusal);
                self.control.reply(&reply).await?;
                return Ok(Flow::Continue);
            }
        };
        let code = if lister.single { 213 } else { 212 };
        // After the first line the code can't change (RFC 959, 4.2): the last line says it.
        let last = match self.send_status(&path, code, &mut lister).await {
            Ok(()) => {
                let names = match lister.single {
                    true => Names::File,
                    false => Names::Directory,
                };
                let event = self.happened(Kind::Listing, &path, names);
                self.chronicle.send(event);
                Reply::new(code, "End")
            }
            Err(StatusError::Refused(refusal)) => self.refuse_as(code, refusal),
            Err(StatusError::Control(error)) => {
                // No reply reaches the client. The event is for the operator.
                self.report(&self.unsent_listing(path, &error));
                return Err(error);
            }
        };
        self.control.reply(&last).await?;
        Ok(Flow::Continue)
    }

    /// Sends the lines of a STAT path, without the last one.
    async fn send_status(
        &mut self,
        path: &VirtualPath,
        code: u16,
        lister: &mut Lister,
    ) -> Result<(), StatusError> {
        let first = format!("{code}-Status of {path}:\r\n");
        self.control.send(first.as_bytes()).await?;
        loop {
            if self.control.cut().is_cancelled() {
                return Err(Refusal::ListingCut.into());
            }
            let lines = match lister.next_lines().await {
                Ok(Some(lines)) => lines,
                Ok(None) => return Ok(()),
                Err(error) => {
                    let cause = Refusal::store(path, &error);
                    return Err(Refusal::ListingBroken(Box::new(cause)).into());
                }
            };
            let mut shown = Vec::with_capacity(lines.len() + lines.len() / 64);
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                // A name that begins with digits must not look like the reply's last line.
                shown.push(b' ');
                shown.extend_from_slice(line);
            }
            self.control.send(&shown).await?;
            lister.relieve(Instant::now());
        }
    }

    /// Why the lines of a STAT path did not reach the client.
    fn unsent_listing(&self, path: VirtualPath, error: &ControlError) -> Refusal {
        match error {
            _ if self.control.cut().is_cancelled() => Refusal::ListingCut,
            ControlError::WriteDeadline => {
                let deadline = self.context.options.timeouts.control_write;
                Refusal::DataStalled(path, deadline.as_secs())
            }
            _ => Refusal::ControlLost(path),
        }
    }

    /// MLST (RFC 3659, 7.2): one entry, over the control connection.
    pub(in crate::session) async fn mlst(&mut self, argument: Option<&str>) -> Handled {
        let (path, resolved) = self.resolve(argument.unwrap_or(""))?;
        require(&path, &resolved, Permission::List)?;
        let known = self.known(&path, &resolved).await?;
        let facts = Facts {
            name: &path.to_string(),
            kind: if known.is_some() {
                FactType::File
            } else {
                FactType::Directory
            },
            size: known.as_ref().map(|known| known.0),
            modified: known.as_ref().and_then(|known| known.1),
            perm: resolved.perm(known.is_none()),
            unique: resolved.unique(known.is_none()),
        };
        let mut line = Vec::new();
        fact_line(&mut line, &facts, &self.facts);
        let line = String::from_utf8_lossy(&line).into_owned();
        Ok(Reply::lines(
            250,
            vec![format!("Listing {path}"), line, "End".to_owned()],
        ))
    }

    /// Size and time of a file, or of the user's own unpublished upload; `None` for a directory.
    async fn known(
        &mut self,
        path: &VirtualPath,
        resolved: &Resolved,
    ) -> Result<Option<(u64, Option<Timestamp>)>, Refusal> {
        let of = |info: &ObjectInfo| (info.size, Some(modified(info, resolved)));
        let (Some(scope), Some(location)) = (self.binary_writer_scope(resolved), resolved.object())
        else {
            return Ok(describe(path, resolved).await?.as_ref().map(of));
        };
        match Box::pin(self.file_status(
            path,
            resolved,
            &scope,
            &location,
            existing_object(&location),
        ))
        .await?
        {
            FileStatus::Upload(size, time) => Ok(Some((size, time))),
            FileStatus::Object(Some(info)) => Ok(Some(of(&info))),
            // There is no file of this name: it is a directory, or does not exist.
            FileStatus::Object(None) => {
                match is_directory(path, resolved, &self.user()?.namespace).await? {
                    true => Ok(None),
                    false => Err(Refusal::NotFound(path.clone())),
                }
            }
        }
    }

    async fn send_listing(
        &mut self,
        prepared: Result<(VirtualPath, Lister), Refusal>,
        verb: &'static str,
    ) -> Result<Flow, ControlError> {
        let prepared = prepared.and_then(|(path, lister)| Ok((path, lister, self.take_sink()?)));
        let (path, lister, sink) = match prepared {
            Ok(prepared) => prepared,
            Err(refusal) => return self.refuse_transfer(refusal).await,
        };
        let label = Label {
            id: TransferId::generate(),
            verb,
            path: path.clone(),
            location: lister.location.clone(),
            control_end: ControlEnd::NeedsQuit,
        };
        let job = ListingJob { path, lister, sink };
        self.run_transfer(label, |link| job.run(link)).await
    }

    /// LIST, NLST and STAT: a directory, a glob in the last element, or a file.
    async fn prepare_list(
        &mut self,
        argument: &ListArgument,
        style: Style,
    ) -> Result<(VirtualPath, Lister), Refusal> {
        let admission = self.admit_listing().await?;
        let text = argument.path.as_deref().unwrap_or("");
        let (parent_text, last) = match text.rsplit_once('/') {
            Some((parent, last)) => (&text[..parent.len() + 1], last),
            None => ("", text),
        };
        let glob = Glob::new(last);
        let long = style == Style::Long || argument.long;
        #[expect(
            clippy::disallowed_methods,
            reason = "a listing shows the year of older files"
        )]
        let now = Timestamp::now();
        let format = |prefix: String| style_format(long, now, prefix);

        // Brackets are as often part of a name as of a glob: the name comes first.
        let named = last.contains('[') && {
            let (path, resolved) = self.resolve(text)?;
            require(&path, &resolved, Permission::List)?;
            describe(&path, &resolved).await.is_ok()
        };
        if let Some(glob) = glob.filter(|_| !named) {
            let format = format(parent_text.to_owned());
            let recursive = argument.recursive;
            return self.list_matches((parent_text, last), glob, recursive, format, admission);
        }
        let (path, resolved) = self.resolve(text)?;
        require(&path, &resolved, Permission::List)?;
        // Only files can have the longest keys: a directory's key ends in one slash more.
        let longest = resolved.object().is_some() && resolved.directory().is_none();
        if argument.directory || longest {
            let info = describe(&path, &resolved).await?;
            return Ok((
                path.clone(),
                Lister::single(
                    text_or_dot(text),
                    info.as_ref().map(|info| (info, &resolved)),
                    &resolved,
                    format(String::new()),
                    admission,
                ),
            ));
        }
        let prefix = match text {
            "" => String::new(),
            _ if text.ends_with('/') => text.to_owned(),
            _ => format!("{text}/"),
        };
        let format = format(prefix);
        let mut lister = self.lister(&resolved, None, format.clone(), admission)?;
        if argument.recursive {
            lister.tree = Some(self.tree(&resolved, text, None, format)?);
        }
        // The first page comes before the 150: a directory that does not exist gets 550, not an
        // empty list.
        lister
            .fetch_first()
            .await
            .map_err(|error| Refusal::store(&path, &error))?;
        if lister.proves_directory() || path == self.cwd {
            return Ok((path, lister));
        }
        let info = describe(&path, &resolved).await?;
        match info {
            Some(info) => {
                let format = style_format(long, now, String::new());
                let file = Some((&info, &resolved));
                let admission = lister.into_admission();
                let single = Lister::single(text, file, &resolved, format, admission);
                Ok((path, single))
            }
            None => Ok((path, lister)),
        }
    }

    /// The entries of a directory whose names match a glob.
    fn list_matches(
        &self,
        (parent, last): (&str, &str),
        glob: Glob,
        recursive: bool,
        format: LineFormat,
        admission: Admission,
    ) -> Result<(VirtualPath, Lister), Refusal> {
        let (path, resolved) = self.resolve(parent)?;
        require(&path, &resolved, Permission::List)?;
        let glob = match &resolved {
            Resolved::Mounted { mount, .. } if !mount.names.change.is_empty() => {
                Glob::new(&mount.names.change.apply_to_glob(last)).unwrap_or(glob)
            }
            _ => glob,
        };
        let mut lister = self.lister(&resolved, Some(glob.clone()), format.clone(), admission)?;
        if recursive {
            lister.tree = Some(self.tree(&resolved, parent, Some(glob), format)?);
        }
        Ok((path, lister))
    }

    async fn prepare_machine_list(
        &mut self,
        argument: Option<&str>,
    ) -> Result<(VirtualPath, Lister), Refusal> {
        let admission = self.admit_listing().await?;
        let (path, resolved) = self.resolve(argument.unwrap_or(""))?;
        require(&path, &resolved, Permission::List)?;
        let format = LineFormat::Facts {
            set: self.facts.clone(),
        };
        let mut lister = self.lister(&resolved, None, format, admission)?;
        lister
            .fetch_first()
            .await
            .map_err(|error| Refusal::store(&path, &error))?;
        if !lister.proves_directory()
            && path != self.cwd
            && describe(&path, &resolved).await?.is_some()
        {
            return Err(Refusal::ListsDirectories(path));
        }
        Ok((path, lister))
    }

    /// A recursive listing of a directory; `text` is the name that the client gave.
    fn tree(
        &self,
        resolved: &Resolved,
        text: &str,
        glob: Option<Glob>,
        format: LineFormat,
    ) -> Result<Box<TreeLister>, Refusal> {
        let heading = match text.trim_end_matches('/') {
            "" if text.is_empty() => ".",
            "" => "/",
            heading => heading,
        };
        let namespace = &self.user()?.namespace;
        let budget = &self.context.budget;
        let tree = TreeLister::new(namespace, resolved, heading, glob, format, budget);
        Ok(Box::new(tree))
    }

    /// The admission of a listing, as of a transfer, by the memory budget.
    async fn admit_listing(&self) -> Result<Admission, Refusal> {
        let wait = self.context.options.timeouts.data_connect;
        let admitted = self.context.budget.admit(wait).await;
        admitted.map_err(|_| Refusal::NoMemoryForListing)
    }

    /// A listing of one directory.
    fn lister(
        &self,
        resolved: &Resolved,
        glob: Option<Glob>,
        format: LineFormat,
        admission: Admission,
    ) -> Result<Lister, Refusal> {
        let (path, mount) = match resolved {
            Resolved::Mounted { path, mount, .. } => (path, Some(mount.clone())),
            Resolved::Virtual(path) => (path, None),
            Resolved::Nowhere(path) => return Err(Refusal::NotFound(path.clone())),
        };
        let namespace = &self.user()?.namespace;
        let mount_names: BTreeMap<String, Resolved> = namespace
            .mount_names(path)
            .into_iter()
            .filter(|name| glob.as_ref().is_none_or(|glob| glob.matches(name)))
            .filter_map(|name| {
                path.child(&name)
                    .ok()
                    .map(|below| (name, namespace.resolve(&below)))
            })
            .collect();
        let location = match resolved {
            Resolved::Mounted { .. } => Some(
                resolved
                    .directory()
                    .ok_or_else(|| Refusal::NotFound(path.clone()))?,
            ),
            _ => None,
        };
        let prefix = glob.as_ref().map_or("", |glob| glob.literal_prefix());
        Ok(Lister {
            sources: ListSource::of(resolved, prefix),
            always_there: is_mount_root(resolved) || !mount_names.is_empty() || location.is_none(),
            resolved: resolved.clone(),
            mount,
            location,
            mount_names,
            mounts_sent: false,
            showing: None,
            seen: false,
            unnameable: 0,
            single: false,
            ready: None,
            tree: None,
            glob,
            format,
            admission,
        })
    }
}

fn style_format(long: bool, now: Timestamp, prefix: String) -> LineFormat {
    if long {
        LineFormat::Long { now }
    } else {
        LineFormat::Names { prefix }
    }
}

fn text_or_dot(text: &str) -> &str {
    if text.is_empty() { "." } else { text }
}

/// A listing that is ready to be sent.
struct ListingJob {
    path: VirtualPath,
    lister: Lister,
    sink: Sink,
}

impl ListingJob {
    async fn run(self, link: Link) -> End {
        match self.transfer(&link).await {
            Ok(()) => End::Finished(success::list_sent()),
            Err(stop) => stop.into(),
        }
    }

    async fn transfer(mut self, link: &Link) -> Result<(), Stop> {
        let opening = |(): &()| success::sending_list(&self.path);
        let ((), arrival) = self.sink.open(link, async { Ok(()) }, opening).await?;
        self.sink
            .send_all(link, arrival, &mut self.lister, &mut Throttle::none())
            .await
    }
}
