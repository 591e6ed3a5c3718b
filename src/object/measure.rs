//! Measures each request to a store, for the metrics.

use aws_sdk_s3::config::interceptors::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::retries::RequestAttempts;
use aws_smithy_types::config_bag::{Storable, StoreReplace};

use crate::events::metrics::{MeasuredAttempt, RequestStatus, StoreRequests};
use crate::object::retry::SentBefore;

/// Measures each attempt of each request: from its signature until its answer is read; of a
/// download, until the head of its answer is read. A request that is dropped counts as cancelled.
#[derive(Debug)]
pub(super) struct Measure(pub(super) StoreRequests);

/// The attempt that runs, in the state of its request.
#[derive(Debug)]
struct MeasuredRequest(MeasuredAttempt);

impl Storable for MeasuredRequest {
    type Storer = StoreReplace<MeasuredRequest>;
}

impl Intercept for Measure {
    fn name(&self) -> &'static str {
        "measure"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let attempt = config.load::<RequestAttempts>();
        let attempt = attempt.map_or(1, RequestAttempts::attempts);
        let before = config.load::<SentBefore>().map_or(0, |before| before.0);
        let name = config.load::<Metadata>().map_or("", Metadata::name);
        let running = MeasuredRequest(self.0.begin(name, before + attempt));
        config.interceptor_state().store_put(running);
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(MeasuredRequest(attempt)) = config.get_mut_from_interceptor_state() {
            attempt.ended(status(context));
        }
        // The drop counts it.
        config.interceptor_state().unset::<MeasuredRequest>();
        Ok(())
    }
}

fn status(context: &FinalizerInterceptorContextRef<'_>) -> RequestStatus {
    let answered = context.response().map(|answer| answer.status().as_u16());
    match (context.output_or_error(), answered) {
        // It may be of the answer's body.
        (Some(Err(error)), _) if error.is_timeout_error() => RequestStatus::Timeout,
        // The answer is not the store's, or its body broke off.
        (Some(Err(error)), _) if error.is_response_error() => RequestStatus::Failed,
        (_, Some(status)) => RequestStatus::Answered(status),
        (Some(Err(error)), None) => match error.as_connector_error() {
            Some(error) if error.is_timeout() => RequestStatus::Timeout,
            Some(_) => RequestStatus::Unreachable,
            None => RequestStatus::Failed,
        },
        (_, None) => RequestStatus::Failed,
    }
}
