//! A copy whose result is not known, or that takes long: the server looks for it before it repeats
//! it, and before it deletes the original.

use std::sync::Arc;

use futures::stream::{self, StreamExt};

use test_support::faults::{Answer, Fault};
use test_support::gateway::{BUCKET, Gateway};
use test_support::settings::store_section;
use test_support::store::Store;
use test_support::{MIB, pattern};

const fn xml(body: &'static str) -> Answer {
    Answer {
        status: 200,
        headers: &[("content-type", "application/xml")],
        body,
    }
}

/// Answers that do not say that something was copied, or written.
const UNCLEAR: [Answer; 7] = [
    Answer::empty(200),
    Answer::empty(202),
    Answer::empty(204),
    Answer::page(200),
    xml("<?xml version=\"1.0\" encoding=\"UTF-8\"?><CopyObjectResult/>"),
    xml("<?xml version=\"1.0\"?><CopyObjectResult><ETag></ETag></CopyObjectResult>"),
    xml("<?xml version=\"1.0\"?><CopyObjectResult><ETag>&quot;x-"),
];

/// What is renamed, and the request that creates it at the new name.
#[derive(Debug, Clone, Copy)]
struct Case {
    from: &'static str,
    to: &'static str,
    /// Of `a`, or of each of the files `d/…`.
    size: usize,
    operation: &'static str,
    /// Whether the rename succeeds if the request is carried out each time, and never answered
    /// clearly.
    found: bool,
}

const fn case(
    from: &'static str,
    to: &'static str,
    size: usize,
    operation: &'static str,
    found: bool,
) -> Case {
    Case {
        from,
        to,
        size,
        operation,
        found,
    }
}

const CASES: [Case; 8] = [
    case("/a", "/b", 10, "CopyObject", true),
    case("/a", "/second/b", 0, "CopyObject", true),
    case("/d", "/e", 10, "CopyObject", true),
    // The ETag of the part is not known, so the upload cannot be completed.
    case("/a", "/b", 6 * MIB, "UploadPartCopy", false),
    case("/a", "/b", 6 * MIB, "CompleteMultipartUpload", true),
    case("/a", "/far/b", 10, "PutObject", true),
    case("/a", "/far/b", 6 * MIB, "CompleteMultipartUpload", true),
    case("/d", "/far/e", 10, "PutObject", true),
];

/// The deadline is also how long an unclear answer is looked for. On a busy machine a request that
/// is not under test may take seconds.
async fn hasty_tree() -> (Gateway, Arc<Store>) {
    let far = Arc::new(Store::start(&["far"]).await);
    let hasty = "attempts = 2\nrequest_timeout = \"5s\"";
    let gateway = Gateway::builder()
        .with(&format!("[stores.main]\ncopy_limit = \"5MiB\"\n{hasty}"))
        .add_mount("second", "second", "")
        .with(&store_section("far", &far))
        .with(&format!("[stores.far]\n{hasty}"))
        .with("[mounts.far]\nstore = \"far\"\nbucket = \"far\"")
        .with(
            "[users.u]\nmounts = { \"/\" = \"main\", \"/second\" = \"second\", \"/far\" = \"far\" }",
        )
        .start()
        .await;
    (gateway, far)
}

/// Everything in both stores.
fn all_keys(gateway: &Gateway, far: &Store) -> Vec<String> {
    let buckets = [
        (&*gateway.store, BUCKET),
        (&*gateway.store, "second"),
        (far, "far"),
    ];
    let keys = buckets.map(|(store, bucket)| {
        let keys = store.keys(bucket).into_iter();
        keys.map(move |key| format!("{bucket}/{key}"))
    });
    keys.into_iter().flatten().collect()
}

/// Whether all bytes are at one of the two names, and how the command ended.
async fn renamed(case: Case, fault: Fault, times: usize) -> bool {
    let what = format!("{case:?} {fault:?} {times}");
    let (gateway, far) = hasty_tree().await;
    let bytes = pattern(case.size, 1);
    let names: &[&str] = match case.from {
        "/d" => &["/1", "/2", "/3", "/sub/4"],
        _ => &[""],
    };
    for name in names {
        let key = format!("{}{name}", &case.from[1..]);
        gateway.store.put(BUCKET, &key, &bytes);
    }
    let before = all_keys(&gateway, &far);
    let (store, bucket) = match case.to {
        to if to.starts_with("/far") => (&far, "far"),
        to if to.starts_with("/second") => (&gateway.store, "second"),
        _ => (&gateway.store, BUCKET),
    };
    let key = case.to.rsplit_once('/').unwrap().1;
    let rule = store.fail(case.operation).key(key).times(times);
    let rule = rule.with(fault);
    let mut ftp = gateway.ftp().await;
    ftp.expect(&format!("RNFR {}", case.from), 350).await;
    let reply = ftp.command(&format!("RNTO {}", case.to)).await;
    rule.hit().await;
    rule.remove();
    let moved = reply.code == 250;
    assert!(moved || reply.code == 451, "{what}: {reply:?}");
    let after = all_keys(&gateway, &far);
    if moved {
        let expected: Vec<String> = names
            .iter()
            .map(|name| format!("{bucket}/{key}{name}"))
            .collect();
        assert_eq!(after, expected, "{what}");
        for name in names {
            let there = store.object(bucket, &format!("{key}{name}"));
            assert!(there.unwrap() == bytes, "{what}: {name}");
        }
    } else {
        assert_eq!(after, before, "{what}: {reply:?}");
    }
    gateway.store.no_uploads_left().await;
    far.no_uploads_left().await;
    ftp.in_step().await;
    ftp.close().await;
    gateway.stop().await;
    moved
}

