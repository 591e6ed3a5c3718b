//! Single objects of the embedded store: keys, listings, reads, writes, copies and deletions.

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::types::{
    ChecksumMode, ChecksumType, Delete, EncodingType, MetadataDirective, ObjectIdentifier,
};
use base64::Engine as _;
use s3_embedded::Behaviour;

use super::{B, body, code, crc32, md5, refusal, started};

#[tokio::test]
async fn keys_are_names_and_not_paths() {
    let (store, client) = started().await;
    let long = "e".repeat(1000);
    let keys = [
        "x",
        "x/y",
        "x/",
        "a//b",
        "a/./b",
        "../up",
        "..",
        "/lead",
        "tail/",
        "sp ace+%2F",
        "cr\r\nlf",
        "\u{1}",
        "é/ü",
        "?versionId=1&x#y",
        long.as_str(),
    ];
    for key in keys {
        let put = client
            .put_object()
            .bucket(B)
            .key(key)
            .body(body(key.as_bytes()));
        put.send()
            .await
            .unwrap_or_else(|error| panic!("{key:?}: {error:?}"));
    }
    for key in keys {
        let got = client.get_object().bucket(B).key(key).send().await.unwrap();
        assert_eq!(got.body.collect().await.unwrap().to_vec(), key.as_bytes());
        let source = format!("{B}/{}", percent_encoded(key));
        let copy = client
            .copy_object()
            .bucket(B)
            .key(format!("copy/{key}"))
            .copy_source(source);
        if key.len() < 1000 {
            copy.send()
                .await
                .unwrap_or_else(|error| panic!("{key:?}: {error:?}"));
            assert_eq!(
                store.object(B, &format!("copy/{key}")).unwrap(),
                key.as_bytes()
            );
        }
    }
    let mut listed = Vec::new();
    let mut pages = client.list_objects_v2().bucket(B).max_keys(4);
    pages = pages.encoding_type(EncodingType::Url);
    let mut pages = pages.into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        assert!(page.contents().len() <= 4);
        listed.extend(page.contents().iter().map(|o| decoded(o.key().unwrap())));
    }
    assert_eq!(listed, store.keys(B));
    let too_long = client
        .put_object()
        .bucket(B)
        .key("k".repeat(1025))
        .body(body(b""));
    assert_eq!(code(too_long.send().await), "KeyTooLongError");
}

