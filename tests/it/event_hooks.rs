//! `[events.NAME]`: events are posted to URLs, whatever these do, and no reply waits for that.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use test_support::gateway::{BUCKET, Builder, Gateway};
use test_support::process::Process;
use test_support::receiver::{Call, Reaction, Receiver};
use test_support::within;

/// A gateway with a hook at this receiver.
fn hooked(receiver: &Receiver, settings: &str) -> Builder {
    let url = receiver.url();
    Gateway::builder().with(&format!("[events.hook]\nurl = \"{url}\"\n{settings}"))
}

fn taken() -> Reaction {
    Reaction::Answer(204, String::new())
}

fn paths(calls: &[Call]) -> Vec<String> {
    let path = |call: &Call| call.json()["data"]["path"].as_str().map(str::to_owned);
    calls.iter().filter_map(path).collect()
}

/// Waits for a call about this name.
async fn called_for(receiver: &Receiver, name: &str) {
    let path = format!("/{name}");
    let mut number = 0;
    while !paths(&receiver.calls()).contains(&path) {
        number = receiver.called(number + 1).await.len();
    }
}

/// Uploads a few bytes to each of these names.
async fn upload(gateway: &Gateway, names: &[&str]) {
    let mut ftp = gateway.ftp().await;
    for name in names {
        assert_eq!(ftp.store(name, b"12345").await.code, 226);
    }
    ftp.close().await;
}

#[tokio::test]
async fn an_event_is_a_signed_cloud_event_with_the_fields_of_the_log() {
    let receiver = Receiver::start().await;
    receiver.react(taken());
    let settings = "on = [\"upload\"]\nsecret = \"the secret\"";
    let gateway = hooked(&receiver, settings)
        .with("replica = \"ftp-0\"")
        .start()
        .await;
    upload(&gateway, &["a b.csv"]).await;
    let calls = receiver.called(1).await;
    let call = &calls[0];
    assert_eq!(call.headers["content-type"], "application/cloudevents+json");
    let event = call.json();
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["type"], "s3ftpd.transfer");
    assert_eq!(event["source"], "/s3ftpd/ftp-0");
    assert_eq!(event["subject"], "/a b.csv");
    assert_eq!(event["id"], *call.headers["webhook-id"]);
    let data = &event["data"];
    for (field, value) in [
        ("user", Value::from("u")),
        ("verb", "STOR".into()),
        ("direction", "in".into()),
        ("path", "/a b.csv".into()),
        ("bucket", BUCKET.into()),
        ("key", "a b.csv".into()),
        ("bytes", 5.into()),
        ("size", 5.into()),
        ("code", 226.into()),
        ("class", "ok".into()),
        ("level", "info".into()),
    ] {
        assert_eq!(data[field], value, "{field}");
    }
    let written = gateway.store.metadata(BUCKET, "a b.csv").unwrap();
    assert_eq!(data["transfer"], *written["s3ftpd-transfer"]);
    let mut mac = Hmac::<Sha256>::new_from_slice(b"the secret").unwrap();
    let signed = format!(
        "{}.{}.",
        call.headers["webhook-id"], call.headers["webhook-timestamp"]
    );
    mac.update(signed.as_bytes());
    mac.update(&call.body);
    let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    assert_eq!(call.headers["webhook-signature"], expected);
}

#[tokio::test]
async fn a_hook_gets_what_it_asks_for() {
    let (uploads, failures) = (Receiver::start().await, Receiver::start().await);
    let all = Receiver::start().await;
    for receiver in [&uploads, &failures, &all] {
        receiver.react(taken());
    }
    let gateway = hooked(&uploads, "on = [\"upload\"]")
        .with(&format!(
            "[events.failures]\nurl = \"{}\"\non = [\"failure\"]\nclasses = [\"not_found\"]\n\
             [events.all]\nurl = \"{}\"",
            failures.url(),
            all.url()
        ))
        .start()
        .await;
    let mut ftp = gateway.ftp().await;
    assert_eq!(ftp.store("x", b"x").await.code, 226);
    ftp.expect("EPSV", 229).await;
    ftp.expect("RETR missing", 550).await;
    // How clients probe is of level debug.
    ftp.expect("SIZE missing", 550).await;
    ftp.expect("DELE x", 250).await;
    ftp.expect("QUIT", 221).await;
    ftp.expect_end().await;
    gateway.stop().await;
    assert_eq!(paths(&uploads.calls()), ["/x"]);
    assert_eq!(paths(&failures.calls()), ["/missing"]);
    let mut types: Vec<String> = all
        .calls()
        .iter()
        .map(|call| call.json()["type"].as_str().unwrap().to_owned())
        .collect();
    types.sort();
    let expected = ["deleted", "login", "refused", "session_close", "transfer"];
    assert_eq!(types, expected.map(|kind| format!("s3ftpd.{kind}")));
}

