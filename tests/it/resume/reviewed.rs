//! What a reading of the code found, each in its own test: ways in which a kept upload could be lost, mixed or taken for
//! whole.

use tokio::io::AsyncWriteExt;

use super::{By, go_on, only_objects};
use crate::support::faults::Fault;
use crate::support::ftp::{Ftp, Mode, reset_stream};
use crate::support::gateway::{BUCKET, Gateway};
use crate::support::transfers::{begin, break_off, settled, size, upload_in_progress};
use crate::support::{MIB, pattern};

const SENT: usize = 6 * MIB;

/// All bytes have come, and the session was lost: the client may not be told that all is there, however often he breaks
/// off again before he sends the last byte.
#[tokio::test]
async fn what_may_be_all_stays_so_where_nothing_more_comes() {
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
            // Nobody connects, or nothing is sent.
            ftp.expect(&format!("REST {}", bytes - 1), 350).await;
            let data = begin(&mut ftp, "STOR x", Mode::Passive).await;
            reset_stream(data);
            ftp.expect_reply(426).await;
            settled(&gateway).await;
            assert_eq!(size(&mut ftp, "x").await, bytes - 1);
        }
        ftp.close().await;
        go_on(&gateway, By::Rest, "x", &whole, bytes).await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
        only_objects(&[&gateway], &["x"]).await;
    }
}

/// A second upload of the name that comes to nothing, or one of somebody else, ends nothing of the first.
#[tokio::test]
async fn an_upload_that_comes_to_nothing_ends_nothing_that_runs() {
    for user in ["u", "other"] {
        let gateway = Gateway::builder()
            .user("other", "p", "{ \"/\" = \"main\" }")
            .start()
            .await;
        let whole = pattern(9 * MIB, 1);
        let mut running = gateway.ftp().await;
        let data = upload_in_progress(&mut running, "STOR x", &whole[..SENT]).await;
        let mut second: Ftp = gateway.ftp_as(user, "p").await;
        let nothing = begin(&mut second, "STOR x", Mode::Passive).await;
        assert!([226, 426].contains(&second.command("ABOR").await.code));
        second.expect_reply(226).await;
        drop(nothing);
        second.close().await;
        reset_stream(data);
        running.expect_reply(426).await;
        running.close().await;
        settled(&gateway).await;
        go_on(&gateway, By::Rest, "x", &whole, SENT).await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
        only_objects(&[&gateway], &["x"]).await;
    }
}

/// What is sent anew ends what still hangs, also where it breaks off itself: nobody goes on behind the old content.
#[tokio::test]
async fn an_older_upload_that_hangs_is_no_beginning_of_a_newer_one() {
    for replica in [0, 1] {
        let gateway = Gateway::start().await;
        let other = Gateway::builder().on(&gateway.store).start().await;
        let files = [pattern(9 * MIB, 1), pattern(9 * MIB, 2)];
        let mut hanging = gateway.ftp().await;
        let data = upload_in_progress(&mut hanging, "STOR x", &files[0][..SENT]).await;
        let record = |store: &crate::support::store::Store| !store.keys(BUCKET).is_empty();
        gateway.store.until("its record", record).await;
        gateway
            .store
            .backend()
            .advance_clock(std::time::Duration::from_secs(3));
        let on = [&gateway, &other][replica];
        break_off(on, "STOR x", &files[1][..70_000]).await;
        reset_stream(data);
        hanging.expect_reply(426).await;
        hanging.close().await;
        settled(&gateway).await;
        go_on(on, By::Rest, "x", &files[1], 70_000).await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == files[1]);
        only_objects(&[&gateway, &other], &["x"]).await;
    }
}

/// Two sessions go on with one kept upload at the same time, each before it can see the other: one of them does.
#[tokio::test]
async fn of_two_that_go_on_at_once_one_does() {
    for bytes in [70_000, SENT] {
        let gateway = Gateway::start().await;
        let whole = pattern(9 * MIB, 1);
        break_off(&gateway, "STOR x", &whole[..bytes]).await;
        let mut sessions = [gateway.ftp().await, gateway.ftp().await];
        for ftp in &mut sessions {
            assert_eq!(size(ftp, "x").await, bytes - 1);
            ftp.expect(&format!("REST {bytes}"), 350).await;
        }
        // Both read the record, and then both go on.
        let rule = gateway.store.fail("GetObject").key(".s3ftpd/uploads/");
        let rule = rule.times(2).with(Fault::StallAnswer);
        let mut streams = Vec::new();
        for ftp in &mut sessions {
            let data = ftp.data(Mode::Passive).await;
            ftp.send("STOR x").await;
            streams.push(data.stream().await);
        }
        rule.hit_times(2).await;
        rule.release();
        let mut codes = Vec::new();
        for (mut ftp, mut data) in sessions.into_iter().zip(streams) {
            // The loser's connection may be closed.
            let _ = data.write_all(&whole[bytes..]).await;
            let _ = data.shutdown().await;
            let mut reply = ftp.reply().await;
            if reply.code == 150 {
                reply = ftp.reply().await;
            }
            codes.push(reply.code);
        }
        codes.sort_unstable();
        assert_eq!(codes, [226, 450]);
        assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
        only_objects(&[&gateway], &["x"]).await;
    }
}

