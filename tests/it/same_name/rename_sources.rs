//! Sessions that rename one file or directory to different names, as workers do that take jobs from
//! a directory: one of them gets it, and the others are refused.

use super::*;

/// The first rename is held at each of its writes.
#[tokio::test]
async fn of_two_renames_of_one_file_one_moves_it() {
    for (name, behaviour) in behaviours() {
        for bytes in SIZES {
            let copies = match bytes {
                0..=MIB => "CopyObject",
                _ => "CompleteMultipartUpload",
            };
            for (at, key, fault) in [
                (copies, "one", Fault::Stall),
                (copies, "one", Fault::StallAnswer),
                ("DeleteObject", "job", Fault::Stall),
            ] {
                let what = format!("{name}, {bytes} bytes, {at}: {fault:?}");
                let gateway = gateway(&behaviour, "").await;
                let store = &gateway.store;
                let (mut one, mut two) = (gateway.ftp().await, gateway.ftp().await);
                assert_eq!(one.store("job", &pattern(bytes, 1)).await.code, 226);
                one.expect("RNFR job", 350).await;
                two.expect("RNFR job", 350).await;
                let held = store.fail(at).key(key).with(fault);
                let (first, second) = (rename_to(&mut one, "one"), rename_to(&mut two, "two"));
                let replies = race(&gateway, &held, first, second).await;
                let codes = replies.each_ref().map(|reply| reply.code);
                assert_eq!(codes, [250, 550], "{what}: {replies:?}");
                assert_eq!(files(store), ["one"], "{what}");
                assert!(
                    store.object(BUCKET, "one") == Some(pattern(bytes, 1)),
                    "{what}"
                );
                ended(gateway, [one, two]).await;
            }
        }
    }
}

#[tokio::test]
async fn of_two_renames_of_one_directory_one_moves_it() {
    for (name, behaviour) in behaviours() {
        for (at, key) in [("CopyObject", "one/"), ("DeleteObject", "job/")] {
            let what = format!("{name}, held at {at}");
            let gateway = gateway(&behaviour, "").await;
            let store = &gateway.store;
            let (mut one, mut two) = (gateway.ftp().await, gateway.ftp().await);
            store.put(BUCKET, "job/a", "a");
            store.put(BUCKET, "job/b", "b");
            one.expect("RNFR job", 350).await;
            two.expect("RNFR job", 350).await;
            let held = store.fail(at).key(key).with(Fault::Stall);
            let (first, second) = (rename_to(&mut one, "one"), rename_to(&mut two, "two"));
            let replies = race(&gateway, &held, first, second).await;
            let codes = replies.each_ref().map(|reply| reply.code);
            assert_eq!(codes, [250, 550], "{what}: {replies:?}");
            assert_eq!(files(store), ["one/a", "one/b"], "{what}");
            ended(gateway, [one, two]).await;
        }
    }
}

/// Another process has moved the file when this one looks after its copy: its client does not get a
/// success reply.
#[tokio::test]
async fn a_file_that_another_process_moves_is_not_renamed() {
    for (name, behaviour) in behaviours() {
        for bytes in [0, 70_000] {
            let what = format!("{name}, {bytes} bytes");
            let first = gateway(&behaviour, "").await;
            let second = Gateway::builder().on(&first.store).start().await;
            let store = &first.store;
            let (mut one, mut two) = (first.ftp().await, second.ftp().await);
            assert_eq!(one.store("job", &pattern(bytes, 1)).await.code, 226);
            one.expect("RNFR job", 350).await;
            two.expect("RNFR job", 350).await;
            let held = store.fail("CopyObject").key("one");
            let held = held.with(Fault::StallAnswer);
            one.send("RNTO one").await;
            held.hit().await;
            let is_copied = async {
                while store.object(BUCKET, "one").is_none() {
                    tokio::task::yield_now().await;
                }
            };
            within("the copy", is_copied).await;
            two.expect("RNTO two", 250).await;
            held.release();
            let reply = one.expect_reply(550).await;
            assert!(
                reply.text().contains("/one is there, but"),
                "{what}: {reply:?}"
            );
            assert_eq!(files(store), ["one", "two"], "{what}");
            two.close().await;
            second.stop().await;
            one.close().await;
            first.stop().await;
        }
    }
}

