//! Counts the requests that reach a store, and makes it fail on cue.
//!
//! It stands between the wire and the store ([`Interceptor`]): each request is named and noted, then the first rule
//! that fits it decides what happens; without one the store answers.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use s3_embedded::{Interceptor, Next, ResetConnection};
use s3s::{Body, HttpRequest, HttpResponse, StdError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::operation::Request;
use super::within;

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This status with this S3 error code; the request's body is read, the store does not see it.
    Status(u16, &'static str),
    /// 200 with an S3 error in the body, as S3 answers long copies and completes that fail; the store does not see it.
    ErrorIn200(&'static str),
    /// The connection is reset before anything is read of the body.
    ResetBeforeHandling,
    /// The store handles it, then the connection is reset instead of an answer.
    LoseAnswer,
    /// The connection is reset when this many bytes of the request's body have been read.
    CutRequest(u64),
    /// The store reads no more of the request's body after this many bytes, until [`Rule::release`].
    StallRequest(u64),
    /// The first byte of the request's body arrives at the store wrong.
    CorruptRequest,
    /// The answer's body ends after this many bytes, all of which arrive (the connection is closed).
    CutBody(u64),
    /// The connection is reset after this many bytes of the answer's body; the last of them may be lost on the way.
    ResetBody(u64),
    /// The answer's body stops after this many bytes until [`Rule::release`].
    StallBody(u64),
    /// The first byte of the answer's body is wrong.
    CorruptBody,
    /// Held until [`Rule::release`], then handled.
    Stall,
    /// Handled, and the answer held until [`Rule::release`].
    StallAnswer,
    /// Handled when [`Rule::release`] comes. Until then 200 and white space come, as AWS answers long copies.
    WhiteSpace,
    /// Handled after a while.
    Delay(Duration),
    /// This answer, which S3 did not write; the request's body is read, the store does not see it.
    Foreign(Answer),
    /// The store handles the request, and this answer takes the place of its own.
    ForeignAfter(Answer),
    /// The store handles the request, and its whole answer is edited.
    Edit(fn(&mut http::response::Parts, &mut Vec<u8>)),
    /// The store handles the request, and the body of its answer ends after this many bytes, by a Content-Length that
    /// agrees.
    Shorten(usize),
    /// ListObjectsV2 tells of so many objects under its prefix; the store does not see it.
    Keys(u64),
}

/// An answer that S3 did not write.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    pub status: u16,
    pub headers: &'static [(&'static str, &'static str)],
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
    /// Changes with each request that is finished.
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
    /// Whether the answer is to be one that S3 did not write.
    fn is_foreign(&self) -> bool {
        matches!(self, Fault::Foreign(_) | Fault::ForeignAfter(_))
    }
}

/// A rule in the making: `store.fail("UploadPart").key("x").nth(2).with(Fault::LoseAnswer)`.
#[must_use]
pub struct RuleBuilder<'a> {
    faults: &'a Faults,
    operation: String,
    key: String,
    skip: usize,
    times: usize,
}

impl RuleBuilder<'_> {
    /// For this many requests; 1 if not said.
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// For all requests from then on.
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// From the n-th request that fits on, counted from 1 and from now.
    pub fn nth(mut self, nth: usize) -> Self {
        self.skip = nth - 1;
        self
    }

    /// Only for keys that contain this.
    pub fn key(mut self, part: &str) -> Self {
        part.clone_into(&mut self.key);
        self
    }

    /// Sets the rule. It holds until it has had its hits, also when the [`Rule`] is dropped.
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
        let what = format!("{times} hits of {} {:?}", self.0.operation, self.0.fault);
        within(&what, hits.wait_for(|hits| *hits >= times))
            .await
            .unwrap();
    }

    /// Requests hit so far.
    pub fn hits(&self) -> usize {
        *self.0.hits.borrow()
    }

    /// Lets go what the rule holds, now and from now on.
    pub fn release(&self) {
        self.0.released.cancel();
    }

    /// Ends the rule, and lets go what it holds.
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

    /// From now on each answer of the store has a request id, as AWS's and MinIO's have.
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

/// Notes that a request has been finished, also when its client went away in the middle.
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

/// Makes one request go wrong; for those who choose by themselves which. What is held is let go by nobody.
#[allow(dead_code)] // The campaign uses it, the tests do not.
pub async fn perform(
    fault: Fault,
    request: HttpRequest,
    next: &Next,
) -> Result<HttpResponse, ResetConnection> {
    let rule = RuleState {
        operation: String::new(),
        key: String::new(),
        skip: 0,
        times: AtomicUsize::new(1),
        fault,
        seen: AtomicUsize::new(0),
        hits: watch::Sender::new(0),
        released: CancellationToken::new(),
    };
    misbehave(&rule, request, next).await
}

