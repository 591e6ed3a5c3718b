//! The two gateway processes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use s3ftpd::demo::EmbeddedStore;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::figures::Figures;
use crate::{BUCKET, BUDGET_MIB, within};

pub struct Gateways {
    directory: tempfile::TempDir,
    running: [tokio::sync::Mutex<Option<Child>>; 2],
    addresses: Mutex<[SocketAddr; 2]>,
    /// Peak memory of the processes that have ended, KiB.
    peak: Mutex<u64>,
    figures: Arc<Figures>,
}

impl Gateways {
    pub async fn start(store: &EmbeddedStore, figures: Arc<Figures>) -> Gateways {
        let directory = tempfile::tempdir().unwrap();
        let (key, secret) = store.credentials();
        let hash = bcrypt::hash("p", 4).unwrap();
        for name in ["a", "b"] {
            let text = format!(
                r#"listen = ["127.0.0.1:0"]
replica = "{name}"
[passive]
ports = "auto:32"
[transfer]
part_size = "5MiB"
[memory]
budget = "{BUDGET_MIB}MiB"
[timeouts]
shutdown_grace = "500ms"
data_stall = "5s"
data_connect = "10s"
[resume]
refresh = "1s"
[stores.main]
endpoint = "{}"
region = "us-east-1"
access_key_id = "{key}"
secret_access_key = "{secret}"
request_timeout = "3s"
connect_timeout = "2s"
[mounts.main]
store = "main"
bucket = "{BUCKET}"
[users.u]
password = '{hash}'
mounts = {{ "/" = "main" }}
"#,
                store.endpoint()
            );
            std::fs::write(directory.path().join(format!("{name}.toml")), text).unwrap();
        }
        let nowhere: SocketAddr = ([127, 0, 0, 1], 1).into();
        let gateways = Gateways {
            directory,
            running: [const { tokio::sync::Mutex::const_new(None) }; 2],
            addresses: Mutex::new([nowhere; 2]),
            peak: Mutex::new(0),
            figures,
        };
        gateways.spawn(0).await;
        gateways.spawn(1).await;
        gateways
    }

    pub fn address(&self, which: usize) -> SocketAddr {
        self.addresses.lock().unwrap()[which]
    }

    fn config(&self, which: usize) -> PathBuf {
        self.directory.path().join(["a.toml", "b.toml"][which])
    }

    async fn spawn(&self, which: usize) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_s3ftpd"))
            .args(["serve", "--config"])
            .arg(self.config(which))
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = within("a gateway listens", async {
            loop {
                let line = log
                    .next_line()
                    .await
                    .unwrap()
                    .expect("a gateway that starts");
                if let Some((_, address)) = line.split_once("listening address=") {
                    return address.trim().parse().unwrap();
                }
            }
        })
        .await;
        self.addresses.lock().unwrap()[which] = address;
        let name = ["a", "b"][which];
        let keep = std::env::var_os("CAMPAIGN_LOG").is_some();
        tokio::spawn(async move {
            while let Ok(Some(line)) = log.next_line().await {
                if line.contains("panicked") || keep {
                    println!("{name}: {line}");
                }
                assert!(!line.contains("panicked"), "{line}");
            }
        });
        *self.running[which].lock().await = Some(child);
    }

    /// Ends a gateway, by SIGKILL or gracefully, and starts it again.
    pub async fn restart(&self, which: usize, kill: bool) {
        self.end(which, kill).await;
        self.figures.count(match kill {
            true => "gateways killed",
            false => "gateways stopped and started",
        });
        self.spawn(which).await;
    }

    async fn end(&self, which: usize, kill: bool) {
        let Some(mut child) = self.running[which].lock().await.take() else {
            return;
        };
        let id = child.id().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|text| text.trim().trim_end_matches(" kB").parse().ok())
            .unwrap_or(0);
        {
            let mut most = self.peak.lock().unwrap();
            *most = peak.max(*most);
        }
        if kill {
            child.kill().await.unwrap();
            return;
        }
        let status = Command::new("kill")
            .args(["-TERM", &id.to_string()])
            .status();
        assert!(status.await.unwrap().success());
        let ended = within("a gateway ends", child.wait()).await.unwrap();
        assert_eq!(ended.code(), Some(0), "a gateway that was stopped");
    }

    /// Ends both; the most memory that a process has taken, KiB.
    pub async fn stop(&self) -> u64 {
        self.end(0, false).await;
        self.end(1, false).await;
        *self.peak.lock().unwrap()
    }

    /// Sweeps everything by hand. How many uploads there were that no record named.
    pub async fn sweep(&self) -> u64 {
        // Records of processes that were killed are alive until they are not refreshed for two and a half times.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let output = Command::new(env!("CARGO_BIN_EXE_s3ftpd"))
            .args(["sweep", "--older-than", "0s", "--unrecorded", "--config"])
            .arg(self.config(0))
            .env_remove("RUST_LOG")
            .output();
        let output = within("the sweep", output).await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let unrecorded = text
            .lines()
            .filter(|line| line.contains("unrecorded upload"));
        unrecorded.count() as u64
    }
}
