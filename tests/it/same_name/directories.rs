//! A directory is renamed while another session of the process writes a file in it, at the old name
//! or the new one.

use super::{behaviours, ended, gateway, put, race, rename_to};
use test_support::faults::Fault;
use test_support::gateway::{BUCKET, Gateway};
use test_support::pattern;
use test_support::store::Store;

/// Empty, and one byte, so that equal versions have equal ETags; and bytes that differ.
const SIZES: [usize; 3] = [0, 1, 70_000];

fn object(store: &Store, key: &str) -> Option<Vec<u8>> {
    store.object(BUCKET, key)
}

/// One byte is the same in each version.
fn version(bytes: usize, seed: u64) -> Vec<u8> {
    match bytes {
        1 => b"1".to_vec(),
        _ => pattern(bytes, seed),
    }
}

#[tokio::test]
async fn a_file_that_is_stored_in_the_old_directory_stays() {
    for (name, behaviour) in behaviours() {
        for bytes in SIZES {
            for (at, key) in [("CopyObject", "e/f"), ("DeleteObject", "d/f")] {
                let what = format!("{name}, {bytes} bytes, held at {at}");
                let gateway = gateway(&behaviour, "").await;
                let store = &gateway.store;
                let (mut renames, mut stores) = (gateway.ftp().await, gateway.ftp().await);
                let (old, new) = (version(bytes, 1), version(bytes, 2));
                for file in ["d/f", "d/g"] {
                    assert_eq!(renames.store(file, &old).await.code, 226);
                }
                renames.expect("RNFR d", 350).await;
                let held = store.fail(at).key(key).with(Fault::Stall);
                let moved = rename_to(&mut renames, "e");
                let stored = put(&mut stores, "STOR d/f", &new);
                let [moved, stored] = race(&gateway, &held, moved, stored).await;
                assert_eq!(stored.code, 226, "{what}: {stored:?}");
                assert!(object(store, "d/f") == Some(new), "{what}: {moved:?}");
                // The other file is at the old name or the new one.
                let places = [object(store, "d/g"), object(store, "e/g")];
                let moved = moved.code == 250;
                assert!(places[usize::from(moved)].as_ref() == Some(&old), "{what}");
                if moved {
                    assert!(object(store, "e/f") == Some(old), "{what}");
                }
                ended(gateway, [renames, stores]).await;
            }
        }
    }
}

#[tokio::test]
async fn a_file_that_is_stored_in_the_new_directory_stays_and_nothing_is_lost() {
    let keeps_files = super::KEEPS_FILES;
    for (name, behaviour) in behaviours() {
        for bytes in SIZES {
            for overwrite in [true, false] {
                let what = format!("{name}, {bytes} bytes, {overwrite}");
                let gateway = gateway(&behaviour, if overwrite { "" } else { keeps_files }).await;
                let store = &gateway.store;
                let (mut renames, mut stores) = (gateway.ftp().await, gateway.ftp().await);
                let (old, new) = (version(bytes, 1), version(bytes, 2));
                assert_eq!(renames.store("d/f", &old).await.code, 226);
                renames.expect("RNFR d", 350).await;
                let held = store.fail("CopyObject").key("e/f").with(Fault::Stall);
                let moved = rename_to(&mut renames, "e");
                let stored = put(&mut stores, "STOR e/f", &new);
                let [moved, stored] = race(&gateway, &held, moved, stored).await;
                let source = object(store, "d/f");
                let target = object(store, "e/f");
                match (moved.code, stored.code) {
                    // The upload came after the rename.
                    (250, 226) if overwrite => assert!(source.is_none() && target == Some(new)),
                    (250, 550) => assert!(source.is_none() && target == Some(old)),
                    // The rename has seen it, and kept the old file.
                    (451, 226) => assert!(source == Some(old) && target == Some(new)),
                    _ => panic!("{what}: {moved:?} {stored:?}"),
                }
                ended(gateway, [renames, stores]).await;
            }
        }
    }
}

#[tokio::test]
async fn a_directory_stays_whose_last_file_is_deleted_while_another_in_it_is_renamed_away() {
    for (name, behaviour) in behaviours() {
        let gateway = gateway(&behaviour, "").await;
        let store = &gateway.store;
        // So many files that the file is not among those that a delete lists.
        for key in ["p/d/1", "p/d/2", "p/d/3", "p/f"] {
            store.put(BUCKET, key, key);
        }
        let (mut renames, mut deletes) = (gateway.ftp().await, gateway.ftp().await);
        let deleting = store.fail("DeleteObject").key("p/f").with(Fault::Stall);
        let renaming = store.fail("DeleteObject").key("p/d/1").with(Fault::Stall);
        renames.expect("RNFR p/d", 350).await;
        renames.send("RNTO q").await;
        renaming.hit().await;
        deletes.send("DELE p/f").await;
        deleting.hit().await;
        renaming.release();
        renames.expect_reply(250).await;
        deleting.release();
        deletes.expect_reply(250).await;
        assert_eq!(store.keys(BUCKET), ["p/", "q/1", "q/2", "q/3"], "{name}");
        ended(gateway, [renames, deletes]).await;
    }
}

/// The new directory has a marker for a while, which the delete takes for one that stays.
#[tokio::test]
async fn a_new_directory_stays_whose_only_file_is_deleted_at_once() {
    for (name, behaviour) in behaviours() {
        let gateway = gateway(&behaviour, "").await;
        let store = &gateway.store;
        store.put(BUCKET, "d/f", "bytes");
        let (mut renames, mut deletes) = (gateway.ftp().await, gateway.ftp().await);
        let held = store.fail("DeleteObject").key("e/").with(Fault::Stall);
        renames.expect("RNFR d", 350).await;
        renames.send("RNTO e").await;
        held.hit().await;
        deletes.expect("DELE e/f", 250).await;
        held.release();
        let moved = renames.reply().await;
        // The only copy is gone: without conditions the server sees that, and the original stays.
        assert!([250, 451].contains(&moved.code), "{name}: {moved:?}");
        let keys = store.keys(BUCKET);
        assert_eq!(
            keys.contains(&"d/f".to_owned()),
            moved.code == 451,
            "{name}"
        );
        assert!(keys.contains(&"e/".to_owned()), "{name}: {keys:?}");
        ended(gateway, [renames, deletes]).await;
    }
}

#[tokio::test]
async fn a_directory_stays_whose_last_two_files_are_deleted_at_once() {
    let gateway = Gateway::start().await;
    let store = &gateway.store;
    store.put(BUCKET, "d/a", "1");
    store.put(BUCKET, "d/b", "2");
    let (mut one, mut two) = (gateway.ftp().await, gateway.ftp().await);
    let deletes = store.fail("DeleteObject").times(2).with(Fault::Stall);
    one.send("DELE d/a").await;
    two.send("DELE d/b").await;
    deletes.hit_times(2).await;
    deletes.release();
    one.expect_reply(250).await;
    two.expect_reply(250).await;
    assert_eq!(store.keys(BUCKET), ["d/"]);
    one.close().await;
    two.close().await;
    gateway.stop().await;
}
