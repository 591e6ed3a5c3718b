//! A store that fails while uploads are saved and resumed: a single failure is retried; after a
//! lasting one the client gets a reply, and everything that was saved stays.

use tokio::io::AsyncWriteExt;

use super::{By, only_objects, resume};
use test_support::faults::Fault;
use test_support::ftp::{Ftp, Mode, Reply};
use test_support::gateway::{BUCKET, Gateway};
use test_support::transfers::{begin, break_off, interrupt, settled, size, upload_in_progress};
use test_support::{DEADLINE, MIB, pattern};

const PART: usize = 5 * MIB;
const SENT: usize = PART + 1000;

/// Each request of a resume, with a part of its key.
const REQUESTS: [(&str, &str); 7] = [
    ("GetObject", ".s3ftpd/uploads/"),
    ("ListParts", "x"),
    ("HeadObject", ".s3ftpd/tails/"),
    ("HeadObject", "x"),
    ("PutObject", ".s3ftpd/uploads/"),
    ("GetObject", ".s3ftpd/tails/"),
    ("UploadPart", "x"),
];

#[tokio::test]
async fn a_single_failure_during_a_resume_is_retried() {
    let whole = pattern(12 * MIB, 1);
    for (operation, key) in REQUESTS {
        for fault in [
            Fault::Status(503, "SlowDown"),
            Fault::ResetBeforeHandling,
            Fault::LoseAnswer,
        ] {
            let gateway = Gateway::start().await;
            interrupt(&gateway, "STOR x", &whole[..SENT]).await;
            let rule = gateway.store.fail(operation).key(key).times(2);
            let rule = rule.with(fault);
            resume(&gateway, By::Rest, "x", &whole, SENT).await;
            assert!(rule.hits() > 0, "{operation} {key} was never made");
            assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
            only_objects(&[&gateway], &["x"]).await;
        }
    }
}

/// A body that ends too early is requested again.
async fn a_body_breaks(key: &str) {
    let whole = pattern(12 * MIB, 1);
    for fault in [Fault::CutBody(500), Fault::ResetBody(500)] {
        let gateway = Gateway::start().await;
        interrupt(&gateway, "STOR x", &whole[..2 * PART - 1]).await;
        let rule = gateway.store.fail("GetObject").key(key);
        let rule = rule.with(fault.clone());
        resume(&gateway, By::Rest, "x", &whole, 2 * PART - 1).await;
        rule.hit().await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
        only_objects(&[&gateway], &["x"]).await;
    }
}

#[tokio::test]
async fn a_body_that_breaks_while_the_tail_is_read_is_requested_again() {
    a_body_breaks(".s3ftpd/tails/").await;
}

#[tokio::test]
async fn a_body_that_breaks_while_the_record_is_read_is_requested_again() {
    a_body_breaks(".s3ftpd/uploads/").await;
}

#[tokio::test]
async fn if_a_request_keeps_failing_everything_stays_resumable() {
    let whole = pattern(12 * MIB, 1);
    for (operation, key) in REQUESTS {
        let gateway = Gateway::builder()
            .with("[stores.main]\nattempts = 2")
            .start()
            .await;
        interrupt(&gateway, "STOR x", &whole[..SENT]).await;
        let rule = gateway.store.fail(operation).key(key).always();
        let rule = rule.with(Fault::Status(503, "SlowDown"));
        let mut ftp = gateway.ftp().await;
        let reply = ftp.command("SIZE x").await;
        assert!(
            reply.code == 213 && reply.text() == (SENT - 1).to_string() || reply.code == 451,
            "{operation} {key}: {reply:?}"
        );
        ftp.expect(&format!("REST {SENT}"), 350).await;
        let reply = ftp.store("x", &whole[SENT..]).await;
        assert_eq!(reply.code, 451, "{operation} {key}: {reply:?}");
        assert!(
            reply.text().contains("try again later"),
            "{operation} {key}: {reply:?}"
        );
        rule.hit().await;
        assert!(gateway.store.object(BUCKET, "x").is_none());
        settled(&gateway).await;
        rule.remove();
        let kept = size(&mut ftp, "x").await;
        ftp.close().await;
        // Bytes of the second attempt may be saved too.
        assert!(
            kept + 1 >= SENT,
            "{operation} {key}: {kept} bytes are left of {SENT}"
        );
        resume(&gateway, By::Rest, "x", &whole, kept + 1).await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
        only_objects(&[&gateway], &["x"]).await;
    }
}

