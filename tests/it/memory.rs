//! One budget of memory for the whole process. Transfers never exceed it, wait for their share or
//! are refused before the 150, and give everything back, however they end.

mod process;
mod release;
mod waiting;

use std::time::Duration;

use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use test_support::ftp::{Ftp, read_to_end_deadline, reset_stream};
use test_support::gateway::{BUCKET, Builder, Gateway};
use test_support::transfers::narrow_data;
use test_support::{MIB, pattern, within};

/// A budget of four parts, the smallest one allowed.
fn smallest() -> Builder {
    Gateway::builder().with("[memory]\nbudget = \"20MiB\"\n[transfer]\nrange_size = \"1MiB\"")
}

/// Does some work, and asserts that at no time more than the budget is in use.
async fn within_the_budget<T>(gateway: &Gateway, work: impl Future<Output = T>) -> T {
    let total = gateway.server.budget().total();
    let watch = async {
        let mut samples = tokio::time::interval(Duration::from_millis(1));
        loop {
            samples.tick().await;
            let held = gateway.budget_in_use();
            assert!(held <= total, "{held} bytes are held of {total}");
        }
    };
    tokio::select! {
        done = work => done,
        () = watch => unreachable!("it has no end"),
    }
}

/// Waits until transfers hold no memory.
async fn all_given_back(gateway: &Gateway) {
    within("the budget is free again", async {
        while gateway.budget_in_use() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!gateway.server.budget().contended());
}

/// A STOR that has sent this number of bytes and stops there.
async fn half_an_upload(gateway: &Gateway, path: &str, bytes: usize) -> (Ftp, TcpStream) {
    let mut ftp = gateway.ftp().await;
    let mut data = ftp.data_passive().await;
    ftp.expect(&format!("STOR {path}"), 150).await;
    let bytes = vec![7; bytes];
    within("the gateway reads it", data.write_all(&bytes))
        .await
        .unwrap();
    (ftp, data)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_uploads_at_once_share_64_mib_and_all_end() {
    let gateway = Gateway::builder()
        .with("[memory]\nbudget = \"64MiB\"")
        // All of them log in in parallel, from one address.
        .with("[limits]\nsessions_before_login_per_address = 200")
        .start()
        .await;
    let clients = join_all((0..200).map(|_| gateway.ftp())).await;
    let uploads = join_all(
        clients
            .into_iter()
            .enumerate()
            .map(async |(number, mut ftp)| {
                // Enough to need a part's memory each; every 40th needs several parts.
                let size = if number % 40 == 0 {
                    11 * MIB + number
                } else {
                    200_000 + number
                };
                let bytes = pattern(size, number as u64);
                let path = format!("f{number}");
                let reply = ftp.store(&path, &bytes).await;
                assert_eq!(reply.code, 226, "{path}: {reply:?}");
                assert!(
                    gateway.store.object(BUCKET, &path) == Some(bytes),
                    "{path} is not what was sent"
                );
            }),
    );
    within_the_budget(&gateway, uploads).await;
    all_given_back(&gateway).await;
    test_support::transfers::settled(&gateway).await;
    assert_eq!(gateway.store.keys(BUCKET).len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_and_downloads_share_the_budget() {
    let gateway = smallest().start().await;
    let large = pattern(7 * MIB + 1, 1);
    gateway.store.put(BUCKET, "large", &large);
    let both = join_all((0..16).map(async |number: usize| {
        let mut ftp = gateway.ftp().await;
        let path = format!("f{number}");
        if number.is_multiple_of(2) {
            let reply = ftp.store(&path, &large).await;
            assert_eq!(reply.code, 226, "{path}: {reply:?}");
        } else {
            let (bytes, reply) = ftp.retrieve("large").await;
            assert_eq!(reply.code, 226, "{reply:?}");
            assert!(bytes == large, "{number} got something else");
        }
    }));
    within_the_budget(&gateway, both).await;
    all_given_back(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_downloads_hold_at_most_their_window() {
    let gateway = smallest().start().await;
    gateway.store.put(BUCKET, "large", pattern(30 * MIB, 1));
    let mut readers = Vec::new();
    for _ in 0..8 {
        let mut ftp = gateway.ftp().await;
        let data = narrow_data(&mut ftp).await;
        ftp.expect("RETR large", 150).await;
        readers.push((ftp, data));
    }
    // Eight downloads want 30 MiB each, and 20 MiB exist: reading is limited by what is held.
    let another = async {
        let mut ftp = gateway.ftp().await;
        for number in 0..50 {
            let line = format!("MDTM large-{number}");
            ftp.expect(&line, 550).await;
        }
    };
    within_the_budget(&gateway, another).await;
    for (ftp, data) in readers {
        reset_stream(data);
        ftp.reset();
    }
    all_given_back(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_is_at_most_three_pages_ahead_of_its_reader() {
    const PAGES: usize = 12;
    // What the kernel accepts on the way, at most its largest send buffer (4 MiB).
    const KERNEL: usize = 5;
    let gateway = Gateway::start().await;
    let name = "n".repeat(900);
    for number in 0..PAGES * 1000 {
        gateway
            .store
            .put(BUCKET, &format!("d/{number:05}{name}"), "");
    }
    let mut slow = gateway.ftp().await;
    let mut data = narrow_data(&mut slow).await;
    slow.expect("NLST d", 150).await;
    let mut first = [0; 1000];
    within("the first name", data.read_exact(&mut first))
        .await
        .unwrap();
    // As long as another client needs for all pages in sequence.
    let mut quick = gateway.ftp().await;
    let (text, reply) = quick.list("NLST d").await;
    assert_eq!((text.lines().count(), reply.code), (PAGES * 1000, 226));
    let pages = gateway.store.count("ListObjectsV2");
    assert!(
        pages <= PAGES + 3 + KERNEL,
        "{} pages for a client that has read one name",
        pages - PAGES
    );
    let (rest, end) = read_to_end_deadline(&mut data).await;
    end.unwrap();
    slow.expect_reply(226).await;
    let all = [&first[..], &rest].concat();
    assert!(all == text.into_bytes(), "the slow reader got another list");
}
