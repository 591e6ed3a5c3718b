//! State of interrupted uploads that is damaged from outside: a changed or missing tail, missing
//! parts, an unreadable record.

use super::{By, only_objects, resume};
use test_support::faults::Fault;
use test_support::ftp::Mode;
use test_support::gateway::{BUCKET, Gateway};
use test_support::store::Store;
use test_support::transfers::{interrupt, settled, size, upload_in_progress};
use test_support::{MIB, pattern};

const PART: usize = 5 * MIB;

/// The key of the state with this prefix.
fn state(store: &Store, prefix: &str) -> String {
    let keys = store.keys(BUCKET);
    let found = keys.iter().find(|key| key.starts_with(prefix));
    found
        .unwrap_or_else(|| panic!("no {prefix} in {keys:?}"))
        .clone()
}

#[tokio::test]
async fn a_missing_or_changed_tail_is_sent_again() {
    for (sent, left) in [(1000, 0), (PART + 1000, PART), (2 * PART + 1000, 2 * PART)] {
        for damage in ["gone", "other bytes", "shorter", "longer"] {
            for old in [None, Some("old")] {
                let gateway = Gateway::start().await;
                let store = &gateway.store;
                if let Some(old) = old {
                    store.put_before(BUCKET, "x", old);
                }
                let whole = pattern(12 * MIB, 1);
                interrupt(&gateway, "STOR x", &whole[..sent]).await;
                let tail = state(store, ".s3ftpd/tails/");
                match damage {
                    "gone" => assert!(store.backend().remove(BUCKET, &tail)),
                    "other bytes" => store.put(BUCKET, &tail, pattern(1000, 9)),
                    "shorter" => store.put(BUCKET, &tail, pattern(999, 9)),
                    _ => store.put(BUCKET, &tail, pattern(1001, 9)),
                }
                if left == 0 {
                    // Nothing else was there, so the client starts over.
                    let mut ftp = gateway.ftp().await;
                    match old {
                        None => drop(ftp.expect("SIZE x", 550).await),
                        Some(old) => assert_eq!(size(&mut ftp, "x").await, old.len()),
                    }
                    ftp.expect(&format!("REST {sent}"), 350).await;
                    let reply = ftp.store("x", &whole[sent..]).await;
                    assert_eq!(reply.code, 554, "{damage}: {reply:?}");
                    assert_eq!(ftp.store("x", &whole).await.code, 226);
                    ftp.close().await;
                } else {
                    resume(&gateway, By::Rest, "x", &whole, left).await;
                }
                assert!(store.object(BUCKET, "x").unwrap() == whole, "{damage}");
                // A damaged tail is removed together with the record that names it.
                only_objects(&[&gateway], &["x"]).await;
            }
        }
    }
}

/// Between SIZE and the transfer, or on the way: what is read is not what the record says.
#[tokio::test]
async fn a_tail_that_is_read_wrong_is_not_resumed() {
    let gateway = Gateway::start().await;
    let whole = pattern(9 * MIB, 1);
    let sent = PART + 1000;
    interrupt(&gateway, "STOR x", &whole[..sent]).await;
    let rule = gateway
        .store
        .fail("GetObject")
        .key(".s3ftpd/tails/")
        .with(Fault::CorruptBody);
    let mut ftp = gateway.ftp().await;
    assert_eq!(size(&mut ftp, "x").await, sent - 1);
    ftp.expect(&format!("REST {sent}"), 350).await;
    let reply = ftp.store("x", &whole[sent..]).await;
    rule.hit().await;
    ftp.close().await;
    settled(&gateway).await;
    if reply.code != 226 {
        assert!([450, 451].contains(&reply.code), "{reply:?}");
        assert!(gateway.store.object(BUCKET, "x").is_none());
        // The damage was on the way and not in the tail: it is complete.
        resume(&gateway, By::Rest, "x", &whole, sent).await;
    }
    assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
    only_objects(&[&gateway], &["x"]).await;
}

