//! Clients that connect their data port only after the 150.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;

use test_support::ftp::{Ftp, connect_from, read_to_end_deadline};
use test_support::gateway::{BUCKET, Gateway};
use test_support::transfers::nothing_left;

/// PASV and the command; no connection before the 150.
async fn late(ftp: &mut Ftp, command: &str) -> tokio::net::TcpStream {
    let address = ftp.pasv().await;
    ftp.expect(command, 150).await;
    connect_from(ftp.local_addr().ip(), address).await.unwrap()
}

#[tokio::test]
async fn each_transfer_begins_without_its_data_connection() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "x", "old");
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    for (command, stored) in [("STOR x", "new"), ("APPE x", "newnew"), ("STOR y", "new")] {
        let mut data = late(&mut ftp, command).await;
        data.write_all(b"new").await.unwrap();
        drop(data);
        ftp.expect_reply(226).await;
        let name = command.rsplit(' ').next().unwrap();
        assert_eq!(
            gateway.store.object(BUCKET, name).unwrap(),
            stored.as_bytes()
        );
    }
    for (command, shows) in [
        ("RETR x", "newnew"),
        ("LIST", " x\r\n"),
        ("NLST", "x\r\n"),
        ("MLSD", " x\r\n"),
    ] {
        let mut data = late(&mut ftp, command).await;
        let (bytes, end) = read_to_end_deadline(&mut data).await;
        end.unwrap();
        drop(data);
        assert!(
            String::from_utf8(bytes).unwrap().contains(shows),
            "{command}"
        );
        ftp.expect_reply(226).await;
    }
    ftp.in_step().await;
    ftp.close().await;
    nothing_left(&gateway, 0).await;
}

#[tokio::test]
async fn without_any_connection_the_reply_is_425_after_the_150() {
    let gateway = Gateway::builder()
        .with("[timeouts]\ndata_connect = \"1500ms\"")
        .start()
        .await;
    gateway.store.put(BUCKET, "x", "old");
    let mut ftp = gateway.ftp().await;
    for command in ["STOR x", "RETR x", "LIST", "MLSD"] {
        ftp.expect("EPSV", 229).await;
        let begun = Instant::now();
        ftp.expect(command, 150).await;
        ftp.expect_reply(425).await;
        assert!(begun.elapsed() >= Duration::from_millis(1500), "{command}");
        ftp.in_step().await;
        nothing_left(&gateway, 1).await;
    }
    assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"old");
}

#[tokio::test]
async fn a_refusal_comes_without_a_150() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    for (command, code) in [
        ("RETR none", 550),
        ("STOR /", 550),
        ("MLSD none", 550),
        ("LIST none", 550),
    ] {
        ftp.expect("EPSV", 229).await;
        ftp.expect(command, code).await;
        ftp.in_step().await;
    }
}

#[tokio::test]
async fn an_abort_ends_the_wait() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("EPSV", 229).await;
    ftp.expect("STOR x", 150).await;
    ftp.expect("ABOR", 426).await;
    ftp.expect_reply(226).await;
    ftp.in_step().await;
    nothing_left(&gateway, 1).await;
}
