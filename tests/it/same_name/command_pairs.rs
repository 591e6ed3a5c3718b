//! Two sessions on one name by every other pair of commands, each held at each of its writes.

use super::{
    BUCKET, KEEPS_FILES, SIZES, behaviours, ended, gateway, pattern, publication, put, race,
    rename_to,
};
use test_support::MIB;
use test_support::faults::Fault;
use test_support::ftp::{Ftp, Mode, Reply, reset_stream};
use test_support::gateway::{Gateway, PASSWORD};
use test_support::store::Store;
use test_support::transfers::{begin, moved, settled};

/// What one of two sessions does to `x`, which exists; `old` has the size of the case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Store,
    Append,
    Restart,
    Resume,
    Delete,
    SetTime,
    /// `y` becomes `x`.
    RenameTo,
    /// `x` becomes `z`.
    RenameFrom,
}

use Act::{Append, Delete, RenameFrom, RenameTo, Restart, Resume, SetTime, Store as Stor};

impl Act {
    /// The requests at which it can be held, each with a part of its key.
    fn held_at(self, bytes: usize) -> Vec<(&'static str, &'static str)> {
        let copy = match bytes {
            0..=MIB => "CopyObject",
            _ => "CompleteMultipartUpload",
        };
        match self {
            Stor | Append | Restart => vec![(publication(bytes), "x")],
            // The bytes that were sent before are stored already.
            Resume => vec![(publication(bytes), "x")],
            Delete => vec![("DeleteObject", "x")],
            SetTime => vec![(copy, "x")],
            RenameTo => vec![(copy, "x")],
            RenameFrom => vec![(copy, "z"), ("DeleteObject", "x")],
        }
    }

    /// The objects before it: the file that it moves, or the one to be resumed.
    async fn prepare(self, gateway: &Gateway, ftp: &mut Ftp, bytes: usize, seed: u64) {
        match self {
            RenameTo => {
                let reply = ftp.store("y", &pattern(bytes, seed)).await;
                assert_eq!(reply.code, 226, "{reply:?}");
                ftp.expect("RNFR y", 350).await;
            }
            RenameFrom => {
                ftp.expect("RNFR x", 350).await;
            }
            Resume => {
                let mut data = begin(ftp, "STOR x", Mode::Passive).await;
                let bytes = pattern(bytes, seed);
                tokio::io::AsyncWriteExt::write_all(&mut data, &bytes[..bytes.len() - 10])
                    .await
                    .unwrap();
                moved(ftp, bytes.len() - 10).await;
                reset_stream(data);
                ftp.expect_reply(426).await;
                settled(gateway).await;
                ftp.expect("SIZE x", 213).await;
            }
            Restart => {
                ftp.expect(&format!("REST {}", bytes / 2), 350).await;
            }
            Stor | Append | Delete | SetTime => {}
        }
    }

    async fn run(self, ftp: &mut Ftp, bytes: usize, seed: u64) -> Reply {
        let own = pattern(bytes, seed);
        match self {
            Stor => put(ftp, "STOR x", &own).await,
            Append => put(ftp, "APPE x", &own).await,
            Restart => put(ftp, "STOR x", &own).await,
            Resume => {
                ftp.expect(&format!("REST {}", bytes - 10), 350).await;
                put(ftp, "STOR x", &own[bytes - 10..]).await
            }
            Delete => ftp.command("DELE x").await,
            SetTime => ftp.command("MFMT 20200102030405 x").await,
            RenameTo => rename_to(ftp, "x").await,
            RenameFrom => rename_to(ftp, "z").await,
        }
    }

    fn succeeded(self, reply: &Reply) -> bool {
        [226, 213, 250].contains(&reply.code)
    }

    /// The result, if it is the only one: the content of `x` and `z`.
    fn applied(self, names: &Names, bytes: usize, seed: u64) -> Names {
        let own = pattern(bytes, seed);
        let [x, z] = names.clone();
        match self {
            Stor | Resume | RenameTo => [Some(own), z],
            Append => [Some([x.unwrap_or_default(), own].concat()), z],
            Restart => {
                let kept = x.unwrap_or_default();
                [Some([&kept[..bytes / 2], &own].concat()), z]
            }
            Delete => [None, z],
            SetTime => [x, z],
            // Another session has renamed it to the same name.
            RenameFrom if x.is_none() => [None, z],
            RenameFrom => [None, x],
        }
    }
}

/// The bytes of `x` and `z`.
type Names = [Option<Vec<u8>>; 2];

fn names(store: &Store) -> Names {
    ["x", "z"].map(|key| store.object(BUCKET, key))
}

fn lengths(names: &Names) -> [Option<usize>; 2] {
    names.each_ref().map(|name| name.as_ref().map(Vec::len))
}

