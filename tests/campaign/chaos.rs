//! What goes wrong between the gateways and the store: each request, with a probability, in one of many ways.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use s3ftpd::demo::{Interceptor, Next, ResetConnection};
use s3s::{HttpRequest, HttpResponse};

use crate::content::Random;
use crate::faults::{Fault, perform};
use crate::figures::Figures;
use crate::operation::Request;

/// Requests in a thousand that go wrong.
const PER_MILLE: u64 = 40;

pub struct Chaos {
    random: Mutex<Random>,
    on: AtomicBool,
    /// The store is gone until then.
    outage: Mutex<Option<Instant>>,
    figures: Arc<Figures>,
}

impl Chaos {
    pub fn new(seed: u64, figures: Arc<Figures>) -> Chaos {
        Chaos {
            random: Mutex::new(Random::new(seed)),
            on: AtomicBool::new(false),
            outage: Mutex::new(None),
            figures,
        }
    }

    pub fn begin(&self) {
        self.on.store(true, Ordering::SeqCst);
    }

    pub fn end(&self) {
        self.on.store(false, Ordering::SeqCst);
    }

    /// Takes the store away for a while.
    pub fn outage(&self, time: Duration) {
        self.figures.fault("outage");
        *self.outage.lock().unwrap() = Some(Instant::now() + time);
    }

    fn choose(&self, request: &Request) -> Option<(&'static str, Fault)> {
        if !self.on.load(Ordering::SeqCst) {
            return None;
        }
        if let Some(until) = *self.outage.lock().unwrap()
            && Instant::now() < until
        {
            return Some(("reset in an outage", Fault::ResetBeforeHandling));
        }
        let mut random = self.random.lock().unwrap();
        if random.below(1000) >= PER_MILLE {
            return None;
        }
        let operation = request.operation.as_str();
        let bytes = random.below(200_000);
        let reads = matches!(operation, "GetObject" | "ListObjectsV2" | "ListParts");
        let sends = matches!(operation, "PutObject" | "UploadPart");
        let late_errors = matches!(operation, "CompleteMultipartUpload" | "CopyObject");
        Some(match random.below(12) {
            0 => ("503 SlowDown", Fault::Status(503, "SlowDown")),
            1 => ("500 InternalError", Fault::Status(500, "InternalError")),
            2 => ("reset before handling", Fault::ResetBeforeHandling),
            3 | 4 => {
                if operation == "CreateMultipartUpload" {
                    self.figures.lost_create();
                }
                ("answer lost", Fault::LoseAnswer)
            }
            5 if sends => ("body cut", Fault::CutRequest(bytes)),
            6 if sends => ("body corrupt", Fault::CorruptRequest),
            5 if reads => ("answer cut", Fault::CutBody(bytes)),
            6 if reads => ("answer reset", Fault::ResetBody(bytes)),
            5 | 6 if late_errors => ("200 with an error", Fault::ErrorIn200("InternalError")),
            7 => ("clock skew", Fault::Status(403, "RequestTimeTooSkewed")),
            8 => ("expired credentials", Fault::Status(400, "ExpiredToken")),
            // Reads only: a write that is carried out after its client has given up is nobody's fault, and no model's.
            9 if reads || operation == "HeadObject" => {
                ("stall", Fault::Delay(Duration::from_millis(3500)))
            }
            _ => (
                "slow first byte",
                Fault::Delay(Duration::from_millis(20 + random.below(400))),
            ),
        })
    }
}

impl Interceptor for Chaos {
    fn intercept(
        &self,
        request: HttpRequest,
        next: Next,
    ) -> BoxFuture<'static, Result<HttpResponse, ResetConnection>> {
        match self.choose(&Request::of(&request)) {
            None => Box::pin(async move { Ok(next.run(request).await) }),
            Some((name, fault)) => {
                self.figures.fault(name);
                Box::pin(async move { perform(fault, request, &next).await })
            }
        }
    }
}
