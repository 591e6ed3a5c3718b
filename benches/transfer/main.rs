//! What the gateway costs: `cargo bench --bench transfer`.
//!
//! One run measures, round by round and interleaved so that a noisy machine is unfair to all alike:
//!
//! - the release binary of s3ftpd as a child process, driven by an FTP client, in the clear and under TLS;
//! - the AWS SDK alone with the same parts, ranges, parallelism and checksums ([`sdk`]);
//! - a relay that only passes the same bytes from one socket to another, in the clear and under TLS ([`relay`]);
//!
//! against a store that keeps no bytes ([`store`]) or any S3 endpoint, and compares the medians with the goals
//! ([`report`]). `benches/README.md` says how to run it and how to read it.
//!
//! Each contestant is a process of its own, so that its CPU time and its peak memory are the kernel's figures
//! for it alone ([`process`]). All but s3ftpd and curl are this same binary under another `--role`.
//!
//! Without `--bench`, which `cargo bench` passes and `cargo test --benches` does not, the program checks itself
//! instead ([`check`]).

mod args;
mod check;
mod client;
mod gateway;
mod pacer;
mod process;
mod relay;
mod report;
mod run;
mod sdk;
mod slow;
mod store;
mod tls;

use anyhow::Result;
use clap::Parser;

use args::{Args, Role};

/// Size of one part, and of one ranged read, in the gateway and in the SDK alone, bytes.
const PART_SIZE: u64 = 8 << 20;
/// Parts or ranges in flight at once, in the gateway and in the SDK alone.
const PARALLEL: usize = 8;

fn main() -> Result<()> {
    let args = Args::parse();
    match args.role {
        Some(Role::Null) => store::serve(store::Pace::FREE),
        Some(Role::NullSlow) => store::serve(store::Pace::SLOW),
        Some(Role::SdkUp) => sdk::contend(&args, sdk::Direction::Up),
        Some(Role::SdkDown) => sdk::contend(&args, sdk::Direction::Down),
        Some(role @ (Role::Relay | Role::RelayTlsUp | Role::RelayTlsDown)) => {
            relay::contend(&args, role)
        }
        None if args.bench => run::run(&args),
        None => check::run(),
    }
}
