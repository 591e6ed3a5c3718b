//! Removes what interrupted uploads have left: periodically while the server runs, and by `s3ftpd
//! sweep`. Also lists the records of interrupted uploads, so that this process knows those of other
//! processes, and its own from before a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::events::{Class, Event, Events, Kind, Level};
use crate::object::look::LookFailure;
use crate::object::options::ResumeOptions;
use crate::object::{
    ObjectError, Recorded, Store, SweepOptions, Swept, Unrecorded, refresh_record_cache, sweep,
    sweep_probes, sweep_temporary, sweep_uploads,
};
use crate::server::options::ServerOptions;

/// Time from the start to the first sweep, when what a crash has left is old enough.
const FIRST: Duration = Duration::from_secs(300);

/// The state buckets of a configuration, each with the buckets whose state it has.
#[derive(Debug, Clone, Default)]
pub struct Targets(Vec<SweepTarget>);

/// The targets of a server. A reload changes them.
#[derive(Debug, Default)]
pub struct SharedTargets(ArcSwap<Targets>);

#[derive(Debug, Clone)]
struct SweepTarget {
    store: Arc<Store>,
    state_bucket: Arc<str>,
    buckets: Vec<Arc<str>>,
    /// Whether a mount of the newest configuration has it. Else it stays until nothing is left.
    mounted: bool,
    /// How long temporary files are kept there; `None`: for ever, or there are none.
    temporary_keep: Option<Duration>,
}

impl SweepTarget {
    /// The name of a store and bucket in the configuration.
    fn label(&self, bucket: &str) -> String {
        format!("{}:{bucket}", self.store.name())
    }

    /// The identity of a bucket, since two stores can have the same endpoint.
    fn real(&self, bucket: &Arc<str>) -> (String, Arc<str>) {
        (self.store.endpoint(), Arc::clone(bucket))
    }
}

impl Targets {
    /// The targets of all mounts of all users.
    pub fn of(config: &ServerOptions, stores: &BTreeMap<String, Arc<Store>>) -> Targets {
        let mut found: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
        let keeps = temporary_keeps(config, stores);
        for mount in config.users.values().flat_map(|user| user.mounts.values()) {
            let state = mount.state_bucket.as_deref().unwrap_or(&mount.bucket);
            let buckets = found.entry((&mount.store, state)).or_default();
            buckets.insert(&mount.bucket);
        }
        let targets = found.into_iter().filter_map(|((store, state), buckets)| {
            let store = stores.get(store)?;
            let keep = keeps.get(&(store.endpoint(), state));
            Some(SweepTarget {
                store: Arc::clone(store),
                temporary_keep: keep.copied().flatten(),
                state_bucket: state.into(),
                buckets: buckets.into_iter().map(Arc::from).collect(),
                mounted: true,
            })
        });
        Targets(targets.collect())
    }

    /// One bucket, which no mount need have.
    pub fn one(store: &Arc<Store>, bucket: &str, state_bucket: &str) -> Targets {
        Targets(vec![SweepTarget {
            store: Arc::clone(store),
            state_bucket: state_bucket.into(),
            buckets: vec![bucket.into()],
            temporary_keep: None,
            mounted: false,
        }])
    }

