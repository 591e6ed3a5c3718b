//! [`Event`]: one thing that happened, with the names, types and units of its fields.

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;

/// Defines an enum of words: each variant has the name under which it is logged, counted and
/// documented.
macro_rules! words {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$outer])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$inner])* $variant,)+
        }

        impl $name {
            /// All values, in the order of the documentation.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The name in logs, metrics and hooks.
            pub fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)+
                }
            }
        }
    };
}

words! {
    /// What happened.
    Kind {
        /// A control connection was accepted.
        SessionOpen = "session_open",
        /// A control connection ended. `seconds`, the [`Totals`], `reason`.
        SessionClose = "session_close",
        /// A user logged in.
        Login = "login",
        /// A login or a connection was refused; `cause` says why, for the operator only.
        LoginRefused = "login_refused",
        /// A transfer ended, whole or not: of a file, `direction` in or out.
        Transfer = "transfer",
        /// A command that reads, writes, lists or changes something was refused or failed, other
        /// than a transfer that had begun.
        Refused = "refused",
        /// A file or directory was renamed from `path` to `to`.
        Renamed = "renamed",
        /// A file was deleted.
        Deleted = "deleted",
        /// A directory was made.
        DirectoryMade = "directory_made",
        /// A directory was removed.
        DirectoryRemoved = "directory_removed",
        /// A directory was listed.
        Listing = "listing",
        /// An address or a user was banned for `seconds`.
        Banned = "banned",
        /// A data connection came from another address than the control connection's.
        DataStranger = "data_stranger",
        /// Certificates or the configuration were read anew, or could not be.
        Reload = "reload",
        /// A store answers, after it did not.
        StoreUp = "store_up",
        /// A store does not answer as it should.
        StoreDown = "store_down",
        /// Old interrupted uploads and other leftovers were looked for.
        Sweep = "sweep",
    }
}

words! {
    /// How something ended.
    Class {
        /// As asked.
        Ok = "ok",
        /// The user may not do it, or is not logged in.
        Permission = "permission",
        /// No such file, directory or bucket.
        NotFound = "not_found",
        /// The name is taken: by a file, a directory, or files in a directory.
        Exists = "exists",
        /// The command or the name is not one that can be carried out.
        Invalid = "invalid",
        /// Another session is at the file, or the server is at a limit: a later attempt can work.
        Busy = "busy",
        /// The client's connection ended or broke.
        ClientGone = "client_gone",
        /// No byte moved on the data connection within the deadline.
        ClientStalled = "client_stalled",
        /// The client sent ABOR.
        ClientAborted = "client_aborted",
        /// There was no data connection, or it was refused.
        NoDataConnection = "no_data_connection",
        /// The store denies access to this object.
        StoreDenied = "store_denied",
        /// The store does not take the server's credentials, or the clocks differ.
        StoreCredentials = "store_credentials",
        /// The store can't be reached, or does not answer in time.
        StoreUnreachable = "store_unreachable",
        /// The store answered with another error.
        StoreError = "store_error",
        /// Larger than an object can be here.
        TooLarge = "too_large",
        /// The store or a quota is full.
        Quota = "quota",
        /// The server stops.
        Shutdown = "shutdown",
        /// Another client has written the file in the meantime.
        Superseded = "superseded",
    }
}

words! {
    /// Why a login was refused. For the operator only: the client gets one answer for most of them.
    Cause {
        /// There is no such user.
        UnknownUser = "unknown_user",
        /// The password is wrong.
        Password = "password",
        /// The address or the user is banned.
        Banned = "banned",
        /// The user may not log in at this virtual host.
        Host = "host",
        /// The user may not log in from this address.
        Network = "network",
        /// The account has expired or is disabled.
        Expired = "expired",
        /// The account needs TLS, or can't be used under TLS; or the handshake failed.
        Tls = "tls",
        /// The account needs its client certificate.
        Certificate = "certificate",
        /// Too many sessions or logins at once.
        Limit = "limit",
        /// The account can't be used as it is configured.
        Configuration = "configuration",
    }
}

words! {
    /// The direction of a transfer, as the server sees it.
    Direction {
        /// An upload.
        In = "in",
        /// A download.
        Out = "out",
    }
}

words! {
    /// The type of a transfer (RFC 959: representation type), as the client has set it.
    Representation {
        /// TYPE A.
        Ascii = "ascii",
        /// TYPE I or L 8.
        Binary = "binary",
    }
}

words! {
    /// How much an event matters to an operator.
    Level {
        /// The operator has to act.
        Error = "error",
        /// Something did not work.
        Warn = "warn",
        /// What one wants to find later.
        Info = "info",
        /// What happens all the time.
        Debug = "debug",
    }
}

