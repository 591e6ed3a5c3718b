//! The differences between stores, tested with requests: the embedded store must do what its
//! [`Behaviour`] says, and a real store what the behaviour says that replaces it in other tests.
//!
//! `cargo test --workspace --test conformance` tests the embedded store with each of its
//! behaviours. `.ci/run conformance` (versitygw) and `.ci/run stores` (MinIO, Garage) start a real
//! store. The variable `S3FTPD_CONFORMANCE` then names a file of `NAME=value` lines with STORE,
//! ENDPOINT, REGION, ACCESS_KEY, SECRET_KEY and BUCKET, such as `ci/stores.sh` writes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::large_futures)]

use std::collections::BTreeMap;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use s3_embedded::{Behaviour, EmbeddedStore, StoreOptions};

const MIB: usize = 1024 * 1024;
/// S3's smallest size of a part, except for the last one.
const PART: usize = 5 * MIB;
/// A CRC-32 that no body of these tests has.
const WRONG_CRC32: &str = "AAAAAA==";

/// A bucket of a store.
struct Store {
    client: Client,
    bucket: String,
}

/// What a store does: those switches of a [`Behaviour`] that requests can show.
#[derive(Debug, PartialEq, Eq)]
struct Observed {
    refuses_small_parts: bool,
    conditional_writes: bool,
    conditional_complete: bool,
    conditional_deletes: bool,
    checksums: bool,
    full_object: bool,
    object_size_check: bool,
    repeats_complete: bool,
    lists_uploads_by_prefix: bool,
    equal_parts: bool,
    hides_older_uploads: bool,
    put_drops_uploads: bool,
    files_hide_directories: bool,
}

impl Observed {
    /// What a store with this behaviour does.
    fn of(behaviour: &Behaviour) -> Observed {
        Observed {
            refuses_small_parts: behaviour.min_part_size > 1024,
            conditional_writes: behaviour.conditional_writes,
            conditional_complete: behaviour.conditional_writes && behaviour.conditional_complete,
            conditional_deletes: behaviour.conditional_deletes,
            checksums: behaviour.checksums,
            full_object: behaviour.checksums && behaviour.full_object,
            object_size_check: behaviour.object_size_check,
            repeats_complete: behaviour.repeats_complete,
            lists_uploads_by_prefix: behaviour.lists_uploads_by_prefix,
            equal_parts: behaviour.equal_parts,
            hides_older_uploads: behaviour.hides_older_uploads,
            put_drops_uploads: behaviour.put_drops_uploads,
            files_hide_directories: behaviour.files_hide_directories,
        }
    }
}

#[tokio::test]
async fn the_embedded_store_behaves_as_it_says() {
    for (name, behaviour) in [
        ("AWS", Behaviour::default()),
        ("MinIO", Behaviour::minio()),
        ("Garage", Behaviour::garage()),
        (
            "R2",
            Behaviour {
                equal_parts: true,
                full_object: false,
                ..Behaviour::default()
            },
        ),
        (
            "an older store",
            Behaviour {
                checksums: false,
                conditional_complete: false,
                hides_older_uploads: true,
                ..Behaviour::default()
            },
        ),
    ] {
        let embedded = EmbeddedStore::start(StoreOptions::default()).await.unwrap();
        embedded.backend().create_bucket("conformance").unwrap();
        embedded.backend().set_behaviour(behaviour.clone());
        let (key, secret) = embedded.credentials();
        let store = Store {
            client: client(&embedded.endpoint(), "us-east-1", key, secret),
            bucket: "conformance".to_owned(),
        };
        assert_eq!(store.observe().await, Observed::of(&behaviour), "{name}");
        store.has_what_the_gateway_needs().await;
        store.keeps_customer_keys().await;
        store.keeps_attributes().await;
        embedded.stop().await;
    }
}

