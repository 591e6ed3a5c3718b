//! Writes that are acknowledged without the checksum that the store returned before: the server
//! looks them up.

use super::*;
use test_support::faults::{Answer, Fault};
use test_support::gateway::{BUCKET, Gateway};
use test_support::transfers::settled;
use test_support::{MIB, pattern};

const ECHO: &str = "x-amz-checksum-crc32";

/// An answer as of S3, without the checksum.
const STORED: Answer = Answer {
    status: 200,
    headers: &[
        ("etag", "\"0123456789abcdef0123456789abcdef\""),
        ("x-amz-request-id", "17A4F3B2C1D0E9F8"),
    ],
    body: "",
};

const COMPLETED: Answer = Answer {
    status: 200,
    headers: &[
        ("content-type", "application/xml"),
        ("x-amz-request-id", "17A4F3B2C1D0E9F8"),
    ],
    body: "<?xml version=\"1.0\" encoding=\"UTF-8\"?><CompleteMultipartUploadResult><Key>x</Key>\
           <ETag>\"0123456789abcdef0123456789abcdef-2\"</ETag></CompleteMultipartUploadResult>",
};

/// Each write, the data that causes it, and an answer to it without a checksum.
const WRITES: [(&str, usize, Answer); 3] = [
    ("PutObject", 1000, STORED),
    ("UploadPart", 11 * MIB, STORED),
    ("CompleteMultipartUpload", 11 * MIB, COMPLETED),
];

/// The store handles the request; its checksum is left out of the answer.
fn without_echo() -> Fault {
    Fault::Edit(|parts, body| {
        parts.headers.remove(ECHO);
        let text = String::from_utf8(body.clone()).unwrap();
        if let Some((before, rest)) = text.split_once("<ChecksumCRC32>") {
            let (_, after) = rest.split_once("</ChecksumCRC32>").unwrap();
            *body = format!("{before}{after}").into_bytes();
        }
    })
}

/// A gateway that knows that its store returns checksums.
async fn knowing() -> Gateway {
    let gateway = gateway().await;
    let mut ftp = gateway.ftp().await;
    for bytes in [1000, 11 * MIB] {
        assert_eq!(ftp.store("known", &pattern(bytes, 9)).await.code, 226);
    }
    ftp.expect("DELE known", 250).await;
    ftp.close().await;
    settled(&gateway).await;
    gateway
}

#[tokio::test]
async fn a_write_that_did_not_happen_is_repeated() {
    for (operation, bytes, answer) in WRITES {
        let gateway = knowing().await;
        let store = &gateway.store;
        let whole = pattern(bytes, 1);
        let mut ftp = gateway.ftp().await;
        let rule = store.fail(operation).key("x").with(Fault::Foreign(answer));
        let reply = ftp.store("x", &whole).await;
        assert_eq!(rule.hits(), 1, "{operation}");
        assert_eq!(reply.code, 226, "{operation}: {reply:?}");
        assert!(store.object(BUCKET, "x") == Some(whole), "{operation}");
        ftp.close().await;
    }
}

#[tokio::test]
async fn an_upload_whose_write_never_happens_can_be_resumed() {
    for (operation, bytes, answer) in WRITES {
        let gateway = knowing().await;
        let store = &gateway.store;
        let whole = pattern(bytes, 1);
        let mut ftp = gateway.ftp().await;
        let rule = store.fail(operation).key("x").always();
        let rule = rule.with(Fault::Foreign(answer));
        let reply = ftp.store("x", &whole).await;
        assert_eq!(reply.code, 451, "{operation}: {reply:?}");
        assert!(store.object(BUCKET, "x").is_none());
        rule.remove();
        settled(&gateway).await;
        resume(&mut ftp, "x", &whole).await;
        assert!(store.object(BUCKET, "x") == Some(whole), "{operation}");
        ftp.close().await;
    }
}

/// If a store stops returning them, the server looks once.
#[tokio::test]
async fn a_write_that_happened_is_found_and_the_next_is_trusted() {
    for (operation, bytes, _) in WRITES {
        let gateway = knowing().await;
        let store = &gateway.store;
        let whole = pattern(bytes, 1);
        let mut ftp = gateway.ftp().await;
        let rule = store.fail(operation).key("x").always().with(without_echo());
        for looks in [true, false] {
            store.reset_counts();
            let reply = ftp.store("x", &whole).await;
            assert_eq!(reply.code, 226, "{operation}: {reply:?}");
            assert!(store.object(BUCKET, "x").as_ref() == Some(&whole));
            settled(&gateway).await;
            let looked = match operation {
                "UploadPart" => "ListParts",
                _ => "HeadObject",
            };
            // Parts in flight at the same time are each looked up.
            let count = store.count(looked);
            assert_eq!(count > 0, looks, "{operation}: {:?}", store.operations());
            assert!(count < 2 || operation == "UploadPart", "{operation}");
            ftp.expect("DELE x", 250).await;
        }
        assert!(rule.hits() >= 2);
        ftp.close().await;
    }
}

/// Credentials that may only write.
#[tokio::test]
async fn a_write_that_may_not_be_read_is_trusted() {
    for (operation, bytes, _) in WRITES {
        let gateway = knowing().await;
        let store = &gateway.store;
        let whole = pattern(bytes, 1);
        let mut ftp = gateway.ftp().await;
        store.fail(operation).key("x").always().with(without_echo());
        for look in ["HeadObject", "ListParts"] {
            let denied = Fault::Status(403, "AccessDenied");
            store.fail(look).key("x").always().with(denied);
        }
        let reply = ftp.store("x", &whole).await;
        assert_eq!(reply.code, 226, "{operation}: {reply:?}");
        assert!(store.object(BUCKET, "x") == Some(whole), "{operation}");
        ftp.close().await;
    }
}

/// versitygw that was killed while it assembled the parts: from then on it answers 200 to the same
/// request, and the object does not exist.
#[tokio::test]
async fn a_repeated_complete_is_looked_up() {
    for lost in [Fault::ResetBeforeHandling, Fault::Status(503, "SlowDown")] {
        let gateway = Gateway::builder()
            .with("[stores.main]\nattempts = 2\nchecksums = \"none\"")
            .start()
            .await;
        let store = &gateway.store;
        let [old, whole] = [pattern(1000, 2), pattern(11 * MIB, 1)];
        let mut ftp = gateway.ftp().await;
        assert_eq!(ftp.store("x", &old).await.code, 226);
        let complete = || store.fail("CompleteMultipartUpload").key("x");
        // The older rule has precedence.
        let lost_answer = complete().with(lost);
        let hollow = complete().always().with(Fault::Foreign(COMPLETED));
        let reply = ftp.store("x", &whole).await;
        assert_eq!(lost_answer.hits(), 1);
        assert_eq!(reply.code, 451, "{reply:?}");
        assert!(store.object(BUCKET, "x") == Some(old));
        hollow.remove();
        settled(&gateway).await;
        resume(&mut ftp, "x", &whole).await;
        assert!(store.object(BUCKET, "x") == Some(whole));
        ftp.close().await;
    }
}
