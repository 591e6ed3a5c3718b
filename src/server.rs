//! Listeners, accept, limits, drain.
//!
//! Each control listener has an accept task. Each accepted connection becomes a session task, and
//! one tracker owns them all. [`Server::start`] binds everything or fails, and accepts.
//! [`Server::stop`] drains: it takes no new sessions, and idle ones get a 421. Running transfers
//! have the grace period, also finished downloads that clients have not read yet; then they are
//! cut. Last, the server waits for the clean-up in the store. Passive ports accept until the last
//! session has ended.

pub mod admin;
mod admission;
pub mod builder;
pub mod capacity;
pub mod health;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod in_memory;
pub mod inputs;
pub mod options;
pub mod reload;
mod scrape;
pub mod store_use;
pub mod store_watch;
pub mod sweeper;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::data::linger::LAST_LIMIT;
use crate::data::passive::PassivePool;
use crate::events::metrics::Metrics;
use crate::hooks::EventHooks;
use crate::memory::Budget;
use crate::object::NameLocks;
use crate::server::health::Admin;
use crate::server::store_watch::{RequiredStoreError, StoreState, StoreWatch};
use crate::session::{self, Listener, ServerContext};
use crate::tls::MaterialError;

use admission::{ConnectionAdmission, admit, refuse};

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
    store_watch: Arc<StoreWatch>,
    ready: watch::Sender<bool>,
    sessions: TaskTracker,
    accepts: TaskTracker,
    sweeps: TaskTracker,
    cleanups: TaskTracker,
    admission: Arc<ConnectionAdmission>,
    /// Asks for a reload.
    reload: Arc<Notify>,
    hooks: EventHooks,
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
    /// The system has no random numbers, which `admin.token` needs.
    #[error("no random numbers for the admin port: {0}")]
    Random(getrandom::Error),
    /// A store's client can't be built.
    #[error("store {name}: {reason}")]
    Store {
        /// The store's name in the configuration.
        name: String,
        /// The reason.
        reason: String,
    },
    /// A required store can't be used.
    #[error(transparent)]
    RequiredStore(#[from] RequiredStoreError),
    /// A hook can't be called.
    #[error("{name}: {reason}")]
    Hook {
        /// Its section of the configuration.
        name: String,
        /// The reason.
        reason: String,
    },
}

impl Server {
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

    /// What is known of the stores: for tests and metrics.
    pub fn stores(&self) -> Vec<StoreState> {
        self.store_watch.states()
    }

    /// What is counted, for tests.
    pub fn metrics(&self) -> &Metrics {
        &self.context.metrics
    }

    /// Sessions open now.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Reads the configuration, and the files of the certificates if they have changed (SIGHUP).
    pub fn reload(&self) {
        self.reload.notify_one();
        if let Some(tls) = &self.context.tls {
            tls.look();
        }
    }

    /// Uploads that have started and still have work in the store: for tests and metrics.
    pub fn uploads(&self) -> usize {
        self.context.active_uploads.count()
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
        self.admission.report_held();
        // All that is to happen has happened.
        self.hooks.stop().await;
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

/// Accepts connections until the drain; each becomes a session task.
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
