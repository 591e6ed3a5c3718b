//! Limits on sessions.

use std::collections::VecDeque;
use std::net::IpAddr;

use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

use super::{first_reply, greeted, refused};
use test_support::ftp::{Ftp, connect_from};
use test_support::gateway::Gateway;
use test_support::tls::Pki;
use test_support::within;

const ONE: &str = "127.0.0.1";
const OTHER: &str = "127.0.0.2";
const DISPLACED: &str =
    "Too many sessions before login, this one made room for another, try again later";

#[tokio::test]
async fn all_sessions_together_are_limited_and_an_ended_one_makes_room() {
    let gateway = Gateway::builder()
        .with("[limits]\nsessions = 2")
        .start()
        .await;
    let mut first = greeted(ONE, gateway.address).await;
    let mut second = greeted(OTHER, gateway.address).await;
    for ftp in [&mut first, &mut second] {
        // Logged-in sessions do not make room for new ones.
        ftp.login("u", "p").await;
    }
    refused("127.0.0.3", gateway.address, "Too many sessions").await;
    first.close().await;
    let third = greeted("127.0.0.3", gateway.address).await;
    second.expect("QUIT", 221).await;
    let fourth = greeted(ONE, gateway.address).await;
    third.reset();
    greeted(OTHER, gateway.address).await;
    drop(fourth);
    gateway.stop().await;
}

#[tokio::test]
async fn sessions_are_limited_per_address() {
    let gateway = Gateway::builder()
        .with("[limits]\nsessions_per_address = 1")
        .start()
        .await;
    let first = greeted(ONE, gateway.address).await;
    let why = "Too many sessions from your address";
    refused(ONE, gateway.address, why).await;
    let _other = greeted(OTHER, gateway.address).await;
    refused(OTHER, gateway.address, why).await;
    first.close().await;
    greeted(ONE, gateway.address).await;
    gateway.stop().await;
}

/// A client that is refused for this reason only.
async fn one_too_many(gateway: &Gateway, user: &str) {
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.expect(&format!("USER {user}"), 331).await;
    let refused = ftp.expect("PASS p", 421).await;
    assert_eq!(
        refused.text(),
        "Too many sessions of this user, try again later"
    );
    ftp.expect_end().await;
}

/// Logs in as soon as there is room.
async fn as_soon_as_free(gateway: &Gateway, user: &str) -> Ftp {
    within("a place", async {
        loop {
            let mut ftp = Ftp::connect(gateway.address).await;
            ftp.expect(&format!("USER {user}"), 331).await;
            if ftp.command("PASS p").await.code == 230 {
                return ftp;
            }
        }
    })
    .await
}

#[tokio::test]
async fn sessions_are_limited_per_user_and_rein_makes_room() {
    let gateway = Gateway::builder()
        .user("v", "p", "{ \"/\" = \"main\" }")
        .with("[users.v]\nsessions = 2\n[limits]\nsessions_per_user = 1")
        .start()
        .await;
    let mut first = gateway.ftp().await;
    one_too_many(&gateway, "u").await;
    // A wrong password gets its usual answer.
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.expect("USER u", 331).await;
    ftp.expect("PASS wrong", 530).await;
    // The user's own limit is checked before the general one.
    let vs = [
        gateway.ftp_as("v", "p").await,
        gateway.ftp_as("v", "p").await,
    ];
    one_too_many(&gateway, "v").await;
    // By REIN, by another USER, and by the end of the session.
    first.expect("REIN", 220).await;
    let mut second = gateway.ftp().await;
    one_too_many(&gateway, "u").await;
    second.expect("USER v", 331).await;
    let third = gateway.ftp().await;
    one_too_many(&gateway, "u").await;
    third.reset();
    as_soon_as_free(&gateway, "u").await.close().await;
    drop(vs);
    as_soon_as_free(&gateway, "v").await;
    gateway.stop().await;
}

/// Ten addresses with silent connections lock out neither existing sessions nor clients from
/// elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_do_not_keep_users_from_logging_in() {
    let gateway = Gateway::builder()
        .with("[limits]\nsessions = 400\nsessions_per_address = 40")
        .start()
        .await;
    let mut user = gateway.ftp().await;
    // As many as the limit, accepted or refused.
    let mut silent = Vec::new();
    for number in 10..20 {
        let from = format!("127.0.0.{number}");
        for _ in 0..40 {
            silent.push(first_reply(&from, gateway.address).await.1);
        }
    }
    for _ in 0..10 {
        // All at once.
        let mut ftp = Ftp::connect_from(OTHER.parse().unwrap(), gateway.address).await;
        ftp.login("u", "p").await;
        silent.push(ftp);
    }
    user.in_step().await;
    // Those that were silent for the longest time got the reason.
    let reply = silent[0].expect_reply(421).await;
    assert_eq!(reply.text(), DISPLACED);
    silent[0].expect_end().await;
    gateway.stop().await;
}

