//! Records of later formats, and records that cannot be read.

use serde_json::{Value, json};

use super::super::sweep::sweep;
use super::{By, hash, only_objects, record_key, resume, shared, tail_prefix};
use test_support::ftp::reset_stream;
use test_support::gateway::{BUCKET, Gateway};
use test_support::store::Store;
use test_support::transfers::{interrupt_as, settled, size, upload_in_progress};
use test_support::{MIB, pattern};

/// A record as a later version writes it, with an open upload and an existing tail.
async fn later_record(store: &Store) -> String {
    let open = store.client().create_multipart_upload();
    let open = open.bucket(BUCKET).key("x").send().await.unwrap();
    let upload = open.upload_id.unwrap();
    let text = include_str!("../../../fixtures/record-2.json");
    let mut record: Value = serde_json::from_str(text).unwrap();
    let tail = format!("{}later", tail_prefix("u"));
    record["key"] = json!("x");
    record["upload"]["id"] = json!(upload);
    record["tail"]["key"] = json!(tail);
    for piece in ["", ".1", ".a.b"] {
        store.put(BUCKET, &format!("{tail}{piece}"), "bytes");
    }
    // Of another tail.
    store.put(BUCKET, &format!("{}other", tail_prefix("u")), "bytes");
    store.put(BUCKET, &record_key("u"), record.to_string());
    upload
}

fn is_open(store: &Store, upload: &str) -> bool {
    store.open_uploads().iter().any(|it| it.upload_id == upload)
}

fn tails(store: &Store) -> usize {
    let keys = store.keys(BUCKET);
    keys.iter().filter(|key| key.contains("/tails/")).count()
}

#[tokio::test]
async fn a_later_format_is_not_resumed_and_a_new_upload_replaces_it() {
    for old in [None, Some("old")] {
        for new in [1000, 6 * MIB] {
            let gateway = shared().start().await;
            let store = &gateway.store;
            if let Some(old) = old {
                store.put_before(BUCKET, "x", old);
            }
            let upload = later_record(store).await;
            let mut ftp = gateway.ftp().await;
            let reply = ftp.expect("SIZE x", 450).await;
            for text in ["later version", "format 2", "STOR without REST"] {
                assert!(reply.text().contains(text), "{reply:?}");
            }
            ftp.expect("MLST x", 450).await;
            for offset in [1, 5000] {
                ftp.expect(&format!("REST {offset}"), 350).await;
                ftp.expect("EPSV", 229).await;
                ftp.expect("STOR x", 450).await;
            }
            ftp.expect("EPSV", 229).await;
            ftp.expect("APPE x", 450).await;
            // A session without a SIZE, and another user.
            let mut fresh = gateway.ftp().await;
            fresh.expect("EPSV", 229).await;
            fresh.expect("APPE x", 450).await;
            fresh.close().await;
            let mut other = gateway.ftp_as("v", "p").await;
            match old {
                Some(old) => assert_eq!(size(&mut other, "x").await, old.len()),
                None => drop(other.expect("SIZE x", 550).await),
            }
            other.close().await;
            // The upload starts over, breaks off, and is resumed: the record of this version
            // replaces the other.
            let whole = pattern(new + MIB, 3);
            let data = upload_in_progress(&mut ftp, "STOR x", &whole[..new]).await;
            reset_stream(data);
            ftp.expect_reply(426).await;
            ftp.close().await;
            settled(&gateway).await;
            resume(&gateway, By::Rest, "x", &whole, new).await;
            assert!(store.object(BUCKET, "x").unwrap() == whole);
            settled(&gateway).await;
            // Everything that the later version named exists until the sweep finds it old.
            assert!(is_open(store, &upload), "{new}");
            assert_eq!(tails(store), 4);
            let (succeeded, output) =
                sweep(&gateway, &["--older-than", "1h", "--unrecorded"]).await;
            assert!(
                succeeded && output.contains("1 found, 0 removed"),
                "{output}"
            );
            assert!(is_open(store, &upload) && tails(store) == 4);
            store.a_day();
            let (succeeded, output) = sweep(&gateway, &["--older-than", "0s"]).await;
            assert!(
                succeeded && output.contains("removed: upload files/x"),
                "{output}"
            );
            store.no_uploads_left().await;
            only_objects(&[&gateway], &["x"]).await;
        }
    }
}

/// An old record is removed by the fields that never change, and nothing else is.
#[tokio::test]
async fn an_old_record_of_a_later_format_is_swept_by_the_fields_that_never_change() {
    let gateway = Gateway::start().await;
    let store = &gateway.store;
    let upload = later_record(store).await;
    let foreign = store.client().create_multipart_upload();
    foreign.bucket(BUCKET).key("y").send().await.unwrap();
    let all = ["--older-than", "0s", "--dry-run"];
    // A server of that version may be running, and how it says so is not known.
    let (succeeded, output) = sweep(&gateway, &all).await;
    assert!(
        succeeded && output.contains("stays: upload files/x"),
        "{output}"
    );
    store.a_day();
    let (succeeded, output) = sweep(&gateway, &all).await;
    assert!(
        succeeded && output.contains("would be removed: upload files/x"),
        "{output}"
    );
    assert!(is_open(store, &upload) && tails(store) == 4);
    let (succeeded, output) = sweep(&gateway, &["--older-than", "0s"]).await;
    assert!(
        succeeded && output.contains("removed: upload files/x"),
        "{output}"
    );
    assert!(!is_open(store, &upload) && store.open_uploads().len() == 1);
    assert_eq!(store.keys(BUCKET), [""; 0]);
}

/// Everything that it may name stays.
#[tokio::test]
async fn an_unreadable_record_protects_the_uploads_and_tails_of_its_object() {
    let garbage = [
        "no JSON",
        "{}",
        "{\"format\":1}",
        "<html>busy</html>",
        &"x".repeat(300_000),
    ];
    for garbage in garbage {
        for aside in ["", ".aside"] {
            let gateway = Gateway::start().await;
            let store = &gateway.store;
            let key = format!("{}{aside}", record_key("u"));
            store.put(BUCKET, &key, garbage);
            store.put(BUCKET, &format!("{}left", tail_prefix("v")), "bytes");
            for object in ["x", "y"] {
                let open = store.client().create_multipart_upload();
                open.bucket(BUCKET).key(object).send().await.unwrap();
            }
            store.a_day();
            let all = ["--older-than", "0s", "--unrecorded"];
            let (succeeded, output) = sweep(&gateway, &all).await;
            assert!(
                succeeded && output.contains("1 found, 1 removed"),
                "{output}"
            );
            let open = store.open_uploads();
            assert_eq!((open.len(), &*open[0].key), (1, "x"), "{output}");
            assert_eq!(tails(store), 1);
            assert!(store.keys(BUCKET).contains(&key));
        }
    }
}

/// A record that names another object than the one in whose directory it lies is ignored.
#[tokio::test]
async fn a_record_in_the_wrong_place_removes_nothing() {
    let gateway = Gateway::start().await;
    let store = &gateway.store;
    interrupt_as(&gateway, "u", "STOR x", &pattern(6 * MIB, 1)).await;
    let bytes = store.object(BUCKET, &record_key("u")).unwrap();
    let wrong = format!(".s3ftpd/uploads/{}/{}", hash(&[BUCKET, "y"]), hash(&["u"]));
    store.put(BUCKET, &wrong, &bytes);
    store.backend().remove(BUCKET, &record_key("u"));
    store.a_day();
    sweep(&gateway, &["--older-than", "0s"]).await;
    assert_eq!(store.open_uploads().len(), 1);
}
