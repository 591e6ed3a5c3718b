//! `s3ftpd import`: files of other servers, whose users log in with the passwords that they had.
//! tests/fixtures/import/README.md says how each file was made; each password is NAME-old.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use s3ftpd::auth::PasswordHash;
use s3ftpd::config;
use test_support::ftp::Ftp;
use test_support::gateway::Gateway;
use test_support::launcher::command;
use test_support::settings::store_section;
use test_support::store::Store;

/// A mount and a group of the operator.
const AROUND: &str = "[mounts.home]\nstore = \"main\"\nbucket = \"files\"\nprefix = \"{user}/\"\n\
                      [groups.old]\nmounts = { \"/\" = \"home\" }\n";

fn fixture(path: &str) -> String {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import");
    fixtures.join(path).to_str().unwrap().to_owned()
}

/// An import into a directory of its own.
struct Import {
    directory: tempfile::TempDir,
    output: Output,
}

impl Import {
    async fn run(server: &str, files: &[&str], options: &[&str]) -> Import {
        let directory = tempfile::tempdir().unwrap();
        let into = directory.path().join("users.d");
        let mut arguments = vec!["import", server];
        arguments.extend(files);
        arguments.extend(["--output", into.to_str().unwrap()]);
        arguments.extend(options);
        let output = command(&arguments).output().await.unwrap();
        Import { directory, output }
    }

    fn code(&self) -> i32 {
        self.output.status.code().unwrap()
    }

