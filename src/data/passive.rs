//! Passive mode: shared listeners; a pair of port and peer address belongs to one waiting PASV.
//!
//! All ports are bound once, at start, so a handful of them serves thousands of sessions: what
//! tells two sessions on one port apart is where their clients come from. A session
//! [reserves](PassivePool::reserve) a port for its client's address, tells the client, and asks
//! the [`Reservation`] for the connection when it needs it. One task a port accepts; the table of
//! pairs (`port_table`) says whose a connection is:
//!
//! ```text
//! client ── connect ──▶ listener ─▶ accept task ─▶ PortTable ─▶ Reservation ─▶ session
//!                                        └─ nobody waits for it: closed
//! ```
//!
//! Clients connect as soon as they have the reply, long before STOR or RETR: the connection is
//! kept in the reservation until the session asks for it.
//!
//! Where the connection is a load balancer's, its client is known only when its PROXY header has been read ([`ProxyPolicy`]):
//! a task of its own does that, so that one without a header holds up nobody.

mod acceptor;
mod port_table;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::data::DataError;
use crate::data::options::PassivePorts;
pub use crate::data::passive::acceptor::ProxyPolicy;
use crate::data::passive::acceptor::{DataAcceptor, accept_all};
use crate::data::passive::port_table::{PortClaim, PortTable};

/// How long a pair rests after its reservation ended without a connection: a client that gives
/// up connects late, if at all, by less than this.
const QUARANTINE: Duration = Duration::from_secs(10);
/// Between two attempts to bind ports that another program holds.
const RETRY: Duration = Duration::from_secs(5);
/// Connections the kernel holds for the accept task, a port.
const BACKLOG: i32 = 1024;

/// The passive listeners on one local address.
#[derive(Debug)]
pub struct PassivePool {
    table: Arc<PortTable>,
    tasks: TaskTracker,
    /// Ends the tasks with the pool, also where nobody cancels `stop`.
    _stop: DropGuard,
}

/// A pair of port and peer address, held for one session.
///
/// It is held until the connection is there, however long that takes: the session drops it when
/// the client sends another PASV or is gone. Dropped without a connection, the pair rests 10 s.
#[derive(Debug)]
pub struct Reservation {
    claim: PortClaim,
    /// A pool lives as long as somebody waits on it.
    _pool: Arc<PassivePool>,
}

impl PassivePool {
    /// Binds the ports and starts to accept; ends with `stop`, which closes the listeners and fails waiting
    /// reservations. An IPv6 `address` takes IPv6 only. A port of a range that another program holds (an outgoing
    /// connection of any program may have it for its local one) is left out with a warning, and taken when it is free.
    ///
    /// # Errors
    ///
    /// What the system says of the first port that can't be bound for another reason, or of the last one if all are in
    /// use; no port stays bound then. `InvalidInput` for an empty range or port 0.
    pub async fn bind(
        address: IpAddr,
        ports: PassivePorts,
        policy: ProxyPolicy,
        stop: CancellationToken,
    ) -> io::Result<Arc<PassivePool>> {
        Self::bind_with(address, ports, policy, stop, QUARANTINE, RETRY)
    }

