//! [`Metrics`]: counts what happens, for Prometheus.
//!
//! ```text
//! Events ── Event ──────────────▶ Metrics ── families ──▶ Registry ──▶ GET /metrics
//! session ── command, transfer ──▶   ▲                       ▲
//! object ── each S3 request ─────────┤       server::scrape ─┘ what is read at each scrape
//! hooks ─── each call ───────────────┘
//! ```
//!
//! To count takes a look-up and an atomic increment. All labels are bounded, whatever clients and
//! stores send: words of this crate, names of the configuration up to a limit, and `other` for the
//! rest. So the memory is, too, and nothing grows between two scrapes.

mod hooks;
mod labels;
mod last_uploads;
pub mod options;
mod replies;
mod requests;

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::events::EventSink;
use crate::events::event::{Cause, Class, Direction, Event, Kind};
use crate::events::metrics::options::MetricsOptions;

use hooks::HookMetrics;
pub use hooks::{CallResult, CountedCall, HookCalls};
pub use labels::OTHER;
pub use labels::RequestStatus;
use labels::{
    BanLabels, BoundedTexts, BytesLabels, ClassLabels, CommandLabels, KindLabels, RefusalLabels,
    ResultLabels, StoreLabels, TransferLabels, VerbLabels,
};
use last_uploads::LastUploads;
pub use replies::CountedReplies;
use requests::RequestMetrics;
pub use requests::{MeasuredAttempt, StoreRequests};

/// The prefix of all names.
const PREFIX: &str = "s3ftpd";

/// The most mounts with labels of their own.
const MOST_MOUNTS: usize = 50;

/// Upper bounds of the buckets for the time of a transfer, seconds.
const TRANSFER_SECONDS: [f64; 9] = [0.05, 0.2, 1.0, 5.0, 20.0, 60.0, 300.0, 1800.0, 7200.0];

/// Upper bounds of the buckets for the bytes of a transfer: 4 KiB, and 16 times as much each.
const TRANSFER_BYTES: [f64; 7] = [
    4096.0,
    65536.0,
    1048576.0,
    16777216.0,
    268435456.0,
    4294967296.0,
    68719476736.0,
];

/// The verb of replies that answer no command: a greeting, a timeout, a line without a verb.
pub const NO_VERB: &str = "none";

/// Counts what happens.
#[derive(Debug)]
pub struct Metrics {
    /// The verbs with labels of their own.
    verbs: HashSet<&'static str>,
    mounts: BoundedTexts,
    events: Family<KindLabels, Counter>,
    /// The counters of `events`, in the order of the kinds.
    by_kind: Vec<Counter>,
    logins: Family<ResultLabels, Counter>,
    commands: Family<CommandLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    running: Family<VerbLabels, Gauge>,
    transfers: Family<TransferLabels, Counter>,
    transfer_bytes: Family<BytesLabels, Counter>,
    transfer_duration: Family<TransferLabels, Histogram>,
    transfer_size: Family<TransferLabels, Histogram>,
    listings: Family<ClassLabels, Counter>,
    interrupted: Counter,
    bans: Family<BanLabels, Counter>,
    strangers: Counter,
    reloads: Family<ResultLabels, Counter>,
    last_reload_ok: Gauge,
    sweeps: Family<ResultLabels, Counter>,
    swept: Counter,
    store_up: Family<StoreLabels, Gauge>,
    requests: Arc<RequestMetrics>,
    hooks: Arc<HookMetrics>,
    last_uploads: Option<Arc<LastUploads>>,
}

/// A transfer that counts as running until it is dropped.
#[derive(Debug)]
pub struct CountedTransfer(Gauge);

impl Metrics {
    /// Nothing is counted yet. `verbs` are the commands with labels of their own.
    pub fn new(options: MetricsOptions, verbs: impl IntoIterator<Item = &'static str>) -> Metrics {
        let last_uploads = NonZeroUsize::new(options.last_uploads);
        let events = Family::default();
        let metrics = Metrics {
            verbs: verbs.into_iter().chain([NO_VERB]).collect(),
            mounts: BoundedTexts::new(MOST_MOUNTS),
            by_kind: Kind::ALL
                .iter()
                .map(|kind| of_kind(&events, *kind))
                .collect(),
            events,
            logins: Family::default(),
            commands: Family::default(),
            refusals: Family::default(),
            running: Family::default(),
            transfers: Family::default(),
            transfer_bytes: Family::default(),
            transfer_duration: Family::new_with_constructor(|| Histogram::new(TRANSFER_SECONDS)),
            transfer_size: Family::new_with_constructor(|| Histogram::new(TRANSFER_BYTES)),
            listings: Family::default(),
            interrupted: Counter::default(),
            bans: Family::default(),
            strangers: Counter::default(),
            reloads: Family::default(),
            last_reload_ok: Gauge::default(),
            sweeps: Family::default(),
            swept: Counter::default(),
            store_up: Family::default(),
            requests: Arc::new(RequestMetrics::new()),
            hooks: Arc::default(),
            last_uploads: last_uploads.map(|users| Arc::new(LastUploads::new(users))),
        };
        metrics.begin_at_zero();
        metrics
    }

