//! Traces over OTLP (the cargo feature `otlp`): a span a command, and below it one a request to a
//! store.
//!
//! ```text
//! session::execute ── span ──▶ tracing ──▶ bridge ──▶ bounded queue ──▶ thread ──▶ collector
//! LogSink's sibling SpanSink: Event ──▶ attributes of the command's span
//! ```
//!
//! The standard variables configure it: without an endpoint in them there are no traces. The queue
//! drops spans if the collector is slow; nothing waits for it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::trace::{Status, TracerProvider};
use opentelemetry::{Key, KeyValue};
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Runtime;
use tracing::level_filters::LevelFilter;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use crate::events::{Class, Event, EventSink, FieldValue, Kind};
use crate::session::TRACE_TARGET;

/// The SDK's spans of requests; their targets end in the operation.
const REQUESTS: &str = "aws_sdk_s3::operation";

/// The variables that name a collector.
const ENDPOINTS: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];

/// The longest time for one export, as OTLP has it by default.
const EXPORT_TIME: Duration = Duration::from_secs(10);

/// How often failed exports are reported.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// How long the end of the process waits for the last spans.
const LAST_SPANS: Duration = Duration::from_secs(5);

/// What exports spans.
#[derive(Debug, Clone)]
pub struct Traces(SdkTracerProvider);

/// Traces are wanted, and can't be exported.
#[derive(Debug, thiserror::Error)]
#[error("traces: {0}")]
pub struct TracesError(String);

impl Traces {
    /// Begins to export if a variable names a collector.
    ///
    /// # Errors
    /// A variable is wrong, or there is no thread for it.
    pub(super) fn start() -> Result<Option<Traces>, TracesError> {
        let named = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let disabled = std::env::var("OTEL_SDK_DISABLED");
        let disabled = disabled.is_ok_and(|value| value.eq_ignore_ascii_case("true"));
        if disabled || !ENDPOINTS.iter().any(named) {
            return Ok(None);
        }
        let wrong = |error: &dyn fmt::Display| TracesError(error.to_string());
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new().map_err(|error| wrong(&error))?)
            .with_protocol(Protocol::HttpBinary)
            .build()
            .map_err(|error| wrong(&error))?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource())
            .build();
        Ok(Some(Traces(provider)))
    }

    /// What takes the spans of commands and requests, and nothing else.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let spans = Targets::new()
            .with_target(TRACE_TARGET, LevelFilter::DEBUG)
            .with_target(REQUESTS, LevelFilter::DEBUG);
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("s3ftpd"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(spans)
    }

    /// Exports what is left, for at most some seconds.
    pub(super) fn finish(&self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST_SPANS) {
            tracing::warn!(%error, "the last spans could not be exported");
        }
    }
}

/// Who sends the spans: `s3ftpd`, unless the variables say otherwise.
fn resource() -> Resource {
    let given = Resource::builder().build();
    let name = given.get(&Key::from_static_str("service.name"));
    let named = name.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version);
    match named {
        true => resource.build(),
        false => resource.with_service_name("s3ftpd").build(),
    }
}

/// Adds the fields of an event to the span of the command to which it happens.
#[derive(Debug)]
pub(super) struct SpanSink;

impl EventSink for SpanSink {
    fn take(&self, event: &Arc<Event>) {
        let span = Span::current();
        let of_command = |metadata: &tracing::Metadata<'_>| metadata.target() == TRACE_TARGET;
        // The session's end is not a command's.
        if !span.metadata().is_some_and(of_command) || event.kind == Kind::SessionClose {
            return;
        }
        event.visit(|name, value| match value {
            FieldValue::Text(text) => span.set_attribute(name, text.to_owned()),
            FieldValue::Made(text) => span.set_attribute(name, text),
            // No file is larger than what fits.
            FieldValue::Integer(number) => {
                span.set_attribute(name, i64::try_from(number).unwrap_or(i64::MAX));
            }
            FieldValue::Float(number) => span.set_attribute(name, number),
        });
        if event.class.is_some_and(|class| class != Class::Ok) {
            let reason = event.reason.as_deref().unwrap_or_default();
            span.set_status(Status::error(reason.to_owned()));
        }
    }
}

/// The HTTP client of the exporter, with a runtime of its own: it is called by the exporter's
/// thread, also before the server's runtime begins and after that has ended.
#[derive(Debug)]
struct Collector {
    runtime: Runtime,
    client: HyperClient<HttpsConnector<HttpConnector>>,
    reported: Mutex<Option<Instant>>,
}

impl Collector {
    fn new() -> std::io::Result<Collector> {
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider())?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Collector {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            client: HyperClient::new(connector, EXPORT_TIME, None),
            reported: Mutex::new(None),
        })
    }

    /// Reports a failure, at most once a minute.
    fn report(&self, error: &dyn fmt::Display) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.is_none_or(|at| at.elapsed() >= REPORT_EVERY) {
            *reported = Some(Instant::now());
            tracing::warn!(%error, "spans can't be exported, they are dropped");
        }
    }
}

#[async_trait::async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // The exporter's thread does nothing else, so it may be blocked.
        let answer = self.runtime.block_on(self.client.send_bytes(request));
        match &answer {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => self.report(&format_args!("the collector answers {}", answer.status())),
            Err(error) => self.report(error),
        }
        answer
    }
}
