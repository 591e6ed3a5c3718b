//! The table of all keys. Each group of sections has a file of its own.

mod attributes;
mod auth;
mod connections;
mod hooks;
mod limits;
mod log;
mod metrics;
mod stores;
mod transfers;
mod users;

use crate::config::schema::entry::{NONE, key, section};
use crate::config::schema::{Fallback, Kind, TableSchema};
use Fallback::{Required, Text, Value};
use Kind::{Address, Either, File, Line, List, Named, Table};
use auth::AUTH;
use connections::{ACTIVE, ADMIN, HOST, LISTENER, PASSIVE, PROXY_PROTOCOL, TLS};
use hooks::{BEFORE_PUBLISH, EVENT_HOOK};
use limits::{LIMITS, LOGIN_FAILURES, RELOAD, TIMEOUTS};
use log::LOG;
use metrics::METRICS;
use stores::{MOUNT, STORE};
use transfers::{MEMORY, RESUME, TRANSFER};
use users::{GROUP, USER};

/// The whole configuration.
pub(in crate::config) static ROOT: TableSchema = TableSchema {
    keys: &[
        key(
            "include",
            List(&File, 0),
            NONE,
            "further files, and directories whose files are read: [pieces](#pieces)",
        ),
        key(
            "tls",
            Table(&TLS),
            Text("no FTPS"),
            "[FTPS](../how-to/ftps.md)",
        ),
        key(
            "listen",
            List(&Either(&Address, &Table(&LISTENER)), 1),
            Value("[\"0.0.0.0:2121\", \"[::]:2121\"]"),
            "the addresses for control connections, each a text or a [listener table](#listeners). Port 0: any free port",
        ),
        key(
            "greeting",
            Line(500),
            Value("\"s3ftpd ready\""),
            "the text of the 220 reply",
        ),
        section("passive", &PASSIVE, "passive data connections"),
        section("active", &ACTIVE, "active data connections"),
        key(
            "admin",
            Table(&ADMIN),
            Text("no health endpoints and no status page"),
            "the health endpoints and the [status page](../how-to/status-page.md) over HTTP",
        ),
        section("log", &LOG, "the log and the transfer log"),
        section("metrics", &METRICS, "metrics, at the health endpoints"),
        section("transfer", &TRANSFER, "parts, ranges and parallelism"),
        section("memory", &MEMORY, "the memory budget"),
        section("timeouts", &TIMEOUTS, "deadlines"),
        section("limits", &LIMITS, "limits on sessions"),
        key(
            "replica",
            Line(200),
            NONE,
            "a name that no other running replica has, such as the name of its pod. A restarted process resumes at once what a dead process of the same name was uploading",
        ),
        section("reload", &RELOAD, "reloads of the configuration"),
        section("resume", &RESUME, "interrupted uploads"),
        key(
            "before_publish",
            Table(&BEFORE_PUBLISH),
            Text("no check"),
            "[who is asked before an upload becomes visible](../how-to/hooks.md)",
        ),
        key(
            "events",
            Named(&EVENT_HOOK),
            NONE,
            "[URLs that events are posted to](../how-to/hooks.md#send-events), by a name of your choice",
        ),
        section(
            "proxy_protocol",
            &PROXY_PROTOCOL,
            "load balancers that send their clients' addresses",
        ),
        section("auth", &AUTH, "how passwords are checked"),
        section(
            "login_failures",
            &LOGIN_FAILURES,
            "what failed logins lead to",
        ),
        key(
            "stores",
            Named(&STORE),
            Required,
            "stores: S3 endpoints, by a name of your choice",
        ),
        key(
            "mounts",
            Named(&MOUNT),
            NONE,
            "mounts: pieces of buckets that appear as directories, by a name of your choice",
        ),
        key(
            "groups",
            Named(&GROUP),
            NONE,
            "groups: defaults for users, by a name of your choice",
        ),
        key(
            "users",
            Named(&USER),
            Required,
            "users, by their login names",
        ),
        key("hosts", Named(&HOST), NONE, "virtual hosts, by their names"),
    ],
    rules: &[],
};
