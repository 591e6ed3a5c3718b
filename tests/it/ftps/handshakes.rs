//! TLS handshakes that do not end, and plaintext on a private data connection.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Begins, begin_tls, implicit, secured, upload, with_tls};
use test_support::ftp::{Ftp, Mode};
use test_support::gateway::BUCKET;
use test_support::tls::{Pki, send_and_end};
use test_support::transfers::{nothing_left, sessions_ended};
use test_support::within;

#[tokio::test]
async fn half_a_handshake_then_silence_on_the_control_connection() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "")
        .with("[timeouts]\ntls_handshake = \"1s\"")
        .start()
        .await;
    // The head of a record, and the start of its content.
    let half = [22, 3, 1, 2, 0, 1, 0];
    let mut stream = TcpStream::connect(implicit(&gateway)).await.unwrap();
    stream.write_all(&half).await.unwrap();
    let mut rest = Vec::new();
    let _ = within("the end", stream.read_to_end(&mut rest)).await;
    for bytes in [&half[..], b""] {
        let mut ftp = Ftp::connect(gateway.address).await;
        ftp.expect("AUTH TLS", 234).await;
        ftp.send_raw(bytes).await;
        ftp.expect_end().await;
    }
    sessions_ended(&gateway).await;
    gateway.stop().await;
}

#[tokio::test]
async fn an_endless_handshake_is_cut_before_it_takes_memory() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "")
        .with("[timeouts]\ntls_handshake = \"1h\"\nlogin = \"1h\"")
        .start()
        .await;
    let hello = endless_hello(17 * 1024);
    is_cut(
        TcpStream::connect(implicit(&gateway)).await.unwrap(),
        &hello,
    )
    .await;
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.expect("AUTH TLS", 234).await;
    ftp.send_raw(&hello).await;
    ftp.expect_end().await;
    sessions_ended(&gateway).await;
    let client = pki.client().build();
    let mut ftp = secured(&gateway, &client).await;
    for early in [true, false] {
        let data = ftp.data_passive().await;
        if early {
            is_cut(data, &hello).await;
            let first = ftp.command("STOR x").await;
            let last = match first.code {
                150 => ftp.reply().await,
                _ => first,
            };
            assert_eq!(last.code, 522, "{last:?}");
        } else {
            ftp.expect("STOR x", 150).await;
            is_cut(data, &hello).await;
            ftp.expect_reply(522).await;
        }
    }
    assert_eq!(upload(&mut ftp, &client, "x", b"whole").await.code, 226);
    gateway.stop().await;
}

#[tokio::test]
async fn half_a_handshake_then_silence_on_a_data_connection() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "")
        .with("[timeouts]\ntls_handshake = \"1s\"")
        .start()
        .await;
    gateway.store.put(BUCKET, "y", "1");
    let client = pki.client().build();
    let mut ftp = secured(&gateway, &client).await;
    for command in ["STOR x", "RETR y", "LIST"] {
        let mut data = ftp.data_passive().await;
        data.write_all(&[22, 3, 1, 2, 0, 1, 0]).await.unwrap();
        // Commands are answered in the meantime.
        ftp.in_step().await;
        ftp.expect(command, 150).await;
        ftp.send("NOOP").await;
        ftp.expect_reply(200).await;
        let reply = ftp.expect_reply(522).await;
        assert!(reply.text().contains("TLS handshake"), "{reply:?}");
    }
    // A handshake that no client begins.
    let _data = ftp.data_passive().await;
    ftp.expect("STOR x", 150).await;
    ftp.send("ABOR").await;
    ftp.expect_reply(426).await;
    ftp.expect_reply(226).await;
    assert_eq!(upload(&mut ftp, &client, "x", b"whole").await.code, 226);
    nothing_left(&gateway, 1).await;
    gateway.stop().await;
}

#[tokio::test]
async fn plaintext_on_a_private_data_connection() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "").start().await;
    let client = pki.client().build();
    let mut ftp = secured(&gateway, &client).await;
    for early in [true, false] {
        let mut data = ftp.data_passive().await;
        if early {
            data.write_all(b"plain text, no TLS").await.unwrap();
            data.shutdown().await.unwrap();
            // Its handshake may fail before the command arrives.
            let first = ftp.command("STOR x").await;
            let last = match first.code {
                150 => ftp.reply().await,
                _ => first,
            };
            assert_eq!(last.code, 522, "{last:?}");
        } else {
            ftp.expect("STOR x", 150).await;
            data.write_all(b"plain text, no TLS").await.unwrap();
            data.shutdown().await.unwrap();
            ftp.expect_reply(522).await;
        }
        assert_eq!(gateway.store.object(BUCKET, "x"), None);
    }
    let mut tls = begin_tls(&mut ftp, &client, "STOR x", Mode::Passive, Begins::Early).await;
    send_and_end(&mut tls, b"whole").await.unwrap();
    ftp.expect_reply(226).await;
    gateway.stop().await;
}

/// A ClientHello that says it has 60 KiB, as far as its first `length` bytes, in records of 1 KiB.
fn endless_hello(length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        bytes.extend([22, 3, 1, 4, 0]);
        let head: &[u8] = match bytes.len() {
            5 => &[1, 0, 0xf0, 0, 3, 3],
            _ => &[],
        };
        bytes.extend(head);
        bytes.resize(bytes.len() + 1024 - head.len(), 7);
    }
    bytes.truncate(length);
    bytes
}

/// Sends it in small pieces, and expects the end long before any deadline.
async fn is_cut(mut stream: TcpStream, hello: &[u8]) {
    for piece in hello.chunks(512) {
        if stream.write_all(piece).await.is_err() {
            return;
        }
        tokio::task::yield_now().await;
    }
    let mut rest = Vec::new();
    let _ = within("the end", stream.read_to_end(&mut rest)).await;
}
