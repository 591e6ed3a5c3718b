//! What the gateway costs: `cargo bench --bench transfer`.
//!
//! One run measures in rounds, interleaved so that a noisy machine affects all contestants alike:
//!
//! - the release binary of s3ftpd as a child process, driven by an FTP client, in plaintext and
//!   under TLS;
//! - the AWS SDK alone with the same parts, ranges, parallelism and checksums ([`sdk`]);
//! - a relay that only passes the same bytes from socket to socket, in plaintext and under TLS
//!   ([`relay`]);
//!
//! with a store that keeps no bytes ([`store`]) or any S3 endpoint, and compares the medians with
//! the goals ([`report`]). `benches/README.md` describes how to run it and how to read the results.
//!
//! Each contestant is a process, so that the kernel counts its CPU time and its peak memory
//! separately ([`process`]). All except s3ftpd and curl are this binary with another `--role`.
//!
//! The launcher and the clients are its own, not those of `test-support`: they block in threads,
//! and the gateway's log goes to a file. So no async runtime, no collected log and no store of the
//! tests takes CPU time or memory from what is measured next to it.
//!
//! Without `--bench`, which `cargo bench` passes and `cargo test --benches` does not, the program
//! only checks itself ([`check`]).

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
/// Parallel parts or ranges, in the gateway and in the SDK alone.
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
