//! The sweep, and what it finds of uploads.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{By, only_objects, resume};
use test_support::faults::Fault;
use test_support::ftp::{Mode, reset_stream};
use test_support::gateway::{BUCKET, Gateway, PASSWORD, USER};
use test_support::launcher::command;
use test_support::settings::{Settings, store_section, user_section};
use test_support::transfers::{begin, interrupt, moved, settled, size, upload_in_progress};
use test_support::{MIB, pattern, within};

/// `s3ftpd sweep` with these arguments.
pub(crate) async fn sweep(gateway: &Gateway, arguments: &[&str]) -> (bool, String) {
    sweep_mounts(gateway, &[("main", "")], arguments).await
}

/// `s3ftpd sweep` with one mount of the bucket for each pair of a store and further settings. All
/// of the stores are the same one.
pub(crate) async fn sweep_mounts(
    gateway: &Gateway,
    mounts: &[(&str, &str)],
    arguments: &[&str],
) -> (bool, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("s3ftpd.toml");
    let mut settings = Settings::default().with("[memory]\nbudget = \"64MiB\"");
    let stores: BTreeSet<&str> = mounts.iter().map(|(store, _)| *store).collect();
    for store in stores {
        settings.lay(&store_section(store, &gateway.store));
        settings.lay(&format!("[stores.{store}]\nattempts = 1"));
    }
    let mut at = Vec::new();
    for (number, (store, more)) in mounts.iter().enumerate() {
        settings.lay(&format!(
            "[mounts.m{number}]\nstore = \"{store}\"\nbucket = \"{BUCKET}\""
        ));
        settings.lay(&format!("[mounts.m{number}]\n{more}"));
        at.push(format!("\"/{number}\" = \"m{number}\""));
    }
    let mounts = format!("{{ {} }}", at.join(", "));
    settings.lay(&user_section(USER, PASSWORD, &mounts));
    std::fs::write(&file, settings.text()).unwrap();
    let output = command(&["sweep", "--config", file.to_str().unwrap()])
        .args(arguments)
        .output();
    let output = within("the sweep", output).await.unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.success(), text)
}

