//! The table of all keys.

use crate::config::schema::{Fallback, KeySchema, Kind, Rule, TableSchema};
use crate::units::{GIB, KIB, MIB};
use Fallback::{Required, Text, Value};
use Kind::{
    Address, Bucket, Capability, Either, File, Flag, Host, Line, List, Name, Named, Network,
    Number, Paths, Ports, Prefix, Secret, Size, Table, Time, TimeOrZero, Url, Word,
};

/// S3's smallest part; smaller ones are refused when an upload is completed.
const SMALLEST_PART: u64 = 5 * MIB;
/// S3's largest part, PutObject and CopyObject.
const LARGEST_PART: u64 = 5 * GIB;
/// No machine has more memory.
const LARGEST_BUDGET: u64 = 1024 * 1024 * GIB;
/// No machine serves more sessions.
const MOST_SESSIONS: u64 = 10_000_000;

const NONE: Fallback = Text("none");
const PROTECTION: Kind = Word(&["required", "optional", "off"]);
const SESSIONS: Kind = Number(1, MOST_SESSIONS);
const NETWORKS: Kind = List(&Network, 0);
const PERMISSIONS: &[&str] = &[
    "list",
    "read",
    "write",
    "overwrite",
    "append",
    "delete",
    "rename",
    "mkdir",
    "rmdir",
];

const fn key(name: &'static str, kind: Kind, fallback: Fallback, about: &'static str) -> KeySchema {
    KeySchema {
        name,
        kind,
        fallback,
        about,
    }
}

const fn section(
    name: &'static str,
    table: &'static TableSchema,
    about: &'static str,
) -> KeySchema {
    key(name, Table(table), Text("the defaults of its keys"), about)
}

macro_rules! table {
    ($name:ident, [$($key:expr),* $(,)?] $(, $rules:expr)?) => {
        static $name: TableSchema = TableSchema {
            keys: &[$($key),*],
            rules: table!(@rules $($rules)?),
        };
    };
    (@rules) => { &[] };
    (@rules $rules:expr) => { $rules };
}

/// The whole configuration.
pub(in crate::config) static ROOT: TableSchema = TableSchema {
    keys: &[
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
            "the control connections' addresses, each a text or a [listener table](#listeners). Port 0: any free port",
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
            Text("no health endpoints"),
            "the health endpoints over HTTP",
        ),
        section("transfer", &TRANSFER, "parts, ranges and parallelism"),
        section("memory", &MEMORY, "the memory budget"),
        section("timeouts", &TIMEOUTS, "deadlines"),
        section("limits", &LIMITS, "limits on sessions"),
        key(
            "replica",
            Line(200),
            NONE,
            "a name that no other living replica has, such as its pod's. A restarted process resumes at once what a dead process of the same name was uploading",
        ),
        section("resume", &RESUME, "interrupted uploads"),
        section(
            "proxy_protocol",
            &PROXY_PROTOCOL,
            "load balancers that send their clients' addresses",
        ),
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
            "users",
            Named(&USER),
            Required,
            "users, by their login names",
        ),
        key("hosts", Named(&HOST), NONE, "virtual hosts, by their names"),
    ],
    rules: &[],
};

table!(
    LISTENER,
    [
        key("address", Address, Required, "where it listens"),
        key(
            "tls",
            Word(&["explicit", "implicit"]),
            Value("\"explicit\""),
            "TLS begins with AUTH, or with the first byte",
        ),
        key(
            "control",
            PROTECTION,
            Text("that of `[tls]`"),
            "as in `[tls]`; an implicit listener's is always `\"required\"`",
        ),
        key("data", PROTECTION, Text("that of `[tls]`"), "as in `[tls]`"),
    ]
);

