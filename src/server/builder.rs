//! From the options to a running server, in three steps that may fail: build what sessions share,
//! bind every address, start the tasks. A step that fails, or a builder that is dropped, ends what
//! was begun.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::auth::{Accounts, Authenticator, Failures, SessionLimiter, UserLimiter};
use crate::data::advertise::Advertise;
use crate::data::linger::Lingering;
use crate::data::passive::{AcceptPolicy, PassivePool};
use crate::events::metrics::Metrics;
use crate::events::{EventSink, Events};
use crate::hooks::{BeforePublish, EventHook, EventHooks, Sender, Signer};
use crate::memory::Budget;
use crate::net::listen;
use crate::net::proxy::Proxies;
use crate::object::{ActiveUploads, NameLocks, RecordCache, Replica, Store, StoreContext};
use crate::server::admin;
use crate::server::admin::recent::RecentEvents;
use crate::server::admin::status::{LogSwitch, Status};
use crate::server::admission::ConnectionAdmission;
use crate::server::health::{Admin, ConfigurationHash, Gauges};
use crate::server::options::{ListenOptions, ServerOptions};
use crate::server::reload::{ConfigurationSource, ReloadTargets, Reloader};
use crate::server::scrape::Observed;
use crate::server::store_watch::StoreWatch;
use crate::server::sweeper::{SharedTargets, Targets};
use crate::server::{Server, ServerError, accept};
use crate::session::{self, Configured, Listener, Newest, ServerContext};
use crate::tls::Tls;
use ftp_proto::Command;

/// What sessions share, built; nothing is bound yet.
pub struct Builder {
    options: ServerOptions,
    events: Events,
    metrics: Arc<Metrics>,
    budget: Budget,
    replica: Arc<Replica>,
    active_uploads: Arc<ActiveUploads>,
    record_cache: Arc<RecordCache>,
    names: NameLocks,
    cleanups: TaskTracker,
    stores: BTreeMap<String, Arc<Store>>,
    tls: Option<Arc<Tls>>,
    /// The last events, for the status page.
    recent: Arc<RecentEvents>,
    /// Changes the log's filter, if that can be changed.
    log: Option<Arc<dyn LogSwitch>>,
    before_publish: Option<Arc<BeforePublish>>,
    hooks: EventHooks,
    store_watch: Arc<StoreWatch>,
    /// Reads the configuration anew, if that is possible.
    source: Option<Arc<dyn ConfigurationSource>>,
    /// What signs the calls of `[events.NAME]`.
    signers: BTreeMap<String, Signer>,
    stop: CancellationToken,
    /// Ends what has been started if a step fails.
    guard: DropGuard,
}

/// A [`Builder`] that has every address it needs.
pub struct Bound {
    builder: Builder,
    listeners: Vec<(TcpListener, SocketAddr, Arc<Listener>)>,
    admin: Option<(TcpListener, SocketAddr)>,
    pools: Vec<Arc<PassivePool>>,
}

impl Server {
    /// Builds the stores' clients, looks at the required ones, binds each listener, and starts to
    /// accept: a [`Builder`]'s steps. The sinks take all events.
    ///
    /// # Errors
    /// An address can't be bound, a store's client can't be built, or a required store can't be
    /// used. Then nothing stays running.
    pub async fn start(
        options: ServerOptions,
        sinks: Vec<Arc<dyn EventSink>>,
    ) -> Result<Server, ServerError> {
        Box::pin(Builder::new(options, sinks)).await?.start().await
    }
}

