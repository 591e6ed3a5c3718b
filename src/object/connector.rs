//! The HTTP client of a store's requests: hyper with buffers of a known size.
//!
//! The SDK's own client can't bound what it reads ahead. hyper's read buffer grows to 408 KiB for
//! each connection, and over HTTP/2 one connection carries all requests: what a few slow readers
//! leave unread fills its window, and every other transfer of that store stands still. This client
//! speaks HTTP/1.1 and reads at most [`READ`] bytes at once. Of an answer whose reader is slow two
//! such pieces are in memory, which the admission of a download covers.
//!
//! The timeouts are the caller's: of the whole attempt, of an upload's progress, of each read of a
//! download.

use std::error::Error;
use std::io;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_sdk_s3::config::{HttpClient, RuntimeComponents, SharedHttpClient};
use aws_sdk_s3::error::ConnectorError;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{
    CaptureConnection, HttpConnector as TcpConnector, HttpInfo, capture_connection,
};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

use crate::object::options::StoreOptions;

/// What is read of a connection at once, bytes. Each piece of an answer is of memory of this size.
pub(super) const READ: usize = 64 * 1024;

/// Idle connections to the store are closed after this long: before most stores and load balancers
/// do (60 s), so that a request seldom meets a connection that is just being closed.
const POOL_IDLE: Duration = Duration::from_secs(50);

/// The certificates that the system trusts; read once.
static ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a trusted certificate of the system can't be read");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    Arc::new(roots)
});

/// The certificates that the system trusts.
pub fn trusted_roots() -> Arc<RootCertStore> {
    Arc::clone(&ROOTS)
}

/// A client with one pool of HTTP/1.1 connections for a store.
///
/// # Errors
/// TLS can't be set up.
pub(super) fn http_client(config: &StoreOptions) -> Result<SharedHttpClient, rustls::Error> {
    let mut tcp = TcpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(config.connect_timeout));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
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
        .pool_max_idle_per_host(config.idle_connections)
        .http1_read_buf_exact_size(READ)
        .build(connector);
    Ok(SharedHttpClient::new(Http(SharedHttpConnector::new(
        Connector(client),
    ))))
}

#[derive(Debug)]
struct Http(SharedHttpConnector);

impl HttpClient for Http {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        self.0.clone()
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        Some(ConnectorMetadata::new("hyper", Some("1.x".into())))
    }
}

#[derive(Debug)]
struct Connector(Client<HttpsConnector<TcpConnector>, SdkBody>);

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        let connection = capture_connection(&mut request);
        if let Some(capture) = request.extensions().get::<CaptureSmithyConnection>() {
            capture.set_connection_retriever(move || describe(&connection));
        }
        let answer = self.0.request(request);
        HttpConnectorFuture::new(async move {
            let answer = answer.await.map_err(classify)?;
            HttpResponse::try_from(answer.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// How the SDK sees to it that a connection that is not right is not used again.
fn describe(connection: &CaptureConnection) -> Option<ConnectionMetadata> {
    let mut extensions = http::Extensions::new();
    connection
        .connection_metadata()
        .as_ref()?
        .get_extras(&mut extensions);
    let addresses = extensions.get::<HttpInfo>();
    let captured = connection.clone();
    let mut metadata = ConnectionMetadata::builder()
        .proxied(false)
        .poison_fn(move || {
            if let Some(connection) = captured.connection_metadata().as_ref() {
                connection.poison();
            }
        });
    metadata
        .set_local_addr(addresses.map(HttpInfo::local_addr))
        .set_remote_addr(addresses.map(HttpInfo::remote_addr));
    Some(metadata.build())
}

/// What went wrong, for the SDK's retries.
fn classify(error: ClientError) -> ConnectorError {
    let io = cause::<io::Error>(&error).map(io::Error::kind);
    let protocol = cause::<hyper::Error>(&error);
    let timeout =
        io == Some(io::ErrorKind::TimedOut) || protocol.is_some_and(hyper::Error::is_timeout);
    let closed = protocol.is_some_and(|error| error.is_closed() || error.is_canceled());
    if timeout {
        ConnectorError::timeout(error.into())
    } else if protocol.is_some_and(hyper::Error::is_user) {
        ConnectorError::user(error.into())
    } else if error.is_connect() || io.is_some() || closed {
        ConnectorError::io(error.into())
    } else {
        // The connection ended before the answer had: not refused, so it may be tried again.
        let incomplete = protocol.is_some_and(hyper::Error::is_incomplete_message);
        let kind = incomplete.then_some(ErrorKind::TransientError);
        ConnectorError::other(BoxError::from(error), kind)
    }
}

/// The first error of this type among the causes.
fn cause<E: Error + 'static>(error: &ClientError) -> Option<&E> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
