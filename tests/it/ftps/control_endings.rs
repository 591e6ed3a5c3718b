//! How a control connection under TLS ends during an upload, and data connections that come only
//! after the 150.

use tokio::io::AsyncWriteExt;

use super::{Begins, begin_tls, secured, with_tls};
use test_support::ftp::{Mode, connect_from};
use test_support::gateway::BUCKET;
use test_support::pattern;
use test_support::tls::{Pki, VERSIONS, read_all};
use test_support::transfers::{moved, settled};

/// Under TLS the clean end is close_notify: any host on the network path can send a FIN.
#[tokio::test]
async fn under_tls_a_fin_without_close_notify_is_not_a_clean_end() {
    let pki = Pki::new();
    for version in VERSIONS {
        for (quit, notified, lenient, whole) in [
            (true, true, false, true),
            (true, false, false, false),
            (true, false, true, true),
            (false, true, false, false),
            (false, false, false, false),
            (false, false, true, false),
        ] {
            let user = format!("[users.u]\nlenient_close = {lenient}");
            let gateway = with_tls(&pki, &user).start().await;
            let client = pki.client().version(version).build();
            let mut ftp = secured(&gateway, &client).await;
            let bytes = pattern(70_000, 1);
            let mut tls = begin_tls(&mut ftp, &client, "STOR x", Mode::Passive, Begins::Late).await;
            tls.write_all(&bytes).await.unwrap();
            moved(&mut ftp, bytes.len()).await;
            tls.shutdown().await.unwrap();
            if quit {
                ftp.send("QUIT").await;
            }
            if notified {
                ftp.end_sending().await;
            } else {
                ftp.tcp_fin().await;
            }
            ftp.expect_reply(if whole { 226 } else { 426 }).await;
            if quit {
                ftp.expect_reply(221).await;
            }
            settled(&gateway).await;
            let found = gateway.store.object(BUCKET, "x");
            assert_eq!(
                found.is_some(),
                whole,
                "{version:?} {quit} {notified} {lenient}"
            );
            gateway.stop().await;
        }
    }
}

/// A client that connects its data port, and begins its handshake, only after the 150.
#[tokio::test]
async fn a_data_connection_under_tls_may_come_after_the_150() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "").start().await;
    let client = pki.client().build();
    let mut ftp = secured(&gateway, &client).await;
    for (command, sends) in [("STOR x", true), ("RETR x", false), ("LIST", false)] {
        let address = ftp.epsv().await;
        ftp.expect(command, 150).await;
        let tcp = connect_from(ftp.local_addr().ip(), address).await.unwrap();
        let mut tls = client.connect(tcp).await.unwrap();
        if sends {
            tls.write_all(b"bytes").await.unwrap();
            tls.shutdown().await.unwrap();
        } else {
            let (bytes, end) = read_all(&mut tls).await;
            end.unwrap();
            assert!(!bytes.is_empty(), "{command}");
        }
        drop(tls);
        ftp.expect_reply(226).await;
    }
    assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"bytes");
    ftp.in_step().await;
    gateway.stop().await;
}
