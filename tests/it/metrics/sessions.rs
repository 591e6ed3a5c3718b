//! Sessions, logins, bans, strangers and ports.

use std::net::{IpAddr, SocketAddr};

use s3ftpd::events::{Cause, Kind};
use tokio::io::AsyncReadExt;

use test_support::events::Recorder;
use test_support::ftp::{Ftp, connect_from};
use test_support::gateway::{Builder, Gateway, PASSWORD, USER};
use test_support::transfers::sessions_ended;

use super::{Scrape, with_admin};

#[tokio::test]
async fn sessions_have_a_state_and_logins_a_result() {
    let gateway = with_admin()
        .with("[limits]\nlogin_attempts = 100")
        .with("[login_failures]\nban_after = 100\nban_user_after = 2")
        .start()
        .await;
    let early = Ftp::connect(gateway.address).await;
    let ftp = gateway.ftp().await;
    let scrape = Scrape::of(&gateway).await;
    let state = |scrape: &Scrape, state: &str, count: f64| {
        scrape.is("s3ftpd_sessions", &[("state", state)], count);
    };
    state(&scrape, "before_login", 1.0);
    state(&scrape, "idle", 1.0);
    state(&scrape, "transferring", 0.0);
    scrape.is("s3ftpd_logins_total", &[("result", "ok")], 1.0);
    scrape.is("s3ftpd_ready", &[], 1.0);
    scrape.is("s3ftpd_bans_total", &[], 0.0);
    drop((early, ftp));
    let mut guesser = Ftp::connect(gateway.address).await;
    for (user, password) in [("x", "x"), (USER, "x"), (USER, "x"), (USER, "p")] {
        guesser.expect(&format!("USER {user}"), 331).await;
        guesser.expect(&format!("PASS {password}"), 530).await;
    }
    drop(guesser);
    sessions_ended(&gateway).await;
    let scrape = Scrape::of(&gateway).await;
    for (result, count) in [("unknown_user", 1.0), ("password", 2.0), ("banned", 1.0)] {
        scrape.is("s3ftpd_logins_total", &[("result", result)], count);
    }
    scrape.is("s3ftpd_bans_total", &[("of", "user")], 1.0);
    scrape.is("s3ftpd_banned", &[("of", "user")], 1.0);
    scrape.is("s3ftpd_banned", &[("of", "address")], 0.0);
    scrape.is("s3ftpd_sessions", &[], 0.0);
    scrape.is("s3ftpd_events_total", &[("kind", "session_open")], 3.0);
    scrape.is("s3ftpd_events_total", &[("kind", "session_close")], 3.0);
}

#[tokio::test]
async fn repeated_logins_are_counted() {
    let gateway = with_admin()
        .user("v", "q", "{ \"/\" = \"main\" }")
        .start()
        .await;
    for (user, password) in [("v", "q"), (USER, PASSWORD), ("v", "q"), ("v", "q")] {
        gateway.ftp_as(user, password).await.close().await;
    }
    let mut ftp = Ftp::connect(gateway.address).await;
    for (user, password) in [("v", PASSWORD), ("w", "q")] {
        ftp.expect(&format!("USER {user}"), 331).await;
        ftp.expect(&format!("PASS {password}"), 530).await;
    }
    let scrape = Scrape::of(&gateway).await;
    scrape.is("s3ftpd_login_cache_hits_total", &[], 2.0);
    scrape.is("s3ftpd_logins_total", &[("result", "ok")], 4.0);
    gateway.stop().await;
}

#[tokio::test]
async fn passive_ports_and_strangers_are_counted() {
    let gateway = with_admin().start().await;
    let mut ftp = gateway.ftp().await;
    let before = Scrape::of(&gateway).await;
    assert!(before.sum("s3ftpd_passive_ports", &[]) >= 1.0);
    before.is("s3ftpd_passive_reservations", &[], 0.0);
    let port = ftp.epsv().await.port();
    let scrape = Scrape::of(&gateway).await;
    scrape.is("s3ftpd_passive_reservations", &[("state", "waiting")], 1.0);
    let passive = SocketAddr::new([127, 0, 0, 1].into(), port);
    let mut stranger = connect_from([127, 0, 0, 9].into(), passive).await.unwrap();
    // Closed at once, by an end or a reset.
    let _ = stranger.read_to_end(&mut Vec::new()).await;
    gateway.events.wait_for(Kind::DataStranger).await;
    let scrape = Scrape::of(&gateway).await;
    scrape.is("s3ftpd_data_strangers_total", &[], 1.0);
    drop(ftp);
    sessions_ended(&gateway).await;
    let scrape = Scrape::of(&gateway).await;
    scrape.is("s3ftpd_passive_reservations", &[("state", "waiting")], 0.0);
    scrape.is("s3ftpd_passive_reservations", &[("state", "resting")], 1.0);
}

