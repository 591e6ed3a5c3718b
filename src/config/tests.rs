//! Table tests: defaults, and each kind of error with its source, its key and what is allowed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod edge;
mod hashes;
mod include;
mod names;
mod schema;
mod sources;
mod tls;
mod users;

use super::*;
use crate::data::options::PassivePorts;
use crate::namespace::Permission;
use crate::namespace::Permissions;
use crate::namespace::VirtualPath;
use crate::object::options::Capability;
use std::net::SocketAddr;
use std::time::Duration;

const HASH: &str =
    "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
const SECRET: &str = "wJalrXUtnFEMI-K7MDENG";

/// A right configuration; each case adds to it.
fn base() -> String {
    format!(
        r#"
stores.main = {{ endpoint = "http://127.0.0.1:3900", access_key_id = "AK", secret_access_key = "{SECRET}" }}
mounts.scans = {{ store = "main", bucket = "scans", prefix = "{{user}}/" }}
users.anna = {{ password = "{HASH}", mounts = {{ "/" = "scans" }} }}
memory.budget = "64MiB"
"#
    )
}

/// [`base`] with `more`, read as `test.toml`.
fn with(more: &str) -> Result<ServerOptions, ConfigErrors> {
    from_str(&format!("{}{more}", base()), "test.toml")
}

fn addresses(config: &ServerOptions) -> Vec<SocketAddr> {
    config.listen.iter().map(|l| l.address).collect()
}

fn lines(result: Result<ServerOptions, ConfigErrors>) -> Vec<String> {
    let errors = result.expect_err("it must be wrong");
    assert_eq!(
        errors.to_string().lines().count(),
        errors.errors().len(),
        "one line an error"
    );
    assert!(!errors.to_string().contains(SECRET), "{errors}");
    errors.errors().iter().map(ToString::to_string).collect()
}

/// Checks a table: in each line what is written, `=>`, and pieces of the one error it gives,
/// between `|`. HASH stands for a password's hash, SECRET for what must not be shown.
fn check(table: &str) {
    for case in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (more, pieces) = case.split_once(" => ").expect(case);
        let more = more.replace("HASH", HASH).replace("SECRET", SECRET);
        let lines = lines(with(&more));
        let [line] = lines.as_slice() else {
            panic!("{case}: {lines:#?}")
        };
        assert!(line.starts_with("test.toml: "), "{line}");
        for piece in pieces.split(" | ") {
            assert!(line.contains(piece), "{case}\n{line}\nlacks {piece}");
        }
    }
}

#[test]
fn defaults() {
    let config = with("").unwrap();
    assert_eq!(
        addresses(&config),
        [
            "0.0.0.0:2121".parse().unwrap(),
            "[::]:2121".parse().unwrap()
        ]
    );
    assert_eq!(config.greeting, "s3ftpd ready");
    assert_eq!(config.passive.ports, PassivePorts::Range(30000, 30099));
    assert_eq!(config.passive.address, None);
    assert!(config.passive.networks.is_empty());
    assert_eq!(config.active.source_port, 20);
    assert!(config.admin.is_none());
    assert_eq!(config.memory.budget, 64 << 20);
    assert_eq!(config.transfer.part_size, 8 << 20);
    assert_eq!(config.transfer.upload_parallel, 8);
    assert_eq!(config.transfer.range_size, 8 << 20);
    assert_eq!(config.transfer.download_parallel, 8);
    let seconds = Duration::from_secs;
    assert_eq!(config.timeouts.login, seconds(60));
    assert_eq!(config.timeouts.idle, seconds(300));
    assert_eq!(config.timeouts.data_connect, seconds(30));
    assert_eq!(config.timeouts.data_stall, seconds(60));
    assert_eq!(config.timeouts.control_write, seconds(60));
    assert_eq!(config.timeouts.same_name, seconds(300));
    assert_eq!(config.timeouts.settle_min, Duration::from_millis(1));
    assert_eq!(config.timeouts.shutdown_grace, seconds(30));
    assert_eq!(config.limits.sessions, 10_000);
    assert_eq!(config.limits.sessions_per_address, 1_000);
    assert_eq!(config.limits.before_login, 2_500);
    assert_eq!(config.limits.before_login_per_address, 250);
    assert_eq!(config.limits.sessions_per_user, None);
    assert_eq!(config.limits.login_attempts, 3);
    let store = &config.stores["main"];
    assert_eq!(
        (store.name.as_str(), store.region.as_deref()),
        ("main", None)
    );
    assert!(store.path_style, "an endpoint of its own is used by path");
    assert_eq!(store.checksums, Capability::Auto);
    assert_eq!(store.conditional_writes, Capability::Auto);
    assert!(!store.sign_payload);
    assert_eq!(store.connect_timeout, seconds(5));
    assert_eq!(store.request_timeout, seconds(30));
    assert_eq!(store.attempts, 4);
    assert_eq!(store.copy_limit, 5 << 30);
    assert!(!store.equal_parts);
    let mount = &config.users["anna"].mounts[&VirtualPath::root()];
    assert_eq!(mount.prefix, "anna/");
    assert_eq!(mount.permissions, Permissions::all());
    assert!(!mount.ascii_convert && !mount.times_metadata && mount.verify_downloads);
}

