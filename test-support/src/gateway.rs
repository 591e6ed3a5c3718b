//! A gateway in this process, in front of a store of its own.
//!
//! ```ignore
//! let gateway = Gateway::start().await;
//! let gateway = Gateway::builder().with("[timeouts]\ndata_stall = \"1s\"").start().await;
//! let other_replica = Gateway::builder().on(&gateway.store).start().await;
//! ```
//!
//! User `u`, password `p`, the bucket `files` at `/`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use s3ftpd::config;
use s3ftpd::events::{Event, EventSink, Kind};
use s3ftpd::server::options::{LookOptions, ServerOptions};
use s3ftpd::server::reload::{ConfigurationSource, UnusableConfiguration};
use s3ftpd::server::{self, Server};

use crate::events::Recorder;
use crate::ftp::Ftp;
use crate::settings::{Settings, user_section};
use crate::store::Store;

pub use crate::settings::{BUCKET, PASSWORD, USER};

/// A running gateway.
pub struct Gateway {
    /// The server.
    pub server: Server,
    /// Its store; other gateways can share it.
    pub store: Arc<Store>,
    /// The address of its first control listener.
    pub address: SocketAddr,
    /// The events of the server.
    pub events: Arc<Recorder>,
    source: Arc<SettingsSource>,
}

/// What a reload reads.
#[derive(Debug)]
struct SettingsSource {
    settings: Mutex<Settings>,
    looks: LookOptions,
}

impl SettingsSource {
    fn text(&self) -> String {
        self.settings.lock().unwrap().text()
    }
}

impl ConfigurationSource for SettingsSource {
    fn load(&self) -> Result<ServerOptions, UnusableConfiguration> {
        match config::from_str(&self.text(), "test") {
            Ok(mut options) => {
                options.store_looks = self.looks.clone();
                Ok(options)
            }
            Err(errors) => Err(UnusableConfiguration {
                text: errors.to_string(),
                inputs: errors.inputs().clone(),
            }),
        }
    }
}

impl Gateway {
    /// Starts one with the defaults.
    pub async fn start() -> Gateway {
        Gateway::builder().start().await
    }

    /// A builder, for one that differs from the defaults.
    pub fn builder() -> Builder {
        Builder {
            settings: Settings::default(),
            buckets: vec![BUCKET.to_owned()],
            store: None,
            looks: LookOptions {
                every: Duration::ZERO,
                ..LookOptions::default()
            },
        }
    }

    /// Changes the configuration, and makes the server read it. Returns the event of that.
    pub async fn reload(&self, change: impl FnOnce(&mut Settings)) -> Arc<Event> {
        change(&mut self.source.settings.lock().unwrap());
        let before = self.events.of(Kind::Reload).len();
        self.server.reload();
        let reloads = || self.events.of(Kind::Reload);
        self.events
            .wait("a reload", |_| reloads().len() > before)
            .await;
        reloads().swap_remove(before)
    }

    /// A client that is logged in as `u`.
    pub async fn ftp(&self) -> Ftp {
        self.ftp_as(USER, PASSWORD).await
    }

    /// A client that is logged in as this user.
    pub async fn ftp_as(&self, user: &str, password: &str) -> Ftp {
        let mut ftp = Ftp::connect(self.address).await;
        ftp.login(user, password).await;
        ftp
    }

    /// The bucket at the root of `u`.
    pub fn bucket(&self) -> &'static str {
        BUCKET
    }

    /// Bytes of the memory budget that transfers hold now.
    pub fn budget_in_use(&self) -> u64 {
        self.server.budget().in_use()
    }

    /// Stops the server as SIGTERM does; the store stays up.
    pub async fn stop(self) -> Arc<Store> {
        self.server.stop().await;
        self.store
    }
}

/// How to start a gateway.
#[must_use]
pub struct Builder {
    settings: Settings,
    buckets: Vec<String>,
    store: Option<Arc<Store>>,
    looks: LookOptions,
}

impl Builder {
    /// Adds configuration: tables are merged, all other values replaced, inline tables too.
    pub fn with(mut self, toml: &str) -> Builder {
        self.settings.lay(toml);
        self
    }

    /// Creates another bucket.
    pub fn bucket(mut self, name: &str) -> Builder {
        self.buckets.push(name.to_owned());
        self
    }

    /// Adds keys to the mount of `u`, one a line.
    pub fn mount(self, settings: &str) -> Builder {
        self.with(&format!("[mounts.main]\n{settings}"))
    }

    /// Adds a mount of the store `main`. [`with`](Builder::with) adds more of its keys.
    pub fn add_mount(self, name: &str, bucket: &str, prefix: &str) -> Builder {
        self.bucket(bucket).with(&format!(
            "[mounts.{name}]\nstore = \"main\"\nbucket = \"{bucket}\"\nprefix = \"{prefix}\""
        ))
    }

    /// Adds a user, or changes `u`. `mounts` is an inline table, such as `{ "/" = "main", "/in" = "scans" }`.
    pub fn user(self, name: &str, password: &str, mounts: &str) -> Builder {
        self.with(&user_section(name, password, mounts))
    }

    /// Listens at this address instead of 127.0.0.1:0, for example at `[::1]:0`.
    pub fn listen(self, address: &str) -> Builder {
        self.with(&format!("listen = [\"{address}\"]"))
    }

    /// Looks at the stores at the start and at this interval. Else it never looks, so that no
    /// request disturbs a test.
    pub fn look_every(mut self, every: Duration) -> Builder {
        self.looks.every = every;
        self
    }

    /// Uses a store that exists already.
    pub fn on(mut self, store: &Arc<Store>) -> Builder {
        self.store = Some(Arc::clone(store));
        self
    }

    /// Starts it.
    pub async fn start(self) -> Gateway {
        let buckets: Vec<&str> = self.buckets.iter().map(String::as_str).collect();
        let store = match self.store {
            None => Arc::new(Store::start(&buckets).await),
            Some(store) => {
                for bucket in buckets {
                    store.backend().create_bucket(bucket).unwrap();
                }
                store
            }
        };
        let mut settings = Settings::least(&store);
        settings.lay(BASE);
        settings.lay(&self.settings.text());
        let source = Arc::new(SettingsSource {
            settings: Mutex::new(settings),
            looks: self.looks,
        });
        let config = match source.load() {
            Ok(config) => config,
            Err(errors) => panic!("{errors}\nin\n{}", source.text()),
        };
        let events = Arc::new(Recorder::default());
        let server = {
            let sink: Arc<dyn EventSink> = events.clone();
            let built = Box::pin(server::builder::Builder::new(config, vec![sink]));
            let builder = built.await.unwrap().follow(source.clone());
            Box::pin(builder.start()).await.unwrap()
        };
        let address = server.control_addresses()[0];
        Gateway {
            server,
            store,
            address,
            events,
            source,
        }
    }
}

/// What gateways in the test process have in common, besides the least that a server needs.
const BASE: &str = r#"
[transfer]
part_size = "5MiB"
[timeouts]
shutdown_grace = "5s"
[login_failures]
delay = "1ms"
max_delay = "20ms"
[resume]
look_every = 0
[memory]
budget = "256MiB"
"#;
