//! How a control connection ends during a transfer, and how that ends the transfer.
//!
//! Client and gateway run on one thread here: what a test does without an await reaches the gateway
//! in one go.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use test_support::ftp::{Ftp, Mode, port_command, read_to_end_deadline, reset_stream};
use test_support::gateway::{BUCKET, Gateway, PASSWORD, USER};
use test_support::transfers::{
    begin, moved, nothing_left, sessions_ended, settled, upload_in_progress,
};
use test_support::{MIB, pattern, within};

/// One PutObject, and a first part that is in the store already.
const SIZES: [usize; 2] = [70_000, 6 * MIB];

/// When a client sends QUIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quit {
    Never,
    /// In one segment with the transfer command.
    WithTheCommand,
    BeforeTheEnd,
    AfterTheEnd,
}

/// How its control connection ends, if not said otherwise after the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaves {
    HalfClosesBefore,
    HalfCloses,
    Closes,
    ResetsBefore,
    Resets,
}

/// An upload by `command` that ends in this way; the session, if replies are still read, and the
/// data connection if it has not ended yet.
async fn upload(
    gateway: &Gateway,
    command: &str,
    bytes: &[u8],
    quit: Quit,
    leaves: Leaves,
) -> Option<(Ftp, Option<TcpStream>)> {
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    if let Some((rest, _)) = command
        .split_once(' ')
        .filter(|(first, _)| first.parse::<u64>().is_ok())
    {
        ftp.expect(&format!("REST {rest}"), 350).await;
    }
    let command = command.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
    let mut data = ftp.data_passive().await;
    if quit == Quit::WithTheCommand {
        ftp.send_raw(format!("{command}\r\nQUIT\r\n").as_bytes())
            .await;
        ftp.expect_reply(150).await;
    } else {
        ftp.expect(command, 150).await;
    }
    data.write_all(bytes).await.unwrap();
    if quit != Quit::WithTheCommand {
        moved(&mut ftp, bytes.len()).await;
    }
    if quit == Quit::BeforeTheEnd {
        // The answer to the first shows that the second has been read.
        ftp.send_raw(b"STAT\r\nQUIT\r\n").await;
        ftp.expect_reply(211).await;
    }
    match leaves {
        Leaves::HalfClosesBefore => {
            ftp.end_sending().await;
            return Some((ftp, Some(data)));
        }
        Leaves::ResetsBefore => {
            ftp.reset();
            end(data).await;
            return None;
        }
        _ => {}
    }
    end(data).await;
    if quit == Quit::AfterTheEnd {
        ftp.send("QUIT").await;
    }
    match leaves {
        Leaves::HalfCloses => ftp.end_sending().await,
        Leaves::Closes => {
            ftp.close().await;
            return None;
        }
        Leaves::Resets => {
            ftp.reset();
            return None;
        }
        Leaves::HalfClosesBefore | Leaves::ResetsBefore => unreachable!(),
    }
    Some((ftp, None))
}

/// A clean end. The gateway may have cut the upload and closed its side first.
async fn end(mut data: TcpStream) {
    let _ = data.shutdown().await;
    drop(data);
}

/// The final reply of a half-closed session, and 221 if QUIT was sent.
async fn farewell((mut ftp, data): (Ftp, Option<TcpStream>), code: u16, quit: Quit) {
    // If the upload breaks off, the data connection is still open.
    let data = match data {
        Some(data) if code == 226 => {
            end(data).await;
            None
        }
        data => data,
    };
    let reply = ftp.expect_reply(code).await;
    if code == 426 {
        assert!(reply.text().contains("control connection"), "{reply:?}");
    }
    if quit != Quit::Never {
        ftp.expect_reply(221).await;
    }
    ftp.expect_end().await;
    drop(data);
}

