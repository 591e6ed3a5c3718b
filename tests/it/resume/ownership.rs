//! To which user an interrupted upload belongs, when it ends, and which users see it.

use std::time::Duration;

use super::{By, only_objects, resume};
use test_support::ftp::{Ftp, reset_stream};
use test_support::gateway::{BUCKET, Gateway};
use test_support::settings::store_section;
use test_support::store::Store;
use test_support::transfers::{break_off, interrupt, settled, size, upload_in_progress};
use test_support::{MIB, pattern};

const SENT: usize = 6 * MIB;

#[tokio::test]
async fn an_interrupted_upload_belongs_to_the_user_who_sent_it() {
    let gateway = Gateway::builder()
        .user("other", "p", "{ \"/\" = \"main\" }")
        .start()
        .await;
    gateway.store.put_before(BUCKET, "x", "old");
    let whole = pattern(8 * MIB, 1);
    interrupt(&gateway, "STOR x", &whole[..SENT]).await;
    let mut other = gateway.ftp_as("other", "p").await;
    assert_eq!(size(&mut other, "x").await, 3);
    other.expect(&format!("REST {SENT}"), 350).await;
    other.expect("EPSV", 229).await;
    let reply = other.expect("STOR x", 554).await;
    assert!(reply.text().contains("use REST 3"), "{reply:?}");
    let listing = other.expect("MLST x", 250).await;
    assert!(format!("{listing:?}").contains("size=3;"), "{listing:?}");
    // Its owner sees it in SIZE and MLST; no listing shows it.
    let mut owner = gateway.ftp().await;
    let listing = owner.expect("MLST x", 250).await;
    assert!(
        format!("{listing:?}").contains(&format!("size={};", SENT - 1)),
        "{listing:?}"
    );
    let (names, _) = owner.list("MLSD").await;
    assert!(
        names.contains("size=3;") && !names.contains("s3ftpd"),
        "{names}"
    );
    resume(&gateway, By::Rest, "x", &whole, SENT).await;
}

#[tokio::test]
async fn an_interrupted_upload_ends_when_another_write_replaces_the_object() {
    for old in [None, Some("old")] {
        let gateway = Gateway::start().await;
        if let Some(old) = old {
            gateway.store.put_before(BUCKET, "x", old);
        }
        let whole = pattern(8 * MIB, 1);
        interrupt(&gateway, "STOR x", &whole[..SENT]).await;
        gateway.store.put(BUCKET, "x", "the other's own");
        let mut ftp = gateway.ftp().await;
        assert_eq!(size(&mut ftp, "x").await, 15);
        ftp.expect(&format!("REST {SENT}"), 350).await;
        ftp.expect("EPSV", 229).await;
        ftp.expect("STOR x", 554).await;
        ftp.close().await;
        only_objects(&[&gateway], &["x"]).await;
        assert_eq!(
            gateway.store.object(BUCKET, "x").unwrap(),
            b"the other's own"
        );
    }
}

#[tokio::test]
async fn an_object_written_during_a_resume_stays() {
    for behaviour in ["aws", "garage"] {
        let gateway = Gateway::builder()
            .with(&format!(
                "[stores.main]\nconditional_writes = {}",
                behaviour == "aws"
            ))
            .start()
            .await;
        gateway
            .store
            .behave(|store| store.conditional_writes = behaviour == "aws");
        let whole = pattern(8 * MIB, 1);
        interrupt(&gateway, "STOR x", &whole[..SENT]).await;
        let mut ftp = gateway.ftp().await;
        assert_eq!(size(&mut ftp, "x").await, SENT - 1);
        ftp.expect(&format!("REST {SENT}"), 350).await;
        let data = upload_in_progress(&mut ftp, "STOR x", &whole[SENT..]).await;
        gateway.store.put(BUCKET, "x", "the other's own");
        drop(data);
        let reply = ftp.expect_reply(450).await;
        assert!(reply.text().contains("another client"), "{reply:?}");
        assert_eq!(
            gateway.store.object(BUCKET, "x").unwrap(),
            b"the other's own"
        );
        ftp.close().await;
        only_objects(&[&gateway], &["x"]).await;
    }
}

