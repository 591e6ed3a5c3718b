//! The steps between the network and a login, under TLS: PROXY headers, bans, limits, virtual
//! hosts.

use std::net::{IpAddr, SocketAddr};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{Begins, begin_tls, implicit, with_tls};
use test_support::ftp::{Ftp, Mode, read_to_end_deadline};
use test_support::gateway::{BUCKET, Builder, Gateway, PASSWORD, USER};
use test_support::tls::{Client, Habit, Pki, VERSIONS, send_and_end};

const HEADER: &[u8] = b"PROXY TCP4 127.0.0.9 127.0.0.1 40000 21\r\n";

/// A user `alone` who needs no password.
fn with_clients(pki: &Pki) -> Builder {
    with_tls(pki, &format!("client_ca = {:?}", pki.path("ca.crt"))).with(
        "[users.alone]\ncertificate = { subject = \"scanner 7\", password = \"none\" }\nmounts = { \"/\" = \"main\" }",
    )
}

/// A client with the certificate of `alone`.
fn alone(pki: &Pki) -> Client {
    let identity = pki.client_certificate("scanner 7", &[]);
    pki.client().identity(identity).without_sni().build()
}

async fn secured_from(from: &str, gateway: &Gateway, client: &Client) -> Ftp {
    let from: IpAddr = from.parse().unwrap();
    let mut ftp = Ftp::connect_from(from, gateway.address).await;
    ftp.auth("AUTH TLS", client).await;
    ftp
}

