//! However an upload ends whose last byte has arrived: until its 226 is sent, SIZE and MLST report
//! a byte less, so that a client that resumes sends one byte and the file is published.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use test_support::faults::Fault;
use test_support::ftp::{Ftp, Mode, reset_stream};
use test_support::gateway::{BUCKET, Gateway};
use test_support::transfers::{begin, moved, sessions_ended, settled};
use test_support::{MIB, pattern};

/// Within a part, and more than one.
const SIZES: [usize; 3] = [2, 100_000, 6 * MIB];

/// How an upload ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Reset,
    Abor,
    /// Both connections.
    Died,
    /// The control connection, then a clean end of the data.
    ControlLost,
    Stalled,
    StoreFails,
    /// The server.
    ShutDown,
}

impl Ending {
    const ALL: [Ending; 7] = [
        Ending::Reset,
        Ending::Abor,
        Ending::Died,
        Ending::ControlLost,
        Ending::Stalled,
        Ending::StoreFails,
        Ending::ShutDown,
    ];
}

/// Ends an upload of which all bytes have arrived.
async fn end(ending: Ending, size: usize, mut ftp: Ftp, mut data: TcpStream, gateway: &Gateway) {
    match ending {
        Ending::Reset => {
            reset_stream(data);
            ftp.expect_reply(426).await;
        }
        Ending::Abor => {
            ftp.send("ABOR").await;
            ftp.expect_reply(426).await;
            ftp.expect_reply(226).await;
        }
        Ending::Died => {
            ftp.reset();
            reset_stream(data);
            sessions_ended(gateway).await;
        }
        Ending::ControlLost => {
            data.shutdown().await.unwrap();
            ftp.reset();
            sessions_ended(gateway).await;
        }
        Ending::Stalled => {
            ftp.expect_reply(426).await;
        }
        Ending::StoreFails => {
            let (operation, times) = match size > MIB {
                true => ("CompleteMultipartUpload", 3),
                false => ("PutObject", 1),
            };
            let rule = gateway.store.fail(operation).key("x").times(times);
            let rule = rule.with(Fault::Status(500, "InternalError"));
            drop(data);
            ftp.expect_reply(451).await;
            rule.hit().await;
        }
        Ending::ShutDown => unreachable!("it takes the gateway"),
    }
}

/// Asks in another session, and resumes at the reported length.
async fn resumes(gateway: &Gateway, whole: &[u8], what: &str) {
    let mut ftp = gateway.ftp().await;
    let reported = super::length(&mut ftp, "x").await;
    assert_eq!(reported, whole.len() - 1, "{what}");
    ftp.expect(&format!("REST {reported}"), 350).await;
    let rest = &whole[reported..];
    let reply = ftp.upload_with("STOR x", rest, Mode::Passive).await;
    assert_eq!(reply.code, 226, "{what}");
    assert!(
        gateway.store.object(BUCKET, "x").unwrap() == whole,
        "{what}"
    );
    assert_eq!(super::length(&mut ftp, "x").await, whole.len(), "{what}");
}

#[tokio::test]
async fn an_upload_that_may_be_whole_is_reported_a_byte_shorter_however_it_ended() {
    for ending in Ending::ALL {
        for size in SIZES {
            for old in [None, Some("an older object")] {
                let what = format!("{ending:?} {size} {old:?}");
                let gateway = Gateway::builder()
                    .with("[timeouts]\nshutdown_grace = 0\ndata_stall = \"1s\"")
                    .with("[stores.main]\nattempts = 1")
                    .start()
                    .await;
                if let Some(old) = old {
                    gateway.store.put_before(BUCKET, "x", old);
                }
                let whole = pattern(size, 7);
                let mut ftp = gateway.ftp().await;
                let mut data = begin(&mut ftp, "STOR x", Mode::Passive).await;
                data.write_all(&whole).await.unwrap();
                moved(&mut ftp, size).await;
                if ending == Ending::ShutDown {
                    let store = gateway.stop().await;
                    drop((ftp, data));
                    let next = Gateway::builder().on(&store).start().await;
                    resumes(&next, &whole, &what).await;
                    continue;
                }
                end(ending, size, ftp, data, &gateway).await;
                settled(&gateway).await;
                let found = gateway.store.object(BUCKET, "x");
                assert_eq!(found.as_deref(), old.map(str::as_bytes), "{what}");
                resumes(&gateway, &whole, &what).await;
            }
        }
    }
}

/// A device that is known to close its control connection first.
#[tokio::test]
async fn a_reset_after_a_control_connection_that_may_be_lost_leaves_a_byte_too() {
    for size in SIZES {
        let gateway = Gateway::builder()
            .mount("on_control_loss = \"publish\"")
            .start()
            .await;
        let whole = pattern(size, 7);
        let mut ftp = gateway.ftp().await;
        let mut data = begin(&mut ftp, "STOR x", Mode::Passive).await;
        data.write_all(&whole).await.unwrap();
        moved(&mut ftp, size).await;
        ftp.close().await;
        reset_stream(data);
        sessions_ended(&gateway).await;
        settled(&gateway).await;
        resumes(&gateway, &whole, &size.to_string()).await;
    }
}

/// While it is running, and while it is being published and its 226 has not been sent.
#[tokio::test]
async fn an_upload_that_is_being_published_is_reported_a_byte_shorter() {
    for (size, operation) in [(100_000, "PutObject"), (6 * MIB, "CompleteMultipartUpload")] {
        let gateway = Gateway::start().await;
        let whole = pattern(size, 7);
        let rule = gateway.store.fail(operation).key("x");
        let rule = rule.with(Fault::Stall);
        let mut ftp = gateway.ftp().await;
        let mut data = begin(&mut ftp, "STOR x", Mode::Passive).await;
        data.write_all(&whole).await.unwrap();
        drop(data);
        rule.hit().await;
        let mut other = gateway.ftp().await;
        assert_eq!(super::length(&mut other, "x").await, size - 1);
        rule.release();
        ftp.expect_reply(226).await;
        assert_eq!(super::length(&mut other, "x").await, size);
    }
}
