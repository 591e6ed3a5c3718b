//! The log of the binary, and the transfer log: forms, filters, who decides, files that move.

use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::Value;

use test_support::ftp::Ftp;
use test_support::gateway::{BUCKET, PASSWORD, USER};
use test_support::launcher::{Launcher, command};
use test_support::process::Process;
use test_support::settings::Settings;
use test_support::store::Store;
use test_support::within;

/// A server without options on the command line, after this shell command, with this `[log]`.
async fn launch(before: &str, log: &str) -> (Store, test_support::launcher::ServerProcess) {
    let store = Store::start(&[BUCKET]).await;
    let text = Settings::least(&store).with(log).text();
    let server = Launcher::of_text(&text).after(before).start().await;
    (store, server)
}

async fn login(address: std::net::SocketAddr) -> Ftp {
    let mut ftp = Ftp::connect(address).await;
    ftp.login(USER, PASSWORD).await;
    ftp
}

/// The lines of a JSON log, all of them objects.
fn objects(log: &str) -> Vec<Value> {
    let line = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(
            value["timestamp"].is_string() && value["level"].is_string(),
            "{line}"
        );
        assert!(value["target"].is_string(), "{line}");
        assert!(
            value["message"].is_string() != value["event"].is_string(),
            "{line}"
        );
        value
    };
    log.lines().map(line).collect()
}

fn only<'a>(lines: &'a [Value], event: &str) -> &'a Value {
    let mut found = lines.iter().filter(|line| line["event"] == event);
    let first = found.next().unwrap_or_else(|| panic!("no {event}"));
    assert!(found.next().is_none(), "more than one {event}");
    first
}

#[tokio::test]
async fn each_line_is_a_json_object_whatever_clients_send() {
    let mut process = Process::start("[login_failures]\ndelay = 0").await;
    let mut ftp = Ftp::connect(process.address).await;
    ftp.expect("USER forged\u{1b}[2J\u{2028}\",\"event\":\"x\"", 331)
        .await;
    ftp.expect("PASS x", 530).await;
    ftp.expect("CLNT \"\\\u{1b}]0;title\u{7}\u{202e}", 200)
        .await;
    ftp.login(USER, PASSWORD).await;
    ftp.expect("TYPE I", 200).await;
    let name = "a \"b\\\" {c=d} \u{202e}fdp.\u{1f980}";
    assert_eq!(ftp.store(name, b"bytes").await.code, 226);
    ftp.expect("QUIT", 221).await;
    let log = process.stop().await;
    let lines = objects(&log);
    assert!(
        !log.contains(['\u{1b}', '\u{7}', '\u{202e}', '\u{2028}']),
        "{log}"
    );
    let refused = only(&lines, "login_refused");
    assert_eq!(refused["user"], "forged\u{1b}[2J\u{2028}\",\"event\":\"x\"");
    assert_eq!(refused["cause"], "unknown_user");
    let transfer = only(&lines, "transfer");
    for (field, value) in [
        ("level", Value::from("INFO")),
        ("user", USER.into()),
        ("client", "\"\\\u{1b}]0;title\u{7}\u{202e}".into()),
        ("verb", "STOR".into()),
        ("direction", "in".into()),
        ("type", "binary".into()),
        ("path", format!("/{name}").into()),
        ("bucket", BUCKET.into()),
        ("key", name.into()),
        ("bytes", 5.into()),
        ("size", 5.into()),
        ("code", 226.into()),
        ("class", "ok".into()),
    ] {
        assert_eq!(transfer[field], value, "{field} of {transfer}");
    }
    assert!(transfer["seconds"].is_f64(), "{transfer}");
    let closed = only(&lines, "session_close");
    assert_eq!(closed["session"], transfer["session"]);
    assert_eq!(
        (&closed["files_in"], &closed["bytes_in"]),
        (&1.into(), &5.into())
    );
}

