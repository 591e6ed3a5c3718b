//! The offset at which an upload is resumed: how a client learns it, and which others are refused.

use super::{By, only_objects, resume};
use s3ftpd::events::Kind;
use test_support::faults::Fault;
use test_support::ftp::{Mode, reset_stream};
use test_support::gateway::{BUCKET, Gateway};
use test_support::transfers::{begin, break_off, interrupt, settled, size};
use test_support::{MIB, pattern};

const SENT: usize = 6 * MIB;

#[tokio::test]
async fn a_refused_append_resumes_its_upload_when_repeated() {
    for old in [None, Some(pattern(5 * MIB + 1, 3))] {
        let gateway = Gateway::start().await;
        if let Some(old) = &old {
            gateway.store.put_before(BUCKET, "x", old.clone());
        }
        let whole = pattern(9 * MIB, 1);
        break_off(&gateway, "STOR x", &whole[..SENT]).await;
        let mut ftp = gateway.ftp().await;
        assert_eq!(size(&mut ftp, "x").await, SENT - 1);
        // Without a data connection it has no effect.
        ftp.expect("APPE x", 425).await;
        let command = "APPE x";
        let reply = ftp.upload_with(command, &whole[SENT - 1..], Mode::Passive);
        assert_eq!(reply.await.code, 226);
        assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
        // After publication it is an object like any other.
        let reply = ftp.upload_with(command, b"more", Mode::Passive);
        assert_eq!(reply.await.code, 226);
        assert!(gateway.store.object(BUCKET, "x").unwrap() == [&whole[..], b"more"].concat());
        ftp.close().await;
        only_objects(&[&gateway], &["x"]).await;
    }
}

#[tokio::test]
async fn several_files_asked_for_first_are_each_resumed() {
    let gateway = Gateway::start().await;
    let files = [pattern(9 * MIB, 1), pattern(8 * MIB, 2)];
    for (path, whole) in ["a", "b"].iter().zip(&files) {
        gateway.store.put_before(BUCKET, path, "an old one");
        break_off(&gateway, &format!("STOR {path}"), &whole[..SENT]).await;
    }
    let mut ftp = gateway.ftp().await;
    assert_eq!(size(&mut ftp, "a").await, SENT - 1);
    ftp.expect("MLST b", 250).await;
    for (path, whole) in ["a", "b"].iter().zip(&files) {
        let command = format!("APPE {path}");
        let reply = ftp.upload_with(&command, &whole[SENT - 1..], Mode::Passive);
        assert_eq!(reply.await.code, 226, "{path}");
        assert!(gateway.store.object(BUCKET, path).unwrap() == *whole);
    }
    ftp.close().await;
    only_objects(&[&gateway], &["a", "b"]).await;
}

#[tokio::test]
async fn an_offset_of_an_upload_is_never_accepted_for_a_newer_object() {
    for command in ["STOR x", "APPE x"] {
        let gateway = Gateway::start().await;
        let whole = pattern(9 * MIB, 1);
        break_off(&gateway, "STOR x", &whole[..SENT]).await;
        let mut ftp = gateway.ftp().await;
        assert_eq!(size(&mut ftp, "x").await, SENT - 1);
        let others = pattern(8 * MIB, 2);
        gateway.store.put(BUCKET, "x", &others);
        for _ in 0..3 {
            if command == "STOR x" {
                ftp.expect(&format!("REST {SENT}"), 350).await;
            }
            ftp.expect("EPSV", 229).await;
            let reply = ftp.expect(command, 450).await;
            assert!(reply.text().contains("ask SIZE again"), "{reply:?}");
        }
        assert!(gateway.store.object(BUCKET, "x").unwrap() == others);
        // SIZE reports the object. The bytes sent next may be the rest of the upload, so they do
        // not extend it.
        assert_eq!(size(&mut ftp, "x").await, others.len());
        let reply = ftp.upload_with("APPE x", b"more", Mode::Passive).await;
        assert_eq!(reply.code, 554);
        assert!(gateway.store.object(BUCKET, "x").unwrap() == others);
        // After a STOR without REST it may be extended.
        assert_eq!(ftp.store("x", &whole).await.code, 226);
        let reply = ftp.upload_with("APPE x", b"more", Mode::Passive).await;
        assert_eq!(reply.code, 226);
        assert!(gateway.store.object(BUCKET, "x").unwrap() == [&whole[..], b"more"].concat());
        ftp.close().await;
    }
}

/// All bytes have arrived, and the session was lost: the server must not report all of them,
/// however often the client breaks off again before it sends the last byte.
#[tokio::test]
async fn an_upload_that_may_be_whole_is_never_reported_whole() {
    for bytes in [70_000, SENT] {
        let gateway = Gateway::start().await;
        let whole = pattern(bytes, 1);
        let mut ftp = gateway.ftp().await;
        let rule = gateway.store.fail("PutObject").key("x");
        let rule = rule.times(1).with(Fault::Status(403, "AccessDenied"));
        let complete = gateway.store.fail("CompleteMultipartUpload").times(1);
        let complete = complete.with(Fault::Status(403, "AccessDenied"));
        assert_eq!(ftp.store("x", &whole).await.code, 550);
        rule.remove();
        complete.remove();
        settled(&gateway).await;
        assert_eq!(size(&mut ftp, "x").await, bytes - 1);
        for _ in 0..2 {
            // No data connection is made, or nothing is sent.
            ftp.expect(&format!("REST {}", bytes - 1), 350).await;
            let data = begin(&mut ftp, "STOR x", Mode::Passive).await;
            reset_stream(data);
            ftp.expect_reply(426).await;
            settled(&gateway).await;
            assert_eq!(size(&mut ftp, "x").await, bytes - 1);
        }
        ftp.close().await;
        resume(&gateway, By::Rest, "x", &whole, bytes).await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
        only_objects(&[&gateway], &["x"]).await;
    }
}

#[tokio::test]
async fn a_wrong_offset_gets_the_right_one_in_the_reply() {
    let gateway = Gateway::start().await;
    let whole = pattern(8 * MIB, 1);
    interrupt(&gateway, "STOR x", &whole[..SENT]).await;
    let mut ftp = gateway.ftp().await;
    for offset in [1, SENT - 2, SENT + 1] {
        ftp.expect(&format!("REST {offset}"), 350).await;
        ftp.expect("EPSV", 229).await;
        let reply = ftp.expect("STOR x", 554).await;
        assert!(
            reply.text().contains(&format!("use REST {} ", SENT - 1)),
            "{reply:?}"
        );
    }
    ftp.close().await;
    resume(&gateway, By::Rest, "x", &whole, SENT).await;
}

/// Also the byte that SIZE has not shown, and the client sends again.
#[tokio::test]
async fn the_reply_and_the_event_count_what_the_client_has_sent() {
    let gateway = Gateway::start().await;
    let whole = pattern(4000, 1);
    interrupt(&gateway, "STOR x", &whole[..2000]).await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    ftp.expect("SIZE x", 213).await;
    ftp.expect("REST 1999", 350).await;
    gateway.events.drain();
    let reply = ftp
        .upload_with("STOR x", &whole[1999..], Mode::Passive)
        .await;
    assert!(
        reply.text().contains("2001 bytes stored after 1999"),
        "{reply:?}"
    );
    let event = gateway.events.wait_for(Kind::Transfer).await;
    assert_eq!(
        (event.offset, event.bytes, event.size),
        (Some(1999), Some(2001), Some(4000))
    );
    assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
}
