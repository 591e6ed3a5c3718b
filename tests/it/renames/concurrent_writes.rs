//! A directory is renamed while other sessions write to the old name and the new one: each
//! acknowledged file stays, whole.

use test_support::faults::Fault;
use test_support::gateway::{BUCKET, Gateway};
use test_support::store::Store;
use test_support::within;

/// Keys that are copied, or deleted, in parallel.
const AT_ONCE: usize = 64;

fn fill(store: &Store, directory: &str) -> Vec<String> {
    let names: Vec<String> = (0..200).map(|number| format!("{number:03}")).collect();
    for name in &names {
        let key = format!("{directory}/{name}");
        store.put(BUCKET, &key, &key);
    }
    names
}

/// Whether a directory is at `at` as it was filled, and the number of all keys.
#[track_caller]
fn assert_whole(store: &Store, at: &str, filled_as: &str, names: &[String], keys: usize) {
    for name in names {
        let bytes = store.object(BUCKET, &format!("{at}/{name}"));
        let expected = format!("{filled_as}/{name}");
        assert_eq!(bytes.as_deref(), Some(expected.as_bytes()), "{at}/{name}");
    }
    let all = store.keys(BUCKET);
    let there = all.iter().filter(|key| key.starts_with(&format!("{at}/")));
    assert_eq!(there.count(), keys, "{all:?}");
}

/// The page that is deleted was listed before; some stores do not compare ETags at a delete.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_while_the_old_directory_is_deleted_stays() {
    for conditional_deletes in [true, false] {
        let gateway = Gateway::start().await;
        let store = &gateway.store;
        store.behave(|store| store.conditional_deletes = conditional_deletes);
        let names = fill(store, "tree");
        let mut ftp = gateway.ftp().await;
        let deleting = store.fail("DeleteObject").key("tree/").times(AT_ONCE);
        let deleting = deleting.with(Fault::Stall);
        ftp.expect("RNFR tree", 350).await;
        ftp.send("RNTO moved").await;
        deleting.hit_times(AT_ONCE).await;
        let mut other = gateway.ftp().await;
        assert_eq!(other.store("tree/199", b"newer").await.code, 226);
        other.close().await;
        deleting.release();
        ftp.expect_reply(250).await;
        assert_whole(store, "moved", "tree", &names, names.len());
        assert_eq!(
            store.object(BUCKET, "tree/199").as_deref(),
            Some(&b"newer"[..])
        );
        let left = store.keys(BUCKET);
        assert_eq!(
            left.iter().filter(|key| key.starts_with("tree/")).count(),
            1,
            "{left:?}"
        );
        ftp.close().await;
        gateway.stop().await;
    }
}

/// Nothing is moved onto an existing file, even if it has been created since the rename looked.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_written_into_the_new_directory_during_the_rename_stays() {
    for conditional_writes in [true, false] {
        let gateway = Gateway::builder()
            .with(&format!(
                "[stores.main]\nconditional_writes = {conditional_writes}"
            ))
            .start()
            .await;
        let store = &gateway.store;
        store.behave(|store| store.conditional_writes = conditional_writes);
        let names = fill(store, "tree");
        let mut ftp = gateway.ftp().await;
        let copying = store.fail("CopyObject").times(AT_ONCE);
        let copying = copying.with(Fault::StallAnswer);
        ftp.expect("RNFR tree", 350).await;
        ftp.send("RNTO moved").await;
        copying.hit_times(AT_ONCE).await;
        let is_copied = async {
            while store.object(BUCKET, "moved/000").is_none() {
                tokio::task::yield_now().await;
            }
        };
        within("the first copy", is_copied).await;
        // Another process: in the same one the write would wait for the copy.
        let replica = Gateway::builder().on(store).start().await;
        let mut other = replica.ftp().await;
        for name in ["moved/000", "moved/199", "moved/own"] {
            assert_eq!(other.store(name, b"theirs").await.code, 226, "{name}");
        }
        other.close().await;
        replica.stop().await;
        copying.release();
        let reply = ftp.expect_reply(451).await;
        assert!(reply.reason().ends_with("nothing was moved"), "{reply:?}");
        assert_whole(store, "tree", "tree", &names, names.len());
        // No copy is left, and everything that the other process wrote.
        let moved = store.keys(BUCKET);
        let moved: Vec<_> = moved
            .iter()
            .filter(|key| key.starts_with("moved/"))
            .collect();
        assert_eq!(moved, ["moved/000", "moved/199", "moved/own"]);
        for key in moved {
            assert_eq!(
                store.object(BUCKET, key).as_deref(),
                Some(&b"theirs"[..]),
                "{key}"
            );
        }
        ftp.close().await;
        gateway.stop().await;
    }
}

/// On a store that ignores conditions two directories can still be moved to one name: nothing is
/// deleted whose copy was replaced, or removed, by the other session.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_copy_is_gone_stays_in_the_old_directory() {
    let gateway = Gateway::builder()
        .with("[stores.main]\nconditional_writes = false")
        .start()
        .await;
    let store = &gateway.store;
    store.behave(|store| {
        store.conditional_writes = false;
        store.conditional_deletes = false;
    });
    let names = fill(store, "tree");
    let mut ftp = gateway.ftp().await;
    let deleting = store.fail("DeleteObject").key("tree/").times(AT_ONCE);
    let deleting = deleting.with(Fault::Stall);
    ftp.expect("RNFR tree", 350).await;
    ftp.send("RNTO moved").await;
    deleting.hit_times(AT_ONCE).await;
    store.put(BUCKET, "moved/198", "another's");
    store.backend().remove(BUCKET, "moved/199");
    deleting.release();
    let reply = ftp.expect_reply(451).await;
    assert!(
        reply
            .reason()
            .ends_with("a part of /tree is not deleted and stays"),
        "{reply:?}"
    );
    let left = store.keys(BUCKET);
    let left: Vec<_> = left.iter().filter(|key| key.starts_with("tree/")).collect();
    assert_eq!(left, ["tree/198", "tree/199"]);
    assert_whole(store, "moved", "tree", &names[..198], 199);
    ftp.close().await;
    gateway.stop().await;
}

/// Both find the name free; then one gets it, and the other keeps its directory.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_directories_renamed_to_one_name_at_once_each_stays_whole() {
    let gateway = Gateway::start().await;
    let store = &gateway.store;
    let names = fill(store, "a");
    fill(store, "b");
    let (mut first, mut second) = (gateway.ftp().await, gateway.ftp().await);
    first.expect("RNFR a", 350).await;
    second.expect("RNFR b", 350).await;
    // The second has looked, and is held at its first write; the first is held during its copies.
    let second_held = store.fail("PutObject").key("c/").with(Fault::Stall);
    second.send("RNTO c").await;
    second_held.hit().await;
    let first_held = store.fail("CopyObject").times(AT_ONCE).with(Fault::Stall);
    first.send("RNTO c").await;
    first_held.hit_times(AT_ONCE).await;
    second_held.release();
    let reply = second.expect_reply(451).await;
    assert!(reply.reason().ends_with("nothing was moved"), "{reply:?}");
    first_held.release();
    first.expect_reply(250).await;
    assert_whole(store, "c", "a", &names, names.len());
    assert_whole(store, "b", "b", &names, names.len());
    assert!(!store.keys(BUCKET).iter().any(|key| key.starts_with("a/")));
    first.close().await;
    second.close().await;
    gateway.stop().await;
}
