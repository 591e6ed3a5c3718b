//! The end of a session: what it has moved, and why it ended.

use s3ftpd::events::{Kind, Level, Totals};

use test_support::ftp::{Ftp, Mode, reset_stream};
use test_support::gateway::Gateway;
use test_support::transfers::upload_in_progress;

#[tokio::test]
async fn the_end_says_what_was_moved_and_why_it_ended() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    ftp.command("CLNT camera 7").await;
    ftp.store("a", b"12345").await;
    ftp.store("b", b"123").await;
    ftp.retrieve("a").await;
    let data = upload_in_progress(&mut ftp, "STOR c", b"12").await;
    reset_stream(data);
    ftp.expect_reply(426).await;
    ftp.expect("QUIT", 221).await;
    let end = gateway.events.wait_for(Kind::SessionClose).await;
    let totals = Totals {
        files_in: 2,
        files_out: 1,
        bytes_in: 10,
        bytes_out: 5,
    };
    assert_eq!(end.totals, Some(totals));
    assert_eq!(end.reason.as_deref(), Some("QUIT"));
    assert_eq!(end.level, Level::Info);
    assert!(end.seconds.is_some());
    let session = end.session.as_ref().unwrap();
    assert_eq!(session.client.as_deref(), Some("camera 7"));

    // One that has no user is for debugging.
    gateway.events.drain();
    let ftp = Ftp::connect(gateway.address).await;
    ftp.reset();
    let end = gateway.events.wait_for(Kind::SessionClose).await;
    assert_eq!(end.level, Level::Debug);
    assert_eq!(end.reason.as_deref(), Some("control connection lost"));

    // One during which the server stops.
    gateway.events.drain();
    let mut ftp = gateway.ftp().await;
    let begun = ftp.upload_with("STOR d", b"1", Mode::Passive).await;
    assert_eq!(begun.code, 226);
    let events = gateway.events.clone();
    gateway.stop().await;
    let end = events.wait_for(Kind::SessionClose).await;
    let reason = end.reason.as_deref().unwrap();
    assert!(reason.contains("shutting down"), "{reason}");
}

#[tokio::test]
async fn an_idle_session_ends_with_the_words_of_its_reply() {
    let gateway = Gateway::builder()
        .with("[timeouts]\nidle = \"300ms\"")
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    let reply = ftp.expect_reply(421).await;
    let end = gateway.events.wait_for(Kind::SessionClose).await;
    assert_eq!(end.reason.as_deref(), Some(reply.text()));
}
