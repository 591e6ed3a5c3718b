//! HASH, OPTS HASH, RANG, XCRC and the like.

use md5::Digest as _;

use test_support::faults::Fault;
use test_support::ftp::{Ftp, Mode};
use test_support::gateway::{BUCKET, Gateway};
use test_support::transfers::nothing_left;
use test_support::{MIB, pattern};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(&sha2::Sha256::digest(bytes))
}

/// Each command, its digest of these bytes in lower case.
fn digests(bytes: &[u8]) -> [(&'static str, &'static str, String); 5] {
    [
        ("SHA-256", "XSHA256", sha256(bytes)),
        ("SHA-1", "XSHA1", hex(&sha1::Sha1::digest(bytes))),
        ("SHA-512", "XSHA512", hex(&sha2::Sha512::digest(bytes))),
        ("MD5", "XMD5", hex(&md5::Md5::digest(bytes))),
        ("CRC32", "XCRC", hex(&crc32fast::hash(bytes).to_be_bytes())),
    ]
}

#[tokio::test]
async fn digests_of_whole_files() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    for size in [0, 1, 70_000, 12 * MIB] {
        let bytes = pattern(size, 3);
        assert_eq!(ftp.store("a file", &bytes).await.code, 226);
        for (name, command, digest) in digests(&bytes) {
            ftp.expect(&format!("OPTS HASH {name}"), 200).await;
            let reply = ftp.expect("HASH a file", 213).await;
            let last = size.max(1) - 1;
            assert_eq!(reply.text(), format!("{name} 0-{last} {digest} a file"));
            for path in ["a file", "\"a file\""] {
                let reply = ftp.expect(&format!("{command} {path}"), 250).await;
                assert_eq!(reply.text(), digest.to_uppercase());
            }
        }
    }
    ftp.close().await;
    nothing_left(&gateway, 0).await;
}

#[tokio::test]
async fn the_stores_checksum_is_used_if_it_covers_the_whole_object() {
    let gateway = Gateway::start().await;
    let store = &gateway.store;
    let mut ftp = gateway.ftp().await;
    for size in [1000, 12 * MIB] {
        ftp.store("f", &pattern(size, 1)).await;
        ftp.in_step().await;
        test_support::transfers::settled(&gateway).await;
        for (command, operations) in [
            ("XCRC f", &["HeadObject"][..]),
            ("XSHA256 f", &["HeadObject", "GetObject"]),
            ("XMD5 f", &["GetObject"]),
            ("XCRC \"f\" 1 10", &["GetObject"]),
        ] {
            store.reset_counts();
            ftp.expect(command, 250).await;
            let mut made = store.operations();
            made.dedup();
            assert_eq!(made, operations, "{command} {size}");
        }
    }
    // A composite checksum cannot be reported, and without a checksum the object is read.
    store.behave(|store| store.checksums = false);
    store.put(BUCKET, "plain", "123456789");
    let reply = ftp.expect("XCRC plain", 250).await;
    assert_eq!(reply.text(), "CBF43926");
    ftp.close().await;
}

#[tokio::test]
async fn pieces_of_files() {
    let gateway = Gateway::start().await;
    let bytes = pattern(20 * MIB, 2);
    gateway.store.put(BUCKET, "f", &bytes);
    gateway.store.put(BUCKET, "f 1 2", "other");
    let mut ftp = gateway.ftp().await;
    for (first, last) in [
        (0, 0),
        (1, 9),
        (8 * MIB - 1, 8 * MIB),
        (5, 17 * MIB),
        (20 * MIB - 1, 20 * MIB - 1),
    ] {
        ftp.expect(&format!("RANG {first} {last}"), 350).await;
        let reply = ftp.expect("HASH f", 213).await;
        let digest = sha256(&bytes[first..=last]);
        assert_eq!(reply.text(), format!("SHA-256 {first}-{last} {digest} f"));
        // It holds for one command.
        let reply = ftp.expect("HASH f", 213).await;
        assert!(reply.text().contains(&sha256(&bytes)), "{reply:?}");
        let piece = format!("XSHA256 \"f\" {first} {}", last + 1);
        let reply = ftp.expect(&piece, 250).await;
        assert_eq!(reply.text(), digest.to_uppercase());
        let reply = ftp
            .expect(&format!("XSHA256 f {first} {}", last + 1), 250)
            .await;
        assert_eq!(reply.text(), digest.to_uppercase());
        // It holds for RETR too.
        ftp.expect(&format!("RANG {first} {last}"), 350).await;
        let (piece, reply) = ftp.retrieve("f").await;
        assert_eq!(reply.code, 226);
        assert!(piece == bytes[first..=last]);
    }
    let reply = ftp.expect("XSHA256 \"f\" 100", 250).await;
    assert_eq!(reply.text(), sha256(&bytes[100..]).to_uppercase());
    // Beyond the end.
    ftp.expect("RANG 5 99999999999", 350).await;
    let reply = ftp.expect("HASH f", 213).await;
    assert!(reply.text().contains(&sha256(&bytes[5..])), "{reply:?}");
    ftp.expect(&format!("RANG {} {}", 21 * MIB, 22 * MIB), 350)
        .await;
    ftp.expect("HASH f", 554).await;
    // The last of REST and RANG counts, and 1 0 is the whole.
    ftp.expect("RANG 1 5", 350).await;
    ftp.expect("RANG 1 0", 350).await;
    assert!(ftp.retrieve("f").await.0 == bytes);
    ftp.expect("RANG 1 5", 350).await;
    ftp.expect("REST 20971519", 350).await;
    assert_eq!(ftp.retrieve("f").await.0.len(), 1);
    ftp.expect("RANG 1 5", 350).await;
    ftp.expect("EPSV", 229).await;
    ftp.expect("STOR g", 504).await;
    // The bytes that SIZE fetched are cut too.
    gateway.store.put(BUCKET, "small", "0123456789");
    for _ in 0..3 {
        ftp.expect("SIZE small", 213).await;
        ftp.expect("RANG 2 4", 350).await;
        assert_eq!(ftp.retrieve("small").await.0, b"234");
        ftp.expect("SIZE small", 213).await;
        assert_eq!(ftp.retrieve("small").await.0, b"0123456789");
    }
    for wrong in [
        "RANG",
        "RANG 5",
        "RANG 5 4",
        "RANG a b",
        "XCRC",
        "XCRC \"\"",
        "XCRC \"f\" 5 4",
        "XCRC \"f\" x",
        "HASH",
    ] {
        ftp.expect(wrong, 501).await;
    }
    ftp.close().await;
}

