//! The PROXY protocol, versions 1 and 2: the address of a client behind a load balancer.
//!
//! A load balancer that terminates TCP connections hides the client's address, which peer checks,
//! limits, logs and the pairs of passive mode need. It can send it in a header before the client's
//! first byte. A sender of such a header can claim any address, so it is read only from [configured
//! networks](Proxies::new): from these it is required; from all others it is not expected, and
//! bytes that look like one are treated as a command like any other.
//!
//! The header is read to its last byte and no further: what follows, a TLS handshake or FTP, stays
//! in the socket. The connection's own task reads it within a deadline, so a silent peer delays no
//! other.

mod header;
pub mod options;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::net::proxy::options::ProxyOptions;

pub use header::{HeaderError, ProxyHeader, parse};
use header::{Step, step};

/// The networks whose connections begin with a header.
#[derive(Debug, Clone)]
pub struct Proxies {
    networks: Vec<IpNet>,
    deadline: Duration,
}

/// The addresses of a connection, as its client sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionAddrs {
    /// The client's address.
    pub peer: SocketAddr,
    /// The address that the client reached: ours, or the load balancer's.
    pub local: SocketAddr,
}

/// Why a connection of a load balancer can't be served.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The header is invalid.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The connection ended within its header.
    #[error("the connection ended within its PROXY header")]
    Ended,
    /// The header did not arrive in time.
    #[error("no PROXY header within {} ms", .0.as_millis())]
    Deadline(Duration),
    /// The socket failed.
    #[error("reading the PROXY header: {0}")]
    Io(#[from] io::Error),
}

impl Proxies {
    /// For these networks.
    pub fn new(config: &ProxyOptions) -> Self {
        Proxies {
            networks: config.networks.clone(),
            deadline: config.header_timeout,
        }
    }

    /// Whether a connection from this address begins with a header.
    pub fn include(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.networks.iter().any(|network| network.contains(&peer))
    }

    /// Returns the addresses of an accepted connection: those of its header if it must have one,
    /// else its own. They are also its own if the header has no addresses (a health check by the
    /// load balancer itself).
    ///
    /// # Errors
    /// [`ProxyError`]: the connection can't be served.
    pub async fn addrs(
        &self,
        stream: &mut TcpStream,
        peer: SocketAddr,
    ) -> Result<ConnectionAddrs, ProxyError> {
        let own = ConnectionAddrs {
            peer,
            local: stream.local_addr()?,
        };
        if !self.include(peer.ip()) {
            return Ok(own);
        }
        let header = timeout(self.deadline, read(stream))
            .await
            .map_err(|_| ProxyError::Deadline(self.deadline))??;
        Ok(match header {
            ProxyHeader::Addresses {
                source,
                destination,
            } => ConnectionAddrs {
                peer: source,
                local: destination,
            },
            ProxyHeader::Unknown => own,
        })
    }
}

/// Reads one header, and not a byte more.
async fn read(stream: &mut TcpStream) -> Result<ProxyHeader, ProxyError> {
    // Sized by what has arrived, so that a silent connection holds no buffer.
    let mut seen = Vec::new();
    loop {
        let take = match step(&seen)? {
            Step::Whole(header) => return Ok(header),
            Step::Take(bytes) => bytes,
            Step::TakeLine(most) => line(stream, most).await?,
        };
        let before = seen.len();
        seen.resize(before + take, 0);
        let read = stream.read(&mut seen[before..]).await?;
        if read == 0 {
            return Err(ProxyError::Ended);
        }
        seen.truncate(before + read);
    }
}

