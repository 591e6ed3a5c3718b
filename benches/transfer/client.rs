//! The FTP client: the benchmark's own, or curl (`--client curl`); in plaintext, or under TLS.
//!
//! Ours sends the commands that curl sends, in the same order, and never sleeps. curl 7.88 does: if
//! the reply to EPSV has arrived before curl first looks for it, which is likely on a busy machine,
//! it waits for a timer of up to a second before it opens the data connection. With 300 small files
//! that would measure curl and not the gateway.

mod curl;
mod session;
mod stream;

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::ValueEnum;

pub use curl::parse_transfers;
pub use session::{Session, parse_port};
pub use stream::Stream;

use crate::tls::Identity;

/// The FTP client to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Client {
    /// The benchmark's own.
    Own,
    /// curl.
    Curl,
}

/// How a client reaches a gateway.
#[derive(Debug, Clone, Copy)]
pub struct Door<'a> {
    /// Port of its control listener on the loopback address.
    pub port: u16,
    /// The gateway's certificate, with which the client uses TLS; `None`: plaintext.
    pub identity: Option<&'a Identity>,
}

/// Name of a small file, on disk and on the server.
pub fn small_name(number: usize) -> String {
    format!("small-{number}.bin")
}

/// Each function returns the seconds from connect to the last 226.
impl Client {
    /// Uploads a file of `size` bytes as `name`.
    pub fn upload(self, door: Door<'_>, file: &Path, name: &str, size: u64) -> Result<f64> {
        match self {
            Client::Own => timed(|| Session::open(door)?.store(name, size)),
            Client::Curl => curl::upload(door, file, name),
        }
    }

    /// Downloads `name`, an object of `size` bytes, and drops it.
    pub fn download(self, door: Door<'_>, name: &str, size: u64) -> Result<f64> {
        match self {
            Client::Own => timed(|| Session::open(door)?.retrieve(name, size)),
            Client::Curl => curl::download(door, name, size),
        }
    }

    /// Uploads the small files 1 to `count` of a directory, of `size` bytes each, in one session.
    pub fn upload_small(
        self,
        door: Door<'_>,
        directory: &Path,
        count: usize,
        size: u64,
    ) -> Result<f64> {
        match self {
            Client::Own => timed(|| {
                let mut session = Session::open(door)?;
                (1..=count).try_for_each(|number| session.store(&small_name(number), size))
            }),
            Client::Curl => curl::upload_small(door, directory, count),
        }
    }

    /// Downloads the small files 1 to `count`, of `size` bytes each, in one session.
    pub fn download_small(self, door: Door<'_>, count: usize, size: u64) -> Result<f64> {
        match self {
            Client::Own => timed(|| {
                let mut session = Session::open(door)?;
                (1..=count).try_for_each(|number| session.retrieve(&small_name(number), size))
            }),
            Client::Curl => curl::download_small(door, count, size),
        }
    }

    /// Lists a directory of `expected` files; calls `at_line` once, after `line` lines.
    pub fn list(
        self,
        door: Door<'_>,
        directory: &str,
        expected: u64,
        line: u64,
        at_line: impl FnOnce(),
    ) -> Result<f64> {
        let (mut lines, mut at_line) = (0, Some(at_line));
        let piece = |bytes: &[u8]| {
            lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
            if lines >= line
                && let Some(at_line) = at_line.take()
            {
                at_line();
            }
        };
        let seconds = match self {
            Client::Own => timed(|| Session::open(door)?.list(directory, piece)),
            Client::Curl => curl::list(door, directory, piece),
        }?;
        ensure!(lines == expected, "{lines} lines came of {expected}");
        Ok(seconds)
    }
}

/// The seconds that `work` takes.
fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}
