//! Refusals and failures: permission × verb, state of the name × verb, state of the store × verb,
//! end of the client × verb.

use s3ftpd::events::{Class, Direction, Kind, Level};
use tokio::io::AsyncWriteExt;

use super::{of_commands, one_failure};
use test_support::faults::{Answer, Fault};
use test_support::ftp::{Ftp, Mode, Reply, reset_stream};
use test_support::gateway::{BUCKET, Gateway};
use test_support::pattern;
use test_support::transfers::begin;

/// Runs a command to its final reply; those that need a data connection get one.
async fn run(ftp: &mut Ftp, line: &str) -> Reply {
    let verb = line.split(' ').next().unwrap();
    match verb {
        "STOR" | "APPE" | "STOU" => ftp.upload_with(line, b"bytes", Mode::Passive).await,
        "RETR" | "LIST" | "NLST" | "MLSD" => ftp.download_with(line, Mode::Passive).await.1,
        "RNTO" => {
            ftp.expect("RNFR there", 350).await;
            ftp.command(line).await
        }
        _ => ftp.command(line).await,
    }
}

const FILE_COMMANDS: [&str; 22] = [
    "RETR there",
    "STOR there",
    "APPE there",
    "LIST dir",
    "NLST dir",
    "MLSD dir",
    "MLST there",
    "STAT dir",
    "SIZE there",
    "MDTM there",
    "MFMT 20260101000000 there",
    "MFF modify=20260101000000; there",
    "MDTM 20260101000000 there",
    "MKD new",
    "RMD dir",
    "DELE there",
    "RNFR there",
    "HASH there",
    "XCRC there",
    "XSHA256 there",
    "SITE UTIME 20260101000000 there",
    "STOU new",
];

#[tokio::test]
async fn a_missing_permission_is_one_event_for_each_verb() {
    let gateway = Gateway::builder()
        .mount("permissions = [\"rmdir\"]\ntimes = \"metadata\"")
        .start()
        .await;
    gateway.store.put(BUCKET, "there", "bytes");
    gateway.store.put(BUCKET, "dir/x", "bytes");
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    of_commands(&gateway);
    for line in FILE_COMMANDS.into_iter().filter(|line| *line != "RMD dir") {
        let reply = run(&mut ftp, line).await;
        assert_eq!(reply.code, 550, "{line}: {reply:?}");
        let event = one_failure(&gateway, &reply, Class::Permission, line);
        assert_eq!(event.kind, Kind::Refused, "{line}");
        assert_eq!(event.level, Level::Info, "{line}");
        assert_eq!(event.verb, line.split(' ').next(), "{line}");
        let path = event.path.as_deref().unwrap();
        assert!(matches!(path, "/there" | "/dir" | "/new"), "{line}: {path}");
        assert_eq!(event.mount.as_deref(), Some("/"), "{line}");
        assert_eq!(event.store.as_deref(), Some("main"), "{line}");
        assert_eq!(event.bucket.as_deref(), Some(BUCKET), "{line}");
        assert_eq!(event.key.as_deref(), Some(&path[1..]), "{line}");
    }
    // The new name of a rename.
    drop(gateway);
    let gateway = Gateway::builder()
        .mount("permissions = [\"list\", \"read\", \"write\", \"rename\"]")
        .start()
        .await;
    gateway.store.put(BUCKET, "there", "bytes");
    gateway.store.put(BUCKET, "other", "bytes");
    let mut ftp = gateway.ftp().await;
    of_commands(&gateway);
    let reply = run(&mut ftp, "RNTO other").await;
    let event = one_failure(&gateway, &reply, Class::Permission, "RNTO");
    assert_eq!(event.path.as_deref(), Some("/there"));
    assert_eq!(event.to.as_deref(), Some("/other"));
}

