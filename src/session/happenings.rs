//! The events of what a session does to files and directories: where, and how it ended.

use std::sync::Arc;

use crate::events::{Class, Event, Kind, Level};
use crate::namespace::{Resolved, VirtualPath};
use crate::object::{Location, TransferId};
use ftp_proto::Reply;

use crate::session::chronicle::{FileCommand, Names, describe};
use crate::session::replies::{Refusal, with_request};
use crate::session::state::Session;

impl Session {
    /// The reply to a command that is refused or has failed. If it is a file command, its event is
    /// sent, and the reply ends in the event's id.
    pub(super) fn refuse(&mut self, refusal: Refusal) -> Reply {
        let id = self.report(&refusal);
        replied(refusal.into(), id)
    }

    /// As [`refuse`](Self::refuse), with the code of a reply whose first line was sent before.
    pub(super) fn refuse_as(&mut self, code: u16, refusal: Refusal) -> Reply {
        let id = self.report_as(code, &refusal);
        let reply = Reply {
            code,
            ..refusal.into()
        };
        replied(reply, id)
    }

    /// Sends the event of a file command that is refused or has failed, and returns its id if the
    /// reply needs it.
    pub(super) fn report(&mut self, refusal: &Refusal) -> Option<TransferId> {
        self.report_as(refusal.code(), refusal)
    }

    /// As [`report`](Self::report), with the code that the client gets.
    fn report_as(&mut self, code: u16, refusal: &Refusal) -> Option<TransferId> {
        let command = self.chronicle.command.take()?;
        let class = refusal.class();
        let probed = command.probes && matches!(class, Class::NotFound | Class::Exists);
        let level = match probed {
            true => Level::Debug,
            false => self.level_of(class),
        };
        let id = (!probed).then(TransferId::generate);
        let mut event = self.chronicle.event(Kind::Refused, level);
        event.id = id.as_ref().map(|id| id.as_str().into());
        event.verb = Some(command.verb);
        self.locate(&mut event, command);
        describe(&mut event, refusal);
        event.code = Some(code);
        self.chronicle.send(event);
        id
    }

    /// Something has happened to a file or a directory. It is the event of the command that runs,
    /// which then gives no other: what a cut of its last steps changes is not worth a second one.
    pub(super) fn happened(&mut self, kind: Kind, path: &VirtualPath, names: Names) -> Event {
        let level = match kind {
            Kind::Listing => Level::Debug,
            _ => Level::Info,
        };
        let mut event = self.chronicle.event(kind, level);
        event.verb = self.chronicle.command.take().map(|command| command.verb);
        event.class = Some(Class::Ok);
        self.place(&mut event, path, names);
        event
    }

    /// Fills in the path, and which object or prefix it is.
    pub(super) fn place(&self, event: &mut Event, path: &VirtualPath, names: Names) {
        let resolved = self.place_in_mount(event, path);
        if let Some(resolved @ Resolved::Mounted { mount, .. }) = &resolved {
            event.store = Some(mount.store.name().into());
            event.bucket = Some(Arc::clone(&mount.bucket));
            let location = match names {
                Names::File => resolved.object().or_else(|| resolved.directory()),
                Names::Directory => resolved.directory().or_else(|| resolved.object()),
            };
            if let Some(Location { bucket, key, .. }) = location {
                event.bucket = Some((*bucket).into());
                event.key = Some(key.into());
            }
        }
    }

    /// As [`place`](Self::place), if the object or prefix is known.
    pub(super) fn place_at(&self, event: &mut Event, path: &VirtualPath, location: &Location) {
        self.place_in_mount(event, path);
        event.store = Some(location.store.name().into());
        event.bucket = Some(Arc::clone(&location.bucket));
        event.key = Some(location.key.as_str().into());
    }

    /// Fills in the path and its mount.
    fn place_in_mount(&self, event: &mut Event, path: &VirtualPath) -> Option<Resolved> {
        event.path = Some(path.to_string().into());
        let resolved = self.logged_in()?.namespace.resolve(path);
        if let Resolved::Mounted { mount, .. } = &resolved {
            event.mount = Some(mount.path.to_string().into());
        }
        Some(resolved)
    }

    /// How much a refusal matters. Before a login every client on the network can cause it.
    pub(super) fn level_of(&self, class: Class) -> Level {
        match class {
            _ if self.logged_in().is_none() => Level::Debug,
            Class::Permission
            | Class::NotFound
            | Class::Exists
            | Class::Invalid
            | Class::Busy
            | Class::ClientAborted => Level::Info,
            _ => Level::Warn,
        }
    }

    /// Fills in the paths of a command.
    fn locate(&self, event: &mut Event, command: FileCommand) {
        let lists = command.lists();
        let names = command.names();
        let argument = command.argument.as_deref();
        let named = argument.map(|argument| self.path_of(argument));
        match (command.source, named) {
            (Some((source, names)), named) => {
                self.place(event, &source, names);
                event.to = named
                    .and_then(Result::ok)
                    .map(|path| path.to_string().into());
            }
            (None, Some(Ok(path))) => self.place(event, &path, names),
            // A name that no path can have.
            (None, Some(Err(_))) => event.path = argument.map(Into::into),
            (None, None) if lists => self.place(event, &self.cwd, names),
            (None, None) => {}
        }
    }
}

/// The reply of a command that is refused, with the id of its event.
fn replied(reply: Reply, id: Option<TransferId>) -> Reply {
    match id {
        Some(id) => with_request(reply, &id),
        None => reply,
    }
}
