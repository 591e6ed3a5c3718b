//! The store that the other tests stand on refuses what S3 refuses, and takes what S3 takes.

mod faults;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart, Delete,
    EncodingType, MetadataDirective, ObjectIdentifier,
};
use base64::Engine as _;
use s3_embedded::{Behaviour, EmbeddedStore, StoreOptions};

use crate::support::store::{Store, client_of};
use crate::support::{MIB, pattern};

pub const B: &str = "bucket";

/// Code and HTTP status of a refusal.
pub fn refusal<T, E>(result: Result<T, SdkError<E>>) -> (u16, String)
where
    E: ProvideErrorMetadata,
    SdkError<E>: ProvideErrorMetadata,
{
    let Err(error) = result else {
        panic!("it was not refused")
    };
    let status = error.raw_response().map_or(0, |raw| raw.status().as_u16());
    (status, error.code().unwrap_or_default().to_owned())
}

fn code<T, E>(result: Result<T, SdkError<E>>) -> String
where
    E: ProvideErrorMetadata,
    SdkError<E>: ProvideErrorMetadata,
{
    refusal(result).1
}

pub fn crc32(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(crc32fast::hash(bytes).to_be_bytes())
}

fn md5(bytes: &[u8]) -> String {
    use md5::Digest as _;
    let digest = md5::Md5::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub async fn started() -> (Store, Client) {
    let store = Store::start(&[B]).await;
    let client = store.client();
    (store, client)
}

pub fn body(bytes: &[u8]) -> ByteStream {
    ByteStream::from(bytes.to_vec())
}

/// A multipart upload under way.
struct Upload<'a> {
    client: &'a Client,
    key: &'a str,
    id: String,
    parts: Vec<CompletedPart>,
}

