//! A gateway without a network: its store is in memory, and its control connections are pipes.
//!
//! Data connections never succeed: passive ports are bound, on loopback, but no client connects to
//! them, and the control connection's own address is one for documentation (RFC 5737), from which
//! no connection is possible. So PORT is answered as usual, and no byte leaves the process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use s3_embedded::Backend;
use s3ftpd::config;
use s3ftpd::namespace::options::ControlLoss;
use s3ftpd::namespace::{Mount, Namespace};
use s3ftpd::net::proxy::ConnectionAddrs;
use s3ftpd::server::in_memory::InMemoryServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::in_memory::{conversation, segments, store};

/// The lines that log in.
pub const LOGIN: &[u8] = b"USER alice\r\nPASS p\r\n";

/// The content of an object next to alice's directory, which must never be seen.
pub const CANARY: &str = "canary-7f3a91c2";

/// The address that the session takes for its own.
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 21);

/// The pipe's buffer: smaller than many inputs and most floods of replies, so that both ends have
/// to wait.
const PIPE: usize = 8 * 1024;

/// How often the client yields between two segments: more often than a session yields before its
/// next read.
const YIELDS: usize = 8;

/// The limit of a conversation, after which it counts as endless.
const PATIENCE: Duration = Duration::from_secs(60);

/// The shortest waits, as no client connects; more ports than an input can use up.
const CONFIGURATION: &str = r#"
[passive]
ports = "auto:128"
[transfer]
part_size = "5MiB"
[timeouts]
login = "1h"
idle = "1h"
data_connect = "1ms"
control_write = "10s"
[login_failures]
delay = 0
max_delay = 0
ban_after = 0
ban_user_after = 0
[limits]
login_attempts = 3
[memory]
budget = "64MiB"
[stores.main]
endpoint = "http://store.invalid"
region = "us-east-1"
path_style = true
access_key_id = "fuzzing"
secret_access_key = "fuzzing-secret"
checksums = "crc32"
conditional_writes = true
conditional_deletes = true
files_hide_directories = false
attempts = 1
[mounts.home]
store = "main"
bucket = "files"
prefix = "alice/"
[mounts.inbox]
store = "main"
bucket = "inbox"
permissions = ["list", "write", "mkdir"]
[users.alice]
password = "HASH"
mounts = { "/" = "home", "/in" = "inbox" }
[hosts.x]
users = ["alice"]
"#;

/// A gateway for conversations, one after the other.
pub struct InMemoryGateway {
    server: InMemoryServer,
    backend: Backend,
    /// Counts the clients: each has its own address, so that the ports of one are not held back
    /// from others.
    clients: AtomicU32,
}

impl InMemoryGateway {
    /// Starts one with the files of [`reset`](Self::reset). Must be called on a runtime.
    pub async fn start() -> InMemoryGateway {
        // At bcrypt's lowest cost: inputs log in thousands of times.
        let hash = bcrypt::hash("p", 4).expect("a hash");
        let text = CONFIGURATION.replace("HASH", &hash);
        let options = config::from_str(&text, "fuzzing").expect("a configuration");
        let backend = Backend::in_memory();
        let server = Box::pin(InMemoryServer::start(
            options,
            store::client(backend.clone()),
            Vec::new(),
        ))
        .await;
        let gateway = InMemoryGateway {
            server: server.expect("a server"),
            backend,
            clients: AtomicU32::new(0),
        };
        gateway.reset().await;
        gateway
    }

    /// Resets the store: some files of alice's, one with a name that would forge a reply, and one
    /// next to the directory.
    pub async fn reset(&self) {
        for bucket in ["files", "inbox"] {
            self.backend.create_bucket(bucket).expect("a bucket");
            for key in self.backend.keys(bucket) {
                self.backend.remove(bucket, &key);
            }
        }
        for (key, content) in [
            ("alice/a.csv", "a,b\r\n"),
            ("alice/dir/b.txt", "b"),
            ("alice/dir/226 x/c", "c"),
            ("alice/forged\r\n226 x", "d"),
            ("alice-archive/secret", CANARY),
            ("bob/secret", CANARY),
        ] {
            let put = self.backend.put("files", key, content.as_bytes()).await;
            put.expect("an object");
        }
    }

