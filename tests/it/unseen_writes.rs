//! Writes whose answer was lost, of objects that the server cannot look at afterwards. The reply
//! does not call such a write refused: it asks the client to check.

use futures::{StreamExt, stream};
use s3_embedded::Behaviour;
use tokio::io::AsyncWriteExt;

use test_support::faults::Fault;
use test_support::ftp::{Mode, Reply};
use test_support::gateway::{BUCKET, Builder, Gateway};
use test_support::settings::store_section;
use test_support::store::Store;
use test_support::transfers::{begin, interrupt, nothing_left};
use test_support::{MIB, pattern};

const SMALL: usize = 70_000;
const LARGE: usize = 6 * MIB;

/// Two attempts, and parts of 5 MiB.
fn hasty() -> Builder {
    Gateway::builder().with(
        "[stores.main]\nattempts = 2\nrequest_timeout = \"2s\"\ncopy_limit = \"5MiB\"\n\
         [transfer]\npart_size = \"5MiB\"",
    )
}

/// What a HEAD gets.
fn unseen() -> [Fault; 2] {
    [
        Fault::Status(403, "AccessDenied"),
        Fault::Status(503, "SlowDown"),
    ]
}

fn asks_to_check(reply: &Reply) -> bool {
    reply.text().contains("check whether")
}

async fn several_at_once(cases: impl Iterator<Item = impl Future<Output = ()>>) {
    stream::iter(cases)
        .buffer_unordered(4)
        .collect::<Vec<()>>()
        .await;
}

#[tokio::test]
async fn a_repeated_upload_that_meets_its_own_object_is_not_called_refused() {
    let mut cases = Vec::new();
    for (operation, size) in [("PutObject", SMALL), ("CompleteMultipartUpload", LARGE)] {
        for behaviour in [Behaviour::default(), Behaviour::minio()] {
            for head in unseen() {
                cases.push((operation, size, behaviour.clone(), head));
            }
        }
    }
    let stored = cases
        .into_iter()
        .map(|(operation, size, behaviour, head)| async move {
            let what = format!("{operation} {behaviour:?} {head:?}");
            let mount = "permissions = [\"list\", \"read\", \"write\"]";
            let gateway = hasty().mount(mount).start().await;
            gateway.store.behave(|of_store| *of_store = behaviour);
            let mut ftp = gateway.ftp().await;
            let mut data = begin(&mut ftp, "STOR x", Mode::Passive).await;
            let lost = gateway.store.fail(operation).key("x");
            let lost = lost.with(Fault::LoseAnswer);
            // A HEAD comes right before the Complete.
            let first = if size == LARGE { 2 } else { 1 };
            let looks = gateway.store.fail("HeadObject").key("x");
            let looks = looks.nth(first).always().with(head);
            let bytes = pattern(size, 1);
            data.write_all(&bytes).await.unwrap();
            data.shutdown().await.unwrap();
            let reply = ftp.reply().await;
            lost.hit().await;
            assert!(
                reply.code == 226 || asks_to_check(&reply),
                "{what}: {reply:?}"
            );
            looks.remove();
            assert!(
                gateway.store.object(BUCKET, "x").as_ref() == Some(&bytes),
                "{what}: {reply:?}"
            );
            ftp.in_step().await;
            ftp.close().await;
            nothing_left(&gateway, 0).await;
        });
    several_at_once(stored).await;
}

/// The server looks at what a resumed upload has published.
#[tokio::test]
async fn a_resumed_upload_that_cannot_be_looked_at_is_not_called_replaced() {
    for head in unseen() {
        let gateway = hasty().start().await;
        let bytes = pattern(LARGE, 1);
        interrupt(&gateway, "STOR x", &bytes[..LARGE - MIB]).await;
        let mut ftp = gateway.ftp().await;
        let from = LARGE - MIB - 1;
        ftp.expect(&format!("REST {from}"), 350).await;
        let mut data = begin(&mut ftp, "STOR x", Mode::Passive).await;
        // The first HEAD comes right before the Complete.
        let looks = gateway.store.fail("HeadObject").key("x").nth(2).always();
        let looks = looks.with(head.clone());
        data.write_all(&bytes[from..]).await.unwrap();
        data.shutdown().await.unwrap();
        let reply = ftp.reply().await;
        looks.hit().await;
        assert!(asks_to_check(&reply), "{head:?}: {reply:?}");
        assert!(!reply.text().contains("replaced"), "{head:?}: {reply:?}");
        looks.remove();
        assert!(gateway.store.object(BUCKET, "x").unwrap() == bytes);
        ftp.in_step().await;
        ftp.close().await;
        nothing_left(&gateway, 0).await;
    }
}

