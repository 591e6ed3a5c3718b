//! The binary: `check`, `hash-password`, `serve`, its signals and exit codes.

mod whoami;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::Command;

use test_support::ftp::Ftp;
use test_support::gateway::{BUCKET, Gateway, PASSWORD, USER};
use test_support::launcher::{Launcher, ServerProcess, binary, command};
use test_support::process::Process;
use test_support::settings::Settings;
use test_support::store::Store;
use test_support::tls::{HOST, Pki};
use test_support::{MIB, pattern, within};

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/s3ftpd.example.toml");

/// Exit code, standard output, standard error.
async fn run(mut command: Command, input: &str) -> (i32, String, String) {
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A process that reads no input may have ended.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = within("the process's end", child.wait_with_output()).await;
    let output = output.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().expect("an exit code, no signal");
    (code, text(output.stdout), text(output.stderr))
}

fn write(directory: &Path, text: &str) -> PathBuf {
    let file = directory.join("s3ftpd.toml");
    std::fs::write(&file, text).unwrap();
    file
}

#[tokio::test]
async fn check_summarises_the_sample_file() {
    let (code, out, err) = run(command(&["check", "--config", SAMPLE]), "").await;
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    for text in [
        "0.0.0.0:2121",
        "30000-30099",
        "memory budget 256 MiB",
        "host ftp.example.com: scanner1",
        "largest object",
        "main:scans/scanner1/",
        "main:archive/ (permissions: list read",
    ] {
        assert!(out.contains(text), "{text} is not in\n{out}");
    }
    assert!(
        !out.contains("not-a-secret") && !out.contains("argon2"),
        "{out}"
    );
    // The environment overrides the file.
    let mut command = command(&["check", "--config", SAMPLE]);
    command.env("S3FTPD__TRANSFER__PART_SIZE", "16MiB");
    let (code, out, _) = run(command, "").await;
    assert!(code == 0 && out.contains("part size 16 MiB"), "{out}");
}

#[tokio::test]
async fn check_reports_all_errors_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(
        directory.path(),
        "listen = [\"nowhere\"]\n\
         [tls]\ncertificate = \"x\"\n\
         [timeouts]\nidel = \"5m\"\n\
         [stores.main]\nsecret_access_key = \"hunter2\"\nchecksums = \"md5\"\n\
         [mounts.scans]\nstore = \"mian\"\nbucket = \"scans\"\npermissions = [\"raed\"]\n\
         [users.anna]\npassword = \"hunter2\"\nmounts = { \"/\" = \"none\" }\n",
    );
    let path = file.to_str().unwrap();
    let (code, out, err) = run(command(&["check", "--config", path]), "").await;
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    for key in [
        "listen[0]",
        "tls",
        "timeouts.idel",
        "stores.main.checksums",
        "mounts.scans.store",
        "mounts.scans.permissions[0]",
        "users.anna.password",
        "users.anna.mounts",
    ] {
        let line = err.lines().find(|line| line.contains(key));
        let line = line.unwrap_or_else(|| panic!("{key} is not in\n{err}"));
        assert!(line.contains("s3ftpd.toml"), "{line}");
    }
    assert!(err.contains("did you mean idle?"), "{err}");
    assert!(!err.contains("hunter2"), "{err}");
    // The server refuses it with the same message.
    let (code, _, refused) = run(command(&["serve", "--config", path]), "").await;
    assert_eq!((code, refused), (2, err));
}

#[tokio::test]
async fn a_hash_of_hash_password_logs_in() {
    let (code, hash, err) = run(command(&["hash-password"]), "pass word ü\n").await;
    assert_eq!((code, err.as_str()), (0, ""));
    let hash = hash.strip_suffix('\n').unwrap();
    let gateway = Gateway::builder()
        .with(&format!(
            "[users.h]\npassword = '{hash}'\nmounts = {{ \"/\" = \"main\" }}"
        ))
        .start()
        .await;
    let mut ftp = gateway.ftp_as("h", "pass word ü").await;
    ftp.expect("PWD", 257).await;
    ftp.expect("USER h", 331).await;
    ftp.expect("PASS pass word u", 530).await;
    ftp.close().await;
    gateway.stop().await;
    let (code, out, _) = run(command(&["hash-password"]), "").await;
    assert_eq!((code, out.as_str()), (2, ""));
}

fn config(store: &Store, grace: &str) -> String {
    Settings::least(store)
        .with("[admin]\nlisten = \"127.0.0.1:0\"")
        .with("[transfer]\npart_size = \"5MiB\"\n[memory]\nbudget = \"64MiB\"")
        .with(&format!("[timeouts]\nshutdown_grace = \"{grace}\""))
        .with("[mounts.main]\ninterrupted = \"abort\"")
        .with(&format!(
            "[users.u]\nmounts = {{ \"/\" = \"main\", \
             \"/kept\" = {{ store = \"main\", bucket = \"{BUCKET}\" }} }}"
        ))
        .text()
}

