//! Files and environment: syntax, YAML, what overrides what, secrets kept elsewhere, the sample.

use crate::namespace::Permissions;
use crate::object::options::Capability;
use std::path::Path;
use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;

#[test]
fn syntax_errors_name_line_and_column_and_show_nothing() {
    let toml = lines(from_str(
        &format!("listen = []\npassword = \"{SECRET}\nx = 1"),
        "test.toml",
    ));
    assert_eq!(toml.len(), 1);
    assert!(
        toml[0].starts_with("test.toml: line 2, column "),
        "{toml:?}"
    );
    let double = lines(from_str("x = 1\nx = 2", "test.toml"));
    assert!(
        double[0].contains("line 2") && double[0].contains("duplicate key x"),
        "{double:?}"
    );
    let directory = tempfile::tempdir().unwrap();
    let file = write(
        directory.path(),
        "a.yaml",
        &format!("listen:\n  - {SECRET}: [\n"),
    );
    let yaml = lines(load_from(&[file], []));
    assert!(
        yaml[0].contains("a.yaml: ") && yaml[0].contains("line "),
        "{yaml:?}"
    );
    for text in [
        SECRET.to_owned(),
        format!("- {SECRET}\n"),
        format!("[{SECRET}]: 1\n"),
        format!("a: \"{SECRET}\nb: 'x\n"),
    ] {
        let file = write(directory.path(), "b.yaml", &text);
        assert_eq!(lines(load_from(&[file], [])).len(), 1, "{text}");
    }
    let toml = lines(from_str(
        "limits.sessions = 99999999999999999999",
        "test.toml",
    ));
    assert!(toml[0].contains("too large"), "{toml:?}");
    let missing = lines(load_from(&[directory.path().join("no.toml")], []));
    assert!(missing[0].contains("no.toml: can't be read"), "{missing:?}");
}

#[test]
fn doubled_keys_are_named() {
    for (toml, key) in [
        (
            "[limits]\nsessions = 1\nsessions = 2",
            "duplicate key sessions",
        ),
        ("[users.\"a b\"]\n[users.\"a b\"]", "duplicate key"),
        ("x = 1\n'x' = 2", "duplicate key 'x'"),
    ] {
        let lines = lines(from_str(toml, "test.toml"));
        assert!(lines.len() == 1 && lines[0].contains(key), "{lines:?}");
    }
    let directory = tempfile::tempdir().unwrap();
    let yaml = "users:\n  anna: { x: 1 }\n  ben: {}\n  anna: {}\nusers: {}\n";
    let file = write(directory.path(), "a.yaml", yaml);
    let lines = lines(load_from(&[file], []));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].contains("a.yaml: anna: line 4, column 3: duplicate key"),
        "{lines:?}"
    );
    assert!(
        lines[1].contains("a.yaml: users: line 5, column 1: duplicate key"),
        "{lines:?}"
    );
}

#[test]
fn names_in_yaml_that_are_read_as_something_else_have_to_be_quoted() {
    let directory = tempfile::tempdir().unwrap();
    for (name, read_as) in [
        ("0123", "123"),
        ("0x1F", "31"),
        ("+7", "7"),
        ("~", "nothing"),
    ] {
        let yaml = format!("users:\n  {name}: {{ password: x }}\n");
        let file = write(directory.path(), "a.yaml", &yaml);
        let lines = lines(load_from(&[file], []));
        let wanted = format!(
            "{name}: line 2, column 3: YAML reads this name as {read_as}; allowed: the name in quotes: \"{name}\""
        );
        assert!(lines.len() == 1 && lines[0].contains(&wanted), "{lines:?}");
    }
    // What is quoted, or stays as it is written, is a name like any other.
    for name in ["\"0123\"", "'0x1F'", "123", "1.50", "true", "anna"] {
        let yaml = format!(
            "stores: {{ main: {{ endpoint: \"http://127.0.0.1:1\", access_key_id: a, secret_access_key: b }} }}\n\
             mounts: {{ m: {{ store: main, bucket: scans }} }}\n\
             users:\n  {name}: {{ password: \"{HASH}\", mounts: {{ /: m }} }}\n"
        );
        let file = write(directory.path(), "a.yaml", &yaml);
        let config = load_from(&[file], []).unwrap();
        let names: Vec<&str> = config.users.keys().map(String::as_str).collect();
        assert_eq!(names, [name.trim_matches(['"', '\''])]);
    }
}

