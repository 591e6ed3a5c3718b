//! The rename to a name that is not temporary: one write that others see.

use super::{Consumer, PATTERNS, SIZES, builder, rename, temporary, visible, visible_in};
use s3ftpd::events::Kind;
use test_support::gateway::{BUCKET, Gateway};
use test_support::settings::store_section;
use test_support::store::Store;
use test_support::transfers::nothing_left;
use test_support::{MIB, pattern};

#[tokio::test]
async fn a_file_appears_once_under_its_last_name() {
    for size in SIZES {
        let gateway = builder().start().await;
        let mut consumer = Consumer::of(&gateway.store);
        let mut ftp = gateway.ftp().await;
        let bytes = pattern(size, 1);
        for (from, to) in [
            ("a.csv.tmp", "a.csv"),
            ("in/b.filepart", "in/b"),
            ("in/.in.c.", "out/deep/c"),
            ("/in/d.tmp", "d"),
        ] {
            assert_eq!(ftp.store(from, &bytes).await.code, 226, "{from}");
            assert_eq!(consumer.saw(), [""; 0], "{from}");
            assert_eq!(temporary(&gateway.store).len(), 1);
            assert_eq!(rename(&mut ftp, from, to).await.code, 250, "{from}");
            assert_eq!(consumer.saw(), [format!("{BUCKET}/{to}")]);
            assert!(gateway.store.object(BUCKET, to).unwrap() == bytes, "{to}");
            ftp.expect(&format!("RNFR {from}"), 550).await;
            let (got, _) = ftp.retrieve(to).await;
            assert!(got == bytes, "{to}");
        }
        assert_eq!(
            visible(&gateway.store),
            ["a.csv", "d", "in/b", "out/deep/c"]
        );
        nothing_left(&gateway, 1).await;
        gateway
            .store
            .until("no state is left", |store| store.keys(BUCKET).len() == 4)
            .await;
    }
}

/// Mounts of the same bucket, another bucket, a bucket with its state elsewhere, and another store.
#[tokio::test]
async fn the_last_name_can_be_in_another_mount_bucket_or_store() {
    for size in [70_000, 12 * MIB] {
        let far = std::sync::Arc::new(Store::start(&["far"]).await);
        let gateway = Gateway::builder()
            .bucket("state")
            .mount(&format!("{PATTERNS}\nstate_bucket = \"state\""))
            .add_mount("second", "second", "sub/")
            .with(&store_section("far", &far))
            .with("[mounts.far]\nstore = \"far\"\nbucket = \"far\"")
            .with("[mounts.same]\nstore = \"main\"\nbucket = \"files\"\nprefix = \"same/\"")
            .with(
                "[users.u]\nmounts = { \"/\" = \"main\", \"/second\" = \"second\", \"/far\" = \"far\", \
                 \"/again\" = \"same\" }",
            )
            .start()
            .await;
        let mut near = Consumer::of(&gateway.store);
        let mut away = Consumer::of(&far);
        let mut ftp = gateway.ftp().await;
        let bytes = pattern(size, 2);
        for (to, store, bucket, key) in [
            ("/n", &gateway.store, BUCKET, "n"),
            ("/second/d/n", &gateway.store, "second", "sub/d/n"),
            ("/again/n", &gateway.store, BUCKET, "same/n"),
            ("/far/n", &far, "far", "n"),
            // This mount has no temporary names.
            ("/far/n.tmp", &far, "far", "n.tmp"),
        ] {
            assert_eq!(ftp.store("in/x.tmp", &bytes).await.code, 226);
            gateway
                .store
                .until("the file alone is left", |store| {
                    store.keys("state").len() == 1
                })
                .await;
            assert_eq!(rename(&mut ftp, "in/x.tmp", to).await.code, 250, "{to}");
            let saw = [near.saw(), away.saw()].concat();
            let saw: Vec<&String> = saw.iter().filter(|seen| !seen.contains("state/")).collect();
            assert_eq!(saw, [&format!("{bucket}/{key}")], "{to}");
            assert!(store.object(bucket, key).unwrap() == bytes, "{to}");
            ftp.expect("RNFR in/x.tmp", 550).await;
            gateway
                .store
                .until("the state is empty", |store| store.keys("state").is_empty())
                .await;
        }
        assert_eq!(visible_in(&gateway.store, "second"), ["sub/d/n"]);
    }
}