#[test]
fn everything_set() {
    let config = with(
        r#"
        listen = ["127.0.0.1:0"]
        greeting = "Welcome"
        passive = { ports = "auto:3", address = "ftp.example.com", networks = [{ clients = "10.0.0.0/8", address = "10.1.2.3" }, { clients = "::1", address = "fd00::1" }] }
        active.source_port = 0
        admin.listen = "127.0.0.1:9090"
        transfer = { part_size = "5MiB", upload_parallel = 1, range_size = 65536, download_parallel = 64 }
        timeouts = { login = 1, idle = "5m", data_connect = "500ms", data_stall = 0.5, control_write = "1h", same_name = "90s", shutdown_grace = 0 }
        limits = { sessions = 1, sessions_per_address = 2, login_attempts = 3 }
        [stores.other]
        region = "eu-central-1"
        path_style = true
        checksums = "none"
        conditional_writes = false
        sign_payload = true
        connect_timeout = "1s"
        request_timeout = "2m"
        attempts = 10
        copy_limit = "5 MiB"
        equal_parts = true
        [mounts.text]
        store = "other"
        bucket = "my.bucket-1"
        prefix = "/a/{user}/b"
        permissions = ["list", "read"]
        ascii = "convert"
        times = "metadata"
        [users."bert@example.com"]
        password = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
        mounts = { "/x/y/" = "text", "/" = { store = "main", bucket = "scans" } }
        "#,
    )
    .unwrap();
    assert_eq!(config.passive.ports, PassivePorts::Ephemeral(3));
    assert_eq!(
        config.passive.networks[1].clients,
        "::1/128".parse().unwrap()
    );
    assert_eq!(config.active.source_port, 0);
    assert_eq!(
        config.admin.unwrap().listen,
        "127.0.0.1:9090".parse().unwrap()
    );
    assert_eq!(config.transfer.part_size, 5 << 20);
    assert_eq!(config.transfer.range_size, 65536);
    assert_eq!(config.timeouts.idle, Duration::from_secs(300));
    assert_eq!(config.timeouts.data_connect, Duration::from_millis(500));
    assert_eq!(config.timeouts.data_stall, Duration::from_millis(500));
    assert_eq!(config.timeouts.control_write, Duration::from_secs(3600));
    assert_eq!(config.timeouts.same_name, Duration::from_secs(90));
    assert_eq!(config.timeouts.shutdown_grace, Duration::ZERO);
    let store = &config.stores["other"];
    assert_eq!(
        (store.endpoint.as_ref(), store.attempts, store.copy_limit),
        (None, 10, 5 << 20)
    );
    assert_eq!(
        (store.checksums, store.conditional_writes),
        (Capability::No, Capability::No)
    );
    assert!(store.credentials.is_none() && store.equal_parts);
    let bert = &config.users["bert@example.com"];
    let mount = &bert.mounts[&VirtualPath::root().join("/x/y").unwrap()];
    assert_eq!(mount.prefix, "a/bert@example.com/b/");
    assert!(mount.ascii_convert && mount.times_metadata);
    assert!(mount.permissions.allows(Permission::Read));
    assert!(!mount.permissions.allows(Permission::Write));
    assert_eq!(bert.mounts[&VirtualPath::root()].prefix, "");
}

#[test]
fn cloudflare_r2_wants_equal_parts() {
    for (store, equal) in [
        ("endpoint = 'https://abc.r2.cloudflarestorage.com'", true),
        (
            "endpoint = 'https://abc.eu.R2.cloudflarestorage.com/'",
            true,
        ),
        (
            "endpoint = 'https://abc.r2.cloudflarestorage.com'\nequal_parts = false",
            false,
        ),
        ("endpoint = 'https://s3.example.com'", false),
        (
            "endpoint = 'https://s3.example.com/a.r2.cloudflarestorage.com'",
            false,
        ),
        ("region = 'eu-central-1'", false),
        ("region = 'eu-central-1'\nequal_parts = true", true),
    ] {
        let config = with(&format!("[stores.b]\n{store}")).unwrap();
        assert_eq!(config.stores["b"].equal_parts, equal, "{store}");
    }
}

