//! Stores are looked at: by `check --stores`, at the start, and while the server runs; and what a
//! client gets if the server's own access to a store is at fault.

mod check;
mod servers_fault;
mod watch;
