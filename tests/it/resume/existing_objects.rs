//! Interrupted appends and restarts inside existing objects, and stores that differ from AWS.

use s3_embedded::Behaviour;

use super::{By, only_objects, resume};
use test_support::faults::{Fault, Request};
use test_support::ftp::{Mode, reset_stream};
use test_support::gateway::{BUCKET, Gateway};
use test_support::transfers::{interrupt, settled, size, upload_in_progress};
use test_support::{MIB, pattern};

#[tokio::test]
async fn an_interrupted_append_is_resumed() {
    for (old, sent) in [
        (1000, 5000),
        (1000, 7 * MIB),
        (6 * MIB, 1000),
        (12 * MIB, 9 * MIB),
    ] {
        for by in [By::Rest, By::Appe] {
            let gateway = Gateway::start().await;
            let whole = pattern(old + sent + 2 * MIB, 5);
            gateway.store.put_before(BUCKET, "x", &whole[..old]);
            interrupt(&gateway, "APPE x", &whole[old..old + sent]).await;
            assert!(gateway.store.object(BUCKET, "x").unwrap() == whole[..old]);
            resume(&gateway, by, "x", &whole, old + sent).await;
            assert!(
                gateway.store.object(BUCKET, "x").unwrap() == whole,
                "{old} {sent}"
            );
            only_objects(&[&gateway], &["x"]).await;
        }
    }
}

#[tokio::test]
async fn appe_without_size_appends_to_the_object() {
    let gateway = Gateway::start().await;
    gateway.store.put_before(BUCKET, "x", "old");
    interrupt(&gateway, "APPE x", b"lost").await;
    let mut ftp = gateway.ftp().await;
    let reply = ftp.upload_with("APPE x", b" new", Mode::Passive).await;
    assert_eq!(reply.code, 226);
    assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"old new");
    ftp.close().await;
    only_objects(&[&gateway], &["x"]).await;
}

#[tokio::test]
async fn an_interrupted_append_ends_with_its_object() {
    let gateway = Gateway::start().await;
    gateway.store.put_before(BUCKET, "x", "old");
    interrupt(&gateway, "APPE x", b"lost").await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(size(&mut ftp, "x").await, 6);
    ftp.expect("DELE x", 250).await;
    ftp.expect("SIZE x", 550).await;
    ftp.close().await;
    only_objects(&[&gateway], &[]).await;
}

#[tokio::test]
async fn an_interrupted_restart_inside_an_object_is_resumed() {
    let gateway = Gateway::start().await;
    let old = pattern(12 * MIB, 6);
    gateway.store.put_before(BUCKET, "x", &old);
    let mut whole = pattern(20 * MIB, 5);
    let from = 7 * MIB + 3;
    whole[..from].copy_from_slice(&old[..from]);
    let rest = format!("REST {from}");
    let mut ftp = gateway.ftp().await;
    ftp.expect(&rest, 350).await;
    let data = upload_in_progress(&mut ftp, "STOR x", &whole[from..14 * MIB]).await;
    reset_stream(data);
    ftp.expect_reply(426).await;
    ftp.close().await;
    settled(&gateway).await;
    resume(&gateway, By::Rest, "x", &whole, 14 * MIB).await;
    assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
    only_objects(&[&gateway], &["x"]).await;
}