    /// Sweeps all. Returns what was found, and the stores and buckets that could not be listed.
    pub async fn sweep(&self, options: &SweepOptions) -> (Vec<Swept>, Vec<(String, ObjectError)>) {
        let (mut found, mut failed) = (Vec::new(), Vec::new());
        let mut recorded = Recorded::default();
        // Each bucket once, also if several stores have it or its state is in several buckets.
        let mut probed = BTreeSet::new();
        // Starts with those whose records are not all known.
        let mut listed = BTreeSet::new();
        for target in &self.0 {
            let bucket = &target.state_bucket;
            match Box::pin(sweep(&target.store, bucket, options, &mut recorded)).await {
                Ok(swept) => found.extend(swept),
                Err(error) => {
                    failed.push((target.label(bucket), error));
                    listed.extend(target.buckets.iter().map(|bucket| target.real(bucket)));
                }
            }
        }
        let mut kept = BTreeSet::new();
        for target in &self.0 {
            let bucket = &target.state_bucket;
            let Some(keep) = target.temporary_keep else {
                continue;
            };
            if kept.insert(target.real(bucket)) {
                match sweep_temporary(&target.store, bucket, keep, options.dry_run).await {
                    Ok(swept) => found.extend(swept),
                    Err(error) => failed.push((target.label(bucket), error)),
                }
            }
        }
        for target in &self.0 {
            for bucket in std::iter::once(&target.state_bucket).chain(&target.buckets) {
                if !probed.insert(target.real(bucket)) {
                    continue;
                }
                match Box::pin(sweep_probes(&target.store, bucket, options)).await {
                    Ok(swept) => found.extend(swept),
                    Err(error) => failed.push((target.label(bucket), error)),
                }
            }
            for bucket in &target.buckets {
                if !listed.insert(target.real(bucket)) {
                    continue;
                }
                let swept = sweep_uploads(&target.store, bucket, options, &recorded);
                match Box::pin(swept).await {
                    Ok(swept) => found.extend(swept),
                    // Access keys that may only read and write objects may not list uploads.
                    Err(error) if options.unrecorded == Unrecorded::Ignore => {
                        tracing::debug!(place = target.label(bucket), %error, "open uploads of probes could not be listed");
                    }
                    Err(error) => failed.push((target.label(bucket), error)),
                }
            }
        }
        // State buckets that hold no objects of mounts: only what is ours by its key.
        let ours = SweepOptions {
            unrecorded: Unrecorded::Ignore,
            ..options.clone()
        };
        for target in &self.0 {
            let bucket = &target.state_bucket;
            if listed.insert(target.real(bucket)) {
                match Box::pin(sweep_uploads(&target.store, bucket, &ours, &recorded)).await {
                    Ok(swept) => found.extend(swept),
                    Err(error) => {
                        tracing::debug!(place = target.label(bucket), %error, "open uploads of staged keys could not be listed");
                    }
                }
            }
        }
        (found, failed)
    }

    /// Without those that no mount has any more and in which nothing is left.
    fn without_empty(&self, found: &[Swept], failed: &[(String, ObjectError)]) -> Targets {
        let is_left = |target: &&SweepTarget| {
            let of = |bucket: &str| {
                *target.state_bucket == *bucket || target.buckets.iter().any(|own| **own == *bucket)
            };
            let buckets = std::iter::once(&target.state_bucket).chain(&target.buckets);
            let labels: Vec<String> = buckets.map(|bucket| target.label(bucket)).collect();
            target.mounted
                || failed.iter().any(|(label, _)| labels.contains(label))
                || found
                    .iter()
                    .any(|swept| !swept.removed && of(&swept.bucket))
        };
        Targets(self.0.iter().filter(is_left).cloned().collect())
    }
}

impl SharedTargets {
    /// Begins with these.
    pub fn new(targets: Targets) -> SharedTargets {
        SharedTargets(ArcSwap::from_pointee(targets))
    }

    /// Replaces them. Earlier ones stay until nothing is left in them.
    pub fn replace(&self, next: &Targets) {
        self.0.rcu(|current| {
            let same = |one: &SweepTarget, other: &SweepTarget| {
                Arc::ptr_eq(&one.store, &other.store) && one.state_bucket == other.state_bucket
            };
            let mut all = next.clone();
            for old in &current.0 {
                match all.0.iter_mut().find(|target| same(target, old)) {
                    Some(target) => {
                        let more = old.buckets.iter();
                        let more = more.filter(|bucket| !target.buckets.contains(bucket));
                        let more: Vec<_> = more.cloned().collect();
                        target.buckets.extend(more);
                    }
                    None => all.0.push(SweepTarget {
                        mounted: false,
                        ..old.clone()
                    }),
                }
            }
            all
        });
    }

    /// Lists and sweeps at the configured intervals, until it is cancelled.
    pub async fn run(
        self: Arc<Self>,
        config: ResumeOptions,
        events: Events,
        end: CancellationToken,
    ) {
        end.run_until_cancelled(async {
            tokio::join!(
                self.look(&config),
                self.sweep_now_and_then(&config, &events)
            );
        })
        .await;
    }

