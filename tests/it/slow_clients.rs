//! Slow clients never stop the others: while transfers wait for memory, the server stores what a
//! slow client has sent of a part in pieces, and reads it back when the part is full or the upload
//! ends.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use s3ftpd::memory::Grant;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use test_support::faults::Fault;
use test_support::ftp::{Ftp, Mode, reset_stream};
use test_support::gateway::{BUCKET, Builder, Gateway};
use test_support::process::Process;
use test_support::store::Store;
use test_support::transfers::{begin, moved, nothing_left, settled};
use test_support::{MIB, pattern, within};

/// What an upload may hold without a part's memory, and so the size of a piece if no memory is
/// free.
const PIECE: usize = 96 * 1024;

/// The part size of these tests.
const PART: usize = 5 * MIB;

/// The smallest allowed budget, and half-filled parts that may be held only for a moment.
fn pressed() -> Builder {
    Gateway::builder()
        .with("[memory]\nbudget = \"20MiB\"\nhold = \"50ms\"\n[transfer]\nrange_size = \"1MiB\"")
}

/// Takes all memory of parts; what is set aside, reserved and left for admissions stays.
async fn take_all(gateway: &Gateway) -> Vec<Grant> {
    let budget = gateway.server.budget();
    let mut taken = Vec::new();
    for size in [MIB, 32 * 1024] {
        while let Ok(grant) = budget.part(size as u64, Duration::ZERO).await {
            taken.push(grant);
        }
    }
    taken
}

/// Keys of pieces and tails.
fn pieces(gateway: &Gateway) -> Vec<String> {
    let keys = gateway.store.keys(BUCKET).into_iter();
    keys.filter(|key| key.starts_with(".s3ftpd/tails/"))
        .collect()
}

/// Waits until this many pieces are stored.
async fn stored(gateway: &Gateway, count: usize) {
    let what = format!("{count} pieces are stored");
    let store = &gateway.store;
    store.until(&what, |_| pieces(gateway).len() >= count).await;
}

/// Waits until the bucket contains only these objects.
async fn only(gateway: &Gateway, keys: &[&str]) {
    settled(gateway).await;
    let store = &gateway.store;
    store
        .until("only objects are left", |store| store.keys(BUCKET) == keys)
        .await;
}

async fn send(data: &mut TcpStream, bytes: &[u8]) {
    within("the gateway reads it", data.write_all(bytes))
        .await
        .unwrap();
}

/// Resumes the upload of `f` at the length that SIZE reports; returns that length.
async fn resume(ftp: &mut Ftp, store: &Store, bytes: &[u8]) -> usize {
    ftp.expect("TYPE I", 200).await;
    let size = ftp.expect("SIZE f", 213).await;
    let size: usize = size.text().trim().parse().unwrap();
    ftp.expect(&format!("REST {size}"), 350).await;
    let reply = ftp.store("f", &bytes[size..]).await;
    assert_eq!(reply.code, 226, "from {size}: {reply:?}");
    assert!(
        store.object(BUCKET, "f").as_deref() == Some(bytes),
        "from {size}"
    );
    size
}

async fn finish(ftp: &mut Ftp, mut data: TcpStream) {
    data.shutdown().await.unwrap();
    ftp.expect_reply(226).await;
}