#[tokio::test]
async fn stores_that_differ_from_aws_can_be_resumed() {
    let stores = [
        ("versitygw", Behaviour::default()),
        ("minio", Behaviour::minio()),
        ("garage", Behaviour::garage()),
        (
            "no checksums",
            Behaviour {
                checksums: false,
                ..Behaviour::default()
            },
        ),
        (
            "hides",
            Behaviour {
                hides_older_uploads: true,
                ..Behaviour::default()
            },
        ),
        (
            "equal parts",
            Behaviour {
                equal_parts: true,
                ..Behaviour::default()
            },
        ),
        (
            "nothing at all",
            Behaviour {
                checksums: false,
                hides_older_uploads: true,
                ..Behaviour::garage()
            },
        ),
    ];
    for (name, behaviour) in stores {
        let settings = format!(
            "[stores.main]\nchecksums = \"{}\"\nconditional_writes = {}\nconditional_deletes = {}\n\
             equal_parts = {}",
            if behaviour.checksums { "crc32" } else { "none" },
            behaviour.conditional_writes,
            behaviour.conditional_deletes,
            behaviour.equal_parts
        );
        let gateway = Gateway::builder().with(&settings).start().await;
        gateway.store.behave(|store| *store = behaviour);
        let whole = pattern(20 * MIB, 5);
        for sent in [1000, 5 * MIB, 13 * MIB] {
            gateway.store.a_while();
            interrupt(&gateway, "STOR x", &whole[..sent]).await;
            resume(&gateway, By::Rest, "x", &whole, sent).await;
            assert!(
                gateway.store.object(BUCKET, "x").unwrap() == whole,
                "{name}"
            );
        }
        interrupt(&gateway, "APPE x", &whole[..6 * MIB]).await;
        let doubled = [&whole[..], &whole[..]].concat();
        resume(&gateway, By::Appe, "x", &doubled, 26 * MIB).await;
        assert!(
            gateway.store.object(BUCKET, "x").unwrap() == doubled,
            "{name}"
        );
        only_objects(&[&gateway], &["x"]).await;
    }
}

/// On a store that cannot copy parts the old bytes are streamed; the new bytes that arrived are
/// saved all the same.
#[tokio::test]
async fn an_interrupted_append_is_resumed_if_the_store_cannot_copy() {
    for (old, sent) in [(1000, 7 * MIB), (6 * MIB, 1000), (12 * MIB, 9 * MIB)] {
        for by in [By::Rest, By::Appe] {
            let gateway = Gateway::start().await;
            let rule = gateway.store.fail("UploadPartCopy").always();
            let rule = rule.with(Fault::Status(501, "NotImplemented"));
            let whole = pattern(old + sent + 2 * MIB, 5);
            gateway.store.put_before(BUCKET, "x", &whole[..old]);
            interrupt(&gateway, "APPE x", &whole[old..old + sent]).await;
            assert!(gateway.store.object(BUCKET, "x").unwrap() == whole[..old]);
            assert_eq!(rule.hits() > 0, old > 5 * MIB);
            resume(&gateway, by, "x", &whole, old + sent).await;
            assert!(
                gateway.store.object(BUCKET, "x").unwrap() == whole,
                "{old} {sent}"
            );
            only_objects(&[&gateway], &["x"]).await;
        }
    }
}

/// A store that checks conditions at PutObject and not at CompleteMultipartUpload, as MinIO did for
/// fifteen months: a client that writes the name during an upload bound to the old version keeps
/// its file.
#[tokio::test]
async fn a_concurrent_write_stays_if_only_put_object_compares() {
    let whole = pattern(14 * MIB, 5);
    for way in ["append", "resume", "no overwrite"] {
        let mut builder = Gateway::builder();
        if way == "no overwrite" {
            builder = builder.mount("permissions = [\"list\", \"read\", \"write\"]");
        }
        let gateway = builder.start().await;
        let store = &gateway.store;
        store.behave(|now| now.conditional_complete = false);
        if way == "resume" {
            interrupt(&gateway, "STOR x", &whole[..6 * MIB]).await;
        }
        let mut ftp = gateway.ftp().await;
        let command = match way {
            "append" => {
                store.put(BUCKET, "x", &whole[..6 * MIB]);
                "APPE x"
            }
            "resume" => {
                let reported = size(&mut ftp, "x").await;
                assert_eq!(reported, 6 * MIB - 1);
                ftp.expect(&format!("REST {reported}"), 350).await;
                "STOR x"
            }
            _ => "STOR x",
        };
        let data = upload_in_progress(&mut ftp, command, &whole[6 * MIB - 1..]).await;
        store.put(BUCKET, "x", "newer");
        drop(data);
        let reply = ftp.reply().await;
        assert!(reply.code >= 400, "{way}: {reply:?}");
        let there = store.object(BUCKET, "x").unwrap();
        assert_eq!(there.len(), 5, "{way}");
        assert_eq!(there, b"newer", "{way}");
        ftp.close().await;
        only_objects(&[&gateway], &["x"]).await;
    }
}