/// What the events of one session have in common. It is made anew when one of them changes.
#[derive(Debug, Clone)]
pub struct SessionFacts {
    /// The id of the session.
    pub session: Arc<str>,
    /// The user who is logged in.
    pub user: Option<Arc<str>>,
    /// The client's address.
    pub peer: SocketAddr,
    /// The client's name, from CLNT or CSID.
    pub client: Option<Arc<str>>,
    /// The version of TLS on the control connection.
    pub tls: Option<&'static str>,
    /// The virtual host.
    pub host: Option<Arc<str>>,
}

/// What a session has moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files uploaded whole.
    pub files_in: u64,
    /// Files downloaded whole.
    pub files_out: u64,
    /// Bytes of uploads, whole or not.
    pub bytes_in: u64,
    /// Bytes of downloads, whole or not.
    pub bytes_out: u64,
}

/// One thing that happened. Fields that say nothing about it are `None`.
///
/// The texts are as the client or the store sent them: a sink escapes them for its form.
#[derive(Debug, Clone)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// How much it matters.
    pub level: Level,
    /// When, by the machine's clock: for the reader only.
    pub time: Timestamp,
    /// The session to which it happened.
    pub session: Option<Arc<SessionFacts>>,
    /// The user it concerns if it is not the session's: the name of a refused login, of a ban.
    pub user: Option<Arc<str>>,
    /// The address it concerns if there is no session. Port 0: the port is not known.
    pub peer: Option<SocketAddr>,
    /// The id in the reply of a transfer or of a refused command; of a rename the id in the metadata
    /// of what was written.
    pub id: Option<Arc<str>>,
    /// The command.
    pub verb: Option<&'static str>,
    /// The direction of a transfer.
    pub direction: Option<Direction>,
    /// The type of a transfer.
    pub representation: Option<Representation>,
    /// The virtual path.
    pub path: Option<Box<str>>,
    /// The new virtual path of a rename.
    pub to: Option<Box<str>>,
    /// The virtual path of the mount.
    pub mount: Option<Box<str>>,
    /// The store's name in the configuration.
    pub store: Option<Box<str>>,
    /// The bucket.
    pub bucket: Option<Arc<str>>,
    /// The key.
    pub key: Option<Box<str>>,
    /// The byte at which a transfer began.
    pub offset: Option<u64>,
    /// Bytes that this transfer moved.
    pub bytes: Option<u64>,
    /// Bytes of the whole object, also if a part came earlier.
    pub size: Option<u64>,
    /// The object's ETag.
    pub etag: Option<Box<str>>,
    /// The object's version.
    pub version_id: Option<Box<str>>,
    /// The CRC-32 of the object's bytes: 8 hexadecimal digits.
    pub crc32: Option<u32>,
    /// How long it took; of a ban, how long it lasts.
    pub seconds: Option<f64>,
    /// The code of the reply.
    pub code: Option<u16>,
    /// How it ended.
    pub class: Option<Class>,
    /// Why a login was refused.
    pub cause: Option<Cause>,
    /// The words of the reply, without the id; or what happened, in words.
    pub reason: Option<Box<str>>,
    /// What the client does not get: the error that led to the reply.
    pub detail: Option<Box<str>>,
    /// The address of a data connection that is not the control connection's.
    pub data_peer: Option<SocketAddr>,
    /// How many such events this one stands for, if it is more than one.
    pub count: Option<u64>,
    /// What a session has moved.
    pub totals: Option<Totals>,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue<'a> {
    /// A word or text.
    Text(&'a str),
    /// A number.
    Integer(u64),
    /// Seconds.
    Float(f64),
    /// A text that is made for the field.
    Made(String),
}

