//! Several writers of one name: the object is one of the whole files, each writer gets the result
//! of its own, and nothing is left.

use std::sync::Arc;
use std::time::Duration;

use s3_embedded::Behaviour;
use tokio::io::AsyncWriteExt;

use super::{By, only_objects, resume};
use test_support::faults::Fault;
use test_support::ftp::{Ftp, Mode, Reply, reset_stream};
use test_support::gateway::{BUCKET, Gateway};
use test_support::store::Store;
use test_support::transfers::{begin, break_off, settled, size, upload_in_progress};
use test_support::{MIB, pattern, within};

const KEY: &str = "both.bin";

/// More than a part.
const SENT: usize = 6 * MIB;

/// Two gateways on one store, which stand for two processes.
async fn two(behaviour: &Behaviour, mount: &str) -> [Gateway; 2] {
    let store = Arc::new(Store::start(&[BUCKET]).await);
    store.behave(|now| now.clone_from(behaviour));
    let start = async || {
        let conditional = format!(
            "[stores.main]\nconditional_writes = {}\nconditional_deletes = {}",
            behaviour.conditional_writes, behaviour.conditional_deletes
        );
        let builder = Gateway::builder().with(&conditional).mount(mount);
        builder.on(&store).start().await
    };
    [start().await, start().await]
}