/// A server process in front of this store, with [`config`].
async fn serve(store: &Store, grace: &str) -> ServerProcess {
    Launcher::of_text(&config(store, grace)).start().await
}

/// A client of it that is logged in.
async fn ftp(server: &ServerProcess) -> Ftp {
    let mut ftp = Ftp::connect(server.address).await;
    ftp.login(USER, PASSWORD).await;
    ftp
}

/// `/readyz`: its status line.
async fn ready(server: &ServerProcess) -> String {
    let answer = server.get("/readyz").await;
    answer.lines().next().unwrap_or_default().to_owned()
}

/// `/status`: a gauge.
async fn gauge(server: &ServerProcess, name: &str) -> u64 {
    server.status().await[name].as_u64().unwrap()
}

/// Waits until a gauge has a value.
async fn gauge_becomes(server: &ServerProcess, name: &str, value: u64) {
    within(&format!("{name} becomes {value}"), async {
        while gauge(server, name).await != value {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_stop_ends_idle_sessions_and_waits_for_running_transfers() {
    let store = Store::start(&[BUCKET]).await;
    let mut server = serve(&store, "20s").await;
    assert!(ready(&server).await.contains(" 200 "));
    let mut idle = ftp(&server).await;
    let mut busy = ftp(&server).await;
    let mut data = busy.data_passive().await;
    busy.expect("STOR x", 150).await;
    data.write_all(b"first half, ").await.unwrap();

    server.signal(Signal::SIGTERM);
    idle.expect_reply(421).await;
    idle.expect_end().await;
    // Probes get answers during the transfer, and new clients are refused.
    assert!(ready(&server).await.contains(" 503 "));
    let late = TcpStream::connect(server.address).await;
    assert!(late.is_err(), "a new session while draining");
    busy.expect("NOOP", 200).await;
    data.write_all(b"second half").await.unwrap();
    drop(data);
    busy.expect_reply(226).await;
    busy.expect_reply(421).await;
    busy.expect_end().await;
    let (code, log) = server.ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("stopped"), "{log}");
    let object = store.object(BUCKET, "x").unwrap();
    assert_eq!(object, b"first half, second half");
}

#[tokio::test]
async fn check_warns_of_few_file_descriptors() {
    let store = Store::start(&[BUCKET]).await;
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), &config(&store, "1s"));
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 512; exec \"$0\" check --config \"$1\""])
        .arg(binary())
        .arg(&file)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let (code, out, err) = run(command, "").await;
    assert_eq!(code, 0, "{err}");
    let warning = out.lines().find(|line| line.starts_with("warning: "));
    let warning = warning.unwrap_or_else(|| panic!("{out}"));
    for text in ["limits.sessions = 10000", "the limit is 512", "held to 172"] {
        assert!(warning.contains(text), "{warning}");
    }
}

#[tokio::test]
async fn check_warns_of_little_memory() {
    let store = Store::start(&[BUCKET]).await;
    let directory = tempfile::tempdir().unwrap();
    // More than any machine has, so that no memory is left for sessions.
    let text = config(&store, "1s").replace("\"64MiB\"", "\"1000TiB\"");
    let file = write(directory.path(), &text);
    let command = command(&["check", "--config", file.to_str().unwrap()]);
    let (code, out, err) = run(command, "").await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("before login 64, of one address 32;"), "{out}");
    let text = "warning: limits.sessions_before_login = 2500 may need 60000 KiB of memory";
    assert!(out.contains(text), "{out}");
}

#[tokio::test]
async fn check_shows_certificates_and_sighup_reloads_them() {
    let pki = Pki::new();
    let store = Store::start(&[BUCKET]).await;
    let text = config(&store, "1s") + &pki.section("reload = 0");
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), &text);
    let command = command(&["check", "--config", file.to_str().unwrap()]);
    let (code, out, err) = run(command, "").await;
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains(&format!("tls.crt: {HOST}, valid until ")),
        "{out}"
    );
    assert!(
        out.contains("explicit TLS: control optional, data optional"),
        "{out}"
    );

    let mut server = Launcher::of_text(&text).start().await;
    let client = pki.client().build();
    let shown = async || {
        let mut ftp = Ftp::connect(server.address).await;
        ftp.auth("AUTH TLS", &client).await;
        ftp.tls().peer_certificates().unwrap()[0].to_vec()
    };
    let first = shown().await;
    pki.server("tls", &[HOST]);
    assert_eq!(shown().await, first);
    server.signal(Signal::SIGHUP);
    within("the new certificate", async {
        while shown().await == first {}
    })
    .await;
    server.signal(Signal::SIGTERM);
    let (code, log) = server.ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("read anew"), "{log}");
}