/// What may pass, and is tried again with the same id.
#[tokio::test]
async fn a_delivery_that_fails_is_repeated_until_it_is_taken() {
    for reaction in [
        Reaction::Answer(500, String::new()),
        Reaction::Answer(408, String::new()),
        Reaction::Answer(429, String::new()),
        Reaction::Raw(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()),
        Reaction::Silence,
        Reaction::Reset,
    ] {
        let receiver = Receiver::start().await;
        let attempts = Arc::new(AtomicUsize::new(0));
        let failing = reaction.clone();
        receiver.react_by(move |_| {
            let first = attempts.fetch_add(1, Ordering::SeqCst) < 2;
            std::future::ready(if first { failing.clone() } else { taken() })
        });
        let gateway = hooked(&receiver, "on = [\"upload\"]\ntimeout = \"200ms\"")
            .start()
            .await;
        upload(&gateway, &["x"]).await;
        let calls = receiver.called(3).await;
        gateway.stop().await;
        assert_eq!(receiver.calls().len(), 3, "{reaction:?}");
        let ids: Vec<&String> = calls
            .iter()
            .map(|call| &call.headers["webhook-id"])
            .collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_final_is_not_repeated() {
    for reaction in [
        Reaction::Answer(404, String::new()),
        Reaction::Answer(302, String::new()),
        Reaction::Answer(403, String::new()),
        Reaction::Answer(410, String::new()),
        // The answer came; its body does not count.
        Reaction::Trickle,
    ] {
        let receiver = Receiver::start().await;
        receiver.react(reaction.clone());
        let gateway = hooked(&receiver, "on = [\"upload\"]\ntimeout = \"200ms\"")
            .start()
            .await;
        upload(&gateway, &["x"]).await;
        receiver.called(1).await;
        upload(&gateway, &["y"]).await;
        receiver.called(2).await;
        gateway.stop().await;
        assert_eq!(paths(&receiver.calls()), ["/x", "/y"], "{reaction:?}");
    }
}

#[tokio::test]
async fn a_receiver_that_is_down_gets_the_newest_events_when_it_is_back() {
    let receiver = Receiver::start().await;
    receiver.react(taken());
    let gateway = hooked(&receiver, "on = [\"upload\"]\nqueue = 2")
        .start()
        .await;
    receiver.down().await;
    let names: Vec<String> = (0..9).map(|number| format!("f{number}")).collect();
    // No reply waits for the hook.
    for name in &names {
        upload(&gateway, &[name]).await;
    }
    receiver.up();
    // Four were on their way, the queue holds two; what was between them is lost.
    let calls = receiver.called(6).await;
    gateway.stop().await;
    let mut found = paths(&receiver.calls());
    found.sort();
    assert_eq!(calls.len(), 6);
    assert_eq!(found, ["/f0", "/f1", "/f2", "/f3", "/f7", "/f8"]);
}

#[tokio::test]
async fn a_receiver_that_always_fails_delays_no_other_and_its_oldest_events_are_reported_as_lost() {
    let (failing, good) = (Receiver::start().await, Receiver::start().await);
    failing.react(Reaction::Answer(503, String::new()));
    good.react(taken());
    let settings = format!(
        "[events.failing]\nurl = \"{}\"\non = [\"upload\"]\nqueue = 2\n\
         [events.good]\nurl = \"{}\"\non = [\"upload\"]",
        failing.url(),
        good.url()
    );
    let mut process = Process::start(&settings).await;
    let mut ftp = process.ftp().await;
    let names: Vec<String> = (0..9).map(|number| format!("f{number}")).collect();
    for (number, name) in names.iter().enumerate() {
        assert_eq!(ftp.store(name, b"12345").await.code, 226);
        good.called(number + 1).await;
        // Four occupy the hook.
        if number < 4 {
            called_for(&failing, name).await;
        }
    }
    process.logged("events were lost: the queue is full").await;
    failing.react(taken());
    called_for(&failing, "f8").await;
    process.stop().await;
    assert_eq!(good.calls().len(), 9);
    let mut found = paths(&failing.calls());
    found.sort();
    found.dedup();
    assert_eq!(found, ["/f0", "/f1", "/f2", "/f3", "/f7", "/f8"]);
}

#[tokio::test]
async fn a_slow_receiver_delays_no_reply() {
    let receiver = Receiver::start().await;
    receiver.react(Reaction::Silence);
    let gateway = hooked(&receiver, "timeout = \"60s\"").start().await;
    let uploads = async {
        for _ in 0..5 {
            upload(&gateway, &["x"]).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), uploads)
        .await
        .unwrap();
    assert!(!receiver.calls().is_empty());
}

#[tokio::test]
async fn a_stop_delivers_what_waits() {
    let receiver = Receiver::start().await;
    receiver.react(taken());
    let gateway = hooked(&receiver, "on = [\"upload\"]").start().await;
    let names = Mutex::new(Vec::new());
    for number in 0..20 {
        let name = format!("f{number:02}");
        upload(&gateway, &[&name]).await;
        names.lock().unwrap().push(format!("/{name}"));
    }
    gateway.stop().await;
    let mut found = paths(&receiver.calls());
    found.sort();
    assert_eq!(found, *names.lock().unwrap());
}

#[tokio::test]
async fn a_stop_waits_a_bounded_time_for_a_receiver_that_is_silent() {
    let receiver = Receiver::start().await;
    receiver.react(Reaction::Silence);
    let gateway = hooked(&receiver, "timeout = \"10m\"").start().await;
    upload(&gateway, &["x"]).await;
    within("the server's end", gateway.stop()).await;
}

/// Four events of the failing hook are being repeated, and its further ones wait.
#[tokio::test]
async fn a_hook_is_not_held_up_by_another_whose_receiver_fails() {
    let (failing, working) = (Receiver::start().await, Receiver::start().await);
    failing.react(Reaction::Answer(500, String::new()));
    working.react(taken());
    let url = working.url();
    let gateway = hooked(&failing, "on = [\"upload\"]")
        .with(&format!(
            "[events.working]\nurl = \"{url}\"\non = [\"upload\"]"
        ))
        .start()
        .await;
    upload(&gateway, &["a", "b", "c", "d"]).await;
    failing.called(4).await;
    let names: Vec<String> = (0..20).map(|number| format!("f{number:02}")).collect();
    for name in &names {
        upload(&gateway, &[name]).await;
    }
    let mut found = paths(&working.called(24).await);
    found.sort();
    let later: Vec<&str> = found[4..].iter().map(|path| &path[1..]).collect();
    assert_eq!(later, names);
}