#[tokio::test]
async fn a_missing_name_is_one_event_and_probes_have_no_id() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "there", "bytes");
    gateway.store.put(BUCKET, "dir/x", "bytes");
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    of_commands(&gateway);
    for (line, class, level) in [
        ("RETR none", Class::NotFound, Level::Info),
        ("LIST none", Class::NotFound, Level::Info),
        ("NLST none", Class::NotFound, Level::Info),
        ("MLSD none", Class::NotFound, Level::Info),
        ("STAT none", Class::NotFound, Level::Info),
        ("DELE none", Class::NotFound, Level::Info),
        ("RMD none", Class::NotFound, Level::Info),
        ("RMD dir", Class::Exists, Level::Info),
        ("HASH none", Class::NotFound, Level::Info),
        ("XCRC none", Class::NotFound, Level::Info),
        ("DELE dir", Class::NotFound, Level::Info),
        ("STOR /", Class::Invalid, Level::Info),
        ("APPE /", Class::Invalid, Level::Info),
        ("RETR a\u{1}b", Class::Invalid, Level::Info),
        ("SIZE none", Class::NotFound, Level::Debug),
        ("MDTM none", Class::NotFound, Level::Debug),
        ("MLST none", Class::NotFound, Level::Debug),
        ("CWD none", Class::NotFound, Level::Debug),
        ("CWD there", Class::NotFound, Level::Debug),
        ("XCWD none", Class::NotFound, Level::Debug),
        ("MKD dir", Class::Exists, Level::Debug),
        ("RNFR none", Class::NotFound, Level::Debug),
    ] {
        let reply = run(&mut ftp, line).await;
        assert!(reply.code >= 500, "{line}: {reply:?}");
        let event = one_failure(&gateway, &reply, class, line);
        assert_eq!((event.kind, event.level), (Kind::Refused, level), "{line}");
    }
}

#[tokio::test]
async fn a_line_that_is_not_understood_is_an_event_if_its_verb_is_one_of_files() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    of_commands(&gateway);
    for line in [
        "RETR",
        "STOR",
        "SIZE",
        "RNTO x",
        "MFMT 2026 x",
        "DELE",
        "CWD",
    ] {
        let reply = ftp.command(line).await;
        if reply.code < 400 {
            continue;
        }
        let event = one_failure(&gateway, &reply, Class::Invalid, line);
        assert_eq!(event.verb, line.split(' ').next(), "{line}");
    }
    for line in ["FOO", "TYPE Z", "SITE FOO", "REST x", "OPTS X", "LANG en"] {
        let reply = ftp.command(line).await;
        assert!(
            reply.code >= 500 && reply.id().is_none(),
            "{line}: {reply:?}"
        );
        assert!(of_commands(&gateway).is_empty(), "{line}");
    }
}