    /// As [`PassivePool::bind`], with the time that a pair rests, and that between two attempts to bind. Must be called
    /// on a runtime.
    fn bind_with(
        address: IpAddr,
        ports: PassivePorts,
        policy: ProxyPolicy,
        stop: CancellationToken,
        quarantine: Duration,
        retry: Duration,
    ) -> io::Result<Arc<PassivePool>> {
        let mut listeners = Vec::new();
        let mut busy = Vec::new();
        let mut in_use = None;
        for wanted in wanted_ports(ports)? {
            match listen(address, wanted) {
                Ok(listener) => listeners.push((listener.local_addr()?.port(), listener)),
                Err(error) if wanted != 0 && error.kind() == io::ErrorKind::AddrInUse => {
                    busy.push(wanted);
                    in_use = Some(named(wanted, &error));
                }
                Err(error) => return Err(named(wanted, &error)),
            }
        }
        if let Some(error) = in_use {
            if listeners.is_empty() {
                return Err(error);
            }
            tracing::warn!(%address, ports = ?busy,
                "passive ports that another program holds are left out until they are free");
        }
        let bound = listeners.iter().map(|(port, _)| *port).collect();
        let table = Arc::new(PortTable::new(bound, quarantine));
        let stop = stop.child_token();
        let tasks = TaskTracker::new();
        let acceptor = Arc::new(DataAcceptor::new(&table, policy, &tasks, &stop));
        let accept = {
            let (tasks, stop) = (tasks.clone(), stop.clone());
            move |port: u16, listener: TcpListener| {
                let (stop, acceptor) = (stop.clone(), Arc::clone(&acceptor));
                tasks.spawn(async move {
                    stop.run_until_cancelled(accept_all(listener, port, &acceptor))
                        .await;
                });
            }
        };
        for (port, listener) in listeners {
            accept(port, listener);
        }
        if !busy.is_empty() {
            let (stop, table) = (stop.clone(), Arc::clone(&table));
            tasks.spawn(async move {
                stop.run_until_cancelled(take_when_free(address, busy, retry, |port, listener| {
                    accept(port, listener);
                    table.add_port(port);
                }))
                .await;
            });
        }
        tasks.spawn({
            let (stop, table) = (stop.clone(), Arc::clone(&table));
            async move {
                stop.run_until_cancelled(table.release_rested()).await;
                table.close();
            }
        });
        tasks.close();
        Ok(Arc::new(PassivePool {
            table,
            tasks,
            _stop: stop.drop_guard(),
        }))
    }

    /// The bound ports, as configured; where the system chose them, in the order it gave them. Ports that were in use at
    /// the start come last, once they are bound.
    pub fn ports(&self) -> Vec<u16> {
        self.table.ports()
    }

    /// Returns when `stop` has taken effect: every listener is closed, no task is left.
    pub async fn closed(&self) {
        self.tasks.wait().await;
    }

    /// A port for a connection from `peer`; waits up to `wait` where all pairs of the peer are taken, then `None`.
    ///
    /// Those who wait are served in their order. Also `None` when the pool has been stopped.
    pub async fn reserve(self: &Arc<Self>, peer: IpAddr, wait: Duration) -> Option<Reservation> {
        let claim = self.table.claim(peer.to_canonical(), wait).await?;
        Some(Reservation {
            claim,
            _pool: Arc::clone(self),
        })
    }
}

impl Reservation {
    /// The port to tell the client.
    pub fn port(&self) -> u16 {
        self.claim.port()
    }

    /// Whether the client has connected, whether or not [`connection`](Self::connection) has been asked for it.
    pub fn connected(&self) -> bool {
        self.claim.connected()
    }

    /// The client's connection, within `deadline`. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`DataError::Timeout`], after which one may ask again; [`DataError::Connect`] when the pool
    /// has been stopped, or the connection was taken before.
    pub async fn connection(&mut self, deadline: Duration) -> Result<TcpStream, DataError> {
        timeout(deadline, self.arrival())
            .await
            .map_err(|_| DataError::Timeout)?
    }

    /// As [`connection`](Self::connection); the caller owns the deadline.
    ///
    /// # Errors
    ///
    /// [`DataError::Connect`], as there.
    pub async fn arrival(&mut self) -> Result<TcpStream, DataError> {
        self.claim.arrival().await.ok_or_else(|| {
            DataError::Connect(io::Error::new(
                io::ErrorKind::NotConnected,
                "the passive port is no longer open",
            ))
        })
    }
}