#[tokio::test]
async fn a_real_store_behaves_as_its_replacement() {
    let Some(path) = std::env::var_os("S3FTPD_CONFORMANCE") else {
        println!("S3FTPD_CONFORMANCE names no store: only the embedded one is tested");
        return;
    };
    let text = std::fs::read_to_string(path).unwrap();
    let settings: BTreeMap<&str, &str> = text.lines().filter_map(|l| l.split_once('=')).collect();
    let behaviour = match settings["STORE"] {
        "versitygw" => Behaviour::default(),
        "minio" => Behaviour::minio(),
        "garage" => Behaviour::garage(),
        other => panic!("no behaviour replaces {other}"),
    };
    let (key, secret) = (settings["ACCESS_KEY"], settings["SECRET_KEY"]);
    let store = Store {
        client: client(settings["ENDPOINT"], settings["REGION"], key, secret),
        bucket: settings["BUCKET"].to_owned(),
    };
    let seen = store.observe().await;
    println!("{}: {seen:#?}", settings["STORE"]);
    assert_eq!(seen, Observed::of(&behaviour), "{}", settings["STORE"]);
    store.has_what_the_gateway_needs().await;
    // versitygw has no SSE-C, MinIO only over https, and Garage no tags.
    if settings["STORE"] == "garage" || settings["ENDPOINT"].starts_with("https") {
        store.keeps_customer_keys().await;
    }
    if settings["STORE"] != "garage" {
        store.keeps_attributes().await;
    }
}

fn client(endpoint: &str, region: &str, key: &str, secret: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new(region.to_owned()))
        .force_path_style(true)
        .credentials_provider(Credentials::new(key, secret, None, None, "conformance"));
    Client::from_conf(config.build())
}

fn bytes(size: usize) -> ByteStream {
    ByteStream::from(vec![b'x'; size])
}

fn crc32(size: usize) -> String {
    let sum = crc32fast::hash(&vec![b'x'; size]);
    base64::engine::general_purpose::STANDARD.encode(sum.to_be_bytes())
}

/// The HTTP status of a refusal; `None` after a success.
fn refused<T, E>(result: &Result<T, SdkError<E>>) -> Option<u16>
where
    SdkError<E>: ProvideErrorMetadata,
{
    let error = result.as_ref().err()?;
    let status = error.raw_response().map(|raw| raw.status().as_u16());
    Some(status.unwrap_or_else(|| panic!("no answer: {:?}", error.message())))
}

/// An open multipart upload.
struct Upload<'a> {
    store: &'a Store,
    key: &'a str,
    id: String,
    parts: Vec<CompletedPart>,
}

impl Upload<'_> {
    async fn part(&mut self, size: usize) {
        let number = i32::try_from(self.parts.len()).unwrap() + 1;
        let part = self.store.client.upload_part().bucket(&self.store.bucket);
        let part = part.key(self.key).upload_id(&self.id).part_number(number);
        let sent = part.body(bytes(size)).send().await.unwrap();
        let done = CompletedPart::builder().part_number(number);
        let done = done
            .set_e_tag(sent.e_tag)
            .set_checksum_crc32(sent.checksum_crc32);
        self.parts.push(done.build());
    }

    fn complete(&self) -> CompleteMultipartUploadFluentBuilder {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(self.parts.clone()));
        let complete = self.store.client.complete_multipart_upload();
        let complete = complete.bucket(&self.store.bucket).key(self.key);
        complete.upload_id(&self.id).multipart_upload(parts.build())
    }

    async fn abort(&self) {
        let abort = self.store.client.abort_multipart_upload();
        let abort = abort.bucket(&self.store.bucket).key(self.key);
        // The upload may have been completed or dropped.
        let _ = abort.upload_id(&self.id).send().await;
    }
}

impl Store {
    async fn put(&self, key: &str, size: usize) -> String {
        let put = self.client.put_object().bucket(&self.bucket).key(key);
        let put = put.body(bytes(size)).send().await.unwrap();
        put.e_tag.unwrap()
    }

    async fn size(&self, key: &str) -> Option<i64> {
        let head = self.client.head_object().bucket(&self.bucket).key(key);
        head.send().await.ok()?.content_length
    }

    async fn upload<'a>(&'a self, key: &'a str, full_object: bool) -> Upload<'a> {
        let create = self.client.create_multipart_upload().bucket(&self.bucket);
        let create = create.key(key).checksum_algorithm(ChecksumAlgorithm::Crc32);
        let create = match full_object {
            true => create.checksum_type(ChecksumType::FullObject),
            false => create,
        };
        let created = create.send().await.unwrap();
        Upload {
            store: self,
            key,
            id: created.upload_id.unwrap(),
            parts: Vec::new(),
        }
    }

