//! Data connections of strangers, to third hosts, and without an end.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use test_support::ftp::{Ftp, connect_from, eprt_command, port_command, read_to_end_deadline};
use test_support::gateway::{BUCKET, Gateway};
use test_support::within;

#[tokio::test]
async fn a_data_connection_of_another_address_is_dropped_and_the_clients_served() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "secret", "for u only");
    let mut ftp = gateway.ftp().await;
    let stranger: IpAddr = Ipv4Addr::new(127, 0, 0, 2).into();

    let port = ftp.epsv().await;
    let mut foreign = connect_from(stranger, port).await.unwrap();
    // It may be closed already.
    let _ = foreign.write_all(b"planted").await;
    let mut own = connect_from(ftp.local_addr().ip(), port).await.unwrap();
    ftp.expect("STOR mine", 150).await;
    own.write_all(b"mine").await.unwrap();
    drop(own);
    ftp.expect_reply(226).await;
    assert_eq!(gateway.store.object(BUCKET, "mine").unwrap(), b"mine");

    let port = ftp.epsv().await;
    let mut spy = connect_from(stranger, port).await.unwrap();
    let mut own = connect_from(ftp.local_addr().ip(), port).await.unwrap();
    ftp.expect("RETR secret", 150).await;
    assert_eq!(read_to_end_deadline(&mut own).await.0, b"for u only");
    ftp.expect_reply(226).await;
    for stranger in [&mut foreign, &mut spy] {
        let mut got = Vec::new();
        // A reset or an end, and no byte before it.
        let _ = within("the stranger's end", stranger.read_to_end(&mut got)).await;
        assert!(got.is_empty(), "a stranger got {got:?}");
    }
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn active_mode_connects_only_to_the_client_and_no_privileged_port() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let victim = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
    victim.set_nonblocking(true).unwrap();
    let address = victim.local_addr().unwrap();
    for line in [
        port_command(address),
        eprt_command(address),
        "PORT 127,0,0,1,3,255".to_owned(),
        "PORT 127,0,0,1,0,25".to_owned(),
        "EPRT |1|127.0.0.1|1023|".to_owned(),
        "PORT 8,8,8,8,200,1".to_owned(),
    ] {
        ftp.expect(&line, 504).await;
        // Nothing is left of it: no data connection will be made.
        ftp.expect("STOR x", 425).await;
        ftp.in_step().await;
    }
    assert_eq!(victim.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    ftp.expect("PORT 127,0,0,1,4,0", 200).await;
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_pasv_without_a_connection_give_their_ports_back() {
    let gateway = Gateway::builder()
        .with("[passive]\nports = \"auto:2\"\n[timeouts]\ndata_connect = \"500ms\"")
        .start()
        .await;
    gateway.store.put(BUCKET, "x", "bytes");
    let mut greedy = gateway.ftp().await;
    for _ in 0..100 {
        greedy.send_raw(&b"PASV\r\n".repeat(100)).await;
        for _ in 0..100 {
            greedy.expect_reply(227).await;
        }
    }
    // It has one port, so another client at the same address gets the other one.
    let mut other = gateway.ftp().await;
    assert_eq!(other.retrieve("x").await.0, b"bytes");
    // A session that ends takes no port from others.
    for _ in 0..20 {
        let mut ftp = gateway.ftp().await;
        ftp.send("PASV").await;
        ftp.reset();
    }
    let elsewhere: IpAddr = Ipv4Addr::new(127, 0, 0, 2).into();
    let mut ftp = Ftp::connect_from(elsewhere, gateway.address).await;
    ftp.login("u", "p").await;
    assert_eq!(ftp.retrieve("x").await.0, b"bytes");
    // Nor from the same address, once late connections cannot come any more: a port without a
    // connection is freed.
    let mut again = gateway.ftp().await;
    within("the ports of the first address", async {
        while again.command("EPSV").await.code != 229 {}
    })
    .await;
    gateway.stop().await;
}
