//! Clients that try `anonymous` before their own name.

use std::time::{Duration, Instant};

use futures::future::join_all;

use super::greeted;
use test_support::gateway::{Gateway, PASSWORD, USER};

const HERE: &str = "127.0.0.1";

#[tokio::test(flavor = "multi_thread")]
async fn probes_as_anonymous_ban_no_address() {
    let gateway = Gateway::start().await;
    let mut clients = Vec::new();
    for at in 0..26 {
        let mut ftp = greeted(HERE, gateway.address).await;
        let name = ["anonymous", "ftp", "Anonymous", "FTP"][at % 4];
        ftp.expect(&format!("USER {name}"), 331).await;
        ftp.send("PASS x@example.com").await;
        clients.push(ftp);
    }
    for mut ftp in clients {
        ftp.expect_reply(530).await;
        ftp.login(USER, PASSWORD).await;
        ftp.close().await;
    }
    gateway.stop().await;
}

/// An address gets one answer a second, however many connections ask. Other addresses are not
/// delayed.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_gets_one_answer_a_second() {
    let gateway = Gateway::start().await;
    let mut ftp = greeted(HERE, gateway.address).await;
    let begun = Instant::now();
    for _ in 0..3 {
        ftp.expect("USER anonymous", 331).await;
        ftp.expect("PASS x", 530).await;
    }
    assert!(
        begun.elapsed() >= Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    // Answers to this address for the next 5 s, however slow the machine is.
    let mut waiting = Vec::new();
    for _ in 0..6 {
        let mut ftp = greeted(HERE, gateway.address).await;
        ftp.expect("USER anonymous", 331).await;
        ftp.send("PASS x").await;
        waiting.push(ftp);
    }
    let answers = join_all(waiting.iter_mut().map(|ftp| ftp.expect_reply(530)));
    let other = async {
        let mut other = greeted("127.0.0.2", gateway.address).await;
        other.expect("USER anonymous", 331).await;
        other.expect("PASS x", 530).await;
    };
    tokio::select! {
        _ = answers => panic!("another address has waited for all of them"),
        () = other => {}
    }
    gateway.stop().await;
}

/// A configured user of that name is like any other.
#[tokio::test(flavor = "multi_thread")]
async fn failures_of_a_configured_anonymous_user_count() {
    let gateway = Gateway::builder()
        .with("[limits]\nlogin_attempts = 1000\n[login_failures]\ndelay = 0\nmax_delay = 0\nban_after = 4")
        .user("anonymous", "guest", "{ \"/\" = \"main\" }")
        .start()
        .await;
    let mut ftp = greeted(HERE, gateway.address).await;
    ftp.login("anonymous", "guest").await;
    for _ in 0..4 {
        ftp.expect("USER anonymous", 331).await;
        ftp.expect("PASS wrong", 530).await;
    }
    ftp.expect("USER anonymous", 331).await;
    ftp.expect("PASS guest", 421).await;
    gateway.stop().await;
}