#[tokio::test]
async fn only_a_quit_and_a_clean_end_after_the_data_publish_an_upload() {
    for size in SIZES {
        for quit in [
            Quit::Never,
            Quit::WithTheCommand,
            Quit::BeforeTheEnd,
            Quit::AfterTheEnd,
        ] {
            for leaves in [
                Leaves::HalfClosesBefore,
                Leaves::HalfCloses,
                Leaves::Closes,
                Leaves::ResetsBefore,
                Leaves::Resets,
            ] {
                let before = matches!(leaves, Leaves::HalfClosesBefore | Leaves::ResetsBefore);
                if before && quit == Quit::AfterTheEnd {
                    continue;
                }
                let reset = matches!(leaves, Leaves::ResetsBefore | Leaves::Resets);
                let whole = quit == Quit::AfterTheEnd && !reset;
                let gateway = Gateway::start().await;
                gateway.store.put(BUCKET, "x", "old");
                let bytes = pattern(size, 1);
                if let Some(session) = upload(&gateway, "STOR x", &bytes, quit, leaves).await {
                    farewell(session, if whole { 226 } else { 426 }, quit).await;
                }
                settled(&gateway).await;
                let found = gateway.store.object(BUCKET, "x").unwrap();
                let expected: &[u8] = if whole { &bytes } else { b"old" };
                assert!(
                    found == expected,
                    "{size} {quit:?} {leaves:?}: {} bytes",
                    found.len()
                );
                gateway.stop().await;
            }
        }
    }
}

#[tokio::test]
async fn appends_and_restarts_follow_the_same_rules() {
    for (command, old) in [
        ("APPE x", 10),
        ("APPE x", 6 * MIB),
        ("4 STOR x", 10),
        ("4 STOR x", 6 * MIB),
    ] {
        for (quit, leaves) in [
            (Quit::WithTheCommand, Leaves::ResetsBefore),
            (Quit::WithTheCommand, Leaves::Closes),
            (Quit::BeforeTheEnd, Leaves::HalfClosesBefore),
            (Quit::AfterTheEnd, Leaves::Resets),
        ] {
            let gateway = Gateway::start().await;
            let old = pattern(old, 2);
            gateway.store.put(BUCKET, "x", &old);
            if let Some(session) = upload(&gateway, command, b"more", quit, leaves).await {
                farewell(session, 426, quit).await;
            }
            settled(&gateway).await;
            assert!(
                gateway.store.object(BUCKET, "x").unwrap() == old,
                "{command} {quit:?} {leaves:?}"
            );
            gateway.stop().await;
        }
    }
}

/// The unfinished upload of a half-closed client can be resumed by its user.
#[tokio::test]
async fn bytes_of_a_half_closed_client_can_be_resumed() {
    for size in SIZES {
        let gateway = Gateway::start().await;
        let bytes = pattern(size, 1);
        let session = upload(&gateway, "STOR x", &bytes, Quit::Never, Leaves::HalfCloses).await;
        farewell(session.unwrap(), 426, Quit::Never).await;
        let mut ftp = gateway.ftp().await;
        let kept: usize = ftp.expect("SIZE x", 213).await.text().parse().unwrap();
        assert!(kept == size || kept + 1 == size, "{kept}");
        gateway.stop().await;
    }
}

/// Each way to leave, on a mount that publishes without a control connection: only the data
/// connection counts.
#[tokio::test]
async fn with_on_control_loss_publish_only_the_data_connection_counts() {
    for quit in [Quit::Never, Quit::WithTheCommand] {
        for leaves in [
            Leaves::HalfClosesBefore,
            Leaves::HalfCloses,
            Leaves::ResetsBefore,
            Leaves::Resets,
        ] {
            let gateway = Gateway::builder()
                .mount("on_control_loss = \"publish\"")
                .start()
                .await;
            let bytes = pattern(SIZES[0], 1);
            if let Some(session) = upload(&gateway, "STOR x", &bytes, quit, leaves).await {
                farewell(session, 226, quit).await;
            }
            settled(&gateway).await;
            assert!(
                gateway.store.object(BUCKET, "x").unwrap() == bytes,
                "{quit:?} {leaves:?}"
            );
            gateway.stop().await;
        }
    }
}

#[tokio::test]
async fn commands_that_wait_are_answered_after_a_half_close() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let mut data = begin(&mut ftp, "STOR x", Mode::Passive).await;
    data.write_all(b"bytes").await.unwrap();
    moved(&mut ftp, 5).await;
    ftp.send_raw(b"PWD\r\nSYST\r\n").await;
    ftp.end_sending().await;
    for code in [426, 257, 215] {
        ftp.expect_reply(code).await;
    }
    ftp.expect_end().await;
    sessions_ended(&gateway).await;
    assert_eq!(gateway.store.object(BUCKET, "x"), None);
}

