//! Each way in which an object comes to be.

use std::sync::Arc;

use test_support::ftp::{Ftp, Mode};
use test_support::gateway::{BUCKET, Gateway};
use test_support::receiver::{Receiver, allow};
use test_support::settings::store_section;
use test_support::store::Store;
use test_support::transfers::{interrupt, size};
use test_support::{MIB, pattern};

use super::{By, described, found, found_in, gateway};

/// More than a part, and more than the store copies at once.
const LARGE: usize = 6 * MIB;

async fn rename(ftp: &mut Ftp, from: &str, to: &str) {
    ftp.expect(&format!("RNFR {from}"), 350).await;
    ftp.expect(&format!("RNTO {to}"), 250).await;
}

/// What is in a store is what was sent, and can be read.
async fn holds(gateway: &Gateway, ftp: &mut Ftp, key: &str, bytes: &[u8]) {
    assert!(gateway.store.object(BUCKET, key).unwrap() == bytes, "{key}");
    ftp.expect("TYPE I", 200).await;
    assert_eq!(size(ftp, key).await, bytes.len(), "{key}");
    let (read, reply) = ftp.retrieve(key).await;
    assert_eq!(reply.code, 226, "{key}: {reply:?}");
    assert!(read == bytes, "{key}");
    let crc = format!("{:08X}", crc32fast::hash(bytes));
    let reply = ftp.expect(&format!("XCRC {key}"), 250).await;
    assert!(
        reply.text().to_uppercase().contains(&crc),
        "{key}: {reply:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_one_or_many_parts() {
    for by in By::ALL {
        let gateway = gateway(by).start().await;
        let mut ftp = gateway.ftp().await;
        for bytes in [0, 70_000, 12 * MIB] {
            let bytes = pattern(bytes, 1);
            assert_eq!(ftp.store("a.csv", &bytes).await.code, 226);
            holds(&gateway, &mut ftp, "a.csv", &bytes).await;
            assert_eq!(
                found(&gateway, "a.csv"),
                described(by, "text/csv"),
                "{by:?}"
            );
        }
        let reply = ftp.upload_with("STOU b.pdf", b"1", Mode::Passive).await;
        assert_eq!(reply.code, 226, "{reply:?}");
        let keys = gateway.store.keys(BUCKET);
        let unique = keys.iter().find(|key| key.starts_with("b.pdf.")).unwrap();
        let mime = "application/octet-stream";
        assert_eq!(found(&gateway, unique), described(by, mime), "{by:?}");
        ftp.close().await;
        gateway.stop().await;
    }
}

/// Over an object of another program, which has none of the attributes, and over one of our own.
#[tokio::test(flavor = "multi_thread")]
async fn an_append_and_a_restart() {
    for by in By::ALL {
        let gateway = gateway(by).start().await;
        let mut ftp = gateway.ftp().await;
        for (name, length) in [("small.csv", 1000), ("large.csv", LARGE)] {
            for ours in [false, true] {
                let old = pattern(length, 1);
                match ours {
                    false => gateway.store.put(BUCKET, name, &old),
                    true => assert_eq!(ftp.store(name, &old).await.code, 226),
                }
                let reply = ftp
                    .upload_with(&format!("APPE {name}"), b"more", Mode::Passive)
                    .await;
                assert_eq!(reply.code, 226, "{by:?} {name} {ours} {reply:?}");
                let whole = [&old[..], b"more"].concat();
                holds(&gateway, &mut ftp, name, &whole).await;
                assert_eq!(found(&gateway, name), described(by, "text/csv"), "{by:?}");
                let from = length - 7;
                ftp.expect(&format!("REST {from}"), 350).await;
                assert_eq!(ftp.store(name, b"end").await.code, 226);
                let whole = [&old[..from], b"end"].concat();
                holds(&gateway, &mut ftp, name, &whole).await;
                assert_eq!(found(&gateway, name), described(by, "text/csv"), "{by:?}");
            }
        }
        ftp.close().await;
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_upload() {
    for by in By::ALL {
        let gateway = gateway(by).start().await;
        for length in [70_000, LARGE, 16 * MIB] {
            let whole = pattern(length + 100_000, 1);
            interrupt(&gateway, "STOR a.csv", &whole[..length]).await;
            let mut ftp = gateway.ftp().await;
            let from = size(&mut ftp, "a.csv").await;
            assert_eq!(from, length - 1, "{by:?}");
            ftp.expect(&format!("REST {from}"), 350).await;
            let reply = ftp.store("a.csv", &whole[from..]).await;
            assert_eq!(reply.code, 226, "{by:?} {length} {reply:?}");
            holds(&gateway, &mut ftp, "a.csv", &whole).await;
            assert_eq!(
                found(&gateway, "a.csv"),
                described(by, "text/csv"),
                "{by:?}"
            );
            ftp.expect("DELE a.csv", 250).await;
            ftp.close().await;
        }
        gateway.stop().await;
    }
}

/// Within the mount, and from one that has other attributes, or none, in the same bucket, in another
/// one and in another store.
#[tokio::test(flavor = "multi_thread")]
async fn a_rename_of_a_file() {
    let far = Arc::new(Store::start(&["far"]).await);
    for by in By::ALL {
        let gateway = gateway(by)
            .add_mount("same", BUCKET, "same/")
            .add_mount("other", "other", "")
            .with(&format!("[mounts.other]\n{}", super::customer(super::OTHER_KEY)))
            .with("[mounts.other]\nmetadata = { kept = \"k\", \"ftp-user\" = \"o\" }\ntags = { lost = \"l\" }")
            .with(&store_section("far", &far))
            .with("[mounts.far]\nstore = \"far\"\nbucket = \"far\"\nstorage_class = \"GLACIER_IR\"")
            .user(
                "u",
                "p",
                "{ \"/\" = \"main\", \"/plain\" = \"same\", \"/other\" = \"other\", \"/far\" = \"far\" }",
            );
        let gateway = gateway.start().await;
        let mut ftp = gateway.ftp().await;
        for length in [1000, LARGE] {
            let bytes = pattern(length, 1);
            for from in ["/a.bin", "/plain/a.bin", "/other/a.bin", "/far/a.bin"] {
                assert_eq!(ftp.store(from, &bytes).await.code, 226);
                rename(&mut ftp, from, "/b.csv").await;
                holds(&gateway, &mut ftp, "b.csv", &bytes).await;
                let mut wanted = described(by, "text/csv");
                if from.starts_with("/other") {
                    wanted.metadata.insert("kept".to_owned(), "k".to_owned());
                }
                assert_eq!(found(&gateway, "b.csv"), wanted, "{by:?} {from} {length}");
                // And away: the mount there says nothing of it but its key.
                rename(&mut ftp, "/b.csv", "/other/c.txt").await;
                let away = found_in(&gateway, "other", "c.txt");
                assert_eq!(away.content_type.as_deref(), Some("text/csv"));
                assert_eq!(away.tags["lost"], "l");
                assert_eq!(away.tags.len(), 1);
                assert_eq!(away.metadata["ftp-user"], "o");
                assert!(away.customer_key_md5.is_some() && away.encryption.is_none());
                let (read, reply) = ftp.retrieve("/other/c.txt").await;
                assert_eq!(reply.code, 226, "{reply:?}");
                assert!(read == bytes);
                ftp.expect("DELE /other/c.txt", 250).await;
            }
            // An object of another program.
            gateway.store.put(BUCKET, "x", &bytes);
            rename(&mut ftp, "/x", "/b.csv").await;
            holds(&gateway, &mut ftp, "b.csv", &bytes).await;
            assert_eq!(
                found(&gateway, "b.csv"),
                described(by, "text/csv"),
                "{by:?}"
            );
            // Out of the mount, to one that says nothing: no customer's key goes along.
            rename(&mut ftp, "/b.csv", "/plain/b.csv").await;
            let plain = found(&gateway, "same/b.csv");
            assert_eq!(plain.customer_key_md5, None, "{by:?}");
            let (read, reply) = ftp.retrieve("/plain/b.csv").await;
            assert_eq!(reply.code, 226, "{reply:?}");
            assert!(read == bytes);
        }
        ftp.close().await;
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_and_its_rename() {
    let far = Arc::new(Store::start(&["far"]).await);
    for by in By::ALL {
        let gateway = gateway(by)
            .with(&store_section("far", &far))
            .with("[mounts.far]\nstore = \"far\"\nbucket = \"far\"")
            .user("u", "p", "{ \"/\" = \"main\", \"/far\" = \"far\" }")
            .start()
            .await;
        let mut ftp = gateway.ftp().await;
        // A marker has no bytes, and no type of its own.
        let mut marker = described(by, "");
        marker.storage_class = None;
        let is_marker = |key: &str| {
            let mut found = gateway.store.backend().describe(BUCKET, key).unwrap();
            found.metadata.remove("s3ftpd-transfer");
            found.content_type = Some(String::new());
            assert_eq!(found, marker, "{by:?} {key}");
        };
        for from in ["/old", "/far/old"] {
            ftp.expect(&format!("MKD {from}"), 257).await;
            ftp.expect(&format!("MKD {from}/empty"), 257).await;
            let large = pattern(LARGE, 1);
            for (name, bytes) in [("a.csv", &b"1"[..]), ("b.pdf", &large)] {
                let reply = ftp.store(&format!("{from}/{name}"), bytes).await;
                assert_eq!(reply.code, 226);
            }
            rename(&mut ftp, from, "/new").await;
            holds(&gateway, &mut ftp, "new/b.pdf", &large).await;
            is_marker("new/");
            is_marker("new/empty/");
            for (key, mime) in [("new/a.csv", "text/csv"), ("new/b.pdf", "application/pdf")] {
                assert_eq!(found(&gateway, key), described(by, mime), "{by:?} {key}");
                ftp.expect(&format!("DELE {key}"), 250).await;
            }
            ftp.expect("RMD new/empty", 250).await;
            is_marker("new/");
            ftp.expect("RMD new", 250).await;
        }
        // The marker that keeps a directory whose last file goes.
        gateway.store.put(BUCKET, "kept/x", "1");
        ftp.expect("DELE kept/x", 250).await;
        is_marker("kept/");
        ftp.close().await;
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_the_client_sets() {
    for by in By::ALL {
        let gateway = gateway(by).start().await;
        let mut ftp = gateway.ftp().await;
        for length in [1000, LARGE] {
            let bytes = pattern(length, 1);
            for ours in [false, true] {
                match ours {
                    false => gateway.store.put(BUCKET, "a.csv", &bytes),
                    true => assert_eq!(ftp.store("a.csv", &bytes).await.code, 226),
                }
                ftp.expect("MFMT 20200102030405 a.csv", 213).await;
                let reply = ftp.expect("MDTM a.csv", 213).await;
                assert_eq!(reply.text(), "20200102030405");
                holds(&gateway, &mut ftp, "a.csv", &bytes).await;
                assert_eq!(
                    found(&gateway, "a.csv"),
                    described(by, "text/csv"),
                    "{by:?}"
                );
                // A rename keeps it.
                rename(&mut ftp, "a.csv", "b.csv").await;
                let reply = ftp.expect("MDTM b.csv", 213).await;
                assert_eq!(reply.text(), "20200102030405");
                rename(&mut ftp, "b.csv", "a.csv").await;
            }
        }
        ftp.close().await;
        gateway.stop().await;
    }
}

/// The staged file is encrypted, and has neither class, ACL nor tags; the object has all of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_checked_upload() {
    for by in By::ALL {
        let receiver = Arc::new(Receiver::start().await);
        receiver.react(allow());
        let gateway = gateway(by)
            .with(&format!("[before_publish]\nurl = \"{}\"", receiver.url()))
            .start()
            .await;
        let mut ftp = gateway.ftp().await;
        for length in [70_000, 12 * MIB] {
            let bytes = pattern(length, 1);
            gateway.store.reset_counts();
            assert_eq!(ftp.store("a.csv", &bytes).await.code, 226, "{by:?}");
            holds(&gateway, &mut ftp, "a.csv", &bytes).await;
            assert_eq!(
                found(&gateway, "a.csv"),
                described(by, "text/csv"),
                "{by:?}"
            );
            let requests = gateway.store.requests();
            let staged = requests.iter().find(|request| {
                let creates = ["PutObject", "CreateMultipartUpload"];
                creates.contains(&request.operation.as_str()) && request.key.contains("tails/")
            });
            let staged = staged.expect("a staged file");
            for private in ["x-amz-acl", "x-amz-tagging", "x-amz-storage-class"] {
                assert_eq!(staged.header(private), None, "{private}");
            }
        }
        let checks = receiver.calls().len();
        assert_eq!(checks, 2);
        ftp.close().await;
        gateway.stop().await;
    }
}
