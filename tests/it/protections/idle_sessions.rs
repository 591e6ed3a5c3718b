//! Ten thousand idle sessions (24 KiB each, docs/operations/sizing.md), and a thousand under TLS.

use futures::StreamExt;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::SupportedProtocolVersion;

use test_support::ftp::Ftp;
use test_support::process::Process;
use test_support::tls::{Client, Pki, VERSIONS};

const SESSIONS: u64 = 10_000;
/// This number of files is enough for them: see `s3ftpd::server::capacity::descriptors`.
const ENOUGH: u64 = 17_000;
/// Files that this process has open in addition.
const OTHERS: u64 = 500;

/// Under TLS.
const SECURED: u64 = 1_000;
/// The limit for a session under TLS is that of one in plaintext, because idle connections hold no
/// buffers under TLS either. Measured: 15 KiB in a debug build.
const MOST_SECURED: usize = 24 * 1024;

/// This number of logged-in sessions, from several addresses.
async fn sessions(
    process: &Process,
    numbers: std::ops::Range<u64>,
    client: Option<&Client>,
) -> Vec<Ftp> {
    let open = |number: u64| async move {
        let from = format!("127.0.{}.{}", 1 + number % 4, 1 + number % 50);
        let mut ftp = Ftp::connect_from(from.parse().unwrap(), process.address).await;
        if let Some(client) = client {
            ftp.auth("AUTH TLS", client).await;
        }
        ftp.login("u", "p").await;
        ftp
    };
    futures::stream::iter(numbers)
        .map(open)
        .buffer_unordered(32)
        .collect()
        .await
}

/// Bytes that each of them adds to the process, after the first hundred. All of them are alive.
async fn bytes_each(process: &Process, count: u64, client: Option<&Client>) -> usize {
    let first = sessions(process, 0..100, client).await;
    let before = process.resident();
    let rest = sessions(process, 100..count, client).await;
    let each = (process.resident() - before) / rest.len();
    for mut ftp in first.into_iter().chain(rest) {
        ftp.in_step().await;
    }
    each
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_sessions_take_24_kib_each() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    // If fewer files are allowed, the server limits itself to fewer sessions.
    let count = if hard < ENOUGH {
        hard / 2 - OTHERS
    } else {
        SESSIONS
    };
    let process = Process::start("").await;
    let each = bytes_each(&process, count, None).await;
    println!("{each} bytes a session, of {count}");
    assert!(each <= 24 * 1024, "{each} bytes a session, of {count}");
}

async fn idle_under(version: &'static SupportedProtocolVersion) {
    let pki = Pki::new();
    let process = Process::start(&pki.section("")).await;
    let client = pki.client().version(version).build();
    let each = bytes_each(&process, SECURED, Some(&client)).await;
    println!("{each} bytes a session under {:?}", version.version);
    assert!(each <= MOST_SECURED, "{each} bytes a session");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_sessions_under_tls_1_2() {
    idle_under(VERSIONS[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_sessions_under_tls_1_3() {
    idle_under(VERSIONS[1]).await;
}
