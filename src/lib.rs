//! s3ftpd: an FTP server whose disk is S3.
//!
//! The rooms. Each may import only rooms below it; ARCHITECTURE.md has their exact order:
//!
//! - [`cli`]: the subcommands; builds a [`crate::server::options::ServerOptions`] and passes it to
//!   [`server`].
//! - [`server`]: listeners, admission, limits of the machine, drain, health endpoints, the sweeper.
//! - [`session`]: one task for each control connection; turns commands into replies.
//! - [`auth`]: who may log in.
//! - [`data`]: the data connection: passive ports, active connects, ASCII conversion.
//! - [`namespace`]: virtual paths, mounts, permissions; path ↔ bucket and key.
//! - [`object`]: the S3 side: list, head, upload, download, copy, delete.
//! - [`hooks`]: calls to HTTP endpoints of the operator: before an upload is published, and for events.
//! - [`net`]: the PROXY protocol, which comes before the first byte of a session.
//! - [`events`]: what happened, as one stream for logs, metrics, the status page and hooks.
//! - [`memory`]: the budget that all transfers share.
//! - [`config`]: files and environment → one validated value.
//! - [`tls`]: certificates, client certificates, session resumption.
//!
//! Below them are two crates: [`ftp_proto`] (command lines, replies, listing lines, times) and
//! [`s3_embedded`] (the embedded S3 store of `s3ftpd demo` and of the tests).

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod auth;
pub mod cli;
pub mod config;
pub mod data;
pub mod events;
pub mod hooks;
pub mod memory;
pub mod namespace;
pub mod net;
pub mod object;
pub mod server;
pub mod session;
pub mod tls;
pub mod units;
