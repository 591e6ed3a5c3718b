//! Bans are listed and lifted.

use s3ftpd::events::Kind;

use super::http::Request;
use super::{admin, json, post, with_token};
use test_support::ftp::Ftp;
use test_support::gateway::{Gateway, PASSWORD, USER};

async fn fail(gateway: &Gateway, user: &str, times: usize) {
    for _ in 0..times {
        let mut ftp = Ftp::connect(gateway.address).await;
        ftp.expect(&format!("USER {user}"), 331).await;
        ftp.expect("PASS wrong", 530).await;
        ftp.close().await;
    }
}

async fn lift(gateway: &Gateway, number: usize) {
    let bans = json(gateway, "/bans").await;
    let id = bans["bans"][number]["id"].as_u64().unwrap();
    let answer = post(gateway, &format!("/bans/{id}/lift"), "").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let again = post(gateway, &format!("/bans/{id}/lift"), "").await;
    assert_eq!(again.status, 404);
}

#[tokio::test]
async fn a_banned_user_is_listed_and_may_log_in_when_the_ban_is_lifted() {
    let gateway = with_token()
        .with("[login_failures]\nban_user_after = 2\nban_after = 0\nban_for = \"1h\"")
        .start()
        .await;
    let none = json(&gateway, "/bans").await;
    assert_eq!(none["bans"], serde_json::json!([]));
    fail(&gateway, USER, 2).await;
    gateway.events.wait_for(Kind::Banned).await;
    let bans = json(&gateway, "/bans").await;
    let ban = &bans["bans"][0];
    assert_eq!(ban["user"], USER);
    assert_eq!(ban["address"], "127.0.0.1");
    let seconds = ban["seconds"].as_f64().unwrap();
    assert!((3000.0..=3600.0).contains(&seconds), "{ban}");
    let page = Request::get("/").send(admin(&gateway)).await.body;
    assert!(page.contains("59 min") || page.contains("1 h"), "{page}");
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.expect(&format!("USER {USER}"), 331).await;
    ftp.expect(&format!("PASS {PASSWORD}"), 530).await;
    lift(&gateway, 0).await;
    ftp.login(USER, PASSWORD).await;
    assert_eq!(json(&gateway, "/bans").await["bans"], serde_json::json!([]));
    gateway.stop().await;
}

#[tokio::test]
async fn a_banned_address_may_connect_when_the_ban_is_lifted() {
    let gateway = with_token()
        .with("[login_failures]\nban_user_after = 0\nban_after = 2")
        .start()
        .await;
    fail(&gateway, "a", 1).await;
    fail(&gateway, "b", 1).await;
    gateway.events.wait_for(Kind::Banned).await;
    let bans = json(&gateway, "/bans").await;
    assert_eq!(bans["bans"][0]["address"], "127.0.0.1");
    assert!(bans["bans"][0]["user"].is_null(), "{bans}");
    lift(&gateway, 0).await;
    let mut ftp = gateway.ftp().await;
    ftp.in_step().await;
    gateway.stop().await;
}
