//! curl as the client. It shows that the figures do not depend on the benchmark's own client.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{Door, timed};
use crate::gateway::USER;
use crate::process::Process;
use crate::tls::SUITE;

/// Time limit of a transfer, seconds.
const DEADLINE: u64 = 600;

/// Uploads `file` as `name`; returns curl's seconds from connect to 226.
pub fn upload(door: Door<'_>, file: &Path, name: &str) -> Result<f64> {
    let transfers = curl(door, |curl| {
        curl.arg("--upload-file").arg(file).arg(url(door, name));
    })?;
    Ok(transfers.seconds)
}

/// Downloads `name`, an object of `size` bytes; returns curl's seconds from connect to 226.
pub fn download(door: Door<'_>, name: &str, size: u64) -> Result<f64> {
    let transfers = curl(door, |curl| {
        curl.args(["--output", "/dev/null", &url(door, name)]);
    })?;
    ensure!(
        transfers.bytes == size,
        "{} bytes came of {size}",
        transfers.bytes
    );
    Ok(transfers.seconds)
}

/// Uploads the small files 1 to `count` of a directory in one session.
pub fn upload_small(door: Door<'_>, directory: &Path, count: usize) -> Result<f64> {
    let files = directory.join(format!("small-[1-{count}].bin"));
    timed(|| {
        let transfers = curl(door, |curl| {
            curl.arg("--upload-file").arg(files).arg(url(door, ""));
        })?;
        ensure!(
            transfers.count == count,
            "{} transfers of {count}",
            transfers.count
        );
        Ok(())
    })
}

/// Downloads the small files 1 to `count`, of `size` bytes each, in one session.
pub fn download_small(door: Door<'_>, count: usize, size: u64) -> Result<f64> {
    let files = url(door, &format!("small-[1-{count}].bin"));
    timed(|| {
        let transfers = curl(door, |curl| {
            curl.args(["--output", "/dev/null", &files]);
        })?;
        ensure!(
            transfers.count == count,
            "{} transfers of {count}",
            transfers.count
        );
        ensure!(
            transfers.bytes == size * count as u64,
            "{} bytes came",
            transfers.bytes
        );
        Ok(())
    })
}

/// Lists a directory, in pieces as the lines arrive.
pub fn list(door: Door<'_>, directory: &str, mut piece: impl FnMut(&[u8])) -> Result<f64> {
    timed(|| {
        let mut curl = Process::start(base(door).arg(url(door, directory)).stdout(Stdio::piped()))?;
        let mut output = curl.stdout()?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            match output.read(&mut buffer)? {
                0 => return curl.finish(),
                length => piece(&buffer[..length]),
            }
        }
    })
}

/// What curl reports of the transfers of one run.
#[derive(Debug, Default, PartialEq)]
pub struct Transfers {
    /// Number of transfers.
    pub count: usize,
    /// Bytes received.
    pub bytes: u64,
    /// Their time in total.
    pub seconds: f64,
}

/// Runs curl to its end.
fn curl(door: Door<'_>, arguments: impl FnOnce(&mut Command)) -> Result<Transfers> {
    let mut command = base(door);
    command.args(["--write-out", "%{time_total} %{size_download}\n"]);
    arguments(&mut command);
    let output = command.output().context("can't start curl")?;
    ensure!(
        output.status.success(),
        "curl: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    parse_transfers(&String::from_utf8_lossy(&output.stdout))
}

/// A line for each transfer: its seconds, and the bytes received.
pub fn parse_transfers(text: &str) -> Result<Transfers> {
    let mut transfers = Transfers::default();
    for line in text.lines() {
        let (seconds, bytes) = line
            .split_once(' ')
            .with_context(|| format!("curl says {line:?}"))?;
        transfers.count += 1;
        transfers.seconds += seconds.parse::<f64>()?;
        transfers.bytes += bytes.parse::<u64>()?;
    }
    Ok(transfers)
}

/// curl without the user's settings, quiet except for errors; with the same TLS as our own client.
fn base(door: Door<'_>) -> Command {
    let mut command = Command::new("curl");
    command
        .args(["--disable", "--silent", "--show-error", "--noproxy", "*"])
        .args(["--user", &format!("{USER}:{USER}")])
        .args(["--max-time", &DEADLINE.to_string()])
        .stdin(Stdio::null());
    if let Some(identity) = door.identity {
        command
            .args(["--ssl-reqd", "--tlsv1.3", "--tls13-ciphers", SUITE])
            .arg("--cacert")
            .arg(identity.certificate());
    }
    command
}

fn url(door: Door<'_>, path: &str) -> String {
    format!("ftp://127.0.0.1:{}/{path}", door.port)
}
