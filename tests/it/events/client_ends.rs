//! End of the client × verb: one event, and the reply with its id if there is still a client.

use std::sync::Arc;

use s3ftpd::events::{Class, Direction, Event, Kind, Level};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{of_commands, one_failure};
use test_support::faults::Fault;
use test_support::ftp::{Ftp, Mode, Reply, reset_stream};
use test_support::gateway::{BUCKET, Gateway, PASSWORD, USER};
use test_support::tls::{Client, Pki};
use test_support::transfers::{begin, narrow_data};
use test_support::{MIB, pattern};

/// More than the kernel takes for a client that does not read: entries of 900 bytes.
const ENTRIES: usize = 9000;

/// Transfers that do not end by themselves if their client neither sends nor reads.
const LINES: [&str; 7] = [
    "STOR new",
    "APPE new",
    "STOU new",
    "RETR big",
    "LIST many",
    "NLST many",
    "MLSD many",
];

fn fill(gateway: &Gateway) {
    gateway.store.put(BUCKET, "big", pattern(8 * MIB, 1));
    let rest = "x".repeat(900);
    for number in 0..ENTRIES {
        let key = format!("many/{number:05}{rest}");
        gateway.store.put(BUCKET, &key, "");
    }
}

fn uploads(line: &str) -> bool {
    matches!(&line[..4], "STOR" | "APPE" | "STOU")
}

/// Begins a transfer: the 150 has come. A client that downloads takes almost nothing.
async fn begun(ftp: &mut Ftp, line: &str) -> TcpStream {
    if uploads(line) {
        return begin(ftp, line, Mode::Passive).await;
    }
    let data = narrow_data(ftp).await;
    ftp.expect(line, 150).await;
    data
}

/// The one event of a transfer that had begun, which must agree with the reply.
fn broken(gateway: &Gateway, reply: &Reply, class: Class, line: &str) -> Arc<Event> {
    let event = one_failure(gateway, reply, class, line);
    is_broken(&event, class, line);
    event
}

/// Whether the event is that of a transfer that had begun and broke off.
fn is_broken(event: &Event, class: Class, line: &str) {
    let case = format!("{line}: {event:#?}");
    let (kind, direction) = match line {
        _ if uploads(line) => (Kind::Transfer, Some(Direction::In)),
        "RETR big" => (Kind::Transfer, Some(Direction::Out)),
        _ => (Kind::Listing, None),
    };
    assert_eq!((event.kind, event.direction), (kind, direction), "{case}");
    assert_eq!(event.level, Level::Warn, "{case}");
    assert_eq!(event.class, Some(class), "{case}");
    assert_eq!(event.verb, Some(&line[..4]), "{case}");
    assert!(event.seconds.is_some() && event.bytes.is_some(), "{case}");
    assert!(event.key.is_some(), "{case}");
}

/// The one event of the commands of a session that has lost its client, after its end.
async fn one_of_ended(gateway: &Gateway, line: &str) -> Arc<Event> {
    let of_command =
        |event: &Event| matches!(event.kind, Kind::Transfer | Kind::Listing | Kind::Refused);
    let id = |event: &Event| event.session.as_ref().unwrap().session.clone();
    let first = gateway.events.wait(line, of_command).await;
    let closed = |event: &Event| event.kind == Kind::SessionClose && id(event) == id(&first);
    gateway.events.wait("the end of the session", closed).await;
    let events = of_commands(gateway);
    assert_eq!(events.len(), 1, "{line}: {events:#?}");
    first
}

#[tokio::test]
async fn a_data_connection_that_is_reset() {
    let gateway = Gateway::start().await;
    fill(&gateway);
    for line in LINES {
        let mut ftp = gateway.ftp().await;
        let data = begun(&mut ftp, line).await;
        of_commands(&gateway);
        reset_stream(data);
        let reply = ftp.expect_reply(426).await;
        broken(&gateway, &reply, Class::ClientGone, line);
        ftp.in_step().await;
    }
}

#[tokio::test]
async fn a_data_connection_on_which_nothing_moves() {
    let gateway = Gateway::builder()
        .with("[timeouts]\ndata_stall = \"200ms\"")
        .start()
        .await;
    fill(&gateway);
    for line in LINES {
        let mut ftp = gateway.ftp().await;
        of_commands(&gateway);
        let data = begun(&mut ftp, line).await;
        let reply = ftp.expect_reply(426).await;
        broken(&gateway, &reply, Class::ClientStalled, line);
        drop(data);
        ftp.in_step().await;
    }
}

#[tokio::test]
async fn an_abor() {
    let gateway = Gateway::start().await;
    fill(&gateway);
    for line in LINES {
        let mut ftp = gateway.ftp().await;
        of_commands(&gateway);
        let mut data = begun(&mut ftp, line).await;
        if uploads(line) {
            data.write_all(b"bytes").await.unwrap();
        }
        let reply = ftp.expect("ABOR", 426).await;
        broken(&gateway, &reply, Class::ClientAborted, line);
        // The ABOR has a reply of its own, and no event.
        assert_eq!(ftp.expect_reply(226).await.id(), None);
        ftp.in_step().await;
        assert!(of_commands(&gateway).is_empty(), "{line}");
    }
}