#[test]
fn unknown_keys_name_what_is_allowed() {
    check(
        r#"
        lisen = [] => lisen: unknown key, did you mean listen? | allowed: include, tls, listen, greeting, passive
        passive.adress = 'x' => passive.adress: unknown key, did you mean address? | ports, address, networks
        transfer.zzz = 1 => transfer.zzz: unknown key; allowed: part_size, upload_parallel
        stores.b.endpont = 'x' => stores.b.endpont: unknown key, did you mean endpoint? | secret_access_key
        mounts.b = { store = 'main', bucket = 'bbb', prefx = '' } => mounts.b.prefx: unknown | prefix
        passive.networks = [{ clients = '::/0', address = '::1', adress = '' }] => passive.networks[0].adress | clients, address
        "#,
    );
}

#[test]
fn wrong_values_name_what_is_allowed() {
    check(
        r#"
        listen = 3 => listen: is a number | a list of IP addresses with ports
        listen = [] => listen: is empty
        listen = ['localhost:21'] => listen[0]: "localhost:21" is not such an address | "[::]:2121"
        listen = ['[::]:21', '[::]:21'] => listen[1] | twice
        listen = ['10.0.0.5:21', '[::]:21', '0.0.0.0:21'] => listen[2]: 0.0.0.0:21 can't be listened on together with 10.0.0.5:21
        admin.listen = '127.0.0.1:2121' => admin: its port can't be had: listen has 0.0.0.0:2121
        greeting = "a\r\n220 b" => greeting | without control characters
        passive = 3 => passive: is a number | a table
        passive.ports = '40099-40000' => passive.ports | ends before it begins | auto:N
        passive.ports = '0-10' => passive.ports | not a range of ports
        passive.ports = '1-65536' => passive.ports | not a range of ports
        passive.ports = 'auto:0' => passive.ports | not a range of ports
        passive.ports = '2000-3000' => listen: port 2121 is one of passive.ports | outside 2000-3000
        passive.address = '10.0.0.300' => passive.address | neither | host name
        passive.address = '-x.example.com' => passive.address
        passive.networks = [{ clients = '10/8', address = 'x' }] => passive.networks[0].clients | not a network
        passive.networks = [{ clients = '10.0.0.0/8' }] => passive.networks[0].address: is missing
        active.source_port = 70000 => active.source_port: 70000 is out of range | 0 to 65535
        active.source_port = '20' => active.source_port: is a string | whole number
        [admin] => admin.listen: is missing
        transfer.part_size = '4MiB' => transfer.part_size: "4MiB" is out of range | 5 MiB to 5 GiB
        transfer.part_size = '8 apples' => is not a size | "512MiB"
        transfer.part_size = '99999999999999999999GiB' => is out of range
        transfer.part_size = -1 => -1 is out of range
        transfer.part_size = '17MiB' => memory.budget: 64 MiB is too little | at least 68 MiB
        transfer.range_size = '65MiB' => memory.budget: 64 MiB is too little | at least 65 MiB
        transfer.range_size = 65535 => transfer.range_size | 64 KiB
        transfer.upload_parallel = 0 => transfer.upload_parallel | 1 to 64
        transfer.download_parallel = 65 => transfer.download_parallel | 1 to 64
        timeouts.idle = '5 weeks' => timeouts.idle: "5 weeks" is not a length of time | "5m"
        timeouts.idle = 0 => timeouts.idle: 0 is out of range | more than 0, at most 7 days
        timeouts.idle = -1 => timeouts.idle: -1 is out of range
        timeouts.idle = nan => timeouts.idle | out of range
        timeouts.settle_min = 11 => timeouts.settle_min | at most 10 s
        timeouts.shutdown_grace = '8d' => timeouts.shutdown_grace | at most 7 days
        limits.login_attempts = 0 => limits.login_attempts | 1 to 1000
        stores.b.endpoint = 'ftp://x' => stores.b.endpoint | http or https URL
        stores.b.endpoint = 'http://u:SECRET@x' => stores.b.endpoint: is not such a URL | without a user
        stores.b.endpoint = '' => stores.b.endpoint
        stores.b.path_style = 'yes' => stores.b.path_style: is a string | true, false
        stores.b.checksums = 'md5' => stores.b.checksums: "md5" is unknown | "auto", "crc32", "none"
        stores.b.conditional_writes = 'no' => stores.b.conditional_writes | "auto", true, false
        stores.b.attempts = 11 => stores.b.attempts | 1 to 10
        stores.b.copy_limit = '6GiB' => stores.b.copy_limit | 5 MiB to 5 GiB
        stores.b.equal_parts = 'no' => stores.b.equal_parts: is a string | true, false
        stores.b.access_key_id = 'AK' => stores.b.access_key_id: is without secret_access_key | together
        stores.b.secret_access_key = 'SECRET' => stores.b.secret_access_key: is without access_key_id
        stores.b.session_token = 'SECRET' => stores.b.session_token: is without the keys
        stores."" = {} => stores."": is not a name
        "#,
    );
}

