//! Configuration: files and environment → one validated [`Config`].
//!
//! Data flows through three stages, and every stage adds to one list of errors, so that the user
//! sees all of them at once and before a port is bound:
//!
//! 1. `tree`: each file (TOML or YAML) becomes a tree of values that know where they were written;
//!    a later file overrides an earlier one, key by key.
//! 2. `environment`: variables such as `S3FTPD__STORES__MAIN__ENDPOINT` override the tree.
//! 3. `decode` and `accounts`: the tree is read by the schema. A `section` remembers which keys it
//!    was asked for, so the list of allowed keys can't differ from what is read.
//!
//! No error and no `Debug` output shows a secret: parsers of secrets never quote what they read, and
//! a syntax error is told without the line it is in.

mod accounts;
mod decode;
mod edge;
mod environment;
mod error;
mod secret;
mod section;
#[cfg(test)]
mod tests;
mod tls;
mod tree;
pub(crate) mod values;
mod yaml_keys;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

use crate::namespace::{Permissions, VirtualPath};
use crate::tls::identity::Wanted;

pub use edge::{BanUsers, HostConfig, Hosts, LoginFailures, ProxyConfig, host_key};
pub use error::{ConfigError, ConfigErrors};
pub(crate) use values::about_bytes;
pub(crate) use values::bytes as human_bytes;
pub(crate) use values::time as duration;

/// Reads the files, the later over the earlier, and the environment over them.
///
/// A file ending in `.yaml` or `.yml` is YAML, any other TOML. No file at all is fine where the
/// environment says everything.
///
/// # Errors
/// Everything that is wrong, in one value.
pub fn load(files: &[PathBuf]) -> Result<Config, ConfigErrors> {
    load_from(files, std::env::vars_os())
}

/// Reads one TOML text; `name` stands for the file in errors. The environment overrides nothing.
///
/// # Errors
/// Everything that is wrong, in one value.
pub fn from_str(toml: &str, name: &str) -> Result<Config, ConfigErrors> {
    let report = section::Report::default();
    let source = tree::Source::File(name.into());
    let root = tree::parse(toml, tree::Format::Toml, &source, &report);
    report.check()?;
    decode::decode(tree::Node::table(source, root), &report)
}

/// [`load`] with the environment as an argument, for tests.
fn load_from(
    files: &[PathBuf],
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Config, ConfigErrors> {
    let report = section::Report::default();
    let mut root = tree::Table::new();
    for file in files {
        tree::merge(&mut root, tree::read(file, &report));
    }
    environment::apply(&mut root, variables, &report);
    // What can't be parsed would only be followed by errors about keys that seem to be missing.
    report.check()?;
    decode::decode(
        tree::Node::table(tree::Source::of_files(files), root),
        &report,
    )
}

/// Everything the server needs to know, validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// Control listeners.
    pub listen: Vec<ListenConfig>,
    /// TLS; none when left out.
    pub tls: Option<TlsConfig>,
    /// Text of the 220 greeting.
    pub greeting: String,
    /// Passive data connections.
    pub passive: PassiveConfig,
    /// Active data connections.
    pub active: ActiveConfig,
    /// Health endpoints; none when left out.
    pub admin: Option<AdminConfig>,
    /// The process's memory for transfers.
    pub memory: MemoryConfig,
    /// Parts, ranges and parallelism.
    pub transfer: TransferConfig,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// Limits on sessions.
    pub limits: Limits,
    /// Load balancers that tell their clients' addresses.
    pub proxy_protocol: ProxyConfig,
    /// What failed logins lead to.
    pub login_failures: LoginFailures,
    /// Virtual hosts by name.
    pub hosts: Hosts,
    /// A name that no other living process has; see [`crate::object::Replica::name`].
    pub replica: Option<String>,
    /// What is kept of broken uploads, and for how long.
    pub resume: ResumeConfig,
    /// Stores by name.
    pub stores: BTreeMap<String, Arc<StoreConfig>>,
    /// Users by name.
    pub users: BTreeMap<String, Arc<UserConfig>>,
}

