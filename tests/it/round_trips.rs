//! The bytes that are sent are stored and come back, byte for byte: sizes around every boundary,
//! over every kind of data connection, in front of stores that differ as real ones do.

use futures::future::join_all;
use s3_embedded::Behaviour;
use tokio::io::AsyncReadExt;

use test_support::faults::Fault;
use test_support::ftp::{Ftp, Mode, reset_stream};
use test_support::gateway::{BUCKET, Builder, Gateway};
use test_support::store::Store;
use test_support::transfers::settled;
use test_support::{MIB, pattern, within};

/// The part size of these tests, bytes.
const PART: usize = 5 * MIB;
/// Their range size, bytes.
const RANGE: usize = MIB;

/// Each side of each boundary.
const SIZES: [usize; 11] = [
    0,
    1,
    // The first chunks of an upload.
    32 * 1024,
    96 * 1024 + 1,
    RANGE - 1,
    RANGE,
    RANGE + 1,
    PART - 1,
    PART,
    PART + 1,
    4 * PART + 17,
];

fn gateway() -> Builder {
    Gateway::builder()
        .with("listen = [\"127.0.0.1:0\", \"[::1]:0\"]\n[transfer]\nrange_size = \"1MiB\"")
}

/// A file is uploaded and comes back.
async fn round_trip(gateway: &Gateway, ftp: &mut Ftp, mode: Mode, path: &str, bytes: &[u8]) {
    let size = bytes.len();
    let what = format!("{path}, {size} bytes, {mode:?}");
    let reply = ftp.upload_with(&format!("STOR {path}"), bytes, mode).await;
    assert_eq!(reply.code, 226, "{what}: {reply:?}");
    let stored = gateway.store.object(BUCKET, path);
    assert!(
        stored.as_deref() == Some(bytes),
        "{what}: stored is another"
    );
    let (received, reply) = ftp.download_with(&format!("RETR {path}"), mode).await;
    assert_eq!(reply.code, 226, "{what}: {reply:?}");
    assert!(received == bytes, "{what}: received is another");
    ftp.in_step().await;
}

/// All sizes, over one kind of data connection.
async fn all_sizes(v6: bool, mode: Mode) {
    let gateway = gateway().start().await;
    let mut ftp = Ftp::connect(gateway.server.control_addresses()[usize::from(v6)]).await;
    ftp.login("u", "p").await;
    ftp.expect("TYPE I", 200).await;
    for size in SIZES {
        round_trip(&gateway, &mut ftp, mode, "f", &pattern(size, size as u64)).await;
    }
    assert!(gateway.store.open_uploads().is_empty());
}

macro_rules! over {
    ($($name:ident: $v6:expr, $mode:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            all_sizes($v6, $mode).await;
        }
    )*};
}

