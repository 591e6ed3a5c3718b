//! The stored record: its format, its names, its order, and what becomes of it on stores without conditions.

use std::sync::Arc;
use std::time::Duration;

use s3_embedded::Behaviour;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::sweep::sweep;
use super::{By, go_on, only_objects, shared};
use crate::support::ftp::{Ftp, Mode, reset_stream};
use crate::support::gateway::{BUCKET, Builder, Gateway};
use crate::support::store::Store;
use crate::support::transfers::{interrupt_as, settled, size, upload_in_progress};
use crate::support::{MIB, pattern};

const PART: usize = 5 * MIB;

fn hash(texts: &[&str]) -> String {
    let digest = Sha256::digest(texts.join("\0"));
    let hex = digest.iter().take(16).map(|byte| format!("{byte:02x}"));
    hex.collect()
}

/// Where the record of a user's upload of `x` lies.
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

/// Writes a record with some fields changed.
fn change(store: &Store, user: &str, change: impl FnOnce(&mut Value)) {
    let mut value = record(store, user);
    change(&mut value);
    store.put(BUCKET, &record_key(user), value.to_string());
}

/// As a store says that it behaves.
fn on(builder: Builder, behaviour: &Behaviour) -> Builder {
    builder.with(&format!(
        "[stores.main]\nconditional_writes = {}\nconditional_deletes = {}",
        behaviour.conditional_writes, behaviour.conditional_deletes
    ))
}

