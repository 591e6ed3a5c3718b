//! PASV, EPSV, PORT, EPRT: which connections are accepted, and what happens if none comes (RFC 959,
//! 2428, 2577).

use super::answers;
use test_support::ftp::{Mode, port_command, read_to_end_deadline};
use test_support::gateway::{BUCKET, Gateway, PASSWORD, USER};

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
async fn without_a_data_connection_each_transfer_is_425_and_the_session_continues() {
    let gateway = Gateway::builder()
        .with("[timeouts]\ndata_connect = \"200ms\"")
        .start()
        .await;
    gateway.store.put(BUCKET, "x", "old");
    let mut ftp = gateway.ftp().await;
    // Bound, so that no other program gets the port, and not listening.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let nobody_listens = port_command(closed.local_addr().unwrap());
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

/// A failed transfer uses up its data connection: the next one needs its own.
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

/// A port that was set up for one user is of no use to the next, and a refused STOR closes what was
/// opened for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_data_connection_belongs_to_its_command_and_login() {
    let gateway = Gateway::builder()
        .mount("permissions = [\"list\", \"read\"]")
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    for ending in ["STOR a", "USER u", "REIN", "ABOR"] {
        let mut data = ftp.data_passive().await;
        ftp.command(ending).await;
        let (bytes, _) = read_to_end_deadline(&mut data).await;
        assert!(bytes.is_empty());
        match ending {
            "USER u" => drop(ftp.expect(&format!("PASS {PASSWORD}"), 230).await),
            "REIN" => ftp.login(USER, PASSWORD).await,
            _ => {}
        }
        ftp.expect("LIST", 425).await;
    }
    ftp.close().await;
    gateway.stop().await;
}

/// A client that asks for missing files must not use up the ports of its address.
#[tokio::test(flavor = "multi_thread")]
async fn refused_transfers_use_up_no_ports() {
    let gateway = Gateway::builder()
        .with("[passive]\nports = \"auto:2\"")
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    let first = ftp.epsv().await;
    for _ in 0..50 {
        ftp.expect("RETR none", 550).await;
        assert_eq!(ftp.epsv().await, first);
    }
    ftp.close().await;
    gateway.stop().await;
}
