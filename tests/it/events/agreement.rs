//! Over any sequence of commands, events and replies agree in number and id, whatever the store and
//! the client do.

use std::sync::Arc;

use proptest::prelude::*;
use s3ftpd::events::{Event, Kind, Level};
use tokio::io::AsyncWriteExt;

use super::of_commands;
use test_support::faults::{Answer, Fault};
use test_support::ftp::{Ftp, Mode, Reply, read_to_end_deadline, reset_stream};
use test_support::gateway::{BUCKET, Gateway};

const LINES: [&str; 46] = [
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
    "LIST a",
    "NLST dir",
    "MLSD",
    "MLSD a",
    "MLST a",
    "MLST none",
    "STAT",
    "STAT none",
    "STAT dir",
    "SIZE a",
    "SIZE none",
    "MDTM ro/a",
    "MDTM 20260101000000 a",
    "MDTM 20260101000000 none",
    "MFMT 20260101000000 a",
    "SITE UTIME 20260101000000 none",
    "SITE UTIME x a",
    "SITE CHMOD 644 a",
    "SITE HELP",
    "CWD dir",
    "CWD none",
    "CDUP",
    "MKD d",
    "RMD d",
    "DELE a",
    "RNFR a",
    "RNFR dir",
    "RNTO b",
    "HASH a",
    "XCRC none",
    "XSHA a",
    "TYPE I",
    "NOOP",
    "ABOR",
    "FOO",
];

/// What the store does during a command.
#[derive(Debug, Clone, Copy)]
enum Store {
    Answers,
    /// Each request has this fault.
    Fails(usize),
    /// The second request has it.
    FailsSecond(usize),
}

const FAULTS: [fn() -> Fault; 8] = [
    || Fault::Status(403, "AccessDenied"),
    || Fault::Status(403, "InvalidAccessKeyId"),
    || Fault::Status(404, "NoSuchBucket"),
    || Fault::Status(503, "SlowDown"),
    || Fault::Status(418, "Teapot"),
    || Fault::ResetBeforeHandling,
    || Fault::LoseAnswer,
    || Fault::Foreign(Answer::page(502)),
];

/// What the client does with the data connection of a command.
#[derive(Debug, Clone, Copy)]
enum Data {
    /// It sends or reads all bytes.
    Whole,
    /// It has sent neither EPSV nor PORT.
    Unset,
    /// It does not connect to the passive port.
    Unopened,
    /// It resets the connection after the 150.
    Reset,
    /// It sends ABOR after the 150.
    Aborted,
}

fn store() -> impl Strategy<Value = Store> {
    let fault = 0..FAULTS.len();
    prop_oneof![
        5 => Just(Store::Answers),
        1 => fault.clone().prop_map(Store::Fails),
        1 => fault.prop_map(Store::FailsSecond),
    ]
}

fn data() -> impl Strategy<Value = Data> {
    prop_oneof![
        6 => Just(Data::Whole),
        1 => Just(Data::Unset),
        1 => Just(Data::Unopened),
        2 => Just(Data::Reset),
        2 => Just(Data::Aborted),
    ]
}

fn verb(line: &str) -> &str {
    line.split(' ').next().unwrap()
}

fn uploads(line: &str) -> bool {
    matches!(verb(line), "STOR" | "APPE" | "STOU")
}