impl<'a> Upload<'a> {
    async fn create(client: &'a Client, key: &'a str) -> Upload<'a> {
        let created = client.create_multipart_upload().bucket(B).key(key).send();
        let id = created.await.unwrap().upload_id.unwrap();
        let parts = Vec::new();
        Upload {
            client,
            key,
            id,
            parts,
        }
    }

    async fn part(&mut self, number: i32, bytes: &[u8]) -> &mut Self {
        let part = self.client.upload_part().bucket(B).key(self.key);
        let part = part.upload_id(&self.id).part_number(number);
        let sent = part.body(body(bytes)).send().await.unwrap();
        let done = CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag);
        self.parts.push(done.build());
        self
    }

    fn complete(&self) -> aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder{
        let parts = CompletedMultipartUpload::builder().set_parts(Some(self.parts.clone()));
        let complete = self.client.complete_multipart_upload().bucket(B);
        let complete = complete.key(self.key).upload_id(&self.id);
        complete.multipart_upload(parts.build())
    }
}

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
async fn checksums_are_verified_kept_and_told() {
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
    let told = head
        .clone()
        .checksum_mode(ChecksumMode::Enabled)
        .send()
        .await
        .unwrap();
    assert_eq!(told.checksum_crc32(), Some(crc32(b"hello").as_str()));
    assert_eq!(told.checksum_type(), Some(&ChecksumType::FullObject));
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

#[tokio::test]
async fn parts_are_what_complete_says_they_are() {
    let (store, client) = started().await;
    let (big, small) = (pattern(5 * MIB, 1), pattern(100, 2));
    let mut upload = Upload::create(&client, "x").await;
    upload.part(3, &big).await.part(7, &small).await;

    let mut wrong_order = upload.complete();
    let mut reversed = upload.parts.clone();
    reversed.reverse();
    let parts = CompletedMultipartUpload::builder()
        .set_parts(Some(reversed))
        .build();
    wrong_order = wrong_order.multipart_upload(parts);
    assert_eq!(
        refusal(wrong_order.send().await),
        (400, "InvalidPartOrder".to_owned())
    );

    let other = CompletedPart::builder()
        .part_number(3)
        .e_tag("\"00000000000000000000000000000000\"");
    let parts = CompletedMultipartUpload::builder()
        .parts(other.build())
        .build();
    let wrong_etag = upload.complete().multipart_upload(parts);
    assert_eq!(
        refusal(wrong_etag.send().await),
        (400, "InvalidPart".to_owned())
    );

    let missing = CompletedPart::builder().part_number(4).e_tag(md5(&big));
    let parts = CompletedMultipartUpload::builder()
        .parts(missing.build())
        .build();
    assert_eq!(
        code(upload.complete().multipart_upload(parts).send().await),
        "InvalidPart"
    );

    let wrong_size = upload.complete().mpu_object_size(5);
    assert_eq!(code(wrong_size.send().await), "InvalidRequest");

    let listed = client
        .list_parts()
        .bucket(B)
        .key("x")
        .upload_id(&upload.id)
        .max_parts(1);
    let listed = listed.send().await.unwrap();
    assert_eq!(listed.is_truncated(), Some(true));
    assert_eq!(listed.next_part_number_marker(), Some("3"));
    assert_eq!(listed.parts()[0].e_tag(), upload.parts[0].e_tag());
    assert_eq!(listed.parts()[0].size(), Some(5 * MIB as i64));
    assert!(store.keys(B).is_empty());

    let size = (big.len() + small.len()) as i64;
    let done = upload
        .complete()
        .mpu_object_size(size)
        .send()
        .await
        .unwrap();
    assert!(done.e_tag().unwrap().ends_with("-2\""));
    assert_eq!(store.object(B, "x").unwrap(), [big, small].concat());
    assert!(store.open_uploads().is_empty());
    // A Complete that comes twice is answered as the first; where it is not, NoSuchUpload.
    assert_eq!(
        upload.complete().send().await.unwrap().e_tag(),
        done.e_tag()
    );
    store.backend().set_behaviour(Behaviour::minio());
    assert_eq!(
        refusal(upload.complete().send().await),
        (404, "NoSuchUpload".to_owned())
    );
}

#[tokio::test]
async fn small_parts_are_refused_unless_told_otherwise() {
    let (store, client) = started().await;
    let mut upload = Upload::create(&client, "x").await;
    upload.part(1, b"small").await.part(2, b"last").await;
    assert_eq!(
        refusal(upload.complete().send().await),
        (400, "EntityTooSmall".to_owned())
    );
    store.behave(|behaviour| behaviour.min_part_size = 5);
    upload.complete().send().await.unwrap();
    assert_eq!(store.object(B, "x").unwrap(), b"smalllast");
    store.behave(|behaviour| behaviour.equal_parts = true);
    let mut upload = Upload::create(&client, "y").await;
    upload
        .part(1, b"123456")
        .await
        .part(2, b"12345")
        .await
        .part(3, b"1")
        .await;
    assert_eq!(code(upload.complete().send().await), "InvalidPart");
}

#[tokio::test]
async fn a_checksum_of_the_whole_is_verified_at_complete() {
    let (store, client) = started().await;
    let (big, small) = (pattern(5 * MIB, 1), pattern(100, 2));
    let created = client.create_multipart_upload().bucket(B).key("x");
    let created = created.checksum_algorithm(ChecksumAlgorithm::Crc32);
    let created = created
        .checksum_type(ChecksumType::FullObject)
        .send()
        .await
        .unwrap();
    let id = created.upload_id.unwrap();
    let part = |number, bytes: &[u8], crc: String| {
        let part = client
            .upload_part()
            .bucket(B)
            .key("x")
            .upload_id(&id)
            .part_number(number);
        part.checksum_crc32(crc).body(body(bytes)).send()
    };
    assert_eq!(
        refusal(part(1, &big, crc32(b"other")).await),
        (400, "BadDigest".to_owned())
    );
    let mut upload = Upload {
        client: &client,
        key: "x",
        id: id.clone(),
        parts: Vec::new(),
    };
    for (number, bytes) in [(1, &big), (2, &small)] {
        let sent = part(number, bytes, crc32(bytes)).await.unwrap();
        assert_eq!(sent.checksum_crc32(), Some(crc32(bytes).as_str()));
        let done = CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag);
        upload.parts.push(done.checksum_crc32(crc32(bytes)).build());
    }
    let listed = client
        .list_parts()
        .bucket(B)
        .key("x")
        .upload_id(&id)
        .send()
        .await
        .unwrap();
    assert_eq!(
        listed.parts()[1].checksum_crc32(),
        Some(crc32(&small).as_str())
    );
    let whole = [big, small].concat();
    let complete = |crc: String| {
        let complete = upload.complete().checksum_type(ChecksumType::FullObject);
        complete.checksum_crc32(crc).send()
    };
    assert_eq!(
        refusal(complete(crc32(b"other")).await),
        (400, "BadDigest".to_owned())
    );
    complete(crc32(&whole)).await.unwrap();
    let head = client
        .head_object()
        .bucket(B)
        .key("x")
        .checksum_mode(ChecksumMode::Enabled);
    assert_eq!(
        head.send().await.unwrap().checksum_crc32(),
        Some(crc32(&whole).as_str())
    );
    // One that was not asked for at Create is refused.
    let mut upload = Upload::create(&client, "y").await;
    upload.part(1, b"1").await;
    let unasked = upload.complete().checksum_crc32(crc32(b"1"));
    assert_eq!(code(unasked.send().await), "InvalidRequest");
    assert_eq!(store.keys(B), ["x"]);
}

