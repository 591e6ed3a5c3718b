//! [`Store`]: one configured S3 endpoint, its client and what it can do.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_config::BehaviorVersion;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::{RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, Credentials, IdentityCache, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, SharedHttpClient, SharedInterceptor, StalledStreamProtectionConfig,
};
use secrecy::ExposeSecret;
use tokio_util::task::TaskTracker;

use crate::events::metrics::Metrics;
use crate::memory::Budget;
use crate::object::access::{Access, WatchAccess};
use crate::object::active_uploads::ActiveUploads;
use crate::object::answer::JudgeAnswers;
use crate::object::capabilities::Capabilities;
use crate::object::checksum::Integrity;
use crate::object::clock::{ReadClock, StoreClock};
use crate::object::connector::http_client;
use crate::object::echo::Echoes;
use crate::object::error::ObjectError;
use crate::object::measure::Measure;
use crate::object::name_lock::NameLocks;
use crate::object::options::{StaticCredentials, StoreOptions, TransferOptions};
use crate::object::part_sizes::PartSizes;
use crate::object::parts::piece_support::PieceSupportCache;
use crate::object::progress::watching;
use crate::object::record_cache::RecordCache;
use crate::object::replica::Replica;
use crate::object::retry::Damaged;

/// The slowest that an attempt may send its body, bytes a second, however steadily it moves: one of
/// 8 MiB ends after some nine minutes.
const SLOWEST: u64 = 16 * 1024;

/// The longest that an answer may take while it moves, beyond the silence that is allowed.
const LONGEST_ANSWER: Duration = Duration::from_secs(3600);

const MIB: u64 = 1024 * 1024;

/// What every store shares.
#[derive(Debug, Clone)]
pub struct StoreContext {
    /// The memory budget.
    pub budget: Budget,
    /// Owner of clean-up tasks that outlive a transfer (AbortMultipartUpload); waited for at
    /// shutdown.
    pub cleanups: TaskTracker,
    /// Parts, ranges and parallelism.
    pub transfer: TransferOptions,
    /// This process among all that serve the same buckets.
    pub replica: Arc<Replica>,
    /// The uploads of this process.
    pub active_uploads: Arc<ActiveUploads>,
    /// What this process remembers of records.
    pub record_cache: Arc<RecordCache>,
    /// The object names that are being written.
    pub names: NameLocks,
    /// What requests to the stores are counted by.
    pub metrics: Arc<Metrics>,
}

/// One configured S3 endpoint.
#[derive(Debug)]
pub struct Store {
    config: StoreOptions,
    context: StoreContext,
    client: Client,
    credentials: Option<ReplaceableCredentials>,
    capabilities: Capabilities,
    echoes: Echoes,
    clock: Arc<StoreClock>,
    access: Arc<Access>,
    piece_support: PieceSupportCache,
}

impl Store {
    /// Builds the client; makes no request to the store. Fails if the credentials or the endpoint
    /// are not usable.
    pub async fn new(
        config: &StoreOptions,
        context: StoreContext,
    ) -> Result<Arc<Store>, ObjectError> {
        let http = http_client(config).map_err(|error| ObjectError::Other(error.to_string()))?;
        Store::over(http, config, context).await
    }

    /// As [`Store::new`], over an HTTP client of the caller's: one that reaches a store in this
    /// process, say.
    pub(crate) async fn over(
        http: SharedHttpClient,
        config: &StoreOptions,
        context: StoreContext,
    ) -> Result<Arc<Store>, ObjectError> {
        let clock = Arc::new(StoreClock::new());
        let access = Access::new(&config.name);
        let requests = context.metrics.store_requests(&config.name);
        let credentials = config.credentials.as_ref().map(ReplaceableCredentials::new);
        let mut sdk = sdk_config(http, config, credentials.clone()).await?;
        // The SDK looks before each hook of each other interceptor whether it is turned off, which
        // costs more than what most of these do.
        for interceptor in [
            SharedInterceptor::permanent(ReadClock(Arc::clone(&clock))),
            SharedInterceptor::permanent(JudgeAnswers::new(config.endpoint.is_none())),
            SharedInterceptor::permanent(WatchAccess(Arc::clone(&access))),
            SharedInterceptor::permanent(Measure(requests)),
        ] {
            sdk.push_interceptor(interceptor);
        }
        let sdk = sdk.build();
        Ok(Arc::new(Store {
            config: config.clone(),
            capabilities: Capabilities::new(config),
            echoes: Echoes::default(),
            client: Client::from_conf(sdk),
            credentials,
            clock,
            access,
            piece_support: PieceSupportCache::default(),
            context,
        }))
    }

    /// Its name in the configuration.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// What two stores have in common that are one; empty: AWS.
    pub fn endpoint(&self) -> String {
        let endpoint = self.config.endpoint.as_deref().unwrap_or_default();
        endpoint.trim_end_matches('/').to_ascii_lowercase()
    }

    /// What it was built from. The credentials may have been [replaced](Self::replace_credentials).
    pub fn options(&self) -> &StoreOptions {
        &self.config
    }

