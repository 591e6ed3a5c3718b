//! A restart breaks no transfer that ends within the grace period, nor one that had its 226 before.

use std::pin::pin;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use test_support::faults::Fault;
use test_support::gateway::{BUCKET, Gateway};
use test_support::process::Process;
use test_support::{MIB, pattern, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_until_the_client_has_received_its_download() {
    // What a client's kernel accepts before the client reads.
    const AHEAD: usize = 64 * 1024;
    let gateway = Gateway::builder()
        .with("[timeouts]\nshutdown_grace = \"60s\"")
        .start()
        .await;
    let bytes = pattern(MIB, 1);
    gateway.store.put(BUCKET, "f", &bytes);
    let mut ftp = gateway.ftp().await;
    let address = ftp.epsv().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut data = within("the data connection", socket.connect(address))
        .await
        .unwrap();
    ftp.expect("RETR f", 150).await;
    ftp.expect_reply(226).await;
    ftp.expect("QUIT", 221).await;
    ftp.expect_end().await;

    let mut stop = pin!(gateway.stop());
    let mut got = vec![0; bytes.len()];
    let mut read = 0;
    // Some seconds in total, a second more than a client may keep a connection open that it has
    // read.
    let mut pace = tokio::time::interval(Duration::from_millis(200));
    while read + AHEAD < bytes.len() {
        tokio::select! {
            biased;
            _ = &mut stop => panic!("stopped with {} bytes to be sent", bytes.len() - read),
            _ = pace.tick() => {}
        }
        let piece = AHEAD.min(bytes.len() - read);
        within("some more", data.read_exact(&mut got[read..read + piece]))
            .await
            .unwrap();
        read += piece;
    }
    let rest = async {
        data.read_exact(&mut got[read..]).await.unwrap();
        assert_eq!(data.read(&mut [0]).await.unwrap(), 0);
    };
    let (store, ()) = within("the stop", async { tokio::join!(stop, rest) }).await;
    assert!(got == bytes);
    drop(store);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_sigterm_cuts_no_upload() {
    let mut process = Process::start("").await;
    let mut ftp = process.ftp().await;
    let address = ftp.epsv().await;
    let mut data = TcpStream::connect(address).await.unwrap();
    ftp.expect("STOR f", 150).await;
    data.write_all(b"the first half, ").await.unwrap();
    // The second signal comes immediately after the first, a third and a fourth after it has been
    // logged.
    process.signal(Signal::SIGTERM);
    process.signal(Signal::SIGTERM);
    process.logged("stopping gracefully").await;
    process.signal(Signal::SIGTERM);
    process.logged("already stopping").await;
    process.signal(Signal::SIGINT);
    data.write_all(b"and the second").await.unwrap();
    drop(data);
    ftp.expect_reply(226).await;
    let (code, log) = process.ended().await;
    assert_eq!(code, Some(0), "{log}");
    let stored = process.store.object("files", "f");
    assert_eq!(
        stored.as_deref(),
        Some(&b"the first half, and the second"[..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_sigint_ends_the_process_and_the_same_one_twice_does_not() {
    let mut process = Process::start("").await;
    let mut ftp = process.ftp().await;
    let address = ftp.epsv().await;
    let data = TcpStream::connect(address).await.unwrap();
    ftp.expect("STOR f", 150).await;
    process.signal(Signal::SIGINT);
    process.logged("stopping gracefully").await;
    let first = Instant::now();
    // A user who presses Ctrl-C several times.
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    let presses = async {
        loop {
            pace.tick().await;
            process.signal(Signal::SIGINT);
            process.logged("already stopping").await;
            if first.elapsed() > Duration::from_secs(2) {
                return;
            }
        }
    };
    within("the presses", presses).await;
    let (code, log) = process.ended().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("second SIGINT"), "{log}");
    drop(data);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_rename_does_not_delay_the_end_beyond_the_grace_period() {
    let gateway = Gateway::builder()
        .with("[timeouts]\nshutdown_grace = \"100ms\"")
        .start()
        .await;
    gateway.store.put(BUCKET, "a", "bytes");
    let stalled = gateway.store.fail("CopyObject").always().with(Fault::Stall);
    let mut ftp = gateway.ftp().await;
    ftp.expect("RNFR a", 350).await;
    ftp.send("RNTO b").await;
    stalled.hit().await;
    let store = within("the end of the server", gateway.stop()).await;
    ftp.expect_reply(451).await;
    ftp.expect_reply(421).await;
    ftp.expect_end().await;
    assert_eq!(store.object(BUCKET, "a").unwrap(), b"bytes");
    stalled.release();
}