impl Config {
    /// The address whose passive ports serve the sessions that come in at this one: itself, but all addresses of its
    /// family where there is a listener on all. No port can be listened on at both.
    pub fn passive_address(&self, ip: IpAddr) -> IpAddr {
        let all = match ip {
            IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        match self.listen.iter().any(|l| l.address.ip() == all) {
            true => all,
            false => ip,
        }
    }
}

/// One control listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenConfig {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether TLS begins with the first byte, instead of with AUTH.
    pub implicit: bool,
    /// Whether control connections are to be under TLS.
    pub control: Protection,
    /// Whether data connections are; `Off` where the control connection's is off.
    pub data: Protection,
}

/// Whether a connection is to be under TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// It can't be.
    Off,
    /// As the client wants.
    Optional,
    /// It must be.
    Required,
}

/// `[tls]`.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    /// Certificates with their keys; the first is for clients that ask for none of the others' names.
    pub certificates: Vec<CertificateFiles>,
    /// For listeners that say nothing else.
    pub control: Protection,
    /// For listeners that say nothing else.
    pub data: Protection,
    /// The oldest version of TLS.
    pub min_version: TlsVersion,
    /// Whether data connections must resume the TLS session of their control connection.
    pub require_session_reuse: bool,
    /// Who signs client certificates.
    pub client_ca: Option<Pem>,
    /// Whether clients are asked for certificates.
    pub client_certificates: ClientCertificates,
    /// How often the files are looked at; zero: on SIGHUP only.
    pub reload: Duration,
}

/// A certificate's files.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The chain: its own certificate first.
    pub certificate: Pem,
    /// The private key.
    pub key: Pem,
    /// The host names it is for; empty: those it names itself.
    pub names: Vec<String>,
}

/// A text in PEM form.
#[derive(Debug, Clone)]
pub enum Pem {
    /// In this file, and followed when it changes.
    File(PathBuf),
    /// This.
    Memory(SecretString),
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2
    V12,
    /// 1.3
    V13,
}

/// Whether clients are asked for certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not.
    Off,
    /// They may have one.
    Optional,
    /// They must have one.
    Required,
}

/// Where passive listeners are bound and what clients are told.
#[derive(Debug, Clone)]
pub struct PassiveConfig {
    /// The ports to listen on.
    pub ports: PassivePorts,
    /// Address or host name told in PASV replies; `None`: the control connection's own.
    pub address: Option<String>,
    /// Clients that are told another address; the first match wins.
    pub networks: Vec<PassiveNetwork>,
}

/// Which ports passive mode listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassivePorts {
    /// First and last port, inclusive (`ports = "30000-30099"`).
    Range(u16, u16),
    /// This many ports chosen by the operating system (`ports = "auto"`: 16; `"auto:N"`).
    Ephemeral(u16),
}

/// One entry of `passive.networks`.
#[derive(Debug, Clone)]
pub struct PassiveNetwork {
    /// The clients it is for.
    pub clients: IpNet,
    /// Address or host name they are told.
    pub address: String,
}

/// Active mode.
#[derive(Debug, Clone)]
pub struct ActiveConfig {
    /// Local port of outgoing data connections where it can be bound; 0: any.
    pub source_port: u16,
}

/// Health endpoints.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// Address of the HTTP listener.
    pub listen: SocketAddr,
}

/// The memory budget.
#[derive(Debug, Clone)]
pub struct MemoryConfig {
    /// Bytes all transfers and password hashing may hold together.
    pub budget: u64,
    /// How long an upload holds the memory of a half-filled part while others wait for memory.
    pub hold: Duration,
}

/// Parts, ranges and parallelism of transfers.
#[derive(Debug, Clone)]
pub struct TransferConfig {
    /// Size of the first parts of a multipart upload, bytes; also the most that is one PutObject.
    pub part_size: u64,
    /// Parts of one upload in flight at once.
    pub upload_parallel: usize,
    /// Size of one ranged GET, bytes.
    pub range_size: u64,
    /// Ranges of one download in flight at once.
    pub download_parallel: usize,
}

