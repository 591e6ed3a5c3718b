//! Whose files they are, and what their users need.

use super::{Consumer, PATTERNS, builder, rename, temporary, visible};
use test_support::gateway::{BUCKET, Gateway};
use test_support::{MIB, pattern};

#[tokio::test]
async fn two_users_of_a_directory_do_not_see_each_others_files() {
    let gateway = builder()
        .user("v", "p", "{ \"/\" = \"main\" }")
        .start()
        .await;
    let mut consumer = Consumer::of(&gateway.store);
    let mut one = gateway.ftp().await;
    let mut two = gateway.ftp_as("v", "p").await;
    assert_eq!(one.store("in/x.tmp", b"one").await.code, 226);
    two.expect("SIZE in/x.tmp", 550).await;
    two.expect("RNFR in/x.tmp", 550).await;
    two.expect("DELE in/x.tmp", 550).await;
    assert_eq!(two.store("in/x.tmp", b"two").await.code, 226);
    assert_eq!(temporary(&gateway.store).len(), 2);
    for (ftp, bytes) in [(&mut one, b"one"), (&mut two, b"two")] {
        let (names, _) = ftp.list("NLST in").await;
        assert_eq!(names, "in/x.tmp\r\n");
        let (got, _) = ftp.retrieve("in/x.tmp").await;
        assert_eq!(got, bytes);
    }
    assert_eq!(rename(&mut two, "in/x.tmp", "in/two").await.code, 250);
    assert_eq!(rename(&mut one, "in/x.tmp", "in/one").await.code, 250);
    assert_eq!(gateway.store.object(BUCKET, "in/one").unwrap(), b"one");
    assert_eq!(gateway.store.object(BUCKET, "in/two").unwrap(), b"two");
    assert_eq!(consumer.saw(), ["files/in/two", "files/in/one"]);
}

/// A drop box: its users may write, and nothing else.
#[tokio::test]
async fn to_publish_needs_no_more_than_to_write() {
    for size in [70_000, 12 * MIB] {
        let gateway = builder().mount("permissions = [\"write\"]").start().await;
        gateway.store.put_before(BUCKET, "old", "old");
        let mut consumer = Consumer::of(&gateway.store);
        let mut ftp = gateway.ftp().await;
        let bytes = pattern(size, 1);
        for _ in 0..2 {
            assert_eq!(ftp.store("in/x.tmp", &bytes).await.code, 226);
        }
        assert_eq!(rename(&mut ftp, "in/x.tmp", "in/y.tmp").await.code, 250);
        assert_eq!(rename(&mut ftp, "in/y.tmp", "in/x").await.code, 250);
        assert_eq!(consumer.saw(), ["files/in/x"]);
        assert!(gateway.store.object(BUCKET, "in/x").unwrap() == bytes);

        assert_eq!(ftp.store("in/x.tmp", &bytes).await.code, 226);
        let reply = rename(&mut ftp, "in/x.tmp", "old").await;
        assert_eq!(reply.code, 550);
        assert!(reply.text().contains("(overwrite)"), "{reply:?}");
        ftp.expect("DELE in/x.tmp", 250).await;
        assert_eq!(temporary(&gateway.store), [""; 0]);
        // All else is as it was.
        ftp.expect("RNFR old", 550).await;
        ftp.expect("DELE old", 550).await;
        for command in ["SIZE in/x", "HASH in/x", "MLST in/x"] {
            ftp.expect(command, 550).await;
        }
        assert_eq!(consumer.saw(), [""; 0]);
    }
}

/// A temporary name gives no power over other files: what becomes temporary can be deleted.
#[tokio::test]
async fn a_file_of_others_becomes_temporary_only_with_delete() {
    let gateway = builder()
        .mount("permissions = [\"list\", \"read\", \"write\", \"rename\"]")
        .start()
        .await;
    gateway.store.put_before(BUCKET, "x", "old");
    gateway.store.put_before(BUCKET, "d.tmp/k", "old");
    let mut ftp = gateway.ftp().await;
    let reply = rename(&mut ftp, "x", "x.tmp").await;
    assert_eq!(reply.code, 550);
    assert!(reply.text().contains("(delete)"), "{reply:?}");
    assert_eq!(rename(&mut ftp, "x", "y").await.code, 250);
    assert_eq!(visible(&gateway.store), ["d.tmp/k", "y"]);
}

/// Only files of a temporary name are uploads of their user.
#[tokio::test]
async fn a_directory_of_a_temporary_name_needs_what_any_directory_needs() {
    for permissions in ["[\"list\", \"write\"]", "[\"write\"]"] {
        let gateway = builder()
            .mount(&format!("permissions = {permissions}"))
            .start()
            .await;
        gateway.store.put_before(BUCKET, "d.tmp/k", "old");
        let mut ftp = gateway.ftp().await;
        let refused = ftp.command("RNFR d.tmp").await;
        if refused.code == 350 {
            // A user who sees no names learns nothing here.
            let reply = ftp.expect("RNTO e", 550).await;
            assert!(reply.text().contains("no such file"), "{reply:?}");
        } else {
            assert!(refused.text().contains("(rename)"), "{refused:?}");
        }
        ftp.expect("RMD d.tmp", 550).await;
        assert_eq!(visible(&gateway.store), ["d.tmp/k"]);
        if permissions.contains("list") {
            let facts = ftp.expect("MLST d.tmp", 250).await.lines.join("\n");
            assert!(facts.contains("perm=cel;"), "{facts}");
        }
    }
}

/// Who may not write cannot publish, either.
#[tokio::test]
async fn without_write_nothing_is_published() {
    let gateway = Gateway::builder()
        .mount(PATTERNS)
        .with(&format!(
            "[mounts.in]\nstore = \"main\"\nbucket = \"{BUCKET}\"\n{PATTERNS}\n\
             permissions = [\"list\", \"read\", \"delete\", \"rename\"]"
        ))
        .user("u", "p", "{ \"/\" = \"main\", \"/reader\" = \"in\" }")
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("x.tmp", b"bytes").await.code, 226);
    let (got, _) = ftp.retrieve("reader/x.tmp").await;
    assert_eq!(got, b"bytes");
    let reply = rename(&mut ftp, "reader/x.tmp", "reader/x").await;
    assert_eq!(reply.code, 550);
    assert!(reply.text().contains("(write)"), "{reply:?}");
    let reply = rename(&mut ftp, "x.tmp", "reader/x").await;
    assert_eq!(reply.code, 550);
    assert_eq!(visible(&gateway.store), [""; 0]);
}