/// Binds ports that are in use, each as soon as it is free.
async fn take_when_free(
    address: IpAddr,
    mut busy: Vec<u16>,
    retry: Duration,
    bound: impl Fn(u16, TcpListener),
) {
    while !busy.is_empty() {
        tokio::time::sleep(retry).await;
        busy.retain(|&port| match listen(address, port) {
            Ok(listener) => {
                tracing::info!(%address, port, "a passive port is free now, it is used");
                bound(port, listener);
                false
            }
            Err(error) => {
                tracing::debug!(%address, port, %error, "a passive port is still in use");
                true
            }
        });
    }
}

/// The ports to bind; 0 where the system is to choose.
fn wanted_ports(ports: PassivePorts) -> io::Result<Vec<u16>> {
    let wanted: Vec<u16> = match ports {
        PassivePorts::Range(first, last) => (first..=last).collect(),
        PassivePorts::Ephemeral(count) => vec![0; usize::from(count)],
    };
    let zero = matches!(ports, PassivePorts::Range(0, _));
    if wanted.is_empty() || zero {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "no passive ports",
        ));
    }
    Ok(wanted)
}

fn listen(address: IpAddr, port: u16) -> io::Result<TcpListener> {
    let address = SocketAddr::new(address.to_canonical(), port);
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if port != 0 {
        // Data connections of the last run are in TIME_WAIT on these ports.
        socket.set_reuse_address(true)?;
    }
    // Accepted sockets inherit it, which saves the calls on each of them.
    socket.set_tcp_keepalive(&super::keepalive())?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// `error`, with the port in its text.
fn named(port: u16, error: &io::Error) -> io::Error {
    let which = match port {
        0 => "a passive port chosen by the system".to_owned(),
        port => format!("passive port {port}"),
    };
    io::Error::new(error.kind(), format!("{which}: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::collections::{BTreeSet, VecDeque};
    use std::net::Ipv4Addr;
    use std::pin::pin;
    use std::sync::Mutex;

    use futures::poll;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;
    use tokio::time::Instant;

    use super::acceptor::{Accept, FIRST_PAUSE};
    use super::*;
    use crate::net::proxy::Proxies;
    use crate::net::proxy::options::ProxyOptions;

    const DEADLINE: Duration = Duration::from_secs(20);
    const HOUR: Duration = Duration::from_secs(3600);
    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));
    const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

    fn pool(ports: u16, quarantine: Duration) -> Arc<PassivePool> {
        let ports = PassivePorts::Ephemeral(ports);
        PassivePool::bind_with(
            CLIENT,
            ports,
            nobody(),
            CancellationToken::new(),
            quarantine,
            RETRY,
        )
        .unwrap()
    }

    /// No load balancer.
    fn nobody() -> ProxyPolicy {
        policy_for("[]")
    }

    fn policy_for(networks: &str) -> ProxyPolicy {
        let networks = networks.trim_matches(['[', ']']).split(',');
        ProxyPolicy {
            proxies: Proxies::new(&ProxyOptions {
                networks: networks
                    .filter_map(|network| network.parse().ok())
                    .collect(),
                header_timeout: HOUR,
            }),
            waiting: 2,
        }
    }

    async fn reserve(pool: &Arc<PassivePool>, peer: IpAddr) -> Reservation {
        pool.reserve(peer, DEADLINE).await.expect("a free pair")
    }

    async fn connect(source: IpAddr, port: u16) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(source, 0)).unwrap();
        socket.connect(SocketAddr::new(CLIENT, port)).await
    }

    async fn assert_closed(mut stream: TcpStream) {
        let mut byte = [0];
        match timeout(DEADLINE, stream.read(&mut byte))
            .await
            .expect("to be closed")
        {
            Ok(0) => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            other => panic!("not closed: {other:?}"),
        }
    }

    /// Whether what `client` says arrives at the reservation.
    async fn assert_reaches(mut client: TcpStream, reservation: &mut Reservation) {
        let word = format!("from {}", client.local_addr().unwrap());
        client.write_all(word.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut stream = reservation.connection(DEADLINE).await.unwrap();
        let mut said = String::new();
        timeout(DEADLINE, stream.read_to_string(&mut said))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(said, word);
    }

    #[tokio::test]
    async fn a_stranger_is_closed_and_the_rightful_one_served() {
        let pool = pool(1, HOUR);
        let mut reservation = reserve(&pool, CLIENT).await;
        assert_closed(connect(STRANGER, reservation.port()).await.unwrap()).await;
        let rightful = connect(CLIENT, reservation.port()).await.unwrap();
        assert_reaches(rightful, &mut reservation).await;
    }

    #[tokio::test]
    async fn peers_share_a_port() {
        let pool = pool(1, HOUR);
        let mut one = reserve(&pool, CLIENT).await;
        // As a control connection on a dual-stack socket has it.
        let mut two = reserve(&pool, "::ffff:127.0.0.2".parse().unwrap()).await;
        assert_eq!(one.port(), two.port());
        let from_two = connect(STRANGER, two.port()).await.unwrap();
        let from_one = connect(CLIENT, one.port()).await.unwrap();
        assert_reaches(from_one, &mut one).await;
        assert_reaches(from_two, &mut two).await;
    }

    #[tokio::test]
    async fn an_early_connection_is_kept_and_its_pair_free_again() {
        let pool = pool(1, HOUR);
        let mut first = reserve(&pool, CLIENT).await;
        let early = connect(CLIENT, first.port()).await.unwrap();
        // The pair is to be had only because the early connection has been handed over.
        let mut second = reserve(&pool, CLIENT).await;
        let late = connect(CLIENT, second.port()).await.unwrap();
        let mut kept = first.connection(Duration::ZERO).await.unwrap();
        assert_eq!(kept.peer_addr().unwrap(), early.local_addr().unwrap());
        drop(early);
        assert_eq!(kept.read(&mut [0]).await.unwrap(), 0);
        assert_reaches(late, &mut second).await;
        // There is one connection a reservation.
        let again = first.connection(DEADLINE).await;
        assert!(matches!(again, Err(DataError::Connect(_))), "{again:?}");
    }

    #[tokio::test]
    async fn nobody_connecting_is_a_timeout_and_one_may_ask_again() {
        let pool = pool(1, HOUR);
        let mut reservation = reserve(&pool, CLIENT).await;
        let none = reservation.connection(Duration::from_millis(10)).await;
        assert!(matches!(none, Err(DataError::Timeout)), "{none:?}");
        let client = connect(CLIENT, reservation.port()).await.unwrap();
        assert_reaches(client, &mut reservation).await;
    }

    #[tokio::test]
    async fn a_pair_rests_after_a_reservation_without_connection() {
        let rest = Duration::from_millis(300);
        let pool = pool(1, rest);
        let reservation = reserve(&pool, CLIENT).await;
        let port = reservation.port();
        let dropped = Instant::now();
        drop(reservation);
        assert!(pool.reserve(CLIENT, Duration::ZERO).await.is_none());
        // Somebody else's pair is not concerned.
        let other = reserve(&pool, STRANGER).await;
        let mut next = reserve(&pool, CLIENT).await;
        assert!(dropped.elapsed() >= rest);
        let client = connect(CLIENT, port).await.unwrap();
        assert_reaches(client, &mut next).await;
        drop(other);
    }

    #[tokio::test]
    async fn a_late_connection_reaches_nobody() {
        let pool = pool(1, HOUR);
        let port = reserve(&pool, CLIENT).await.port();
        let mut waiting = pin!(pool.reserve(CLIENT, HOUR));
        assert!(poll!(waiting.as_mut()).is_pending());
        assert_closed(connect(CLIENT, port).await.unwrap()).await;
        assert!(poll!(waiting.as_mut()).is_pending());
        pool.table.release_until(Instant::now() + HOUR);
        let mut next = waiting.await.expect("the rest is over");
        let client = connect(CLIENT, port).await.unwrap();
        assert_reaches(client, &mut next).await;
    }

    #[tokio::test]
    async fn when_all_pairs_are_taken_one_waits_in_order_and_then_gets_none() {
        let pool = pool(2, HOUR);
        let mut held = reserve(&pool, CLIENT).await;
        let also_held = reserve(&pool, CLIENT).await;
        assert_ne!(held.port(), also_held.port());

        let began = Instant::now();
        let wait = Duration::from_millis(50);
        assert!(pool.reserve(CLIENT, wait).await.is_none());
        assert!(began.elapsed() >= wait);

        let mut first = pin!(pool.reserve(CLIENT, HOUR));
        let mut second = pin!(pool.reserve(CLIENT, HOUR));
        assert!(poll!(first.as_mut()).is_pending());
        assert!(poll!(second.as_mut()).is_pending());
        let client = connect(CLIENT, held.port()).await.unwrap();
        let first = timeout(DEADLINE, first).await.unwrap().expect("a pair");
        assert_eq!(first.port(), held.port());
        assert!(poll!(second.as_mut()).is_pending());
        assert_reaches(client, &mut held).await;
    }

    #[tokio::test]
    async fn a_waiter_that_gives_up_takes_nothing_with_it() {
        let pool = pool(1, HOUR);
        let mut held = reserve(&pool, CLIENT).await;
        {
            let mut waiting = Box::pin(pool.reserve(CLIENT, HOUR));
            assert!(poll!(waiting.as_mut()).is_pending());
            assert_eq!(pool.table.claiming(CLIENT), 1);
            let _client = connect(CLIENT, held.port()).await.unwrap();
            held.connection(DEADLINE).await.unwrap();
            // The pair is the waiter's now, who is gone before it knows.
        }
        assert_eq!(pool.table.counts(), (0, 0));
        assert!(pool.reserve(CLIENT, Duration::ZERO).await.is_some());
    }

    #[tokio::test]
    async fn ten_thousand_reservations_without_a_connection_leave_nothing() {
        let pool = pool(64, HOUR);
        let mut seen = BTreeSet::new();
        let mut refused = 0;
        while seen.len() < 64 || refused < 10_000 / 64 {
            match pool.reserve(CLIENT, Duration::ZERO).await {
                Some(reservation) => {
                    seen.insert(reservation.port());
                }
                None => {
                    refused += 1;
                    assert_eq!(pool.table.counts(), (1, 64));
                    assert_eq!(pool.table.release_until(Instant::now() + HOUR), None);
                    assert_eq!(pool.table.counts(), (0, 0));
                }
            }
        }
        assert_eq!(seen, pool.ports().into_iter().collect());
    }

    #[tokio::test]
    async fn rests_end_by_themselves() {
        let pool = pool(16, Duration::from_millis(1));
        for _ in 0..1000 {
            drop(reserve(&pool, CLIENT).await);
        }
        let mut all = Vec::new();
        for _ in 0..16 {
            all.push(reserve(&pool, CLIENT).await);
        }
        assert!(pool.reserve(CLIENT, Duration::ZERO).await.is_none());
    }

    #[tokio::test]
    async fn a_port_in_use_is_left_out_until_it_is_free() {
        // An outgoing connection of another program, whose local port lies in the range.
        let far = TcpListener::bind((CLIENT, 0)).await.unwrap();
        let far_port = far.local_addr().unwrap().port();
        let (pool, outgoing, busy) = loop {
            let outgoing = connect(CLIENT, far_port).await.unwrap();
            let busy = outgoing.local_addr().unwrap().port();
            let Some(next) = busy.checked_add(1) else {
                continue;
            };
            let ports = PassivePorts::Range(busy, next);
            let (stop, retry) = (CancellationToken::new(), Duration::from_millis(5));
            match PassivePool::bind_with(CLIENT, ports, nobody(), stop, HOUR, retry) {
                Ok(pool) => break (pool, outgoing, busy),
                // The next port is in use as well.
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::AddrInUse),
            }
        };
        assert_eq!(pool.ports(), [busy + 1]);
        let first = reserve(&pool, CLIENT).await;
        assert_eq!(first.port(), busy + 1);
        let mut waiting = pin!(pool.reserve(CLIENT, HOUR));
        assert!(poll!(waiting.as_mut()).is_pending());
        // Connections that nobody has accepted are reset with their listener, so the port is free at once.
        drop(far);
        drop(outgoing);
        let mut second = timeout(DEADLINE, waiting).await.unwrap().unwrap();
        assert_eq!(second.port(), busy);
        assert_reaches(connect(CLIENT, busy).await.unwrap(), &mut second).await;
    }

    #[tokio::test]
    async fn stop_closes_the_ports_and_ends_those_who_wait() {
        let stop = CancellationToken::new();
        let pool =
            PassivePool::bind(CLIENT, PassivePorts::Ephemeral(2), nobody(), stop.clone()).await;
        let pool = pool.unwrap();
        let mut held = reserve(&pool, CLIENT).await;
        let _also_held = reserve(&pool, CLIENT).await;
        let mut waiting = pin!(pool.reserve(CLIENT, HOUR));
        assert!(poll!(waiting.as_mut()).is_pending());

        stop.cancel();
        timeout(DEADLINE, pool.closed())
            .await
            .expect("the tasks end");
        assert!(timeout(DEADLINE, waiting).await.unwrap().is_none());
        for _ in 0..2 {
            let none = held.connection(DEADLINE).await;
            assert!(matches!(none, Err(DataError::Connect(_))), "{none:?}");
        }
        assert!(pool.reserve(CLIENT, DEADLINE).await.is_none());
        for port in pool.ports() {
            let refused = connect(CLIENT, port).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        }
        drop(held);
        assert_eq!(pool.table.counts(), (0, 0));
    }

    #[tokio::test]
    async fn a_dropped_pool_ends_with_its_last_reservation() {
        let pool = pool(1, HOUR);
        let tasks = pool.tasks.clone();
        let mut reservation = reserve(&pool, CLIENT).await;
        drop(pool);
        let client = connect(CLIENT, reservation.port()).await.unwrap();
        assert_reaches(client, &mut reservation).await;
        drop(reservation);
        timeout(DEADLINE, tasks.wait())
            .await
            .expect("the tasks end");
    }

    /// Accepts what it was given, then nothing.
    struct Script(Mutex<VecDeque<io::Result<(TcpStream, SocketAddr)>>>);

    impl Accept for Script {
        async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
            let next = self.0.lock().unwrap().pop_front();
            match next {
                Some(result) => result,
                None => std::future::pending().await,
            }
        }
    }

    #[tokio::test]
    async fn failing_accepts_are_paused_and_got_over() {
        const EMFILE: i32 = 24;
        let listener = TcpListener::bind((CLIENT, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = connect(CLIENT, port).await.unwrap();
        let gone = (0..1000).map(|_| Err(io::ErrorKind::ConnectionAborted.into()));
        let full = (0..3).map(|_| Err(io::Error::from_raw_os_error(EMFILE)));
        let script = gone.chain(full).chain([listener.accept().await]).collect();

        let table = Arc::new(PortTable::new(vec![port], HOUR));
        let mut claim = table.claim(CLIENT, DEADLINE).await.unwrap();
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let acceptor = Arc::new(DataAcceptor::new(&table, nobody(), &tasks, &stop));
        let began = Instant::now();
        let stream = tokio::select! {
            () = accept_all(Script(Mutex::new(script)), port, &acceptor) => unreachable!("it never ends"),
            stream = timeout(DEADLINE, claim.arrival()) => stream.unwrap().unwrap(),
        };
        assert_eq!(stream.peer_addr().unwrap(), client.local_addr().unwrap());
        assert!(began.elapsed() >= FIRST_PAUSE * (1 + 2 + 4));
        assert!(
            began.elapsed() < FIRST_PAUSE * 4000,
            "vanished clients were paused for"
        );
    }

    #[tokio::test]
    async fn behind_a_load_balancer_the_header_says_whose_a_connection_is() {
        let ports = PassivePorts::Ephemeral(1);
        let stop = CancellationToken::new();
        let pool =
            PassivePool::bind_with(CLIENT, ports, policy_for("127.0.0.1/32"), stop, HOUR, HOUR)
                .unwrap();
        let mut reservation = reserve(&pool, "192.0.2.7".parse().unwrap()).await;
        // Two that never send a header hold up nobody; the third, who could not be waited for, is closed.
        let _silent = [
            connect(CLIENT, reservation.port()).await.unwrap(),
            connect(CLIENT, reservation.port()).await.unwrap(),
        ];
        assert_closed(connect(CLIENT, reservation.port()).await.unwrap()).await;
        drop(_silent);
        for stranger in ["192.0.2.8", "127.0.0.1"] {
            let mut client = connect(CLIENT, reservation.port()).await.unwrap();
            let header = format!("PROXY TCP4 {stranger} 198.51.100.1 40000 20\r\n");
            let sent = client.write_all(header.as_bytes()).await;
            if sent.is_ok() {
                assert_closed(client).await;
            }
        }
        let mut client = connect(CLIENT, reservation.port()).await.unwrap();
        let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 20\r\n";
        client.write_all(header).await.unwrap();
        assert_reaches(client, &mut reservation).await;
        // Without a header, as from no load balancer.
        let mut own = reserve(&pool, STRANGER).await;
        let client = connect(STRANGER, own.port()).await.unwrap();
        assert_reaches(client, &mut own).await;
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named() {
        let other = TcpListener::bind((CLIENT, 0)).await.unwrap();
        let port = other.local_addr().unwrap().port();
        let ports = PassivePorts::Range(port, port);
        let error = PassivePool::bind(CLIENT, ports, nobody(), CancellationToken::new()).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&port.to_string()), "{error}");
        for none in [
            PassivePorts::Range(5001, 5000),
            PassivePorts::Range(0, 5),
            PassivePorts::Ephemeral(0),
        ] {
            let error = PassivePool::bind(CLIENT, none, nobody(), CancellationToken::new()).await;
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[tokio::test]
    async fn both_families_have_the_same_port_and_a_restart_gets_it_back() {
        let any: IpAddr = Ipv4Addr::UNSPECIFIED.into();
        let six: IpAddr = std::net::Ipv6Addr::UNSPECIFIED.into();
        let stop = CancellationToken::new();
        // Another process may take a port between two binds: try some.
        let (pool, port) = 'found: {
            for _ in 0..20 {
                let bind =
                    PassivePool::bind(six, PassivePorts::Ephemeral(1), nobody(), stop.clone())
                        .await;
                let Ok(pool) = bind else {
                    return; // A machine without IPv6.
                };
                let port = pool.ports()[0];
                let ports = PassivePorts::Range(port, port);
                if let Ok(four) = PassivePool::bind(any, ports, nobody(), stop.child_token()).await
                {
                    break 'found (four, port);
                }
            }
            panic!("no port free in both families");
        };
        // The side that closes first has the connection in TIME_WAIT.
        let mut reservation = reserve(&pool, CLIENT).await;
        let client = connect(CLIENT, port).await.unwrap();
        drop(reservation.connection(DEADLINE).await.unwrap());
        assert_closed(client).await;
        stop.cancel();
        timeout(DEADLINE, pool.closed()).await.unwrap();
        let again = PassivePool::bind(
            any,
            PassivePorts::Range(port, port),
            nobody(),
            CancellationToken::new(),
        );
        assert_eq!(again.await.unwrap().ports(), [port]);
    }
}