#[tokio::test]
async fn uploads_complete_under_conditions_and_in_an_order() {
    let (store, client) = started().await;
    store.put(B, "x", "old");
    let mut upload = Upload::create(&client, "x").await;
    upload.part(1, b"new").await;
    assert_eq!(
        refusal(upload.complete().if_none_match("*").send().await).0,
        412
    );
    assert_eq!(
        refusal(upload.complete().if_match("\"other\"").send().await).0,
        412
    );
    assert_eq!(store.open_uploads().len(), 1);
    let matching = upload.complete().if_match(format!("\"{}\"", md5(b"old")));
    matching.send().await.unwrap();
    assert_eq!(store.object(B, "x").unwrap(), b"new");

    store.behave(|behaviour| behaviour.hides_older_uploads = true);
    let mut upload = Upload::create(&client, "x").await;
    upload.part(1, b"older").await;
    store.put(B, "x", "younger");
    upload.complete().send().await.unwrap();
    assert_eq!(store.object(B, "x").unwrap(), b"younger");

    store.backend().set_behaviour(Behaviour::garage());
    let mut upload = Upload::create(&client, "x").await;
    upload.part(1, b"dropped").await;
    store.put(B, "x", "put");
    assert_eq!(code(upload.complete().send().await), "NoSuchUpload");
}

#[tokio::test]
async fn parts_are_copied_by_range_and_condition() {
    let (store, client) = started().await;
    let source = pattern(6 * MIB, 3);
    store.put(B, "source", &source);
    store.put(B, "small", "small");
    let etag = store.backend().etag(B, "source").unwrap();
    let mut upload = Upload::create(&client, "x").await;
    let copy = |from: &str, range: &str, etag: &str| {
        let copy = client
            .upload_part_copy()
            .bucket(B)
            .key("x")
            .upload_id(&upload.id);
        let copy = copy.part_number(1).copy_source(format!("{B}/{from}"));
        copy.copy_source_range(range)
            .copy_source_if_match(etag)
            .send()
    };
    let refused = copy("source", "bytes=0-5242879", "\"other\"").await;
    assert_eq!(refusal(refused), (412, "PreconditionFailed".to_owned()));
    assert_eq!(
        code(copy("source", "bytes=0-99999999", &etag).await),
        "InvalidArgument"
    );
    assert_eq!(
        code(copy("small", "bytes=0-1", &md5(b"small")).await),
        "InvalidRequest"
    );
    let copied = copy("source", "bytes=1000-5243879", &etag).await.unwrap();
    let copied = copied.copy_part_result.unwrap();
    assert_eq!(
        copied.e_tag(),
        Some(format!("\"{}\"", md5(&source[1000..5_243_880])).as_str())
    );
    let done = CompletedPart::builder()
        .part_number(1)
        .set_e_tag(copied.e_tag);
    upload.parts.push(done.build());
    upload
        .part(2, b"tail")
        .await
        .complete()
        .send()
        .await
        .unwrap();
    let expected = [&source[1000..5_243_880], b"tail"].concat();
    assert_eq!(store.object(B, "x").unwrap(), expected);
}

#[tokio::test]
async fn uploads_are_listed_and_aborted() {
    let (store, client) = started().await;
    let mut created = Vec::new();
    for key in ["dir/a", "dir/a", "dir/b", "other"] {
        created.push(Upload::create(&client, key).await);
    }
    let list = client
        .list_multipart_uploads()
        .bucket(B)
        .prefix("dir/")
        .max_uploads(1);
    let mut found = Vec::new();
    let (mut key_marker, mut id_marker) = (None, None);
    loop {
        let page = list
            .clone()
            .set_key_marker(key_marker)
            .set_upload_id_marker(id_marker);
        let page = page.send().await.unwrap();
        found.extend(
            page.uploads()
                .iter()
                .map(|u| (u.key.clone().unwrap(), u.upload_id.clone().unwrap())),
        );
        if page.is_truncated() != Some(true) {
            break;
        }
        (key_marker, id_marker) = (page.next_key_marker, page.next_upload_id_marker);
    }
    let expected: Vec<_> = created[..3]
        .iter()
        .map(|u| (u.key.to_owned(), u.id.clone()))
        .collect();
    assert_eq!(found, expected);
    store.backend().set_behaviour(Behaviour::minio());
    let prefix = list.clone().max_uploads(9).send().await.unwrap();
    assert!(prefix.uploads().is_empty());
    let exact = list.prefix("dir/a").max_uploads(9).send().await.unwrap();
    assert_eq!(exact.uploads().len(), 2);
    for upload in &created {
        let abort = client.abort_multipart_upload().bucket(B).key(upload.key);
        abort.upload_id(&upload.id).send().await.unwrap();
    }
    store.no_uploads_left().await;
    let again = client
        .abort_multipart_upload()
        .bucket(B)
        .key("other")
        .upload_id(&created[3].id);
    assert_eq!(code(again.send().await), "NoSuchUpload");
    let part = client
        .upload_part()
        .bucket(B)
        .key("other")
        .upload_id(&created[3].id)
        .part_number(1);
    assert_eq!(code(part.body(body(b"x")).send().await), "NoSuchUpload");
}