#[tokio::test]
async fn digests_in_feat_and_their_permissions() {
    let gateway = Gateway::builder()
        .mount("permissions = [\"list\", \"write\"]")
        .start()
        .await;
    gateway.store.put(BUCKET, "d/f", "x");
    let mut before = Ftp::connect(gateway.address).await;
    for command in ["HASH d/f", "XCRC d/f", "RANG 1 2"] {
        before.expect(command, 530).await;
    }
    let mut ftp = gateway.ftp().await;
    let features = ftp.expect("FEAT", 211).await;
    for line in [
        " HASH SHA-256*;SHA-1;SHA-512;MD5;CRC32",
        " RANG STREAM",
        " XCRC",
        " XSHA512",
    ] {
        assert!(
            features.lines.iter().any(|feature| feature == line),
            "{features:?}"
        );
    }
    ftp.expect("OPTS HASH md5", 200).await;
    let reply = ftp.expect("OPTS HASH", 200).await;
    assert_eq!(reply.text(), "MD5");
    let features = ftp.expect("FEAT", 211).await;
    assert!(
        features
            .lines
            .iter()
            .any(|line| line == " HASH SHA-256;SHA-1;SHA-512;MD5*;CRC32")
    );
    let reply = ftp.expect("OPTS HASH SHA-3", 504).await;
    assert!(reply.text().contains("SHA-256, SHA-1"), "{reply:?}");
    let reply = ftp.expect("HASH d/f", 550).await;
    assert!(
        reply.text().contains("permission denied (read)"),
        "{reply:?}"
    );
    ftp.close().await;
    before.close().await;

    let gateway = Gateway::builder()
        .mount("ascii = \"convert\"")
        .start()
        .await;
    gateway.store.put(BUCKET, "d/f", "x");
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE A", 200).await;
    ftp.expect("XCRC d/f", 504).await;
    ftp.expect("TYPE I", 200).await;
    ftp.expect("XCRC d/f", 250).await;
    ftp.expect("HASH d", 550).await;
    ftp.expect("XMD5 none", 550).await;
    ftp.close().await;
}

#[tokio::test]
async fn a_long_digest_is_a_transfer_that_abor_stops() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "f", pattern(20 * MIB, 2));
    let mut ftp = gateway.ftp().await;
    let rule = gateway
        .store
        .fail("GetObject")
        .with(Fault::StallBody(100_000));
    ftp.send("XMD5 f").await;
    rule.hit().await;
    ftp.expect("NOOP", 200).await;
    let status = ftp.expect("STAT", 211).await;
    assert!(
        status.lines.iter().any(|line| line.contains("/f")),
        "{status:?}"
    );
    ftp.send("ABOR").await;
    ftp.expect_reply(426).await;
    ftp.expect_reply(226).await;
    ftp.in_step().await;
    rule.release();
    // A body that breaks is requested again; an object that changes is an error.
    gateway
        .store
        .fail("GetObject")
        .with(Fault::ResetBody(3_000_000));
    let reply = ftp.expect("XMD5 f", 250).await;
    assert_eq!(
        reply.text().to_lowercase(),
        hex(&md5::Md5::digest(pattern(20 * MIB, 2)))
    );
    let rule = gateway
        .store
        .fail("GetObject")
        .with(Fault::StallBody(100_000));
    ftp.send("HASH f").await;
    rule.hit().await;
    gateway.store.put(BUCKET, "f", pattern(20 * MIB, 9));
    rule.release();
    let reply = ftp.reply().await;
    assert!([450, 451].contains(&reply.code), "{reply:?}");
    // A digest ends if its client has gone.
    let rule = gateway
        .store
        .fail("GetObject")
        .with(Fault::StallBody(100_000));
    ftp.send("XSHA512 f").await;
    rule.hit().await;
    ftp.reset();
    nothing_left(&gateway, 0).await;
    rule.release();
    // The store keeps the checksum of a file that is uploaded by FTP.
    let mut ftp = gateway.ftp().await;
    let reply = ftp.upload_with("STOR g", b"123456789", Mode::Passive).await;
    assert_eq!(reply.code, 226);
    assert_eq!(ftp.expect("XCRC g", 250).await.text(), "CBF43926");
    ftp.close().await;
}

