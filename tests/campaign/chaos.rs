//! Faults between the gateways and the store: each request fails with a probability, in one of many
//! ways.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures::StreamExt;
use futures::future::BoxFuture;
use s3_embedded::{Interceptor, Next, ResetConnection};
use s3s::{Body, HttpRequest, HttpResponse};

use crate::content::Random;
use crate::figures::Figures;
use crate::leftovers::Causes;
use crate::model::Model;
use s3_embedded::faults::Request;
use s3_embedded::faults::{Fault, perform};

/// Faults per 1,000 requests.
const PER_MILLE: u64 = 40;
/// The same for rare operations, so that each of their faults occurs.
const PER_MILLE_RARE: u64 = 250;
/// Longer than a gateway waits for the answer to a small request.
const STALL: Duration = Duration::from_millis(4000);

/// Every kind of fault; a long run must have had each of them.
pub const KINDS: [&str; 20] = [
    "200 with an error",
    "500 InternalError",
    "503 SlowDown",
    "answer corrupt",
    "answer cut",
    "answer lost",
    "answer reset",
    "answer stalled after some bytes",
    "body corrupt",
    "body cut",
    "clock skew",
    "expired credentials",
    "outage",
    "read stalled",
    "reset before handling",
    "reset in an outage",
    "slow first byte",
    "write carried out late",
    "write's answer stalled, then lost",
    "write stalled, then reset",
];

/// Operations and keys that faults must have hit.
pub const PLACES: [&str; 10] = [
    "AbortMultipartUpload",
    "CompleteMultipartUpload",
    "CopyObject",
    "CreateMultipartUpload",
    "DeleteObject",
    "ListParts",
    "UploadPart",
    "UploadPartCopy",
    "records",
    "tails",
];

pub struct Chaos {
    random: Mutex<Random>,
    on: AtomicBool,
    /// The end of the store's current outage.
    outage: Mutex<Option<Instant>>,
    /// Late writes on their way.
    late: Arc<AtomicUsize>,
    model: Arc<Model>,
    causes: Arc<Causes>,
    figures: Arc<Figures>,
}

/// What happens to a request.
enum Trouble {
    Fault(Fault),
    /// It is read completely, and carried out after its client has given up.
    Late,
    /// It is neither carried out nor answered.
    Stalled,
    /// It is carried out, and not answered.
    Unanswered,
}

impl Chaos {
    pub fn new(seed: u64, model: Arc<Model>, causes: Arc<Causes>, figures: Arc<Figures>) -> Chaos {
        Chaos {
            random: Mutex::new(Random::new(seed)),
            on: AtomicBool::new(false),
            outage: Mutex::new(None),
            late: Arc::default(),
            model,
            causes,
            figures,
        }
    }

    pub fn begin(&self) {
        self.on.store(true, Ordering::SeqCst);
    }

