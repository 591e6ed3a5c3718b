//! The fault campaign: several clients send, append, resume, rename, delete and fetch files through two gateway
//! processes on one store, while the store fails at random, clients break off, and gateways are killed and restarted
//! all along. A model knows which bytes each name may hold; at the end each object must be one of them.
//!
//! ```text
//! worker (client, its own names) ─┐                     ┌─ chaos: each request may fail
//! worker …                        ├─▶ gateway a, b ─────┴─▶ embedded store
//! killer: SIGKILL, SIGTERM ───────┘
//! ```
//!
//! `cargo test --test campaign` is the short run; `CAMPAIGN_TRANSFERS=10000 cargo test --release --test campaign --
//! --nocapture` the long one. `CAMPAIGN_SEED` repeats the decisions of a run, as far as timing allows. See
//! docs/reliability.md.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::large_futures)]

mod chaos;
mod client;
mod content;
mod figures;
mod gateway;
mod model;
mod worker;

/// The support of the black-box tests, as far as it is needed here.
#[path = "../it/support/faults.rs"]
#[allow(dead_code)]
mod faults;
#[path = "../it/support/operation.rs"]
#[allow(dead_code)]
mod operation;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use s3ftpd::demo::{EmbeddedStore, StoreOptions};

use chaos::Chaos;
use content::Random;
use figures::Figures;
use gateway::Gateways;
use model::Model;
use worker::Worker;

/// The bucket of all objects.
const BUCKET: &str = "files";
/// Clients at once.
const WORKERS: usize = 8;
/// Names that all of them write.
const SHARED: usize = 3;
/// A gateway's memory for transfers.
const BUDGET_MIB: u64 = 64;
/// What a process may take beside that: itself, its sockets, and what a debug build wastes.
const BESIDE_MIB: u64 = 160;

/// Waits for an event, at most a minute.
pub async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), event).await {
        Ok(done) => done,
        Err(_) => panic!("waited 60s in vain: {what}"),
    }
}

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number")),
        Err(_) => default,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_cut_doubled_or_mixed() {
    let transfers = number("CAMPAIGN_TRANSFERS", 400);
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = number("CAMPAIGN_SEED", time.unwrap().as_nanos() as u64 % 1_000_000);
    println!("CAMPAIGN_SEED={seed} CAMPAIGN_TRANSFERS={transfers}");
    let begun = Instant::now();

    let figures = Arc::new(Figures::new(transfers));
    let chaos = Arc::new(Chaos::new(seed, Arc::clone(&figures)));
    let store = EmbeddedStore::start(StoreOptions {
        interceptor: Some(Arc::clone(&chaos) as _),
        ..StoreOptions::default()
    })
    .await
    .unwrap();
    store.backend().create_bucket(BUCKET).unwrap();
    let gateways = Arc::new(Gateways::start(&store, Arc::clone(&figures)).await);
    let model = Arc::new(Model::default());
    chaos.begin();

    let over = Arc::new(AtomicBool::new(false));
    let killer = tokio::spawn(kill_now_and_then(
        Arc::clone(&gateways),
        Arc::clone(&chaos),
        Random::new(seed ^ 0x6b69_6c6c),
        Arc::clone(&over),
    ));
    let mut workers = Vec::new();
    for number in 0..WORKERS {
        let worker = Worker::new(
            number,
            Random::new(seed.wrapping_add(number as u64 + 1)),
            Arc::clone(&gateways),
            Arc::clone(&model),
            Arc::clone(&figures),
        );
        workers.push(tokio::spawn(worker.run()));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    over.store(true, Ordering::SeqCst);
    killer.await.unwrap();
    chaos.end();

    model.check(&store, &gateways).await;
    let peak = gateways.stop().await;
    assert!(
        peak <= (BUDGET_MIB + BESIDE_MIB) * 1024,
        "a gateway took {peak} KiB"
    );
    let open = store.backend().open_uploads().len();
    let unrecorded = gateways.sweep().await;
    assert_eq!(store.backend().open_uploads(), [], "left open");
    let state = store.backend().keys(BUCKET);
    let state: Vec<&String> = state
        .iter()
        .filter(|key| key.starts_with(".s3ftpd"))
        .collect();
    assert!(state.is_empty(), "left behind: {state:?}");
    // A process that is killed, and a Create whose answer is lost, can each leave an upload that nobody knows.
    let explained = figures.kills() + figures.lost_creates();
    assert!(
        unrecorded <= explained,
        "{unrecorded} unrecorded uploads, {explained} explained"
    );
    figures.print(begun.elapsed(), peak, open, unrecorded);
    figures.check();
}

/// Kills or stops a gateway each few seconds, one at a time, and takes the store away now and then.
async fn kill_now_and_then(
    gateways: Arc<Gateways>,
    chaos: Arc<Chaos>,
    mut random: Random,
    over: Arc<AtomicBool>,
) {
    while !over.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(1500 + random.below(3000))).await;
        let which = random.below(2) as usize;
        match random.below(10) {
            0..5 => gateways.restart(which, true).await,
            5..8 => gateways.restart(which, false).await,
            _ => chaos.outage(Duration::from_millis(300 + random.below(1500))),
        }
    }
}
