//! Passes a connection to a passive port to the reservation of its client, or closes it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::data::passive::port_table::PortTable;
use crate::data::passive::strangers::Strangers;
use crate::events::Events;
use crate::net::proxy::Proxies;

/// Pause after a first failed accept; doubled with each further failure in a row.
pub(super) const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest pause between failing accepts.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Whose connections to the passive ports are accepted, and the stream that gets the others.
#[derive(Debug, Clone)]
pub struct AcceptPolicy {
    /// Gets an event of a connection from another address.
    pub events: Events,
    /// The networks of load balancers.
    pub proxies: Proxies,
    /// The limit of connections that wait for their header.
    pub waiting: usize,
}

/// Passes connections to the reservations that wait for them.
#[derive(Debug)]
pub(super) struct DataAcceptor {
    table: Arc<PortTable>,
    strangers: Strangers,
    proxies: Proxies,
    /// A permit for each connection whose header has not been read.
    waiting: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl DataAcceptor {
    pub(super) fn new(
        table: &Arc<PortTable>,
        policy: AcceptPolicy,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let waiting = policy.waiting.min(Semaphore::MAX_PERMITS);
        DataAcceptor {
            table: Arc::clone(table),
            strangers: Strangers::new(policy.events),
            proxies: policy.proxies,
            waiting: Arc::new(Semaphore::new(waiting)),
            tasks: tasks.clone(),
            stop: stop.clone(),
        }
    }

    /// Passes a connection to its reservation: at once, or when its header has been read.
    fn take(self: &Arc<Self>, port: u16, from: SocketAddr, mut stream: TcpStream) {
        if !self.proxies.include(from.ip()) {
            return self.deliver(port, from, stream);
        }
        let Ok(permit) = Arc::clone(&self.waiting).try_acquire_owned() else {
            tracing::warn!(port, %from, "data connection closed: too many wait for their PROXY header");
            return;
        };
        let acceptor = Arc::clone(self);
        self.tasks.spawn(async move {
            let reading = acceptor.proxies.addrs(&mut stream, from);
            match acceptor.stop.run_until_cancelled(reading).await {
                Some(Ok(addrs)) => acceptor.deliver(port, addrs.peer, stream),
                Some(Err(error)) => tracing::warn!(port, %from, %error, "data connection closed"),
                None => {}
            }
            drop(permit);
        });
    }

    fn deliver(&self, port: u16, from: SocketAddr, stream: TcpStream) {
        if let Err(stranger) = self.table.deliver(port, from.ip().to_canonical(), stream) {
            drop(stranger);
            match self.table.expected(port) {
                Some(expected) => self.strangers.came(expected, from, port),
                None => {
                    tracing::debug!(port, %from, "data connection closed: no session waits for it");
                }
            }
        }
    }
}

/// The source of connections: a listener, or that of a test.
pub(super) trait Accept {
    fn next(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Accept for TcpListener {
    async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept().await
    }
}

/// Accepts connections without end.
pub(super) async fn accept_all(listener: impl Accept, port: u16, acceptor: &Arc<DataAcceptor>) {
    let mut pause = FIRST_PAUSE;
    loop {
        match listener.next().await {
            Ok((stream, from)) => {
                pause = FIRST_PAUSE;
                acceptor.take(port, from, stream);
            }
            // The client was gone before the accept: this is not a failure, and a pause would let
            // such clients slow down others.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            // Out of file descriptors or memory: that passes. The connection stays in the backlog.
            Err(error) => {
                tracing::warn!(port, %error, "can't accept a data connection, trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}
