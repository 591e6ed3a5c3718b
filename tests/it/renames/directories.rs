//! Directories: they are made, moved with everything in them, and removed.

use super::{rename, tree};
use test_support::faults::Fault;
use test_support::gateway::{BUCKET, Gateway};
use test_support::within;

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_moves_with_its_contents() {
    let (gateway, far) = tree().await;
    let inner = [
        ("a", "1"),
        ("deep/er/b c+d%20ü", "2"),
        ("empty/", ""),
        ("", ""),
        ("z", "3"),
    ];
    let mut ftp = gateway.ftp().await;
    for (to, store, bucket, prefix) in [
        ("/moved", &gateway.store, BUCKET, "moved/"),
        ("/not/yet/there", &gateway.store, BUCKET, "not/yet/there/"),
        ("/second/moved", &gateway.store, "other", "sub/moved/"),
        ("/far/moved", &far, "far", "moved/"),
    ] {
        gateway.store.put(BUCKET, "up/tree2", "sibling");
        for (key, bytes) in inner {
            gateway.store.put(BUCKET, &format!("up/tree/{key}"), bytes);
        }
        rename(&mut ftp, "/up/tree", to, 250).await;
        for (key, bytes) in inner {
            let moved = store.object(bucket, &format!("{prefix}{key}"));
            assert_eq!(moved.as_deref(), Some(bytes.as_bytes()), "{to}: {key}");
        }
        let left = gateway.store.keys(BUCKET);
        let left: Vec<_> = left.iter().filter(|key| key.starts_with("up/")).collect();
        assert_eq!(left, ["up/tree2"], "{to}");
    }
    // The emptied parent stays.
    gateway.store.backend().remove(BUCKET, "up/tree2");
    gateway.store.put(BUCKET, "up/tree/a", "1");
    rename(&mut ftp, "/up/tree", "/gone", 250).await;
    ftp.expect("CWD /up", 250).await;
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_directory_moves_and_new_files_in_it_stay() {
    let gateway = Gateway::start().await;
    let keys: Vec<String> = (0..1100)
        .map(|number| format!("tree/{number:04}"))
        .collect();
    for key in &keys {
        gateway.store.put(BUCKET, key, key);
    }
    let mut ftp = gateway.ftp().await;
    // During the copies of the first page another session writes a new file and a new version of an
    // old one.
    let copying = gateway
        .store
        .fail("CopyObject")
        .nth(1050)
        .with(Fault::StallAnswer);
    ftp.expect("RNFR tree", 350).await;
    ftp.send("RNTO moved").await;
    copying.hit().await;
    gateway.store.put(BUCKET, "tree/0000", "a newer one");
    gateway.store.put(BUCKET, "tree/0000a", "new");
    copying.release();
    ftp.expect_reply(250).await;
    ftp.in_step().await;
    let left: Vec<String> = gateway.store.keys(BUCKET);
    let left: Vec<_> = left.iter().filter(|key| key.starts_with("tree/")).collect();
    assert_eq!(left, ["tree/0000", "tree/0000a"]);
    assert_eq!(
        gateway.store.object(BUCKET, "tree/0000").unwrap(),
        b"a newer one"
    );
    for key in &keys {
        let moved = gateway
            .store
            .object(BUCKET, &key.replace("tree/", "moved/"));
        assert_eq!(moved.as_deref(), Some(key.as_bytes()));
    }
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_whose_move_fails_in_the_middle_loses_nothing() {
    let gateway = Gateway::start().await;
    let keys: Vec<String> = (10..40).map(|number| format!("tree/{number}")).collect();
    for key in &keys {
        gateway.store.put(BUCKET, key, key);
    }
    let mut ftp = gateway.ftp().await;
    // In the middle of the copies, and in the last case before the first delete.
    for (operation, nth) in [("CopyObject", 20), ("HeadObject", 10), ("ListObjectsV2", 4)] {
        let rule = gateway.store.fail(operation).nth(nth).always();
        let rule = rule.with(Fault::Status(403, "AccessDenied"));
        ftp.expect("RNFR tree", 350).await;
        // Each to a name of its own: copies that cannot be removed again are left.
        let reply = ftp.command(&format!("RNTO moved-{operation}")).await;
        rule.hit().await;
        rule.remove();
        assert!(reply.code >= 400, "{operation}: {reply:?}");
        let keys_now = gateway.store.keys(BUCKET);
        let under = |prefix: &str| {
            keys_now
                .iter()
                .filter(|key| key.starts_with(prefix))
                .count()
        };
        assert_eq!(under("tree/"), keys.len(), "{operation}");
        let (copies, text) = match operation {
            "CopyObject" => (0, "nothing was moved"),
            // Without a lookup the server cannot know whether they are its own.
            "HeadObject" => (under("moved-HeadObject/"), "copies are left in"),
            _ => (keys.len(), "a part of /tree is not deleted"),
        };
        assert_eq!(under(&format!("moved-{operation}/")), copies, "{operation}");
        assert!(reply.text().contains(text), "{operation}: {reply:?}");
    }
    // If a delete fails, everything is at the new name, and the rest also at the old one.
    let rule = gateway.store.fail("DeleteObject").nth(5).always();
    let rule = rule.with(Fault::Status(403, "AccessDenied"));
    ftp.expect("RNFR tree", 350).await;
    let reply = ftp.command("RNTO moved").await;
    rule.hit().await;
    rule.remove();
    assert!(reply.code >= 400, "{reply:?}");
    for key in &keys {
        let moved = gateway
            .store
            .object(BUCKET, &key.replace("tree/", "moved/"));
        assert_eq!(moved.as_deref(), Some(key.as_bytes()));
    }
    ftp.close().await;
    gateway.stop().await;
}

/// Markers and directories that only a key implies are the same to a client.
#[tokio::test]
async fn directories_are_made_entered_and_removed() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "implied/deep/file", "1");
    gateway.store.put(BUCKET, "marked/", "");
    gateway.store.put(BUCKET, "file", "1");
    let mut ftp = gateway.ftp().await;
    for (line, code) in [
        ("CWD implied", 250),
        ("CWD /implied/deep", 250),
        ("CWD /marked", 250),
        ("CWD /", 250),
        ("CWD file", 550),
        ("CWD none", 550),
        ("MKD implied", 550),
        ("MKD marked", 550),
        ("RMD implied", 550),
        ("RMD implied/deep", 550),
        ("RMD none", 550),
        ("RMD file", 550),
        ("DELE marked", 550),
        ("DELE implied", 550),
        ("DELE none", 550),
        ("MKD marked/sub", 257),
        ("RMD marked", 550),
        ("RMD marked/sub", 250),
        ("CWD marked", 250),
        ("CDUP", 250),
        ("RMD marked", 250),
        ("CWD marked", 550),
        ("MKD a/b/c", 257),
        ("CWD a/b", 250),
        ("RMD c", 250),
        ("CWD /a/b", 250),
        ("CWD /", 250),
        ("DELE implied/deep/file", 250),
        ("CWD implied/deep", 250),
        ("CWD /", 250),
        ("RMD implied/deep", 250),
        ("CWD implied", 250),
        ("CWD /", 250),
        ("RMD implied", 250),
        ("CWD implied", 550),
        ("DELE file", 250),
        ("DELE file", 550),
        ("MKD \"quoted\" name", 257),
    ] {
        let reply = ftp.expect(line, code).await;
        ftp.in_step().await;
        if line.contains("quoted") {
            // RFC 959, appendix II: quotes are doubled.
            assert!(
                reply.text().starts_with("\"/\"\"quoted\"\" name\""),
                "{reply:?}"
            );
        }
    }
    assert_eq!(gateway.store.keys(BUCKET), ["\"quoted\" name/", "a/b/"]);
    ftp.close().await;
    gateway.stop().await;
}

/// The last key of a directory is deleted only after the marker exists: a client that looks in
/// between sees the directory.
#[tokio::test]
async fn a_marker_is_written_before_the_last_file_is_deleted() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "dir/last", "1");
    let mut ftp = gateway.ftp().await;
    let denied = gateway.store.fail("PutObject").always();
    let denied = denied.with(Fault::Status(403, "AccessDenied"));
    ftp.expect("DELE dir/last", 550).await;
    assert_eq!(gateway.store.keys(BUCKET), ["dir/last"]);
    denied.remove();
    let deleting = gateway.store.fail("DeleteObject").with(Fault::Stall);
    ftp.send("DELE dir/last").await;
    within("the delete", deleting.hit()).await;
    assert_eq!(gateway.store.keys(BUCKET), ["dir/", "dir/last"]);
    deleting.release();
    ftp.expect_reply(250).await;
    assert_eq!(gateway.store.keys(BUCKET), ["dir/"]);
    ftp.close().await;
    gateway.stop().await;
}
