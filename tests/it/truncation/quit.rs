//! A QUIT after the transfer command is not a lost control connection.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::{LARGE, SMALL, send_x};
use test_support::ftp::{Mode, port_command};
use test_support::gateway::{BUCKET, Gateway};
use test_support::pattern;
use test_support::transfers::{begin, nothing_left};

#[tokio::test]
async fn a_quit_after_the_stor_publishes_the_upload() {
    for size in [SMALL, LARGE] {
        for (half_closed, quit_first) in [(false, false), (false, true), (true, false)] {
            let gateway = Gateway::start().await;
            let mut ftp = gateway.ftp().await;
            let mut data = send_x(&gateway, &mut ftp, Mode::Passive, size).await;
            if !quit_first {
                data.shutdown().await.unwrap();
            }
            ftp.send("QUIT").await;
            if half_closed {
                ftp.end_sending().await;
            }
            if quit_first {
                data.shutdown().await.unwrap();
            }
            ftp.expect_reply(226).await;
            ftp.expect_reply(221).await;
            ftp.expect_end().await;
            ftp.close().await;
            nothing_left(&gateway, 0).await;
            assert!(gateway.store.object(BUCKET, "x").unwrap() == pattern(size, 1));
        }
    }
}

#[tokio::test]
async fn a_quit_and_a_quick_close_after_the_data_publish_the_upload() {
    for resets in [false, true] {
        let gateway = Gateway::start().await;
        let mut ftp = gateway.ftp().await;
        let mut data = send_x(&gateway, &mut ftp, Mode::Passive, SMALL).await;
        data.shutdown().await.unwrap();
        ftp.send("QUIT").await;
        if resets {
            gateway.store.wait_for("PutObject", 1).await;
            ftp.reset();
        } else {
            ftp.close().await;
        }
        nothing_left(&gateway, 0).await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == pattern(SMALL, 1));
    }
}

/// The control connection ends before the data of either upload: each gets its reply, and neither
/// is published.
#[tokio::test]
async fn a_quit_after_several_commands_and_a_half_close_publish_none_of_them() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let mut first = begin(&mut ftp, "STOR x", Mode::Active).await;
    let second = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = port_command(second.local_addr().unwrap());
    ftp.send_raw(format!("{port}\r\nSTOR y\r\nQUIT\r\n").as_bytes())
        .await;
    ftp.end_sending().await;
    ftp.expect_reply(426).await;
    let _ = first.write_all(b"first").await;
    let _ = first.shutdown().await;
    ftp.expect_reply(200).await;
    ftp.expect_reply(426).await;
    ftp.expect_reply(221).await;
    ftp.expect_end().await;
    ftp.close().await;
    nothing_left(&gateway, 0).await;
    assert_eq!(gateway.store.object(BUCKET, "x"), None);
    assert_eq!(gateway.store.object(BUCKET, "y"), None);
}
