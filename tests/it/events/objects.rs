//! What events say of files and directories: what was stored, what was changed, and where.

use s3ftpd::events::{Class, Direction, Kind, Level};

use super::of_commands;
use test_support::ftp::{Ftp, Mode};
use test_support::gateway::{BUCKET, Gateway};
use test_support::pattern;

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

#[tokio::test]
async fn the_key_of_a_directory_or_a_listing_is_its_prefix() {
    let gateway = Gateway::builder().mount("prefix = \"home/\"").start().await;
    gateway.store.put(BUCKET, "home/file", "bytes");
    gateway.store.put(BUCKET, "home/full/x", "bytes");
    let mut ftp = gateway.ftp().await;
    let key = async |ftp: &mut Ftp, line: &str| {
        of_commands(&gateway);
        let reply = match line.split(' ').next() {
            Some("LIST" | "NLST" | "MLSD") => ftp.list(line).await.1,
            _ => ftp.command(line).await,
        };
        let events = of_commands(&gateway);
        assert_eq!(events.len(), 1, "{line}: {reply:?}\n{events:#?}");
        let key = events[0].key.as_deref().unwrap_or("");
        (reply.code, events[0].kind, key.to_owned())
    };
    for (line, code, kind, expected) in [
        ("MKD dir", 257, Kind::DirectoryMade, "home/dir/"),
        ("MKD dir", 550, Kind::Refused, "home/dir/"),
        ("LIST", 226, Kind::Listing, "home/"),
        ("LIST dir", 226, Kind::Listing, "home/dir/"),
        ("NLST full", 226, Kind::Listing, "home/full/"),
        ("MLSD full", 226, Kind::Listing, "home/full/"),
        ("STAT full", 212, Kind::Listing, "home/full/"),
        ("LIST file", 226, Kind::Listing, "home/file"),
        ("STAT file", 213, Kind::Listing, "home/file"),
        ("LIST none", 550, Kind::Refused, "home/none/"),
        ("CWD none", 550, Kind::Refused, "home/none/"),
        ("RMD full", 550, Kind::Refused, "home/full/"),
        ("RMD none", 550, Kind::Refused, "home/none/"),
        ("RETR full/", 425, Kind::Refused, "home/full/"),
        ("DELE none", 550, Kind::Refused, "home/none"),
        ("SIZE none", 550, Kind::Refused, "home/none"),
        ("STOU full/", 425, Kind::Refused, "home/full/"),
    ] {
        let got = key(&mut ftp, line).await;
        assert_eq!(got, (code, kind, expected.to_owned()), "{line}");
    }
    for (source, line, code, kind, expected) in [
        ("dir", "RNTO moved", 250, Kind::Renamed, "home/dir/"),
        ("full", "RNTO moved", 553, Kind::Refused, "home/full/"),
        ("file", "RNTO a\u{1}b", 553, Kind::Refused, "home/file"),
        ("file", "RNTO other", 250, Kind::Renamed, "home/file"),
    ] {
        ftp.expect(&format!("RNFR {source}"), 350).await;
        let got = key(&mut ftp, line).await;
        assert_eq!(got, (code, kind, expected.to_owned()), "{source}, {line}");
    }
    let got = key(&mut ftp, "RMD moved").await;
    let expected = "home/moved/".to_owned();
    assert_eq!(got, (250, Kind::DirectoryRemoved, expected));
}

#[tokio::test]
async fn the_id_of_a_rename_is_that_of_the_new_object() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "file", "bytes");
    let mut ftp = gateway.ftp().await;
    ftp.expect("RNFR file", 350).await;
    ftp.expect("RNTO moved", 250).await;
    let renamed = gateway.events.wait_for(Kind::Renamed).await;
    let written = gateway.store.metadata(BUCKET, "moved").unwrap();
    assert_eq!(renamed.id.as_deref(), Some(&*written["s3ftpd-transfer"]));
    assert_eq!(renamed.id_name(), "transfer");
}
