//! Failures of the store as a client sees them: transient ones are retried; lasting ones get a
//! reply that names the cause.

use std::sync::Arc;

use test_support::faults::Fault;
use test_support::gateway::{BUCKET, Gateway};
use test_support::slow_line::SlowLine;
use test_support::store::Store;
use test_support::{MIB, pattern};

/// An error that the operator has to fix is not the fault of the client's file: it is retried, and
/// then reported as transient.
#[tokio::test]
async fn expired_credentials_and_a_wrong_clock_are_retried_and_reported_as_transient() {
    for (status, code) in [
        (400, "ExpiredToken"),
        (403, "RequestTimeTooSkewed"),
        (403, "RequestExpired"),
    ] {
        for (times, large) in [
            (1, false),
            (1, true),
            (usize::MAX, false),
            (usize::MAX, true),
        ] {
            let gateway = Gateway::builder()
                .with("[stores.main]\nattempts = 2")
                .start()
                .await;
            let store = &gateway.store;
            store.put(BUCKET, "f", "content");
            let passes = times == 1;
            for operation in [
                "PutObject",
                "UploadPart",
                "CompleteMultipartUpload",
                "GetObject",
            ] {
                let rule = store.fail(operation).times(times);
                rule.with(Fault::Status(status, code));
            }
            let mut ftp = gateway.ftp().await;
            let bytes = pattern(if large { 11 * MIB } else { 100 }, 1);
            let reply = ftp.store("x", &bytes).await;
            assert_eq!(
                reply.code,
                if passes { 226 } else { 451 },
                "{code}: {reply:?}"
            );
            assert_eq!(store.object(BUCKET, "x").is_some(), passes, "{code}");
            if !passes {
                let words = if status == 400 {
                    "credentials"
                } else {
                    "clocks"
                };
                assert!(reply.text().contains(words), "{reply:?}");
            }
            let (_, reply) = ftp.retrieve("f").await;
            assert_eq!(
                reply.code,
                if passes { 226 } else { 451 },
                "{code}: {reply:?}"
            );
            ftp.close().await;
        }
    }
    // The refusal of a HEAD has no body.
    let gateway = Gateway::builder()
        .with("[stores.main]\nattempts = 2")
        .start()
        .await;
    gateway.store.put(BUCKET, "f", "content");
    let mut ftp = gateway.ftp().await;
    gateway
        .store
        .fail("HeadObject")
        .with(Fault::Status(400, ""));
    ftp.expect("MDTM f", 213).await;
    gateway
        .store
        .fail("HeadObject")
        .times(2)
        .with(Fault::Status(400, ""));
    ftp.expect("PWD", 257).await;
    ftp.expect("MDTM f", 451).await;
    ftp.close().await;
}

/// The answer to a Complete is lost, and another session deletes the object before the server
/// looks: the result cannot be known.
#[tokio::test]
async fn an_upload_that_the_store_no_longer_knows_is_reported_as_unknown() {
    let gateway = Gateway::builder()
        .with("[stores.main]\nattempts = 1")
        .start()
        .await;
    gateway.store.behave(|store| store.repeats_complete = false);
    let store = &gateway.store;
    store
        .fail("CompleteMultipartUpload")
        .with(Fault::LoseAnswer);
    let looks = store.fail("HeadObject").key("x").always();
    let looks = looks.with(Fault::Status(404, ""));
    let mut ftp = gateway.ftp().await;
    let reply = ftp.store("x", &pattern(11 * MIB, 1)).await;
    assert_eq!(reply.code, 451, "{reply:?}");
    assert!(reply.text().contains("no longer knows"), "{reply:?}");
    looks.remove();
    ftp.close().await;
    store.no_uploads_left().await;
}

/// A client that leaves while a large object is being renamed: the Create in flight is aborted.
#[tokio::test]
async fn a_copy_whose_session_ends_during_its_create_leaves_nothing_open() {
    let gateway = Gateway::builder()
        .with("[stores.main]\ncopy_limit = \"5MiB\"\n[timeouts]\nshutdown_grace = \"100ms\"")
        .start()
        .await;
    gateway.store.put(BUCKET, "f", pattern(6 * MIB, 1));
    let mut ftp = gateway.ftp().await;
    ftp.expect("RNFR f", 350).await;
    let create = gateway
        .store
        .fail("CreateMultipartUpload")
        .with(Fault::StallAnswer);
    ftp.send("RNTO g").await;
    create.hit().await;
    let store = std::sync::Arc::clone(&gateway.store);
    let stopping = tokio::spawn(gateway.stop());
    ftp.expect_reply(451).await;
    create.release();
    stopping.await.unwrap();
    store.no_uploads_left().await;
    assert_eq!(store.keys(BUCKET), ["f"]);
}

