//! Over any sequence of commands, events and replies agree in number and id.

use proptest::prelude::*;
use s3ftpd::events::{Event, Kind};
use std::sync::Arc;

use super::of_commands;
use test_support::faults::Fault;
use test_support::ftp::{Mode, Reply};
use test_support::gateway::{BUCKET, Gateway};

const LINES: [&str; 34] = [
    "RETR a",
    "RETR none",
    "RETR ro/a",
    "STOR a",
    "STOR ro/a",
    "STOR dir",
    "STOU",
    "APPE a",
    "APPE ro/a",
    "LIST",
    "LIST none",
    "NLST dir",
    "MLSD",
    "MLSD a",
    "MLST a",
    "MLST none",
    "STAT",
    "STAT none",
    "SIZE a",
    "SIZE none",
    "MDTM ro/a",
    "CWD dir",
    "CWD none",
    "CDUP",
    "MKD d",
    "RMD d",
    "DELE a",
    "RNFR a",
    "RNTO b",
    "HASH a",
    "XCRC none",
    "TYPE I",
    "NOOP",
    "FOO",
];

/// The final reply to a command.
async fn run(ftp: &mut test_support::ftp::Ftp, line: &str) -> Reply {
    match line.split(' ').next().unwrap() {
        "STOR" | "APPE" | "STOU" => ftp.upload_with(line, b"bytes", Mode::Passive).await,
        "RETR" | "LIST" | "NLST" | "MLSD" => ftp.download_with(line, Mode::Passive).await.1,
        _ => ftp.command(line).await,
    }
}

fn agree(line: &str, reply: &Reply, events: &[Arc<Event>]) {
    let case = format!("{line}: {reply:?}\n{events:#?}");
    assert!(events.len() <= 1, "{case}");
    let Some(event) = events.first() else {
        // Neither a failure of a file command nor a transfer.
        assert_eq!(reply.id(), None, "{case}");
        let verb = line.split(' ').next().unwrap();
        assert!(reply.code < 400 || matches!(verb, "FOO" | "TYPE"), "{case}");
        return;
    };
    let shown = match event.kind {
        // Its id is that of the new object's metadata.
        Kind::Renamed => None,
        _ => event.id.as_deref(),
    };
    if event.verb != Some("HASH") || reply.code >= 400 {
        assert_eq!(reply.id(), shown, "{case}");
    }
    if let Some(code) = event.code {
        assert_eq!(code, reply.code, "{case}");
    }
    assert_eq!(
        reply.code >= 400,
        event.class.unwrap().name() != "ok",
        "{case}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn over_any_sequence_of_commands(
        lines in prop::collection::vec((prop::sample::select(&LINES[..]), 0_u8..10), 1..25)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let gateway = Gateway::builder()
                .with("[stores.main]\nattempts = 1")
                .add_mount("ro", "other", "")
                .with("[mounts.ro]\npermissions = [\"list\", \"read\"]")
                .with("[users.u]\nmounts = { \"/\" = \"main\", \"/ro\" = \"ro\" }")
                .start()
                .await;
            gateway.store.put(BUCKET, "a", "bytes");
            gateway.store.put(BUCKET, "dir/x", "bytes");
            gateway.store.put("other", "a", "bytes");
            let mut ftp = gateway.ftp().await;
            of_commands(&gateway);
            for (line, fault) in lines {
                // One in ten commands meets a store that fails.
                let rule = (fault == 0).then(|| {
                    gateway.store.fail("*").always().with(Fault::Status(403, "AccessDenied"))
                });
                let reply = run(&mut ftp, line).await;
                agree(line, &reply, &of_commands(&gateway));
                if let Some(rule) = rule {
                    rule.remove();
                }
            }
        });
    }
}