/// Clients use a directory as a lock: of two that make it in parallel, one succeeds.
#[tokio::test]
async fn of_two_sessions_that_make_one_directory_one_succeeds() {
    for (name, behaviour) in behaviours() {
        let conditional = behaviour.conditional_writes;
        for other_process in [false, true] {
            if other_process && !conditional {
                continue;
            }
            let what = format!("{name}, {other_process}");
            let gateway = gateway(&behaviour, "").await;
            let store = &gateway.store;
            let second = Gateway::builder()
                .with(&format!(
                    "[stores.main]\nconditional_writes = {conditional}"
                ))
                .on(store)
                .start()
                .await;
            let mut one = gateway.ftp().await;
            let mut two = match other_process {
                true => second.ftp().await,
                false => gateway.ftp().await,
            };
            let held = store.fail("PutObject").key("lock/").with(Fault::Stall);
            let (first, other) = (one.command("MKD lock"), two.command("MKD lock"));
            let replies = race(&gateway, &held, first, other).await;
            let mut codes = replies.each_ref().map(|reply| reply.code);
            codes.sort_unstable();
            assert_eq!(codes, [257, 550], "{what}: {replies:?}");
            two.close().await;
            second.stop().await;
            one.close().await;
            gateway.stop().await;
        }
    }
}

/// Not with the reply for a target that exists and may not be replaced.
#[tokio::test]
async fn a_rename_whose_source_was_replaced_gets_a_transient_error() {
    for (name, behaviour) in behaviours() {
        for bytes in [70_000, 6 * MIB] {
            let what = format!("{name}, {bytes} bytes");
            let gateway = gateway(&behaviour, KEEPS_FILES).await;
            let store = &gateway.store;
            let mut ftp = gateway.ftp().await;
            store.put(BUCKET, "a", pattern(bytes, 1));
            ftp.expect("RNFR a", 350).await;
            store.put(BUCKET, "a", pattern(bytes, 2));
            let reply = rename_to(&mut ftp, "b").await;
            assert_eq!(reply.code, 451, "{what}: {reply:?}");
            assert_eq!(files(store), ["a"], "{what}");
            ftp.expect("RNFR a", 350).await;
            assert_eq!(rename_to(&mut ftp, "b").await.code, 250, "{what}");
            assert!(
                store.object(BUCKET, "b") == Some(pattern(bytes, 2)),
                "{what}"
            );
            ftp.close().await;
            gateway.stop().await;
        }
    }
}

/// A failure after the last delete only leaves open whether the directory stays.
#[tokio::test]
async fn a_file_that_is_deleted_is_reported_as_deleted() {
    let gateway = Gateway::builder()
        .with("[stores.main]\nattempts = 1")
        .start()
        .await;
    let store = &gateway.store;
    let mut ftp = gateway.ftp().await;
    for (commands, file, nth) in [
        (&["DELE d/a"][..], "d/a", 2),
        (&["RMD d/a"], "d/a/", 3),
        (&["RNFR d/a", "RNTO z"], "d/a", 2),
        (&["RNFR p/d", "RNTO z"], "p/d/a", 5),
    ] {
        for key in store.keys(BUCKET) {
            store.backend().remove(BUCKET, &key);
        }
        store.put(BUCKET, file, "");
        store.put(BUCKET, "d/b", "");
        let rule = store.fail("ListObjectsV2").nth(nth);
        let rule = rule.with(Fault::Status(500, "InternalError"));
        let mut codes = Vec::new();
        for command in commands {
            codes.push(ftp.command(command).await.code);
        }
        assert_eq!(
            rule.hits(),
            1,
            "{commands:?} {codes:?}: {:?}",
            store.operations()
        );
        assert_eq!(codes.last(), Some(&250), "{commands:?}");
        assert!(!store.keys(BUCKET).contains(&file.to_owned()));
        rule.remove();
        store.reset_counts();
    }
    ftp.close().await;
    gateway.stop().await;
}

/// All keys except the server's own.
fn files(store: &Store) -> Vec<String> {
    let keys = store.keys(BUCKET).into_iter();
    keys.filter(|key| !key.starts_with(".s3ftpd/")).collect()
}