#[tokio::test]
async fn the_configuration_sets_the_level_and_the_form() {
    let log = "[log]\nlevel = \"s3ftpd=debug,info\"\nformat = \"json\"";
    let (_store, mut server) = launch("", log).await;
    login(server.address).await.expect("QUIT", 221).await;
    let lines = objects(&server.stop().await);
    assert_eq!(only(&lines, "session_open")["level"], "DEBUG");
    only(&lines, "login");
}

#[tokio::test]
async fn the_environment_comes_before_the_configuration_and_the_command_line_before_both() {
    let log = "[log]\nlevel = \"debug\"\nformat = \"json\"";
    let (_store, mut server) = launch("export RUST_LOG=info,s3ftpd::events=off", log).await;
    login(server.address).await.expect("QUIT", 221).await;
    let lines = objects(&server.stop().await);
    assert!(
        lines
            .iter()
            .all(|line| line["event"].is_null() && line["level"] == "INFO")
    );

    let store = Store::start(&[BUCKET]).await;
    let text = Settings::least(&store).with(log).text();
    let launcher = Launcher::of_text(&text).after("export RUST_LOG=off");
    let options = ["--log", "info", "--log-format", "text"];
    let mut server = launcher.options(&options).start().await;
    login(server.address).await.expect("QUIT", 221).await;
    let log = server.stop().await;
    assert!(
        log.contains(" INFO s3ftpd::events: login session="),
        "{log}"
    );
    assert!(
        !log.contains("DEBUG") && !log.contains("\"event\""),
        "{log}"
    );
}

#[tokio::test]
async fn a_filter_that_is_none_is_a_wrong_usage() {
    for (arguments, variable, named) in [
        (&["--log", "inof", "schema"][..], "info", "--log"),
        (&["schema"], "loud", "RUST_LOG"),
    ] {
        let mut command = command(arguments);
        command.env("RUST_LOG", variable);
        let output = within("its end", command.output()).await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(
            error.contains(named) && error.contains("s3ftpd=debug,info"),
            "{error}"
        );
    }
}

