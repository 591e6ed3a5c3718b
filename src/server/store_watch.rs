//! [`StoreWatch`]: looks at the stores at the start and every minute, and knows their states.
//!
//! At the start each bucket is listed once. Then each store gets one request a minute, which lists
//! its buckets in turn. A store is down if it can't be reached or does not take the server's
//! credentials; a bucket that is missing or can't be listed is a trouble of that bucket. Nothing
//! waits for a store but the start for those that are `required`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;
use futures::stream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::events::{Class, Event, Events, Kind, Level};
use crate::object::Store;
use crate::object::look::{LookFailure, look};
use crate::server::options::{LookOptions, ServerOptions};
use crate::server::store_use::StoreUse;

/// Buckets that are looked at in parallel at the start.
const PARALLEL: usize = 8;

/// Looks at the stores, and knows their states.
#[derive(Debug, Default)]
pub struct StoreWatch {
    events: Events,
    options: LookOptions,
    watched: watch::Sender<Arc<WatchedStores>>,
}

/// The stores of one configuration.
#[derive(Debug, Default)]
struct WatchedStores {
    stores: Vec<StoreUse>,
    states: Mutex<Vec<StoreState>>,
}

/// What is known of a store. Its text is a line for it, and one for each bucket that can't be used.
#[derive(Debug, Clone)]
pub struct StoreState {
    /// Its name in the configuration.
    pub name: String,
    /// Whether it can be used.
    pub health: StoreHealth,
    /// Since when it is so.
    pub since: Instant,
    /// Its buckets, in order.
    pub buckets: Vec<BucketState>,
}

/// Whether a store can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreHealth {
    /// Not looked at yet, or no mount uses it.
    Unknown,
    /// It answers, and takes the server's credentials.
    Up,
    /// It can't be reached or does not take the credentials.
    Down(LookFailure),
}

/// What is known of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketState {
    /// The bucket.
    pub name: Arc<str>,
    /// Why it can't be listed, at the last look that reached the store.
    pub failure: Option<LookFailure>,
}

/// A bucket of a required store can't be listed.
#[derive(Debug, thiserror::Error)]
#[error(
    "store {store} is required, and its bucket {bucket} can't be listed: {failure} (`s3ftpd check \
     --stores` looks at all stores)"
)]
pub struct RequiredStoreError {
    store: String,
    bucket: Arc<str>,
    failure: LookFailure,
}

impl StoreWatch {
    /// Nothing is looked at yet.
    pub fn new(
        config: &ServerOptions,
        stores: &BTreeMap<String, Arc<Store>>,
        events: Events,
    ) -> StoreWatch {
        StoreWatch {
            options: config.store_looks.clone(),
            events,
            watched: watch::Sender::new(Arc::new(WatchedStores::new(config, stores, &[]))),
        }
    }

    /// Watches these stores from now on. What is known of those that stay is kept.
    pub fn replace(&self, config: &ServerOptions, stores: &BTreeMap<String, Arc<Store>>) {
        let known = self.states();
        let next = WatchedStores::new(config, stores, &known);
        self.watched.send_replace(Arc::new(next));
    }

    /// What is known of each store, by name.
    pub fn states(&self) -> Vec<StoreState> {
        self.now().states()
    }

    fn now(&self) -> Arc<WatchedStores> {
        Arc::clone(&self.watched.borrow())
    }

    /// Looks at the required stores, again and again, until each of their buckets can be listed.
    /// Cancel safe.
    ///
    /// # Errors
    /// One can't be listed for a minute.
    pub async fn wait_for_required(&self) -> Result<(), RequiredStoreError> {
        let watched = self.now();
        let end = Instant::now() + self.options.required_for;
        let required: Vec<Place> = watched
            .places()
            .filter(|place| watched.stores[place.store].required)
            .collect();
        for place in required {
            let bucket = watched.bucket(place);
            while let Err(failure) = watched.look(place, &self.events).await {
                let store = watched.stores[place.store].store.name();
                let next = Instant::now() + self.options.required_pause;
                if next > end {
                    return Err(RequiredStoreError {
                        store: store.to_owned(),
                        bucket: Arc::clone(bucket),
                        failure,
                    });
                }
                tracing::warn!(
                    store,
                    bucket = &**bucket,
                    class = failure.trouble.name(),
                    reason = failure.reason,
                    "the start waits for a required store"
                );
                sleep_until(next).await;
            }
        }
        Ok(())
    }

