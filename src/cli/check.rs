//! `s3ftpd check`: reports everything that is wrong with a configuration, or a summary of it; looks
//! at its stores if that is asked for.

mod stores;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config;
use crate::data::options::PassivePorts;
use crate::memory::Budget;
use crate::namespace::Permission;
use crate::namespace::options::{ControlLoss, MountOptions};
use crate::object::options::{ResumeOptions, StoreOptions};
use crate::object::{NameLocks, Store, StoreContext};
use crate::server::capacity::descriptors;
use crate::server::options::{ListenOptions, ServerOptions};
use crate::tls;
use crate::tls::options::{CertificateFiles, Pem, Protection};
use crate::units::{about_bytes, human_bytes};

use super::Files;
use super::output::{FAILURE, STORE, failed, print};
use stores::{Looks, StoresReport};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    #[command(flatten)]
    pub(super) files: Files,
    /// List each bucket that a mount uses, and report which stores can't be used
    #[arg(long)]
    pub(super) stores: bool,
    /// Also put, read, copy, multipart-upload and delete probe objects below .s3ftpd/ in buckets
    /// that a mount may write to, and report what their stores can do
    #[arg(long, requires = "stores")]
    pub(super) write: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text", requires = "stores")]
    pub(super) format: CheckFormat,
}

/// How `check --stores` prints its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// A summary for people, with a line for each bucket.
    Text,
    /// One JSON object.
    Json,
}

/// Prints the summary, or all errors, one a line; looks at the stores if that is asked for, until
/// `shutdown`.
pub(super) async fn run(arguments: &CheckArguments, shutdown: &CancellationToken) -> ExitCode {
    let format = arguments.format;
    let checked = match check(&arguments.files.config).await {
        Ok(checked) => checked,
        Err(problems) if format == CheckFormat::Json => {
            print(&stores::problems(&problems));
            return ExitCode::from(FAILURE);
        }
        Err(problems) => return failed(FAILURE, &problems),
    };
    if !arguments.stores {
        return print(&checked.summary());
    }
    let looks = match arguments.write {
        true => Looks::Write,
        false => Looks::List,
    };
    let report = StoresReport::of(&checked.config, &checked.stores, looks, shutdown).await;
    let printed = match format {
        CheckFormat::Text => print(&format!(
            "{}looked at\n{}",
            checked.summary(),
            report.text()
        )),
        CheckFormat::Json => print(&report.json(&checked.warnings)),
    };
    match printed {
        _ if shutdown.is_cancelled() => failed(FAILURE, "interrupted"),
        ExitCode::SUCCESS if !report.passed() => ExitCode::from(STORE),
        printed => printed,
    }
}

/// A configuration without errors.
struct CheckedConfiguration {
    config: ServerOptions,
    stores: BTreeMap<String, Arc<Store>>,
    warnings: Vec<String>,
}

/// Returns all errors, one a line.
async fn check(files: &[PathBuf]) -> Result<CheckedConfiguration, String> {
    let mut config = config::load(files).map_err(|errors| errors.to_string())?;
    let warnings = super::limits::cap(&mut config)?;
    let context = StoreContext {
        budget: Budget::new(config.memory.budget),
        cleanups: TaskTracker::new(),
        replica: std::sync::Arc::default(),
        active_uploads: std::sync::Arc::default(),
        record_cache: std::sync::Arc::default(),
        names: NameLocks::default(),
        metrics: std::sync::Arc::default(),
        transfer: config.transfer.clone(),
    };
    let mut stores = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, store) in &config.stores {
        match Box::pin(Store::new(store, context.clone())).await {
            Ok(store) => {
                stores.insert(name.clone(), store);
            }
            Err(error) => problems.push(format!("stores.{name}: {error}")),
        }
    }
    if !problems.is_empty() {
        return Err(problems.join("\n"));
    }
    Ok(CheckedConfiguration {
        config,
        stores,
        warnings,
    })
}

impl CheckedConfiguration {
    fn summary(&self) -> String {
        let stores = self.stores.iter();
        let largest = stores.map(|(name, store)| (name.as_str(), store.largest_object()));
        let mut text = summary(&self.config, &largest.collect());
        for warning in &self.warnings {
            // Writing to a string does not fail.
            let _ = writeln!(text, "warning: {warning}");
        }
        text
    }
}

