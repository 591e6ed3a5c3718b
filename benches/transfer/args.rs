//! The command line, and the endpoint that follows from it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};

use crate::client::Client;

/// What the gateway costs, measured against the AWS SDK alone and a bare relay.
#[derive(Parser, Debug)]
pub struct Args {
    /// The store: null, null-slow or the URL of an S3 endpoint [default: null, then null-slow]
    #[arg(long)]
    pub store: Option<StoreChoice>,
    /// Bucket; must exist at a real endpoint
    #[arg(long, default_value = "s3ftpd-bench")]
    pub bucket: String,
    /// Access key id [default: $AWS_ACCESS_KEY_ID]
    #[arg(long)]
    pub access_key: Option<String>,
    /// Secret access key [default: $AWS_SECRET_ACCESS_KEY, which `ps` does not show]
    #[arg(long)]
    pub secret_key: Option<String>,
    /// Region
    #[arg(long, default_value = "us-east-1")]
    pub region: String,
    /// Size of the large object: bytes, or with KiB, MiB, GiB
    #[arg(long, default_value = "512MiB", value_parser = parse_size)]
    pub size: u64,
    /// Number of rounds; the results are their medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// Only these measurements [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<Work>,
    /// Transfers and sessions in plaintext, under TLS, or both
    #[arg(long, value_enum, default_value = "both")]
    pub tls: TlsChoice,
    /// The FTP client: the benchmark's own, or curl
    #[arg(long, value_enum, default_value = "own")]
    pub client: Client,
    /// Number of parallel uploads of `slow`
    #[arg(long, default_value_t = 300)]
    pub slow_clients: usize,
    /// Bytes a second of each; the goals are for 20000, which takes 17 minutes
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub slow_rate: u64,
    /// Size of each
    #[arg(long, default_value = "20MiB", value_parser = parse_size)]
    pub slow_size: u64,
    /// Print Markdown
    #[arg(long)]
    pub markdown: bool,

    /// Passed by `cargo bench`.
    #[arg(long, hide = true)]
    pub bench: bool,
    /// The role of this process, if the benchmark has started it.
    #[arg(long, value_enum, hide = true)]
    pub role: Option<Role>,
    /// Key of the object of `--role sdk-up` and `sdk-down`.
    #[arg(long, hide = true, default_value = "")]
    pub key: String,
    /// The address to which `--role relay` passes the bytes.
    #[arg(long, hide = true)]
    pub to: Option<SocketAddr>,
    /// Directory of the certificate for `--role relay-tls-up` and `relay-tls-down`.
    #[arg(long, hide = true)]
    pub identity: Option<PathBuf>,
}

/// One of the measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Work {
    /// One large upload.
    Up,
    /// One large download.
    Down,
    /// Small files in sequence in one session, up and down.
    Small,
    /// A directory of a million keys.
    List,
    /// A thousand idle sessions.
    Idle,
    /// Small files alongside many slow uploads; only if it is named.
    Slow,
}

/// Value of `--tls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TlsChoice {
    /// Plaintext only.
    Off,
    /// Under TLS only.
    On,
    /// Both, alternately.
    Both,
}

/// How a client and the gateway are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wire {
    /// Plaintext.
    Plain,
    /// Under TLS.
    Tls,
}

/// The role of a child process of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// The store that keeps no bytes.
    Null,
    /// The same with the delays of a distant store.
    NullSlow,
    /// The SDK alone, uploading.
    SdkUp,
    /// The SDK alone, downloading.
    SdkDown,
    /// Socket to socket.
    Relay,
    /// From TLS to a socket.
    RelayTlsUp,
    /// From a socket to TLS.
    RelayTlsDown,
}

impl Role {
    /// As written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Role::Null => "null",
            Role::NullSlow => "null-slow",
            Role::SdkUp => "sdk-up",
            Role::SdkDown => "sdk-down",
            Role::Relay => "relay",
            Role::RelayTlsUp => "relay-tls-up",
            Role::RelayTlsDown => "relay-tls-down",
        }
    }
}

/// Value of `--store`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreChoice {
    /// The benchmark's own, as fast as the machine.
    Null,
    /// The benchmark's own, slowed down.
    NullSlow,
    /// An S3 endpoint.
    Url(String),
}

impl FromStr for StoreChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "null" => Ok(StoreChoice::Null),
            "null-slow" => Ok(StoreChoice::NullSlow),
            url if url.starts_with("http://") || url.starts_with("https://") => {
                Ok(StoreChoice::Url(url.to_owned()))
            }
            other => Err(format!("{other:?} is neither null nor null-slow nor a URL")),
        }
    }
}

/// An S3 endpoint, for the gateway and for the SDK alone.
#[derive(Clone)]
pub struct Endpoint {
    /// Its URL.
    pub url: String,
    /// The bucket.
    pub bucket: String,
    /// The region that requests are signed for.
    pub region: String,
    /// Access key id.
    pub access_key: String,
    /// Secret access key.
    pub secret_key: String,
    /// Whether it is one of the benchmark's own, which needs no probe.
    pub own: bool,
}

/// Environment variable of the access key id, as the AWS tools name it.
pub const ACCESS_KEY: &str = "AWS_ACCESS_KEY_ID";
/// Environment variable of the secret access key, as the AWS tools name it.
pub const SECRET_KEY: &str = "AWS_SECRET_ACCESS_KEY";

impl Args {
    /// Whether this measurement is to run.
    pub fn wants(&self, work: Work) -> bool {
        self.only.is_empty() || self.only.contains(&work)
    }

    /// The connections to measure.
    pub fn wires(&self) -> Vec<Wire> {
        match self.tls {
            TlsChoice::Off => vec![Wire::Plain],
            TlsChoice::On => vec![Wire::Tls],
            TlsChoice::Both => vec![Wire::Plain, Wire::Tls],
        }
    }

    /// One of the benchmark's own stores, which accepts any access key.
    pub fn own_endpoint(&self, url: String) -> Endpoint {
        Endpoint {
            url,
            bucket: self.bucket.clone(),
            region: self.region.clone(),
            access_key: "bench".to_owned(),
            secret_key: "bench".to_owned(),
            own: true,
        }
    }

    /// The endpoint at this URL. Fails without access keys, as options or in the environment.
    pub fn endpoint(&self, url: String) -> Result<Endpoint> {
        let key = |given: &Option<String>, variable: &str| match given {
            Some(key) => Ok(key.clone()),
            None => std::env::var(variable).with_context(|| {
                format!("a real endpoint needs its keys: no switch, no ${variable}")
            }),
        };
        Ok(Endpoint {
            url,
            bucket: self.bucket.clone(),
            region: self.region.clone(),
            access_key: key(&self.access_key, ACCESS_KEY)?,
            secret_key: key(&self.secret_key, SECRET_KEY)?,
            own: false,
        })
    }
}

/// Bytes from `524288`, `512KiB`, `512MiB` or `1GiB`; at least 1.
pub fn parse_size(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit: u64 = match &text[digits.len()..] {
        "" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => bail!("{other:?} is not KiB, MiB or GiB"),
    };
    let number: u64 = digits.parse().context("not a number")?;
    match number.checked_mul(unit) {
        Some(bytes) if bytes > 0 => Ok(bytes),
        _ => bail!("out of range"),
    }
}
