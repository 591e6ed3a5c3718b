//! A file and a directory of one name, on stores on which one of them would vanish, which keep
//! objects as files, or which allow both; and stores that do not say whether a key is missing.

use s3_embedded::Behaviour;
use tokio::io::AsyncWriteExt;

use test_support::faults::Fault;
use test_support::ftp::{Mode, reset_stream};
use test_support::gateway::{BUCKET, Gateway};
use test_support::transfers::{begin, moved, settled};
use test_support::{MIB, pattern};

/// A gateway on a store with this behaviour, which the gateway probes.
async fn probing(behaviour: Behaviour) -> Gateway {
    let gateway = Gateway::builder()
        .with("[stores.main]\nfiles_hide_directories = \"auto\"")
        .start()
        .await;
    gateway.store.behave(|now| *now = behaviour);
    gateway
}

fn with_a_directory(gateway: &Gateway) {
    for key in ["hq/2026/jan.csv", "hq/2026/feb.csv", "hq/f"] {
        gateway.store.put(BUCKET, key, key);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_not_written_over_a_directory_it_would_hide() {
    let gateway = probing(Behaviour::minio()).await;
    with_a_directory(&gateway);
    let before = gateway.store.keys(BUCKET);
    let mut ftp = gateway.ftp().await;
    for command in ["STOR hq/2026", "APPE hq/2026"] {
        ftp.epsv().await;
        let reply = ftp.expect(command, 550).await;
        assert!(
            reply.text().contains("/hq/2026: is a directory"),
            "{command}: {}",
            reply.text()
        );
    }
    ftp.expect("RNFR hq/f", 350).await;
    let reply = ftp.expect("RNTO hq/2026", 550).await;
    assert!(reply.text().contains("is a directory"), "{}", reply.text());
    let reply = ftp.expect("MKD hq/f", 550).await;
    assert!(
        reply.text().contains("/hq/f: is a file"),
        "{}",
        reply.text()
    );
    assert_eq!(gateway.store.keys(BUCKET), before);
    // A file below a file: the store refuses it after the data has arrived.
    let reply = ftp.store("hq/f/x", b"x").await;
    assert_eq!(reply.code, 550, "{}", reply.text());
    assert!(
        reply.text().contains("a part of the path is a file"),
        "{}",
        reply.text()
    );
    let large = pattern(6 * MIB, 1);
    let reply = ftp.store("hq/f/large", &large).await;
    assert_eq!(reply.code, 550, "{}", reply.text());
    // Nothing is hidden, and a rename of everything leaves nothing.
    ftp.expect("RNFR hq", 350).await;
    ftp.expect("RNTO office", 250).await;
    assert_eq!(
        gateway.store.keys(BUCKET),
        ["office/2026/feb.csv", "office/2026/jan.csv", "office/f"]
    );
}

/// The directory was made after the upload broke off.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_upload_is_not_resumed_over_a_directory_that_it_would_hide() {
    let gateway = probing(Behaviour::minio()).await;
    let mut ftp = gateway.ftp().await;
    let whole = pattern(100_000, 1);
    let mut data = begin(&mut ftp, "STOR hq", Mode::Passive).await;
    data.write_all(&whole[..70_000]).await.unwrap();
    moved(&mut ftp, 70_000).await;
    reset_stream(data);
    ftp.expect_reply(426).await;
    settled(&gateway).await;
    with_a_directory(&gateway);
    for command in ["STOR hq", "APPE hq"] {
        ftp.expect("SIZE hq", 213).await;
        if command == "STOR hq" {
            ftp.expect("REST 69999", 350).await;
        }
        let reply = ftp
            .upload_with(command, &whole[69_999..], Mode::Passive)
            .await;
        assert_eq!(reply.code, 550, "{reply:?}");
        assert!(reply.text().contains("/hq: is a directory"), "{reply:?}");
    }
    assert_eq!(gateway.store.object(BUCKET, "hq"), None);
    // It is still there after the directory is removed.
    for key in ["hq/2026/jan.csv", "hq/2026/feb.csv", "hq/f"] {
        gateway.store.backend().remove(BUCKET, key);
    }
    ftp.expect("REST 69999", 350).await;
    let reply = ftp.store("hq", &whole[69_999..]).await;
    assert_eq!(reply.code, 226, "{reply:?}");
    assert!(gateway.store.object(BUCKET, "hq").unwrap() == whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_for_hidden_directories_is_made_once_and_lookups_only_if_needed() {
    for (behaviour, requests) in [
        (Behaviour::minio(), vec!["ListObjectsV2", "PutObject"]),
        (Behaviour::garage(), vec!["PutObject"]),
        (Behaviour::default(), vec!["PutObject"]),
    ] {
        let gateway = probing(behaviour.clone()).await;
        let mut ftp = gateway.ftp().await;
        assert_eq!(ftp.store("first", b"1").await.code, 226);
        gateway.store.reset_counts();
        assert_eq!(ftp.store("second", b"2").await.code, 226);
        assert_eq!(gateway.store.operations(), requests, "{behaviour:?}");
        let probes = gateway.store.keys(BUCKET);
        assert_eq!(probes, ["first", "second"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_not_made_over_a_file() {
    for behaviour in [
        Behaviour::default(),
        Behaviour::minio(),
        Behaviour::garage(),
    ] {
        let gateway = Gateway::start().await;
        gateway.store.behave(|now| *now = behaviour);
        with_a_directory(&gateway);
        for sibling in ["hq/n.txt", "hq/n-1", "hq/n!"] {
            gateway.store.put(BUCKET, sibling, "x");
        }
        let mut ftp = gateway.ftp().await;
        let reply = ftp.expect("MKD hq/f", 550).await;
        assert!(reply.text().contains("is a file"), "{}", reply.text());
        ftp.expect("MKD hq/2026", 550).await;
        gateway.store.reset_counts();
        ftp.expect("MKD hq/n", 257).await;
        assert_eq!(gateway.store.operations(), ["ListObjectsV2", "PutObject"]);
        ftp.expect("CWD hq/n", 250).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_found_after_a_full_page_of_names() {
    let gateway = Gateway::start().await;
    // All of them sort between "n" and "n/".
    for number in 0..1100 {
        gateway.store.put(BUCKET, &format!("n-{number}"), "");
    }
    let mut ftp = gateway.ftp().await;
    ftp.expect("MKD n", 257).await;
    ftp.expect("MKD n", 550).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_the_store_refuses_is_a_permanent_failure() {
    for (code, text) in [
        ("ExistingObjectIsDirectory", "is a directory"),
        ("ObjectParentIsFile", "a part of the path is a file"),
        ("XMinioObjectExistsAsDirectory", "is a directory"),
        ("XMinioParentIsObject", "a part of the path is a file"),
    ] {
        let gateway = Gateway::start().await;
        gateway.store.put(BUCKET, "there", "1");
        let mut ftp = gateway.ftp().await;
        let refuse = |operation: &str| {
            gateway
                .store
                .fail(operation)
                .key("x")
                .always()
                .with(Fault::Status(409, code))
        };
        let _rules = [
            "PutObject",
            "CreateMultipartUpload",
            "CopyObject",
            "CompleteMultipartUpload",
        ]
        .map(refuse);
        for bytes in [b"1".to_vec(), pattern(9 * MIB, 2)] {
            let reply = ftp.store("x", &bytes).await;
            assert_eq!(reply.code, 550, "{code}: {}", reply.text());
            assert!(reply.text().contains(text), "{code}: {}", reply.text());
        }
        ftp.expect("RNFR there", 350).await;
        let reply = ftp.expect("RNTO x", 550).await;
        assert!(reply.text().contains(text), "{code}: {}", reply.text());
        let reply = ftp.expect("MKD x", 550).await;
        assert!(reply.text().contains(text), "{code}: {}", reply.text());
        assert_eq!(gateway.store.object(BUCKET, "there").unwrap(), b"1");
        // Each was tried once.
        assert_eq!(gateway.store.count("CopyObject"), 1, "{code}");
    }
}

/// A store that answers 403 for a missing key.
fn undisclosed(gateway: &Gateway, key: &str) -> [test_support::faults::Rule; 2] {
    ["HeadObject", "GetObject"].map(|operation| {
        let denied = Fault::Status(403, "AccessDenied");
        gateway.store.fail(operation).key(key).always().with(denied)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_unknown_state_is_written_if_the_store_refuses_to_replace() {
    let gateway = Gateway::builder()
        .mount("permissions = [\"list\", \"read\", \"write\", \"append\", \"mkdir\"]")
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    for (command, name, size) in [
        ("STOR", "small.jpg", 10),
        ("STOR", "large.jpg", 11 * MIB),
        ("APPE", "new.txt", 20),
        ("APPE", "large.txt", 11 * MIB),
    ] {
        let rules = undisclosed(&gateway, name);
        let bytes = pattern(size, 3);
        let line = format!("{command} {name}");
        let reply = ftp.upload_with(&line, &bytes, Mode::Passive).await;
        assert_eq!(reply.code, 226, "{line}: {}", reply.text());
        assert!(
            gateway.store.object(BUCKET, name).unwrap() == bytes,
            "{line}"
        );
        // While the store does not say, the write itself is refused.
        let reply = ftp
            .upload_with(&format!("STOR {name}"), b"other", Mode::Passive)
            .await;
        assert_eq!(reply.code, 550, "{line}: {}", reply.text());
        rules.iter().for_each(test_support::faults::Rule::remove);
        ftp.epsv().await;
        ftp.expect(&format!("STOR {name}"), 550).await;
        assert!(
            gateway.store.object(BUCKET, name).unwrap() == bytes,
            "{line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_unknown_state_is_left_alone_if_the_store_would_replace_it() {
    for behaviour in [
        Behaviour::garage(),
        Behaviour {
            conditional_complete: false,
            ..Behaviour::default()
        },
    ] {
        let gateway = Gateway::builder()
            .mount("permissions = [\"list\", \"read\", \"write\", \"append\", \"mkdir\"]")
            .with("[stores.main]\nconditional_writes = \"auto\"")
            .start()
            .await;
        gateway.store.behave(|now| *now = behaviour);
        gateway.store.put(BUCKET, "kept.txt", "old");
        let _rules = undisclosed(&gateway, "kept.txt");
        let mut ftp = gateway.ftp().await;
        for command in ["STOR kept.txt", "APPE kept.txt"] {
            ftp.epsv().await;
            let reply = ftp.expect(command, 550).await;
            assert!(reply.text().contains("denies access"), "{}", reply.text());
        }
        assert_eq!(gateway.store.object(BUCKET, "kept.txt").unwrap(), b"old");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_to_the_name_of_a_directory_is_refused() {
    let gateway = Gateway::builder()
        .with(&format!(
            "[mounts.deep]\nstore = \"main\"\nbucket = \"{BUCKET}\"\nprefix = \"deep/\"\n\
             [users.u]\nmounts = {{ \"/\" = \"main\", \"/way/deep\" = \"deep\" }}"
        ))
        .start()
        .await;
    gateway.store.put(BUCKET, "in/a", "1");
    let mut ftp = gateway.ftp().await;
    ftp.expect("CWD in", 250).await;
    for path in [
        "/in/",
        ".",
        "..",
        "new/.",
        "/way",
        "/way/",
        "/way/deep",
        "/",
    ] {
        for verb in ["STOR", "APPE"] {
            let data = ftp.data_passive().await;
            let reply = ftp.expect(&format!("{verb} {path}"), 550).await;
            assert!(reply.reason().ends_with("is a directory"), "{reply:?}");
            drop(data);
        }
    }
    assert_eq!(gateway.store.keys(BUCKET), ["in/a"]);
    ftp.close().await;
    gateway.stop().await;
}