    async fn look(&self, config: &ResumeOptions) {
        while !config.look_every.is_zero() {
            for target in &self.0.load_full().0 {
                if let Err(error) = refresh_record_cache(&target.store, &target.state_bucket).await
                {
                    tracing::debug!(store = target.store.name(), bucket = &*target.state_bucket, %error, "the records could not be listed");
                }
            }
            sleep(config.look_every).await;
        }
    }

    async fn sweep_now_and_then(&self, config: &ResumeOptions, events: &Events) {
        if config.sweep_every.is_zero() {
            return;
        }
        let options = SweepOptions {
            older_than: config.keep_for,
            over_object: config.keep_over_object,
            dry_run: false,
            unrecorded: Unrecorded::Ignore,
        };
        let mut pause = config.sweep_every.min(FIRST);
        loop {
            sleep(pause).await;
            pause = config.sweep_every;
            let targets = self.0.load_full();
            let (found, failed) = targets.sweep(&options).await;
            let left = Arc::new(targets.without_empty(&found, &failed));
            // A reload in the meantime has new ones.
            self.0.compare_and_swap(&targets, left);
            for swept in found.iter().filter(|swept| swept.removed) {
                tracing::info!(
                    what = %swept.kind, bucket = swept.bucket, key = %swept.key.escape_debug(),
                    user = %swept.user.escape_debug(), age_s = swept.age.as_secs(), "swept"
                );
            }
            let removed = found.iter().filter(|swept| swept.removed).count();
            events.send(swept_event(removed));
            for (label, error) in failed {
                events.send(failed_event(&label, error));
            }
        }
    }
}

/// How long temporary files are kept in each endpoint's state buckets. A file does not show of which
/// mount it is: the longest time counts, and one mount that keeps them for ever.
fn temporary_keeps<'a>(
    config: &'a ServerOptions,
    stores: &BTreeMap<String, Arc<Store>>,
) -> BTreeMap<(String, &'a str), Option<Duration>> {
    let mut keeps = BTreeMap::new();
    for mount in config.users.values().flat_map(|user| user.mounts.values()) {
        if let (false, Some(store)) = (mount.temporary.is_empty(), stores.get(&mount.store)) {
            let state = mount.state_bucket.as_deref().unwrap_or(&mount.bucket);
            keeps
                .entry((store.endpoint(), state))
                .and_modify(|keep: &mut Option<Duration>| {
                    *keep = keep
                        .zip(mount.temporary_keep)
                        .map(|(one, other)| one.max(other));
                })
                .or_insert(mount.temporary_keep);
        }
    }
    keeps
}

/// The event of a sweep.
fn swept_event(removed: usize) -> Event {
    let level = match removed {
        0 => Level::Debug,
        _ => Level::Info,
    };
    let mut event = Event::new(Kind::Sweep, level);
    event.class = Some(Class::Ok);
    event.count = Some(removed as u64);
    event
}

/// The event of a place that could not be swept.
fn failed_event(label: &str, error: ObjectError) -> Event {
    let mut event = Event::new(Kind::Sweep, Level::Warn);
    event.reason = Some(format!("{label} could not be swept").into());
    event.detail = Some(error.to_string().into());
    event.class = Some(LookFailure::from(error).trouble.class());
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_that_fails_has_the_class_of_its_failure() {
        let text = || "x".to_owned();
        for (error, class) in [
            (ObjectError::Unavailable(text()), Class::StoreUnreachable),
            (ObjectError::Timeout, Class::StoreUnreachable),
            (ObjectError::Credentials(text()), Class::StoreCredentials),
            (ObjectError::Clock(text()), Class::StoreCredentials),
            (ObjectError::Denied(text()), Class::StoreDenied),
            (ObjectError::NoSuchBucket, Class::StoreError),
            (ObjectError::Other(text()), Class::StoreError),
        ] {
            let shown = error.to_string();
            let event = failed_event("main:files", error);
            assert_eq!(event.class, Some(class), "{shown}");
            assert_eq!(event.detail.as_deref(), Some(&*shown));
        }
    }
}
