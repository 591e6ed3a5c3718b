//! What is configured of stores, of transfers, and of interrupted uploads.

use std::time::Duration;

use secrecy::SecretString;

/// Parts, ranges and parallelism of transfers.
#[derive(Debug, Clone)]
pub struct TransferOptions {
    /// Size of the first parts of a multipart upload, bytes; also the most that is one PutObject.
    pub part_size: u64,
    /// Parts of one upload in flight at once.
    pub upload_parallel: usize,
    /// Size of one ranged GET, bytes.
    pub range_size: u64,
    /// Ranges of one download in flight at once.
    pub download_parallel: usize,
}

/// How interrupted uploads are stored, and for how long.
#[derive(Debug, Clone)]
pub struct ResumeOptions {
    /// The record of a running upload is refreshed so often; one that was not for two and a half
    /// times that is of a process that has died.
    pub refresh: Duration,
    /// An upload that has received nothing for this time counts as interrupted: SIZE reports its
    /// length also over an object.
    pub stalled_after: Duration,
    /// What was left by an upload whose last activity is older than this is swept.
    pub keep_for: Duration,
    /// An interrupted upload over an existing object is kept for this time; at most `keep_for`.
    pub keep_over_object: Duration,
    /// How often is swept; zero: never.
    pub sweep_every: Duration,
    /// How often the keys of records are listed, so that this process knows those of others; zero:
    /// never.
    pub look_every: Duration,
}

/// One S3 store.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Its name in the configuration.
    pub name: String,
    /// Endpoint URL; `None`: AWS.
    pub endpoint: Option<String>,
    /// Region; `None`: from the AWS default chain, else `us-east-1` if an endpoint is given.
    pub region: Option<String>,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`.
    pub path_style: bool,
    /// Static credentials; `None`: the AWS default chain.
    pub credentials: Option<StaticCredentials>,
    /// Whether the store verifies CRC-32 checksums.
    pub checksums: Capability,
    /// Whether the store honours `If-None-Match: *` and `If-Match` on writes.
    pub conditional_writes: Capability,
    /// Whether the store honours `If-Match` on DeleteObject.
    pub conditional_deletes: Capability,
    /// Whether the store accepts an object `a` alongside objects `a/…` and no longer lists those
    /// then (MinIO).
    pub files_hide_directories: Capability,
    /// Sign payloads (SHA-256) even if checksums work.
    pub sign_payload: bool,
    /// For a TCP connection to the store to be there.
    pub connect_timeout: Duration,
    /// For one request, its retries not counted; for that of an upload, without any of its body
    /// being taken.
    pub request_timeout: Duration,
    /// Attempts of one request, the first included.
    pub attempts: u32,
    /// Objects larger than this are copied by UploadPartCopy; at most 5 GiB.
    pub copy_limit: u64,
    /// All parts of a multipart upload but the last have one size.
    pub equal_parts: bool,
    /// The server does not start without it.
    pub required: bool,
    /// Connections that are kept for the next request, at most; not a key, but this store's share
    /// of what the process keeps.
    pub idle_connections: usize,
}

impl StoreOptions {
    /// Whether a client that was built from these options serves others too, once it has their
    /// credentials.
    pub fn same_client(&self, other: &StoreOptions) -> bool {
        // The compiler finds a field that is added.
        let StoreOptions {
            name,
            endpoint,
            region,
            path_style,
            credentials,
            checksums,
            conditional_writes,
            conditional_deletes,
            files_hide_directories,
            sign_payload,
            connect_timeout,
            request_timeout,
            attempts,
            copy_limit,
            equal_parts,
            required: _,
            idle_connections: _,
        } = self;
        *name == other.name
            && *endpoint == other.endpoint
            && *region == other.region
            && *path_style == other.path_style
            && credentials.is_some() == other.credentials.is_some()
            && *checksums == other.checksums
            && *conditional_writes == other.conditional_writes
            && *conditional_deletes == other.conditional_deletes
            && *files_hide_directories == other.files_hide_directories
            && *sign_payload == other.sign_payload
            && *connect_timeout == other.connect_timeout
            && *request_timeout == other.request_timeout
            && *attempts == other.attempts
            && *copy_limit == other.copy_limit
            && *equal_parts == other.equal_parts
    }

    /// A store's share of the connections that the process keeps: 1,024 in all, between 4 and 128
    /// for each of `stores` stores. 128 are several transfers at full parallelism.
    pub(crate) fn share_of_idle_connections(stores: usize) -> usize {
        (1024 / stores.max(1)).clamp(4, 128)
    }
}

/// A key pair written in the configuration.
#[derive(Debug, Clone)]
pub struct StaticCredentials {
    /// The access key id.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: SecretString,
    /// A session token, if any.
    pub session_token: Option<SecretString>,
}

/// What a store can do: configured, or found out by a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Capability {
    /// Known of AWS; elsewhere probed at the first write.
    #[default]
    Auto,
    /// It can.
    Yes,
    /// It can't.
    No,
}