/// Deadlines. An await on a peer always has one of these.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// From accept to a successful login.
    pub login: Duration,
    /// Without a command, no transfer running.
    pub idle: Duration,
    /// For the data connection to be there.
    pub data_connect: Duration,
    /// Without a byte moving on the data connection.
    pub data_stall: Duration,
    /// For a reply to be taken by the client.
    pub control_write: Duration,
    /// For a TLS handshake.
    pub tls_handshake: Duration,
    /// For an upload whose bytes have all come, while other sessions write the same name.
    pub same_name: Duration,
    /// The least time that an upload's end is held back to see whether the control connection ends with it.
    pub settle_min: Duration,
    /// From SIGTERM until running transfers are cut.
    pub shutdown_grace: Duration,
}

/// Limits on sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Sessions at once, in all.
    pub sessions: usize,
    /// Sessions at once from one address, or one /64 of IPv6.
    pub sessions_per_address: usize,
    /// Of [`Limits::sessions`], those that nobody has logged in to.
    pub before_login: usize,
    /// Of [`Limits::sessions_per_address`], those that nobody has logged in to.
    pub before_login_per_address: usize,
    /// Sessions at once of a user that has no limit of his own; `None`: any number.
    pub sessions_per_user: Option<usize>,
    /// Failed logins after which a connection is closed with 421.
    pub login_attempts: u32,
}

impl Limits {
    /// A quarter of all sessions, and of very few all but some: most sessions are there for those who log in.
    pub(crate) fn default_before_login(sessions: usize) -> usize {
        (sessions / 4).max(4).min(sessions)
    }

    /// 250, and no more than half of them all, so that one address never takes them from the others.
    pub(crate) fn default_before_login_per_address(before_login: usize) -> usize {
        (before_login / 2).clamp(2, 250).min(before_login)
    }

    /// So many sessions in all, and of the other limits no more than the defaults are then.
    pub(crate) fn held_to(&self, sessions: usize) -> Limits {
        Limits {
            sessions,
            ..self.before_login_held_to(Limits::default_before_login(sessions))
        }
    }

    /// No more than so many sessions before login, and of one address no more than the default is then, unless more than
    /// the default were wanted.
    pub(crate) fn before_login_held_to(&self, most: usize) -> Limits {
        let before_login = self.before_login.min(most);
        let usual = Limits::default_before_login_per_address(self.before_login);
        let per_address = match self.before_login_per_address > usual {
            true => before_login,
            false => Limits::default_before_login_per_address(before_login),
        };
        Limits {
            before_login,
            before_login_per_address: self.before_login_per_address.min(per_address),
            ..self.clone()
        }
    }

    /// Sessions that are taken to transfer at once: a quarter, and of very few all but some.
    pub(crate) fn transfers(&self) -> usize {
        self.sessions.div_ceil(4).max(4).min(self.sessions)
    }
}

/// What is kept of broken uploads, and for how long.
#[derive(Debug, Clone)]
pub struct ResumeConfig {
    /// The record of a running upload is refreshed so often; one that was not for two and a half times that is of a
    /// process that has died.
    pub refresh: Duration,
    /// An upload that has received nothing for this time counts as interrupted: SIZE reports its length also over an object.
    pub stalled_after: Duration,
    /// What was left by an upload whose last activity is older than this is swept.
    pub keep_for: Duration,
    /// An interrupted upload over an existing object is kept for this time; at most `keep_for`.
    pub keep_over_object: Duration,
    /// How often is swept; zero: never.
    pub sweep_every: Duration,
    /// How often the names of what is kept are listed, so that this process knows what others have kept; zero: never.
    pub look_every: Duration,
}

/// What becomes of an upload whose control connection ends without QUIT before its last byte was taken for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlLoss {
    /// It is kept, and not published: the client may have died in the middle.
    Keep,
    /// It is published when its data connection ends: for devices that are known to behave so.
    Publish,
}