#[tokio::test]
async fn the_status_counts_transfers_and_returns_to_zero() {
    let store = Store::start(&[BUCKET]).await;
    let mut server = serve(&store, "20s").await;
    assert_eq!(gauge(&server, "memory_budget").await, 64 * MIB as u64);
    assert_eq!(gauge(&server, "sessions").await, 0);
    let mut ftp = ftp(&server).await;
    let mut data = ftp.data_passive().await;
    ftp.expect("STOR kept/x", 150).await;
    data.write_all(&pattern(11 * MIB, 1)).await.unwrap();
    store.wait_for("UploadPart", 1).await;
    assert_eq!(gauge(&server, "sessions").await, 1);
    assert_eq!(gauge(&server, "uploads").await, 1);
    assert!(gauge(&server, "memory_in_use").await > 0);
    drop(data);
    ftp.expect_reply(226).await;
    gauge_becomes(&server, "uploads", 0).await;
    gauge_becomes(&server, "memory_in_use", 0).await;
    ftp.expect("QUIT", 221).await;
    gauge_becomes(&server, "sessions", 0).await;
    server.signal(Signal::SIGTERM);
    assert_eq!(server.ended().await.0, Some(0));
}

#[tokio::test]
async fn uploads_that_run_after_the_grace_period_are_cut_and_not_published() {
    let store = Store::start(&[BUCKET]).await;
    store.put(BUCKET, "x", "old");
    let mut server = serve(&store, "300ms").await;
    let mut ftp = ftp(&server).await;
    let mut data = ftp.data_passive().await;
    ftp.expect("STOR x", 150).await;
    data.write_all(&pattern(11 * MIB, 1)).await.unwrap();
    store.wait_for("UploadPart", 1).await;
    server.signal(Signal::SIGTERM);
    ftp.expect_reply(426).await;
    ftp.expect_reply(421).await;
    ftp.expect_end().await;
    let (code, log) = server.ended().await;
    assert_eq!(code, Some(0), "{log}");
    // Everything is closed when the process has ended.
    assert!(store.open_uploads().is_empty());
    assert_eq!(store.object(BUCKET, "x").unwrap(), b"old");
}

#[tokio::test]
async fn a_busy_port_and_a_wrong_file_end_the_server_with_a_message() {
    let busy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let store = Store::start(&[BUCKET]).await;
    let directory = tempfile::tempdir().unwrap();
    for listener in [
        "listen = [\"127.0.0.1:0\"]",
        "[admin]\nlisten = \"127.0.0.1:0\"",
    ] {
        let taken = listener.replace("127.0.0.1:0", &address);
        let text = config(&store, "1s").replace(listener, &taken);
        let file = write(directory.path(), &text);
        let command = command(&[
            "serve",
            "--log",
            "error",
            "--config",
            file.to_str().unwrap(),
        ]);
        let (code, _, err) = run(command, "").await;
        assert_eq!(code, 1, "{err}");
        assert!(err.contains(&address), "{err}");
    }
    let missing = command(&["serve", "--config", "/no/such/file.toml"]);
    let (code, _, err) = run(missing, "").await;
    assert!(
        code == 2 && err.contains("/no/such/file.toml"),
        "{code}: {err}"
    );
    let text = config(&store, "1s") + "[tls]\ncertificate = \"a\"\nkey = \"b\"\n";
    let file = write(directory.path(), &text);
    for (subcommand, expected) in [("serve", 2), ("check", 1)] {
        let command = command(&[subcommand, "--config", file.to_str().unwrap()]);
        let (code, _, err) = run(command, "").await;
        assert_eq!(code, expected, "{err}");
        assert!(err.contains("tls"), "{err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
}

/// Otherwise the system could choose one of them for a passive port, if it is left the choice.
#[tokio::test]
async fn the_addresses_of_the_configuration_are_bound_before_passive_ports() {
    let [busy, passive] = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let address = busy.local_addr().unwrap();
    let port = passive.local_addr().unwrap().port();
    let store = Store::start(&[BUCKET]).await;
    let directory = tempfile::tempdir().unwrap();
    for (one, other) in [
        (
            "listen = [\"127.0.0.1:0\"]",
            "listen = [\"127.0.0.1:0\", \"BUSY\"]",
        ),
        (
            "[admin]\nlisten = \"127.0.0.1:0\"",
            "[admin]\nlisten = \"BUSY\"",
        ),
    ] {
        let both = config(&store, "1s")
            .replace(one, &other.replace("BUSY", &address.to_string()))
            .replace("\"auto\"", &format!("\"{port}-{port}\""));
        let file = write(directory.path(), &both);
        let file = file.to_str().unwrap();
        let command = command(&["serve", "--log", "error", "--config", file]);
        let (code, _, err) = run(command, "").await;
        assert_eq!(code, 1, "{err}");
        assert!(err.contains(&format!("can't listen on {address}")), "{err}");
    }
}

#[tokio::test]
async fn a_closed_log_pipe_stops_nothing() {
    let mut process = Process::start("").await;
    process.close_log().await;
    let mut ftp = process.ftp().await;
    assert_eq!(ftp.store("x", &pattern(1000, 1)).await.code, 226);
    ftp.close().await;
    process.stop().await;
}
