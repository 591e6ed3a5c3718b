//! Answers of stores that are legal, rare, and easily taken for another.

use super::*;
use crate::object::tests::unclear_answers::{answering, at, methods, not_found, ok};

fn listing(keys: &[&str], next: bool) -> String {
    let keys: String = keys
        .iter()
        .map(|key| format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>"))
        .collect();
    let next = match next {
        true => "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>",
        false => "<IsTruncated>false</IsTruncated>",
    };
    ok(
        "",
        &format!("<ListBucketResult>{next}{keys}</ListBucketResult>"),
    )
}

#[tokio::test]
async fn an_empty_page_is_not_the_end_of_a_listing() {
    let (store, _) = answering(|_, count| match count {
        1 => listing(&[], true),
        2 => listing(&[], true).replace(">t<", ">u<"),
        _ => listing(&["key/x"], false),
    })
    .await;
    let directory = Location {
        key: "key/".to_owned(),
        ..at(&store)
    };
    assert!(directory_exists(&directory).await.unwrap());
}

#[tokio::test]
async fn a_pinned_delete_that_was_carried_out_before_is_done() {
    let (store, log) = answering(|line, _| match line.starts_with("DELETE") {
        true => ok("", "").replace("200 OK", "412 Precondition Failed"),
        false => not_found("", ""),
    })
    .await;
    delete(&at(&store), Some("\"v1\"")).await.unwrap();
    assert_eq!(methods(&log), "DELETE HEAD");
}

#[tokio::test]
async fn a_size_that_is_not_reported_is_not_taken_for_zero() {
    let (store, _) = answering(|_, _| "HTTP/1.1 200 OK\r\nETag: \"v1\"\r\n\r\n".to_owned()).await;
    let found = head(&at(&store)).await;
    assert!(matches!(found, Err(ObjectError::Foreign(_))), "{found:?}");
}

#[tokio::test]
async fn bytes_from_elsewhere_in_the_object_are_refused() {
    let (store, _) = answering(|_, _| {
        ok(
            "ETag: \"v1\"\r\nContent-Range: bytes 0-9/1000\r\n",
            "0123456789",
        )
        .replace("200 OK", "206 Partial Content")
    })
    .await;
    let got = download(&at(&store), 5).await;
    assert!(matches!(got, Err(ObjectError::Foreign(_))), "{got:?}");
}

#[tokio::test]
async fn a_condition_is_not_blamed_while_the_store_keeps_silent() {
    // The 412 may be of our own first attempt: "another client has written it" would be a guess.
    let (store, _) = answering(|line, _| match line.starts_with("PUT") {
        true => ok("", "<Error><Code>PreconditionFailed</Code></Error>")
            .replace("200 OK", "412 Precondition Failed"),
        false => ok("", "").replace("200 OK", "503 Service Unavailable"),
    })
    .await;
    let mut once = options();
    once.condition = Condition::IfAbsent;
    let failed = upload(&at(&store), once, &pattern(10)).await;
    assert!(matches!(failed, Err(ObjectError::Throttled)), "{failed:?}");
}

#[tokio::test]
async fn a_refused_retry_of_what_was_carried_out_is_a_success() {
    // The first attempt is carried out and its answer lost; the credentials expire before the
    // second.
    let (store, log) = super::unclear_answers::answering_with(
        |config| config.attempts = 2,
        |line, count| match (line.starts_with("PUT"), count) {
            (true, 1) => String::new(),
            (true, _) => ok("", "<Error><Code>ExpiredToken</Code></Error>")
                .replace("200 OK", "400 Bad Request"),
            _ => super::unclear_answers::head_of(
                "ETag: \"v1\"\r\nx-amz-meta-s3ftpd-transfer: {id}\r\n",
                10,
            ),
        },
    )
    .await;
    let published = upload(&at(&store), options(), &pattern(10)).await.unwrap();
    assert_eq!(published.etag.as_deref(), Some("\"v1\""));
    assert_eq!(methods(&log), "PUT PUT HEAD");
}

#[tokio::test]
async fn an_outage_does_not_use_up_the_retries_of_others() {
    let (store, log) = super::unclear_answers::answering_with(
        |config| config.attempts = 2,
        |line, count| match line.starts_with("HEAD") && (count <= 160 || count % 2 == 1) {
            true => ok("", "").replace("200 OK", "500 Internal TestStore Error"),
            false => ok("ETag: \"v1\"\r\n", ""),
        },
    )
    .await;
    let location = at(&store);
    let outage = futures::future::join_all((0..80).map(|_| head(&location))).await;
    assert!(outage.iter().all(Result::is_err));
    assert_eq!(log.lock().unwrap().len(), 160);
    head(&location).await.unwrap();
}

#[tokio::test]
async fn a_slow_reader_gives_back_what_was_fetched_ahead() {
    let server = TestStore::start().await;
    let budget = 64 << 20;
    let store = server.store_of(budget).await;
    let location = server.location(&store, "f");
    let data = pattern(6 * PART);
    put(&location, &data).await;
    let mut download = Download::open(location.clone(), admission(&store).await, 0)
        .await
        .unwrap();
    let mut got = download.next().await.unwrap().unwrap().to_vec();
    let held = || store.context().budget.in_use();
    // Twice: while the first range is streamed, and while one that was fetched is read.
    for until in [1, PART + 1] {
        while got.len() < until || held() < PART as u64 {
            got.extend_from_slice(&download.next().await.unwrap().unwrap());
        }
        let context = store.context();
        let mut upload = Box::pin(context.budget.grant(budget - (1 << 20), LONG));
        assert!(futures::poll!(upload.as_mut()).is_pending());
        let now = tokio::time::Instant::now();
        download.relieve(now);
        assert!(futures::poll!(upload.as_mut()).is_pending(), "not at once");
        download.relieve(now + Duration::from_secs(10));
        drop(tokio::time::timeout(LONG, upload).await.unwrap().unwrap());
    }
    while let Some(chunk) = download.next().await.unwrap() {
        got.extend_from_slice(&chunk);
    }
    assert_eq!(got, data);
    drop(download);
    idle(&store).await;
}

#[tokio::test]
async fn what_flows_into_an_upload_holds_no_memory_ahead() {
    let server = TestStore::start().await;
    let store = server.store().await;
    let location = server.location(&store, "f");
    put(&location, &pattern(4 * PART)).await;
    server.requests();
    let mut append = options();
    append.append = Some(AppendTo {
        info: head(&location).await.unwrap(),
        keep: 100_000,
    });
    upload(&location, append, &pattern(10)).await.unwrap();
    assert_eq!(server.requests(), ["HeadObject", "GetObject", "PutObject"]);
    assert_eq!(head(&location).await.unwrap().size, 100_010);
    idle(&store).await;
}