impl Builder {
    /// Builds the stores' clients, reads the certificates, and starts the tasks that deliver events.
    /// The sinks take all events.
    ///
    /// # Errors
    /// A store's client can't be built, or a certificate can't be read.
    pub async fn new(
        options: ServerOptions,
        sinks: Vec<Arc<dyn EventSink>>,
    ) -> Result<Builder, ServerError> {
        let metrics = Arc::new(Metrics::new(options.metrics, Command::verbs()));
        let hooks = event_hooks(&options, &metrics)?;
        let sinks = sinks.into_iter().chain(hooks.iter().map(EventHook::sink));
        let mut builder = Builder::without_stores(options, sinks.collect(), metrics);
        let context = builder.store_context();
        for (name, store) in &builder.options.stores {
            let built = Store::new(store, context.clone()).await;
            let store = built.map_err(|error| ServerError::Store {
                name: name.clone(),
                reason: error.to_string(),
            })?;
            builder.stores.insert(name.clone(), store);
        }
        builder.tls = match &builder.options.tls {
            Some(tls) => Some(Arc::new(Tls::load(tls)?)),
            None => None,
        };
        if let Some(options) = &builder.options.before_publish {
            let hook = BeforePublish::new(options, &builder.metrics);
            let hook = hook.map_err(|error| ServerError::Hook {
                name: "before_publish".to_owned(),
                reason: error.to_string(),
            })?;
            builder.before_publish = Some(Arc::new(hook));
        }
        let store_watch =
            StoreWatch::new(&builder.options, &builder.stores, builder.events.clone());
        builder.store_watch = Arc::new(store_watch);
        let signers = hooks.iter().map(EventHook::signer);
        builder.signers = signers
            .filter_map(|(name, signer)| Some((name, signer?)))
            .collect();
        builder.hooks = EventHooks::start(hooks, builder.stop.child_token());
        Ok(builder)
    }

    /// Looks at the required stores, binds each listener, and starts to accept. If that fails, the
    /// events so far are delivered first.
    ///
    /// # Errors
    /// An address can't be bound, or a required store can't be used.
    pub async fn start(self) -> Result<Server, ServerError> {
        let hooks = self.event_hooks();
        let started = Box::pin(self.wait_and_start()).await;
        if started.is_err() {
            hooks.stop().await;
        }
        started
    }

    async fn wait_and_start(self) -> Result<Server, ServerError> {
        self.store_watch.wait_for_required().await?;
        self.bind().await?.spawn()
    }

    /// The tasks that deliver events: for a caller that drops [`start`](Builder::start).
    pub fn event_hooks(&self) -> EventHooks {
        self.hooks.clone()
    }

    /// Follows the configuration's files, which this reads.
    #[must_use]
    pub fn follow(mut self, source: Arc<dyn ConfigurationSource>) -> Builder {
        self.source = Some(source);
        self
    }

    /// Lets the status page change which lines the log has.
    #[must_use]
    pub fn log_switch(mut self, log: Arc<dyn LogSwitch>) -> Builder {
        self.log = Some(log);
        self
    }

    /// Without stores and certificates.
    fn without_stores(
        options: ServerOptions,
        mut sinks: Vec<Arc<dyn EventSink>>,
        metrics: Arc<Metrics>,
    ) -> Builder {
        let recent = Arc::<RecentEvents>::default();
        if options.admin.is_some() {
            sinks.push(recent.clone());
        }
        let budget = Budget::for_parts(
            options.memory.budget,
            options.transfer.part_size,
            options.memory.hold,
        );
        let stop = CancellationToken::new();
        let counts: Arc<dyn EventSink> = Arc::clone(&metrics) as _;
        Builder {
            budget,
            replica: Replica::new(options.replica.clone(), options.resume.refresh),
            active_uploads: Arc::default(),
            record_cache: Arc::default(),
            names: NameLocks::new(options.timeouts.same_name),
            cleanups: TaskTracker::new(),
            stores: BTreeMap::new(),
            tls: None,
            before_publish: None,
            hooks: EventHooks::start(Vec::new(), stop.child_token()),
            store_watch: Arc::default(),
            source: None,
            signers: BTreeMap::new(),
            guard: stop.clone().drop_guard(),
            stop,
            events: Events::new(sinks.into_iter().chain([counts]).collect()),
            metrics,
            recent,
            log: None,
            options,
        }
    }

    /// What all stores share.
    fn store_context(&self) -> StoreContext {
        StoreContext {
            budget: self.budget.clone(),
            cleanups: self.cleanups.clone(),
            transfer: self.options.transfer.clone(),
            replica: self.replica.clone(),
            active_uploads: Arc::clone(&self.active_uploads),
            record_cache: Arc::clone(&self.record_cache),
            names: self.names.clone(),
            metrics: Arc::clone(&self.metrics),
        }
    }

