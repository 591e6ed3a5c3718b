//! Whether an accepted connection becomes a session: bans, limits, and the PROXY header by which a load balancer says
//! whose connection it is.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::auth::{Refused, SessionPlace};
use crate::proxy::{Ends, Proxies};
use crate::session::{Gateway, Listener};

/// How long a refused client may take to read why.
const REFUSAL_DEADLINE: Duration = Duration::from_secs(1);

/// Finds out whose connection it is, and whether he may come in; who may not is told so, and `None` returned.
pub(super) async fn admit(
    place: &mut SessionPlace,
    proxies: &Proxies,
    gateway: &Gateway,
    listener: &Listener,
    mut stream: TcpStream,
    peer: SocketAddr,
) -> Option<(TcpStream, Ends)> {
    let ends = tokio::select! {
        ends = proxies.ends(&mut stream, peer) => ends,
        () = gateway.drain.cancelled() => return None,
    };
    let ends = match ends {
        Ok(ends) => ends,
        Err(error) => {
            tracing::warn!(%peer, %error, "connection closed");
            return None;
        }
    };
    let address = ends.peer.ip();
    let admitted = if gateway.failures.bans_address(address) {
        Err(Refused::Banned)
    } else {
        place.take_for(address)
    };
    match admitted {
        Ok(()) => Some((stream, ends)),
        Err(refused) => {
            tracing::warn!(peer = %ends.peer, reason = %refused, "connection refused");
            refuse(stream, listener.implicit, refused).await;
            None
        }
    }
}

/// Says why. A courtesy: whoever does not take it goes without, and where TLS begins with the first byte (`implicit`)
/// there is no way to say it.
pub(super) async fn refuse(mut stream: TcpStream, implicit: bool, refused: Refused) {
    if implicit {
        return;
    }
    let line = format!("421 {refused}, try again later\r\n");
    let _ = tokio::time::timeout(REFUSAL_DEADLINE, stream.write_all(line.as_bytes())).await;
}
