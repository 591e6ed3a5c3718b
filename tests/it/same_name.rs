//! Two sessions of one process write one name: one of them wins, the other gets a reply that says
//! so, and no acknowledged file is lost, also on stores that honour no conditions.
//!
//! To make a race, a test holds one request of the first session at the store until the second
//! session has its reply or waits for the name.

mod command_pairs;
mod directories;
mod rename_sources;
mod waiting;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use s3_embedded::Behaviour;

use test_support::faults::{Fault, Rule};
use test_support::ftp::{Ftp, Mode, Reply};
use test_support::gateway::{BUCKET, Gateway, PASSWORD};
use test_support::store::Store;
use test_support::transfers::nothing_left;
use test_support::{MIB, pattern, within};

/// Permissions without overwrite.
const KEEPS_FILES: &str =
    r#"permissions = ["list", "read", "write", "append", "delete", "rename"]"#;

/// Empty, so that equal versions have equal ETags; one part; two parts.
const SIZES: [usize; 3] = [0, 70_000, 6 * MIB];

fn behaviours() -> [(&'static str, Behaviour); 3] {
    [
        ("aws", Behaviour::default()),
        ("minio", Behaviour::minio()),
        ("garage", Behaviour::garage()),
    ]
}

/// A gateway on a store with this behaviour.
async fn gateway(behaviour: &Behaviour, mount: &str) -> Gateway {
    let store = Arc::new(Store::start(&[BUCKET]).await);
    store.behave(|now| now.clone_from(behaviour));
    let settings = format!(
        "[stores.main]\nconditional_writes = {}\ncopy_limit = \"5MiB\"",
        behaviour.conditional_writes
    );
    let builder = Gateway::builder().with(&settings).mount(mount);
    let builder = builder.user("other", PASSWORD, "{ \"/\" = \"main\" }");
    builder.on(&store).start().await
}

/// Waits until this number of sessions wait for a name.
pub(crate) async fn waiting(gateway: &Gateway, sessions: usize) {
    let enough = async {
        while gateway.server.names().waiting() < sessions {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    within("sessions wait for the name", enough).await;
}

/// Holds the first session by the rule until the second has its reply or waits, then releases it.
pub(crate) async fn race(
    gateway: &Gateway,
    held: &Rule,
    first: impl Future<Output = Reply>,
    second: impl Future<Output = Reply>,
) -> [Reply; 2] {
    let (mut first, mut second) = (pin!(first), pin!(second));
    tokio::select! {
        reply = &mut first => panic!("answered before it was held: {reply:?}"),
        () = held.hit() => {}
    }
    let early = tokio::select! {
        reply = &mut second => Some(reply),
        () = waiting(gateway, 1) => None,
    };
    held.release();
    match early {
        Some(second) => [first.await, second],
        None => {
            let (first, second) = tokio::join!(first, second);
            [first, second]
        }
    }
}

async fn put(ftp: &mut Ftp, command: &str, bytes: &[u8]) -> Reply {
    ftp.upload_with(command, bytes, Mode::Passive).await
}

/// RNTO, after the reply to RNFR.
async fn rename_to(ftp: &mut Ftp, to: &str) -> Reply {
    ftp.command(&format!("RNTO {to}")).await
}

/// The request that makes an upload of this size visible.
fn publication(bytes: usize) -> &'static str {
    match bytes {
        0..=MIB => "PutObject",
        _ => "CompleteMultipartUpload",
    }
}

/// Nothing is left: no session, no lock, no upload.
async fn ended(gateway: Gateway, sessions: [Ftp; 2]) {
    for session in sessions {
        session.close().await;
    }
    nothing_left(&gateway, 0).await;
    assert_eq!(gateway.server.names().count(), 0);
    gateway.stop().await;
}

#[tokio::test]
async fn a_file_stored_while_the_old_one_is_renamed_away_stays() {
    for (name, behaviour) in behaviours() {
        for bytes in SIZES {
            let moves = match bytes {
                0..=MIB => "CopyObject",
                _ => "CompleteMultipartUpload",
            };
            for at in [moves, "DeleteObject"] {
                let what = format!("{name}, {bytes} bytes, held at {at}");
                let gateway = gateway(&behaviour, "").await;
                let store = &gateway.store;
                let (mut renames, mut stores) = (gateway.ftp().await, gateway.ftp().await);
                let (old, new) = (pattern(bytes, 1), pattern(bytes, 2));
                assert_eq!(renames.store("in/x", &old).await.code, 226);
                renames.expect("RNFR in/x", 350).await;
                let key = if at == "DeleteObject" { "in/x" } else { "done" };
                let held = store.fail(at).key(key).with(Fault::Stall);
                let moved = rename_to(&mut renames, "done");
                let stored = put(&mut stores, "STOR in/x", &new);
                let [moved, stored] = race(&gateway, &held, moved, stored).await;
                assert_eq!(stored.code, 226, "{what}: {stored:?}");
                assert!(
                    store.object(BUCKET, "in/x") == Some(new),
                    "{what}: {moved:?}"
                );
                match moved.code {
                    250 => assert!(store.object(BUCKET, "done") == Some(old), "{what}"),
                    451 => assert!(
                        moved.text().contains("in the meantime"),
                        "{what}: {moved:?}"
                    ),
                    _ => panic!("{what}: {moved:?}"),
                }
                ended(gateway, [renames, stores]).await;
            }
        }
    }
}

#[tokio::test]
async fn of_two_files_renamed_to_one_new_name_one_is_there_and_the_other_stays() {
    for (name, behaviour) in behaviours() {
        for bytes in SIZES {
            let what = format!("{name}, {bytes} bytes");
            let gateway = gateway(&behaviour, KEEPS_FILES).await;
            let store = &gateway.store;
            let (mut one, mut two) = (gateway.ftp().await, gateway.ftp().await);
            for (ftp, from, seed) in [(&mut one, "a", 1), (&mut two, "b", 2)] {
                assert_eq!(ftp.store(from, &pattern(bytes, seed)).await.code, 226);
                ftp.expect(&format!("RNFR {from}"), 350).await;
            }
            let moves = match bytes {
                0..=MIB => "CopyObject",
                _ => "CompleteMultipartUpload",
            };
            let held = store.fail(moves).key("z").with(Fault::Stall);
            let (first, second) = (rename_to(&mut one, "z"), rename_to(&mut two, "z"));
            let replies = race(&gateway, &held, first, second).await;
            assert_eq!(
                replies.each_ref().map(|reply| reply.code),
                [250, 550],
                "{what}: {replies:?}"
            );
            assert!(
                store.object(BUCKET, "z") == Some(pattern(bytes, 1)),
                "{what}"
            );
            assert!(
                store.object(BUCKET, "b") == Some(pattern(bytes, 2)),
                "{what}"
            );
            assert!(store.object(BUCKET, "a").is_none(), "{what}");
            ended(gateway, [one, two]).await;
        }
    }
}

#[tokio::test]
async fn of_two_appends_to_one_file_each_is_there_or_refused() {
    for (name, behaviour) in behaviours() {
        for bytes in SIZES {
            let what = format!("{name}, {bytes} bytes");
            let gateway = gateway(&behaviour, "").await;
            let store = &gateway.store;
            let (mut one, mut two) = (gateway.ftp().await, gateway.ftp().await);
            let old = pattern(bytes, 1);
            assert_eq!(one.store("log", &old).await.code, 226);
            let held = store.fail(publication(bytes)).key("log").with(Fault::Stall);
            let first = put(&mut one, "APPE log", b"line one");
            let second = put(&mut two, "APPE log", b"line two");
            let replies = race(&gateway, &held, first, second).await;
            assert_eq!(replies[0].code, 226, "{what}: {replies:?}");
            assert_eq!(replies[1].code, 550, "{what}: {replies:?}");
            let expected = [&old[..], b"line one"].concat();
            assert!(store.object(BUCKET, "log") == Some(expected), "{what}");
            ended(gateway, [one, two]).await;
        }
    }
}

#[tokio::test]
async fn of_two_uploads_of_one_new_name_without_overwrite_one_is_refused() {
    for (name, behaviour) in behaviours() {
        for bytes in SIZES {
            let what = format!("{name}, {bytes} bytes");
            let gateway = gateway(&behaviour, KEEPS_FILES).await;
            let store = &gateway.store;
            let (mut one, mut two) = (gateway.ftp().await, gateway.ftp().await);
            let held = store.fail(publication(bytes)).key("new").with(Fault::Stall);
            let files = [pattern(bytes, 1), pattern(bytes, 2)];
            let first = put(&mut one, "STOR new", &files[0]);
            let second = put(&mut two, "STOR new", &files[1]);
            let replies = race(&gateway, &held, first, second).await;
            assert_eq!(
                replies.each_ref().map(|reply| reply.code),
                [226, 550],
                "{what}: {replies:?}"
            );
            assert!(
                store.object(BUCKET, "new").as_ref() == Some(&files[0]),
                "{what}"
            );
            ended(gateway, [one, two]).await;
        }
    }
}
