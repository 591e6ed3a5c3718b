//! `transfers`: a user's uploads and downloads at the same time, over all sessions.

use s3ftpd::events::{Class, Kind};
use tokio::io::AsyncWriteExt;

use test_support::ftp::{Mode, reset_stream};
use test_support::gateway::{BUCKET, Gateway, PASSWORD};
use test_support::transfers::{begin, settled, upload_in_progress};

const MOUNTS: &str = "{ \"/\" = \"main\" }";

#[tokio::test]
async fn a_transfer_above_the_limit_gets_450_before_its_150() {
    let gateway = Gateway::builder()
        .user("v", PASSWORD, MOUNTS)
        .with("[users.u]\ntransfers = 1")
        .start()
        .await;
    gateway.store.put(BUCKET, "old", "old");
    let mut one = gateway.ftp().await;
    let mut two = gateway.ftp().await;
    let mut data = upload_in_progress(&mut one, "STOR a", b"half").await;
    gateway.events.drain();
    gateway.store.reset_counts();
    for command in ["STOR b", "RETR old", "APPE new", "STOU"] {
        let _port = two.data(Mode::Passive).await;
        let reply = two.expect(command, 450).await;
        assert!(
            reply.text().contains("limited to 1 at the same time"),
            "{reply:?}"
        );
        let event = gateway.events.wait_for(Kind::Refused).await;
        assert_eq!((event.code, event.class), (Some(450), Some(Class::Busy)));
        assert_eq!(gateway.events.of(Kind::Transfer).len(), 0);
        gateway.events.drain();
    }
    // Listings and questions are free, and so is another user.
    assert_eq!(two.list("LIST").await.1.code, 226);
    two.expect("SIZE old", 213).await;
    let mut other = gateway.ftp_as("v", PASSWORD).await;
    assert_eq!(other.store("c", b"1").await.code, 226);
    // It is free before the final reply.
    data.shutdown().await.unwrap();
    one.expect_reply(226).await;
    assert_eq!(two.store("b", b"1").await.code, 226);
    for ftp in [one, two, other] {
        ftp.close().await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_transfer_that_ends_in_any_way_makes_room() {
    let gateway = Gateway::builder()
        .with("[groups.g]\ntransfers = 1\n[users.u]\ngroup = \"g\"")
        .start()
        .await;
    gateway.store.put(BUCKET, "old", "old");
    let mut ftp = gateway.ftp().await;
    let mut other = gateway.ftp().await;
    let data = upload_in_progress(&mut ftp, "STOR a", b"half").await;
    ftp.send("ABOR").await;
    ftp.expect_reply(426).await;
    ftp.expect_reply(226).await;
    drop(data);
    assert_eq!(other.retrieve("old").await.1.code, 226);

    reset_stream(upload_in_progress(&mut ftp, "STOR b", b"half").await);
    ftp.expect_reply(426).await;
    assert_eq!(other.retrieve("old").await.1.code, 226);

    // Refused after the limit was looked at, by the store.
    let _port = ftp.data(Mode::Passive).await;
    ftp.expect("RETR none", 550).await;
    assert_eq!(other.retrieve("old").await.1.code, 226);

    let data = begin(&mut ftp, "STOR c", Mode::Passive).await;
    ftp.reset();
    settled(&gateway).await;
    assert_eq!(other.retrieve("old").await.1.code, 226);
    drop(data);
    other.close().await;
    gateway.stop().await;
}
