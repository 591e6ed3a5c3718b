//! The FTP client: one of our own, or curl (`--client curl`).
//!
//! Ours sends the commands that curl sends, in its order, and never sleeps. curl does: where the reply to EPSV is
//! there before it first looks for it, which a busy machine makes likely, curl 7.88 waits for a timer of up to a
//! second before it opens the data connection. Over 300 small files that says more of curl than of the gateway.

mod curl;
mod session;

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::ValueEnum;

pub use curl::parse_transfers;
pub use session::{Session, parse_port};

/// Who plays the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Client {
    /// A session of our own.
    Own,
    /// curl.
    Curl,
}

/// Name of a small file, on disk and on the server.
pub fn small_name(number: usize) -> String {
    format!("small-{number}.bin")
}

/// Each returns the seconds from connect to the last 226.
impl Client {
    /// Uploads a file of `size` bytes as `name`.
    pub fn upload(self, port: u16, file: &Path, name: &str, size: u64) -> Result<f64> {
        match self {
            Client::Own => timed(|| Session::open(port)?.store(name, size)),
            Client::Curl => curl::upload(port, file, name),
        }
    }

    /// Downloads `name`, an object of `size` bytes, to nowhere.
    pub fn download(self, port: u16, name: &str, size: u64) -> Result<f64> {
        match self {
            Client::Own => timed(|| Session::open(port)?.retrieve(name, size)),
            Client::Curl => curl::download(port, name, size),
        }
    }

    /// Uploads the small files 1 to `count` of a directory, of `size` bytes each, in one session.
    pub fn upload_small(self, port: u16, directory: &Path, count: usize, size: u64) -> Result<f64> {
        match self {
            Client::Own => timed(|| {
                let mut session = Session::open(port)?;
                (1..=count).try_for_each(|number| session.store(&small_name(number), size))
            }),
            Client::Curl => curl::upload_small(port, directory, count),
        }
    }

    /// Downloads the small files 1 to `count`, of `size` bytes each, in one session.
    pub fn download_small(self, port: u16, count: usize, size: u64) -> Result<f64> {
        match self {
            Client::Own => timed(|| {
                let mut session = Session::open(port)?;
                (1..=count).try_for_each(|number| session.retrieve(&small_name(number), size))
            }),
            Client::Curl => curl::download_small(port, count, size),
        }
    }

    /// Lists a directory of `expected` files; `at_line` is called once, when `line` lines have come.
    pub fn list(
        self,
        port: u16,
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
            Client::Own => timed(|| Session::open(port)?.list(directory, piece)),
            Client::Curl => curl::list(port, directory, piece),
        }?;
        ensure!(lines == expected, "{lines} lines came of {expected}");
        Ok(seconds)
    }
}

/// Seconds that `work` takes.
fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}
