//! The requests to stores.

use test_support::faults::Fault;
use test_support::{MIB, pattern};

use super::{Scrape, with_admin};

const REQUESTS: &str = "s3ftpd_store_requests_total";

#[tokio::test]
async fn each_request_has_an_operation_a_status_and_a_time() {
    let gateway = with_admin().start().await;
    let mut ftp = gateway.ftp().await;
    ftp.store("/a", b"bytes").await;
    ftp.retrieve("/a").await;
    ftp.expect("SIZE /missing", 550).await;
    let scrape = Scrape::of(&gateway).await;
    for (operation, status) in [
        ("PutObject", "200"),
        ("GetObject", "200"),
        ("HeadObject", "404"),
    ] {
        let count = gateway.store.count(operation) as f64;
        assert!(count >= 1.0, "{operation}");
        let of = [("store", "main"), ("operation", operation)];
        let time = "s3ftpd_store_request_duration_seconds_count";
        scrape.is(time, &of, scrape.sum(REQUESTS, &of));
        let found = scrape.sum(REQUESTS, &[of[0], of[1], ("status", status)]);
        // A download is a range of the object.
        let found = found + scrape.sum(REQUESTS, &[of[0], of[1], ("status", "206")]);
        assert!(
            found >= 1.0 && found <= count,
            "{operation}: {found} {count}"
        );
    }
    scrape.is(REQUESTS, &[], gateway.store.requests().len() as f64);
    scrape.is("s3ftpd_store_requests_in_flight", &[], 0.0);
    scrape.is("s3ftpd_store_retries_total", &[], 0.0);
}

#[tokio::test]
async fn a_failure_and_its_retry_are_two_attempts() {
    let gateway = with_admin().start().await;
    let mut ftp = gateway.ftp().await;
    let fault = Fault::Status(503, "SlowDown");
    let rule = gateway.store.fail("HeadObject").times(1).with(fault);
    ftp.expect("SIZE /missing", 550).await;
    assert_eq!(rule.hits(), 1);
    let scrape = Scrape::of(&gateway).await;
    let of = ("operation", "HeadObject");
    scrape.is(REQUESTS, &[of, ("status", "503")], 1.0);
    scrape.is("s3ftpd_store_retries_total", &[of], 1.0);
}

/// The server looks first what has become of these, and sends them anew.
#[tokio::test]
async fn what_the_server_itself_sends_again_is_a_retry() {
    let refused = || Fault::Status(503, "SlowDown");
    for (operation, fault, times) in [
        (
            "PutObject",
            Fault::Status(409, "ConditionalRequestConflict"),
            2,
        ),
        (
            "CompleteMultipartUpload",
            Fault::ErrorIn200("InternalError"),
            2,
        ),
        ("UploadPartCopy", refused(), 2),
        ("CopyObject", refused(), 2),
        ("GetObject", Fault::CutBody(10), 1),
    ] {
        let settings = "[stores.main]\ncopy_limit = \"5MiB\"\n[transfer]\npart_size = \"5MiB\"";
        let gateway = with_admin().with(settings).start().await;
        let (small, large) = (pattern(70_000, 1), pattern(6 * MIB, 2));
        let mut ftp = gateway.ftp().await;
        gateway.store.put("files", "small", &small);
        gateway.store.put("files", "large", &large);
        let rule = gateway.store.fail(operation).times(times).with(fault);
        let (code, expected) = match operation {
            "PutObject" => (ftp.store("/a", &small).await.code, 226),
            "CompleteMultipartUpload" => (ftp.store("/a", &large).await.code, 226),
            "GetObject" => (ftp.retrieve("/small").await.1.code, 226),
            "CopyObject" => {
                ftp.expect("RNFR /small", 350).await;
                (ftp.command("RNTO /a").await.code, 250)
            }
            _ => {
                ftp.expect("RNFR /large", 350).await;
                (ftp.command("RNTO /a").await.code, 250)
            }
        };
        assert_eq!(code, expected, "{operation}");
        assert_eq!(rule.hits(), times, "{operation}");
        let scrape = Scrape::of(&gateway).await;
        let of = ("operation", operation);
        scrape.is("s3ftpd_store_retries_total", &[of], times as f64);
    }
}

#[tokio::test]
async fn a_request_that_is_given_up_is_cancelled() {
    let gateway = with_admin().start().await;
    for number in 0..1001 {
        gateway.store.put("files", &format!("d/{number}"), b"");
    }
    let rule = gateway.store.fail("ListObjectsV2").nth(2);
    let rule = rule.with(Fault::Stall);
    let mut ftp = gateway.ftp().await;
    let data = ftp.data_passive().await;
    ftp.expect("LIST d", 150).await;
    rule.hit().await;
    let scrape = Scrape::of(&gateway).await;
    scrape.is("s3ftpd_store_requests_in_flight", &[], 1.0);
    ftp.expect("ABOR", 426).await;
    ftp.expect_reply(226).await;
    let scrape = Scrape::until(&gateway, "no request", |scrape| {
        scrape.sum("s3ftpd_store_requests_in_flight", &[]) == 0.0
    })
    .await;
    scrape.is(REQUESTS, &[("status", "cancelled")], 1.0);
    rule.remove();
    drop(data);
}

#[tokio::test]
async fn a_store_that_is_gone_is_unreachable() {
    let gateway = with_admin().start().await;
    let mut ftp = gateway.ftp().await;
    gateway.store.stop().await;
    ftp.expect("SIZE /missing", 451).await;
    let scrape = Scrape::of(&gateway).await;
    let unreachable = scrape.sum(REQUESTS, &[("status", "unreachable")]);
    assert!(unreachable >= 1.0, "{scrape:#?}");
    scrape.is("s3ftpd_store_requests_in_flight", &[], 0.0);
}
