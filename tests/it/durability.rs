//! 226 comes only after the store has acknowledged the whole object. Each refusal of the store has
//! a reply of its own, changes nothing and leaves nothing.

use futures::StreamExt;
use futures::stream;
use tokio::io::AsyncWriteExt;

use test_support::faults::Fault;
use test_support::ftp::Mode;
use test_support::gateway::{BUCKET, Gateway};
use test_support::transfers::{begin, nothing_left};
use test_support::{MIB, pattern};

const SMALL: usize = 70_000;
/// At most two parts of 5 MiB.
const LARGE: usize = 6 * MIB;
/// Three parts.
const LARGER: usize = 11 * MIB;

#[tokio::test]
async fn no_226_while_the_store_has_not_acknowledged_everything() {
    let held = [
        ("PutObject", 1, Fault::Stall, SMALL),
        ("PutObject", 1, Fault::StallAnswer, SMALL),
        ("PutObject", 1, Fault::Stall, 0),
        ("CreateMultipartUpload", 1, Fault::Stall, LARGE),
        ("UploadPart", 1, Fault::Stall, LARGE),
        ("UploadPart", 3, Fault::Stall, LARGER),
        ("UploadPart", 2, Fault::StallAnswer, LARGE),
        ("CompleteMultipartUpload", 1, Fault::Stall, LARGE),
        ("CompleteMultipartUpload", 1, Fault::StallAnswer, LARGE),
    ];
    for (operation, nth, fault, size) in held {
        let what = format!("{operation} {nth} {fault:?}");
        let answered_late = matches!(fault, Fault::StallAnswer);
        let gateway = Gateway::start().await;
        let (store, bytes) = (&gateway.store, pattern(size, 1));
        store.put(BUCKET, "x", "old");
        let rule = store.fail(operation).nth(nth).with(fault);
        let mut ftp = gateway.ftp().await;
        let mut data = begin(&mut ftp, "STOR x", Mode::Passive).await;
        data.write_all(&bytes).await.unwrap();
        data.shutdown().await.unwrap();
        rule.hit().await;
        // Answers come in order: when these have arrived, everything else that could happen has
        // happened.
        for _ in 0..20 {
            let status = ftp.expect("STAT", 211).await;
            assert!(status.lines[2].contains(&format!("{size} bytes")), "{what}");
            ftp.expect("NOOP", 200).await;
        }
        if !answered_late {
            assert_eq!(store.object(BUCKET, "x").unwrap(), b"old", "{what}");
        }
        rule.release();
        ftp.expect_reply(226).await;
        assert!(store.object(BUCKET, "x").unwrap() == bytes, "{what}");
        ftp.in_step().await;
        ftp.close().await;
        nothing_left(&gateway, 0).await;
    }
}

/// The store's answer, the reply's code, and words in its text.
const REFUSALS: [(Fault, u16, &str); 11] = [
    (Fault::Status(403, "AccessDenied"), 550, "denies access"),
    (Fault::Status(403, "InvalidAccessKeyId"), 451, "credentials"),
    (
        Fault::Status(404, "NoSuchBucket"),
        451,
        "the bucket does not exist",
    ),
    (Fault::Status(503, "SlowDown"), 451, "overloaded"),
    (Fault::Status(503, "ServiceUnavailable"), 451, "overloaded"),
    (Fault::Status(500, "InternalError"), 451, "can't be reached"),
    (
        Fault::Status(507, "InsufficientStorage"),
        452,
        "the store is full",
    ),
    (Fault::Status(400, "BadDigest"), 451, "not what was sent"),
    (Fault::Status(400, "EntityTooLarge"), 552, "largest object"),
    (Fault::Status(400, "InvalidArgument"), 550, "refused"),
    (Fault::ResetBeforeHandling, 451, "can't be reached"),
];