    /// Binds the control listeners, the health endpoints and the passive ports, in this order: what
    /// the configuration names is bound before the system chooses any port (`passive.ports =
    /// "auto"`), since it could choose one of these.
    ///
    /// # Errors
    /// An address can't be bound.
    pub async fn bind(self) -> Result<Bound, ServerError> {
        let controls = self.bind_control()?;
        let admin = match &self.options.admin {
            Some(admin) => {
                let address = admin.listen;
                let bind = |source| ServerError::Bind { address, source };
                Some((TcpListener::bind(address).await.map_err(bind)?, address))
            }
            None => None,
        };
        if let (true, Some(wanted)) = (controls.is_empty(), self.options.listen.first()) {
            let source = io::ErrorKind::AddrNotAvailable.into();
            let address = wanted.address;
            return Err(ServerError::Bind { address, source });
        }
        let mut listeners = Vec::with_capacity(controls.len());
        let mut pools: HashMap<IpAddr, Arc<PassivePool>> = HashMap::new();
        for (listener, bound, wanted) in controls {
            let address = self.options.passive_address(wanted.address.ip());
            let pool = match pools.get(&address) {
                Some(pool) => pool.clone(),
                None => {
                    let pool = self.passive_pool(address).await?;
                    pools.insert(address, pool.clone());
                    pool
                }
            };
            let shared = Listener {
                passive: pool,
                implicit: wanted.implicit,
                control: wanted.control,
                data: wanted.data,
            };
            listeners.push((listener, bound, Arc::new(shared)));
        }
        Ok(Bound {
            builder: self,
            listeners,
            admin,
            pools: pools.into_values().collect(),
        })
    }

    fn bind_control(&self) -> Result<Vec<(TcpListener, SocketAddr, ListenOptions)>, ServerError> {
        let mut controls = Vec::with_capacity(self.options.listen.len());
        for wanted in &self.options.listen {
            let address = wanted.address;
            let bind = |source| ServerError::Bind { address, source };
            let listener = match listen(address, |socket| socket.set_reuse_address(true)) {
                Err(error) if is_spare(&self.options, address) && no_such_family(&error) => {
                    tracing::warn!(%address, %error, "this host has no such addresses; only the others are listened on");
                    continue;
                }
                listener => listener.map_err(bind)?,
            };
            let bound = listener.local_addr().map_err(bind)?;
            controls.push((listener, bound, *wanted));
        }
        Ok(controls)
    }

    /// The passive ports at one address.
    pub(super) async fn passive_pool(
        &self,
        address: IpAddr,
    ) -> Result<Arc<PassivePool>, ServerError> {
        let policy = AcceptPolicy {
            events: self.events.clone(),
            proxies: Proxies::new(&self.options.proxy_protocol),
            waiting: self.options.limits.transfers(),
        };
        PassivePool::bind(
            address,
            self.options.passive.ports,
            policy,
            self.stop.clone(),
        )
        .await
        .map_err(|source| ServerError::Passive { address, source })
    }

    /// What all sessions share.
    pub(super) fn context(&self) -> ServerContext {
        let options = &self.options;
        let accounts = Accounts::new(&options.users);
        ServerContext {
            events: self.events.clone(),
            metrics: Arc::clone(&self.metrics),
            tls: self.tls.clone(),
            authenticator: Authenticator::new(&accounts, &options.auth, self.budget.clone()),
            newest: Newest::new(Configured {
                hash: options.hash.clone(),
                accounts,
                hosts: options.hosts.clone(),
                stores: self.stores.clone(),
            }),
            failures: Failures::new(options.login_failures.clone())
                .with_events(self.events.clone()),
            live: Arc::default(),
            sessions: Arc::new(SessionLimiter::new(options.limits.clone())),
            user_sessions: Arc::new(UserLimiter::new(options.limits.sessions_per_user)),
            user_transfers: Arc::default(),
            advertise: Advertise::new(&options.passive),
            before_publish: self.before_publish.clone(),
            budget: self.budget.clone(),
            active_uploads: Arc::clone(&self.active_uploads),
            reported: session::ReportedUploads::default(),
            broken: Arc::default(),
            lingering: Lingering::up_to(options.limits.transfers(), options.timeouts.data_stall),
            drain: CancellationToken::new(),
            cut: CancellationToken::new(),
            options: options.session(),
        }
    }
}