#[tokio::test]
async fn stor_without_rest_starts_over_and_discards_the_interrupted_upload() {
    for new in [1000, 7 * MIB] {
        for replica in [0, 1] {
            let gateway = Gateway::start().await;
            let other = Gateway::builder().on(&gateway.store).start().await;
            let whole = pattern(8 * MIB, 1);
            interrupt(&gateway, "STOR x", &whole[..SENT]).await;
            let on = [&gateway, &other][replica];
            let mut ftp = on.ftp().await;
            let bytes = pattern(new, 2);
            assert_eq!(ftp.store("x", &bytes).await.code, 226);
            assert!(gateway.store.object(BUCKET, "x").unwrap() == bytes);
            assert_eq!(size(&mut ftp, "x").await, new);
            ftp.close().await;
            // A small upload on another replica does not look for it: there SIZE finds that it has
            // ended.
            only_objects(&[&gateway, &other], &["x"]).await;
        }
    }
}

#[tokio::test]
async fn a_mount_can_keep_its_state_in_another_bucket() {
    let gateway = Gateway::builder()
        .bucket("state")
        .mount("state_bucket = \"state\"")
        .start()
        .await;
    let whole = pattern(8 * MIB, 1);
    interrupt(&gateway, "STOR x", &whole[..SENT]).await;
    assert!(gateway.store.keys(BUCKET).is_empty());
    assert_eq!(gateway.store.keys("state").len(), 2);
    resume(&gateway, By::Rest, "x", &whole, SENT).await;
    only_objects(&[&gateway], &["x"]).await;
    assert!(gateway.store.keys("state").is_empty());
}

#[tokio::test]
async fn a_mount_can_discard_interrupted_uploads() {
    let gateway = Gateway::builder()
        .mount("interrupted = \"abort\"")
        .start()
        .await;
    interrupt(&gateway, "STOR x", &pattern(SENT, 1)).await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("SIZE x", 550).await;
    ftp.close().await;
    only_objects(&[&gateway], &[]).await;
}

#[tokio::test]
async fn on_control_loss_publish_serves_devices_that_never_quit() {
    for bytes in [70_000, 6 * MIB] {
        let gateway = Gateway::builder()
            .mount("on_control_loss = \"publish\"")
            .start()
            .await;
        let whole = pattern(bytes, 4);
        let mut ftp = gateway.ftp().await;
        let data = upload_in_progress(&mut ftp, "STOR x", &whole).await;
        ftp.close().await;
        drop(data);
        gateway
            .store
            .until("published", |store| store.object(BUCKET, "x").is_some())
            .await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
        only_objects(&[&gateway], &["x"]).await;
        // An upload that breaks off in the middle is still not published.
        let mut ftp = gateway.ftp().await;
        let data = upload_in_progress(&mut ftp, "STOR y", &whole).await;
        ftp.close().await;
        reset_stream(data);
        settled(&gateway).await;
        assert!(gateway.store.object(BUCKET, "y").is_none());
    }
}

/// The older session hangs: the one that resumes ends it.
#[tokio::test]
async fn a_resume_stops_the_older_session() {
    for by in [By::Rest, By::Appe] {
        let gateway = Gateway::start().await;
        let whole = pattern(9 * MIB, 1);
        let mut hanging = gateway.ftp().await;
        let _data = upload_in_progress(&mut hanging, "STOR x", &whole[..SENT]).await;
        resume(&gateway, by, "x", &whole, SENT).await;
        let reply = hanging.expect_reply(426).await;
        assert!(
            reply.text().contains("another session of yours"),
            "{reply:?}"
        );
        hanging.close().await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
        only_objects(&[&gateway], &["x"]).await;
    }
}

#[tokio::test]
async fn a_resume_waits_for_another_replicas_upload() {
    let gateway = Gateway::start().await;
    let other = Gateway::builder().on(&gateway.store).start().await;
    let whole = pattern(9 * MIB, 1);
    let mut running = gateway.ftp().await;
    let data = upload_in_progress(&mut running, "STOR x", &whole[..SENT]).await;
    gateway
        .store
        .until("the record", |store| !store.keys(BUCKET).is_empty())
        .await;
    // The record may exist first.
    gateway.store.wait_for("UploadPart", 1).await;
    let mut ftp: Ftp = other.ftp().await;
    let reply = ftp.expect("SIZE x", 450).await;
    // 151 s less the age of the record.
    assert!(reply.text().contains("try again in 1"), "{reply:?}");
    ftp.expect("REST 6", 350).await;
    ftp.expect("EPSV", 229).await;
    ftp.expect("STOR x", 450).await;
    // The record was not refreshed for two and a half minutes, so its process counts as dead.
    gateway
        .store
        .backend()
        .advance_clock(Duration::from_secs(152));
    resume(&other, By::OtherReplica, "x", &whole, 5 * MIB).await;
    // The first was not dead. It ends by itself, and nothing is mixed.
    drop(data);
    let reply = running.reply().await;
    assert!([226, 450, 451, 550].contains(&reply.code), "{reply:?}");
    let object = gateway.store.object(BUCKET, "x").unwrap();
    assert!(
        object == whole || (reply.code == 226 && object == whole[..SENT]),
        "{} bytes of neither file",
        object.len()
    );
    running.close().await;
    ftp.close().await;
}