/// Of an object several times as large as the budget only ranges are in memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_digest_of_more_than_the_budget_stays_within_it() {
    const BUDGET: u64 = 20 * 1024 * 1024;
    let gateway = Gateway::builder()
        .with("[memory]\nbudget = \"20MiB\"")
        .start()
        .await;
    let bytes = pattern(90 * MIB, 4);
    gateway.store.put(BUCKET, "f", &bytes);
    let mut ftp = gateway.ftp().await;
    for (command, code, digest) in [
        ("HASH f", 213, sha256(&bytes)),
        (
            "XSHA512 f",
            250,
            hex(&sha2::Sha512::digest(&bytes)).to_uppercase(),
        ),
    ] {
        // Held in the middle, with the largest read-ahead.
        let rule = gateway.store.fail("GetObject").nth(3);
        let rule = rule.with(Fault::StallBody(100_000));
        gateway.store.reset_counts();
        ftp.send(command).await;
        rule.hit().await;
        let mut most = 0;
        for _ in 0..50 {
            most = most.max(gateway.budget_in_use());
            ftp_turns(&gateway).await;
        }
        assert!(most > 0, "{command} takes its memory from elsewhere");
        assert!(most <= BUDGET, "{command}: {most} bytes");
        rule.release();
        let reply = loop {
            tokio::select! {
                biased;
                reply = ftp.reply() => break reply,
                () = ftp_turns(&gateway) => most = most.max(gateway.budget_in_use()),
            }
        };
        assert_eq!(reply.code, code, "{reply:?}");
        assert!(reply.text().contains(&digest), "{reply:?}");
        assert!(most <= BUDGET, "{command}: {most} bytes");
        // In pieces, and each byte once.
        assert!(gateway.store.count("GetObject") >= 90 / 8, "{command}");
    }
    ftp.close().await;
    nothing_left(&gateway, 0).await;
}

/// One turn of the gateway's loop: another session is greeted.
async fn ftp_turns(gateway: &Gateway) {
    Ftp::connect(gateway.address).await.close().await;
}

/// A composite checksum covers the checksums of the parts and not the bytes: a client that compares
/// it with its file's would always find a difference.
#[tokio::test]
async fn a_composite_checksum_is_not_reported_for_the_whole_object() {
    use base64::prelude::{BASE64_STANDARD, Engine as _};

    use aws_sdk_s3::types::{
        ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart,
    };
    let gateway = Gateway::start().await;
    let bytes = pattern(7 * MIB, 4);
    let client = gateway.store.client();
    let create = client.create_multipart_upload().bucket(BUCKET).key("f");
    let create = create
        .checksum_algorithm(ChecksumAlgorithm::Crc32)
        .checksum_type(ChecksumType::Composite);
    let upload = create.send().await.unwrap().upload_id().unwrap().to_owned();
    let mut parts = CompletedMultipartUpload::builder();
    for (number, piece) in (1..).zip(bytes.chunks(5 * MIB)) {
        let part = client.upload_part().bucket(BUCKET).key("f");
        let part = part.upload_id(&upload).part_number(number);
        let crc = BASE64_STANDARD.encode(crc32fast::hash(piece).to_be_bytes());
        let part = part.checksum_crc32(crc);
        let done = part.body(piece.to_vec().into()).send().await.unwrap();
        parts = parts.parts(
            CompletedPart::builder()
                .part_number(number)
                .set_e_tag(done.e_tag().map(str::to_owned))
                .set_checksum_crc32(done.checksum_crc32().map(str::to_owned))
                .build(),
        );
    }
    let complete = client.complete_multipart_upload().bucket(BUCKET).key("f");
    let complete = complete.upload_id(&upload).multipart_upload(parts.build());
    let done = complete.send().await.unwrap();
    assert!(
        done.checksum_crc32().unwrap().ends_with("-2"),
        "it was to be a composite one: {done:?}"
    );
    let crc = hex(&crc32fast::hash(&bytes).to_be_bytes());
    let mut ftp = gateway.ftp().await;
    ftp.expect("OPTS HASH CRC32", 200).await;
    let reply = ftp.expect("HASH f", 213).await;
    assert!(reply.text().contains(&crc), "{reply:?}");
    let reply = ftp.expect("XCRC f", 250).await;
    assert_eq!(reply.text(), crc.to_uppercase());
    assert_eq!(gateway.store.count("GetObject"), 2, "both were read");
    ftp.close().await;
}
