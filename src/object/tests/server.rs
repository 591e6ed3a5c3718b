//! s3s-fs over hyper on an ephemeral port, with a note of each request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::memory::Budget;
use crate::object::client::{Store, StoreContext};
use crate::object::location::Location;
use crate::object::name_lock::NameLocks;
use crate::object::options::{Capability, StaticCredentials, StoreOptions, TransferOptions};

use crate::object::tests::PART;

pub(super) const BUCKET: &str = "bucket";

pub(super) struct TestStore {
    directory: tempfile::TempDir,
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

/// Notes the operation of each request.
struct Log(Arc<Mutex<Vec<String>>>);

#[async_trait::async_trait]
impl s3s::access::S3Access for Log {
    async fn check(&self, context: &mut s3s::access::S3AccessContext<'_>) -> s3s::S3Result<()> {
        self.0
            .lock()
            .unwrap()
            .push(context.s3_op().name().to_owned());
        Ok(())
    }
}

impl TestStore {
    pub(super) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join(BUCKET)).unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut service = S3ServiceBuilder::new(s3s_fs::FileSystem::new(directory.path()).unwrap());
        service.set_auth(SimpleAuth::from_single("key", "secret"));
        service.set_access(Log(Arc::clone(&log)));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let service = service.clone();
                tokio::spawn(async move {
                    // s3s-fs answers a directory's PutObject without an ETag, which S3 always
                    // sends.
                    let service = hyper::service::service_fn(move |request| {
                        let answer = hyper::service::Service::call(&service, request);
                        async move {
                            let mut answer = answer.await?;
                            let etag = http::HeaderValue::from_static("\"marker\"");
                            answer.headers_mut().entry("etag").or_insert(etag);
                            Ok::<_, s3s::HttpError>(answer)
                        }
                    });
                    let http = Builder::new(TokioExecutor::new());
                    let _ = http.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        TestStore {
            directory,
            address,
            log,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// The operations since the last question.
    pub(super) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }

    /// Objects `name-000000`, … of their own number as content, put into the store's directory.
    pub(super) fn fill(&self, name: &str, count: usize) {
        for index in 0..count {
            let path = self
                .directory
                .path()
                .join(BUCKET)
                .join(format!("{name}-{index:06}"));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, index.to_string()).unwrap();
        }
    }

    pub(super) fn location(&self, store: &Arc<Store>, key: &str) -> Location {
        Location {
            store: Arc::clone(store),
            bucket: BUCKET.into(),
            key: key.to_owned(),
            attributes: None,
        }
    }

    /// A store as the other tests want it: 5 MiB parts, all capabilities assumed.
    pub(super) async fn store(&self) -> Arc<Store> {
        self.store_with(|_| {}).await
    }

    /// A store with another budget, bytes.
    pub(super) async fn store_of(&self, budget: u64) -> Arc<Store> {
        store_at(self.address, budget, |_| {}).await
    }

    pub(super) async fn store_with(&self, change: impl FnOnce(&mut StoreOptions)) -> Arc<Store> {
        store_at(self.address, 64 << 20, change).await
    }
}

pub(super) async fn store_at(
    address: SocketAddr,
    budget: u64,
    change: impl FnOnce(&mut StoreOptions),
) -> Arc<Store> {
    let mut config = options();
    config.endpoint = Some(format!("http://{address}"));
    change(&mut config);
    Store::new(&config, context(budget)).await.unwrap()
}

/// Of a store with all capabilities, at AWS.
pub(super) fn options() -> StoreOptions {
    StoreOptions {
        name: "test".to_owned(),
        endpoint: None,
        region: None,
        path_style: true,
        credentials: Some(StaticCredentials {
            access_key_id: "key".to_owned(),
            secret_access_key: "secret".into(),
            session_token: None,
        }),
        checksums: Capability::Yes,
        conditional_writes: Capability::Yes,
        conditional_deletes: Capability::Yes,
        files_hide_directories: Capability::No,
        sign_payload: false,
        connect_timeout: Duration::from_secs(5),
        request_timeout: Duration::from_secs(30),
        attempts: 3,
        copy_limit: 5 << 30,
        equal_parts: false,
        required: false,
        idle_connections: 128,
    }
}

pub(super) fn context(budget: u64) -> StoreContext {
    StoreContext {
        budget: Budget::new(budget),
        cleanups: TaskTracker::new(),
        replica: Arc::default(),
        active_uploads: Arc::default(),
        record_cache: Arc::default(),
        names: NameLocks::default(),
        metrics: Arc::default(),
        transfer: TransferOptions {
            part_size: PART as u64,
            upload_parallel: 4,
            range_size: PART as u64,
            download_parallel: 4,
        },
    }
}
