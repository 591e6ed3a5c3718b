//! FTP clients: curl for everything that moves bytes, a bare control connection for idle sessions.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::gateway::USER;
use crate::process::Process;
use crate::report::{Series, Small};

/// No step of a client may take longer, seconds.
const DEADLINE: u64 = 600;

/// Uploads `file` under `name`; returns curl's seconds from connect to 226.
pub fn upload(port: u16, file: &Path, name: &str) -> Result<f64> {
    let transfers = curl(|curl| {
        curl.arg("--upload-file").arg(file).arg(url(port, name));
    })?;
    Ok(transfers.seconds.iter().sum())
}

/// Downloads `name`, an object of `size` bytes, to nowhere; returns curl's seconds from connect to 226.
pub fn download(port: u16, name: &str, size: u64) -> Result<f64> {
    let transfers = curl(|curl| {
        curl.args(["--output", "/dev/null", &url(port, name)]);
    })?;
    ensure!(
        transfers.bytes == size,
        "{} bytes came of {size}",
        transfers.bytes
    );
    Ok(transfers.seconds.iter().sum())
}

/// Names of the small files on disk and on the server.
pub fn small_name(number: usize) -> String {
    format!("small-{number}.bin")
}

/// Uploads the small files 1 to `count` of a directory in one session.
pub fn upload_small(port: u16, directory: &Path, count: usize) -> Result<Small> {
    let files = directory.join(format!("small-[1-{count}].bin"));
    let (small, _) = small(count, |curl| {
        curl.arg("--upload-file").arg(files).arg(url(port, ""));
    })?;
    Ok(small)
}

/// Downloads the small files 1 to `count`, of `size` bytes each, in one session.
pub fn download_small(port: u16, count: usize, size: u64) -> Result<Small> {
    let files = url(port, &format!("small-[1-{count}].bin"));
    let (small, bytes) = small(count, |curl| {
        curl.args(["--output", "/dev/null", &files]);
    })?;
    ensure!(bytes == size * count as u64, "{bytes} bytes came");
    Ok(small)
}

/// Runs a session of `count` transfers; returns their times and the bytes that came.
fn small(count: usize, arguments: impl FnOnce(&mut Command)) -> Result<(Small, u64)> {
    let start = Instant::now();
    let transfers = curl(arguments)?;
    let mean = start.elapsed().as_secs_f64() * 1e3 / count as f64;
    let done = transfers.seconds.len();
    ensure!(done == count, "{done} transfers of {count}");
    let times = transfers.seconds.iter().map(|seconds| seconds * 1e3);
    let median = Series::of(times).median().context("no transfer")?;
    Ok((Small { mean, median }, transfers.bytes))
}

/// Lists a directory; returns the seconds from curl's start to its end, and the lines. `at_line` is called once, when
/// so many lines have come.
pub fn list(port: u16, directory: &str, line: u64, at_line: impl FnOnce()) -> Result<(f64, u64)> {
    let start = Instant::now();
    let mut curl = Process::start(base().arg(url(port, directory)).stdout(Stdio::piped()))?;
    let (mut output, mut lines, mut at_line) = (curl.stdout()?, 0, Some(at_line));
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = output.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        lines += buffer[..length]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count() as u64;
        if lines >= line
            && let Some(at_line) = at_line.take()
        {
            at_line();
        }
    }
    curl.finish()?;
    Ok((start.elapsed().as_secs_f64(), lines))
}

/// What curl tells of the transfers of one run.
#[derive(Debug, Default, PartialEq)]
pub struct Transfers {
    /// Bytes that came, in all.
    pub bytes: u64,
    /// Of each transfer.
    pub seconds: Vec<f64>,
}

/// Runs curl to its end.
fn curl(arguments: impl FnOnce(&mut Command)) -> Result<Transfers> {
    let mut command = base();
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

/// A line for each transfer: its seconds, and the bytes that came.
pub fn parse_transfers(text: &str) -> Result<Transfers> {
    let mut transfers = Transfers::default();
    for line in text.lines() {
        let (seconds, bytes) = line
            .split_once(' ')
            .with_context(|| format!("curl says {line:?}"))?;
        transfers.seconds.push(seconds.parse()?);
        transfers.bytes += bytes.parse::<u64>()?;
    }
    Ok(transfers)
}

/// curl without its user's own settings, quiet but for errors.
fn base() -> Command {
    let mut command = Command::new("curl");
    command
        .args(["--disable", "--silent", "--show-error", "--noproxy", "*"])
        .args(["--user", &format!("{USER}:{USER}")])
        .args(["--max-time", &DEADLINE.to_string()])
        .stdin(Stdio::null());
    command
}

fn url(port: u16, path: &str) -> String {
    format!("ftp://127.0.0.1:{port}/{path}")
}

/// A session that is logged in and does nothing.
#[derive(Debug)]
pub struct Session {
    _control: BufReader<TcpStream>,
}

impl Session {
    /// Connects and logs in.
    pub fn open(port: u16) -> Result<Session> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut control = BufReader::with_capacity(1024, stream);
        expect(&mut control, "220")?;
        for (command, reply) in [("USER", "331"), ("PASS", "230")] {
            // In one write, so that it is one segment.
            let line = format!("{command} {USER}\r\n");
            control.get_mut().write_all(line.as_bytes())?;
            expect(&mut control, reply)?;
        }
        Ok(Session { _control: control })
    }
}

/// Reads one reply (RFC 959, 4.2) and checks its code.
fn expect(control: &mut impl BufRead, code: &str) -> Result<()> {
    let last = format!("{code} ");
    let mut line = String::new();
    loop {
        line.clear();
        if control.read_line(&mut line)? == 0 {
            bail!("the control connection was closed");
        }
        if line.starts_with(&last) {
            return Ok(());
        }
        let continues = line.starts_with(' ') || line.as_bytes().get(3) == Some(&b'-');
        ensure!(continues, "expected {code}, got {:?}", line.trim_end());
    }
}