/// The summary of a configuration; `largest` is the largest object of each store, bytes.
fn summary(config: &ServerOptions, largest: &BTreeMap<&str, u64>) -> String {
    let mut lines = vec![
        "The configuration is right.".to_owned(),
        "listeners".to_owned(),
    ];
    for listener in &config.listen {
        lines.push(format!("  control {}", listener_line(config, listener)));
    }
    lines.push(format!("  passive {}", passive(config)));
    if let Some(admin) = &config.admin {
        lines.push(format!("  admin   {}", admin.listen));
    }
    for network in &config.proxy_protocol.networks {
        lines.push(format!("  PROXY header required from {network}"));
    }
    for host in config.hosts.values() {
        let users = host.users.as_ref().map_or_else(
            || "every user".to_owned(),
            |users| Vec::from_iter(users.iter().map(String::as_str)).join(", "),
        );
        lines.push(format!("  host {}: {users}", host.name));
    }
    lines.push(format!(
        "memory budget {}",
        human_bytes(config.memory.budget)
    ));
    lines.push(format!(
        "part size {}",
        human_bytes(config.transfer.part_size)
    ));
    lines.push(format!("sessions {}", sessions(config)));
    lines.push(format!("resume {}", resume(&config.resume)));
    if let Some(replica) = &config.replica {
        lines.push(format!("replica {replica}"));
    }
    if let Some(tls) = &config.tls {
        lines.push("certificates".to_owned());
        lines.extend(tls.certificates.iter().map(certificate_line));
    }
    lines.push("stores".to_owned());
    for (name, store) in &config.stores {
        lines.push(format!(
            "  {name}: {}",
            store_line(store, largest.get(name.as_str()).copied())
        ));
    }
    lines.push("users".to_owned());
    for (name, user) in &config.users {
        lines.push(format!("  {name}"));
        for (path, mount) in &user.mounts {
            lines.push(format!("    {path} -> {}", mount_line(mount)));
        }
    }
    lines.join("\n") + "\n"
}

fn listener_line(config: &ServerOptions, listener: &ListenOptions) -> String {
    let mut line = listener.address.to_string();
    if config.tls.is_some() {
        let way = if listener.implicit {
            "implicit"
        } else {
            "explicit"
        };
        let _ = match listener.control {
            Protection::Off => write!(line, ", no TLS"),
            control => write!(
                line,
                ", {way} TLS: control {}, data {}",
                word(control),
                word(listener.data)
            ),
        };
    }
    line
}

fn word(protection: Protection) -> &'static str {
    match protection {
        Protection::Off => "off",
        Protection::Optional => "optional",
        Protection::Required => "required",
    }
}

fn certificate_line(files: &CertificateFiles) -> String {
    let place = match &files.certificate {
        Pem::File(path) => path.display().to_string(),
        Pem::Memory(_) => "in memory".to_owned(),
    };
    match tls::certificate(files) {
        Ok(summary) => {
            let names = if files.names.is_empty() {
                &summary.names
            } else {
                &files.names
            };
            let names = match names.as_slice() {
                [] => "no name".to_owned(),
                names => names.join(" "),
            };
            let ends = jiff::Timestamp::from_second(summary.ends);
            let ends = ends.map_or_else(|_| "never".to_owned(), |ends| ends.to_string());
            format!("  {place}: {names}, valid until {ends}")
        }
        // It was valid when the configuration was read.
        Err(error) => format!("  {error}"),
    }
}

fn passive(config: &ServerOptions) -> String {
    let mut line = match config.passive.ports {
        PassivePorts::Range(first, last) => format!("ports {first}-{last}"),
        PassivePorts::Ephemeral(count) => format!("{count} ports of the system's choice"),
    };
    let address = config
        .passive
        .address
        .as_deref()
        .unwrap_or("the control connection's own address");
    // Writing to a string does not fail.
    let _ = write!(line, ", clients get {address}");
    for network in &config.passive.networks {
        let _ = write!(line, ", those of {} {}", network.clients, network.address);
    }
    line
}

fn sessions(config: &ServerOptions) -> String {
    let limits = &config.limits;
    format!(
        "{}, of one address {}; before login {}, of one address {}; file descriptors for them: {}",
        limits.sessions,
        limits.sessions_per_address,
        limits.before_login,
        limits.before_login_per_address,
        descriptors::needed(config)
    )
}

fn resume(config: &ResumeOptions) -> String {
    let swept = match config.sweep_every {
        Duration::ZERO => "by hand only".to_owned(),
        every => format!("every {}", human_time(every)),
    };
    format!(
        "records refreshed every {}, what is idle for {} (over an object: {}) swept {swept}",
        human_time(config.refresh),
        human_time(config.keep_for),
        human_time(config.keep_over_object)
    )
}

/// A duration as in the configuration, in the largest unit that needs no fraction.
fn human_time(time: Duration) -> String {
    let milliseconds = time.as_millis();
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1000, "s"),
    ];
    let unit = units
        .into_iter()
        .find(|(unit, _)| milliseconds > 0 && milliseconds.is_multiple_of(*unit));
    let (unit, name) = unit.unwrap_or((1, "ms"));
    format!("{}{name}", milliseconds / unit)
}

