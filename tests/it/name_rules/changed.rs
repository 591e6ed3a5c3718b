//! `names`: the names that old devices send are changed before they become keys, and every command
//! finds the file by the name that the device knows.

use test_support::ftp::Mode;
use test_support::gateway::{BUCKET, Gateway, PASSWORD};
use test_support::pattern;
use test_support::transfers::interrupt;

const LOWER: &str = "names = { case = \"lower\", replace = { \" \" = \"_\", \"\\\\\" = \"-\" } }";

#[tokio::test]
async fn every_command_takes_the_name_that_was_sent_and_the_one_that_is_stored() {
    let gateway = Gateway::builder().mount(LOWER).start().await;
    let store = &gateway.store;
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    let made = ftp.expect("MKD /My Scans", 257).await;
    assert!(made.text().contains("\"/my_scans\""), "{made:?}");
    ftp.expect("CWD My Scans", 250).await;
    assert!(
        ftp.expect("PWD", 257)
            .await
            .text()
            .contains("\"/my_scans\"")
    );
    let reply = ftp.store("SCAN 01.PDF", b"first").await;
    assert_eq!(reply.code, 226, "{reply:?}");
    assert_eq!(store.keys(BUCKET), ["my_scans/", "my_scans/scan_01.pdf"]);
    for name in [
        "SCAN 01.PDF",
        "scan_01.pdf",
        "/My Scans/Scan 01.pdf",
        "../MY_SCANS/scan_01.PDF",
    ] {
        assert_eq!(ftp.expect(&format!("SIZE {name}"), 213).await.text(), "5");
        ftp.expect(&format!("MDTM {name}"), 213).await;
        ftp.expect(&format!("MLST {name}"), 250).await;
        ftp.expect(&format!("HASH {name}"), 213).await;
        assert_eq!(ftp.retrieve(name).await.0, b"first", "{name}");
        let (text, _) = ftp.list(&format!("NLST {name}")).await;
        assert!(text.to_lowercase().contains("01.pdf"), "{name}: {text}");
    }
    for glob in ["*.PDF", "SCAN ??.pdf", "[S-T]can*", "scan_01*"] {
        let (text, _) = ftp.list(&format!("NLST {glob}")).await;
        assert_eq!(text, "scan_01.pdf\r\n", "{glob}");
    }
    let reply = ftp
        .upload_with("APPE Scan 01.PDF", b" more", Mode::Passive)
        .await;
    assert_eq!(reply.code, 226, "{reply:?}");
    ftp.expect("RNFR SCAN 01.PDF", 350).await;
    let renamed = ftp.expect("RNTO Out\\Scan 02.PDF", 250).await;
    assert_eq!(
        renamed.text(),
        "/my_scans/scan_01.pdf is now /my_scans/out-scan_02.pdf"
    );
    assert_eq!(
        store.object(BUCKET, "my_scans/out-scan_02.pdf").unwrap(),
        b"first more"
    );
    let denied = ftp.expect("DELE Scan 03.PDF", 550).await;
    assert!(
        denied.text().starts_with("/my_scans/scan_03.pdf: "),
        "{denied:?}"
    );
    ftp.expect("DELE OUT\\SCAN 02.PDF", 250).await;
    ftp.expect("CWD /", 250).await;
    ftp.expect("RMD MY SCANS", 250).await;
    assert_eq!(store.keys(BUCKET), [""; 0]);
    // The reply to STOU names the file that is there.
    let _data = ftp.data(Mode::Passive).await;
    let opening = ftp.expect("STOU Scan", 150).await;
    assert!(opening.text().starts_with("FILE: scan."), "{opening:?}");
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn an_interrupted_upload_is_found_by_the_name_that_was_sent() {
    let gateway = Gateway::builder()
        .mount("names = { case = \"upper\" }")
        .start()
        .await;
    let bytes = pattern(300_000, 1);
    interrupt(&gateway, "STOR scan.pdf", &bytes[..200_000]).await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    let size: usize = ftp
        .expect("SIZE scan.pdf", 213)
        .await
        .text()
        .parse()
        .unwrap();
    ftp.expect(&format!("REST {size}"), 350).await;
    assert_eq!(ftp.store("Scan.pdf", &bytes[size..]).await.code, 226);
    assert!(gateway.store.object(BUCKET, "SCAN.PDF").unwrap() == bytes);
    ftp.close().await;
    gateway.stop().await;
}

/// Patterns look at the changed name.
#[tokio::test]
async fn a_changed_name_must_be_allowed() {
    let rules = "names = { case = \"lower\" }\nallow_names = [\"*.pdf\"]\nmax_file_size = 4";
    let gateway = Gateway::builder().mount(rules).start().await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("A.PDF", b"1").await.code, 226);
    let _port = ftp.data(Mode::Passive).await;
    let reply = ftp.expect("STOR A.EXE", 553).await;
    assert!(
        reply.text().starts_with("/a.exe: files may not"),
        "{reply:?}"
    );
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_changed_name_leads_nowhere_else() {
    let mounts = "{ \"/\" = \"main\", \"/Way/Free\" = \"free\", \"/box\" = \"box\" }";
    let gateway = Gateway::builder()
        .mount("names = { case = \"lower\", replace = { \"~\" = \".\" } }")
        .add_mount("free", "free", "")
        .add_mount("box", "box", "")
        .with("[mounts.box]\npermissions = [\"write\"]\nnames = { replace = { x = \"y\" } }")
        .user("u", PASSWORD, mounts)
        .start()
        .await;
    let store = &gateway.store;
    store.put(BUCKET, ".s3ftpd/uploads/x", "state");
    store.put(BUCKET, "box/secret", "hidden by the mount");
    store.put("box", "secret", "not readable");
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    // The server's own state, and what is below another mount.
    for path in [
        "/.S3FTPD/uploads/x",
        "/~S3ftpd/uploads/x",
        "/BOX/secret",
        "/Box/SECRET",
    ] {
        let _port = ftp.data(Mode::Passive).await;
        ftp.expect(&format!("RETR {path}"), 550).await;
        ftp.expect(&format!("DELE {path}"), 550).await;
    }
    for name in ["/~", "/~~", "/a/~~/b"] {
        ftp.expect(&format!("MKD {name}"), 553).await;
    }
    // The rules of the deeper mount count there.
    assert_eq!(ftp.store("/BOX/Xx.TXT", b"1").await.code, 226);
    assert_eq!(store.keys("box"), ["Xy.TXT", "secret"]);
    // The way to a mount keeps its names, and so does a mount without rules.
    ftp.expect("CWD /Way", 250).await;
    ftp.expect("CWD Free", 250).await;
    assert_eq!(ftp.store("A File~", b"1").await.code, 226);
    assert_eq!(store.keys("free"), ["A File~"]);
    assert_eq!(ftp.store("/Way/Else/F", b"1").await.code, 226);
    assert!(
        store.object(BUCKET, "Way/else/f").is_some(),
        "{:?}",
        store.keys(BUCKET)
    );
    ftp.close().await;
    gateway.stop().await;
}

/// Files that nothing could name at their new place are not moved there.
#[tokio::test]
async fn a_directory_whose_names_would_change_is_not_moved() {
    let gateway = Gateway::builder()
        .mount(LOWER)
        .add_mount("free", "free", "")
        .user("u", PASSWORD, "{ \"/\" = \"main\", \"/free\" = \"free\" }")
        .start()
        .await;
    let store = &gateway.store;
    store.put("free", "dir/a", "1");
    store.put("free", "dir/Sub/b", "1");
    let mut ftp = gateway.ftp().await;
    ftp.expect("RNFR /free/dir", 350).await;
    store.reset_counts();
    let reply = ftp.expect("RNTO /DIR", 553).await;
    let text =
        "/dir/Sub: files may not have this name here (names: it would be sub); nothing was moved";
    assert!(reply.text().starts_with(text), "{reply:?}");
    assert_eq!(store.count("CopyObject") + store.count("PutObject"), 0);
    ftp.expect("RNFR /free/dir/Sub", 350).await;
    ftp.expect("RNTO /free/dir/sub", 250).await;
    ftp.expect("RNFR /free/dir", 350).await;
    ftp.expect("RNTO /DIR", 250).await;
    assert_eq!(store.keys(BUCKET), ["dir/a", "dir/sub/b"]);
    ftp.close().await;
    gateway.stop().await;
}
