//! s3ftpd: an FTP server whose disk is S3.
//!
//! The rooms, from the door inwards; each knows only those below it:
//!
//! - [`cli`]: the subcommands; builds a [`config::Config`] and hands it to [`server`].
//! - [`server`]: listeners, accept, limits, drain.
//! - [`session`]: one task a control connection; turns commands into replies.
//! - [`auth`]: who may log in.
//! - [`data`]: the data connection: passive ports, active connects, ASCII conversion.
//! - [`namespace`]: virtual paths, mounts, permissions; path ↔ bucket and key.
//! - [`object`]: the S3 side: list, head, upload, download, copy, delete.
//! - [`proxy`]: the PROXY protocol: who the client behind a load balancer is.
//! - [`memory`]: the one budget all transfers share.
//! - [`config`]: files and environment → one validated value.
//! - [`descriptors`]: file descriptors: how many sessions fit.
//! - [`early`]: the memory of sessions before login: how many fit.
//! - [`tls`]: certificates, client certificates, session resumption.
//! - [`admin`]: health endpoints.
//! - [`sweeper`]: removes what broken uploads have left.
//!
//! Below them are two crates: [`ftp_proto`] (command lines, replies, listing lines, times) and [`s3_embedded`]
//! (the embedded S3 store of `s3ftpd demo` and of the tests).
//!
//! - `fuzzing`: sessions in memory, for the fuzz targets and the property tests; in no release.

pub mod admin;
pub mod auth;
pub mod cli;
pub mod config;
pub mod data;
pub mod descriptors;
pub mod early;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod memory;
pub mod namespace;
pub mod object;
pub mod proxy;
pub mod server;
pub mod session;
pub mod sweeper;
pub mod tls;