fn stores() -> [(&'static str, Behaviour); 2] {
    [
        ("aws", Behaviour::default()),
        ("garage", Behaviour::garage()),
    ]
}

/// The object is one of the files, and its writer got 226. A 226 for a file that was then
/// overwritten is right too.
fn one_of_the_files(store: &Store, files: &[Vec<u8>; 2], replies: &[Reply; 2], what: &str) {
    let object = store.object(BUCKET, KEY).expect(what);
    let which = files.iter().position(|file| *file == object);
    let which = which.unwrap_or_else(|| panic!("{what}: {} bytes of neither file", object.len()));
    assert_eq!(replies[which].code, 226, "{what}: {replies:?}");
    let other = replies[1 - which].code;
    assert!([226, 450, 451, 550].contains(&other), "{what}: {replies:?}");
}

/// Both are held at the request that publishes them, then released together. Of two in one process
/// the second waits for the first, so only one is held.
async fn finish_at_once(
    sessions: [&mut Ftp; 2],
    store: &Store,
    bytes: usize,
    processes: usize,
) -> [Reply; 2] {
    // The key is named, so that requests for records and tails pass.
    let operation = match bytes {
        0..MIB => "PutObject",
        _ => "CompleteMultipartUpload",
    };
    let [first, second] = sessions;
    let files = [pattern(bytes, 1), pattern(bytes, 2)];
    let one = upload_in_progress(first, &format!("STOR {KEY}"), &files[0]).await;
    let two = upload_in_progress(second, &format!("STOR {KEY}"), &files[1]).await;
    let rule = store.fail(operation).key(KEY).times(processes);
    let rule = rule.with(Fault::Stall);
    drop((one, two));
    rule.hit_times(processes).await;
    rule.release();
    let (one, two) = tokio::join!(first.reply(), second.reply());
    [one, two]
}

#[tokio::test]
async fn two_processes_that_finish_at_once_end_as_one_of_the_files() {
    for (name, behaviour) in stores() {
        for bytes in [70_000, 8 * MIB] {
            for old in [false, true] {
                let what = format!("{name}, {bytes} bytes, {old}");
                let gateways = two(&behaviour, "").await;
                let store = Arc::clone(&gateways[0].store);
                if old {
                    store.put(BUCKET, KEY, "old");
                }
                let (mut first, mut second) = (gateways[0].ftp().await, gateways[1].ftp().await);
                let replies = finish_at_once([&mut first, &mut second], &store, bytes, 2).await;
                let files = [pattern(bytes, 1), pattern(bytes, 2)];
                one_of_the_files(&store, &files, &replies, &what);
                // SIZE reports the object, and not the rest of the other upload, as soon as that is
                // removed.
                for ftp in [&mut first, &mut second] {
                    within("the size of the object", async {
                        while ftp.command(&format!("SIZE {KEY}")).await.code == 450 {}
                    })
                    .await;
                    assert_eq!(size(ftp, KEY).await, bytes, "{what}");
                }
                first.close().await;
                second.close().await;
                only_objects(&[&gateways[0], &gateways[1]], &[KEY]).await;
            }
        }
    }
}

#[tokio::test]
async fn without_overwrite_one_of_two_gets_226() {
    for bytes in [70_000, 8 * MIB] {
        let mount = "permissions = [\"list\", \"read\", \"write\"]";
        let gateways = two(&Behaviour::default(), mount).await;
        let store = Arc::clone(&gateways[0].store);
        for on in [[0, 0], [0, 1]] {
            let (mut first, mut second) =
                (gateways[on[0]].ftp().await, gateways[on[1]].ftp().await);
            let processes = 1 + on[1];
            let replies = finish_at_once([&mut first, &mut second], &store, bytes, processes).await;
            let files = [pattern(bytes, 1), pattern(bytes, 2)];
            one_of_the_files(&store, &files, &replies, "no overwrite");
            let won = replies.iter().filter(|reply| reply.code == 226).count();
            assert_eq!(won, 1, "{replies:?}");
            first.close().await;
            second.close().await;
            only_objects(&[&gateways[0], &gateways[1]], &[KEY]).await;
            store.backend().remove(BUCKET, KEY);
        }
    }
}

/// Of two sessions of one process the newer one has the record. Whichever finishes first, neither
/// leaves anything.
#[tokio::test]
async fn two_sessions_that_finish_one_after_the_other_leave_nothing() {
    for overwrite in [true, false] {
        for newer_first in [false, true] {
            let mount = match overwrite {
                true => "",
                false => "permissions = [\"list\", \"read\", \"write\"]",
            };
            let gateway = Gateway::builder().mount(mount).start().await;
            let files = [pattern(8 * MIB, 1), pattern(8 * MIB, 2)];
            let mut older = gateway.ftp().await;
            let one = upload_in_progress(&mut older, &format!("STOR {KEY}"), &files[0]).await;
            gateway
                .store
                .until("its record", |store| !store.keys(BUCKET).is_empty())
                .await;
            let mut newer = gateway.ftp().await;
            let two = upload_in_progress(&mut newer, &format!("STOR {KEY}"), &files[1]).await;
            // Until the newer one has taken the record over.
            gateway.store.wait_for("PutObject", 3).await;
            let (first, second) = if newer_first {
                ((&mut newer, two, 1), (&mut older, one, 0))
            } else {
                ((&mut older, one, 0), (&mut newer, two, 1))
            };
            drop(first.1);
            first.0.expect_reply(226).await;
            assert!(gateway.store.object(BUCKET, KEY).unwrap() == files[first.2]);
            drop(second.1);
            second
                .0
                .expect_reply(if overwrite { 226 } else { 550 })
                .await;
            let last = if overwrite { second.2 } else { first.2 };
            assert!(gateway.store.object(BUCKET, KEY).unwrap() == files[last]);
            older.close().await;
            newer.close().await;
            only_objects(&[&gateway], &[KEY]).await;
        }
    }
}

/// Two processes resume one interrupted upload at the same moment: one succeeds, and the other is
/// refused.
#[tokio::test]
async fn an_interrupted_upload_is_resumed_once() {
    for (name, behaviour) in stores() {
        let gateways = two(&behaviour, "").await;
        let store = Arc::clone(&gateways[0].store);
        let whole = pattern(9 * MIB, 3);
        let sent = 6 * MIB;
        let mut ftp = gateways[0].ftp().await;
        let data = upload_in_progress(&mut ftp, &format!("STOR {KEY}"), &whole[..sent]).await;
        reset_stream(data);
        ftp.expect_reply(426).await;
        ftp.close().await;
        settled(&gateways[0]).await;
        let (mut first, mut second) = (gateways[0].ftp().await, gateways[1].ftp().await);
        for ftp in [&mut first, &mut second] {
            assert_eq!(size(ftp, KEY).await, sent - 1);
            ftp.expect(&format!("REST {sent}"), 350).await;
        }
        let command = format!("STOR {KEY}");
        let (one, two) = tokio::join!(
            first.upload_with(&command, &whole[sent..], test_support::ftp::Mode::Passive),
            second.upload_with(&command, &whole[sent..], test_support::ftp::Mode::Passive),
        );
        let codes = [one.code, two.code];
        assert!(codes.contains(&226), "{name}: {one:?} {two:?}");
        for code in codes {
            // 554: it came so late that the object existed.
            assert!(
                [226, 450, 451, 550, 554].contains(&code),
                "{name}: {one:?} {two:?}"
            );
        }
        if behaviour.conditional_writes {
            let won = codes.iter().filter(|code| **code == 226).count();
            assert_eq!(won, 1, "{name}: {one:?} {two:?}");
        }
        assert!(store.object(BUCKET, KEY).unwrap() == whole, "{name}");
        first.close().await;
        second.close().await;
        only_objects(&[&gateways[0], &gateways[1]], &[KEY]).await;
    }
}

/// A client that still sends while another session of its user has already resumed the upload: its
/// bytes are not mixed into it.
#[tokio::test]
async fn a_session_whose_upload_was_taken_over_adds_nothing_to_it() {
    let gateway = Gateway::start().await;
    let whole = pattern(9 * MIB, 1);
    let sent = 6 * MIB;
    let mut hanging = gateway.ftp().await;
    let mut data = upload_in_progress(&mut hanging, &format!("STOR {KEY}"), &whole[..sent]).await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(size(&mut ftp, KEY).await, sent - 1);
    ftp.expect(&format!("REST {sent}"), 350).await;
    let on = upload_in_progress(&mut ftp, &format!("STOR {KEY}"), &whole[sent..8 * MIB]).await;
    // It may be cut already.
    let _ = data.write_all(&pattern(MIB, 9)).await;
    hanging.expect_reply(426).await;
    reset_stream(on);
    ftp.expect_reply(426).await;
    ftp.close().await;
    hanging.close().await;
    settled(&gateway).await;
    resume(&gateway, By::Rest, KEY, &whole, 8 * MIB).await;
    assert!(gateway.store.object(BUCKET, KEY).unwrap() == whole);
    only_objects(&[&gateway], &[KEY]).await;
}

/// A second upload of the name without a byte, or one of another user, does not end the first.
#[tokio::test]
async fn an_upload_without_a_byte_ends_no_running_upload() {
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
        resume(&gateway, By::Rest, "x", &whole, SENT).await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
        only_objects(&[&gateway], &["x"]).await;
    }
}

