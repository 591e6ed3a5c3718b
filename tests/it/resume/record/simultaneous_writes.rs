//! Two processes write one record in the same moment: each has looked before the other one writes.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use s3_embedded::Behaviour;
use serde_json::{Value, json};

use super::super::only_objects_of;
use super::unconditional_stores::on;
use super::{By, change, only_objects, record, record_key, resume};
use test_support::faults::Fault;
use test_support::ftp::reset_stream;
use test_support::gateway::{BUCKET, Gateway};
use test_support::store::Store;
use test_support::transfers::{nothing_left, settled, size, upload_in_progress};
use test_support::{MIB, pattern};

const RECORDS: &str = ".s3ftpd/uploads/";

/// Two gateways on one store, which stand for two processes.
async fn two(behaviour: &Behaviour) -> [Gateway; 2] {
    let first = on(Gateway::builder(), behaviour).start().await;
    first.store.behave(|now| now.clone_from(behaviour));
    let second = on(Gateway::builder(), behaviour).on(&first.store);
    [first, second.start().await]
}

fn in_slot(store: &Store) -> Option<Vec<u8>> {
    store.object(BUCKET, &record_key("u"))
}

/// The older upload ends its record while the newer one replaces it. Whichever writes last, nothing
/// is left.
#[tokio::test]
async fn a_record_set_aside_for_an_upload_that_was_about_to_end_is_removed() {
    for newer_last in [true, false] {
        let [gateway, other] = two(&Behaviour::garage()).await;
        let store = Arc::clone(&gateway.store);
        let files = [pattern(8 * MIB, 1), pattern(8 * MIB, 2)];
        let mut older = gateway.ftp().await;
        let first = upload_in_progress(&mut older, "STOR x", &files[0]).await;
        let recorded = |store: &Store| in_slot(store).is_some();
        store.until("its record", recorded).await;

        // The first is that of the record that is set aside.
        let of_newer = store.fail("PutObject").key(RECORDS).nth(2);
        let of_newer = of_newer.with(Fault::Stall);
        let mut newer = other.ftp().await;
        let second = upload_in_progress(&mut newer, "STOR x", &files[1]).await;
        of_newer.hit().await;
        let of_older = store.fail("PutObject").key(RECORDS).with(Fault::Stall);
        drop(first);
        older.expect_reply(226).await;
        older.close().await;
        of_older.hit().await;
        assert!(store.object(BUCKET, "x").unwrap() == files[0]);

        if newer_last {
            of_older.release();
            settled(&gateway).await;
            of_newer.release();
        } else {
            let before = in_slot(&store);
            of_newer.release();
            let replaced = |store: &Store| in_slot(store) != before;
            store.until("the newer record", replaced).await;
            of_older.release();
            settled(&gateway).await;
            assert_eq!(in_slot(&store).unwrap(), b"");
        }
        drop(second);
        newer.expect_reply(226).await;
        newer.close().await;
        assert!(store.object(BUCKET, "x").unwrap() == files[1]);
        only_objects(&[&gateway, &other], &["x"]).await;
    }
}

/// A small upload breaks off and meets a running one that it cannot be ordered with, and that is
/// published in the same moment.
#[tokio::test]
async fn a_record_set_aside_by_an_upload_in_doubt_is_removed() {
    for behaviour in [
        Behaviour::default(),
        Behaviour::minio(),
        Behaviour::garage(),
    ] {
        let [gateway, other] = two(&behaviour).await;
        let store = Arc::clone(&gateway.store);
        let whole = pattern(8 * MIB, 1);
        let mut running = gateway.ftp().await;
        let first = upload_in_progress(&mut running, "STOR x", &whole).await;
        let recorded = |store: &Store| in_slot(store).is_some();
        store.until("its record", recorded).await;

        // However slow this machine is, both began in the same moment.
        let same_moment = Fault::Edit(|_, body| {
            if let Ok(mut record) = serde_json::from_slice::<Value>(body) {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                let before = now - Duration::from_secs(1);
                record["began"]["at_ms"] = json!(before.as_millis() as u64);
                *body = record.to_string().into_bytes();
            }
        });
        let edit = store.fail("GetObject").key(RECORDS).always();
        let edit = edit.with(same_moment);
        let aside = store
            .fail("PutObject")
            .key(&format!("{}.", record_key("u")));
        let aside = aside.with(Fault::StallAnswer);
        let mut broken = other.ftp().await;
        let data = upload_in_progress(&mut broken, "STOR x", &pattern(70_000, 2)).await;
        reset_stream(data);
        aside.hit().await;
        drop(first);
        running.expect_reply(226).await;
        running.close().await;
        settled(&gateway).await;
        aside.release();
        broken.expect_reply(426).await;
        broken.close().await;
        settled(&other).await;
        edit.remove();
        assert!(store.object(BUCKET, "x").unwrap() == whole);
        only_objects(&[&gateway, &other], &["x"]).await;
    }
}

/// Both find no record and write theirs, the older one last, and both break off. The end of one
/// must never be added to the start of the other: only one that is known to be newer is kept.
#[tokio::test]
async fn a_record_that_replaced_another_unseen_is_judged_by_its_age() {
    for in_same_moment in [true, false] {
        for older_breaks_first in [true, false] {
            let what = format!("{in_same_moment}, {older_breaks_first}");
            let [gateway, other] = two(&Behaviour::garage()).await;
            let store = Arc::clone(&gateway.store);
            let whole = pattern(9 * MIB, 2);
            let of_older = store.fail("PutObject").key(RECORDS).with(Fault::Stall);
            let mut older = gateway.ftp().await;
            let first = upload_in_progress(&mut older, "STOR x", &pattern(6 * MIB, 1)).await;
            of_older.hit().await;
            if !in_same_moment {
                store.a_while();
            }
            let mut newer = other.ftp().await;
            let second = upload_in_progress(&mut newer, "STOR x", &whole[..7 * MIB]).await;
            let recorded = |store: &Store| in_slot(store).is_some();
            store.until("the newer record", recorded).await;
            let before = in_slot(&store);
            let began = record(&store, "u")["began"]["at_ms"].clone();
            of_older.release();
            let replaced = |store: &Store| in_slot(store) != before;
            store.until("the older record", replaced).await;

            let mut ends = [(older, first, &gateway), (newer, second, &other)];
            if !older_breaks_first {
                ends.reverse();
            }
            for (number, (mut ftp, data, on)) in ends.into_iter().enumerate() {
                // Before the newer one breaks off. However slow this machine is, it finds that both
                // began in the same moment.
                if in_same_moment && (number == 1) == older_breaks_first {
                    change(&store, "u", |record| {
                        record["began"]["at_ms"] = began.clone();
                    });
                }
                reset_stream(data);
                ftp.expect_reply(426).await;
                ftp.close().await;
                settled(on).await;
            }
            let mut ftp = gateway.ftp().await;
            if in_same_moment {
                let reply = ftp.command("SIZE x").await;
                assert_eq!(reply.code, 550, "{what}: {reply:?}");
                ftp.close().await;
                for gateway in [&gateway, &other] {
                    nothing_left(gateway, 0).await;
                }
                only_objects_of(&store, &[]).await;
                continue;
            }
            assert_eq!(size(&mut ftp, "x").await, 7 * MIB - 1, "{what}");
            ftp.close().await;
            resume(&gateway, By::OtherReplica, "x", &whole, 7 * MIB).await;
            assert!(store.object(BUCKET, "x").unwrap() == whole, "{what}");
            only_objects(&[&gateway, &other], &["x"]).await;
        }
    }
}