    /// Creates what can be known in advance: Prometheus sees no increase in a series that begins
    /// with 1.
    fn begin_at_zero(&self) {
        for result in ["ok"]
            .into_iter()
            .chain(Cause::ALL.iter().map(|c| c.name()))
        {
            drop(self.logins.get_or_create(&ResultLabels { result }));
        }
        for of in ["address", "user"] {
            drop(self.bans.get_or_create(&BanLabels { of }));
        }
        for ok in [true, false] {
            drop(self.reloads.get_or_create(&result(ok)));
            drop(self.sweeps.get_or_create(&result(ok)));
        }
        self.last_reload_ok.set(1);
    }

    /// A registry with all of them, to which others can be added.
    pub fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix(PREFIX);
        self.register_sessions(&mut registry);
        self.register_transfers(&mut registry);
        self.register_operation(&mut registry);
        self.requests.register(&mut registry);
        self.hooks.register(&mut registry);
        registry
    }

    fn register_sessions(&self, registry: &mut Registry) {
        registry.register("events", "Events by kind", self.events.clone());
        registry.register(
            "logins",
            "Logins, and connections refused before one, by result",
            self.logins.clone(),
        );
        registry.register(
            "commands",
            "Replies to commands, without preliminary ones",
            self.commands.clone(),
        );
        registry.register(
            "refused",
            "Commands refused or failed, other than running transfers",
            self.refusals.clone(),
        );
        registry.register("bans", "Bans after failed logins", self.bans.clone());
        registry.register(
            "data_strangers",
            "Data connections from another address than the control connection's",
            self.strangers.clone(),
        );
    }

    fn register_transfers(&self, registry: &mut Registry) {
        registry.register(
            "transfers_running",
            "Transfers that run",
            self.running.clone(),
        );
        registry.register(
            "transfers",
            "File transfers that have ended",
            self.transfers.clone(),
        );
        registry.register_with_unit(
            "transfer",
            "Bytes of file transfers that have ended, whole or not",
            Unit::Bytes,
            self.transfer_bytes.clone(),
        );
        registry.register_with_unit(
            "transfer_duration",
            "Time from the command to the end of a file transfer",
            Unit::Seconds,
            self.transfer_duration.clone(),
        );
        registry.register_with_unit(
            "transfer_size",
            "Bytes of a file transfer",
            Unit::Bytes,
            self.transfer_size.clone(),
        );
        registry.register("listings", "Listings by class", self.listings.clone());
        registry.register(
            "uploads_interrupted",
            "Uploads that broke off and were kept for a resume",
            self.interrupted.clone(),
        );
        if let Some(last_uploads) = &self.last_uploads {
            registry.register_collector(Box::new(Arc::clone(last_uploads)));
        }
    }

    fn register_operation(&self, registry: &mut Registry) {
        registry.register(
            "reloads",
            "Reloads of certificates and configuration, by result",
            self.reloads.clone(),
        );
        registry.register(
            "last_reload_ok",
            "1, or 0 if the last reload was refused and the old contents stay",
            self.last_reload_ok.clone(),
        );
        registry.register(
            "sweeps",
            "Sweeps, and places that could not be swept",
            self.sweeps.clone(),
        );
        registry.register(
            "swept",
            "Leftovers that sweeps have removed",
            self.swept.clone(),
        );
        registry.register(
            "store_up",
            "1 if the store answered as it should at the last look, else 0",
            self.store_up.clone(),
        );
    }

    /// What counts the replies with this code to a command.
    fn replies(&self, verb: &'static str, code: u16) -> Counter {
        let verb = self.verb(verb);
        let labels = CommandLabels { verb, code };
        self.commands.get_or_create_owned(&labels)
    }

    /// A transfer of this command begins.
    pub fn transfer_begins(&self, verb: &'static str) -> CountedTransfer {
        let verb = self.verb(verb);
        let running = self.running.get_or_create_owned(&VerbLabels { verb });
        running.inc();
        CountedTransfer(running)
    }

    /// The number of transfers that run.
    pub fn transfers_running(&self) -> i64 {
        let count = |verb: &&'static str| {
            let gauge = self.running.get(&VerbLabels { verb });
            gauge.map_or(0, |gauge| gauge.get())
        };
        self.verbs.iter().chain([&OTHER]).map(count).sum()
    }

    /// Counts an upload that broke off and was kept.
    pub fn upload_interrupted(&self) {
        self.interrupted.inc();
    }

    /// What measures the requests to a store.
    pub fn store_requests(&self, store: &str) -> StoreRequests {
        StoreRequests::new(store, &self.requests)
    }

    /// What counts the calls of a hook, by its section of the configuration.
    pub fn hook_calls(&self, hook: &str) -> HookCalls {
        HookCalls::new(hook, &self.hooks)
    }

    fn verb(&self, verb: &'static str) -> &'static str {
        self.verbs.get(verb).copied().unwrap_or(OTHER)
    }

    fn transfer(&self, event: &Event) {
        let direction = event.direction.map_or(OTHER, Direction::name);
        let class = event.class.unwrap_or(Class::Ok);
        let mount = self.mounts.label(event.mount.as_deref().unwrap_or(OTHER));
        let bytes = event.bytes.unwrap_or_default();
        let of_bytes = BytesLabels {
            direction,
            mount: Arc::clone(&mount),
        };
        let labels = TransferLabels {
            direction,
            class: class.name(),
            mount,
        };
        self.transfers.get_or_create(&labels).inc();
        self.transfer_bytes.get_or_create(&of_bytes).inc_by(bytes);
        let size = self.transfer_size.get_or_create(&labels);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a histogram's sum of more than 2^53 bytes may be inexact"
        )]
        size.observe(bytes as f64);
        if let Some(seconds) = event.seconds {
            let duration = self.transfer_duration.get_or_create(&labels);
            duration.observe(seconds);
        }
        if let (Some(last), Some(user)) = (&self.last_uploads, event.user())
            && (event.direction, class) == (Some(Direction::In), Class::Ok)
        {
            last.note(user, event.time);
        }
    }

    fn reload(&self, event: &Event) {
        let ok = event.class.is_none_or(|class| class == Class::Ok);
        self.reloads.get_or_create(&result(ok)).inc();
        self.last_reload_ok.set(i64::from(ok));
    }

    fn store(&self, event: &Event, up: bool) {
        if let Some(store) = &event.store {
            let store = (&**store).into();
            let gauge = self.store_up.get_or_create(&StoreLabels { store });
            gauge.set(i64::from(up));
        }
    }
}

