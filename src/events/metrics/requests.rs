//! The requests to a store: how many, how they end, how long they take.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use crate::events::metrics::labels::{
    OPERATIONS, OperationLabels, RequestLabels, RequestStatus, StoreLabels, operation,
};

/// Upper bounds of the buckets for the time of a request, seconds.
const REQUEST_SECONDS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0,
];

/// The metrics of all stores.
#[derive(Debug)]
pub(super) struct RequestMetrics {
    requests: Family<RequestLabels, Counter>,
    retries: Family<OperationLabels, Counter>,
    in_flight: Family<StoreLabels, Gauge>,
    duration: Family<OperationLabels, Histogram>,
}

/// Measures the requests to one store.
#[derive(Debug, Clone)]
pub struct StoreRequests(Arc<MeasuredStore>);

#[derive(Debug)]
struct MeasuredStore {
    store: Arc<str>,
    in_flight: Gauge,
    metrics: Arc<RequestMetrics>,
    /// Those that have been requested, by their number.
    operations: [OnceLock<MeasuredOperation>; OPERATIONS.len()],
}

/// What is known of one operation of a store, so that a request finds it without its labels.
#[derive(Debug)]
struct MeasuredOperation {
    duration: Histogram,
    /// By how its attempts have ended so far. The lock is held for a look only.
    ended: Mutex<Vec<(RequestStatus, Counter)>>,
}

/// An attempt of a request that is being measured, until it is dropped.
#[derive(Debug)]
pub struct MeasuredAttempt {
    requests: StoreRequests,
    /// Its number.
    operation: usize,
    began: Instant,
    status: RequestStatus,
}

impl RequestMetrics {
    pub(super) fn new() -> RequestMetrics {
        RequestMetrics {
            requests: Family::default(),
            retries: Family::default(),
            in_flight: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(REQUEST_SECONDS)),
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "store_requests",
            "Attempts of S3 requests, by how they ended",
            self.requests.clone(),
        );
        registry.register(
            "store_retries",
            "Attempts of S3 requests that repeat a failed one",
            self.retries.clone(),
        );
        registry.register(
            "store_requests_in_flight",
            "S3 requests that run",
            self.in_flight.clone(),
        );
        registry.register_with_unit(
            "store_request_duration",
            "Time of an attempt, until the answer is there; of a download, until its head is there",
            Unit::Seconds,
            self.duration.clone(),
        );
    }
}

impl StoreRequests {
    pub(super) fn new(store: &str, metrics: &Arc<RequestMetrics>) -> StoreRequests {
        let store: Arc<str> = store.into();
        let labels = StoreLabels {
            store: Arc::clone(&store),
        };
        StoreRequests(Arc::new(MeasuredStore {
            in_flight: metrics.in_flight.get_or_create_owned(&labels),
            store,
            metrics: Arc::clone(metrics),
            operations: Default::default(),
        }))
    }

    /// An attempt begins: the first has the number 1. If it is dropped before
    /// [`MeasuredAttempt::ended`], it was cancelled.
    pub fn begin(&self, name: &str, attempt: u32) -> MeasuredAttempt {
        let operation = operation(name);
        self.0.in_flight.inc();
        if attempt > 1 {
            let labels = self.0.labels(operation);
            self.0.metrics.retries.get_or_create(&labels).inc();
        }
        MeasuredAttempt {
            requests: self.clone(),
            operation,
            began: Instant::now(),
            status: RequestStatus::Cancelled,
        }
    }
}

impl MeasuredStore {
    fn labels(&self, operation: usize) -> OperationLabels {
        OperationLabels {
            store: Arc::clone(&self.store),
            operation: OPERATIONS[operation],
        }
    }

    fn count(&self, operation: usize, status: RequestStatus, seconds: f64) {
        let measured = self.operations[operation].get_or_init(|| MeasuredOperation {
            duration: {
                let labels = self.labels(operation);
                self.metrics.duration.get_or_create_owned(&labels)
            },
            ended: Mutex::default(),
        });
        measured.duration.observe(seconds);
        // Each step leaves it whole.
        let mut ended = measured
            .ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, counter)) = ended.iter().find(|(known, _)| *known == status) {
            counter.inc();
            return;
        }
        let counter = self.metrics.requests.get_or_create_owned(&RequestLabels {
            store: Arc::clone(&self.store),
            operation: OPERATIONS[operation],
            status,
        });
        counter.inc();
        ended.push((status, counter));
    }
}

impl MeasuredAttempt {
    /// The attempt has ended so.
    pub fn ended(&mut self, status: RequestStatus) {
        self.status = status.bounded();
    }
}

impl Drop for MeasuredAttempt {
    fn drop(&mut self) {
        let store = &self.requests.0;
        let seconds = self.began.elapsed().as_secs_f64();
        store.count(self.operation, self.status, seconds);
        store.in_flight.dec();
    }
}
