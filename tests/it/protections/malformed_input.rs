//! Input that is not a command, and commands without an end.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use test_support::ftp::Ftp;
use test_support::gateway::Gateway;
use test_support::process::Process;
use test_support::tls::Pki;
use test_support::{MIB, within};

/// The protection of every server that browsers can be made to talk to.
#[tokio::test]
async fn http_verbs_end_the_connection_and_nothing_is_echoed() {
    let gateway = Gateway::start().await;
    for verb in ["GET", "POST", "PUT", "HEAD", "DELETE", "OPTIONS", "CONNECT"] {
        let mut ftp = gateway.ftp().await;
        let request = format!(
            "{verb} /<script>evil</script> HTTP/1.1\r\nHost: x\r\n\r\nMKD evil\r\nSTOR evil\r\n"
        );
        ftp.send_raw(request.as_bytes()).await;
        let reply = ftp.expect_reply(500).await;
        assert!(!reply.text().contains("evil"), "{reply:?}");
        ftp.expect_end().await;
    }
    assert!(gateway.store.requests().is_empty());
    gateway.stop().await;
}

/// A control connection whose client reads almost nothing.
async fn never_reads(address: SocketAddr, first: &[u8]) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = within("a connection", socket.connect(address))
        .await
        .unwrap();
    stream.write_all(first).await.unwrap();
    stream
}

/// Sends all of it, or as much as the gateway reads until it closes the connection; returns that
/// number.
async fn push(mut stream: TcpStream, piece: Vec<u8>, total: usize) -> usize {
    let mut sent = 0;
    while sent < total {
        match stream.write(&piece[..piece.len().min(total - sent)]).await {
            Ok(count) => sent += count,
            Err(_) => return sent,
        }
    }
    sent
}

const LOGIN: &[u8] = b"USER u\r\nPASS p\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_without_a_line_end_takes_no_memory() {
    let process = Process::start("").await;
    let mut ftp = process.ftp().await;
    let before = process.peak();
    for first in [&b""[..], LOGIN] {
        let stream = never_reads(process.address, first).await;
        let taken = push(stream, vec![b'A'; 64 * 1024], 1 << 30);
        let taken = within("the end of the client that never ends a line", taken).await;
        assert!(taken < 64 * MIB, "{taken} bytes were taken");
    }
    ftp.in_step().await;
    let grown = process.peak() - before;
    assert!(grown < 4 * MIB, "grown by {} KiB", grown / 1024);
}

/// The longest allowed line, and one byte more.
#[tokio::test]
async fn lines_are_limited_to_4_kib() {
    let gateway = Gateway::start().await;
    for logged_in in [false, true] {
        let mut ftp = Ftp::connect(gateway.address).await;
        if logged_in {
            ftp.login("u", "p").await;
        }
        ftp.send(&format!("NOOP {}", "x".repeat(4096 - 7))).await;
        ftp.expect_reply(200).await;
        ftp.send(&format!("NOOP {}", "x".repeat(4096 - 6))).await;
        ftp.expect_reply(500).await;
        ftp.expect_end().await;
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_million_commands_of_a_client_that_never_reads_take_no_memory() {
    let process = Process::start("[timeouts]\ncontrol_write = \"2s\"").await;
    let mut ftp = process.ftp().await;
    let before = process.peak();
    // Their replies are not read: at the deadline the connection ends.
    for first in [&b""[..], LOGIN] {
        let stream = never_reads(process.address, first).await;
        let taken = push(stream, b"NOOP\r\n".repeat(10_000), 12_000_000);
        let taken = within("the end of the client that never reads", taken).await;
        assert!(taken < 12_000_000, "all commands were taken");
    }
    // The same during a transfer: they are queued, a few at a time, and none is lost.
    let mut uploading = process.ftp().await;
    let data = uploading.data_passive().await;
    uploading.expect("STOR x", 150).await;
    uploading.send_raw(&b"PWD\r\n".repeat(100)).await;
    ftp.in_step().await;
    drop(data);
    uploading.expect_reply(226).await;
    for _ in 0..100 {
        uploading.expect_reply(257).await;
    }
    let grown = process.peak() - before;
    assert!(grown < 4 * MIB, "grown by {} KiB", grown / 1024);
}

#[tokio::test]
async fn half_a_command_and_then_silence_gets_421_at_the_deadline() {
    let gateway = Gateway::builder()
        .with("[timeouts]\nlogin = \"300ms\"")
        .start()
        .await;
    // Silence, half a command, and commands that are not a login do not help.
    for said in [&b""[..], b"USER u\r\nPA", b"NOOP\r\n", b"USER u\r\n"] {
        let mut ftp = Ftp::connect(gateway.address).await;
        ftp.send_raw(said).await;
        let mut last = ftp.reply().await;
        while last.code != 421 {
            assert!([200, 331].contains(&last.code), "{last:?}");
            last = ftp.reply().await;
        }
        ftp.expect_end().await;
    }
    gateway.stop().await;
}

/// Commands without a pause are not a login either: neither many, nor for a long time.
#[tokio::test]
async fn a_thousand_commands_without_a_login_end_the_connection() {
    let gateway = Gateway::start().await;
    for rubbish in [
        &b"NOOP\r\n"[..],
        b"XYZZY\r\n",
        b"RETR x\r\n",
        b"\r\n",
        b"USER u\r\n",
    ] {
        let mut ftp = Ftp::connect(gateway.address).await;
        ftp.send_raw(&rubbish.repeat(1000)).await;
        for _ in 0..1000 {
            assert_ne!(ftp.reply().await.code, 421);
        }
        ftp.send_raw(rubbish).await;
        ftp.expect_reply(421).await;
        ftp.expect_end().await;
    }
    // A logged-in client may send any number.
    let mut ftp = gateway.ftp().await;
    for _ in 0..1100 {
        ftp.in_step().await;
    }
    gateway.stop().await;
}

/// Sends until the server reads nothing more: it waits until its replies are read.
async fn until_stuck(stream: &mut (impl AsyncWrite + Unpin)) {
    let piece = b"NOOP\r\n".repeat(1_000);
    let no_progress = Duration::from_secs(1);
    within("the server waits for its client", async {
        while let Ok(sent) = timeout(no_progress, stream.write(&piece)).await {
            assert!(sent.unwrap() > 0);
        }
    })
    .await;
}

/// A line of the server's.
async fn line(stream: &mut TcpStream) {
    while within("a line", stream.read_u8()).await.unwrap() != b'\n' {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_does_not_delay_a_stop() {
    let pki = Pki::new();
    let settings = "[timeouts]\ncontrol_write = \"1h\"\nidle = \"1h\"\nshutdown_grace = \"500ms\"";
    let mut process = Process::start(&format!("{settings}\n{}", pki.section(""))).await;
    let mut plain = never_reads(process.address, LOGIN).await;
    until_stuck(&mut plain).await;
    let mut stream = never_reads(process.address, b"AUTH TLS\r\n").await;
    for _ in ["220", "234"] {
        line(&mut stream).await;
    }
    let mut tls = pki.client().build().connect(stream).await.unwrap();
    tls.write_all(LOGIN).await.unwrap();
    until_stuck(&mut tls).await;
    // And one whose handshake never ends.
    let mut stream = never_reads(process.address, b"AUTH TLS\r\n").await;
    for _ in ["220", "234"] {
        line(&mut stream).await;
    }
    // Its end has a deadline: twice the reply deadline is an hour or two.
    let log = process.stop().await;
    assert!(log.contains("\"stopped\""), "{log}");
    assert!(!log.contains("have not ended"), "{log}");
}
