//! The length of an upload that is still receiving: it is a different one when the client resumes.

use tokio::io::AsyncWriteExt;

use super::{
    MOVING, NEXT, SENT, STALLED, STORED, empty, gateway, length, next, refused, resumes, running,
    stored,
};
use test_support::ftp::Mode;
use test_support::gateway::BUCKET;
use test_support::transfers::{begin, moved};

/// Bytes of the next version that have arrived when the client resumes.
const MORE: usize = SENT + 50_000;

/// A second run of a job begins while the first one is still sending a new file. It must not end
/// the first one, and no upload has its offset.
#[tokio::test]
async fn an_upload_that_has_moved_on_since_size_is_not_stopped() {
    for command in ["STOR x", "APPE x"] {
        let gateway = empty(MOVING).await;
        let (mut producer, mut data) = running(&gateway).await;
        let mut other = gateway.ftp().await;
        let reported = length(&mut other, "x").await;
        assert_eq!(reported, SENT - 1);
        data.write_all(&next()[SENT..MORE]).await.unwrap();
        moved(&mut producer, MORE).await;
        let rest = format!("REST {reported}");
        let commands = match command {
            "STOR x" => vec![rest.as_str(), command],
            _ => vec![command],
        };
        let text = refused(&mut other, &commands, 450).await;
        assert!(text.contains(&format!("{} bytes", MORE - 1)), "{text}");
        data.write_all(&next()[MORE..]).await.unwrap();
        drop(data);
        producer.expect_reply(226).await;
        assert!(gateway.store.object(BUCKET, "x").unwrap() == next());
        assert_eq!(length(&mut other, "x").await, NEXT);
    }
}

/// The same for one that has stalled again: it is resumed at the length that the refusal names.
#[tokio::test]
async fn an_upload_that_stalls_after_moving_is_resumed_at_its_new_length() {
    let gateway = gateway(STALLED).await;
    let (mut producer, mut data) = running(&gateway).await;
    let mut other = gateway.ftp().await;
    let reported = length(&mut other, "x").await;
    data.write_all(&next()[SENT..MORE]).await.unwrap();
    moved(&mut producer, MORE).await;
    let text = refused(&mut other, &[&format!("REST {reported}"), "STOR x"], 554).await;
    assert!(text.contains(&format!("REST {} ", MORE - 1)), "{text}");
    resumes(&mut other, MORE - 1).await;
    producer.expect_reply(426).await;
    assert!(gateway.store.object(BUCKET, "x").unwrap() == next());
}

/// Old bytes of the object are not bytes that have arrived.
#[tokio::test]
async fn an_append_without_a_byte_is_not_reported() {
    for commands in [&["APPE x"][..], &["REST 100000", "STOR x"]] {
        let gateway = gateway(STALLED).await;
        let mut producer = gateway.ftp().await;
        let (last, before) = commands.split_last().unwrap();
        for command in before {
            producer.expect(command, 350).await;
        }
        let mut data = begin(&mut producer, last, Mode::Passive).await;
        let mut other = gateway.ftp().await;
        assert_eq!(length(&mut other, "x").await, STORED);
        data.write_all(b"more").await.unwrap();
        moved(&mut producer, 4).await;
        let old = if before.is_empty() { STORED } else { 100_000 };
        assert_eq!(length(&mut other, "x").await, old + 3);
        drop(data);
        producer.expect_reply(226).await;
        let expected = [&stored()[..old], b"more"].concat();
        assert!(gateway.store.object(BUCKET, "x").unwrap() == expected);
    }
}