    /// An upload with one part, not completed.
    async fn small_upload<'a>(&'a self, key: &'a str) -> Upload<'a> {
        let mut upload = self.upload(key, false).await;
        upload.part(1000).await;
        upload
    }

    async fn observe(&self) -> Observed {
        Observed {
            refuses_small_parts: {
                let mut upload = self.upload("small-parts", false).await;
                upload.part(1024).await;
                upload.part(1024).await;
                let answer = upload.complete().send().await;
                upload.abort().await;
                refused(&answer).is_some()
            },
            conditional_writes: {
                let etag = self.put("conditions", 1).await;
                let put = || {
                    let put = self.client.put_object().bucket(&self.bucket);
                    put.key("conditions").body(bytes(2))
                };
                let absent = refused(&put().if_none_match("*").send().await);
                let first = absent == Some(412) && self.size("conditions").await == Some(1);
                self.put("conditions", 1).await;
                let other = refused(&put().if_match("\"other\"").send().await);
                let same = refused(&put().if_match(etag).send().await);
                first && other == Some(412) && same.is_none()
            },
            conditional_complete: {
                self.put("complete", 1).await;
                let upload = self.small_upload("complete").await;
                let answer = upload.complete().if_none_match("*").send().await;
                upload.abort().await;
                refused(&answer) == Some(412) && self.size("complete").await == Some(1)
            },
            conditional_deletes: {
                self.put("delete", 1).await;
                let delete = self.client.delete_object().bucket(&self.bucket);
                let answer = delete.key("delete").if_match("\"other\"").send().await;
                refused(&answer) == Some(412) && self.size("delete").await == Some(1)
            },
            checksums: {
                let put = self.client.put_object().bucket(&self.bucket).key("crc");
                let answer = put.checksum_crc32(WRONG_CRC32).body(bytes(1)).send().await;
                refused(&answer).is_some()
            },
            full_object: self.verifies_full_objects().await,
            object_size_check: {
                let upload = self.small_upload("object-size").await;
                let answer = upload.complete().mpu_object_size(999).send().await;
                upload.abort().await;
                refused(&answer).is_some()
            },
            repeats_complete: {
                let upload = self.small_upload("repeat").await;
                upload.complete().send().await.unwrap();
                let again = refused(&upload.complete().send().await);
                assert!(matches!(again, None | Some(404)), "{again:?}");
                again.is_none()
            },
            lists_uploads_by_prefix: {
                let upload = self.upload("dir/of/upload", false).await;
                let list = self.client.list_multipart_uploads().bucket(&self.bucket);
                let listed = list.prefix("dir/").send().await.unwrap();
                upload.abort().await;
                listed
                    .uploads()
                    .iter()
                    .any(|found| found.upload_id() == Some(&upload.id))
            },
            equal_parts: {
                let mut upload = self.upload("unequal", false).await;
                upload.part(PART).await;
                upload.part(PART + MIB).await;
                upload.part(1).await;
                let answer = upload.complete().send().await;
                upload.abort().await;
                refused(&answer).is_some()
            },
            hides_older_uploads: self.put_during_an_upload("hidden").await == Some(1),
            put_drops_uploads: self.put_during_an_upload("dropped").await.is_none(),
            files_hide_directories: {
                self.put("hides/below", 1).await;
                let put = self.client.put_object().bucket(&self.bucket).key("hides");
                // A store may refuse it, and then hides nothing.
                let _ = put.body(bytes(1)).send().await;
                let list = self.client.list_objects_v2().bucket(&self.bucket);
                let listed = list.prefix("hides/").send().await.unwrap();
                listed.contents().is_empty()
            },
        }
    }

    /// Whether the store refuses a wrong CRC-32 of the whole object, and accepts the right one.
    async fn verifies_full_objects(&self) -> bool {
        let mut answers = Vec::new();
        for sum in [WRONG_CRC32.to_owned(), crc32(PART + 1)] {
            let mut upload = self.upload("full-object", true).await;
            upload.part(PART).await;
            upload.part(1).await;
            let complete = upload.complete().checksum_type(ChecksumType::FullObject);
            answers.push(refused(&complete.checksum_crc32(sum).send().await));
            upload.abort().await;
        }
        answers[0].is_some() && answers[1].is_none()
    }

