//! `s3ftpd check --stores`, with and without `--write`.

use std::process::Output;

use nix::sys::signal::Signal;
use tokio::process::Child;

use test_support::faults::{Answer, Fault};
use test_support::gateway::BUCKET;
use test_support::launcher::command;
use test_support::settings::Settings;
use test_support::store::Store;
use test_support::within;

/// What [`Settings::least`] says that the store can do, left to the probes.
const PROBED: &str = "[stores.main]\nattempts = 1\nchecksums = \"auto\"\n\
                      conditional_writes = \"auto\"\nconditional_deletes = \"auto\"\n\
                      files_hide_directories = \"auto\"";
const ALL_STEPS: &str = "allowed list put get copy multipart abort delete;";

/// `check` of a configuration of a store.
struct Check {
    directory: tempfile::TempDir,
}

impl Check {
    fn of(store: &Store, settings: &str) -> Check {
        let directory = tempfile::tempdir().unwrap();
        let text = Settings::least(store).with(PROBED).with(settings).text();
        std::fs::write(directory.path().join("s3ftpd.toml"), text).unwrap();
        Check { directory }
    }

    fn spawn(&self, options: &[&str]) -> Child {
        let file = self.directory.path().join("s3ftpd.toml");
        let mut arguments = vec!["--log", "off", "check", "--config", file.to_str().unwrap()];
        arguments.extend(options);
        command(&arguments).spawn().unwrap()
    }

    /// Exit code and standard output.
    async fn run(&self, options: &[&str]) -> (i32, String) {
        ended(self.spawn(options)).await
    }

    async fn json(&self, options: &[&str]) -> (i32, serde_json::Value) {
        let (code, out) = self.run(&[options, &["--format", "json"]].concat()).await;
        (code, serde_json::from_str(&out).unwrap())
    }
}

async fn ended(child: Child) -> (i32, String) {
    let output = within("the end of check", child.wait_with_output()).await;
    let Output { status, stdout, .. } = output.unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap())
}

/// The line of the bucket of the tests.
fn line(out: &str) -> &str {
    let begin = format!("  main:{BUCKET}: ");
    let line = out.lines().find_map(|line| line.strip_prefix(&begin));
    line.unwrap_or_else(|| panic!("no line {begin:?} in\n{out}"))
}

fn nothing_is_left(store: &Store) {
    assert_eq!(store.keys(BUCKET), [""; 0]);
    assert!(store.open_uploads().is_empty());
}

#[tokio::test]
async fn a_list_of_each_bucket_changes_nothing() {
    let store = Store::start(&[BUCKET]).await;
    let check = Check::of(&store, "");
    let (code, out) = check.run(&["--stores"]).await;
    assert_eq!((code, line(&out)), (0, "allowed list"), "{out}");
    assert!(out.contains("memory budget"), "{out}");
    assert_eq!(store.operations(), ["ListObjectsV2"]);
}

#[tokio::test]
async fn a_trial_reports_what_is_allowed_and_what_the_store_can_do_and_leaves_nothing() {
    let store = Store::start(&[BUCKET]).await;
    let check = Check::of(&store, "");
    let (code, out) = check.run(&["--stores", "--write"]).await;
    let can = "can checksums full_object_checksums conditional_writes conditional_complete \
               conditional_deletes; cannot files_hide_directories";
    assert_eq!((code, line(&out)), (0, &*format!("{ALL_STEPS} {can}")));
    nothing_is_left(&store);
    for behaviour in [
        s3_embedded::Behaviour::minio(),
        s3_embedded::Behaviour::garage(),
    ] {
        store.backend().set_behaviour(behaviour.clone());
        let (code, report) = check.json(&["--stores", "--write"]).await;
        assert_eq!(code, 0, "{report}");
        let bucket = &report["stores"][0]["buckets"][0];
        let can = &bucket["can"];
        assert_eq!(can["conditional_writes"], behaviour.conditional_writes);
        assert_eq!(can["conditional_deletes"], behaviour.conditional_deletes);
        let hides = behaviour.files_hide_directories;
        assert_eq!(can["files_hide_directories"], hides);
        assert_eq!(can["checksums"], true);
        nothing_is_left(&store);
    }
}

