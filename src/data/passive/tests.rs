#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Mutex;

use futures::poll;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::Instant;

use super::acceptor::{Accept, FIRST_PAUSE};
use super::*;
use crate::events::Events;
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
        no_balancers(),
        CancellationToken::new(),
        quarantine,
        RETRY,
    )
    .unwrap()
}

/// No load balancer.
fn no_balancers() -> AcceptPolicy {
    policy_for("[]")
}

fn policy_for(networks: &str) -> AcceptPolicy {
    let networks = networks.trim_matches(['[', ']']).split(',');
    AcceptPolicy {
        events: Events::none(),
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

/// Checks that the bytes of `client` arrive at the reservation.
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
    // As a control connection on a dual-stack socket reports it.
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
    // The pair is free only because the early connection has been passed on.
    let mut second = reserve(&pool, CLIENT).await;
    let late = connect(CLIENT, second.port()).await.unwrap();
    let mut kept = first.connection(Duration::ZERO).await.unwrap();
    assert_eq!(kept.peer_addr().unwrap(), early.local_addr().unwrap());
    drop(early);
    assert_eq!(kept.read(&mut [0]).await.unwrap(), 0);
    assert_reaches(late, &mut second).await;
    // There is one connection for each reservation.
    let again = first.connection(DEADLINE).await;
    assert!(matches!(again, Err(DataError::Connect(_))), "{again:?}");
}

#[tokio::test]
async fn without_a_client_the_wait_times_out_and_can_be_repeated() {
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
    // Another session's pair is not affected.
    let other = reserve(&pool, STRANGER).await;
    let mut next = reserve(&pool, CLIENT).await;
    assert!(dropped.elapsed() >= rest);
    let client = connect(CLIENT, port).await.unwrap();
    assert_reaches(client, &mut next).await;
    drop(other);
}

#[tokio::test]
async fn a_late_connection_reaches_no_session() {
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
        // The pair belongs to the waiter, which is dropped before it notices.
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
    // An outgoing connection of another program, whose local port is in the range.
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
        match PassivePool::bind_with(CLIENT, ports, no_balancers(), stop, HOUR, retry) {
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
    // Connections that were not accepted are reset with their listener, so the port is free at
    // once.
    drop(far);
    drop(outgoing);
    let mut second = timeout(DEADLINE, waiting).await.unwrap().unwrap();
    assert_eq!(second.port(), busy);
    assert_reaches(connect(CLIENT, busy).await.unwrap(), &mut second).await;
}

#[tokio::test]
async fn stop_closes_the_ports_and_ends_waiting_calls() {
    let stop = CancellationToken::new();
    let pool = PassivePool::bind(
        CLIENT,
        PassivePorts::Ephemeral(2),
        no_balancers(),
        stop.clone(),
    )
    .await;
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

/// Returns the given connections, then none.
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
    let acceptor = Arc::new(DataAcceptor::new(&table, no_balancers(), &tasks, &stop));
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
async fn the_header_of_a_load_balancer_names_the_client() {
    let ports = PassivePorts::Ephemeral(1);
    let stop = CancellationToken::new();
    let pool = PassivePool::bind_with(CLIENT, ports, policy_for("127.0.0.1/32"), stop, HOUR, HOUR)
        .unwrap();
    let mut reservation = reserve(&pool, "192.0.2.7".parse().unwrap()).await;
    // Two that never send a header delay no other; the third, which exceeds the limit, is closed.
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
    // Without a header, as if there were no load balancer.
    let mut own = reserve(&pool, STRANGER).await;
    let client = connect(STRANGER, own.port()).await.unwrap();
    assert_reaches(client, &mut own).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let other = TcpListener::bind((CLIENT, 0)).await.unwrap();
    let port = other.local_addr().unwrap().port();
    let ports = PassivePorts::Range(port, port);
    let error = PassivePool::bind(CLIENT, ports, no_balancers(), CancellationToken::new()).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&port.to_string()), "{error}");
    for none in [
        PassivePorts::Range(5001, 5000),
        PassivePorts::Range(0, 5),
        PassivePorts::Ephemeral(0),
    ] {
        let error = PassivePool::bind(CLIENT, none, no_balancers(), CancellationToken::new()).await;
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
            let bind = PassivePool::bind(
                six,
                PassivePorts::Ephemeral(1),
                no_balancers(),
                stop.clone(),
            )
            .await;
            let Ok(pool) = bind else {
                return; // A machine without IPv6.
            };
            let port = pool.ports()[0];
            let ports = PassivePorts::Range(port, port);
            if let Ok(four) =
                PassivePool::bind(any, ports, no_balancers(), stop.child_token()).await
            {
                break 'found (four, port);
            }
        }
        panic!("no port free in both families");
    };
    // The side that closes first keeps the connection in TIME_WAIT.
    let mut reservation = reserve(&pool, CLIENT).await;
    let client = connect(CLIENT, port).await.unwrap();
    drop(reservation.connection(DEADLINE).await.unwrap());
    assert_closed(client).await;
    stop.cancel();
    timeout(DEADLINE, pool.closed()).await.unwrap();
    let again = PassivePool::bind(
        any,
        PassivePorts::Range(port, port),
        no_balancers(),
        CancellationToken::new(),
    );
    assert_eq!(again.await.unwrap().ports(), [port]);
}