/// The load of a busy hour in small: sixteen devices whose parts need four times the memory that
/// exists.
#[tokio::test(flavor = "multi_thread")]
async fn more_slow_uploads_than_fit_into_memory_all_end_and_small_transfers_overtake_them() {
    let gateway = pressed().start().await;
    let bytes: Vec<_> = (0..16)
        .map(|n| pattern(PART + 700_000 + n, n as u64))
        .collect();
    let mut devices = join_all((0..16).map(async |number: usize| {
        let mut ftp = gateway.ftp().await;
        let data = begin(&mut ftp, &format!("STOR f{number}"), Mode::Passive).await;
        (ftp, data)
    }))
    .await;
    // A file that is cut at the end would be saved as an interrupted upload.
    let ended = Cell::new(false);
    let slow = async {
        // All of them continue step by step, none faster than the slowest.
        for round in 0..=(PART + 800_000) / 200_000 {
            join_all(
                devices
                    .iter_mut()
                    .zip(&bytes)
                    .map(async |((_, data), bytes)| {
                        let end = bytes.len().min((round + 1) * 200_000);
                        send(data, &bytes[bytes.len().min(round * 200_000)..end]).await;
                    }),
            )
            .await;
        }
        for (ftp, data) in devices {
            let mut ftp = ftp;
            finish(&mut ftp, data).await;
        }
        ended.set(true);
    };
    let others = async {
        let mut ftp = gateway.ftp().await;
        while !ended.get() {
            let small = pattern(20_000, 99);
            let reply = ftp.store("small", &small).await;
            assert_eq!(reply.code, 226, "{reply:?}");
            let (got, reply) = ftp.retrieve("small").await;
            assert_eq!(reply.code, 226, "{reply:?}");
            assert!(got == small);
            let held = gateway.budget_in_use();
            assert!(held <= gateway.server.budget().total(), "{held}");
        }
    };
    tokio::join!(slow, others);
    let put = gateway.store.requests();
    let pieces = put.iter().filter(|request| {
        request.operation == "PutObject" && request.key.starts_with(".s3ftpd/tails/")
    });
    assert!(pieces.count() > 16, "the memory would not have sufficed");
    for (number, bytes) in bytes.iter().enumerate() {
        let key = format!("f{number}");
        assert!(
            gateway.store.object(BUCKET, &key).as_ref() == Some(bytes),
            "{key}"
        );
    }
    let mut keys: Vec<_> = (0..16).map(|number| format!("f{number}")).collect();
    keys.push("small".to_owned());
    keys.sort();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    only(&gateway, &keys).await;
}

/// The row in the table of requests: a piece costs a PutObject, a GetObject and a DeleteObject, and
/// a record if one is written.
#[tokio::test(flavor = "multi_thread")]
async fn pieces_cost_three_requests_each_and_the_record() {
    for (size, whole) in [(3 * PIECE + 5, 1), (PART, 1), (PART + 5, 2)] {
        let gateway = pressed().start().await;
        let taken = take_all(&gateway).await;
        let mut ftp = gateway.ftp().await;
        let bytes = pattern(size, 1);
        let mut data = begin(&mut ftp, "STOR f", Mode::Passive).await;
        gateway.store.reset_counts();
        send(&mut data, &bytes).await;
        finish(&mut ftp, data).await;
        settled(&gateway).await;
        only(&gateway, &["f"]).await;
        assert!(gateway.store.object(BUCKET, "f") == Some(bytes));
        let mut counted: BTreeMap<(String, bool), usize> = BTreeMap::new();
        for request in gateway.store.requests() {
            // A slow upload asks once for an earlier interrupted upload.
            let record = request.key.starts_with(".s3ftpd/uploads/");
            if !record {
                let piece = request.key.starts_with(".s3ftpd/tails/");
                *counted.entry((request.operation, piece)).or_default() += 1;
            }
        }
        let in_pieces = size.min(PART) / PIECE;
        let mut expected: BTreeMap<(String, bool), usize> = BTreeMap::new();
        for operation in ["PutObject", "GetObject", "DeleteObject"] {
            expected.insert((operation.to_owned(), true), in_pieces);
        }
        if whole == 1 {
            expected.insert(("PutObject".to_owned(), false), 1);
        } else {
            expected.insert(("CreateMultipartUpload".to_owned(), false), 1);
            expected.insert(("UploadPart".to_owned(), false), 2);
            expected.insert(("CompleteMultipartUpload".to_owned(), false), 1);
        }
        assert_eq!(counted, expected, "{size}");
        drop(taken);
        ftp.close().await;
        nothing_left(&gateway, 0).await;
    }
}

