#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use prometheus_client::encoding::text::encode;

use super::*;
use crate::events::{Level, SessionFacts};

fn text(metrics: &Metrics) -> String {
    let mut text = String::new();
    encode(&mut text, &metrics.registry()).unwrap();
    text
}

fn session(user: &str) -> Option<Arc<SessionFacts>> {
    Some(Arc::new(SessionFacts {
        session: "s".into(),
        user: Some(user.into()),
        peer: SocketAddr::from(([192, 0, 2, 1], 5000)),
        client: None,
        tls: None,
        host: None,
    }))
}

/// An event of each kind, about this text.
fn take_all(metrics: &Metrics, about: &str) {
    for kind in Kind::ALL {
        for class in Class::ALL {
            let mut event = Event::new(*kind, Level::Info);
            event.session = session(about);
            event.direction = Some(Direction::In);
            event.class = Some(*class);
            event.path = Some(about.into());
            event.mount = Some(about.into());
            event.reason = Some(about.into());
            event.bytes = Some(5);
            event.seconds = Some(0.1);
            metrics.take(&Arc::new(event));
        }
    }
}

#[test]
fn series_do_not_grow_with_what_clients_send() {
    let options = MetricsOptions { last_uploads: 3 };
    let metrics = Arc::new(Metrics::new(options, ["STOR"]));
    let once = |from: usize| {
        for number in from..from + 2 * MOST_MOUNTS {
            take_all(&metrics, &format!("/mount {number}"));
            CountedReplies::new(Arc::clone(&metrics)).count("WHAT", 500);
            drop(metrics.transfer_begins("WHAT"));
            let requests = metrics.store_requests("main");
            let mut attempt = requests.begin(&format!("Operation{number}"), 1);
            let status = 900 + u16::try_from(number % 50).unwrap();
            attempt.ended(RequestStatus::Answered(status));
        }
        text(&metrics).lines().count()
    };
    // The first names have their own series, all later ones share those of `other`.
    once(0);
    let lines = once(10_000);
    assert_eq!(once(20_000), lines);
    let text = text(&metrics);
    let users = text.matches("\ns3ftpd_last_upload_timestamp_seconds{");
    assert_eq!(users.count(), 3);
    for other in [
        "s3ftpd_commands_total{verb=\"other\",code=\"500\"}",
        "s3ftpd_transfers_total{direction=\"in\",class=\"ok\",mount=\"other\"}",
        "s3ftpd_store_requests_total{store=\"main\",operation=\"other\",status=\"9xx\"}",
    ] {
        assert!(text.contains(other), "{other} in\n{text}");
    }
}

#[test]
fn each_reply_is_counted_also_if_a_session_has_more_kinds_than_it_remembers() {
    let metrics = Arc::new(Metrics::new(MetricsOptions::default(), ["STOR", "RETR"]));
    let sessions = [(); 2].map(|()| CountedReplies::new(Arc::clone(&metrics)));
    for mut replies in sessions {
        for round in 0..3 {
            for code in 500..520 {
                replies.count("STOR", code);
                replies.count("STOR", code);
            }
            replies.count("RETR", 500 + round);
            replies.count("WHAT", 500);
        }
    }
    let text = text(&metrics);
    let line = |verb: &str, code: u16, count: u64| {
        let line = format!("s3ftpd_commands_total{{verb=\"{verb}\",code=\"{code}\"}} {count}");
        assert!(text.lines().any(|is| is == line), "{line} in\n{text}");
    };
    for code in 500..520 {
        line("STOR", code, 12);
    }
    for code in 500..503 {
        line("RETR", code, 2);
    }
    line(OTHER, 500, 6);
}

#[test]
fn an_event_that_stands_for_several_counts_as_several() {
    let metrics = Metrics::default();
    let mut event = Event::new(Kind::LoginRefused, Level::Warn);
    event.cause = Some(Cause::Limit);
    event.count = Some(7);
    metrics.take(&Arc::new(event));
    let mut event = Event::new(Kind::Sweep, Level::Info);
    event.class = Some(Class::Ok);
    event.count = Some(0);
    metrics.take(&Arc::new(event));
    let text = text(&metrics);
    for line in [
        "s3ftpd_logins_total{result=\"limit\"} 7",
        "s3ftpd_events_total{kind=\"login_refused\"} 7",
        "s3ftpd_events_total{kind=\"sweep\"} 1",
        "s3ftpd_sweeps_total{result=\"ok\"} 1",
        "s3ftpd_swept_total 0",
    ] {
        assert!(text.lines().any(|is| is == line), "{line} in\n{text}");
    }
}

