//! Accepted connections before they belong to a session: the PROXY protocol.

pub mod proxy;