/// The number of available bytes, at most `most`, that belong to a line: those up to its end, or
/// all.
async fn line(stream: &TcpStream, most: usize) -> Result<usize, ProxyError> {
    let mut ahead = [0; header::LONGEST_V1];
    let ahead = &mut ahead[..most.min(header::LONGEST_V1)];
    let there = stream.peek(ahead).await?;
    let end = ahead[..there].iter().position(|byte| *byte == b'\n');
    match end.map_or(there, |end| end + 1) {
        0 => Err(ProxyError::Ended),
        bytes => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    const V1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 21\r\n";

    fn proxies(deadline: Duration) -> Proxies {
        Proxies::new(&ProxyOptions {
            networks: vec!["127.0.0.0/8".parse().unwrap()],
            header_timeout: deadline,
        })
    }

    /// A connection: the client's end, the server's, the client's address.
    async fn connection() -> (TcpStream, TcpStream, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let (server, peer) = accepted.unwrap();
        (client.unwrap(), server, peer)
    }

    fn v2(rest: &[u8]) -> Vec<u8> {
        [b"\r\n\r\n\0\r\nQUIT\n", rest].concat()
    }

    #[tokio::test]
    async fn the_header_is_taken_and_what_follows_stays() {
        let binary = v2(&[
            0x21, 0x11, 0, 15, 192, 0, 2, 7, 198, 51, 100, 1, 0x9c, 0x40, 0, 21, 4, 0, 0,
        ]);
        for header in [V1, &binary] {
            // In one segment, and byte by byte.
            for whole in [true, false] {
                let (mut client, mut server, peer) = connection().await;
                client.set_nodelay(true).unwrap();
                let bytes = [header, b"USER u\r\n"].concat();
                let sending = async {
                    for piece in bytes.chunks(if whole { bytes.len() } else { 1 }) {
                        client.write_all(piece).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                    client.shutdown().await.unwrap();
                };
                let proxies = proxies(Duration::from_secs(20));
                let (addrs, ()) = tokio::join!(proxies.addrs(&mut server, peer), sending);
                let expected = ConnectionAddrs {
                    peer: "192.0.2.7:40000".parse().unwrap(),
                    local: "198.51.100.1:21".parse().unwrap(),
                };
                assert_eq!(addrs.unwrap(), expected);
                let mut rest = Vec::new();
                server.read_to_end(&mut rest).await.unwrap();
                assert_eq!(rest, b"USER u\r\n");
            }
        }
    }

    #[tokio::test]
    async fn local_and_unknown_leave_the_connection_its_own_ends() {
        for header in [&b"PROXY UNKNOWN\r\n"[..], &v2(&[0x20, 0, 0, 0])] {
            let (mut client, mut server, peer) = connection().await;
            client.write_all(header).await.unwrap();
            let addrs = proxies(Duration::from_secs(20))
                .addrs(&mut server, peer)
                .await
                .unwrap();
            let local = server.local_addr().unwrap();
            assert_eq!(addrs, ConnectionAddrs { peer, local });
        }
    }

    #[tokio::test]
    async fn others_are_not_asked_for_one() {
        let (mut client, mut server, _) = connection().await;
        client.write_all(V1).await.unwrap();
        let elsewhere = "192.0.2.1:5000".parse().unwrap();
        let addrs = proxies(Duration::ZERO).addrs(&mut server, elsewhere).await;
        assert_eq!(addrs.unwrap().peer, elsewhere);
        let mut first = [0; 5];
        server.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"PROXY");
    }

    #[tokio::test]
    async fn silence_rubbish_and_an_early_end_are_errors() {
        let (_client, mut server, peer) = connection().await;
        let impatient = proxies(Duration::from_millis(10));
        let silent = impatient.addrs(&mut server, peer).await;
        assert!(matches!(silent, Err(ProxyError::Deadline(_))));
        for (said, ends) in [
            (&b"USER u\r\n"[..], false),
            (b"PROXY TC", true),
            (b"", true),
        ] {
            let (mut client, mut server, peer) = connection().await;
            client.write_all(said).await.unwrap();
            client.shutdown().await.unwrap();
            let error = proxies(Duration::from_secs(20))
                .addrs(&mut server, peer)
                .await
                .unwrap_err();
            assert_eq!(matches!(error, ProxyError::Ended), ends, "{error}");
        }
    }
}
