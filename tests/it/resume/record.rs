//! The stored record: its format, its names, its order, simultaneous writers, and its end on
//! stores without conditions.

mod formats;
mod order;
mod simultaneous_writes;
mod unconditional_stores;

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{By, only_objects, resume, shared};
use test_support::ftp::{Ftp, Mode};
use test_support::gateway::{BUCKET, Gateway};
use test_support::store::Store;
use test_support::transfers::{interrupt_as, size};
use test_support::{MIB, pattern};

const PART: usize = 5 * MIB;

fn hash(texts: &[&str]) -> String {
    let digest = Sha256::digest(texts.join("\0"));
    let hex = digest.iter().take(16).map(|byte| format!("{byte:02x}"));
    hex.collect()
}

/// The key of the record of a user's upload of `x`.
fn record_key(user: &str) -> String {
    format!(".s3ftpd/uploads/{}/{}", hash(&[BUCKET, "x"]), hash(&[user]))
}

fn tail_prefix(user: &str) -> String {
    format!(".s3ftpd/tails/{}/{}/", hash(&[BUCKET, "x"]), hash(&[user]))
}

fn record(store: &Store, user: &str) -> Value {
    let bytes = store.object(BUCKET, &record_key(user)).expect("a record");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// Writes the record with some fields changed.
fn change(store: &Store, user: &str, change: impl FnOnce(&mut Value)) {
    let mut value = record(store, user);
    change(&mut value);
    store.put(BUCKET, &record_key(user), value.to_string());
}

#[tokio::test]
async fn the_record_has_the_name_and_fields_that_never_change() {
    let gateway = Gateway::start().await;
    interrupt_as(&gateway, "u", "STOR x", &pattern(PART + 1000, 1)).await;
    let store = &gateway.store;
    let record = record(store, "u");
    assert_eq!(record["format"], 1);
    assert_eq!(
        (&record["bucket"], &record["key"]),
        (&json!(BUCKET), &json!("x"))
    );
    assert_eq!(
        (&record["user"], &record["peer"]),
        (&json!("u"), &json!("127.0.0.1"))
    );
    assert_eq!(
        record["upload"]["id"],
        store.open_uploads()[0].upload_id.as_str()
    );
    let tail = record["tail"]["key"].as_str().unwrap();
    assert!(tail.starts_with(&tail_prefix("u")), "{tail}");
    let pieces = record["tail"]["pieces"].as_array().unwrap();
    assert_eq!((pieces.len(), &pieces[0]["size"]), (1, &json!(1000)));
    assert_eq!(record["schedule"]["first"], PART);
    assert_eq!(record["base"], "absent");
    let first = record.as_object().unwrap().keys().next();
    assert!(first.is_some());
    assert_eq!(store.keys(BUCKET), [tail.to_owned(), record_key("u")]);
}

/// Each user resumes their own upload, in whichever order they broke off. The first one that is
/// published ends the other.
#[tokio::test]
async fn each_user_has_their_own_interrupted_upload() {
    for first in ["u", "v"] {
        let gateway = shared().start().await;
        let other = shared().on(&gateway.store).start().await;
        let files = [("u", pattern(9 * MIB, 1)), ("v", pattern(10 * MIB, 2))];
        for (user, whole) in &files {
            interrupt_as(&gateway, user, "STOR x", &whole[..PART + 1000]).await;
        }
        for on in [&gateway, &other] {
            for (user, _) in &files {
                let mut ftp = on.ftp_as(user, "p").await;
                assert_eq!(size(&mut ftp, "x").await, PART + 999, "{user}");
                ftp.close().await;
            }
        }
        let (_, whole) = files.iter().find(|(user, _)| *user == first).unwrap();
        let mut ftp = other.ftp_as(first, "p").await;
        ftp.expect(&format!("REST {}", PART + 999), 350).await;
        let rest = &whole[PART + 999..];
        let reply = ftp.upload_with("STOR x", rest, Mode::Passive).await;
        assert_eq!(reply.code, 226, "{reply:?}");
        ftp.close().await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == *whole);
        let last = if first == "u" { "v" } else { "u" };
        let mut ftp = other.ftp_as(last, "p").await;
        assert_eq!(size(&mut ftp, "x").await, whole.len());
        ftp.close().await;
        only_objects(&[&gateway, &other], &["x"]).await;
    }
}

