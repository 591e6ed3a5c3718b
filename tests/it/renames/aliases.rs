//! One bucket under two names: a bucket's alias (Garage), an access point (AWS), an endpoint's other address. A rename
//! from one to the other copies an object onto itself, and must not delete "the old one".

use std::sync::Arc;

use s3_embedded::Behaviour;

use test_support::gateway::{BUCKET, Gateway};
use test_support::settings::store_section;
use test_support::store::Store;
use test_support::{MIB, pattern};

/// How the bucket gets its second name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Twice {
    /// The bucket has an alias.
    Bucket,
    /// The endpoint has another address.
    Endpoint,
}

/// `/` and `/again` are one bucket. `overwrite` allows files to be replaced there.
async fn twice(how: Twice, behaviour: Behaviour, overwrite: bool) -> Gateway {
    let conditional = behaviour.conditional_writes;
    let store = Arc::new(Store::start(&[]).await);
    let builder = Gateway::builder().on(&store).with(&format!(
        "[stores.main]\ncopy_limit = \"5MiB\"\nconditional_writes = {conditional}"
    ));
    let builder = match how {
        Twice::Bucket => builder.with("[mounts.again]\nstore = \"main\"\nbucket = \"nickname\""),
        Twice::Endpoint => builder
            .with(&store_section("again", &store))
            .with(&format!(
                "[stores.again]\nendpoint = \"{}\"\nconditional_writes = {conditional}",
                store.endpoint().replace("127.0.0.1", "localhost")
            ))
            .with(&format!(
                "[mounts.again]\nstore = \"again\"\nbucket = \"{BUCKET}\""
            )),
    };
    let builder = match overwrite {
        true => builder,
        false => {
            let rest = "permissions = [\"list\", \"read\", \"write\", \"delete\"]";
            builder.with(&format!("[mounts.again]\n{rest}"))
        }
    };
    let gateway = builder
        .with("[users.u]\nmounts = { \"/\" = \"main\", \"/again\" = \"again\" }")
        .start()
        .await;
    gateway.store.backend().set_behaviour(behaviour);
    let alias = ("nickname".to_owned(), BUCKET.to_owned());
    gateway.store.behave(|store| store.aliases.extend([alias]));
    gateway
}

