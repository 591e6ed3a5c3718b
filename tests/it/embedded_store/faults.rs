//! The embedded store fails as a rule says.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;

use crate::embedded_store::{B, body, crc32, refusal, started};
use test_support::faults::Fault;
use test_support::{pattern, within};

/// PutObject of `x`, with a checksum.
async fn put(client: &Client) -> Result<(), String> {
    let put = client.put_object().bucket(B).key("x").body(body(b"hello"));
    let sent = put.checksum_crc32(crc32(b"hello")).send().await;
    sent.map(drop)
        .map_err(|error| error.code().unwrap_or("connection").to_owned())
}

/// GetObject of `x`: the bytes that arrived, and whether the body was complete.
async fn get(client: &Client) -> (Vec<u8>, bool) {
    let got = client.get_object().bucket(B).key("x").send().await.unwrap();
    let (mut body, mut bytes) = (got.body, Vec::new());
    loop {
        match body.next().await {
            None => return (bytes, true),
            Some(Ok(piece)) => bytes.extend_from_slice(&piece),
            Some(Err(_)) => return (bytes, false),
        }
    }
}

#[tokio::test]
async fn faults_before_and_after_the_store() {
    let (store, client) = started().await;
    let there = || !store.keys(B).is_empty();
    let rule = store
        .fail("PutObject")
        .times(2)
        .with(Fault::Status(503, "SlowDown"));
    assert_eq!(put(&client).await, Err("SlowDown".to_owned()));
    assert_eq!(put(&client).await, Err("SlowDown".to_owned()));
    assert_eq!((rule.hits(), there()), (2, false));
    store.fail("PutObject").with(Fault::ResetBeforeHandling);
    assert_eq!(put(&client).await, Err("connection".to_owned()));
    store.fail("PutObject").with(Fault::CutRequest(2));
    assert_eq!(put(&client).await, Err("connection".to_owned()));
    store.fail("PutObject").with(Fault::CorruptRequest);
    assert_eq!(
        put(&client).await,
        Err("XAmzContentSHA256Mismatch".to_owned())
    );
    assert!(!there());
    store
        .fail("PutObject")
        .key("other")
        .with(Fault::ResetBeforeHandling);
    store.fail("PutObject").nth(2).with(Fault::LoseAnswer);
    assert_eq!(put(&client).await, Ok(()));
    assert!(store.backend().remove(B, "x"));
    assert_eq!(put(&client).await, Err("connection".to_owned()));
    assert!(there());
    assert_eq!(store.count("PutObject"), 7);
    let request = store.requests().pop().unwrap();
    assert_eq!((request.bucket.as_str(), request.key.as_str()), (B, "x"));
    store.reset_counts();
    assert_eq!(store.count("PutObject"), 0);
    store
        .fail("CopyObject")
        .with(Fault::ErrorIn200("InternalError"));
    let copy = client
        .copy_object()
        .bucket(B)
        .key("y")
        .copy_source("bucket/x")
        .send()
        .await;
    assert_eq!(refusal(copy), (200, "InternalError".to_owned()));
}

#[tokio::test]
async fn faults_of_answers() {
    let (store, client) = started().await;
    let bytes = pattern(300_000, 5);
    store.put(B, "x", &bytes);
    store.fail("GetObject").with(Fault::CutBody(70_000));
    let (got, whole) = get(&client).await;
    assert!(
        got == bytes[..70_000] && !whole,
        "{} bytes, {whole}",
        got.len()
    );
    store.fail("GetObject").with(Fault::ResetBody(70_000));
    let (got, whole) = get(&client).await;
    assert!(bytes[..70_000].starts_with(&got) && !whole);
    store.fail("GetObject").with(Fault::CorruptBody);
    let (got, whole) = get(&client).await;
    assert!(got != bytes && got[1..] == bytes[1..] && whole);
    assert_eq!(get(&client).await, (bytes, true));
}

#[tokio::test]
async fn stalls_end_when_they_are_released() {
    let (store, client) = started().await;
    for fault in [Fault::Stall, Fault::StallAnswer] {
        let handled = matches!(fault, Fault::StallAnswer);
        store.backend().remove(B, "x");
        let rule = store.fail("PutObject").with(fault);
        let waiting = tokio::spawn({
            let client = client.clone();
            async move { put(&client).await }
        });
        rule.hit().await;
        if handled {
            let mut events = store.backend().events();
            if store.keys(B).is_empty() {
                within("the object", events.recv()).await.unwrap();
            }
        }
        assert_eq!(store.keys(B).len(), usize::from(handled));
        assert!(!waiting.is_finished());
        rule.release();
        within("the answer", waiting).await.unwrap().unwrap();
        assert_eq!(store.keys(B), ["x"]);
    }
    let bytes = pattern(300_000, 5);
    store.put(B, "x", &bytes);
    let rule = store.fail("GetObject").with(Fault::StallBody(1000));
    let got = client.get_object().bucket(B).key("x").send().await.unwrap();
    let mut body = got.body;
    let first = within("the first bytes", body.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first.len(), 1000);
    rule.release();
    let rest = within("the rest", body.collect()).await.unwrap().to_vec();
    assert_eq!(rest, bytes[1000..]);
    store.wait_for("GetObject", 1).await;
}

#[tokio::test]
async fn a_store_that_dies_comes_back_with_what_it_held() {
    let (store, client) = started().await;
    let rule = store.fail("PutObject").with(Fault::Stall);
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { put(&client).await }
    });
    rule.hit().await;
    within("the store's end", store.stop()).await;
    let cut = within("the reset", waiting).await.unwrap();
    assert_eq!(cut, Err("connection".to_owned()));
    assert_eq!(put(&client).await, Err("connection".to_owned()));
    store.restart().await;
    put(&client).await.unwrap();
    assert_eq!(store.object(B, "x").unwrap(), b"hello");
}