#[test]
fn an_error_lists_each_allowed_key_once() {
    let lines = lines(with("uzzer = 1\n"));
    let listed = lines[0].split_once("allowed: ").unwrap().1;
    let keys: Vec<&str> = listed.split(", ").collect();
    let once: std::collections::BTreeSet<&str> = keys.iter().copied().collect();
    assert_eq!(keys.len(), once.len(), "{listed}");
}

#[test]
fn yaml_says_the_same_as_toml() {
    let toml = r#"
        listen = ["127.0.0.1:2121"]
        timeouts = { idle = "5m", login = 2.5 }
        memory = { budget = 67108864 }
        [stores.main]
        endpoint = "http://127.0.0.1:3900"
        path_style = true
        conditional_writes = "auto"
        [mounts.scans]
        store = "main"
        bucket = "scans"
        permissions = ["list", "read"]
        [users.Anna]
        password = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
        mounts = { "/" = "scans", "/archive" = { store = "main", bucket = "archive" } }
    "#;
    let yaml = r#"
listen: ["127.0.0.1:2121"]
greeting:
timeouts: { idle: 5m, login: 2.5 }
memory: { budget: 67108864 }
stores:
  main:
    endpoint: http://127.0.0.1:3900
    path_style: true
    conditional_writes: auto
mounts:
  scans:
    store: main
    bucket: scans
    permissions: [list, read]
users:
  Anna:
    password: $2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW
    mounts:
      /: scans
      /archive: { store: main, bucket: archive }
"#;
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), "a.yml", yaml);
    let one = from_str(toml, "a.toml").unwrap();
    let mut other = load_from(&[file], []).unwrap();
    other.inputs = one.inputs.clone();
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
    let password = |config: &ServerOptions| {
        config.users["Anna"]
            .password
            .as_ref()
            .unwrap()
            .expose_secret()
            .to_owned()
    };
    assert_eq!(password(&one), password(&other));
}

#[test]
fn the_environment_overrides_files_and_later_files_earlier_ones() {
    let directory = tempfile::tempdir().unwrap();
    let base = write(directory.path(), "base.toml", &base());
    let over = write(
        directory.path(),
        "over.yaml",
        "limits: { sessions: 5, login_attempts: 7 }\nstores: { my-Store: { endpoint: \"https://s3.example.com\" } }\n",
    );
    let key = write(directory.path(), "key", "from-file\n");
    let files = [base, over];
    let config = load_from(
        &files,
        variables(&[
            (
                "S3FTPD__STORES__MAIN__ENDPOINT",
                "https://other.example.com",
            ),
            ("S3FTPD__STORES__MAIN__CONDITIONAL_WRITES", "false"),
            (
                "S3FTPD__STORES__MAIN__SECRET_ACCESS_KEY__FILE",
                key.to_str().unwrap(),
            ),
            ("S3FTPD__STORES__MY_STORE__REGION", "us-west-2"),
            ("S3FTPD__STORES__NEW__REGION", "us-east-1"),
            ("S3FTPD__LIMITS__SESSIONS", "6"),
            ("S3FTPD__LISTEN", "127.0.0.1:21, [::1]:21"),
            (
                "S3FTPD__PASSIVE__NETWORKS",
                "[{ clients = \"10.0.0.0/8\", address = \"10.1.2.3\" }]",
            ),
            ("S3FTPD__TRANSFER__PART_SIZE", "16MiB"),
            ("S3FTPD__TIMEOUTS__IDLE", "90"),
            (
                "S3FTPD__MOUNTS__SCANS__PERMISSIONS",
                "[\"list\", \"write\"]",
            ),
            ("S3FTPD__USERS__ANNA__MOUNTS", "{ \"/only\" = \"scans\" }"),
            ("S3FTPD_SERVICE_HOST", "10.0.0.1"),
            ("PATH", "/bin"),
        ]),
    )
    .unwrap();
    let main = &config.stores["main"];
    assert_eq!(main.endpoint.as_deref(), Some("https://other.example.com"));
    assert_eq!(main.conditional_writes, Capability::No);
    let credentials = main.credentials.as_ref().unwrap();
    assert_eq!(credentials.secret_access_key.expose_secret(), "from-file");
    assert_eq!(
        config.stores["my-Store"].region.as_deref(),
        Some("us-west-2")
    );
    assert!(config.stores.contains_key("new"));
    assert_eq!(
        (config.limits.sessions, config.limits.login_attempts),
        (6, 7)
    );
    assert_eq!(
        super::addresses(&config),
        ["127.0.0.1:21".parse().unwrap(), "[::1]:21".parse().unwrap()]
    );
    assert_eq!(config.passive.networks[0].address, "10.1.2.3");
    assert_eq!(config.transfer.part_size, 16 << 20);
    assert_eq!(config.timeouts.idle, Duration::from_secs(90));
    let mounts = &config.users["anna"].mounts;
    assert_eq!(
        mounts.keys().map(ToString::to_string).collect::<Vec<_>>(),
        ["/only"]
    );
    let permissions = mounts.values().next().unwrap().permissions;
    assert_eq!(
        permissions,
        Permissions::none()
            .with(Permission::List)
            .with(Permission::Write)
    );
}