/// A bucket that no mount has any more, by its name.
#[tokio::test]
async fn a_bucket_without_a_mount_can_be_swept() {
    let gateway = Gateway::builder()
        .bucket("state")
        .mount("state_bucket = \"state\"")
        .bucket("now")
        .start()
        .await;
    interrupt(&gateway, "STOR large", &pattern(6 * MIB, 1)).await;
    let mounts = [("main", "bucket = \"now\"")];
    let swept = async |arguments: &[&str]| {
        let always = ["--older-than", "0s"].iter().chain(arguments).copied();
        sweep_mounts(&gateway, &mounts, &always.collect::<Vec<_>>()).await
    };
    let (succeeded, output) = swept(&[]).await;
    assert!(succeeded && output.contains("0 found"), "{output}");
    let (succeeded, output) = swept(&["--bucket", "second:files"]).await;
    assert!(
        !succeeded && output.contains("no store \"second\"; allowed: main"),
        "{output}"
    );
    let (succeeded, output) = swept(&["--bucket", "files"]).await;
    assert!(!succeeded && output.contains("a colon"), "{output}");
    let place = ["--bucket", "main:files", "--state-bucket", "state"];
    let (succeeded, output) = swept(&place).await;
    assert!(
        succeeded && output.contains("1 found, 1 removed"),
        "{output}"
    );
    assert!(gateway.store.keys("state").is_empty());
    gateway.store.no_uploads_left().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_manual_sweep_removes_old_uploads_and_leaves_running_ones() {
    let gateway = Gateway::start().await;
    let store = &gateway.store;
    let whole = pattern(13 * MIB, 1);
    interrupt(&gateway, "STOR large", &whole[..6 * MIB]).await;
    interrupt(&gateway, "STOR small", &whole[..1000]).await;
    store.put(BUCKET, ".s3ftpd/probe-left", "x");
    store.put(
        BUCKET,
        ".s3ftpd/tails/0123456789abcdef0123456789abcdef/left",
        "x",
    );
    for key in ["foreign", ".s3ftpd/probe-open"] {
        let open = store.client().create_multipart_upload();
        open.bucket(BUCKET).key(key).send().await.unwrap();
    }
    let mut running = gateway.ftp().await;
    let mut data = begin(&mut running, "STOR running", Mode::Passive).await;
    tokio::io::AsyncWriteExt::write_all(&mut data, &whole[..6 * MIB])
        .await
        .unwrap();
    moved(&mut running, 6 * MIB).await;
    store
        .until("its record", |store| store.keys(BUCKET).len() == 7)
        .await;
    let before = store.keys(BUCKET);

    let (succeeded, output) = sweep(&gateway, &["--older-than", "0s", "--dry-run"]).await;
    assert!(succeeded, "{output}");
    // Another process may be at work on what no record names.
    for line in [
        "would be removed: upload files/large of u",
        "would be removed: upload files/small of u",
        "stays: upload files/running of u",
        "stays: tail files/.s3ftpd/tails/0123456789abcdef0123456789abcdef/left",
        "stays: probe files/.s3ftpd/probe-left",
        "stays: probe files/.s3ftpd/probe-open",
        "stays: unrecorded upload files/foreign",
        "7 found, 2 to remove (older than 0 s; without a current record: 86400 s)",
    ] {
        assert!(output.contains(line), "{line} is not in\n{output}");
    }
    assert_eq!(store.keys(BUCKET), before);
    assert_eq!(store.open_uploads().len(), 4);

    // Not old enough.
    let (succeeded, output) = sweep(&gateway, &["--older-than", "1h"]).await;
    assert!(
        succeeded && output.contains("7 found, 0 removed"),
        "{output}"
    );
    assert_eq!(store.keys(BUCKET), before);

    let (succeeded, output) = sweep(&gateway, &["--older-than", "0s"]).await;
    assert!(
        succeeded && output.contains("7 found, 2 removed"),
        "{output}"
    );
    assert_eq!(store.keys(BUCKET).len(), 3, "{:?}", store.keys(BUCKET));
    assert_eq!(store.open_uploads().len(), 3);
    let (succeeded, output) = sweep(&gateway, &["--older-than", "0s", "--unrecorded"]).await;
    assert!(
        succeeded && output.contains("5 found, 0 removed"),
        "{output}"
    );

    // The running upload is whole.
    tokio::io::AsyncWriteExt::write_all(&mut data, &whole[6 * MIB..])
        .await
        .unwrap();
    drop(data);
    running.expect_reply(226).await;
    running.close().await;
    assert!(store.object(BUCKET, "running").unwrap() == whole);

    store.a_day();
    let (succeeded, output) = sweep(&gateway, &["--older-than", "0s"]).await;
    assert!(
        succeeded && output.contains("4 found, 3 removed"),
        "{output}"
    );
    assert_eq!(store.open_uploads().len(), 1);
    // Older than a day, but not as old as that.
    let (succeeded, output) = sweep(&gateway, &["--older-than", "2d", "--unrecorded"]).await;
    assert!(
        succeeded && output.contains("1 found, 0 removed (older than 172800 s)"),
        "{output}"
    );
    let (succeeded, output) = sweep(&gateway, &["--older-than", "0s", "--unrecorded"]).await;
    assert!(
        succeeded && output.contains("removed: unrecorded upload files/foreign"),
        "{output}"
    );
    store.no_uploads_left().await;
    only_objects(&[&gateway], &["running"]).await;
}

/// Another process's upload to a mount that keeps no interrupted uploads has no record.
#[tokio::test]
async fn a_running_upload_without_a_record_stays() {
    let gateway = Gateway::builder()
        .mount("interrupted = \"abort\"")
        .start()
        .await;
    let whole = pattern(13 * MIB, 1);
    let mut ftp = gateway.ftp().await;
    let mut data = upload_in_progress(&mut ftp, "STOR x", &whole[..6 * MIB]).await;
    gateway.store.wait_for("UploadPart", 1).await;
    let an_hour = Duration::from_secs(3600);
    gateway.store.backend().advance_clock(an_hour);
    let (succeeded, output) = sweep(&gateway, &["--older-than", "1m", "--unrecorded"]).await;
    assert!(
        succeeded && output.contains("stays: unrecorded upload files/x"),
        "{output}"
    );
    tokio::io::AsyncWriteExt::write_all(&mut data, &whole[6 * MIB..])
        .await
        .unwrap();
    drop(data);
    ftp.expect_reply(226).await;
    ftp.close().await;
    assert!(gateway.store.object(BUCKET, "x").unwrap() == whole);
    only_objects(&[&gateway], &["x"]).await;
}

/// A newer upload of its user has set its record aside, so nothing refreshes that.
#[tokio::test]
async fn a_running_upload_whose_record_was_set_aside_stays() {
    let gateway = Gateway::start().await;
    let other = Gateway::builder().on(&gateway.store).start().await;
    let store = &gateway.store;
    let whole = pattern(13 * MIB, 1);
    let mut ftp = gateway.ftp().await;
    let mut data = upload_in_progress(&mut ftp, "STOR x", &whole[..6 * MIB]).await;
    store
        .until("its record", |store| !store.keys(BUCKET).is_empty())
        .await;
    store.wait_for("UploadPart", 1).await;
    store.a_while();
    let mut newer = other.ftp().await;
    let end = upload_in_progress(&mut newer, "STOR x", &whole[6 * MIB..12 * MIB]).await;
    store
        .until("the record set aside", |store| {
            store
                .keys(BUCKET)
                .iter()
                .filter(|key| key.contains("/uploads/"))
                .count()
                == 2
        })
        .await;
    drop(end);
    newer.expect_reply(226).await;
    newer.close().await;
    settled(&other).await;
    store.backend().advance_clock(Duration::from_secs(152));
    let (succeeded, output) = sweep(&gateway, &["--older-than", "1m"]).await;
    assert!(
        succeeded && output.contains("stays: upload files/x of u"),
        "{output}"
    );
    tokio::io::AsyncWriteExt::write_all(&mut data, &whole[6 * MIB..])
        .await
        .unwrap();
    drop(data);
    ftp.expect_reply(226).await;
    ftp.close().await;
    assert!(store.object(BUCKET, "x").unwrap() == whole);
    only_objects(&[&gateway, &other], &["x"]).await;
}

/// The state of one bucket's uploads can be in several buckets, and one store can have two names:
/// an upload that any of them records is not foreign. If this is not known of an upload, it is left
/// alone.
#[tokio::test]
async fn uploads_recorded_in_another_state_bucket_are_not_foreign() {
    let gateway = Gateway::builder()
        .bucket("state")
        .with(&format!(
            "[mounts.second]\nstore = \"main\"\nbucket = \"{BUCKET}\"\nprefix = \"second/\"\nstate_bucket = \"state\""
        ))
        .with("[users.u]\nmounts = { \"/\" = \"main\", \"/second\" = \"second\" }")
        .start()
        .await;
    let store = &gateway.store;
    let bytes = pattern(6 * MIB, 1);
    interrupt(&gateway, "STOR /first", &bytes).await;
    interrupt(&gateway, "STOR /second/x", &bytes).await;
    assert!(
        store
            .keys("state")
            .iter()
            .any(|key| key.contains("/uploads/"))
    );
    for key in ["foreign-1", "foreign-2"] {
        let foreign = store.client().create_multipart_upload();
        foreign.bucket(BUCKET).key(key).send().await.unwrap();
    }
    store.a_day();
    let state = "state_bucket = \"state\"";
    let dry_run = ["--unrecorded", "--dry-run", "--older-than", "0s"];
    for mounts in [
        [("main", ""), ("main", state)],
        [("main", ""), ("alias", state)],
        [("main", state), ("alias", "")],
    ] {
        let (succeeded, output) = sweep_mounts(&gateway, &mounts, &dry_run).await;
        assert!(succeeded, "{output}");
        for line in [
            "would be removed: upload files/first of u",
            "would be removed: upload files/second/x of u",
            "would be removed: unrecorded upload files/foreign-1",
            "would be removed: unrecorded upload files/foreign-2",
            "4 found, 4 to remove",
        ] {
            assert!(output.contains(line), "{line} is not in\n{output}");
        }
    }
    let mounts = [("main", ""), ("main", state)];

    // A record that cannot be read may name any upload of its key.
    let unread = store.fail("GetObject").key(".s3ftpd/uploads/").always();
    let unread = unread.with(Fault::Status(403, "AccessDenied"));
    let (succeeded, output) = sweep_mounts(&gateway, &mounts, &dry_run).await;
    unread.remove();
    assert!(
        succeeded && output.contains("2 found, 2 to remove"),
        "{output}"
    );
    assert!(
        output.contains("unrecorded upload files/foreign-2"),
        "{output}"
    );

    // An upload that cannot be looked up does not stop the sweep of others.
    let unseen = store.fail("ListParts").key("foreign-1").always();
    let unseen = unseen.with(Fault::Status(403, "AccessDenied"));
    let remove = ["--unrecorded", "--older-than", "0s"];
    let (succeeded, output) = sweep_mounts(&gateway, &mounts, &remove).await;
    unseen.remove();
    assert!(
        succeeded && output.contains("3 found, 3 removed"),
        "{output}"
    );
    let left = store.open_uploads();
    assert_eq!(left.len(), 1, "{output}");
    assert_eq!(left[0].key, "foreign-1");

    // No upload is called foreign while the records of a state bucket are not known.
    let unlisted = store.fail("ListObjectsV2").times(1);
    let _unlisted = unlisted.with(Fault::Status(403, "AccessDenied"));
    let (succeeded, output) = sweep_mounts(&gateway, &mounts, &remove).await;
    assert!(
        !succeeded && output.contains("could not be swept"),
        "{output}"
    );
    assert_eq!(store.open_uploads().len(), 1, "{output}");
}

/// A minute stands for three days.
#[tokio::test]
async fn a_server_sweeps_old_uploads() {
    let gateway = Gateway::start().await;
    interrupt(&gateway, "STOR large", &pattern(6 * MIB, 1)).await;
    interrupt(&gateway, "STOR small", &pattern(1000, 1)).await;
    gateway
        .store
        .backend()
        .advance_clock(Duration::from_secs(62));
    interrupt(&gateway, "STOR young", &pattern(1000, 1)).await;
    let _sweeping = Gateway::builder()
        .with("[resume]\nkeep_for = \"1m\"\nsweep_every = \"100ms\"")
        .on(&gateway.store)
        .start()
        .await;
    gateway
        .store
        .until("only the newest upload is left", |store| {
            store.keys(BUCKET).len() == 2
        })
        .await;
    gateway.store.no_uploads_left().await;
    resume(&gateway, By::Rest, "young", &pattern(1000 + MIB, 1), 1000).await;
}

/// The probe of a killed process lies with the objects, not with their state.
#[tokio::test]
async fn a_server_sweeps_probes_in_their_bucket() {
    let gateway = Gateway::builder().bucket("state").start().await;
    let store = &gateway.store;
    store.put(BUCKET, ".s3ftpd/probe-left", "x");
    store.put("state", ".s3ftpd/probe-left", "x");
    let open = store.client().create_multipart_upload();
    let open = open.bucket(BUCKET).key(".s3ftpd/probe-open");
    open.send().await.unwrap();
    store.a_day();
    let _sweeping = Gateway::builder()
        .mount("state_bucket = \"state\"")
        .with("[resume]\nkeep_for = \"1m\"\nsweep_every = \"100ms\"")
        .on(store)
        .start()
        .await;
    store
        .until("the probes are gone", |store| {
            store.keys(BUCKET).is_empty() && store.keys("state").is_empty()
        })
        .await;
    store.no_uploads_left().await;
}

/// An interrupted upload ends when a small upload on another replica writes its name. That one does
/// not look for it, so the sweep finds it.
#[tokio::test]
async fn a_server_sweeps_ended_records() {
    let gateway = Gateway::start().await;
    interrupt(&gateway, "STOR x", &pattern(6 * MIB, 1)).await;
    let other = Gateway::builder()
        .with("[resume]\nsweep_every = \"100ms\"")
        .on(&gateway.store)
        .start()
        .await;
    let mut ftp = other.ftp().await;
    assert_eq!(ftp.store("x", b"new").await.code, 226);
    ftp.close().await;
    only_objects(&[&gateway, &other], &["x"]).await;
    assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"new");
}