/// A download or a listing publishes nothing: after a QUIT it is served to its end, whenever the
/// client closes its side.
#[tokio::test]
async fn a_download_of_a_half_closed_client_has_one_final_reply() {
    for quit in [false, true] {
        let gateway = Gateway::start().await;
        let bytes = pattern(16 * MIB, 1);
        gateway.store.put(BUCKET, "x", &bytes);
        let mut ftp = gateway.ftp().await;
        ftp.expect("TYPE I", 200).await;
        let mut data = begin(&mut ftp, "RETR x", Mode::Passive).await;
        data.read_exact(&mut [0; 1000]).await.unwrap();
        if quit {
            ftp.send("QUIT").await;
        }
        ftp.end_sending().await;
        let (got, end) = read_to_end_deadline(&mut data).await;
        if quit {
            assert!(end.is_ok() && got.len() == bytes.len() - 1000);
            drop(data);
            ftp.expect_reply(226).await;
            ftp.expect_reply(221).await;
        } else {
            end.unwrap_err();
            ftp.expect_reply(426).await;
        }
        ftp.expect_end().await;
        nothing_left(&gateway, 0).await;
        gateway.stop().await;
    }
    for (command, code) in [("LIST", 226), ("NLST", 226), ("MLSD", 226)] {
        let gateway = Gateway::start().await;
        gateway.store.put(BUCKET, "x", "1");
        let mut ftp = gateway.ftp().await;
        let mut data = ftp.data_passive().await;
        ftp.send_raw(format!("{command}\r\nQUIT\r\n").as_bytes())
            .await;
        ftp.end_sending().await;
        ftp.expect_reply(150).await;
        let (got, end) = read_to_end_deadline(&mut data).await;
        assert!(end.is_ok() && !got.is_empty());
        drop(data);
        ftp.expect_reply(code).await;
        ftp.expect_reply(221).await;
        ftp.expect_end().await;
        gateway.stop().await;
    }
}

#[tokio::test]
async fn a_reset_after_a_quit_ends_a_download() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "x", pattern(16 * MIB, 1));
    let mut ftp = gateway.ftp().await;
    let mut data = begin(&mut ftp, "RETR x", Mode::Passive).await;
    data.read_exact(&mut [0; 1000]).await.unwrap();
    ftp.send("QUIT").await;
    ftp.reset();
    let (_, end) = read_to_end_deadline(&mut data).await;
    end.unwrap_err();
    nothing_left(&gateway, 0).await;
    gateway.stop().await;
}

/// The shortest time from the end of the data to the 226 for an upload with few last bytes.
async fn settles_after(ftp: &mut Ftp, command: &str) -> Duration {
    let mut data = begin(ftp, command, Mode::Passive).await;
    data.write_all(b"a few").await.unwrap();
    moved(ftp, 5).await;
    let ended = Instant::now();
    data.shutdown().await.unwrap();
    ftp.expect_reply(226).await;
    ended.elapsed()
}

/// A busy machine closes the sockets of a dying client one after another: an upload of several
/// parts waits for 50 ms, however few of its bytes came in this session.
#[tokio::test]
async fn old_and_resumed_bytes_count_for_the_settle_window() {
    let least = Duration::from_millis(50);
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "appended", pattern(6 * MIB, 1));
    gateway.store.put(BUCKET, "restarted", pattern(6 * MIB, 1));
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    let took = settles_after(&mut ftp, "APPE appended").await;
    assert!(took >= least, "appended: {took:?}");
    ftp.expect(&format!("REST {}", 6 * MIB), 350).await;
    let took = settles_after(&mut ftp, "STOR restarted").await;
    assert!(took >= least, "restarted: {took:?}");
    let mut data = begin(&mut ftp, "STOR resumed", Mode::Passive).await;
    data.write_all(&pattern(11 * MIB, 1)).await.unwrap();
    moved(&mut ftp, 11 * MIB).await;
    gateway.store.wait_for("UploadPart", 2).await;
    reset_stream(data);
    ftp.expect_reply(426).await;
    let kept = ftp.expect("SIZE resumed", 213).await.text().to_owned();
    assert!(kept.parse::<usize>().unwrap() > 5 * MIB, "{kept}");
    ftp.expect(&format!("REST {kept}"), 350).await;
    let took = settles_after(&mut ftp, "STOR resumed").await;
    assert!(took >= least, "resumed: {took:?}");
    gateway.stop().await;
}

