//! What can come between the upload and its rename.

use super::{Consumer, builder, rename, replica, temporary, visible};
use test_support::faults::Fault;
use test_support::gateway::{BUCKET, PASSWORD, USER};
use test_support::process::Process;
use test_support::transfers::interrupt;
use test_support::{MIB, pattern};

#[tokio::test]
async fn another_replica_publishes_what_the_first_has_stored() {
    for size in [70_000, 12 * MIB] {
        let gateway = builder().start().await;
        let other = replica(&gateway.store).await;
        let mut consumer = Consumer::of(&gateway.store);
        let bytes = pattern(size, 1);
        let mut ftp = gateway.ftp().await;
        assert_eq!(ftp.store("in/x.tmp", &bytes).await.code, 226);
        let mut there = other.ftp().await;
        let (got, _) = there.retrieve("in/x.tmp").await;
        assert!(got == bytes);
        assert_eq!(rename(&mut there, "in/x.tmp", "in/x").await.code, 250);
        assert_eq!(consumer.saw(), ["files/in/x"]);
        ftp.expect("RNFR in/x.tmp", 550).await;
    }
}

#[tokio::test]
async fn a_crash_after_the_upload_loses_nothing() {
    let process = Process::start("[mounts.main]\ntemporary = [\"*.tmp\"]").await;
    let store = std::sync::Arc::clone(&process.store);
    let bytes = pattern(12 * MIB, 2);
    let mut ftp = process.ftp().await;
    assert_eq!(ftp.store("in/x.tmp", &bytes).await.code, 226);
    process.kill().await;
    let next = replica(&store).await;
    let mut ftp = next.ftp_as(USER, PASSWORD).await;
    let (names, _) = ftp.list("NLST in").await;
    assert_eq!(names, "in/x.tmp\r\n");
    assert_eq!(rename(&mut ftp, "in/x.tmp", "in/x").await.code, 250);
    assert!(store.object(BUCKET, "in/x").unwrap() == bytes);
    assert_eq!(visible(&store), ["in/x"]);
}

/// An interrupted upload in one replica is older than the file that another has published.
#[tokio::test]
async fn an_earlier_upload_is_not_resumed_after_a_later_one_was_published() {
    for (sent, size) in [(40_000, 70_000), (6 * MIB, 12 * MIB), (6 * MIB, 1000)] {
        let gateway = builder().start().await;
        let other = replica(&gateway.store).await;
        interrupt(&gateway, "STOR x.tmp", &pattern(sent, 1)).await;
        gateway.store.a_while();
        let mut ftp = other.ftp().await;
        assert_eq!(ftp.store("x.tmp", &pattern(size, 2)).await.code, 226);
        assert_eq!(rename(&mut ftp, "x.tmp", "x").await.code, 250);
        for gateway in [&gateway, &other] {
            gateway.ftp().await.expect("SIZE x.tmp", 550).await;
        }
        gateway
            .store
            .until("no state is left", |store| store.keys(BUCKET) == ["x"])
            .await;
    }
}

/// A copy that fails leaves the temporary file, and nothing visible.
#[tokio::test]
async fn a_copy_that_fails_can_be_repeated() {
    let gateway = builder().start().await;
    let mut consumer = Consumer::of(&gateway.store);
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("x.tmp", b"bytes").await.code, 226);
    let rule = gateway
        .store
        .fail("CopyObject")
        .with(Fault::Status(403, "AccessDenied"));
    assert_eq!(rename(&mut ftp, "x.tmp", "x").await.code, 550);
    rule.remove();
    assert_eq!(consumer.saw(), [""; 0]);
    assert_eq!(rename(&mut ftp, "x.tmp", "x").await.code, 250);
    assert_eq!(consumer.saw(), ["files/x"]);
    assert_eq!(temporary(&gateway.store), [""; 0]);
}

/// An answer that was lost is looked for: the copy is not made twice.
#[tokio::test]
async fn a_lost_answer_is_one_event() {
    let gateway = builder().start().await;
    let mut consumer = Consumer::of(&gateway.store);
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("x.tmp", b"bytes").await.code, 226);
    gateway.store.fail("CopyObject").with(Fault::LoseAnswer);
    assert_eq!(rename(&mut ftp, "x.tmp", "x").await.code, 250);
    assert_eq!(consumer.saw(), ["files/x"]);
    assert_eq!(temporary(&gateway.store), [""; 0]);
}

/// A device whose line broke before the rename sends the file again.
#[tokio::test]
async fn a_file_can_be_sent_again_and_again() {
    let gateway = builder().mount("permissions = [\"write\"]").start().await;
    let mut consumer = Consumer::of(&gateway.store);
    for number in 0..3 {
        let mut ftp = gateway.ftp().await;
        assert_eq!(ftp.store("x.tmp", &pattern(1000, number)).await.code, 226);
        ftp.reset();
    }
    let mut ftp = gateway.ftp().await;
    assert_eq!(rename(&mut ftp, "x.tmp", "x").await.code, 250);
    assert_eq!(consumer.saw(), ["files/x"]);
    assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), pattern(1000, 2));
}
