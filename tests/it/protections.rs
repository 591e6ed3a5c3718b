//! The protections of a server that faces the internet, one or more tests under the name of each: a client does the
//! harm, over raw sockets. (3, 4, 5 and some of 6 are TLS's, in `ftps`; the container's part of 18 is in
//! `ci/container.sh`.)

mod anonymous;
mod confinement;
mod connections;
mod descriptors;
mod handshakes;
mod idle_sessions;
mod limits;
mod logins;
mod malformed_input;
mod names;
mod secrets;

use std::net::{IpAddr, SocketAddr};

use test_support::ftp::{Ftp, Reply, connect_from};
use test_support::within;

/// Connects from there; the first reply, and the connection.
async fn knock(from: &str, to: SocketAddr) -> (Reply, Ftp) {
    let from: IpAddr = from.parse().unwrap();
    let mut ftp = Ftp::over(connect_from(from, to).await.unwrap());
    (ftp.reply().await, ftp)
}

/// Connects again and again, until it is greeted.
async fn let_in(from: &str, to: SocketAddr) -> Ftp {
    within("to be let in", async {
        loop {
            let (reply, ftp) = knock(from, to).await;
            if reply.code == 220 {
                return ftp;
            }
            assert_eq!(reply.code, 421, "{reply:?}");
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Connects, and must be refused with these words.
async fn refused(from: &str, to: SocketAddr, why: &str) {
    let (reply, mut ftp) = knock(from, to).await;
    assert_eq!(reply.code, 421, "{reply:?}");
    assert_eq!(reply.text(), format!("{why}, try again later"));
    ftp.expect_end().await;
}
