//! Answers of stores that are legal, rare, and easily taken for another.

use super::broken::{answering, at, methods, not_found, ok};
use super::*;

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
        1 | 2 => listing(&[], true),
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
