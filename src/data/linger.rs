//! Data connections whose transfer is over and whose clients have not closed them yet.
//!
//! Why they are not simply closed is told in [`super::stream`]. Each has a small task that throws
//! away what still arrives until the client's end, [`LIMIT`] at the longest. When very many linger
//! (clients that never close), further ones are closed at once: lingering is a courtesy, and file
//! descriptors are few.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a client may keep a finished data connection open.
pub const LIMIT: Duration = Duration::from_secs(10);
/// Connections that may linger at once, where there are descriptors for them.
pub const MOST: usize = 1024;
/// Bytes thrown away of one connection; a client that sends more is not one that reads a file.
const MOST_DISCARDED: usize = 1 << 20;

/// The owner of all lingering connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lingering {
    tasks: TaskTracker,
    most: usize,
    cut: CancellationToken,
}

impl Default for Lingering {
    fn default() -> Self {
        Self::new()
    }
}

impl Lingering {
    /// None yet; [`MOST`] at once.
    pub fn new() -> Self {
        Lingering::up_to(MOST)
    }

    /// None yet; so many at once, and no more than [`MOST`].
    pub fn up_to(most: usize) -> Self {
        Lingering {
            tasks: TaskTracker::new(),
            most: most.min(MOST),
            cut: CancellationToken::new(),
        }
    }

    /// How many linger now.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Waits until all have been closed by their clients, at most `deadline`, and cuts the rest;
    /// says whether there was none to cut. For the end of the process, when no more are added.
    pub async fn drained(&self, deadline: Duration) -> bool {
        self.tasks.close();
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
        let cut = self.cut.clone();
        self.tasks.spawn(async move {
            let end = timeout(LIMIT, client_end(&tcp));
            match cut.run_until_cancelled(end).await {
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => {
                    tracing::debug!(%error, "finished data connection broke");
                }
                Some(Err(_)) | None => {
                    tracing::debug!("client keeps a finished data connection open: closed");
                }
            }
        });
    }
}

/// Throws away what arrives until the client ends its side.
async fn client_end(tcp: &TcpStream) -> io::Result<()> {
    let mut discarded = 0;
    let mut waste = [0; 512];
    while discarded < MOST_DISCARDED {
        tcp.readable().await?;
        match tcp.try_read(&mut waste) {
            Ok(0) => break,
            Ok(read) => discarded += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Throws away what has arrived, without waiting.
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

    use tokio::io::AsyncReadExt;
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
