//! Commands that are given again after a refusal, files that are asked for in turn, and what others do to a name in
//! between: the end of an upload never gets behind another object, and a DELE takes only what is its own.

use tokio::io::AsyncWriteExt;

use super::{By, go_on, only_objects};
use crate::support::ftp::Mode;
use crate::support::gateway::{BUCKET, Builder, Gateway};
use crate::support::transfers::{break_off, settled_but, size, upload_in_progress};
use crate::support::{MIB, pattern};

const SENT: usize = 6 * MIB;

/// Two users on one tree.
fn shared() -> Builder {
    Gateway::builder().user("v", "p", "{ \"/\" = \"main\" }")
}

#[tokio::test]
async fn an_append_that_was_refused_goes_on_with_its_upload_when_it_is_given_again() {
    for old in [None, Some(pattern(5 * MIB + 1, 3))] {
        let gateway = Gateway::start().await;
        if let Some(old) = &old {
            gateway.store.put_before(BUCKET, "x", old.clone());
        }
        let whole = pattern(9 * MIB, 1);
        break_off(&gateway, "STOR x", &whole[..SENT]).await;
        let mut ftp = gateway.ftp().await;
        assert_eq!(size(&mut ftp, "x").await, SENT - 1);
        // Without a data connection it is nothing.
        ftp.expect("APPE x", 425).await;
        let command = "APPE x";
        let reply = ftp.upload_with(command, &whole[SENT - 1..], Mode::Passive);
        assert_eq!(reply.await.code, 226);
        assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
        // Once it is published, it is an object like any other.
        let reply = ftp.upload_with(command, b"more", Mode::Passive);
        assert_eq!(reply.await.code, 226);
        assert!(gateway.store.object(BUCKET, "x").unwrap() == [&whole[..], b"more"].concat());
        ftp.close().await;
        only_objects(&[&gateway], &["x"]).await;
    }
}

#[tokio::test]
async fn files_that_are_asked_for_in_turn_are_gone_on_with_in_turn() {
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
async fn an_offset_of_an_upload_stays_none_of_another_object_however_often_it_is_tried() {
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
        // Who asks is told of the object. What is sent then may be the rest of the upload, so it does not extend that.
        assert_eq!(size(&mut ftp, "x").await, others.len());
        let reply = ftp.upload_with("APPE x", b"more", Mode::Passive).await;
        assert_eq!(reply.code, 554);
        assert!(gateway.store.object(BUCKET, "x").unwrap() == others);
        // Begun anew, it may be extended.
        assert_eq!(ftp.store("x", &whole).await.code, 226);
        let reply = ftp.upload_with("APPE x", b"more", Mode::Passive).await;
        assert_eq!(reply.code, 226);
        assert!(gateway.store.object(BUCKET, "x").unwrap() == [&whole[..], b"more"].concat());
        ftp.close().await;
    }
}

/// A consumer fetches and deletes the last file while the producer sends the next one of the same name.
#[tokio::test]
async fn dele_of_an_object_leaves_an_upload_of_its_name_that_runs() {
    for same_user in [true, false] {
        let gateway = shared().start().await;
        let whole = pattern(12 * MIB, 1);
        let mut producer = gateway.ftp().await;
        assert_eq!(producer.store("x", b"the last one").await.code, 226);
        gateway.store.a_while();
        let mut data = upload_in_progress(&mut producer, "STOR x", &whole[..SENT]).await;
        let recorded = |store: &crate::support::store::Store| store.keys(BUCKET).len() == 2;
        gateway.store.until("the record", recorded).await;
        let mut consumer = match same_user {
            true => gateway.ftp().await,
            false => gateway.ftp_as("v", "p").await,
        };
        assert_eq!(consumer.retrieve("x").await.0, b"the last one");
        consumer.expect("DELE x", 250).await;
        settled_but(&gateway, 1).await;
        data.write_all(&whole[SENT..]).await.unwrap();
        drop(data);
        producer.expect_reply(226).await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
        producer.close().await;
        consumer.close().await;
        only_objects(&[&gateway], &["x"]).await;
    }
}

#[tokio::test]
async fn dele_of_an_object_leaves_what_is_kept_of_another_user() {
    let gateway = shared().start().await;
    let mut consumer = gateway.ftp_as("v", "p").await;
    let whole = pattern(9 * MIB, 1);
    assert_eq!(consumer.store("x", b"the last one").await.code, 226);
    gateway.store.a_while();
    break_off(&gateway, "STOR x", &whole[..SENT]).await;
    consumer.expect("DELE x", 250).await;
    consumer.expect("SIZE x", 550).await;
    consumer.expect("DELE x", 550).await;
    go_on(&gateway, By::Rest, "x", &whole, SENT).await;
    assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
    consumer.close().await;
    only_objects(&[&gateway], &["x"]).await;
}

/// Else it would seem newer than what is there, which is nothing.
#[tokio::test]
async fn dele_of_an_object_takes_what_it_has_superseded_of_another_user() {
    let gateway = shared().start().await;
    let whole = pattern(9 * MIB, 1);
    break_off(&gateway, "STOR x", &whole[..SENT]).await;
    let mut consumer = gateway.ftp_as("v", "p").await;
    assert_eq!(consumer.store("x", b"a newer one").await.code, 226);
    consumer.expect("DELE x", 250).await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("SIZE x", 550).await;
    ftp.close().await;
    consumer.close().await;
    only_objects(&[&gateway], &[]).await;
}