const BANNED: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 9));

/// One session an address, and a ban after one failed login.
fn strict() -> Builder {
    with_admin().with("[limits]\nsessions_per_address = 1\n[login_failures]\nban_after = 1")
}

/// Bans [`BANNED`]. The event of a login that is refused so is not one of a connection.
async fn ban(gateway: &Gateway) {
    let mut guesser = Ftp::connect_from(BANNED, gateway.address).await;
    guesser.expect("USER x", 331).await;
    guesser.expect("PASS x", 530).await;
    gateway.events.wait_for(Kind::Banned).await;
    drop(guesser);
    sessions_ended(gateway).await;
}

/// A connection that is refused.
async fn refused(gateway: &Gateway, from: IpAddr) {
    let mut stream = connect_from(from, gateway.address).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("421 "), "{reply}");
}

/// The number of refusals with this cause that the events stand for.
fn refusals(events: &Recorder, cause: Cause) -> u64 {
    let events = events.of(Kind::LoginRefused);
    let of_it = events.iter().filter(|event| event.cause == Some(cause));
    of_it.map(|event| event.count.unwrap_or(1)).sum()
}

#[tokio::test]
async fn refused_connections_are_counted_by_their_causes() {
    let gateway = strict().start().await;
    ban(&gateway).await;
    let _session = gateway.ftp().await;
    for _ in 0..60 {
        refused(&gateway, BANNED).await;
    }
    for _ in 0..3 {
        refused(&gateway, [127, 0, 0, 1].into()).await;
    }
    let name = "s3ftpd_logins_total";
    let of = |scrape: &Scrape, result: &str| scrape.sum(name, &[("result", result)]);
    // The flood has ended, and nothing more comes.
    let all = |scrape: &Scrape| of(scrape, "banned") + of(scrape, "limit") >= 63.0;
    let scrape = Scrape::until(&gateway, "all refusals", all).await;
    assert_eq!((of(&scrape, "banned"), of(&scrape, "limit")), (60.0, 3.0));
    assert_eq!(refusals(&gateway.events, Cause::Banned), 60);
    assert_eq!(refusals(&gateway.events, Cause::Limit), 3);
    for event in gateway.events.of(Kind::LoginRefused) {
        let reason = event.reason.as_deref().unwrap_or_default();
        let is_ban = reason.contains("failed logins");
        assert_eq!(is_ban, event.cause == Some(Cause::Banned), "{event:?}");
    }
}

#[tokio::test]
async fn a_stop_counts_the_refusals_that_are_held_back() {
    let gateway = strict().start().await;
    ban(&gateway).await;
    for _ in 0..5 {
        refused(&gateway, BANNED).await;
    }
    let events = gateway.events.clone();
    gateway.stop().await;
    assert_eq!(refusals(&events, Cause::Banned), 5);
}

#[tokio::test]
async fn no_client_adds_a_series() {
    let gateway = with_admin()
        .with(
            "[limits]\nlogin_attempts = 1000\n[login_failures]\nban_after = 0\nban_user_after = 0",
        )
        .start()
        .await;
    let mut ftp = Ftp::connect(gateway.address).await;
    let mut series = Vec::new();
    for round in 0..3 {
        for number in 0..5 {
            ftp.expect(&format!("XY{round}Z{number} a"), 500).await;
            ftp.expect(&format!("USER name{round}-{number}"), 331).await;
            ftp.expect("PASS x", 530).await;
        }
        let scrape = Scrape::of(&gateway).await;
        series.push(scrape.samples.values().map(Vec::len).sum::<usize>());
        let labels = [("verb", "other"), ("code", "500")];
        scrape.is("s3ftpd_commands_total", &labels, f64::from(5 * (round + 1)));
    }
    assert!(series.iter().all(|count| *count == series[0]), "{series:?}");
}
