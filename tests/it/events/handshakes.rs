//! TLS handshakes on control connections: those that fail are refused logins, those that no client
//! has begun are not.

use std::net::SocketAddr;

use s3ftpd::events::{Cause, Event, Kind, Level};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use test_support::ftp::{Ftp, reset_stream};
use test_support::gateway::{Builder, Gateway};
use test_support::tls::Pki;

/// Half a ClientHello.
const HALF: [u8; 7] = [22, 3, 1, 2, 0, 1, 0];

fn with_tls(pki: &Pki) -> Builder {
    Gateway::builder()
        .with("listen = [\"127.0.0.1:0\", { address = \"127.0.0.1:0\", tls = \"implicit\" }]")
        .with(&pki.section(""))
}

fn implicit(gateway: &Gateway) -> SocketAddr {
    gateway.server.control_addresses()[1]
}

/// The events of the next session that ends.
async fn of_session(gateway: &Gateway) -> Vec<std::sync::Arc<Event>> {
    gateway.events.wait_for(Kind::SessionClose).await;
    gateway.events.drain()
}

/// Asserts that the next session that ends says why, and is not a refused login.
async fn is_only_closed(gateway: &Gateway, reason: &str) {
    let events = of_session(gateway).await;
    let kinds: Vec<Kind> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [Kind::SessionOpen, Kind::SessionClose]);
    let end = &events[1];
    assert_eq!(end.level, Level::Debug);
    assert_eq!(end.reason.as_deref(), Some(reason), "{end:#?}");
}

#[tokio::test]
async fn a_probe_of_the_port_is_no_refused_login() {
    let pki = Pki::new();
    let gateway = with_tls(&pki).start().await;
    let unbegun = "the connection ended before the TLS handshake";
    // As load balancers probe a port: connect and close, or connect and reset.
    drop(TcpStream::connect(implicit(&gateway)).await.unwrap());
    is_only_closed(&gateway, unbegun).await;
    reset_stream(TcpStream::connect(implicit(&gateway)).await.unwrap());
    is_only_closed(&gateway, unbegun).await;
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.expect("AUTH TLS", 234).await;
    ftp.close().await;
    is_only_closed(&gateway, unbegun).await;
}

#[tokio::test]
async fn a_handshake_that_fails_is_a_refused_login() {
    let pki = Pki::new();
    let gateway = with_tls(&pki)
        .with("[timeouts]\ntls_handshake = \"200ms\"")
        .start()
        .await;
    let strangers = Pki::new().client().build();
    for implicitly in [true, false] {
        for what in ["plain text", "half", "silence", "another authority"] {
            let mut stream = match implicitly {
                true => TcpStream::connect(implicit(&gateway)).await.unwrap(),
                false => {
                    let mut ftp = Ftp::connect(gateway.address).await;
                    ftp.expect("AUTH TLS", 234).await;
                    ftp.into_tcp()
                }
            };
            match what {
                "plain text" => stream.write_all(b"USER u\r\n").await.unwrap(),
                "half" => {
                    stream.write_all(&HALF).await.unwrap();
                    stream.shutdown().await.unwrap();
                }
                "silence" => {}
                _ => drop(strangers.connect(stream).await.unwrap_err()),
            }
            let case = format!("implicitly: {implicitly}, {what}");
            let events = of_session(&gateway).await;
            let refused: Vec<_> = events
                .iter()
                .filter(|event| event.kind == Kind::LoginRefused)
                .collect();
            let [event] = refused.as_slice() else {
                panic!("{case}: {events:#?}");
            };
            assert_eq!(event.cause, Some(Cause::Tls), "{case}");
            assert_eq!(event.level, Level::Info, "{case}");
            assert_eq!(event.reason.as_deref(), Some("the TLS handshake failed"));
            assert!(event.detail.is_some(), "{case}");
            let end = events.last().unwrap();
            assert_eq!(end.reason, event.reason, "{case}");
        }
    }
}

#[tokio::test]
async fn a_handshake_that_the_server_cuts_is_no_refused_login() {
    let pki = Pki::new();
    for bytes in [&HALF[..], b""] {
        let gateway = with_tls(&pki)
            .with("[timeouts]\nshutdown_grace = 0")
            .start()
            .await;
        let mut stream = TcpStream::connect(implicit(&gateway)).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        gateway.events.wait_for(Kind::SessionOpen).await;
        let events = std::sync::Arc::clone(&gateway.events);
        gateway.stop().await;
        let end = events.wait_for(Kind::SessionClose).await;
        let reason = end.reason.as_deref().unwrap();
        assert!(reason.contains("shutting down"), "{reason}");
        assert!(events.of(Kind::LoginRefused).is_empty());
    }
}
