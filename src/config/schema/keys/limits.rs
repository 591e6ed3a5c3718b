//! Keys of limits: on time, sessions and failed logins.

use crate::config::schema::entry::{NETWORKS, SESSIONS, key, table};
use crate::config::schema::{Fallback, Kind, TableSchema};
use Fallback::{Text, Value};
use Kind::{Number, Time, TimeOrZero, Word};

table!(
    TIMEOUTS,
    [
        key(
            "settle_min",
            TimeOrZero,
            Value("\"1ms\""),
            "the shortest [settle window](commands.md#the-settle-window): the time from the last byte of an upload to its publication; at most 10 s",
        ),
        key(
            "login",
            Time,
            Value("\"60s\""),
            "the time in which a client must log in after it has connected"
        ),
        key(
            "idle",
            Time,
            Value("\"5m\""),
            "how long a session may stay without a command while no transfer is running"
        ),
        key(
            "data_connect",
            Time,
            Value("\"30s\""),
            "how long the server waits for the data connection to be established"
        ),
        key(
            "data_stall",
            Time,
            Value("\"60s\""),
            "how long a transfer may stay without a byte on the data connection"
        ),
        key(
            "control_write",
            Time,
            Value("\"60s\""),
            "how long the server waits for the client to receive a reply"
        ),
        key(
            "tls_handshake",
            Time,
            Value("\"20s\""),
            "how long a TLS handshake may take. It is measured from AUTH, on an implicit listener from the connection, on a data connection from the 150",
        ),
        key(
            "same_name",
            Time,
            Value("\"5m\""),
            "how long an upload that has received all its bytes waits for other sessions that write the same name; then it is kept as interrupted and gets 450. Other commands wait for at most 20 s",
        ),
        key(
            "shutdown_grace",
            TimeOrZero,
            Value("\"30s\""),
            "how long transfers may continue after SIGTERM or SIGINT, and how long finished downloads may take to reach their clients. See [Upgrade and drain](../operations/upgrade-and-drain.md)",
        ),
    ]
);

table!(
    RELOAD,
    [
        key(
            "every",
            TimeOrZero,
            Value("\"5s\""),
            "how often the files of the configuration and of its secrets are looked at; 0: they are read on SIGHUP only",
        ),
        key(
            "removed_users",
            Word(&["after_transfer", "now", "keep"]),
            Value("\"after_transfer\""),
            "when a session ends whose user was removed or disabled, or whose account has expired: after the running transfer, at once, or as if nothing had changed",
        ),
    ]
);

table!(
    LIMITS,
    [
        key(
            "sessions",
            SESSIONS,
            Value("10000"),
            "the number of sessions"
        ),
        key(
            "sessions_per_address",
            SESSIONS,
            Value("1000"),
            "the sessions of one address; a /64 of IPv6 counts as one address",
        ),
        key(
            "sessions_before_login",
            SESSIONS,
            Text(
                "a quarter of `sessions`, at least 4; fewer if there is [little memory](../operations/sizing.md#sessions-before-login)"
            ),
            "the sessions that have not logged in; they are part of `sessions`",
        ),
        key(
            "sessions_before_login_per_address",
            SESSIONS,
            Text("half of `sessions_before_login`, at most 250"),
            "the sessions of one address that have not logged in",
        ),
        key(
            "sessions_per_user",
            SESSIONS,
            Text("any number"),
            "the sessions of one user; `sessions` of a user overrides it",
        ),
        key(
            "login_attempts",
            Number(1, 1000),
            Value("3"),
            "after this number of failed logins the connection is closed. A right password that is refused because TLS or a certificate is missing counts as well",
        ),
    ]
);

table!(
    LOGIN_FAILURES,
    [
        key(
            "delay",
            TimeOrZero,
            Value("\"1s\""),
            "the delay before the reply to a first failure; it doubles with each further failure",
        ),
        key(
            "max_delay",
            TimeOrZero,
            Value("\"30s\""),
            "the longest delay",
        ),
        key("ban_for", Time, Value("\"15m\""), "how long a ban lasts"),
        key(
            "ban_after",
            Number(0, 1_000_000),
            Value("20"),
            "after this number of failures an address is banned: it gets 421 when it connects; 0: never. Right passwords of banned users do not count",
        ),
        key(
            "ban_user_after",
            Number(0, 1_000_000),
            Value("10"),
            "after this number of failures a user is banned: logins are refused as if the password were wrong; 0: never",
        ),
        key(
            "ban_users",
            Word(&["per_address", "everywhere"]),
            Value("\"per_address\""),
            "whether a banned user is refused at the address of the failures, or everywhere",
        ),
        key(
            "table_size",
            Number(100, 10_000_000),
            Value("20000"),
            "the number of addresses that are remembered, of users, and of users at addresses; each takes about 100 bytes",
        ),
        key(
            "exempt",
            NETWORKS,
            Value("[]"),
            "networks without bans: their failures are delayed by `delay` and not counted",
        ),
    ]
);
