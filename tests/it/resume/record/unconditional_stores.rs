//! Records on stores that ignore conditions.

use std::sync::Arc;
use std::time::Duration;

use s3_embedded::Behaviour;

use super::super::sweep::sweep;
use super::{By, PART, only_objects, record_key, resume};
use test_support::ftp::{Mode, reset_stream};
use test_support::gateway::{BUCKET, Builder, Gateway};
use test_support::transfers::{settled, size, upload_in_progress};
use test_support::{MIB, pattern};

/// The configuration for this behaviour of a store.
pub(super) fn on(builder: Builder, behaviour: &Behaviour) -> Builder {
    builder.with(&format!(
        "[stores.main]\nconditional_writes = {}\nconditional_deletes = {}",
        behaviour.conditional_writes, behaviour.conditional_deletes
    ))
}

/// On stores that ignore If-Match at DELETE.
#[tokio::test]
async fn a_record_is_emptied_if_deletes_ignore_conditions() {
    for behaviour in [Behaviour::minio(), Behaviour::garage()] {
        let gateway = on(Gateway::builder(), &behaviour).start().await;
        let store = &gateway.store;
        store.behave(|now| now.clone_from(&behaviour));
        let mut ftp = gateway.ftp().await;
        let whole = pattern(8 * MIB, 1);
        for _ in 0..2 {
            store.reset_counts();
            assert_eq!(ftp.store("x", &whole).await.code, 226);
            settled(&gateway).await;
            assert_eq!(store.object(BUCKET, &record_key("u")).unwrap(), b"");
            let of_record = |request: &test_support::faults::Request| {
                request.key.starts_with(".s3ftpd/uploads/")
            };
            let requests = store.requests();
            let requests: Vec<&str> = requests
                .iter()
                .filter(|request| of_record(request))
                .map(|request| request.operation.as_str())
                .collect();
            match behaviour.conditional_writes {
                true => assert_eq!(requests, ["PutObject"; 2]),
                false => assert_eq!(
                    requests,
                    ["HeadObject", "PutObject", "HeadObject", "PutObject"]
                ),
            }
        }
        // An empty record counts as none, for this process and for a new one.
        let other = on(Gateway::builder(), &behaviour).on(store).start().await;
        for on in [&gateway, &other] {
            let mut ftp = on.ftp().await;
            assert_eq!(size(&mut ftp, "x").await, whole.len());
            ftp.expect("DELE x", 250).await;
            ftp.expect("SIZE x", 550).await;
            let part = &whole[..6 * MIB];
            let data = upload_in_progress(&mut ftp, "STOR x", part).await;
            reset_stream(data);
            ftp.expect_reply(426).await;
            settled(on).await;
            ftp.close().await;
            resume(on, By::Rest, "x", &whole, 6 * MIB).await;
            settled(on).await;
        }
        ftp.close().await;
        only_objects(&[&gateway, &other], &["x"]).await;
        // The sweep deletes it when it is old.
        sweep(&gateway, &["--older-than", "0s"]).await;
        assert!(store.keys(BUCKET).contains(&record_key("u")));
        store.backend().advance_clock(Duration::from_secs(601));
        sweep(&gateway, &["--older-than", "0s", "--dry-run"]).await;
        assert!(store.keys(BUCKET).contains(&record_key("u")));
        sweep(&gateway, &["--older-than", "30d"]).await;
        assert_eq!(store.keys(BUCKET), ["x"]);
    }
}

/// The gateway probes whether deletes honour conditions.
#[tokio::test]
async fn whether_deletes_ignore_conditions_is_probed_once() {
    for behaviour in [Behaviour::default(), Behaviour::minio()] {
        let auto = "[stores.main]\nconditional_deletes = \"auto\"";
        let gateway = Gateway::builder().with(auto).start().await;
        let store = &gateway.store;
        store.behave(|now| now.clone_from(&behaviour));
        let mut ftp = gateway.ftp().await;
        for name in ["x", "y", "z"] {
            assert_eq!(ftp.store(name, &pattern(6 * MIB, 1)).await.code, 226);
        }
        ftp.close().await;
        settled(&gateway).await;
        let probes = store.requests();
        let probes = probes.iter().filter(|request| {
            request.key.starts_with(".s3ftpd/probe-") && request.operation == "PutObject"
        });
        assert_eq!(probes.count(), 1);
        only_objects(&[&gateway], &["x", "y", "z"]).await;
        let empties = store.keys(BUCKET).len() - 3;
        assert_eq!(empties, if behaviour.conditional_deletes { 0 } else { 3 });
    }
}

