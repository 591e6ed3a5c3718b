//! Launches the binary: `s3ftpd serve` until its address is known, and other subcommands. What can
//! be seen of a server from outside is here too: memory, open files, log, health endpoints.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{MIB, within};

/// The most lines of a log that are collected; the lines of a flood do not matter.
const MOST_LINES: usize = 100_000;

/// The path of the binary that cargo has built for the tests.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("CARGO_BIN_EXE_s3ftpd") {
        return path.into();
    }
    // The test was started without cargo: it is in `deps`, next to the binary.
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().with_file_name("s3ftpd")
}

/// The binary with these arguments, without the variables of this environment that it would read.
/// Its output is piped.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// How to launch `s3ftpd serve`.
#[must_use]
pub struct Launcher {
    configuration: PathBuf,
    /// The directory that holds the configuration, if the launcher made it.
    own: Option<tempfile::TempDir>,
    before: String,
    options: Vec<String>,
    directory: Option<PathBuf>,
    watch: Box<dyn Fn(&str) + Send + Sync>,
}

impl Launcher {
    /// With a configuration file.
    pub fn of_file(configuration: PathBuf) -> Launcher {
        Launcher {
            configuration,
            own: None,
            before: String::new(),
            options: Vec::new(),
            directory: None,
            watch: Box::new(|_| ()),
        }
    }

    /// With the text of a configuration, in a file that exists as long as the server.
    pub fn of_text(configuration: &str) -> Launcher {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("s3ftpd.toml");
        std::fs::write(&file, configuration).unwrap();
        Launcher {
            own: Some(directory),
            ..Launcher::of_file(file)
        }
    }

    /// Runs a shell command first, such as `ulimit -n 100`.
    pub fn after(mut self, command: &str) -> Launcher {
        self.before = command.to_owned();
        self
    }

    /// Adds options of the binary, such as `--log debug`.
    pub fn options(mut self, options: &[&str]) -> Launcher {
        let options = options.iter().map(|&option| option.to_owned());
        self.options.extend(options);
        self
    }

    /// Runs it in this directory, which is also the only one for temporary files that it knows.
    pub fn in_directory(mut self, directory: &Path) -> Launcher {
        self.directory = Some(directory.to_owned());
        self
    }

    /// Calls this for each line of the log.
    pub fn watch(mut self, watch: impl Fn(&str) + Send + Sync + 'static) -> Launcher {
        self.watch = Box::new(watch);
        self
    }

    /// Launches it, and waits until it accepts connections.
    pub async fn start(self) -> ServerProcess {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{}\nexec \"$0\" \"$@\"", self.before)])
            .arg(binary())
            .args(&self.options)
            .args(["serve", "--config"])
            .arg(&self.configuration)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        if let Some(directory) = &self.directory {
            command.env("TMPDIR", directory).current_dir(directory);
        }
        let Launcher { own, watch, .. } = self;
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut first = Vec::new();
        let address = within("the server's address", async {
            loop {
                let line = lines.next_line().await.unwrap();
                let line = line.unwrap_or_else(|| panic!("it ended:\n{}", first.join("\n")));
                watch(&line);
                let address = address_in(&line, "listening");
                first.push(line);
                if let Some(address) = address {
                    return address;
                }
            }
        })
        .await;
        let log = Arc::new(Mutex::new(first));
        let (read_log, mut reads) = watch::channel(true);
        let reader = tokio::spawn({
            let log = Arc::clone(&log);
            async move {
                loop {
                    if reads.wait_for(|reads| *reads).await.is_err() {
                        return;
                    }
                    let line = tokio::select! {
                        line = lines.next_line() => line,
                        Ok(_) = reads.wait_for(|reads| !*reads) => continue,
                    };
                    let Ok(Some(line)) = line else { return };
                    watch(&line);
                    let mut log = log.lock().unwrap();
                    if log.len() < MOST_LINES {
                        log.push(line);
                    }
                }
            }
        });
        ServerProcess {
            child,
            address,
            reader,
            read_log,
            log,
            _own: own,
        }
    }
}

/// `s3ftpd serve` in a process of its own.
pub struct ServerProcess {
    child: Child,
    /// Where its first control listener is.
    pub address: SocketAddr,
    /// Collects its log.
    reader: JoinHandle<()>,
    /// Whether it is read.
    read_log: watch::Sender<bool>,
    log: Arc<Mutex<Vec<String>>>,
    _own: Option<tempfile::TempDir>,
}