#[test]
fn what_is_wrong_in_the_environment_names_the_variable() {
    let directory = tempfile::tempdir().unwrap();
    let two = format!("{}\nstores.Two = {{}}\nstores.TWO = {{}}\n", base());
    let base = write(directory.path(), "base.toml", &base());
    let two = write(directory.path(), "two.toml", &two);
    for (file, name, value, pieces) in [
        (
            &base,
            "S3FTPD__STORES__MAIN__ENDPONT",
            "x",
            &["stores.main.endpont: unknown key, did you mean endpoint?"][..],
        ),
        (
            &base,
            "S3FTPD__STORES__MAIN__ATTEMPTS",
            "many",
            &["stores.main.attempts: \"many\"", "1 to 10"],
        ),
        (
            &base,
            "S3FTPD__LISTEN",
            "[::]:2121, nowhere",
            &["listen[1]: \"nowhere\""],
        ),
        (
            &base,
            "S3FTPD__USERS__ANNA__PASSWORD",
            SECRET,
            &["users.anna.password", "hash-password"],
        ),
        (
            &base,
            "S3FTPD__USERS__ANNA",
            SECRET,
            &["users.anna: is another text", "a table"],
        ),
        (
            &base,
            "S3FTPD__USERS__ANNA",
            "{ password = \"wJalrXUtnFEMI-K7MDENG",
            &["users.anna"],
        ),
        (&base, "S3FTPD__STORES____REGION", "x", &["empty level"]),
        (
            &two,
            "S3FTPD__STORES__tWO__REGION",
            "x",
            &["tWO can mean each of TWO, Two"],
        ),
    ] {
        let lines = lines(load_from(
            std::slice::from_ref(file),
            variables(&[(name, value)]),
        ));
        let [line] = lines.as_slice() else {
            panic!("{lines:#?}")
        };
        assert!(
            line.starts_with(&format!("environment variable {name}: ")),
            "{line}"
        );
        for piece in pieces {
            assert!(line.contains(piece), "{line}\nlacks {piece}");
        }
    }
    let both = variables(&[
        ("S3FTPD__STORES__MAIN__SECRET_ACCESS_KEY", SECRET),
        ("S3FTPD__STORES__MAIN__SECRET_ACCESS_KEY__FILE", "/x"),
    ]);
    assert!(lines(load_from(std::slice::from_ref(&base), both))[0].contains("contradicts"));
    // An exact name wins over one that differs in case.
    assert!(load_from(&[two], variables(&[("S3FTPD__STORES__Two__REGION", "x")])).is_ok());
}