#[tokio::test]
async fn the_record_has_the_fields_and_the_name_that_never_change() {
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

/// Each user resumes their own, whoever broke off last; the one that is published first ends the other.
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

/// Two replicas whose clocks differ: the ids of the transfers sort the wrong way. Version 1 breaks off on the one,
/// version 2 on the other, in the same second: its end must never get to version 1's beginning.
#[tokio::test]
async fn in_doubt_which_of_two_began_first_neither_is_kept() {
    for (first, second) in [
        (70_000, 1000),
        (70_000, 6 * MIB),
        (6 * MIB, 1000),
        (6 * MIB, PART + 9),
    ] {
        for id in ["00000000000000000000", "vvvvvvvvvvvvvvvvvvvv"] {
            let fast = Gateway::start().await;
            let other = Gateway::builder().on(&fast.store).start().await;
            let store = Arc::clone(&fast.store);
            let whole = pattern(9 * MIB, 2);
            interrupt_as(&fast, "u", "STOR x", &pattern(first, 1)).await;
            let now = std::time::SystemTime::now();
            let now = now
                .duration_since(std::time::UNIX_EPOCH)
                .unwrap()
                .as_millis();
            change(&store, "u", |record| {
                record["transfer"] = json!(id);
                // However slow this machine is, the other one begins within two seconds of this.
                record["began"]["at_ms"] = json!(now as u64 + 1000);
            });
            interrupt_as(&other, "u", "STOR x", &whole[..second]).await;
            let mut ftp = other.ftp().await;
            ftp.expect("SIZE x", 550).await;
            for rest in [first, first - 1, second, second - 1] {
                ftp.expect(&format!("REST {rest}"), 350).await;
                ftp.expect("EPSV", 229).await;
                ftp.expect("STOR x", 554).await;
            }
            only_objects_but(&[&fast, &other], 1).await;
            assert_eq!(ftp.store("x", &whole).await.code, 226);
            ftp.close().await;
            assert!(store.object(BUCKET, "x").unwrap() == whole);
            only_objects(&[&fast, &other], &["x"]).await;
        }
    }
}

/// Nothing is in the store, with so many sessions still open.
async fn only_objects_but(gateways: &[&Gateway; 2], sessions: usize) {
    crate::support::transfers::nothing_left(gateways[0], 0).await;
    crate::support::transfers::nothing_left(gateways[1], sessions).await;
    super::only_objects_of(&gateways[0].store, &[]).await;
}

/// If the store's clock can tell, the newer one is kept, whatever ids say.
#[tokio::test]
async fn the_later_of_two_is_kept_whatever_the_ids_say() {
    for (first, second) in [(70_000, 1000), (6 * MIB, 1000), (1000, 6 * MIB)] {
        let fast = Gateway::start().await;
        let other = Gateway::builder().on(&fast.store).start().await;
        let whole = pattern(9 * MIB, 2);
        interrupt_as(&fast, "u", "STOR x", &pattern(first, 1)).await;
        change(&fast.store, "u", |record| {
            record["transfer"] = json!("vvvvvvvvvvvvvvvvvvvv");
        });
        fast.store.a_while();
        interrupt_as(&other, "u", "STOR x", &whole[..second]).await;
        go_on(&fast, By::OtherReplica, "x", &whole, second).await;
        assert!(fast.store.object(BUCKET, "x").unwrap() == whole);
        only_objects(&[&fast, &other], &["x"]).await;
    }
}

/// Both run at once, begun in the same second on two replicas, and break off one after the other.
#[tokio::test]
async fn of_two_that_run_at_once_in_doubt_neither_is_kept() {
    for first_breaks in [true, false] {
        let gateways = [Gateway::start().await];
        let other = Gateway::builder().on(&gateways[0].store).start().await;
        let store = Arc::clone(&other.store);
        let mut one = gateways[0].ftp().await;
        let data = upload_in_progress(&mut one, "STOR x", &pattern(6 * MIB, 1)).await;
        store
            .until("its record", |store| {
                store.keys(BUCKET).contains(&record_key("u"))
            })
            .await;
        change(&store, "u", |record| {
            let now = std::time::SystemTime::now();
            let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
            record["began"]["at_ms"] = json!(now.as_millis() as u64 + 1000);
        });
        let mut two = other.ftp().await;
        let second = upload_in_progress(&mut two, "STOR x", &pattern(7 * MIB, 2)).await;
        store
            .until("both are named", |store| {
                let keys = store.keys(BUCKET);
                let records = keys.iter().filter(|key| key.contains("/uploads/"));
                records.count() == 2
            })
            .await;
        let mut ends = [(&mut one, data, &gateways[0]), (&mut two, second, &other)];
        if !first_breaks {
            ends.reverse();
        }
        for (ftp, data, on) in ends {
            reset_stream(data);
            ftp.expect_reply(426).await;
            settled(on).await;
        }
        let reply = one.command("SIZE x").await;
        assert_eq!(reply.code, 550, "{first_breaks}: {reply:?}");
        one.close().await;
        two.close().await;
        only_objects(&[&gateways[0], &other], &[]).await;
    }
}

/// A record as a later version writes it, of an upload that is open and a tail that is there.
async fn later_record(store: &Store) -> String {
    let open = store.client().create_multipart_upload();
    let open = open.bucket(BUCKET).key("x").send().await.unwrap();
    let upload = open.upload_id.unwrap();
    let text = include_str!("../../fixtures/record-2.json");
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
async fn a_later_format_is_not_resumed_and_gives_way_to_a_new_upload() {
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
            // A session that was told nothing, and another user.
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
            // It begins anew, breaks off, and is resumed: this version's record takes the place of the other.
            let whole = pattern(new + MIB, 3);
            let data = upload_in_progress(&mut ftp, "STOR x", &whole[..new]).await;
            reset_stream(data);
            ftp.expect_reply(426).await;
            ftp.close().await;
            settled(&gateway).await;
            go_on(&gateway, By::Rest, "x", &whole, new).await;
            assert!(store.object(BUCKET, "x").unwrap() == whole);
            settled(&gateway).await;
            // What the later version has named is there, until the sweep finds it old.
            assert!(is_open(store, &upload), "{new}");
            assert_eq!(tails(store), 4);
            let (right, told) = sweep(&gateway, &["--older-than", "1h", "--unrecorded"]).await;
            assert!(right && told.contains("1 found, 0 removed"), "{told}");
            assert!(is_open(store, &upload) && tails(store) == 4);
            let (right, told) = sweep(&gateway, &["--older-than", "0s"]).await;
            assert!(right && told.contains("removed: upload files/x"), "{told}");
            store.no_uploads_left().await;
            only_objects(&[&gateway], &["x"]).await;
        }
    }
}

/// It is old: it is removed by the fields that never change, and nothing else.
#[tokio::test]
async fn an_old_record_of_a_later_format_is_swept_by_the_fields_that_never_change() {
    let gateway = Gateway::start().await;
    let store = &gateway.store;
    let upload = later_record(store).await;
    let foreign = store.client().create_multipart_upload();
    foreign.bucket(BUCKET).key("y").send().await.unwrap();
    let all = ["--older-than", "0s", "--dry-run"];
    let (right, told) = sweep(&gateway, &all).await;
    assert!(
        right && told.contains("would be removed: upload files/x"),
        "{told}"
    );
    assert!(is_open(store, &upload) && tails(store) == 4);
    let (right, told) = sweep(&gateway, &["--older-than", "0s"]).await;
    assert!(right && told.contains("removed: upload files/x"), "{told}");
    assert!(!is_open(store, &upload) && store.open_uploads().len() == 1);
    assert_eq!(store.keys(BUCKET), [""; 0]);
}