    /// Signs with these from the next request on, if the store has static credentials.
    pub fn replace_credentials(&self, options: &StoreOptions) {
        if let (Some(own), Some(next)) = (&self.credentials, &options.credentials) {
            own.replace(next);
        }
    }

    /// The largest object an upload here can become, bytes.
    pub fn largest_object(&self) -> u64 {
        self.part_sizes_from(None).largest_object()
    }

    /// The store's own time, by the Date of its answers: at least that, by less than a second.
    /// `None` before the first.
    pub(super) fn now(&self) -> Option<jiff::Timestamp> {
        self.clock.now()
    }

    /// Whether it takes the server's credentials.
    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    /// What it shares with the other stores.
    pub fn context(&self) -> &StoreContext {
        &self.context
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn config(&self) -> &StoreOptions {
        &self.config
    }

    /// Which checksums its answers have.
    pub(super) fn echoes(&self) -> &Echoes {
        &self.echoes
    }

    /// Which of its buckets take pieces of uploads.
    pub(super) fn piece_support(&self) -> &PieceSupportCache {
        &self.piece_support
    }

    /// Part sizes that begin with `first` bytes; `None`: with those of all mounts.
    pub(super) fn part_sizes_from(&self, first: Option<u64>) -> PartSizes {
        let first = first.unwrap_or(self.context.transfer.part_size);
        let largest = self.context.budget.largest_part();
        match self.config.equal_parts {
            true => PartSizes::equal(first, largest),
            false => PartSizes::new(first, largest),
        }
    }

    /// How the bytes of an upload to `bucket` are protected on their way.
    pub(super) async fn integrity(&self, bucket: &str) -> Integrity {
        if !self.config.sign_payload && self.capabilities.checksums(&self.client, bucket).await {
            Integrity::Crc32
        } else {
            Integrity::Signed
        }
    }

    /// How the parts of a multipart upload to `bucket` are protected on their way. Their checksum
    /// is that of the whole object.
    pub(super) async fn integrity_of_parts(&self, bucket: &str) -> Integrity {
        match self.integrity(bucket).await {
            Integrity::Crc32 if !self.capabilities.full_object(&self.client, bucket).await => {
                Integrity::Signed
            }
            integrity => integrity,
        }
    }

    /// Whether a CRC-32 of an upload may be needed.
    pub(super) fn may_need_crc(&self) -> bool {
        !self.config.sign_payload && self.capabilities.may_have_checksums()
    }

    /// Whether that of a part of a multipart upload may.
    pub(super) fn part_may_need_crc(&self) -> bool {
        !self.config.sign_payload && self.capabilities.may_have_full_object()
    }

    /// Whether the store honours If-Match and If-None-Match on writes.
    pub(super) async fn conditional_writes(&self, bucket: &str) -> bool {
        self.capabilities
            .conditional_writes(&self.client, bucket)
            .await
    }

    /// Whether the store honours If-Match on DeleteObject.
    pub(super) async fn conditional_deletes(&self, bucket: &str) -> bool {
        self.capabilities
            .conditional_deletes(&self.client, bucket)
            .await
    }

    /// Whether the store honours `If-None-Match: *` on every write of an object: PutObject and
    /// CompleteMultipartUpload. Probed once for each.
    pub async fn honours_if_absent(&self, bucket: &str) -> bool {
        self.conditional_writes(bucket).await
            && self
                .capabilities
                .conditional_complete(&self.client, bucket)
                .await
    }

    /// Whether an object hides the objects below its name from listings. Probed once.
    pub async fn files_hide_directories(&self, bucket: &str) -> bool {
        self.capabilities
            .files_hide_directories(&self.client, bucket)
            .await
    }

    /// The settings of a request whose body has `bytes` bytes: an attempt may take as long as they
    /// move, see [`super::progress`], up to the time that the slowest line needs.
    pub(super) fn deadline_for_body(&self, bytes: u64) -> Builder {
        let longest = Duration::from_secs(bytes.div_ceil(SLOWEST));
        let timeouts = timeouts(&self.config, longest)
            .to_builder()
            .read_timeout(self.config.request_timeout)
            .build();
        Builder::default().timeout_config(timeouts)
    }

    /// The settings of a request for which the store itself moves `bytes` bytes: 1 s more for each
    /// 16 MiB.
    pub(super) fn deadline_for_copy(&self, bytes: u64) -> Builder {
        self.patient(self.copy_silence(bytes))
    }

    /// How long the store may be silent about a copy of `bytes` bytes.
    pub(super) fn copy_silence(&self, bytes: u64) -> Duration {
        self.silence(Duration::from_secs(30 + bytes / (16 * MIB)))
    }

    /// The settings of a request that makes the store put `parts` parts together.
    pub(super) fn deadline_for_parts(&self, parts: usize) -> Builder {
        self.patient(self.silence(Duration::from_secs(30 + parts as u64 / 10)))
    }

    /// One attempt has the time that all attempts of another request have: a store that is slow is
    /// not helped by doing the same twice.
    fn silence(&self, more: Duration) -> Duration {
        self.config.request_timeout * self.config.attempts.max(1) + more
    }

    /// The settings of a request whose answer may take its time: it ends after that much silence.
    /// White space, which stores send while they work, is an answer that moves, see
    /// [`super::progress`].
    fn patient(&self, silence: Duration) -> Builder {
        let timeouts = timeouts(&self.config, silence + LONGEST_ANSWER)
            .to_builder()
            .read_timeout(silence)
            .build();
        Builder::default().timeout_config(timeouts)
    }
}

fn timeouts(config: &StoreOptions, more: Duration) -> TimeoutConfig {
    // An attempt of a GET ends with its headers: its body has a deadline for each read instead.
    TimeoutConfig::builder()
        .connect_timeout(config.connect_timeout)
        .operation_attempt_timeout(config.request_timeout + more)
        .build()
}

async fn sdk_config(
    http: SharedHttpClient,
    config: &StoreOptions,
    credentials: Option<ReplaceableCredentials>,
) -> Result<Builder, ObjectError> {
    if let Some(endpoint) = &config.endpoint {
        check_endpoint(endpoint)?;
    }
    let region = match (&config.region, &config.endpoint) {
        (Some(region), _) => Some(Region::new(region.clone())),
        (None, Some(_)) => Some(Region::from_static("us-east-1")),
        (None, None) => None,
    };
    let builder = match (&config.credentials, &region) {
        (Some(_), Some(_)) => Builder::new().behavior_version(BehaviorVersion::latest()),
        // The default chain: environment, profiles, web identity, container and instance roles. The
        // credentials themselves are fetched at the first request.
        _ => {
            // With the SDK's own HTTP client: each source of credentials has timeouts of its own.
            let mut loader = aws_config::defaults(BehaviorVersion::latest());
            if let Some(region) = &region {
                loader = loader.region(region.clone());
            }
            let shared = loader.load().await;
            if region.is_none() && shared.region().is_none() {
                return Err(ObjectError::Other(
                    "no region is configured, and the AWS default chain names none".to_owned(),
                ));
            }
            Builder::from(&shared)
        }
    };
    let mut builder = builder
        .http_client(watching(http))
        .force_path_style(config.path_style)
        .timeout_config(timeouts(config, Duration::ZERO))
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(config.attempts.max(1))
                .with_initial_backoff(Duration::from_millis(300)),
        )
        // The SDK's own quota (35 retries for all clients of a region, given back only by success)
        // would leave running uploads without retries after a short outage of any store. Attempts
        // are few, and transfers are bounded.
        .retry_partition(
            RetryPartition::custom(format!("s3ftpd {}", config.name))
                .token_bucket(TokenBucket::unlimited())
                .build(),
        )
        .retry_classifier(Damaged)
        // Checksums are ours to choose: the SDK's defaults are aws-chunked trailers, which many
        // stores refuse.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        // Uploads are bounded by their progress and each read of a download by its own deadline; to
        // watch each frame once more in the SDK costs CPU and protects against nothing else.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(region) = region {
        builder = builder.region(region);
    }
    if let Some(credentials) = credentials {
        // They are asked for before each request, so that new ones count at once.
        builder = builder
            .identity_cache(IdentityCache::no_cache())
            .credentials_provider(credentials);
    }
    if let Some(endpoint) = &config.endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    Ok(builder)
}