/// Nothing of the second arrived: what was saved of the first must not be taken for its start.
#[tokio::test]
async fn an_empty_upload_ends_the_interrupted_upload_before_it() {
    for replica in [0, 1] {
        let gateway = Gateway::start().await;
        let other = Gateway::builder().on(&gateway.store).start().await;
        interrupt(&gateway, "STOR x", &pattern(SENT, 1)).await;
        let on = [&gateway, &other][replica];
        let mut ftp = on.ftp().await;
        let data =
            test_support::transfers::begin(&mut ftp, "STOR x", test_support::ftp::Mode::Passive)
                .await;
        reset_stream(data);
        ftp.expect_reply(426).await;
        settled(on).await;
        ftp.expect("SIZE x", 550).await;
        ftp.close().await;
        only_objects(&[&gateway, &other], &[]).await;
    }
}

/// A process that is killed during an upload of which it has written nothing yet: it has ended the
/// interrupted upload before it.
#[tokio::test]
async fn a_slow_upload_ends_the_interrupted_upload_before_it() {
    for replica in [0, 1] {
        let gateway = Gateway::start().await;
        let other = Gateway::builder().on(&gateway.store).start().await;
        interrupt(&gateway, "STOR x", &pattern(SENT, 1)).await;
        let on = [&gateway, &other][replica];
        let mut ftp = on.ftp().await;
        let mut data =
            test_support::transfers::begin(&mut ftp, "STOR x", test_support::ftp::Mode::Passive)
                .await;
        let begun = tokio::time::Instant::now();
        while !gateway.store.keys(BUCKET).is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(20), "it stays");
            tokio::io::AsyncWriteExt::write_all(&mut data, b"x")
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(data);
        ftp.expect_reply(226).await;
        ftp.close().await;
        only_objects(&[&gateway, &other], &["x"]).await;
    }
}

/// One key in buckets of one name, in two stores: two independent uploads.
#[tokio::test]
async fn buckets_of_one_name_in_two_stores_are_separate() {
    let second = Store::start(&[BUCKET]).await;
    let gateway = Gateway::builder()
        .with(&store_section("second", &second))
        .with(&format!(
            "[mounts.second]\nstore = \"second\"\nbucket = \"{BUCKET}\""
        ))
        .user("u", "p", "{ \"/\" = \"main\", \"/second\" = \"second\" }")
        .start()
        .await;
    let whole = pattern(9 * MIB, 1);
    let mut one = gateway.ftp().await;
    let first = upload_in_progress(&mut one, "STOR x", &whole[..SENT]).await;
    let mut two = gateway.ftp().await;
    two.expect("SIZE /second/x", 550).await;
    let data = upload_in_progress(&mut two, "STOR /second/x", &whole[..SENT]).await;
    reset_stream(data);
    two.expect_reply(426).await;
    reset_stream(first);
    one.expect_reply(426).await;
    one.close().await;
    two.close().await;
    settled(&gateway).await;
    resume(&gateway, By::Rest, "x", &whole, SENT).await;
    resume(&gateway, By::Rest, "/second/x", &whole, SENT).await;
    assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
    assert!(second.object(BUCKET, "x").unwrap() == whole);
    second.stop().await;
}

/// A new server knows the interrupted uploads of others: a small STOR ends one, although its own
/// process has not asked for any.
#[tokio::test]
async fn a_new_server_knows_interrupted_uploads() {
    let gateway = Gateway::start().await;
    let whole = pattern(9 * MIB, 1);
    break_off(&gateway, "STOR x", &whole[..SENT]).await;
    let other = Gateway::builder()
        .with("[resume]\nlook_every = \"1h\"")
        .on(&gateway.store)
        .start()
        .await;
    gateway.store.wait_for("ListObjectsV2", 1).await;
    let mut ftp = other.ftp().await;
    let data = upload_in_progress(&mut ftp, "STOR x", b"another").await;
    // The interrupted upload is gone before this one has stored anything.
    assert!(gateway.store.keys(BUCKET).is_empty());
    drop(data);
    ftp.expect_reply(226).await;
    ftp.close().await;
    only_objects(&[&gateway, &other], &["x"]).await;
}