impl EventSink for Metrics {
    fn take(&self, event: &Arc<Event>) {
        // Of a sweep it is the number of things.
        let count = match event.kind {
            Kind::Sweep => 1,
            _ => event.count.unwrap_or(1),
        };
        self.by_kind[event.kind as usize].inc_by(count);
        let class = event.class.map_or(OTHER, Class::name);
        match event.kind {
            Kind::Login => {
                let result = "ok";
                self.logins.get_or_create(&ResultLabels { result }).inc();
            }
            Kind::LoginRefused => {
                let result = event.cause.map_or(OTHER, |cause| cause.name());
                let logins = self.logins.get_or_create(&ResultLabels { result });
                logins.inc_by(count);
            }
            Kind::Transfer => self.transfer(event),
            Kind::Refused => {
                let verb = event.verb.map_or(NO_VERB, |verb| self.verb(verb));
                let labels = RefusalLabels { verb, class };
                self.refusals.get_or_create(&labels).inc_by(count);
            }
            Kind::Listing => {
                self.listings.get_or_create(&ClassLabels { class }).inc();
            }
            Kind::Banned => {
                let of = match event.user {
                    Some(_) => "user",
                    None => "address",
                };
                self.bans.get_or_create(&BanLabels { of }).inc_by(count);
            }
            Kind::DataStranger => {
                self.strangers.inc_by(count);
            }
            Kind::Reload => self.reload(event),
            Kind::StoreUp => self.store(event, true),
            Kind::StoreDown => self.store(event, false),
            Kind::Sweep => {
                let ok = event.class.is_none_or(|class| class == Class::Ok);
                self.sweeps.get_or_create(&result(ok)).inc();
                self.swept.inc_by(event.count.unwrap_or(0));
            }
            Kind::SessionOpen
            | Kind::SessionClose
            | Kind::Renamed
            | Kind::Deleted
            | Kind::DirectoryMade
            | Kind::DirectoryRemoved => {}
        }
    }
}

impl Default for Metrics {
    /// Without verbs of its own.
    fn default() -> Metrics {
        Metrics::new(MetricsOptions::default(), [])
    }
}

fn of_kind(events: &Family<KindLabels, Counter>, kind: Kind) -> Counter {
    let kind = kind.name();
    events.get_or_create_owned(&KindLabels { kind })
}

fn result(ok: bool) -> ResultLabels {
    let result = if ok { "ok" } else { "failed" };
    ResultLabels { result }
}

impl Drop for CountedTransfer {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests;
