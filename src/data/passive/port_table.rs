//! The table of pairs: which port waits for which peer address, and for which reservation.
//!
//! A pair is free (not in the table), waiting (a claim holds it), or resting (its claim ended
//! without a connection; a late one must not reach the next claim of that address). Each peer has
//! as many permits as there are ports, and a pair in the table holds one of them: so claims queue
//! at a semaphore, first come first served, and the release of a pair wakes the next. A peer is in
//! the table only while it has pairs or claims, so memory follows current use.
//!
//! The lock is held for a look-up, never across an await, and no socket is closed under it.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

/// All pairs of a pool's ports and the peers that use them.
#[derive(Debug)]
pub(super) struct PortTable {
    quarantine: Duration,
    state: Mutex<TableState>,
    /// Notified when a pair begins to rest while no other rests.
    resting: Notify,
}

#[derive(Debug, Default)]
struct TableState {
    closed: bool,
    /// The bound ports.
    ports: Vec<u16>,
    peers: HashMap<IpAddr, Peer>,
    /// Pairs that rest, the first to be freed in front: all rest for the same time.
    resting: VecDeque<Rest>,
    /// Distinguishes a claim from an older one of the same pair.
    last_claim: u64,
}

#[derive(Debug)]
struct Peer {
    free: Arc<Semaphore>,
    /// Claims in progress: they hold the semaphore above.
    claiming: usize,
    pairs: HashMap<u16, Pair>,
}

#[derive(Debug)]
struct Pair {
    claim: u64,
    /// The receiver of the connection; `None` while the pair rests.
    to: Option<oneshot::Sender<TcpStream>>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct Rest {
    until: Instant,
    peer: IpAddr,
    port: u16,
}

/// How the ports of a pool are used. A pair is a port and a client's address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortUsage {
    /// Bound ports.
    pub ports: usize,
    /// Pairs that are reserved and wait for their connection.
    pub waiting: usize,
    /// Pairs that rest after a reservation without a connection.
    pub resting: usize,
    /// Sessions that wait for a pair, since all of their client's are taken.
    pub queued: usize,
}

/// A pair held by one reservation. If it is dropped before a connection has arrived, the pair
/// rests.
#[derive(Debug)]
pub(super) struct PortClaim {
    table: Arc<PortTable>,
    peer: IpAddr,
    port: u16,
    id: u64,
    /// `None` once the connection has been taken.
    arrival: Option<oneshot::Receiver<TcpStream>>,
}

impl PortTable {
    pub(super) fn new(ports: Vec<u16>, quarantine: Duration) -> Self {
        let state = TableState {
            ports,
            ..TableState::default()
        };
        PortTable {
            quarantine,
            state: Mutex::new(state),
            resting: Notify::new(),
        }
    }

    pub(super) fn ports(&self) -> Vec<u16> {
        self.lock().ports.clone()
    }

    /// One more port is bound: each peer has one more pair.
    pub(super) fn add_port(&self, port: u16) {
        let mut state = self.lock();
        state.ports.push(port);
        for peer in state.peers.values() {
            peer.free.add_permits(1);
        }
    }

    /// Waits up to `wait` for a free pair of `peer`.
    pub(super) async fn claim(self: &Arc<Self>, peer: IpAddr, wait: Duration) -> Option<PortClaim> {
        let claiming = PendingClaim::begin(self, peer)?;
        let permit = Arc::clone(&claiming.free).acquire_owned();
        let permit = timeout(wait, permit).await.ok()?.ok()?;
        self.take(peer, permit)
    }

    /// Puts a pair into the table. The permit proves that one is free.
    fn take(self: &Arc<Self>, peer: IpAddr, permit: OwnedSemaphorePermit) -> Option<PortClaim> {
        let random = random();
        let (to, arrival) = oneshot::channel();
        let mut state = self.lock();
        let id = state.last_claim + 1;
        state.last_claim = id;
        let TableState { ports, peers, .. } = &mut *state;
        let pairs = &mut peers.get_mut(&peer)?.pairs;
        let (before, after) = ports.split_at(random.checked_rem(ports.len())?);
        let mut candidates = after.iter().chain(before);
        let port = *candidates.find(|port| !pairs.contains_key(port))?;
        pairs.insert(
            port,
            Pair {
                claim: id,
                to: Some(to),
                _permit: permit,
            },
        );
        Some(PortClaim {
            table: Arc::clone(self),
            peer,
            port,
            id,
            arrival: Some(arrival),
        })
    }

    /// Passes an arrived connection to the claim of its pair and frees the pair; returns the
    /// connection if no claim waits for it.
    pub(super) fn deliver(
        &self,
        port: u16,
        peer: IpAddr,
        stream: TcpStream,
    ) -> Result<(), TcpStream> {
        match self.remove_waiting(port, peer) {
            Some(to) => to.send(stream),
            None => Err(stream),
        }
    }

    /// An address from which a session expects a connection to this port.
    pub(super) fn expected(&self, port: u16) -> Option<IpAddr> {
        let state = self.lock();
        let waits = |peer: &Peer| peer.pairs.get(&port).is_some_and(|pair| pair.to.is_some());
        let mut expected = state.peers.iter().filter(|(_, peer)| waits(peer));
        expected.next().map(|(address, _)| *address)
    }

