//! Each thing that happens is one event, and the reply of a command that failed has its id.

mod agreement;
mod client_ends;
mod failures;
mod handshakes;
mod logins;
mod objects;
mod sessions;
mod stores;
mod strangers;

use std::sync::Arc;

use s3ftpd::events::{Class, Event, Kind, Level};

use test_support::ftp::{Ftp, Mode, Reply};
use test_support::gateway::Gateway;

/// Commands of each kind that names a file or a directory: `there` and `dir/x` exist.
const FILE_COMMANDS: [&str; 22] = [
    "RETR there",
    "STOR there",
    "APPE there",
    "LIST dir",
    "NLST dir",
    "MLSD dir",
    "MLST there",
    "STAT dir",
    "SIZE there",
    "MDTM there",
    "MFMT 20260101000000 there",
    "MFF modify=20260101000000; there",
    "MDTM 20260101000000 there",
    "MKD new",
    "RMD dir",
    "DELE there",
    "RNFR there",
    "HASH there",
    "XCRC there",
    "XSHA256 there",
    "SITE UTIME 20260101000000 there",
    "STOU new",
];

/// Runs a command to its final reply; those that need a data connection get one.
async fn run(ftp: &mut Ftp, line: &str) -> Reply {
    match line.split(' ').next() {
        Some("STOR" | "APPE" | "STOU") => ftp.upload_with(line, b"bytes", Mode::Passive).await,
        Some("RETR" | "LIST" | "NLST" | "MLSD") => ftp.download_with(line, Mode::Passive).await.1,
        _ => ftp.command(line).await,
    }
}

/// The events of commands and transfers, without those of sessions and logins.
fn of_commands(gateway: &Gateway) -> Vec<Arc<Event>> {
    let mut events = gateway.events.drain();
    events.retain(|event| {
        !matches!(
            event.kind,
            Kind::SessionOpen | Kind::SessionClose | Kind::Login | Kind::LoginRefused
        )
    });
    events
}

/// The one event of a command that failed, which must agree with the reply.
fn one_failure(gateway: &Gateway, reply: &Reply, class: Class, case: &str) -> Arc<Event> {
    let events = of_commands(gateway);
    assert_eq!(events.len(), 1, "{case}: {reply:?}\n{events:#?}");
    let event = events[0].clone();
    let case = format!("{case}: {reply:?}\n{event:#?}");
    assert_eq!(event.class, Some(class), "{case}");
    assert_eq!(event.code, Some(reply.code), "{case}");
    assert_eq!(event.reason.as_deref(), Some(reply.reason()), "{case}");
    assert_eq!(event.id.as_deref(), reply.id(), "{case}");
    if event.level == Level::Debug {
        assert_eq!(reply.id(), None, "{case}");
    } else {
        assert!(reply.id().is_some(), "{case}");
    }
    let session = event.session.as_ref().expect(&case);
    assert_eq!(session.user.as_deref(), Some("u"), "{case}");
    event
}
