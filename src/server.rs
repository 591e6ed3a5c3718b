//! Listeners, accept, limits, drain.
//!
//! Each control listener has an accept task. Each accepted connection becomes a session task, and
//! one tracker owns them all. [`Server::start`] binds everything or fails, and accepts.
//! [`Server::stop`] drains: it takes no new sessions, and idle ones get a 421. Running transfers
//! have the grace period, also finished downloads that clients have not read yet; then they are
//! cut. Last, the server waits for the clean-up in the store. Passive ports accept until the last
//! session has ended.

mod admission;
pub mod capacity;
pub mod health;
pub mod options;
pub mod sweeper;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{Authenticator, Failures, SessionLimiter, UserLimiter};
use crate::data::advertise::Advertise;
use crate::data::linger::{LAST_LIMIT, Lingering};
use crate::data::passive::{PassivePool, ProxyPolicy};
use crate::memory::Budget;
use crate::net::proxy::Proxies;
use crate::object::{NameLocks, Replica, Store, StoreContext};
use crate::server::health::{Admin, Gauges};
use crate::server::options::ServerOptions;
use crate::server::sweeper::Targets;
use crate::session::{self, Listener, ServerContext};
use crate::tls::{MaterialError, Tls};

use admission::{ConnectionAdmission, admit, refuse};

/// Connections that the kernel queues until the server accepts them.
const BACKLOG: i32 = 1024;

/// Pause after a failed accept (no descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Time for the store, when the process ends, to save interrupted uploads and to clean up.
const CLEANUP_DEADLINE: Duration = Duration::from_secs(45);

/// The part of it that stays if sessions don't end, since a session that publishes is not cut.
const CLEANUP_LEAST: Duration = Duration::from_secs(10);

/// A running gateway.
#[derive(Debug)]
pub struct Server {
    context: Arc<ServerContext>,
    names: NameLocks,
    control_addresses: Vec<SocketAddr>,
    admin: Option<Admin>,
    ready: watch::Sender<bool>,
    sessions: TaskTracker,
    accepts: TaskTracker,
    sweeps: TaskTracker,
    cleanups: TaskTracker,
    /// Ends the passive listeners and the health endpoints.
    stop: CancellationToken,
    pools: Vec<Arc<PassivePool>>,
}

/// Why a server can't start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An address can't be bound.
    #[error("can't listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The passive ports can't be bound.
    #[error("passive ports on {address}: {source}")]
    Passive {
        /// The local address.
        address: IpAddr,
        /// The system's error.
        source: io::Error,
    },
    /// A certificate can't be read.
    #[error("TLS: {0}")]
    Tls(#[from] MaterialError),
    /// A store's client can't be built.
    #[error("store {name}: {reason}")]
    Store {
        /// The store's name in the configuration.
        name: String,
        /// The reason.
        reason: String,
    },
}

