//! During a transfer STAT, NOOP and ABOR are answered at once, all other commands after it and in
//! order (RFC 959, 4.1.3).

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use test_support::faults::Fault;
use test_support::ftp::{Ftp, Mode, read_to_end_deadline};
use test_support::gateway::{BUCKET, Gateway, PASSWORD, USER};
use test_support::transfers::{begin, upload_in_progress};
use test_support::{MIB, pattern, within};

#[tokio::test]
async fn noop_and_stat_are_answered_at_once() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let mut data = begin(&mut ftp, "STOR x", Mode::Passive).await;
    ftp.expect("NOOP", 200).await;
    data.write_all(b"12345").await.unwrap();
    within("the progress", async {
        loop {
            let reply = ftp.expect("STAT", 211).await;
            let status = reply.lines.join("\n");
            assert!(status.contains("STOR /x"), "{status}");
            if status.contains("5 bytes") {
                return;
            }
        }
    })
    .await;
    drop(data);
    ftp.expect_reply(226).await;
    let status = ftp.expect("STAT", 211).await.lines.join("\n");
    assert!(status.contains("No transfer"), "{status}");
    ftp.in_step().await;
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn commands_sent_during_a_transfer_are_answered_after_it_in_order() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let data = begin(&mut ftp, "STOR x", Mode::Passive).await;
    ftp.send_raw(
        b"PWD\r\nSYST\r\nXYZZY\r\nTYPE I\r\nSIZE x\r\nNOOP\r\nSTAT x\r\nRNFR x\r\nRNTO y\r\n",
    )
    .await;
    drop(data);
    // The NOOP waits too, because it comes after commands that wait.
    for code in [226, 257, 215, 500, 200, 213, 200, 213, 350, 250] {
        ftp.expect_reply(code).await;
    }
    ftp.in_step().await;
    assert_eq!(gateway.store.keys(BUCKET), ["y"]);
    ftp.close().await;
    gateway.stop().await;
}

/// More commands than the server queues, and a transfer among them.
#[tokio::test]
async fn many_pipelined_commands_lose_none_and_keep_their_order() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let data = begin(&mut ftp, "STOR x", Mode::Passive).await;
    let mut lines = String::new();
    for _ in 0..150 {
        lines.push_str("PWD\r\nSYST\r\n");
    }
    ftp.send_raw(lines.as_bytes()).await;
    drop(data);
    ftp.expect_reply(226).await;
    for _ in 0..150 {
        ftp.expect_reply(257).await;
        ftp.expect_reply(215).await;
    }
    ftp.in_step().await;
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn quit_waits_for_the_transfer() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let mut data = begin(&mut ftp, "STOR x", Mode::Passive).await;
    ftp.send("QUIT").await;
    data.write_all(b"all of it").await.unwrap();
    drop(data);
    ftp.expect_reply(226).await;
    ftp.expect_reply(221).await;
    ftp.expect_end().await;
    assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"all of it");
    gateway.stop().await;
}

