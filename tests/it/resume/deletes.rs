//! DELE and RNFR of a name with an interrupted upload: which uploads end with the object, and which
//! stay.

use tokio::io::AsyncWriteExt;

use super::{By, only_objects, resume, shared};
use test_support::gateway::{BUCKET, Gateway};
use test_support::store::Store;
use test_support::transfers::{break_off, interrupt, settled_but, upload_in_progress};
use test_support::{MIB, pattern};

const SENT: usize = 6 * MIB;

/// A consumer fetches and deletes the last file while the producer sends the next one of the same
/// name.
#[tokio::test]
async fn dele_of_an_object_leaves_a_running_upload_of_its_name() {
    for same_user in [true, false] {
        let gateway = shared().start().await;
        let whole = pattern(12 * MIB, 1);
        let mut producer = gateway.ftp().await;
        assert_eq!(producer.store("x", b"the last one").await.code, 226);
        gateway.store.a_while();
        let mut data = upload_in_progress(&mut producer, "STOR x", &whole[..SENT]).await;
        let recorded = |store: &Store| store.keys(BUCKET).len() == 2;
        gateway.store.until("the record", recorded).await;
        let mut consumer = match same_user {
            true => gateway.ftp().await,
            false => gateway.ftp_as("v", "p").await,
        };
        assert_eq!(consumer.retrieve("x").await.0, b"the last one");
        consumer.expect("DELE x", 250).await;
        settled_but(&gateway, 1).await;
        data.write_all(&whole[SENT..]).await.unwrap();
        drop(data);
        producer.expect_reply(226).await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
        producer.close().await;
        consumer.close().await;
        only_objects(&[&gateway], &["x"]).await;
    }
}

#[tokio::test]
async fn dele_of_an_object_leaves_the_interrupted_upload_of_another_user() {
    let gateway = shared().start().await;
    let mut consumer = gateway.ftp_as("v", "p").await;
    let whole = pattern(9 * MIB, 1);
    assert_eq!(consumer.store("x", b"the last one").await.code, 226);
    gateway.store.a_while();
    break_off(&gateway, "STOR x", &whole[..SENT]).await;
    consumer.expect("DELE x", 250).await;
    consumer.expect("SIZE x", 550).await;
    consumer.expect("DELE x", 550).await;
    resume(&gateway, By::Rest, "x", &whole, SENT).await;
    assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
    consumer.close().await;
    only_objects(&[&gateway], &["x"]).await;
}

/// Otherwise it would seem newer than the object, which no longer exists.
#[tokio::test]
async fn dele_of_an_object_removes_an_interrupted_upload_it_had_superseded() {
    let gateway = shared().start().await;
    let whole = pattern(9 * MIB, 1);
    break_off(&gateway, "STOR x", &whole[..SENT]).await;
    let mut consumer = gateway.ftp_as("v", "p").await;
    assert_eq!(consumer.store("x", b"a newer one").await.code, 226);
    consumer.expect("DELE x", 250).await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("SIZE x", 550).await;
    ftp.close().await;
    consumer.close().await;
    only_objects(&[&gateway], &[]).await;
}

/// DELE of an object also removes an interrupted upload of its name that the server knows.
#[tokio::test]
async fn dele_of_an_object_removes_the_interrupted_upload_of_its_name() {
    let gateway = Gateway::start().await;
    gateway.store.put_before(BUCKET, "x", "old");
    let whole = pattern(9 * MIB, 1);
    break_off(&gateway, "STOR x", &whole[..SENT]).await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("DELE x", 250).await;
    ftp.expect("SIZE x", 550).await;
    ftp.close().await;
    only_objects(&[&gateway], &[]).await;
}

/// The interrupted upload is older than an object that another server wrote. After that is renamed
/// away or deleted, nothing would show this: the upload is removed with it.
#[tokio::test]
async fn an_interrupted_upload_ends_with_a_newer_object() {
    for remove in ["RNFR x", "DELE x"] {
        for old in [false, true] {
            for by in [0, 1] {
                let gateway = Gateway::start().await;
                let other = Gateway::builder().on(&gateway.store).start().await;
                if old {
                    gateway.store.put_before(BUCKET, "x", "old");
                }
                break_off(&gateway, "STOR x", &pattern(70_000, 1)).await;
                let mut ftp = other.ftp().await;
                assert_eq!(ftp.store("x", b"newer").await.code, 226);
                ftp.close().await;
                let mut ftp = [&gateway, &other][by].ftp().await;
                if remove == "RNFR x" {
                    ftp.expect("RNFR x", 350).await;
                    ftp.expect("RNTO y", 250).await;
                } else {
                    ftp.expect(remove, 250).await;
                }
                ftp.expect("SIZE x", 550).await;
                ftp.close().await;
                let left: &[&str] = if remove == "RNFR x" { &["y"] } else { &[] };
                only_objects(&[&gateway, &other], left).await;
            }
        }
    }
}

#[tokio::test]
async fn dele_removes_an_interrupted_upload() {
    let gateway = Gateway::start().await;
    let whole = pattern(8 * MIB, 1);
    interrupt(&gateway, "STOR x", &whole[..SENT]).await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("DELE x", 250).await;
    ftp.expect("SIZE x", 550).await;
    ftp.expect("DELE x", 550).await;
    ftp.close().await;
    only_objects(&[&gateway], &[]).await;
}