impl Server {
    /// Binds each listener, and starts to accept.
    ///
    /// # Errors
    /// An address can't be bound, or a store's client can't be built. Then nothing stays running.
    pub async fn start(config: ServerOptions) -> Result<Server, ServerError> {
        let budget = Budget::for_parts(
            config.memory.budget,
            config.transfer.part_size,
            config.memory.hold,
        );
        let cleanups = TaskTracker::new();
        let stop = CancellationToken::new();
        // An early return ends what has been started.
        let guard = stop.clone().drop_guard();

        let replica = Replica::new(config.replica.clone(), config.resume.refresh);
        let names = NameLocks::new(config.timeouts.same_name);
        let store_context = StoreContext {
            budget: budget.clone(),
            cleanups: cleanups.clone(),
            transfer: config.transfer.clone(),
            replica: replica.clone(),
            names: names.clone(),
        };
        let mut stores = BTreeMap::new();
        for (name, store) in &config.stores {
            let store = Store::new(store, store_context.clone())
                .await
                .map_err(|error| ServerError::Store {
                    name: name.clone(),
                    reason: error.to_string(),
                })?;
            stores.insert(name.clone(), store);
        }

        let tls = match &config.tls {
            Some(tls) => Some(Arc::new(Tls::load(tls)?)),
            None => None,
        };
        let proxies = Proxies::new(&config.proxy_protocol);
        let policy = ProxyPolicy {
            proxies: proxies.clone(),
            waiting: config.limits.transfers(),
        };
        // Bind the configured ports before the system chooses any (`passive.ports = "auto"`), since
        // it could choose one of these.
        let mut controls = Vec::with_capacity(config.listen.len());
        for wanted in &config.listen {
            let address = wanted.address;
            let bind = |source| ServerError::Bind { address, source };
            let listener = match listen(address) {
                Err(error) if is_spare(&config, address) && no_such_family(&error) => {
                    tracing::warn!(%address, %error, "this host has no such addresses; only the others are listened on");
                    continue;
                }
                listener => listener.map_err(bind)?,
            };
            let bound = listener.local_addr().map_err(bind)?;
            controls.push((listener, bound, wanted));
        }
        let admin_listener = match &config.admin {
            Some(admin) => {
                let address = admin.listen;
                let bind = |source| ServerError::Bind { address, source };
                Some((TcpListener::bind(address).await.map_err(bind)?, address))
            }
            None => None,
        };
        if let (true, Some(wanted)) = (controls.is_empty(), config.listen.first()) {
            let source = io::ErrorKind::AddrNotAvailable.into();
            let address = wanted.address;
            return Err(ServerError::Bind { address, source });
        }
        let mut listeners = Vec::with_capacity(controls.len());
        let mut pools: HashMap<IpAddr, Arc<PassivePool>> = HashMap::new();
        for (listener, bound, wanted) in controls {
            let address = config.passive_address(wanted.address.ip());
            let pool = match pools.get(&address) {
                Some(pool) => pool.clone(),
                None => {
                    let pool = PassivePool::bind(
                        address,
                        config.passive.ports,
                        policy.clone(),
                        stop.clone(),
                    )
                    .await
                    .map_err(|source| ServerError::Passive { address, source })?;
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
        let (ready, is_ready) = watch::channel(true);
        let sessions = TaskTracker::new();
        let gauges = Gauges {
            sessions: sessions.clone(),
            budget: budget.clone(),
            replica: Arc::clone(&replica),
        };
        let admin = match admin_listener {
            Some((listener, address)) => Some(
                Admin::start(listener, is_ready, gauges, stop.clone())
                    .map_err(|source| ServerError::Bind { address, source })?,
            ),
            None => None,
        };

        let context = Arc::new(ServerContext {
            tls: tls.clone(),
            authenticator: Authenticator::new(&config.users, budget.clone()),
            failures: Failures::new(config.login_failures.clone()),
            sessions: Arc::new(SessionLimiter::new(config.limits.clone())),
            user_sessions: Arc::new(UserLimiter::new(config.limits.sessions_per_user)),
            advertise: Advertise::new(&config.passive),
            stores,
            budget,
            replica,
            reported: session::ReportedUploads::default(),
            broken: Arc::default(),
            lingering: Lingering::up_to(config.limits.transfers(), config.timeouts.data_stall),
            drain: CancellationToken::new(),
            cut: CancellationToken::new(),
            options: config.session(),
        });
        let targets = Targets::of(&config, &context.stores);
        let sweeps = TaskTracker::new();
        sweeps.spawn(targets.run(config.resume.clone(), context.drain.clone()));
        if let Some(tls) = tls {
            sweeps.spawn(tls.follow(context.drain.clone()));
        }
        sweeps.close();
        let accepts = TaskTracker::new();
        let admission = Arc::new(ConnectionAdmission::new(proxies));
        let control_addresses = listeners.iter().map(|(_, bound, _)| *bound).collect();
        for (listener, bound, shared) in listeners {
            tracing::info!(implicit_tls = shared.implicit, address = %bound, "listening");
            accepts.spawn(accept(
                listener,
                shared,
                context.clone(),
                sessions.clone(),
                admission.clone(),
            ));
        }
        guard.disarm();
        Ok(Server {
            context,
            names,
            control_addresses,
            admin,
            ready,
            sessions,
            accepts,
            sweeps,
            cleanups,
            stop,
            pools: pools.into_values().collect(),
        })
    }

    /// The bound control addresses, in the configuration's order.
    pub fn control_addresses(&self) -> &[SocketAddr] {
        &self.control_addresses
    }

    /// The bound address of the health endpoints.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    /// The memory budget: for tests and metrics.
    pub fn budget(&self) -> &Budget {
        &self.context.budget
    }

    /// The object names that are being written: for tests and metrics.
    pub fn names(&self) -> &NameLocks {
        &self.names
    }

    /// Sessions open now.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Reads the files of the certificates if they have changed (SIGHUP).
    pub fn reload(&self) {
        if let Some(tls) = &self.context.tls {
            tls.look();
        }
    }

    /// Uploads that have started and still have work in the store: for tests and metrics.
    pub fn uploads(&self) -> usize {
        self.context.replica.running.count()
    }

    /// Stops: takes no new sessions, idle ones get a 421, and running transfers are cut after the
    /// grace period. Returns when everything has ended, also the clean-up in the store.
    pub async fn stop(self) {
        tracing::info!(sessions = self.sessions.len(), "draining");
        let grace = Instant::now() + self.context.options.timeouts.shutdown_grace;
        let _ = self.ready.send(false);
        self.context.drain.cancel();
        self.accepts.close();
        self.accepts.wait().await;
        self.sessions.close();
        let in_time = timeout_at(grace, self.sessions.wait()).await.is_ok();
        let end = Instant::now() + CLEANUP_DEADLINE;
        if !in_time {
            tracing::warn!(
                sessions = self.sessions.len(),
                "the grace period is over: transfers are cut"
            );
            self.context.cut.cancel();
            if timeout_at(end - CLEANUP_LEAST, self.sessions.wait())
                .await
                .is_err()
            {
                tracing::error!(
                    sessions = self.sessions.len(),
                    "sessions have not ended, they are not waited for"
                );
            }
        }
        self.sweeps.wait().await;
        // A client with its 226 may not have read the whole file yet. It has the rest of the grace
        // period.
        let left = grace.saturating_duration_since(Instant::now());
        let lingering = &self.context.lingering;
        lingering.drained(left.max(LAST_LIMIT)).await;
        self.cleanups.close();
        if timeout_at(end, self.cleanups.wait()).await.is_err() {
            tracing::error!(
                left = self.cleanups.len(),
                "clean-up in the store has not ended; open multipart uploads may be left"
            );
        }
        self.stop.cancel();
        // Their ports are free when this returns.
        for pool in &self.pools {
            pool.closed().await;
        }
        if let Some(admin) = self.admin {
            // It ends with the token, and a panic in it has been logged.
            let _ = admin.task.await;
        }
        tracing::info!("stopped");
    }
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

/// A listening socket. An IPv6 one accepts only IPv6, so that `0.0.0.0` and `[::]` can coexist.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Listener>,
    context: Arc<ServerContext>,
    sessions: TaskTracker,
    admission: Arc<ConnectionAdmission>,
) {
    let drain = context.drain.clone();
    loop {
        let accepted = tokio::select! {
            () = drain.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::error!(%error, "accept failed");
                tokio::select! {
                    () = drain.cancelled() => return,
                    () = tokio::time::sleep(ACCEPT_PAUSE) => continue,
                }
            }
        };
        match admission.enter(&context, peer) {
            Ok(mut permit) => {
                let (context, shared) = (context.clone(), shared.clone());
                let admission = admission.clone();
                sessions.spawn(async move {
                    let admitted =
                        admit(&mut permit, &admission, &context, &shared, stream, peer).await;
                    if let Some((stream, addrs)) = admitted {
                        // Made here, since a future that is passed in takes its memory twice.
                        let served = session::serve(context, shared, stream, addrs, permit).await;
                        if let Err(refused) = served {
                            admission.refused(addrs.peer, refused);
                        }
                    }
                });
            }
            Err(refused) => {
                admission.refused(peer, refused);
                let implicit = shared.implicit;
                sessions.spawn(refuse(stream, implicit, refused));
            }
        }
    }
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