/// The result is what the successful ones leave, one after the other in some order; a failed one
/// leaves nothing except the copy of a rename.
async fn in_some_order(first: Act, second: Act, sizes: &[usize]) {
    for (name, behaviour) in behaviours() {
        for &bytes in sizes {
            for (at, key) in first.held_at(bytes) {
                let what = format!("{name}, {bytes} bytes: {first:?} held at {at}, {second:?}");
                let gateway = gateway(&behaviour, "times = \"metadata\"").await;
                let store = &gateway.store;
                let old = pattern(bytes, 1);
                // Of another user, because REST + STOR stops the user's own running upload.
                let mut one = gateway.ftp().await;
                let mut two = gateway.ftp_as("other", PASSWORD).await;
                assert_eq!(one.store("x", &old).await.code, 226);
                store.a_while();
                first.prepare(&gateway, &mut one, bytes, 2).await;
                second.prepare(&gateway, &mut two, bytes, 3).await;
                let before = names(store);
                let held = store.fail(at).key(key).with(Fault::Stall);
                let replies = race(
                    &gateway,
                    &held,
                    first.run(&mut one, bytes, 2),
                    second.run(&mut two, bytes, 3),
                )
                .await;
                let after = names(store);
                let done = [first.succeeded(&replies[0]), second.succeeded(&replies[1])];
                let one_way = |names: &Names, first_is_first: bool| {
                    let mut names = names.clone();
                    let acts = [(first, 2, done[0]), (second, 3, done[1])];
                    let order = match first_is_first {
                        true => [0, 1],
                        false => [1, 0],
                    };
                    for index in order {
                        let (act, seed, done) = acts[index];
                        if done {
                            names = act.applied(&names, bytes, seed);
                        }
                    }
                    names
                };
                let mut right = vec![one_way(&before, true), one_way(&before, false)];
                // The copy of a rename whose source was written during it stays.
                if first == RenameFrom && !done[0] || second == RenameFrom && !done[1] {
                    let copied: Vec<Names> = right
                        .iter()
                        .map(|names| [names[0].clone(), before[0].clone()])
                        .collect();
                    right.extend(copied);
                }
                assert!(
                    right.contains(&after),
                    "{what}: {replies:?}, {:?} and not one of {:?}",
                    lengths(&after),
                    right.iter().map(lengths).collect::<Vec<_>>()
                );
                assert!(done[0] || done[1], "{what}: {replies:?}");
                ended(gateway, [one, two]).await;
            }
        }
    }
}

#[tokio::test]
async fn an_upload_and_a_delete() {
    in_some_order(Stor, Delete, &SIZES).await;
    in_some_order(Delete, Stor, &SIZES).await;
}

#[tokio::test]
async fn an_upload_and_a_change_of_time() {
    in_some_order(Stor, SetTime, &SIZES).await;
    in_some_order(SetTime, Stor, &SIZES).await;
}

#[tokio::test]
async fn an_upload_and_an_append() {
    in_some_order(Stor, Append, &SIZES).await;
    in_some_order(Append, Stor, &SIZES).await;
    in_some_order(Stor, Restart, &SIZES).await;
    in_some_order(Restart, Append, &SIZES).await;
}

#[tokio::test]
async fn an_upload_and_a_rename_to_its_name() {
    in_some_order(Stor, RenameTo, &SIZES).await;
    in_some_order(RenameTo, Stor, &SIZES).await;
    in_some_order(RenameTo, Append, &SIZES).await;
}

#[tokio::test]
async fn an_append_and_a_rename_away() {
    in_some_order(Append, RenameFrom, &SIZES).await;
    in_some_order(RenameFrom, Append, &SIZES).await;
}

#[tokio::test]
async fn a_rename_away_and_each_other_command() {
    for act in [RenameFrom, RenameTo, Delete, SetTime] {
        in_some_order(RenameFrom, act, &[0, 70_000]).await;
    }
    for act in [RenameTo, Delete, SetTime] {
        in_some_order(act, RenameFrom, &[0, 70_000]).await;
    }
}

#[tokio::test]
async fn a_resumed_upload_and_each_other_command() {
    for act in [Append, Delete, RenameTo, RenameFrom] {
        in_some_order(Resume, act, &[70_000, 6 * MIB]).await;
        in_some_order(act, Resume, &[70_000, 6 * MIB]).await;
    }
}

