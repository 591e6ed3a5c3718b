//! FTP without I/O: command lines → [`Command`], [`Reply`] → bytes, listing lines, times, the line
//! codec.
//!
//! From the client: [`codec`] cuts the bytes of the control connection into lines and removes
//! Telnet sequences, and [`command`] parses a line into a [`Command`] or a [`CommandError`]. To the
//! client: [`reply`] writes replies, [`listing`] and [`facts`] the lines of the data connection.
//! [`glob`] and [`time`] serve both directions. Text from clients and keys is made printable when
//! it is written, so that it can't forge a line.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod codec;
pub mod command;
pub mod facts;
pub mod glob;
pub mod listing;
mod printable;
pub mod reply;
pub mod time;

pub use command::{Command, CommandError};
pub use reply::Reply;
