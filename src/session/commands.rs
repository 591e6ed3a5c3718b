//! The handlers of the commands, one subject a file.

pub(in crate::session) mod data_setup;
pub(in crate::session) mod digest;
pub(in crate::session) mod directories;
pub(in crate::session) mod files;
pub(in crate::session) mod host;
pub(in crate::session) mod information;
pub(in crate::session) mod listing;
pub(in crate::session) mod login;
pub(in crate::session) mod protection;
pub(in crate::session) mod rename;
pub(in crate::session) mod settings;
