//! A rename deletes the version that it copied. Equal bytes have equal ETags, so the server also
//! compares which transfer wrote them.

use test_support::faults::Fault;
use test_support::ftp::Mode;
use test_support::gateway::{BUCKET, Gateway};
use test_support::transfers::{begin, settled};
use test_support::{MIB, pattern, within};

/// A file that is written again during its rename is another file, although it has the same bytes:
/// it stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_rewritten_during_a_rename_stays() {
    for (file, renamed) in [("e", "e"), ("d/e", "d/e"), ("d/e", "d")] {
        for (from_outside, bytes) in [(false, &b""[..]), (true, b""), (false, b"1"), (true, b"1")] {
            let what = format!("{file} {renamed} {from_outside} {bytes:?}");
            let gateway = Gateway::start().await;
            let other_process = Gateway::builder().on(&gateway.store).start().await;
            let store = &gateway.store;
            // The first two keys of the directory, which are listed, do not include the file.
            for key in ["d/a", "d/b", "d/c"] {
                store.put(BUCKET, key, "sibling");
            }
            let mut ftp = gateway.ftp().await;
            assert_eq!(ftp.store(file, bytes).await.code, 226);
            let copied = store.fail("CopyObject").key("to").always();
            let copied = copied.with(Fault::StallAnswer);
            ftp.expect(&format!("RNFR {renamed}"), 350).await;
            ftp.send("RNTO to").await;
            let is_copied = async {
                while !store
                    .keys(BUCKET)
                    .iter()
                    .any(|key| key == "to" || key == "to/e")
                {
                    tokio::task::yield_now().await;
                }
            };
            within("the copy", is_copied).await;
            let writer = if from_outside {
                &other_process
            } else {
                &gateway
            };
            let mut other = writer.ftp().await;
            assert_eq!(other.store(file, bytes).await.code, 226);
            other.close().await;
            copied.release();
            let reply = ftp.reply().await;
            assert_eq!(store.object(BUCKET, file).as_deref(), Some(bytes), "{what}");
            // The rest of the directory has moved.
            let code = if file == renamed { 451 } else { 250 };
            assert_eq!(reply.code, code, "{what}: {reply:?}");
            ftp.close().await;
            gateway.stop().await;
        }
    }
}

/// A rename drops SIZE's answer about an upload: an append goes to the file that has the name now.
#[tokio::test]
async fn an_interrupted_upload_at_the_new_name_ends_with_the_rename() {
    let gateway = Gateway::start().await;
    let store = &gateway.store;
    let bytes = pattern(7 * MIB, 1);
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    let mut data = begin(&mut ftp, "STOR b", Mode::Passive).await;
    tokio::io::AsyncWriteExt::write_all(&mut data, &bytes)
        .await
        .unwrap();
    test_support::ftp::reset_stream(data);
    ftp.expect_reply(426).await;
    settled(&gateway).await;
    let size = ftp.expect("SIZE b", 213).await;
    assert_ne!(size.text(), "3");
    store.put(BUCKET, "a", "one");
    ftp.expect("RNFR a", 350).await;
    ftp.expect("RNTO b", 250).await;
    let reply = ftp.upload_with("APPE b", b"two", Mode::Passive).await;
    assert_eq!(reply.code, 226, "{reply:?}");
    assert_eq!(store.object(BUCKET, "b").unwrap(), b"onetwo");
    ftp.expect("SIZE b", 213).await;
    ftp.close().await;
    gateway.stop().await;
}

/// An upload that is running at either name ends as if the rename had come before it.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_runs_at_either_name_is_published_whole() {
    for name in ["a", "b"] {
        let gateway = Gateway::start().await;
        let store = &gateway.store;
        let bytes = pattern(12 * MIB, 1);
        let (mut ftp, mut other) = (gateway.ftp().await, gateway.ftp().await);
        let part = store.fail("UploadPart").nth(2).with(Fault::Stall);
        let (reply, ()) = tokio::join!(other.store(name, &bytes), async {
            part.hit().await;
            store.put(BUCKET, "a", "old");
            ftp.expect("RNFR a", 350).await;
            ftp.expect("RNTO b", 250).await;
            part.release();
        });
        assert_eq!(reply.code, 226, "{name}: {reply:?}");
        assert!(store.object(BUCKET, name).unwrap() == bytes, "{name}");
        if name == "a" {
            assert_eq!(store.object(BUCKET, "b").unwrap(), b"old");
        }
        ftp.close().await;
        other.close().await;
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_rename_never_deletes_a_version_written_during_it() {
    // Neither store honours If-Match at DeleteObject. The file is the only one, one of the first
    // two, or a later one.
    for name in ["only/f", "two/f", "many/z"] {
        let gateway = Gateway::start().await;
        let store = &gateway.store;
        store.behave(|behaviour| behaviour.conditional_deletes = false);
        store.put(BUCKET, "two/g", "1");
        store.put(BUCKET, "many/a", "1");
        store.put(BUCKET, "many/b", "1");
        store.put(BUCKET, name, "old");
        let mut ftp = gateway.ftp().await;
        ftp.expect(&format!("RNFR {name}"), 350).await;
        let copied = store.fail("CopyObject").with(Fault::StallAnswer);
        let mut events = store.backend().events();
        ftp.send("RNTO to").await;
        within("the copy", events.recv()).await.unwrap();
        store.put(BUCKET, name, "new, and acknowledged");
        copied.release();
        ftp.expect_reply(451).await;
        let there = store.object(BUCKET, name);
        assert_eq!(
            there.as_deref(),
            Some(&b"new, and acknowledged"[..]),
            "{name}"
        );
        assert!(store.requests().len() <= 5, "{:?}", store.operations());
        ftp.close().await;
        gateway.stop().await;
    }
}
