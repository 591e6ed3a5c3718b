//! A gateway in this process, in front of a store of its own.
//!
//! ```ignore
//! let gateway = Gateway::start().await;
//! let gateway = Gateway::builder().with("[timeouts]\ndata_stall = \"1s\"").start().await;
//! let other_replica = Gateway::builder().on(&gateway.store).start().await;
//! ```
//!
//! User `u`, password `p`, the bucket `files` at `/`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use s3ftpd::config;
use s3ftpd::server::Server;

use super::ftp::Ftp;
use super::store::Store;

/// The bucket at the root of user `u`.
pub const BUCKET: &str = "files";
/// The user of [`Gateway::ftp`].
pub const USER: &str = "u";
/// His password.
pub const PASSWORD: &str = "p";

/// A running gateway.
pub struct Gateway {
    /// The server.
    pub server: Server,
    /// Its store; other gateways can share it.
    pub store: Arc<Store>,
    /// Where its first control listener is.
    pub address: SocketAddr,
}

impl Gateway {
    /// Starts one with the defaults of this module.
    pub async fn start() -> Gateway {
        Gateway::builder().start().await
    }

    /// Starts one that differs from them.
    pub fn builder() -> Builder {
        Builder {
            toml: Toml::default(),
            edit: Vec::new(),
            buckets: vec![BUCKET.to_owned()],
            store: None,
        }
    }

    /// A client that is logged in as `u`.
    pub async fn ftp(&self) -> Ftp {
        self.ftp_as(USER, PASSWORD).await
    }

    /// A client that is logged in as somebody.
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

    /// Stops the server as SIGTERM does; the store goes on.
    pub async fn stop(self) -> Arc<Store> {
        self.server.stop().await;
        self.store
    }
}

/// A change of the configuration's text.
type Edit = Box<dyn FnOnce(&mut String) + Send>;

/// What a gateway shall be.
#[must_use]
pub struct Builder {
    toml: Toml,
    edit: Vec<Edit>,
    buckets: Vec<String>,
    store: Option<Arc<Store>>,
}

impl Builder {
    /// Adds configuration. A key that is there already gets the new value, tables may come again; each value stands on
    /// one line, and a section is written as a table or with dotted keys, not inline.
    pub fn with(mut self, toml: &str) -> Builder {
        self.toml.merge(toml);
        self
    }

    /// Changes the whole text, after everything else.
    pub fn config(mut self, edit: impl FnOnce(&mut String) + Send + 'static) -> Builder {
        self.edit.push(Box::new(edit));
        self
    }

    /// Makes another bucket.
    pub fn bucket(mut self, name: &str) -> Builder {
        self.buckets.push(name.to_owned());
        self
    }

    /// Gives the mount of `u` more keys, a line each.
    pub fn mount(self, settings: &str) -> Builder {
        self.with(&format!("[mounts.main]\n{settings}"))
    }

    /// Adds a mount of the store `main`; more of its keys by [`with`](Builder::with).
    pub fn add_mount(self, name: &str, bucket: &str, prefix: &str) -> Builder {
        self.bucket(bucket).with(&format!(
            "[mounts.{name}]\nstore = \"main\"\nbucket = \"{bucket}\"\nprefix = \"{prefix}\""
        ))
    }

    /// Adds a user, or changes `u`. `mounts` is an inline table, such as `{ "/" = "main", "/in" = "scans" }`.
    pub fn user(self, name: &str, password: &str, mounts: &str) -> Builder {
        let hash = hash(password);
        self.with(&format!(
            "[users.{name}]\npassword = '{hash}'\nmounts = {mounts}"
        ))
    }

    /// Listens here instead of on 127.0.0.1:0, say on `[::1]:0`.
    pub fn listen(self, address: &str) -> Builder {
        self.with(&format!("listen = [\"{address}\"]"))
    }

    /// Uses a store that is there already.
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
        let mut toml = Toml::default();
        toml.merge(&base(&store));
        toml.overlay(self.toml);
        let mut text = toml.text();
        for edit in self.edit {
            edit(&mut text);
        }
        let config = match config::from_str(&text, "test") {
            Ok(config) => config,
            Err(errors) => panic!("{errors}\nin\n{text}"),
        };
        let server = Server::start(config).await.unwrap();
        let address = server.control_addresses()[0];
        Gateway {
            server,
            store,
            address,
        }
    }
}

fn base(store: &Store) -> String {
    let endpoint = store.endpoint();
    let (key, secret) = store.credentials();
    let password = hash(PASSWORD);
    format!(
        r#"
listen = ["127.0.0.1:0"]
[passive]
ports = "auto"
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
[stores.main]
endpoint = "{endpoint}"
region = "us-east-1"
path_style = true
access_key_id = "{key}"
secret_access_key = "{secret}"
checksums = "crc32"
conditional_writes = true
conditional_deletes = true
files_hide_directories = false
[mounts.main]
store = "main"
bucket = "{BUCKET}"
[users.{USER}]
password = '{password}'
mounts = {{ "/" = "main" }}
"#
    )
}

/// bcrypt at its lowest cost: a login in a test costs no time.
fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

/// TOML that can be laid over other TOML: tables by name, in each the keys with their values as written.
#[derive(Default)]
struct Toml(BTreeMap<String, Vec<(String, String)>>);

impl Toml {
    fn merge(&mut self, text: &str) {
        let mut table = String::new();
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                table = name.to_owned();
                self.0.entry(table.clone()).or_default();
                continue;
            }
            let (name, value) = line
                .split_once('=')
                .unwrap_or_else(|| panic!("not a key and its value: {line}"));
            let path = match table.is_empty() {
                true => name.trim().to_owned(),
                false => format!("{table}.{}", name.trim()),
            };
            let (of, key) = path.rsplit_once('.').unwrap_or(("", &path));
            self.set(of, key, value.trim());
        }
    }

    fn overlay(&mut self, other: Toml) {
        for (table, entries) in other.0 {
            for (key, value) in entries {
                self.set(&table, &key, &value);
            }
        }
    }

    fn set(&mut self, table: &str, key: &str, value: &str) {
        let entries = self.0.entry(table.to_owned()).or_default();
        entries.retain(|(name, _)| name != key);
        entries.push((key.to_owned(), value.to_owned()));
    }

    fn text(&self) -> String {
        let mut text = String::new();
        // The table without a name sorts first, as TOML needs it.
        for (table, entries) in &self.0 {
            if !table.is_empty() {
                text.push_str(&format!("[{table}]\n"));
            }
            for (key, value) in entries {
                text.push_str(&format!("{key} = {value}\n"));
            }
        }
        text
    }
}

#[test]
fn configuration_is_laid_over_the_base() {
    let mut toml = Toml::default();
    toml.merge("listen = [\"a\"]\n[timeouts]\nidle = \"1s\"\n[stores.main]\nchecksums = \"crc32\"");
    toml.merge("stores.main.checksums = \"none\"\n[timeouts]\nlogin = 1\n# no more");
    assert_eq!(
        toml.text(),
        "listen = [\"a\"]\n[stores.main]\nchecksums = \"none\"\n[timeouts]\nidle = \"1s\"\nlogin = 1\n"
    );
}