#[tokio::test]
async fn a_wrong_key_is_refused() {
    let (store, client) = started().await;
    let wrong = aws_sdk_s3::config::Credentials::new("demo", "wrong", None, None, "test");
    let config = client
        .config()
        .to_builder()
        .credentials_provider(wrong)
        .build();
    let put = Client::from_conf(config)
        .put_object()
        .bucket(B)
        .key("x")
        .body(body(b"x"));
    assert_eq!(
        refusal(put.send().await),
        (403, "SignatureDoesNotMatch".to_owned())
    );
    assert!(store.keys(B).is_empty());
}

#[tokio::test]
async fn checksums_behind_a_streamed_body_are_verified() {
    let (store, client) = started().await;
    let config = client.config().to_builder();
    let config = config.request_checksum_calculation(
        aws_sdk_s3::config::RequestChecksumCalculation::WhenSupported,
    );
    let client = Client::from_conf(config.build());
    let bytes = pattern(200_000, 9);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, &bytes).unwrap();
    let streamed = ByteStream::from_path(&file).await.unwrap();
    let put = client.put_object().bucket(B).key("x").body(streamed);
    put.send().await.unwrap();
    assert_eq!(store.object(B, "x").unwrap(), bytes);
    let trailer = store.requests().pop().unwrap();
    assert_eq!(
        trailer.header("x-amz-trailer"),
        Some("x-amz-checksum-crc32")
    );
    let head = client
        .head_object()
        .bucket(B)
        .key("x")
        .checksum_mode(ChecksumMode::Enabled);
    assert_eq!(
        head.send().await.unwrap().checksum_crc32(),
        Some(crc32(&bytes).as_str())
    );
}

#[tokio::test]
async fn a_store_in_files_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        data: Some(directory.path().join("made/on/demand")),
        ..StoreOptions::default()
    };
    let bytes = pattern(5 * MIB, 7);
    let started = || async {
        let store = EmbeddedStore::start(options.clone()).await.unwrap();
        store.backend().create_bucket(B).unwrap();
        let client = client_of(&store.endpoint(), store.credentials());
        (store, client)
    };
    let (id, etag) = {
        let (store, client) = started().await;
        let put = client.put_object().bucket(B).key("a").body(body(&bytes));
        put.metadata("who", "me").send().await.unwrap();
        let copy = client
            .copy_object()
            .bucket(B)
            .key("b")
            .copy_source(format!("{B}/a"));
        copy.send().await.unwrap();
        client
            .delete_object()
            .bucket(B)
            .key("a")
            .send()
            .await
            .unwrap();
        let mut upload = Upload::create(&client, "x").await;
        upload.part(1, &bytes).await;
        // Its connections hold the directory as long as they live.
        store.stop().await;
        (upload.id.clone(), upload.parts[0].e_tag.clone())
    };
    let (store, client) = started().await;
    assert_eq!(store.backend().keys(B), ["b"]);
    let got = client
        .get_object()
        .bucket(B)
        .key("b")
        .range("bytes=1000000-");
    let got = got.send().await.unwrap();
    assert_eq!(got.metadata().unwrap()["who"], "me");
    assert!(got.body.collect().await.unwrap().to_vec() == bytes[1_000_000..]);
    let first = CompletedPart::builder()
        .part_number(1)
        .set_e_tag(etag)
        .build();
    let mut upload = Upload {
        client: &client,
        key: "x",
        id,
        parts: vec![first],
    };
    upload
        .part(2, b"end")
        .await
        .complete()
        .send()
        .await
        .unwrap();
    let whole = store.backend().object(B, "x").await.unwrap();
    assert!(whole == [bytes.as_slice(), b"end"].concat());
    assert!(store.backend().open_uploads().is_empty());
    let parts = directory.path().join("made/on/demand/parts");
    assert_eq!(std::fs::read_dir(parts).unwrap().count(), 0);
}