/// As many as there are files; for two files there is a separate rule between processes.
#[tokio::test]
async fn a_directory_stays_whose_last_files_are_deleted_at_once() {
    for (name, behaviour) in behaviours() {
        for files in 2..5 {
            let gateway = gateway(&behaviour, "").await;
            let store = &gateway.store;
            let held = store.fail("DeleteObject").times(files).with(Fault::Stall);
            let mut sessions = Vec::new();
            for number in 0..files {
                store.put(BUCKET, &format!("d/{number}"), "bytes");
            }
            for number in 0..files {
                let mut ftp = gateway.ftp().await;
                ftp.send(&format!("DELE d/{number}")).await;
                held.hit_times(number + 1).await;
                sessions.push(ftp);
            }
            held.release();
            for ftp in &mut sessions {
                ftp.expect_reply(250).await;
            }
            assert_eq!(store.keys(BUCKET), ["d/"], "{name}, {files} files");
            for ftp in sessions {
                ftp.close().await;
            }
            gateway.stop().await;
        }
    }
}

#[tokio::test]
async fn a_directory_stays_whose_last_entries_are_removed_by_different_commands_at_once() {
    let gateway = Gateway::start().await;
    let store = &gateway.store;
    let commands = [
        ("RMD d/sub", "d/sub/"),
        ("DELE d/a", "d/a"),
        ("RNTO b", "d/b"),
    ];
    for first in 0..commands.len() {
        for second in (0..commands.len()).filter(|second| *second != first) {
            let held = [first, second].map(|index| {
                let (_, key) = commands[index];
                store.put(BUCKET, key, if key.ends_with('/') { "" } else { "bytes" });
                store.fail("DeleteObject").key(key).with(Fault::Stall)
            });
            let (mut one, mut two) = (gateway.ftp().await, gateway.ftp().await);
            for (ftp, index, rule) in [(&mut one, first, &held[0]), (&mut two, second, &held[1])] {
                if commands[index].0.starts_with("RNTO") {
                    ftp.expect("RNFR d/b", 350).await;
                }
                ftp.send(commands[index].0).await;
                rule.hit().await;
            }
            // The first ends before the second has done anything.
            held[0].release();
            one.expect_reply(250).await;
            held[1].release();
            two.expect_reply(250).await;
            let keys = store.keys(BUCKET);
            assert!(
                keys.contains(&"d/".to_owned()),
                "{first} {second}: {keys:?}"
            );
            for key in keys {
                store.backend().remove(BUCKET, &key);
            }
            one.close().await;
            two.close().await;
        }
    }
    gateway.stop().await;
}

/// Without `overwrite` one of an upload and a rename to one new name is refused.
#[tokio::test]
async fn an_upload_and_a_rename_to_one_new_name_without_overwrite() {
    for (name, behaviour) in behaviours() {
        for bytes in SIZES {
            for renames_first in [false, true] {
                let what = format!("{name}, {bytes} bytes, {renames_first}");
                let gateway = gateway(&behaviour, KEEPS_FILES).await;
                let store = &gateway.store;
                let (mut renames, mut stores) = (gateway.ftp().await, gateway.ftp().await);
                let files = [pattern(bytes, 1), pattern(bytes, 2)];
                assert_eq!(renames.store("a", &files[0]).await.code, 226);
                renames.expect("RNFR a", 350).await;
                let at = match (renames_first, bytes) {
                    (true, 0..=MIB) => "CopyObject",
                    _ => publication(bytes),
                };
                let held = store.fail(at).key("new").with(Fault::Stall);
                let moved = rename_to(&mut renames, "new");
                let stored = put(&mut stores, "STOR new", &files[1]);
                let (codes, winner) = match renames_first {
                    true => (race(&gateway, &held, moved, stored).await, 0),
                    false => (race(&gateway, &held, stored, moved).await, 1),
                };
                let won = if renames_first { 250 } else { 226 };
                assert_eq!(codes[0].code, won, "{what}: {codes:?}");
                assert_eq!(codes[1].code, 550, "{what}: {codes:?}");
                assert!(
                    store.object(BUCKET, "new").as_ref() == Some(&files[winner]),
                    "{what}"
                );
                let source = store.object(BUCKET, "a").is_some();
                assert_eq!(source, !renames_first, "{what}");
                ended(gateway, [renames, stores]).await;
            }
        }
    }
}

/// No other session uses the names that STOU gives: it waits for no other session, and no other
/// waits for it.
#[tokio::test]
async fn uploads_under_unique_names_do_not_wait_for_others() {
    let gateway = Gateway::start().await;
    let store = &gateway.store;
    let (mut one, mut two) = (gateway.ftp().await, gateway.ftp().await);
    let held = store.fail("PutObject").key("stou").with(Fault::Stall);
    let first = put(&mut one, "STOU", b"first");
    let second = put(&mut two, "STOU", b"second");
    let replies = race(&gateway, &held, first, second).await;
    assert_eq!(replies.map(|reply| reply.code), [226, 226]);
    assert_eq!(store.keys(BUCKET).len(), 2);
    ended(gateway, [one, two]).await;
}