async fn each(
    cases: impl Iterator<Item = (Case, Answer)>,
    check: impl AsyncFn(Case, Answer) + Copy,
) {
    stream::iter(cases)
        .map(|(case, answer)| async move { check(case, answer).await })
        .buffer_unordered(16)
        .collect::<Vec<()>>()
        .await;
}

fn cases() -> impl Iterator<Item = (Case, Answer)> {
    CASES
        .into_iter()
        .flat_map(|case| UNCLEAR.map(|answer| (case, answer)))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_without_a_copy() {
    each(cases(), async |case, answer| {
        assert!(!renamed(case, Fault::Foreign(answer), usize::MAX).await);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_was_made_is_found_whatever_the_answers_are() {
    each(cases(), async |case, answer| {
        let moved = renamed(case, Fault::ForeignAfter(answer), usize::MAX).await;
        assert_eq!(moved, case.found, "{case:?} {answer:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_ambiguous_answer_is_settled() {
    let copies = CASES
        .into_iter()
        .filter(|case| case.operation.contains("Copy"));
    let cases = copies.flat_map(|case| UNCLEAR.map(|answer| (case, answer)));
    each(cases, async |case, answer| {
        let what = format!("{case:?} {answer:?}");
        assert!(renamed(case, Fault::Foreign(answer), 1).await, "{what}");
        assert!(
            renamed(case, Fault::ForeignAfter(answer), 1).await,
            "{what}"
        );
    })
    .await;
}

/// A gateway with a short deadline for requests, much shorter than a copy takes.
async fn quick(mount: &str) -> Gateway {
    let gateway = Gateway::builder()
        .with("[stores.main]\nrequest_timeout = \"1s\"\nattempts = 3\ncopy_limit = \"5MiB\"")
        .mount(mount)
        .start()
        .await;
    gateway.store.put(BUCKET, "a", "bytes");
    gateway.store.put(BUCKET, "large", pattern(12 * MIB, 1));
    gateway
}

fn looks(store: &Store, key: &str) -> usize {
    let requests = store.requests();
    let looks = requests
        .iter()
        .filter(|request| request.operation == "HeadObject" && request.key == key);
    looks.count()
}

/// The store copies late, or says 200 and sends white space first. The server looks for the copy,
/// and does not start it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_copy_is_started_once() {
    for fault in [Fault::Stall, Fault::WhiteSpace] {
        let gateway = quick("").await;
        let store = &gateway.store;
        let slow = store.fail("CopyObject").always().with(fault.clone());
        let mut ftp = gateway.ftp().await;
        ftp.expect("RNFR a", 350).await;
        ftp.send("RNTO b").await;
        store
            .until("three lookups of the copy", |store| looks(store, "b") >= 3)
            .await;
        assert!(store.object(BUCKET, "a").is_some(), "{fault:?}");
        slow.release();
        ftp.expect_reply(250).await;
        assert_eq!(store.count("CopyObject"), 1, "{fault:?}");
        assert_eq!(store.keys(BUCKET), ["b", "large"], "{fault:?}");
        ftp.close().await;
        gateway.stop().await;
    }
}

/// The copy exists, and its answer does not arrive.
#[tokio::test(flavor = "multi_thread")]
async fn a_finished_copy_is_not_waited_for() {
    let gateway = quick("times = \"metadata\"").await;
    let store = &gateway.store;
    let silent = store.fail("CopyObject").always().with(Fault::StallAnswer);
    let mut ftp = gateway.ftp().await;
    ftp.expect("RNFR a", 350).await;
    ftp.expect("RNTO b", 250).await;
    assert_eq!(store.count("CopyObject"), 1);
    // The same request sets times.
    ftp.expect("MFMT 20200102030405 b", 213).await;
    assert_eq!(store.count("CopyObject"), 2);
    assert_eq!(store.object(BUCKET, "b").unwrap(), b"bytes");
    silent.release();
    ftp.close().await;
    gateway.stop().await;
}

/// Ranges are copied in parallel, and neither a slow range nor a slow Complete is started again.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_large_copy_is_started_once() {
    let gateway = quick("").await;
    let store = &gateway.store;
    let parts = store.fail("UploadPartCopy").always();
    let parts = parts.with(Fault::WhiteSpace);
    let complete = store.fail("CompleteMultipartUpload").always();
    let complete = complete.with(Fault::WhiteSpace);
    let mut ftp = gateway.ftp().await;
    ftp.expect("RNFR large", 350).await;
    ftp.send("RNTO b").await;
    parts.hit_times(2).await;
    // Another session may use the name during the slow copy.
    let mut other = gateway.ftp().await;
    assert_eq!(other.store("b", b"meanwhile").await.code, 226);
    other.close().await;
    parts.release();
    complete.hit().await;
    complete.release();
    ftp.expect_reply(250).await;
    assert_eq!(store.count("UploadPartCopy"), 2);
    assert_eq!(store.count("CompleteMultipartUpload"), 1);
    assert!(store.object(BUCKET, "b").unwrap() == pattern(12 * MIB, 1));
    assert_eq!(store.keys(BUCKET), ["a", "b"]);
    ftp.close().await;
    gateway.stop().await;
}