/// Without waiting transfers a slow upload stores no piece, however long it holds its memory.
#[tokio::test(flavor = "multi_thread")]
async fn without_waiting_transfers_nothing_is_stored_in_pieces() {
    let gateway = pressed().start().await;
    let mut ftp = gateway.ftp().await;
    let bytes = pattern(1_000_000, 1);
    let mut data = begin(&mut ftp, "STOR f", Mode::Passive).await;
    send(&mut data, &bytes[..300_000]).await;
    moved(&mut ftp, 300_000).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    send(&mut data, &bytes[300_000..]).await;
    finish(&mut ftp, data).await;
    let puts = gateway.store.requests();
    let puts = puts
        .iter()
        .filter(|request| request.operation == "PutObject");
    assert_eq!(puts.count(), 1);
    assert!(gateway.store.object(BUCKET, "f") == Some(bytes));
}

/// A stalled client gives its memory back, and is not cut for that.
#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_client_gives_its_memory_back_and_is_not_cut() {
    let gateway = pressed().start().await;
    let mut ftp = gateway.ftp().await;
    let bytes = pattern(PART, 1);
    let mut data = begin(&mut ftp, "STOR f", Mode::Passive).await;
    send(&mut data, &bytes[..700_000]).await;
    moved(&mut ftp, 700_000).await;
    let taken = take_all(&gateway).await;
    let budget = gateway.server.budget().clone();
    let waiting = tokio::spawn(async move { budget.part(700_000, Duration::from_secs(20)).await });
    within("another transfer gets the memory", waiting)
        .await
        .unwrap()
        .unwrap();
    stored(&gateway, 1).await;
    // It stalls for as long as a client may that delays others.
    tokio::time::sleep(Duration::from_secs(11)).await;
    drop(taken);
    send(&mut data, &bytes[700_000..]).await;
    finish(&mut ftp, data).await;
    assert!(gateway.store.object(BUCKET, "f") == Some(bytes));
    only(&gateway, &["f"]).await;
}

/// A full first part waits for the byte after it; other transfers get its memory in the meantime.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_part_that_may_be_the_last_is_sent_while_others_wait() {
    for more in [0, 1, PART] {
        let gateway = pressed().start().await;
        let mut ftp = gateway.ftp().await;
        let bytes = pattern(PART + more, 1);
        let mut data = begin(&mut ftp, "STOR f", Mode::Passive).await;
        send(&mut data, &bytes[..PART]).await;
        moved(&mut ftp, PART).await;
        let taken = take_all(&gateway).await;
        let budget = gateway.server.budget().clone();
        let waiting =
            tokio::spawn(async move { budget.part(PART as u64, Duration::from_secs(20)).await });
        within("another transfer gets the memory", waiting)
            .await
            .unwrap()
            .unwrap();
        drop(taken);
        send(&mut data, &bytes[PART..]).await;
        finish(&mut ftp, data).await;
        assert!(gateway.store.object(BUCKET, "f") == Some(bytes));
        only(&gateway, &["f"]).await;
    }
}

