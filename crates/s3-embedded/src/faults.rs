//! Counts the requests that reach a store, and makes it fail on cue.
//!
//! [`Faults`] is an [`Interceptor`]: it names and notes each request, and the first rule that matches
//! decides what happens to it. If no rule matches, the store answers. It serves tests, so it panics
//! if it cannot do what a rule says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests fail by panics"
)]

mod answer;
mod body;
mod request;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use s3s::{HttpRequest, HttpResponse};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{Interceptor, Next, ResetConnection};

pub use answer::perform;
pub use request::Request;

use answer::misbehave;

/// How long a test waits for a rule's hits before it fails.
const DEADLINE: Duration = Duration::from_secs(60);

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This status with this S3 error code. The request's body is read, and the store does not see
    /// it.
    Status(u16, &'static str),
    /// 200 with an S3 error in the body, as S3 answers long copies and completes that fail. The
    /// store does not see the request.
    ErrorIn200(&'static str),
    /// The connection is reset before anything is read of the body.
    ResetBeforeHandling,
    /// The store handles it, then the connection is reset instead of an answer.
    LoseAnswer,
    /// The connection is reset when this many bytes of the request's body have been read.
    CutRequest(u64),
    /// The store reads no more of the request's body after this many bytes, until [`Rule::release`].
    StallRequest(u64),
    /// The first byte of the request's body is corrupted before it reaches the store.
    CorruptRequest,
    /// The answer's body ends after this many bytes, all of which arrive (the connection is closed).
    CutBody(u64),
    /// The connection is reset after this many bytes of the answer's body. The last of them may be
    /// lost.
    ResetBody(u64),
    /// The answer's body stops after this many bytes until [`Rule::release`].
    StallBody(u64),
    /// The first byte of the answer's body is corrupted.
    CorruptBody,
    /// Held until [`Rule::release`], then handled.
    Stall,
    /// Handled, and the answer held until [`Rule::release`].
    StallAnswer,
    /// Handled after [`Rule::release`]. Until then 200 and white space are sent, as AWS answers
    /// long copies.
    WhiteSpace,
    /// Handled after this time.
    Delay(Duration),
    /// This answer, which S3 did not write. The request's body is read, and the store does not see
    /// it.
    Foreign(Answer),
    /// The store handles the request, and this answer replaces its own.
    ForeignAfter(Answer),
    /// The store handles the request, and its whole answer is edited.
    Edit(fn(&mut http::response::Parts, &mut Vec<u8>)),
    /// The store handles the request, and the body of its answer ends after this many bytes. Its
    /// Content-Length agrees.
    Shorten(usize),
    /// ListObjectsV2 reports this number of objects under its prefix. The store does not see the
    /// request.
    Keys(u64),
}

/// An answer that S3 did not write.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Its headers.
    pub headers: &'static [(&'static str, &'static str)],
    /// Its body.
    pub body: &'static str,
}

impl Answer {
    /// What an ingress without a backend answers.
    pub const fn page(status: u16) -> Answer {
        Answer {
            status,
            headers: &[("content-type", "text/html")],
            body: "<html><body>default backend</body></html>",
        }
    }

    /// A status and nothing else.
    pub const fn empty(status: u16) -> Answer {
        Answer {
            status,
            headers: &[],
            body: "",
        }
    }
}

/// The rules, and the requests so far.
#[derive(Default)]
pub struct Faults {
    rules: Mutex<Vec<Arc<RuleState>>>,
    log: Arc<Log>,
    identified: AtomicBool,
}

#[derive(Default)]
struct Log {
    requests: Mutex<Vec<Request>>,
    finished: Mutex<HashMap<String, usize>>,
    /// Changes each time a request is finished.
    progress: watch::Sender<u64>,
}

struct RuleState {
    operation: String,
    key: String,
    skip: usize,
    times: AtomicUsize,
    fault: Fault,
    seen: AtomicUsize,
    hits: watch::Sender<usize>,
    released: CancellationToken,
}

impl Fault {
    /// Whether the answer is one that S3 did not write.
    fn is_foreign(&self) -> bool {
        matches!(self, Fault::Foreign(_) | Fault::ForeignAfter(_))
    }
}

/// A rule before its fault is named:
/// `store.fail("UploadPart").key("x").nth(2).with(Fault::LoseAnswer)`.
#[must_use]
pub struct RuleBuilder<'a> {
    faults: &'a Faults,
    operation: String,
    key: String,
    skip: usize,
    times: usize,
}

