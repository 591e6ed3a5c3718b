//! Promise 5, seen from outside: the memory and the open files of a process of its own.

use std::net::SocketAddr;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, Command};

use crate::support::faults::Fault;
use crate::support::ftp::{Ftp, Mode};
use crate::support::store::Store;
use crate::support::{MIB, pattern, within};

/// `s3ftpd serve` in front of a store of this process.
struct Process {
    child: Child,
    address: SocketAddr,
    store: Store,
    /// The only directory it is told of, empty at its start.
    temporary: tempfile::TempDir,
    _configuration: tempfile::TempDir,
}

impl Process {
    async fn start(settings: &str) -> Process {
        let store = Store::start(&["files"]).await;
        let (key, secret) = store.credentials();
        let endpoint = store.endpoint();
        let hash = bcrypt::hash("p", 4).unwrap();
        let text = format!(
            "listen = [\"127.0.0.1:0\"]\n[passive]\nports = \"auto\"\n{settings}\n\
             [stores.main]\nendpoint = \"{endpoint}\"\naccess_key_id = \"{key}\"\nsecret_access_key = \"{secret}\"\n\
             [mounts.main]\nstore = \"main\"\nbucket = \"files\"\n\
             [users.u]\npassword = '{hash}'\nmounts = {{ \"/\" = \"main\" }}\n"
        );
        let configuration = tempfile::tempdir().unwrap();
        let temporary = tempfile::tempdir().unwrap();
        let file = configuration.path().join("s3ftpd.toml");
        std::fs::write(&file, text).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_s3ftpd"))
            .args(["--log-format", "json", "serve", "--config"])
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
        let address = within("its address", async {
            loop {
                let line = lines.next_line().await.unwrap().expect("it ended");
                if let Some((_, rest)) = line.split_once("\"address\":\"") {
                    return rest.split('"').next().unwrap().parse().unwrap();
                }
            }
        })
        .await;
        // So that it never waits for somebody to read its log.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Process {
            child,
            address,
            store,
            temporary,
            _configuration: configuration,
        }
    }

    async fn ftp(&self) -> Ftp {
        let mut ftp = Ftp::connect(self.address).await;
        ftp.login("u", "p").await;
        ftp
    }

    fn proc(&self, file: &str) -> std::path::PathBuf {
        format!("/proc/{}/{file}", self.child.id().unwrap()).into()
    }

    /// Its largest resident memory so far, bytes.
    fn peak(&self) -> usize {
        let status = std::fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let kibibytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kibibytes.parse::<usize>().unwrap() * 1024
    }

    /// What is open in it and is neither a socket, a pipe nor the kernel's own.
    fn open_files(&self) -> Vec<String> {
        let descriptors = std::fs::read_dir(self.proc("fd")).unwrap();
        descriptors
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
            .map(|target| target.to_string_lossy().into_owned())
            .filter(|target| target.starts_with('/') && !target.starts_with("/dev/"))
            .collect()
    }
}

/// A control connection that is logged in and takes next to nothing of its replies.
async fn never_reads(process: &Process) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = within("a connection", socket.connect(process.address))
        .await
        .unwrap();
    stream.write_all(b"USER u\r\nPASS p\r\n").await.unwrap();
    stream
}

/// Sends all of it, or as much as the gateway takes until it closes the connection; how much that was.
async fn push(mut stream: TcpStream, piece: Vec<u8>, total: usize) -> usize {
    let mut sent = 0;
    while sent < total {
        match stream.write(&piece[..piece.len().min(total - sent)]).await {
            Ok(count) => sent += count,
            Err(_) => return sent,
        }
    }
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_touches_no_disk() {
    let process = Process::start("[transfer]\npart_size = \"5MiB\"").await;
    let mut ftp = process.ftp().await;
    let bytes = pattern(21 * MIB, 1);
    let rule = process
        .store
        .fail("CompleteMultipartUpload")
        .with(Fault::Stall);
    let looked = async {
        rule.hit().await;
        // All of it is there, and nothing of it in a file, unlinked ones included.
        let found = (process.open_files(), directory(&process));
        rule.release();
        found
    };
    let (reply, (files, names)) = tokio::join!(ftp.store("f", &bytes), looked);
    assert_eq!(reply.code, 226, "{reply:?}");
    assert_eq!((files, names), (vec![], vec![]));
    assert!(process.store.object("files", "f") == Some(bytes));
    assert_eq!(directory(&process), [""; 0]);
}

fn directory(process: &Process) -> Vec<String> {
    let entries = std::fs::read_dir(process.temporary.path()).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_uploads_hold_is_the_budget_and_not_what_is_sent() {
    let settings = "[transfer]\npart_size = \"5MiB\"\n[memory]\nbudget = \"20MiB\"";
    let process = Process::start(settings).await;
    let mut ftp = process.ftp().await;
    assert_eq!(ftp.store("first", b"1").await.code, 226);
    let before = process.peak();
    let bytes = pattern(12 * MIB, 1);
    let uploads = (0..12).map(async |number: usize| {
        let mut ftp = process.ftp().await;
        let command = format!("STOR f{number}");
        let reply = ftp.upload_with(&command, &bytes, Mode::Passive).await;
        assert_eq!(reply.code, 226, "{reply:?}");
    });
    futures::future::join_all(uploads).await;
    let grown = process.peak() - before;
    // 144 MiB went through it. Beside the budget there are the buffers of its connections and the allocator's waste.
    assert!(grown < 56 * MIB, "grown by {} MiB", grown / MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_and_lines_without_end_move_its_memory_by_nothing() {
    let process = Process::start("[timeouts]\ncontrol_write = \"2s\"").await;
    let mut ftp = process.ftp().await;
    let before = process.peak();

    // Two million commands, whose replies nobody reads: they are not taken, and at the deadline the connection ends.
    let commands = b"NOOP\r\n".repeat(10_000);
    let taken = push(never_reads(&process).await, commands, 12_000_000);
    let taken = within("the end of who never reads", taken).await;
    assert!(taken < 12_000_000, "all commands were taken");

    // The same while a transfer runs.
    let mut uploading = process.ftp().await;
    let data = uploading.data_passive().await;
    uploading.expect("STOR x", 150).await;
    uploading.send_raw(&b"PWD\r\n".repeat(100)).await;
    ftp.in_step().await;
    drop(data);
    uploading.expect_reply(226).await;
    for _ in 0..100 {
        uploading.expect_reply(257).await;
    }

    // A gigabyte without a line's end.
    for logged_in in [false, true] {
        let stream = if logged_in {
            never_reads(&process).await
        } else {
            TcpStream::connect(process.address).await.unwrap()
        };
        let taken = push(stream, vec![b'A'; 64 * 1024], 1 << 30);
        let taken = within("the end of who never ends a line", taken).await;
        assert!(taken < 64 * MIB, "{taken} bytes were taken");
    }

    ftp.in_step().await;
    let grown = process.peak() - before;
    assert!(grown < 8 * MIB, "grown by {} KiB", grown / 1024);
}