#[cfg(feature = "fuzzing")]
impl Builder {
    /// A builder whose stores are all reached by this client: for sessions in memory.
    pub(super) async fn over(
        options: ServerOptions,
        http: aws_sdk_s3::config::SharedHttpClient,
        sinks: Vec<Arc<dyn EventSink>>,
    ) -> Result<Builder, ServerError> {
        let metrics = Arc::new(Metrics::new(options.metrics, Command::verbs()));
        let mut builder = Builder::without_stores(options, sinks, metrics);
        let context = builder.store_context();
        for (name, store) in &builder.options.stores {
            let built = Store::over(http.clone(), store, context.clone()).await;
            let store = built.map_err(|error| ServerError::Store {
                name: name.clone(),
                reason: error.to_string(),
            })?;
            builder.stores.insert(name.clone(), store);
        }
        Ok(builder)
    }

    /// Ends the passive ports when it is dropped.
    pub(super) fn into_guard(self) -> DropGuard {
        self.guard
    }
}

impl Bound {
    /// Starts to accept, to sweep, to look at the stores, and to follow the certificates.
    ///
    /// # Errors
    /// The health endpoints can't be served.
    pub fn spawn(self) -> Result<Server, ServerError> {
        let builder = self.builder;
        let (ready, is_ready) = watch::channel(true);
        let sessions = TaskTracker::new();
        let store_watch = Arc::clone(&builder.store_watch);
        let context = Arc::new(builder.context());
        let observed = Observed {
            context: Arc::clone(&context),
            pools: self.pools.clone(),
            record_cache: Arc::clone(&builder.record_cache),
            ready: is_ready.clone(),
            lost_lines: builder
                .log
                .as_ref()
                .map(|log| log.lost_lines())
                .unwrap_or_default(),
        };
        let gauges = Gauges {
            stores: Arc::clone(&store_watch),
            metrics: observed.registry(),
            sessions: sessions.clone(),
            budget: builder.budget.clone(),
            replica: Arc::clone(&builder.replica),
            active_uploads: Arc::clone(&builder.active_uploads),
            configuration: ConfigurationHash({
                let context = Arc::clone(&context);
                Arc::new(move || context.newest.get().hash.clone())
            }),
            started: Instant::now(),
        };
        let store_context = builder.store_context();
        let mut shown = None;
        let admin = match self.admin {
            Some((listener, address)) => {
                let status = Status::new(
                    &builder.options,
                    Arc::clone(&context),
                    Arc::clone(&builder.replica),
                    Arc::clone(&store_watch),
                    builder.recent,
                    builder.log,
                );
                let status = Arc::new(status.map_err(ServerError::Random)?);
                let pages = admin::router(Arc::clone(&status));
                shown = Some(status);
                let started = Admin::start(listener, is_ready, gauges, pages, builder.stop.clone());
                Some(started.map_err(|source| ServerError::Bind { address, source })?)
            }
            None => None,
        };
        let targets = Targets::of(&builder.options, &builder.stores);
        let targets = Arc::new(SharedTargets::new(targets));
        let sweeps = TaskTracker::new();
        let reload = Arc::new(Notify::new());
        if let Some(source) = builder.source {
            let before_publish = builder.before_publish.as_ref();
            let changed = ReloadTargets {
                context: Arc::clone(&context),
                stores: store_context,
                sweeps: Arc::clone(&targets),
                store_watch: Arc::clone(&store_watch),
                status: shown,
                signers: builder.signers,
                before_publish: before_publish.and_then(|hook| hook.signer().cloned()),
            };
            let reloader = Reloader::new(source, changed, builder.options.clone());
            sweeps.spawn(reloader.run(Arc::clone(&reload), context.drain.clone()));
        }
        sweeps.spawn(targets.run(
            builder.options.resume.clone(),
            builder.events.clone(),
            context.drain.clone(),
        ));
        sweeps.spawn(Arc::clone(&store_watch).run(context.drain.clone()));
        if let Some(tls) = builder.tls {
            sweeps.spawn(tls.follow(builder.events.clone(), context.drain.clone()));
        }
        let proxies = Proxies::new(&builder.options.proxy_protocol);
        let admission = Arc::new(ConnectionAdmission::new(proxies, builder.events.clone()));
        sweeps.spawn(Arc::clone(&admission).report(context.drain.clone()));
        sweeps.close();
        let accepts = TaskTracker::new();
        let control_addresses = self.listeners.iter().map(|(_, bound, _)| *bound).collect();
        for (listener, bound, shared) in self.listeners {
            tracing::info!(implicit_tls = shared.implicit, address = %bound, "listening");
            accepts.spawn(accept(
                listener,
                shared,
                context.clone(),
                sessions.clone(),
                admission.clone(),
            ));
        }
        builder.guard.disarm();
        Ok(Server {
            context,
            names: builder.names,
            control_addresses,
            admin,
            store_watch,
            ready,
            sessions,
            accepts,
            sweeps,
            admission,
            reload,
            hooks: builder.hooks,
            cleanups: builder.cleanups,
            stop: builder.stop,
            pools: self.pools,
        })
    }
}