    /// Ends all faults, and waits until late writes have been carried out.
    pub async fn end(&self) {
        self.on.store(false, Ordering::SeqCst);
        test_support::within("late writes are carried out", async {
            while self.late.load(Ordering::SeqCst) > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Takes the store away for this time.
    pub fn outage(&self, time: Duration) {
        self.figures.fault("outage");
        self.model.note_event(&format!("outage of {time:?}"));
        *self.outage.lock().unwrap() = Some(Instant::now() + time);
    }

    fn choose(&self, request: &Request) -> Option<(&'static str, Trouble)> {
        if !self.on.load(Ordering::SeqCst) {
            return None;
        }
        if let Some(until) = *self.outage.lock().unwrap()
            && Instant::now() < until
        {
            let reset = Trouble::Fault(Fault::ResetBeforeHandling);
            return Some(("reset in an outage", reset));
        }
        let operation = request.operation.as_str();
        let state = request.key.starts_with(".s3ftpd/");
        let rare = matches!(
            operation,
            "AbortMultipartUpload" | "CopyObject" | "ListParts" | "UploadPartCopy"
        );
        let mut random = self.random.lock().unwrap();
        let rate = if rare { PER_MILLE_RARE } else { PER_MILLE };
        if random.below(1000) >= rate {
            return None;
        }
        let bytes = random.below(200_000);
        let lists = matches!(operation, "ListObjectsV2" | "ListParts");
        let reads = lists || operation == "GetObject";
        let sends = matches!(operation, "PutObject" | "UploadPart");
        let late_errors = matches!(
            operation,
            "CompleteMultipartUpload" | "CopyObject" | "UploadPartCopy"
        );
        let writes = !reads && operation != "HeadObject";
        let fault = |name, fault| (name, Trouble::Fault(fault));
        Some(match random.below(14) {
            0 => fault("503 SlowDown", Fault::Status(503, "SlowDown")),
            1 => fault("500 InternalError", Fault::Status(500, "InternalError")),
            2 => fault("reset before handling", Fault::ResetBeforeHandling),
            3 | 4 => fault("answer lost", Fault::LoseAnswer),
            5 if sends => fault("body cut", Fault::CutRequest(bytes)),
            6 if sends => fault("body corrupt", Fault::CorruptRequest),
            5 if reads => fault("answer cut", Fault::CutBody(bytes)),
            6 if reads => fault("answer reset", Fault::ResetBody(bytes)),
            7 if reads => fault("answer stalled after some bytes", Fault::StallBody(bytes)),
            // S3 has checksums of whole objects only, so a corrupted range of one would not be
            // detected. Here each wrong byte shows.
            8 if lists || (reads && state) => fault("answer corrupt", Fault::CorruptBody),
            5 | 6 if late_errors => fault("200 with an error", Fault::ErrorIn200("InternalError")),
            7 if writes => ("write stalled, then reset", Trouble::Stalled),
            8 if writes => ("write's answer stalled, then lost", Trouble::Unanswered),
            9 => fault("clock skew", Fault::Status(403, "RequestTimeTooSkewed")),
            10 => fault("expired credentials", Fault::Status(400, "ExpiredToken")),
            11 if writes => ("write carried out late", Trouble::Late),
            11 => fault("read stalled", Fault::Delay(STALL)),
            _ => fault(
                "slow first byte",
                Fault::Delay(Duration::from_millis(20 + random.below(400))),
            ),
        })
    }

    /// Counts a fault, and notes what it may leave.
    fn note(&self, name: &'static str, trouble: &Trouble, request: &Request) {
        self.figures.fault(name);
        self.figures.place(&request.operation);
        if request.key.starts_with(".s3ftpd/uploads/") {
            self.figures.place("records");
        } else if request.key.starts_with(".s3ftpd/tails/") {
            self.figures.place("tails");
        }
        // Until its answer arrives, the sender cannot know that a tail exists; and what could not
        // be removed may stay.
        let unknown = match trouble {
            Trouble::Late | Trouble::Unanswered => true,
            Trouble::Fault(fault) => matches!(fault, Fault::LoseAnswer),
            Trouble::Stalled => false,
        };
        let tail = request.key.starts_with(".s3ftpd/tails/");
        let probe = request.key.starts_with(".s3ftpd/probe-");
        let slow = name == "slow first byte";
        if match request.operation.as_str() {
            // A retry is counted by its own request: see below.
            "CreateMultipartUpload" => unknown && last_attempt(request),
            "PutObject" => (tail || probe) && unknown,
            "AbortMultipartUpload" => !slow,
            "DeleteObject" => (tail || probe) && !slow,
            _ => false,
        } {
            self.causes.lost(&request.key);
        }
    }

    /// Has the store carry a request out long after its client has given up.
    fn carry_out_late(&self, request: HttpRequest, next: Next, key: &str) {
        let late = self.model.late(key);
        let key = key.to_owned();
        let model = Arc::clone(&self.model);
        let count = Arc::clone(&self.late);
        count.fetch_add(1, Ordering::SeqCst);
        let (head, mut body) = request.into_parts();
        tokio::spawn(async move {
            let mut bytes = BytesMut::new();
            let mut whole = true;
            while let Some(piece) = body.next().await {
                match piece {
                    Ok(piece) => bytes.extend_from_slice(&piece),
                    Err(_) => whole = false,
                }
                if !whole {
                    break;
                }
            }
            if whole {
                tokio::time::sleep(STALL).await;
                let body = Body::from(bytes.freeze());
                next.run(HttpRequest::from_parts(head, body)).await;
                model.note_request(&key, "carried out late");
            }
            if let Some(late) = &late {
                model.landed(late);
            }
            count.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

impl Interceptor for Chaos {
    fn intercept(
        &self,
        request: HttpRequest,
        next: Next,
    ) -> BoxFuture<'static, Result<HttpResponse, ResetConnection>> {
        let noted = Request::of(&request);
        let chosen = self.choose(&noted);
        let name = chosen.as_ref().map_or("", |(name, _)| name);
        self.causes.request(&noted.operation, &noted.key, name);
        if noted.operation == "CreateMultipartUpload" && attempt(&noted).0 > 1 {
            // A retry means that the attempt before had no answer, or not in time: on a busy
            // machine also without a fault.
            self.causes.lost(&noted.key);
        }
        let Some((name, trouble)) = chosen else {
            return Box::pin(async move { Ok(next.run(request).await) });
        };
        let line = format!("{}: {name}", noted.operation);
        self.model.note_request(&noted.key, &line);
        self.note(name, &trouble, &noted);
        match trouble {
            Trouble::Fault(fault) => Box::pin(async move { perform(fault, request, &next).await }),
            Trouble::Late => {
                self.carry_out_late(request, next, &noted.key);
                Box::pin(async {
                    // Its client gets the answer after the request has been carried out, if it
                    // still waits.
                    tokio::time::sleep(2 * STALL).await;
                    Err(ResetConnection)
                })
            }
            Trouble::Stalled => Box::pin(async {
                tokio::time::sleep(STALL).await;
                Err(ResetConnection)
            }),
            Trouble::Unanswered => Box::pin(async move {
                next.run(request).await;
                tokio::time::sleep(STALL).await;
                Err(ResetConnection)
            }),
        }
    }
}

/// The attempt's number, and the most attempts, as the SDK reports them.
fn attempt(request: &Request) -> (u32, u32) {
    let attempts = request.header("amz-sdk-request").unwrap_or_default();
    let number = |name: &str| {
        let mut fields = attempts.split(';').map(str::trim);
        fields.find_map(|field| field.strip_prefix(name)?.parse().ok())
    };
    (
        number("attempt=").expect("attempt="),
        number("max=").expect("max="),
    )
}

fn last_attempt(request: &Request) -> bool {
    let (attempt, most) = attempt(request);
    attempt >= most
}