over! {
    files_of_all_sizes_over_ipv4_and_epsv: false, Mode::Passive;
    files_of_all_sizes_over_ipv4_and_pasv: false, Mode::Pasv;
    files_of_all_sizes_over_ipv4_and_port: false, Mode::Active;
    files_of_all_sizes_over_ipv4_and_eprt: false, Mode::Eprt;
    files_of_all_sizes_over_ipv6_and_epsv: true, Mode::Passive;
    files_of_all_sizes_over_ipv6_and_eprt: true, Mode::Eprt;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_do_not_mix() {
    let gateway = gateway().start().await;
    let names: Vec<String> = (0..20).map(|number| format!("f{number}")).collect();
    join_all(names.iter().enumerate().map(async |(number, name)| {
        let mut ftp = gateway.ftp().await;
        let bytes = pattern(number * 300_000 + 1, number as u64);
        round_trip(&gateway, &mut ftp, Mode::ALL[number % 4], name, &bytes).await;
    }))
    .await;
    assert_eq!(gateway.store.keys(BUCKET).len(), names.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_of_one_name_end_as_one_of_their_files() {
    let gateway = gateway().start().await;
    let files = [pattern(PART + 1, 1), pattern(2 * PART + 5, 2)];
    join_all(files.iter().map(async |bytes| {
        let mut ftp = gateway.ftp().await;
        let reply = ftp.store("f", bytes).await;
        assert_eq!(reply.code, 226, "{reply:?}");
    }))
    .await;
    let stored = gateway.store.object(BUCKET, "f").unwrap();
    assert!(files.contains(&stored), "it is a mix");
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_that_differ_hold_the_same_bytes() {
    let aws = Behaviour::default;
    let plain = || Behaviour {
        checksums: false,
        conditional_writes: false,
        conditional_deletes: false,
        object_size_check: false,
        ..Behaviour::default()
    };
    let auto = "checksums = \"auto\"\nconditional_writes = \"auto\"";
    let none = "checksums = \"none\"\nconditional_writes = false";
    let of_parts = || Behaviour {
        full_object: false,
        ..Behaviour::minio()
    };
    // Settings, the store, and whether payloads are signed or carry a CRC-32: those of whole files,
    // and of parts.
    let cases = [
        (auto, aws(), [false; 2]),
        (auto, Behaviour::minio(), [false; 2]),
        (auto, Behaviour::garage(), [false; 2]),
        (auto, of_parts(), [false, true]),
        (auto, plain(), [true; 2]),
        (none, plain(), [true; 2]),
        (none, aws(), [true; 2]),
        ("sign_payload = true", aws(), [true; 2]),
        (
            "sign_payload = true\nchecksums = \"none\"",
            plain(),
            [true; 2],
        ),
        ("checksums = \"crc32\"", aws(), [false; 2]),
    ];
    join_all(
        cases
            .into_iter()
            .map(async |(settings, behaviour, [whole, parts])| {
                let gateway = gateway()
                    .with(&format!("[stores.main]\n{settings}"))
                    .mount("permissions = [\"list\", \"read\", \"write\", \"append\", \"rename\"]")
                    .start()
                    .await;
                gateway.store.behave(|now| *now = behaviour.clone());
                let what = format!("{settings:?} on {behaviour:?}");
                let mut ftp = gateway.ftp().await;
                for size in [0, 1, PART, PART + 1, 2 * PART + 17] {
                    let bytes = pattern(size, size as u64);
                    round_trip(
                        &gateway,
                        &mut ftp,
                        Mode::Passive,
                        &format!("f{size}"),
                        &bytes,
                    )
                    .await;
                }
                for request in gateway.store.requests() {
                    if !matches!(request.operation.as_str(), "PutObject" | "UploadPart")
                        || request.key.starts_with(".s3ftpd/")
                    {
                        continue;
                    }
                    let signed = match request.operation.as_str() {
                        "PutObject" => whole,
                        _ => parts,
                    };
                    let sum = request.header("x-amz-content-sha256").unwrap_or_default();
                    let is_signed = sum.len() == 64;
                    let has_crc = request.header("x-amz-checksum-crc32").is_some();
                    assert_eq!(
                        (is_signed, has_crc),
                        (signed, !signed),
                        "{what}: {}",
                        request.operation
                    );
                }
                // Without the permission to overwrite, whether or not the store can enforce it.
                let reply = ftp.store("f1", b"no").await;
                assert_eq!(reply.code, 550, "{what}: {reply:?}");
                // Old bytes below and above the smallest part.
                for size in [1, PART + 1] {
                    let path = format!("f{size}");
                    let reply = ftp
                        .upload_with(&format!("APPE {path}"), b"more", Mode::Passive)
                        .await;
                    assert_eq!(reply.code, 226, "{what}: {reply:?}");
                    let expected = [&pattern(size, size as u64)[..], b"more"].concat();
                    let stored = gateway.store.object(BUCKET, &path);
                    assert!(stored == Some(expected), "{what}: {path} after APPE");
                }
                // A record is written after the 226, alongside the next command.
                let left = |store: &Store| {
                    store
                        .keys(BUCKET)
                        .into_iter()
                        .find(|key| !key.starts_with('f'))
                };
                let nothing = format!("{what}: nothing is left behind");
                gateway
                    .store
                    .until(&nothing, |store| left(store).is_none())
                    .await;
                assert!(gateway.store.open_uploads().is_empty(), "{what}");
            }),
    )
    .await;
}

/// The server probes once whether a store knows the checksum of a whole multipart upload, whatever
/// the answer, and the probe leaves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_probe_of_a_multipart_upload_is_made_once_and_leaves_nothing() {
    let refused = |status, code| Fault::Status(status, code);
    // The result of a request of the probe, and whether parts are signed then. An inconclusive
    // probe is repeated after a minute.
    let cases = [
        (None, false),
        // Cloudflare R2.
        (
            Some(("CreateMultipartUpload", 1, refused(501, "NotImplemented"))),
            true,
        ),
        (
            Some(("CreateMultipartUpload", 1, refused(400, "InvalidArgument"))),
            true,
        ),
        (
            Some(("CreateMultipartUpload", 1, refused(503, "SlowDown"))),
            true,
        ),
        (
            Some(("UploadPart", 1, refused(400, "InvalidRequest"))),
            true,
        ),
        (
            Some(("CompleteMultipartUpload", 1, Fault::LoseAnswer)),
            true,
        ),
        (
            Some(("CompleteMultipartUpload", 2, Fault::LoseAnswer)),
            true,
        ),
        (
            Some(("CompleteMultipartUpload", 2, refused(403, "AccessDenied"))),
            true,
        ),
    ];
    join_all(cases.into_iter().map(async |(fault, signed)| {
        let gateway = gateway()
            .with("[stores.main]\nchecksums = \"auto\"")
            .start()
            .await;
        let store = &gateway.store;
        let what = format!("{fault:?}");
        if let Some((operation, nth, fault)) = fault {
            let rule = store.fail(operation).key(".s3ftpd/probe-");
            rule.nth(nth).with(fault);
        }
        let mut ftp = gateway.ftp().await;
        for name in ["f1", "f2"] {
            let bytes = pattern(PART + 1, 1);
            round_trip(&gateway, &mut ftp, Mode::Passive, name, &bytes).await;
        }
        settled(&gateway).await;
        let of = |operation: &str| {
            let mut requests = store.requests();
            requests.retain(|request| request.operation == operation);
            requests
        };
        let created = of("CreateMultipartUpload");
        assert_eq!(created.len(), 3, "{what}: one of them a probe's");
        for part in of("UploadPart") {
            if part.key.starts_with('f') {
                let crc = part.header("x-amz-checksum-crc32");
                assert_eq!(crc.is_none(), signed, "{what}");
            }
        }
        assert_eq!(store.keys(BUCKET), ["f1", "f2"], "{what}");
        assert!(store.open_uploads().is_empty(), "{what}");
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_begins_at_any_offset() {
    let gateway = gateway().start().await;
    let size = 3 * RANGE + 17;
    let bytes = pattern(size, 4);
    gateway.store.put(BUCKET, "f", &bytes);
    gateway.store.put(BUCKET, "empty", "");
    let mut ftp = gateway.ftp().await;
    for offset in [
        0,
        1,
        RANGE - 1,
        RANGE,
        RANGE + 1,
        2 * RANGE,
        3 * RANGE,
        size - 1,
        size,
    ] {
        ftp.expect(&format!("REST {offset}"), 350).await;
        let (received, reply) = ftp.retrieve("f").await;
        assert_eq!(reply.code, 226, "{offset}: {reply:?}");
        assert!(received == bytes[offset..], "{offset}: something else");
    }
    for (path, offset, end) in [
        ("f", size + 1, size),
        ("f", 10 * size, size),
        ("empty", 1, 0),
    ] {
        ftp.expect(&format!("REST {offset}"), 350).await;
        let (_, reply) = ftp.retrieve(path).await;
        assert_eq!(reply.code, 554, "{reply:?}");
        assert!(reply.text().contains(&end.to_string()), "{reply:?}");
    }
    // The offset holds for one transfer.
    let (received, _) = ftp.retrieve("f").await;
    assert!(received == bytes);
    // As clients do: the size first, then the rest.
    ftp.expect("SIZE f", 213).await;
    ftp.expect("REST 100", 350).await;
    let (received, reply) = ftp.retrieve("f").await;
    assert_eq!(reply.code, 226);
    assert!(received == bytes[100..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_file_that_size_has_fetched_is_restarted_too() {
    let gateway = gateway().start().await;
    gateway.store.put(BUCKET, "f", "0123456789");
    let mut ftp = gateway.ftp().await;
    for (offset, expected) in [
        (0, "0123456789"),
        (0, "0123456789"),
        (3, "3456789"),
        (10, ""),
    ] {
        ftp.expect("SIZE f", 213).await;
        ftp.expect(&format!("REST {offset}"), 350).await;
        let (received, reply) = ftp.retrieve("f").await;
        assert_eq!((&received[..], reply.code), (expected.as_bytes(), 226));
    }
    ftp.expect("SIZE f", 213).await;
    ftp.expect("REST 11", 350).await;
    let (_, reply) = ftp.retrieve("f").await;
    assert_eq!(reply.code, 554, "{reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_many_parts_are_files_like_any_other() {
    let gateway = gateway().start().await;
    let bytes = pattern(2 * PART + 3, 6);
    let mut ftp = gateway.ftp().await;
    round_trip(&gateway, &mut ftp, Mode::Passive, "f", &bytes).await;
    let etag = gateway.store.backend().etag(BUCKET, "f").unwrap();
    assert!(etag.trim_matches('"').ends_with("-3"), "{etag}");
    // Each is bound to it by that ETag: a rename, an append by copies, a replaced end, a download
    // after those.
    ftp.expect("RNFR f", 350).await;
    ftp.expect("RNTO g", 250).await;
    let reply = ftp.upload_with("APPE g", b"tail", Mode::Passive).await;
    assert_eq!(reply.code, 226, "{reply:?}");
    ftp.expect(&format!("REST {}", PART + 1), 350).await;
    let reply = ftp
        .upload_with("STOR g", b"another end", Mode::Passive)
        .await;
    assert_eq!(reply.code, 226, "{reply:?}");
    let expected = [&bytes[..PART + 1], b"another end"].concat();
    let (received, reply) = ftp.retrieve("g").await;
    assert_eq!(reply.code, 226, "{reply:?}");
    assert!(received == expected);
    ftp.expect("DELE g", 250).await;
    assert_eq!(gateway.store.keys(BUCKET), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_not_read_to_its_end_leaves_the_session_in_step() {
    let gateway = gateway().start().await;
    gateway.store.put(BUCKET, "f", pattern(20 * MIB, 1));
    let mut ftp = gateway.ftp().await;
    let mut data = ftp.data_passive().await;
    ftp.expect("RETR f", 150).await;
    let mut first = [0; 1000];
    within("the first bytes", data.read_exact(&mut first))
        .await
        .unwrap();
    reset_stream(data);
    ftp.expect_reply(426).await;
    ftp.in_step().await;
    round_trip(&gateway, &mut ftp, Mode::Passive, "g", b"goes on").await;
}
