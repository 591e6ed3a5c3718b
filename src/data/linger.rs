//! Data connections of finished transfers that the client has not closed yet.
//!
//! [`super::stream`] explains why the server does not simply close them. Each has a small task that
//! discards what still arrives, until the client closes its side. A client that has received the
//! whole file may keep the connection open for [`LIMIT`]. A client that has not may keep it open
//! while it makes progress: at 1 Mbit/s the kernel's send buffer alone takes half a minute, and the
//! process must not end before. If [`MOST`] connections linger, further ones are closed at once,
//! since file descriptors are limited.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::data::tcp::TcpState;

/// How long a client that has the whole file may keep a finished data connection open.
pub const LIMIT: Duration = Duration::from_secs(10);
/// [`LIMIT`] while the process ends.
pub const LAST_LIMIT: Duration = Duration::from_secs(1);
/// While the process ends, the server cuts a client that takes nothing for this time.
const LAST_STALL: Duration = Duration::from_secs(10);
/// The interval between checks of a client's progress after [`LIMIT`].
const LOOK: Duration = Duration::from_millis(100);
/// The largest number of lingering connections.
pub const MOST: usize = 1024;
/// The largest number of bytes that are discarded on one connection. A client that sends more is
/// not reading a file.
const MOST_DISCARDED: usize = 1 << 20;

/// The owner of all lingering connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lingering {
    tasks: TaskTracker,
    most: usize,
    stall: Duration,
    /// Cancelled when the process ends.
    ending: CancellationToken,
    cut: CancellationToken,
}

impl Default for Lingering {
    fn default() -> Self {
        Self::new()
    }
}

impl Lingering {
    /// Creates it for up to [`MOST`] connections.
    pub fn new() -> Self {
        Lingering::up_to(MOST, LIMIT)
    }

    /// Creates it for up to `most` connections, at most [`MOST`]. The server cuts a client that
    /// takes none of the remaining bytes for `stall`, but not before [`LIMIT`].
    pub fn up_to(most: usize, stall: Duration) -> Self {
        Lingering {
            tasks: TaskTracker::new(),
            most: most.min(MOST),
            stall,
            ending: CancellationToken::new(),
            cut: CancellationToken::new(),
        }
    }

    /// The number of lingering connections.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether no connection lingers.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Waits until all clients have received everything and have closed, at most until `deadline`,
    /// and cuts the rest. A client that has received everything has [`LAST_LIMIT`] to close.
    /// Returns whether no client had to be cut. Called at the end of the process, when no
    /// connections are added any more.
    pub async fn drained(&self, deadline: Duration) -> bool {
        self.tasks.close();
        self.ending.cancel();
        let in_time = timeout(deadline, self.tasks.wait()).await.is_ok();
        self.cut.cancel();
        self.tasks.wait().await;
        in_time
    }

    pub(super) fn take(&self, tcp: TcpStream) {
        if self.tasks.len() >= self.most {
            tracing::debug!("too many finished data connections are kept open, closing one");
            return;
        }
        let (stall, ending) = (self.stall, self.ending.clone());
        let cut = self.cut.clone();
        self.tasks.spawn(async move {
            match cut.run_until_cancelled(over(&tcp, stall, &ending)).await {
                Some(Ok(true)) => {}
                Some(Ok(false)) => {
                    tracing::debug!("client keeps a finished data connection open: closed");
                }
                Some(Err(error)) => tracing::debug!(%error, "finished data connection broke"),
                None => {
                    if TcpState::of(&tcp).is_ok_and(|state| !state.is_delivered()) {
                        let peer = tcp.peer_addr().ok();
                        tracing::warn!(?peer, "a client has not got all of a finished download");
                    }
                }
            }
        });
    }
}

/// Returns when there is nothing more to wait for, and whether the client has closed.
async fn over(tcp: &TcpStream, stall: Duration, ending: &CancellationToken) -> io::Result<bool> {
    let begun = Instant::now();
    let first = TcpState::of(tcp).map_or(0, |state| state.acknowledged());
    let limit = async {
        tokio::select! {
            () = sleep(LIMIT) => {}
            () = async { ending.cancelled().await; sleep(LAST_LIMIT).await } => {}
        }
    };
    let closed = tokio::select! {
        end = client_end(tcp) => end.map(|()| true)?,
        () = limit => false,
    };
    // A client may end its side first and continue reading.
    let mut seen = (first, begun);
    loop {
        // If the system does not report it, only the limit applies.
        let state = match TcpState::of(tcp) {
            Ok(state) if !state.is_delivered() => state,
            Ok(_) | Err(_) => return Ok(closed),
        };
        if state.acknowledged() != seen.0 {
            seen = (state.acknowledged(), Instant::now());
        }
        let stall = match ending.is_cancelled() {
            true => stall.min(LAST_STALL),
            false => stall,
        };
        if seen.1.elapsed() >= stall {
            return Err(io::ErrorKind::TimedOut.into());
        }
        sleep(LOOK).await;
        // Unread bytes at the close of the socket would turn its end into a reset.
        discard_arrived(tcp)?;
    }
}

