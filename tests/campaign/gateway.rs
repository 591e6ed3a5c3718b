//! The two gateway processes.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;
use s3_embedded::EmbeddedStore;
use test_support::launcher::{Launcher, ServerProcess, command};
use test_support::within;

use crate::figures::Figures;
use crate::leftovers::Causes;
use crate::model::Model;
use crate::{BUCKET, BUDGET_MIB, USERS, user};

/// The names of the two gateways.
pub const NAMES: [&str; 2] = ["a", "b"];

pub struct Gateways {
    directory: tempfile::TempDir,
    running: [tokio::sync::Mutex<Option<ServerProcess>>; 2],
    addresses: Mutex<[SocketAddr; 2]>,
    /// Peak memory of the processes that have ended, KiB.
    peak: Mutex<u64>,
    /// Lines of their logs that no process may write.
    panics: Arc<Mutex<Vec<String>>>,
    /// Lines of their logs that report a tail that the store did not accept.
    tails: Arc<Mutex<Vec<String>>>,
    pub model: Arc<Model>,
    causes: Arc<Causes>,
    figures: Arc<Figures>,
}

/// What a gateway reports of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gauges {
    pub sessions: u64,
    pub uploads: u64,
    pub memory: u64,
}

impl Gateways {
    pub async fn start(
        store: &EmbeddedStore,
        model: Arc<Model>,
        causes: Arc<Causes>,
        figures: Arc<Figures>,
    ) -> Gateways {
        let directory = tempfile::tempdir().unwrap();
        let (key, secret) = store.credentials();
        let hash = bcrypt::hash("p", 4).unwrap();
        let users: String = (0..USERS)
            .map(|number| {
                let name = user(number);
                format!("[users.{name}]\npassword = '{hash}'\nmounts = {{ \"/\" = \"main\" }}\n")
            })
            .collect();
        for name in NAMES {
            let text = format!(
                r#"listen = ["127.0.0.1:0"]
replica = "{name}"
[passive]
ports = "auto:128"
[admin]
listen = "127.0.0.1:0"
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
look_every = "5s"
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
{users}"#,
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
            panics: Arc::default(),
            tails: Arc::default(),
            model,
            causes,
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
        let name = NAMES[which];
        let print = std::env::var_os("CAMPAIGN_LOG").is_some();
        let panics = Arc::clone(&self.panics);
        let tails = Arc::clone(&self.tails);
        let watch = move |line: &str| {
            let panicked = line.contains("panicked");
            if panicked || print {
                println!("{name}: {line}");
            }
            if line.contains("the tail of a broken upload could not be stored") {
                tails.lock().unwrap().push(line.to_owned());
            } else if panicked {
                panics.lock().unwrap().push(line.to_owned());
            }
        };
        let launcher = Launcher::of_file(self.config(which)).watch(watch);
        let server = launcher.start().await;
        self.addresses.lock().unwrap()[which] = server.address;
        *self.running[which].lock().await = Some(server);
    }

    /// Whether a gateway's log reports that the store did not accept a tail of this object. The
    /// line may still be on its way.
    pub async fn could_not_store_tail(&self, name: &str) -> bool {
        let key = format!("key=\"{name}\"");
        let logged = async {
            while !self
                .tails
                .lock()
                .unwrap()
                .iter()
                .any(|line| line.contains(&key))
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(2), logged)
            .await
            .is_ok()
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
        let Some(mut server) = self.running[which].lock().await.take() else {
            return;
        };
        assert_eq!(server.has_ended(), None, "a gateway has ended by itself");
        let peak = server.peak() as u64 / 1024;
        {
            let mut most = self.peak.lock().unwrap();
            *most = peak.max(*most);
        }
        let how = if kill { "killed" } else { "stopped" };
        let name = NAMES[which];
        self.model.note_event(&format!("gateway {name} is {how}"));
        if kill {
            server.kill().await;
            self.causes.killed();
        } else {
            server.signal(Signal::SIGTERM);
            let (code, _) = server.ended().await;
            assert_eq!(code, Some(0), "a gateway that was stopped");
        }
    }

    /// Ends both, and returns the largest peak memory of a process, KiB. Neither may have panicked.
    pub async fn stop(&self) -> u64 {
        self.end(0, false).await;
        self.end(1, false).await;
        assert_eq!(*self.panics.lock().unwrap(), Vec::<String>::new());
        *self.peak.lock().unwrap()
    }

    /// The gauges of a gateway, from its `/status`.
    pub async fn gauges(&self, which: usize) -> Gauges {
        let running = self.running[which].lock().await;
        let server = running.as_ref().expect("a gateway that runs");
        let status = server.status().await;
        let budget = status["memory_budget"].as_u64();
        assert_eq!(budget, Some(BUDGET_MIB * 1024 * 1024), "{status}");
        let gauge = |name: &str| status[name].as_u64().unwrap();
        Gauges {
            sessions: gauge("sessions"),
            uploads: gauge("uploads"),
            memory: gauge("memory_in_use"),
        }
    }

    /// Waits until all gauges of both have returned to zero.
    pub async fn idle(&self) {
        for which in 0..2 {
            let begun = tokio::time::Instant::now();
            loop {
                let gauges = self.gauges(which).await;
                if gauges == Gauges::default() {
                    break;
                }
                // Interrupted uploads have a minute to be saved.
                assert!(
                    begun.elapsed() < Duration::from_secs(90),
                    "gateway {which}: {gauges:?}"
                );
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Sweeps everything, and returns the number of uploads that no record names.
    pub async fn sweep(&self, more: &[&str]) -> usize {
        let output = command(&["sweep", "--older-than", "0s"])
            .args(more)
            .arg("--config")
            .arg(self.config(0))
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
        unrecorded.count()
    }
}