#[tokio::test]
async fn a_file_larger_than_a_copy_may_be_is_copied_in_parts() {
    let gateway = builder()
        .with("[stores.main]\ncopy_limit = \"5MiB\"")
        .start()
        .await;
    let mut consumer = Consumer::of(&gateway.store);
    let mut ftp = gateway.ftp().await;
    let bytes = pattern(13 * MIB, 3);
    assert_eq!(ftp.store("x.tmp", &bytes).await.code, 226);
    assert_eq!(rename(&mut ftp, "x.tmp", "x").await.code, 250);
    assert_eq!(gateway.store.count("CopyObject"), 0);
    assert!(gateway.store.count("UploadPartCopy") > 0);
    assert_eq!(consumer.saw(), ["files/x"]);
    assert!(gateway.store.object(BUCKET, "x").unwrap() == bytes);
    gateway.store.no_uploads_left().await;
}

#[tokio::test]
async fn the_last_name_is_replaced_only_if_that_is_allowed() {
    for (conditional, permissions) in [
        (true, "[\"list\", \"read\", \"write\"]"),
        (false, "[\"list\", \"read\", \"write\"]"),
        (true, "[\"list\", \"read\", \"write\", \"overwrite\"]"),
    ] {
        let gateway = builder()
            .with(&format!(
                "[mounts.main]\npermissions = {permissions}\n[stores.main]\nconditional_writes = {conditional}"
            ))
            .start()
            .await;
        let allowed = permissions.contains("overwrite");
        gateway.store.put_before(BUCKET, "x", "old");
        let mut consumer = Consumer::of(&gateway.store);
        let mut ftp = gateway.ftp().await;
        // The temporary name itself can be written as often as its user likes.
        for bytes in ["one", "two"] {
            assert_eq!(ftp.store("x.tmp", bytes.as_bytes()).await.code, 226);
        }
        let reply = rename(&mut ftp, "x.tmp", "x").await;
        if allowed {
            assert_eq!(reply.code, 250);
            assert_eq!(consumer.saw(), ["files/x"]);
            assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"two");
            continue;
        }
        assert_eq!(reply.code, 550);
        assert!(
            reply.text().contains("/x: permission denied (overwrite)"),
            "{reply:?}"
        );
        assert_eq!(consumer.saw(), [""; 0]);
        assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"old");
        // It stays, and can be published under another name.
        assert_eq!(rename(&mut ftp, "x.tmp", "y").await.code, 250);
        assert_eq!(consumer.saw(), ["files/y"]);
        assert_eq!(gateway.store.object(BUCKET, "y").unwrap(), b"two");
    }
}

/// As several scanners that name their files alike.
#[tokio::test]
async fn of_several_files_for_one_name_each_replaces_the_one_before() {
    let gateway = builder().start().await;
    let mut consumer = Consumer::of(&gateway.store);
    let mut sessions = [
        gateway.ftp().await,
        gateway.ftp().await,
        gateway.ftp().await,
    ];
    for (number, ftp) in sessions.iter_mut().enumerate() {
        let bytes = pattern(1000, number as u64);
        let name = format!("x.{number}.tmp");
        assert_eq!(ftp.store(&name, &bytes).await.code, 226);
        ftp.expect(&format!("RNFR {name}"), 350).await;
    }
    let [one, two, three] = &mut sessions;
    let replies = tokio::join!(
        one.command("RNTO x"),
        two.command("RNTO x"),
        three.command("RNTO x")
    );
    assert_eq!([replies.0.code, replies.1.code, replies.2.code], [250; 3]);
    assert_eq!(consumer.saw(), ["files/x"; 3]);
    let found = gateway.store.object(BUCKET, "x").unwrap();
    assert!((0..3).any(|number| found == pattern(1000, number)));
    assert_eq!(temporary(&gateway.store), [""; 0]);
}

/// Without `overwrite` the first one wins, and the others keep their files.
#[tokio::test]
async fn of_several_files_for_one_name_one_is_published_if_nothing_may_be_replaced() {
    let gateway = builder()
        .mount("permissions = [\"list\", \"read\", \"write\"]")
        .start()
        .await;
    let mut consumer = Consumer::of(&gateway.store);
    let mut sessions = [gateway.ftp().await, gateway.ftp().await];
    for (number, ftp) in sessions.iter_mut().enumerate() {
        let name = format!("x.{number}.tmp");
        assert_eq!(ftp.store(&name, b"bytes").await.code, 226);
        ftp.expect(&format!("RNFR {name}"), 350).await;
    }
    let [one, two] = &mut sessions;
    let replies = tokio::join!(one.command("RNTO x"), two.command("RNTO x"));
    let mut codes = [replies.0.code, replies.1.code];
    codes.sort_unstable();
    assert_eq!(codes, [250, 550]);
    assert_eq!(consumer.saw(), ["files/x"]);
    assert_eq!(temporary(&gateway.store).len(), 1);
}

