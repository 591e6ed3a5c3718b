//! A server without a network, for fuzz targets and property tests: sessions run over pipes, and
//! the stores are reached through an HTTP client of the caller's. Built with the feature `fuzzing`
//! only; `test-support` has what stands on both sides of it.
//!
//! Passive ports are bound, on loopback, so that PASV gets its usual reply.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use aws_sdk_s3::config::SharedHttpClient;
use tokio::io::DuplexStream;
use tokio_util::sync::DropGuard;

use crate::events::EventSink;
use crate::net::proxy::ConnectionAddrs;
use crate::server::ServerError;
use crate::server::builder::Builder;
use crate::server::options::ServerOptions;
use crate::session::{self, Listener, ServerContext};
use crate::tls::options::Protection;

/// A server without control listeners. Its end closes the passive ports.
#[derive(Debug)]
pub struct InMemoryServer {
    context: Arc<ServerContext>,
    listener: Arc<Listener>,
    _guard: DropGuard,
}

impl InMemoryServer {
    /// Builds what sessions share, as [`Server::start`](crate::server::Server::start) does. `http`
    /// reaches all stores. Must be called on a runtime.
    ///
    /// # Errors
    /// A store's client can't be built, or the passive ports can't be bound.
    pub async fn start(
        options: ServerOptions,
        http: SharedHttpClient,
        sinks: Vec<Arc<dyn EventSink>>,
    ) -> Result<InMemoryServer, ServerError> {
        let builder = Builder::over(options, http, sinks).await?;
        let passive = builder
            .passive_pool(IpAddr::V4(Ipv4Addr::LOCALHOST))
            .await?;
        Ok(InMemoryServer {
            context: Arc::new(builder.context()),
            listener: Arc::new(Listener {
                passive,
                implicit: false,
                control: Protection::Off,
                data: Protection::Off,
            }),
            _guard: builder.into_guard(),
        })
    }

    /// Serves one control connection, a pipe, until it ends. The session takes `addrs` for its
    /// addresses.
    pub async fn serve(&self, pipe: DuplexStream, addrs: ConnectionAddrs) {
        let (context, listener) = (Arc::clone(&self.context), Arc::clone(&self.listener));
        session::serve_in_memory(context, listener, pipe, addrs).await;
    }

    /// What its sessions share.
    pub fn context(&self) -> &ServerContext {
        &self.context
    }
}
