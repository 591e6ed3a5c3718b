//! Directories and the temporary files in them.

use super::{Consumer, PATTERNS, builder, rename, temporary, visible};
use test_support::gateway::{BUCKET, Gateway};

#[tokio::test]
async fn a_directory_that_holds_only_temporary_files_is_one_to_its_user() {
    let gateway = builder()
        .user("v", "p", "{ \"/\" = \"main\" }")
        .start()
        .await;
    let mut consumer = Consumer::of(&gateway.store);
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("in/x.tmp", b"bytes").await.code, 226);
    ftp.expect("CWD in", 250).await;
    let (names, _) = ftp.list("NLST").await;
    assert_eq!(names, "x.tmp\r\n");
    ftp.expect("CWD /", 250).await;
    let facts = ftp.expect("MLST in", 250).await.lines.join("\n");
    assert!(facts.contains("type=dir"), "{facts}");
    let (names, _) = ftp.list("NLST in").await;
    assert_eq!(names, "in/x.tmp\r\n");
    ftp.expect("RMD in", 550).await;
    let mut other = gateway.ftp_as("v", "p").await;
    other.expect("CWD in", 550).await;
    // It goes with its last file: nothing of it is written where others see it.
    ftp.expect("DELE in/x.tmp", 250).await;
    ftp.expect("CWD in", 550).await;
    assert_eq!(consumer.saw(), [""; 0]);
}

#[tokio::test]
async fn a_directory_that_was_made_stays_and_is_not_removed_with_a_file_in_it() {
    let gateway = builder().start().await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("MKD in", 257).await;
    assert_eq!(ftp.store("in/x.tmp", b"bytes").await.code, 226);
    let reply = ftp.expect("RMD in", 550).await;
    assert!(reply.text().contains("not empty"), "{reply:?}");
    ftp.expect("DELE in/x.tmp", 250).await;
    ftp.expect("CWD in", 250).await;
    ftp.expect("CWD /", 250).await;
    ftp.expect("RMD in", 250).await;
    assert_eq!(gateway.store.keys(BUCKET), [""; 0]);
}

/// A name says something about files only.
#[tokio::test]
async fn a_directory_of_a_temporary_name_is_an_ordinary_one() {
    let gateway = builder().start().await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("MKD d.tmp", 257).await;
    assert_eq!(visible(&gateway.store), ["d.tmp/"]);
    ftp.expect("CWD d.tmp", 250).await;
    assert_eq!(ftp.store("x", b"bytes").await.code, 226);
    assert_eq!(ftp.store("y.tmp", b"bytes").await.code, 226);
    ftp.expect("CWD /", 250).await;
    assert_eq!(visible(&gateway.store), ["d.tmp/", "d.tmp/x"]);
    let (names, _) = ftp.list("NLST d.tmp").await;
    assert_eq!(names, "d.tmp/y.tmp\r\nd.tmp/x\r\n");
    assert_eq!(rename(&mut ftp, "d.tmp/y.tmp", "d.tmp/y").await.code, 250);
    assert_eq!(rename(&mut ftp, "d.tmp", "e.tmp").await.code, 250);
    assert_eq!(visible(&gateway.store), ["e.tmp/", "e.tmp/x", "e.tmp/y"]);
    for name in ["e.tmp/x", "e.tmp/y"] {
        ftp.expect(&format!("DELE {name}"), 250).await;
    }
    ftp.expect("RMD e.tmp", 250).await;
    assert_eq!(ftp.store("f.tmp", b"bytes").await.code, 226);
    ftp.expect("MKD f.tmp", 550).await;
    assert_eq!(visible(&gateway.store), [""; 0]);
}

#[tokio::test]
async fn a_directory_is_not_renamed_away_from_its_temporary_files() {
    let gateway = builder().start().await;
    gateway.store.put_before(BUCKET, "d/sub/deep/k", "1");
    gateway.store.put_before(BUCKET, "d/other/k", "1");
    let mut ftp = gateway.ftp().await;
    for file in ["d/x.tmp", "d/sub/deep/x.tmp", "d/sub/x.tmp"] {
        assert_eq!(ftp.store(file, b"bytes").await.code, 226);
        let reply = rename(&mut ftp, "d", "e").await;
        assert_eq!(reply.code, 550, "{file}");
        assert!(reply.text().contains("holds temporary files"), "{reply:?}");
        ftp.expect(&format!("DELE {file}"), 250).await;
    }
    assert_eq!(rename(&mut ftp, "d", "e").await.code, 250);
    assert_eq!(visible(&gateway.store), ["e/other/k", "e/sub/deep/k"]);
    // Nor onto a directory that holds some.
    assert_eq!(ftp.store("f/x.tmp", b"bytes").await.code, 226);
    assert_eq!(rename(&mut ftp, "e", "f").await.code, 553);
}

/// Two mounts that show one directory, by different prefixes.
#[tokio::test]
async fn mounts_on_one_directory_show_the_same_files() {
    let gateway = Gateway::builder()
        .mount(PATTERNS)
        .with(&format!(
            "[mounts.in]\nstore = \"main\"\nbucket = \"{BUCKET}\"\nprefix = \"in/\"\n{PATTERNS}"
        ))
        .user("u", "p", "{ \"/\" = \"main\", \"/direct\" = \"in\" }")
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("in/x.tmp", b"bytes").await.code, 226);
    let (names, _) = ftp.list("NLST direct").await;
    assert_eq!(names, "direct/x.tmp\r\n");
    // It is one file.
    assert_eq!(rename(&mut ftp, "in/x.tmp", "direct/x.tmp").await.code, 250);
    assert_eq!(rename(&mut ftp, "direct/x.tmp", "x").await.code, 250);
    assert_eq!(temporary(&gateway.store), [""; 0]);
    assert_eq!(visible(&gateway.store), ["x"]);
}
