//! To its user a temporary file is a file like any other.

use super::{Consumer, SIZES, builder, temporary, visible};
use test_support::MIB;
use test_support::gateway::{BUCKET, Gateway};
use test_support::pattern;
use test_support::transfers::{interrupt, size};

#[tokio::test]
async fn every_command_on_files_works() {
    for size in SIZES {
        let gateway = builder().start().await;
        let mut consumer = Consumer::of(&gateway.store);
        let mut ftp = gateway.ftp().await;
        ftp.expect("TYPE I", 200).await;
        let bytes = pattern(size, 1);
        assert_eq!(ftp.store("in/x.tmp", &bytes).await.code, 226);
        let reply = ftp.expect("SIZE in/x.tmp", 213).await;
        assert_eq!(reply.text(), size.to_string());
        ftp.expect("MDTM in/x.tmp", 213).await;
        let facts = ftp.expect("MLST in/x.tmp", 250).await.lines.join("\n");
        assert!(facts.contains(&format!("size={size};")), "{facts}");
        assert!(facts.contains("perm=adfrw;"), "{facts}");
        let (got, reply) = ftp.retrieve("in/x.tmp").await;
        assert!(reply.code == 226 && got == bytes);
        ftp.expect(&format!("REST {}", size / 2), 350).await;
        let (got, _) = ftp.retrieve("in/x.tmp").await;
        assert!(got == bytes[size / 2..]);
        let crc = format!("{:08X}", crc32fast::hash(&bytes));
        let reply = ftp.expect("XCRC in/x.tmp", 250).await;
        assert!(reply.text().contains(&crc), "{reply:?} {crc}");
        let reply = ftp.expect("HASH in/x.tmp", 213).await;
        assert!(reply.text().contains("SHA-256"), "{reply:?}");
        assert_eq!(
            ftp.upload_with("APPE in/x.tmp", b"end", test_support::ftp::Mode::Passive)
                .await
                .code,
            226
        );
        let (got, _) = ftp.retrieve("in/x.tmp").await;
        assert!(got == [&bytes[..], b"end"].concat());
        ftp.expect("REST 2", 350).await;
        let restarted = ftp.store("in/x.tmp", b"ZZ").await;
        assert_eq!(restarted.code, 226, "{restarted:?}");
        let (got, _) = ftp.retrieve("in/x.tmp").await;
        assert!(got == [&[&bytes[..], b"end"].concat()[..2], b"ZZ"].concat());
        assert_eq!(ftp.store("in/x.tmp", b"new").await.code, 226);
        let (got, _) = ftp.retrieve("in/x.tmp").await;
        assert_eq!(got, b"new");
        ftp.expect("RNFR in/x.tmp", 350).await;
        ftp.expect("RNTO y.tmp", 250).await;
        ftp.expect("SIZE in/x.tmp", 550).await;
        let (got, _) = ftp.retrieve("y.tmp").await;
        assert_eq!(got, b"new");
        ftp.expect("DELE y.tmp", 250).await;
        ftp.expect("DELE y.tmp", 550).await;
        ftp.expect("SIZE y.tmp", 550).await;
        assert_eq!(consumer.saw(), [""; 0]);
        assert_eq!(visible(&gateway.store), [""; 0]);
        assert_eq!(temporary(&gateway.store), [""; 0]);
    }
}

/// Its bytes are those of the client, also if the same name exists in the bucket.
#[tokio::test]
async fn an_object_of_such_a_name_is_not_the_users_file() {
    let gateway = builder().start().await;
    gateway.store.put_before(BUCKET, "x.tmp", "another tool's");
    let mut ftp = gateway.ftp().await;
    ftp.expect("SIZE x.tmp", 550).await;
    ftp.expect("DELE x.tmp", 550).await;
    assert_eq!(ftp.store("x.tmp", b"mine").await.code, 226);
    let (got, _) = ftp.retrieve("x.tmp").await;
    assert_eq!(got, b"mine");
    let (names, _) = ftp.list("NLST").await;
    assert_eq!(names, "x.tmp\r\n");
    ftp.expect("DELE x.tmp", 250).await;
    let (names, _) = ftp.list("NLST").await;
    assert_eq!(names, "");
    assert_eq!(
        gateway.store.object(BUCKET, "x.tmp").unwrap(),
        b"another tool's"
    );
}

#[tokio::test]
async fn upper_case_and_other_names_are_not_temporary() {
    let gateway = builder().start().await;
    let mut ftp = gateway.ftp().await;
    for name in ["x.TMP", "tmp", "x.tmp.gz", "in.x"] {
        assert_eq!(ftp.store(name, b"bytes").await.code, 226);
        assert_eq!(gateway.store.object(BUCKET, name).unwrap(), b"bytes");
    }
    assert_eq!(temporary(&gateway.store), [""; 0]);
}

#[tokio::test]
async fn without_the_key_every_name_is_an_ordinary_one() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("x.tmp", b"bytes").await.code, 226);
    assert_eq!(gateway.store.object(BUCKET, "x.tmp").unwrap(), b"bytes");
}

#[tokio::test]
async fn names_that_are_too_long_are_refused_and_stay_invisible() {
    let gateway = builder().start().await;
    let mut ftp = gateway.ftp().await;
    // 18 bytes of prefix, 32 of hash, a slash.
    let longest = format!("{}.tmp", "a".repeat(1024 - 51 - 4));
    assert_eq!(ftp.store(&longest, b"bytes").await.code, 226);
    assert_eq!(size(&mut ftp, &longest).await, 5);
    let longer = format!("a{longest}");
    ftp.expect("EPSV", 229).await;
    ftp.expect(&format!("STOR {longer}"), 553).await;
    ftp.expect(&format!("SIZE {longer}"), 553).await;
    assert_eq!(temporary(&gateway.store).len(), 1);
    assert_eq!(visible(&gateway.store), [""; 0]);
}

/// An interrupted upload of a temporary name is resumed as any other, and is published whole.
#[tokio::test]
async fn an_interrupted_upload_is_resumed() {
    for (all, sent) in [(90_000, 40_000), (13 * MIB, 6 * MIB)] {
        let gateway = builder().start().await;
        let mut consumer = Consumer::of(&gateway.store);
        let bytes = pattern(all, 4);
        interrupt(&gateway, "STOR in/x.tmp", &bytes[..sent]).await;
        let mut ftp = gateway.ftp().await;
        ftp.expect("TYPE I", 200).await;
        let (names, _) = ftp.list("NLST in").await;
        assert_eq!(names, "", "an interrupted upload is listed");
        ftp.expect("RNFR in/x.tmp", 550).await;
        let there = size(&mut ftp, "in/x.tmp").await;
        assert!(there > 0 && there < sent);
        ftp.expect(&format!("REST {there}"), 350).await;
        assert_eq!(ftp.store("in/x.tmp", &bytes[there..]).await.code, 226);
        ftp.expect("RNFR in/x.tmp", 350).await;
        ftp.expect("RNTO in/x", 250).await;
        assert!(gateway.store.object(BUCKET, "in/x").unwrap() == bytes);
        assert_eq!(consumer.saw(), ["files/in/x"]);
        gateway.store.no_uploads_left().await;
        gateway
            .store
            .until("no state is left", |store| store.keys(BUCKET) == ["in/x"])
            .await;
    }
}
