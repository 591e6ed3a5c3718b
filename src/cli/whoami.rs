//! `whoami`: what a user would get, and the origin of each piece.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::auth::options::UserOptions;
use crate::config::{self, Origins};
use crate::namespace::options::MountOptions;
use crate::server::options::ServerOptions;
use crate::session::options::Hosts;
use crate::units::human_bytes;

use super::output::{FAILURE, USAGE, failed, print};

/// Arguments of `whoami`.
#[derive(Debug, Args)]
pub struct WhoamiArguments {
    /// The login name
    #[arg(value_name = "USER")]
    pub user: String,
    /// TOML or (.yaml, .yml) YAML; a later file overrides an earlier one, the environment
    /// (S3FTPD__…) all of them
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub config: Vec<PathBuf>,
}

/// Prints the tree, permissions and limits of a user.
pub(super) fn run(arguments: &WhoamiArguments) -> ExitCode {
    let (config, origins) = match config::load_with_origins(&arguments.config, &arguments.user) {
        Ok(loaded) => loaded,
        Err(errors) => return failed(USAGE, &errors.to_string()),
    };
    match config.users.get(&arguments.user) {
        Some(user) => print(&page(&config, user, &origins)),
        None => {
            let name = arguments.user.escape_debug();
            failed(FAILURE, &format!("there is no user {name}"))
        }
    }
}

/// A line for each key, with its value and its origin.
fn page(config: &ServerOptions, user: &UserOptions, origins: &Origins) -> String {
    let mut page = UserPage {
        text: String::new(),
        origins,
    };
    page.line("user", &user.name, "");
    page.key("group", user.group.as_deref().unwrap_or("none"));
    if let Some(comment) = &user.comment {
        page.key("comment", comment);
    }
    page.key("password", password(user));
    if user.next_password.is_some() {
        page.key("next_password", "a hash; it is right too");
    }
    if let Some(certificate) = &user.certificate {
        let what = match certificate.password {
            true => "required, with the password",
            false => "required, without a password",
        };
        page.key("certificate", what);
    }
    page.key(
        "disabled",
        if user.disabled { "yes: no login" } else { "no" },
    );
    let expires = user.expires.map(|end| end.to_string());
    page.key("expires", expires.as_deref().unwrap_or("never"));
    let networks: Vec<String> = user.networks.iter().map(ToString::to_string).collect();
    let networks = match networks.as_slice() {
        [] => "all".to_owned(),
        networks => networks.join(", "),
    };
    page.key("networks", &networks);
    page.line("hosts", &hosts(&config.hosts, &user.name), "hosts");
    let sessions = user.sessions.or(config.limits.sessions_per_user);
    let sessions = sessions.map_or("no limit".to_owned(), |limit| limit.to_string());
    page.key("sessions", &sessions);
    let limits = &user.limits;
    let number = |limit: Option<usize>| limit.map(|limit| limit.to_string());
    let rate = |rate: Option<u64>| rate.map(|rate| format!("{} a second", human_bytes(rate)));
    let idle = limits.idle.unwrap_or(config.timeouts.idle);
    for (key, limit) in [
        ("transfers", number(limits.transfers)),
        ("upload_rate", rate(limits.upload_rate)),
        ("download_rate", rate(limits.download_rate)),
        ("idle", Some(format!("{} s", idle.as_secs_f64()))),
    ] {
        page.key(key, limit.as_deref().unwrap_or("no limit"));
    }
    page.key("start_directory", &user.start_directory.to_string());
    for (name, value) in &user.attributes {
        page.entry("attributes", name, value);
    }
    for (path, mount) in &user.mounts {
        page.entry("mounts", &path.to_string(), &mount_line(mount));
    }
    page.text
}

fn password(user: &UserOptions) -> &'static str {
    match user.password {
        Some(_) => "a hash",
        None => "none: the certificate is enough",
    }
}

fn mount_line(mount: &MountOptions) -> String {
    let permissions: Vec<&str> = mount.permissions.names().collect();
    format!(
        "{}:{}/{} ({})",
        mount.store,
        mount.bucket,
        mount.prefix,
        permissions.join(", ")
    )
}

/// The virtual hosts where the user may log in.
fn hosts(hosts: &Hosts, user: &str) -> String {
    if hosts.is_empty() {
        return "none are configured".to_owned();
    }
    let admitted = hosts.values().filter(|host| host.admits(user));
    let names: Vec<&str> = admitted.map(|host| host.name.as_str()).collect();
    match names.as_slice() {
        [] => "without HOST only".to_owned(),
        names => names.join(", "),
    }
}

struct UserPage<'o> {
    text: String,
    origins: &'o Origins,
}

impl UserPage<'_> {
    fn line(&mut self, key: &str, value: &str, origin: &str) {
        // Writing to a string does not fail.
        let _ = match origin {
            "" => writeln!(self.text, "{key}: {}", value.escape_debug()),
            origin => writeln!(self.text, "{key}: {} [{origin}]", value.escape_debug()),
        };
    }

    /// A key of the user or the group.
    fn key(&mut self, key: &str, value: &str) {
        let origin = self.origins.of_key(key).unwrap_or("default");
        self.line(key, value, origin);
    }

    /// An entry of a table.
    fn entry(&mut self, table: &str, name: &str, value: &str) {
        let key = format!("{table}.{name}");
        let origin = self.origins.of_key(&key);
        // The path of a mount may be written with a slash at its end.
        let origin = origin.or_else(|| self.origins.of_key(&format!("{key}/")));
        self.line(&key, value, origin.unwrap_or(table));
    }
}
