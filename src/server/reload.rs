//! Takes over a changed configuration while the server runs.
//!
//! The files that the configuration was read from are looked at by polling, since a volume of
//! Kubernetes replaces them by links, which no file-system event shows. A file that is written in
//! place may be half written: it counts once it has looked the same twice. Links that lead elsewhere
//! count at once. SIGHUP reads in any case.
//!
//! What was read is taken over as a whole, or refused as a whole: users, groups, mounts, hosts, stores,
//! and the secrets of stores, hooks and the admin port. Of what else has changed an event says that it
//! needs a restart.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Duration, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::auth::Accounts;
use crate::events::{Class, Event, Kind, Level};
use crate::hooks::Signer;
use crate::object::{Store, StoreContext};
use crate::server::admin::status::Status;
use crate::server::inputs::Inputs;
use crate::server::options::ServerOptions;
use crate::server::store_watch::StoreWatch;
use crate::server::sweeper::{SharedTargets, Targets};
use crate::session::options::RemovedUsers;
use crate::session::{Configured, ServerContext};

/// How often a configuration is read whose files change while they are read.
const ATTEMPTS: u32 = 5;
/// The pause between two of these.
const PAUSE: Duration = Duration::from_millis(100);
/// For the client of a new store: the AWS default chain may ask the network for a region.
const CLIENT_TIME: Duration = Duration::from_secs(60);
/// A poll that removes more users than this, and more than [`MASS_SHARE`] of them, is refused.
const MASS: usize = 10;
/// One in this number.
const MASS_SHARE: usize = 5;
/// The longest text of errors in an event, bytes.
const LONGEST_TEXT: usize = 4096;
/// Top-level keys that are taken over without a restart. `include` says where the others are.
const RELOADED: [&str; 6] = ["include", "stores", "mounts", "groups", "users", "hosts"];

/// Reads the configuration.
pub trait ConfigurationSource: fmt::Debug + Send + Sync {
    /// Reads all of it. Blocks.
    ///
    /// # Errors
    /// Everything that is wrong.
    fn load(&self) -> Result<ServerOptions, UnusableConfiguration>;
}

/// A configuration that is refused.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{text}")]
pub struct UnusableConfiguration {
    /// What is wrong with it.
    pub text: String,
    /// What was read.
    pub inputs: Inputs,
}

/// What a reload changes.
#[derive(Debug)]
pub(super) struct ReloadTargets {
    pub(super) context: Arc<ServerContext>,
    pub(super) stores: StoreContext,
    pub(super) sweeps: Arc<SharedTargets>,
    pub(super) store_watch: Arc<StoreWatch>,
    /// The status page, if there is one.
    pub(super) status: Option<Arc<Status>>,
    /// What signs the calls of hooks, by the hooks' names.
    pub(super) signers: BTreeMap<String, Signer>,
    pub(super) before_publish: Option<Signer>,
}

/// Takes over changed configurations.
#[derive(Debug)]
pub(super) struct Reloader {
    source: Arc<dyn ConfigurationSource>,
    targets: ReloadTargets,
    /// What was taken over last.
    current: ServerOptions,
    /// The files of the last attempt, taken over or refused.
    seen: Inputs,
    /// What the last poll has found, if it was something else.
    pending: Option<Change>,
}

/// Files that have changed.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    inputs: Inputs,
    /// Of the contents.
    digest: [u8; 32],
}

/// Who asks for a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    Poll,
    /// An operator, by SIGHUP.
    Operator,
}

impl Reloader {
    pub(super) fn new(
        source: Arc<dyn ConfigurationSource>,
        targets: ReloadTargets,
        current: ServerOptions,
    ) -> Reloader {
        Reloader {
            seen: current.inputs.clone(),
            source,
            targets,
            current,
            pending: None,
        }
    }