/// The server would rely on what the store does not do.
#[tokio::test]
async fn a_configuration_that_the_store_contradicts_is_reported() {
    let store = Store::start(&[BUCKET]).await;
    store.behave(|store| {
        store.checksums = false;
        store.conditional_writes = false;
        store.conditional_deletes = false;
        store.files_hide_directories = true;
    });
    let stated = "[stores.main]\nchecksums = \"crc32\"\nconditional_writes = true\n\
                  conditional_deletes = true\nfiles_hide_directories = false";
    let check = Check::of(&store, stated);
    let (code, out) = check.run(&["--stores", "--write"]).await;
    assert_eq!(code, 3, "{out}");
    for key in [
        "checksums = \"crc32\"",
        "conditional_writes = true",
        "conditional_deletes = true",
        "files_hide_directories = false",
    ] {
        let wrong = format!("wrong in the configuration: {key}");
        assert_eq!(line(&out).matches(&wrong).count(), 1, "{key}: {out}");
    }
    nothing_is_left(&store);
}

#[tokio::test]
async fn a_store_that_fails_has_its_class_and_exit_code_3() {
    let store = Store::start(&[BUCKET]).await;
    let check = Check::of(&store, "");
    for (fault, class) in [
        (Fault::Status(403, "InvalidAccessKeyId"), "credentials"),
        (Fault::Status(400, "ExpiredToken"), "credentials"),
        (Fault::Status(403, "InvalidTokenId"), "credentials"),
        (Fault::Status(403, "RequestTimeTooSkewed"), "clock"),
        (Fault::Status(403, "AccessDenied"), "denied"),
        (Fault::Status(404, "NoSuchBucket"), "no_bucket"),
        (Fault::Status(503, "SlowDown"), "overloaded"),
        (Fault::Foreign(Answer::page(200)), "not_s3"),
        (Fault::Shorten(60), "not_s3"),
        (Fault::ResetBeforeHandling, "unreachable"),
    ] {
        let rule = store.fail("ListObjectsV2").always().with(fault);
        let (code, report) = check.json(&["--stores"]).await;
        assert_eq!((code, &report["ok"]), (3, &false.into()), "{report}");
        let step = &report["stores"][0]["buckets"][0]["steps"][0];
        assert_eq!(
            (&step["step"], &step["ok"]),
            (&"list".into(), &false.into())
        );
        assert_eq!(step["failure"]["class"], class, "{report}");
        rule.remove();
    }
    let https = store.endpoint().replace("http:", "https:");
    let tls = Check::of(&store, &format!("[stores.main]\nendpoint = \"{https}\""));
    let (_, out) = tls.run(&["--stores"]).await;
    let words = "https:// in `endpoint` may have to be http://";
    assert!(
        line(&out).contains("unreachable (") && out.contains(words),
        "{out}"
    );
    store.stop().await;
    let (code, out) = check.run(&["--stores", "--write"]).await;
    assert_eq!(code, 3, "{out}");
    assert!(
        line(&out).starts_with("failed list: unreachable ("),
        "{out}"
    );
}

#[tokio::test]
async fn a_step_that_fails_is_named_and_nothing_is_left() {
    let store = Store::start(&[BUCKET]).await;
    let check = Check::of(&store, "");
    for (operation, step) in [
        ("PutObject", "put"),
        ("GetObject", "get"),
        ("CopyObject", "copy"),
        ("CreateMultipartUpload", "multipart"),
        ("UploadPart", "multipart"),
        ("CompleteMultipartUpload", "multipart"),
    ] {
        for fault in [Fault::Status(403, "AccessDenied"), Fault::LoseAnswer] {
            let lost = matches!(fault, Fault::LoseAnswer);
            let rule = store.fail(operation).with(fault);
            let (code, out) = check.run(&["--stores", "--write"]).await;
            assert_eq!(code, 3, "{operation}: {out}");
            let class = if lost { "unreachable" } else { "denied" };
            let failed = format!("failed {step}: {class} (");
            assert!(line(&out).contains(&failed), "{operation}: {out}");
            rule.remove();
            nothing_is_left(&store);
        }
    }
    // A key that may only read.
    let denied = |operation| {
        let rule = store.fail(operation).always();
        rule.with(Fault::Status(403, "AccessDenied"))
    };
    let rules = ["PutObject", "DeleteObject"].map(denied);
    let (code, out) = check.run(&["--stores", "--write"]).await;
    assert_eq!(code, 3, "{out}");
    assert!(line(&out).contains("failed put: denied ("), "{out}");
    assert!(!line(&out).contains("may be left"), "{out}");
    for rule in rules {
        rule.remove();
    }
    // What can't be removed is reported.
    let rule = store.fail("DeleteObject").always();
    let rule = rule.with(Fault::Status(403, "AccessDenied"));
    let (code, out) = check.run(&["--stores", "--write"]).await;
    assert_eq!(code, 3, "{out}");
    for part in ["failed delete: denied (", "probe objects may be left"] {
        assert!(line(&out).contains(part), "{out}");
    }
    rule.remove();
    let mut left = store.keys(BUCKET).into_iter();
    assert!(left.all(|key| key.starts_with(".s3ftpd/probe-")));
}

