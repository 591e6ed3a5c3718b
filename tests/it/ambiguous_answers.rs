//! Requests whose answer was lost: the server looks in the store for their result. Each transfer
//! gets exactly one final reply, and an event with the same id.

use std::sync::Arc;

use futures::{StreamExt, stream};
use s3_embedded::Behaviour;
use s3ftpd::events::{Class, Event, Kind};
use tokio::io::AsyncWriteExt;

use test_support::faults::Fault;
use test_support::ftp::{Ftp, Mode, Reply, reset_stream};
use test_support::gateway::{BUCKET, Gateway};
use test_support::transfers::{begin, nothing_left};
use test_support::{MIB, pattern};

const SMALL: usize = 70_000;
const LARGE: usize = 6 * MIB;

/// A gateway that makes few attempts.
async fn hasty(mount: &str) -> Gateway {
    let builder = Gateway::builder()
        .with("[stores.main]\nattempts = 2\nrequest_timeout = \"2s\"")
        .mount(mount)
        .mount("interrupted = \"abort\"");
    builder.start().await
}

/// A gateway that makes two attempts, with a long deadline.
async fn patient(mount: &str) -> Gateway {
    let builder = Gateway::builder().with("[stores.main]\nattempts = 2");
    let builder = builder.mount("interrupted = \"abort\"");
    builder.mount(mount).start().await
}

const NO_OVERWRITE: &str = "permissions = [\"list\", \"read\", \"write\"]";

/// Runs cases in parallel, since most of them wait for attempts.
async fn several_at_once(cases: impl Iterator<Item = impl Future<Output = ()>>) {
    stream::iter(cases)
        .buffer_unordered(4)
        .collect::<Vec<()>>()
        .await;
}

/// The id at the end of a reply.
fn transfer_of(reply: &Reply) -> String {
    let text = reply.text();
    let (_, id) = text
        .rsplit_once("transfer ")
        .unwrap_or_else(|| panic!("no transfer id in {reply:?}"));
    let id = id.split(' ').next().unwrap();
    assert!(id.len() >= 16, "{reply:?}");
    id.to_owned()
}

