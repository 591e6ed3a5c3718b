//! RNFR and RNTO of files: they move with their attributes, and nothing is lost.

mod aliases;
mod ambiguous_copies;
mod concurrent_writes;
mod directories;
mod parallel;
mod permissions;
mod requests;
mod source_version;

use std::sync::Arc;

use test_support::faults::Fault;
use test_support::ftp::Ftp;
use test_support::gateway::{BUCKET, Gateway};
use test_support::settings::store_section;
use test_support::store::Store;
use test_support::{MIB, pattern};

async fn rename(ftp: &mut Ftp, from: &str, to: &str, code: u16) -> String {
    ftp.expect(&format!("RNFR {from}"), 350).await;
    let reply = ftp.expect(&format!("RNTO {to}"), code).await;
    ftp.in_step().await;
    reply.text().to_owned()
}

/// `/` is a bucket, `/second` another one, `/far` another store. `/same` and `/alias` are other
/// ways to the first, by the same store and by one that is configured twice.
async fn tree() -> (Gateway, Arc<Store>) {
    let near = Arc::new(Store::start(&[]).await);
    let far = Arc::new(Store::start(&["far"]).await);
    let mut builder = Gateway::builder()
        .on(&near)
        .with("[stores.main]\ncopy_limit = \"5MiB\"")
        .add_mount("other", "other", "sub/");
    for (name, store) in [("second", &far), ("alias", &near)] {
        builder = builder.with(&store_section(name, store));
    }
    let gateway = builder
        .with("[mounts.far]\nstore = \"second\"\nbucket = \"far\"")
        .with("[mounts.same]\nstore = \"main\"\nbucket = \"files\"")
        .with("[mounts.alias]\nstore = \"alias\"\nbucket = \"files\"")
        .with(
            "[users.u]\nmounts = { \"/\" = \"main\", \"/second\" = \"other\", \"/same\" = \"same\", \
             \"/alias\" = \"alias\", \"/far\" = \"far\" }",
        )
        .start()
        .await;
    (gateway, far)
}

/// Puts an object with attributes that a rename must keep.
async fn put_described(store: &Store, key: &str, bytes: Vec<u8>) {
    let client = store.client();
    let put = client.put_object().bucket(BUCKET).key(key);
    let put = put.content_type("text/csv").metadata("colour", "red");
    put.body(bytes.into()).send().await.unwrap();
}

async fn assert_described(store: &Store, bucket: &str, key: &str) {
    let client = store.client();
    let head = client.head_object().bucket(bucket).key(key);
    let head = head.send().await.unwrap();
    assert_eq!(head.content_type(), Some("text/csv"), "{key}");
    assert_eq!(head.metadata().unwrap()["colour"], "red", "{key}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_moves_within_and_between_mounts_buckets_and_stores() {
    let (gateway, far) = tree().await;
    let mut ftp = gateway.ftp().await;
    // Larger than 5 MiB, by a multipart copy.
    for size in [0, 10, 5 * MIB, 5 * MIB + 1, 11 * MIB] {
        let bytes = pattern(size, 1);
        for (to, store, bucket, key) in [
            ("/there", &gateway.store, BUCKET, "there"),
            ("/new/dir/there", &gateway.store, BUCKET, "new/dir/there"),
            ("/second/there", &gateway.store, "other", "sub/there"),
            ("/far/there", &far, "far", "there"),
        ] {
            // Over an existing object or not: both are copied in the same way.
            for over in [false, true] {
                if over && size > 10 {
                    continue;
                }
                put_described(&gateway.store, "here", bytes.clone()).await;
                if over {
                    store.put(bucket, key, "in the way");
                } else {
                    store.backend().remove(bucket, key);
                }
                gateway.store.reset_counts();
                rename(&mut ftp, "/here", to, 250).await;
                let moved = store.object(bucket, key).unwrap();
                assert!(moved == bytes, "{to}: {size} bytes");
                assert!(gateway.store.object(BUCKET, "here").is_none(), "{to}");
                assert_described(store, bucket, key).await;
                let copies = gateway.store.count("UploadPartCopy");
                let large = size > 5 * MIB && !to.starts_with("/far");
                assert_eq!(copies > 0, large, "{to}: {copies} copies of {size} bytes");
                assert_eq!(
                    gateway.store.count("GetObject") > 0,
                    to.starts_with("/far") && size > 0
                );
            }
        }
    }
    gateway.store.no_uploads_left().await;
    far.no_uploads_left().await;
    ftp.close().await;
    gateway.stop().await;
}

/// The bytes pass through the server, and the original is deleted: a copy that is damaged on the
/// way does not count.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_damaged_between_two_stores_is_not_moved() {
    let (gateway, far) = tree().await;
    let store = &gateway.store;
    let mut ftp = gateway.ftp().await;
    for size in [1, 300_000, 11 * MIB] {
        let bytes = pattern(size, 1);
        for (from, to, key) in [("/here", "/far/there", "here"), ("/d", "/far/e", "d/f")] {
            assert_eq!(ftp.store(&format!("/{key}"), &bytes).await.code, 226);
            let rule = store.fail("GetObject").key(key).nth(size.div_ceil(8 * MIB));
            let rule = rule.with(Fault::CorruptBody);
            rename(&mut ftp, from, to, 451).await;
            assert_eq!(rule.hits(), 1, "{size} {to}");
            assert!(
                store.object(BUCKET, key).as_ref() == Some(&bytes),
                "{size} {to}"
            );
            assert_eq!(far.keys("far"), [""; 0], "{size} {to}");
            rename(&mut ftp, from, to, 250).await;
            for key in far.keys("far") {
                assert!(
                    far.object("far", &key).as_ref() == Some(&bytes),
                    "{size} {to}"
                );
                far.backend().remove("far", &key);
            }
        }
    }
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_file_is_never_lost_by_a_rename_onto_itself() {
    let (gateway, _far) = tree().await;
    let mut ftp = gateway.ftp().await;
    for size in [3, 6 * MIB] {
        let bytes = pattern(size, 1);
        gateway.store.put(BUCKET, "dir/x", &bytes);
        // By another spelling, and by another mount of the same bucket.
        for to in ["dir/x", "/dir/../dir//x", "/same/dir/x", "/alias/dir/x"] {
            ftp.expect("RNFR dir/x", 350).await;
            ftp.command(&format!("RNTO {to}")).await;
            let kept = gateway.store.object(BUCKET, "dir/x");
            assert!(kept.as_deref() == Some(&bytes[..]), "lost as {to}");
        }
        for to in [
            "dir",
            "/same/dir",
            "/same/dir/sub",
            "/alias/dir/sub",
            "dir/sub",
        ] {
            ftp.expect("RNFR dir", 350).await;
            ftp.command(&format!("RNTO {to}")).await;
            let kept = gateway.store.object(BUCKET, "dir/x");
            assert!(kept.as_deref() == Some(&bytes[..]), "lost as {to}");
        }
    }
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn missing_sources_and_directories_in_the_way_are_reported() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "file", "1");
    gateway.store.put(BUCKET, "dir/x", "1");
    gateway.store.put(BUCKET, "other/y", "1");
    gateway.store.put(BUCKET, "marked/", "");
    let mut ftp = gateway.ftp().await;
    ftp.expect("RNFR none", 550).await;
    ftp.expect("RNTO new", 503).await;
    for (from, to) in [
        ("dir", "other"),
        ("dir", "marked"),
        ("dir", "file"),
        ("dir", "dir/sub"),
        ("dir", "dir/sub/deep"),
        ("dir", "/dir/./sub"),
    ] {
        rename(&mut ftp, from, to, 553).await;
    }
    let keys = ["dir/x", "file", "marked/", "other/y"];
    assert_eq!(gateway.store.keys(BUCKET), keys);
    // A directory whose name only begins with the target's is not in the way.
    rename(&mut ftp, "dir", "dir2", 250).await;
    rename(&mut ftp, "dir2", "di", 250).await;
    assert_eq!(
        gateway.store.keys(BUCKET),
        ["di/x", "file", "marked/", "other/y"]
    );
    ftp.close().await;
    gateway.stop().await;
}