/// Waits until a file has this number of lines.
async fn lines(path: &Path, number: usize) -> Vec<String> {
    within(&format!("{number} lines in {}", path.display()), async {
        loop {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if text.lines().count() >= number && text.ends_with('\n') {
                return text.lines().map(str::to_owned).collect();
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    })
    .await
}

/// `[log]` with the transfer log in this directory, and its path.
fn in_directory(directory: &Path) -> (String, PathBuf) {
    let path = directory.join("xferlog");
    (format!("[log]\nxferlog = {path:?}"), path)
}

#[tokio::test]
async fn uploads_downloads_and_deletes_stand_in_the_transfer_log() {
    let directory = tempfile::tempdir().unwrap();
    let (log, path) = in_directory(directory.path());
    let (_store, mut server) = launch("export TZ=CET-1", &log).await;
    let mut ftp = login(server.address).await;
    ftp.expect("TYPE I", 200).await;
    assert_eq!(ftp.store("a b.csv", b"bytes").await.code, 226);
    assert_eq!(ftp.retrieve("a b.csv").await.1.code, 226);
    ftp.expect("TYPE A", 200).await;
    assert_eq!(ftp.retrieve("a b.csv").await.1.code, 226);
    ftp.list("LIST").await;
    ftp.expect("DELE a b.csv", 250).await;
    ftp.expect("DELE a b.csv", 550).await;
    ftp.expect("QUIT", 221).await;
    server.stop().await;
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|l| l.split_whitespace().collect())
        .collect();
    let after_the_size: Vec<String> = lines.iter().map(|line| line[7..].join(" ")).collect();
    assert_eq!(
        after_the_size,
        [
            "5 /a_b.csv b _ i r u ftp 0 * c",
            "5 /a_b.csv b _ o r u ftp 0 * c",
            "5 /a_b.csv a _ o r u ftp 0 * c",
            "0 /a_b.csv b _ d r u ftp 0 * c",
        ]
    );
    let seconds: Vec<_> = lines.iter().map(|line| line[5]).collect();
    assert_eq!(seconds, ["1", "1", "1", "0"]);
    for line in &lines {
        let date = format!("{} +0100", line[..5].join(" "));
        let time = jiff::ZonedDateTime::strptime("%a %b %e %H:%M:%S %Y %z", &date).unwrap();
        let age = jiff::Timestamp::now().duration_since(time.timestamp());
        assert!((0..600).contains(&age.as_secs()), "{date}");
        assert_eq!(line[6], "127.0.0.1");
    }
}

#[tokio::test]
async fn a_rotated_transfer_log_begins_a_new_file() {
    let directory = tempfile::tempdir().unwrap();
    let (log, path) = in_directory(directory.path());
    let old = directory.path().join("xferlog.1");
    let (_store, mut server) = launch("", &log).await;
    let mut ftp = login(server.address).await;
    ftp.store("one", b"1").await;
    lines(&path, 1).await;
    std::fs::rename(&path, &old).unwrap();
    ftp.store("two", b"2").await;
    assert!(lines(&path, 1).await[0].contains(" /two "));
    // SIGHUP makes the new file without a transfer.
    std::fs::rename(&path, &old).unwrap();
    server.signal(Signal::SIGHUP);
    within("the new file", async {
        while !path.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    ftp.store("three", b"3").await;
    assert!(lines(&path, 1).await[0].contains(" /three "));
    assert!(lines(&old, 1).await[0].contains(" /two "));
    ftp.expect("QUIT", 221).await;
    server.stop().await;
}

#[tokio::test]
async fn the_transfer_log_can_go_to_standard_output() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let before = format!("exec >'{}'", out.display());
    let (_store, mut server) = launch(&before, "[log]\nxferlog = \"stdout\"").await;
    let mut ftp = login(server.address).await;
    ftp.store("one", b"1").await;
    lines(&out, 1).await;
    ftp.store("two", b"2").await;
    ftp.expect("QUIT", 221).await;
    let log = server.stop().await;
    let text = std::fs::read_to_string(&out).unwrap();
    assert!(
        text.lines().count() == 2 && text.contains(" /two a _ i "),
        "{text}"
    );
    assert!(!log.contains(" a _ i "), "{log}");
}

#[tokio::test]
async fn a_transfer_log_that_takes_nothing_is_reported_and_stops_no_transfer() {
    let (_store, mut server) = launch("", "[log]\nxferlog = \"/dev/full\"").await;
    let mut ftp = login(server.address).await;
    for number in 0..3 {
        let reply = ftp.store(&format!("file{number}"), b"bytes").await;
        assert_eq!(reply.code, 226);
    }
    server.logged("lines of the transfer log are lost").await;
    ftp.expect("QUIT", 221).await;
    let log = server.stop().await;
    let reports = log.lines().filter(|line| line.contains("are lost"));
    assert_eq!(reports.count(), 1, "{log}");
    assert!(log.contains("No space left on device"), "{log}");
}

#[tokio::test]
async fn a_transfer_log_that_can_t_be_opened_stops_the_start() {
    let store = Store::start(&[BUCKET]).await;
    let directory = tempfile::tempdir().unwrap();
    let log = in_directory(&directory.path().join("none")).0;
    let file = directory.path().join("s3ftpd.toml");
    std::fs::write(&file, Settings::least(&store).with(&log).text()).unwrap();
    let output = command(&["serve", "--config", file.to_str().unwrap()]).output();
    let output = within("its end", output).await.unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("log.xferlog: can't write to "), "{error}");
}

/// A name of about 1000 bytes, of a file that does not exist.
fn long_name(number: usize) -> String {
    let segment = "x".repeat(200);
    format!("{number}/{segment}/{segment}/{segment}/{segment}")
}

#[tokio::test]
async fn a_log_that_no_process_reads_delays_no_session_and_all_lines_come_when_it_is_read() {
    let mut process = Process::start("[admin]\nlisten = \"127.0.0.1:0\"").await;
    assert!(process.get("/healthz").await.contains(" 200 "));
    process.read_log(false);
    let mut ftp = process.ftp().await;
    // More than a pipe holds, and the buffer of the reader.
    for number in 0..200 {
        let reply = ftp.command(&format!("DELE {}", long_name(number))).await;
        assert_eq!(reply.code, 550);
    }
    assert_eq!(ftp.store("x", b"bytes").await.code, 226);
    let mut other = process.ftp().await;
    other.expect("QUIT", 221).await;
    assert!(process.get("/healthz").await.contains(" 200 "));
    process.signal(Signal::SIGTERM);
    ftp.expect_reply(421).await;
    process.read_log(true);
    let (code, log) = process.ended().await;
    assert_eq!(code, Some(0));
    let lines = objects(&log);
    let refused = lines.iter().filter(|line| line["event"] == "refused");
    let paths: Vec<_> = refused.map(|line| line["path"].as_str().unwrap()).collect();
    let expected: Vec<_> = (0..200).map(|n| format!("/{}", long_name(n))).collect();
    assert_eq!(paths, expected);
    only(&lines, "transfer");
    assert_eq!(lines.last().unwrap()["message"], "stopped");
}

#[tokio::test]
async fn the_reason_why_a_start_fails_is_the_last_line_of_the_log() {
    let store = Store::start(&[BUCKET]).await;
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap();
    let text = Settings::least(&store).text();
    let text = text.replace("127.0.0.1:0", &address.to_string());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("s3ftpd.toml");
    std::fs::write(&file, text).unwrap();
    let mut serve = command(&["--log", "trace", "serve", "--config"]);
    let ended = within("the end", serve.arg(&file).output()).await.unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let log = String::from_utf8(ended.stderr).unwrap();
    let last = log.lines().last().unwrap();
    assert!(
        last.contains(&format!("can't listen on {address}")),
        "{log}"
    );
}

/// The value of the metric.
async fn lost_lines(process: &Process) -> u64 {
    let answer = process.get("/metrics").await;
    let mut lines = answer.lines();
    let value = lines.find_map(|line| line.strip_prefix("s3ftpd_log_lines_lost_total "));
    value.unwrap().parse().unwrap()
}

#[tokio::test]
async fn lines_that_the_log_has_no_room_for_are_counted_and_reported() {
    let process = Process::start("[admin]\nlisten = \"127.0.0.1:0\"").await;
    assert_eq!(lost_lines(&process).await, 0);
    process.read_log(false);
    let mut ftp = process.ftp().await;
    // JSON writes a control character as six bytes.
    let name = "\u{1}".repeat(3000);
    while lost_lines(&process).await == 0 {
        for _ in 0..50 {
            ftp.expect(&format!("DELE {name}"), 553).await;
        }
    }
    process.read_log(true);
    process.logged("lines of the log were lost").await;
    let lost = lost_lines(&process).await;
    let mut process = process;
    let log = process.stop().await;
    let reports = objects(&log);
    let reports = reports.iter().filter(|line| {
        let message = line["message"].as_str().unwrap_or_default();
        message.starts_with("lines of the log were lost")
    });
    let reported: u64 = reports.map(|line| line["lines"].as_u64().unwrap()).sum();
    assert_eq!(reported, lost);
}

/// The old filter shows the change, or the new one.
#[tokio::test]
async fn a_change_of_the_filter_is_a_line_of_the_log_also_if_one_of_the_two_hides_it() {
    let admin = "[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"0123456789abcdef0123456789abcdef\"";
    let mut process = Process::start(admin).await;
    for filter in ["off", "error", "inof", "info", "debug"] {
        let form = format!("filter={filter}");
        let answer = process
            .ask(&format!(
                "POST /log/filter HTTP/1.1\r\nHost: x\r\n\
                 Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\n\
                 Content-Length: {}\r\n\r\n{form}",
                form.len()
            ))
            .await;
        let changed = answer.contains(" 200 ");
        assert_eq!(changed, filter != "inof", "{answer}");
    }
    let log = process.stop().await;
    let changes: Vec<_> = objects(&log)
        .into_iter()
        .filter(|line| line["message"] == "an operator has changed the filter of the log")
        .map(|line| line["filter"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(changes, ["off", "info", "debug"]);
}
