//! `allow_names` and `deny_names`: on each way a file can come to be.

use std::sync::Arc;

use s3ftpd::events::{Class, Kind};

use test_support::ftp::Mode;
use test_support::gateway::{BUCKET, Gateway, PASSWORD};
use test_support::settings::store_section;
use test_support::store::Store;

const RULES: &str = "allow_names = [\"*.csv\", \"READY\"]\ndeny_names = [\"~*\", \"*.tmp.csv\"]";

/// Names, and the rule by which they are refused.
const NAMES: [(&str, Option<&str>); 7] = [
    ("a.csv", None),
    ("dir.exe/b.csv", None),
    ("READY", None),
    ("ready", Some("allow_names: *.csv, READY")),
    ("a.CSV", Some("allow_names: *.csv, READY")),
    ("~a.csv", Some("deny_names: ~*")),
    ("dir/a.tmp.csv", Some("deny_names: *.tmp.csv")),
];

#[tokio::test]
async fn a_new_file_must_have_a_name_that_is_allowed() {
    let gateway = Gateway::builder()
        .mount(RULES)
        .add_mount("free", "free", "")
        .user("u", PASSWORD, "{ \"/\" = \"main\", \"/free\" = \"free\" }")
        .start()
        .await;
    let store = &gateway.store;
    let mut ftp = gateway.ftp().await;
    for (name, rule) in NAMES {
        for command in [
            "STOR",
            "APPE",
            "REST",
            "over",
            "append",
            "RNTO",
            "from another mount",
        ] {
            let what = format!("{command} {name}");
            for bucket in [BUCKET, "free"] {
                for key in store.keys(bucket) {
                    store.backend().remove(bucket, &key);
                }
            }
            // Existing files with names that are not allowed now.
            store.put(BUCKET, "old.txt", "1");
            store.put("free", "old.txt", "1");
            let exists = matches!(command, "REST" | "over" | "append");
            if exists {
                store.put(BUCKET, name, "1");
            }
            let rename = match command {
                "RNTO" => Some("RNFR /old.txt"),
                "from another mount" => Some("RNFR /free/old.txt"),
                _ => None,
            };
            if let Some(rename) = rename {
                ftp.expect(rename, 350).await;
            }
            store.reset_counts();
            gateway.events.drain();
            let verb = match command {
                "REST" => {
                    ftp.expect("REST 1", 350).await;
                    "STOR"
                }
                "over" => "STOR",
                "append" => "APPE",
                _ if rename.is_some() => "RNTO",
                verb => verb,
            };
            let reply = match (rename, rule) {
                (Some(_), _) => ftp.command(&format!("RNTO /{name}")).await,
                (None, None) => {
                    ftp.upload_with(&format!("{verb} /{name}"), b"2", Mode::Passive)
                        .await
                }
                (None, Some(_)) => {
                    let _port = ftp.data(Mode::Passive).await;
                    ftp.command(&format!("{verb} /{name}")).await
                }
            };
            match rule {
                None => {
                    assert!(matches!(reply.code, 226 | 250), "{what}: {reply:?}");
                    assert!(store.object(BUCKET, name).is_some(), "{what}");
                }
                Some(rule) => {
                    assert_eq!(reply.code, 553, "{what}: {reply:?}");
                    let text = format!("/{name}: files may not have this name here ({rule})");
                    assert!(reply.text().starts_with(&text), "{what}: {reply:?}");
                    assert_eq!(store.operations(), [""; 0], "{what}");
                    assert_eq!(store.object(BUCKET, name).is_some(), exists, "{what}");
                    let events = gateway.events.drain();
                    assert_eq!(events.len(), 1, "{what}: {events:?}");
                    assert_eq!(events[0].kind, Kind::Refused, "{what}");
                    assert_eq!(events[0].class, Some(Class::Permission), "{what}");
                    assert_eq!(events[0].verb, Some(verb), "{what}");
                }
            }
        }
    }
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn stou_adds_to_the_name_that_is_looked_at() {
    let gateway = Gateway::builder()
        .mount("allow_names = [\"scan.*\"]")
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    for command in ["STOU", "STOU a.pdf"] {
        let _port = ftp.data(Mode::Passive).await;
        ftp.expect(command, 553).await;
    }
    assert_eq!(gateway.store.keys(BUCKET), [""; 0]);
    let reply = ftp.upload_with("STOU scan", b"1", Mode::Passive).await;
    assert_eq!(reply.code, 226, "{reply:?}");
    assert_eq!(gateway.store.keys(BUCKET).len(), 1);
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn files_that_are_there_and_directories_are_not_subject_to_it() {
    let gateway = Gateway::builder().mount(RULES).start().await;
    gateway.store.put(BUCKET, "x.exe", "old");
    gateway.store.put(BUCKET, "y.exe", "old");
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    let (text, _) = ftp.list("NLST").await;
    assert_eq!(text, "x.exe\r\ny.exe\r\n");
    ftp.expect("SIZE x.exe", 213).await;
    assert_eq!(ftp.retrieve("x.exe").await.0, b"old");
    ftp.expect("RNFR x.exe", 350).await;
    ftp.expect("RNTO x.csv", 250).await;
    ftp.expect("DELE y.exe", 250).await;
    ftp.expect("MKD ~dir", 257).await;
    ftp.expect("RNFR ~dir", 350).await;
    ftp.expect("RNTO dir.exe", 250).await;
    ftp.expect("RMD dir.exe", 250).await;
    assert_eq!(gateway.store.keys(BUCKET), ["x.csv"]);
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_directory_with_a_file_that_is_not_allowed_is_not_moved() {
    let far = Arc::new(Store::start(&["far"]).await);
    let mounts = "{ \"/\" = \"main\", \"/free\" = \"free\", \"/far\" = \"far\" }";
    let gateway = Gateway::builder()
        .mount(RULES)
        .with(&store_section("second", &far))
        .add_mount("free", "free", "")
        .with(&format!(
            "[mounts.far]\nstore = \"second\"\nbucket = \"far\"\n{RULES}"
        ))
        .user("u", PASSWORD, mounts)
        .start()
        .await;
    let store = &gateway.store;
    let mut ftp = gateway.ftp().await;
    for (from, to) in [("", ""), ("free/", ""), ("", "far/"), ("free/", "far/")] {
        let (bucket, at) = match from {
            "" => (BUCKET, ""),
            _ => ("free", "/free"),
        };
        // Once more than a page.
        let keys = if from.is_empty() && to.is_empty() {
            1001
        } else {
            3
        };
        for n in 0..keys {
            store.put(bucket, &format!("old/{n:04}.csv"), "1");
        }
        store.put(bucket, "old/sub/", "");
        store.put(bucket, "old/sub/x.exe", "1");
        ftp.expect(&format!("RNFR {at}/old"), 350).await;
        store.reset_counts();
        let reply = ftp.expect(&format!("RNTO /{to}new"), 553).await;
        let text = format!(
            "/{to}new/sub/x.exe: files may not have this name here (allow_names: *.csv, READY); nothing was moved"
        );
        assert!(reply.text().starts_with(&text), "{reply:?}");
        assert_eq!(store.count("CopyObject") + store.count("PutObject"), 0);
        assert_eq!(store.keys(bucket).len(), keys + 2);
        assert!(far.keys("far").is_empty());
        store.backend().remove(bucket, "old/sub/x.exe");
        ftp.expect(&format!("RNFR {at}/old"), 350).await;
        ftp.expect(&format!("RNTO /{to}new"), 250).await;
        for (store, bucket) in [(store, BUCKET), (store, "free"), (&far, "far")] {
            for key in store.keys(bucket) {
                store.backend().remove(bucket, &key);
            }
        }
    }
    ftp.close().await;
    gateway.stop().await;
}
