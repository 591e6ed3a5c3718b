//! An interrupted upload can resume where it stopped, to the byte, whatever its size, on this
//! replica or another, after a restart too, and nothing is visible until it is whole.

mod changed_settings;
mod crashes;
mod damage;
mod deletes;
mod existing_objects;
mod in_flight;
mod offsets;
mod ownership;
mod races;
mod record;
mod state_prefix;
mod store_failures;
mod superseded;
pub(crate) mod sweep;

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use test_support::faults::Fault;
use test_support::ftp::{Ftp, Mode, reset_stream};
use test_support::gateway::{BUCKET, Builder, Gateway};
use test_support::store::Store;
use test_support::transfers::{
    begin, moved, nothing_left, sessions_ended, settled, size, upload_in_progress,
};
use test_support::{DEADLINE, MIB, pattern};

/// Less than a part; a part and a little; three parts and a little.
const SIZES: [usize; 3] = [70_000, 6 * MIB, 16 * MIB];

/// How a test resumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// REST n, STOR, in another session.
    Rest,
    /// SIZE, APPE, in another session.
    Appe,
    /// The same on another replica.
    OtherReplica,
}

/// Resumes an upload of which `there` bytes are in the store, in a session of its own. One byte
/// less is reported, because they may be all.
async fn resume(gateway: &Gateway, by: By, path: &str, whole: &[u8], there: usize) {
    let mut ftp = gateway.ftp().await;
    let from = there - 1;
    assert_eq!(size(&mut ftp, path).await, from, "{by:?}");
    let command = match by {
        By::Appe => format!("APPE {path}"),
        By::Rest | By::OtherReplica => {
            ftp.expect(&format!("REST {from}"), 350).await;
            format!("STOR {path}")
        }
    };
    let reply = ftp
        .upload_with(&command, &whole[from..], Mode::Passive)
        .await;
    assert_eq!(reply.code, 226, "{}", ftp.transcript());
    ftp.close().await;
}

/// Waits until only the objects are left.
async fn only_objects(gateways: &[&Gateway], keys: &[&str]) {
    for gateway in gateways {
        nothing_left(gateway, 0).await;
    }
    only_objects_of(&gateways[0].store, keys).await;
}

/// Two users of one tree.
fn shared() -> Builder {
    Gateway::builder().user("v", "p", "{ \"/\" = \"main\" }")
}

/// Breaks an upload off in each size, over an existing object and over none, and resumes it in each
/// way.
async fn resumes_after(
    configure: impl Fn(Builder) -> Builder,
    cut: impl AsyncFn(Ftp, TcpStream, &Gateway),
) {
    for (number, size) in SIZES.into_iter().enumerate() {
        for by in [By::Rest, By::Appe, By::OtherReplica] {
            let old = (number % 2 == (by == By::Appe) as usize).then_some("the old one");
            let gateway = configure(Gateway::builder()).start().await;
            let other = Gateway::builder().on(&gateway.store).start().await;
            let store = Arc::clone(&gateway.store);
            if let Some(old) = old {
                store.put_before(BUCKET, "x", old);
            }
            let whole = pattern(size + 3 * MIB, 7);
            let mut ftp = gateway.ftp().await;
            let data = upload_in_progress(&mut ftp, "STOR x", &whole[..size]).await;
            cut(ftp, data, &gateway).await;
            settled(&gateway).await;
            // Nothing of it is visible.
            let found = store.object(BUCKET, "x");
            assert_eq!(found.as_deref(), old.map(str::as_bytes));
            let on = if by == By::OtherReplica {
                &other
            } else {
                &gateway
            };
            resume(on, by, "x", &whole, size).await;
            assert!(store.object(BUCKET, "x").unwrap() == whole, "{size} {by:?}");
            only_objects(&[&gateway, &other], &["x"]).await;
        }
    }
}

#[tokio::test]
async fn after_a_reset_of_the_data_connection() {
    resumes_after(
        |builder| builder,
        async |mut ftp, data, _| {
            reset_stream(data);
            ftp.expect_reply(426).await;
            ftp.close().await;
        },
    )
    .await;
}

#[tokio::test]
async fn after_an_abor() {
    resumes_after(
        |builder| builder,
        async |mut ftp, _data, _| {
            ftp.send("ABOR").await;
            ftp.expect_reply(426).await;
            ftp.expect_reply(226).await;
            ftp.close().await;
        },
    )
    .await;
}

#[tokio::test]
async fn after_a_lost_control_connection() {
    resumes_after(
        |builder| builder,
        async |ftp, data, gateway| {
            ftp.reset();
            // The data connection stays open: its end would be another test.
            sessions_ended(gateway).await;
            drop(data);
        },
    )
    .await;
}

#[tokio::test]
async fn after_a_stalled_client_was_cut() {
    resumes_after(
        |builder| builder.with("[timeouts]\ndata_stall = \"1500ms\""),
        async |mut ftp, _data, _| {
            let reply = ftp.expect_reply(426).await;
            assert!(reply.text().contains("no data moved"), "{reply:?}");
            ftp.close().await;
        },
    )
    .await;
}