fn percent_encoded(key: &str) -> String {
    key.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn decoded(key: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = key.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'%' => {
                let digits = std::str::from_utf8(&tail[..2]).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &tail[2..];
            }
            b'+' => bytes.push(b' '),
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn listings_group_by_delimiter() {
    let (store, client) = started().await;
    for key in ["a", "d/", "d/1", "d/2/x", "e/1", "f"] {
        store.put(B, key, key);
    }
    let list = client
        .list_objects_v2()
        .bucket(B)
        .delimiter("/")
        .send()
        .await
        .unwrap();
    let keys: Vec<_> = list.contents().iter().filter_map(|o| o.key()).collect();
    let prefixes: Vec<_> = list
        .common_prefixes()
        .iter()
        .filter_map(|p| p.prefix())
        .collect();
    assert_eq!((keys, prefixes), (vec!["a", "f"], vec!["d/", "e/"]));
    assert_eq!(list.key_count(), Some(4));
    let first = &list.contents()[0];
    assert_eq!(first.e_tag(), Some(format!("\"{}\"", md5(b"a")).as_str()));
    let head = client
        .head_object()
        .bucket(B)
        .key("a")
        .send()
        .await
        .unwrap();
    assert_eq!(first.last_modified(), head.last_modified());
    assert_eq!(first.size(), head.content_length());
    let list = client
        .list_objects_v2()
        .bucket(B)
        .prefix("d/")
        .delimiter("/");
    let list = list.start_after("d/").send().await.unwrap();
    let keys: Vec<_> = list.contents().iter().filter_map(|o| o.key()).collect();
    assert_eq!(keys, ["d/1"]);
    let missing = client.list_objects_v2().bucket("missing").send().await;
    assert_eq!(refusal(missing), (404, "NoSuchBucket".to_owned()));
}

#[tokio::test]
async fn ranges_and_conditions_of_reads() {
    let (store, client) = started().await;
    store.put(B, "x", "0123456789");
    store.put(B, "empty", "");
    let get = |key, range: &str| client.get_object().bucket(B).key(key).range(range).send();
    let got = get("x", "bytes=2-4").await.unwrap();
    assert_eq!(got.content_range(), Some("bytes 2-4/10"));
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"234");
    let got = get("x", "bytes=8-99").await.unwrap();
    assert_eq!(got.body.collect().await.unwrap().to_vec(), b"89");
    for (key, range, size) in [
        ("x", "bytes=10-", 10),
        ("empty", "bytes=0-99", 0),
        ("empty", "bytes=-5", 0),
    ] {
        let error = get(key, range).await.unwrap_err();
        let raw = error.raw_response().unwrap();
        assert_eq!(raw.status().as_u16(), 416);
        let expected = format!("bytes */{size}");
        assert_eq!(raw.headers().get("content-range"), Some(expected.as_str()));
        assert_eq!(error.code(), Some("InvalidRange"));
    }
    let etag = store.backend().etag(B, "x").unwrap();
    let get = |etag: &str| client.get_object().bucket(B).key("x").if_match(etag).send();
    assert!(get(&format!("\"{etag}\"")).await.is_ok());
    assert_eq!(
        refusal(get("\"other\"").await),
        (412, "PreconditionFailed".to_owned())
    );
    let head = client
        .head_object()
        .bucket(B)
        .key("x")
        .if_match("\"other\"");
    assert_eq!(refusal(head.send().await).0, 412);
    let unchanged = client
        .get_object()
        .bucket(B)
        .key("x")
        .if_none_match(format!("\"{etag}\""));
    assert_eq!(refusal(unchanged.send().await).0, 304);
}

#[tokio::test]
async fn checksums_are_verified_stored_and_returned() {
    let (store, client) = started().await;
    let put = |crc: String| {
        client
            .put_object()
            .bucket(B)
            .key("x")
            .body(body(b"hello"))
            .checksum_crc32(crc)
            .send()
    };
    assert_eq!(
        refusal(put(crc32(b"other")).await),
        (400, "BadDigest".to_owned())
    );
    assert!(store.keys(B).is_empty());
    put(crc32(b"hello")).await.unwrap();
    let head = client.head_object().bucket(B).key("x");
    let head_with_checksum = head
        .clone()
        .checksum_mode(ChecksumMode::Enabled)
        .send()
        .await
        .unwrap();
    assert_eq!(
        head_with_checksum.checksum_crc32(),
        Some(crc32(b"hello").as_str())
    );
    assert_eq!(
        head_with_checksum.checksum_type(),
        Some(&ChecksumType::FullObject)
    );
    assert_eq!(head.send().await.unwrap().checksum_crc32(), None);
    let wrong = client.put_object().bucket(B).key("x").body(body(b"hello"));
    let wrong = wrong.content_md5(base64::engine::general_purpose::STANDARD.encode([0; 16]));
    assert_eq!(code(wrong.send().await), "BadDigest");
}

#[tokio::test]
async fn writes_under_conditions() {
    let (store, client) = started().await;
    let put = |text: &'static str| {
        client
            .put_object()
            .bucket(B)
            .key("x")
            .body(body(text.as_bytes()))
    };
    let new = |text| put(text).if_none_match("*").send();
    let over = |text, etag: &str| put(text).if_match(format!("\"{etag}\"")).send();
    assert_eq!(
        refusal(over("0", "none").await),
        (404, "NoSuchKey".to_owned())
    );
    new("1").await.unwrap();
    assert_eq!(
        refusal(new("2").await),
        (412, "PreconditionFailed".to_owned())
    );
    assert_eq!(refusal(over("2", &md5(b"9")).await).0, 412);
    over("3", &md5(b"1")).await.unwrap();
    assert_eq!(store.object(B, "x").unwrap(), b"3");
    let delete = |etag: String| {
        client
            .delete_object()
            .bucket(B)
            .key("x")
            .if_match(format!("\"{etag}\""))
            .send()
    };
    assert_eq!(refusal(delete(md5(b"1")).await).0, 412);
    delete(md5(b"3")).await.unwrap();
    assert!(store.keys(B).is_empty());
    store.backend().set_behaviour(Behaviour::garage());
    new("4").await.unwrap();
    new("5").await.unwrap();
    delete(md5(b"other")).await.unwrap();
}

#[tokio::test]
async fn copies() {
    let (store, client) = started().await;
    let put = client.put_object().bucket(B).key("a").body(body(b"text"));
    let put = put
        .metadata("who", "me")
        .tagging("k=v")
        .content_type("text/x");
    put.send().await.unwrap();
    let copy = |to: &str| {
        client
            .copy_object()
            .bucket(B)
            .key(to)
            .copy_source(format!("{B}/a"))
    };
    copy("b").send().await.unwrap();
    assert_eq!(store.metadata(B, "b").unwrap()["who"], "me");
    let tags = client
        .get_object_tagging()
        .bucket(B)
        .key("b")
        .send()
        .await
        .unwrap();
    assert_eq!(tags.tag_set()[0].key(), "k");
    let replace = copy("c")
        .metadata_directive(MetadataDirective::Replace)
        .metadata("who", "you");
    replace.send().await.unwrap();
    assert_eq!(store.metadata(B, "c").unwrap()["who"], "you");
    let refused = copy("d").copy_source_if_match("\"other\"").send().await;
    assert_eq!(refusal(refused), (412, "PreconditionFailed".to_owned()));
    assert_eq!(code(copy("a").send().await), "InvalidRequest");
    store.behave(|behaviour| behaviour.max_single_size = 3);
    assert_eq!(code(copy("e").send().await), "InvalidRequest");
    assert_eq!(store.keys(B), ["a", "b", "c"]);
}

#[tokio::test]
async fn deletions() {
    let (store, client) = started().await;
    for key in ["a", "b\r\n", "c"] {
        store.put(B, key, key);
    }
    client
        .delete_object()
        .bucket(B)
        .key("missing")
        .send()
        .await
        .unwrap();
    let identifier = |key: &str| ObjectIdentifier::builder().key(key).build().unwrap();
    let delete = Delete::builder()
        .objects(identifier("a"))
        .objects(identifier("b\r\n"));
    let request = client
        .delete_objects()
        .bucket(B)
        .delete(delete.build().unwrap());
    let done = request.send().await.unwrap();
    assert_eq!((done.deleted().len(), done.errors().len()), (2, 0));
    assert_eq!(store.keys(B), ["c"]);
}
