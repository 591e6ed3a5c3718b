//! The state of one session, and the questions that every handler asks it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::auth::options::UserOptions;
use crate::auth::{SessionPermit, TransferPermit, UserPermit};
use crate::events::Direction;
use crate::namespace::{Mount, Namespace, PathError, Resolved, VirtualPath};
use crate::object::{Location, NameWatch, ObjectInfo};
use crate::session::configured::Configured;
use crate::session::options::{HostOptions, RemovedUsers};
use ftp_proto::command::{HashName, TransferType};
use ftp_proto::facts::FactSet;

use crate::session::broken::UserTransfers;
use crate::session::chronicle::{Chronicle, Names};
use crate::session::context::{Listener, ServerContext};
use crate::session::control::Control;
use crate::session::data_setup::DataSetup;
use crate::session::gate::Phase;
use crate::session::last_file::LastFile;
use crate::session::replies::Refusal;
use crate::session::reported::ReportedLengths;
use crate::session::secured::Secured;

/// The state of one session.
pub(super) struct Session {
    pub(super) context: Arc<ServerContext>,
    pub(super) control: Control,
    pub(super) listener: Arc<Listener>,
    /// Counts the session among all sessions.
    pub(super) permit: SessionPermit,
    /// TLS on the control connection.
    pub(super) secured: Option<Box<Secured>>,
    /// The configuration that users, hosts and stores are from.
    pub(super) configured: Arc<Configured>,
    /// The virtual host that HOST or the TLS handshake has chosen.
    pub(super) host: Option<Arc<HostOptions>>,
    /// What the session reports as events.
    pub(super) chronicle: Chronicle,
    pub(super) login: Login,
    pub(super) pre_login: PreLogin,
    pub(super) cwd: VirtualPath,
    pub(super) transfer_type: TransferType,
    pub(super) data: DataSetup,
    pub(super) epsv_all: bool,
    pub(super) start: Start,
    /// The digest that HASH computes.
    pub(super) hash: HashName,
    pub(super) rename_from: Option<RenameSource>,
    pub(super) facts: FactSet,
    pub(super) last_file: LastFile,
    pub(super) reported: ReportedLengths,
    /// Lines that came while a transfer ran, to be executed after it.
    pub(super) held: VecDeque<Vec<u8>>,
}

/// How far the login has come.
pub(super) enum Login {
    /// No user was named.
    Anonymous,
    /// USER was sent with this name, PASS is next.
    NameGiven(String),
    LoggedIn(User),
}

/// What bounds a session without a user.
#[derive(Debug, Clone, Copy)]
pub(super) struct PreLogin {
    pub(super) deadline: Instant,
    /// The number of commands since the connection, or since the last user left.
    pub(super) commands: u32,
    /// The number of failed logins.
    pub(super) failures: u32,
}

impl PreLogin {
    /// From now on, for a login within `time`.
    pub(super) fn begin(time: Duration) -> PreLogin {
        PreLogin {
            deadline: Instant::now() + time,
            commands: 0,
            failures: 0,
        }
    }
}

/// Where the next transfer begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// At byte 0, as without REST and RANG.
    Beginning,
    /// REST's offset, which is not 0.
    Offset(u64),
    /// RANG's first and last byte.
    Range { first: u64, last: u64 },
}

/// The user who is logged in, and their tree.
pub(super) struct User {
    pub(super) config: Arc<UserOptions>,
    pub(super) namespace: Namespace,
    /// Counts the session among the user's sessions.
    pub(super) _permit: UserPermit,
}

/// Whether a user may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UserStanding {
    Valid,
    /// It was removed or disabled, or it has expired.
    Ended,
}

/// Whether a session continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Continue,
    Close,
}

/// The file or directory that RNFR has named.
#[derive(Debug)]
pub(super) struct RenameSource {
    pub(super) path: VirtualPath,
    pub(super) resolved: Resolved,
    /// `None` if RNFR may not reveal what is there. Then RNTO looks.
    pub(super) found: Option<RenamedEntry>,
}

impl RenameSource {
    /// Replaces what the path stands for, if that is the same file or directory with permissions that
    /// may have changed. Else the source is gone.
    fn is_still_at(&mut self, now: &Resolved) -> bool {
        let place = |resolved: &Resolved| resolved.directory().map(|at| (at.bucket, at.key));
        let same_store = match (&self.resolved, now) {
            (Resolved::Mounted { mount, .. }, Resolved::Mounted { mount: other, .. }) => {
                Arc::ptr_eq(&mount.store, &other.store)
            }
            _ => false,
        };
        let same = same_store && place(&self.resolved) == place(now);
        if same {
            self.resolved = now.clone();
        }
        same
    }

    /// What the name stands for, as far as it is known.
    pub(super) fn names(&self) -> Names {
        match self.found {
            Some(RenamedEntry::Directory) => Names::Directory,
            Some(RenamedEntry::File(_)) | None => Names::File,
        }
    }
}

/// What is at the name that RNFR has named.
#[derive(Debug)]
pub(super) enum RenamedEntry {
    /// A file's HEAD, the CRC-32 of its bytes if it is known, and the watch that began before the
    /// HEAD.
    File(Box<(ObjectInfo, Option<u32>, NameWatch)>),
    Directory,
}

