//! How connections under TLS end: close_notify and its lack, ABOR, and a control connection that is
//! lost.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{Begins, begin_tls, download, secured, upload, with_tls};
use test_support::ftp::{Ftp, Mode, reset_stream};
use test_support::gateway::{BUCKET, Builder, Gateway, PASSWORD, USER};
use test_support::tls::{Client, Pki, VERSIONS, read_all};
use test_support::transfers::{moved, nothing_left, sessions_ended, settled};
use test_support::{MIB, pattern};

/// Two parts and some bytes, and less than one part.
const SIZES: [usize; 2] = [70_000, 6 * MIB];

fn removed(pki: &Pki, more: &str) -> Builder {
    with_tls(pki, more).mount("interrupted = \"abort\"")
}

/// An upload of `x`, of which the gateway has received these bytes.
async fn tls_upload_in_progress(
    ftp: &mut Ftp,
    client: &Client,
    bytes: &[u8],
) -> TlsStream<TcpStream> {
    let mut tls = begin_tls(ftp, client, "STOR x", Mode::Passive, Begins::Late).await;
    tls.write_all(bytes).await.unwrap();
    tls.flush().await.unwrap();
    moved(ftp, bytes.len()).await;
    tls
}

/// A FIN without close_notify, as any host on the network path can send it.
async fn fin_only(tls: TlsStream<TcpStream>) -> TcpStream {
    let mut tcp = tls.into_inner().0;
    tcp.shutdown().await.unwrap();
    tcp
}

#[tokio::test]
async fn an_upload_without_close_notify_is_not_published_and_can_be_resumed() {
    let pki = Pki::new();
    for version in VERSIONS {
        for size in SIZES {
            let gateway = with_tls(&pki, "").start().await;
            gateway.store.put_before(BUCKET, "x", "old");
            let client = pki.client().version(version).build();
            let mut ftp = secured(&gateway, &client).await;
            let bytes = pattern(size + 1000, 5);
            let tls = tls_upload_in_progress(&mut ftp, &client, &bytes[..size]).await;
            let _tcp = fin_only(tls).await;
            let reply = ftp.expect_reply(426).await;
            assert!(reply.text().contains("close_notify"), "{reply:?}");
            settled(&gateway).await;
            assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"old");
            // It can be resumed as after any other break. It may be complete, so one byte less is
            // reported.
            let reported = ftp.expect("SIZE x", 213).await;
            assert_eq!(reported.text(), (size - 1).to_string());
            ftp.expect(&format!("REST {}", size - 1), 350).await;
            assert_eq!(
                upload(&mut ftp, &client, "x", &bytes[size - 1..])
                    .await
                    .code,
                226
            );
            assert!(gateway.store.object(BUCKET, "x").unwrap() == bytes);
            gateway.stop().await;
        }
    }
}

#[tokio::test]
async fn an_empty_upload_without_close_notify_is_not_published() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "").start().await;
    let client = pki.client().build();
    let mut ftp = secured(&gateway, &client).await;
    let tls = begin_tls(&mut ftp, &client, "STOR x", Mode::Passive, Begins::Late).await;
    let _tcp = fin_only(tls).await;
    ftp.expect_reply(426).await;
    assert_eq!(gateway.store.object(BUCKET, "x"), None);
    gateway.stop().await;
}

#[tokio::test]
async fn lenient_close_accepts_uploads_without_close_notify() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "")
        .with("[users.u]\nlenient_close = true")
        .start()
        .await;
    for version in VERSIONS {
        let client = pki.client().version(version).build();
        let mut ftp = secured(&gateway, &client).await;
        for size in SIZES {
            let bytes = pattern(size, 6);
            let tls = tls_upload_in_progress(&mut ftp, &client, &bytes).await;
            let _tcp = fin_only(tls).await;
            ftp.expect_reply(226).await;
            assert!(gateway.store.object(BUCKET, "x").unwrap() == bytes);
            // A reset is not one.
            let tls = tls_upload_in_progress(&mut ftp, &client, &bytes[1..]).await;
            reset_stream(tls.into_inner().0);
            ftp.expect_reply(426).await;
            assert!(gateway.store.object(BUCKET, "x").unwrap() == bytes);
        }
        ftp.close().await;
    }
    gateway.stop().await;
}

