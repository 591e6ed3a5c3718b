//! Memory and series stay flat, whatever clients send and however often a collector scrapes.

use std::collections::BTreeSet;

use futures::future::join_all;

use test_support::MIB;
use test_support::ftp::Ftp;
use test_support::process::Process;

/// Sessions of a round that run in parallel.
const CLIENTS: usize = 4;
/// Sessions of each of them, one after another.
const SESSIONS: usize = 12;
/// Commands of a session.
const COMMANDS: usize = 40;
/// Rounds that fill what is bounded: the last events of the status page, and the queue of a hook.
const FILLING: usize = 4;
/// Rounds after those.
const FURTHER: usize = 3;

/// The length of a name.
const LONG: usize = 3_000;

/// The bytes of names in the events of the further rounds: three of four commands give an event. A
/// server that kept them would grow by more than [`MOST_GROWN`].
const NAMES: usize = FURTHER * CLIENTS * SESSIONS * (COMMANDS * 3 / 4) * LONG;
const MOST_GROWN: usize = 8 * MIB;

const SETTINGS: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n\
    [metrics]\nlast_uploads = 3\n\
    [limits]\nlogin_attempts = 1000\n\
    [login_failures]\ndelay = \"1ms\"\nmax_delay = \"2ms\"\nban_after = 0\nban_user_after = 0\n\
    [events.down]\nurl = \"http://127.0.0.1:1/\"";

/// A name that no other command has, of characters that forms and labels escape.
fn hostile(round: usize, client: usize, session: usize, command: usize) -> String {
    let own = format!("{round}-{client}-{session}-{command}");
    let tail = "\"}\\{,=\u{202e}\u{1b}# EOF ".repeat(LONG / 18);
    format!("{own}{tail}")
}

/// Distinct users, verbs, names and sessions.
async fn round(process: &Process, round: usize) {
    let clients = (0..CLIENTS).map(async |client: usize| {
        for session in 0..SESSIONS {
            let mut ftp = Ftp::connect(process.address).await;
            let name = |command| hostile(round, client, session, command);
            ftp.expect(&format!("CLNT {}", &name(0)[..200]), 200).await;
            ftp.expect(&format!("USER n{round}-{client}-{session}"), 331)
                .await;
            ftp.expect("PASS x", 530).await;
            ftp.login("u", "p").await;
            for command in 0..COMMANDS {
                let name = name(command);
                let line = match command % 4 {
                    0 => format!("DELE {name}"),
                    1 => format!("RNFR {name}"),
                    2 => format!("RETR {name}"),
                    _ => format!("XV{round}C{client}S{session}N{command} {name}"),
                };
                let reply = ftp.command(&line).await;
                assert!((400..600).contains(&reply.code), "{reply:?}");
            }
            ftp.close().await;
        }
    });
    join_all(clients).await;
}

/// The series of a scrape, without their values.
async fn series(process: &Process) -> BTreeSet<String> {
    let answer = process.get("/metrics").await;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let lines = body.lines().map(|line| match line.starts_with('#') {
        true => line,
        false => line.rsplit_once(' ').unwrap().0,
    });
    let series: BTreeSet<String> = lines.map(str::to_owned).collect();
    assert_eq!(series.len(), body.lines().count(), "a line occurs twice");
    series
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_grows_with_what_clients_send_and_without_a_collector() {
    const { assert!(NAMES > MOST_GROWN * 3 / 2) };
    let process = Process::start(SETTINGS).await;
    round(&process, 1).await;
    let first = series(&process).await;
    round(&process, 2).await;
    // Its text has the same lines; their values differ.
    assert_eq!(series(&process).await, first);
    // From now on no collector comes.
    for number in 2..FILLING {
        round(&process, number + 1).await;
    }
    let before = process.resident();
    for number in FILLING..FILLING + FURTHER {
        round(&process, number + 1).await;
    }
    let grown = process.resident().saturating_sub(before);
    assert!(grown < MOST_GROWN, "grown by {} KiB", grown / 1024);
    assert_eq!(series(&process).await, first);
}
