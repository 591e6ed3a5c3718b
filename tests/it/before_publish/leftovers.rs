//! What a dead process leaves, what the sweep finds, and uploads that began under another
//! configuration.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::{SIZES, asked, asking, hold, only, sent, visible};
use crate::resume::sweep::sweep;
use test_support::ftp::Mode;
use test_support::gateway::{BUCKET, Gateway};
use test_support::process::Process;
use test_support::receiver::{Receiver, allow};
use test_support::store::Store;
use test_support::transfers::{interrupt, size, upload_in_progress};
use test_support::{MIB, pattern};

/// Kills a process while its question is open; the next gateway has its replica's name.
async fn killed_while_asked(receiver: &Receiver, store: &Arc<Store>, whole: &[u8]) -> Gateway {
    let released = hold(receiver, allow());
    let settings = format!(
        "replica = \"pod-0\"\n[transfer]\npart_size = \"5MiB\"\n[memory]\nbudget = \"64MiB\"\n\
         [before_publish]\nurl = \"{}\"",
        receiver.url()
    );
    let process = Process::start_on(store, &settings).await;
    let mut ftp = process.ftp().await;
    sent(&mut ftp, "STOR x", whole).await;
    receiver.called(1).await;
    if whole.len() > 5 * MIB {
        // The record that names the staged file.
        store
            .until("the record", |store| {
                let records = store.requests();
                let written = records.iter().filter(|request| {
                    request.operation == "PutObject" && request.key.contains("/uploads/")
                });
                written.count() > 1
            })
            .await;
    }
    process.kill().await;
    released.cancel();
    drop(ftp);
    asking(receiver)
        .with("replica = \"pod-0\"")
        .on(store)
        .start()
        .await
}

#[tokio::test]
async fn a_large_upload_of_a_killed_process_is_resumed_and_asked_about_again() {
    let receiver = Receiver::start().await;
    let store = Arc::new(Store::start(&[BUCKET]).await);
    let whole = pattern(SIZES[2], 1);
    let gateway = killed_while_asked(&receiver, &store, &whole).await;
    assert_eq!(visible(&store), Vec::<String>::new());
    let mut ftp = gateway.ftp().await;
    let from = size(&mut ftp, "x").await;
    assert_eq!(from, whole.len() - 1);
    ftp.expect(&format!("REST {from}"), 350).await;
    let reply = ftp
        .upload_with("STOR x", &whole[from..], Mode::Passive)
        .await;
    assert_eq!(reply.code, 226, "{}", ftp.transcript());
    assert!(store.object(BUCKET, "x").unwrap() == whole);
    assert_eq!(receiver.calls().len(), 2);
    only(&gateway, 1, &["x"]).await;
}

#[tokio::test]
async fn a_small_upload_of_a_killed_process_is_sent_again_and_its_staged_file_swept() {
    let receiver = Receiver::start().await;
    let store = Arc::new(Store::start(&[BUCKET]).await);
    let whole = pattern(SIZES[0], 1);
    let gateway = killed_while_asked(&receiver, &store, &whole).await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("SIZE x", 550).await;
    assert_eq!(ftp.store("x", &whole).await.code, 226);
    ftp.close().await;
    store
        .until("one staged file is left", |store| {
            store.keys(BUCKET).len() == 2
        })
        .await;
    store.a_day();
    let (success, text) = sweep(&gateway, &["--older-than", "0s"]).await;
    assert!(success && text.contains("tail"), "{text}");
    only(&gateway, 0, &["x"]).await;
}

#[tokio::test]
async fn the_sweep_leaves_what_is_asked_about_and_what_a_record_names() {
    let receiver = Receiver::start().await;
    let gateway = asking(&receiver).start().await;
    let whole = pattern(SIZES[2], 1);
    interrupt(&gateway, "STOR kept", &whole[..6 * MIB]).await;
    // An upload of a staged key that no record names is ours by its key.
    let open = gateway.store.client().create_multipart_upload();
    let key = ".s3ftpd/tails/0123456789abcdef0123456789abcdef/user/left";
    open.bucket(BUCKET).key(key).send().await.unwrap();
    assert_eq!(gateway.store.open_uploads().len(), 2);
    let (success, text) = sweep(&gateway, &["--older-than", "1h"]).await;
    assert!(success && text.contains("2 found, 0 removed"), "{text}");
    gateway.store.a_day();
    let (success, text) = sweep(&gateway, &["--older-than", "0s", "--dry-run"]).await;
    assert!(success && text.contains("2 found, 2 to remove"), "{text}");
    assert_eq!(gateway.store.open_uploads().len(), 2);
    let (success, text) = sweep(&gateway, &["--older-than", "0s"]).await;
    assert!(success, "{text}");
    only(&gateway, 0, &[]).await;
}

