//! The gateway under measurement: the release binary with its configuration, in a child process.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::args::Endpoint;
use crate::client::{Door, Session};
use crate::process::{self, Memory, Process, Sample};
use crate::tls::Identity;
use crate::{PARALLEL, PART_SIZE};

/// The user's name and password.
pub const USER: &str = "bench";
/// The prefix of the user's files in the bucket; ends in `/`.
pub const PREFIX: &str = "s3ftpd-bench/";
/// Time limit for its start.
const START: Duration = Duration::from_secs(20);
/// The environment variable of its secret key.
const SECRET: &str = "S3FTPD_BENCH_SECRET";

/// A running gateway.
#[derive(Debug)]
pub struct Gateway<'a> {
    /// Its address, and whether it uses TLS.
    pub door: Door<'a>,
    process: Process,
    log: PathBuf,
}

impl<'a> Gateway<'a> {
    /// Starts a gateway for an endpoint, with its files in `directory`, and waits until it answers.
    /// With an identity it requires TLS.
    pub fn start(
        endpoint: &Endpoint,
        directory: &Path,
        identity: Option<&'a Identity>,
    ) -> Result<Gateway<'a>> {
        Gateway::start_with(endpoint, directory, identity, "")
    }

    /// The same with further configuration.
    pub fn start_with(
        endpoint: &Endpoint,
        directory: &Path,
        identity: Option<&'a Identity>,
        more: &str,
    ) -> Result<Gateway<'a>> {
        let door = Door {
            port: free_port()?,
            identity,
        };
        let config = directory.join("s3ftpd.toml");
        let log = directory.join("s3ftpd.log");
        fs::write(&config, configuration(endpoint, door)? + more)?;
        let output = File::create(&log)?;
        let process = Process::start(
            Command::new(env!("CARGO_BIN_EXE_s3ftpd"))
                .args(["serve", "--config"])
                .arg(&config)
                .env(SECRET, &endpoint.secret_key)
                .stdin(Stdio::null())
                .stdout(output.try_clone()?)
                .stderr(output),
        )?;
        let mut gateway = Gateway { door, process, log };
        gateway.wait().with_context(|| gateway.last_words())?;
        Ok(gateway)
    }

    fn wait(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        loop {
            match Session::open(self.door) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) if !self.process.is_running() => bail!("s3ftpd has ended"),
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// Runs `work`, which returns its wall time in seconds, and measures the gateway meanwhile.
    pub fn measure(&self, work: impl FnOnce() -> Result<f64>) -> Result<Sample> {
        let before = process::cpu_seconds(self.process.id())?;
        let wall = work().with_context(|| self.last_words())?;
        Ok(Sample {
            wall,
            cpu: process::cpu_seconds(self.process.id())? - before,
            peak: self.memory()?.peak,
        })
    }

    /// Its resident memory.
    pub fn memory(&self) -> Result<Memory> {
        process::memory(self.process.id())
    }

    /// The end of its log, for an error.
    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(5).collect();
        let tail = lines.into_iter().rev().collect::<Vec<_>>().join("\n  ");
        format!("s3ftpd's last words:\n  {tail}")
    }
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// The defaults, except for what must be set.
pub fn configuration(endpoint: &Endpoint, door: Door<'_>) -> Result<String> {
    let password = bcrypt::hash(USER, 4)?;
    // The benchmark's stores can do both; the gateway probes a real one.
    let abilities = if endpoint.own {
        "checksums = \"crc32\"\nconditional_writes = true\nconditional_deletes = true\nfiles_hide_directories = false\n"
    } else {
        ""
    };
    let tls = match door.identity {
        None => String::new(),
        Some(identity) => format!(
            "[tls]\ncertificate = {:?}\nkey = {:?}\ncontrol = \"required\"\ndata = \"required\"\n\n",
            identity.certificate(),
            identity.key(),
        ),
    };
    Ok(format!(
        r#"listen = ["127.0.0.1:{port}"]

{tls}[passive]
ports = "auto"

[limits]
sessions = 4096
sessions_per_address = 4096

[transfer]
part_size = {PART_SIZE}
range_size = {PART_SIZE}
upload_parallel = {PARALLEL}
download_parallel = {PARALLEL}

[stores.main]
endpoint = {url:?}
region = {region:?}
path_style = true
access_key_id = {access:?}
secret_access_key = {{ env = "{SECRET}" }}
{abilities}
[mounts.bench]
store = "main"
bucket = {bucket:?}
prefix = "{PREFIX}"

[users.{USER}]
password = {password:?}
mounts = {{ "/" = "bench" }}
"#,
        port = door.port,
        url = endpoint.url,
        region = endpoint.region,
        access = endpoint.access_key,
        bucket = endpoint.bucket,
    ))
}
