//! A store that fails at each request of a staged upload: a 226 stands for a whole object, any other
//! reply for the old one, and nothing is left but what can be resumed.

use super::{SIZES, asking, only, only_objects_of};
use test_support::faults::Fault;
use test_support::ftp::Mode;
use test_support::gateway::{BUCKET, Gateway};
use test_support::pattern;
use test_support::receiver::Receiver;
use test_support::transfers::{sessions_ended, settled};

/// One attempt each, and short deadlines.
const ONCE: &str = "[stores.main]\nattempts = 1\nrequest_timeout = \"1s\"";

async fn gateway(receiver: &Receiver) -> Gateway {
    let gateway = asking(receiver).with(ONCE).start().await;
    gateway.store.put_before(BUCKET, "x", "the old one");
    gateway
}

/// Sends a file again, which must succeed, after which nothing else is left.
async fn succeeds(gateway: &Gateway, whole: &[u8]) {
    let mut ftp = gateway.ftp().await;
    assert_eq!(
        ftp.store("x", whole).await.code,
        226,
        "{}",
        ftp.transcript()
    );
    assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
    ftp.close().await;
    only(gateway, 0, &["x"]).await;
}

#[tokio::test]
async fn a_request_that_fails_or_whose_answer_is_lost() {
    let small = ["PutObject", "CopyObject"];
    let large = [
        "CreateMultipartUpload",
        "UploadPart",
        "CompleteMultipartUpload",
        "CopyObject",
    ];
    let cases = small.map(|operation| (SIZES[0], operation)).into_iter();
    let cases = cases.chain(large.map(|operation| (SIZES[2], operation)));
    for (size, operation) in cases {
        for fault in [
            Fault::Status(503, "SlowDown"),
            Fault::Status(403, "AccessDenied"),
            Fault::LoseAnswer,
            Fault::ResetBeforeHandling,
        ] {
            let receiver = Receiver::start().await;
            let gateway = gateway(&receiver).await;
            let rule = gateway.store.fail(operation).with(fault.clone());
            let whole = pattern(size, 1);
            let mut ftp = gateway.ftp().await;
            let reply = ftp.store("x", &whole).await;
            rule.hit().await;
            let case = format!("{operation} {fault:?}: {reply:?}");
            let found = gateway.store.object(BUCKET, "x").unwrap();
            match reply.code {
                226 => assert!(found == whole, "{case}"),
                450 | 451 | 550 => assert_eq!(found, b"the old one", "{case}"),
                _ => panic!("{case}"),
            }
            ftp.close().await;
            settled(&gateway).await;
            sessions_ended(&gateway).await;
            rule.remove();
            let lost = matches!(fault, Fault::LoseAnswer) && operation.starts_with("Create");
            for open in gateway.store.open_uploads().iter().filter(|_| lost) {
                // No process knows of it: it is left to the sweep.
                let abort = gateway.store.client().abort_multipart_upload();
                let abort = abort
                    .bucket(BUCKET)
                    .key(&open.key)
                    .upload_id(&open.upload_id);
                abort.send().await.unwrap();
            }
            succeeds(&gateway, &whole).await;
        }
    }
}

#[tokio::test]
async fn a_copy_whose_answer_is_lost_is_found() {
    for size in [SIZES[0], SIZES[2]] {
        let receiver = Receiver::start().await;
        let gateway = gateway(&receiver).await;
        let rule = gateway.store.fail("CopyObject").with(Fault::LoseAnswer);
        let whole = pattern(size, 1);
        let mut ftp = gateway.ftp().await;
        assert_eq!(ftp.store("x", &whole).await.code, 226);
        rule.hit().await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
        only(&gateway, 1, &["x"]).await;
        assert_eq!(receiver.calls().len(), 1);
    }
}

#[tokio::test]
async fn a_copy_that_fails_keeps_the_upload() {
    for size in SIZES {
        let receiver = Receiver::start().await;
        let gateway = gateway(&receiver).await;
        let rule = gateway
            .store
            .fail("CopyObject")
            .always()
            .with(Fault::Status(503, "SlowDown"));
        let whole = pattern(size, 1);
        let mut ftp = gateway.ftp().await;
        let reply = ftp.store("x", &whole).await;
        assert!([450, 451].contains(&reply.code), "{reply:?}");
        settled(&gateway).await;
        rule.remove();
        ftp.expect(&format!("REST {}", size - 1), 350).await;
        let reply = ftp
            .upload_with("STOR x", &whole[size - 1..], Mode::Passive)
            .await;
        assert_eq!(reply.code, 226, "{}", ftp.transcript());
        assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
        only(&gateway, 1, &["x"]).await;
    }
}

#[tokio::test]
async fn a_staged_file_that_cannot_be_removed_harms_nothing() {
    let receiver = Receiver::start().await;
    let gateway = gateway(&receiver).await;
    let rule = gateway
        .store
        .fail("DeleteObject")
        .always()
        .with(Fault::Status(403, "AccessDenied"));
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("x", b"new").await.code, 226);
    rule.hit().await;
    assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"new");
    rule.remove();
    assert_eq!(ftp.store("x", b"newer").await.code, 226);
    gateway
        .store
        .until("one staged file is left", |store| {
            store.keys(BUCKET).len() == 2
        })
        .await;
}

#[tokio::test]
async fn a_large_file_is_copied_by_parts() {
    let receiver = Receiver::start().await;
    let gateway = asking(&receiver)
        .with("[stores.main]\ncopy_limit = \"5MiB\"")
        .start()
        .await;
    let whole = pattern(23_000_000, 1);
    let mut ftp = gateway.ftp().await;
    assert_eq!(
        ftp.store("x", &whole).await.code,
        226,
        "{}",
        ftp.transcript()
    );
    assert!(gateway.store.count("UploadPartCopy") > 1);
    assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
    only(&gateway, 1, &["x"]).await;
    only_objects_of(&gateway.store, &["x"]).await;
}
