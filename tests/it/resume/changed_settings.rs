//! Uploads that are resumed by a server with other settings than the one that recorded them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::{By, only_objects, resume};
use test_support::ftp::Mode;
use test_support::gateway::{BUCKET, Gateway};
use test_support::transfers::{interrupt, size};
use test_support::{MIB, pattern};

/// The smallest allowed budget.
const SMALL: &str = "[memory]\nbudget = \"20MiB\"\n[transfer]\nrange_size = \"1MiB\"";

/// An upload in parts of 32 MiB that broke off after this number of bytes, and a server with little
/// memory.
async fn interrupted_with_large_parts(bytes: &[u8]) -> (Gateway, Gateway) {
    let large = Gateway::builder().with("[transfer]\npart_size = \"32MiB\"");
    let large = large.start().await;
    interrupt(&large, "STOR x", bytes).await;
    let small = Gateway::builder().with(SMALL).on(&large.store);
    (large, small.start().await)
}

/// No part is in the store yet, so the parts can have sizes that fit into memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_upload_without_parts_is_resumed_even_if_its_part_size_does_not_fit_into_memory() {
    let whole = pattern(9 * MIB, 1);
    for sent in [70_000, 700_000] {
        let (large, small) = interrupted_with_large_parts(&whole[..sent]).await;
        let resumed = resume(&small, By::Rest, "x", &whole, sent);
        timeout(Duration::from_secs(30), resumed).await.unwrap();
        assert!(small.store.object(BUCKET, "x").unwrap() == whole);
        only_objects(&[&large, &small], &["x"]).await;
    }
}

/// Parts are in the store, and the next one does not fit into memory: a server with more memory
/// resumes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_upload_whose_next_part_does_not_fit_into_memory_is_refused_and_stays() {
    let whole = pattern(34 * MIB, 1);
    let sent = 33 * MIB;
    let (large, small) = interrupted_with_large_parts(&whole[..sent]).await;
    let store = Arc::clone(&small.store);
    let mut ftp = small.ftp().await;
    for command in ["STOR x", "APPE x"] {
        let reported = size(&mut ftp, "x").await;
        assert_eq!(reported, sent - 1);
        if command == "STOR x" {
            ftp.expect(&format!("REST {reported}"), 350).await;
        }
        let resumed = ftp.upload_with(command, &whole[reported..], Mode::Passive);
        let reply = timeout(Duration::from_secs(30), resumed).await.unwrap();
        assert_eq!(reply.code, 554, "{reply:?}");
        assert!(reply.text().contains("memory"), "{reply:?}");
    }
    ftp.close().await;
    resume(&large, By::Rest, "x", &whole, sent).await;
    assert!(store.object(BUCKET, "x").unwrap() == whole);
    only_objects(&[&large, &small], &["x"]).await;
}
