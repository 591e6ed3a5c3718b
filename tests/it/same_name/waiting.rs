//! A session that waits for a name: it answers commands, can be aborted, and gives up in time.

use s3_embedded::Behaviour;
use tokio::io::AsyncWriteExt;

use super::{ended, gateway, pattern, publication, put, waiting};
use test_support::MIB;
use test_support::faults::Fault;
use test_support::ftp::Mode;
use test_support::gateway::{BUCKET, Gateway};
use test_support::transfers::{begin, settled_but};

/// Less than a part, and more than one.
const SIZES: [usize; 2] = [70_000, 6 * MIB];

#[tokio::test]
async fn a_waiting_upload_answers_and_stays_resumable_after_abor() {
    for bytes in SIZES {
        let gateway = gateway(&Behaviour::default(), "").await;
        let store = &gateway.store;
        let (mut holds, mut waits) = (gateway.ftp().await, gateway.ftp().await);
        // A delete holds the name, so that no other version ends the interrupted upload.
        assert_eq!(holds.store("x", b"old").await.code, 226);
        // Otherwise it might be newer than the upload, which would then be discarded.
        store.a_while();
        let held = store.fail("DeleteObject").key("x").with(Fault::Stall);
        holds.send("DELE x").await;
        held.hit().await;
        let whole = pattern(bytes, 1);
        let mut data = begin(&mut waits, "STOR x", Mode::Passive).await;
        data.write_all(&whole).await.unwrap();
        drop(data);
        waiting(&gateway, 1).await;
        waits.expect("NOOP", 200).await;
        let status = waits.expect("STAT", 211).await;
        assert!(
            status.lines.join("\n").contains("another session"),
            "{status:?}"
        );
        waits.send("ABOR").await;
        waits.expect_reply(426).await;
        waits.expect_reply(226).await;
        assert_eq!(gateway.server.names().waiting(), 0);
        held.release();
        holds.expect_reply(250).await;
        settled_but(&gateway, 0).await;
        assert!(store.object(BUCKET, "x").is_none());
        let size = waits.expect("SIZE x", 213).await;
        assert_eq!(size.text(), (bytes - 1).to_string());
        waits.expect(&format!("REST {}", bytes - 1), 350).await;
        let reply = put(&mut waits, "STOR x", &whole[bytes - 1..]).await;
        assert_eq!(reply.code, 226, "{reply:?}");
        assert!(store.object(BUCKET, "x") == Some(whole));
        ended(gateway, [holds, waits]).await;
    }
}

#[tokio::test]
async fn a_command_that_waits_too_long_is_refused_and_an_upload_stays_resumable() {
    for bytes in SIZES {
        let gateway = Gateway::builder()
            .with("[timeouts]\nsame_name = \"300ms\"")
            .start()
            .await;
        let store = &gateway.store;
        let (mut holds, mut waits) = (gateway.ftp().await, gateway.ftp().await);
        assert_eq!(holds.store("x", b"old").await.code, 226);
        // Otherwise it might be newer than the upload, which would then be discarded.
        store.a_while();
        let held = store.fail("DeleteObject").key("x").with(Fault::Stall);
        holds.send("DELE x").await;
        held.hit().await;
        let whole = pattern(bytes, 1);
        let reply = put(&mut waits, "STOR x", &whole).await;
        assert_eq!(reply.code, 450, "{reply:?}");
        assert!(reply.text().contains("another session"), "{reply:?}");
        let reply = waits.expect("DELE x", 450).await;
        assert!(reply.text().contains("another session"), "{reply:?}");
        held.release();
        holds.expect_reply(250).await;
        assert!(store.object(BUCKET, "x").is_none());
        let size = waits.expect("SIZE x", 213).await;
        assert_eq!(size.text(), (bytes - 1).to_string());
        waits.expect(&format!("REST {}", bytes - 1), 350).await;
        let reply = put(&mut waits, "STOR x", &whole[bytes - 1..]).await;
        assert_eq!(reply.code, 226, "{reply:?}");
        assert!(store.object(BUCKET, "x") == Some(whole));
        ended(gateway, [holds, waits]).await;
    }
}

/// First come, first served: three uploads of one name are published in the order in which they
/// were complete.
#[tokio::test]
async fn sessions_that_wait_come_in_their_order() {
    let gateway = gateway(&Behaviour::garage(), "").await;
    let store = &gateway.store;
    let held = store.fail(publication(1)).key("x").with(Fault::Stall);
    let mut sessions = Vec::new();
    for number in 0..4 {
        let mut ftp = gateway.ftp().await;
        let mut data = begin(&mut ftp, "STOR x", Mode::Passive).await;
        data.write_all(&[b'0' + number]).await.unwrap();
        drop(data);
        match number {
            0 => held.hit().await,
            _ => waiting(&gateway, usize::from(number)).await,
        }
        sessions.push(ftp);
    }
    held.release();
    for ftp in &mut sessions {
        ftp.expect_reply(226).await;
    }
    assert_eq!(store.object(BUCKET, "x").unwrap(), b"3");
    for ftp in sessions {
        ftp.close().await;
    }
    gateway.stop().await;
}