async fn misbehave(
    rule: &RuleState,
    request: HttpRequest,
    next: &Next,
) -> Result<HttpResponse, ResetConnection> {
    let shape = |response: HttpResponse, shape: Shape| {
        response.map(|body| shaped(body, shape, next.clone(), rule.released.clone()))
    };
    match rule.fault {
        Fault::Status(status, code) => {
            drain(request.into_body()).await;
            Ok(error_response(status, code))
        }
        Fault::ErrorIn200(code) => {
            drain(request.into_body()).await;
            Ok(error_response(200, code))
        }
        Fault::ResetBeforeHandling => Err(ResetConnection),
        Fault::LoseAnswer => {
            next.run(request).await;
            Err(ResetConnection)
        }
        Fault::CutRequest(bytes) => {
            let mut body = request.into_body();
            let mut read = 0;
            while read < bytes {
                match body.next().await {
                    Some(Ok(piece)) => read += piece.len() as u64,
                    _ => break,
                }
            }
            Err(ResetConnection)
        }
        Fault::StallRequest(bytes) => {
            let released = rule.released.clone();
            let stall = |body| shaped(body, Shape::Stall(bytes), next.clone(), released);
            Ok(next.run(request.map(stall)).await)
        }
        Fault::CorruptRequest => {
            let corrupt = |body| shaped(body, Shape::Corrupt, next.clone(), rule.released.clone());
            Ok(next.run(request.map(corrupt)).await)
        }
        Fault::CutBody(bytes) => Ok(shape(next.run(request).await, Shape::Cut(bytes))),
        Fault::ResetBody(bytes) => Ok(shape(next.run(request).await, Shape::Reset(bytes))),
        Fault::StallBody(bytes) => Ok(shape(next.run(request).await, Shape::Stall(bytes))),
        Fault::CorruptBody => Ok(shape(next.run(request).await, Shape::Corrupt)),
        Fault::Stall => {
            rule.released.cancelled().await;
            Ok(next.run(request).await)
        }
        Fault::StallAnswer => {
            let answer = next.run(request).await;
            rule.released.cancelled().await;
            Ok(answer)
        }
        Fault::WhiteSpace => Ok(white_space(request, next, rule.released.clone())),
        Fault::Delay(time) => {
            tokio::time::sleep(time).await;
            Ok(next.run(request).await)
        }
        Fault::Foreign(answer) => {
            drain(request.into_body()).await;
            Ok(foreign(answer))
        }
        Fault::ForeignAfter(answer) => {
            next.run(request).await;
            Ok(foreign(answer))
        }
        Fault::Edit(edit) => Ok(edited(next.run(request).await, edit).await),
        Fault::Shorten(bytes) => {
            let shorten = |_: &mut _, body: &mut Vec<u8>| body.truncate(bytes);
            Ok(edited(next.run(request).await, shorten).await)
        }
        Fault::Keys(keys) => Ok(xml(made_up_page(&Request::of(&request), keys))),
    }
}

/// How often white space comes.
const WHITE_SPACE: Duration = Duration::from_millis(20);

fn white_space(request: HttpRequest, next: &Next, released: CancellationToken) -> HttpResponse {
    const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
    let spaces = futures::stream::unfold(released.clone(), |released| async move {
        tokio::select! {
            biased;
            () = released.cancelled() => None,
            () = tokio::time::sleep(WHITE_SPACE) => Some((Ok(Bytes::from_static(b" ")), released)),
        }
    });
    let next = next.clone();
    let end = futures::stream::once(async move {
        let mut body = next.run(request).await.into_body();
        let mut text = Vec::new();
        while let Some(Ok(piece)) = body.next().await {
            text.extend_from_slice(&piece);
        }
        let text = String::from_utf8(text).unwrap();
        Ok(Bytes::from(text.replace(DECLARATION, "")))
    });
    let begin = futures::stream::once(async { Ok(Bytes::from_static(DECLARATION.as_bytes())) });
    let pieces = begin.chain(spaces).chain(end);
    let mut response = xml(String::new());
    *response.body_mut() = Body::http_body_unsync(StreamBody(pieces.boxed()));
    response
}

async fn drain(mut body: Body) {
    while let Some(Ok(_)) = body.next().await {}
}

fn foreign(answer: Answer) -> HttpResponse {
    let mut response = HttpResponse::new(Body::from(answer.body.to_owned()));
    *response.status_mut() = http::StatusCode::from_u16(answer.status).unwrap();
    for (name, value) in answer.headers {
        let value = http::HeaderValue::from_static(value);
        response.headers_mut().insert(*name, value);
    }
    response
}

/// An answer whose body has been read and edited; its length is that of the new body.
async fn edited(
    answer: HttpResponse,
    edit: impl FnOnce(&mut http::response::Parts, &mut Vec<u8>),
) -> HttpResponse {
    let (mut parts, mut body) = answer.into_parts();
    let mut bytes = Vec::new();
    while let Some(Ok(piece)) = body.next().await {
        bytes.extend_from_slice(&piece);
    }
    parts.headers.remove("content-length");
    edit(&mut parts, &mut bytes);
    HttpResponse::from_parts(parts, Body::from(bytes))
}

