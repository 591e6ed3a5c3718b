//! APPE, and REST + STOR on an existing object: old bytes and new ones become one object, at once
//! or not at all.

use tokio::io::AsyncWriteExt;

use test_support::faults::Fault;
use test_support::ftp::{Ftp, Mode, reset_stream};
use test_support::gateway::{BUCKET, Gateway};
use test_support::{MIB, pattern, transfers};

/// S3's smallest part, and the part size of these tests.
const PART: usize = 5 * MIB;

async fn start() -> (Gateway, Ftp) {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    (gateway, ftp)
}

fn object(gateway: &Gateway) -> Vec<u8> {
    gateway.store.object(BUCKET, "x").unwrap()
}

/// Compares without printing megabytes.
#[track_caller]
fn same(found: &[u8], expected: &[u8], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: length");
    assert!(found == expected, "{what}: other bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_adds_to_the_object_byte_for_byte() {
    let (gateway, mut ftp) = start().await;
    for (old, new) in [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, PART),
        (PART - 1, 1),
        (PART - 1, PART + 3),
        (PART, 0),
        (PART, 1),
        (PART + 1, PART),
        (2 * PART + 7, 1),
    ] {
        let what = format!("{old} + {new}");
        let (first, second) = (pattern(old, 1), pattern(new, 2));
        gateway.store.put(BUCKET, "x", &first);
        gateway.store.reset_counts();
        let reply = ftp.upload_with("APPE x", &second, Mode::Passive).await;
        assert_eq!(reply.code, 226, "{what}: {reply:?}");
        same(&object(&gateway), &[first, second].concat(), &what);
        // Old bytes below S3's smallest part are read, others copied inside the store.
        let read = gateway.store.count("GetObject");
        let copied = gateway.store.count("UploadPartCopy");
        assert_eq!(read > 0, old > 0 && old < PART, "{what}: {read} GETs");
        assert_eq!(copied > 0, old >= PART, "{what}: {copied} copies");
    }
    assert!(gateway.store.open_uploads().is_empty());
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_exactly_the_bytes_before_it() {
    let (gateway, mut ftp) = start().await;
    for (old, keep, new) in [
        (10, 1, 3),
        (10, 9, 100),
        (10, 10, 5),
        (PART, PART - 1, PART),
        (3 * PART, 1, 4),
        (3 * PART, PART - 1, 1),
        (3 * PART, PART, 1),
        (3 * PART, PART + 1, 0),
        (3 * PART, 3 * PART - 1, PART + 1),
        (3 * PART, 3 * PART, 9),
    ] {
        let what = format!("{keep} of {old} + {new}");
        let (first, second) = (pattern(old, 3), pattern(new, 4));
        gateway.store.put(BUCKET, "x", &first);
        ftp.expect(&format!("REST {keep}"), 350).await;
        let reply = ftp.store("x", &second).await;
        assert_eq!(reply.code, 226, "{what}: {reply:?}");
        same(
            &object(&gateway),
            &[&first[..keep], &second[..]].concat(),
            &what,
        );
    }
    assert!(gateway.store.open_uploads().is_empty());
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_restart_beyond_the_end_is_554_and_names_the_end() {
    let (gateway, mut ftp) = start().await;
    gateway.store.put(BUCKET, "x", "12345");
    for (path, end) in [("x", "REST 5 "), ("none", "REST 0 ")] {
        ftp.expect("REST 6", 350).await;
        let reply = ftp.store(path, b"new").await;
        assert_eq!(reply.code, 554, "{reply:?}");
        assert!(reply.text().contains(end), "{reply:?}");
        ftp.in_step().await;
    }
    assert_eq!(object(&gateway), b"12345");
    assert_eq!(gateway.store.keys(BUCKET), ["x"]);
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn an_append_to_a_missing_file_creates_it() {
    let (gateway, mut ftp) = start().await;
    let reply = ftp.upload_with("APPE x", b"first", Mode::Active).await;
    assert_eq!(reply.code, 226);
    assert_eq!(object(&gateway), b"first");
    // Unless another session creates it in the meantime.
    let mut data = transfers::begin(&mut ftp, "APPE y", Mode::Passive).await;
    gateway.store.put(BUCKET, "y", "theirs");
    data.write_all(b"ours").await.unwrap();
    drop(data);
    ftp.expect_reply(550).await;
    assert_eq!(gateway.store.object(BUCKET, "y").unwrap(), b"theirs");
    ftp.close().await;
    gateway.stop().await;
}

/// What keeps its attributes is still the same file.
#[tokio::test]
async fn an_append_keeps_metadata_and_content_type() {
    let (gateway, mut ftp) = start().await;
    for size in [10, PART] {
        let client = gateway.store.client();
        let put = client.put_object().bucket(BUCKET).key("x");
        let put = put.content_type("text/csv").metadata("colour", "red");
        put.body(pattern(size, 1).into()).send().await.unwrap();
        let reply = ftp.upload_with("APPE x", b"new", Mode::Passive).await;
        assert_eq!(reply.code, 226);
        let head = client.head_object().bucket(BUCKET).key("x");
        let head = head.send().await.unwrap();
        assert_eq!(head.content_type(), Some("text/csv"));
        assert_eq!(head.metadata().unwrap()["colour"], "red");
    }
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_broken_append_leaves_the_old_object() {
    // Here interrupted uploads are discarded; tests/it/resume has the others.
    let gateway = Gateway::builder().mount("interrupted = \"abort\"");
    let gateway = gateway.start().await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    for size in [10, PART] {
        let old = pattern(size, 1);
        gateway.store.put(BUCKET, "x", &old);
        // The data connection breaks.
        let mut data = transfers::begin(&mut ftp, "APPE x", Mode::Passive).await;
        data.write_all(b"half").await.unwrap();
        reset_stream(data);
        ftp.expect_reply(426).await;
        // ABOR.
        let mut data = transfers::begin(&mut ftp, "APPE x", Mode::Passive).await;
        data.write_all(b"half").await.unwrap();
        ftp.send("ABOR").await;
        ftp.expect_reply(426).await;
        ftp.expect_reply(226).await;
        ftp.in_step().await;
        drop(data);
        // The store fails at the end.
        let operation = match size {
            10 => "PutObject",
            _ => "CompleteMultipartUpload",
        };
        let fault = Fault::Status(403, "AccessDenied");
        let denied = gateway.store.fail(operation).always().with(fault);
        let reply = ftp.upload_with("APPE x", b"new", Mode::Passive).await;
        assert_eq!(reply.code, 550, "{reply:?}");
        denied.remove();
        // The client dies.
        let mut dying = gateway.ftp().await;
        let mut data = transfers::begin(&mut dying, "APPE x", Mode::Passive).await;
        data.write_all(b"half").await.unwrap();
        dying.reset();
        drop(data);
        gateway.store.no_uploads_left().await;
        same(&object(&gateway), &old, "the old object");
    }
    ftp.close().await;
    gateway.stop().await;
}

/// An append is bound to the version with which it began, however another version arrives.
#[tokio::test]
async fn an_overwrite_during_an_append_fails_it_and_stays() {
    let (gateway, mut ftp) = start().await;
    for size in [10, PART, 2 * PART] {
        for command in ["APPE x", "STOR x"] {
            gateway.store.put(BUCKET, "x", pattern(size, 1));
            if command == "STOR x" {
                ftp.expect(&format!("REST {size}"), 350).await;
            }
            let mut data = transfers::begin(&mut ftp, command, Mode::Passive).await;
            data.write_all(b"new").await.unwrap();
            gateway.store.put(BUCKET, "x", "theirs");
            drop(data);
            let reply = ftp.expect_reply(550).await;
            assert!(reply.text().contains("another client"), "{reply:?}");
            assert_eq!(object(&gateway), b"theirs");
            gateway.store.no_uploads_left().await;
        }
    }
    // The same if it is deleted.
    gateway.store.put(BUCKET, "x", pattern(PART, 1));
    let mut data = transfers::begin(&mut ftp, "APPE x", Mode::Passive).await;
    data.write_all(b"new").await.unwrap();
    gateway.store.backend().remove(BUCKET, "x");
    drop(data);
    ftp.expect_reply(550).await;
    assert!(gateway.store.object(BUCKET, "x").is_none());
    gateway.store.no_uploads_left().await;
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_bytes_are_streamed_if_the_store_cannot_copy() {
    let (gateway, mut ftp) = start().await;
    let fault = Fault::Status(501, "NotImplemented");
    let rule = gateway.store.fail("UploadPartCopy").always().with(fault);
    for (old, keep, new) in [
        (PART, PART, 3),
        (2 * PART, PART + 1, PART),
        (3 * PART, 3 * PART, 0),
    ] {
        let (first, second) = (pattern(old, 5), pattern(new, 6));
        gateway.store.put(BUCKET, "x", &first);
        ftp.expect(&format!("REST {keep}"), 350).await;
        let reply = ftp.store("x", &second).await;
        assert_eq!(reply.code, 226, "{reply:?}");
        same(
            &object(&gateway),
            &[&first[..keep], &second[..]].concat(),
            "streamed",
        );
        gateway.store.no_uploads_left().await;
    }
    assert!(rule.hits() > 0);
    // A restart is bound to it too.
    gateway.store.put(BUCKET, "x", pattern(PART, 7));
    let mut data = transfers::begin(&mut ftp, "APPE x", Mode::Passive).await;
    data.write_all(b"new").await.unwrap();
    gateway.store.put(BUCKET, "x", "theirs");
    drop(data);
    ftp.expect_reply(550).await;
    assert_eq!(object(&gateway), b"theirs");
    gateway.store.no_uploads_left().await;
    ftp.close().await;
    gateway.stop().await;
}

/// A mount that lets its users add to files and nothing else.
#[tokio::test]
async fn append_alone_adds_and_replaces_nothing() {
    let gateway = Gateway::builder()
        .mount("permissions = [\"write\", \"append\"]")
        .start()
        .await;
    gateway.store.put(BUCKET, "x", "old");
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    assert_eq!(
        ftp.upload_with("APPE x", b"+new", Mode::Passive).await.code,
        226
    );
    ftp.expect("REST 7", 350).await;
    assert_eq!(ftp.store("x", b"+more").await.code, 226);
    ftp.expect("REST 2", 350).await;
    assert_eq!(ftp.store("x", b"gone").await.code, 550);
    assert_eq!(ftp.store("x", b"gone").await.code, 550);
    assert_eq!(object(&gateway), b"old+new+more");
    ftp.close().await;
    gateway.stop().await;
}

/// A client that resumes by SIZE and sends the rest of its file must not extend the old object with
/// it.
#[tokio::test]
async fn an_object_over_which_a_lost_upload_broke_off_is_not_extended() {
    for keeps in [false, true] {
        let interrupted = ["abort", "keep"][usize::from(keeps)];
        let gateway = Gateway::builder()
            .mount(&format!("interrupted = \"{interrupted}\""))
            .start()
            .await;
        let store = &gateway.store;
        for mode in Mode::ALL {
            let [old, new] = [pattern(1000, 1), pattern(5000, 2)];
            let mut ftp = gateway.ftp().await;
            assert_eq!(ftp.store("x", &old).await.code, 226);
            let mut data = transfers::begin(&mut ftp, "STOR x", mode).await;
            data.write_all(&new[..3000]).await.unwrap();
            transfers::moved(&mut ftp, 3000).await;
            if keeps {
                // Another session has written it since: the upload is discarded.
                store.put(BUCKET, "x", &old);
            }
            reset_stream(data);
            ftp.expect_reply(426).await;
            transfers::settled(&gateway).await;
            let mut next = gateway.ftp().await;
            for ftp in [&mut ftp, &mut next] {
                ftp.expect("TYPE I", 200).await;
                let reply = ftp.expect("SIZE x", 213).await;
                assert_eq!(reply.text(), "1000");
                for restart in [None, Some(1000), Some(500)] {
                    let mut verb = "APPE x";
                    if let Some(offset) = restart {
                        ftp.expect(&format!("REST {offset}"), 350).await;
                        verb = "STOR x";
                    }
                    let reply = ftp.upload_with(verb, &new[1000..], Mode::Passive).await;
                    assert_eq!(reply.code, 554, "{verb} {restart:?}: {reply:?}");
                    ftp.in_step().await;
                }
            }
            assert!(store.object(BUCKET, "x").as_ref() == Some(&old));
            // A client in another session has lost nothing.
            let mut elsewhere = Ftp::connect_from([127, 0, 0, 2].into(), gateway.address).await;
            elsewhere.login("u", "p").await;
            let more = elsewhere
                .upload_with("APPE x", b"more", Mode::Passive)
                .await;
            assert_eq!(more.code, 226, "{more:?}");
            // Another file starts over; it can be extended as before, also after another APPE that
            // broke off.
            assert_eq!(next.store("x", &new).await.code, 226);
            let mut data = transfers::begin(&mut ftp, "APPE x", mode).await;
            data.write_all(b"line").await.unwrap();
            transfers::moved(&mut ftp, 4).await;
            if keeps {
                store.put(BUCKET, "x", &new);
            }
            reset_stream(data);
            ftp.expect_reply(426).await;
            transfers::settled(&gateway).await;
            let reply = ftp.upload_with("APPE x", b"line", Mode::Passive).await;
            assert_eq!(reply.code, 226, "{reply:?}");
            assert!(store.object(BUCKET, "x") == Some([&new[..], b"line"].concat()));
            ftp.close().await;
        }
    }
}

#[tokio::test]
async fn an_append_whose_answers_are_lost_is_not_reported_as_a_conflict() {
    // This store has no conditions: the server looks itself, and must not take its own object for
    // another one.
    let gateway = Gateway::builder()
        .with("[stores.main]\nconditional_writes = false\nattempts = 1")
        .mount("interrupted = \"abort\"")
        .start()
        .await;
    let store = &gateway.store;
    store.put(BUCKET, "f", vec![1; 6 << 20]);
    let mut ftp = gateway.ftp().await;
    // The Complete is carried out while the answer to the HEAD before it is on its way.
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
