//! The protections of a server on the internet (SECURITY.md). In each test a client makes the
//! attack, over raw sockets. Those of TLS are in `ftps`, those of the container in
//! `ci/container.sh`; tests/README.md has a table.

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

/// Connects from an address; returns the first reply, and the connection.
async fn first_reply(from: &str, to: SocketAddr) -> (Reply, Ftp) {
    let from: IpAddr = from.parse().unwrap();
    let mut ftp = Ftp::over(connect_from(from, to).await.unwrap());
    (ftp.reply().await, ftp)
}

/// Connects again and again, until a greeting comes.
async fn greeted(from: &str, to: SocketAddr) -> Ftp {
    within("a greeting", async {
        loop {
            let (reply, ftp) = first_reply(from, to).await;
            if reply.code == 220 {
                return ftp;
            }
            assert_eq!(reply.code, 421, "{reply:?}");
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Connects, and must be refused for this reason.
async fn refused(from: &str, to: SocketAddr, why: &str) {
    let (reply, mut ftp) = first_reply(from, to).await;
    assert_eq!(reply.code, 421, "{reply:?}");
    assert_eq!(reply.text(), format!("{why}, try again later"));
    ftp.expect_end().await;
}