/// Discards what arrives until the client ends its side.
async fn client_end(tcp: &TcpStream) -> io::Result<()> {
    let mut discarded = 0;
    let mut waste = [0; 512];
    while discarded < MOST_DISCARDED {
        tcp.readable().await?;
        match tcp.try_read(&mut waste) {
            Ok(0) => return Ok(()),
            Ok(read) => discarded += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("the client sends during a download"))
}

/// Discards what has arrived, without waiting.
pub(super) fn discard_arrived(tcp: &TcpStream) -> io::Result<()> {
    let mut discarded = 0;
    let mut waste = [0; 4096];
    while discarded < MOST_DISCARDED {
        match tcp.try_read(&mut waste) {
            Ok(0) => break,
            Ok(read) => discarded += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await;
        (listener.accept().await.unwrap().0, client.unwrap())
    }

    #[tokio::test]
    async fn a_connection_is_closed_when_the_client_has() {
        let lingering = Lingering::new();
        let (server, client) = pair().await;
        lingering.take(server);
        assert_eq!(lingering.len(), 1);
        drop(client);
        assert!(lingering.drained(DEADLINE).await);
        assert!(lingering.is_empty());
    }

    #[tokio::test]
    async fn what_is_left_at_the_end_is_cut() {
        let lingering = Lingering::new();
        let (server, mut client) = pair().await;
        lingering.take(server);
        assert!(!lingering.drained(Duration::from_millis(20)).await);
        assert!(lingering.is_empty());
        let end = timeout(DEADLINE, client.read(&mut [0])).await.unwrap();
        assert_eq!(end.unwrap(), 0);
    }

    /// A connection whose server side has ended, with much still to be sent.
    async fn much_on_its_way(lingering: &Lingering) -> (usize, TcpStream) {
        let (mut server, client) = pair().await;
        let piece = vec![7; 64 * 1024];
        let mut sent = 0;
        loop {
            match server.try_write(&piece) {
                Ok(written) => sent += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        server.shutdown().await.unwrap();
        assert!(!TcpState::of(&server).unwrap().is_delivered());
        lingering.take(server);
        (sent, client)
    }

    #[tokio::test]
    async fn a_client_that_has_not_received_everything_is_waited_for() {
        for ends_first in [false, true] {
            let lingering = Lingering::new();
            let (sent, mut client) = much_on_its_way(&lingering).await;
            if ends_first {
                client.shutdown().await.unwrap();
            }
            let mut drained = std::pin::pin!(lingering.drained(Duration::from_secs(600)));
            // Longer than the limit of a client that has everything.
            let limit = 2 * LAST_LIMIT;
            timeout(limit, &mut drained).await.expect_err("not over");
            let mut got = Vec::new();
            let reading = async { timeout(DEADLINE, client.read_to_end(&mut got)).await };
            let (in_time, read) = tokio::join!(drained, reading);
            read.unwrap().unwrap();
            assert!(in_time);
            assert_eq!(got.len(), sent);
        }
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_not_waited_for() {
        let lingering = Lingering::up_to(MOST, Duration::from_millis(100));
        let (_, _client) = much_on_its_way(&lingering).await;
        assert!(lingering.drained(DEADLINE).await);
    }

    #[tokio::test]
    async fn a_client_that_is_gone_is_not_waited_for() {
        let lingering = Lingering::up_to(MOST, Duration::from_secs(600));
        let (_, client) = much_on_its_way(&lingering).await;
        client.set_zero_linger().unwrap();
        drop(client);
        assert!(lingering.drained(DEADLINE).await);
    }

    #[tokio::test]
    async fn not_more_than_the_most_linger() {
        let lingering = Lingering::new();
        let placeholders: Vec<_> = (0..MOST).map(|_| lingering.tasks.token()).collect();
        let (server, mut client) = pair().await;
        lingering.take(server);
        let end = timeout(DEADLINE, client.read(&mut [0])).await.unwrap();
        assert_eq!(end.unwrap(), 0);
        drop(placeholders);
        assert!(lingering.is_empty());
    }
}
