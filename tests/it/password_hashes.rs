//! Logins with hashes of other programs, and what is reported of weak ones.

use test_support::ftp::Ftp;
use test_support::gateway::{BUCKET, Gateway};
use test_support::launcher::{Launcher, command};
use test_support::settings::Settings;
use test_support::store::Store;
use test_support::within;

/// Hashes of "changeme", cheap ones.
const HASHES: [(&str, &str); 9] = [
    (
        "yescrypt",
        "$y$j75$TAMjDa3PBMlRqh6eaV24f1$3KMs6TeQPqw9SDJGfz5WuTdx.GQZOSTmjuIv79oqp3B",
    ),
    (
        "bcrypt",
        "$2y$05$z6HZIZwW9bAGk81sIIN1PORHBhdBv3gilpdJVnKreTowb19wTy85a",
    ),
    (
        "sha512",
        "$6$saltstring$MoqO2nfO2Ca4sEeG/FIp/np74oMxzv6Tls5GA7dqHvG9itOc06W.OZT3Od8Yg9ZM9UOxmLPOtt9h6Uv2Nc/WA1",
    ),
    (
        "sha256",
        "$5$saltstring$r95tFX87pN4oyJOA70kF/L8a/LEqcT.YRYjjAZ2EQSC",
    ),
    ("md5", "$1$abcd1234$rHRYPu3ZwPZEmH9jHfHS/0"),
    ("apr1", "$apr1$abcd1234$eNcmYbnUZSdYcNmfYDAOA."),
    ("ssha", "{SSHA}GXklsRQWPKgSyKVVtU63s6IcqG+NEWLM"),
    ("sha", "{SHA}+pvrmeQCmtWmYVOZ57uuITVghrM="),
    (
        "pbkdf2",
        "$pbkdf2-sha1$1000$E86a9YMX3zC7$+7hiseInloRF1K/O1qH6qQhlzZ8=",
    ),
];

const WARNING: &str = "5 users have weak hashes of their passwords ($1$, $apr1$, \
    pbkdf2 with fewer than 100,000 rounds, {SHA}, {SSHA}): apr1, md5, pbkdf2, sha, ssha.";

fn users() -> String {
    let user = |(name, hash): (&str, &str)| {
        format!(
            "[users.{name}]\npassword = '{hash}'\n\
             mounts = {{ \"/\" = {{ store = \"main\", bucket = \"{BUCKET}\" }} }}\n"
        )
    };
    HASHES.into_iter().map(user).collect()
}

#[tokio::test]
async fn each_kind_of_hash_logs_in() {
    let gateway = Gateway::builder().with(&users()).start().await;
    for (name, _) in HASHES {
        // The second login is remembered.
        for _ in 0..2 {
            let mut ftp = Ftp::connect(gateway.address).await;
            ftp.login(name, "changeme").await;
            ftp.close().await;
        }
        let mut ftp = Ftp::connect(gateway.address).await;
        ftp.expect(&format!("USER {name}"), 331).await;
        ftp.expect("PASS Changeme", 530).await;
        ftp.close().await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn weak_hashes_are_one_line_at_the_start() {
    let store = Store::start(&[BUCKET]).await;
    let text = Settings::least(&store).with(&users()).text();
    let mut process = Launcher::of_text(&text).start().await;
    process.logged(WARNING).await;
    process.stop().await;

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("s3ftpd.toml");
    for (weak, code, piece) in [
        ("warn", 0, WARNING),
        ("refuse", 1, "users.ssha.password: is a weak hash: {SSHA}"),
        ("allow", 0, ""),
    ] {
        std::fs::write(&file, format!("auth.weak_hashes = '{weak}'\n{text}")).unwrap();
        let mut check = command(&["check", "--config", file.to_str().unwrap()]);
        let output = within("check", check.output()).await.unwrap();
        let err = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{weak}: {err}");
        assert!(err.contains(piece), "{weak}: {err}");
        assert_eq!(err.contains("weak hash"), weak != "allow", "{err}");
        // No error and no warning quotes a hash.
        assert!(!err.contains("abcd1234") && !err.contains("GXkl"), "{err}");
    }
}

/// Logins a second of a device that logs in for each file, with and without the memory of logins:
/// `cargo test --release --test it -- --ignored --nocapture logins_a_second`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn logins_a_second() {
    let hash = s3ftpd::auth::hash_password(&"changeme".into()).unwrap();
    for cache in ["0", "60s"] {
        let gateway = Gateway::builder()
            .with(&format!(
                "[auth]\ncache = \"{cache}\"\n[users.device]\npassword = '{hash}'\n\
                 mounts = {{ \"/\" = \"main\" }}"
            ))
            .start()
            .await;
        let begun = std::time::Instant::now();
        let devices = (0..8).map(async |_| {
            let mut logins = 0;
            while begun.elapsed().as_secs() < 5 {
                let mut ftp = Ftp::connect(gateway.address).await;
                ftp.login("device", "changeme").await;
                ftp.close().await;
                logins += 1;
            }
            logins
        });
        let logins: u32 = futures::future::join_all(devices).await.into_iter().sum();
        let rate = f64::from(logins) / begun.elapsed().as_secs_f64();
        println!("cache = {cache}: {rate:.0} logins a second");
        gateway.stop().await;
    }
}
