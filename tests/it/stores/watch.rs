//! The looks at the start and while the server runs, and what the health endpoints show of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use s3ftpd::config;
use s3ftpd::events::{EventSink, Kind};
use s3ftpd::object::look::StoreTrouble;
use s3ftpd::server::store_watch::{StoreHealth, StoreState};
use s3ftpd::server::{Server, ServerError};
use test_support::events::Recorder;
use test_support::faults::{Answer, Fault};
use test_support::gateway::{BUCKET, Gateway};
use test_support::launcher::Launcher;
use test_support::receiver::{Reaction, Receiver};
use test_support::settings::Settings;
use test_support::store::Store;
use test_support::within;

const OFTEN: Duration = Duration::from_millis(20);
const ADMIN: &str = "[stores.main]\nattempts = 1\n[admin]\nlisten = \"127.0.0.1:0\"";

/// Waits until the only store's state is so.
async fn until(gateway: &Gateway, what: &str, is_so: impl Fn(&StoreState) -> bool) {
    within(what, async {
        while !is_so(&gateway.server.stores()[0]) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

fn is_down(trouble: StoreTrouble) -> impl Fn(&StoreState) -> bool {
    move |state| matches!(&state.health, StoreHealth::Down(failure) if failure.trouble == trouble)
}

fn is_up(state: &StoreState) -> bool {
    state.health == StoreHealth::Up
}

async fn get(admin: SocketAddr, path: &str) -> String {
    within(path, async {
        let mut stream = TcpStream::connect(admin).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    })
    .await
}

#[tokio::test]
async fn a_store_goes_down_and_up_and_readiness_does_not_follow() {
    let gateway = Gateway::builder()
        .with(ADMIN)
        .look_every(OFTEN)
        .start()
        .await;
    let admin = gateway.server.admin_address().unwrap();
    until(&gateway, "up", is_up).await;
    let verbose = get(admin, "/readyz?verbose").await;
    assert!(verbose.contains("ready\nstore main: up for "), "{verbose}");
    gateway.store.stop().await;
    until(&gateway, "down", is_down(StoreTrouble::Unreachable)).await;
    for path in ["/readyz", "/healthz", "/readyz?verbose"] {
        let answer = get(admin, path).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        let shown = answer.contains("store main: down for ") && answer.contains("unreachable");
        assert_eq!(shown, path.contains("verbose"), "{path}: {answer}");
    }
    gateway.store.restart().await;
    until(&gateway, "up again", is_up).await;
}

#[tokio::test]
async fn each_trouble_has_its_class() {
    let gateway = Gateway::builder()
        .with(ADMIN)
        .look_every(OFTEN)
        .start()
        .await;
    for (fault, trouble) in [
        (
            Fault::Status(403, "InvalidAccessKeyId"),
            StoreTrouble::Credentials,
        ),
        (
            Fault::Status(403, "RequestTimeTooSkewed"),
            StoreTrouble::Clock,
        ),
        (Fault::Status(503, "SlowDown"), StoreTrouble::Overloaded),
        (Fault::Foreign(Answer::page(404)), StoreTrouble::NotS3),
        (Fault::Shorten(60), StoreTrouble::NotS3),
        (Fault::ResetBeforeHandling, StoreTrouble::Unreachable),
    ] {
        let rule = gateway.store.fail("ListObjectsV2").always().with(fault);
        until(&gateway, trouble.name(), is_down(trouble)).await;
        rule.remove();
        until(&gateway, "up", is_up).await;
    }
    // Troubles of a bucket leave the store up.
    for (fault, trouble) in [
        (Fault::Status(403, "AccessDenied"), StoreTrouble::Denied),
        (Fault::Status(404, "NoSuchBucket"), StoreTrouble::NoBucket),
    ] {
        let rule = gateway.store.fail("ListObjectsV2").always().with(fault);
        until(&gateway, trouble.name(), |state| {
            let failure = state.buckets[0].failure.as_ref();
            is_up(state) && failure.map(|failure| failure.trouble) == Some(trouble)
        })
        .await;
        rule.remove();
        until(&gateway, "listed", |state| {
            state.buckets[0].failure.is_none()
        })
        .await;
    }
}

#[tokio::test]
async fn a_look_is_one_cheap_request_and_the_buckets_take_turns() {
    let gateway = Gateway::builder()
        .add_mount("scans", "scans", "in/")
        .mount("state_bucket = \"state\"")
        .bucket("state")
        .user("u", "p", "{ \"/\" = \"main\", \"/scans\" = \"scans\" }")
        .look_every(OFTEN)
        .start()
        .await;
    gateway.store.wait_for("ListObjectsV2", 9).await;
    let looks = gateway.store.requests();
    let asked: Vec<(&str, &str)> = looks
        .iter()
        .map(|look| {
            assert_eq!(look.operation, "ListObjectsV2");
            assert_eq!(look.parameter("max-keys"), Some("1"), "{look:?}");
            let prefix = look.parameter("prefix").unwrap_or_default();
            (look.bucket.as_str(), prefix)
        })
        .collect();
    let each = [(BUCKET, ""), ("scans", "in%2F"), ("state", ".s3ftpd%2F")];
    // At the start in parallel, then in turn.
    for bucket in &each {
        assert!(asked[..3].contains(bucket), "{asked:?}");
    }
    assert_eq!(asked[3..9], [each, each].concat());
}

#[tokio::test]
async fn a_store_that_fails_at_the_start_is_a_warning() {
    let store = Arc::new(Store::start(&[]).await);
    store.stop().await;
    let mut server = Launcher::of_text(
        &Settings::least(&store)
            .with("[stores.main]\nattempts = 1\nconnect_timeout = \"1s\"")
            .text(),
    )
    .start()
    .await;
    server.logged("store_down").await;
    let log = server.stop().await;
    assert!(log.contains("class=store_unreachable"), "{log}");
}

const REQUIRED: &str = "[stores.main]\nattempts = 1\nrequired = true";

/// Starts a server on this store, which is required, with short times.
async fn start_with_required(store: &Store, wait: Duration) -> Result<Server, ServerError> {
    start_with(Settings::least(store).with(REQUIRED), wait, Vec::new()).await
}

async fn start_with(
    settings: Settings,
    wait: Duration,
    sinks: Vec<Arc<dyn EventSink>>,
) -> Result<Server, ServerError> {
    let mut options = config::from_str(&settings.text(), "test").unwrap();
    options.store_looks.required_for = wait;
    options.store_looks.required_pause = OFTEN;
    options.store_looks.every = OFTEN;
    Server::start(options, sinks).await
}

/// A hook that gets what happens to stores.
fn store_hook(receiver: &Receiver) -> String {
    let url = receiver.url();
    format!("[events.hook]\nurl = \"{url}\"\non = [\"store_up\", \"store_down\"]")
}

fn types(receiver: &Receiver) -> Vec<String> {
    let calls = receiver.calls();
    let kind =
        |call: &test_support::receiver::Call| call.json()["type"].as_str().map(str::to_owned);
    calls.iter().filter_map(kind).collect()
}

#[tokio::test]
async fn the_start_waits_for_a_required_store_and_fails_without_it() {
    let store = Store::start(&[BUCKET]).await;
    let rule = store.fail("ListObjectsV2").times(3);
    rule.with(Fault::Status(503, "SlowDown"));
    let server = start_with_required(&store, Duration::from_secs(60)).await;
    server.unwrap().stop().await;
    assert!(store.count("ListObjectsV2") >= 4);
    let rule = store.fail("ListObjectsV2").always();
    rule.with(Fault::Status(403, "InvalidAccessKeyId"));
    let refused = start_with_required(&store, 2 * OFTEN).await.unwrap_err();
    assert!(matches!(refused, ServerError::RequiredStore(_)));
    let text = refused.to_string();
    for part in ["store main", BUCKET, "credentials", "InvalidAccessKeyId"] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn a_required_store_comes_up_once() {
    let store = Store::start(&[BUCKET]).await;
    let rule = store.fail("ListObjectsV2").times(3);
    rule.with(Fault::Status(503, "SlowDown"));
    let events = Arc::new(Recorder::default());
    let settings = Settings::least(&store).with(REQUIRED);
    let server = start_with(settings, Duration::from_secs(60), vec![events.clone()]).await;
    let server = server.unwrap();
    assert_eq!(server.stores()[0].health, StoreHealth::Up);
    // Four looks of the wait, then those of the running server.
    store.wait_for("ListObjectsV2", 7).await;
    server.stop().await;
    let all = events.all().into_iter().map(|event| event.kind);
    assert_eq!(all.collect::<Vec<_>>(), [Kind::StoreDown, Kind::StoreUp]);
}

#[tokio::test]
async fn a_start_that_fails_delivers_its_events() {
    let store = Store::start(&[BUCKET]).await;
    let rule = store.fail("ListObjectsV2").always();
    rule.with(Fault::Status(403, "InvalidAccessKeyId"));
    let receiver = Receiver::start().await;
    receiver.react(Reaction::Answer(204, String::new()));
    let settings = Settings::least(&store).with(REQUIRED);
    let settings = settings.with(&store_hook(&receiver));
    let refused = start_with(settings, 2 * OFTEN, Vec::new()).await;
    assert!(matches!(refused, Err(ServerError::RequiredStore(_))));
    assert_eq!(types(&receiver), ["s3ftpd.store_down"]);
}

/// Also if nothing was waited for: the hooks' tasks have just begun.
#[tokio::test]
async fn a_start_that_fails_waits_a_bounded_time_for_a_silent_receiver() {
    let store = Store::start(&[BUCKET]).await;
    let rule = store.fail("ListObjectsV2").always();
    rule.with(Fault::Status(403, "InvalidAccessKeyId"));
    let receiver = Receiver::start().await;
    receiver.react(Reaction::Silence);
    let settings = Settings::least(&store).with(REQUIRED);
    let settings = settings.with(&store_hook(&receiver));
    let settings = settings.with("[events.hook]\ntimeout = \"10m\"");
    let started = start_with(settings, Duration::ZERO, Vec::new());
    let refused = within("the end of the start", started).await;
    assert!(matches!(refused, Err(ServerError::RequiredStore(_))));
    assert_eq!(types(&receiver), ["s3ftpd.store_down"]);
}

/// Kubernetes may end a pod that waits for its store.
#[tokio::test]
async fn a_signal_ends_a_start_that_waits_for_its_store() {
    let store = Arc::new(Store::start(&[BUCKET]).await);
    let look = store.fail("ListObjectsV2").always();
    let look = look.with(Fault::Status(503, "SlowDown"));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("s3ftpd.toml");
    let receiver = Receiver::start().await;
    receiver.react(Reaction::Answer(204, String::new()));
    let settings = Settings::least(&store).with(REQUIRED);
    let settings = settings.with(&store_hook(&receiver));
    std::fs::write(&file, settings.text()).unwrap();
    let mut command =
        test_support::launcher::command(&["serve", "--config", file.to_str().unwrap()]);
    let child = command.spawn().unwrap();
    look.hit().await;
    // It is delivered while the start waits.
    receiver.called(1).await;
    assert_eq!(types(&receiver), ["s3ftpd.store_down"]);
    let id = i32::try_from(child.id().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), Signal::SIGTERM).unwrap();
    let output = within("its end", child.wait_with_output()).await.unwrap();
    assert_eq!(output.status.code(), Some(0));
}