#[tokio::test]
async fn a_client_certificate_does_not_get_past_a_ban() {
    let pki = Pki::new();
    let gateway = with_clients(&pki)
        .with(
            "[limits]\nlogin_attempts = 1000\n[login_failures]\nban_user_after = 2\nban_after = 4",
        )
        .start()
        .await;
    let own = alone(&pki);
    let mut ftp = secured_from("127.0.0.1", &gateway, &own).await;
    ftp.expect("USER alone", 232).await;
    let mut guesser = Ftp::connect(gateway.address).await;
    for _ in 0..2 {
        guesser.expect("USER alone", 331).await;
        guesser.expect("PASS guessed", 530).await;
    }
    // The user is banned at this address, as after wrong passwords.
    let refused = ftp.expect("USER alone", 530).await;
    assert_eq!(refused.text(), "Login incorrect");
    ftp.expect("PWD", 530).await;
    let mut elsewhere = secured_from("127.0.0.2", &gateway, &own).await;
    elsewhere.expect("USER alone", 232).await;
    // After the fourth failure, not counting those of the banned user, the address is banned: no
    // user can log in from there, and no password is checked.
    ftp.expect("USER alone", 530).await;
    for _ in 0..2 {
        guesser.expect("USER u", 331).await;
        guesser.expect("PASS guessed", 530).await;
    }
    let banned = ftp.expect("USER alone", 421).await;
    assert!(banned.text().contains("failed logins"), "{banned:?}");
    ftp.expect_end().await;
    elsewhere.expect("USER alone", 232).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_client_certificate_is_for_the_users_of_the_host() {
    let pki = Pki::new();
    let gateway = with_clients(&pki)
        .with("[hosts.\"a.test\"]\nusers = [\"u\"]\n[hosts.\"b.test\"]\nusers = [\"alone\"]")
        .start()
        .await;
    let mut ftp = secured_from("127.0.0.1", &gateway, &alone(&pki)).await;
    ftp.expect("HOST a.test", 220).await;
    let refused = ftp.expect("USER alone", 530).await;
    assert_eq!(refused.text(), "Login incorrect");
    ftp.expect("HOST b.test", 220).await;
    ftp.expect("USER alone", 232).await;
    ftp.expect("USER u", 331).await;
    ftp.expect(&format!("PASS {PASSWORD}"), 530).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_client_certificate_counts_for_the_users_session_limit() {
    let pki = Pki::new();
    let gateway = with_clients(&pki)
        .with("[users.alone]\nsessions = 1")
        .start()
        .await;
    let own = alone(&pki);
    let mut first = secured_from("127.0.0.1", &gateway, &own).await;
    first.expect("USER alone", 232).await;
    let mut second = secured_from("127.0.0.1", &gateway, &own).await;
    let full = second.expect("USER alone", 421).await;
    assert_eq!(
        full.text(),
        "Too many sessions of this user, try again later"
    );
    second.expect_end().await;
    // Another USER releases the session's permit.
    first.expect("USER unknown", 331).await;
    let mut third = secured_from("127.0.0.1", &gateway, &own).await;
    third.expect("USER alone", 232).await;
    gateway.stop().await;
}

async fn beginning_with(to: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

#[tokio::test]
async fn a_proxy_header_comes_before_tls_on_control_and_data_connections() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "")
        .with("[proxy_protocol]\nnetworks = [\"127.0.0.1/32\"]")
        .start()
        .await;
    let mut path = 0;
    for version in VERSIONS {
        for is_implicit in [false, true] {
            let client = pki.client().version(version).build();
            let mut ftp = if is_implicit {
                let mut ftp = Ftp::over(beginning_with(implicit(&gateway), HEADER).await);
                ftp.handshake(&client).await.unwrap();
                ftp.expect_reply(220).await;
                ftp
            } else {
                let mut ftp = Ftp::over(beginning_with(gateway.address, HEADER).await);
                ftp.expect_reply(220).await;
                ftp.auth("AUTH TLS", &client).await;
                ftp
            };
            ftp.login(USER, PASSWORD).await;
            ftp.expect("PBSZ 0", 200).await;
            ftp.expect("PROT P", 200).await;
            let status = ftp.expect("STAT", 211).await.lines.join("\n");
            assert!(status.contains("Connected from 127.0.0.9"), "{status}");
            for early in [false, true] {
                path += 1;
                let port = ftp.epsv().await;
                let data = beginning_with(port, HEADER).await;
                let command = format!("STOR {path}");
                let mut tls = if early {
                    let tls = client.connect(data).await.unwrap();
                    ftp.expect(&command, 150).await;
                    tls
                } else {
                    ftp.expect(&command, 150).await;
                    client.connect(data).await.unwrap()
                };
                send_and_end(&mut tls, b"bytes").await.unwrap();
                ftp.expect_reply(226).await;
                let stored = gateway.store.object(BUCKET, &path.to_string());
                assert_eq!(stored.as_deref(), Some(&b"bytes"[..]));
            }
        }
    }
    gateway.stop().await;
}

/// In plaintext it would not be TLS.
#[tokio::test]
async fn an_implicit_listener_refuses_without_a_plaintext_reply() {
    for (settings, refused) in [
        ("[limits]\nsessions = 1", "Too many sessions"),
        (
            "[limits]\nsessions_per_address = 1",
            "Too many sessions from your address",
        ),
        (
            "[login_failures]\nban_after = 1",
            "Too many failed logins from your address",
        ),
    ] {
        let pki = Pki::new();
        let gateway = with_tls(&pki, "").with(settings).start().await;
        let mut first = Ftp::connect(gateway.address).await;
        first.expect("USER unknown", 331).await;
        first.expect("PASS guessed", 530).await;
        let mut stream = TcpStream::connect(implicit(&gateway)).await.unwrap();
        assert_eq!(read_to_end_deadline(&mut stream).await.0, b"");
        let mut refused_client = Ftp::over(TcpStream::connect(gateway.address).await.unwrap());
        let reply = refused_client.expect_reply(421).await;
        assert_eq!(reply.text(), format!("{refused}, try again later"));
        gateway.stop().await;
    }
}

/// Users u and v, `a` for v only. `b` has a certificate of its own; the general one is for both.
fn two_hosts(pki: &Pki, more: &str) -> Builder {
    pki.server("tls", &["ftp.test", "a.test", "b.test"]);
    pki.server("b", &["b.test"]);
    let (own, key) = (pki.path("b.crt"), pki.path("b.key"));
    with_tls(pki, more)
        .user("v", "q", "{ \"/\" = \"main\" }")
        .with(&format!(
            "greeting = \"general\"\n[hosts.\"a.test\"]\ngreeting = \"this is a\"\nusers = [\"v\"]\n\
             [hosts.\"B.test\"]\ngreeting = \"this is b\"\ncertificate = {own:?}\nkey = {key:?}"
        ))
}

#[tokio::test]
async fn the_host_of_the_handshake_is_the_virtual_host() {
    let pki = Pki::new();
    let gateway = two_hosts(&pki, "").start().await;
    for (name, greeting, admits_u) in [
        ("ftp.test", "general", true),
        ("a.test", "this is a", false),
        ("B.test", "this is b", true),
    ] {
        let client = pki.client().name(name).build();
        let mut stream = Ftp::over(TcpStream::connect(implicit(&gateway)).await.unwrap());
        stream.handshake(&client).await.unwrap();
        assert_eq!(stream.expect_reply(220).await.text(), greeting);
        let mut explicit = Ftp::connect(gateway.address).await;
        explicit.auth("AUTH TLS", &client).await;
        for mut ftp in [stream, explicit] {
            ftp.expect("USER u", 331).await;
            let code = if admits_u { 230 } else { 530 };
            ftp.expect(&format!("PASS {PASSWORD}"), code).await;
            ftp.login("v", "q").await;
        }
    }
    gateway.stop().await;
}

/// RFC 7151, 3.2.2.
#[tokio::test]
async fn host_at_odds_with_the_handshake_is_refused() {
    let pki = Pki::new();
    let gateway = two_hosts(&pki, "").start().await;
    let client = pki.client().name("a.test").build();
    let mut ftp = Ftp::connect(gateway.address).await;
    // The commands in plaintext are forgotten.
    ftp.expect("HOST b.test", 220).await;
    ftp.auth("AUTH TLS", &client).await;
    let refused = ftp.expect("HOST b.test", 504).await;
    assert_eq!(refused.text(), "The TLS handshake named another host");
    ftp.expect("HOST c.test", 504).await;
    for same in ["HOST A.test", "HOST 127.0.0.1"] {
        assert_eq!(ftp.expect(same, 220).await.text(), "this is a");
    }
    ftp.expect("USER u", 331).await;
    ftp.expect(&format!("PASS {PASSWORD}"), 530).await;
    ftp.login("v", "q").await;
    // The same if the handshake named none of the virtual hosts: HOST cannot lead the client to one
    // whose certificate it has not seen.
    let client = pki.client().build();
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.expect("HOST a.test", 220).await;
    ftp.auth("AUTH TLS", &client).await;
    let refused = ftp.expect("HOST a.test", 504).await;
    assert_eq!(refused.text(), "The TLS handshake named another host");
    assert_eq!(ftp.expect("HOST 127.0.0.1", 220).await.text(), "general");
    ftp.login(USER, PASSWORD).await;
    // A handshake that names no host leaves the choice, and drops the earlier one.
    let client = pki.client().without_sni().build();
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.expect("HOST a.test", 220).await;
    ftp.auth("AUTH TLS", &client).await;
    ftp.login(USER, PASSWORD).await;
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.auth("AUTH TLS", &client).await;
    assert_eq!(ftp.expect("HOST a.test", 220).await.text(), "this is a");
    ftp.expect("USER u", 331).await;
    ftp.expect(&format!("PASS {PASSWORD}"), 530).await;
    gateway.stop().await;
}

#[tokio::test]
async fn host_chooses_the_certificate_without_sni() {
    let pki = Pki::new();
    let gateway = two_hosts(&pki, "").start().await;
    let certificate = |tls: &rustls::ClientConnection| tls.peer_certificates().unwrap()[0].to_vec();
    let named = async |name: &str| {
        let mut ftp = Ftp::connect(gateway.address).await;
        ftp.auth("AUTH TLS", &pki.client().name(name).build()).await;
        certificate(ftp.tls())
    };
    let (general, own) = (named("ftp.test").await, named("b.test").await);
    for version in VERSIONS {
        // Without session resumption each handshake shows a certificate.
        let client = |name| {
            let client = pki.client().version(version).habit(Habit::Never);
            client.name(name).without_sni().build()
        };
        for (host, shown) in [
            (None, &general),
            (Some("a.test"), &general),
            (Some("B.test"), &own),
        ] {
            let client = client(host.unwrap_or("ftp.test"));
            let mut ftp = Ftp::connect(gateway.address).await;
            if let Some(host) = host {
                ftp.expect(&format!("HOST {host}"), 220).await;
            }
            ftp.auth("AUTH TLS", &client).await;
            assert!(certificate(ftp.tls()) == *shown, "{version:?} {host:?}");
            // HOST has chosen the certificate only: everything else is forgotten.
            assert_eq!(ftp.expect("HOST 127.0.0.1", 220).await.text(), "general");
            ftp.login(USER, PASSWORD).await;
            ftp.expect("PBSZ 0", 200).await;
            ftp.expect("PROT P", 200).await;
            let mut tls = begin_tls(&mut ftp, &client, "STOR x", Mode::Passive, Begins::Late).await;
            let same = certificate(tls.get_ref().1) == *shown;
            assert!(same, "{version:?} {host:?}");
            send_and_end(&mut tls, b"bytes").await.unwrap();
            ftp.expect_reply(226).await;
        }
        // A handshake that names a host decides; a data connection without a name follows it.
        let mut ftp = Ftp::connect(gateway.address).await;
        ftp.expect("HOST a.test", 220).await;
        let speaks = pki.client().version(version).name("b.test").build();
        ftp.auth("AUTH TLS", &speaks).await;
        assert!(certificate(ftp.tls()) == own);
        ftp.login(USER, PASSWORD).await;
        ftp.expect("PBSZ 0", 200).await;
        ftp.expect("PROT P", 200).await;
        let silent = client("b.test");
        let mut tls = begin_tls(&mut ftp, &silent, "STOR x", Mode::Passive, Begins::Late).await;
        assert!(certificate(tls.get_ref().1) == own, "{version:?}");
        send_and_end(&mut tls, b"bytes").await.unwrap();
        ftp.expect_reply(226).await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_host_has_its_own_certificate_which_follows_its_files() {
    let pki = Pki::new();
    let gateway = two_hosts(&pki, "reload = 0").start().await;
    let shown = async |name: &str| {
        let mut ftp = Ftp::connect(gateway.address).await;
        let client = pki.client().name(name).build();
        ftp.auth("AUTH TLS", &client).await;
        ftp.tls().peer_certificates().unwrap()[0].to_vec()
    };
    let (general, first) = (shown("ftp.test").await, shown("b.test").await);
    assert_eq!(shown("a.test").await, general);
    assert_ne!(first, general);
    pki.server("b", &["b.test"]);
    assert_eq!(shown("b.test").await, first);
    gateway.server.reload();
    test_support::within("the new certificate", async {
        while shown("b.test").await == first {}
    })
    .await;
    assert_eq!(shown("ftp.test").await, general);
    gateway.stop().await;
}
