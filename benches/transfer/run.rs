//! The rounds: contestants and their order.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::args::{Args, Endpoint, Role, StoreChoice, Wire, Work};
use crate::client::{Session, small_name};
use crate::gateway::{Gateway, PREFIX};
use crate::process::Sample;
use crate::relay::{self, Secure};
use crate::report::{Contestant, Idle, Listing, Results, Round};
use crate::sdk::{self, Direction, Objects};
use crate::slow;
use crate::store::{MILLION, Store, sized_key};
use crate::tls::Identity;

/// Small files of one session, and bytes of each.
const SMALL_FILES: usize = 300;
const SMALL_SIZE: u64 = 4096;
/// Idle sessions, and those before the first measurement, so that one-time allocations are not
/// counted.
const IDLE_SESSIONS: usize = 1000;
const WARM_SESSIONS: usize = 20;
/// Keys of the listing after which memory must stay flat.
const SETTLED: u64 = MILLION / 10;
/// Keys of uploads, below [`PREFIX`]: the gateway's and the SDK's.
const UPLOADS: [&str; 2] = ["up-gateway.bin", "up-sdk.bin"];

/// Measures what the options ask for, and prints the report.
pub fn run(args: &Args) -> Result<()> {
    let bench = Bench::new(args)?;
    let mut results = Results::new(args.size);
    bench.prepare()?;
    for round in 0..args.rounds {
        eprintln!("round {} of {}", round + 1, args.rounds);
        bench.round(round as usize, &mut results)?;
    }
    bench.clean_up()?;
    print!("{}", results.report(args.markdown));
    Ok(())
}

/// An endpoint with its name in the report.
struct Target {
    name: String,
    endpoint: Endpoint,
    /// The process of the benchmark's own store.
    _store: Option<Store>,
}

/// State that the rounds share.
struct Bench<'a> {
    args: &'a Args,
    targets: Vec<Target>,
    /// Directory for configuration, log, certificate and curl's files; in memory if possible.
    directory: TempDir,
    /// The certificate of gateway and relay.
    identity: Identity,
    runtime: Runtime,
}

impl<'a> Bench<'a> {
    fn new(args: &'a Args) -> Result<Self> {
        let own = |role: Role| -> Result<Target> {
            let store = Store::start(role)?;
            Ok(Target {
                name: role.name().to_owned(),
                endpoint: args.own_endpoint(store.url.clone()),
                _store: Some(store),
            })
        };
        let targets = match &args.store {
            None => vec![own(Role::Null)?, own(Role::NullSlow)?],
            Some(StoreChoice::Null) => vec![own(Role::Null)?],
            Some(StoreChoice::NullSlow) => vec![own(Role::NullSlow)?],
            Some(StoreChoice::Url(url)) => vec![Target {
                name: "the endpoint".to_owned(),
                endpoint: args.endpoint(url.clone())?,
                _store: None,
            }],
        };
        let memory = Path::new("/dev/shm");
        let directory = tempfile::Builder::new()
            .prefix("s3ftpd-bench-")
            .tempdir_in(if memory.is_dir() {
                memory.to_owned()
            } else {
                std::env::temp_dir()
            })?;
        Ok(Bench {
            args,
            targets,
            identity: Identity::create(directory.path())?,
            directory,
            runtime: Runtime::new()?,
        })
    }

    /// Makes the files to upload and, with a real endpoint, the object to download.
    fn prepare(&self) -> Result<()> {
        // A hole reads as zeros and takes no memory.
        File::create(self.large_file())?.set_len(self.args.size)?;
        for number in 1..=SMALL_FILES {
            let file = self.directory.path().join(small_name(number));
            fs::write(file, vec![0; SMALL_SIZE as usize])?;
        }
        for target in &self.targets {
            if !target.endpoint.own && self.args.wants(Work::Down) {
                let key = format!("{PREFIX}{}", sized_key(self.args.size));
                let upload = async {
                    Objects::new(&target.endpoint)
                        .upload(&key, self.args.size)
                        .await
                };
                self.runtime
                    .block_on(upload)
                    .context("preparing the download")?;
            }
        }
        Ok(())
    }

    fn round(&self, round: usize, results: &mut Results) -> Result<()> {
        for target in &self.targets {
            for (work, direction) in [(Work::Up, Direction::Up), (Work::Down, Direction::Down)] {
                if self.args.wants(work) {
                    let samples = self.large(target, direction, round)?;
                    results.large(&target.name, direction, samples);
                }
            }
            if self.args.wants(Work::Small) {
                for wire in turned(self.args.wires(), round) {
                    let (up, down) = self.small(target, wire)?;
                    results.small(&target.name, Direction::Up, wire, up);
                    results.small(&target.name, Direction::Down, wire, down);
                }
            }
        }
        if self.args.only.contains(&Work::Slow) {
            let store = Store::start(Role::NullSlow)?;
            let endpoint = self.args.own_endpoint(store.url.clone());
            results.slow(slow::measure(self.args, &endpoint, self.directory.path())?);
        }
        if self.args.wants(Work::List) || self.args.wants(Work::Idle) {
            // Only the benchmark's store has a million keys, and idle sessions need no store.
            let store = Store::start(Role::Null)?;
            let endpoint = self.args.own_endpoint(store.url.clone());
            if self.args.wants(Work::List) && self.args.wires().contains(&Wire::Plain) {
                results.list(self.list(&endpoint)?);
            }
            if self.args.wants(Work::Idle) {
                for wire in self.args.wires() {
                    results.idle(wire, self.idle(&endpoint, wire)?);
                }
            }
        }
        Ok(())
    }

