//! An upload whose record a newer one has replaced: it may continue, but nothing of it is saved,
//! not even its tail.

use std::sync::Arc;

use tokio::net::TcpStream;

use super::only_objects;
use test_support::faults::{Fault, Rule};
use test_support::ftp::{DataSide, Mode, reset_stream};
use test_support::gateway::{BUCKET, Builder, Gateway};
use test_support::store::Store;
use test_support::transfers::{settled, size, upload_in_progress};
use test_support::{MIB, pattern};

const KEY: &str = "x";

/// The transfer named by the record.
fn recorded(store: &Store) -> Option<String> {
    let keys = store.keys(BUCKET);
    let key = keys
        .iter()
        .find(|key| key.starts_with(".s3ftpd/uploads/"))?;
    let record: serde_json::Value =
        serde_json::from_slice(&store.object(BUCKET, key)?).expect("a record");
    record["transfer"].as_str().map(str::to_owned)
}

async fn another_than(store: &Store, transfer: &Option<String>) {
    let what = "another upload's record";
    store
        .until(what, |store| {
            recorded(store).is_some_and(|now| Some(now) != *transfer)
        })
        .await;
}

/// How the older one ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ends {
    Broken,
    Published,
    /// Before the saved bytes have been read.
    Restored,
}

/// The state of the older one when the newer one begins.
enum Older {
    Runs(TcpStream),
    /// It is reading the saved bytes.
    Begins(DataSide, Rule),
}

#[tokio::test]
async fn parts_and_tail_of_a_resumed_upload_are_removed_once_superseded() {
    for ends in [Ends::Broken, Ends::Published, Ends::Restored] {
        for elsewhere in [false, true] {
            let what = format!("{ends:?}, elsewhere: {elsewhere}");
            let gateway = Gateway::start().await;
            let other = Gateway::builder().on(&gateway.store).start().await;
            let store = Arc::clone(&gateway.store);
            let (whole, newer) = (pattern(8 * MIB, 1), pattern(8 * MIB, 2));
            let sent = 6 * MIB;
            let mut ftp = gateway.ftp().await;
            let data = upload_in_progress(&mut ftp, &format!("STOR {KEY}"), &whole[..sent]).await;
            reset_stream(data);
            ftp.expect_reply(426).await;
            settled(&gateway).await;
            let transfer = recorded(&store);
            assert!(transfer.is_some(), "{what}");

            // It is resumed, and a newer one replaces its record.
            assert_eq!(size(&mut ftp, KEY).await, sent - 1);
            ftp.expect(&format!("REST {sent}"), 350).await;
            let tail = store.fail("GetObject").key(".s3ftpd/tails/");
            let command = format!("STOR {KEY}");
            let older = if ends == Ends::Restored {
                let tail = tail.with(Fault::Stall);
                let side = ftp.data(Mode::Passive).await;
                ftp.send(&command).await;
                tail.hit().await;
                Older::Begins(side, tail)
            } else {
                Older::Runs(upload_in_progress(&mut ftp, &command, &whole[sent..]).await)
            };
            let by = if elsewhere { &other } else { &gateway };
            let mut second = by.ftp().await;
            let data = upload_in_progress(&mut second, &command, &newer).await;
            another_than(&store, &transfer).await;

            match older {
                Older::Begins(side, tail) => {
                    ftp.reset();
                    tail.release();
                    drop(side);
                }
                Older::Runs(data) => {
                    let code = match ends {
                        Ends::Published => {
                            drop(data);
                            226
                        }
                        _ => {
                            reset_stream(data);
                            426
                        }
                    };
                    ftp.expect_reply(code).await;
                    ftp.close().await;
                }
            }
            drop(data);
            second.expect_reply(226).await;
            second.close().await;
            assert!(store.object(BUCKET, KEY).unwrap() == newer, "{what}");
            only_objects(&[&gateway, &other], &[KEY]).await;
        }
    }
}

/// Another user publishes the object while the last record of an upload is in flight, so its writer
/// does not know of it.
#[tokio::test]
async fn an_upload_saved_while_another_user_publishes_is_removed() {
    for bytes in [70_000, 8 * MIB] {
        let other = |builder: Builder| builder.user("other", "p", "{ \"/\" = \"main\" }");
        let gateway = other(Gateway::builder()).start().await;
        let store = Arc::clone(&gateway.store);
        let newer = pattern(bytes, 2);
        let command = format!("STOR {KEY}");
        let mut ftp = gateway.ftp().await;
        let data = upload_in_progress(&mut ftp, &command, &pattern(6 * MIB, 1)).await;
        store
            .until("its record", |store| recorded(store).is_some())
            .await;
        let record = store.fail("PutObject").key(".s3ftpd/uploads/");
        let record = record.with(Fault::StallAnswer);
        reset_stream(data);
        ftp.expect_reply(426).await;
        record.hit().await;
        store
            .until("the saved tail", |store| {
                let keys = store.keys(BUCKET);
                keys.iter().any(|key| key.starts_with(".s3ftpd/tails/"))
            })
            .await;
        let mut second = gateway.ftp_as("other", "p").await;
        assert_eq!(second.store(KEY, &newer).await.code, 226);
        record.release();
        ftp.close().await;
        second.close().await;
        assert!(store.object(BUCKET, KEY).unwrap() == newer);
        only_objects(&[&gateway], &[KEY]).await;
    }
}

/// Another session has written the object in the meantime, and the store refuses to publish the
/// upload for another reason.
#[tokio::test]
async fn an_unpublished_upload_is_not_saved_if_the_object_changed() {
    let gateway = Gateway::builder()
        .with("[stores.main]\nattempts = 1")
        .start()
        .await;
    let store = Arc::clone(&gateway.store);
    let whole = pattern(8 * MIB, 1);
    let sent = 6 * MIB;
    let command = format!("STOR {KEY}");
    let mut ftp = gateway.ftp().await;
    let data = upload_in_progress(&mut ftp, &command, &whole[..sent]).await;
    reset_stream(data);
    ftp.expect_reply(426).await;
    settled(&gateway).await;
    assert_eq!(size(&mut ftp, KEY).await, sent - 1);
    ftp.expect(&format!("REST {sent}"), 350).await;
    let data = upload_in_progress(&mut ftp, &command, &whole[sent..]).await;
    store.put(BUCKET, KEY, "quicker");
    // As if that write came last: the server looks before each of three attempts, and after it.
    let unseen = store.fail("HeadObject").key(KEY).times(6);
    let unseen = unseen.with(Fault::Status(404, "NoSuchKey"));
    let refused = store.fail("CompleteMultipartUpload").always();
    let refused = refused.with(Fault::Status(503, "SlowDown"));
    drop(data);
    ftp.expect_reply(451).await;
    assert_eq!((refused.hits(), unseen.hits()), (3, 6));
    ftp.close().await;
    assert!(store.object(BUCKET, KEY).unwrap() == b"quicker");
    only_objects(&[&gateway], &[KEY]).await;
}
