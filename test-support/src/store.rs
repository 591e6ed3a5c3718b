//! A store for one test: in memory, as strict as AWS, counting and failing on cue.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use s3_embedded::{Backend, Behaviour, EmbeddedStore, OpenUpload, StoreOptions};

use crate::faults::{Faults, Request, RuleBuilder};
use crate::within;

/// A store that only one test uses.
pub struct Store {
    embedded: EmbeddedStore,
    faults: Arc<Faults>,
}

impl Store {
    /// Starts one with these buckets.
    pub async fn start(buckets: &[&str]) -> Store {
        // This process holds hundreds of sessions, and both ends of their connections.
        s3ftpd::server::capacity::descriptors::raise();
        let faults = Arc::new(Faults::default());
        let options = StoreOptions {
            interceptor: Some(Arc::clone(&faults) as _),
            ..StoreOptions::default()
        };
        let embedded = EmbeddedStore::start(options).await.unwrap();
        for bucket in buckets {
            embedded.backend().create_bucket(bucket).unwrap();
        }
        Store { embedded, faults }
    }

    /// Its endpoint URL.
    pub fn endpoint(&self) -> String {
        self.embedded.endpoint()
    }

    /// Access key id and secret.
    pub fn credentials(&self) -> (&str, &str) {
        self.embedded.credentials()
    }

    /// What is in it.
    pub fn backend(&self) -> &Backend {
        self.embedded.backend()
    }

    /// Changes how it differs from AWS.
    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        let mut behaviour = self.backend().behaviour();
        change(&mut behaviour);
        self.backend().set_behaviour(behaviour);
    }

    /// Begins a rule, such as `store.fail("PutObject").times(2).with(Fault::LoseAnswer)`.
    pub fn fail(&self, operation: &str) -> RuleBuilder<'_> {
        self.faults.fail(operation)
    }

    /// Gives each answer a request id from now on, as AWS and MinIO do.
    pub fn identify(&self) {
        self.faults.identify();
    }

    /// Requests of an operation that have arrived, failed ones and retries included.
    pub fn count(&self, operation: &str) -> usize {
        let requests = self.requests();
        let of_it = requests.iter().filter(|r| r.operation == operation);
        of_it.count()
    }

    /// Requests that have arrived, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.faults.requests()
    }

    /// The names of the operations that have arrived, in order, for readable comparisons.
    pub fn operations(&self) -> Vec<String> {
        let requests = self.requests();
        requests
            .into_iter()
            .map(|request| request.operation)
            .collect()
    }

    /// Forgets the requests so far.
    pub fn reset_counts(&self) {
        self.faults.reset_counts();
    }

    /// Waits until this many requests of an operation are finished: answered, failed, or dropped by
    /// the client.
    pub async fn wait_for(&self, operation: &str, count: usize) {
        let what = format!("{count} finished {operation}");
        self.until(&what, |store| store.faults.finished(operation) >= count)
            .await;
    }

    /// Waits until a condition holds. It looks after each finished request.
    pub async fn until(&self, what: &str, is_true: impl Fn(&Store) -> bool) {
        let mut progress = self.faults.progress();
        within(what, async {
            while !is_true(self) {
                progress.changed().await.unwrap();
            }
        })
        .await;
    }

    /// Waits until no multipart upload is open.
    pub async fn no_uploads_left(&self) {
        self.until("no open upload", |store| store.open_uploads().is_empty())
            .await;
    }

    /// The multipart uploads that are open.
    pub fn open_uploads(&self) -> Vec<OpenUpload> {
        self.backend().open_uploads()
    }

    /// An object's bytes.
    pub fn object(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        at_once(self.backend().object(bucket, key))
    }

    /// Writes an object.
    pub fn put(&self, bucket: &str, key: &str, bytes: impl AsRef<[u8]>) {
        at_once(self.backend().put(bucket, key, bytes.as_ref())).unwrap();
    }

    /// Writes an object, then advances the store's clock, so that no later event is in the same
    /// second.
    pub fn put_before(&self, bucket: &str, key: &str, bytes: impl AsRef<[u8]>) {
        self.put(bucket, key, bytes);
        self.a_while();
    }

    /// Advances the store's clock by 3 s: what happens from now on is in a later second.
    pub fn a_while(&self) {
        self.backend().advance_clock(Duration::from_secs(3));
    }

    /// Advances the store's clock by 25 h: the sweep removes what no record names.
    pub fn a_day(&self) {
        self.backend().advance_clock(Duration::from_secs(25 * 3600));
    }

    /// The keys of a bucket, in order.
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.backend().keys(bucket)
    }

    /// An object's user metadata.
    pub fn metadata(&self, bucket: &str, key: &str) -> Option<BTreeMap<String, String>> {
        self.backend().metadata(bucket, key)
    }

    /// Stops the store: connections are reset, new ones refused.
    pub async fn stop(&self) {
        self.embedded.stop().await;
    }

    /// Starts it again, at the same address and with its content.
    pub async fn restart(&self) {
        self.embedded.restart().await.unwrap();
    }

    /// An SDK client that tries once and adds no checksums of its own.
    pub fn client(&self) -> aws_sdk_s3::Client {
        client_of(&self.endpoint(), self.credentials())
    }
}

/// A store in memory does everything without waiting.
fn at_once<T>(done: impl Future<Output = T>) -> T {
    done.now_or_never().expect("a store in memory never waits")
}

/// An SDK client of a store; see [`Store::client`].
pub fn client_of(endpoint: &str, (key, secret): (&str, &str)) -> aws_sdk_s3::Client {
    use aws_sdk_s3::config::{
        BehaviorVersion, Credentials, Region, RequestChecksumCalculation,
        ResponseChecksumValidation, retry::RetryConfig,
    };
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(key, secret, None, None, "test"))
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    aws_sdk_s3::Client::from_conf(config)
}
