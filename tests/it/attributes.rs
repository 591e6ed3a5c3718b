//! What a mount says of its objects holds for each of them, whatever has made it, and for the state
//! of uploads as far as it must.

mod customer_keys;
mod every_way;
mod parts;
mod resumed;
mod state;
mod values;

use std::collections::BTreeMap;

use s3_embedded::Description;
use test_support::gateway::{BUCKET, Builder, Gateway};

/// A key of SSE-C, and its MD5.
const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
const KEY_MD5: &str = "y4HAEFCYWuvAXWFTtA1Qpg==";
/// Another one.
const OTHER_KEY: &str = "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=";

/// How the objects of a mount are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Store,
    Kms,
    Customer,
}

impl By {
    const ALL: [By; 3] = [By::Store, By::Kms, By::Customer];

    /// The key of a mount.
    fn toml(self) -> String {
        match self {
            By::Store => "encryption = { type = \"AES256\" }".to_owned(),
            By::Kms => {
                "encryption = { type = \"aws:kms\", key = \"k1\", bucket_key = true }".to_owned()
            }
            By::Customer => customer(KEY),
        }
    }

    /// What an object has then, and nothing else.
    fn description(self) -> Description {
        let none = Description::default();
        match self {
            By::Store => Description {
                encryption: Some("AES256".to_owned()),
                ..none
            },
            By::Kms => Description {
                encryption: Some("aws:kms".to_owned()),
                kms_key_id: Some("k1".to_owned()),
                bucket_key: Some(true),
                ..none
            },
            By::Customer => Description {
                customer_key_md5: Some(KEY_MD5.to_owned()),
                ..none
            },
        }
    }
}

/// SSE-C with a key.
fn customer(key: &str) -> String {
    format!("encryption = {{ type = \"customer\", key = \"{key}\" }}")
}

/// All attributes of a mount.
fn all(by: By) -> String {
    format!(
        "{}\n{}",
        by.toml(),
        r#"content_type = "by_name"
storage_class = "STANDARD_IA"
acl = "bucket-owner-full-control"
tags = { customer = "acme + co", user = "{user}" }
metadata = { "ftp-user" = "{user}", "ftp-peer" = "{peer}" }
times = "metadata""#
    )
}

/// What an object has whose mount has [`all`] of them.
fn described(by: By, content_type: &str) -> Description {
    let map = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>()
    };
    Description {
        content_type: Some(content_type.to_owned()),
        storage_class: Some("STANDARD_IA".to_owned()),
        acl: Some("bucket-owner-full-control".to_owned()),
        tags: map(&[("customer", "acme + co"), ("user", "u")]),
        metadata: map(&[("ftp-user", "u"), ("ftp-peer", "127.0.0.1")]),
        ..by.description()
    }
}

/// What an object of the first bucket is like, but for the metadata that the server itself writes.
fn found(gateway: &Gateway, key: &str) -> Description {
    found_in(gateway, BUCKET, key)
}

fn found_in(gateway: &Gateway, bucket: &str, key: &str) -> Description {
    let found = gateway.store.backend().describe(bucket, key);
    let mut found = found.unwrap_or_else(|| panic!("no {key}"));
    found.metadata.remove("s3ftpd-transfer").expect(key);
    found.metadata.remove("mtime");
    found
}

/// A gateway whose mount has all attributes, and whose store copies more than 5 MiB in parts.
fn gateway(by: By) -> Builder {
    Gateway::builder()
        .mount(&all(by))
        .with("[stores.main]\ncopy_limit = \"5MiB\"")
}