table!(
    TLS,
    [
        key(
            "certificate",
            File,
            Text("required, unless `certificates` is given"),
            "a PEM file: the certificate followed by its issuers",
        ),
        key(
            "key",
            File,
            Text("required, unless `certificates` is given"),
            "a PEM file: the private key of `certificate`, not encrypted",
        ),
        key(
            "certificates",
            List(&Table(&CERTIFICATE), 0),
            Value("[]"),
            "further certificates. The host name that the client asks for (SNI) selects one: `names` and the names of `[hosts]` count before the names in certificates; other clients get the first certificate",
        ),
        key(
            "control",
            PROTECTION,
            Value("\"optional\""),
            "TLS on control connections; `\"required\"`: USER is refused before AUTH",
        ),
        key(
            "data",
            PROTECTION,
            Value("\"optional\""),
            "TLS on data connections; `\"required\"`: transfers need PROT P",
        ),
        key(
            "min_version",
            Word(&["1.2", "1.3"]),
            Value("\"1.2\""),
            "the oldest version of TLS",
        ),
        key(
            "require_session_reuse",
            Flag,
            Value("false"),
            "true: a data connection must resume the TLS session of its control connection",
        ),
        key(
            "client_ca",
            File,
            NONE,
            "a PEM file: the authorities that sign client certificates",
        ),
        key(
            "client_certificates",
            PROTECTION,
            Text("`\"optional\"` if `client_ca` is given, else `\"off\"`"),
            "whether clients are asked for a certificate; `\"required\"` only if `control` is `\"required\"` on each listener",
        ),
        key(
            "reload",
            TimeOrZero,
            Value("\"30s\""),
            "time between two looks at the files; 0: on SIGHUP only",
        ),
    ],
    &[
        Rule::Needs("certificate", "key"),
        Rule::Needs("key", "certificate")
    ]
);

table!(
    CERTIFICATE,
    [
        key("certificate", File, Required, "as in `[tls]`"),
        key("key", File, Required, "as in `[tls]`"),
        key(
            "names",
            List(&Name, 1),
            Text("those in the certificate"),
            "host names such as `\"*.example.com\"`",
        ),
    ]
);

table!(
    PASSIVE,
    [
        key(
            "ports",
            Ports,
            Value("\"30000-30099\""),
            "no port of another listener",
        ),
        key(
            "address",
            Host,
            Text("the control connection's own"),
            "what PASV advertises",
        ),
        key(
            "networks",
            List(&Table(&PASSIVE_NETWORK), 0),
            Value("[]"),
            "what PASV advertises to the clients of a network; the first match wins",
        ),
    ]
);

table!(
    PASSIVE_NETWORK,
    [
        key("clients", Network, Required, "the clients"),
        key("address", Host, Required, "what PASV advertises to them"),
    ]
);

table!(
    ACTIVE,
    [key(
        "source_port",
        Number(0, 65535),
        Value("20"),
        "the port from which the server connects to clients, if the process may bind it; else, and with 0, any port",
    )]
);

table!(
    ADMIN,
    [key(
        "listen",
        Address,
        Required,
        "the address of the endpoints"
    )]
);

table!(
    TRANSFER,
    [
        key(
            "part_size",
            Size(SMALLEST_PART, LARGEST_PART),
            Value("\"8MiB\""),
            "the first parts of a multipart upload, and the largest PutObject",
        ),
        key(
            "upload_parallel",
            Number(1, 64),
            Value("8"),
            "parts of one upload in parallel",
        ),
        key(
            "range_size",
            Size(64 * KIB, LARGEST_PART),
            Value("\"8MiB\""),
            "one ranged GET",
        ),
        key(
            "download_parallel",
            Number(1, 64),
            Value("8"),
            "ranges of one download in parallel",
        ),
    ]
);

table!(
    MEMORY,
    [
        key(
            "budget",
            Size(4 * SMALLEST_PART, LARGEST_BUDGET),
            Text("half of the cgroup's limit or of the machine's memory, at most 2 GiB"),
            "what transfers and the hashing of passwords may take together: at least four times `transfer.part_size`, and at least `transfer.range_size`",
        ),
        key(
            "hold",
            Time,
            Value("\"30s\""),
            "how long an upload may hold the memory of a half-filled part while other transfers wait for memory",
        ),
    ]
);