/// Not even if the device never sends close_notify.
#[tokio::test]
async fn an_upload_cut_within_a_tls_record_is_not_published() {
    let pki = Pki::new();
    let gateway = removed(&pki, "")
        .with("[users.u]\nlenient_close = true")
        .start()
        .await;
    gateway.store.put(BUCKET, "x", "old");
    // 64 bytes of application data.
    let head = [23, 3, 3, 0, 64];
    for version in VERSIONS {
        let client = pki.client().version(version).build();
        let mut ftp = secured(&gateway, &client).await;
        for (what, cut) in [
            (
                "a record that can't be decrypted",
                &[&head[..], &[0; 64]].concat()[..],
            ),
            ("half a record", &[&head[..], &[0; 32]].concat()),
            ("all but a byte of it", &[&head[..], &[0; 63]].concat()),
            ("its head", &head),
            ("half its head", &head[..3]),
            ("a byte", &head[..1]),
        ] {
            let tls = tls_upload_in_progress(&mut ftp, &client, &pattern(SIZES[0], 1)).await;
            let mut tcp = tls.into_inner().0;
            tcp.write_all(cut).await.unwrap();
            tcp.shutdown().await.unwrap();
            let reply = ftp.reply().await;
            assert_eq!(reply.code, 426, "{version:?}, {what}: {reply:?}");
            assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"old");
            ftp.in_step().await;
        }
        ftp.close().await;
    }
    nothing_left(&gateway, 1).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_download_ends_by_close_notify_or_not_at_all() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "").start().await;
    let bytes = pattern(9 * MIB, 2);
    gateway.store.put(BUCKET, "x", &bytes);
    for version in VERSIONS {
        let client = pki.client().version(version).build();
        let mut ftp = secured(&gateway, &client).await;
        // `download` fails without close_notify.
        let (back, reply) = download(&mut ftp, &client, "RETR x").await;
        assert!(back == bytes && reply.code == 226);
        // An aborted download has no clean end.
        let mut tls = begin_tls(&mut ftp, &client, "RETR x", Mode::Passive, Begins::Late).await;
        tls.read_exact(&mut [0; 1000]).await.unwrap();
        ftp.send("ABOR").await;
        ftp.expect_reply(426).await;
        ftp.expect_reply(226).await;
        let (_, end) = read_all(&mut tls).await;
        end.unwrap_err();
        ftp.in_step().await;
        ftp.close().await;
    }
    nothing_left(&gateway, 0).await;
    gateway.stop().await;
}

#[tokio::test]
async fn an_abor_in_the_middle_or_right_after_the_data() {
    let pki = Pki::new();
    for version in VERSIONS {
        for size in SIZES {
            let gateway = removed(&pki, "").start().await;
            let client = pki.client().version(version).build();
            let mut ftp = secured(&gateway, &client).await;
            let tls = tls_upload_in_progress(&mut ftp, &client, &pattern(size, 1)).await;
            ftp.send("ABOR").await;
            ftp.expect_reply(426).await;
            ftp.expect_reply(226).await;
            drop(tls);
            // Both reach the gateway in one go: client and gateway are on one thread.
            let mut tls = tls_upload_in_progress(&mut ftp, &client, &pattern(size, 1)).await;
            tls.shutdown().await.unwrap();
            ftp.send("ABOR").await;
            ftp.expect_reply(426).await;
            ftp.expect_reply(226).await;
            ftp.in_step().await;
            nothing_left(&gateway, 1).await;
            assert_eq!(gateway.store.object(BUCKET, "x"), None);
            gateway.stop().await;
        }
    }
}

#[tokio::test]
async fn an_abor_with_telnet_signals() {
    let pki = Pki::new();
    let gateway = removed(&pki, "").start().await;
    let client = pki.client().build();
    let mut ftp = secured(&gateway, &client).await;
    let _tls = tls_upload_in_progress(&mut ftp, &client, &pattern(SIZES[0], 1)).await;
    ftp.send_raw(b"\xff\xf4\xff\xf2ABOR\r\n").await;
    ftp.expect_reply(426).await;
    ftp.expect_reply(226).await;
    gateway.stop().await;
}