/// No record names a staged file of one part, and none an upload to a mount that keeps no
/// interrupted uploads. The sweep is another process, so it does not know that they run.
#[tokio::test]
async fn the_sweep_leaves_staged_files_that_are_asked_about() {
    for (word, size) in [("keep", SIZES[0]), ("abort", SIZES[0]), ("abort", SIZES[2])] {
        let whole = pattern(size, 1);
        let mount = format!("interrupted = \"{word}\"");
        let mut asked = asked(|builder| builder.mount(&mount), &whole).await;
        let store = Arc::clone(&asked.gateway.store);
        store.backend().advance_clock(Duration::from_secs(3600));
        for more in [&[][..], &["--unrecorded"]] {
            let options = [&["--older-than", "1m"], more].concat();
            let (success, text) = sweep(&asked.gateway, &options).await;
            assert!(success && text.contains("stays: tail files/"), "{text}");
        }
        asked.released.cancel();
        asked.ftp.expect_reply(226).await;
        asked.ftp.close().await;
        assert!(store.object(BUCKET, "x").unwrap() == whole);
        only(&asked.gateway, 0, &["x"]).await;
    }
}

#[tokio::test]
async fn the_sweep_leaves_the_parts_of_a_running_upload_that_will_be_asked_about() {
    let receiver = Receiver::start().await;
    let gateway = asking(&receiver)
        .mount("interrupted = \"abort\"")
        .start()
        .await;
    let whole = pattern(SIZES[2], 1);
    let mut ftp = gateway.ftp().await;
    let mut data = upload_in_progress(&mut ftp, "STOR x", &whole[..6 * MIB]).await;
    gateway.store.wait_for("UploadPart", 1).await;
    let an_hour = Duration::from_secs(3600);
    gateway.store.backend().advance_clock(an_hour);
    let (success, text) = sweep(&gateway, &["--older-than", "1m"]).await;
    let stays = "stays: unrecorded upload files/.s3ftpd/tails/";
    assert!(success && text.contains(stays), "{text}");
    data.write_all(&whole[6 * MIB..]).await.unwrap();
    drop(data);
    ftp.expect_reply(226).await;
    ftp.close().await;
    assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
    only(&gateway, 0, &["x"]).await;
}

#[tokio::test]
async fn an_upload_that_began_without_a_check_is_not_resumed_past_one() {
    let plain = Gateway::start().await;
    let whole = pattern(SIZES[2], 1);
    interrupt(&plain, "STOR x", &whole[..6 * MIB]).await;
    interrupt(&plain, "STOR small", &whole[..1000]).await;
    let receiver = Receiver::start().await;
    let gateway = asking(&receiver).on(&plain.store).start().await;
    plain.stop().await;
    let mut ftp = gateway.ftp().await;
    // Its parts are in an open upload of the object, which no scanner can read.
    ftp.expect("SIZE x", 550).await;
    assert_eq!(ftp.store("x", &whole).await.code, 226);
    // Bytes that are in no part are staged with the rest.
    let from = size(&mut ftp, "small").await;
    ftp.expect(&format!("REST {from}"), 350).await;
    let reply = ftp
        .upload_with("STOR small", &whole[from..2000], Mode::Passive)
        .await;
    assert_eq!(reply.code, 226, "{}", ftp.transcript());
    assert_eq!(receiver.calls().len(), 2);
    assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
    assert!(gateway.store.object(BUCKET, "small").unwrap() == whole[..2000]);
    only(&gateway, 1, &["small", "x"]).await;
}

#[tokio::test]
async fn an_upload_that_began_with_a_check_is_resumed_without_one() {
    let receiver = Receiver::start().await;
    let checked = asking(&receiver).start().await;
    let whole = pattern(SIZES[2], 1);
    interrupt(&checked, "STOR x", &whole[..6 * MIB]).await;
    let gateway = Gateway::builder().on(&checked.store).start().await;
    checked.stop().await;
    let mut ftp = gateway.ftp().await;
    let from = size(&mut ftp, "x").await;
    assert_eq!(from, 6 * MIB - 1);
    ftp.expect(&format!("REST {from}"), 350).await;
    let reply = ftp
        .upload_with("STOR x", &whole[from..], Mode::Passive)
        .await;
    assert_eq!(reply.code, 226, "{}", ftp.transcript());
    assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
    assert!(receiver.calls().is_empty());
    only(&gateway, 1, &["x"]).await;
}

#[tokio::test]
async fn an_interrupted_upload_is_resumed_and_asked_about_once() {
    for length in SIZES {
        let receiver = Receiver::start().await;
        let gateway = asking(&receiver).start().await;
        let whole = pattern(length + 2 * MIB, 1);
        interrupt(&gateway, "STOR x", &whole[..length]).await;
        let mut ftp = gateway.ftp().await;
        let from = size(&mut ftp, "x").await;
        ftp.expect(&format!("REST {from}"), 350).await;
        let reply = ftp
            .upload_with("STOR x", &whole[from..], Mode::Passive)
            .await;
        assert_eq!(reply.code, 226, "{}", ftp.transcript());
        assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
        assert_eq!(receiver.calls().len(), 1);
        only(&gateway, 1, &["x"]).await;
    }
}