table!(
    TIMEOUTS,
    [
        key(
            "settle_min",
            TimeOrZero,
            Value("\"1ms\""),
            "the least time for which the end of an upload is held back, at most 10 s; see [the settle window](commands.md#the-settle-window)",
        ),
        key(
            "login",
            Time,
            Value("\"60s\""),
            "from the connection to the login"
        ),
        key(
            "idle",
            Time,
            Value("\"5m\""),
            "without a command, if no transfer is running"
        ),
        key(
            "data_connect",
            Time,
            Value("\"30s\""),
            "until the data connection is established"
        ),
        key(
            "data_stall",
            Time,
            Value("\"60s\""),
            "without a byte on the data connection"
        ),
        key(
            "control_write",
            Time,
            Value("\"60s\""),
            "until the client has taken a reply"
        ),
        key(
            "tls_handshake",
            Time,
            Value("\"20s\""),
            "for a TLS handshake: from AUTH; from the connection to an implicit listener; on data connections from the 150",
        ),
        key(
            "same_name",
            Time,
            Value("\"5m\""),
            "how long an upload that has received all its bytes waits for other sessions that write the same name; then it is kept as interrupted, 450. Other commands wait for at most 20 s",
        ),
        key(
            "shutdown_grace",
            TimeOrZero,
            Value("\"30s\""),
            "from SIGTERM or SIGINT until running transfers are cut, and finished downloads whose last bytes are still on their way. See [Upgrade and drain](../operations/upgrade-and-drain.md)",
        ),
    ]
);

table!(
    LIMITS,
    [
        key("sessions", SESSIONS, Value("10000"), "sessions in parallel"),
        key(
            "sessions_per_address",
            SESSIONS,
            Value("1000"),
            "of one address; a /64 of IPv6 counts as one address",
        ),
        key(
            "sessions_before_login",
            SESSIONS,
            Text(
                "a quarter of `sessions`, at least 4; fewer if there is [little memory](../operations/sizing.md#sessions-before-login)"
            ),
            "the sessions, among `sessions`, that have not logged in",
        ),
        key(
            "sessions_before_login_per_address",
            SESSIONS,
            Text("half of `sessions_before_login`, at most 250"),
            "of one address",
        ),
        key(
            "sessions_per_user",
            SESSIONS,
            Text("any number"),
            "of one user; `sessions` of a user overrides it",
        ),
        key(
            "login_attempts",
            Number(1, 1000),
            Value("3"),
            "failed logins, then the connection is closed. A right password that is refused because TLS or a certificate is missing counts as well",
        ),
    ]
);

table!(
    RESUME,
    [
        key(
            "refresh",
            Time,
            Value("\"60s\""),
            "how often the record of a running upload is rewritten. A record that was not rewritten for 2.5 times this time belongs to a dead process",
        ),
        key(
            "stalled_after",
            TimeOrZero,
            Value("\"5s\""),
            "a running upload that has received nothing for this time counts as interrupted: SIZE [reports its length](commands.md#what-size-reports-to-whom) even if an object exists",
        ),
        key(
            "keep_for",
            Time,
            Value("\"3d\""),
            "an interrupted upload that no client has resumed for this time is removed",
        ),
        key(
            "keep_over_object",
            Time,
            Value("\"1h\""),
            "how long an interrupted upload is kept if an object of its name exists",
        ),
        key(
            "sweep_every",
            TimeOrZero,
            Value("\"6h\""),
            "how often the server sweeps; 0: never (`s3ftpd sweep` does it by hand)",
        ),
        key(
            "look_every",
            TimeOrZero,
            Value("\"60s\""),
            "how often the server lists the names of all records (one ListObjectsV2 for each state bucket), to learn what other servers have kept; 0: never",
        ),
    ]
);

