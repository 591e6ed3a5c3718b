//! Users who may write and see nothing: replies about directories do not reveal names.

use test_support::ftp::{Ftp, without_id};
use test_support::gateway::{BUCKET, Gateway};

async fn write_only(more: &str) -> Gateway {
    let gateway = Gateway::builder()
        .mount(&format!("permissions = [\"write\"{more}]"))
        .start()
        .await;
    gateway.store.put(BUCKET, "payroll/2026/jan.csv", "secret");
    gateway.store.put(BUCKET, "marked/", "");
    gateway.store.put(BUCKET, "file", "secret");
    gateway.store.reset_counts();
    gateway
}

/// The code, and the text without the requested name.
async fn answer(ftp: &mut Ftp, verb: &str, name: &str) -> (u16, String) {
    let reply = ftp.command(&format!("{verb} {name}")).await;
    let lines = without_id(&reply.lines.join("|")).replace(name, "*");
    (reply.code, lines)
}

#[tokio::test]
async fn cwd_gives_one_answer_for_existing_and_missing_names() {
    let gateway = write_only("").await;
    let mut ftp = gateway.ftp().await;
    let mut answers = Vec::new();
    for name in [
        "payroll",
        "nothere",
        "marked",
        "file",
        "payroll/2026",
        "payroll/2027",
    ] {
        answers.push(answer(&mut ftp, "CWD", &format!("/{name}")).await);
    }
    assert!(answers.iter().all(|one| *one == answers[0]), "{answers:?}");
    assert_eq!(answers[0].0, 250);
    // No request to the store either, whose time could reveal it.
    assert!(gateway.store.requests().is_empty());
    ftp.expect("CWD /drop/today", 250).await;
    assert_eq!(ftp.store("a", b"1").await.code, 226);
    assert_eq!(gateway.store.object(BUCKET, "drop/today/a").unwrap(), b"1");
    ftp.expect("CDUP", 250).await;
    for line in [
        "LIST",
        "NLST",
        "MLSD",
        "STAT /payroll",
        "STAT /nothere",
        "MLST /payroll",
        "MLST /nothere",
    ] {
        assert_eq!(ftp.command(line).await.code, 550, "{line}");
    }
    ftp.close().await;
}

#[tokio::test]
async fn mkd_and_rmd_give_one_answer_for_existing_and_missing_names() {
    let gateway = write_only(", \"mkdir\", \"rmdir\"").await;
    let mut ftp = gateway.ftp().await;
    let mut made = Vec::new();
    for name in ["payroll", "nothere", "marked", "payroll/2026"] {
        made.push(answer(&mut ftp, "MKD", &format!("/{name}")).await);
    }
    assert!(made.iter().all(|one| *one == made[0]), "{made:?}");
    assert_eq!(made[0].0, 257);
    let not_empty = answer(&mut ftp, "RMD", "/payroll").await;
    let not_there = answer(&mut ftp, "RMD", "/never").await;
    assert_eq!(not_empty, not_there);
    assert_eq!(not_there.0, 550);
    assert!(
        gateway
            .store
            .object(BUCKET, "payroll/2026/jan.csv")
            .is_some()
    );
    ftp.close().await;
}

/// Users who may list or read get the real answer.
#[tokio::test]
async fn users_who_may_list_or_read_get_the_real_answer() {
    for permissions in ["list", "read"] {
        let gateway = write_only(&format!(", \"{permissions}\", \"mkdir\", \"rmdir\"")).await;
        let mut ftp = gateway.ftp().await;
        ftp.expect("CWD /payroll", 250).await;
        ftp.expect("CWD /nothere", 550).await;
        ftp.expect("MKD /payroll", 550).await;
        let reply = ftp.expect("RMD /payroll", 550).await;
        assert!(reply.text().contains("not empty"), "{reply:?}");
        let reply = ftp.expect("RMD /never", 550).await;
        assert!(reply.text().contains("no such directory"), "{reply:?}");
        ftp.close().await;
    }
}

/// A device that only drops files may store new ones, in any directory, and see nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_drop_box_accepts_files_and_shows_none() {
    let gateway = Gateway::builder()
        .mount("permissions = [\"write\"]")
        .start()
        .await;
    gateway.store.put(BUCKET, "in/old", "old");
    let mut ftp = gateway.ftp().await;
    ftp.expect("CWD in", 250).await;
    assert_eq!(ftp.store("new", b"bytes").await.code, 226);
    assert_eq!(ftp.store("old", b"bytes").await.code, 550);
    gateway.store.reset_counts();
    for command in [
        "LIST",
        "LIST -la *",
        "LIST o[l]d",
        "NLST old",
        "MLSD",
        "RETR old",
        "SIZE old",
        "SIZE none",
        "MDTM old",
        "MDTM 20200102030405 old",
        "MLST old",
        "STAT old",
        "DELE old",
        "RNFR old",
        "MKD x",
        "RMD /in",
    ] {
        let data = ftp.data_passive().await;
        let reply = ftp.expect(command, 550).await;
        assert!(
            reply.text().contains("permission denied ("),
            "{command}: {reply:?}"
        );
        drop(data);
    }
    assert!(
        gateway.store.requests().is_empty(),
        "refusals ask the store nothing"
    );
    assert_eq!(gateway.store.keys(BUCKET), ["in/new", "in/old"]);
    assert_eq!(gateway.store.object(BUCKET, "in/old").unwrap(), b"old");
    ftp.close().await;
    gateway.stop().await;
}