/// The final reply to a command.
async fn run(ftp: &mut Ftp, line: &str, data: Data) -> Reply {
    if !uploads(line) && !matches!(verb(line), "RETR" | "LIST" | "NLST" | "MLSD") {
        return ftp.command(line).await;
    }
    match data {
        Data::Unset => return ftp.command(line).await,
        Data::Unopened => {
            ftp.epsv().await;
            let reply = ftp.command(line).await;
            return match reply.is_preliminary() {
                true => ftp.reply().await,
                false => reply,
            };
        }
        Data::Whole | Data::Reset | Data::Aborted => {}
    }
    let side = ftp.data(Mode::Passive).await;
    let reply = ftp.command(line).await;
    if !reply.is_preliminary() {
        return reply;
    }
    let mut stream = side.stream().await;
    match data {
        Data::Reset => reset_stream(stream),
        Data::Aborted => {
            ftp.send("ABOR").await;
            let reply = ftp.reply().await;
            assert_eq!(ftp.expect_reply(226).await.id(), None);
            return reply;
        }
        _ if uploads(line) => {
            // The server may close its end at any time; the reply says why.
            if stream.write_all(b"bytes").await.is_ok() {
                let _ = stream.shutdown().await;
            }
        }
        _ => {
            let _ = read_to_end_deadline(&mut stream).await;
        }
    }
    ftp.reply().await
}

fn agree(case: &str, line: &str, reply: &Reply, events: &[Arc<Event>]) {
    let case = format!("{case}: {reply:?}\n{events:#?}");
    assert!(events.len() <= 1, "{case}");
    let Some(event) = events.first() else {
        // Neither a failure of a file command nor a transfer.
        assert_eq!(reply.id(), None, "{case}");
        assert!(
            reply.code < 400 || matches!(line, "FOO" | "TYPE I"),
            "{case}"
        );
        return;
    };
    assert_eq!(event.verb, Some(verb(line)), "{case}");
    if let Some(code) = event.code {
        assert_eq!(code, reply.code, "{case}");
    }
    // The code of a STAT is that of its first line.
    let failed = reply.code >= 400 || reply.text().starts_with("Broken off");
    assert_eq!(failed, event.class.unwrap().name() != "ok", "{case}");
    match event.kind {
        // Its id is that of the new object's metadata.
        Kind::Renamed => assert!(!failed && event.id.is_some(), "{case}"),
        // The reply to a digest has its own form.
        Kind::Transfer if event.direction.is_none() => assert!(!failed, "{case}"),
        _ => assert_eq!(reply.id(), event.id.as_deref(), "{case}"),
    }
    if failed {
        assert_eq!(event.reason.as_deref(), Some(reply.reason()), "{case}");
        let probe = event.level == Level::Debug;
        assert_eq!(event.id.is_none(), probe, "{case}");
    }
}

/// Ends the session during a command, by a reset of the control connection: one event.
async fn lose(gateway: &Gateway, mut ftp: Ftp, line: &str) {
    let side = ftp.data(Mode::Passive).await;
    let reply = ftp.command(line).await;
    if !reply.is_preliminary() {
        agree(line, line, &reply, &of_commands(gateway));
        return;
    }
    ftp.reset();
    gateway.events.wait_for(Kind::SessionClose).await;
    let events = of_commands(gateway);
    assert_eq!(events.len(), 1, "{line}: {events:#?}");
    drop(side);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn over_any_sequence_of_commands(
        steps in prop::collection::vec((prop::sample::select(&LINES[..]), store(), data()), 1..25),
        last in prop::sample::select(&["STOR a", "APPE a", "STOU", "RETR ro/a", "LIST", "MLSD"][..]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let gateway = Gateway::builder()
                .with("[stores.main]\nattempts = 1\n[timeouts]\ndata_connect = \"50ms\"")
                .mount("times = \"metadata\"")
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
            for (line, store, data) in steps {
                let rule = gateway.store.fail("*").always();
                let rule = match store {
                    Store::Answers => None,
                    Store::Fails(fault) => Some(rule.with(FAULTS[fault]())),
                    Store::FailsSecond(fault) => Some(rule.nth(2).with(FAULTS[fault]())),
                };
                let reply = run(&mut ftp, line, data).await;
                let case = format!("{line}, {store:?}, {data:?}");
                agree(&case, line, &reply, &of_commands(&gateway));
                if let Some(rule) = rule {
                    rule.remove();
                }
            }
            ftp.in_step().await;
            assert!(of_commands(&gateway).is_empty());
            lose(&gateway, ftp, last).await;
        });
    }
}