#[tokio::test]
async fn each_state_of_the_store_is_one_event_for_each_verb() {
    let page = || Fault::Foreign(Answer::page(502));
    /// Its name, how it is made, and the class of what fails then.
    type StoreState = (&'static str, fn() -> Fault, Class);
    let states: [StoreState; 6] = [
        (
            "denied",
            || Fault::Status(403, "AccessDenied"),
            Class::StoreDenied,
        ),
        (
            "expired",
            || Fault::Status(400, "ExpiredToken"),
            Class::StoreCredentials,
        ),
        (
            "down",
            || Fault::ResetBeforeHandling,
            Class::StoreUnreachable,
        ),
        (
            "slow down",
            || Fault::Status(503, "SlowDown"),
            Class::StoreUnreachable,
        ),
        ("a page", page, Class::StoreUnreachable),
        ("teapot", || Fault::Status(418, "Teapot"), Class::StoreError),
    ];
    for (state, fault, class) in states {
        let gateway = Gateway::builder()
            .with("[stores.main]\nattempts = 1")
            .mount("times = \"metadata\"")
            .start()
            .await;
        gateway.store.put(BUCKET, "there", "bytes");
        gateway.store.put(BUCKET, "dir/x", "bytes");
        let mut ftp = gateway.ftp().await;
        ftp.expect("TYPE I", 200).await;
        let rule = gateway.store.fail("*").always().with(fault());
        of_commands(&gateway);
        for line in FILE_COMMANDS {
            // A HEAD has no body to say what is wrong.
            if state == "teapot" || state == "expired" {
                let heads = ["RETR", "STOR", "LIST", "NLST", "MLSD", "STAT", "MKD", "RMD"];
                if !heads.iter().any(|verb| line.starts_with(verb)) || line == "STOU new" {
                    continue;
                }
            }
            let case = format!("{state}, {line}");
            let reply = run(&mut ftp, line).await;
            assert!(reply.code >= 400, "{case}: {reply:?}");
            let event = one_failure(&gateway, &reply, class, &case);
            assert!(
                event.detail.is_some() || class == Class::StoreUnreachable,
                "{case}: {event:?}"
            );
            assert_eq!(event.level, Level::Warn, "{case}");
        }
        rule.remove();
    }
}

#[tokio::test]
async fn each_end_of_a_client_is_one_event() {
    let gateway = Gateway::builder()
        .with("[timeouts]\ndata_stall = \"200ms\"\ndata_connect = \"200ms\"")
        .start()
        .await;
    gateway.store.put(BUCKET, "big", pattern(8 << 20, 1));
    for line in ["STOR new", "APPE new", "RETR big", "LIST"] {
        // The data connection is reset.
        let mut ftp = gateway.ftp().await;
        let uploads = matches!(&line[..4], "STOR" | "APPE");
        if uploads {
            let data = begin(&mut ftp, line, Mode::Passive).await;
            of_commands(&gateway);
            reset_stream(data);
            let reply = ftp.expect_reply(426).await;
            let event = one_failure(&gateway, &reply, Class::ClientGone, line);
            assert_eq!(event.kind, Kind::Transfer);
            assert_eq!(event.direction, Some(Direction::In));

            // Nothing moves.
            let data = begin(&mut ftp, line, Mode::Passive).await;
            let reply = ftp.expect_reply(426).await;
            one_failure(&gateway, &reply, Class::ClientStalled, line);
            drop(data);

            // ABOR.
            let mut data = begin(&mut ftp, line, Mode::Passive).await;
            data.write_all(b"bytes").await.unwrap();
            let reply = ftp.command("ABOR").await;
            one_failure(&gateway, &reply, Class::ClientAborted, line);
            ftp.expect_reply(226).await;

            // The control connection ends.
            let data = begin(&mut ftp, line, Mode::Passive).await;
            ftp.reset();
            let event = gateway
                .events
                .wait("the transfer", |event| event.kind == Kind::Transfer)
                .await;
            assert_eq!(event.class, Some(Class::ClientGone), "{event:?}");
            assert!(event.detail.as_ref().unwrap().contains("on_control_loss"));
            drop(data);
        }
        // No data connection.
        let mut ftp = gateway.ftp().await;
        of_commands(&gateway);
        let reply = ftp.command(line).await;
        one_failure(&gateway, &reply, Class::NoDataConnection, line);
        ftp.epsv().await;
        let reply = ftp.command(line).await;
        let event = one_failure(&gateway, &reply, Class::NoDataConnection, line);
        assert_eq!(event.kind, Kind::Refused, "{line}: {event:?}");
        ftp.close().await;
    }
}

#[tokio::test]
async fn a_status_that_the_client_does_not_read_is_one_event() {
    let gateway = Gateway::builder()
        .with("[timeouts]\ncontrol_write = \"1s\"")
        .start()
        .await;
    // More than the buffers of a connection hold.
    let long = "x".repeat(200);
    for number in 0..20_000 {
        gateway
            .store
            .put(BUCKET, &format!("dir/{number}{long}"), "");
    }
    for (line, class) in [
        ("STAT dir", Class::ClientStalled),
        ("STAT dir/*", Class::ClientGone),
    ] {
        let mut ftp = gateway.ftp().await;
        of_commands(&gateway);
        let listed = gateway.store.count("ListObjectsV2");
        ftp.send(line).await;
        if class == Class::ClientGone {
            // A reset before the line was read would discard it.
            gateway
                .store
                .until("the listing", |store| store.count("ListObjectsV2") > listed)
                .await;
            ftp.reset();
        }
        let closed = gateway.events.wait_for(Kind::SessionClose).await;
        let events = of_commands(&gateway);
        assert_eq!(events.len(), 1, "{line}: {events:#?}");
        let event = &events[0];
        assert_eq!(
            (event.kind, event.class),
            (Kind::Refused, Some(class)),
            "{line}"
        );
        assert_eq!(event.verb, Some("STAT"), "{line}");
        assert_eq!(event.level, Level::Warn, "{line}");
        let path = event.path.as_deref().unwrap();
        assert!(path.starts_with("/dir"), "{line}: {path}");
        assert!(event.id.is_some() && closed.reason.is_some(), "{line}");
    }
}

#[tokio::test]
async fn a_transfer_says_what_was_stored() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let small = pattern(1000, 1);
    let large = pattern(11 << 20, 2);
    for bytes in [&small, &large] {
        of_commands(&gateway);
        let reply = ftp.store("dir/a.bin", bytes).await;
        let events = of_commands(&gateway);
        assert_eq!(events.len(), 1, "{events:#?}");
        let event = &events[0];
        assert_eq!((event.kind, event.level), (Kind::Transfer, Level::Info));
        assert_eq!(event.id.as_deref(), reply.id());
        assert_eq!(event.class, Some(Class::Ok));
        assert_eq!(event.verb, Some("STOR"));
        assert_eq!(event.direction, Some(Direction::In));
        assert_eq!(event.path.as_deref(), Some("/dir/a.bin"));
        assert_eq!(event.key.as_deref(), Some("dir/a.bin"));
        assert_eq!(event.offset, Some(0));
        assert_eq!(event.bytes, Some(bytes.len() as u64));
        assert_eq!(event.size, Some(bytes.len() as u64));
        assert_eq!(event.crc32, Some(crc32fast::hash(bytes)));
        assert!(
            event
                .etag
                .as_deref()
                .is_some_and(|etag| etag.starts_with('"'))
        );
        assert!(event.seconds.is_some());

        ftp.retrieve("dir/a.bin").await;
        let events = of_commands(&gateway);
        let event = &events[0];
        assert_eq!(event.direction, Some(Direction::Out), "{events:#?}");
        assert_eq!(event.bytes, Some(bytes.len() as u64));
        assert_eq!(event.size, Some(bytes.len() as u64));
    }
    // An upload that continues says the whole size and its first byte.
    let reply = ftp
        .upload_with("APPE dir/a.bin", b"more", Mode::Passive)
        .await;
    assert_eq!(reply.code, 226);
    let events = of_commands(&gateway);
    let event = &events[0];
    assert_eq!(event.offset, Some(large.len() as u64));
    assert_eq!(event.bytes, Some(4));
    assert_eq!(event.size, Some(large.len() as u64 + 4));
}

#[tokio::test]
async fn changes_are_events() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "there", "bytes");
    let mut ftp = gateway.ftp().await;
    ftp.expect("RNFR there", 350).await;
    of_commands(&gateway);
    ftp.expect("RNTO moved", 250).await;
    ftp.expect("DELE moved", 250).await;
    ftp.expect("MKD dir", 257).await;
    ftp.expect("RMD dir", 250).await;
    ftp.list("LIST").await;
    ftp.expect("STAT .", 212).await;
    let events = of_commands(&gateway);
    let seen: Vec<_> = events
        .iter()
        .map(|event| (event.kind, event.path.as_deref().unwrap(), event.level))
        .collect();
    let expected = [
        (Kind::Renamed, "/there", Level::Info),
        (Kind::Deleted, "/moved", Level::Info),
        (Kind::DirectoryMade, "/dir", Level::Info),
        (Kind::DirectoryRemoved, "/dir", Level::Info),
        (Kind::Listing, "/", Level::Debug),
        (Kind::Listing, "/", Level::Debug),
    ];
    assert_eq!(seen, expected);
    assert_eq!(events[0].to.as_deref(), Some("/moved"));
}