#[tokio::test]
async fn a_rename_that_may_have_copied_asks_to_look_at_the_new_name() {
    let copies = [
        ("/b", SMALL, "CopyObject"),
        ("/b", LARGE, "CompleteMultipartUpload"),
        ("/far/b", SMALL, "PutObject"),
        ("/far/b", LARGE, "CompleteMultipartUpload"),
    ];
    let cases = copies
        .into_iter()
        .flat_map(|copy| unseen().map(|head| (copy, head)));
    let renamed = cases.map(|((to, size, operation), head)| async move {
        let what = format!("{to} {operation} {head:?}");
        let far = Store::start(&["far"]).await;
        let far_store = store_section("far", &far);
        let gateway = hasty()
            .with(&format!(
                "{far_store}\nattempts = 2\nrequest_timeout = \"2s\""
            ))
            .with("[mounts.far]\nstore = \"far\"\nbucket = \"far\"")
            .with("[users.u]\nmounts = { \"/\" = \"main\", \"/far\" = \"far\" }")
            .start()
            .await;
        let bytes = pattern(size, 1);
        gateway.store.put(BUCKET, "a", &bytes);
        let (store, bucket) = match to {
            "/b" => (&*gateway.store, BUCKET),
            _ => (&far, "far"),
        };
        let mut ftp = gateway.ftp().await;
        ftp.expect("RNFR a", 350).await;
        let lost = store.fail(operation).key("b").always();
        let lost = lost.with(Fault::LoseAnswer);
        let looks = store.fail("HeadObject").key("b").always();
        let looks = looks.with(head.clone());
        let reply = ftp.command(&format!("RNTO {to}")).await;
        lost.hit().await;
        assert!(
            reply
                .text()
                .contains(&format!("check whether {to} was written")),
            "{what}: {reply:?}"
        );
        lost.remove();
        looks.remove();
        assert!(
            gateway.store.object(BUCKET, "a").unwrap() == bytes,
            "{what}"
        );
        assert!(store.object(bucket, "b").unwrap() == bytes, "{what}");
        ftp.in_step().await;
        ftp.close().await;
        gateway.stop().await;
    });
    several_at_once(renamed).await;
}

/// The old name is gone, and neither the answer to the DELETE nor a HEAD says so.
#[tokio::test]
async fn a_rename_does_not_call_an_old_name_there_that_may_be_deleted() {
    let gateway = hasty().start().await;
    gateway.store.put(BUCKET, "a", "bytes");
    let mut ftp = gateway.ftp().await;
    ftp.expect("RNFR a", 350).await;
    let lost = gateway.store.fail("DeleteObject").key("a").always();
    let lost = lost.with(Fault::LoseAnswer);
    // The first HEAD comes right before the DELETE.
    let looks = gateway.store.fail("HeadObject").key("a").nth(2).always();
    let looks = looks.with(Fault::Status(503, "SlowDown"));
    let reply = ftp.expect("RNTO b", 451).await;
    lost.hit().await;
    looks.hit().await;
    assert!(reply.text().contains("check whether it stays"), "{reply:?}");
    assert_eq!(gateway.store.keys(BUCKET), ["b"]);
    ftp.in_step().await;
    ftp.close().await;
}

#[tokio::test]
async fn a_delete_does_not_call_what_may_be_gone_there() {
    // Of a file in the root a HEAD comes right before the DELETE.
    for (command, key, first, others) in [
        ("DELE a", "a", 2, vec![]),
        ("DELE d/a", "d/a", 1, vec!["d/"]),
        ("RMD d", "d/", 1, vec![]),
    ] {
        for head in unseen() {
            let gateway = hasty().start().await;
            gateway.store.put(BUCKET, key, "");
            let mut ftp = gateway.ftp().await;
            let lost = gateway.store.fail("DeleteObject").key(key).always();
            let lost = lost.with(Fault::LoseAnswer);
            let looks = gateway.store.fail("HeadObject").key(key);
            let looks = looks.nth(first).always().with(head);
            let reply = ftp.expect(command, 451).await;
            lost.hit().await;
            looks.hit().await;
            assert!(asks_to_check(&reply), "{command}: {reply:?}");
            assert_eq!(gateway.store.keys(BUCKET), others, "{command}");
            ftp.in_step().await;
            ftp.close().await;
        }
    }
}

#[tokio::test]
async fn a_delete_that_was_refused_asks_for_nothing() {
    for command in ["DELE d/a", "RMD e"] {
        for fault in [
            Fault::Status(403, "AccessDenied"),
            Fault::Status(503, "SlowDown"),
        ] {
            let gateway = hasty().start().await;
            gateway.store.put(BUCKET, "d/a", "");
            gateway.store.put(BUCKET, "e/", "");
            gateway.store.fail("DeleteObject").always().with(fault);
            let mut ftp = gateway.ftp().await;
            let reply = ftp.command(command).await;
            assert!(
                reply.code >= 400 && !asks_to_check(&reply),
                "{command}: {reply:?}"
            );
            ftp.in_step().await;
            ftp.close().await;
        }
    }
}

#[tokio::test]
async fn a_rename_that_was_refused_asks_for_nothing() {
    let faults = [
        Fault::Status(500, "InternalError"),
        Fault::ErrorIn200("InternalError"),
        Fault::Status(403, "AccessDenied"),
    ];
    let refused = faults.into_iter().map(|fault| async move {
        let gateway = hasty().start().await;
        gateway.store.put(BUCKET, "a", "bytes");
        let rule = gateway.store.fail("CopyObject").always();
        rule.with(fault.clone());
        let mut ftp = gateway.ftp().await;
        ftp.expect("RNFR a", 350).await;
        let reply = ftp.command("RNTO b").await;
        assert!(
            reply.code >= 400 && !asks_to_check(&reply),
            "{fault:?}: {reply:?}"
        );
        assert_eq!(gateway.store.keys(BUCKET), ["a"], "{fault:?}");
        ftp.in_step().await;
        ftp.close().await;
    });
    several_at_once(refused).await;
}