/// The key of the only object.
fn only_key(gateway: &Gateway) -> String {
    let keys = gateway.store.keys(BUCKET);
    assert_eq!(keys.len(), 1, "{keys:?}");
    keys[0].clone()
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_found() {
    let mut cases = Vec::new();
    for (mount, command) in [("", "STOR x"), (NO_OVERWRITE, "STOR x"), ("", "STOU")] {
        for times in [1, 2, usize::MAX] {
            cases.push((
                "PutObject",
                SMALL,
                Behaviour::default(),
                mount,
                command,
                times,
            ));
        }
        // A second Complete gets NoSuchUpload from one store, and the answer of the first from the
        // other.
        for behaviour in [Behaviour::minio(), Behaviour::default()] {
            for times in [1, usize::MAX] {
                let behaviour = behaviour.clone();
                cases.push((
                    "CompleteMultipartUpload",
                    LARGE,
                    behaviour,
                    mount,
                    command,
                    times,
                ));
            }
        }
    }
    cases.push(("UploadPart", LARGE, Behaviour::default(), "", "STOR x", 1));
    let stored = cases.into_iter().map(
        |(operation, size, behaviour, mount, command, times)| async move {
            let what = format!("{operation} {behaviour:?} {mount} {command} {times}");
            let gateway = patient(mount).await;
            gateway.store.behave(|of_store| *of_store = behaviour);
            let rule = gateway.store.fail(operation).times(times);
            let rule = rule.with(Fault::LoseAnswer);
            let mut ftp = gateway.ftp().await;
            let bytes = pattern(size, 1);
            let reply = ftp.upload_with(command, &bytes, Mode::Passive).await;
            assert_eq!(reply.code, 226, "{what}: {reply:?}");
            let key = only_key(&gateway);
            assert!(
                gateway.store.object(BUCKET, &key).unwrap() == bytes,
                "{what}"
            );
            let metadata = gateway.store.metadata(BUCKET, &key).unwrap();
            assert_eq!(metadata["s3ftpd-transfer"], transfer_of(&reply), "{what}");
            assert!(rule.hits() >= times.min(2), "{what}");
            ftp.in_step().await;
            ftp.close().await;
            nothing_left(&gateway, 0).await;
        },
    );
    several_at_once(stored).await;
}

#[tokio::test]
async fn a_write_that_never_arrived_is_a_failure() {
    let faults = [
        Fault::ResetBeforeHandling,
        Fault::CutRequest(1000),
        Fault::Status(500, "InternalError"),
        Fault::Status(503, ""),
    ];
    let failed = [("PutObject", SMALL), ("CompleteMultipartUpload", LARGE)]
        .into_iter()
        .flat_map(|write| faults.clone().map(|fault| (write, fault)))
        .map(|((operation, size), fault)| async move {
            let gateway = hasty(NO_OVERWRITE).await;
            let rule = gateway.store.fail(operation).always();
            rule.with(fault.clone());
            let mut ftp = gateway.ftp().await;
            let reply = ftp.store("x", &pattern(size, 1)).await;
            assert_eq!(reply.code, 451, "{operation} {fault:?}: {reply:?}");
            transfer_of(&reply);
            assert_eq!(gateway.store.object(BUCKET, "x"), None);
            ftp.in_step().await;
            ftp.close().await;
            nothing_left(&gateway, 0).await;
        });
    several_at_once(failed).await;
}

#[tokio::test]
async fn a_200_with_an_error_in_its_body_is_a_failure() {
    for (times, code) in [(1, 226), (usize::MAX, 451)] {
        let gateway = hasty("").await;
        gateway.store.put(BUCKET, "x", "old");
        let rule = gateway.store.fail("CompleteMultipartUpload").times(times);
        rule.with(Fault::ErrorIn200("InternalError"));
        let mut ftp = gateway.ftp().await;
        let bytes = pattern(LARGE, 1);
        let reply = ftp.store("x", &bytes).await;
        assert_eq!(reply.code, code, "{reply:?}");
        let found = gateway.store.object(BUCKET, "x").unwrap();
        assert!(found == if code == 226 { &bytes[..] } else { b"old" });
        ftp.in_step().await;
        ftp.close().await;
        nothing_left(&gateway, 0).await;
    }
}

/// RNFR and RNTO of `a` to `b`; the last reply.
async fn rename(ftp: &mut Ftp) -> Reply {
    ftp.expect("RNFR a", 350).await;
    ftp.command("RNTO b").await
}

#[tokio::test]
async fn a_rename_whose_answers_were_lost_is_done() {
    let mut cases = Vec::new();
    for behaviour in [Behaviour::default(), Behaviour::minio()] {
        for operation in ["CopyObject", "DeleteObject"] {
            for times in [1, usize::MAX] {
                cases.push((behaviour.clone(), operation, times));
            }
        }
    }
    let renamed = cases
        .into_iter()
        .map(|(behaviour, operation, times)| async move {
            let what = format!("{operation} {times} {behaviour:?}");
            let gateway = patient("").await;
            gateway.store.behave(|of_store| *of_store = behaviour);
            gateway.store.put(BUCKET, "a", "bytes");
            gateway.store.put(BUCKET, "b", "old");
            let rule = gateway.store.fail(operation).times(times);
            rule.with(Fault::LoseAnswer);
            let mut ftp = gateway.ftp().await;
            let reply = rename(&mut ftp).await;
            assert_eq!(reply.code, 250, "{what}: {reply:?}");
            assert_eq!(
                gateway.store.object(BUCKET, "b").unwrap(),
                b"bytes",
                "{what}"
            );
            assert_eq!(gateway.store.keys(BUCKET), ["b"], "{what}");
            ftp.in_step().await;
            ftp.close().await;
        });
    several_at_once(renamed).await;
}

#[tokio::test]
async fn a_rename_that_failed_says_so_and_loses_nothing() {
    let cases = [
        ("CopyObject", Fault::ErrorIn200("InternalError"), 1, 250),
        (
            "CopyObject",
            Fault::ErrorIn200("InternalError"),
            usize::MAX,
            451,
        ),
        (
            "CopyObject",
            Fault::Status(403, "AccessDenied"),
            usize::MAX,
            550,
        ),
        ("CopyObject", Fault::ResetBeforeHandling, usize::MAX, 451),
        ("DeleteObject", Fault::ResetBeforeHandling, usize::MAX, 451),
        (
            "DeleteObject",
            Fault::Status(403, "AccessDenied"),
            usize::MAX,
            451,
        ),
    ];
    let renamed = cases
        .into_iter()
        .map(|(operation, fault, times, code)| async move {
            let what = format!("{operation} {fault:?} {times}");
            let gateway = hasty("").await;
            gateway.store.put(BUCKET, "a", "bytes");
            let rule = gateway.store.fail(operation).times(times);
            rule.with(fault);
            let mut ftp = gateway.ftp().await;
            let reply = rename(&mut ftp).await;
            assert_eq!(reply.code, code, "{what}: {reply:?}");
            let keys: &[&str] = match (operation, code) {
                (_, 250) => &["b"],
                ("CopyObject", _) => &["a"],
                // Copied, and the old name stays; the reply says so.
                _ => &["a", "b"],
            };
            assert_eq!(gateway.store.keys(BUCKET), keys, "{what}");
            ftp.in_step().await;
            ftp.close().await;
        });
    several_at_once(renamed).await;
}

#[tokio::test]
async fn a_delete_whose_answer_was_lost_is_done() {
    for key in ["a", "dir/a"] {
        for (fault, times, code) in [
            (Fault::LoseAnswer, 1, 250),
            (Fault::LoseAnswer, usize::MAX, 250),
            (Fault::ResetBeforeHandling, usize::MAX, 451),
        ] {
            let gateway = hasty("").await;
            gateway.store.put(BUCKET, key, "bytes");
            let rule = gateway.store.fail("DeleteObject").times(times);
            rule.with(fault.clone());
            let mut ftp = gateway.ftp().await;
            let reply = ftp.command(&format!("DELE {key}")).await;
            assert_eq!(reply.code, code, "{key} {fault:?} {times}: {reply:?}");
            let there = gateway.store.object(BUCKET, key).is_some();
            assert_eq!(there, code != 250);
            ftp.in_step().await;
            ftp.close().await;
        }
    }
}

#[tokio::test]
async fn a_replaced_upload_gets_a_reply_that_says_so() {
    // The PutObject of the other session removes the upload there.
    let gateway = hasty("").await;
    gateway
        .store
        .behave(|of_store| *of_store = Behaviour::garage());
    let rule = gateway
        .store
        .fail("CompleteMultipartUpload")
        .with(Fault::Stall);
    // Another process: in the same one it would wait for the Complete.
    let replica = Gateway::builder().on(&gateway.store).start().await;
    let (mut ftp, mut other) = (gateway.ftp().await, replica.ftp().await);
    let bytes = pattern(LARGE, 1);
    let (reply, ()) = tokio::join!(ftp.store("x", &bytes), async {
        rule.hit().await;
        let reply = other.store("x", b"other").await;
        assert_eq!(reply.code, 226);
        rule.release();
    });
    assert_eq!(reply.code, 451, "{reply:?}");
    assert!(reply.text().contains("another upload"), "{reply:?}");
    assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"other");
    ftp.in_step().await;
    ftp.close().await;
    other.close().await;
    replica.stop().await;
    nothing_left(&gateway, 0).await;
}