impl Event {
    /// An event that happens now.
    #[expect(
        clippy::disallowed_methods,
        reason = "the time is for the reader only, nothing is decided by it"
    )]
    pub fn new(kind: Kind, level: Level) -> Event {
        Event {
            kind,
            level,
            time: Timestamp::now(),
            session: None,
            user: None,
            peer: None,
            id: None,
            verb: None,
            direction: None,
            representation: None,
            path: None,
            to: None,
            mount: None,
            store: None,
            bucket: None,
            key: None,
            offset: None,
            bytes: None,
            size: None,
            etag: None,
            version_id: None,
            crc32: None,
            seconds: None,
            code: None,
            class: None,
            cause: None,
            reason: None,
            detail: None,
            data_peer: None,
            count: None,
            totals: None,
        }
    }

    /// The user it concerns.
    pub fn user(&self) -> Option<&str> {
        let session = || self.session.as_ref()?.user.as_deref();
        self.user.as_deref().or_else(session)
    }

    /// The client's address.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer.or_else(|| Some(self.session.as_ref()?.peer))
    }

    /// The name of the field that holds [`Event::id`]: `transfer` if it is that of a transfer or of a
    /// new object, else `request`.
    pub fn id_name(&self) -> &'static str {
        match self.kind {
            Kind::Transfer | Kind::Listing | Kind::Renamed => "transfer",
            _ => "request",
        }
    }

    /// Calls `visit` for each field that has a value, in the order of the documentation. `event`
    /// comes first; the time and the level are not among them, since each form has its own place
    /// for them.
    pub fn visit<'a>(&'a self, mut visit: impl FnMut(&'static str, FieldValue<'a>)) {
        use FieldValue::{Float, Integer, Made, Text};
        let mut put = |name, value: Option<FieldValue<'a>>| {
            if let Some(value) = value {
                visit(name, value);
            }
        };
        let session = self.session.as_deref();
        put("event", Some(Text(self.kind.name())));
        put("session", session.map(|s| Text(&s.session)));
        put(self.id_name(), self.id.as_deref().map(Text));
        put("user", self.user().map(Text));
        put("peer", self.peer().map(|peer| Made(address(peer))));
        put(
            "client",
            session.and_then(|s| s.client.as_deref()).map(Text),
        );
        put("tls", session.and_then(|s| s.tls).map(Text));
        put("host", session.and_then(|s| s.host.as_deref()).map(Text));
        put("verb", self.verb.map(Text));
        put("direction", self.direction.map(|d| Text(d.name())));
        put("type", self.representation.map(|r| Text(r.name())));
        put("path", self.path.as_deref().map(Text));
        put("to", self.to.as_deref().map(Text));
        put("mount", self.mount.as_deref().map(Text));
        put("store", self.store.as_deref().map(Text));
        put("bucket", self.bucket.as_deref().map(Text));
        put("key", self.key.as_deref().map(Text));
        put("offset", self.offset.map(Integer));
        put("bytes", self.bytes.map(Integer));
        put("size", self.size.map(Integer));
        put("etag", self.etag.as_deref().map(Text));
        put("version_id", self.version_id.as_deref().map(Text));
        put("crc32", self.crc32.map(|crc| Made(format!("{crc:08x}"))));
        put("seconds", self.seconds.map(Float));
        put("code", self.code.map(|code| Integer(code.into())));
        put("class", self.class.map(|class| Text(class.name())));
        put("cause", self.cause.map(|cause| Text(cause.name())));
        put("reason", self.reason.as_deref().map(Text));
        put("detail", self.detail.as_deref().map(Text));
        put(
            "data_peer",
            self.data_peer.map(|peer| Made(peer.to_string())),
        );
        put("count", self.count.map(Integer));
        if let Some(totals) = &self.totals {
            put("files_in", Some(Integer(totals.files_in)));
            put("files_out", Some(Integer(totals.files_out)));
            put("bytes_in", Some(Integer(totals.bytes_in)));
            put("bytes_out", Some(Integer(totals.bytes_out)));
        }
    }
}

/// Without the port if that is not known.
fn address(peer: SocketAddr) -> String {
    match peer.port() {
        0 => peer.ip().to_string(),
        _ => peer.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_without_a_value_is_not_visited_and_a_session_fills_in_its_own() {
        let mut event = Event::new(Kind::Deleted, Level::Info);
        event.session = Some(Arc::new(SessionFacts {
            session: "s1".into(),
            user: Some("ann".into()),
            peer: ([192, 0, 2, 1], 5000).into(),
            client: None,
            tls: Some("TLS 1.3"),
            host: None,
        }));
        event.crc32 = Some(0xab);
        let mut fields = Vec::new();
        event.visit(|name, value| fields.push((name, value)));
        let expected = [
            ("event", FieldValue::Text("deleted")),
            ("session", FieldValue::Text("s1")),
            ("user", FieldValue::Text("ann")),
            ("peer", FieldValue::Made("192.0.2.1:5000".to_owned())),
            ("tls", FieldValue::Text("TLS 1.3")),
            ("crc32", FieldValue::Made("000000ab".to_owned())),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn names_are_snake_case_and_unique() {
        fn check(names: Vec<&str>) {
            let unique: std::collections::BTreeSet<_> = names.iter().collect();
            assert_eq!(unique.len(), names.len());
            for name in names {
                assert!(
                    name.chars().all(|c| c.is_ascii_lowercase() || c == '_'),
                    "{name}"
                );
            }
        }
        check(Kind::ALL.iter().map(|kind| kind.name()).collect());
        check(Class::ALL.iter().map(|class| class.name()).collect());
        check(Cause::ALL.iter().map(|cause| cause.name()).collect());
    }
}
