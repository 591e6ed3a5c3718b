//! Sessions that rename one file or directory to different names, as workers do that take jobs out of a directory: one of
//! them gets it, and the others are refused.

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

/// Another process has moved the file when this one looks, after its copy: its client is not told that it has the file.
#[tokio::test]
async fn a_file_that_another_process_moves_meanwhile_is_not_renamed() {
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

/// All keys but the server's own.
fn files(store: &Store) -> Vec<String> {
    let keys = store.keys(BUCKET).into_iter();
    keys.filter(|key| !key.starts_with(".s3ftpd/")).collect()
}