#[tokio::test]
async fn without_overwrite_one_of_two_uploads_wins_and_the_other_gets_550() {
    for size in [SMALL, LARGE] {
        let gateway = hasty(NO_OVERWRITE).await;
        let (mut one, mut other) = (gateway.ftp().await, gateway.ftp().await);
        let mut first = begin(&mut one, "STOR x", Mode::Passive).await;
        let mut second = begin(&mut other, "STOR x", Mode::Passive).await;
        first.write_all(&pattern(size, 1)).await.unwrap();
        first.shutdown().await.unwrap();
        one.expect_reply(226).await;
        second.write_all(&pattern(size, 2)).await.unwrap();
        second.shutdown().await.unwrap();
        let reply = other.expect_reply(550).await;
        assert!(reply.text().contains("another client"), "{reply:?}");
        assert!(gateway.store.object(BUCKET, "x").unwrap() == pattern(size, 1));
        one.close().await;
        other.close().await;
        nothing_left(&gateway, 0).await;
    }
}

#[tokio::test]
async fn each_transfer_has_one_event_with_the_id_of_its_one_reply() {
    use Class::{ClientAborted, ClientGone, Ok, StoreDenied, StoreUnreachable};
    let gateway = hasty("").await;
    let mut ftp = gateway.ftp().await;
    let mut expected = Vec::new();

    expected.push((Kind::Transfer, Ok, ftp.store("x", b"bytes").await));
    expected.push((Kind::Transfer, Ok, ftp.retrieve("x").await.1));
    expected.push((Kind::Listing, Ok, ftp.list("LIST").await.1));
    let rule = gateway.store.fail("PutObject").always();
    let rule = rule.with(Fault::Status(403, "AccessDenied"));
    expected.push((Kind::Transfer, StoreDenied, ftp.store("x", b"bytes").await));
    rule.remove();
    let data = begin(&mut ftp, "STOR x", Mode::Passive).await;
    reset_stream(data);
    expected.push((Kind::Transfer, ClientGone, ftp.reply().await));
    let data = begin(&mut ftp, "STOR x", Mode::Active).await;
    expected.push((Kind::Transfer, ClientAborted, ftp.command("ABOR").await));
    ftp.expect_reply(226).await;
    drop(data);
    let rule = gateway.store.fail("GetObject").nth(1).always();
    let rule = rule.with(Fault::CutBody(0));
    expected.push((Kind::Transfer, StoreUnreachable, ftp.retrieve("x").await.1));
    rule.remove();
    ftp.in_step().await;

    let events = transfers(&gateway);
    assert_eq!(events.len(), expected.len(), "{events:#?}");
    for ((kind, class, reply), event) in expected.iter().zip(&events) {
        let case = format!("{reply:?}\n{event:?}");
        assert_eq!((event.kind, event.class), (*kind, Some(*class)), "{case}");
        assert_eq!(event.id.as_deref(), reply.id(), "{case}");
        assert_eq!(event.code, Some(reply.code), "{case}");
    }

    // Without a client to reply to, there is an event.
    let data = begin(&mut ftp, "STOR x", Mode::Passive).await;
    ftp.reset();
    nothing_left(&gateway, 0).await;
    drop(data);
    gateway.events.wait_for(Kind::SessionClose).await;
    let events = transfers(&gateway);
    assert_eq!(events.len(), expected.len() + 1);
    let last = events.last().unwrap();
    assert_eq!(last.class, Some(ClientGone));
    assert!(
        last.reason
            .as_ref()
            .unwrap()
            .contains("control connection lost")
    );
}

/// The events that report the end of a transfer.
fn transfers(gateway: &Gateway) -> Vec<Arc<Event>> {
    let mut events = gateway.events.all();
    events.retain(|event| matches!(event.kind, Kind::Transfer | Kind::Listing | Kind::Refused));
    events
}