    /// Polls at the configured interval, and reads after each notification, until it is cancelled. A
    /// reload that has begun is finished.
    pub(super) async fn run(mut self, asked: Arc<Notify>, end: CancellationToken) {
        let every = self.current.reload.every;
        // An interval of zero panics. Then the ticker is not asked.
        let period = if every.is_zero() { PAUSE } else { every };
        let mut ticks = interval_at(tokio::time::Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = end.cancelled() => return,
                () = asked.notified() => Box::pin(self.reload(Trigger::Operator)).await,
                _ = ticks.tick(), if !every.is_zero() => {
                    if self.poll().await {
                        Box::pin(self.reload(Trigger::Poll)).await;
                    }
                }
            }
        }
    }

    /// Whether the files have changed, and can be read.
    async fn poll(&mut self) -> bool {
        let seen = self.seen.clone();
        let looking = spawn_blocking(move || {
            let inputs = seen.now();
            if inputs == seen {
                return None;
            }
            let swapped = inputs.is_swap_of(&seen);
            let digest = digest_of(inputs.changed_since(&seen));
            Some((swapped, Change { inputs, digest }))
        });
        match looking.await {
            Ok(Some((swapped, change))) => {
                let settled = swapped || self.pending.as_ref() == Some(&change);
                self.pending = (!settled).then_some(change);
                settled
            }
            Ok(None) => {
                self.pending = None;
                false
            }
            // A panic has been logged.
            Err(_) => false,
        }
    }

    async fn reload(&mut self, trigger: Trigger) {
        let event = match Box::pin(self.try_reload(trigger)).await {
            Ok(taken) => taken.event(),
            Err(ReloadRefused::Moving) if trigger == Trigger::Poll => return,
            Err(refused) => refused.event(),
        };
        self.targets.context.events.send(event);
    }

    async fn try_reload(&mut self, trigger: Trigger) -> Result<Taken, ReloadRefused> {
        let mut loaded = self.load().await;
        for _ in 1..ATTEMPTS {
            if !matches!(loaded, Err(ReloadRefused::Moving)) {
                break;
            }
            sleep(PAUSE).await;
            loaded = self.load().await;
        }
        let options = loaded?;
        let taken = self.compare(&options);
        if trigger == Trigger::Poll && taken.removed > MASS {
            let before = self.current.users.len();
            if taken.removed * MASS_SHARE > before {
                return Err(ReloadRefused::Mass(taken.removed, before));
            }
        }
        self.take_over(options).await?;
        Ok(taken)
    }

    /// Reads the configuration; its files must not have changed in the meantime.
    async fn load(&mut self) -> Result<ServerOptions, ReloadRefused> {
        let source = Arc::clone(&self.source);
        let reading = spawn_blocking(move || {
            let loaded = source.load();
            let read = match &loaded {
                Ok(options) => &options.inputs,
                Err(unusable) => &unusable.inputs,
            };
            let is_still = read.now() == *read;
            (loaded, is_still)
        });
        let Ok((loaded, is_still)) = reading.await else {
            return Err(ReloadRefused::Unusable("it can't be read".to_owned()));
        };
        if !is_still {
            return Err(ReloadRefused::Moving);
        }
        self.pending = None;
        match loaded {
            Ok(options) => {
                self.seen = options.inputs.clone();
                Ok(options)
            }
            Err(unusable) => {
                // What was read before may be what is mended.
                self.seen = self.seen.now();
                self.seen.extend(unusable.inputs);
                Err(ReloadRefused::Unusable(unusable.text))
            }
        }
    }

    /// Replaces what can be replaced. Nothing is changed if it fails.
    async fn take_over(&mut self, options: ServerOptions) -> Result<(), ReloadRefused> {
        let targets = &self.targets;
        let before = targets.context.newest.get();
        let mut stores = BTreeMap::new();
        for (name, store) in &options.stores {
            let old = before.stores.get(name);
            let store = match old.filter(|old| old.options().same_client(store)) {
                Some(old) => Arc::clone(old),
                None => {
                    let building = Store::new(store, targets.stores.clone());
                    let built = timeout(CLIENT_TIME, building).await;
                    let built =
                        built.map_err(|_| "its client could not be built in time".to_owned());
                    let built = built.and_then(|built| built.map_err(|error| error.to_string()));
                    built.map_err(|why| ReloadRefused::Unusable(format!("stores.{name}: {why}")))?
                }
            };
            stores.insert(name.clone(), store);
        }
        // Nothing fails from here on.
        for (name, store) in &stores {
            if let Some(options) = options.stores.get(name) {
                store.replace_credentials(options);
            }
        }
        targets.replace_secrets(&options);
        let swept = Targets::of(&options, &stores);
        targets.sweeps.replace(&swept);
        targets.store_watch.replace(&options, &stores);
        targets.context.newest.replace(Configured {
            hash: options.hash.clone(),
            accounts: Accounts::new(&options.users),
            hosts: options.hosts.clone(),
            stores,
        });
        if targets.context.options.removed_users == RemovedUsers::Now {
            targets.end_sessions(&before);
        }
        self.current = options;
        Ok(())
    }

    /// What another configuration changes.
    fn compare(&self, next: &ServerOptions) -> Taken {
        let (old, new) = (&self.current, next);
        let is_known = |name: &&String| old.users.contains_key(*name);
        let keys = old.sections.keys().chain(new.sections.keys());
        let mut restart: Vec<String> = keys
            .filter(|key| !RELOADED.contains(&key.as_str()))
            .filter(|key| old.sections.get(*key) != new.sections.get(*key))
            .cloned()
            .collect();
        restart.sort();
        restart.dedup();
        Taken {
            hash: next.hash.clone(),
            users: next.users.len(),
            added: next.users.keys().filter(|name| !is_known(name)).count(),
            removed: old
                .users
                .keys()
                .filter(|name| !new.users.contains_key(*name))
                .count(),
            restart,
        }
    }
}