#[tokio::test]
async fn after_a_server_that_was_shut_down() {
    for size in SIZES {
        let gateway = Gateway::builder()
            .with("[timeouts]\nshutdown_grace = 0")
            .start()
            .await;
        let other = Gateway::builder().on(&gateway.store).start().await;
        let whole = pattern(size + 3 * MIB, 7);
        let mut ftp = gateway.ftp().await;
        let data = upload_in_progress(&mut ftp, "STOR x", &whole[..size]).await;
        gateway.stop().await;
        drop((ftp, data));
        resume(&other, By::OtherReplica, "x", &whole, size).await;
        assert!(other.store.object(BUCKET, "x").unwrap() == whole);
        only_objects(&[&other], &["x"]).await;
    }
}

#[tokio::test]
async fn after_six_breaks_in_a_row_with_nothing_sent_twice() {
    let gateway = Gateway::start().await;
    let other = Gateway::builder().on(&gateway.store).start().await;
    let whole = pattern(23 * MIB, 3);
    // Within a part, at its end, over several at once.
    let stops = [
        0,
        1_000_000,
        5 * MIB,
        5 * MIB + 10,
        12 * MIB,
        15 * MIB,
        22 * MIB,
    ];
    for (number, pair) in stops.windows(2).enumerate() {
        let (from, to) = (pair[0], pair[1]);
        let on = [&gateway, &other][number % 2];
        let mut ftp = on.ftp().await;
        if from > 0 {
            assert_eq!(size(&mut ftp, "x").await, from - 1);
            ftp.expect(&format!("REST {from}"), 350).await;
        }
        let mut data = begin(&mut ftp, "STOR x", Mode::Passive).await;
        data.write_all(&whole[from..to]).await.unwrap();
        moved(&mut ftp, to - from).await;
        reset_stream(data);
        ftp.expect_reply(426).await;
        ftp.close().await;
        settled(on).await;
    }
    resume(&gateway, By::Rest, "x", &whole, 22 * MIB).await;
    assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
    only_objects(&[&gateway, &other], &["x"]).await;
}

/// All bytes have arrived, and the client has died before the 226. If SIZE reported all of them, a
/// client would take the file for stored. So it has to send one more byte.
#[tokio::test]
async fn a_whole_file_is_never_reported_whole_before_it_is_published() {
    for size_of_file in [1, 2, 70_000, 5 * MIB, 10 * MIB, 12 * MIB] {
        for by in [By::Rest, By::Appe] {
            let gateway = Gateway::start().await;
            let whole = pattern(size_of_file, 9);
            let mut ftp = gateway.ftp().await;
            let mut data = upload_in_progress(&mut ftp, "STOR x", &whole).await;
            data.shutdown().await.unwrap();
            ftp.reset();
            drop(data);
            sessions_ended(&gateway).await;
            settled(&gateway).await;
            if gateway.store.object(BUCKET, "x").is_some() {
                panic!("published without a control connection");
            }
            if size_of_file == 1 {
                let mut ftp = gateway.ftp().await;
                ftp.expect("SIZE x", 550).await;
                only_objects_of(&gateway.store, &[]).await;
                continue;
            }
            resume(&gateway, by, "x", &whole, size_of_file).await;
            assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
            only_objects(&[&gateway], &["x"]).await;
        }
    }
}

/// Waits until the store holds these keys, and empty records if it ignores conditions at a delete.
/// Fails with the content of the store.
async fn only_objects_of(store: &Store, keys: &[&str]) {
    let empties = !store.backend().behaviour().conditional_deletes;
    let gone = store.until("records and tails are gone", |store| {
        let mut there = store.keys(BUCKET);
        let empty = |key: &str| store.object(BUCKET, key).is_some_and(|it| it.is_empty());
        there.retain(|key| !(empties && key.starts_with(".s3ftpd/uploads/") && empty(key)));
        there == keys
    });
    // Before `until` gives up, whose message has no keys.
    let patience = DEADLINE - std::time::Duration::from_secs(1);
    if tokio::time::timeout(patience, gone).await.is_err() {
        let left = store.keys(BUCKET).into_iter().map(|key| {
            let bytes = store.object(BUCKET, &key).unwrap_or_default();
            let content = match key.starts_with(".s3ftpd/uploads/") {
                true => String::from_utf8_lossy(&bytes).into_owned(),
                false => format!("{} bytes", bytes.len()),
            };
            format!("{key}: {content}")
        });
        panic!("not only {keys:?} but {:#?}", left.collect::<Vec<_>>());
    }
}

/// A store that fails at the end of an upload: what arrived is saved, and the client sends one byte
/// to try again.
#[tokio::test]
async fn after_a_store_that_failed_to_publish() {
    for (size_of_file, operation) in [(70_000, "PutObject"), (12 * MIB, "CompleteMultipartUpload")]
    {
        let gateway = Gateway::builder()
            .with("[stores.main]\nattempts = 1")
            .start()
            .await;
        let whole = pattern(size_of_file, 9);
        let rule = gateway
            .store
            .fail(operation)
            .key("x")
            .times(if size_of_file > MIB { 3 } else { 1 })
            .with(Fault::Status(500, "InternalError"));
        let mut ftp = gateway.ftp().await;
        let reply = ftp.store("x", &whole).await;
        assert_eq!(reply.code, 451, "{}", ftp.transcript());
        rule.hit().await;
        resume(&gateway, By::Rest, "x", &whole, size_of_file).await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
        ftp.close().await;
        only_objects(&[&gateway], &["x"]).await;
    }
}