/// One S3 store.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Its name in the configuration.
    pub name: String,
    /// Endpoint URL; `None`: AWS.
    pub endpoint: Option<String>,
    /// Region; `None`: from the AWS default chain, else `us-east-1` where an endpoint is given.
    pub region: Option<String>,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`.
    pub path_style: bool,
    /// Static credentials; `None`: the AWS default chain.
    pub credentials: Option<StaticCredentials>,
    /// Whether the store verifies CRC-32 checksums.
    pub checksums: Capability,
    /// Whether the store honours `If-None-Match: *` and `If-Match` on writes.
    pub conditional_writes: Capability,
    /// Whether the store honours `If-Match` on DeleteObject.
    pub conditional_deletes: Capability,
    /// Whether the store accepts an object `a` beside objects `a/…` and no longer lists those then (MinIO).
    pub files_hide_directories: Capability,
    /// Sign payloads (SHA-256) even where checksums work.
    pub sign_payload: bool,
    /// For a TCP connection to the store to be there.
    pub connect_timeout: Duration,
    /// For one request, its retries not counted; for that of an upload, without any of its body being taken.
    pub request_timeout: Duration,
    /// Attempts of one request, the first included.
    pub attempts: u32,
    /// Objects larger than this are copied by UploadPartCopy; at most 5 GiB.
    pub copy_limit: u64,
    /// All parts of a multipart upload but the last have one size.
    pub equal_parts: bool,
    /// Connections that are kept for the next request, at most; not a key, but this store's share of what the process keeps.
    pub idle_connections: usize,
}

impl StoreConfig {
    /// A store's share of the connections that the process keeps: 1,024 in all, between 4 and 128 for each of so many
    /// stores. 128 are several transfers at full parallelism.
    pub(crate) fn share_of_idle_connections(stores: usize) -> usize {
        (1024 / stores.max(1)).clamp(4, 128)
    }
}

/// A key pair written in the configuration.
#[derive(Debug, Clone)]
pub struct StaticCredentials {
    /// The access key id.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: SecretString,
    /// A session token, if any.
    pub session_token: Option<SecretString>,
}

/// What a store can do: told, or found out by a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// Known of AWS; elsewhere probed at the first write.
    Auto,
    /// It can.
    Yes,
    /// It can't.
    No,
}

/// One user.
#[derive(Debug, Clone)]
pub struct UserConfig {
    /// Login name.
    pub name: String,
    /// The password's hash: argon2id (PHC), bcrypt (`$2b$…`), sha512-crypt (`$6$…`); none where a certificate suffices.
    pub password: Option<SecretString>,
    /// The client certificate he must have.
    pub certificate: Option<CertificateLogin>,
    /// What he must do, or can't, in place of what the listener says.
    pub tls: UserTls,
    /// Whether his uploads under TLS end with a mere FIN too (`lenient_close`): for devices that never send close_notify.
    pub lenient_close: bool,
    /// Where in his tree which mount is, `{user}` in its prefix already replaced.
    pub mounts: BTreeMap<VirtualPath, Arc<MountConfig>>,
    /// His sessions at once; `None`: [`Limits::sessions_per_user`].
    pub sessions: Option<usize>,
}

/// A user's own demands on TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UserTls {
    /// Of his control connections.
    pub control: Option<Protection>,
    /// Of his data connections.
    pub data: Option<Protection>,
}

/// A user's client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateLogin {
    /// The name that is in it.
    pub name: Wanted,
    /// Whether a password is wanted too.
    pub password: bool,
}

/// A part of a bucket that appears as a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountConfig {
    /// Name of the store.
    pub store: String,
    /// The bucket.
    pub bucket: String,
    /// Empty, or ends in `/` and does not begin with it.
    pub prefix: String,
    /// What users may do here.
    pub permissions: Permissions,
    /// Whether TYPE A converts line ends (`ascii = "convert"`) or not (`"binary"`, the default).
    pub ascii_convert: bool,
    /// Whether times are kept in the user metadata (`times = "metadata"`) or are LastModified (`"store"`, the default).
    pub times_metadata: bool,
    /// Whether a download of a whole object is compared with the checksum that the store holds (default: true).
    pub verify_downloads: bool,
    /// The bucket of records and tails, in the same store; left out: the bucket itself.
    pub state_bucket: Option<String>,
    /// Whether what has arrived of a broken upload is kept (`interrupted = "keep"`, the default) or removed (`"abort"`).
    pub keep_interrupted: bool,
    /// What becomes of an upload that loses its control connection.
    pub on_control_loss: ControlLoss,
}