/// One name in buckets of one name, in two stores: two uploads that know nothing of each other.
#[tokio::test]
async fn buckets_of_one_name_in_two_stores_are_two() {
    let second = crate::support::store::Store::start(&[BUCKET]).await;
    let (key, secret) = second.credentials();
    let gateway = Gateway::builder()
        .with(&format!(
            "[stores.second]\nendpoint = \"{}\"\nregion = \"us-east-1\"\npath_style = true\n\
             access_key_id = \"{key}\"\nsecret_access_key = \"{secret}\"\nchecksums = \"crc32\"\n\
             conditional_writes = true\nconditional_deletes = true\nfiles_hide_directories = false\n[mounts.second]\nstore = \"second\"\nbucket = \"{BUCKET}\"",
            second.endpoint()
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
    go_on(&gateway, By::Rest, "x", &whole, SENT).await;
    go_on(&gateway, By::Rest, "/second/x", &whole, SENT).await;
    assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
    assert!(second.object(BUCKET, "x").unwrap() == whole);
    second.stop().await;
}

/// A part that the store refuses takes nothing away of what was kept before.
#[tokio::test]
async fn a_part_that_fails_leaves_what_was_kept() {
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
            // Until the gateway has had enough of it.
            let _ = data.write_all(&whole[bytes..]).await;
            let reply = ftp.reply().await;
            assert!([452, 451].contains(&reply.code), "{reply:?}");
            drop(data);
            rule.remove();
            ftp.close().await;
            settled(&gateway).await;
        }
        go_on(&gateway, By::Rest, "x", &whole, bytes).await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
        only_objects(&[&gateway], &["x"]).await;
    }
}

/// DELE of an object takes what is kept of an upload of its name with it, where the server knows of it.
#[tokio::test]
async fn dele_of_an_object_ends_what_is_kept_of_its_name() {
    let gateway = Gateway::start().await;
    gateway.store.put_before(BUCKET, "x", "old");
    let whole = pattern(9 * MIB, 1);
    break_off(&gateway, "STOR x", &whole[..SENT]).await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("DELE x", 250).await;
    ftp.expect("SIZE x", 550).await;
    ftp.close().await;
    only_objects(&[&gateway], &[]).await;
}

/// A server that is new knows what others have kept: a small STOR over it ends that, though its own process asked for
/// nothing before.
#[tokio::test]
async fn a_new_server_knows_what_is_kept() {
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
    // What was kept has gone before this one has come to anything.
    assert!(gateway.store.keys(BUCKET).is_empty());
    drop(data);
    ftp.expect_reply(226).await;
    ftp.close().await;
    only_objects(&[&gateway, &other], &["x"]).await;
}

/// What is kept is older than an object that was written over another server. When that is renamed away, or deleted,
/// nothing would tell so any more: it goes with it.
#[tokio::test]
async fn what_is_kept_ends_with_an_object_that_was_written_since() {
    for remove in ["RNFR x", "DELE x"] {
        for old in [false, true] {
            for by in [0, 1] {
                let gateway = Gateway::start().await;
                let other = Gateway::builder().on(&gateway.store).start().await;
                if old {
                    gateway.store.put_before(BUCKET, "x", "old");
                }
                break_off(&gateway, "STOR x", &pattern(70_000, 1)).await;
                let mut ftp = other.ftp().await;
                assert_eq!(ftp.store("x", b"newer").await.code, 226);
                ftp.close().await;
                let mut ftp = [&gateway, &other][by].ftp().await;
                if remove == "RNFR x" {
                    ftp.expect("RNFR x", 350).await;
                    ftp.expect("RNTO y", 250).await;
                } else {
                    ftp.expect(remove, 250).await;
                }
                ftp.expect("SIZE x", 550).await;
                ftp.close().await;
                let left: &[&str] = if remove == "RNFR x" { &["y"] } else { &[] };
                only_objects(&[&gateway, &other], left).await;
            }
        }
    }
}