    /// Looks at all buckets, then at the stores at intervals, until it is cancelled. After each
    /// [replacement](Self::replace) it begins anew.
    pub async fn run(self: Arc<Self>, end: CancellationToken) {
        if self.options.every.is_zero() {
            return;
        }
        let mut newest = self.watched.subscribe();
        end.run_until_cancelled(async {
            loop {
                let watched = Arc::clone(&newest.borrow_and_update());
                tokio::select! {
                    () = watched.run(self.options.every, &self.events) => {}
                    changed = newest.changed() => if changed.is_err() { return },
                }
            }
        })
        .await;
    }
}

impl WatchedStores {
    /// `known` is what is known of stores from before.
    fn new(
        config: &ServerOptions,
        stores: &BTreeMap<String, Arc<Store>>,
        known: &[StoreState],
    ) -> WatchedStores {
        let stores = StoreUse::of(config, stores);
        let states = stores.iter().map(|store| StoreState {
            name: store.store.name().to_owned(),
            health: StoreHealth::Unknown,
            since: Instant::now(),
            buckets: store
                .buckets
                .iter()
                .map(|bucket| BucketState {
                    name: Arc::clone(&bucket.directory.bucket),
                    failure: None,
                })
                .collect(),
        });
        let states = states.map(|mut state| {
            if let Some(before) = known.iter().find(|known| known.name == state.name) {
                state.take_over(before);
            }
            state
        });
        WatchedStores {
            states: Mutex::new(states.collect()),
            stores,
        }
    }

    fn states(&self) -> Vec<StoreState> {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        states.clone()
    }

    /// Looks at all buckets, then at the stores at intervals. Does not end.
    async fn run(&self, every: Duration, events: &Events) {
        let looks = stream::iter(self.places());
        looks
            .for_each_concurrent(PARALLEL, async |place| {
                // The state has it.
                let _ = self.look(place, events).await;
            })
            .await;
        let stores = 0..self.stores.len();
        join_all(stores.map(|store| self.follow(store, every, events))).await;
        // Without stores too.
        std::future::pending::<()>().await;
    }

    /// Looks at one bucket of a store after another, one at each interval.
    async fn follow(&self, store: usize, every: Duration, events: &Events) {
        let buckets = 0..self.stores[store].buckets.len();
        for bucket in buckets.cycle() {
            sleep(jittered(every)).await;
            let _ = self.look(Place { store, bucket }, events).await;
        }
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        let stores = self.stores.iter().enumerate();
        stores.flat_map(|(store, used)| {
            (0..used.buckets.len()).map(move |bucket| Place { store, bucket })
        })
    }

    fn bucket(&self, place: Place) -> &Arc<str> {
        let bucket = &self.stores[place.store].buckets[place.bucket];
        &bucket.directory.bucket
    }

    async fn look(&self, place: Place, events: &Events) -> Result<(), LookFailure> {
        let directory = &self.stores[place.store].buckets[place.bucket].directory;
        let result = look(directory).await;
        let changed = {
            let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
            states[place.store].learn(place.bucket, result.clone())
        };
        if let Some(event) = changed {
            events.send(event);
        }
        result
    }
}

/// Which bucket of which store: places in the lists of [`StoreWatch`].
#[derive(Debug, Clone, Copy)]
struct Place {
    store: usize,
    bucket: usize,
}

impl StoreState {
    /// Takes over what was known of the store and its buckets.
    fn take_over(&mut self, before: &StoreState) {
        self.health = before.health.clone();
        self.since = before.since;
        for bucket in &mut self.buckets {
            let known = before
                .buckets
                .iter()
                .find(|known| known.name == bucket.name);
            bucket.failure = known.and_then(|known| known.failure.clone());
        }
    }