/// RNFR decides which version moves, and only that one is deleted.
#[tokio::test]
async fn a_source_that_changes_during_the_copy_is_not_lost() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    // Between RNFR and RNTO.
    gateway.store.put(BUCKET, "a", "seen");
    ftp.expect("RNFR a", 350).await;
    gateway.store.put(BUCKET, "a", "newer");
    let code = ftp.command("RNTO b").await.code;
    let (a, b) = (
        gateway.store.object(BUCKET, "a"),
        gateway.store.object(BUCKET, "b"),
    );
    assert_eq!((code, a.as_deref(), b), (451, Some(&b"newer"[..]), None));
    // Between the copy and the delete.
    gateway.store.put(BUCKET, "a", "seen");
    let copied = gateway.store.fail("CopyObject").with(Fault::StallAnswer);
    ftp.expect("RNFR a", 350).await;
    ftp.send("RNTO b").await;
    copied.hit().await;
    gateway.store.put(BUCKET, "a", "newer");
    copied.release();
    ftp.expect_reply(451).await;
    assert_eq!(gateway.store.object(BUCKET, "a").unwrap(), b"newer");
    // Deleted before it was copied.
    gateway.store.put(BUCKET, "c", "1");
    ftp.expect("RNFR c", 350).await;
    gateway.store.backend().remove(BUCKET, "c");
    ftp.expect("RNTO d", 550).await;
    assert!(gateway.store.object(BUCKET, "d").is_none());
    ftp.in_step().await;
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_failed_copy_leaves_the_source_and_no_open_upload() {
    let (gateway, far) = tree().await;
    let mut ftp = gateway.ftp().await;
    for (size, to, operation, nth) in [
        (10, "/b", "CopyObject", 1),
        (12 * MIB, "/b", "UploadPartCopy", 2),
        (12 * MIB, "/b", "CompleteMultipartUpload", 1),
        (10, "/far/b", "GetObject", 1),
        (12 * MIB, "/far/b", "GetObject", 2),
    ] {
        let bytes = pattern(size, 1);
        gateway.store.put(BUCKET, "a", &bytes);
        let fault = Fault::Status(403, "AccessDenied");
        let rule = gateway.store.fail(operation).nth(nth).always().with(fault);
        ftp.expect("RNFR /a", 350).await;
        let reply = ftp.command(&format!("RNTO {to}")).await;
        assert!(reply.code >= 400, "{operation}: {reply:?}");
        rule.remove();
        assert!(
            gateway.store.object(BUCKET, "a").unwrap() == bytes,
            "{operation}"
        );
        assert!(gateway.store.object(BUCKET, "b").is_none(), "{operation}");
        assert!(far.keys("far").is_empty(), "{operation}");
        gateway.store.no_uploads_left().await;
        far.no_uploads_left().await;
    }
    ftp.close().await;
    gateway.stop().await;
}