fn error_response(status: u16, code: &str) -> HttpResponse {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>on cue</Message><RequestId>test</RequestId></Error>"
    );
    let mut response = xml(text);
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    response
}

fn xml(text: String) -> HttpResponse {
    let mut response = HttpResponse::new(Body::from(text));
    let xml = http::HeaderValue::from_static("application/xml");
    response.headers_mut().insert("content-type", xml);
    response
}

/// A page of a listing of so many objects under the request's prefix. Its token is the number of the next one.
fn made_up_page(request: &Request, keys: u64) -> String {
    let number = |name| request.parameter(name).and_then(|text| text.parse().ok());
    let first: u64 = number("continuation-token").unwrap_or(0);
    let most = number("max-keys").unwrap_or(1000).min(1000);
    let end = keys.min(first + most);
    // In the query and, with `encoding-type=url`, in the answer it is percent-encoded.
    let prefix = request.parameter("prefix").unwrap_or_default();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult><Name>{}</Name><Prefix>{prefix}</Prefix>\
         <EncodingType>url</EncodingType><MaxKeys>{most}</MaxKeys><KeyCount>{}</KeyCount>\
         <IsTruncated>{}</IsTruncated>",
        request.bucket,
        end - first,
        end < keys,
    );
    if end < keys {
        text += &format!("<NextContinuationToken>{end}</NextContinuationToken>");
    }
    for number in first..end {
        text += &format!(
            "<Contents><Key>{prefix}{number:07}</Key><LastModified>2026-11-01T00:00:00.000Z</LastModified>\
             <ETag>&quot;0&quot;</ETag><Size>{number}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        );
    }
    text + "</ListBucketResult>"
}

/// What happens to a body on its way.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Cut(u64),
    Reset(u64),
    Stall(u64),
    Corrupt,
}

/// A body that takes a shape. Its length is told by the headers, which stay as they were.
fn shaped(body: Body, shape: Shape, next: Next, released: CancellationToken) -> Body {
    let limit = match shape {
        Shape::Cut(bytes) | Shape::Reset(bytes) | Shape::Stall(bytes) => bytes,
        Shape::Corrupt => 0,
    };
    let state = Shaped {
        body,
        left: limit,
        rest: Bytes::new(),
        at_limit: false,
    };
    let pieces = futures::stream::unfold(Some(state), move |state| {
        let (next, released) = (next.clone(), released.clone());
        async move {
            let mut state = state?;
            if !state.at_limit {
                if let Some(piece) = state.before_limit().await {
                    return Some((piece, Some(state)));
                }
                state.at_limit = true;
                match shape {
                    // Let what came before go out first.
                    Shape::Cut(_) => {
                        flushed().await;
                        return Some((Err("cut on cue".into()), None));
                    }
                    Shape::Reset(_) => {
                        flushed().await;
                        next.reset_connection();
                        std::future::pending::<()>().await;
                    }
                    Shape::Stall(_) => {
                        flushed().await;
                        released.cancelled().await;
                    }
                    Shape::Corrupt => {
                        let piece = state.behind_limit().await?;
                        return Some((piece.map(with_first_byte_wrong), Some(state)));
                    }
                }
            }
            let piece = state.behind_limit().await?;
            Some((piece, Some(state)))
        }
    });
    Body::http_body_unsync(StreamBody(pieces.boxed()))
}

struct Shaped {
    body: Body,
    /// Bytes to go until the limit.
    left: u64,
    /// What a piece had beyond the limit.
    rest: Bytes,
    at_limit: bool,
}

impl Shaped {
    /// The next piece before the limit; `None` there, or at the end of the body.
    async fn before_limit(&mut self) -> Option<Result<Bytes, StdError>> {
        if self.left == 0 {
            return None;
        }
        let mut piece = match self.body.next().await? {
            Ok(piece) => piece,
            Err(error) => return Some(Err(error)),
        };
        if piece.len() as u64 > self.left {
            self.rest = piece.split_off(usize::try_from(self.left).unwrap());
        }
        self.left -= piece.len() as u64;
        Some(Ok(piece))
    }

    async fn behind_limit(&mut self) -> Option<Result<Bytes, StdError>> {
        if !self.rest.is_empty() {
            return Some(Ok(std::mem::take(&mut self.rest)));
        }
        self.body.next().await
    }
}

fn with_first_byte_wrong(piece: Bytes) -> Bytes {
    let mut piece = BytesMut::from(piece);
    if let Some(first) = piece.first_mut() {
        *first ^= 1;
    }
    piece.freeze()
}

/// Is pending a few times, in which hyper writes out what it has.
async fn flushed() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

/// A stream of pieces as a body of unknown length.
struct StreamBody(BoxStream<'static, Result<Bytes, StdError>>);

impl http_body::Body for StreamBody {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, StdError>>> {
        let piece = std::task::ready!(Pin::new(&mut self.0).poll_next(context));
        Poll::Ready(piece.map(|piece| piece.map(http_body::Frame::data)))
    }
}
