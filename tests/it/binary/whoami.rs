//! `whoami`: what a user would get, and the origin of each piece.

use super::{run, write};
use test_support::launcher::command;
use test_support::settings::user_section;

const MAIN: &str = r#"
include = ["users.d"]
[stores.main]
endpoint = "http://127.0.0.1:1"
access_key_id = "AK"
secret_access_key = "never-shown"
[mounts.in]
store = "main"
bucket = "exchange"
prefix = "{customer}/in"
permissions = ["list", "write"]
[groups.partner]
mounts = { "/in" = "in" }
sessions = 4
download_rate = "20MiB"
attributes = { customer = "not-yet" }
[hosts."ftp.example.com"]
users = ["p1"]
[hosts."other.example.com"]
users = ["p3"]
[users.p3]
password = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
mounts = { "/" = "in" }
attributes = { customer = "other" }
"#;

async fn whoami(user: &str) -> (i32, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), MAIN);
    let pieces = directory.path().join("users.d");
    std::fs::create_dir(&pieces).unwrap();
    let more = "group = \"partner\"\ncomment = \"ACME\"\nattributes = { customer = \"acme\" }\nexpires = \"2027-06-30\"\n";
    let section = user_section(
        "p1",
        "q",
        "{ \"/more/\" = { store = \"main\", bucket = \"other\" } }",
    );
    std::fs::write(pieces.join("p1.toml"), section + more).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let mut command = command(&["whoami", user, "--config", &file]);
    command.env("S3FTPD__USERS__P1__NETWORKS", "192.0.2.0/24");
    let (code, out, problems) = run(command, "").await;
    let prefix = format!("{}/", directory.path().display());
    (code, out.replace(&prefix, ""), problems)
}

#[tokio::test]
async fn each_key_is_shown_with_its_origin() {
    let (code, out, problems) = whoami("p1").await;
    assert_eq!((code, problems.as_str()), (0, ""));
    let expected = "\
user: p1
group: partner [users.p1 in users.d/p1.toml]
comment: ACME [users.p1 in users.d/p1.toml]
password: a hash [users.p1 in users.d/p1.toml]
disabled: no [default]
expires: 2027-07-01T00:00:00Z [users.p1 in users.d/p1.toml]
networks: 192.0.2.0/24 [users.p1 in environment variable S3FTPD__USERS__P1__NETWORKS]
hosts: ftp.example.com [hosts]
sessions: 4 [groups.partner in s3ftpd.toml]
transfers: no limit [default]
upload_rate: no limit [default]
download_rate: 20 MiB a second [groups.partner in s3ftpd.toml]
idle: 300 s [default]
start_directory: / [default]
attributes.customer: acme [users.p1 in users.d/p1.toml]
mounts./in: main:exchange/acme/in/ (list, write) [groups.partner in s3ftpd.toml]
mounts./more: main:other/ (list, read, write, overwrite, append, delete, rename, mkdir, rmdir) [users.p1 in users.d/p1.toml]
";
    assert_eq!(out, expected);
}

#[tokio::test]
async fn an_unknown_user_is_a_failure() {
    let (code, out, problems) = whoami("p2").await;
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(problems.contains("there is no user p2"), "{problems}");
}
