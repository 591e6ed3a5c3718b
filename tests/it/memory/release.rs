//! Every transfer gives back the memory that it held, however it ends.

use super::{all_given_back, half_an_upload, smallest, within_the_budget};
use test_support::faults::Fault;
use test_support::ftp::{Mode, reset_stream};
use test_support::gateway::BUCKET;
use test_support::transfers::narrow_data;
use test_support::{MIB, pattern};

/// Failed parts are kept for a retry, and with them their memory: the upload that waits for more
/// memory must learn that they have failed.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_does_not_wait_for_the_memory_of_its_own_failed_parts() {
    let gateway = smallest().with("[stores.main]\nattempts = 1").start().await;
    let rule = gateway.store.fail("UploadPart").always();
    let rule = rule.with(Fault::Status(503, "SlowDown"));
    let mut ftp = gateway.ftp().await;
    let bytes = pattern(40 * MIB, 1);
    let reply = within_the_budget(&gateway, ftp.store("x", &bytes)).await;
    assert_eq!(reply.code, 451, "{reply:?}");
    assert!(reply.text().contains("store"), "{reply:?}");
    rule.remove();
    ftp.close().await;
    all_given_back(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_fail_gives_the_memory_back() {
    let gateway = smallest()
        .with("[timeouts]\ndata_connect = \"1s\"\ndata_stall = \"3s\"\n[stores.main]\nattempts = 1")
        .mount("interrupted = \"abort\"")
        .start()
        .await;
    let store = &gateway.store;
    store.put(BUCKET, "f", pattern(3 * MIB, 1));
    let large = pattern(11 * MIB, 2);

    for (operation, command, code) in [
        ("PutObject", "STOR small", 550),
        ("CreateMultipartUpload", "STOR large", 550),
        ("UploadPart", "STOR large", 550),
        ("CompleteMultipartUpload", "STOR large", 550),
        ("GetObject", "RETR f", 550),
        ("HeadObject", "APPE f", 550),
        ("GetObject", "APPE f", 550),
    ] {
        let rule = store
            .fail(operation)
            .with(Fault::Status(403, "AccessDenied"));
        let mut ftp = gateway.ftp().await;
        let bytes = if command.ends_with("large") {
            &large[..]
        } else {
            b"1"
        };
        let reply = ftp.upload_with(command, bytes, Mode::Passive).await;
        assert_eq!(reply.code, code, "{operation}, {command}: {reply:?}");
        rule.hit().await;
        all_given_back(&gateway).await;
    }

    // A body that breaks off in every attempt.
    let rule = store.fail("GetObject").always().with(Fault::CutBody(0));
    let mut ftp = gateway.ftp().await;
    let (_, reply) = ftp.retrieve("f").await;
    assert!(reply.code == 451 || reply.code == 426, "{reply:?}");
    rule.remove();
    all_given_back(&gateway).await;

    // No data connection.
    ftp.epsv().await;
    ftp.expect("STOR none", 425).await;
    ftp.epsv().await;
    ftp.expect("RETR f", 425).await;
    all_given_back(&gateway).await;
    ftp.expect("RETR none", 425).await;

    for how in ["ABOR", "data reset", "control reset", "stall"] {
        let (mut ftp, data) = half_an_upload(&gateway, "half", 6 * MIB).await;
        match how {
            "ABOR" => {
                ftp.expect("ABOR", 426).await;
                ftp.expect_reply(226).await;
            }
            "data reset" => {
                reset_stream(data);
                ftp.expect_reply(426).await;
            }
            "control reset" => ftp.reset(),
            _ => {
                ftp.expect_reply(426).await;
            }
        }
        all_given_back(&gateway).await;
    }
    for how in ["ABOR", "data reset", "control reset", "stall"] {
        let mut ftp = gateway.ftp().await;
        let data = narrow_data(&mut ftp).await;
        ftp.expect("RETR f", 150).await;
        match how {
            "ABOR" => {
                ftp.expect("ABOR", 426).await;
                ftp.expect_reply(226).await;
            }
            "data reset" => {
                reset_stream(data);
                ftp.expect_reply(426).await;
            }
            "control reset" => ftp.reset(),
            _ => {
                ftp.expect_reply(426).await;
            }
        }
        all_given_back(&gateway).await;
    }
    store.no_uploads_left().await;
    assert_eq!(store.keys(BUCKET), ["f"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_size_fetched_are_counted_and_dropped_soon() {
    let gateway = smallest().start().await;
    gateway.store.put(BUCKET, "f", "12345");
    let mut ftp = gateway.ftp().await;
    for held in [0, 64 * 1024] {
        ftp.expect("SIZE f", 213).await;
        assert_eq!(gateway.budget_in_use(), held);
        let (_, reply) = ftp.retrieve("f").await;
        assert_eq!(reply.code, 226);
        all_given_back(&gateway).await;
    }
    // A client that sends nothing more keeps it for seconds; a client that leaves does not.
    for leaves in [false, true] {
        let mut ftp = gateway.ftp().await;
        for _ in 0..2 {
            ftp.expect("SIZE f", 213).await;
            let (_, reply) = ftp.retrieve("f").await;
            assert_eq!(reply.code, 226);
        }
        ftp.expect("SIZE f", 213).await;
        assert!(gateway.budget_in_use() > 0);
        if leaves {
            ftp.reset();
        } else {
            all_given_back(&gateway).await;
            ftp.in_step().await;
        }
        all_given_back(&gateway).await;
    }
}