    /// Create, PutObject of one byte, Complete. Returns the object's size, `None` if the upload was
    /// gone.
    async fn put_during_an_upload(&self, key: &str) -> Option<i64> {
        let upload = self.small_upload(key).await;
        self.put(key, 1).await;
        let answer = refused(&upload.complete().send().await);
        upload.abort().await;
        assert!(matches!(answer, None | Some(404)), "{answer:?}");
        match answer {
            None => self.size(key).await,
            Some(_) => None,
        }
    }

    /// What the gateway needs of each store.
    async fn has_what_the_gateway_needs(&self) {
        let etag = self.put("source", 10).await;
        let copy = |etag: &str| {
            let copy = self.client.copy_object().bucket(&self.bucket).key("copy");
            let copy = copy.copy_source(format!("{}/source", self.bucket));
            copy.copy_source_if_match(etag).send()
        };
        assert_eq!(refused(&copy("\"other\"").await), Some(412));
        assert_eq!(self.size("copy").await, None);
        let copied = copy(&etag).await.unwrap();
        assert!(copied.copy_object_result().unwrap().e_tag().is_some());

        self.put("empty", 0).await;
        let get = self.client.get_object().bucket(&self.bucket).key("empty");
        let answer = get.range("bytes=0-9").send().await;
        assert_eq!(refused(&answer), Some(416));

        let upload = self.small_upload("listed").await;
        let list = self.client.list_parts().bucket(&self.bucket).key("listed");
        let listed = list.upload_id(&upload.id).send().await.unwrap();
        let [part] = listed.parts() else {
            panic!("{listed:?}")
        };
        assert_eq!((part.part_number(), part.size()), (Some(1), Some(1000)));
        upload.abort().await;

        let head = self.client.head_object().bucket(&self.bucket).key("none");
        assert_eq!(refused(&head.send().await), Some(404));
        let get = self.client.get_object().bucket(&self.bucket).key("none");
        let code = get.send().await.unwrap_err();
        assert_eq!(code.code(), Some("NoSuchKey"));
    }
}

/// The key of SSE-C of 32 equal bytes, and its MD5.
fn customer_key(byte: u8) -> (String, String) {
    use md5::Digest as _;
    let base64 = base64::engine::general_purpose::STANDARD;
    let key = [byte; 32];
    (base64.encode(key), base64.encode(md5::Md5::digest(key)))
}

/// Adds the headers of SSE-C to a request.
macro_rules! with_key {
    ($request:expr, $byte:expr) => {{
        let (key, md5) = customer_key($byte);
        $request
            .sse_customer_algorithm("AES256")
            .sse_customer_key(key)
            .sse_customer_key_md5(md5)
    }};
}

