//! Nothing truncated is ever published. However an upload is cut, the old object stays as it was,
//! to the byte, and nothing of the new one is left; and a whole file is published even if the
//! client leaves in a hurry.
//!
//! Client and gateway run on one thread here: what a test does without an await reaches the gateway
//! in one go.

mod abor;
mod downloads;
mod quit;
mod settle_window;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use test_support::faults::Fault;
use test_support::ftp::{Ftp, Mode, read_to_end_deadline, reset_stream};
use test_support::gateway::{BUCKET, Gateway};
use test_support::transfers::{begin, moved, nothing_left};
use test_support::{MIB, pattern, within};

const SMALL: usize = 70_000;
/// The first part (5 MiB) is in the store, the second one is being filled.
const LARGE: usize = 6 * MIB;

/// Size, old object, mode.
type Case = (usize, Option<&'static str>, Mode);

/// Small and large, over an old object and over none, passive and active.
const CASES: [Case; 5] = [
    (SMALL, Some("old"), Mode::Passive),
    (SMALL, None, Mode::Active),
    (LARGE, None, Mode::Pasv),
    (LARGE, Some("old"), Mode::Eprt),
    (0, Some("old"), Mode::Passive),
];

/// The small ones: for variants of a cut.
const FEW: &[Case] = CASES.split_at(2).0;

/// Cuts an upload, in each of the cases, after the gateway has received all bytes so far. `cut`
/// returns the control connection if the session continues.
async fn nothing_is_published_by(config: &str, cut: impl AsyncFn(Ftp, TcpStream) -> Option<Ftp>) {
    nothing_is_published(&CASES, config, cut).await;
}

async fn nothing_is_published(
    cases: &[Case],
    config: &str,
    cut: impl AsyncFn(Ftp, TcpStream) -> Option<Ftp>,
) {
    for &(size, old, mode) in cases {
        // tests/it/resume tests what can be resumed; here nothing may be left.
        let gateway = Gateway::builder()
            .with(config)
            .mount("interrupted = \"abort\"")
            .start()
            .await;
        let store = &gateway.store;
        if let Some(old) = old {
            store.put(BUCKET, "x", old);
        }
        let mut ftp = gateway.ftp().await;
        let data = send_x(&gateway, &mut ftp, mode, size).await;
        if let Some(mut ftp) = cut(ftp, data).await {
            ftp.in_step().await;
            nothing_left(&gateway, 1).await;
            // The session continues, whatever the replies were.
            let reply = ftp.store("next", b"whole").await;
            assert_eq!(reply.code, 226, "{}", ftp.transcript());
            ftp.close().await;
        }
        nothing_left(&gateway, 0).await;
        let found = store.object(BUCKET, "x");
        assert_eq!(found.as_deref(), old.map(str::as_bytes), "{size} {mode:?}");
        assert_eq!(store.count("CompleteMultipartUpload"), 0);
        let puts = store.requests();
        let mut puts = puts.iter().filter(|r| r.operation == "PutObject");
        assert!(puts.all(|put| put.key == "next"), "{size} {mode:?}");
    }
}

/// An upload of `x` of which the gateway has received these bytes; the first part is in the store.
async fn send_x(gateway: &Gateway, ftp: &mut Ftp, mode: Mode, size: usize) -> TcpStream {
    let mut data = begin(ftp, "STOR x", mode).await;
    data.write_all(&pattern(size, 1)).await.unwrap();
    moved(ftp, size).await;
    if size == LARGE {
        gateway.store.wait_for("UploadPart", 1).await;
    }
    data
}

#[tokio::test]
async fn a_reset_of_the_data_connection() {
    nothing_is_published_by("", async |mut ftp, data| {
        reset_stream(data);
        let reply = ftp.expect_reply(426).await;
        assert!(reply.text().contains("data connection broken"), "{reply:?}");
        Some(ftp)
    })
    .await;
}

#[tokio::test]
async fn a_control_connection_closed_in_the_middle() {
    nothing_is_published_by("", async |ftp, mut data| {
        ftp.close().await;
        // The gateway ends the transfer by itself.
        let _ = read_to_end_deadline(&mut data).await;
        None
    })
    .await;
}

#[tokio::test]
async fn a_control_connection_closed_right_before_the_data_ends() {
    nothing_is_published_by("", async |ftp, mut data| {
        ftp.close().await;
        data.shutdown().await.unwrap();
        None
    })
    .await;
}

#[tokio::test]
async fn a_control_connection_closed_right_after_the_data_ends() {
    nothing_is_published_by("", async |ftp, mut data| {
        data.shutdown().await.unwrap();
        ftp.close().await;
        None
    })
    .await;
}

#[tokio::test]
async fn a_control_connection_closed_after_unread_commands() {
    for (unread, cases) in [
        ("NOOP\r\n", &CASES[..]),
        ("PWD\r\nSTAT\r\n", FEW),
        ("NOO", FEW),
        ("QUI", FEW),
    ] {
        nothing_is_published(cases, "", async |mut ftp, mut data| {
            data.shutdown().await.unwrap();
            ftp.send_raw(unread.as_bytes()).await;
            ftp.close().await;
            None
        })
        .await;
    }
}

#[tokio::test]
async fn a_control_connection_reset_in_the_middle() {
    nothing_is_published_by("", async |ftp, mut data| {
        ftp.reset();
        let _ = read_to_end_deadline(&mut data).await;
        None
    })
    .await;
}

#[tokio::test]
async fn a_control_connection_reset_right_before_or_after_the_data_ends() {
    nothing_is_published_by("", async |ftp, mut data| {
        ftp.reset();
        data.shutdown().await.unwrap();
        None
    })
    .await;
    nothing_is_published_by("", async |ftp, mut data| {
        data.shutdown().await.unwrap();
        ftp.reset();
        None
    })
    .await;
}

#[tokio::test]
async fn a_client_that_is_killed() {
    // The kernel closes its sockets in the order of their numbers, whichever that is.
    nothing_is_published_by("", async |ftp, data| {
        drop(data);
        drop(ftp);
        None
    })
    .await;
    nothing_is_published_by("", async |ftp, data| {
        drop(ftp);
        drop(data);
        None
    })
    .await;
}

/// The forms in which clients send it.
#[derive(Debug, Clone, Copy)]
enum Abor {
    Plain,
    Synch,
    Urgent,
}

const ABORS: [Abor; 3] = [Abor::Plain, Abor::Synch, Abor::Urgent];

impl Abor {
    /// The cases to try it in.
    fn cases(self) -> &'static [Case] {
        if matches!(self, Abor::Plain) {
            &CASES
        } else {
            FEW
        }
    }

    async fn send(self, ftp: &mut Ftp) {
        match self {
            Abor::Plain => ftp.send("ABOR").await,
            Abor::Synch => ftp.send_abor_with_synch().await,
            Abor::Urgent => ftp.send_urgent(b"ABOR\r\n").await,
        }
    }
}

