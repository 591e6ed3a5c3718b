//! After the settle window an upload is published, whatever the client does.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{ABORS, LARGE, SMALL, send_x};
use test_support::faults::Fault;
use test_support::ftp::{Ftp, Mode};
use test_support::gateway::{BUCKET, Gateway};
use test_support::transfers::nothing_left;
use test_support::{pattern, within};

/// Runs `late` when an upload cannot be stopped any more: its last request has reached the store.
async fn published_in_spite_of(late: impl AsyncFn(Ftp, &dyn Fn())) {
    for (size, last) in [(SMALL, "PutObject"), (LARGE, "CompleteMultipartUpload")] {
        let gateway = Gateway::start().await;
        gateway.store.put(BUCKET, "x", "old");
        let rule = gateway.store.fail(last).with(Fault::Stall);
        let mut ftp = gateway.ftp().await;
        let mut data = send_x(&gateway, &mut ftp, Mode::Passive, size).await;
        data.shutdown().await.unwrap();
        rule.hit().await;
        late(ftp, &|| rule.release()).await;
        nothing_left(&gateway, 0).await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == pattern(size, 1));
    }
}

#[tokio::test]
async fn an_abor_after_the_settle_window_is_too_late() {
    for abor in ABORS {
        published_in_spite_of(async |mut ftp, release| {
            abor.send(&mut ftp).await;
            ftp.expect("STAT", 211).await;
            release();
            ftp.expect_reply(226).await;
            let reply = ftp.expect_reply(226).await;
            assert!(reply.text().contains("ABOR"), "{reply:?}");
            ftp.in_step().await;
            ftp.close().await;
        })
        .await;
    }
}

#[tokio::test]
async fn a_control_connection_lost_after_the_settle_window_is_too_late() {
    published_in_spite_of(async |ftp, release| {
        ftp.close().await;
        release();
    })
    .await;
    published_in_spite_of(async |ftp, release| {
        ftp.reset();
        release();
    })
    .await;
}

#[tokio::test]
async fn a_line_too_long_after_the_settle_window_is_too_late() {
    published_in_spite_of(async |mut ftp, release| {
        ftp.send_raw(&[b'a'; 10_000]).await;
        release();
        ftp.expect_reply(226).await;
        ftp.expect_reply(500).await;
        ftp.expect_end().await;
    })
    .await;
}

#[tokio::test]
async fn the_end_of_the_grace_period_waits_for_a_publication() {
    let gateway = Gateway::builder().with("[timeouts]\nshutdown_grace = \"50ms\"");
    let gateway = gateway.start().await;
    let rule = gateway.store.fail("PutObject").with(Fault::Stall);
    let mut ftp = gateway.ftp().await;
    let mut data = send_x(&gateway, &mut ftp, Mode::Passive, SMALL).await;
    data.shutdown().await.unwrap();
    rule.hit().await;
    let client = async {
        // The listener closes when the drain begins.
        while TcpStream::connect(ftp.server_addr()).await.is_ok() {
            tokio::task::yield_now().await;
        }
        rule.release();
        ftp.expect_reply(226).await;
        ftp.expect_reply(421).await;
        ftp.close().await;
    };
    let (store, ()) = within("the server's end", async {
        tokio::join!(gateway.stop(), client)
    })
    .await;
    assert!(store.object(BUCKET, "x").unwrap() == pattern(SMALL, 1));
}
