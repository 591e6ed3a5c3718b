//! PASV, EPSV, PORT, EPRT: who gets a data connection, and what happens where none comes (RFC 959, 2428, 2577).

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::answers;
use crate::support::ftp::{Mode, connect_from, eprt_command, port_command, read_to_end_deadline};
use crate::support::gateway::{BUCKET, Gateway};
use crate::support::within;

#[tokio::test]
async fn each_way_to_a_data_connection_works_over_ipv4() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    for mode in Mode::ALL {
        let path = format!("{mode:?}");
        let reply = ftp
            .upload_with(&format!("STOR {path}"), b"bytes", mode)
            .await;
        assert_eq!(reply.code, 226, "{mode:?}");
        let (bytes, reply) = ftp.download_with(&format!("RETR {path}"), mode).await;
        assert_eq!((&bytes[..], reply.code), (&b"bytes"[..], 226), "{mode:?}");
        ftp.in_step().await;
    }
    answers(&mut ftp, &[("EPSV 1", 229), ("EPSV 2", 522)]).await;
    let refused = ftp.expect("EPRT |2|::1|50000|", 522).await;
    assert!(refused.text().contains("(1)"), "{refused:?}");
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn the_extended_ways_work_over_ipv6_and_the_old_ones_are_refused() {
    let gateway = Gateway::builder().listen("[::1]:0").start().await;
    let mut ftp = gateway.ftp().await;
    for mode in [Mode::Passive, Mode::Eprt] {
        let path = format!("{mode:?}");
        let reply = ftp
            .upload_with(&format!("STOR {path}"), b"bytes", mode)
            .await;
        assert_eq!(reply.code, 226, "{mode:?}");
        let (bytes, reply) = ftp.download_with(&format!("RETR {path}"), mode).await;
        assert_eq!((&bytes[..], reply.code), (&b"bytes"[..], 226), "{mode:?}");
        ftp.in_step().await;
    }
    answers(
        &mut ftp,
        &[
            ("EPSV 2", 229),
            ("EPSV 1", 522),
            ("PASV", 425),
            ("PORT 127,0,0,1,200,1", 501),
            ("EPRT |1|127.0.0.1|50000|", 522),
        ],
    )
    .await;
    ftp.close().await;
    gateway.stop().await;
}

/// RFC 2428, 4.
#[tokio::test]
async fn after_epsv_all_only_epsv_is_left() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    answers(
        &mut ftp,
        &[
            ("EPSV ALL", 200),
            ("PASV", 503),
            ("PORT 127,0,0,1,200,1", 503),
            ("EPRT |1|127.0.0.1|50001|", 503),
            ("EPSV", 229),
        ],
    )
    .await;
    assert_eq!(ftp.store("x", b"bytes").await.code, 226);
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn active_mode_reaches_nobody_else_and_no_service() {
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
        // Nothing is left of it: there is no data connection to be made.
        ftp.expect("STOR x", 425).await;
        ftp.in_step().await;
    }
    assert_eq!(victim.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    ftp.expect("PORT 127,0,0,1,4,0", 200).await;
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn without_a_data_connection_each_transfer_is_425_and_the_session_goes_on() {
    let gateway = Gateway::builder()
        .with("[timeouts]\ndata_connect = \"200ms\"")
        .start()
        .await;
    gateway.store.put(BUCKET, "x", "old");
    let mut ftp = gateway.ftp().await;
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = unused.local_addr().unwrap();
    drop(unused);
    let nobody_listens = port_command(closed);
    for setup in [None, Some("EPSV"), Some("PASV"), Some(&*nobody_listens)] {
        for line in ["RETR x", "STOR x", "APPE x", "STOU", "LIST", "NLST", "MLSD"] {
            if let Some(setup) = setup {
                assert!(ftp.command(setup).await.code < 300);
            }
            ftp.expect(line, 425).await;
            ftp.in_step().await;
        }
    }
    assert_eq!(gateway.store.keys(BUCKET), ["x"]);
    assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"old");
    gateway.store.no_uploads_left().await;
    assert_eq!(ftp.retrieve("x").await.0, b"old");
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_strangers_data_connection_is_dropped_and_the_rightful_one_served() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "secret", "for u only");
    let mut ftp = gateway.ftp().await;
    let stranger: IpAddr = Ipv4Addr::new(127, 0, 0, 2).into();

    let port = ftp.epsv().await;
    let mut foreign = connect_from(stranger, port).await.unwrap();
    // It may be closed by now.
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
        // A reset or an end, and nothing before.
        let _ = within("the stranger's end", stranger.read_to_end(&mut got)).await;
        assert!(got.is_empty(), "a stranger was told {got:?}");
    }
    ftp.close().await;
    gateway.stop().await;
}

/// The transfer that fails takes what was set up with it: the next one needs its own.
#[tokio::test]
async fn a_refused_transfer_uses_up_its_data_connection() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let mut data = ftp.data_passive().await;
    ftp.expect("RETR none", 550).await;
    let (bytes, _) = read_to_end_deadline(&mut data).await;
    assert!(bytes.is_empty());
    ftp.expect("LIST", 425).await;
    ftp.in_step().await;
    ftp.close().await;
    gateway.stop().await;
}