/// Breaking off makes requests too.
#[tokio::test]
async fn a_single_failure_while_an_upload_is_saved_is_retried() {
    let whole = pattern(12 * MIB, 1);
    for sent in [1000, SENT] {
        for key in [".s3ftpd/tails/", ".s3ftpd/uploads/"] {
            for fault in [
                Fault::Status(503, "SlowDown"),
                Fault::ResetBeforeHandling,
                Fault::LoseAnswer,
            ] {
                let gateway = Gateway::start().await;
                let rule = gateway.store.fail("PutObject").key(key).times(2);
                let rule = rule.with(fault);
                interrupt(&gateway, "STOR x", &whole[..sent]).await;
                rule.hit().await;
                resume(&gateway, By::Rest, "x", &whole, sent).await;
                assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
                only_objects(&[&gateway], &["x"]).await;
            }
        }
    }
}

/// If the tail cannot be stored, the parts are kept. If no record can be stored, nothing is, and
/// only the sweep finds the rest.
#[tokio::test]
async fn if_an_upload_cannot_be_saved_size_reports_nothing_wrong() {
    let whole = pattern(12 * MIB, 1);
    for (key, left) in [(".s3ftpd/tails/", PART), (".s3ftpd/uploads/", 0)] {
        let gateway = Gateway::builder()
            .with("[stores.main]\nattempts = 1")
            .start()
            .await;
        gateway.store.put_before(BUCKET, "x", "old");
        let rule = gateway.store.fail("PutObject").key(key).always();
        let rule = rule.with(Fault::Status(503, "SlowDown"));
        interrupt(&gateway, "STOR x", &whole[..SENT]).await;
        rule.hit().await;
        rule.remove();
        let mut ftp = gateway.ftp().await;
        let reported = left.saturating_sub(1).max(3);
        assert_eq!(size(&mut ftp, "x").await, reported, "{key}");
        ftp.close().await;
        assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"old");
        if left > 0 {
            resume(&gateway, By::Rest, "x", &whole, left).await;
        } else {
            let mut ftp = gateway.ftp().await;
            assert_eq!(ftp.store("x", &whole).await.code, 226);
            ftp.close().await;
        }
        assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
        only_objects(&[&gateway], &["x"]).await;
    }
}

/// The record is written alongside the parts: an upload ends as soon as its object exists.
#[tokio::test]
async fn the_226_never_waits_for_the_record() {
    let gateway = Gateway::start().await;
    let whole = pattern(12 * MIB, 1);
    let rule = gateway.store.fail("PutObject").key(".s3ftpd/uploads/");
    let rule = rule.always().with(Fault::Stall);
    let mut ftp = gateway.ftp().await;
    let data = upload_in_progress(&mut ftp, "STOR x", &whole).await;
    rule.hit().await;
    drop(data);
    ftp.expect_reply(226).await;
    assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
    // The session is free for the next upload too.
    assert_eq!(ftp.store("y", b"next").await.code, 226);
    rule.remove();
    ftp.close().await;
    only_objects(&[&gateway], &["x", "y"]).await;
}