/// Whatever it may name stays.
#[tokio::test]
async fn what_can_not_be_read_protects_the_uploads_and_tails_of_its_object() {
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
            let all = ["--older-than", "0s", "--unrecorded"];
            let (right, told) = sweep(&gateway, &all).await;
            assert!(right && told.contains("1 found, 1 removed"), "{told}");
            let open = store.open_uploads();
            assert_eq!((open.len(), &*open[0].key), (1, "x"), "{told}");
            assert_eq!(tails(store), 1);
            assert!(store.keys(BUCKET).contains(&key));
        }
    }
}

/// A record that names another object than the one whose directory it lies in is not believed.
#[tokio::test]
async fn a_record_in_the_wrong_place_removes_nothing() {
    let gateway = Gateway::start().await;
    let store = &gateway.store;
    interrupt_as(&gateway, "u", "STOR x", &pattern(6 * MIB, 1)).await;
    let bytes = store.object(BUCKET, &record_key("u")).unwrap();
    let wrong = format!(".s3ftpd/uploads/{}/{}", hash(&[BUCKET, "y"]), hash(&["u"]));
    store.put(BUCKET, &wrong, &bytes);
    store.backend().remove(BUCKET, &record_key("u"));
    sweep(&gateway, &["--older-than", "0s"]).await;
    assert_eq!(store.open_uploads().len(), 1);
}

/// On stores that ignore If-Match at DELETE.
#[tokio::test]
async fn a_record_ends_empty_where_a_delete_would_be_blind() {
    for behaviour in [Behaviour::minio(), Behaviour::garage()] {
        let gateway = on(Gateway::builder(), &behaviour).start().await;
        let store = &gateway.store;
        store.behave(|now| now.clone_from(&behaviour));
        let mut ftp = gateway.ftp().await;
        let whole = pattern(8 * MIB, 1);
        for _ in 0..2 {
            store.reset_counts();
            assert_eq!(ftp.store("x", &whole).await.code, 226);
            settled(&gateway).await;
            assert_eq!(store.object(BUCKET, &record_key("u")).unwrap(), b"");
            let of_record = |request: &crate::support::operation::Request| {
                request.key.starts_with(".s3ftpd/uploads/")
            };
            let requests = store.requests();
            let requests: Vec<&str> = requests
                .iter()
                .filter(|request| of_record(request))
                .map(|request| request.operation.as_str())
                .collect();
            match behaviour.conditional_writes {
                true => assert_eq!(requests, ["PutObject"; 2]),
                false => assert_eq!(
                    requests,
                    ["HeadObject", "PutObject", "HeadObject", "PutObject"]
                ),
            }
        }
        // It is as good as none: to this process, and to a new one.
        let other = on(Gateway::builder(), &behaviour).on(store).start().await;
        for on in [&gateway, &other] {
            let mut ftp = on.ftp().await;
            assert_eq!(size(&mut ftp, "x").await, whole.len());
            ftp.expect("DELE x", 250).await;
            ftp.expect("SIZE x", 550).await;
            let part = &whole[..6 * MIB];
            let data = upload_in_progress(&mut ftp, "STOR x", part).await;
            reset_stream(data);
            ftp.expect_reply(426).await;
            settled(on).await;
            ftp.close().await;
            go_on(on, By::Rest, "x", &whole, 6 * MIB).await;
            settled(on).await;
        }
        ftp.close().await;
        only_objects(&[&gateway, &other], &["x"]).await;
        // The sweep deletes it when it is old.
        sweep(&gateway, &["--older-than", "0s"]).await;
        assert!(store.keys(BUCKET).contains(&record_key("u")));
        store.backend().advance_clock(Duration::from_secs(601));
        sweep(&gateway, &["--older-than", "0s", "--dry-run"]).await;
        assert!(store.keys(BUCKET).contains(&record_key("u")));
        sweep(&gateway, &["--older-than", "30d"]).await;
        assert_eq!(store.keys(BUCKET), ["x"]);
    }
}

/// What it can do is found out.
#[tokio::test]
async fn whether_a_delete_is_blind_is_found_out_once() {
    for behaviour in [Behaviour::default(), Behaviour::minio()] {
        let auto = "[stores.main]\nconditional_deletes = \"auto\"";
        let gateway = Gateway::builder().with(auto).start().await;
        let store = &gateway.store;
        store.behave(|now| now.clone_from(&behaviour));
        let mut ftp = gateway.ftp().await;
        for name in ["x", "y", "z"] {
            assert_eq!(ftp.store(name, &pattern(6 * MIB, 1)).await.code, 226);
        }
        ftp.close().await;
        settled(&gateway).await;
        let probes = store.requests();
        let probes = probes.iter().filter(|request| {
            request.key.starts_with(".s3ftpd/probe-") && request.operation == "PutObject"
        });
        assert_eq!(probes.count(), 1);
        only_objects(&[&gateway], &["x", "y", "z"]).await;
        let empties = store.keys(BUCKET).len() - 3;
        assert_eq!(empties, if behaviour.conditional_deletes { 0 } else { 3 });
    }
}

