//! Refusals: permission × verb, state of the name × verb, lines that are not understood.

use s3ftpd::events::{Class, Kind, Level};

use super::{FILE_COMMANDS, of_commands, one_failure, run};
use test_support::faults::Fault;
use test_support::gateway::{BUCKET, Gateway};

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
        // Of a directory or a listing it is the prefix.
        let directory = matches!(&line[..4], "LIST" | "NLST" | "MLSD" | "STAT" | "MKD ");
        let key = format!("{}{}", &path[1..], if directory { "/" } else { "" });
        assert_eq!(event.key, Some(key.into()), "{line}");
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
    ftp.expect("RNFR there", 350).await;
    let reply = run(&mut ftp, "RNTO other").await;
    let event = one_failure(&gateway, &reply, Class::Permission, "RNTO");
    assert_eq!(event.path.as_deref(), Some("/there"));
    assert_eq!(event.to.as_deref(), Some("/other"));
}

#[tokio::test]
async fn a_missing_name_is_one_event_and_probes_have_no_id() {
    let gateway = Gateway::builder()
        .mount("times = \"metadata\"")
        .start()
        .await;
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
        // A change, unlike MDTM of a file.
        ("MDTM 20260101000000 none", Class::NotFound, Level::Info),
        ("MFMT 20260101000000 none", Class::NotFound, Level::Info),
        (
            "MFF modify=20260101000000; none",
            Class::NotFound,
            Level::Info,
        ),
        (
            "SITE UTIME 20260101000000 none",
            Class::NotFound,
            Level::Info,
        ),
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
        &b"RETR"[..],
        b"STOR",
        b"SIZE",
        b"RNTO x",
        b"MFMT 2026 x",
        b"DELE",
        b"CWD",
        b"LIST \xff",
        b"STAT \xff",
        b"STAT  \0",
        b"SITE UTIME x /f",
        b"SITE CHMOD 9 /f",
        b"SITE  utime",
    ] {
        ftp.send_raw(&[line, b"\r\n"].concat()).await;
        let reply = ftp.reply().await;
        let verb = String::from_utf8_lossy(line);
        let case = format!("{}", line.escape_ascii());
        let event = one_failure(&gateway, &reply, Class::Invalid, &case);
        assert_eq!(event.verb, verb.split(' ').next(), "{case}");
        assert_eq!(event.level, Level::Info, "{case}");
    }
    for line in [
        &b"FOO"[..],
        b"TYPE Z",
        b"SITE",
        b"SITE FOO",
        b"SITE HELPX /f",
        b"SITE \xff",
        b"REST x",
        b"OPTS X",
        b"LANG en",
        b"NOOP \xff",
    ] {
        ftp.send_raw(&[line, b"\r\n"].concat()).await;
        let reply = ftp.reply().await;
        let case = format!("{}: {reply:?}", line.escape_ascii());
        assert!(reply.code >= 500 && reply.id().is_none(), "{case}");
        assert!(of_commands(&gateway).is_empty(), "{case}");
    }
    // STAT without a path is about the session.
    ftp.expect("STAT", 211).await;
    ftp.expect("STAT ", 211).await;
    assert!(of_commands(&gateway).is_empty());
}

#[tokio::test]
async fn a_digest_has_the_verb_of_its_command() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "there", "bytes");
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    of_commands(&gateway);
    for verb in [
        "HASH", "XCRC", "XMD5", "XSHA", "XSHA1", "XSHA256", "XSHA512",
    ] {
        let reply = ftp.expect(&format!("{verb} none"), 550).await;
        let event = one_failure(&gateway, &reply, Class::NotFound, verb);
        assert_eq!(event.verb, Some(verb));
        let rule = gateway.store.fail("*").times(1);
        let rule = rule.with(Fault::Status(403, "AccessDenied"));
        let reply = ftp.expect(&format!("{verb} there"), 550).await;
        let event = one_failure(&gateway, &reply, Class::StoreDenied, verb);
        assert_eq!(event.verb, Some(verb));
        rule.remove();
        let reply = ftp.command(&format!("{verb} there")).await;
        assert!(reply.code < 300, "{verb}: {reply:?}");
        let events = of_commands(&gateway);
        assert_eq!(events.len(), 1, "{events:#?}");
        assert_eq!(events[0].kind, Kind::Transfer);
        assert_eq!(events[0].verb, Some(verb));
    }
}

#[tokio::test]
async fn a_stat_that_breaks_off_is_one_event_with_the_code_of_its_reply() {
    let gateway = Gateway::builder()
        .with("[stores.main]\nattempts = 1")
        .start()
        .await;
    for number in 0..1001 {
        gateway.store.put(BUCKET, &format!("dir/{number}"), "");
    }
    let mut ftp = gateway.ftp().await;
    of_commands(&gateway);
    let rule = gateway.store.fail("ListObjectsV2").nth(2);
    let rule = rule.with(Fault::Status(403, "AccessDenied"));
    let reply = ftp.expect("STAT dir", 212).await;
    assert_eq!(rule.hits(), 1);
    let event = one_failure(&gateway, &reply, Class::StoreDenied, "STAT");
    assert_eq!((event.kind, event.level), (Kind::Refused, Level::Warn));
    assert_eq!(event.key.as_deref(), Some("dir/"));
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