/// While several addresses open one silent connection after another and hold as many as they get,
/// each client that logs in gets in at the first attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_from_several_addresses_does_not_keep_users_from_logging_in() {
    let gateway = Gateway::builder()
        .with("[limits]\nsessions = 200")
        .start()
        .await;
    let to = gateway.address;
    let mut first = greeted("127.0.0.10", to).await;
    let (opened, mut seen) = watch::channel(0);
    let flood = tokio::spawn(async move {
        let mut held = VecDeque::new();
        for number in (10..20).cycle() {
            let from = IpAddr::from([127, 0, 0, number]);
            held.push_back(connect_from(from, to).await.unwrap());
            if held.len() > 300 {
                held.pop_front();
            }
            opened.send_modify(|opened| *opened += 1);
        }
    });
    for round in 1..=20 {
        within("the flood", seen.wait_for(|opened| *opened >= 60 * round))
            .await
            .unwrap();
        let mut ftp = Ftp::connect_from(OTHER.parse().unwrap(), to).await;
        ftp.login("u", "p").await;
        ftp.close().await;
    }
    assert_eq!(first.expect_reply(421).await.text(), DISPLACED);
    flood.abort();
    gateway.stop().await;
}

/// A session in its handshake, also one from a load balancer, makes room at once, without a reply.
#[tokio::test]
async fn a_half_finished_handshake_makes_room() {
    let pki = Pki::new();
    let gateway = Gateway::builder()
        .with("[limits]\nsessions_before_login = 2\n[timeouts]\nlogin = \"10m\"\ntls_handshake = \"10m\"")
        .with("[proxy_protocol]\nnetworks = [\"127.0.0.9/32\"]")
        .with(&pki.section(""))
        .start()
        .await;
    let header = b"PROXY TCP4 127.0.0.8 127.0.0.1 40000 21\r\n";
    let proxied: IpAddr = "127.0.0.9".parse().unwrap();
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = connect_from(proxied, gateway.address).await.unwrap();
        stream.write_all(header).await.unwrap();
        let mut ftp = Ftp::over(stream);
        ftp.expect_reply(220).await;
        ftp.expect("AUTH TLS", 234).await;
        ftp.send_raw(&[22, 3, 1, 0, 200, 1]).await;
        held.push(ftp);
    }
    let mut ftp = Ftp::connect_from(OTHER.parse().unwrap(), gateway.address).await;
    held[0].expect_end().await;
    ftp.login("u", "p").await;
    gateway.stop().await;
}

#[tokio::test]
async fn sessions_before_login_are_limited_in_total_and_per_address() {
    let pki = Pki::new();
    let gateway = Gateway::builder()
        .with("[limits]\nsessions_before_login = 3\nsessions_before_login_per_address = 2")
        .with(&pki.section(""))
        .start()
        .await;
    let own = "Too many sessions before login from your address";
    let mut first = greeted(ONE, gateway.address).await;
    let mut second = greeted(ONE, gateway.address).await;
    refused(ONE, gateway.address, own).await;
    let third = greeted(OTHER, gateway.address).await;
    // A login, or an end without one, releases a permit of sessions before login. REIN, USER and
    // AUTH take one again.
    first.login("u", "p").await;
    greeted(ONE, gateway.address).await.close().await;
    for leaving in ["REIN", "USER u", "AUTH TLS"] {
        let mut ftp = greeted(ONE, gateway.address).await;
        ftp.login("u", "p").await;
        let last = greeted(ONE, gateway.address).await;
        let reply = ftp.expect(leaving, 421).await;
        assert_eq!(reply.text(), format!("{own}, try again later"));
        ftp.expect_end().await;
        last.close().await;
    }
    // At the limit the oldest session of the network with the most ends, for a session that returns
    // to it and for a new one.
    let elsewhere: IpAddr = "127.0.0.3".parse().unwrap();
    let mut member = Ftp::connect_from(elsewhere, gateway.address).await;
    member.login("u", "p").await;
    let mut last = greeted(ONE, gateway.address).await;
    member.expect("REIN", 220).await;
    assert_eq!(second.expect_reply(421).await.text(), DISPLACED);
    second.expect_end().await;
    member.login("u", "p").await;
    let _another = greeted(ONE, gateway.address).await;
    let mut newcomer = Ftp::connect_from(elsewhere, gateway.address).await;
    assert_eq!(last.expect_reply(421).await.text(), DISPLACED);
    for mut ftp in [first, third, member] {
        ftp.in_step().await;
    }
    newcomer.login("u", "p").await;
    gateway.stop().await;
}