/// Every kind of upload: appended, resumed, converted, with a signed payload, not to be saved, to a
/// store without checksums.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_of_every_kind_end_under_pressure() {
    for (what, settings) in [
        ("APPE", ""),
        ("TYPE A", "[mounts.main]\nascii = \"convert\""),
        ("signed", "[stores.main]\nsign_payload = true"),
        ("discarded", "[mounts.main]\ninterrupted = \"abort\""),
        ("no checksums", "[stores.main]\nchecksums = \"none\""),
        ("equal parts", "[stores.main]\nequal_parts = true"),
    ] {
        let gateway = pressed().with(settings).start().await;
        let old = pattern(700_000, 7);
        gateway.store.put(BUCKET, "f", &old);
        let taken = take_all(&gateway).await;
        let mut ftp = gateway.ftp().await;
        let mut bytes = pattern(PART + 100_000, 1);
        if what == "TYPE A" {
            ftp.expect("TYPE A", 200).await;
            bytes = bytes.iter().map(|byte| byte % 26 + b'a').collect();
        }
        let command = if what == "APPE" { "APPE f" } else { "STOR f" };
        let mut data = begin(&mut ftp, command, Mode::Passive).await;
        send(&mut data, &bytes).await;
        finish(&mut ftp, data).await;
        let expected = match what {
            "APPE" => [old, bytes].concat(),
            _ => bytes,
        };
        assert!(
            gateway.store.object(BUCKET, "f") == Some(expected),
            "{what}"
        );
        only(&gateway, &["f"]).await;
        drop(taken);
        ftp.close().await;
        nothing_left(&gateway, 0).await;
    }
}

/// The store is down for a while: what it has not accepted stays in memory, and is stored later.
#[tokio::test(flavor = "multi_thread")]
async fn pieces_that_cannot_be_stored_stay_in_memory_and_are_retried() {
    let gateway = pressed().with("[stores.main]\nattempts = 1").start().await;
    let taken = take_all(&gateway).await;
    let rule = gateway
        .store
        .fail("PutObject")
        .key(".s3ftpd/tails/")
        .times(3);
    let rule = rule.with(Fault::Status(503, "SlowDown"));
    let mut ftp = gateway.ftp().await;
    let bytes = pattern(600_000, 1);
    let mut data = begin(&mut ftp, "STOR f", Mode::Passive).await;
    send(&mut data, &bytes).await;
    rule.hit_times(3).await;
    finish(&mut ftp, data).await;
    assert!(gateway.store.object(BUCKET, "f") == Some(bytes));
    only(&gateway, &["f"]).await;
    drop(taken);
}

