//! Black-box tests: a gateway in this process, driven over sockets, in front of a store that fails on cue.
//! One file a subject; `support` holds the store, the gateway and the clients.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

mod append_restart;
mod binary;
mod commands;
mod demo;
mod mounts;
mod ordinary_client;
mod renames;
mod semantics;
mod store;
mod store_faults;
mod times_and_types;