#[test]
fn mounts_are_checked() {
    check(
        r#"
        mounts.b = { store = 'man', bucket = 'bbb' } => mounts.b.store: there is no store "man", did you mean "main"? | the name of a store: main
        mounts.b = { bucket = 'bbb' } => mounts.b.store: is missing | main
        mounts.b = { store = 'main' } => mounts.b.bucket: is missing
        mounts.b = { store = 'main', bucket = 'Scans' } => mounts.b.bucket: "Scans" is not the name of a bucket | 3 to 63 lower-case
        mounts.b = { store = 'main', bucket = 'ab' } => mounts.b.bucket
        mounts.b = { store = 'main', bucket = 'a123456789b123456789c123456789d123456789e123456789f123456789g123' } => mounts.b.bucket
        mounts.b = { store = 'main', bucket = 'a..b' } => mounts.b.bucket
        mounts.b = { store = 'main', bucket = '-ab' } => mounts.b.bucket
        mounts.b = { store = 'main', bucket = '192.168.0.1' } => mounts.b.bucket
        mounts.b = { store = 'main', bucket = 'a/b' } => mounts.b.bucket
        mounts.b = { store = 'main', bucket = 'bbb', prefix = 'a//b' } => mounts.b.prefix | an empty element
        mounts.b = { store = 'main', bucket = 'bbb', prefix = '//' } => mounts.b.prefix | an empty element
        mounts.b = { store = 'main', bucket = 'bbb', prefix = 'a/../b' } => mounts.b.prefix | ".."
        mounts.b = { store = 'main', bucket = 'bbb', prefix = './' } => mounts.b.prefix
        mounts.b = { store = 'main', bucket = 'bbb', prefix = "a\u0007" } => mounts.b.prefix | a control character
        mounts.b = { store = 'main', bucket = 'bbb', prefix = '{Group}/' } => mounts.b.prefix | a placeholder whose name | in braces user, group or the name of an attribute
        mounts.b = { store = 'main', bucket = 'bbb', prefix = '{user' } => mounts.b.prefix | a brace
        mounts.b = { store = 'main', bucket = 'bbb', permissions = ['raed'] } => mounts.b.permissions[0]: there is no permission "raed", did you mean "read"? | list, read, write, overwrite, append, delete, rename, mkdir, rmdir
        mounts.b = { store = 'main', bucket = 'bbb', permissions = [] } => mounts.b.permissions: is empty
        mounts.b = { store = 'main', bucket = 'bbb', temporary = '*.tmp' } => mounts.b.temporary: is a string | a list of names and globs
        mounts.b = { store = 'main', bucket = 'bbb', temporary = [] } => mounts.b.temporary: is empty
        mounts.b = { store = 'main', bucket = 'bbb', temporary = ['x', 'in/*'] } => mounts.b.temporary[1]: "in/*" is not a pattern of names | without "/"
        mounts.b = { store = 'main', bucket = 'bbb', temporary = [''] } => mounts.b.temporary[0]: "" is not a pattern
        mounts.b = { store = 'main', bucket = 'bbb', temporary = ['*'] } => mounts.b.temporary[0]: "*" matches every name | not "*"
        mounts.b = { store = 'main', bucket = 'bbb', temporary_keep = '30d' } => mounts.b.temporary_keep: is without temporary
        mounts.b = { store = 'main', bucket = 'bbb', temporary = ['*.tmp'], temporary_keep = 0 } => mounts.b.temporary_keep: 0 is out of range | at most 3660 days
        mounts.b = { store = 'main', bucket = 'bbb', ascii = 'yes' } => mounts.b.ascii | "binary", "convert"
        mounts.b = { store = 'main', bucket = 'bbb', times = 'x' } => mounts.b.times | "store", "metadata"
        "#,
    );
}