/// SIGINT in the middle of each kind of step.
#[tokio::test]
async fn an_interrupted_trial_removes_what_it_has_made() {
    for operation in ["GetObject", "UploadPart", "AbortMultipartUpload"] {
        let store = Store::start(&[BUCKET]).await;
        let check = Check::of(&store, "");
        let stalled = store.fail(operation).with(Fault::StallAnswer);
        let child = check.spawn(&["--stores", "--write"]);
        stalled.hit().await;
        let id = i32::try_from(child.id().unwrap()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), Signal::SIGINT).unwrap();
        let (code, out) = ended(child).await;
        assert_eq!(code, 1, "{operation}: {out}");
        assert!(line(&out).starts_with("allowed list put"), "{out}");
        nothing_is_left(&store);
    }
}

#[tokio::test]
async fn buckets_that_no_mount_writes_to_are_only_listed() {
    let store = Store::start(&[BUCKET, "state"]).await;
    let mount = "[mounts.main]\npermissions = [\"list\", \"read\"]\nstate_bucket = \"state\"\n\
                 [stores.spare]\nendpoint = \"http://127.0.0.1:9\"\naccess_key_id = \"x\"\n\
                 secret_access_key = \"y\"";
    let check = Check::of(&store, mount);
    let (code, out) = check.run(&["--stores", "--write"]).await;
    let expected = "allowed list; nothing written, as no mount writes there";
    assert_eq!((code, line(&out)), (0, expected), "{out}");
    assert!(out.contains("  spare: no mount uses it\n"), "{out}");
    assert_eq!(store.operations(), ["ListObjectsV2"]);
    // The state bucket of a mount that writes is tried, too.
    let check = Check::of(&store, "[mounts.main]\nstate_bucket = \"state\"");
    let (code, report) = check.json(&["--stores", "--write"]).await;
    assert_eq!(code, 0, "{report}");
    let buckets = report["stores"][0]["buckets"].as_array().unwrap();
    let tried: Vec<_> = buckets
        .iter()
        .map(|bucket| {
            let steps = bucket["steps"].as_array().unwrap().len();
            (bucket["bucket"].as_str(), bucket["prefix"].as_str(), steps)
        })
        .collect();
    let state = (Some("state"), Some(".s3ftpd/"), 7);
    assert_eq!(tried, [(Some(BUCKET), Some(""), 7), state]);
}

#[tokio::test]
async fn a_wrong_configuration_has_exit_code_1() {
    let store = Store::start(&[]).await;
    let check = Check::of(&store, "[timeouts]\nidel = \"5m\"");
    let (code, report) = check.json(&["--stores"]).await;
    assert_eq!((code, &report["ok"]), (1, &false.into()), "{report}");
    let problem = report["problems"][0].as_str().unwrap();
    assert!(problem.contains("timeouts.idel"), "{report}");
    assert!(store.operations().is_empty());
    // What has no meaning without a look at the stores is wrong usage.
    for options in [&["--write"][..], &["--format", "json"]] {
        let (code, _) = check.run(options).await;
        assert_eq!(code, 2, "{options:?}");
    }
}
