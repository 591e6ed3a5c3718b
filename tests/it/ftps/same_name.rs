//! Two sessions on one name under TLS: the same as without it.

use std::sync::Arc;

use s3_embedded::Behaviour;

use super::{Begins, begin_tls, secured, upload, with_tls};
use crate::same_name::{race, waiting};
use test_support::faults::Fault;
use test_support::ftp::Mode;
use test_support::gateway::BUCKET;
use test_support::store::Store;
use test_support::tls::{Pki, send_and_end};
use test_support::{MIB, pattern};

#[tokio::test]
async fn of_two_uploads_of_one_new_name_without_overwrite_one_is_refused() {
    let pki = Pki::new();
    for (bytes, publication) in [(70_000, "PutObject"), (6 * MIB, "CompleteMultipartUpload")] {
        let store = Arc::new(Store::start(&[BUCKET]).await);
        store.behave(|now| *now = Behaviour::garage());
        let gateway = with_tls(&pki, "")
            .with("[stores.main]\nconditional_writes = false")
            .mount("permissions = [\"list\", \"read\", \"write\"]")
            .on(&store)
            .start()
            .await;
        let client = pki.client().build();
        let mut one = secured(&gateway, &client).await;
        let mut two = secured(&gateway, &client).await;
        let held = store.fail(publication).key("new").with(Fault::Stall);
        let files = [pattern(bytes, 1), pattern(bytes, 2)];
        let first = upload(&mut one, &client, "new", &files[0]);
        let second = upload(&mut two, &client, "new", &files[1]);
        let replies = race(&gateway, &held, first, second).await;
        assert_eq!(replies.map(|reply| reply.code), [226, 550]);
        assert!(store.object(BUCKET, "new").as_ref() == Some(&files[0]));
        one.close().await;
        two.close().await;
        gateway.stop().await;
    }
}

#[tokio::test]
async fn abor_of_a_waiting_upload_leaves_it_resumable() {
    let pki = Pki::new();
    let gateway = with_tls(&pki, "").start().await;
    let client = pki.client().build();
    let mut holds = secured(&gateway, &client).await;
    let mut waits = secured(&gateway, &client).await;
    assert_eq!(upload(&mut holds, &client, "x", b"old").await.code, 226);
    gateway.store.a_while();
    let held = gateway
        .store
        .fail("DeleteObject")
        .key("x")
        .with(Fault::Stall);
    holds.send("DELE x").await;
    held.hit().await;
    let begins = Begins::Late;
    let mut data = begin_tls(&mut waits, &client, "STOR x", Mode::Passive, begins).await;
    send_and_end(&mut data, &pattern(70_000, 1)).await.unwrap();
    waiting(&gateway, 1).await;
    waits.expect("NOOP", 200).await;
    waits.send("ABOR").await;
    waits.expect_reply(426).await;
    waits.expect_reply(226).await;
    held.release();
    holds.expect_reply(250).await;
    assert!(gateway.store.object(BUCKET, "x").is_none());
    assert_eq!(waits.expect("SIZE x", 213).await.text(), "69999");
    holds.close().await;
    waits.close().await;
    gateway.stop().await;
}
