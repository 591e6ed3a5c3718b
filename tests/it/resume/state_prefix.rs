//! The state prefix cannot be listed, entered, read, written, moved or deleted by FTP.

use super::{By, resume};
use test_support::ftp::{Ftp, Mode, reset_stream};
use test_support::gateway::{BUCKET, Builder, Gateway};
use test_support::transfers::{settled, upload_in_progress};
use test_support::{MIB, pattern};

const SENT: usize = 6 * MIB;

/// A gateway with an interrupted upload, and the keys of its state.
async fn keeps(builder: Builder, bucket: &str) -> (Gateway, Vec<String>) {
    let gateway = builder.start().await;
    let mut ftp = gateway.ftp().await;
    let data = upload_in_progress(&mut ftp, "STOR x", &pattern(8 * MIB, 1)[..SENT]).await;
    reset_stream(data);
    ftp.expect_reply(426).await;
    ftp.close().await;
    settled(&gateway).await;
    let state = gateway.store.keys(bucket);
    assert_eq!(state.len(), 2, "a record and a tail: {state:?}");
    (gateway, state)
}

/// Tries every command that reads or writes, below `root`.
async fn nothing_works(ftp: &mut Ftp, root: &str, state: &[String]) {
    let paths = state
        .iter()
        .map(String::as_str)
        .chain([
            ".s3ftpd",
            ".s3ftpd/",
            ".s3ftpd/uploads",
            ".s3ftpd/new",
            "./.s3ftpd/new",
            "d/../.s3ftpd/new",
        ])
        .map(|path| format!("{root}{path}"));
    for path in paths {
        for command in [
            "CWD",
            "SIZE",
            "MDTM",
            "MDTM 20200102030405",
            "MLST",
            "DELE",
            "RMD",
            "RNFR",
            "STAT",
            "HASH",
            "XCRC",
            "XMD5",
            "MFMT 20200102030405",
            "MFF modify=20200102030405;",
        ] {
            let reply = ftp.command(&format!("{command} {path}")).await;
            assert!(
                (500..=553).contains(&reply.code),
                "{command} {path}: {reply:?}"
            );
        }
        for command in ["RETR", "STOR", "APPE", "LIST", "NLST", "MLSD", "MKD"] {
            ftp.expect("EPSV", 229).await;
            let reply = ftp.command(&format!("{command} {path}")).await;
            assert!(
                (500..=553).contains(&reply.code),
                "{command} {path}: {reply:?}"
            );
        }
        // Neither a file nor a directory can be moved into it.
        for source in ["file", "d"] {
            ftp.expect(&format!("RNFR {root}{source}"), 350).await;
            let reply = ftp.command(&format!("RNTO {path}")).await;
            assert!((500..=553).contains(&reply.code), "RNTO {path}: {reply:?}");
        }
    }
}

/// The output of each listing.
async fn listings(ftp: &mut Ftp, root: &str) -> String {
    let mut text = String::new();
    for command in [
        format!("NLST -a {root}"),
        format!("LIST -aR {root}"),
        format!("MLSD {root}"),
        format!("LIST {root}.s3*"),
        format!("NLST {root}.*"),
        format!("NLST {root}*/*"),
    ] {
        text += &ftp.list(&command).await.0;
    }
    for command in [format!("STAT {root}"), format!("STAT {root}.s3*")] {
        text += &ftp.command(&command).await.lines.join("\n");
    }
    text
}

#[tokio::test]
async fn the_state_prefix_cannot_be_reached_by_ftp() {
    let (gateway, state) = keeps(Gateway::builder().mount("times = \"metadata\""), BUCKET).await;
    gateway.store.put(BUCKET, "file", "1");
    gateway.store.put(BUCKET, "d/inner", "2");
    let before: Vec<_> = state
        .iter()
        .map(|key| gateway.store.object(BUCKET, key))
        .collect();
    let mut ftp = gateway.ftp().await;
    nothing_works(&mut ftp, "", &state).await;
    let listed = listings(&mut ftp, "/").await;
    assert!(listed.contains("file"), "{listed}");
    // STAT repeats the globs.
    assert!(
        !listed.contains("s3ftpd") && !listed.contains("uploads"),
        "{listed}"
    );
    // Nothing can be moved or removed by way of its root.
    for command in ["RNFR /", "RMD /", "DELE /"] {
        ftp.expect(command, 550).await;
    }
    let after: Vec<_> = state
        .iter()
        .map(|key| gateway.store.object(BUCKET, key))
        .collect();
    assert!(after == before);
    assert_eq!(gateway.store.keys(BUCKET).len(), 4);
    ftp.close().await;
    resume(&gateway, By::Rest, "x", &pattern(8 * MIB, 1), SENT).await;
}

/// The bucket with the state of another may be mounted too, also deeper down.
#[tokio::test]
async fn the_state_bucket_cannot_be_reached_by_ftp() {
    let builder = Gateway::builder()
        .add_mount("states", "state", "")
        .mount("state_bucket = \"state\"")
        .user("u", "p", "{ \"/\" = \"main\", \"/in/state\" = \"states\" }");
    let (gateway, state) = keeps(builder, "state").await;
    gateway.store.put("state", "file", "1");
    gateway.store.put("state", "d/inner", "2");
    let mut ftp = gateway.ftp().await;
    nothing_works(&mut ftp, "/in/state/", &state).await;
    let listed = listings(&mut ftp, "/in/state/").await;
    assert!(listed.contains("file"), "{listed}");
    assert!(
        !listed.contains("s3ftpd/") && !listed.contains("uploads"),
        "{listed}"
    );
    // Neither the mount point nor the directory above it can be moved, with everything below.
    for command in ["RNFR /in/state", "RNFR /in", "RMD /in/state", "RMD /in"] {
        let reply = ftp.command(command).await;
        assert!((500..=553).contains(&reply.code), "{command}: {reply:?}");
    }
    assert_eq!(gateway.store.keys("state").len(), 4);
    // In other places the name is like any other.
    let reply = ftp
        .upload_with("STOR /sub/.s3ftpd/own", b"1", Mode::Passive)
        .await;
    assert_eq!(reply.code, 226);
    assert_eq!(
        gateway.store.object(BUCKET, "sub/.s3ftpd/own").unwrap(),
        b"1"
    );
    ftp.close().await;
    resume(&gateway, By::Rest, "x", &pattern(8 * MIB, 1), SENT).await;
}