#[tokio::test]
async fn the_loss_of_the_control_connection() {
    let gateway = Gateway::start().await;
    fill(&gateway);
    for line in LINES {
        for resets in [true, false] {
            let mut ftp = gateway.ftp().await;
            let data = begun(&mut ftp, line).await;
            of_commands(&gateway);
            if resets {
                ftp.reset();
            } else {
                ftp.close().await;
            }
            let event = one_of_ended(&gateway, line).await;
            is_broken(&event, Class::ClientGone, line);
            assert_eq!(event.code, Some(426), "{line}: {event:#?}");
            let detail = event.detail.as_deref().unwrap_or("");
            assert_eq!(
                detail.contains("on_control_loss"),
                uploads(line),
                "{detail}"
            );
            drop(data);
        }
    }
}

#[tokio::test]
async fn no_data_connection() {
    let gateway = Gateway::builder()
        .with("[timeouts]\ndata_connect = \"200ms\"")
        .start()
        .await;
    gateway.store.put(BUCKET, "big", "bytes");
    gateway.store.put(BUCKET, "many/x", "bytes");
    for line in LINES {
        let mut ftp = gateway.ftp().await;
        of_commands(&gateway);
        let reply = ftp.expect(line, 425).await;
        one_failure(&gateway, &reply, Class::NoDataConnection, line);
        ftp.epsv().await;
        let reply = ftp.expect(line, 425).await;
        let event = one_failure(&gateway, &reply, Class::NoDataConnection, line);
        assert_eq!(event.kind, Kind::Refused, "{line}: {event:?}");
        ftp.close().await;
    }
}

#[tokio::test]
async fn a_digest_has_no_150_and_is_refused() {
    let gateway = Gateway::start().await;
    gateway.store.put(BUCKET, "big", pattern(8 * MIB, 1));
    for line in ["HASH big", "XCRC big"] {
        for ends in ["ABOR", "reset", "FIN"] {
            let case = format!("{line}, {ends}");
            let mut ftp = gateway.ftp().await;
            ftp.expect("TYPE I", 200).await;
            of_commands(&gateway);
            let rule = gateway.store.fail("GetObject").always();
            let rule = rule.with(Fault::StallBody(100_000));
            ftp.send(line).await;
            rule.hit().await;
            let (event, class) = match ends {
                "ABOR" => {
                    let reply = ftp.expect("ABOR", 426).await;
                    let event = one_failure(&gateway, &reply, Class::ClientAborted, &case);
                    assert_eq!(ftp.expect_reply(226).await.id(), None);
                    ftp.in_step().await;
                    (event, Class::ClientAborted)
                }
                _ => {
                    if ends == "reset" {
                        ftp.reset();
                    } else {
                        ftp.close().await;
                    }
                    (one_of_ended(&gateway, &case).await, Class::ClientGone)
                }
            };
            rule.remove();
            assert_eq!(event.kind, Kind::Refused, "{case}: {event:#?}");
            assert_eq!(event.class, Some(class), "{case}: {event:#?}");
            assert_eq!(event.code, Some(426), "{case}: {event:#?}");
            assert_eq!(event.verb, Some(&line[..4]), "{case}");
            assert_eq!(event.key.as_deref(), Some("big"), "{case}");
        }
    }
}

/// A client under TLS, logged in, its data connections private.
async fn secured(gateway: &Gateway, client: &Client) -> Ftp {
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.auth("AUTH TLS", client).await;
    ftp.login(USER, PASSWORD).await;
    ftp.expect("PBSZ 0", 200).await;
    ftp.expect("PROT P", 200).await;
    ftp
}

#[tokio::test]
async fn a_data_connection_that_ends_without_close_notify() {
    let pki = Pki::new();
    let gateway = Gateway::builder().with(&pki.section("")).start().await;
    fill(&gateway);
    let client = pki.client().build();
    for line in LINES {
        let mut ftp = secured(&gateway, &client).await;
        let data = narrow_data(&mut ftp).await;
        ftp.expect(line, 150).await;
        let mut tls = client.connect(data).await.unwrap();
        of_commands(&gateway);
        if uploads(line) {
            tls.write_all(b"bytes").await.unwrap();
            tls.flush().await.unwrap();
        }
        // A FIN, or a reset if bytes are unread: no close_notify.
        drop(tls);
        let reply = ftp.expect_reply(426).await;
        let event = broken(&gateway, &reply, Class::ClientGone, line);
        if uploads(line) {
            let reason = event.reason.as_deref().unwrap();
            assert!(reason.contains("close_notify"), "{line}: {reason}");
        }
        let session = event.session.as_ref().unwrap();
        assert!(session.tls.is_some(), "{line}");
    }
}

#[tokio::test]
async fn a_control_connection_that_ends_without_close_notify() {
    let pki = Pki::new();
    let gateway = Gateway::builder().with(&pki.section("")).start().await;
    fill(&gateway);
    let client = pki.client().build();
    for line in LINES {
        let mut ftp = secured(&gateway, &client).await;
        let data = narrow_data(&mut ftp).await;
        ftp.expect(line, 150).await;
        let tls = client.connect(data).await.unwrap();
        of_commands(&gateway);
        ftp.tcp_fin().await;
        // It may still read replies.
        let reply = ftp.expect_reply(426).await;
        broken(&gateway, &reply, Class::ClientGone, line);
        drop(tls);
    }
}