    fn errors(&self) -> String {
        String::from_utf8(self.output.stderr.clone()).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("users.d").join(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// The files in the order of their names.
    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.path("")).unwrap();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// All files of users, as one text.
    fn users(&self) -> String {
        let users = self.files().into_iter();
        let users = users.filter(|path| path.file_name().unwrap() != "server.toml");
        users
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect()
    }

    /// Loads all files as `serve` does, with what the operator writes.
    fn load(&self) {
        let operator = self.directory.path().join("s3ftpd.toml");
        let text = format!("include = [\"users.d\"]\n[stores.main]\n{AROUND}");
        std::fs::write(&operator, text).unwrap();
        if let Err(errors) = config::load(&[operator]) {
            panic!("{errors}");
        }
        for path in self.files() {
            let mode = path.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
    }

    /// No hash and no password is in what was printed.
    fn shows_no_secret(&self) {
        let out = String::from_utf8(self.output.stdout.clone()).unwrap() + &self.errors();
        for secret in [
            "$6$",
            "$2y$",
            "$argon2id$",
            "fe0pyI",
            "c09eaYl8",
            "-old",
            "1VaB6Rhv7P3Sc",
            "plain-secret",
        ] {
            assert!(!out.contains(secret), "{secret} in {out}");
        }
    }
}

/// Tries the logins on a server with these users. Those whose hash the server does not read are
/// refused, and their file says so.
async fn log_in(import: &Import, users: &[(&str, bool)]) {
    let gateway = Gateway::builder()
        .with(AROUND)
        .with("[login_failures]\nban_after = 0\nban_user_after = 0")
        .with(&import.users())
        .start()
        .await;
    for (user, welcome) in users {
        let mut ftp = Ftp::connect(gateway.address).await;
        ftp.expect(&format!("USER {user}"), 331).await;
        let wrong = ftp.command(&format!("PASS {user}-new")).await;
        assert_eq!(wrong.code, 530, "{user}");
        ftp.expect(&format!("USER {user}"), 331).await;
        let reply = ftp.command(&format!("PASS {user}-old")).await;
        assert_eq!(
            reply.code,
            if *welcome { 230 } else { 530 },
            "{user}: {reply:?}"
        );
        ftp.close().await;
    }
    gateway.stop().await;
}

/// Whether the server reads a hash of this kind.
fn reads(hash: &str) -> bool {
    PasswordHash::parse(&hash.into()).is_ok()
}

#[tokio::test]
async fn users_of_passwd_and_shadow() {
    let files = [fixture("passwd/passwd"), fixture("passwd/shadow")];
    let files = files.each_ref().map(String::as_str);
    let import = Import::run("passwd", &files, &["--mount", "home"]).await;
    assert_eq!(import.code(), 3, "{}", import.errors());
    import.shows_no_secret();
    import.load();
    assert_eq!(import.files().len(), 9);
    assert!(
        import
            .text("paula.toml")
            .contains("expires = \"2037-06-29\"\n")
    );
    assert!(
        import
            .text("udo.toml")
            .contains("comment = \"Udo M\u{fc}ller\"\n")
    );
    assert!(import.text("sven.toml").contains("DES"));
    assert!(import.errors().contains("sven.toml"));
    let yescrypt =
        reads("$y$j9T$RUovquqNo1xA6nJ8caGdb.$Tz2zLEsMloe6Vof.TFrJAD9OF7y5bxHK3SPKjP.JimD");
    let md5 = reads("$1$esLhF4yb$QkJotZLIakIKF/2QzzvDh/");
    let sha256 = reads("$5$aNME9T.JPWkynt1I$Sf/ztQeIhGSWLihiIj5UylqRNlMnU0hXHYUzl6fArZ2");
    let users = [
        ("paula", true),
        ("otto", yescrypt),
        ("rosa", md5),
        ("udo", sha256),
        ("quentin", false),
        ("sven", false),
        ("tina", false),
        ("root", false),
    ];
    log_in(&import, &users).await;
    // `usermod -U`: the locked hash is there.
    let unlocked = "[users.quentin]\ndisabled = false\n";
    let gateway = Gateway::builder()
        .with(AROUND)
        .with(&import.users())
        .with(unlocked);
    let gateway = gateway.start().await;
    gateway.ftp_as("quentin", "quentin-old").await.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn users_of_proftpd() {
    let files = [
        "proftpd/proftpd.conf",
        "proftpd/ftpd.passwd",
        "proftpd/ftpd.group",
    ]
    .map(fixture);
    let files = files.each_ref().map(String::as_str);
    let import = Import::run("proftpd", &files, &["--group", "old"]).await;
    assert_eq!(import.code(), 3, "{}", import.errors());
    import.shows_no_secret();
    import.load();
    let server = import.text("server.toml");
    for line in [
        "listen = [\"0.0.0.0:21\"]",
        "sessions = 30",
        "sessions_per_address = 5",
        "ports = \"49152-49160\"",
    ] {
        assert!(server.contains(&format!("{line}\n")), "{line} in {server}");
    }
    assert!(import.errors().contains("<Directory /srv/ftp/*/readonly>"));
    let users = [
        ("diana", true),
        ("emil", false),
        ("frida", false),
        ("greta", false),
    ];
    log_in(&import, &users).await;
}

#[tokio::test]
async fn users_of_pure_ftpd() {
    let file = fixture("pure-ftpd/pureftpd.passwd");
    let import = Import::run("pure-ftpd", &[&file], &["--mount", "home"]).await;
    assert_eq!(import.code(), 3, "{}", import.errors());
    import.shows_no_secret();
    import.load();
    let anna = import.text("anna.toml");
    for line in ["comment = \"Anna Example\"", "sessions = 3"] {
        assert!(anna.contains(&format!("{line}\n")), "{line} in {anna}");
    }
    assert!(anna.contains("upload_rate = 204800") && anna.contains("download_rate = 102400"));
    assert!(
        import
            .text("clara.toml")
            .contains("networks = [\"127.0.0.0/8\"]\n")
    );
    log_in(&import, &[("anna", true), ("bert", false)]).await;
}

#[tokio::test]
async fn users_of_htpasswd() {
    let file = fixture("htpasswd/htpasswd");
    let import = Import::run("htpasswd", &[&file], &["--mount", "home"]).await;
    assert_eq!(import.code(), 3, "{}", import.errors());
    import.shows_no_secret();
    import.load();
    let users = [
        ("ines", true),
        ("mia", true),
        ("hugo", reads("$apr1$fe0pyI/p$kdHzfjw1XfgE0oqmTTXLp1")),
        ("jan", reads("{SHA}c09eaYl8/wXcbQYufsVvbc6uJBs=")),
        ("karl", false),
        ("lars", false),
    ];
    log_in(&import, &users).await;
}

#[tokio::test]
async fn users_of_vsftpd() {
    let files = [
        "vsftpd/vsftpd.conf",
        "vsftpd/user_list",
        "vsftpd/pwdfile",
        "vsftpd/users",
    ]
    .map(fixture);
    let files = files.each_ref().map(String::as_str);
    let logins = fixture("vsftpd/logins.txt");
    let options = ["--mount", "home", "--virtual-users", &logins];
    let import = Import::run("vsftpd", &files, &options).await;
    assert_eq!(import.code(), 3, "{}", import.errors());
    import.shows_no_secret();
    import.load();
    let server = import.text("server.toml");
    for line in [
        "listen = [\"0.0.0.0:10021\"]",
        "sessions_per_address = 4",
        "greeting = \"Exchange of ACME\"",
    ] {
        assert!(server.contains(&format!("{line}\n")), "{line} in {server}");
    }
    assert!(import.text("xenia.toml").contains("/srv/ftp/xenia"));
    // yann is in user_list, and wim may not write.
    let users = [
        ("vera", true),
        ("xenia", true),
        ("yann", false),
        ("wim", false),
    ];
    log_in(&import, &users).await;
}

#[tokio::test]
async fn users_of_sftpgo_with_their_buckets_and_permissions() {
    let file = fixture("sftpgo/dump.json");
    let import = Import::run("sftpgo", &[&file], &[]).await;
    assert_eq!(import.code(), 3, "{}", import.errors());
    import.shows_no_secret();
    import.load();
    let server = import.text("server.toml");
    let names = server
        .lines()
        .filter_map(|line| line.strip_prefix("[stores."));
    let names: Vec<&str> = names.map(|name| name.trim_end_matches(']')).collect();
    assert_eq!(names, ["sftpgo-1", "sftpgo-2"]);
    let store = Arc::new(Store::start(&["shared"]).await);
    let mut builder = Gateway::builder().on(&store).with(&import.users());
    for name in names {
        // The endpoint of the test instead of that of the dump.
        builder = builder.with(&store_section(name, &store));
    }
    let gateway = builder.start().await;
    let mut ftp = gateway.ftp_as("zoe", "zoe-old").await;
    assert_eq!(ftp.store("/in/a", b"a").await.code, 226);
    assert_eq!(ftp.store("/b", b"b").await.code, 226);
    assert_eq!(ftp.store("/shared/c", b"c").await.code, 226);
    let refused = ftp.command("STOR /out/x").await;
    assert_eq!(refused.code, 550);
    ftp.expect("DELE /in/a", 550).await;
    ftp.close().await;
    assert_eq!(store.object("files", "partners/zoe/in/a").unwrap(), b"a");
    assert_eq!(store.object("files", "partners/zoe/b").unwrap(), b"b");
    assert_eq!(store.object("shared", "c").unwrap(), b"c");
    // The group gives the place and the permissions.
    let mut ftp = gateway.ftp_as("yuri", "yuri-old").await;
    assert_eq!(ftp.store("/y", b"y").await.code, 226);
    assert_eq!(store.object("files", "groups/yuri/y").unwrap(), b"y");
    ftp.expect("MKD /d", 550).await;
    ftp.close().await;
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.expect("USER xaver", 331).await;
    ftp.expect("PASS xaver-old", 530).await;
    ftp.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn nothing_is_written_if_something_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let hash = "$2b$04$8E5uUbvMVWGOxsRQoN5kY.AQRfEN2hyYQXvS/0kR3TFVnPGOYsrq6";
    let (twice, good) = (at("twice"), at("good"));
    std::fs::write(&twice, format!("anna:{hash}\nbert:{hash}\nanna:{hash}\n")).unwrap();
    std::fs::write(&good, format!("\u{feff}# users\r\nanna:{hash}\r\n\r\n")).unwrap();
    let mount: &[&str] = &["--mount", "home"];
    for (files, options, code, reason) in [
        (&twice, mount, 1, "twice, line 1, and"),
        (&at("missing"), mount, 1, "can't be read"),
        (&good, &[], 2, "--mount"),
        (
            &good,
            &["--mount", "a", "--group", "b"],
            2,
            "cannot be used with",
        ),
    ] {
        let import = Import::run("htpasswd", &[files], options).await;
        assert_eq!(import.code(), code, "{}", import.errors());
        assert!(import.errors().contains(reason), "{}", import.errors());
        assert!(!import.path("").exists());
        import.shows_no_secret();
    }
    let import = Import::run("htpasswd", &[&good], mount).await;
    assert_eq!((import.code(), import.errors()), (0, String::new()));
    let again = |force: &'static str| {
        let into = import.path("");
        let good = good.clone();
        async move {
            let into = into.to_str().unwrap();
            let mut arguments = vec![
                "import", "htpasswd", &good, "--output", into, "--mount", "other",
            ];
            arguments.extend(Some(force).filter(|force| !force.is_empty()));
            command(&arguments).output().await.unwrap().status.code()
        }
    };
    assert_eq!(again("").await, Some(1));
    assert!(import.text("anna.toml").contains("\"home\""));
    assert_eq!(again("--force").await, Some(0));
    assert!(import.text("anna.toml").contains("\"other\""));
}
