//! The schema of what stands between the network and a login: PROXY protocol, checks of passwords,
//! failed logins, virtual hosts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::auth::options::{AuthOptions, BanUsers, LoginFailureOptions, WeakHashes};
use crate::config::section::{Field, Section, nearest};
use crate::config::{tls, values};
use crate::net::proxy::options::ProxyOptions;
use crate::session::options::{HostOptions, Hosts, host_key};
use crate::tls::options::TlsOptions;

pub(super) fn proxy_protocol(section: Section<'_>) -> ProxyOptions {
    let proxy = ProxyOptions {
        networks: networks(&section, "networks"),
        header_timeout: section.time_or_default("header_timeout"),
    };
    section.finish();
    proxy
}

/// A password that was changed elsewhere must soon count no more.
const LONGEST_CACHE: Duration = Duration::from_secs(60);

pub(super) fn auth(section: Section<'_>) -> AuthOptions {
    let options = AuthOptions {
        weak_hashes: section.word_or_default(
            "weak_hashes",
            &[WeakHashes::Warn, WeakHashes::Refuse, WeakHashes::Allow],
        ),
        cache: section.time_or_default("cache"),
    };
    if options.cache > LONGEST_CACHE {
        section.wrong("cache", "it is out of range", "at most 60 s");
    }
    section.finish();
    options
}

pub(super) fn login_failures(section: Section<'_>) -> LoginFailureOptions {
    // 0 is never.
    let failures = |key| Some(section.number_or_default(key)).filter(|failures| *failures > 0);
    let options = LoginFailureOptions {
        delay: section.time_or_default("delay"),
        max_delay: section.time_or_default("max_delay"),
        ban_after: failures("ban_after"),
        ban_user_after: failures("ban_user_after"),
        ban_users: section
            .word_or_default("ban_users", &[BanUsers::PerAddress, BanUsers::Everywhere]),
        ban_for: section.time_or_default("ban_for"),
        table_size: section.number_or_default("table_size"),
        exempt: networks(&section, "exempt"),
    };
    if options.delay > options.max_delay {
        section.wrong(
            "delay",
            "is longer than login_failures.max_delay",
            "at most login_failures.max_delay",
        );
    }
    section.finish();
    options
}

/// Reads `[hosts]`; `users` are the names of those who are configured. Their certificates go to
/// those of `tls`.
pub(super) fn hosts(root: &Section<'_>, users: &[&str], mut tls: Option<&mut TlsOptions>) -> Hosts {
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
            "is not a host name",
            "a name such as \"ftp.example.com\": letters, digits and hyphens between dots, the last part no number",
        );
    }
    let section = field.section("a table")?;
    let greeting = section.line("greeting");
    let admitted = section
        .field("users")
        .map(|field| names_of_users(&field, users));
    let name = host_key(name);
    tls::host(&section, &name, tls);
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

fn networks(section: &Section<'_>, key: &'static str) -> Vec<IpNet> {
    let allowed = "a list of networks: [\"10.0.0.0/8\", \"fd00::/8\"]";
    let items = section.field(key).and_then(|field| field.items(allowed));
    items
        .unwrap_or_default()
        .iter()
        .filter_map(values::network)
        .collect()
}
