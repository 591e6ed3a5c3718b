//! USER, PASS, ACCT, REIN, QUIT, and what happens to those who do not log in (RFC 959, 4.1.1).

use super::{answers, begin};
use crate::support::ftp::Ftp;
use crate::support::gateway::{BUCKET, Gateway, PASSWORD, USER};
use tokio::io::AsyncWriteExt;

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
    // Nothing of the other's session is left.
    assert!(ftp.expect("PWD", 257).await.text().contains("\"/\""));
    ftp.expect("RNTO stolen", 503).await;
    ftp.expect("SIZE dir/mine", 550).await;
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn wrong_user_and_wrong_password_are_answered_alike() {
    let gateway = Gateway::start().await;
    let mut refusals = Vec::new();
    for (user, password) in [
        (USER, "wrong"),
        ("nobody", PASSWORD),
        (USER, ""),
        ("U", PASSWORD),
    ] {
        let mut ftp = Ftp::connect(gateway.address).await;
        let asked = ftp.expect(&format!("USER {user}"), 331).await;
        let refused = ftp.expect(&format!("PASS {password}"), 530).await;
        // The login begins anew with USER.
        ftp.expect(&format!("PASS {PASSWORD}"), 503).await;
        ftp.expect("PWD", 530).await;
        ftp.in_step().await;
        ftp.close().await;
        refusals.push((asked.raw, refused.raw));
    }
    assert!(
        refusals.iter().all(|refusal| *refusal == refusals[0]),
        "{refusals:?}"
    );
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
async fn who_does_not_log_in_in_time_is_sent_away() {
    let gateway = Gateway::builder()
        .with("[timeouts]\nlogin = \"300ms\"")
        .start()
        .await;
    // Silence, half a command, and commands that are no login do not help.
    for said in [&b""[..], b"USER u\r\nPA", b"NOOP\r\n", b"USER u\r\n"] {
        let mut ftp = Ftp::connect(gateway.address).await;
        ftp.send_raw(said).await;
        let mut last = ftp.reply().await;
        while last.code != 421 {
            assert!([200, 331].contains(&last.code), "{last:?}");
            last = ftp.reply().await;
        }
        ftp.expect_end().await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_session_without_commands_ends_and_one_with_a_transfer_does_not() {
    let gateway = Gateway::builder()
        .with("[timeouts]\nidle = \"1s\"")
        .start()
        .await;
    let mut idle = gateway.ftp().await;
    let mut busy = gateway.ftp().await;
    let mut data = begin(&mut busy, "STOR x").await;
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

/// Each command that needs a user.
#[tokio::test]
async fn before_the_login_no_command_has_an_effect() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "x", "1");
    gateway.store.reset_counts();
    for named in [false, true] {
        let mut ftp = Ftp::connect(gateway.address).await;
        if named {
            ftp.expect("USER u", 331).await;
        }
        for line in [
            "ACCT x",
            "CWD /",
            "XCWD /",
            "CDUP",
            "XCUP",
            "PWD",
            "XPWD",
            "MKD d",
            "XMKD d",
            "RMD d",
            "XRMD d",
            "TYPE I",
            "MODE S",
            "STRU F",
            "PASV",
            "EPSV",
            "EPSV ALL",
            "PORT 127,0,0,1,200,1",
            "EPRT |1|127.0.0.1|50001|",
            "RETR x",
            "STOR y",
            "STOU",
            "APPE x",
            "ALLO 1",
            "REST 1",
            "LIST",
            "NLST",
            "MLSD",
            "MLST x",
            "STAT",
            "STAT x",
            "SIZE x",
            "MDTM x",
            "MFMT 20200101000000 x",
            "MDTM 20200101000000 x",
            "MFF modify=20200101000000; x",
            "DELE x",
            "RNFR x",
            "RNTO y",
            "OPTS MLST type;",
            "SITE CHMOD 644 x",
        ] {
            ftp.expect(line, 530).await;
        }
        ftp.in_step().await;
        // What tells nothing of anybody's files is answered.
        for (line, code) in [
            ("FEAT", 211),
            ("HELP", 214),
            ("SYST", 215),
            ("OPTS UTF8 ON", 200),
            ("CLNT x", 200),
            ("SITE HELP", 214),
        ] {
            ftp.expect(line, code).await;
        }
        ftp.close().await;
    }
    assert!(gateway.store.requests().is_empty());
    gateway.stop().await;
}

#[tokio::test]
async fn rein_begins_anew_and_quit_ends() {
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