/// A lifecycle rule, or a cleaning tool, has aborted the multipart upload.
#[tokio::test]
async fn missing_parts_are_sent_again() {
    for sent in [PART + 1000, 2 * PART] {
        let gateway = Gateway::start().await;
        let store = &gateway.store;
        let whole = pattern(12 * MIB, 1);
        interrupt(&gateway, "STOR x", &whole[..sent]).await;
        let upload = &store.open_uploads()[0];
        let abort = store.client().abort_multipart_upload();
        let abort = abort.bucket(BUCKET).key("x").upload_id(&upload.upload_id);
        abort.send().await.unwrap();
        let mut ftp = gateway.ftp().await;
        ftp.expect("SIZE x", 550).await;
        ftp.expect(&format!("REST {sent}"), 350).await;
        assert_eq!(ftp.store("x", &whole[sent..]).await.code, 554);
        assert_eq!(ftp.store("x", &whole).await.code, 226);
        ftp.close().await;
        assert!(store.object(BUCKET, "x").unwrap() == whole);
        only_objects(&[&gateway], &["x"]).await;
    }
}

/// Between the SIZE that reported the length and the transfer that resumes.
#[tokio::test]
async fn parts_that_vanish_during_a_resume_fail_it_with_a_reason() {
    let gateway = Gateway::start().await;
    let store = &gateway.store;
    let whole = pattern(12 * MIB, 1);
    let sent = 2 * PART + 1000;
    interrupt(&gateway, "STOR x", &whole[..sent]).await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(size(&mut ftp, "x").await, sent - 1);
    ftp.expect(&format!("REST {sent}"), 350).await;
    let data = upload_in_progress(&mut ftp, "STOR x", &whole[sent..]).await;
    let upload = &store.open_uploads()[0];
    let abort = store.client().abort_multipart_upload();
    let abort = abort.bucket(BUCKET).key("x").upload_id(&upload.upload_id);
    abort.send().await.unwrap();
    drop(data);
    let reply = ftp.reply().await;
    assert!(reply.code >= 400, "{reply:?}");
    assert!(store.object(BUCKET, "x").is_none());
    // The client starts over.
    assert_eq!(ftp.store("x", &whole).await.code, 226);
    assert!(store.object(BUCKET, "x").unwrap() == whole);
    ftp.close().await;
    only_objects(&[&gateway], &["x"]).await;
}

#[tokio::test]
async fn an_unreadable_record_does_no_harm() {
    for garbage in [
        "",
        "no JSON",
        "{}",
        "{\"bucket\":\"files\",\"key\":\"x\"}",
        "[1]",
    ] {
        for new in [1000, 8 * MIB] {
            let gateway = Gateway::start().await;
            let store = &gateway.store;
            let whole = pattern(9 * MIB, 1);
            interrupt(&gateway, "STOR x", &whole[..PART + 1000]).await;
            let record = state(store, ".s3ftpd/uploads/");
            store.put(BUCKET, &record, garbage);
            let mut ftp = gateway.ftp().await;
            ftp.expect("SIZE x", 550).await;
            ftp.expect(&format!("REST {}", PART + 1000), 350).await;
            let reply = ftp.store("x", &whole[PART + 1000..]).await;
            assert_eq!(reply.code, 554, "{garbage}: {reply:?}");
            assert!(store.object(BUCKET, "x").is_none());
            let bytes = pattern(new, 2);
            let reply = ftp.upload_with("STOR x", &bytes, Mode::Passive).await;
            assert_eq!(reply.code, 226, "{garbage}: {reply:?}");
            assert!(store.object(BUCKET, "x").unwrap() == bytes, "{garbage}");
            let reply = ftp.upload_with("APPE x", &bytes, Mode::Passive).await;
            assert_eq!(reply.code, 226, "{garbage}: {reply:?}");
            assert_eq!(size(&mut ftp, "x").await, 2 * new);
            ftp.expect("DELE x", 250).await;
            ftp.close().await;
            settled(&gateway).await;
        }
    }
}

/// A broken record must not prevent resumes of a name for ever.
#[tokio::test]
async fn an_unreadable_record_is_replaced_by_a_new_one() {
    let gateway = Gateway::start().await;
    let store = &gateway.store;
    let whole = pattern(9 * MIB, 1);
    interrupt(&gateway, "STOR x", &whole[..PART + 1000]).await;
    store.put(BUCKET, &state(store, ".s3ftpd/uploads/"), "no JSON");
    interrupt(&gateway, "STOR x", &whole[..PART + 2000]).await;
    resume(&gateway, By::Rest, "x", &whole, PART + 2000).await;
    assert!(store.object(BUCKET, "x").unwrap() == whole);
}