/// The hooks of `[events.NAME]`.
fn event_hooks(options: &ServerOptions, metrics: &Metrics) -> Result<Vec<EventHook>, ServerError> {
    let sender = Sender {
        replica: options.replica.as_deref(),
        hooks: options.events.len(),
        metrics,
    };
    let hooks = options.events.iter().map(|(name, hook)| {
        EventHook::new(name, hook, sender).map_err(|error| ServerError::Hook {
            name: format!("events.{name}"),
            reason: error.to_string(),
        })
    });
    hooks.collect()
}

/// Whether there are listeners on all addresses of both families: the server is useful with one of
/// them.
fn is_spare(config: &ServerOptions, address: SocketAddr) -> bool {
    let other = |ip: IpAddr| ip.is_unspecified() && ip.is_ipv4() != address.is_ipv4();
    address.ip().is_unspecified() && config.listen.iter().any(|l| other(l.address.ip()))
}

/// Whether a bind has failed because the host has no addresses of that family.
fn no_such_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT)
        || error.kind() == io::ErrorKind::AddrNotAvailable
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_wildcard_of_a_family_that_the_host_lacks_is_spare_beside_the_other() {
        let config = |listen: &str| {
            let text = format!(
                "listen = [{listen}]\n\
                 [stores.main]\nendpoint = \"http://127.0.0.1:1\"\naccess_key_id = \"x\"\nsecret_access_key = \"x\"\n\
                 [mounts.main]\nstore = \"main\"\nbucket = \"files\"\n\
                 [users.u]\npassword = \"$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\"\nmounts = {{ \"/\" = \"main\" }}\n"
            );
            crate::config::from_str(&text, "test").unwrap()
        };
        for (listen, address, spare) in [
            (r#""0.0.0.0:2121", "[::]:2121""#, "[::]:2121", true),
            (r#""0.0.0.0:2121", "[::]:2121""#, "0.0.0.0:2121", true),
            (r#""[::]:2121""#, "[::]:2121", false),
            (r#""127.0.0.1:2121", "[::]:2121""#, "[::]:2121", false),
            (r#""0.0.0.0:2121", "[::1]:2121""#, "[::1]:2121", false),
            (r#""[::]:2121", "[::]:990""#, "[::]:990", false),
        ] {
            let found = is_spare(&config(listen), address.parse().unwrap());
            assert_eq!(found, spare, "{address} of {listen}");
        }
        let error = io::Error::from_raw_os_error(nix::libc::EAFNOSUPPORT);
        assert!(no_such_family(&error));
        assert!(no_such_family(&io::ErrorKind::AddrNotAvailable.into()));
        assert!(!no_such_family(&io::ErrorKind::AddrInUse.into()));
        assert!(!no_such_family(&io::ErrorKind::PermissionDenied.into()));
    }
}
