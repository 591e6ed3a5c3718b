//! Black-box tests: a gateway in this process, driven over sockets, in front of a store that fails on cue.
//! One file a subject; `support` holds the store, the gateway and the clients.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

mod demo;
mod listings;
mod names;
mod promise_5_memory;
mod promise_5_process;
mod promise_7_requests;
mod round_trips;
mod semantics;
mod store;
mod store_faults;