#[tokio::test]
async fn rein_waits_for_the_transfer() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let mut data = begin(&mut ftp, "STOR x", Mode::Passive).await;
    ftp.send("REIN").await;
    ftp.send("PWD").await;
    data.write_all(b"all of it").await.unwrap();
    drop(data);
    ftp.expect_reply(226).await;
    ftp.expect_reply(220).await;
    ftp.expect_reply(530).await;
    ftp.login(USER, PASSWORD).await;
    ftp.in_step().await;
    assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"all of it");
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn abor_stops_an_upload_and_leaves_the_old_object() {
    let gateway = Gateway::builder()
        .mount("interrupted = \"abort\"")
        .start()
        .await;
    gateway.store.put(BUCKET, "x", "old");
    let mut ftp = gateway.ftp().await;
    for length in [0, 10, 11 * MIB] {
        for synch in [false, true] {
            gateway.store.reset_counts();
            let mut data = begin(&mut ftp, "STOR x", Mode::Passive).await;
            data.write_all(&pattern(length, 1)).await.unwrap();
            if length > 10 * MIB {
                gateway.store.wait_for("UploadPart", 1).await;
            }
            abort(&mut ftp, synch).await;
            ftp.expect_reply(426).await;
            ftp.expect_reply(226).await;
            ftp.in_step().await;
            gateway.store.no_uploads_left().await;
            assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"old");
        }
    }
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn abor_stops_a_download_and_a_listing() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "big", pattern(24 * MIB, 2));
    for number in 0..1100 {
        gateway.store.put(BUCKET, &format!("many/{number}"), "");
    }
    let mut ftp = gateway.ftp().await;
    for synch in [false, true] {
        let mut data = begin(&mut ftp, "RETR big", Mode::Passive).await;
        data.read_exact(&mut [0; 1000]).await.unwrap();
        abort(&mut ftp, synch).await;
        ftp.expect_reply(426).await;
        ftp.expect_reply(226).await;
        ftp.in_step().await;
        let (bytes, _) = read_to_end_deadline(&mut data).await;
        assert!(bytes.len() < 24 * MIB - 1000, "all was sent");

        // The second page of a listing of two does not arrive.
        let second = gateway.store.fail("ListObjectsV2").nth(2);
        let stalled = second.with(Fault::Stall);
        let data = begin(&mut ftp, "MLSD many", Mode::Passive).await;
        stalled.hit().await;
        abort(&mut ftp, synch).await;
        ftp.expect_reply(426).await;
        ftp.expect_reply(226).await;
        ftp.in_step().await;
        stalled.remove();
        drop(data);
    }
    ftp.close().await;
    gateway.stop().await;
}

async fn abort(ftp: &mut Ftp, synch: bool) {
    if synch {
        ftp.send_abor_with_synch().await;
    } else {
        ftp.send("ABOR").await;
    }
}

#[tokio::test]
async fn abor_ends_the_wait_for_a_data_connection() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "x", "old");
    let mut ftp = gateway.ftp().await;
    for line in ["STOR x", "RETR x", "LIST"] {
        ftp.epsv().await;
        ftp.send(line).await;
        ftp.send("ABOR").await;
        ftp.expect_reply(426).await;
        ftp.expect_reply(226).await;
        ftp.in_step().await;
    }
    assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"old");
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn abor_without_a_transfer_is_226_and_drops_the_data_set_up() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    ftp.expect("ABOR", 226).await;
    ftp.in_step().await;
    let mut data: TcpStream = ftp.data_passive().await;
    ftp.expect("ABOR", 226).await;
    let (bytes, _) = read_to_end_deadline(&mut data).await;
    assert!(bytes.is_empty());
    ftp.expect("LIST", 425).await;
    ftp.in_step().await;
    ftp.close().await;
    gateway.stop().await;
}

/// After the permit to publish an ABOR is too late.
#[tokio::test]
async fn an_abor_that_comes_too_late_gets_two_226() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let publishing = gateway.store.fail("PutObject").with(Fault::Stall);
    let mut data = begin(&mut ftp, "STOR x", Mode::Passive).await;
    data.write_all(b"whole").await.unwrap();
    drop(data);
    publishing.hit().await;
    ftp.send("ABOR").await;
    ftp.expect("NOOP", 200).await;
    publishing.release();
    ftp.expect_reply(226).await;
    ftp.expect_reply(226).await;
    ftp.in_step().await;
    assert_eq!(gateway.store.object(BUCKET, "x").unwrap(), b"whole");
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_too_long_during_an_upload_gets_the_final_reply_and_500() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let data = upload_in_progress(&mut ftp, "STOR a", b"bytes").await;
    ftp.send_raw(&[b'x'; 5000]).await;
    ftp.expect_reply(426).await;
    ftp.expect_reply(500).await;
    ftp.expect_end().await;
    drop(data);
    assert_eq!(gateway.store.object(BUCKET, "a"), None);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_come_in_the_order_of_their_commands_during_a_transfer() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let mut data = upload_in_progress(&mut ftp, "STOR a", b"bytes").await;
    ftp.expect("NOOP", 200).await;
    ftp.send_raw(b"PWD\r\nNOOP\r\nSTAT\r\n").await;
    data.shutdown().await.unwrap();
    for code in [226, 257, 200, 211] {
        ftp.expect_reply(code).await;
    }
    ftp.in_step().await;
    ftp.close().await;
    gateway.stop().await;
}
