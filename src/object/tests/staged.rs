//! A staged file is copied to its object at AWS, which honours conditions of a copy.

use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_s3::config::{HttpClient, RuntimeComponents, SharedHttpClient};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use s3_embedded::Backend;
use test_support::in_memory::{ACCESS_KEY, client};
use tokio::sync::Semaphore;

use super::*;
use crate::object::client::Store;
use crate::object::options::StaticCredentials;
use crate::object::tests::server::{BUCKET, context, options as store_options};

/// Holds each copy before it reaches the store.
#[derive(Debug)]
struct Gate {
    copies: AtomicU32,
    reached: Semaphore,
    open: Semaphore,
}

/// A connection to a store whose answers have AWS' request id.
#[derive(Debug, Clone)]
struct AsAws<T>(T, Option<Arc<Gate>>);

impl HttpClient for AsAws<SharedHttpClient> {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let connector = self.0.http_connector(settings, components);
        SharedHttpConnector::new(AsAws(connector, self.1.clone()))
    }
}

impl HttpConnector for AsAws<SharedHttpConnector> {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let AsAws(connector, gate) = self.clone();
        HttpConnectorFuture::new(async move {
            let copies = request.headers().contains_key("x-amz-copy-source");
            if let Some(gate) = gate.filter(|_| copies) {
                gate.copies.fetch_add(1, Ordering::Relaxed);
                gate.reached.add_permits(1);
                gate.open.acquire().await.unwrap().forget();
            }
            let mut answer = connector.call(request).await?;
            answer.headers_mut().insert("x-amz-request-id", "1");
            Ok(answer)
        })
    }
}

/// A store like AWS, reached by two processes; the copies of the first are held.
struct Aws {
    backend: Backend,
    gate: Arc<Gate>,
    first: Location,
    second: Location,
}

async fn aws() -> Aws {
    let backend = Backend::in_memory();
    backend.create_bucket(BUCKET).unwrap();
    let gate = Arc::new(Gate {
        copies: AtomicU32::new(0),
        reached: Semaphore::new(0),
        open: Semaphore::new(0),
    });
    let mut config = store_options();
    config.region = Some("us-east-1".to_owned());
    config.credentials = Some(StaticCredentials {
        access_key_id: ACCESS_KEY.0.to_owned(),
        secret_access_key: ACCESS_KEY.1.into(),
        session_token: None,
    });
    let direct = client(backend.clone());
    let held = SharedHttpClient::new(AsAws(direct.clone(), Some(Arc::clone(&gate))));
    let direct = SharedHttpClient::new(AsAws(direct, None));
    let mut places = Vec::new();
    for http in [held, direct] {
        places.push(Location {
            store: Store::over(http, &config, context(64 << 20)).await.unwrap(),
            bucket: BUCKET.into(),
            key: "x".to_owned(),
            attributes: None,
        });
    }
    let [first, second] = places.try_into().unwrap();
    Aws {
        backend,
        gate,
        first,
        second,
    }
}

impl Aws {
    /// Publishes `x` by a staged file, and lets `meanwhile` happen right before each copy.
    async fn publish(
        &self,
        data: Bytes,
        meanwhile: impl AsyncFn(u32),
    ) -> Result<Published, PublishError> {
        let staged = Location {
            key: ".s3ftpd/tails/x".to_owned(),
            ..self.first.clone()
        };
        let mut with = options();
        with.staged = Some(staged);
        let admission = admission(&self.first.store).await;
        let mut upload = Upload::begin(self.first.clone(), admission, with).await?;
        upload.write(data).await?;
        let staged = upload.seal().await?.stage().await?;
        let turn = staged.turn().await?;
        let others = async {
            for round in 0.. {
                self.gate.reached.acquire().await.unwrap().forget();
                meanwhile(round).await;
                self.gate.open.add_permits(1);
            }
        };
        tokio::select! {
            published = staged.publish(turn) => published,
            () = others => unreachable!("it has no end"),
        }
    }

    async fn object(&self) -> Bytes {
        self.backend.object(BUCKET, "x").await.unwrap().into()
    }
}

#[tokio::test]
async fn a_newer_upload_of_another_process_that_comes_during_the_copy_stays() {
    for old in [None, Some(pattern(10))] {
        let aws = aws().await;
        if let Some(old) = &old {
            put(&aws.second, old).await;
        }
        let newer = pattern(1000);
        let published = aws.publish(pattern(70_000), async |_| {
            let now = TransferId::generate();
            while !TransferId::generate().began_after(&now) {
                tokio::task::yield_now().await;
            }
            put(&aws.second, &newer).await;
        });
        let published = published.await;
        assert!(
            matches!(published, Err(PublishError::Final(ObjectError::Superseded))),
            "{published:?}"
        );
        assert_eq!(aws.object().await, newer);
        idle(&aws.first.store).await;
        assert_eq!(aws.backend.keys(BUCKET), ["x"]);
    }
}

/// It has no time that could be compared.
#[tokio::test]
async fn what_another_program_writes_during_the_copy_is_replaced() {
    let aws = aws().await;
    put(&aws.second, &pattern(10)).await;
    let whole = pattern(70_000);
    let published = aws.publish(whole.clone(), async |round| match round {
        0 => aws.backend.put(BUCKET, "x", b"foreign").await.unwrap(),
        1 => assert!(aws.backend.remove(BUCKET, "x")),
        _ => {}
    });
    assert_eq!(published.await.unwrap().size, 70_000);
    assert_eq!(aws.gate.copies.load(Ordering::Relaxed), 3);
    assert_eq!(aws.object().await, whole);
}

#[tokio::test]
async fn an_object_that_is_written_again_and_again_ends_the_upload_as_a_conflict() {
    let aws = aws().await;
    let published = aws.publish(pattern(70_000), async |round| {
        let bytes = round.to_string();
        aws.backend
            .put(BUCKET, "x", bytes.as_bytes())
            .await
            .unwrap();
    });
    let published = published.await;
    assert!(
        matches!(published, Err(PublishError::Conflict)),
        "{published:?}"
    );
    assert_eq!(aws.object().await, b"4"[..]);
}
