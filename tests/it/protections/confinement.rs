//! A vulnerability must not become a foothold: the process writes no file and starts no program.
//! `ci/container.sh` shows that it runs without root and capabilities, in a read-only file system.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use test_support::process::Process;
use test_support::{MIB, pattern};

#[tokio::test(flavor = "multi_thread")]
async fn no_file_is_written_and_no_program_is_run() {
    // With this limit the first byte written to any file ends the process (SIGXFSZ).
    let settings = "[transfer]\npart_size = \"5MiB\"";
    let mut process = Process::start_under("ulimit -f 0", "info", settings).await;
    let directory = process.temporary.path().to_owned();
    fs::set_permissions(&directory, Permissions::from_mode(0o555)).unwrap();
    let mut ftp = process.ftp().await;
    let bytes = pattern(11 * MIB, 1);
    assert_eq!(ftp.store("large", &bytes).await.code, 226);
    assert_eq!(ftp.store("small", b"bytes").await.code, 226);
    assert!(ftp.retrieve("large").await.0 == bytes);
    assert!(ftp.list("LIST").await.0.contains("large"));
    let mut data = ftp.data_passive().await;
    ftp.expect("STOR broken", 150).await;
    tokio::io::AsyncWriteExt::write_all(&mut data, b"half")
        .await
        .unwrap();
    ftp.expect("ABOR", 426).await;
    ftp.expect_reply(226).await;
    for (command, code) in [
        ("RNFR small", 350),
        ("RNTO renamed", 250),
        ("HASH large", 213),
        ("SITE HELP", 214),
        ("SITE CHMOD 755 large", 200),
        ("SITE EXEC touch x", 502),
        ("SITE EXEC", 502),
        ("SITE $(touch x)", 502),
        ("SITE `touch x`", 502),
        ("STOR |touch x", 425),
        ("RETR |touch x", 425),
        ("LIST |touch x", 550),
    ] {
        let reply = ftp.command(command).await;
        assert_eq!(reply.code, code, "{command}: {reply:?}");
        assert_eq!(process.children(), 0, "{command}");
    }
    assert!(!process.has_had_children());
    assert_eq!(process.open_files(), [""; 0]);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    let log = process.stop().await;
    assert!(log.contains("\"stopped\""), "{log}");
}
