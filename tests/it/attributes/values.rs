//! Values that come from users, and what is refused in the configuration.

use test_support::gateway::{BUCKET, Gateway};

use super::{By, KEY, all};

#[tokio::test(flavor = "multi_thread")]
async fn values_of_users_are_encoded() {
    let gateway = Gateway::builder()
        .mount("metadata = { who = \"{user}\", of = \"{customer}\" }\ntags = { who = \"{user}\" }")
        .add_mount("plain", "plain", "")
        .user("u", "p", "{ \"/\" = \"main\", \"/plain\" = \"plain\" }")
        .user(
            "\"jürg\"",
            "p",
            "{ \"/\" = \"main\", \"/plain\" = \"plain\" }",
        )
        .with("[users.\"jürg\"]\nattributes = { customer = \"a=b&c, ü\" }")
        .with("[users.u]\nattributes = { customer = \"plain\" }")
        .start()
        .await;
    for (user, sent, of) in [
        ("u", "u", "plain"),
        ("jürg", "=?UTF-8?B?asO8cmc=?=", "a=b&c, ü"),
    ] {
        let mut ftp = gateway.ftp_as(user, "p").await;
        assert_eq!(ftp.store("x", b"1").await.code, 226);
        let found = gateway.store.backend().describe(BUCKET, "x").unwrap();
        // S3 decodes them.
        assert_eq!(found.metadata["who"], user);
        assert_eq!(found.metadata["of"], of);
        let requests = gateway.store.requests();
        let put = requests.iter().rfind(|put| put.operation == "PutObject");
        assert_eq!(put.unwrap().header("x-amz-meta-who"), Some(sent));
        assert_eq!(found.tags["who"], user);
        // And encodes them for the copy.
        ftp.expect("RNFR x", 350).await;
        ftp.expect("RNTO /plain/y", 250).await;
        let found = gateway.store.backend().describe("plain", "y").unwrap();
        assert_eq!(found.metadata["who"], user);
        assert_eq!(found.metadata["of"], of);
        assert_eq!(found.tags["who"], user);
        ftp.close().await;
    }
    gateway.stop().await;
}

/// The requests of an upload and of a rename are as many as without attributes.
#[tokio::test(flavor = "multi_thread")]
async fn attributes_cost_no_request() {
    let mut counted = Vec::new();
    for mount in [String::new(), all(By::Kms), all(By::Customer)] {
        let gateway = Gateway::builder().mount(&mount).start().await;
        let mut ftp = gateway.ftp().await;
        ftp.expect("TYPE I", 200).await;
        assert_eq!(ftp.store("a", b"1").await.code, 226);
        ftp.expect("RNFR a", 350).await;
        ftp.expect("RNTO b", 250).await;
        ftp.expect("SIZE b", 213).await;
        ftp.retrieve("b").await;
        ftp.expect("MKD d", 257).await;
        ftp.upload_with("APPE b", b"2", test_support::ftp::Mode::Passive)
            .await;
        ftp.expect("DELE b", 250).await;
        ftp.close().await;
        // Some are made in parallel.
        let mut operations = gateway.store.operations();
        operations.sort_unstable();
        counted.push(operations);
        gateway.stop().await;
    }
    assert_eq!(counted[0], counted[1]);
    assert_eq!(counted[0], counted[2]);
}

fn refused(mount: &str) -> String {
    let text = format!(
        "listen = [\"127.0.0.1:0\"]\nmemory.budget = \"256MiB\"\n\
         [stores.main]\nendpoint = \"http://127.0.0.1:1\"\naccess_key_id = \"x\"\nsecret_access_key = \"x\"\n\
         [mounts.main]\nstore = \"main\"\nbucket = \"files\"\n{mount}\n\
         [users.\"a&b\"]\nattributes = {{ long = \"{}\", line = \"a\" }}\n\
         password = \"$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\"\nmounts = {{ \"/\" = \"main\" }}\n",
        "a".repeat(500)
    );
    match s3ftpd::config::from_str(&text, "test") {
        Ok(_) => String::new(),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn what_s3_does_not_take_is_refused_in_the_configuration() {
    for right in [
        "content_type = \"text/plain; charset=utf-8\"",
        "storage_class = \"X_1\"",
        "encryption = { type = \"aws:kms\" }",
        "encryption = { type = \"aws:kms:dsse\", key = \"arn:aws:kms:eu-central-1:1:key/1\" }",
        "acl = \"private\"",
        "tags = { a = \"{peer}\" }",
        "metadata = { a = \"{user}\" }",
        "part_size = \"64MiB\"",
    ] {
        assert_eq!(refused(right), "", "{right}");
    }
    let long = "{long}".repeat(4);
    let long = format!("metadata = {{ a = \"{long}\" }}");
    for (wrong, says) in [
        ("content_type = \"text\"", "MIME type"),
        ("content_type = \"text/a\\nb\"", "content_type"),
        ("storage_class = \"standard\"", "storage class"),
        ("storage_class = \"\"", "storage class"),
        ("encryption = { type = \"AES128\" }", "AES256"),
        ("encryption = { key = \"x\" }", "encryption.type"),
        (
            "encryption = { type = \"AES256\", key = \"x\" }",
            "encryption.key",
        ),
        (
            "encryption = { type = \"AES256\", bucket_key = true }",
            "encryption.bucket_key",
        ),
        (
            "encryption = { type = \"aws:kms:dsse\", bucket_key = true }",
            "encryption.bucket_key",
        ),
        (
            "encryption = { type = \"aws:kms\", key = \"a b\" }",
            "encryption.key",
        ),
        ("encryption = { type = \"customer\" }", "encryption.key"),
        (
            "encryption = { type = \"customer\", key = \"c2hvcnQ=\" }",
            "5 bytes, not 32",
        ),
        (
            "encryption = { type = \"customer\", key = \"?\" }",
            "base64",
        ),
        ("acl = \"everyone\"", "bucket-owner-full-control"),
        ("tags = { \"aws:x\" = \"1\" }", "name of a tag"),
        ("tags = { a = \"1&2\" }", "the tag \"a\""),
        ("tags = { a = \"{user}\" }", "the tag \"a\""),
        ("tags = { a = \"{unknown}\" }", "{unknown}"),
        ("tags = { a = \"{\" }", "brace"),
        ("metadata = { Upper = \"1\" }", "user metadata"),
        ("metadata = { mtime = \"1\" }", "the server itself writes"),
        (
            "metadata = { \"s3ftpd-transfer\" = \"1\" }",
            "the server itself writes",
        ),
        (long.as_str(), "2048 bytes"),
        ("part_size = \"65MiB\"", "memory.budget"),
        ("part_size = \"1MiB\"", "part_size"),
        ("upload_parallel = 0", "upload_parallel"),
    ] {
        let errors = refused(wrong);
        assert!(errors.contains(says), "{wrong}: {errors}");
        assert!(
            !errors.contains(KEY) && !errors.contains("c2hvcnQ"),
            "{wrong}: {errors}"
        );
    }
}
