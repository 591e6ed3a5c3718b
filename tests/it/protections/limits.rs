//! 11: limits on sessions.

use super::{knock, let_in, refused};
use crate::support::ftp::Ftp;
use crate::support::gateway::Gateway;
use crate::support::tls::Pki;
use crate::support::within;

const ONE: &str = "127.0.0.1";
const OTHER: &str = "127.0.0.2";

#[tokio::test]
async fn protection_11_sessions_are_limited_in_all_and_the_place_is_free_again() {
    let gateway = Gateway::builder()
        .with("[limits]\nsessions = 2")
        .start()
        .await;
    let first = let_in(ONE, gateway.address).await;
    let mut second = let_in(OTHER, gateway.address).await;
    refused("127.0.0.3", gateway.address, "Too many sessions").await;
    first.close().await;
    let third = let_in("127.0.0.3", gateway.address).await;
    second.expect("QUIT", 221).await;
    let fourth = let_in(ONE, gateway.address).await;
    third.reset();
    let_in(OTHER, gateway.address).await;
    drop(fourth);
    gateway.stop().await;
}

#[tokio::test]
async fn protection_11_sessions_are_limited_per_address() {
    let gateway = Gateway::builder()
        .with("[limits]\nsessions_per_address = 1")
        .start()
        .await;
    let first = let_in(ONE, gateway.address).await;
    let why = "Too many sessions from your address";
    refused(ONE, gateway.address, why).await;
    let _other = let_in(OTHER, gateway.address).await;
    refused(OTHER, gateway.address, why).await;
    first.close().await;
    let_in(ONE, gateway.address).await;
    gateway.stop().await;
}

/// Who may not in for this reason only.
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

/// Logs in as soon as a place is free.
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
async fn protection_11_sessions_are_limited_per_user_and_rein_gives_the_place_back() {
    let gateway = Gateway::builder()
        .user("v", "p", "{ \"/\" = \"main\" }")
        .with("[users.v]\nsessions = 2\n[limits]\nsessions_per_user = 1")
        .start()
        .await;
    let mut first = gateway.ftp().await;
    one_too_many(&gateway, "u").await;
    // A wrong password is answered as ever.
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.expect("USER u", 331).await;
    ftp.expect("PASS wrong", 530).await;
    // His own limit goes before the general one.
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

/// Ten addresses that say nothing lock nobody out who is in, nor anybody from elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn protection_11_silent_connections_take_no_place_from_who_logs_in() {
    let gateway = Gateway::builder()
        .with("[limits]\nsessions = 400\nsessions_per_address = 40\nsessions_before_login_per_address = 5")
        .start()
        .await;
    let mut user = gateway.ftp().await;
    // As many as there are places for, let in or refused.
    let mut silent = Vec::new();
    for number in 10..20 {
        let from = format!("127.0.0.{number}");
        for _ in 0..40 {
            silent.push(knock(&from, gateway.address).await.1);
        }
    }
    for _ in 0..10 {
        let mut ftp = let_in(OTHER, gateway.address).await;
        ftp.login("u", "p").await;
        silent.push(ftp);
    }
    user.in_step().await;
    gateway.stop().await;
}

#[tokio::test]
async fn protection_11_sessions_before_login_are_limited_in_all_and_per_address() {
    let pki = Pki::new();
    let gateway = Gateway::builder()
        .with("[limits]\nsessions_before_login = 3\nsessions_before_login_per_address = 2")
        .with(&pki.section(""))
        .start()
        .await;
    let (all, own) = (
        "Too many sessions before login",
        "Too many sessions before login from your address",
    );
    let mut first = let_in(ONE, gateway.address).await;
    let second = let_in(ONE, gateway.address).await;
    refused(ONE, gateway.address, own).await;
    let third = let_in(OTHER, gateway.address).await;
    refused("127.0.0.3", gateway.address, all).await;
    // A place is given back with the login, by whoever leaves without one, and taken again by REIN, USER and AUTH.
    first.login("u", "p").await;
    let_in(ONE, gateway.address).await.close().await;
    for leaving in ["REIN", "USER u", "AUTH TLS"] {
        let mut ftp = let_in("127.0.0.4", gateway.address).await;
        ftp.login("u", "p").await;
        let _last = let_in("127.0.0.5", gateway.address).await;
        let told = ftp.expect(leaving, 421).await;
        assert_eq!(told.text(), format!("{all}, try again later"));
        ftp.expect_end().await;
    }
    second.reset();
    first.expect("REIN", 220).await;
    drop(third);
    gateway.stop().await;
}
