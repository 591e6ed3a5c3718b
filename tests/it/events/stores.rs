//! State of the store × verb: one event, whatever the store does.

use s3ftpd::events::{Class, Kind, Level};

use super::{FILE_COMMANDS, of_commands, one_failure, run};
use test_support::faults::{Answer, Fault};
use test_support::gateway::{BUCKET, Gateway};

/// A state of a store: how requests fail then, and the class.
type StoreState = (&'static str, fn() -> Fault, Class);

const STATES: [StoreState; 12] = [
    (
        "denied",
        || Fault::Status(403, "AccessDenied"),
        Class::StoreDenied,
    ),
    (
        "wrong credentials",
        || Fault::Status(403, "InvalidAccessKeyId"),
        Class::StoreCredentials,
    ),
    (
        "wrong signature",
        || Fault::Status(403, "SignatureDoesNotMatch"),
        Class::StoreCredentials,
    ),
    (
        "expired",
        || Fault::Status(400, "ExpiredToken"),
        Class::StoreCredentials,
    ),
    (
        "clock skewed",
        || Fault::Status(403, "RequestTimeTooSkewed"),
        Class::StoreCredentials,
    ),
    (
        "no bucket",
        || Fault::Status(404, "NoSuchBucket"),
        Class::StoreError,
    ),
    (
        "down",
        || Fault::ResetBeforeHandling,
        Class::StoreUnreachable,
    ),
    ("time-out", || Fault::Stall, Class::StoreUnreachable),
    (
        "slow down",
        || Fault::Status(503, "SlowDown"),
        Class::StoreUnreachable,
    ),
    (
        "a failure of its own",
        || Fault::Status(500, "InternalError"),
        Class::StoreUnreachable,
    ),
    (
        "a page",
        || Fault::Foreign(Answer::page(502)),
        Class::StoreUnreachable,
    ),
    ("teapot", || Fault::Status(418, "Teapot"), Class::StoreError),
];

#[tokio::test]
async fn each_state_of_the_store_is_one_event_for_each_verb() {
    // Each has a store of its own. In parallel, since an upload that fails is first kept for a
    // resume, which takes seconds here.
    futures::future::join_all(STATES.map(in_state)).await;
}

async fn in_state((state, fault, class): StoreState) {
    let mut builder = Gateway::builder().with("[stores.main]\nattempts = 1");
    if state == "time-out" {
        builder = builder.with("[stores.main]\nrequest_timeout = \"150ms\"");
    }
    let gateway = builder.mount("times = \"metadata\"").start().await;
    gateway.store.put(BUCKET, "there", "bytes");
    gateway.store.put(BUCKET, "dir/x", "bytes");
    let mut ftp = gateway.ftp().await;
    ftp.expect("TYPE I", 200).await;
    for line in FILE_COMMANDS.into_iter().chain(["RNTO new", "CWD dir"]) {
        if line.starts_with("RNTO") {
            if state == "time-out" {
                // A copy may take 30 s more.
                continue;
            }
            ftp.expect("RNFR there", 350).await;
        }
        of_commands(&gateway);
        let rule = gateway.store.fail("*").always().with(fault());
        let case = format!("{state}, {line}");
        let reply = run(&mut ftp, line).await;
        rule.remove();
        assert!(reply.code >= 400, "{case}: {reply:?}");
        let event = one_failure(&gateway, &reply, class, &case);
        assert_eq!(event.level, Level::Warn, "{case}");
        assert_eq!(event.verb, line.split(' ').next(), "{case}");
        assert_eq!(event.store.as_deref(), Some("main"), "{case}");
        // These two ask the store nothing before their 150.
        let kind = match &line[..4] {
            "STOR" | "STOU" => Kind::Transfer,
            _ => Kind::Refused,
        };
        assert_eq!(event.kind, kind, "{case}");
    }
}
