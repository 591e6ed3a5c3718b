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
            "a name that no other running replica has, such as the name of its pod. A restarted process resumes at once what a dead process of the same name was uploading",
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
        key("address", Address, Required, "the address of the listener"),
        key(
            "tls",
            Word(&["explicit", "implicit"]),
            Value("\"explicit\""),
            "whether TLS begins with AUTH (`\"explicit\"`) or with the first byte (`\"implicit\"`)",
        ),
        key(
            "control",
            PROTECTION,
            Text("that of `[tls]`"),
            "as in `[tls]`; always `\"required\"` on an implicit listener",
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
            "the oldest version of TLS that is accepted",
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
            "how often the server checks the certificate files for changes; 0: on SIGHUP only",
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
            "the ports for data connections; none may be the port of a listener",
        ),
        key(
            "address",
            Host,
            Text("the control connection's own"),
            "the address that PASV advertises",
        ),
        key(
            "networks",
            List(&Table(&PASSIVE_NETWORK), 0),
            Value("[]"),
            "other addresses for the clients of some networks; the first match wins",
        ),
    ]
);

table!(
    PASSIVE_NETWORK,
    [
        key("clients", Network, Required, "the network of the clients"),
        key(
            "address",
            Host,
            Required,
            "the address that PASV advertises to them"
        ),
    ]
);

table!(
    ACTIVE,
    [key(
        "source_port",
        Number(0, 65535),
        Value("20"),
        "the port from which the server connects to clients. If the process may not bind it, and with 0: any port",
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
            "the size of the first parts of a multipart upload, and the largest PutObject",
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
            "the size of one ranged GET",
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
            "the memory that transfers and the hashing of passwords share: at least four times `transfer.part_size`, and at least `transfer.range_size`",
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
    RESUME,
    [
        key(
            "refresh",
            Time,
            Value("\"60s\""),
            "how often the record of a running upload is rewritten. If a record was not rewritten for 2.5 times this time, its process counts as dead",
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
            "how long an interrupted upload is kept if no client resumes it",
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
            "how often the server lists the names of all records (one ListObjectsV2 for each state bucket), to learn of the interrupted uploads of other servers; 0: never",
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
            "how long the server waits for the header before it closes the connection",
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
            "the region of the buckets",
        ),
        key(
            "path_style",
            Flag,
            Text("true if an endpoint is given"),
            "true: `endpoint/bucket/key`; false: `bucket.endpoint/key`",
        ),
        key(
            "access_key_id",
            Secret,
            AWS_CHAIN,
            "the access key; only together with `secret_access_key`"
        ),
        key(
            "secret_access_key",
            Secret,
            AWS_CHAIN,
            "the secret key; only together with `access_key_id`"
        ),
        key(
            "session_token",
            Secret,
            NONE,
            "the session token of temporary credentials"
        ),
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
            "how long a TCP connection to the store may take to be established"
        ),
        key(
            "request_timeout",
            Time,
            Value("\"30s\""),
            "how long a request may stay without progress; see below"
        ),
        key(
            "attempts",
            Number(1, 10),
            Value("4"),
            "the number of attempts for one request"
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
            "a bucket in the same store for the records and tails of interrupted uploads. Give all mounts of a bucket the same one",
        ),
        key(
            "interrupted",
            Word(&["keep", "abort"]),
            Value("\"keep\""),
            "whether an interrupted upload is kept for a resume, or removed",
        ),
        key(
            "on_control_loss",
            Word(&["keep", "publish"]),
            Value("\"keep\""),
            "what happens to an upload whose control connection ends without QUIT: it is kept for a resume, or published when its data connection ends. For [clients that leave without QUIT](../how-to/clients.md#clients-that-leave-without-quit)",
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
            "overrides the listener's `control` and `data` for this user. If a listener requires TLS on control connections, no user is admitted without it",
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
            "the user's tree: absolute paths, each with the name of a mount or an inline mount; at least one",
        ),
        key(
            "sessions",
            SESSIONS,
            Text("`limits.sessions_per_user`"),
            "the number of sessions of this user",
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
        key(
            "subject",
            Line(500),
            NONE,
            "the common name that the certificate must have"
        ),
        key(
            "san",
            Line(500),
            NONE,
            "a host name or e-mail address that must be among the subject alternative names of the certificate",
        ),
        key(
            "password",
            Word(&["required", "none"]),
            Value("\"required\""),
            "whether the user needs a password as well; `\"none\"`: the certificate is enough",
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
            "a PEM file: the certificate for clients that ask for this host. Needs `[tls]`",
        ),
        key(
            "key",
            File,
            Text("by its name, from `[tls]`"),
            "a PEM file: the private key of `certificate`"
        ),
    ],
    &[
        Rule::Needs("certificate", "key"),
        Rule::Needs("key", "certificate")
    ]
);
