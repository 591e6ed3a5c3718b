//! Ten thousand idle sessions (DESIGN 8: 24 KiB each).

use futures::StreamExt;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::support::ftp::Ftp;
use crate::support::process::Process;

const SESSIONS: u64 = 10_000;
/// Files that either process has open besides.
const OTHERS: u64 = 500;

/// So many sessions that are logged in, from several addresses.
async fn sessions(process: &Process, numbers: std::ops::Range<u64>) -> Vec<Ftp> {
    let open = |number: u64| async move {
        let from = format!("127.0.{}.{}", 1 + number % 4, 1 + number % 50);
        let mut ftp = Ftp::connect_from(from.parse().unwrap(), process.address).await;
        ftp.login("u", "p").await;
        ftp
    };
    futures::stream::iter(numbers)
        .map(open)
        .buffer_unordered(32)
        .collect()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_sessions_take_24_kib_each() {
    // The process that is started inherits it.
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let count = SESSIONS.min(hard - OTHERS);
    let process = Process::start("[limits]\nsessions = 20000").await;
    let first = sessions(&process, 0..100).await;
    let before = process.resident();
    let rest = sessions(&process, 100..count).await;
    let each = (process.resident() - before) / rest.len();
    println!("{each} bytes a session, of {count}");
    assert!(each <= 24 * 1024, "{each} bytes a session, of {count}");
    // And all of them are alive.
    for mut ftp in first.into_iter().chain(rest) {
        ftp.in_step().await;
    }
}