#[tokio::test]
async fn each_refusal_of_the_store_is_a_reply_of_its_own_and_changes_nothing() {
    let gateway = Gateway::builder()
        .with("[stores.main]\nattempts = 2\nrequest_timeout = \"2s\"")
        .mount("interrupted = \"abort\"")
        .start()
        .await;
    let operations = [
        ("PutObject", SMALL),
        ("CreateMultipartUpload", LARGE),
        ("UploadPart", LARGE),
        ("CompleteMultipartUpload", LARGE),
    ];
    for (operation, size) in operations {
        let bytes = pattern(size, 2);
        // Several in parallel, because most of the time is waiting for attempts.
        let refused = REFUSALS
            .iter()
            .enumerate()
            .map(|(at, (fault, code, words))| {
                let (gateway, bytes) = (&gateway, &bytes);
                async move {
                    let key = format!("{operation}-{at}-");
                    gateway.store.put(BUCKET, &key, "old");
                    let rule = gateway.store.fail(operation).key(&key).always();
                    let rule = rule.with(fault.clone());
                    let mut ftp = gateway.ftp().await;
                    let reply = ftp.store(&key, bytes).await;
                    assert_eq!(reply.code, *code, "{operation} {fault:?}: {reply:?}");
                    assert!(
                        reply.text().contains(words) && reply.text().contains(", transfer "),
                        "{operation} {fault:?}: {reply:?}"
                    );
                    assert!(rule.hits() > 0);
                    ftp.in_step().await;
                    ftp.close().await;
                    assert_eq!(gateway.store.object(BUCKET, &key).unwrap(), b"old");
                }
            });
        let refused = stream::iter(refused).buffer_unordered(4);
        refused.collect::<Vec<()>>().await;
        nothing_left(&gateway, 0).await;
    }
}

#[tokio::test]
async fn a_client_that_still_sends_gets_the_refusal_at_once() {
    for operation in ["CreateMultipartUpload", "UploadPart"] {
        let gateway = Gateway::start().await;
        let rule = gateway.store.fail(operation).always();
        rule.with(Fault::Status(403, "AccessDenied"));
        let mut ftp = gateway.ftp().await;
        let mut data = begin(&mut ftp, "STOR x", Mode::Passive).await;
        data.write_all(&pattern(6 * MIB, 3)).await.unwrap();
        // The data connection stays open.
        ftp.expect_reply(550).await;
        ftp.in_step().await;
        ftp.close().await;
        drop(data);
        nothing_left(&gateway, 0).await;
        assert!(gateway.store.keys(BUCKET).is_empty());
    }
}

#[tokio::test]
async fn bytes_that_arrive_damaged_are_sent_again_from_memory() {
    for checksums in ["crc32", "none"] {
        for (operation, nth, size, requests) in [
            ("PutObject", 1, SMALL, 2),
            ("PutObject", 1, 4 * MIB, 2),
            ("UploadPart", 2, LARGE, 3),
        ] {
            let gateway = Gateway::builder()
                .with(&format!("[stores.main]\nchecksums = \"{checksums}\""))
                .start()
                .await;
            let (store, bytes) = (&gateway.store, pattern(size, 4));
            let rule = store.fail(operation).nth(nth);
            rule.with(Fault::CorruptRequest);
            let mut ftp = gateway.ftp().await;
            let reply = ftp.store("x", &bytes).await;
            assert_eq!(reply.code, 226, "{checksums} {operation}: {reply:?}");
            assert!(store.object(BUCKET, "x").unwrap() == bytes);
            assert_eq!(store.count(operation), requests);
            ftp.in_step().await;
            ftp.close().await;
            nothing_left(&gateway, 0).await;
        }
    }
}

#[tokio::test]
async fn bytes_that_always_arrive_damaged_fail_the_upload() {
    let gateway = Gateway::builder()
        .with("[stores.main]\nattempts = 3")
        .start()
        .await;
    for (operation, size) in [("PutObject", SMALL), ("UploadPart", 6 * MIB)] {
        gateway.store.put(BUCKET, operation, "old");
        let rule = gateway.store.fail(operation).key(operation).always();
        let rule = rule.with(Fault::CorruptRequest);
        let mut ftp = gateway.ftp().await;
        let reply = ftp.store(operation, &pattern(size, 5)).await;
        assert_eq!(reply.code, 451, "{reply:?}");
        assert!(rule.hits() >= 3);
        assert_eq!(gateway.store.object(BUCKET, operation).unwrap(), b"old");
        ftp.in_step().await;
        ftp.close().await;
        nothing_left(&gateway, 0).await;
    }
}
