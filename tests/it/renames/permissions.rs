//! The permissions of a rename: inside one mount `rename`; from one mount to another `read` and
//! `delete` at the source and `write` at the target; `overwrite` if the target exists.

use std::collections::BTreeMap;

use test_support::gateway::{BUCKET, Gateway};

const INSIDE: [&str; 5] = ["rename", "overwrite", "read", "delete", "write"];
const FROM: [&str; 4] = ["read", "delete", "rename", "list"];
const TO: [&str; 3] = ["write", "overwrite", "rename"];

/// Each subset of permissions, with its name.
fn subsets<'n>(names: &'n [&'n str]) -> impl Iterator<Item = (usize, Vec<&'n str>)> {
    (0..1 << names.len()).map(|bits: usize| {
        let held = names.iter().enumerate();
        let held = held.filter(move |(place, _)| bits & (1 << place) != 0);
        (bits, held.map(|(_, name)| *name).collect())
    })
}

/// A mount for each subset, each with its own prefix: `/in-3`, `/from-0`, `/to-7`.
async fn gateway() -> Gateway {
    let mut builder = Gateway::builder();
    let mut mounts = Vec::new();
    for (kind, names) in [("in", &INSIDE[..]), ("from", &FROM), ("to", &TO)] {
        for (bits, mut held) in subsets(names) {
            // The list must not be empty; this permission does not matter here.
            held.push("mkdir");
            let name = format!("{kind}-{bits}");
            builder = builder.with(&format!(
                "[mounts.{name}]\nstore = \"main\"\nbucket = \"{BUCKET}\"\nprefix = \"{name}\"\n\
                 permissions = {held:?}"
            ));
            mounts.push(format!("\"/{name}\" = \"{name}\""));
        }
    }
    builder
        .with(&format!("[users.u]\nmounts = {{ {} }}", mounts.join(", ")))
        .start()
        .await
}

fn content(gateway: &Gateway) -> BTreeMap<String, Vec<u8>> {
    let keys = gateway.store.keys(BUCKET).into_iter();
    keys.map(|key| {
        let bytes = gateway.store.object(BUCKET, &key).unwrap();
        (key, bytes)
    })
    .collect()
}