/// How a client leaves after the end of its data.
#[derive(Debug, Clone, Copy)]
enum Leaves {
    CloseNotify,
    Fin,
    Reset,
    /// It sends a command first, which the server has not read.
    Unread,
}

#[tokio::test]
async fn a_control_connection_lost_right_after_the_data_publishes_nothing() {
    let pki = Pki::new();
    for version in VERSIONS {
        for leaves in [
            Leaves::CloseNotify,
            Leaves::Fin,
            Leaves::Reset,
            Leaves::Unread,
        ] {
            for size in SIZES {
                let gateway = with_tls(&pki, "").start().await;
                gateway.store.put_before(BUCKET, "x", "old");
                let client = pki.client().version(version).build();
                let mut ftp = secured(&gateway, &client).await;
                let mut tls = tls_upload_in_progress(&mut ftp, &client, &pattern(size, 1)).await;
                tls.shutdown().await.unwrap();
                match leaves {
                    Leaves::CloseNotify => ftp.close_notify().await,
                    Leaves::Fin => ftp.tcp_fin().await,
                    Leaves::Reset => ftp.reset(),
                    Leaves::Unread => {
                        ftp.send("NOOP").await;
                        ftp.tcp_fin().await;
                    }
                }
                settled_sessions(&gateway).await;
                let found = gateway.store.object(BUCKET, "x").unwrap();
                assert!(found == b"old", "{version:?} {leaves:?} {size}");
                // The user can resume the upload.
                let mut ftp = secured(&gateway, &client).await;
                let kept: usize = ftp.expect("SIZE x", 213).await.text().parse().unwrap();
                // Of an upload that may be whole the last byte is requested again
                // (docs/design/resume-protocol.md).
                assert_eq!(kept + 1, size);
                gateway.stop().await;
            }
        }
    }
}

async fn settled_sessions(gateway: &Gateway) {
    sessions_ended(gateway).await;
    settled(gateway).await;
}

#[tokio::test]
async fn a_quit_after_the_data_publishes_the_upload() {
    let pki = Pki::new();
    for version in VERSIONS {
        for size in SIZES {
            let gateway = with_tls(&pki, "").start().await;
            let client = pki.client().version(version).build();
            let mut ftp = secured(&gateway, &client).await;
            let bytes = pattern(size, 1);
            let mut tls = tls_upload_in_progress(&mut ftp, &client, &bytes).await;
            tls.shutdown().await.unwrap();
            ftp.send("QUIT").await;
            ftp.end_sending().await;
            ftp.expect_reply(226).await;
            ftp.expect_reply(221).await;
            assert!(gateway.store.object(BUCKET, "x").unwrap() == bytes);
            gateway.stop().await;
        }
    }
}

#[tokio::test]
async fn a_key_update_is_not_a_command() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "").start().await;
    let client = pki.client().version(&rustls::version::TLS13).build();
    let mut ftp = secured(&gateway, &client).await;
    for size in SIZES {
        let bytes = pattern(size, 1);
        let mut tls = tls_upload_in_progress(&mut ftp, &client, &bytes).await;
        tls.shutdown().await.unwrap();
        ftp.update_keys().await;
        ftp.expect_reply(226).await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == bytes);
        ftp.in_step().await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn auth_during_a_transfer_waits_for_its_end() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "").start().await;
    let client = pki.client().build();
    let mut ftp = gateway.ftp().await;
    let mut data = ftp.data_passive().await;
    ftp.expect("STOR x", 150).await;
    data.write_all(b"clear").await.unwrap();
    moved(&mut ftp, 5).await;
    ftp.send_raw(b"AUTH TLS\r\nDELE x\r\n").await;
    data.shutdown().await.unwrap();
    ftp.expect_reply(226).await;
    ftp.expect_reply(234).await;
    ftp.handshake(&client).await.unwrap();
    // Commands queued after it are discarded too.
    ftp.expect("PASS p", 503).await;
    ftp.login(USER, PASSWORD).await;
    assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"clear");
    ftp.in_step().await;
    gateway.stop().await;
}