/// Users cut, resume and write on two replicas in parallel, on stores without conditions: each open
/// upload has a record, and the sweep removes everything that is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_conditions_no_upload_is_left_without_a_record() {
    for behaviour in [
        Behaviour::minio(),
        Behaviour::garage(),
        Behaviour::default(),
    ] {
        let users = |mut builder: Builder| {
            for user in ["a", "b", "c", "d"] {
                builder = builder.user(user, "p", "{ \"/\" = \"main\" }");
            }
            on(builder, &behaviour)
        };
        let first = users(Gateway::builder()).start().await;
        let second = users(Gateway::builder()).on(&first.store).start().await;
        let store = Arc::clone(&first.store);
        store.behave(|now| now.clone_from(&behaviour));
        let gateways = [first, second];
        let clients = ["a", "b", "c", "d"]
            .into_iter()
            .enumerate()
            .map(|(number, user)| client(&gateways, user, number as u64));
        futures::future::join_all(clients).await;
        for gateway in &gateways {
            settled(gateway).await;
        }
        let records: String = store
            .keys(BUCKET)
            .iter()
            .filter(|key| key.contains("/uploads/"))
            .map(|key| String::from_utf8(store.object(BUCKET, key).unwrap()).unwrap())
            .collect();
        for upload in store.open_uploads() {
            assert!(records.contains(&upload.upload_id), "{upload:?}: {records}");
        }
        for key in store.keys(BUCKET) {
            let named = !key.contains("/tails/") || records.contains(&key);
            assert!(named, "{key}: {records}");
        }
        store.a_day();
        let (succeeded, output) = sweep(&gateways[0], &["--older-than", "0s"]).await;
        assert!(succeeded && !output.contains("unrecorded"), "{output}");
        let left = store.keys(BUCKET);
        // A record that this sweep has discarded is empty now; a sweep ten minutes later removes
        // it.
        let is_empty_record =
            |key: &str| key.contains("/uploads/") && store.object(BUCKET, key).unwrap().is_empty();
        assert!(
            left.iter()
                .all(|key| !key.starts_with(".s3ftpd/") || is_empty_record(key)),
            "{left:?}\n{output}"
        );
        assert_eq!(store.open_uploads(), []);
    }
}

/// The uploads of one user: each is cut on either replica in turn, resumed or started over on the
/// other one at once, or sent by two sessions in parallel.
async fn client(gateways: &[Gateway; 2], user: &str, number: u64) {
    for round in 0..6_usize {
        let name = format!("{}{}", if round % 3 == 0 { "all" } else { user }, round % 2);
        let whole = pattern(11 * MIB, number + 10 * round as u64);
        let sent = [70_000, 6 * MIB, PART + 1, 10 * MIB][(round + number as usize) % 4];
        let mut ftp = gateways[round % 2].ftp_as(user, "p").await;
        let data = upload_in_progress(&mut ftp, &format!("STOR {name}"), &whole[..sent]).await;
        let mut other = gateways[(round + 1) % 2].ftp_as(user, "p").await;
        if round % 2 == 0 {
            reset_stream(data);
            let reply = ftp.reply().await;
            assert!(reply.code >= 400, "{reply:?}");
        } else {
            // The other session does not wait for it.
            drop(ftp);
            drop(data);
        }
        let reply = other.command(&format!("SIZE {name}")).await;
        let from: usize = match reply.code {
            213 => reply.text().parse().unwrap(),
            _ => 0,
        };
        if from > 0 && from < whole.len() && round % 4 < 3 {
            other.expect(&format!("REST {from}"), 350).await;
            let rest = &whole[from..];
            let reply = other
                .upload_with(&format!("STOR {name}"), rest, Mode::Passive)
                .await;
            assert!(reply.code >= 200, "{reply:?}");
        } else {
            let reply = other.store(&name, &whole).await;
            assert!(reply.code >= 200, "{reply:?}");
        }
        other.close().await;
    }
}