#[tokio::test]
async fn a_client_that_stalls() {
    nothing_is_published_by(
        "[timeouts]\ndata_stall = \"1500ms\"",
        async |mut ftp, data| {
            let reply = ftp.expect_reply(426).await;
            assert!(reply.text().contains("no data moved"), "{reply:?}");
            drop(data);
            Some(ftp)
        },
    )
    .await;
}

#[tokio::test]
async fn a_command_line_that_is_too_long() {
    nothing_is_published_by("", async |mut ftp, data| {
        ftp.send_raw(&[b'a'; 10_000]).await;
        let reply = ftp.expect_reply(426).await;
        assert!(reply.text().contains("too long"), "{reply:?}");
        ftp.expect_reply(500).await;
        ftp.expect_end().await;
        drop(data);
        None
    })
    .await;
}

#[tokio::test]
async fn the_end_of_the_servers_grace_period() {
    for (size, old, mode) in CASES {
        let gateway = Gateway::builder().with("[timeouts]\nshutdown_grace = \"50ms\"");
        let gateway = gateway.mount("interrupted = \"abort\"").start().await;
        if let Some(old) = old {
            gateway.store.put(BUCKET, "x", old);
        }
        let mut ftp = gateway.ftp().await;
        let _data = send_x(&gateway, &mut ftp, mode, size).await;
        let budget = gateway.server.budget().clone();
        let client = async {
            let reply = ftp.expect_reply(426).await;
            assert!(reply.text().contains("shutting down"), "{reply:?}");
            ftp.expect_reply(421).await;
            ftp.expect_end().await;
            ftp.close().await;
        };
        let (store, ()) = within("the server's end", async {
            tokio::join!(gateway.stop(), client)
        })
        .await;
        assert_eq!(store.open_uploads().len(), 0);
        assert_eq!(budget.in_use(), 0);
        let found = store.object(BUCKET, "x");
        assert_eq!(found.as_deref(), old.map(str::as_bytes), "{size} {mode:?}");
    }
}

#[tokio::test]
async fn a_client_that_stalls_while_others_wait_for_its_memory() {
    // Memory for two parts, in addition to what a transfer begins with: the third one waits.
    let gateway = Gateway::builder()
        .with("[memory]\nbudget = \"20MiB\"\n[timeouts]\ndata_stall = \"10m\"")
        .mount("interrupted = \"abort\"")
        .start()
        .await;
    // What they have sent cannot be stored in the meantime.
    let rule = gateway.store.fail("PutObject").key(".s3ftpd/tails/");
    rule.always().with(Fault::Status(403, "AccessDenied"));
    let half = pattern(4 * MIB, 1);
    let mut stalled = Vec::new();
    for at in 0..4 {
        let mut ftp = gateway.ftp().await;
        let mut data = begin(&mut ftp, &format!("STOR stalled-{at}"), Mode::Passive).await;
        data.write_all(&half).await.unwrap();
        stalled.push((ftp, data));
    }
    // It continues as soon as one of them has been cut.
    let mut ftp = gateway.ftp().await;
    let reply = ftp.store("x", &half).await;
    assert_eq!(reply.code, 226, "{reply:?}");
    let mut cut = 0;
    for (mut ftp, data) in stalled {
        ftp.send("ABOR").await;
        let reply = ftp.expect_reply(426).await;
        cut += usize::from(reply.text().contains("no data moved"));
        ftp.reply().await;
        ftp.close().await;
        drop(data);
    }
    assert!(cut > 0);
    ftp.close().await;
    nothing_left(&gateway, 0).await;
    assert_eq!(gateway.store.keys(BUCKET), ["x"]);
}
