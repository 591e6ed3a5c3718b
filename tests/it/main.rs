//! Black-box tests: a gateway in the test process, driven over sockets, in front of a store that
//! fails on cue. Each file is a subject. The crate `test-support` has the store, the gateway and
//! the clients. tests/README.md maps promises and protections to tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::large_futures)]

mod admin_page;
mod ambiguous_answers;
mod append_restart;
mod attributes;
mod before_publish;
mod binary;
mod client_library;
mod commands;
mod control_endings;
mod demo;
mod digests;
mod durability;
mod embedded_store;
mod event_hooks;
mod events;
mod foreign_answers;
mod ftps;
mod hosts;
mod import;
mod late_data_connections;
mod limits_of_users;
mod listeners;
mod listings;
mod logs;
mod memory;
mod metrics;
mod mounts;
mod name_conflicts;
mod name_rules;
mod names;
mod password_hashes;
mod protections;
mod proxy_protocol;
mod readme;
mod reload;
mod renames;
mod reported_lengths;
mod request_budget;
mod resume;
mod round_trips;
mod same_name;
mod semantics;
mod slow_clients;
mod store_failures;
mod stores;
mod temporary_names;
mod times_and_types;
mod truncation;
mod typed_password;
mod unseen_writes;
mod updates;
mod users;
mod write_only;