/// Two sessions of one user, of which each publishes the same file.
#[tokio::test]
async fn a_file_is_published_by_one_session_only() {
    let gateway = builder().start().await;
    let mut consumer = Consumer::of(&gateway.store);
    let mut one = gateway.ftp().await;
    let mut two = gateway.ftp().await;
    assert_eq!(one.store("x.tmp", b"bytes").await.code, 226);
    one.expect("RNFR x.tmp", 350).await;
    two.expect("RNFR x.tmp", 350).await;
    let replies = tokio::join!(one.command("RNTO a"), two.command("RNTO b"));
    let mut codes = [replies.0.code, replies.1.code];
    codes.sort_unstable();
    assert_eq!(codes, [250, 550]);
    assert_eq!(consumer.saw().len(), 1);
}

/// A file that was written after RNFR has looked is not the one that the client means.
#[tokio::test]
async fn a_file_that_was_written_again_after_rnfr_is_not_published_or_not_removed() {
    let gateway = builder().start().await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("x.tmp", b"one").await.code, 226);
    ftp.expect("RNFR x.tmp", 350).await;
    let mut other = gateway.ftp().await;
    assert_eq!(other.store("x.tmp", b"two").await.code, 226);
    ftp.expect("RNTO x", 451).await;
    assert_eq!(visible(&gateway.store), [""; 0]);
    assert_eq!(rename(&mut other, "x.tmp", "x").await.code, 250);
    assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"two");
}

#[tokio::test]
async fn a_published_file_keeps_the_time_that_its_client_has_set() {
    let gateway = builder().mount("times = \"metadata\"").start().await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("x.tmp", b"bytes").await.code, 226);
    ftp.expect("MFMT 20200102030405 x.tmp", 213).await;
    let time = ftp.expect("MDTM x.tmp", 213).await.text().to_owned();
    assert_eq!(time, "20200102030405");
    assert_eq!(rename(&mut ftp, "x.tmp", "x").await.code, 250);
    let time = ftp.expect("MDTM x", 213).await.text().to_owned();
    assert_eq!(time, "20200102030405");
}

/// Consumers see a file vanish that is renamed to a temporary name.
#[tokio::test]
async fn a_file_can_become_a_temporary_one() {
    let gateway = builder().start().await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("in/x", b"bytes").await.code, 226);
    let mut consumer = Consumer::of(&gateway.store);
    assert_eq!(rename(&mut ftp, "in/x", "in/x.tmp").await.code, 250);
    // The directory stays.
    assert_eq!(consumer.saw(), ["files/in/", "-files/in/x"]);
    let (got, _) = ftp.retrieve("in/x.tmp").await;
    assert_eq!(got, b"bytes");
    assert_eq!(
        rename(&mut ftp, "in/x.tmp", "other.filepart").await.code,
        250
    );
    assert_eq!(consumer.saw(), [""; 0]);
    assert_eq!(rename(&mut ftp, "other.filepart", "in/x").await.code, 250);
    assert_eq!(consumer.saw(), ["files/in/x"]);
    assert_eq!(temporary(&gateway.store), [""; 0]);
}

#[tokio::test]
async fn events_name_the_paths_of_the_client_and_the_objects() {
    let gateway = builder().start().await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("in/x.tmp", b"bytes").await.code, 226);
    let stored = gateway.events.wait_for(Kind::Transfer).await;
    assert_eq!(stored.path.as_deref(), Some("/in/x.tmp"));
    assert_eq!(stored.bucket.as_deref(), Some(BUCKET));
    let key = stored.key.as_deref().unwrap();
    assert_eq!(temporary(&gateway.store), [key]);
    assert_eq!(rename(&mut ftp, "in/x.tmp", "out/x").await.code, 250);
    let renamed = gateway.events.wait_for(Kind::Renamed).await;
    assert_eq!(renamed.path.as_deref(), Some("/in/x.tmp"));
    assert_eq!(renamed.to.as_deref(), Some("/out/x"));
    assert_eq!(renamed.bucket.as_deref(), Some(BUCKET));
    assert_eq!(renamed.key.as_deref(), Some("out/x"));
    assert_eq!(renamed.size, Some(5));
    let id = renamed.id.as_deref().unwrap();
    let metadata = gateway.store.metadata(BUCKET, "out/x").unwrap();
    assert!(metadata.values().any(|value| value == id), "{metadata:?}");
}