/// A newer upload ends a hanging one, even if it breaks off itself: the old content is never
/// resumed.
#[tokio::test]
async fn an_older_hanging_upload_is_never_the_start_of_a_newer_one() {
    for replica in [0, 1] {
        let gateway = Gateway::start().await;
        let other = Gateway::builder().on(&gateway.store).start().await;
        let files = [pattern(9 * MIB, 1), pattern(9 * MIB, 2)];
        let mut hanging = gateway.ftp().await;
        let data = upload_in_progress(&mut hanging, "STOR x", &files[0][..SENT]).await;
        let record = |store: &Store| !store.keys(BUCKET).is_empty();
        gateway.store.until("its record", record).await;
        gateway
            .store
            .backend()
            .advance_clock(Duration::from_secs(3));
        let on = [&gateway, &other][replica];
        break_off(on, "STOR x", &files[1][..70_000]).await;
        reset_stream(data);
        hanging.expect_reply(426).await;
        hanging.close().await;
        settled(&gateway).await;
        resume(on, By::Rest, "x", &files[1], 70_000).await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == files[1]);
        only_objects(&[&gateway, &other], &["x"]).await;
    }
}

/// Two sessions resume one interrupted upload in parallel, each before it can see the other: one of
/// them succeeds.
#[tokio::test]
async fn one_of_two_simultaneous_resumes_wins() {
    for bytes in [70_000, SENT] {
        let gateway = Gateway::start().await;
        let whole = pattern(9 * MIB, 1);
        break_off(&gateway, "STOR x", &whole[..bytes]).await;
        let mut sessions = [gateway.ftp().await, gateway.ftp().await];
        for ftp in &mut sessions {
            assert_eq!(size(ftp, "x").await, bytes - 1);
            ftp.expect(&format!("REST {bytes}"), 350).await;
        }
        // Both read the record, and then both resume.
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
            // The connection of the refused one may be closed.
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
