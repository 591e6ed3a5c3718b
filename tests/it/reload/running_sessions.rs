//! Sessions that run during a reload: they go on, with new permissions, mounts and limits.

use super::{login, taken};
use test_support::ftp::{Ftp, Mode};
use test_support::gateway::{BUCKET, Gateway, PASSWORD, USER};
use test_support::settings::user_section;
use test_support::transfers::upload_in_progress;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn each_command_sees_the_current_permissions_and_mounts() {
    let gateway = Gateway::builder()
        .add_mount("other", "other", "")
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("a", b"1").await.code, 226);
    ftp.expect("SIZE a", 213).await;
    ftp.expect("RNFR a", 350).await;
    let event = gateway
        .reload(|settings| settings.lay("[mounts.main]\npermissions = [\"list\", \"read\"]"))
        .await;
    taken(&event, "0 removed");
    ftp.expect("RNTO b", 550).await;
    ftp.expect("DELE a", 550).await;
    ftp.expect("STOR b", 550).await;
    let (bytes, _) = ftp.retrieve("a").await;
    assert_eq!(bytes, b"1");
    gateway
        .reload(|settings| {
            settings.lay("[users.u]\nmounts = { \"/\" = \"other\", \"/main\" = \"main\" }");
        })
        .await;
    ftp.expect("SIZE a", 550).await;
    ftp.expect("SIZE main/a", 213).await;
    assert_eq!(ftp.store("b", b"22").await.code, 226);
    assert_eq!(gateway.store.object("other", "b").unwrap(), b"22");
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_rename_goes_on_if_its_source_is_still_there() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("a", b"1").await.code, 226);
    ftp.expect("RNFR a", 350).await;
    gateway
        .reload(|settings| settings.lay("[users.u]\nsessions = 9"))
        .await;
    ftp.expect("RNTO b", 250).await;
    ftp.expect("RNFR b", 350).await;
    gateway
        .reload(|settings| settings.lay("[mounts.main]\nprefix = \"elsewhere\""))
        .await;
    ftp.expect("RNTO c", 503).await;
    assert!(gateway.store.object(BUCKET, "b").is_some());
    ftp.close().await;
    gateway.stop().await;
}

/// A transfer keeps what it began with, and a password that changes ends no session.
#[tokio::test]
async fn a_transfer_keeps_what_it_began_with() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let mut data = upload_in_progress(&mut ftp, "STOR a", b"first ").await;
    let changed = user_section(USER, "new", "{ \"/\" = \"main\" }");
    gateway
        .reload(|settings| {
            settings.lay(&changed);
            settings.lay("[mounts.main]\nprefix = \"elsewhere\"\npermissions = [\"list\"]");
        })
        .await;
    data.write_all(b"second").await.unwrap();
    data.shutdown().await.unwrap();
    ftp.expect_reply(226).await;
    assert_eq!(gateway.store.object(BUCKET, "a").unwrap(), b"first second");
    ftp.expect("STOR b", 550).await;
    ftp.in_step().await;
    ftp.close().await;
    gateway.stop().await;
}

/// Removes the user, or disables it, while one session is idle and another one transfers.
async fn removed(policy: &str, disable: bool) -> (Gateway, Ftp, Ftp, tokio::net::TcpStream) {
    let gateway = Gateway::builder()
        .with(&format!("[reload]\nremoved_users = \"{policy}\""))
        .user("v", "q", "{ \"/\" = \"main\" }")
        .start()
        .await;
    let idle = gateway.ftp_as("v", "q").await;
    let mut busy = gateway.ftp_as("v", "q").await;
    let data = upload_in_progress(&mut busy, "STOR a", b"first ").await;
    gateway
        .reload(|settings| match disable {
            true => settings.lay("[users.v]\ndisabled = true"),
            false => settings.remove("users", "v"),
        })
        .await;
    assert_eq!(login(&gateway, "v", "q").await, 530);
    (gateway, idle, busy, data)
}

#[tokio::test]
async fn sessions_of_removed_users_end_after_the_transfer() {
    for disable in [false, true] {
        let (gateway, mut idle, mut busy, mut data) = removed("after_transfer", disable).await;
        idle.expect_reply(421).await;
        idle.expect_end().await;
        data.write_all(b"second").await.unwrap();
        data.shutdown().await.unwrap();
        busy.expect_reply(226).await;
        let reply = busy.expect_reply(421).await;
        assert_eq!(reply.text(), "The account can not be used any more");
        busy.expect_end().await;
        assert_eq!(gateway.store.object(BUCKET, "a").unwrap(), b"first second");
        gateway.stop().await;
    }
}

#[tokio::test]
async fn sessions_of_removed_users_can_end_at_once_or_go_on() {
    for disable in [false, true] {
        let (gateway, mut idle, mut busy, _data) = removed("now", disable).await;
        idle.expect_reply(421).await;
        idle.expect_end().await;
        busy.expect_reply(426).await;
        busy.expect_reply(421).await;
        busy.expect_end().await;
        assert!(gateway.store.object(BUCKET, "a").is_none());
        gateway.stop().await;

        let (gateway, mut idle, mut busy, mut data) = removed("keep", disable).await;
        data.write_all(b"second").await.unwrap();
        data.shutdown().await.unwrap();
        busy.expect_reply(226).await;
        idle.expect("SIZE a", 213).await;
        let reply = idle.upload_with("STOR b", b"b", Mode::Pasv).await;
        assert_eq!(reply.code, 226);
        idle.close().await;
        busy.close().await;
        gateway.stop().await;
    }
}

#[tokio::test]
async fn an_account_that_expires_ends_its_sessions() {
    let gateway = Gateway::builder()
        .user("v", "q", "{ \"/\" = \"main\" }")
        .start()
        .await;
    let mut ftp = gateway.ftp_as("v", "q").await;
    let mut other = gateway.ftp().await;
    gateway
        .reload(|settings| settings.lay("[users.v]\nexpires = \"2020-01-01\""))
        .await;
    ftp.expect_reply(421).await;
    ftp.expect_end().await;
    other.expect("PWD", 257).await;
    other.close().await;
    assert_eq!(login(&gateway, USER, PASSWORD).await, 230);
    gateway.stop().await;
}