fn check_endpoint(endpoint: &str) -> Result<(), ObjectError> {
    let uri: http::Uri = endpoint.parse().map_err(|error| {
        ObjectError::Other(format!("the endpoint {endpoint} is not a URL: {error}"))
    })?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
        return Err(ObjectError::Other(format!(
            "the endpoint {endpoint} must be http://host or https://host"
        )));
    }
    Ok(())
}

/// Static credentials that a reload can replace.
#[derive(Debug, Clone)]
struct ReplaceableCredentials(Arc<ArcSwap<Credentials>>);

impl ReplaceableCredentials {
    fn new(credentials: &StaticCredentials) -> Self {
        let credentials = sdk_credentials(credentials);
        ReplaceableCredentials(Arc::new(ArcSwap::from_pointee(credentials)))
    }

    fn replace(&self, credentials: &StaticCredentials) {
        self.0.store(Arc::new(sdk_credentials(credentials)));
    }
}

impl ProvideCredentials for ReplaceableCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Ok(Credentials::clone(&self.0.load())))
    }
}

fn sdk_credentials(credentials: &StaticCredentials) -> Credentials {
    Credentials::new(
        credentials.access_key_id.clone(),
        credentials.secret_access_key.expose_secret(),
        credentials
            .session_token
            .as_ref()
            .map(|token| token.expose_secret().to_owned()),
        None,
        "s3ftpd configuration",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        assert!(check_endpoint("http://127.0.0.1:3900").is_ok());
        assert!(check_endpoint("https://s3.example.com").is_ok());
        assert!(check_endpoint("s3.example.com").is_err());
        assert!(check_endpoint("ftp://s3.example.com").is_err());
        assert!(check_endpoint("http://a b").is_err());
    }
}