    fn remove_waiting(&self, port: u16, peer: IpAddr) -> Option<oneshot::Sender<TcpStream>> {
        let mut state = self.lock();
        let pairs = &mut state.peers.get_mut(&peer)?.pairs;
        let to = pairs.get_mut(&port)?.to.take()?;
        pairs.remove(&port);
        state.forget_if_idle(peer);
        Some(to)
    }

    /// Frees pairs when their rest ends; runs without end.
    pub(super) async fn release_rested(&self) {
        loop {
            match self.release_until(Instant::now()) {
                Some(next) => sleep_until(next).await,
                None => self.resting.notified().await,
            }
        }
    }

    /// Frees the pairs whose rest is over, and returns when that of the next one will be.
    pub(super) fn release_until(&self, now: Instant) -> Option<Instant> {
        let mut state = self.lock();
        while let Some(rest) = state.resting.pop_front_if(|rest| rest.until <= now) {
            if let Some(peer) = state.peers.get_mut(&rest.peer) {
                peer.pairs.remove(&rest.port);
            }
            state.forget_if_idle(rest.peer);
        }
        // Gives back memory after ten thousand PASVs.
        if state.resting.is_empty() {
            state.resting = VecDeque::new();
        }
        state.resting.front().map(|rest| rest.until)
    }

    /// Accepts no more claims: waiting claims get no pair, existing ones no connection.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.resting.clear();
        for (_, peer) in state.peers.drain() {
            peer.free.close();
        }
    }

    /// A claim ended. If its connection has not arrived, the pair rests.
    fn end(&self, claim: &PortClaim) {
        let mut state = self.lock();
        let pair = state
            .peers
            .get_mut(&claim.peer)
            .and_then(|peer| peer.pairs.get_mut(&claim.port))
            .filter(|pair| pair.claim == claim.id);
        let Some(pair) = pair else {
            return;
        };
        pair.to = None;
        state.resting.push_back(Rest {
            until: Instant::now() + self.quarantine,
            peer: claim.peer,
            port: claim.port,
        });
        drop(state);
        self.resting.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, TableState> {
        // Nothing panics while it holds the lock, and each step leaves the table whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the ports are used now.
    pub(super) fn usage(&self) -> PortUsage {
        let state = self.lock();
        let mut usage = PortUsage {
            ports: state.ports.len(),
            ..PortUsage::default()
        };
        for peer in state.peers.values() {
            let resting = peer.pairs.values().filter(|pair| pair.to.is_none()).count();
            usage.resting += resting;
            usage.waiting += peer.pairs.len() - resting;
            // Claims that are not served yet.
            usage.queued += peer.claiming;
        }
        usage
    }

    /// Peers in the table, and pairs that wait or rest.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        let pairs = state.peers.values().map(|peer| peer.pairs.len()).sum();
        (state.peers.len(), pairs)
    }

    /// Claims of `peer` that have or wait for a pair.
    #[cfg(test)]
    pub(super) fn claiming(&self, peer: IpAddr) -> usize {
        self.lock().peers.get(&peer).map_or(0, |peer| peer.claiming)
    }
}

/// The position at which the search for a free port begins: at random, so that ports are spread and
/// another client behind the same NAT can't guess the next one (RFC 2577 section 8).
fn random() -> usize {
    let random = getrandom::u32().unwrap_or_else(|_| {
        // Without entropy, the clock spreads the ports.
        std::time::UNIX_EPOCH
            .elapsed()
            .map_or(0, |since| since.subsec_nanos())
    });
    usize::try_from(random).unwrap_or(0)
}

impl TableState {
    fn forget_if_idle(&mut self, peer: IpAddr) {
        let idle = |peer: &Peer| peer.pairs.is_empty() && peer.claiming == 0;
        if self.peers.get(&peer).is_some_and(idle) {
            self.peers.remove(&peer);
        }
    }
}

impl PortClaim {
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Whether the connection has arrived (or has been taken).
    pub(super) fn connected(&self) -> bool {
        self.arrival
            .as_ref()
            .is_none_or(|arrival| !arrival.is_empty())
    }

    /// Waits for the connection; `None` if there won't be one, or it has been taken before. Cancel
    /// safe.
    pub(super) async fn arrival(&mut self) -> Option<TcpStream> {
        let stream = self.arrival.as_mut()?.await.ok();
        self.arrival = None;
        stream
    }
}

impl Drop for PortClaim {
    fn drop(&mut self) {
        self.table.end(self);
    }
}

/// A claim in progress: keeps its peer, and so the semaphore that it waits at, in the table.
struct PendingClaim<'a> {
    table: &'a PortTable,
    peer: IpAddr,
    free: Arc<Semaphore>,
}

impl<'a> PendingClaim<'a> {
    /// `None` when the table is closed.
    fn begin(table: &'a PortTable, peer: IpAddr) -> Option<Self> {
        let mut state = table.lock();
        if state.closed {
            return None;
        }
        let TableState { ports, peers, .. } = &mut *state;
        let entry = peers.entry(peer).or_insert_with(|| Peer {
            free: Arc::new(Semaphore::new(ports.len())),
            claiming: 0,
            pairs: HashMap::new(),
        });
        entry.claiming += 1;
        let free = Arc::clone(&entry.free);
        drop(state);
        Some(PendingClaim { table, peer, free })
    }
}

impl Drop for PendingClaim<'_> {
    fn drop(&mut self) {
        let mut state = self.table.lock();
        if let Some(peer) = state.peers.get_mut(&self.peer) {
            peer.claiming -= 1;
        }
        state.forget_if_idle(self.peer);
    }
}