impl Session {
    pub(super) fn new(
        context: Arc<ServerContext>,
        listener: Arc<Listener>,
        control: Control,
        permit: SessionPermit,
    ) -> Session {
        Session {
            chronicle: Chronicle::new(
                context.events.clone(),
                control.peer,
                &context.live,
                control.cut().clone(),
            ),
            control,
            listener,
            permit,
            secured: None,
            configured: context.newest.get(),
            host: None,
            login: Login::Anonymous,
            pre_login: PreLogin::begin(context.options.timeouts.login),
            cwd: VirtualPath::root(),
            transfer_type: TransferType::Ascii,
            data: DataSetup::None,
            epsv_all: false,
            start: Start::Beginning,
            hash: HashName::Sha256,
            rename_from: None,
            facts: FactSet::all(),
            last_file: LastFile::default(),
            reported: ReportedLengths::default(),
            held: VecDeque::new(),
            context,
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.login {
            Login::LoggedIn(_) => Phase::LoggedIn,
            Login::NameGiven(_) => Phase::PasswordWanted,
            Login::Anonymous => Phase::Anonymous,
        }
    }

    /// The user who is logged in.
    pub(super) fn logged_in(&self) -> Option<&User> {
        match &self.login {
            Login::LoggedIn(user) => Some(user),
            Login::Anonymous | Login::NameGiven(_) => None,
        }
    }

    /// The user who is logged in. The gate lets no command that needs a user run without one;
    /// should it ever, the command is refused.
    pub(super) fn user(&self) -> Result<&User, Refusal> {
        self.logged_in().ok_or(Refusal::NotLoggedIn)
    }

    /// Takes over the newest configuration: the user's tree, permissions and limits. Whether the user
    /// may go on.
    pub(super) fn take_over(&mut self) -> UserStanding {
        let newer = self.context.newest.is_newer_than(&self.configured);
        if newer {
            self.configured = self.context.newest.get();
        }
        let Login::LoggedIn(user) = &mut self.login else {
            return UserStanding::Valid;
        };
        let keep = self.context.options.removed_users == RemovedUsers::Keep;
        if newer {
            let now = self.configured.accounts.user(&user.config.name);
            let tree =
                now.and_then(|now| self.configured.namespace_of(now, self.control.peer.ip()));
            match (now, tree) {
                (Some(now), Some(tree)) => {
                    user.config = Arc::clone(now);
                    user.namespace = tree;
                    self.last_file.forget();
                    // RNTO looks at the source by the new tree.
                    let tree = &user.namespace;
                    self.rename_from
                        .take_if(|source| !source.is_still_at(&tree.resolve(&source.path)));
                }
                _ if keep => {}
                _ => return UserStanding::Ended,
            }
        }
        let ends = user.config.disabled || user.config.expires.is_some();
        match ends && !keep && user.config.ended(wall_clock()) {
            true => UserStanding::Ended,
            false => UserStanding::Valid,
        }
    }

    /// The user's name, for logs.
    pub(super) fn user_label(&self) -> &str {
        self.logged_in()
            .map_or("-", |user| user.config.name.as_str())
    }

    /// The path of an argument, from the working directory, with the names that the mount gives it.
    pub(super) fn path_of(&self, argument: &str) -> Result<VirtualPath, PathError> {
        let path = self.cwd.join(argument)?;
        match self.logged_in() {
            Some(user) => user.namespace.changed(path),
            None => Ok(path),
        }
    }

    /// The largest file that may come to be in a mount by this user.
    pub(super) fn max_file_size(&self, mount: &Mount) -> Option<u64> {
        let own = self
            .logged_in()
            .and_then(|user| user.config.limits.max_file_size);
        own.into_iter().chain(mount.max_file_size).min()
    }

    /// Resolves an argument from the working directory.
    pub(super) fn resolve(&self, argument: &str) -> Result<(VirtualPath, Resolved), Refusal> {
        let path = self.path_of(argument)?;
        let resolved = self.user()?.namespace.resolve(&path);
        if resolved.key_too_long() && resolved.object().is_none() {
            return Err(Refusal::KeyTooLong);
        }
        Ok((path, resolved))
    }

    /// The transfers of an object by this session's user from its address.
    pub(super) fn transfers_of(&self, object: &Location) -> Result<UserTransfers, Refusal> {
        let user = &self.user()?.config.name;
        let peer = self.control.peer.ip();
        Ok(self.context.broken.of(user, peer, object))
    }

    /// A permit for one more transfer of the user.
    pub(super) fn transfer_permit(
        &self,
        path: &VirtualPath,
        direction: Direction,
    ) -> Result<TransferPermit, Refusal> {
        let user = &self.user()?.config;
        let begun = self.context.user_transfers.begin(user, direction);
        begun.map_err(|full| Refusal::UserTransfersFull(path.clone(), full.limit))
    }

    /// How long the session may be without a command.
    pub(super) fn idle_limit(&self) -> Duration {
        let own = self.logged_in().and_then(|user| user.config.limits.idle);
        own.unwrap_or(self.context.options.timeouts.idle)
    }

    /// Whether line ends are converted in a mount under the current TYPE.
    pub(super) fn converts(&self, mount: &Mount) -> bool {
        mount.ascii_convert && self.transfer_type == TransferType::Ascii
    }

    /// Drops the data connection that was set up, except a passive port without a connection.
    pub(super) fn drop_connected_data(&mut self) {
        if self.data_expires().is_none() {
            self.data = DataSetup::None;
        }
    }

    /// When a passive port without a connection is given back; `None` if there is none.
    pub(super) fn data_expires(&self) -> Option<Instant> {
        match &self.data {
            DataSetup::Passive {
                reservation, since, ..
            } if !reservation.connected() => {
                Some(*since + self.context.options.timeouts.data_connect)
            }
            _ => None,
        }
    }
}

/// The time of day, for the ends of accounts.
#[expect(clippy::disallowed_methods, reason = "an account ends at a date")]
pub(super) fn wall_clock() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
