//! The schema of what stands between the network and a login: PROXY protocol, failed logins, virtual hosts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::auth::options::{BanUsers, LoginFailureOptions};
use crate::config::section::{Field, Section, nearest};
use crate::config::{tls, values};
use crate::net::proxy::options::ProxyOptions;
use crate::session::options::{HostOptions, Hosts, host_key};
use crate::tls::options::TlsOptions;

pub(super) fn proxy_protocol(mut section: Section<'_>) -> ProxyOptions {
    let networks = networks(&mut section, "networks");
    let header_timeout = section
        .field("header_timeout")
        .and_then(|field| values::duration(&field, false));
    section.finish();
    ProxyOptions {
        networks,
        header_timeout: header_timeout.unwrap_or(Duration::from_secs(5)),
    }
}

pub(super) fn login_failures(mut section: Section<'_>) -> LoginFailureOptions {
    let mut time = |key, default, zero| {
        let field = section.field(key);
        let time = field.and_then(|field| values::duration(&field, zero));
        time.unwrap_or(Duration::from_secs(default))
    };
    let delay = time("delay", 1, true);
    let max_delay = time("max_delay", 30, true);
    let ban_for = time("ban_for", 15 * 60, false);
    let mut failures = |key, default| {
        let field = section.field(key);
        let failures = field.and_then(|field| values::small(&field, 0, 1_000_000));
        Some(failures.unwrap_or(default)).filter(|failures| *failures > 0)
    };
    let ban_after = failures("ban_after", 20);
    let ban_user_after = failures("ban_user_after", 10);
    let ban_users = section.field("ban_users").and_then(|field| {
        let words = [
            ("per_address", BanUsers::PerAddress),
            ("everywhere", BanUsers::Everywhere),
        ];
        values::word(&field, &words)
    });
    let table_size = section
        .field("table_size")
        .and_then(|field| values::count(&field, 100, 10_000_000));
    let exempt = networks(&mut section, "exempt");
    if delay > max_delay {
        section.wrong(
            "delay",
            "is longer than login_failures.max_delay",
            "at most login_failures.max_delay",
        );
    }
    section.finish();
    LoginFailureOptions {
        delay,
        max_delay,
        ban_after,
        ban_user_after,
        ban_users: ban_users.unwrap_or(BanUsers::PerAddress),
        ban_for,
        table_size: table_size.unwrap_or(20_000),
        exempt,
    }
}

/// Reads `[hosts]`; `users` are the names of those who are configured. Their certificates go to those of `tls`.
pub(super) fn hosts(
    root: &mut Section<'_>,
    users: &[&str],
    mut tls: Option<&mut TlsOptions>,
) -> Hosts {
    let entries = root
        .field("hosts")
        .and_then(|field| field.entries("a table of host names"))
        .unwrap_or_default();
    let mut hosts = Hosts::new();
    for (name, field) in entries {
        let Some(host) = host(name, &field, users, tls.as_deref_mut()) else {
            continue;
        };
        if hosts.contains_key(&host.name) {
            field.wrong::<()>(
                format!("the host {} is there twice", host.name),
                "one table a host",
            );
        }
        hosts.insert(host.name.clone(), Arc::new(host));
    }
    hosts
}

fn host(
    name: &str,
    field: &Field<'_>,
    users: &[&str],
    tls: Option<&mut TlsOptions>,
) -> Option<HostOptions> {
    if !values::is_host_name(name) {
        return field.wrong(
            "is no host name",
            "a name such as \"ftp.example.com\": letters, digits and hyphens between dots, the last part no number",
        );
    }
    let mut section = field.section("a table")?;
    let greeting = section
        .field("greeting")
        .and_then(|field| values::line(&field, 500));
    let admitted = section
        .field("users")
        .map(|field| names_of_users(&field, users));
    let name = host_key(name);
    tls::host(&mut section, &name, tls);
    section.finish();
    Some(HostOptions {
        name,
        greeting,
        users: admitted,
    })
}

fn names_of_users(field: &Field<'_>, users: &[&str]) -> BTreeSet<String> {
    let allowed = "a list of names of users; left out: all";
    let items = field.items(allowed);
    if items.as_ref().is_some_and(Vec::is_empty) {
        field.wrong::<()>("is empty", allowed);
    }
    let mut names = BTreeSet::new();
    for item in items.unwrap_or_default() {
        let Some(name) = item.text(allowed) else {
            continue;
        };
        if !users.contains(&name) {
            let near = nearest(name, users)
                .map_or_else(String::new, |near| format!(", did you mean {near:?}?"));
            item.wrong::<()>(format!("there is no user {name:?}{near}"), allowed);
        }
        names.insert(name.to_owned());
    }
    names
}

fn networks(section: &mut Section<'_>, key: &'static str) -> Vec<IpNet> {
    let allowed = "a list of networks: [\"10.0.0.0/8\", \"fd00::/8\"]";
    let items = section.field(key).and_then(|field| field.items(allowed));
    items
        .unwrap_or_default()
        .iter()
        .filter_map(values::network)
        .collect()
}
