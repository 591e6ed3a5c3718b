//! What a killed process leaves: the binary, and SIGKILL.

use std::sync::Arc;
use std::time::Duration;

use super::{By, only_objects, resume};
use test_support::gateway::{BUCKET, Gateway};
use test_support::process::Process;
use test_support::store::Store;
use test_support::transfers::{size, upload_in_progress};
use test_support::{MIB, pattern};

/// A process that can be killed.
async fn process(store: &Arc<Store>, replica: &str) -> Process {
    let settings = format!(
        "replica = \"{replica}\"\n[transfer]\npart_size = \"5MiB\"\n[memory]\nbudget = \"64MiB\""
    );
    Process::start_on(store, &settings).await
}

/// Kills a gateway in the middle of an upload of which `parts` whole parts are in the store, and
/// starts the next one with the same replica name.
async fn killed(store: &Arc<Store>, whole: &[u8], sent: usize, parts: usize) -> Gateway {
    let process = process(store, "pod-0").await;
    let mut ftp = process.ftp().await;
    let data = upload_in_progress(&mut ftp, "STOR x", &whole[..sent]).await;
    store.wait_for("UploadPart", parts).await;
    store
        .until("the record", |store| {
            store
                .keys(BUCKET)
                .iter()
                .any(|key| key.starts_with(".s3ftpd/uploads/"))
        })
        .await;
    process.kill().await;
    drop((ftp, data));
    Gateway::builder()
        .with("replica = \"pod-0\"")
        .on(store)
        .start()
        .await
}

#[tokio::test]
async fn after_kill_9_and_a_restart() {
    for old in [None, Some("old")] {
        let store = Arc::new(Store::start(&[BUCKET]).await);
        if let Some(old) = old {
            store.put_before(BUCKET, "x", old);
        }
        let whole = pattern(18 * MIB, 8);
        let gateway = killed(&store, &whole, 12 * MIB, 2).await;
        assert_eq!(store.object(BUCKET, "x").as_deref(), old.map(str::as_bytes));
        // Two parts; a killed process cannot say whether they were all.
        resume(&gateway, By::Rest, "x", &whole, 10 * MIB).await;
        assert!(store.object(BUCKET, "x").unwrap() == whole);
        only_objects(&[&gateway], &["x"]).await;
    }
}

#[tokio::test]
async fn a_later_upload_cleans_up_after_a_killed_process() {
    let store = Arc::new(Store::start(&[BUCKET]).await);
    let whole = pattern(18 * MIB, 8);
    let gateway = killed(&store, &whole, 12 * MIB, 2).await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("x", &whole).await.code, 226);
    ftp.close().await;
    assert!(store.object(BUCKET, "x").unwrap() == whole);
    only_objects(&[&gateway], &["x"]).await;
}

#[tokio::test]
async fn another_replica_resumes_after_the_record_goes_stale() {
    let store = Arc::new(Store::start(&[BUCKET]).await);
    let whole = pattern(18 * MIB, 8);
    let gateway = killed(&store, &whole, 12 * MIB, 2).await;
    gateway.stop().await;
    let other = Gateway::builder()
        .with("replica = \"pod-1\"")
        .on(&store)
        .start()
        .await;
    let mut ftp = other.ftp().await;
    ftp.expect("SIZE x", 450).await;
    store.backend().advance_clock(Duration::from_secs(152));
    assert_eq!(size(&mut ftp, "x").await, 10 * MIB - 1);
    ftp.close().await;
    resume(&other, By::OtherReplica, "x", &whole, 10 * MIB).await;
    assert!(store.object(BUCKET, "x").unwrap() == whole);
    only_objects(&[&other], &["x"]).await;
}

/// The record of a killed process, and the time at which its object was last modified, in seconds
/// since 1970.
async fn record_and_time(store: &Store) -> (String, serde_json::Value, i64) {
    let key = store
        .keys(BUCKET)
        .into_iter()
        .find(|key| key.starts_with(".s3ftpd/uploads/"))
        .unwrap();
    let record = serde_json::from_slice(&store.object(BUCKET, &key).unwrap()).unwrap();
    let head = store.client().head_object().bucket(BUCKET).key("x");
    let modified = head.send().await.unwrap().last_modified().unwrap().secs();
    (key, record, modified)
}

/// A killed process has not looked for an object: the store's times decide, which are in seconds.
#[tokio::test]
async fn an_object_written_after_the_kill_ends_the_interrupted_upload() {
    let store = Arc::new(Store::start(&[BUCKET]).await);
    let whole = pattern(18 * MIB, 8);
    let gateway = killed(&store, &whole, 12 * MIB, 2).await;
    store.backend().advance_clock(Duration::from_secs(2));
    store.put(BUCKET, "x", "the other's own");
    let mut ftp = gateway.ftp().await;
    assert_eq!(size(&mut ftp, "x").await, 15);
    ftp.expect(&format!("REST {}", 10 * MIB - 1), 350).await;
    ftp.expect("EPSV", 229).await;
    ftp.expect("STOR x", 554).await;
    ftp.close().await;
    assert_eq!(store.object(BUCKET, "x").unwrap(), b"the other's own");
    only_objects(&[&gateway], &["x"]).await;
}

/// Times are in seconds: only an object of an earlier second is certainly older than the upload,
/// and is replaced. One of the same second may be newer, and ends the upload.
#[tokio::test]
async fn an_object_written_in_the_second_of_the_start_ends_the_interrupted_upload() {
    for (begins, kept) in [(1000, true), (999, false), (0, false), (-1000, false)] {
        let store = Arc::new(Store::start(&[BUCKET]).await);
        let whole = pattern(18 * MIB, 8);
        let gateway = killed(&store, &whole, 12 * MIB, 2).await;
        store.put(BUCKET, "x", "the other's own");
        // The start of the upload is set to where the case needs it, because a test that never
        // sleeps cannot hit a second.
        let (key, mut record, modified) = record_and_time(&store).await;
        assert!(record["began"]["at_ms"].as_i64().unwrap() > 1_600_000_000_000);
        assert_eq!(record["base"], "unknown", "it was not to have looked");
        record["began"]["at_ms"] = serde_json::json!(modified * 1000 + begins);
        store.put(BUCKET, &key, record.to_string());
        let mut ftp = gateway.ftp().await;
        let reported = size(&mut ftp, "x").await;
        ftp.close().await;
        if kept {
            assert_eq!(reported, 10 * MIB - 1, "{begins}");
            resume(&gateway, By::Rest, "x", &whole, reported + 1).await;
            assert!(store.object(BUCKET, "x").unwrap() == whole);
        } else {
            assert_eq!(reported, 15, "{begins}");
            assert_eq!(store.object(BUCKET, "x").unwrap(), b"the other's own");
        }
        only_objects(&[&gateway], &["x"]).await;
    }
}