impl ServerProcess {
    /// Closes the reading end of its log.
    pub async fn close_log(&mut self) {
        let reader = std::mem::replace(&mut self.reader, tokio::spawn(async {}));
        reader.abort();
        let _ = reader.await;
    }

    /// Stops to read its log, whose pipe stays open, or resumes.
    pub fn read_log(&self, read: bool) {
        self.read_log.send_replace(read);
    }

    /// Waits until a line of its log holds this.
    pub async fn logged(&self, what: &str) {
        self.in_log(what, |line| line.contains(what).then_some(()))
            .await;
    }

    /// Waits until `find` finds something in a line of its log.
    async fn in_log<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        within(what, async {
            loop {
                let found = self.log.lock().unwrap().iter().find_map(|line| find(line));
                if let Some(found) = found {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), signal).unwrap();
    }

    /// Its exit status, if it has ended.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Kills it with SIGKILL, and waits for the end of its log.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
        self.log_ended().await;
    }

    /// Ends it as Kubernetes does, and returns its whole log.
    pub async fn stop(&mut self) -> String {
        self.signal(Signal::SIGTERM);
        self.ended().await.1
    }

    /// Waits for its end: the exit code, and the whole log.
    pub async fn ended(&mut self) -> (Option<i32>, String) {
        let status = within("the server's end", self.child.wait()).await.unwrap();
        self.log_ended().await;
        (status.code(), self.log.lock().unwrap().join("\n"))
    }

    async fn log_ended(&mut self) {
        let end = within("the end of its log", &mut self.reader);
        end.await.unwrap();
    }

    /// The whole answer of a health endpoint. The configuration must have `[admin]`.
    pub async fn get(&self, path: &str) -> String {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .await
    }

    /// The whole answer of the admin port to a request.
    pub async fn ask(&self, request: &str) -> String {
        let find = |line: &str| address_in(line, "health endpoints");
        let admin = self.in_log("the health endpoints' address", find).await;
        within(request, async {
            loop {
                let mut stream = TcpStream::connect(admin).await.unwrap();
                stream.write_all(request.as_bytes()).await.unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                // The endpoint gives a request 1 s. On a busy machine it closes a connection whose
                // request it has not read in time, without an answer.
                if answer.contains("\r\n\r\n") {
                    return answer;
                }
                assert_eq!(answer, "", "cut in its head");
            }
        })
        .await
    }

    /// The numbers of `/status`.
    pub async fn status(&self) -> serde_json::Value {
        let answer = self.get("/status").await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }

    /// Its largest resident memory so far, bytes.
    pub fn peak(&self) -> usize {
        self.memory("VmHWM:")
    }

    /// Its resident memory now, bytes.
    pub fn resident(&self) -> usize {
        self.memory("VmRSS:")
    }

    /// Waits until at most `bytes` of its memory are resident.
    pub async fn shrinks_to(&self, bytes: usize) {
        let what = format!("{} MiB, now {}", bytes / MIB, self.resident() / MIB);
        within(&what, async {
            while self.resident() > bytes {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
    }

    fn memory(&self, field: &str) -> usize {
        let status = std::fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find(|line| line.starts_with(field));
        let kibibytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kibibytes.parse::<usize>().unwrap() * 1024
    }

    fn proc(&self, file: &str) -> PathBuf {
        format!("/proc/{}/{file}", self.child.id().unwrap()).into()
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

/// The `address` in a line of a log, text or JSON, if the line has this message.
fn address_in(line: &str, message: &str) -> Option<SocketAddr> {
    let (_, fields) = line.split_once(message)?;
    let (_, rest) = fields.split_once("address")?;
    let rest = rest.trim_start_matches(['"', ':', '=']);
    let end = rest.find(['"', ' ', ',']).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// The fields of `/proc/PID/stat` after the name, which may hold any character: state, parent, …
fn fields(stat: &str) -> impl Iterator<Item = &str> {
    let (_, rest) = stat.rsplit_once(") ").unwrap_or_default();
    rest.split(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_both_formats_of_the_log() {
        for (line, found) in [
            (
                "INFO s3ftpd: listening implicit_tls=false address=127.0.0.1:21",
                Some("127.0.0.1:21"),
            ),
            (
                r#"{"message":"listening","address":"[::1]:2121","x":1}"#,
                Some("[::1]:2121"),
            ),
            ("INFO health endpoints address=127.0.0.1:80", None),
            ("INFO listening", None),
        ] {
            let found: Option<SocketAddr> = found.map(|address| address.parse().unwrap());
            assert_eq!(address_in(line, "listening"), found, "{line}");
        }
    }
}
