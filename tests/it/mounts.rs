//! Mounts: one tree from several buckets and stores, its permissions, and no access to files of
//! other users.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;

use test_support::faults::Fault;
use test_support::ftp::Ftp;
use test_support::gateway::{BUCKET, Builder, Gateway};
use test_support::settings::store_section;
use test_support::store::Store;

/// `/` and `/in/deep/other` in one store, `/far` and `/far/away/near` in the second one and the first again.
async fn tree() -> (Gateway, Arc<Store>) {
    let far = Arc::new(Store::start(&["far"]).await);
    let gateway = Gateway::builder()
        .with(&store_section("second", &far))
        .add_mount("other", "other", "sub/")
        .with("[mounts.far]\nstore = \"second\"\nbucket = \"far\"")
        .user(
            "u",
            "p",
            "{ \"/\" = \"main\", \"/in/deep/other\" = \"other\", \"/far\" = \"far\", \"/far/away/near\" = \"other\" }",
        )
        .start()
        .await;
    (gateway, far)
}

async fn names(ftp: &mut Ftp, path: &str) -> Vec<String> {
    let (text, reply) = ftp.list(&format!("MLSD {path}")).await;
    assert_eq!(reply.code, 226, "{path}");
    let mut names: Vec<String> = text
        .lines()
        .map(|line| line.split_once(' ').unwrap().1.to_owned())
        .collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn several_buckets_and_stores_are_one_tree() {
    let (gateway, far) = tree().await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    for path in [
        "/top",
        "/in/a",
        "/in/deep/b",
        "/in/deep/other/c",
        "/far/d",
        "/far/away/e",
    ] {
        assert_eq!(ftp.store(path, path.as_bytes()).await.code, 226, "{path}");
    }
    assert_eq!(gateway.store.keys(BUCKET), ["in/a", "in/deep/b", "top"]);
    assert_eq!(gateway.store.keys("other"), ["sub/c"]);
    assert_eq!(far.keys("far"), ["away/e", "d"]);

    for (path, expected) in [
        ("/", &["far", "in", "top"][..]),
        ("/in", &["a", "deep"]),
        ("/in/deep", &["b", "other"]),
        ("/in/deep/other", &["c"]),
        ("/far", &["away", "d"]),
        ("/far/away", &["e", "near"]),
        ("/far/away/near", &["c"]),
    ] {
        assert_eq!(names(&mut ftp, path).await, expected, "{path}");
    }
    let (bytes, _) = ftp.retrieve("/far/away/near/c").await;
    assert_eq!(bytes, b"/in/deep/other/c");
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn paths_with_dots_stay_in_the_tree() {
    let (gateway, _far) = tree().await;
    gateway.store.put("other", "sibling", "not in the mount");
    let mut ftp = gateway.ftp().await;
    for (line, at) in [
        ("CWD in", "/in"),
        ("CWD deep/other", "/in/deep/other"),
        ("CDUP", "/in/deep"),
        ("CWD other", "/in/deep/other"),
        ("CWD ../../..", "/"),
        ("CWD far/away/near", "/far/away/near"),
        ("CWD ../../../../../..", "/"),
        ("CWD //far//./away", "/far/away"),
        ("CDUP", "/far"),
        ("CDUP", "/"),
        ("CDUP", "/"),
    ] {
        ftp.expect(line, 250).await;
        let reply = ftp.expect("PWD", 257).await;
        assert!(
            reply.text().contains(&format!("\"{at}\"")),
            "{line}: {reply:?}"
        );
    }
    // A sibling of the mount's prefix is in no user's tree.
    for path in [
        "/in/deep/other/../sibling",
        "/in/deep/other/sibling",
        "/sibling",
    ] {
        ftp.expect(&format!("SIZE {path}"), 550).await;
    }
    ftp.expect("CWD /in/none", 550).await;
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn directories_above_mounts_show_only_the_way_to_mounts() {
    let gateway = Gateway::builder()
        .user("u", "p", "{ \"/a/b/c\" = \"main\" }")
        .start()
        .await;
    gateway.store.put(BUCKET, "x", "1");
    let mut ftp = gateway.ftp().await;
    for (path, expected) in [("/", "a"), ("/a", "b"), ("/a/b", "c"), ("/a/b/c", "x")] {
        ftp.expect(&format!("CWD {path}"), 250).await;
        assert_eq!(names(&mut ftp, "").await, [expected], "{path}");
    }
    gateway.store.reset_counts();
    for line in [
        "CWD /b",
        "MKD /b",
        "MKD /a/x",
        "RMD /a",
        "RMD /a/x",
        "DELE /a",
        "DELE /a/x",
        "RNFR /a",
        "RNFR /a/x",
        "SIZE /a",
        "SIZE /a/x",
        "MLST /a/x",
        "MDTM /a",
    ] {
        ftp.expect(line, 550).await;
    }
    for line in [
        "STOR /x",
        "STOR /a",
        "STOR /a/x",
        "APPE /a/x",
        "RETR /a",
        "RETR /a/x",
        "MLSD /b",
    ] {
        let data = ftp.data_passive().await;
        ftp.expect(line, 550).await;
        drop(data);
    }
    ftp.in_step().await;
    assert!(
        gateway.store.requests().is_empty(),
        "{:?}",
        gateway.store.operations()
    );
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn mount_points_and_directories_above_them_stay() {
    let (gateway, _far) = tree().await;
    gateway.store.put(BUCKET, "x", "1");
    gateway.store.put(BUCKET, "dir/y", "1");
    let mut ftp = gateway.ftp().await;
    gateway.store.reset_counts();
    for path in [
        "/",
        "/in",
        "/in/deep",
        "/in/deep/other",
        "/far",
        "/far/away",
        "/far/away/near",
    ] {
        for verb in ["RMD", "DELE", "MKD", "RNFR"] {
            ftp.expect(&format!("{verb} {path}"), 550).await;
        }
        for source in ["x", "dir"] {
            ftp.expect(&format!("RNFR /{source}"), 350).await;
            ftp.expect(&format!("RNTO {path}"), 550).await;
        }
    }
    writes_nothing(&gateway.store);
    assert_eq!(gateway.store.keys(BUCKET), ["dir/y", "x"]);
    ftp.close().await;
    gateway.stop().await;
}

fn writes_nothing(store: &Store) {
    let wrote: Vec<String> = store
        .operations()
        .into_iter()
        .filter(|operation| {
            !operation.starts_with("Head")
                && !operation.starts_with("Get")
                && !operation.starts_with("List")
        })
        .collect();
    assert!(wrote.is_empty(), "{wrote:?}");
}

const ALL: [&str; 9] = [
    "list",
    "read",
    "write",
    "overwrite",
    "append",
    "delete",
    "rename",
    "mkdir",
    "rmdir",
];

fn without(builder: Builder, missing: &str) -> Builder {
    let rest: Vec<&str> = ALL.into_iter().filter(|name| *name != missing).collect();
    builder.mount(&format!("permissions = {rest:?}"))
}

/// For each permission the commands that need it: over the control connection, then over a data
/// connection.
const NEEDS: &[(&str, &[&str], &[&str])] = &[
    (
        "list",
        &["MLST dir", "STAT dir"],
        &["LIST", "NLST", "MLSD", "LIST dir"],
    ),
    ("read", &[], &["RETR x"]),
    (
        "write",
        &[
            "MFMT 20200101000000 x",
            "MFF modify=20200101000000; x",
            "SITE CHMOD 644 x",
        ],
        &["STOR new", "STOU", "STOU new", "APPE new"],
    ),
    ("overwrite", &[], &["STOR x"]),
    ("append", &[], &["APPE x"]),
    ("delete", &["DELE x"], &[]),
    ("rename", &["RNFR x", "RNFR dir"], &[]),
    ("mkdir", &["MKD new"], &[]),
    ("rmdir", &["RMD empty"], &[]),
];

#[tokio::test]
async fn a_missing_permission_is_named_and_nothing_is_done() {
    for (missing, plain, with_data) in NEEDS {
        let builder = Gateway::builder().mount("times = \"metadata\"");
        let gateway = without(builder, missing).start().await;
        gateway.store.put(BUCKET, "x", "old");
        gateway.store.put(BUCKET, "dir/y", "old");
        gateway.store.put(BUCKET, "empty/", "");
        let mut ftp = gateway.ftp().await;
        ftp.expect("TYPE I", 200).await;
        gateway.store.reset_counts();
        let expected = format!("permission denied ({missing})");
        for line in *plain {
            let reply = ftp.expect(line, 550).await;
            assert!(reply.reason().ends_with(&expected), "{line}: {reply:?}");
            ftp.in_step().await;
        }
        for line in *with_data {
            let mut data = ftp.data_passive().await;
            let reply = ftp.expect(line, 550).await;
            assert!(reply.reason().ends_with(&expected), "{line}: {reply:?}");
            // The server may have closed it.
            let _ = data.write_all(b"new").await;
            drop(data);
            ftp.in_step().await;
        }
        if *missing == "append" {
            ftp.expect("REST 2", 350).await;
            let reply = ftp.store("x", b"new").await;
            assert!(
                reply.code == 550 && reply.reason().ends_with(&expected),
                "{reply:?}"
            );
        }
        writes_nothing(&gateway.store);
        assert_eq!(
            gateway.store.keys(BUCKET),
            ["dir/y", "empty/", "x"],
            "{missing}"
        );
        assert_eq!(
            gateway.store.object(BUCKET, "x").unwrap(),
            b"old",
            "{missing}"
        );

        // Commands that need other permissions work.
        for (other, plain, _) in NEEDS {
            if other != missing && *other != "rename" {
                for line in *plain {
                    let reply = ftp.command(line).await;
                    assert!(!reply.text().contains("permission"), "{line}: {reply:?}");
                }
            }
        }
        ftp.close().await;
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_rename_over_a_file_needs_overwrite() {
    let gateway = without(Gateway::builder(), "overwrite").start().await;
    gateway.store.put(BUCKET, "a", "a");
    gateway.store.put(BUCKET, "b", "b");
    let mut ftp = gateway.ftp().await;
    gateway.store.reset_counts();
    ftp.expect("RNFR a", 350).await;
    let reply = ftp.expect("RNTO b", 550).await;
    assert!(
        reply.reason().ends_with("permission denied (overwrite)"),
        "{reply:?}"
    );
    writes_nothing(&gateway.store);
    ftp.expect("RNFR a", 350).await;
    ftp.expect("RNTO c", 250).await;
    // A restart cannot replace existing bytes either.
    ftp.expect("TYPE I", 200).await;
    gateway.store.put(BUCKET, "d", "1234");
    ftp.expect("REST 2", 350).await;
    let reply = ftp.store("d", b"XX").await;
    assert!(
        reply.reason().ends_with("permission denied (overwrite)"),
        "{reply:?}"
    );
    ftp.expect("REST 4", 350).await;
    assert_eq!(ftp.store("d", b"56").await.code, 226);
    assert_eq!(gateway.store.object(BUCKET, "d").unwrap(), b"123456");
    ftp.close().await;
    gateway.stop().await;
}

/// Of two in parallel one wins and the other gets 550: the write itself is conditional.
#[tokio::test]
async fn two_users_without_overwrite_do_not_replace_files() {
    let gateway = without(Gateway::builder(), "overwrite").start().await;
    for size in [10, 11 << 20] {
        let mut one = gateway.ftp().await;
        let mut two = gateway.ftp().await;
        let name = format!("x{size}");
        let first = test_support::pattern(size, 1);
        let mut data_one = one.data_passive().await;
        one.expect(&format!("STOR {name}"), 150).await;
        let mut data_two = two.data_passive().await;
        two.expect(&format!("STOR {name}"), 150).await;
        data_one.write_all(&first).await.unwrap();
        drop(data_one);
        one.expect_reply(226).await;
        // The refusal may come before everything is sent.
        let _ = data_two.write_all(&test_support::pattern(size, 2)).await;
        drop(data_two);
        two.expect_reply(550).await;
        assert_eq!(gateway.store.object(BUCKET, &name).unwrap(), first);
        gateway.store.no_uploads_left().await;
        one.close().await;
        two.close().await;
    }
    // A lost answer: the second attempt of the write finds the object of the first, and recognises
    // it as its own.
    gateway.store.fail("PutObject").with(Fault::LoseAnswer);
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("mine", b"mine").await.code, 226);
    assert_eq!(gateway.store.object(BUCKET, "mine").unwrap(), b"mine");
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn each_user_has_their_own_tree() {
    let gateway = Gateway::builder()
        .mount("prefix = \"home/{user}/\"")
        .user("alice", "a", "{ \"/\" = \"main\" }")
        .user("alice-archive", "b", "{ \"/\" = \"main\" }")
        .start()
        .await;
    let users = [("alice", "a"), ("alice-archive", "b"), ("u", "p")];
    for (user, password) in users {
        let mut ftp = gateway.ftp_as(user, password).await;
        assert_eq!(ftp.store("mine", user.as_bytes()).await.code, 226);
        ftp.close().await;
    }
    for (user, password) in users {
        let mut ftp = gateway.ftp_as(user, password).await;
        assert_eq!(names(&mut ftp, "/").await, ["mine"]);
        assert_eq!(ftp.retrieve("mine").await.0, user.as_bytes());
        for path in [
            "../alice/mine",
            "/../../home/alice/mine",
            "..\\alice\\mine",
            "/%2e%2e/alice/mine",
            "-archive/mine",
            "//../alice-archive/mine",
        ] {
            ftp.expect(&format!("SIZE {path}"), 550).await;
            ftp.expect(&format!("DELE {path}"), 550).await;
        }
        ftp.close().await;
    }
    let keys = ["home/alice-archive/mine", "home/alice/mine", "home/u/mine"];
    assert_eq!(gateway.store.keys(BUCKET), keys);
    gateway.stop().await;
}