/// A bucket that refuses writes: uploads wait for whole parts, and continue when there is memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_takes_no_pieces_makes_uploads_wait() {
    let gateway = pressed().start().await;
    let rule = gateway
        .store
        .fail("PutObject")
        .key(".s3ftpd/tails/")
        .always();
    let rule = rule.with(Fault::Status(403, "AccessDenied"));
    let mut taken = take_all(&gateway).await;
    let bytes = pattern(PART + 100_000, 1);
    let mut ftp = gateway.ftp().await;
    let upload = ftp.store("f", &bytes);
    let free = async {
        rule.hit().await;
        within("the upload waits", async {
            while !gateway.server.budget().contended() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        taken.clear();
    };
    let (reply, ()) = tokio::join!(upload, free);
    assert_eq!(reply.code, 226, "{reply:?}");
    assert_eq!(rule.hits(), 1, "it is asked once");
    assert!(gateway.store.object(BUCKET, "f") == Some(bytes));
    only(&gateway, &["f"]).await;
}

/// If the upload ends early: its pieces are part of the interrupted upload, or are all removed.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_upload_keeps_its_pieces_and_resumes_after_them() {
    for (whole, sent) in [(false, 3 * PIECE + 1000), (true, PART + 3 * PIECE + 1000)] {
        for how in ["reset", "ABOR"] {
            let gateway = pressed().start().await;
            let taken = take_all(&gateway).await;
            let bytes = pattern(2 * PART + 17, 1);
            let mut ftp = gateway.ftp().await;
            let mut data = begin(&mut ftp, "STOR f", Mode::Passive).await;
            send(&mut data, &bytes[..sent]).await;
            moved(&mut ftp, sent).await;
            if how == "ABOR" {
                ftp.expect("ABOR", 426).await;
                ftp.expect_reply(226).await;
            } else {
                reset_stream(data);
                ftp.expect_reply(426).await;
            }
            settled(&gateway).await;
            let what = format!("{how}, {whole}");
            drop(taken);
            let size = resume(&mut ftp, &gateway.store, &bytes).await;
            assert_eq!(size, sent - 1, "{what}");
            only(&gateway, &["f"]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_of_a_discarded_upload_are_removed() {
    let gateway = pressed().mount("interrupted = \"abort\"").start().await;
    let taken = take_all(&gateway).await;
    for sent in [3 * PIECE, PART + 3 * PIECE] {
        let mut ftp = gateway.ftp().await;
        let mut data = begin(&mut ftp, "STOR f", Mode::Passive).await;
        send(&mut data, &pattern(sent, 1)).await;
        moved(&mut ftp, sent).await;
        stored(&gateway, 1).await;
        reset_stream(data);
        ftp.expect_reply(426).await;
        only(&gateway, &[]).await;
        gateway.store.no_uploads_left().await;
    }
    drop(taken);
}

/// A changed piece does not become part of the file: the upload fails, and what came before it is
/// saved.
#[tokio::test(flavor = "multi_thread")]
async fn a_piece_that_is_read_back_wrong_fails_the_upload() {
    for sent in [3 * PIECE + 5, PART + 5] {
        let gateway = pressed().start().await;
        let taken = take_all(&gateway).await;
        let bytes = pattern(sent, 1);
        let mut ftp = gateway.ftp().await;
        // Of the second piece, whatever the order of the requests is.
        let rule = gateway.store.fail("GetObject").key(".1");
        let rule = rule.with(Fault::CorruptBody);
        let reply = ftp.store("f", &bytes).await;
        assert_eq!(reply.code, 451, "{reply:?}");
        rule.hit().await;
        settled(&gateway).await;
        assert_eq!(gateway.store.object(BUCKET, "f"), None);
        drop(taken);
        let size = resume(&mut ftp, &gateway.store, &bytes).await;
        assert!((PIECE - 1..=PIECE).contains(&size), "{size}");
        only(&gateway, &["f"]).await;
    }
}

/// A killed process cannot delete or report anything: its record names the pieces.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_leaves_a_record_that_names_the_pieces() {
    let settings =
        "[memory]\nbudget = \"20MiB\"\nhold = \"50ms\"\n[transfer]\npart_size = \"5MiB\"";
    let process = Process::start_under("export S3FTPD__REPLICA=r", "info", settings).await;
    // They hold all memory, and nothing of them is visible in the bucket.
    let mut others = Vec::new();
    for number in 0..2 {
        let mut ftp = process.ftp().await;
        let mut data = begin(&mut ftp, &format!("STOR other{number}"), Mode::Passive).await;
        send(&mut data, &pattern(200_000, 2)).await;
        moved(&mut ftp, 200_000).await;
        others.push((ftp, data));
    }
    let bytes = pattern(PART + 100, 1);
    let mut ftp = process.ftp().await;
    let mut data = begin(&mut ftp, "STOR f", Mode::Passive).await;
    send(&mut data, &bytes[..600_000]).await;
    let recorded = |store: &Store| {
        let keys = store.keys(BUCKET).into_iter();
        let mut records = keys.filter(|key| key.starts_with(".s3ftpd/uploads/"));
        records.any(|key| {
            let record = store.object(BUCKET, &key).unwrap_or_default();
            let record = String::from_utf8_lossy(&record).into_owned();
            record.contains("\"key\":\"f\"") && record.contains("\"pieces\":[{")
        })
    };
    process
        .store
        .until("the record names a piece", recorded)
        .await;
    let store = std::sync::Arc::clone(&process.store);
    process.signal(nix::sys::signal::Signal::SIGKILL);
    drop((data, ftp, others));
    drop(process);
    let gateway = Gateway::builder()
        .with("replica = \"r\"")
        .on(&store)
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    let size = resume(&mut ftp, &store, &bytes).await;
    assert!((PIECE - 1..600_000).contains(&size), "{size}");
}