/// A store that is down for each command: a clear 4yz reply, and the session continues when it is
/// up again.
#[tokio::test]
async fn each_command_reports_a_store_that_is_down_and_works_afterwards() {
    let gateway = Gateway::builder()
        .with("[stores.main]\nattempts = 2\nconnect_timeout = \"1s\"\nrequest_timeout = \"2s\"")
        .start()
        .await;
    gateway.store.put(BUCKET, "d/f", "content");
    let mut ftp = gateway.ftp().await;
    ftp.expect("RNFR d/f", 350).await;
    gateway.store.stop().await;
    ftp.expect("RNTO d/g", 451).await;
    for command in [
        "CWD d", "SIZE d/f", "MDTM d/f", "MLST d/f", "MKD e", "RMD d", "DELE d/f", "RNFR d/f",
        "XCRC d/f", "HASH d/f",
    ] {
        let reply = ftp.expect(command, 451).await;
        assert!(reply.text().contains("store"), "{command}: {reply:?}");
    }
    for command in ["RETR d/f", "LIST d", "NLST d", "MLSD d", "APPE d/f"] {
        let (_, reply) = ftp
            .download_with(command, test_support::ftp::Mode::Passive)
            .await;
        assert_eq!(reply.code, 451, "{command}: {reply:?}");
    }
    for size in [100, 11 * MIB] {
        let reply = ftp.store("x", &pattern(size, 1)).await;
        assert_eq!(reply.code, 451, "{size}: {reply:?}");
    }
    gateway.store.restart().await;
    let reply = ftp.store("x", b"back").await;
    assert_eq!(reply.code, 226, "{}", ftp.transcript());
    assert_eq!(ftp.retrieve("d/f").await.0, b"content");
    ftp.close().await;
}

/// A slow line that keeps moving: the parts that share it take longer than a fixed deadline would
/// allow.
#[tokio::test]
async fn a_slow_line_to_the_store_cuts_no_moving_part() {
    let store = Arc::new(Store::start(&[]).await);
    let address = store.endpoint().replace("http://", "").parse().unwrap();
    // 8 MiB in parallel take 14 s.
    let line = SlowLine::to(address, 1_150_000);
    let gateway = Gateway::builder()
        .on(&store)
        .with("[stores.main]\nrequest_timeout = \"5s\"\n[transfer]\npart_size = \"8MiB\"")
        .with(&format!(
            "[stores.main]\nendpoint = \"{}\"",
            line.endpoint()
        ))
        .start()
        .await;
    let bytes = pattern(16 * MIB, 1);
    let mut ftp = gateway.ftp().await;
    let reply = ftp.store("x", &bytes).await;
    assert_eq!(reply.code, 226, "{}", ftp.transcript());
    assert!(store.object(BUCKET, "x").unwrap() == bytes);
    ftp.close().await;
}

/// The store accepts no more bytes: the attempt ends long before the slowest line would have
/// finished, and is repeated.
#[tokio::test]
async fn a_store_that_takes_no_more_bytes_is_retried() {
    for (operation, size, requests) in [("PutObject", 4, 2), ("UploadPart", 8, 3)] {
        let gateway = Gateway::builder()
            .with("[stores.main]\nrequest_timeout = \"1s\"")
            .start()
            .await;
        let bytes = pattern(size * MIB, 1);
        let rule = gateway.store.fail(operation).key("x");
        let rule = rule.with(Fault::StallRequest(MIB as u64 / 2));
        let mut ftp = gateway.ftp().await;
        let reply = ftp.store("x", &bytes).await;
        assert_eq!(reply.code, 226, "{operation}: {}", ftp.transcript());
        assert!(gateway.store.object(BUCKET, "x").unwrap() == bytes);
        let made = gateway.store.requests();
        let made = made
            .iter()
            .filter(|r| r.operation == operation && r.key == "x");
        assert_eq!(made.count(), requests, "{operation}");
        rule.release();
        ftp.close().await;
    }
}