#[test]
fn users_are_checked() {
    check(
        r#"
        users.bert = { mounts = { '/' = 'scans' } } => users.bert.password: is missing | hash-password
        users.bert = { password = 'HASH' } => users.bert.mounts: is missing
        users.bert = { password = 'HASH', mounts = {} } => users.bert.mounts: is empty
        users.bert = { password = 'HASH', mounts = { '/' = 'scams' } } => users.bert.mounts."/": there is no mount "scams", did you mean "scans"? | the name of a mount: scans, or { store
        users.bert = { password = 'HASH', mounts = { '/' = 3 } } => users.bert.mounts."/": is a number | scans
        users.bert = { password = 'HASH', mounts = { '/' = { store = 'x', bucket = 'bbb' } } } => users.bert.mounts."/".store | the name of a store: main
        users.bert = { password = 'HASH', mounts = { 'in' = 'scans' } } => users.bert.mounts.in: the path of a mount begins with "/" | absolute
        users.bert = { password = 'HASH', mounts = { '/a//b' = 'scans' } } => normal form
        users.bert = { password = 'HASH', mounts = { '/a/../b' = 'scans' } } => normal form
        users.bert = { password = 'HASH', mounts = { '/./b' = 'scans' } } => normal form
        users.bert = { password = 'HASH', mounts = { '//' = 'scans' } } => normal form
        users.bert = { password = 'HASH', mounts = { "/a\u0001" = 'scans' } } => normal form
        users.bert = { password = 'HASH', mounts = { '/a' = 'scans', '/a/' = 'scans' } } => users.bert.mounts."/a/": two mounts are on /a
        users.'a/b' = { password = 'HASH', mounts = { '/' = 'scans' } } => users."a/b".mounts."/" | {user}
        users.'..' = { password = 'HASH', mounts = { '/' = 'scans' } } => {user}
        users.'' = { password = 'HASH', mounts = { '/' = 'scans' } } => users."": is not a name
        users."a\u0000" = { password = 'HASH', mounts = { '/' = 'scans' } } => is not a name
        "#,
    );
    // Without {user} a name is only a name.
    let mounts = "{ '/' = { store = 'main', bucket = 'bbb' } }";
    assert!(
        with(&format!(
            "users.'a/b' = {{ password = '{HASH}', mounts = {mounts} }}"
        ))
        .is_ok()
    );
}

#[test]
fn passwords_must_be_hashes_and_are_never_shown() {
    check(
        r#"
        users.anna2 = { mounts = { '/' = 'scans' }, password = 'SECRET' } => users.anna2.password | s3ftpd hash-password
        users.anna2 = { mounts = { '/' = 'scans' }, password = '$argon2id$SECRET' } => users.anna2.password | damaged argon2id
        users.anna2 = { mounts = { '/' = 'scans' }, password = '' } => users.anna2.password: is empty
        users.anna2 = { mounts = { '/' = 'scans' }, password = 3 } => users.anna2.password: is a number
        users.anna2 = { mounts = { '/' = 'scans' }, password = { SECRET = 1 } } => users.anna2.password | exactly one of the keys file and env
        users.anna2 = { mounts = { '/' = 'scans' }, password = { file = '/x', env = 'X' } } => exactly one of the keys file and env
        users.anna2 = { mounts = { '/' = 'scans' }, password = { file = '/nowhere/at/all' } } => users.anna2.password.file: "/nowhere/at/all" can't be read
        users.anna2 = { mounts = { '/' = 'scans' }, password = { env = 'S3FTPD_TEST_NOWHERE' } } => users.anna2.password.env | "S3FTPD_TEST_NOWHERE" is not set
        users.anna2 = { mounts = { '/' = 'scans' }, password = '$argon2id$v=19$m=131072,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4' } => needs 128 MiB
        "#,
    );
}

#[test]
fn all_errors_at_once() {
    let errors = lines(from_str(
        "listen = ['x']\n[passive]\nports = 'y'\n[stores.main]\nattempts = 0\n[users.anna]\npassword = 'plain'\nmounts = { '/' = 'z' }\nzzz = 1",
        "test.toml",
    ));
    assert_eq!(errors.len(), 6, "{errors:#?}");
    let nothing = lines(from_str("memory.budget = '64MiB'", "test.toml"));
    assert_eq!(
        nothing,
        [
            "test.toml: stores: there is none; allowed: at least one table [stores.NAME]",
            "test.toml: users: there is none; allowed: at least one table [users.NAME]",
        ]
    );
    let no_tables = lines(from_str(
        "stores = 3\nusers = []\nmemory.budget = '64MiB'",
        "test.toml",
    ));
    assert_eq!(
        no_tables,
        [
            "test.toml: stores: is a number; allowed: a table of names",
            "test.toml: users: is a list; allowed: a table of names",
        ]
    );
}
