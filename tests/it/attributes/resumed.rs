//! An upload that is resumed under other attributes stays what it was.

use test_support::ftp::{Mode, reset_stream};
use test_support::gateway::Gateway;
use test_support::transfers::{interrupt, nothing_left, settled, size, upload_in_progress};
use test_support::{MIB, pattern};

use super::{By, KEY, OTHER_KEY, all, customer, described, found};

async fn resume(gateway: &Gateway, whole: &[u8], there: usize) {
    let mut ftp = gateway.ftp().await;
    let from = size(&mut ftp, "a.csv").await;
    assert_eq!(from, there - 1);
    ftp.expect(&format!("REST {from}"), 350).await;
    let reply = ftp.store("a.csv", &whole[from..]).await;
    assert_eq!(reply.code, 226, "{reply:?}");
    assert!(gateway.store.object("files", "a.csv").unwrap() == whole);
    ftp.close().await;
}

/// Of each size: as one PutObject, with a tail next to parts, and broken off twice.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_keeps_the_attributes_that_it_began_with() {
    let none = String::new();
    for (before, after, wanted) in [
        (all(By::Store), none.clone(), Some(By::Store)),
        (all(By::Kms), all(By::Store), Some(By::Kms)),
        (none.clone(), all(By::Customer), None),
        (all(By::Kms), all(By::Customer), Some(By::Kms)),
    ] {
        for length in [70_000, 6 * MIB] {
            let old = Gateway::builder().mount(&before).start().await;
            let new = Gateway::builder().mount(&after).on(&old.store);
            let new = new.start().await;
            let whole = pattern(length + 200_000, 1);
            interrupt(&old, "STOR a.csv", &whole[..length]).await;
            let mut ftp = new.ftp().await;
            let from = size(&mut ftp, "a.csv").await;
            ftp.expect(&format!("REST {from}"), 350).await;
            let more = &whole[from..length + 100_000];
            let data = upload_in_progress(&mut ftp, "STOR a.csv", more).await;
            reset_stream(data);
            ftp.expect_reply(426).await;
            ftp.close().await;
            settled(&new).await;
            resume(&new, &whole, length + 100_000).await;
            match wanted {
                Some(by) => assert_eq!(found(&new, "a.csv"), described(by, "text/csv")),
                None => {
                    let mut found = found(&new, "a.csv");
                    // The SDK's, of a PutObject.
                    found.content_type = None;
                    assert_eq!(found, super::Description::default());
                }
            }
            nothing_left(&new, 0).await;
            new.stop().await;
            old.stop().await;
        }
    }
}

/// Its parts can't be completed with another key: it counts as none, and the client begins anew.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_with_another_customer_key_begins_anew() {
    for length in [70_000, 6 * MIB] {
        for after in [customer(OTHER_KEY), String::new()] {
            let old = Gateway::builder().mount(&customer(KEY)).start().await;
            let new = Gateway::builder().mount(&after).on(&old.store);
            let new = new.start().await;
            let whole = pattern(length + 1000, 1);
            interrupt(&old, "STOR a.csv", &whole[..length]).await;
            let mut ftp = new.ftp().await;
            ftp.expect("TYPE I", 200).await;
            ftp.expect("SIZE a.csv", 550).await;
            ftp.expect(&format!("REST {}", length - 1), 350).await;
            let reply = ftp.upload_with("STOR a.csv", b"x", Mode::Passive).await;
            assert_eq!(reply.code, 554, "{reply:?}");
            // The server with the key still can.
            resume(&old, &whole, length).await;
            interrupt(&old, "STOR a.csv", &whole[..length]).await;
            assert_eq!(ftp.store("a.csv", &whole).await.code, 226);
            assert!(ftp.retrieve("a.csv").await.0 == whole);
            ftp.close().await;
            new.store
                .until("only the object", |store| store.keys("files") == ["a.csv"])
                .await;
            new.store.no_uploads_left().await;
            new.stop().await;
            old.stop().await;
        }
    }
}
