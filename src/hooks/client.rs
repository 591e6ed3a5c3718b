//! The HTTP client of hooks: one POST, one deadline, a bounded answer.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout, timeout_at};

use crate::events::metrics::CallResult;
use crate::object::trusted_roots;

/// A longer answer is a failure, bytes.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Idle connections are closed after this time: before most servers do.
const POOL_IDLE: Duration = Duration::from_secs(20);

/// Idle connections to one host.
const POOL_SIZE: usize = 16;

/// Whether calls share connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connections {
    /// A call can meet the close of an idle one, and then has no answer: for calls that are repeated.
    Reused,
    /// Each call has its own.
    Fresh,
}

/// Posts to one URL.
#[derive(Debug, Clone)]
pub(super) struct HookClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: Uri,
    timeout: Duration,
}

/// What the receiver has answered.
#[derive(Debug)]
pub(super) struct HookAnswer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The URL or a header is not one, or TLS can't be set up.
    #[error("{0}")]
    Setup(String),
    /// All of it did not come in time.
    #[error("no answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// The connection could not be made, or broke.
    #[error("{0}")]
    Connection(String),
    /// The answer is too long, or broke off.
    #[error("its answer could not be read: {0}")]
    Body(String),
    /// An answer that is neither a yes nor a no.
    #[error("it answered {0}")]
    Answer(String),
}

impl CallError {
    /// How the call counts.
    pub(super) fn result(&self) -> CallResult {
        match self {
            CallError::Timeout(_) => CallResult::Timeout,
            CallError::Connection(_) => CallResult::Unreachable,
            CallError::Setup(_) | CallError::Body(_) | CallError::Answer(_) => CallResult::Error,
        }
    }
}

impl HookClient {
    /// Makes no connection yet.
    ///
    /// # Errors
    /// The URL is not one, or TLS can't be set up.
    pub(super) fn new(
        url: &str,
        timeout: Duration,
        connections: Connections,
    ) -> Result<HookClient, CallError> {
        let setup = |error: &dyn Error| CallError::Setup(with_causes(error));
        let url = url.parse::<Uri>().map_err(|error| setup(&error))?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(timeout));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| setup(&error))?
            .with_root_certificates(trusted_roots())
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(match connections {
                Connections::Reused => POOL_SIZE,
                Connections::Fresh => 0,
            })
            .build(connector);
        Ok(HookClient {
            client,
            url,
            timeout,
        })
    }

    /// One POST. Cancel safe: it ends the request.
    pub(super) async fn post(
        &self,
        content_type: &'static str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<HookAnswer, CallError> {
        let answered = timeout(self.timeout, self.call(content_type, headers, body));
        Box::pin(answered)
            .await
            .unwrap_or(Err(CallError::Timeout(self.timeout)))
    }

    /// One POST of which only the status counts. Cancel safe: it ends the request.
    pub(super) async fn deliver(
        &self,
        content_type: &'static str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<StatusCode, CallError> {
        let deadline = Instant::now() + self.timeout;
        let sent = timeout_at(deadline, self.send(content_type, headers, body));
        let answer = Box::pin(sent)
            .await
            .unwrap_or(Err(CallError::Timeout(self.timeout)))?;
        let status = answer.status();
        // What is read to its end leaves the connection for the next call.
        let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect();
        let _ = timeout_at(deadline, body).await;
        Ok(status)
    }

    async fn call(
        &self,
        content_type: &'static str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<HookAnswer, CallError> {
        let answer = self.send(content_type, headers, body).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST_ANSWER)
            .collect()
            .await;
        let body = body.map_err(|error| CallError::Body(with_causes(error.as_ref())))?;
        Ok(HookAnswer {
            status,
            body: body.to_bytes(),
        })
    }

    async fn send(
        &self,
        content_type: &'static str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, CallError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = headers;
        let ours = [
            (CONTENT_TYPE, content_type),
            (ACCEPT, "application/json"),
            (USER_AGENT, concat!("s3ftpd/", env!("CARGO_PKG_VERSION"))),
        ];
        for (name, value) in ours {
            request
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        let answer = self.client.request(request).await;
        answer.map_err(|error| CallError::Connection(with_causes(&error)))
    }
}

/// An error and what has caused it, on one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