/// The first permission that a rename lacks, if any.
fn missing(from: &[&str], to: &[&str], inside: bool, exists: bool) -> Option<&'static str> {
    let needs: &[(&[&str], &'static str)] = match inside {
        true => &[(from, "rename")],
        false => &[(from, "read"), (from, "delete"), (to, "write")],
    };
    let overwrite = (to, "overwrite");
    let needs = needs.iter().chain(exists.then_some(&overwrite));
    let mut missing = needs.filter(|(held, name)| !held.contains(name));
    missing.next().map(|(_, name)| *name)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rename_needs_its_permissions() {
    let gateway = gateway().await;
    let mut ftp = gateway.ftp().await;
    let mut pairs = Vec::new();
    for (bits, held) in subsets(&INSIDE) {
        let mount = format!("in-{bits}");
        pairs.push((mount.clone(), held.clone(), mount, held, true));
    }
    for (from_bits, from) in subsets(&FROM) {
        for (to_bits, to) in subsets(&TO) {
            let (of, into) = (format!("from-{from_bits}"), format!("to-{to_bits}"));
            pairs.push((of, from.clone(), into, to, false));
        }
    }
    let (mut done, mut refused) = (0, 0);
    for (from_mount, from, to_mount, to, inside) in &pairs {
        for (exists, directory) in [(false, false), (true, false), (false, true), (true, true)] {
            let what = format!("{from_mount} {from:?} to {to_mount} {to:?} {exists} {directory}");
            for key in content(&gateway).into_keys() {
                gateway.store.backend().remove(BUCKET, &key);
            }
            let inner = if directory { "/f" } else { "" };
            let (old, new) = (
                format!("{from_mount}/a{inner}"),
                format!("{to_mount}/b{inner}"),
            );
            gateway.store.put(BUCKET, &old, "secret");
            if exists {
                gateway.store.put(BUCKET, &new, "old");
            }
            let before = content(&gateway);
            gateway.store.reset_counts();
            let named = ftp.command(&format!("RNFR /{from_mount}/a")).await;
            // The user may write to one mount.
            let may_take = from.contains(&"read") && from.contains(&"delete");
            if !from.contains(&"rename") && !may_take {
                assert_eq!(named.code, 550, "{what}: {named:?}");
                assert!(
                    named.reason().ends_with("permission denied (rename)"),
                    "{what}"
                );
                assert_eq!(gateway.store.operations(), [""; 0], "{what}");
                refused += 1;
                continue;
            }
            assert_eq!(named.code, 350, "{what}: {named:?}");
            let reply = ftp.command(&format!("RNTO /{to_mount}/b")).await;
            let missing = missing(from, to, *inside, exists && !directory);
            match missing {
                Some(name) => {
                    assert_eq!(reply.code, 550, "{what}: {reply:?}");
                    let expected = format!("permission denied ({name})");
                    assert!(reply.reason().ends_with(&expected), "{what}: {reply:?}");
                }
                // A directory is never moved onto another.
                None if directory && exists => assert_eq!(reply.code, 553, "{what}: {reply:?}"),
                None => {
                    assert_eq!(reply.code, 250, "{what}: {reply:?}");
                    assert_eq!(content(&gateway).get(&new).unwrap(), b"secret", "{what}");
                    assert!(!content(&gateway).contains_key(&old), "{what}");
                    done += 1;
                    continue;
                }
            }
            refused += 1;
            assert_eq!(content(&gateway), before, "{what}");
        }
    }
    assert_eq!((done, done + refused), (80, 4 * (32 + 16 * 8)));
    ftp.close().await;
    gateway.stop().await;
}

/// The case of a drop box: files that may only be put there are not moved out.
#[tokio::test]
async fn a_mount_without_read_is_not_emptied_into_another() {
    let gateway = Gateway::builder()
        .add_mount("box", "box", "")
        .with("[mounts.box]\npermissions = [\"write\", \"rename\"]")
        .with("[users.u]\nmounts = { \"/own\" = \"main\", \"/box\" = \"box\" }")
        .start()
        .await;
    gateway.store.put("box", "payroll", "secret");
    gateway.store.put("box", "dir/payroll", "secret");
    let mut ftp = gateway.ftp().await;
    for name in ["payroll", "dir", "dir/payroll"] {
        ftp.expect(&format!("RNFR /box/{name}"), 350).await;
        let reply = ftp.expect("RNTO /own/mine", 550).await;
        assert!(
            reply.reason().ends_with("permission denied (read)"),
            "{reply:?}"
        );
    }
    assert!(gateway.store.keys(BUCKET).is_empty());
    assert_eq!(gateway.store.keys("box"), ["dir/payroll", "payroll"]);
    ftp.close().await;
    gateway.stop().await;
}

/// If names are hidden, RNFR gets one answer for all of them; the same if nothing may be renamed.
#[tokio::test]
async fn rnfr_does_not_reveal_names_without_permission() {
    for (permissions, code) in [
        ("\"write\"", 550),
        ("\"write\", \"overwrite\", \"delete\"", 550),
        ("\"write\", \"rename\"", 350),
        ("\"write\", \"rename\", \"delete\"", 350),
    ] {
        let gateway = Gateway::builder()
            .add_mount("box", "box", "")
            .with(&format!("[mounts.box]\npermissions = [{permissions}]"))
            .with("[users.u]\nmounts = { \"/own\" = \"main\", \"/box\" = \"box\" }")
            .start()
            .await;
        gateway.store.put("box", "file", "1");
        gateway.store.put("box", "dir/x", "1");
        let mut ftp = gateway.ftp().await;
        gateway.store.reset_counts();
        let mut replies = Vec::new();
        for name in ["file", "dir", "none"] {
            let reply = ftp.expect(&format!("RNFR /box/{name}"), code).await;
            replies.push(reply.reason().replace(name, "NAME"));
        }
        replies.dedup();
        assert_eq!(replies.len(), 1, "{replies:?}");
        // Nor by its time.
        assert_eq!(gateway.store.operations(), [""; 0], "{permissions}");
        if code == 350 {
            for (from, to, code) in [("none", "new", 550), ("file", "new", 250)] {
                ftp.expect(&format!("RNFR /box/{from}"), 350).await;
                ftp.expect(&format!("RNTO /box/{to}"), code).await;
            }
        }
        ftp.close().await;
        gateway.stop().await;
    }
}
