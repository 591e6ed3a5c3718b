//! Connections before a session has them: the PROXY protocol.

pub mod proxy;
