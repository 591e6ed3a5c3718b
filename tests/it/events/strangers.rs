//! A data connection from another address than the control connection's: usually source NAT.

use std::net::SocketAddr;

use s3ftpd::events::{Class, Kind, Level};

use test_support::ftp::connect_from;
use test_support::gateway::Gateway;

#[tokio::test]
async fn a_stranger_is_one_warning_a_minute_that_names_both_addresses() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let port = ftp.epsv().await.port();
    let passive = SocketAddr::new([127, 0, 0, 1].into(), port);
    for _ in 0..3 {
        let mut stranger = connect_from([127, 0, 0, 8].into(), passive).await.unwrap();
        let mut got = Vec::new();
        // Closed at once, by an end or a reset.
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stranger, &mut got).await;
    }
    let event = gateway.events.wait_for(Kind::DataStranger).await;
    assert_eq!(event.level, Level::Warn);
    assert_eq!(event.class, Some(Class::NoDataConnection));
    assert_eq!(event.peer().unwrap().ip(), ftp.local_addr().ip());
    assert_eq!(event.data_peer.unwrap().ip().to_string(), "127.0.0.8");
    assert_eq!(gateway.events.of(Kind::DataStranger).len(), 1);
    // Another pair is another event.
    let other = connect_from([127, 0, 0, 7].into(), passive).await.unwrap();
    gateway
        .events
        .wait("the other", |event| {
            event
                .data_peer
                .is_some_and(|from| from.ip().to_string() == "127.0.0.7")
        })
        .await;
    drop(other);
}