/// An interrupted upload over an object is kept for an hour (here: a minute), others for days.
#[tokio::test]
async fn an_interrupted_upload_over_an_object_is_kept_for_a_shorter_time() {
    for swept in [false, true] {
        for old in [None, Some("old")] {
            let settings = "[resume]\nkeep_over_object = \"1m\"";
            let gateway = Gateway::builder().with(settings).start().await;
            let store = &gateway.store;
            if let Some(old) = old {
                store.put_before(BUCKET, "x", old);
            }
            interrupt_as(&gateway, "u", "STOR x", &pattern(6 * MIB, 1)).await;
            store.backend().advance_clock(Duration::from_secs(50));
            let mut ftp = gateway.ftp().await;
            assert_eq!(size(&mut ftp, "x").await, 6 * MIB - 1);
            store.backend().advance_clock(Duration::from_secs(12));
            if swept {
                let sweeping = "[resume]\nkeep_over_object = \"1m\"\nsweep_every = \"100ms\"";
                let sweeping = Gateway::builder().with(sweeping).on(store).start().await;
                if old.is_some() {
                    super::only_objects_of(store, &["x"]).await;
                } else {
                    store.wait_for("ListMultipartUploads", 2).await;
                    assert_eq!(store.open_uploads().len(), 1);
                }
                sweeping.stop().await;
            }
            match old {
                Some(old) => {
                    assert_eq!(size(&mut ftp, "x").await, old.len());
                    ftp.close().await;
                    only_objects(&[&gateway], &["x"]).await;
                }
                None => {
                    assert_eq!(size(&mut ftp, "x").await, 6 * MIB - 1);
                    ftp.close().await;
                }
            }
        }
    }
}

/// A tail of several objects, with gaps in their numbers: it ends at the first one that is missing
/// or differs.
#[tokio::test]
async fn a_tail_of_several_pieces_is_used_up_to_its_first_gap() {
    let sizes = [3000, 1, 70_000, 5000];
    let numbers = [2, 3, 7, 8];
    let tail: usize = sizes.iter().sum();
    for parts in [0, PART] {
        for damaged in [None, Some(0), Some(2), Some(3)] {
            let gateway = Gateway::start().await;
            let store = &gateway.store;
            let whole = pattern(parts + tail + MIB, 1);
            interrupt_as(&gateway, "u", "STOR x", &whole[..parts + tail]).await;
            let key = record(store, "u")["tail"]["key"]
                .as_str()
                .unwrap()
                .to_owned();
            let mut pieces = Vec::new();
            let mut from = parts;
            for (size, number) in sizes.into_iter().zip(numbers) {
                let bytes = &whole[from..from + size];
                from += size;
                let at = format!("{key}.{number}");
                store.put(BUCKET, &at, bytes);
                let etag = format!("\"{}\"", store.backend().etag(BUCKET, &at).unwrap());
                pieces.push(json!({
                    "number": number, "size": size, "etag": etag, "crc32": crc32fast::hash(bytes)
                }));
            }
            store.backend().remove(BUCKET, &key);
            change(store, "u", |record| {
                record["tail"]["pieces"] = json!(pieces)
            });
            if let Some(damaged) = damaged {
                let at = format!("{key}.{}", numbers[damaged]);
                assert!(store.backend().remove(BUCKET, &at));
            }
            let kept: usize = sizes[..damaged.unwrap_or(4)].iter().sum();
            if parts + kept == 0 {
                let mut ftp: Ftp = gateway.ftp().await;
                ftp.expect("SIZE x", 550).await;
                ftp.close().await;
                only_objects(&[&gateway], &[]).await;
                continue;
            }
            resume(&gateway, By::Rest, "x", &whole, parts + kept).await;
            assert!(store.object(BUCKET, "x").unwrap() == whole, "{damaged:?}");
            only_objects(&[&gateway], &["x"]).await;
        }
    }
}