    /// Sends `input` over a new control connection, [cut](segments) into its pieces, then bytes
    /// that end an open line and Telnet sequence, and QUIT. Returns the bytes that were sent and
    /// those that came back.
    pub async fn converse(&self, input: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let (near, far) = tokio::io::duplex(PIPE);
        // 10.0.0.0/8, again and again.
        let number = self.clients.fetch_add(1, Ordering::Relaxed) & 0x00ff_ffff;
        let peer = SocketAddr::new(Ipv4Addr::from(0x0a00_0000 | number).into(), 40_000);
        let session = self
            .server
            .serve(far, ConnectionAddrs { peer, local: LOCAL });
        let client = client(near, input);
        let both = async { tokio::join!(client, session).0 };
        tokio::time::timeout(PATIENCE, both)
            .await
            .expect("the session to end")
    }

    /// Sends `input` as [`converse`](Self::converse) does. Panics if a reply is wrong, or if
    /// anything outside the user's own directories was seen or changed.
    pub async fn check(&self, input: &[u8]) {
        let (sent, received) = self.converse(input).await;
        if let Err(what) = conversation::check(&sent, &received) {
            panic!(
                "{what}\n--- sent:\n{}\n--- received:\n{}\n---",
                shown(&sent),
                shown(&received)
            );
        }
        let contains = |text: &[u8]| text.windows(CANARY.len()).any(|at| at == CANARY.as_bytes());
        assert!(
            !contains(&received) || contains(&sent),
            "another user's bytes were sent:\n{}",
            shown(&received)
        );
        for key in ["alice-archive/secret", "bob/secret"] {
            let content = self.backend.object("files", key).await;
            assert_eq!(content.as_deref(), Some(CANARY.as_bytes()), "{key}");
        }
        let mut outside = self.backend.keys("files");
        outside.retain(|key| !key.starts_with("alice/") && !key.starts_with(".s3ftpd/"));
        assert_eq!(outside, ["alice-archive/secret", "bob/secret"]);
        assert!(self.backend.open_uploads().is_empty());
        self.idle().await;
    }

    /// Waits until the memory of the last conversation is given back, by tasks that end a little
    /// later than it.
    async fn idle(&self) {
        let idle = async {
            while self.server.context().budget.in_use() > 0 {
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, idle).await;
        in_time.expect("memory is still held");
    }

    /// A tree like alice's, for resolving paths without requests.
    pub fn namespace() -> Namespace {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let gateway = runtime
            .expect("a runtime")
            .block_on(InMemoryGateway::start());
        let context = gateway.server.context();
        let configured = context.newest.get();
        let user = configured.accounts.user("alice").expect("a user");
        let mounts = user.mounts.iter().map(|(path, mount)| Mount {
            path: path.clone(),
            store: Arc::clone(&configured.stores[&mount.store]),
            bucket: mount.bucket.as_str().into(),
            prefix: mount.prefix.clone(),
            permissions: mount.permissions,
            ascii_convert: false,
            times_metadata: false,
            verify_downloads: true,
            state_bucket: mount.bucket.as_str().into(),
            keep_interrupted: true,
            on_control_loss: ControlLoss::Keep,
            attributes: None,
            max_file_size: None,
            names: Arc::clone(&mount.names),
            temporary: None,
        });
        Namespace::new(mounts.collect())
    }
}

/// The client's side: the bytes sent, and those that came back.
async fn client(stream: DuplexStream, input: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut sent = segments(input).concat();
    // Two, as the first may be escaped; then every open line ends.
    let end = b"\xff\xf0\xff\xf0\r\nQUIT\r\n";
    let sending = async {
        for segment in segments(input).into_iter().chain([&end[..]]) {
            // An error means that the session has ended; its replies say why.
            if write.write_all(segment).await.is_err() {
                break;
            }
            for _ in 0..YIELDS {
                tokio::task::yield_now().await;
            }
        }
    };
    let mut received = Vec::new();
    let receiving = read.read_to_end(&mut received);
    let ((), read) = tokio::join!(sending, receiving);
    read.expect("a pipe never fails");
    sent.extend_from_slice(end);
    (sent, received)
}

fn shown(bytes: &[u8]) -> String {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines
        .map(|line| format!("{}\n", line.escape_ascii()))
        .collect()
}
