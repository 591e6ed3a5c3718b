//! `Status`: what the status page shows and may change.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::extract::State;
use secrecy::SecretString;
use tokio::time::Instant;

use crate::object::Replica;
use crate::server::admin::permits::PagePermits;
use crate::server::admin::recent::RecentEvents;
use crate::server::admin::token::AdminToken;
use crate::server::options::ServerOptions;
use crate::server::store_watch::StoreWatch;
use crate::session::ServerContext;

/// Reads and changes which lines the log has, while the server runs.
pub trait LogSwitch: fmt::Debug + Send + Sync {
    /// The filter, as it is written.
    fn filter(&self) -> String;

    /// Sets it.
    ///
    /// # Errors
    /// What is wrong with the text.
    fn set_filter(&self, filter: &str) -> Result<(), String>;

    /// The number of lines that were lost, since the log could not be written. It grows.
    fn lost_lines(&self) -> Arc<AtomicU64>;
}

/// What the reader of a page may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    /// No token is configured: nothing can be changed.
    ReadOnly,
    /// The token was not entered.
    LoggedOut,
    /// The token was entered.
    LoggedIn,
}

/// The status, as handlers get it.
pub(super) type SharedStatus = State<Arc<Status>>;

/// What the page is made from.
#[derive(Debug)]
pub(in crate::server) struct Status {
    /// The sessions, bans, certificates and memory.
    pub(super) context: Arc<ServerContext>,
    /// The last transfers and failures.
    pub(super) recent: Arc<RecentEvents>,
    /// What is known of the stores.
    pub(super) stores: Arc<StoreWatch>,
    /// What changes are allowed with; `None`: none are.
    pub(super) token: Option<AdminToken>,
    /// Which lines the log has, if that can be changed.
    pub(super) log: Option<Arc<dyn LogSwitch>>,
    /// The process among its replicas.
    pub(super) replica: Arc<Replica>,
    /// When the server began.
    pub(super) started: Instant,
    /// Bounds the pages that are sent at the same time.
    pub(super) pages: Arc<PagePermits>,
}

impl Status {
    /// The status of a server that begins.
    ///
    /// # Errors
    /// The system has no random numbers, which `admin.token` needs.
    pub(in crate::server) fn new(
        options: &ServerOptions,
        context: Arc<ServerContext>,
        replica: Arc<Replica>,
        stores: Arc<StoreWatch>,
        recent: Arc<RecentEvents>,
        log: Option<Arc<dyn LogSwitch>>,
    ) -> Result<Status, getrandom::Error> {
        let started = Instant::now();
        let token = options.admin.as_ref().and_then(|admin| admin.token.clone());
        Ok(Status {
            context,
            recent,
            stores,
            token: token
                .map(|token| AdminToken::new(token, started))
                .transpose()?,
            log,
            replica,
            started,
            pages: Arc::default(),
        })
    }

    /// The token that counts from now on, if there was one before.
    pub(in crate::server) fn replace_token(&self, token: &SecretString) {
        if let Some(own) = &self.token {
            own.replace(token);
        }
    }

    /// The hash of the configuration.
    pub(super) fn configuration(&self) -> String {
        self.context.newest.get().hash.clone()
    }

    /// The endpoint of a store, without credentials; AWS has none.
    pub(super) fn endpoint(&self, store: &str) -> Option<String> {
        let newest = self.context.newest.get();
        newest.stores.get(store)?.options().endpoint.clone()
    }
}