#[test]
fn stores_and_reloads_have_a_state() {
    let metrics = Metrics::default();
    let send = |kind: Kind, class: Class| {
        let mut event = Event::new(kind, Level::Warn);
        event.store = Some("main".into());
        event.class = Some(class);
        metrics.take(&Arc::new(event));
    };
    let shows = |line: &str| {
        let text = text(&metrics);
        assert!(text.lines().any(|is| is == line), "{line} in\n{text}");
    };
    assert!(!text(&metrics).contains("s3ftpd_store_up"));
    shows("s3ftpd_last_reload_ok 1");
    for (kind, up) in [(Kind::StoreUp, 1), (Kind::StoreDown, 0), (Kind::StoreUp, 1)] {
        send(kind, Class::StoreUnreachable);
        shows(&format!("s3ftpd_store_up{{store=\"main\"}} {up}"));
    }
    for (class, ok) in [(Class::Invalid, 0), (Class::Ok, 1)] {
        send(Kind::Reload, class);
        shows(&format!("s3ftpd_last_reload_ok {ok}"));
    }
    shows("s3ftpd_reloads_total{result=\"failed\"} 1");
}

#[test]
fn a_name_can_hold_every_character() {
    let metrics = Metrics::new(MetricsOptions { last_uploads: 1 }, []);
    take_all(&metrics, "a\"b\\c\nd{}");
    let text = text(&metrics);
    let line = "s3ftpd_last_upload_timestamp_seconds{user=\"a\\\"b\\\\c\\nd{}\"} ";
    assert!(text.lines().any(|is| is.starts_with(line)), "{text}");
}

#[test]
fn a_request_that_is_dropped_was_cancelled() {
    let metrics = Metrics::default();
    let requests = metrics.store_requests("main");
    let first = requests.begin("PutObject", 1);
    assert!(text(&metrics).contains("s3ftpd_store_requests_in_flight{store=\"main\"} 1\n"));
    drop(first);
    let mut second = requests.begin("PutObject", 2);
    second.ended(RequestStatus::Timeout);
    drop(second);
    let text = text(&metrics);
    for line in [
        "s3ftpd_store_requests_in_flight{store=\"main\"} 0",
        "s3ftpd_store_requests_total{store=\"main\",operation=\"PutObject\",status=\"cancelled\"} 1",
        "s3ftpd_store_requests_total{store=\"main\",operation=\"PutObject\",status=\"timeout\"} 1",
        "s3ftpd_store_retries_total{store=\"main\",operation=\"PutObject\"} 1",
        "s3ftpd_store_request_duration_seconds_count{store=\"main\",operation=\"PutObject\"} 2",
    ] {
        assert!(text.lines().any(|is| is == line), "{line} in\n{text}");
    }
}

#[test]
fn calls_of_hooks_begin_at_zero_and_a_dropped_one_was_cancelled() {
    let metrics = Metrics::default();
    assert!(!text(&metrics).contains("s3ftpd_hook_calls_total{"));
    let calls = metrics.hook_calls("events.a");
    let shows = |result: &str, count: u64| {
        let text = text(&metrics);
        let line =
            format!("s3ftpd_hook_calls_total{{hook=\"events.a\",result=\"{result}\"}} {count}");
        assert!(text.lines().any(|is| is == line), "{line} in\n{text}");
    };
    for result in CallResult::ALL {
        shows(result.name(), 0);
        calls.begin().ended(result);
        shows(result.name(), 1);
    }
    drop(calls.begin());
    shows("cancelled", 2);
    calls.lost(0);
    calls.lost(7);
    assert!(text(&metrics).contains("s3ftpd_hook_events_lost_total{hook=\"events.a\"} 7\n"));
}
