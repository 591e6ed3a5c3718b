//! Black-box tests: a gateway in this process, driven over sockets, in front of a store that fails on cue.
//! One file a subject; `support` holds the store, the gateway and the clients.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::large_futures)]

mod support;

mod append_restart;
mod binary;
mod commands;
mod control_endings;
mod demo;
mod digests;
mod faults_of_the_store;
mod foreign_answers;
mod ftps;
mod hosts;
mod late_data_connections;
mod listeners;
mod listings;
mod listings_recursive;
mod mounts;
mod names;
mod ordinary_client;
mod promise_1_durable;
mod promise_2_whole;
mod promise_3_answers;
mod promise_4_resume;
mod promise_5_memory;
mod promise_5_process;
mod promise_7_requests;
mod promise_9_updates;
mod protections;
mod proxy_protocol;
mod renames;
mod renames_meanwhile;
mod reported_lengths;
mod review_object;
mod review_session;
mod round_trips;
mod same_name;
mod semantics;
mod slow_clients;
mod store;
mod store_faults;
mod taken_names;
mod times_and_types;
mod write_only;