/// SSE-C and other attributes of objects, of which each store that has them does the same.
impl Store {
    async fn keeps_customer_keys(&self) {
        let at = |key: &str| (self.bucket.clone(), key.to_owned());
        let put = |key| {
            let (bucket, key) = at(key);
            self.client.put_object().bucket(bucket).key(key)
        };
        let get = |key| {
            let (bucket, key) = at(key);
            self.client.get_object().bucket(bucket).key(key)
        };
        let head = |key| {
            let (bucket, key) = at(key);
            self.client.head_object().bucket(bucket).key(key)
        };
        let sent = with_key!(put("sse-c").body(bytes(1024)), 1);
        sent.send().await.unwrap();
        put("plain").body(bytes(1024)).send().await.unwrap();
        assert_eq!(refused(&with_key!(get("sse-c"), 1).send().await), None);
        assert_eq!(refused(&with_key!(head("sse-c"), 1).send().await), None);
        // The gateway tells these apart: 400 without a key or with one too many, 403 (Garage: 400)
        // with another one.
        assert_eq!(refused(&get("sse-c").send().await), Some(400));
        assert_eq!(refused(&head("sse-c").send().await), Some(400));
        assert_eq!(refused(&with_key!(get("plain"), 1).send().await), Some(400));
        assert_eq!(
            refused(&with_key!(head("plain"), 1).send().await),
            Some(400)
        );
        let other = refused(&with_key!(get("sse-c"), 2).send().await);
        assert!(matches!(other, Some(400 | 403)), "{other:?}");
        // A copy names the keys of both.
        let (bucket, key) = at("sse-c-copy");
        let copy = self.client.copy_object().bucket(bucket).key(key);
        let copy = copy.copy_source(format!("{}/sse-c", self.bucket));
        let without = with_key!(copy.clone(), 2).send().await;
        assert_eq!(refused(&without), Some(400));
        let (key, md5) = customer_key(1);
        let copy = with_key!(copy, 2)
            .copy_source_sse_customer_algorithm("AES256")
            .copy_source_sse_customer_key(key)
            .copy_source_sse_customer_key_md5(md5);
        copy.send().await.unwrap();
        assert_eq!(refused(&with_key!(get("sse-c-copy"), 2).send().await), None);
        // Each part names the key of the upload.
        let create = self.client.create_multipart_upload().bucket(&self.bucket);
        let created = with_key!(create.key("sse-c-parts"), 1)
            .send()
            .await
            .unwrap();
        let id = created.upload_id.unwrap();
        let part = |size| {
            let part = self.client.upload_part().bucket(&self.bucket);
            let part = part.key("sse-c-parts").upload_id(&id).part_number(1);
            part.body(bytes(size))
        };
        assert!(refused(&part(1024).send().await).is_some());
        assert!(refused(&with_key!(part(1024), 2).send().await).is_some());
        let sent = with_key!(part(1024), 1).send().await.unwrap();
        let done = CompletedPart::builder().part_number(1);
        let done = done
            .set_e_tag(sent.e_tag)
            .set_checksum_crc32(sent.checksum_crc32);
        let parts = CompletedMultipartUpload::builder().parts(done.build());
        let complete = self.client.complete_multipart_upload();
        let complete = complete.bucket(&self.bucket).key("sse-c-parts");
        let complete = complete.upload_id(&id).multipart_upload(parts.build());
        with_key!(complete, 1).send().await.unwrap();
        let whole = with_key!(head("sse-c-parts"), 1).send().await.unwrap();
        assert_eq!(whole.content_length(), Some(1024));
    }

    async fn keeps_attributes(&self) {
        let put = self.client.put_object().bucket(&self.bucket);
        let put = put.key("attributes").body(bytes(1024));
        let put = put.content_type("text/csv").metadata("a", "1");
        put.tagging("customer=acme%20co&empty=")
            .send()
            .await
            .unwrap();
        let copy = |key: &str| {
            let copy = self.client.copy_object().bucket(&self.bucket).key(key);
            copy.copy_source(format!("{}/attributes", self.bucket))
                .metadata_directive(aws_sdk_s3::types::MetadataDirective::Replace)
                .content_type("application/pdf")
                .metadata("b", "2")
        };
        copy("kept-tags").send().await.unwrap();
        let replaced = copy("other-tags").tagging("other=1");
        let replace = aws_sdk_s3::types::TaggingDirective::Replace;
        replaced.tagging_directive(replace).send().await.unwrap();
        for (key, mime, metadata, wanted) in [
            ("attributes", "text/csv", "a=1", "customer=acme co, empty="),
            (
                "kept-tags",
                "application/pdf",
                "b=2",
                "customer=acme co, empty=",
            ),
            ("other-tags", "application/pdf", "b=2", "other=1"),
        ] {
            let head = self.client.head_object().bucket(&self.bucket).key(key);
            let head = head.send().await.unwrap();
            assert_eq!(head.content_type(), Some(mime), "{key}");
            let found = head.metadata().unwrap().iter();
            let found: Vec<_> = found
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            assert_eq!(found, [metadata], "{key}");
            let tags = self
                .client
                .get_object_tagging()
                .bucket(&self.bucket)
                .key(key);
            let tags = tags.send().await.unwrap();
            let mut tags: Vec<_> = tags
                .tag_set()
                .iter()
                .map(|tag| format!("{}={}", tag.key(), tag.value()))
                .collect();
            tags.sort_unstable();
            assert_eq!(tags.join(", "), wanted, "{key}");
        }
    }
}
