//! Listening sockets, and accepted connections before they belong to a session: the PROXY protocol.

mod listen;
pub mod proxy;

pub use listen::{canonical, listen};
