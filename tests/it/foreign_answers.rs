//! Answers that S3 did not write: an ingress without a backend, a login page, a truncated result.

mod checksums;
mod every_operation;

use test_support::faults::{Answer, Fault};
use test_support::ftp::Ftp;
use test_support::gateway::{BUCKET, Gateway};
use test_support::transfers::{settled, size};
use test_support::{MIB, pattern};

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
    // So that the gateway learns of the ids.
    gateway.store.put(BUCKET, "known", "known");
    let mut ftp = gateway.ftp().await;
    ftp.expect("MDTM known", 213).await;
    ftp.close().await;
    gateway
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
async fn one_foreign_page_instead_of_an_answer_to_an_upload_is_retried() {
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
async fn an_upload_whose_requests_a_proxy_answers_can_be_resumed() {
    for answer in [REFUSALS[0], REFUSALS[1], REFUSALS[5]] {
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
async fn a_foreign_page_instead_of_a_record_discards_nothing() {
    let whole = pattern(10 * MIB, 1);
    let sent = 9 * MIB;
    for answer in [REFUSALS[0], REFUSALS[4], REFUSALS[5]] {
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
            let mut data = test_support::transfers::begin(
                &mut other,
                "STOR x",
                test_support::ftp::Mode::Passive,
            )
            .await;
            tokio::io::AsyncWriteExt::write_all(&mut data, &whole[..sent])
                .await
                .unwrap();
            test_support::transfers::moved(&mut other, sent).await;
            test_support::ftp::reset_stream(data);
            other.expect_reply(426).await;
            other.close().await;
            settled(&gateway).await;
            let rule = store.fail(operation).key(key);
            let rule = rule.with(Fault::Foreign(answer));
            let reply = ftp.command("SIZE x").await;
            assert_eq!(rule.hits(), 1, "{operation} {key}");
            assert_eq!(reply.code, 451, "{operation} {key} {answer:?}: {reply:?}");
            // Nor does a command that begins with the same lookup.
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
                sent - 1,
                "{operation} {key} {answer:?}"
            );
            resume(&mut ftp, "x", &whole).await;
            assert!(store.object(BUCKET, "x").unwrap() == whole);
            ftp.close().await;
        }
    }
}

#[tokio::test]
async fn a_write_that_a_proxy_acknowledges_is_looked_up() {
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

#[tokio::test]
async fn an_incomplete_listing_is_an_error() {
    let gateway = gateway().await;
    let store = &gateway.store;
    for number in 0..1200 {
        store.put(BUCKET, &format!("d/{number:04}"), "x");
    }
    let mut ftp = gateway.ftp().await;
    let (whole, reply) = ftp.list("NLST d").await;
    assert_eq!((whole.lines().count(), reply.code), (1200, 226));
    let cut = |page, bytes| {
        let rule = store.fail("ListObjectsV2").nth(page);
        rule.with(Fault::Shorten(bytes))
    };
    for page in [1, 2] {
        for bytes in [0, 1, 40, 400, 20_000] {
            cut(page, bytes);
            let (text, reply) = ftp.list("NLST d").await;
            assert_eq!(reply.code, 451, "{page} {bytes}: {reply:?}");
            assert!(whole.starts_with(&text));
        }
        // Well-formed XML with entries left out; the same token for ever.
        for edit in [
            Fault::Edit(|_, body| {
                let text = String::from_utf8(body.clone()).unwrap();
                let (before, rest) = text.split_once("<Contents>").unwrap();
                let (_, after) = rest.split_once("</Contents>").unwrap();
                *body = format!("{before}{after}").into_bytes();
            }),
            Fault::Edit(|_, body| {
                let text = String::from_utf8(body.clone()).unwrap();
                let asked = text.split_once("<ContinuationToken>");
                let Some((token, _)) = asked.and_then(|(_, rest)| rest.split_once('<')) else {
                    return;
                };
                let next = format!("<NextContinuationToken>{token}</NextContinuationToken>");
                let root = "</ListBucketResult>";
                *body = text
                    .replace("<IsTruncated>false", "<IsTruncated>true")
                    .replace(root, &format!("{next}{root}"))
                    .into_bytes();
            }),
        ] {
            let rule = store.fail("ListObjectsV2").nth(page).always().with(edit);
            let (_, reply) = ftp.list("NLST d").await;
            assert!(rule.hits() > 0);
            rule.remove();
            assert_eq!(reply.code, 451, "{page}: {reply:?}");
        }
    }
    ftp.close().await;
}

/// Answers as from a cache that ignores the query: nothing of the other directory is moved or
/// deleted.
#[tokio::test]
async fn a_listing_of_another_directory_is_an_error() {
    let other_directory = Fault::Edit(|_, body| {
        let text = String::from_utf8(body.clone()).unwrap();
        *body = text.replace("<Key>d/", "<Key>e/").into_bytes();
    });
    let no_subdirectories = Fault::Edit(|_, body| {
        let text = String::from_utf8(body.clone()).unwrap();
        let cut = text.split_once("<Contents><Key>d/sub/");
        let Some((before, _)) = cut.or(text.split_once("<Contents>")) else {
            return;
        };
        *body = format!(
            "{before}<CommonPrefixes><Prefix>d/sub/</Prefix></CommonPrefixes></ListBucketResult>"
        )
        .replace("<KeyCount>3", "<KeyCount>2")
        .into_bytes();
    });
    for edit in [other_directory, no_subdirectories] {
        let gateway = gateway().await;
        let store = &gateway.store;
        for key in ["d/a", "d/b", "d/sub/c", "e/a", "e/b", "e/sub/c"] {
            store.put(BUCKET, key, key);
        }
        let before = store.keys(BUCKET);
        let mut ftp = gateway.ftp().await;
        for commands in [
            &["RNFR d", "RNTO f"][..],
            &["RNFR d/a", "RNTO f"],
            &["DELE d/a"],
        ] {
            let rule = store.fail("ListObjectsV2").always().with(edit.clone());
            let mut code = 350;
            for command in commands {
                if code == 350 {
                    code = ftp.command(command).await.code;
                }
            }
            rule.remove();
            assert_ne!(code, 350, "{commands:?}");
            println!("{commands:?} {code}");
            for key in &before {
                let bytes = store.object(BUCKET, key);
                assert!(
                    bytes.as_deref() == Some(key.as_bytes()),
                    "{commands:?}: {key}"
                );
            }
        }
        ftp.close().await;
    }
}

#[tokio::test]
async fn a_download_that_is_not_of_the_object_is_an_error() {
    let gateway = gateway().await;
    let store = &gateway.store;
    let whole = pattern(20 * MIB, 1);
    let mut ftp = gateway.ftp().await;
    store.put(BUCKET, "x", &whole);
    store.put(BUCKET, "page.html", Answer::page(200).body);
    for nth in [1, 2] {
        for edit in [
            Fault::Edit(|parts, _| {
                parts.headers.remove("content-range");
            }),
            Fault::Edit(|parts, _| {
                parts.headers.remove("content-range");
                parts.status = http::StatusCode::OK;
            }),
            Fault::Edit(|parts, _| {
                let range = http::HeaderValue::from_static("bytes 1-8388608/20971520");
                parts.headers.insert("content-range", range);
            }),
            Fault::Edit(|_, body| body.truncate(1000)),
            Fault::Foreign(Answer::page(200)),
            Fault::Foreign(Answer {
                status: 200,
                headers: &[("content-type", "text/html"), ("etag", "\"5f2a-page\"")],
                body: "<html>please log in</html>",
            }),
        ] {
            store.fail("GetObject").nth(nth).with(edit.clone());
            let (got, reply) = ftp.retrieve("x").await;
            assert_eq!(reply.code, 451, "{nth} {edit:?}: {reply:?}");
            assert!(whole.starts_with(&got) && got.len() < whole.len());
        }
    }
    // An object may be a page.
    let (got, reply) = ftp.retrieve("page.html").await;
    assert_eq!((got, reply.code), (Answer::page(200).body.into(), 226));
    ftp.close().await;
}

/// Sends SIZE before the RETR, and RETR alone for an object of one range.
#[tokio::test]
async fn a_damaged_download_is_never_whole() {
    for (verify, size, asks) in [
        (true, 1000, false),
        (true, 1000, true),
        (true, 300_000, false),
        (true, 18 * MIB, true),
        (false, 18 * MIB, true),
        (false, 1000, false),
    ] {
        let gateway = Gateway::builder()
            .mount(&format!("verify_downloads = {verify}"))
            .start()
            .await;
        let store = &gateway.store;
        let whole = pattern(size, 1);
        let mut ftp = gateway.ftp().await;
        assert_eq!(ftp.store("x", &whole).await.code, 226);
        let ranges = size.div_ceil(8 * MIB);
        for nth in 1..=ranges {
            store
                .fail("GetObject")
                .key("x")
                .nth(nth)
                .with(Fault::CorruptBody);
            if asks {
                ftp.expect("SIZE x", 213).await;
            }
            let (got, reply) = ftp.retrieve("x").await;
            let case = format!("{verify} {size} {asks} {nth}: {} {reply:?}", got.len());
            if verify {
                assert_eq!(reply.code, 451, "{case}");
                assert!(got.len() + 64 * 1024 <= size.max(64 * 1024), "{case}");
            } else {
                assert_eq!((got.len(), reply.code), (size, 226), "{case}");
            }
        }
        // The rest of a file and a range are not compared; the whole file is.
        ftp.expect("REST 500", 350).await;
        let (got, reply) = ftp.retrieve("x").await;
        assert!(got == whole[500..] && reply.code == 226);
        ftp.expect("SIZE x", 213).await;
        let (got, reply) = ftp.retrieve("x").await;
        assert!(got == whole && reply.code == 226);
        ftp.close().await;
    }
}

#[tokio::test]
async fn a_name_too_long_for_the_store_is_reported_as_too_long() {
    let gateway = gateway().await;
    let store = &gateway.store;
    store.put(BUCKET, "x", "content");
    let too_long = Fault::Status(400, "KeyTooLongError");
    let mut ftp = gateway.ftp().await;
    for (command, operations) in [
        ("SIZE y", &["HeadObject", "GetObject"][..]),
        ("MDTM y", &["HeadObject", "GetObject"]),
        (
            "DELE y",
            &["ListObjectsV2", "HeadObject", "GetObject", "DeleteObject"],
        ),
        ("MKD y", &["ListObjectsV2", "PutObject"]),
        ("CWD y", &["ListObjectsV2"]),
        ("RNTO y", &["CopyObject", "HeadObject", "GetObject"]),
    ] {
        if command.starts_with("RNTO") {
            ftp.expect("RNFR x", 350).await;
        }
        let rules: Vec<_> = operations
            .iter()
            .map(|operation| {
                store
                    .fail(operation)
                    .key("y")
                    .always()
                    .with(too_long.clone())
            })
            .chain([store.fail("ListObjectsV2").always().with(too_long.clone())])
            .collect();
        let reply = ftp.command(command).await;
        rules.iter().for_each(|rule| rule.remove());
        assert_eq!(reply.code, 553, "{command}: {reply:?}");
        assert!(reply.text().contains("too long for the store"), "{reply:?}");
    }
    for bytes in [10, 11 * MIB] {
        let operations = [
            "PutObject",
            "CreateMultipartUpload",
            "HeadObject",
            "GetObject",
        ];
        let rules = operations.map(|operation| {
            let rule = store.fail(operation).key("y").always();
            rule.with(too_long.clone())
        });
        let reply = ftp.store("y", &pattern(bytes, 1)).await;
        rules.iter().for_each(|rule| rule.remove());
        assert_eq!(reply.code, 553, "{bytes}: {reply:?}");
    }
    // A key cannot be longer than 1,024 bytes: no request is made.
    store.reset_counts();
    let directory = format!("/{}", "d".repeat(600));
    for name in [format!("{directory}/{}", "x".repeat(424)), "é".repeat(513)] {
        for command in ["SIZE", "MDTM", "DELE", "MKD", "RMD", "RNFR"] {
            ftp.expect(&format!("{command} {name}"), 553).await;
        }
        assert_eq!(ftp.store(&name, b"x").await.code, 553);
    }
    assert_eq!(store.requests().len(), 0);
    ftp.close().await;
}
