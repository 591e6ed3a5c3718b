//! What a reviewer of the object room found: ways to lose bytes that a client was promised, and answers settled wrongly.

use std::sync::Arc;

use crate::support::faults::Fault;
use crate::support::ftp::Mode;
use crate::support::gateway::{BUCKET, Gateway};
use crate::support::store::Store;
use crate::support::within;

/// A user who reaches the same keys by two paths, by one store and by two that are one endpoint.
async fn two_ways() -> Gateway {
    let store = Arc::new(Store::start(&[]).await);
    let (endpoint, (key, secret)) = (store.endpoint(), store.credentials());
    let more = format!(
        "[stores.second]\nendpoint = \"{endpoint}/\"\nregion = \"us-east-1\"\npath_style = true\n\
         access_key_id = \"{key}\"\nsecret_access_key = \"{secret}\"\n\
         [mounts.below]\nstore = \"main\"\nbucket = \"{BUCKET}\"\nprefix = \"me/\"\n\
         [mounts.other]\nstore = \"second\"\nbucket = \"{BUCKET}\"\nprefix = \"me/\""
    );
    let mounts = r#"{ "/" = "main", "/below" = "below", "/other" = "other" }"#;
    let gateway = Gateway::builder().on(&store).with(&more);
    gateway.user("u", "p", mounts).start().await
}

#[tokio::test]
async fn a_rename_onto_itself_by_another_path_keeps_the_file() {
    let gateway = two_ways().await;
    gateway.store.put(BUCKET, "me/f", "precious");
    gateway.store.put(BUCKET, "me/d/f", "precious");
    let mut ftp = gateway.ftp().await;
    for (from, to) in [("/below/f", "/me/f"), ("/other/f", "/me/f")] {
        ftp.expect(&format!("RNFR {from}"), 350).await;
        ftp.expect(&format!("RNTO {to}"), 250).await;
        let there = gateway.store.object(BUCKET, "me/f");
        assert_eq!(there.as_deref(), Some(&b"precious"[..]), "{from} to {to}");
    }
    // A directory into itself would never come to an end.
    for from in ["/below/d", "/other/d"] {
        ftp.expect(&format!("RNFR {from}"), 350).await;
        ftp.expect("RNTO /me/d/sub", 553).await;
        assert_eq!(gateway.store.keys(BUCKET), ["me/d/f", "me/f"]);
    }
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_rename_never_deletes_what_was_written_meanwhile() {
    // Neither store honours If-Match on DeleteObject: the file is the only one, one of the first two, or one further on.
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

#[tokio::test]
async fn a_new_time_does_not_bring_old_bytes_back() {
    let gateway = Gateway::builder()
        .mount("times = \"metadata\"")
        .with("[stores.main]\ncopy_limit = \"5MiB\"")
        .start()
        .await;
    let store = &gateway.store;
    store.put(BUCKET, "f", vec![1; 6 << 20]);
    let mut ftp = gateway.ftp().await;
    let complete = store.fail("CompleteMultipartUpload").with(Fault::Stall);
    ftp.send("MFMT 20200102030405 f").await;
    complete.hit().await;
    store.put(BUCKET, "f", "new, and acknowledged");
    complete.release();
    assert!(ftp.reply().await.code >= 400);
    let there = store.object(BUCKET, "f");
    assert_eq!(there.as_deref(), Some(&b"new, and acknowledged"[..]));
    store.no_uploads_left().await;
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn an_append_whose_answers_are_lost_is_not_called_a_conflict() {
    // This store has no conditions: we look ourselves, and must not take our own object for somebody else's.
    let gateway = Gateway::builder()
        .with("[stores.main]\nconditional_writes = false\nattempts = 1")
        .mount("interrupted = \"abort\"")
        .start()
        .await;
    let store = &gateway.store;
    store.put(BUCKET, "f", vec![1; 6 << 20]);
    let mut ftp = gateway.ftp().await;
    // The Complete is carried out while the answer to the look before it is under way.
    store
        .fail("CompleteMultipartUpload")
        .with(Fault::LoseAnswer);
    store
        .fail("HeadObject")
        .nth(3)
        .with(Fault::Status(404, "NoSuchKey"));
    let reply = ftp.upload_with("APPE f", b"more", Mode::Passive).await;
    assert_eq!(reply.code, 226, "{reply:?}");
    assert_eq!(
        store.object(BUCKET, "f").map(|f| f.len()),
        Some((6 << 20) + 4)
    );
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn an_upload_that_a_newer_one_has_dropped_is_told_so() {
    // As Garage: a PutObject of the key drops its open uploads.
    let gateway = Gateway::start().await;
    let store = &gateway.store;
    store.behave(|behaviour| behaviour.put_drops_uploads = true);
    let (mut one, mut two) = (gateway.ftp().await, gateway.ftp().await);
    let part = store.fail("UploadPart").nth(2).with(Fault::Stall);
    let bytes = vec![1; 6 << 20];
    let (first, ()) = tokio::join!(one.store("f", &bytes), async {
        part.hit().await;
        assert_eq!(two.store("f", b"newer").await.code, 226);
        part.release();
    });
    assert_eq!(first.code, 451, "{first:?}");
    assert!(first.text().contains("replaced"), "{first:?}");
    assert_eq!(store.object(BUCKET, "f").as_deref(), Some(&b"newer"[..]));
    one.close().await;
    two.close().await;
    gateway.stop().await;
}
