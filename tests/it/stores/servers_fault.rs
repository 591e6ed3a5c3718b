//! The server's credentials or clock are wrong, or a bucket does not exist: no file is at fault.

use std::time::Duration;

use futures::future::join_all;
use test_support::faults::Fault;
use test_support::ftp::{Ftp, Mode};
use test_support::gateway::{BUCKET, Gateway};
use test_support::process::Process;
use test_support::{MIB, pattern, within};

/// Sends each command that asks the store, and expects 451 with these words.
async fn each_command_gets_451(ftp: &mut Ftp, words: &str) {
    let check = |command: &str, reply: &test_support::ftp::Reply| {
        assert_eq!(reply.code, 451, "{command}: {reply:?}");
        assert!(reply.text().contains(words), "{command}: {reply:?}");
    };
    for command in ["LIST d", "NLST d", "MLSD d", "RETR d/f", "APPE d/f"] {
        let (_, reply) = ftp.download_with(command, Mode::Passive).await;
        check(command, &reply);
    }
    for command in [
        "STAT d",
        "CWD d",
        "SIZE d/f",
        "MDTM d/f",
        "MLST d/f",
        "MFMT 20240101000000 d/f",
        "MKD e",
        "RMD d",
        "DELE d/f",
        "RNFR d/f",
        "XCRC d/f",
        "HASH d/f",
    ] {
        let reply = ftp.command(command).await;
        check(command, &reply);
    }
    for (command, size) in [("STOR x", 100), ("STOR x", 11 * MIB), ("STOU", 100)] {
        let reply = ftp
            .upload_with(command, &pattern(size, 1), Mode::Passive)
            .await;
        check(command, &reply);
    }
}

#[tokio::test]
async fn each_command_gets_451_if_the_servers_access_is_at_fault() {
    let cases = [
        (403, "InvalidAccessKeyId", "credentials"),
        (403, "SignatureDoesNotMatch", "credentials"),
        (400, "ExpiredToken", "credentials"),
        (404, "XAdminUserNotFound", "credentials"),
        (403, "RequestTimeTooSkewed", "clocks"),
        (404, "NoSuchBucket", "bucket does not exist"),
    ];
    // In parallel, because uploads try for seconds to save what has arrived.
    join_all(cases.map(async |(status, code, words)| {
        let gateway = Gateway::builder()
            .with("[stores.main]\nattempts = 1")
            .mount("times = \"metadata\"")
            .start()
            .await;
        gateway.store.put(BUCKET, "d/f", "content");
        let mut renames = gateway.ftp().await;
        renames.expect("RNFR d/f", 350).await;
        let rule = gateway.store.fail("*").always();
        let rule = rule.with(Fault::Status(status, code));
        let mut ftp = gateway.ftp().await;
        each_command_gets_451(&mut ftp, words).await;
        let reply = renames.expect("RNTO d/g", 451).await;
        assert!(reply.text().contains(words), "{reply:?}");
        rule.remove();
        assert_eq!(ftp.retrieve("d/f").await.0, b"content", "{code}");
        ftp.expect("SIZE d/f", 213).await;
        ftp.expect("SIZE d/g", 550).await;
        ftp.close().await;
    }))
    .await;
}

/// The answer to a HEAD has no words: right after the start nothing is known of the store.
#[tokio::test]
async fn a_head_that_is_refused_without_words_is_explained() {
    for (code, reply) in [("InvalidAccessKeyId", 451), ("AccessDenied", 550)] {
        let gateway = Gateway::builder()
            .with("[stores.main]\nattempts = 1")
            .start()
            .await;
        let rule = gateway.store.fail("*").always();
        rule.with(Fault::Status(403, code));
        let mut ftp = gateway.ftp().await;
        ftp.expect("MDTM f", reply).await;
        // The answer says why for a moment: the next HEAD needs no GET.
        let gets = gateway.store.count("GetObject");
        assert_eq!(gets, 1, "{code}");
        ftp.expect("MDTM f", reply).await;
        let again = gateway.store.count("GetObject") - gets;
        assert_eq!(again, usize::from(reply == 451), "{code}");
        ftp.close().await;
    }
}

/// A bucket that was never there. The look at the start notices it, so that a HEAD does not report
/// a missing file.
#[tokio::test]
async fn a_configured_bucket_that_is_missing_gets_451_until_it_is_created() {
    let gateway = Gateway::builder()
        .with("[mounts.gone]\nstore = \"main\"\nbucket = \"gone\"\ntimes = \"metadata\"")
        .user("u", "p", "{ \"/\" = \"main\", \"/gone\" = \"gone\" }")
        .look_every(Duration::from_secs(3600))
        .start()
        .await;
    gateway.store.put(BUCKET, "f", "content");
    gateway.store.wait_for("ListObjectsV2", 2).await;
    within("the look's result", async {
        while gateway.server.stores()[0].buckets[1].failure.is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("CWD gone", 250).await;
    each_command_gets_451(&mut ftp, "bucket does not exist").await;
    // Other buckets are not affected.
    ftp.expect("SIZE /f", 213).await;
    ftp.expect("SIZE /g", 550).await;
    gateway.store.backend().create_bucket("gone").unwrap();
    ftp.expect("SIZE d/f", 550).await;
    let reply = ftp.store("x", b"new").await;
    assert_eq!(reply.code, 226, "{reply:?}");
    ftp.close().await;
}

#[tokio::test]
async fn the_log_has_one_error_a_minute_that_names_the_store() {
    let mut process = Process::start("[stores.main]\nattempts = 1").await;
    let rule = process.store.fail("*").always();
    rule.with(Fault::Status(403, "InvalidAccessKeyId"));
    let mut ftp = process.ftp().await;
    for _ in 0..5 {
        let (_, reply) = ftp.retrieve("f").await;
        assert_eq!(reply.code, 451, "{reply:?}");
        ftp.expect("MKD d", 451).await;
    }
    ftp.close().await;
    let log = process.stop().await;
    let errors: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    let [error] = errors[..] else {
        panic!("{errors:?}");
    };
    for field in [
        "\"store\":\"main\"",
        "InvalidAccessKeyId",
        "access to the store is refused",
    ] {
        assert!(error.contains(field), "{error}");
    }
}
