//! The AWS SDK alone: what an upload and a download need without a gateway.
//!
//! It has every advantage: the bytes to upload are in memory, downloaded bytes are dropped on
//! arrival, and the object's size is known. Everything else is as in the gateway: size and
//! parallelism of parts and ranges, CRC-32 over each part and the whole, unsigned payloads.

use std::fmt;
use std::num::NonZeroU64;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::runtime::Runtime;

use crate::args::{ACCESS_KEY, Args, Endpoint, Role, SECRET_KEY, StoreChoice};
use crate::process::{self, Sample};
use crate::{PARALLEL, PART_SIZE};

/// The direction of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// To the store.
    Up,
    /// From the store.
    Down,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Up => "up",
            Direction::Down => "down",
        })
    }
}

/// The child's side: moves one object, and prints the cost.
pub fn contend(args: &Args, direction: Direction) -> Result<()> {
    let Some(StoreChoice::Url(url)) = &args.store else {
        anyhow::bail!("this role needs --store URL");
    };
    let objects = Objects::new(&args.endpoint(url.clone())?);
    let runtime = Runtime::new()?;
    let (sample, ()) = Sample::measure(|| {
        runtime.block_on(async {
            match direction {
                Direction::Up => objects.upload(&args.key, args.size).await,
                Direction::Down => objects.download(&args.key, args.size).await,
            }
        })
    })?;
    println!("{}", sample.to_line());
    Ok(())
}

/// The benchmark's side: has a child process move an object, and returns what that used.
pub fn measure(endpoint: &Endpoint, direction: Direction, key: &str, size: u64) -> Result<Sample> {
    let mut command = process::role(match direction {
        Direction::Up => Role::SdkUp,
        Direction::Down => Role::SdkDown,
    })?;
    command
        .args(["--store", &endpoint.url, "--bucket", &endpoint.bucket])
        .args(["--region", &endpoint.region, "--key", key])
        .args(["--size", &size.to_string()])
        .env(ACCESS_KEY, &endpoint.access_key)
        .env(SECRET_KEY, &endpoint.secret_key);
    process::contend(&mut command)
}

/// A bucket, through the SDK.
#[derive(Debug, Clone)]
pub struct Objects {
    client: Client,
    bucket: String,
}

