//! Bytes that were in flight to the store when an upload broke off are not lost: the server waits
//! for them, or saves them in the tail.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{By, only_objects, resume};
use test_support::faults::{Fault, Rule};
use test_support::ftp::{Ftp, reset_stream};
use test_support::gateway::{BUCKET, Gateway};
use test_support::transfers::{moved, sessions_ended, settled, upload_in_progress};
use test_support::{MIB, pattern, within};

const PART: usize = 5 * MIB;

/// A part in the store, one in flight, and a little of the next.
const SENT: usize = 2 * PART + 1000;

/// An upload whose second part the store rejects in this number of attempts.
async fn second_part_stalls(
    gateway: &Gateway,
    whole: &[u8],
    attempts: usize,
) -> (Ftp, TcpStream, Rule) {
    let mut ftp = gateway.ftp().await;
    let mut data = upload_in_progress(&mut ftp, "STOR x", &whole[..PART + 1000]).await;
    gateway.store.wait_for("UploadPart", 1).await;
    let rule = gateway.store.fail("UploadPart").times(attempts);
    let rule = rule.with(Fault::Stall);
    data.write_all(&whole[PART + 1000..SENT]).await.unwrap();
    moved(&mut ftp, SENT).await;
    rule.hit().await;
    (ftp, data, rule)
}

async fn gateway(store: &str) -> Gateway {
    let builder = Gateway::builder().with(&format!("[stores.main]\n{store}"));
    builder.with("[timeouts]\nshutdown_grace = 0").start().await
}

/// All of it can be resumed, and then nothing is left.
async fn all_is_there(gateway: &Gateway, by: By, whole: &[u8]) {
    resume(gateway, by, "x", whole, SENT).await;
    assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
    only_objects(&[gateway], &["x"]).await;
}

/// The part's own deadline passes, and with it the last attempt.
#[tokio::test]
async fn a_part_that_fails_after_the_break_is_saved_in_the_tail() {
    let gateway = gateway("attempts = 1\nrequest_timeout = \"3s\"").await;
    let whole = pattern(12 * MIB, 1);
    let (ftp, data, _rule) = second_part_stalls(&gateway, &whole, 1).await;
    reset_stream(data);
    ftp.reset();
    settled(&gateway).await;
    all_is_there(&gateway, By::Rest, &whole).await;
}

/// However long that takes: its next attempt may succeed.
#[tokio::test]
async fn a_slow_part_in_flight_is_waited_for_after_the_break() {
    let gateway = gateway("attempts = 3\nrequest_timeout = \"17s\"").await;
    let whole = pattern(12 * MIB, 1);
    // Two attempts take at least 34 s, and at most 22 s each.
    let (ftp, data, rule) = second_part_stalls(&gateway, &whole, 2).await;
    reset_stream(data);
    ftp.reset();
    settled(&gateway).await;
    assert_eq!(rule.hits(), 2);
    // It was saved as a part, not in the tail.
    assert_eq!(gateway.store.count("UploadPart"), 4);
    all_is_there(&gateway, By::Rest, &whole).await;
}

/// A process that ends does not wait that long for the store: the bytes in memory go into the tail.
#[tokio::test]
async fn a_part_in_flight_when_the_process_ends_is_saved_in_the_tail() {
    let gateway = gateway("request_timeout = \"1m\"").await;
    let other = Gateway::builder().on(&gateway.store).start().await;
    let whole = pattern(12 * MIB, 1);
    let (ftp, data, rule) = second_part_stalls(&gateway, &whole, 1).await;
    within("the process has ended", gateway.stop()).await;
    drop((ftp, data));
    assert_eq!(rule.hits(), 1);
    all_is_there(&other, By::OtherReplica, &whole).await;
}

/// The last part waits for the answer to CreateMultipartUpload, and the control connection ends in
/// the meantime.
#[tokio::test]
async fn a_break_during_the_create_loses_no_byte() {
    let gateway = Gateway::start().await;
    let whole = pattern(6 * MIB, 1);
    let create = gateway.store.fail("CreateMultipartUpload");
    let create = create.with(Fault::Stall);
    let mut ftp = gateway.ftp().await;
    let mut data = upload_in_progress(&mut ftp, "STOR x", &whole).await;
    create.hit().await;
    data.shutdown().await.unwrap();
    // Commands after the end of the data are answered after it.
    moved(&mut ftp, whole.len()).await;
    ftp.reset();
    sessions_ended(&gateway).await;
    create.release();
    settled(&gateway).await;
    resume(&gateway, By::Rest, "x", &whole, whole.len()).await;
    assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
    only_objects(&[&gateway], &["x"]).await;
}
