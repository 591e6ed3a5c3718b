//! Which of two interrupted uploads of one user and name is kept.

use std::sync::Arc;

use serde_json::json;

use super::{By, PART, change, only_objects, record_key, resume};
use test_support::ftp::reset_stream;
use test_support::gateway::{BUCKET, Gateway};
use test_support::transfers::{interrupt_as, settled, upload_in_progress};
use test_support::{MIB, pattern};

/// Two replicas whose clocks differ: the ids of the transfers sort in the wrong order. Version 1
/// breaks off on one replica, version 2 on the other, in the same second. The end of version 2 must
/// never be added to the start of version 1.
#[tokio::test]
async fn of_two_uploads_begun_in_one_second_neither_is_kept() {
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

/// Nothing is in the store, with `sessions` sessions still open.
async fn only_objects_but(gateways: &[&Gateway; 2], sessions: usize) {
    test_support::transfers::nothing_left(gateways[0], 0).await;
    test_support::transfers::nothing_left(gateways[1], sessions).await;
    super::super::only_objects_of(&gateways[0].store, &[]).await;
}

/// If the store's clock can decide, the newer one is kept, whatever the ids are.
#[tokio::test]
async fn the_later_of_two_uploads_is_kept_whatever_their_ids() {
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
        resume(&fast, By::OtherReplica, "x", &whole, second).await;
        assert!(fast.store.object(BUCKET, "x").unwrap() == whole);
        only_objects(&[&fast, &other], &["x"]).await;
    }
}

/// Both are running, begun in the same second on two replicas, and break off one after the other.
#[tokio::test]
async fn of_two_running_uploads_begun_in_one_second_neither_is_kept() {
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