    /// Takes the result of a look at one of its buckets; the event if the store's state changes.
    fn learn(&mut self, bucket: usize, result: Result<(), LookFailure>) -> Option<Event> {
        let health = match &result {
            Err(failure) if failure.trouble.is_of_store() => StoreHealth::Down(failure.clone()),
            _ => StoreHealth::Up,
        };
        if health == StoreHealth::Up {
            self.buckets[bucket].learn(&self.name, result.err());
        }
        let event = match (&self.health, &health) {
            (StoreHealth::Up, StoreHealth::Up) => return None,
            (StoreHealth::Down(before), StoreHealth::Down(now))
                if before.trouble == now.trouble =>
            {
                None
            }
            (_, StoreHealth::Down(failure)) => {
                let mut event = Event::new(Kind::StoreDown, Level::Warn);
                event.class = Some(failure.trouble.class());
                event.reason = Some(failure.trouble.name().into());
                event.detail = Some(failure.reason.as_str().into());
                Some(event)
            }
            (_, StoreHealth::Up | StoreHealth::Unknown) => {
                let mut event = Event::new(Kind::StoreUp, Level::Info);
                event.class = Some(Class::Ok);
                event.seconds = match &self.health {
                    StoreHealth::Down(_) => Some(self.since.elapsed().as_secs_f64()),
                    StoreHealth::Unknown | StoreHealth::Up => None,
                };
                Some(event)
            }
        };
        if std::mem::discriminant(&self.health) != std::mem::discriminant(&health) {
            self.since = Instant::now();
        }
        self.health = health;
        event.map(|event| Event {
            store: Some(self.name.as_str().into()),
            ..event
        })
    }
}

impl BucketState {
    /// Takes the result of a look that has reached the store. Of a missing bucket each request that
    /// fails for it is logged at a slow pace.
    fn learn(&mut self, store: &str, failure: Option<LookFailure>) {
        let before = self.failure.as_ref().map(|failure| failure.trouble);
        match &failure {
            Some(failure) if before != Some(failure.trouble) => {
                tracing::warn!(
                    store,
                    bucket = &*self.name,
                    class = failure.trouble.name(),
                    reason = failure.reason,
                    "a bucket can't be listed"
                );
            }
            None if before.is_some() => {
                tracing::info!(store, bucket = &*self.name, "a bucket can be listed again");
            }
            _ => {}
        }
        self.failure = failure;
    }
}

impl fmt::Display for StoreState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.since.elapsed().as_secs();
        match &self.health {
            StoreHealth::Unknown => writeln!(f, "store {}: not looked at", self.name)?,
            StoreHealth::Up => writeln!(f, "store {}: up for {seconds} s", self.name)?,
            StoreHealth::Down(failure) => {
                writeln!(f, "store {}: down for {seconds} s, {failure}", self.name)?;
            }
        }
        for bucket in &self.buckets {
            if let Some(failure) = &bucket.failure {
                writeln!(f, "bucket {}:{}: {failure}", self.name, bucket.name)?;
            }
        }
        Ok(())
    }
}

/// The interval, longer or shorter by at most a tenth, so that the looks of many replicas spread.
fn jittered(every: Duration) -> Duration {
    // Without randomness there is no jitter.
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    every.mul_f64(0.9 + 0.2 * f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::look::StoreTrouble;

    fn failure(trouble: StoreTrouble) -> LookFailure {
        LookFailure {
            trouble,
            reason: "x".to_owned(),
        }
    }

    #[test]
    fn a_store_is_down_by_its_own_troubles_only() {
        let bucket = |name: &str| BucketState {
            name: name.into(),
            failure: None,
        };
        let mut state = StoreState {
            name: "main".to_owned(),
            health: StoreHealth::Unknown,
            since: Instant::now(),
            buckets: vec![bucket("a"), bucket("b")],
        };
        assert_eq!(state.to_string(), "store main: not looked at\n");
        state.learn(0, Ok(()));
        state.learn(1, Err(failure(StoreTrouble::NoBucket)));
        assert_eq!(state.health, StoreHealth::Up);
        let missing = "bucket main:b: no_bucket (x)\n";
        assert!(state.to_string().ends_with(&format!(" s\n{missing}")));
        let up_since = state.since;
        state.learn(0, Err(failure(StoreTrouble::Timeout)));
        let down_since = state.since;
        assert!(down_since > up_since);
        state.learn(0, Err(failure(StoreTrouble::Credentials)));
        let credentials = failure(StoreTrouble::Credentials);
        assert_eq!(state.health, StoreHealth::Down(credentials));
        assert_eq!(state.since, down_since);
        assert!(
            state
                .to_string()
                .ends_with(&format!(" s, credentials (x)\n{missing}"))
        );
        state.learn(1, Ok(()));
        assert!(state.to_string().starts_with("store main: up for "));
        assert!(!state.to_string().contains("bucket"));
        state.learn(0, Err(failure(StoreTrouble::Denied)));
        assert_eq!(state.health, StoreHealth::Up);
    }

    #[test]
    fn looks_spread_by_a_tenth() {
        let every = Duration::from_secs(60);
        for _ in 0..100 {
            let jittered = jittered(every).as_secs_f64();
            assert!((53.9..=66.1).contains(&jittered), "{jittered}");
        }
    }
}