#[test]
fn the_environment_alone_is_enough() {
    let config = load_from(
        &[],
        variables(&[
            ("S3FTPD__STORES__MAIN__ENDPOINT", "http://127.0.0.1:9000"),
            ("S3FTPD__USERS__ANNA__PASSWORD", HASH),
            (
                "S3FTPD__USERS__ANNA__MOUNTS",
                "{ \"/\" = { store = \"main\", bucket = \"scans\" } }",
            ),
            ("S3FTPD__MEMORY__BUDGET", "64MiB"),
        ]),
    )
    .unwrap();
    assert_eq!(config.users["anna"].name, "anna");
    let nothing = lines(load_from(
        &[],
        variables(&[("S3FTPD__MEMORY__BUDGET", "64MiB")]),
    ));
    assert!(
        nothing[0].starts_with("the environment (no file is given): stores"),
        "{nothing:?}"
    );
}

#[test]
fn secrets_from_files_lose_one_line_end() {
    let directory = tempfile::tempdir().unwrap();
    for (written, read) in [
        ("x", "x"),
        ("x\n", "x"),
        ("x\r\n", "x"),
        ("x\n\n", "x\n"),
        (" x ", " x "),
    ] {
        let file = write(directory.path(), "secret", written);
        let more = format!(
            "stores.b = {{ access_key_id = 'AK', secret_access_key = {{ file = {file:?} }} }}"
        );
        let config = with(&more).unwrap();
        let credentials = config.stores["b"].credentials.as_ref().unwrap();
        assert_eq!(
            credentials.secret_access_key.expose_secret(),
            read,
            "{written:?}"
        );
    }
    let file = write(directory.path(), "secret", "\n");
    let more =
        format!("stores.b = {{ access_key_id = 'AK', secret_access_key = {{ file = {file:?} }} }}");
    assert!(lines(with(&more))[0].contains("stores.b.secret_access_key.file: is empty"));
    // Of two files, the later one's form replaces the earlier one's.
    let below = write(
        directory.path(),
        "a.toml",
        &format!(
            "{}\nstores.b = {{ access_key_id = 'AK', secret_access_key = {{ env = 'NOWHERE' }} }}",
            base()
        ),
    );
    let secret = write(directory.path(), "secret", "x");
    let above = write(
        directory.path(),
        "b.toml",
        &format!("stores.b.secret_access_key.file = {secret:?}"),
    );
    assert!(load_from(&[below, above], []).is_ok());
}

#[test]
fn debug_shows_no_secret() {
    let config = with(&format!("stores.b = {{ access_key_id = 'AK', secret_access_key = '{SECRET}', session_token = '{SECRET}' }}")).unwrap();
    let shown = format!("{config:?}");
    assert!(
        shown.contains("AK") && !shown.contains(SECRET) && !shown.contains("argon2id"),
        "{shown}"
    );
}

#[test]
fn the_sample_is_right_and_names_every_key() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("s3ftpd.example.toml");
    let text = std::fs::read_to_string(&sample).unwrap();
    let config = load_from(&[sample], []).unwrap();
    let user = config.users.values().next().unwrap();
    let hash = crate::auth::PasswordHash::parse(user.password.as_ref().unwrap()).unwrap();
    assert!(hash.verify(&"changeme".into()), "the sample says so");
    let documentation = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/configuration.md"),
    )
    .unwrap();
    // What the schema allows is what the error of an unknown key lists.
    let tables = "passive. active. admin. memory. transfer. timeouts. resume. limits. proxy_protocol. login_failures. stores.x. mounts.x. users.x. hosts.x.";
    for table in std::iter::once("").chain(tables.split(' ')) {
        let errors = from_str(&format!("{table}\"?\" = 1"), "x").unwrap_err();
        let key = format!("{table}\"?\"");
        let unknown = errors
            .errors()
            .iter()
            .find(|error| error.key == key)
            .unwrap();
        for key in unknown.allowed.split(", ") {
            assert!(text.contains(key), "{table}{key} is not in the sample");
            assert!(
                documentation.contains(&format!("`{key}`"))
                    || documentation.contains(&format!("`[{key}")),
                "{table}{key} is not in docs/reference/configuration.md"
            );
        }
    }
}

fn write(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}