#[tokio::test]
async fn a_sweep_of_a_store_that_is_down_fails_with_a_message() {
    let gateway = Gateway::start().await;
    let rule = gateway.store.fail("ListObjectsV2").always();
    let _rule = rule.with(Fault::Status(503, "SlowDown"));
    let (succeeded, output) = sweep(&gateway, &["--dry-run"]).await;
    assert!(
        !succeeded && output.contains("main:files could not be swept"),
        "{output}"
    );
    let (succeeded, output) = sweep(&gateway, &["--older-than", "soon"]).await;
    assert!(
        !succeeded && output.contains("such as 30s, 12h, 7d"),
        "{output}"
    );
}

/// Two sessions write one name in parallel, and break off in either order: nothing is left, and
/// nothing is mixed.
#[tokio::test]
async fn two_writers_of_one_name_leave_nothing_of_each_other() {
    for replicas in [1, 2] {
        for second_first in [false, true] {
            let gateway = Gateway::start().await;
            let other = Gateway::builder().on(&gateway.store).start().await;
            let on = [&gateway, if replicas == 1 { &gateway } else { &other }];
            let files = [pattern(8 * MIB, 1), pattern(8 * MIB, 2)];
            let mut first = on[0].ftp().await;
            let one = upload_in_progress(&mut first, "STOR x", &files[0][..6 * MIB]).await;
            gateway
                .store
                .until("a record", |store| !store.keys(BUCKET).is_empty())
                .await;
            let mut second = on[1].ftp().await;
            let two = upload_in_progress(&mut second, "STOR x", &files[1][..6 * MIB]).await;
            gateway.store.wait_for("PutObject", 3).await;
            let (winner, loser) = if second_first {
                ((&mut second, two, 1), (&mut first, one))
            } else {
                ((&mut first, one, 0), (&mut second, two))
            };
            let (ftp, mut data, number) = winner;
            tokio::io::AsyncWriteExt::write_all(&mut data, &files[number][6 * MIB..])
                .await
                .unwrap();
            drop(data);
            ftp.expect_reply(226).await;
            reset_stream(loser.1);
            loser.0.expect_reply(426).await;
            first.close().await;
            second.close().await;
            assert!(gateway.store.object(BUCKET, "x").unwrap() == files[number]);
            settled(&gateway).await;
            settled(&other).await;
            // A record of an ended upload may be left; the next SIZE, or the sweep, removes it.
            let mut ftp = gateway.ftp().await;
            assert_eq!(
                size(&mut ftp, "x").await,
                8 * MIB,
                "{replicas} {second_first}"
            );
            ftp.close().await;
            only_objects(&[&gateway, &other], &["x"]).await;
        }
    }
}
