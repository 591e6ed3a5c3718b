//! The cost of renaming a file: at most 6 requests, 7 on stores without conditions and between two
//! stores or endpoints (docs/design/promises.md), whatever its directory contains, and whichever
//! process wrote it.

use std::sync::Arc;

use s3_embedded::Behaviour;

use test_support::gateway::{BUCKET, Gateway};
use test_support::settings::store_section;
use test_support::store::Store;
use test_support::transfers::settled;

/// The other content of the file's directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Around {
    /// It is in no directory.
    Root,
    Nothing,
    Another,
    Marker,
    /// A key that is listed after the file.
    Later,
    /// A key that is listed before the file.
    Earlier,
}

impl Around {
    const ALL: [Around; 6] = [
        Around::Root,
        Around::Nothing,
        Around::Another,
        Around::Marker,
        Around::Later,
        Around::Earlier,
    ];

    fn directory(self) -> &'static str {
        match self {
            Around::Root => "",
            _ => "in/",
        }
    }

    fn neighbours(self) -> &'static [&'static str] {
        match self {
            Around::Root | Around::Nothing => &[],
            Around::Another => &["in/z"],
            Around::Marker => &["in/"],
            Around::Later => &["in/x", "in/y", "in/z"],
            Around::Earlier => &["in/a", "in/b", "in/c"],
        }
    }
}

/// The target: name and bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    SameDirectory,
    OtherDirectory,
    OtherBucket,
    OtherStore,
    /// The same key in both.
    OtherBucketSameName,
    OtherStoreSameName,
}

impl To {
    const ALL: [To; 6] = [
        To::SameDirectory,
        To::OtherDirectory,
        To::OtherBucket,
        To::OtherStore,
        To::OtherBucketSameName,
        To::OtherStoreSameName,
    ];

    fn is_other_store(self) -> bool {
        matches!(self, To::OtherStore | To::OtherStoreSameName)
    }

    fn same_name(self) -> bool {
        matches!(self, To::OtherBucketSameName | To::OtherStoreSameName)
    }

    fn path(self, around: Around) -> String {
        match self {
            To::SameDirectory => format!("/{}n", around.directory()),
            To::OtherDirectory => "/out/n".to_owned(),
            To::OtherBucket => "/second/out/n".to_owned(),
            To::OtherStore => "/far/out/n".to_owned(),
            To::OtherBucketSameName => format!("/second/{}f", around.directory()),
            To::OtherStoreSameName => format!("/far/{}f", around.directory()),
        }
    }
}

/// What the target is, and whether it may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Nothing,
    AFile,
    /// It does not exist, and nothing may be replaced.
    Forbidden,
}

async fn gateway(behaviour: &Behaviour, over: Over) -> (Gateway, Arc<Store>) {
    let far = Arc::new(Store::start(&["far"]).await);
    let conditional = behaviour.conditional_writes;
    let mut builder = Gateway::builder()
        .with(&format!("[stores.main]\nconditional_writes = {conditional}"))
        .add_mount("second", "second", "")
        .with(&store_section("far", &far))
        .with(&format!(
            "[stores.far]\nconditional_writes = {conditional}\nconditional_deletes = {}",
            behaviour.conditional_deletes
        ))
        .with("[mounts.far]\nstore = \"far\"\nbucket = \"far\"")
        .with(
            "[users.u]\nmounts = { \"/\" = \"main\", \"/second\" = \"second\", \"/far\" = \"far\" }",
        );
    if over == Over::Forbidden {
        for mount in ["main", "second", "far"] {
            builder = builder.with(&format!(
                "[mounts.{mount}]\npermissions = [\"list\", \"read\", \"write\", \"delete\", \"rename\"]"
            ));
        }
    }
    let gateway = builder.start().await;
    gateway.store.backend().set_behaviour(behaviour.clone());
    far.backend().set_behaviour(behaviour.clone());
    (gateway, far)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rename_of_a_file_costs_six_requests_at_most() {
    let mut worst = 0;
    for (behaviour, on) in [
        (Behaviour::default(), "AWS"),
        (Behaviour::minio(), "MinIO"),
        (Behaviour::garage(), "Garage"),
    ] {
        for over in [Over::Nothing, Over::AFile, Over::Forbidden] {
            let (gateway, far) = gateway(&behaviour, over).await;
            let mut ftp = gateway.ftp().await;
            for around in Around::ALL {
                for to in To::ALL {
                    for by_us in [false, true] {
                        let what = format!("{on} {over:?} {around:?} {to:?} by us: {by_us}");
                        let cost = costs(&gateway, &far, &mut ftp, (over, around, to), by_us).await;
                        // Only AWS is known to honour conditions at a copy: for other stores there
                        // is a lookup instead.
                        let looks = over == Over::Forbidden && !to.is_other_store();
                        let most = match on != "AWS" || looks || to.is_other_store() {
                            true => 7,
                            false => 6,
                        };
                        // Both reasons for a seventh request.
                        let both = on == "Garage" && over == Over::Forbidden && to.is_other_store();
                        // A listing does not show whether the copy of a file that is at most a
                        // second old is the file itself.
                        let one = to.same_name() && over != Over::Forbidden;
                        let most = most + usize::from(both) + usize::from(one);
                        assert!(cost.len() <= most, "{what}: {cost:?}");
                        worst = worst.max(cost.len());
                    }
                }
            }
            ftp.close().await;
            gateway.stop().await;
        }
    }
    assert_eq!(worst, 8);
}

async fn costs(
    gateway: &Gateway,
    far: &Store,
    ftp: &mut test_support::ftp::Ftp,
    (over, around, to): (Over, Around, To),
    by_us: bool,
) -> Vec<String> {
    let store = &gateway.store;
    for (store, bucket) in [(&**store, BUCKET), (store, "second"), (far, "far")] {
        for key in store.keys(bucket) {
            store.backend().remove(bucket, &key);
        }
    }
    let (from, new) = (format!("{}f", around.directory()), to.path(around));
    for key in around.neighbours() {
        store.put(BUCKET, key, if key.ends_with('/') { "" } else { "sibling" });
    }
    if over == Over::AFile {
        for (store, bucket) in [(&**store, BUCKET), (store, "second"), (far, "far")] {
            store.put(bucket, "out/n", "old");
            store.put(bucket, &format!("{}n", around.directory()), "old");
        }
    }
    match by_us {
        true => assert_eq!(ftp.store(&from, b"bytes").await.code, 226),
        false => store.put(BUCKET, &from, "bytes"),
    }
    settled(gateway).await;
    store.reset_counts();
    far.reset_counts();
    ftp.expect(&format!("RNFR {from}"), 350).await;
    ftp.expect(&format!("RNTO {new}"), 250).await;
    settled(gateway).await;
    assert!(store.object(BUCKET, &from).is_none());
    [store.operations(), far.operations()].concat()
}
