//! s3ftpd: an FTP server whose disk is S3.
//!
//! The rooms, from the door inwards; each knows only those below it:
//!
//! - [`cli`]: the subcommands; builds a [`crate::server::options::ServerOptions`] and hands it to [`server`].
//! - [`server`]: listeners, accept, limits, drain; health endpoints, the sweeper, how many sessions fit.
//! - [`session`]: one task a control connection; turns commands into replies.
//! - [`auth`]: who may log in.
//! - [`data`]: the data connection: passive ports, active connects, ASCII conversion.
//! - [`namespace`]: virtual paths, mounts, permissions; path ↔ bucket and key.
//! - [`object`]: the S3 side: list, head, upload, download, copy, delete.
//! - [`net`]: connections before a session has them: the PROXY protocol.
//! - [`memory`]: the one budget all transfers share.
//! - [`config`]: files and environment → one validated value.
//! - [`tls`]: certificates, client certificates, session resumption.
//!
//! Below them are two crates: [`ftp_proto`] (command lines, replies, listing lines, times) and [`s3_embedded`]
//! (the embedded S3 store of `s3ftpd demo` and of the tests).
//!
//! - `fuzzing`: sessions in memory, for the fuzz targets and the property tests; in no release.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod auth;
pub mod cli;
pub mod config;
pub mod data;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod memory;
pub mod namespace;
pub mod net;
pub mod object;
pub mod server;
pub mod session;
pub mod tls;
pub mod units;