table!(
    PROXY_PROTOCOL,
    [
        key(
            "networks",
            NETWORKS,
            Value("[]"),
            "the load balancers: their connections must begin with a PROXY header",
        ),
        key(
            "header_timeout",
            Time,
            Value("\"5s\""),
            "until the header is complete, then the connection is closed",
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
            "before the reply to a first failure, at most `max_delay`; doubled with each further failure",
        ),
        key(
            "max_delay",
            TimeOrZero,
            Value("\"30s\""),
            "no reply is delayed for longer",
        ),
        key("ban_for", Time, Value("\"15m\""), "how long a ban lasts"),
        key(
            "ban_after",
            Number(0, 1_000_000),
            Value("20"),
            "failures, then the address is banned and gets 421 when it connects; 0: never. Right passwords of banned users do not count",
        ),
        key(
            "ban_user_after",
            Number(0, 1_000_000),
            Value("10"),
            "failures, then the user is banned: logins are refused as if the password were wrong; 0: never",
        ),
        key(
            "ban_users",
            Word(&["per_address", "everywhere"]),
            Value("\"per_address\""),
            "from where a banned user is refused",
        ),
        key(
            "table_size",
            Number(100, 10_000_000),
            Value("20000"),
            "addresses that are remembered, and as many users and users at addresses, of about 100 bytes each",
        ),
        key(
            "exempt",
            NETWORKS,
            Value("[]"),
            "networks whose failures are delayed by `delay` and not counted, and for which no ban holds",
        ),
    ]
);

const AWS_CHAIN: Fallback =
    Text("the AWS default chain (environment, profile, web identity, instance role)");

table!(
    STORE,
    [
        key("endpoint", Url, Text("AWS"), "the store's URL"),
        key(
            "region",
            Line(100),
            Text("the AWS default chain, else us-east-1"),
            "the region",
        ),
        key(
            "path_style",
            Flag,
            Text("true if an endpoint is given"),
            "true: `endpoint/bucket/key`; false: `bucket.endpoint/key`",
        ),
        key("access_key_id", Secret, AWS_CHAIN, "together with the next"),
        key(
            "secret_access_key",
            Secret,
            AWS_CHAIN,
            "together with the one before"
        ),
        key("session_token", Secret, NONE, "of temporary credentials"),
        key(
            "checksums",
            Word(&["auto", "crc32", "none"]),
            Value("\"auto\""),
            "whether the store verifies CRC-32, also of whole multipart uploads; `\"auto\"`: assumed on AWS, else probed",
        ),
        key(
            "conditional_writes",
            Capability,
            Value("\"auto\""),
            "whether the store honours If-Match and If-None-Match on writes",
        ),
        key(
            "conditional_deletes",
            Capability,
            Value("\"auto\""),
            "whether the store honours If-Match on DeleteObject. If not, records end as empty objects, which the sweep deletes",
        ),
        key(
            "files_hide_directories",
            Capability,
            Value("\"auto\""),
            "whether an object `a` hides the objects `a/…` from listings (MinIO). If so, one list before an upload or a rename of a file to a new name makes sure that the name is not a directory",
        ),
        key(
            "sign_payload",
            Flag,
            Value("false"),
            "true: sign payloads (SHA-256) even if checksums work",
        ),
        key(
            "connect_timeout",
            Time,
            Value("\"5s\""),
            "for a TCP connection to the store"
        ),
        key(
            "request_timeout",
            Time,
            Value("\"30s\""),
            "for one request; see below"
        ),
        key(
            "attempts",
            Number(1, 10),
            Value("4"),
            "attempts of one request"
        ),
        key(
            "copy_limit",
            Size(SMALLEST_PART, LARGEST_PART),
            Value("\"5GiB\""),
            "larger objects are copied in parts",
        ),
        key(
            "equal_parts",
            Flag,
            Text("true if the endpoint's host ends in `.r2.cloudflarestorage.com`, else false"),
            "true: all parts of an object but the last have one size, as Cloudflare R2 requires. The largest object is then 10,000 × `transfer.part_size` (8 MiB: 78 GiB)",
        ),
    ],
    &[
        Rule::Needs("access_key_id", "secret_access_key"),
        Rule::Needs("secret_access_key", "access_key_id"),
        Rule::Needs("session_token", "access_key_id"),
    ]
);

