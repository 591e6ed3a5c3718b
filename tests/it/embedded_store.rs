//! The embedded store, on which the other tests stand, refuses what S3 refuses and accepts what S3
//! accepts.

mod faults;
mod multipart;
mod objects;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumMode, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use s3_embedded::{EmbeddedStore, StoreOptions};

use test_support::store::{Store, client_of};
use test_support::{MIB, pattern};

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
async fn trailing_checksums_of_a_streamed_body_are_verified() {
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
async fn a_store_on_disk_keeps_its_state_over_a_restart() {
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
        // Its connections keep the directory as long as they live.
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

/// A multipart upload in progress.
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