fn store_line(store: &StoreOptions, largest: Option<u64>) -> String {
    let endpoint = store.endpoint.as_deref().unwrap_or("AWS");
    let region = store.region.as_deref().unwrap_or("from the environment");
    let style = if store.path_style {
        "path"
    } else {
        "virtual host"
    };
    let keys = if store.credentials.is_some() {
        "configured"
    } else {
        "AWS default chain"
    };
    let largest = largest.map_or_else(|| "unknown".to_owned(), about_bytes);
    let equal = if store.equal_parts {
        ", equal parts"
    } else {
        ""
    };
    format!(
        "{endpoint}, region {region}, {style} style, credentials {keys}{equal}, largest object {largest}"
    )
}

fn mount_line(mount: &MountOptions) -> String {
    let allowed: Vec<&str> = Permission::ALL
        .into_iter()
        .filter(|permission| mount.permissions.allows(*permission))
        .map(Permission::name)
        .collect();
    let permissions = if allowed.len() == Permission::ALL.len() {
        "all".to_owned()
    } else {
        allowed.join(" ")
    };
    let mut line = format!(
        "{}:{}/{} (permissions: {permissions}",
        mount.store, mount.bucket, mount.prefix
    );
    if mount.ascii_convert {
        line.push_str(", ascii converted");
    }
    if mount.times_metadata {
        line.push_str(", times in metadata");
    }
    if !mount.keep_interrupted {
        line.push_str(", broken uploads removed");
    }
    if let Some(bucket) = &mount.state_bucket {
        let _ = write!(line, ", state in {bucket}");
    }
    if mount.on_control_loss == ControlLoss::Publish {
        line.push_str(", published when the control connection is lost");
    }
    line.push(')');
    line
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn everything_is_in_the_summary_but_no_secret() {
        let config = config::from_str(
            r#"
            replica = "pod-0"
            [resume]
            refresh = "90s"
            keep_for = "7d"
            sweep_every = "12h"
            [admin]
            listen = "127.0.0.1:9090"
            [passive]
            ports = "auto:4"
            address = "ftp.example.com"
            networks = [{ clients = "10.0.0.0/8", address = "10.1.2.3" }]
            [memory]
            budget = "64MiB"
            [stores.main]
            endpoint = "http://127.0.0.1:3900"
            region = "garage"
            access_key_id = "AKIDEXAMPLE"
            secret_access_key = "wJalrXUtnFEMI"
            equal_parts = true
            [mounts.scans]
            store = "main"
            bucket = "scans"
            prefix = "{user}/"
            permissions = ["list", "write"]
            [users.anna]
            password = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
            mounts = { "/in" = "scans", "/archive" = { store = "main", bucket = "archive", ascii = "convert", interrupted = "abort" }, "/till" = { store = "main", bucket = "tills", state_bucket = "state", on_control_loss = "publish" } }
            "#,
            "test.toml",
        )
        .unwrap();
        let text = summary(&config, &BTreeMap::from([("main", 5 << 40)]));
        let expected = "\
The configuration is right.
listeners
  control 0.0.0.0:2121
  control [::]:2121
  passive 4 ports of the system's choice, clients get ftp.example.com, those of 10.0.0.0/8 10.1.2.3
  admin   127.0.0.1:9090
memory budget 64 MiB
part size 8 MiB
sessions 10000, of one address 1000; before login 2500, of one address 250; file descriptors for them: 16227
resume records refreshed every 90s, what is idle for 7d (over an object: 1h) swept every 12h
replica pod-0
stores
  main: http://127.0.0.1:3900, region garage, path style, credentials configured, equal parts, largest object 5 TiB
users
  anna
    /archive -> main:archive/ (permissions: all, ascii converted, broken uploads removed)
    /in -> main:scans/anna/ (permissions: list write)
    /till -> main:tills/ (permissions: all, state in state, published when the control connection is lost)
";
        assert_eq!(text, expected);
    }

    #[test]
    fn times_are_shown_as_they_are_written() {
        for (milliseconds, shown) in [
            (0, "0ms"),
            (500, "500ms"),
            (1000, "1s"),
            (90_000, "90s"),
            (120_000, "2m"),
            (21_600_000, "6h"),
            (259_200_000, "3d"),
        ] {
            assert_eq!(human_time(Duration::from_millis(milliseconds)), shown);
        }
        let never = ResumeOptions {
            refresh: Duration::from_secs(60),
            stalled_after: Duration::from_secs(5),
            keep_for: Duration::from_secs(3 * 86_400),
            keep_over_object: Duration::from_secs(3600),
            sweep_every: Duration::ZERO,
            look_every: Duration::ZERO,
        };
        assert_eq!(
            resume(&never),
            "records refreshed every 1m, what is idle for 3d (over an object: 1h) swept by hand only"
        );
    }
}
