//! The fault campaign: several clients send, append, resume, rename, delete and fetch files through
//! two gateway processes on one store, while the store fails at random, clients break off, and
//! gateways are killed and restarted. Then many clients send in parallel under faults. A model
//! knows which bytes each name may hold. At the end each object must be one of them, the gauges of
//! the gateways must be zero, and everything that is left in the store must have a cause.
//!
//! ```text
//! worker (client, its own names) ─┐                     ┌─ chaos: each request may fail
//! worker …                        ├─▶ gateway a, b ─────┴─▶ embedded store
//! killer: SIGKILL, SIGTERM ───────┘
//! ```
//!
//! In addition, without faults, several sessions contest the same names of one gateway
//! ([`contest`]).
//!
//! `cargo test --test campaign` is the short run, `CAMPAIGN_TRANSFERS=10000 cargo test --release
//! --test campaign -- --nocapture` the long one. `CAMPAIGN_SEED` repeats the decisions of a run, as
//! far as timing allows. See tests/campaign/README.md.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::large_futures)]

mod chaos;
mod client;
mod content;
mod contest;
mod crowd;
mod figures;
mod files;
mod gateway;
mod leftovers;
mod model;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use s3_embedded::{Behaviour, EmbeddedStore, StoreOptions};

use chaos::Chaos;
use content::Random;
use figures::Figures;
use gateway::Gateways;
use leftovers::Causes;
use model::Model;
use worker::Worker;

/// The bucket of all objects.
const BUCKET: &str = "files";
/// Parallel clients, each with a user of its own.
const WORKERS: usize = 8;
/// Users.
const USERS: usize = WORKERS;
/// Names that all of them write.
const SHARED: usize = 3;
/// A gateway's memory for transfers.
const BUDGET_MIB: u64 = 64;
/// What a process may take in addition: itself, 200 sessions and their sockets, connections to a
/// store that fails, and what the allocator keeps (64.3 MiB in a release build after 10,000
/// transfers).
const BESIDE_MIB: u64 = 96;

/// The name of a user.
fn user(number: usize) -> String {
    format!("u{number}")
}

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is not a number")),
        Err(_) => default,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_cut_doubled_or_mixed() {
    let transfers = number("CAMPAIGN_TRANSFERS", 200);
    let seed = seed();
    println!("CAMPAIGN_SEED={seed} CAMPAIGN_TRANSFERS={transfers}");
    let begun = Instant::now();

    let figures = Arc::new(Figures::new(transfers));
    let model = Arc::new(Model::new());
    let causes = Arc::new(Causes::default());
    let chaos = Arc::new(Chaos::new(
        seed,
        Arc::clone(&model),
        Arc::clone(&causes),
        Arc::clone(&figures),
    ));
    let store = EmbeddedStore::start(StoreOptions {
        interceptor: Some(Arc::clone(&chaos) as _),
        ..StoreOptions::default()
    })
    .await
    .unwrap();
    store.backend().create_bucket(BUCKET).unwrap();
    let gateways = Gateways::start(
        &store,
        Arc::clone(&model),
        Arc::clone(&causes),
        Arc::clone(&figures),
    );
    let gateways = Arc::new(gateways.await);
    chaos.begin();

    days(seed, &gateways, &chaos, &model, &figures).await;
    let crowd = number("CAMPAIGN_CROWD", if transfers < 1000 { 40 } else { 200 });
    crowd::run(crowd as usize, seed, &gateways, &model, &figures).await;

    chaos.end().await;
    gateways.idle().await;
    model.check(&store, &gateways).await;
    gateways.idle().await;
    let peak = gateways.stop().await;
    assert!(
        peak <= (BUDGET_MIB + BESIDE_MIB) * 1024,
        "a gateway took {peak} KiB"
    );
    leftovers::check(&store, &gateways, &causes, &figures).await;
    figures.print(begun.elapsed(), peak);
    figures.check();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_several_uploads_of_one_name_wins_and_no_acknowledged_file_is_lost() {
    let rounds = number("CAMPAIGN_TRANSFERS", 200);
    let seed = seed();
    println!("CAMPAIGN_SEED={seed} CAMPAIGN_TRANSFERS={rounds}");
    for (name, behaviour) in [
        ("AWS", Behaviour::default()),
        ("MinIO", Behaviour::minio()),
        ("Garage", Behaviour::garage()),
    ] {
        contest::run(name, behaviour, rounds, seed).await;
    }
}

/// `CAMPAIGN_SEED`, or a random one.
fn seed() -> u64 {
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    number("CAMPAIGN_SEED", time.unwrap().as_nanos() as u64 % 1_000_000)
}

/// The workers' transfers, with kills, stops and outages in parallel.
async fn days(
    seed: u64,
    gateways: &Arc<Gateways>,
    chaos: &Arc<Chaos>,
    model: &Arc<Model>,
    figures: &Arc<Figures>,
) {
    let over = Arc::new(AtomicBool::new(false));
    let killer = tokio::spawn(kill_now_and_then(
        Arc::clone(gateways),
        Arc::clone(chaos),
        Random::new(seed ^ 0x6b69_6c6c),
        Arc::clone(&over),
    ));
    let mut workers = Vec::new();
    for number in 0..WORKERS {
        let worker = Worker::new(
            number,
            Random::new(seed.wrapping_add(number as u64 + 1)),
            Arc::clone(gateways),
            Arc::clone(model),
            Arc::clone(figures),
        );
        workers.push(tokio::spawn(worker.run()));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    over.store(true, Ordering::SeqCst);
    killer.await.unwrap();
}

/// Kills or stops a gateway every few seconds, one at a time, and takes the store away now and
/// then.
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