fn behaviours() -> [Behaviour; 3] {
    [
        Behaviour::default(),
        Behaviour::minio(),
        Behaviour::garage(),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_renamed_onto_itself_stays() {
    for how in [Twice::Bucket, Twice::Endpoint] {
        for behaviour in behaviours() {
            let gateway = twice(how, behaviour.clone(), true).await;
            let store = &gateway.store;
            let mut ftp = gateway.ftp().await;
            for (size, path) in [
                (0, "f"),
                (3, "f"),
                (6 * MIB, "f"),
                // It is the last file in its directory: no marker is written for it.
                (0, "only/f"),
                (3, "only/f"),
                (3, "many/f"),
                (3, "many/z"),
            ] {
                let what = format!("{how:?} {behaviour:?} {size} {path}");
                let bytes = pattern(size, 1);
                for key in ["many/a", "many/b", "many/c"] {
                    store.put(BUCKET, key, "sibling");
                }
                for (from, to) in [("/", "/again/"), ("/again/", "/")] {
                    store.put(BUCKET, path, &bytes);
                    let before = store.keys(BUCKET);
                    ftp.expect(&format!("RNFR {from}{path}"), 350).await;
                    // It has the new name, as requested, and the old one too, because both are one.
                    ftp.expect(&format!("RNTO {to}{path}"), 250).await;
                    assert_eq!(store.keys(BUCKET), before, "{what}");
                    assert!(store.object(BUCKET, path).unwrap() == bytes, "{what}");
                    assert_eq!(store.count("DeleteObject"), 0, "{what}");
                }
                store.backend().remove(BUCKET, path);
            }
            store.no_uploads_left().await;
            ftp.close().await;
            gateway.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_may_not_be_replaced_is_not_renamed_onto_itself() {
    for how in [Twice::Bucket, Twice::Endpoint] {
        for behaviour in behaviours() {
            let gateway = twice(how, behaviour, false).await;
            let store = &gateway.store;
            let mut ftp = gateway.ftp().await;
            store.put(BUCKET, "d/f", "bytes");
            ftp.expect("RNFR /d/f", 350).await;
            let reply = ftp.expect("RNTO /again/d/f", 550).await;
            assert!(
                reply.reason().ends_with("permission denied (overwrite)"),
                "{reply:?}"
            );
            assert_eq!(store.keys(BUCKET), ["d/f"]);
            assert_eq!(store.object(BUCKET, "d/f").unwrap(), b"bytes");
            ftp.close().await;
            gateway.stop().await;
        }
    }
}

/// Two keys are two objects, by whichever name of the bucket.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_moves_to_another_key_of_the_same_bucket() {
    for how in [Twice::Bucket, Twice::Endpoint] {
        for behaviour in behaviours() {
            let gateway = twice(how, behaviour.clone(), true).await;
            let store = &gateway.store;
            let mut ftp = gateway.ftp().await;
            for size in [0, 3, 6 * MIB] {
                let what = format!("{how:?} {behaviour:?} {size}");
                let bytes = pattern(size, 1);
                store.put(BUCKET, "d/f", &bytes);
                for (from, to) in [("/d/f", "/again/d/g"), ("/again/d/g", "/d/d/g")] {
                    ftp.expect(&format!("RNFR {from}"), 350).await;
                    ftp.expect(&format!("RNTO {to}"), 250).await;
                    let key = to.trim_start_matches("/again").trim_start_matches('/');
                    assert_eq!(store.keys(BUCKET), [key], "{what}");
                    assert!(store.object(BUCKET, key).unwrap() == bytes, "{what}");
                }
                store.backend().remove(BUCKET, "d/d/g");
            }
            ftp.close().await;
            gateway.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_not_lost_in_itself() {
    for how in [Twice::Bucket, Twice::Endpoint] {
        for behaviour in behaviours() {
            let what = format!("{how:?} {behaviour:?}");
            let gateway = twice(how, behaviour, true).await;
            let store = &gateway.store;
            let keys = ["d/", "d/a", "d/sub/b", "dd"];
            for key in keys {
                store.put(BUCKET, key, if key.ends_with('/') { "" } else { key });
            }
            let mut ftp = gateway.ftp().await;
            for (from, to) in [
                ("/d", "/again/d"),
                ("/d", "/again/d/new"),
                ("/d", "/again/d/new/deep"),
                ("/again/d", "/d/new"),
                ("/d/sub", "/again/d"),
            ] {
                ftp.expect(&format!("RNFR {from}"), 350).await;
                ftp.expect(&format!("RNTO {to}"), 553).await;
                assert_eq!(store.keys(BUCKET), keys, "{what}: {from} {to}");
            }
            ftp.expect("RNFR /d", 350).await;
            ftp.expect("RNTO /again/e", 250).await;
            assert_eq!(store.keys(BUCKET), ["dd", "e/", "e/a", "e/sub/b"], "{what}");
            ftp.close().await;
            gateway.stop().await;
        }
    }
}

/// A copy of an object onto itself is allowed if its metadata is replaced; the delete after it
/// would remove both.
#[tokio::test(flavor = "multi_thread")]
async fn a_rename_onto_another_name_of_the_same_object_deletes_nothing() {
    let gateway = Gateway::builder()
        .with(&format!(
            "[mounts.alias]\nstore = \"main\"\nbucket = \"{BUCKET}\"\nprefix = \"dir/\"\n\
             [users.u]\nmounts = {{ \"/\" = \"main\", \"/alias\" = \"alias\" }}"
        ))
        .start()
        .await;
    gateway.store.put(BUCKET, "dir/a", "bytes");
    let mut ftp = gateway.ftp().await;
    ftp.expect("RNFR /dir/a", 350).await;
    ftp.expect("RNTO /alias/a", 250).await;
    assert_eq!(gateway.store.object(BUCKET, "dir/a").unwrap(), b"bytes");
    ftp.close().await;
    gateway.stop().await;
}

/// A user who reaches the same keys by two paths, over one store and over two with one endpoint.
async fn two_ways() -> Gateway {
    let store = Arc::new(Store::start(&[]).await);
    let more = format!(
        "[stores.second]\nendpoint = \"{}/\"\n\
         [mounts.below]\nstore = \"main\"\nbucket = \"{BUCKET}\"\nprefix = \"me/\"\n\
         [mounts.other]\nstore = \"second\"\nbucket = \"{BUCKET}\"\nprefix = \"me/\"",
        store.endpoint()
    );
    let mounts = r#"{ "/" = "main", "/below" = "below", "/other" = "other" }"#;
    let gateway = Gateway::builder()
        .on(&store)
        .with(&store_section("second", &store))
        .with(&more);
    gateway.user("u", "p", mounts).start().await
}

#[tokio::test]
async fn a_rename_onto_itself_by_another_path_keeps_the_file() {
    let gateway = two_ways().await;
    gateway.store.put(BUCKET, "me/f", "precious");
    gateway.store.put(BUCKET, "me/d/f", "precious");
    let mut ftp = gateway.ftp().await;
    for (from, to) in [("/below/f", "/me/f"), ("/other/f", "/me/f")] {
        ftp.expect(&format!("RNFR {from}"), 350).await;
        ftp.expect(&format!("RNTO {to}"), 250).await;
        let there = gateway.store.object(BUCKET, "me/f");
        assert_eq!(there.as_deref(), Some(&b"precious"[..]), "{from} to {to}");
    }
    // A directory moved into itself would never end.
    for from in ["/below/d", "/other/d"] {
        ftp.expect(&format!("RNFR {from}"), 350).await;
        ftp.expect("RNTO /me/d/sub", 553).await;
        assert_eq!(gateway.store.keys(BUCKET), ["me/d/f", "me/f"]);
    }
    ftp.close().await;
    gateway.stop().await;
}