impl Objects {
    /// Makes no request.
    pub fn new(endpoint: &Endpoint) -> Objects {
        let credentials = Credentials::new(
            &endpoint.access_key,
            &endpoint.secret_key,
            None,
            None,
            "benchmark",
        );
        let config = aws_sdk_s3::Config::builder()
            .behavior_version_latest()
            .endpoint_url(&endpoint.url)
            .region(Region::new(endpoint.region.clone()))
            .force_path_style(true)
            .credentials_provider(credentials)
            // The code below gives each checksum that the gateway gives, so the SDK must not.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Objects {
            client: Client::from_conf(config),
            bucket: endpoint.bucket.clone(),
        }
    }

    /// Uploads `size` zeros: PutObject up to one part, else a multipart upload.
    pub async fn upload(&self, key: &str, size: u64) -> Result<()> {
        let zeros = Bytes::from(vec![0; size.min(PART_SIZE) as usize]);
        if size <= PART_SIZE {
            self.client
                .put_object()
                .bucket(&self.bucket)
                .key(key)
                .checksum_crc32(encoded(crc32fast::hash(&zeros)))
                .body(zeros.into())
                .customize()
                .disable_payload_signing()
                .send()
                .await?;
            return Ok(());
        }
        let created = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .checksum_type(ChecksumType::FullObject)
            .send()
            .await?;
        let id = created.upload_id().context("no upload id")?;
        let mut whole = crc32fast::Hasher::new();
        let mut completed = CompletedMultipartUpload::builder();
        let mut parts = stream::iter(1..)
            .zip(stream::iter(pieces(size)))
            .map(|(number, (_, length))| {
                let part = Part {
                    key: key.to_owned(),
                    upload: id.to_owned(),
                    number,
                    bytes: zeros.slice(..length.get() as usize),
                };
                tokio::spawn(part.send(self.clone()))
            })
            .buffered(PARALLEL);
        while let Some(part) = parts.next().await {
            let (part, checksum) = part??;
            whole.combine(&checksum);
            completed = completed.parts(part);
        }
        self.client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(id)
            .multipart_upload(completed.build())
            .checksum_type(ChecksumType::FullObject)
            .checksum_crc32(encoded(whole.finalize()))
            .mpu_object_size(i64::try_from(size)?)
            .send()
            .await?;
        Ok(())
    }

    /// Reads an object of `size` bytes in ranges and drops them.
    pub async fn download(&self, key: &str, size: u64) -> Result<()> {
        let lengths = stream::iter(pieces(size))
            .map(|(first, length)| {
                let (objects, key) = (self.clone(), key.to_owned());
                tokio::spawn(async move { objects.read_range(&key, first, length).await })
            })
            .buffered(PARALLEL);
        let read: u64 = lengths
            .map(|length| length?)
            .try_fold(0, async |sum, length| Ok(sum + length))
            .await?;
        ensure!(read == size, "{read} bytes came of {size}");
        Ok(())
    }

    async fn read_range(&self, key: &str, first: u64, length: NonZeroU64) -> Result<u64> {
        let last = first + length.get() - 1;
        let object = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(key)
            .range(format!("bytes={first}-{last}"))
            .send()
            .await?;
        let (mut body, mut read) = (object.body, 0);
        while let Some(bytes) = body.try_next().await? {
            read += bytes.len() as u64;
        }
        Ok(read)
    }

    /// Size of an object; `None` if there is none.
    pub async fn size(&self, key: &str) -> Result<Option<u64>> {
        let answer = self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(key)
            .send()
            .await;
        match answer {
            Ok(object) => Ok(Some(object.content_length().unwrap_or(0).try_into()?)),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_not_found()) =>
            {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes an object.
    pub async fn delete(&self, key: &str) -> Result<()> {
        self.client
            .delete_object()
            .bucket(&self.bucket)
            .key(key)
            .send()
            .await?;
        Ok(())
    }

    /// One page of a listing: number of keys, and token of the next page.
    pub async fn page(
        &self,
        prefix: &str,
        token: Option<String>,
    ) -> Result<(usize, Option<String>)> {
        let page = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .delimiter("/")
            .set_continuation_token(token)
            .send()
            .await?;
        Ok((page.contents().len(), page.next_continuation_token))
    }
}

/// A part of a multipart upload, not yet sent.
struct Part {
    key: String,
    upload: String,
    number: i32,
    bytes: Bytes,
}

impl Part {
    async fn send(self, objects: Objects) -> Result<(CompletedPart, crc32fast::Hasher)> {
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&self.bytes);
        let crc = encoded(checksum.clone().finalize());
        let sent = objects
            .client
            .upload_part()
            .bucket(&objects.bucket)
            .key(self.key)
            .upload_id(self.upload)
            .part_number(self.number)
            .checksum_crc32(&crc)
            .body(ByteStream::from(self.bytes))
            .customize()
            .disable_payload_signing()
            .send()
            .await?;
        let part = CompletedPart::builder()
            .part_number(self.number)
            .set_e_tag(sent.e_tag)
            .checksum_crc32(crc)
            .build();
        Ok((part, checksum))
    }
}

/// Offset and length of each part or range of an object.
fn pieces(size: u64) -> impl Iterator<Item = (u64, NonZeroU64)> {
    (0..size)
        .step_by(PART_SIZE as usize)
        .filter_map(move |first| Some((first, NonZeroU64::new(PART_SIZE.min(size - first))?)))
}

/// A CRC-32 as S3 writes it.
fn encoded(crc: u32) -> String {
    STANDARD.encode(crc.to_be_bytes())
}