    /// The large object with each contestant; each round starts with another one.
    fn large(&self, target: &Target, direction: Direction, round: usize) -> Result<Round> {
        let mut samples = Round::new();
        for by in turned(Contestant::all(&self.args.wires()), round) {
            let sample = match by {
                Contestant::Gateway(wire) => self.gateway_large(target, direction, wire)?,
                Contestant::Sdk => self.sdk_large(target, direction)?,
                Contestant::Relay(wire) => {
                    let secure = self.identity(wire).map(|identity| Secure {
                        direction,
                        identity,
                    });
                    relay::measure(self.args.size, secure)?
                }
            };
            samples.insert(by, sample);
        }
        Ok(samples)
    }

    fn gateway_large(&self, target: &Target, direction: Direction, wire: Wire) -> Result<Sample> {
        let size = self.args.size;
        let gateway = self.gateway(&target.endpoint, wire)?;
        gateway.measure(|| match direction {
            Direction::Up => {
                let seconds =
                    self.args
                        .client
                        .upload(gateway.door, &self.large_file(), UPLOADS[0], size)?;
                self.check_size(target, UPLOADS[0], size)?;
                Ok(seconds)
            }
            Direction::Down => self
                .args
                .client
                .download(gateway.door, &sized_key(size), size),
        })
    }

    fn sdk_large(&self, target: &Target, direction: Direction) -> Result<Sample> {
        let size = self.args.size;
        match direction {
            Direction::Up => {
                let key = format!("{PREFIX}{}", UPLOADS[1]);
                let sample = sdk::measure(&target.endpoint, direction, &key, size)?;
                self.check_size(target, UPLOADS[1], size)?;
                Ok(sample)
            }
            Direction::Down => {
                let key = format!("{PREFIX}{}", sized_key(size));
                sdk::measure(&target.endpoint, direction, &key, size)
            }
        }
    }

    /// Milliseconds a small file, up and down.
    fn small(&self, target: &Target, wire: Wire) -> Result<(f64, f64)> {
        let (gateway, client) = (self.gateway(&target.endpoint, wire)?, self.args.client);
        let up = gateway.measure(|| {
            client.upload_small(gateway.door, self.directory.path(), SMALL_FILES, SMALL_SIZE)
        })?;
        self.check_size(target, &small_name(SMALL_FILES), SMALL_SIZE)?;
        let down =
            gateway.measure(|| client.download_small(gateway.door, SMALL_FILES, SMALL_SIZE))?;
        let per_file = |sample: Sample| sample.wall * 1e3 / SMALL_FILES as f64;
        Ok((per_file(up), per_file(down)))
    }

    fn list(&self, endpoint: &Endpoint) -> Result<Listing> {
        let gateway = self.gateway(endpoint, Wire::Plain)?;
        let mut settled = None;
        let sample = gateway.measure(|| {
            let look = || settled = Some(gateway.memory());
            let client = self.args.client;
            client.list(gateway.door, "million/", MILLION, SETTLED, look)
        })?;
        let settled = settled.context("the listing had no end")??;
        Ok(Listing {
            sample,
            // The kernel sums a process's memory with a delay, so a later figure can be slightly
            // smaller.
            growth: sample.peak.saturating_sub(settled.peak),
        })
    }

    fn idle(&self, endpoint: &Endpoint, wire: Wire) -> Result<Idle> {
        let gateway = self.gateway(endpoint, wire)?;
        let open = |count: usize| -> Result<Vec<Session>> {
            (0..count)
                .map(|_| Session::open(gateway.door))
                .collect::<Result<_>>()
                .context("opening idle sessions (does `ulimit -n` allow 1100 files?)")
        };
        let _warm = open(WARM_SESSIONS)?;
        let before = gateway.memory()?.resident;
        let _sessions = open(IDLE_SESSIONS)?;
        let after = gateway.memory()?.resident;
        Ok(Idle {
            kib_each: after.saturating_sub(before) as f64 / IDLE_SESSIONS as f64,
        })
    }

    fn gateway(&self, endpoint: &Endpoint, wire: Wire) -> Result<Gateway<'_>> {
        Gateway::start(endpoint, self.directory.path(), self.identity(wire))
    }

    /// The certificate for this kind of connection.
    fn identity(&self, wire: Wire) -> Option<&Identity> {
        (wire == Wire::Tls).then_some(&self.identity)
    }

    fn large_file(&self) -> PathBuf {
        self.directory.path().join("large.bin")
    }

    /// Fails unless the uploaded objects are in the store.
    fn check_size(&self, target: &Target, name: &str, expected: u64) -> Result<()> {
        let key = format!("{PREFIX}{name}");
        let size = self
            .runtime
            .block_on(async { Objects::new(&target.endpoint).size(&key).await })?;
        ensure!(
            size == Some(expected),
            "{name}: {expected} bytes were sent, the store has {size:?}"
        );
        Ok(())
    }

    /// Deletes the benchmark's objects from a real endpoint.
    fn clean_up(&self) -> Result<()> {
        let mut names: BTreeSet<String> = (1..=SMALL_FILES).map(small_name).collect();
        names.extend(UPLOADS.map(str::to_owned));
        names.insert(sized_key(self.args.size));
        for target in self.targets.iter().filter(|target| !target.endpoint.own) {
            self.runtime.block_on(async {
                let objects = Objects::new(&target.endpoint);
                for name in &names {
                    objects.delete(&format!("{PREFIX}{name}")).await?;
                }
                Ok::<_, anyhow::Error>(())
            })?;
        }
        Ok(())
    }
}

/// The contestants in another order in each round, so that none always follows the same one.
fn turned<T>(mut all: Vec<T>, round: usize) -> Vec<T> {
    let first = round % all.len().max(1);
    all.rotate_left(first);
    all
}
