//! Pure FTP, no I/O: command lines → [`Command`], [`Reply`] → bytes, listing and fact lines, times, the line codec.

pub mod codec;
pub mod command;
pub mod facts;
pub mod glob;
pub mod listing;
pub mod reply;
pub mod time;

pub use command::{Command, CommandError};
pub use reply::Reply;
