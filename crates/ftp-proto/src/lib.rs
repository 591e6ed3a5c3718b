//! Pure FTP, no I/O: command lines → [`Command`], [`Reply`] → bytes, listing and fact lines, times, the line codec.
//!
//! Inwards, [`codec`] cuts the control connection's bytes into lines and takes the Telnet sequences out, and
//! [`command`] turns a line into a [`Command`] whose parameters are parsed, or says why it is none. Outwards,
//! [`reply`] writes replies, [`listing`] and [`facts`] the lines of the data connection. [`glob`] and [`time`] serve
//! both ways. Whatever comes from a client or a key is made printable where it is written, so nothing in it can
//! forge a line.

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
