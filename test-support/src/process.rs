//! The binary, and what can be seen of it from outside: memory, open files, log.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use crate::ftp::Ftp;
use crate::gateway::{BUCKET, PASSWORD, USER};
use crate::settings::Settings;
use crate::store::Store;
use crate::{MIB, within};

/// The path of the binary that cargo has built for the tests.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("CARGO_BIN_EXE_s3ftpd") {
        return path.into();
    }
    // The test was started without cargo: it is in `deps`, next to the binary.
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().with_file_name("s3ftpd")
}

/// `s3ftpd serve` in front of a store of this process.
pub struct Process {
    child: Child,
    /// Where its control listener is.
    pub address: SocketAddr,
    /// Its store.
    pub store: Arc<Store>,
    /// The only directory that it knows, empty when it starts.
    pub temporary: tempfile::TempDir,
    _configuration: tempfile::TempDir,
    /// Collects its log.
    reader: JoinHandle<()>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts one with these settings and [`Settings::least`]: user `u`, password `p`, the bucket
    /// `files`.
    pub async fn start(settings: &str) -> Process {
        Self::start_logging("info", settings).await
    }

    /// The same, with this log level.
    pub async fn start_logging(level: &str, settings: &str) -> Process {
        Self::start_under("", level, settings).await
    }

    /// The same, after a shell command (`ulimit -n 100`).
    pub async fn start_under(before: &str, level: &str, settings: &str) -> Process {
        let store = Arc::new(Store::start(&[BUCKET]).await);
        Self::launch(store, before, level, settings).await
    }

    /// Starts one in front of a store that exists already.
    pub async fn start_on(store: &Arc<Store>, settings: &str) -> Process {
        Self::launch(Arc::clone(store), "", "info", settings).await
    }

    async fn launch(store: Arc<Store>, before: &str, level: &str, settings: &str) -> Process {
        let text = Settings::least(&store).with(settings).text();
        let configuration = tempfile::tempdir().unwrap();
        let temporary = tempfile::tempdir().unwrap();
        let file = configuration.path().join("s3ftpd.toml");
        std::fs::write(&file, text).unwrap();
        let mut child = Command::new("sh")
            .args(["-c", &format!("{before}\nexec \"$0\" \"$@\"")])
            .arg(binary())
            .args(["--log", level, "--log-format", "json", "serve", "--config"])
            .arg(&file)
            .env("TMPDIR", temporary.path())
            .env_remove("RUST_LOG")
            .current_dir(temporary.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let address = within("its address", async {
            loop {
                let line = lines.next_line().await.unwrap().expect("it ended");
                said.push(line);
                if let Some((_, rest)) = said[said.len() - 1].split_once("\"address\":\"") {
                    return rest.split('"').next().unwrap().parse().unwrap();
                }
            }
        })
        .await;
        let log = Arc::new(Mutex::new(said));
        let reader = tokio::spawn({
            let log = Arc::clone(&log);
            async move {
                while let Ok(Some(line)) = lines.next_line().await {
                    let mut log = log.lock().unwrap();
                    // The lines of a flood do not matter.
                    if log.len() < 100_000 {
                        log.push(line);
                    }
                }
            }
        });
        Process {
            child,
            address,
            store,
            temporary,
            _configuration: configuration,
            reader,
            log,
        }
    }

    /// A client that is logged in.
    pub async fn ftp(&self) -> Ftp {
        let mut ftp = Ftp::connect(self.address).await;
        ftp.login(USER, PASSWORD).await;
        ftp
    }

    /// Closes the reading end of its log.
    pub async fn close_log(&mut self) {
        let reader = std::mem::replace(&mut self.reader, tokio::spawn(async {}));
        reader.abort();
        let _ = reader.await;
    }

    /// Waits until a line of its log holds this.
    pub async fn logged(&self, what: &str) {
        within(what, async {
            while !self
                .log
                .lock()
                .unwrap()
                .iter()
                .any(|line| line.contains(what))
            {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    /// Kills it with SIGKILL.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), signal).unwrap();
    }

    /// Ends it as Kubernetes does, and returns its whole log.
    pub async fn stop(&mut self) -> String {
        self.signal(nix::sys::signal::SIGTERM);
        self.ended().await.1
    }

    /// Waits for its end: the exit code, and the whole log.
    pub async fn ended(&mut self) -> (Option<i32>, String) {
        let status = within("its end", self.child.wait()).await.unwrap();
        within("the end of its log", &mut self.reader)
            .await
            .unwrap();
        (status.code(), self.log.lock().unwrap().join("\n"))
    }

    fn proc(&self, file: &str) -> std::path::PathBuf {
        format!("/proc/{}/{file}", self.child.id().unwrap()).into()
    }

    /// Its largest resident memory so far, bytes.
    pub fn peak(&self) -> usize {
        self.status("VmHWM:")
    }

    /// Its resident memory now, bytes.
    pub fn resident(&self) -> usize {
        self.status("VmRSS:")
    }

    /// Waits until at most `bytes` of its memory are resident.
    pub async fn shrinks_to(&self, bytes: usize) {
        let what = format!("{} MiB, now {}", bytes / MIB, self.resident() / MIB);
        within(&what, async {
            while self.resident() > bytes {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    fn status(&self, field: &str) -> usize {
        let status = std::fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find(|line| line.starts_with(field));
        let kibibytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kibibytes.parse::<usize>().unwrap() * 1024
    }

    /// Its limits of open files: the soft one, and the hard one.
    pub fn descriptors(&self) -> (u64, u64) {
        let limits = std::fs::read_to_string(self.proc("limits")).unwrap();
        let line = limits
            .lines()
            .find_map(|l| l.strip_prefix("Max open files"));
        let mut numbers = line.unwrap().split_whitespace();
        let mut next = || numbers.next().unwrap().parse().unwrap();
        (next(), next())
    }

    /// The number of processes that it has started and that still exist, also those it has not
    /// waited for.
    pub fn children(&self) -> usize {
        let own = self.child.id().unwrap().to_string();
        let processes = std::fs::read_dir("/proc").unwrap();
        processes
            .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("stat")).ok())
            .filter(|stat| fields(stat).nth(1) == Some(&own))
            .count()
    }

    /// Whether it has ever waited for a child: its own figures then include the child's (proc(5):
    /// cminflt).
    pub fn has_had_children(&self) -> bool {
        let stat = std::fs::read_to_string(self.proc("stat")).unwrap();
        fields(&stat).nth(8) != Some("0")
    }

    /// The files that it has open, without sockets, pipes and the kernel's own.
    pub fn open_files(&self) -> Vec<String> {
        let descriptors = std::fs::read_dir(self.proc("fd")).unwrap();
        descriptors
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
            .map(|target| target.to_string_lossy().into_owned())
            .filter(|target| target.starts_with('/') && !target.starts_with("/dev/"))
            .collect()
    }
}

/// The fields of `/proc/PID/stat` after the name, which may hold any character: state, parent, …
fn fields(stat: &str) -> impl Iterator<Item = &str> {
    let (_, rest) = stat.rsplit_once(") ").unwrap_or_default();
    rest.split(' ')
}