/// A FIN that was lost is sent again after 200 ms or more: `timeouts.settle_min` can wait for it.
#[tokio::test]
async fn the_least_settle_window_can_be_configured() {
    let gateway = Gateway::builder()
        .with("[timeouts]\nsettle_min = \"400ms\"")
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    let took = settles_after(&mut ftp, "STOR x").await;
    assert!(took >= Duration::from_millis(400), "{took:?}");
    // An end within the window is seen, whatever the round trip.
    let mut data = begin(&mut ftp, "STOR y", Mode::Passive).await;
    data.write_all(b"half").await.unwrap();
    moved(&mut ftp, 4).await;
    data.shutdown().await.unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    ftp.close().await;
    settled(&gateway).await;
    assert_eq!(gateway.store.object(BUCKET, "y"), None);
    gateway.stop().await;
}

/// ffmpeg closes its control connection first, and no file arrives: the log says why.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_names_the_option_for_clients_that_leave_without_quit() {
    let mut process = test_support::process::Process::start("").await;
    let mut ftp = process.ftp().await;
    let mut data = begin(&mut ftp, "STOR out.ts", Mode::Passive).await;
    data.write_all(b"bytes").await.unwrap();
    moved(&mut ftp, 5).await;
    ftp.close().await;
    let _ = data.shutdown().await;
    process.logged("on_control_loss = \\\"publish\\\"").await;
    // An upload that ends in another way does not concern that option.
    let mut ftp = process.ftp().await;
    let data = begin(&mut ftp, "STOR other", Mode::Passive).await;
    ftp.expect("ABOR", 426).await;
    ftp.expect_reply(226).await;
    drop(data);
    ftp.close().await;
    let log = process.stop().await;
    assert_eq!(log.matches("on_control_loss").count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_half_closes_after_a_quit_gets_its_replies() {
    let gateway = Gateway::start().await;
    let control = std::net::TcpStream::connect(gateway.address).unwrap();
    control.set_nonblocking(true).unwrap();
    let twin = control.try_clone().unwrap();
    let mut ftp = Ftp::over(TcpStream::from_std(control).unwrap());
    ftp.expect_reply(220).await;
    ftp.login(USER, PASSWORD).await;
    let mut data = upload_in_progress(&mut ftp, "STOR a", b"bytes").await;
    data.shutdown().await.unwrap();
    ftp.send_raw(b"PWD\r\nQUIT\r\n").await;
    twin.shutdown(Shutdown::Write).unwrap();
    ftp.expect_reply(226).await;
    ftp.expect_reply(257).await;
    ftp.expect_reply(221).await;
    ftp.expect_end().await;
    assert_eq!(gateway.store.object(BUCKET, "a").unwrap(), b"bytes");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quit_queued_before_a_transfer_does_not_publish_it() {
    let gateway = Gateway::start().await;
    let mut ftp = gateway.ftp().await;
    let mut first = upload_in_progress(&mut ftp, "STOR first", b"bytes").await;
    let listener = tokio::net::TcpListener::bind((ftp.local_addr().ip(), 0))
        .await
        .unwrap();
    let port = port_command(listener.local_addr().unwrap());
    ftp.send_raw(format!("{port}\r\nSTOR second\r\nQUIT\r\n").as_bytes())
        .await;
    first.shutdown().await.unwrap();
    let (mut second, _) = within("the second data connection", listener.accept())
        .await
        .unwrap();
    ftp.expect_reply(226).await;
    ftp.expect_reply(200).await;
    ftp.expect_reply(150).await;
    second.write_all(b"bytes").await.unwrap();
    ftp.close().await;
    let _ = second.shutdown().await;
    settled(&gateway).await;
    assert!(gateway.store.object(BUCKET, "first").is_some());
    assert_eq!(gateway.store.object(BUCKET, "second"), None);
    gateway.stop().await;
}