impl RuleBuilder<'_> {
    /// For this many requests; 1 if not called.
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// For all requests from then on.
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// Begins with the n-th request that matches, counted from 1 and from now.
    pub fn nth(mut self, nth: usize) -> Self {
        self.skip = nth - 1;
        self
    }

    /// Only for keys that contain this.
    pub fn key(mut self, part: &str) -> Self {
        part.clone_into(&mut self.key);
        self
    }

    /// Sets the rule. It stays in force until it has hit as often as it says, even if the [`Rule`]
    /// is dropped.
    pub fn with(self, fault: Fault) -> Rule {
        let state = Arc::new(RuleState {
            operation: self.operation,
            key: self.key,
            skip: self.skip,
            times: AtomicUsize::new(self.times),
            fault,
            seen: AtomicUsize::new(0),
            hits: watch::Sender::new(0),
            released: CancellationToken::new(),
        });
        self.faults.rules.lock().unwrap().push(Arc::clone(&state));
        Rule(state)
    }
}

/// A rule that has been set.
pub struct Rule(Arc<RuleState>);

impl Rule {
    /// Waits until the rule has hit a request.
    pub async fn hit(&self) {
        self.hit_times(1).await;
    }

    /// Waits until the rule has hit this many requests.
    pub async fn hit_times(&self, times: usize) {
        let mut hits = self.0.hits.subscribe();
        let hit = tokio::time::timeout(DEADLINE, hits.wait_for(|hits| *hits >= times)).await;
        if hit.is_err() {
            let (operation, fault) = (&self.0.operation, &self.0.fault);
            panic!("no {times} hits of {operation} {fault:?} within {DEADLINE:?}");
        }
    }

    /// Requests hit so far.
    pub fn hits(&self) -> usize {
        *self.0.hits.borrow()
    }

    /// Releases what the rule holds, now and later.
    pub fn release(&self) {
        self.0.released.cancel();
    }

    /// Ends the rule, and releases what it holds.
    pub fn remove(&self) {
        self.0.times.store(0, Ordering::SeqCst);
        self.release();
    }
}

impl RuleState {
    /// Whether the rule hits this request.
    fn hits(&self, request: &Request) -> bool {
        let fits = (self.operation == "*" || self.operation == request.operation)
            && request.key.contains(&self.key);
        if !fits || self.seen.fetch_add(1, Ordering::SeqCst) < self.skip {
            return false;
        }
        let took = self
            .times
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        if took.is_ok() {
            self.hits.send_modify(|hits| *hits += 1);
        }
        took.is_ok()
    }
}

impl Faults {
    /// Begins a rule for an operation; `*` for all.
    pub fn fail(&self, operation: &str) -> RuleBuilder<'_> {
        RuleBuilder {
            faults: self,
            operation: operation.to_owned(),
            key: String::new(),
            skip: 0,
            times: 1,
        }
    }

    /// Gives each answer a request id from now on, as AWS and MinIO do.
    pub fn identify(&self) {
        self.identified.store(true, Ordering::SeqCst);
    }

    /// The requests so far, in the order of their arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.log.requests.lock().unwrap().clone()
    }

    /// Finished requests of an operation.
    pub fn finished(&self, operation: &str) -> usize {
        let finished = self.log.finished.lock().unwrap();
        finished.get(operation).copied().unwrap_or(0)
    }

    /// Forgets the requests so far.
    pub fn reset_counts(&self) {
        self.log.requests.lock().unwrap().clear();
        self.log.finished.lock().unwrap().clear();
    }

    /// Changes each time a request is finished.
    pub fn progress(&self) -> watch::Receiver<u64> {
        self.log.progress.subscribe()
    }
}

impl Interceptor for Faults {
    fn intercept(
        &self,
        request: HttpRequest,
        next: Next,
    ) -> BoxFuture<'static, Result<HttpResponse, ResetConnection>> {
        let noted = Request::of(&request);
        let finish = Finish {
            operation: noted.operation.clone(),
            log: Arc::clone(&self.log),
        };
        let rules = self.rules.lock().unwrap();
        let rule = rules.iter().find(|rule| rule.hits(&noted)).cloned();
        self.log.requests.lock().unwrap().push(noted);
        let identified = self.identified.load(Ordering::SeqCst);
        Box::pin(async move {
            let foreign = rule.as_ref().is_some_and(|rule| rule.fault.is_foreign());
            let mut answer = match rule {
                None => Ok(next.run(request).await),
                Some(rule) => misbehave(&rule, request, &next).await,
            };
            if let (true, false, Ok(answer)) = (identified, foreign, &mut answer) {
                let id = http::HeaderValue::from_static("17A4F3B2C1D0E9F8");
                answer.headers_mut().insert("x-amz-request-id", id);
            }
            drop(finish);
            answer
        })
    }
}

/// Notes that a request is finished, even if its client left before the answer.
struct Finish {
    operation: String,
    log: Arc<Log>,
}

impl Drop for Finish {
    fn drop(&mut self) {
        let mut finished = self.log.finished.lock().unwrap();
        *finished
            .entry(std::mem::take(&mut self.operation))
            .or_default() += 1;
        drop(finished);
        self.log.progress.send_modify(|count| *count += 1);
    }
}