/// A gateway that knows that its store requires equal parts (Cloudflare R2), here of 5 MiB.
async fn with_equal_parts() -> Gateway {
    let settings = "[stores.main]\nequal_parts = true\ncopy_limit = \"5MiB\"";
    let gateway = Gateway::builder().with(settings).start().await;
    gateway.store.behave(|store| store.equal_parts = true);
    gateway
}

#[tokio::test]
async fn old_and_new_bytes_are_in_equal_parts_if_the_store_requires_it() {
    let gateway = with_equal_parts().await;
    let store = &gateway.store;
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    // Existing bytes, how many of them are kept, and how many follow.
    for (old, keep, new) in [
        (4 * MIB, 4 * MIB, 12 * MIB),
        (5 * MIB, 5 * MIB, 6 * MIB),
        (6 * MIB, 6 * MIB, 0),
        (6 * MIB, 6 * MIB, 1),
        (6 * MIB, 6 * MIB, 9 * MIB + 3),
        (16 * MIB + 7, 16 * MIB + 7, 4 * MIB),
        (20 * MIB, 5 * MIB - 1, 6 * MIB),
        (20 * MIB, 12 * MIB + 3, 11 * MIB),
        (20 * MIB, 15 * MIB, 1),
    ] {
        let what = format!("{keep} of {old} + {new}");
        let (first, second) = (pattern(old, 1), pattern(new, 2));
        store.put(BUCKET, "x", &first);
        store.reset_counts();
        let command = match keep == old {
            true => "APPE x",
            false => {
                ftp.expect(&format!("REST {keep}"), 350).await;
                "STOR x"
            }
        };
        let reply = ftp.upload_with(command, &second, Mode::Passive).await;
        assert_eq!(reply.code, 226, "{what}: {reply:?}");
        let there = store.object(BUCKET, "x").unwrap();
        assert!(there == [&first[..keep], &second].concat(), "{what}");
        // Whole parts of them are copied inside the store, the rest is read.
        let copies = store.count("UploadPartCopy");
        assert_eq!(copies, keep / (5 * MIB), "{what}");
        let read = |request: &Request| request.operation == "GetObject" && request.key == "x";
        let read = store.requests().iter().any(read);
        assert_eq!(read, keep % (5 * MIB) > 0, "{what}");
    }
    ftp.close().await;
    only_objects(&[&gateway], &["x"]).await;
}

#[tokio::test]
async fn an_interrupted_append_is_resumed_in_equal_parts() {
    for (old, sent) in [(6 * MIB, 1000), (12 * MIB, 9 * MIB)] {
        for by in [By::Rest, By::Appe] {
            let gateway = with_equal_parts().await;
            let whole = pattern(old + sent + 7 * MIB, 5);
            gateway.store.put_before(BUCKET, "x", &whole[..old]);
            interrupt(&gateway, "APPE x", &whole[old..old + sent]).await;
            resume(&gateway, by, "x", &whole, old + sent).await;
            let there = gateway.store.object(BUCKET, "x").unwrap();
            assert!(there == whole, "{old} {sent} {by:?}");
            only_objects(&[&gateway], &["x"]).await;
        }
    }
}

/// The largest object is 10,000 parts of one size.
#[tokio::test]
async fn a_large_file_is_renamed_in_equal_parts_and_one_that_is_too_large_refused() {
    let gateway = with_equal_parts().await;
    // In three equal parts the first would be one byte longer than the second.
    let bytes = pattern(25 * MIB, 3);
    gateway.store.put(BUCKET, "x", &bytes);
    let mut ftp = gateway.ftp().await;
    ftp.expect("RNFR x", 350).await;
    ftp.expect("RNTO y", 250).await;
    assert_eq!(gateway.store.count("UploadPartCopy"), 3);
    assert!(gateway.store.object(BUCKET, "y").unwrap() == bytes);
    ftp.expect("ALLO 52428800000", 200).await;
    let reply = ftp.expect("ALLO 52428800001", 552).await;
    assert!(reply.text().contains(" 52428800000 bytes"), "{reply:?}");
    ftp.close().await;
    only_objects(&[&gateway], &["y"]).await;
}
