//! Answers that S3 did not write: an ingress without a backend, a login page, a result that was cut.

use crate::support::faults::{Answer, Fault};
use crate::support::ftp::Ftp;
use crate::support::gateway::{BUCKET, Gateway};
use crate::support::transfers::settled;
use crate::support::{MIB, pattern};

/// Refusals as proxies write them.
const REFUSALS: [Answer; 6] = [
    Answer::page(404),
    Answer::page(403),
    Answer::page(400),
    Answer::page(301),
    Answer::empty(404),
    Answer {
        status: 404,
        headers: &[("content-type", "application/xml")],
        body: "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Mess",
    },
];

/// A gateway that makes each request once, over a store that sends request ids.
async fn gateway() -> Gateway {
    let gateway = Gateway::builder()
        .with("[stores.main]\nattempts = 1")
        .start()
        .await;
    gateway.store.identify();
    // So that the gateway knows of the ids.
    gateway.store.put(BUCKET, "known", "known");
    let mut ftp = gateway.ftp().await;
    ftp.expect("MDTM known", 213).await;
    ftp.close().await;
    gateway
}

/// The length that SIZE reports.
async fn size(ftp: &mut Ftp, path: &str) -> usize {
    let reply = ftp.expect(&format!("SIZE {path}"), 213).await;
    reply.text().parse().unwrap()
}

/// Sends the rest of an interrupted upload.
async fn resume(ftp: &mut Ftp, path: &str, whole: &[u8]) {
    let from = size(ftp, path).await;
    assert!(from > 0);
    ftp.expect(&format!("REST {from}"), 350).await;
    let reply = ftp.store(path, &whole[from..]).await;
    assert_eq!(reply.code, 226, "{}", ftp.transcript());
}

#[tokio::test]
async fn one_page_in_place_of_an_answer_to_an_upload_is_passed_over() {
    let gateway = Gateway::builder()
        .with("[stores.main]\nattempts = 2")
        .start()
        .await;
    let store = &gateway.store;
    let mut ftp = gateway.ftp().await;
    for answer in REFUSALS {
        for (operation, bytes) in [
            ("PutObject", 1000),
            ("CreateMultipartUpload", 11 * MIB),
            ("UploadPart", 11 * MIB),
            ("CompleteMultipartUpload", 11 * MIB),
        ] {
            let whole = pattern(bytes, 1);
            let rule = store.fail(operation).key("x").with(Fault::Foreign(answer));
            let reply = ftp.store("x", &whole).await;
            assert_eq!(rule.hits(), 1);
            assert_eq!(reply.code, 226, "{operation} {answer:?}: {reply:?}");
            assert!(store.object(BUCKET, "x").unwrap() == whole);
            ftp.expect("DELE x", 250).await;
        }
    }
    ftp.close().await;
}

#[tokio::test]
async fn an_upload_whose_requests_a_proxy_answers_is_kept() {
    for answer in REFUSALS {
        for operation in ["UploadPart", "CompleteMultipartUpload"] {
            let gateway = gateway().await;
            let store = &gateway.store;
            let whole = pattern(18 * MIB, 1);
            let rule = store.fail(operation).nth(1).always();
            let rule = rule.with(Fault::Foreign(answer));
            let mut ftp = gateway.ftp().await;
            let reply = ftp.store("x", &whole).await;
            assert_eq!(reply.code, 451, "{operation} {answer:?}: {reply:?}");
            assert!(store.object(BUCKET, "x").is_none());
            rule.remove();
            settled(&gateway).await;
            resume(&mut ftp, "x", &whole).await;
            assert!(store.object(BUCKET, "x").unwrap() == whole);
            ftp.close().await;
        }
    }
}

#[tokio::test]
async fn a_page_in_place_of_a_look_at_an_interrupted_upload_discards_nothing() {
    let whole = pattern(18 * MIB, 1);
    let sent = 17 * MIB;
    for answer in REFUSALS {
        for (operation, key) in [
            ("ListParts", "x"),
            ("HeadObject", ".s3ftpd/tails/"),
            ("HeadObject", "x"),
            ("GetObject", ".s3ftpd/uploads/"),
        ] {
            let gateway = gateway().await;
            let store = &gateway.store;
            let mut ftp = gateway.ftp().await;
            let mut other = gateway.ftp().await;
            let mut data = crate::support::transfers::begin(
                &mut other,
                "STOR x",
                crate::support::ftp::Mode::Passive,
            )
            .await;
            tokio::io::AsyncWriteExt::write_all(&mut data, &whole[..sent])
                .await
                .unwrap();
            crate::support::transfers::moved(&mut other, sent).await;
            crate::support::ftp::reset_stream(data);
            other.expect_reply(426).await;
            other.close().await;
            settled(&gateway).await;
            let rule = store.fail(operation).key(key);
            let rule = rule.with(Fault::Foreign(answer));
            let reply = ftp.command("SIZE x").await;
            assert_eq!(rule.hits(), 1, "{operation} {key}");
            assert_eq!(reply.code, 451, "{operation} {key} {answer:?}: {reply:?}");
            // Nor does a command that begins with the same look.
            let rule = store.fail(operation).key(key);
            let rule = rule.with(Fault::Foreign(answer));
            ftp.expect(&format!("REST {sent}"), 350).await;
            let reply = ftp.store("x", &whole[sent..]).await;
            assert_eq!(rule.hits(), 1, "{operation} {key}");
            assert!(
                [450, 451].contains(&reply.code),
                "{operation} {key} {answer:?}: {reply:?}"
            );
            settled(&gateway).await;
            assert_eq!(
                size(&mut ftp, "x").await,
                sent,
                "{operation} {key} {answer:?}"
            );
            resume(&mut ftp, "x", &whole).await;
            assert!(store.object(BUCKET, "x").unwrap() == whole);
            ftp.close().await;
        }
    }
}

#[tokio::test]
async fn a_write_that_something_else_acknowledges_is_looked_for() {
    let acknowledgements = [
        Answer::page(200),
        Answer::empty(200),
        Answer::empty(202),
        Answer::empty(204),
        Answer {
            status: 200,
            headers: &[("etag", "\"5f2a-page\"")],
            body: "",
        },
    ];
    for answer in acknowledgements {
        for (operation, bytes) in [
            ("PutObject", 1000),
            ("UploadPart", 11 * MIB),
            ("CompleteMultipartUpload", 11 * MIB),
            ("CreateMultipartUpload", 11 * MIB),
        ] {
            let gateway = gateway().await;
            let store = &gateway.store;
            let whole = pattern(bytes, 1);
            let mut ftp = gateway.ftp().await;
            // Nothing is stored.
            let rule = store.fail(operation).key("x").always();
            let rule = rule.with(Fault::Foreign(answer));
            let reply = ftp.store("x", &whole).await;
            assert_eq!(reply.code, 451, "{operation} {answer:?}: {reply:?}");
            assert!(store.object(BUCKET, "x").is_none());
            rule.remove();
            // It is stored, and the answer replaced.
            let rule = store.fail(operation).key("y");
            rule.with(Fault::ForeignAfter(answer));
            let reply = ftp.store("y", &whole).await;
            let stored = store
                .object(BUCKET, "y")
                .is_some_and(|found| found == whole);
            let expected = if stored { 226 } else { 451 };
            assert_eq!(reply.code, expected, "{operation} {answer:?}: {reply:?}");
            assert!(stored || operation != "PutObject", "{operation} {answer:?}");
            ftp.close().await;
        }
    }
}