table!(
    MOUNT,
    [
        key("store", Name, Required, "the name of a store"),
        key("bucket", Bucket, Required, "the name of a bucket"),
        key(
            "prefix",
            Prefix,
            Text("the whole bucket"),
            "the mount shows the keys below it. `{user}` is the login name. Slashes at its ends are added or removed as needed",
        ),
        key(
            "permissions",
            List(&Word(PERMISSIONS), 1),
            Text("all"),
            "what users may do: [permissions](#permissions)",
        ),
        key(
            "ascii",
            Word(&["binary", "convert"]),
            Value("\"binary\""),
            "whether [TYPE A](commands.md#type-a) converts line ends",
        ),
        key(
            "times",
            Word(&["store", "metadata"]),
            Value("\"store\""),
            "an object's time: LastModified, or the client's [times](commands.md#times), in the user metadata",
        ),
        key(
            "verify_downloads",
            Flag,
            Value("true"),
            "true: a RETR of a whole file is compared with the CRC-32 that the store holds: [which downloads](commands.md#downloads-are-compared-with-the-stores-checksum)",
        ),
        key(
            "state_bucket",
            Bucket,
            Text("the bucket itself"),
            "a bucket in the same store for the records and tails of interrupted uploads; one for all mounts of a bucket",
        ),
        key(
            "interrupted",
            Word(&["keep", "abort"]),
            Value("\"keep\""),
            "an interrupted upload can be resumed, or is removed",
        ),
        key(
            "on_control_loss",
            Word(&["keep", "publish"]),
            Value("\"keep\""),
            "an upload whose control connection ends without QUIT is not published, or is published when its data connection ends: for [clients that leave without QUIT](../how-to/clients.md#clients-that-leave-without-quit)",
        ),
    ]
);

table!(
    USER,
    [
        key(
            "tls",
            Table(&USER_TLS),
            Text("the listener's"),
            "what this user must or cannot do. If a listener requires TLS on control connections, no user is admitted without it",
        ),
        key(
            "certificate",
            Table(&CERTIFICATE_LOGIN),
            NONE,
            "the client certificate that the user must have",
        ),
        key(
            "lenient_close",
            Flag,
            Value("false"),
            "true: under TLS an upload may also end with a bare FIN between two records, for devices that never send close_notify. Anyone on the path can then cut an upload short",
        ),
        key(
            "password",
            Secret,
            Text("required, unless `certificate.password` is `\"none\"`"),
            "a hash from `s3ftpd hash-password`, or another argon2id (PHC), bcrypt (`$2a$`, `$2b$`, `$2y$`) or sha512-crypt (`$6$`) hash",
        ),
        key(
            "mounts",
            Paths(&Either(&Name, &Table(&MOUNT))),
            Required,
            "absolute paths, each with a mount's name or an inline mount; at least one",
        ),
        key(
            "sessions",
            SESSIONS,
            Text("`limits.sessions_per_user`"),
            "sessions of this user in parallel",
        ),
    ]
);

table!(
    USER_TLS,
    [
        key(
            "control",
            PROTECTION,
            Text("the listener's"),
            "as in `[tls]`"
        ),
        key("data", PROTECTION, Text("the listener's"), "as in `[tls]`"),
    ]
);

table!(
    CERTIFICATE_LOGIN,
    [
        key("subject", Line(500), NONE, "its common name"),
        key(
            "san",
            Line(500),
            NONE,
            "a host name or e-mail address among its subject alternative names",
        ),
        key(
            "password",
            Word(&["required", "none"]),
            Value("\"required\""),
            "`\"none\"`: the certificate is enough and there is no password",
        ),
    ],
    &[Rule::ExactlyOne(&["subject", "san"])]
);

table!(
    HOST,
    [
        key(
            "greeting",
            Line(500),
            Text("the top-level `greeting`"),
            "the text of the 220 reply to HOST, and of the first 220 if TLS is implicit",
        ),
        key(
            "users",
            List(&Name, 1),
            Text("every user"),
            "names of users who may log in there",
        ),
        key(
            "certificate",
            File,
            Text("by its name, from `[tls]`"),
            "a PEM file, as in `[tls]`, which must be configured: the certificate for clients that ask for this host",
        ),
        key(
            "key",
            File,
            Text("by its name, from `[tls]`"),
            "a PEM file: its private key"
        ),
    ],
    &[
        Rule::Needs("certificate", "key"),
        Rule::Needs("key", "certificate")
    ]
);
