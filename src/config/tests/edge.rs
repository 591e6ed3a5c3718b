//! PROXY protocol, failed logins, virtual hosts, sessions per user.

use super::*;
use crate::auth::options::BanUsers;
use crate::session::options::host_key;
use std::time::Duration;

#[test]
fn defaults() {
    let config = with("").unwrap();
    assert!(config.proxy_protocol.networks.is_empty());
    let seconds = Duration::from_secs;
    assert_eq!(config.proxy_protocol.header_timeout, seconds(5));
    let failures = &config.login_failures;
    assert_eq!(failures.delay, seconds(1));
    assert_eq!(failures.max_delay, seconds(30));
    assert_eq!(failures.ban_after, Some(20));
    assert_eq!(failures.ban_user_after, Some(10));
    assert_eq!(failures.ban_users, BanUsers::PerAddress);
    assert_eq!(failures.ban_for, seconds(900));
    assert_eq!(failures.table_size, 20_000);
    assert!(failures.exempt.is_empty());
    assert!(config.hosts.is_empty());
    assert_eq!(config.users["anna"].sessions, None);
}

#[test]
fn everything_set() {
    let config = with(
        r#"
        proxy_protocol = { networks = ["10.0.0.0/8", "fd00::1"], header_timeout = "2s" }
        limits.sessions_per_user = 7
        limits.sessions_before_login = 60
        limits.sessions_before_login_per_address = 6
        [login_failures]
        delay = 0
        max_delay = "5s"
        ban_after = 0
        ban_user_after = 3
        ban_users = "everywhere"
        ban_for = "1h"
        table_size = 100
        exempt = ["192.168.0.0/16"]
        [users.bert]
        password = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
        mounts = { "/" = "scans" }
        sessions = 2
        [hosts."FTP.Example.com."]
        greeting = "Example"
        users = ["bert"]
        [hosts.localhost]
        "#,
    )
    .unwrap();
    assert_eq!(
        config.proxy_protocol.networks,
        [
            "10.0.0.0/8".parse().unwrap(),
            "fd00::1/128".parse().unwrap()
        ]
    );
    assert_eq!(config.proxy_protocol.header_timeout, Duration::from_secs(2));
    assert_eq!(config.limits.sessions_per_user, Some(7));
    assert_eq!(config.limits.before_login, 60);
    assert_eq!(config.limits.before_login_per_address, 6);
    assert_eq!(config.users["bert"].sessions, Some(2));
    let failures = &config.login_failures;
    assert_eq!(
        (failures.ban_after, failures.ban_user_after),
        (None, Some(3))
    );
    assert_eq!(failures.ban_users, BanUsers::Everywhere);
    assert_eq!(failures.exempt.len(), 1);
    let host = &config.hosts[&host_key("ftp.EXAMPLE.com")];
    assert_eq!(host.greeting.as_deref(), Some("Example"));
    assert!(host.admits("bert") && !host.admits("anna"));
    assert!(config.hosts["localhost"].admits("anna"));
}

#[test]
fn sessions_before_login_follow_from_all_of_them() {
    for (sessions, before_login, per_address) in [
        (1, 1, 1),
        (2, 2, 2),
        (10, 4, 2),
        (100, 25, 12),
        (500, 125, 62),
        (1_000, 250, 125),
        (100_000, 25_000, 250),
    ] {
        let limits = with(&format!("limits.sessions = {sessions}"))
            .unwrap()
            .limits;
        assert_eq!(
            (limits.before_login, limits.before_login_per_address),
            (before_login, per_address),
            "{sessions}"
        );
    }
}

#[test]
fn wrong_values_name_what_is_allowed() {
    check(
        r#"
        proxy_protocol.networks = '10.0.0.0/8' => proxy_protocol.networks: is a string | a list of networks
        proxy_protocol.networks = ['10/8'] => proxy_protocol.networks[0] | not a network
        proxy_protocol.header_timeout = 0 => proxy_protocol.header_timeout | more than 0
        proxy_protocol.network = [] => proxy_protocol.network: unknown key, did you mean networks?
        login_failures.delay = '31s' => login_failures.delay: is longer than login_failures.max_delay
        login_failures.ban_for = 0 => login_failures.ban_for | more than 0
        login_failures.ban_after = -1 => login_failures.ban_after | 0 to 1000000
        login_failures.ban_users = 'always' => login_failures.ban_users | "per_address", "everywhere"
        login_failures.table_size = 99 => login_failures.table_size | 100 to 10000000
        login_failures.exempt = ['x'] => login_failures.exempt[0] | not a network
        timeouts.login_failure_delay = 1 => timeouts.login_failure_delay: unknown key: it is login_failures.delay now
        limits.sessions_before_login = 0 => limits.sessions_before_login | 1 to 10000000
        limits.sessions_before_login_per_address = -1 => limits.sessions_before_login_per_address | 1 to 10000000
        limits.sessions_per_user = 0 => limits.sessions_per_user | 1 to 10000000
        users.bert = { password = 'HASH', mounts = { '/' = 'scans' }, sessions = 0 } => users.bert.sessions | 1 to 10000000
        hosts.'10.0.0.1' = {} => hosts."10.0.0.1": is not a host name | letters, digits and hyphens
        hosts.'a b' = {} => hosts."a b": is not a host name
        hosts.a = { users = [] } => hosts.a.users: is empty | left out: all
        hosts.a = { users = ['ana'] } => hosts.a.users[0]: there is no user "ana", did you mean "anna"?
        hosts.a = { greeting = "a\nb" } => hosts.a.greeting | without control characters
        hosts.a = { gretting = 'x' } => hosts.a.gretting: unknown key, did you mean greeting?
        hosts = { a = {}, A = {} } => the host a is there twice
        "#,
    );
}
