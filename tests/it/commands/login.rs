//! USER, PASS, ACCT, REIN, QUIT, and clients that do not log in (RFC 959, 4.1.1).

use tokio::io::AsyncWriteExt;

use super::answers;
use test_support::ftp::{Ftp, Mode};
use test_support::gateway::{BUCKET, Gateway, PASSWORD, USER};
use test_support::transfers::begin;
use test_support::within;

#[tokio::test]
async fn user_and_pass_in_this_order() {
    let gateway = Gateway::start().await;
    let mut ftp = Ftp::connect(gateway.address).await;
    answers(
        &mut ftp,
        &[
            ("PASS p", 503),
            ("ACCT x", 530),
            ("USER", 501),
            ("USER u", 331),
            ("PWD", 530),
            ("PASS p", 230),
            ("PASS p", 503),
            ("ACCT x", 202),
            ("PWD", 257),
        ],
    )
    .await;
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_new_user_begins_a_new_login() {
    let gateway = Gateway::builder()
        .add_mount("other", "other", "")
        .user("v", "q", "{ \"/\" = \"other\" }")
        .start()
        .await;
    gateway.store.put(BUCKET, "dir/mine", "1");
    let mut ftp = gateway.ftp().await;
    ftp.expect("CWD dir", 250).await;
    ftp.expect("RNFR mine", 350).await;
    ftp.expect("USER v", 331).await;
    ftp.expect("PWD", 530).await;
    ftp.expect("PASS q", 230).await;
    // Nothing of the other user's session is left.
    assert!(ftp.expect("PWD", 257).await.text().contains("\"/\""));
    ftp.expect("RNTO stolen", 503).await;
    ftp.expect("SIZE dir/mine", 550).await;
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn too_many_failed_logins_end_the_connection() {
    let gateway = Gateway::builder()
        .with("[limits]\nlogin_attempts = 2")
        .start()
        .await;
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.expect("USER u", 331).await;
    ftp.expect("PASS wrong", 530).await;
    ftp.expect("USER u", 331).await;
    ftp.expect("PASS wrong", 421).await;
    ftp.expect_end().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_session_without_commands_ends_and_one_with_a_transfer_does_not() {
    let gateway = Gateway::builder()
        .with("[timeouts]\nidle = \"3s\"")
        .start()
        .await;
    let mut idle = gateway.ftp().await;
    let mut busy = gateway.ftp().await;
    let mut data = begin(&mut busy, "STOR x", Mode::Passive).await;
    idle.expect_reply(421).await;
    idle.expect_end().await;
    data.write_all(b"late").await.unwrap();
    drop(data);
    busy.expect_reply(226).await;
    busy.expect_reply(421).await;
    busy.expect_end().await;
    assert_eq!(
        gateway.store.object(BUCKET, "x").as_deref(),
        Some(&b"late"[..])
    );
    gateway.stop().await;
}

#[tokio::test]
async fn rein_resets_the_session_and_quit_ends_it() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "dir/x", "0123456789");
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    ftp.expect("EPSV ALL", 200).await;
    ftp.expect("CWD dir", 250).await;
    ftp.expect("REST 5", 350).await;
    ftp.expect("REIN", 220).await;
    ftp.expect("PWD", 530).await;
    ftp.expect("PASS p", 503).await;
    ftp.login(USER, PASSWORD).await;
    assert!(ftp.expect("PWD", 257).await.text().contains("\"/\""));
    ftp.expect("PASV", 227).await;
    let status = ftp.expect("STAT", 211).await;
    assert!(
        status.lines.iter().any(|line| line.contains("TYPE ASCII")),
        "{status:?}"
    );
    let (bytes, _) = ftp.retrieve("dir/x").await;
    assert_eq!(bytes, b"0123456789");
    ftp.expect("QUIT", 221).await;
    ftp.expect_end().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rein_does_not_extend_the_login_deadline() {
    let gateway = Gateway::builder()
        .with("[timeouts]\nlogin = \"300ms\"")
        .start()
        .await;
    let mut ftp = Ftp::connect(gateway.address).await;
    let knocking = async {
        loop {
            match ftp.command("REIN").await.code {
                220 => {}
                code => break code,
            }
        }
    };
    assert_eq!(within("the deadline of the login", knocking).await, 421);
    ftp.expect_end().await;
    gateway.stop().await;
}
