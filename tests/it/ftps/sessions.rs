//! Session resumption, and `require_session_reuse`: to which control connection a data connection
//! belongs.

use rustls::HandshakeKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{Begins, begin_tls, implicit, secured, with_tls};
use test_support::ftp::{Ftp, Mode};
use test_support::gateway::{BUCKET, PASSWORD, USER};
use test_support::tls::{Habit, Pki, VERSIONS, read_all, send_and_end};

#[tokio::test]
async fn the_control_connections_session_is_resumed_many_times() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "require_session_reuse = true").start().await;
    for version in VERSIONS {
        for is_implicit in [false, true] {
            let client = pki.client().version(version).habit(Habit::Reuse).build();
            let mut ftp = match is_implicit {
                false => secured(&gateway, &client).await,
                true => {
                    let mut ftp = Ftp::connect_implicit(implicit(&gateway), &client).await;
                    ftp.login(USER, PASSWORD).await;
                    ftp
                }
            };
            assert_eq!(ftp.tls().handshake_kind(), Some(HandshakeKind::Full));
            // As many as there are tickets in TLS 1.3, each of which this client uses once; two in
            // each round.
            let both = [Begins::Early, Begins::Late].into_iter().cycle();
            for (round, begins) in both.take(8).enumerate() {
                let bytes = format!("{round}");
                let mut tls = begin_tls(&mut ftp, &client, "STOR x", Mode::Passive, begins).await;
                let kind = tls.get_ref().1.handshake_kind();
                assert_eq!(kind, Some(HandshakeKind::Resumed), "{version:?} {round}");
                send_and_end(&mut tls, bytes.as_bytes()).await.unwrap();
                ftp.expect_reply(226).await;
                let mut tls = begin_tls(&mut ftp, &client, "RETR x", Mode::Passive, begins).await;
                assert_eq!(read_all(&mut tls).await.0, bytes.as_bytes());
                ftp.expect_reply(226).await;
            }
            ftp.close().await;
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn tickets_come_on_the_control_connection_only() {
    let pki = Pki::new();
    for (settings, tickets) in [("", 4), ("require_session_reuse = true", 16)] {
        let gateway = with_tls(&pki, settings).start().await;
        let client = pki.client().version(&rustls::version::TLS13).build();
        let mut ftp = secured(&gateway, &client).await;
        assert_eq!(ftp.tls().tls13_tickets_received(), tickets);
        let mut tls = begin_tls(&mut ftp, &client, "LIST", Mode::Passive, Begins::Late).await;
        let _ = read_all(&mut tls).await;
        assert_eq!(tls.get_ref().1.tls13_tickets_received(), 0);
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_data_connection_of_another_session_is_refused() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "require_session_reuse = true").start().await;
    gateway.store.put(BUCKET, "y", "secret");
    for version in VERSIONS {
        // Three other clients: one without a session, one with that of another control connection,
        // and one with a session that was resumed on it.
        let own = pki.client().version(version).build();
        let mut ftp = secured(&gateway, &own).await;
        let none = pki.client().version(version).habit(Habit::Never).build();
        let foreign = pki.client().version(version).build();
        let other = secured(&gateway, &foreign).await;
        for stranger in [&none, &foreign] {
            for begins in [Begins::Early, Begins::Late] {
                let data = ftp.data_passive().await;
                let (mut tls, first) = match begins {
                    Begins::Early => {
                        let tls = stranger.connect(data).await;
                        (tls, ftp.command("STOR x").await)
                    }
                    Begins::Late => {
                        let first = ftp.expect("STOR x", 150).await;
                        (stranger.connect(data).await, first)
                    }
                };
                if let Ok(tls) = &mut tls {
                    // The refusal may arrive first.
                    let _ = tls.write_all(b"foreign").await;
                    let _ = tls.shutdown().await;
                }
                let last = match first.code {
                    150 => ftp.reply().await,
                    _ => first,
                };
                assert_eq!(last.code, 522, "{last:?}");
                assert!(last.text().contains("resume"), "{last:?}");
                assert_eq!(gateway.store.object(BUCKET, "x"), None);

                let data = ftp.data_passive().await;
                ftp.expect("RETR y", 150).await;
                if let Ok(mut tls) = stranger.connect(data).await {
                    let mut got = Vec::new();
                    let _ = tls.read_to_end(&mut got).await;
                    assert_eq!(got, b"", "nothing is transferred");
                }
                ftp.expect_reply(522).await;
            }
        }
        // The client of the control connection is still served, and the other one on its own
        // session.
        other.close().await;
        let mut other = secured(&gateway, &foreign).await;
        for (ftp, client) in [(&mut ftp, &own), (&mut other, &foreign)] {
            let mut tls = begin_tls(ftp, client, "RETR y", Mode::Passive, Begins::Late).await;
            assert_eq!(read_all(&mut tls).await.0, b"secret");
            ftp.expect_reply(226).await;
        }
        ftp.close().await;
        other.close().await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn session_reuse_is_not_required_by_default() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "").start().await;
    for version in VERSIONS {
        let client = pki.client().version(version).habit(Habit::Never).build();
        let mut ftp = secured(&gateway, &client).await;
        let mut tls = begin_tls(&mut ftp, &client, "STOR x", Mode::Passive, Begins::Late).await;
        let kind = tls.get_ref().1.handshake_kind();
        assert_ne!(kind, Some(HandshakeKind::Resumed));
        send_and_end(&mut tls, b"1").await.unwrap();
        ftp.expect_reply(226).await;
    }
    gateway.stop().await;
}