impl ReloadTargets {
    /// Replaces the secrets of the admin port and of hooks that had one and have one.
    fn replace_secrets(&self, options: &ServerOptions) {
        let token = options
            .admin
            .as_ref()
            .and_then(|admin| admin.token.as_ref());
        if let (Some(status), Some(token)) = (&self.status, token) {
            status.replace_token(token);
        }
        for (name, signer) in &self.signers {
            let hook = options.events.get(name);
            if let Some(secret) = hook.and_then(|hook| hook.secret.as_ref()) {
                signer.replace(secret);
            }
        }
        let hook = options.before_publish.as_ref();
        let secret = hook.and_then(|hook| hook.secret.as_ref());
        if let (Some(signer), Some(secret)) = (&self.before_publish, secret) {
            signer.replace(secret);
        }
    }

    /// Ends the sessions of users that were there before.
    fn end_sessions(&self, before: &Configured) {
        let newest = self.context.newest.get();
        for session in self.context.live.all() {
            let facts = session.activity().facts;
            let gone = |name: &str| {
                let user = newest.accounts.user(name);
                before.accounts.user(name).is_some() && user.is_none_or(|user| user.disabled)
            };
            if facts.user.as_deref().is_some_and(gone) {
                session.end();
            }
        }
    }
}

/// A configuration that was taken over.
#[derive(Debug, PartialEq, Eq)]
struct Taken {
    hash: String,
    users: usize,
    added: usize,
    removed: usize,
    /// Keys that have changed and need a restart.
    restart: Vec<String>,
}

impl Taken {
    fn event(&self) -> Event {
        let level = match self.restart.is_empty() {
            true => Level::Info,
            false => Level::Warn,
        };
        let mut reason = format!(
            "the configuration {} was taken over: {} users, {} added, {} removed",
            self.hash, self.users, self.added, self.removed
        );
        if !self.restart.is_empty() {
            // Writing to a string does not fail.
            let _ = write!(
                reason,
                "; a restart is needed for {}",
                self.restart.join(", ")
            );
        }
        let mut event = Event::new(Kind::Reload, level);
        event.class = Some(Class::Ok);
        event.reason = Some(reason.into());
        event
    }
}

/// Why a configuration was not taken over.
#[derive(Debug, PartialEq, Eq)]
enum ReloadRefused {
    /// Its files change while they are read.
    Moving,
    /// It is wrong.
    Unusable(String),
    /// It removes this number of the users, of this number in all.
    Mass(usize, usize),
}

impl ReloadRefused {
    fn event(&self) -> Event {
        let detail = match self {
            ReloadRefused::Moving => "its files change while they are read".to_owned(),
            ReloadRefused::Unusable(text) => text.replace('\n', "; "),
            ReloadRefused::Mass(removed, before) => format!(
                "it removes {removed} of {before} users; SIGHUP takes it over if that is meant"
            ),
        };
        let mut event = Event::new(Kind::Reload, Level::Error);
        event.class = Some(Class::Invalid);
        event.reason = Some("the configuration was refused, the one before stays".into());
        let end = detail.floor_char_boundary(LONGEST_TEXT);
        event.detail = Some(detail[..end].into());
        event
    }
}

/// The hash of the contents of files.
fn digest_of<'p>(files: impl Iterator<Item = &'p PathBuf>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for file in files {
        let content = std::fs::read(file).unwrap_or_default();
        hash.update(file.as_os_str().as_encoded_bytes());
        hash.update(content.len().to_be_bytes());
        hash.update(content);
    }
    hash.finalize().into()
}