/// Over an object, an interrupted upload is kept for an hour (here: a minute), else for days.
#[tokio::test]
async fn an_interrupted_upload_over_an_object_is_kept_for_less_long() {
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

/// A tail of several objects, with gaps in their numbers: it ends at the first that is gone or another.
#[tokio::test]
async fn a_tail_of_several_pieces_is_read_to_its_first_gap() {
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
            go_on(&gateway, By::Rest, "x", &whole, parts + kept).await;
            assert!(store.object(BUCKET, "x").unwrap() == whole, "{damaged:?}");
            only_objects(&[&gateway], &["x"]).await;
        }
    }
}

/// Users cut, resume and write on two replicas at once, on stores without conditions: each open upload has a record, and
/// the sweep removes all that is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_upload_is_left_without_a_record_where_conditions_mean_nothing() {
    for behaviour in [
        Behaviour::minio(),
        Behaviour::garage(),
        Behaviour::default(),
    ] {
        let users = |mut builder: Builder| {
            for user in ["a", "b", "c", "d"] {
                builder = builder.user(user, "p", "{ \"/\" = \"main\" }");
            }
            on(builder, &behaviour)
        };
        let first = users(Gateway::builder()).start().await;
        let second = users(Gateway::builder()).on(&first.store).start().await;
        let store = Arc::clone(&first.store);
        store.behave(|now| now.clone_from(&behaviour));
        let gateways = [first, second];
        let clients = ["a", "b", "c", "d"]
            .into_iter()
            .enumerate()
            .map(|(number, user)| client(&gateways, user, number as u64));
        futures::future::join_all(clients).await;
        for gateway in &gateways {
            settled(gateway).await;
        }
        let records: String = store
            .keys(BUCKET)
            .iter()
            .filter(|key| key.contains("/uploads/"))
            .map(|key| String::from_utf8(store.object(BUCKET, key).unwrap()).unwrap())
            .collect();
        for upload in store.open_uploads() {
            assert!(records.contains(&upload.upload_id), "{upload:?}: {records}");
        }
        for key in store.keys(BUCKET) {
            let named = !key.contains("/tails/") || records.contains(&key);
            assert!(named, "{key}: {records}");
        }
        store.backend().advance_clock(Duration::from_secs(700));
        let (right, told) = sweep(&gateways[0], &["--older-than", "0s"]).await;
        assert!(right && !told.contains("unrecorded"), "{told}");
        let left = store.keys(BUCKET);
        // A record that this sweep has discarded is empty now, and removed by one that comes ten minutes later.
        let is_empty_record =
            |key: &str| key.contains("/uploads/") && store.object(BUCKET, key).unwrap().is_empty();
        assert!(
            left.iter()
                .all(|key| !key.starts_with(".s3ftpd/") || is_empty_record(key)),
            "{left:?}\n{told}"
        );
        assert_eq!(store.open_uploads(), []);
    }
}

/// One user's day: an upload is cut in turn on either replica, resumed or begun anew on the other at once, or sent by two
/// sessions at the same time.
async fn client(gateways: &[Gateway; 2], user: &str, number: u64) {
    for round in 0..6_usize {
        let name = format!("{}{}", if round % 3 == 0 { "all" } else { user }, round % 2);
        let whole = pattern(11 * MIB, number + 10 * round as u64);
        let sent = [70_000, 6 * MIB, PART + 1, 10 * MIB][(round + number as usize) % 4];
        let mut ftp = gateways[round % 2].ftp_as(user, "p").await;
        let data = upload_in_progress(&mut ftp, &format!("STOR {name}"), &whole[..sent]).await;
        let mut other = gateways[(round + 1) % 2].ftp_as(user, "p").await;
        if round % 2 == 0 {
            reset_stream(data);
            let reply = ftp.reply().await;
            assert!(reply.code >= 400, "{reply:?}");
        } else {
            // The other session does not wait for it.
            drop(ftp);
            drop(data);
        }
        let told = other.command(&format!("SIZE {name}")).await;
        let from: usize = match told.code {
            213 => told.text().parse().unwrap(),
            _ => 0,
        };
        if from > 0 && from < whole.len() && round % 4 < 3 {
            other.expect(&format!("REST {from}"), 350).await;
            let rest = &whole[from..];
            let reply = other
                .upload_with(&format!("STOR {name}"), rest, Mode::Passive)
                .await;
            assert!(reply.code >= 200, "{reply:?}");
        } else {
            let reply = other.store(&name, &whole).await;
            assert!(reply.code >= 200, "{reply:?}");
        }
        other.close().await;
    }
}