/// A request without an answer runs into its deadline and is repeated; a part is sent again from
/// memory.
async fn stalled_once(operation: &str, bytes: usize) {
    let whole = pattern(bytes, 1);
    let runs = [Fault::Stall, Fault::StallAnswer].map(async |fault| {
        let gateway = Gateway::builder()
            .with("[stores.main]\nrequest_timeout = \"3s\"")
            .start()
            .await;
        let store = &gateway.store;
        store.put(BUCKET, "x", "old");
        let rule = store.fail(operation).key("x").with(fault.clone());
        let mut ftp = gateway.ftp().await;
        let mut data = begin(&mut ftp, "STOR x", Mode::Passive).await;
        data.write_all(&whole).await.unwrap();
        drop(data);
        let reply = patient(&mut ftp).await;
        assert_eq!(reply.code, 226, "{fault:?}: {reply:?}");
        assert_eq!(rule.hits(), 1, "{fault:?}");
        assert!(store.object(BUCKET, "x").unwrap() == whole, "{fault:?}");
        if operation == "UploadPart" {
            assert_eq!(store.count("UploadPart"), 3, "the other part once");
        }
        // The request that was held and is handled now changes nothing.
        let handled = store.count(operation);
        rule.release();
        store.wait_for(operation, handled).await;
        assert!(store.object(BUCKET, "x").unwrap() == whole, "{fault:?}");
        ftp.close().await;
        settled(&gateway).await;
        if operation == "CreateMultipartUpload" {
            // Only the sweep knows the upload whose id was in the first answer.
            assert!(store.open_uploads().len() <= 1, "{fault:?}");
        } else {
            only_objects(&[&gateway], &["x"]).await;
        }
    });
    futures::future::join_all(runs).await;
}

/// The reply, which may take longer than others: a Complete has half a minute more than other
/// requests.
async fn patient(ftp: &mut Ftp) -> Reply {
    for _ in 0..8 {
        if let Ok(reply) = tokio::time::timeout(DEADLINE / 2, ftp.reply()).await {
            return reply;
        }
    }
    ftp.reply().await
}

#[tokio::test]
async fn a_put_that_stalls_is_repeated() {
    stalled_once("PutObject", 70_000).await;
}

#[tokio::test]
async fn a_create_that_stalls_is_repeated() {
    stalled_once("CreateMultipartUpload", 8 * MIB).await;
}

#[tokio::test]
async fn a_part_that_stalls_is_sent_again() {
    stalled_once("UploadPart", 8 * MIB).await;
}

#[tokio::test]
async fn a_complete_that_stalls_is_repeated() {
    stalled_once("CompleteMultipartUpload", 8 * MIB).await;
}

/// The connection accepts no more bytes in the middle of a part: it is closed, and the part sent
/// again.
#[tokio::test]
async fn a_part_that_was_cut_in_flight_is_sent_again() {
    let gateway = Gateway::start().await;
    let whole = pattern(12 * MIB, 1);
    let rule = gateway.store.fail("UploadPart").times(2);
    let rule = rule.with(Fault::CutRequest(MIB as u64));
    let mut ftp = gateway.ftp().await;
    let mut data = begin(&mut ftp, "STOR x", Mode::Passive).await;
    data.write_all(&whole).await.unwrap();
    drop(data);
    ftp.expect_reply(226).await;
    assert_eq!(rule.hits(), 2);
    assert_eq!(gateway.store.count("UploadPart"), 5);
    assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
    ftp.close().await;
    only_objects(&[&gateway], &["x"]).await;
}

/// A part that the store refuses removes nothing of what was saved before.
#[tokio::test]
async fn a_part_that_fails_leaves_the_interrupted_upload() {
    for bytes in [70_000, 5 * MIB + 70_000] {
        let gateway = Gateway::builder()
            .with("[stores.main]\nattempts = 1")
            .start()
            .await;
        let whole = pattern(20 * MIB, 1);
        break_off(&gateway, "STOR x", &whole[..bytes]).await;
        settled(&gateway).await;
        for _ in 0..2 {
            let mut ftp = gateway.ftp().await;
            assert_eq!(size(&mut ftp, "x").await, bytes - 1);
            let rule = gateway.store.fail("UploadPart").always();
            let rule = rule.with(Fault::Status(507, "InsufficientStorage"));
            ftp.expect(&format!("REST {bytes}"), 350).await;
            let data = ftp.data(Mode::Passive).await;
            ftp.expect("STOR x", 150).await;
            let mut data = data.stream().await;
            // Until the gateway ends the transfer.
            let _ = data.write_all(&whole[bytes..]).await;
            let reply = ftp.reply().await;
            assert!([452, 451].contains(&reply.code), "{reply:?}");
            drop(data);
            rule.remove();
            ftp.close().await;
            settled(&gateway).await;
        }
        resume(&gateway, By::Rest, "x", &whole, bytes).await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
        only_objects(&[&gateway], &["x"]).await;
    }
}
