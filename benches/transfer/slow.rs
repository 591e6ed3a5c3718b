//! Slow clients: how many uploads that need more memory than there is affect a session with small
//! files.
//!
//! The gateway has a budget of 256 MiB. One session stores and fetches 20 kB each 100 ms: alone,
//! then alongside the slow uploads until all have their 226, and alone once more, since other work
//! on the machine varies. At a rate other than 20 kB/s the time for which the gateway holds
//! half-filled parts scales with it, so that a faster run has the same shape.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::args::{Args, Endpoint};
use crate::client::Session;
use crate::gateway::Gateway;

/// Budget of the gateway, MiB.
pub const BUDGET: u64 = 256;
/// The rate of the goals, bytes a second.
const RATE: f64 = 20e3;
/// How long a half-filled part is held at that rate, seconds.
const HOLD: f64 = 30.0;
/// Bytes of a file of the session that is measured.
const SMALL: u64 = 20_000;
/// The interval at which it starts a file.
const EVERY: Duration = Duration::from_millis(100);
/// Files that it stores and fetches while it is alone, each time.
const ALONE: usize = 300;

/// Milliseconds to store and to fetch 20 kB.
#[derive(Debug, Clone, Default)]
pub struct Delays {
    /// STOR.
    pub store: Vec<f64>,
    /// RETR.
    pub fetch: Vec<f64>,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Slow {
    /// Number of parallel uploads.
    pub clients: usize,
    /// Bytes a second of each.
    pub rate: u64,
    /// Without the slow uploads.
    pub alone: Delays,
    /// With the slow uploads.
    pub next_to: Delays,
    /// Seconds until the last slow upload has its 226.
    pub wall: f64,
    /// Peak of the gateway's resident memory, KiB.
    pub peak: u64,
}

/// Measures it.
pub fn measure(args: &Args, endpoint: &Endpoint, directory: &Path) -> Result<Slow> {
    let hold = HOLD * RATE / args.slow_rate as f64;
    let more = format!(
        "[memory]\nbudget = \"{BUDGET}MiB\"\nhold = \"{}ms\"\n",
        (hold * 1e3).ceil()
    );
    let gateway = Gateway::start_with(endpoint, directory, None, &more)?;
    let mut session = Session::open(gateway.door)?;
    let mut alone = Delays::default();
    for _ in 0..ALONE {
        step(&mut session, &mut alone)?;
    }
    let sessions = (0..args.slow_clients)
        .map(|_| Session::open(gateway.door))
        .collect::<Result<Vec<_>>>()
        .context("opening the slow sessions (does `ulimit -n` allow them?)")?;
    let begun = Instant::now();
    let left = AtomicUsize::new(sessions.len());
    let mut next_to = Delays::default();
    thread::scope(|scope| {
        let uploads: Vec<_> = sessions
            .into_iter()
            .enumerate()
            .map(|(number, mut session)| {
                let left = &left;
                scope.spawn(move || {
                    let name = format!("slow-{number}.bin");
                    let rate = args.slow_rate as f64;
                    let stored = session.store_slowly(&name, args.slow_size, rate);
                    left.fetch_sub(1, Ordering::Relaxed);
                    stored.context(name)
                })
            })
            .collect();
        let mut looked = Instant::now();
        while left.load(Ordering::Relaxed) > 0 {
            step(&mut session, &mut next_to)?;
            if looked.elapsed() > Duration::from_secs(30) {
                looked = Instant::now();
                let (left, resident) = (left.load(Ordering::Relaxed), gateway.memory()?.resident);
                let seconds = begun.elapsed().as_secs();
                eprintln!(
                    "{seconds} s: {left} slow uploads, {} MiB resident",
                    resident / 1024
                );
            }
        }
        for upload in uploads {
            upload
                .join()
                .map_err(|_| anyhow!("a client's thread died"))??;
        }
        Ok::<_, anyhow::Error>(())
    })?;
    ensure!(!next_to.store.is_empty(), "the slow uploads were too fast");
    for _ in 0..ALONE {
        step(&mut session, &mut alone)?;
    }
    Ok(Slow {
        clients: args.slow_clients,
        rate: args.slow_rate,
        alone,
        next_to,
        wall: begun.elapsed().as_secs_f64(),
        peak: gateway.memory()?.peak,
    })
}

/// One file up and down.
fn step(session: &mut Session, delays: &mut Delays) -> Result<()> {
    let begun = Instant::now();
    session.store("small.bin", SMALL)?;
    delays.store.push(begun.elapsed().as_secs_f64() * 1e3);
    let stored = Instant::now();
    session.retrieve("small.bin", SMALL)?;
    delays.fetch.push(stored.elapsed().as_secs_f64() * 1e3);
    thread::sleep(EVERY.saturating_sub(begun.elapsed()));
    Ok(())
}
