//! S3 without a network: an HTTP client for the SDK that passes each request to an S3 service in
//! this process.

use std::time::SystemTime;

use aws_sdk_s3::config::{HttpClient, RuntimeComponents, SharedHttpClient};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use http::header::{DATE, HOST, HeaderValue};
use s3_embedded::Backend;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The valid credentials.
pub const ACCESS_KEY: (&str, &str) = ("fuzzing", "fuzzing-secret");

/// A client through which the SDK reaches `backend`, whatever the endpoint is.
pub fn client(backend: Backend) -> SharedHttpClient {
    let mut builder = S3ServiceBuilder::new(backend);
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY.0, ACCESS_KEY.1));
    SharedHttpClient::new(InProcess(builder.build()))
}

#[derive(Debug, Clone)]
struct InProcess(S3Service);

impl HttpClient for InProcess {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let service = self.0.clone();
        HttpConnectorFuture::new(async move {
            exchange(&service, request)
                .await
                .map_err(|error| ConnectorError::other(error, None))
        })
    }
}

/// One request and its answer, with the headers that the two ends of HTTP would have added.
async fn exchange(service: &S3Service, request: HttpRequest) -> Result<HttpResponse, BoxError> {
    let mut request = request.try_into_http1x()?.map(s3s::Body::http_body_unsync);
    if let Some(authority) = request.uri().authority() {
        let host = HeaderValue::from_str(authority.as_str())?;
        request.headers_mut().entry(HOST).or_insert(host);
    }
    let mut response = service
        .call(request)
        .await
        .map_err(|error| format!("{error:?}"))?;
    // The gateway uses the store's clock alone, which is in this header.
    let now = jiff::Timestamp::try_from(SystemTime::now())?;
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now)?;
    response
        .headers_mut()
        .insert(DATE, HeaderValue::try_from(date)?);
    Ok(HttpResponse::try_from(
        response.map(SdkBody::from_body_1_x),
    )?)
}
