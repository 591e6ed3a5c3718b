//! Requests with a body are bounded by its progress, not by a time for the whole.
//!
//! The time of a part depends on the line: eight of 8 MiB that share 10 Mbit/s take a minute, and
//! cutting and repeating them only adds to the load of the line. So this module wraps the SDK's
//! HTTP client. A request with a read timeout (only [`Store::deadline_for_body`](super::Store) sets
//! one) passes its body on in small slices, and times out if the connection has accepted none for
//! that time. After the last slice the kernel may still hold some bytes: the answer may take as
//! long again as the body has, and at least 1 s for each MiB.
//!
//! It costs a clock reading for each slice, and a timer that is set again when it fires, not at
//! each slice.
//!
//! The body of the answer may pause for the same time. A store that copies or completes a large
//! object says 200 at once and sends white space until it is done (AWS, MinIO): each piece of it is
//! progress.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_sdk_s3::config::{ConfigBag, HttpClient, RuntimeComponents, SharedHttpClient};
use aws_sdk_s3::error::ConnectorError;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// What is handed over at once, bytes. hyper takes 16 of them, and the next when all of these are
/// written: on a slow line that must not take as long as a stall.
const SLICE: usize = 16 * 1024;

const MIB: u64 = 1024 * 1024;

/// An HTTP client that watches the bodies of requests which ask for it by a read timeout.
pub(super) fn watching(client: SharedHttpClient) -> SharedHttpClient {
    SharedHttpClient::new(Watching(client))
}

#[derive(Debug)]
struct Watching(SharedHttpClient);

impl HttpClient for Watching {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let Some(stall) = settings.read_timeout() else {
            return self.0.http_connector(settings, components);
        };
        // One pool of connections, whatever the timeouts are.
        let mut own = HttpConnectorSettings::builder();
        own.set_connect_timeout(settings.connect_timeout());
        SharedHttpConnector::new(Watched {
            connector: self.0.http_connector(&own.build(), components),
            stall,
        })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        HttpClient::validate_base_client_config(&self.0, components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        HttpClient::validate_final_config(&self.0, components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.0.connector_metadata()
    }
}

/// Makes one attempt of a request.
#[derive(Debug)]
struct Watched {
    connector: SharedHttpConnector,
    stall: Duration,
}

impl HttpConnector for Watched {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let size = request.body().content_length().unwrap_or_default();
        let progress = Arc::new(BodyProgress {
            begun: Instant::now(),
            last: AtomicU64::new(0),
            all: AtomicBool::new(size == 0),
            stall: self.stall,
            least: Duration::from_secs(size / MIB),
        });
        let body = std::mem::replace(request.body_mut(), SdkBody::taken());
        *request.body_mut() = SdkBody::from_body_1_x(Sliced {
            body,
            rest: Bytes::new(),
            progress: Arc::clone(&progress),
        });
        let mut answer = self.connector.call(request);
        let stall = self.stall;
        HttpConnectorFuture::new(async move {
            loop {
                let deadline = progress.deadline();
                tokio::select! {
                    biased;
                    answer = &mut answer => return answer.map(|answer| paced(answer, stall)),
                    // It may have moved on meanwhile.
                    () = sleep_until(deadline) => if progress.deadline() <= Instant::now() {
                        let text = "the store takes no more of the request, or does not answer it";
                        return Err(ConnectorError::timeout(text.into()));
                    }
                }
            }
        })
    }
}

/// How far the body of an attempt has come.
#[derive(Debug)]
struct BodyProgress {
    begun: Instant,
    /// When the connection took the last slice, milliseconds after that.
    last: AtomicU64,
    /// Whether it has taken all of them.
    all: AtomicBool,
    /// Time limit for the next slice.
    stall: Duration,
    /// Additional time for the answer, at least.
    least: Duration,
}

impl BodyProgress {
    fn taken(&self, all: bool) {
        let passed = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(passed, Ordering::Relaxed);
        if all {
            self.all.store(true, Ordering::Relaxed);
        }
    }

    /// When it has stalled, should nothing more happen.
    fn deadline(&self) -> Instant {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        let more = match self.all.load(Ordering::Relaxed) {
            true => last.max(self.least),
            false => Duration::ZERO,
        };
        self.begun + last + self.stall + more
    }
}

/// A body in slices, each of which reports when it is accepted.
struct Sliced {
    body: SdkBody,
    rest: Bytes,
    progress: Arc<BodyProgress>,
}

impl Body for Sliced {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let slice = this.rest.split_to(SLICE.min(this.rest.len()));
        this.progress.taken(this.is_end_stream());
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        let (after, rest) = (Body::size_hint(&self.body), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        if let Some(upper) = after.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(after.lower() + rest);
        hint
    }
}

/// An answer whose body ends by an error when no piece of it comes for that time.
fn paced(mut answer: HttpResponse, stall: Duration) -> HttpResponse {
    let body = std::mem::replace(answer.body_mut(), SdkBody::taken());
    *answer.body_mut() = SdkBody::from_body_1_x(Paced {
        body,
        stall,
        pause: None,
    });
    answer
}

/// A body that may pause for a limited time.
struct Paced {
    body: SdkBody,
    stall: Duration,
    /// Runs while no piece comes.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Body for Paced {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(context) {
            this.pause = None;
            return Poll::Ready(frame);
        }
        let stall = this.stall;
        let pause = this.pause.get_or_insert_with(|| Box::pin(sleep(stall)));
        ready!(pause.as_mut().poll(context));
        this.pause = None;
        Poll::Ready(Some(Err("the answer does not move any more".into())))
    }

    fn is_end_stream(&self) -> bool {
        Body::is_end_stream(&self.body)
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&self.body)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;

    use aws_sdk_s3::primitives::ByteStream;
    use futures::stream::{BoxStream, StreamExt};

    use super::*;

    fn progress(all: bool) -> BodyProgress {
        BodyProgress {
            begun: Instant::now(),
            last: AtomicU64::new(0),
            all: AtomicBool::new(all),
            stall: Duration::from_secs(10),
            least: Duration::from_secs(5),
        }
    }

    #[test]
    fn what_moves_has_longer() {
        let moves = progress(false);
        let deadline = |progress: &BodyProgress| progress.deadline() - progress.begun;
        assert_eq!(deadline(&moves), Duration::from_secs(10));
        moves.last.store(60_000, Ordering::Relaxed);
        assert_eq!(deadline(&moves), Duration::from_secs(70));
        // The answer may take as long again as the body has.
        moves.all.store(true, Ordering::Relaxed);
        assert_eq!(deadline(&moves), Duration::from_secs(130));
        assert_eq!(deadline(&progress(true)), Duration::from_secs(15));
    }

    /// Accepts this number of slices, and no more.
    #[derive(Debug)]
    struct TakesSlices(usize);

    impl HttpConnector for TakesSlices {
        fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
            let slices = self.0;
            HttpConnectorFuture::new(async move {
                let mut body = request.into_body();
                for _ in 0..slices {
                    assert_eq!(next(&mut body).await.len(), SLICE);
                }
                std::future::pending().await
            })
        }
    }

    async fn next(body: &mut (impl Body<Data = Bytes, Error = BoxError> + Unpin)) -> Bytes {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        frame.unwrap().unwrap().into_data().unwrap()
    }

    #[tokio::test]
    async fn a_request_that_does_not_move_ends_by_a_timeout() {
        for slices in [0, 2, 3] {
            let watched = Watched {
                connector: SharedHttpConnector::new(TakesSlices(slices)),
                stall: Duration::from_millis(50),
            };
            let body = SdkBody::from(vec![7; 3 * SLICE]);
            let begun = Instant::now();
            let error = watched.call(HttpRequest::new(body)).await.unwrap_err();
            assert!(error.is_timeout() && begun.elapsed() >= watched.stall);
        }
    }

    #[tokio::test]
    async fn a_sliced_body_tells_its_length_and_its_end() {
        let bytes: Vec<u8> = (0..2 * SLICE + 1).map(|n| (n / 3) as u8).collect();
        let progress = Arc::new(progress(false));
        let mut body = Sliced {
            body: SdkBody::from(bytes.clone()),
            rest: Bytes::new(),
            progress: Arc::clone(&progress),
        };
        let mut taken = Vec::new();
        while !body.is_end_stream() {
            assert!(!progress.all.load(Ordering::Relaxed));
            let left = bytes.len() - taken.len();
            assert_eq!(body.size_hint().exact(), Some(left as u64));
            let slice = next(&mut body).await;
            assert_eq!(slice.len(), left.min(SLICE));
            taken.extend_from_slice(&slice);
        }
        assert!(taken == bytes && progress.all.load(Ordering::Relaxed));
        assert_eq!(body.size_hint().exact(), Some(0));
    }

    /// Sends a piece after each pause.
    fn trickle(pauses: Vec<Duration>) -> SdkBody {
        let pieces = futures::stream::iter(pauses).then(|pause| async move {
            sleep(pause).await;
            Ok::<_, BoxError>(Frame::data(Bytes::from_static(b" ")))
        });
        SdkBody::from_body_1_x(StreamBody(Mutex::new(pieces.boxed())))
    }

    type Frames = BoxStream<'static, Result<Frame<Bytes>, BoxError>>;

    /// A stream as a body; the lock makes it `Sync`.
    struct StreamBody(Mutex<Frames>);

    impl Body for StreamBody {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            self.0.get_mut().unwrap().poll_next_unpin(context)
        }
    }

    #[tokio::test]
    async fn white_space_is_progress_and_silence_is_not() {
        let step = Duration::from_millis(10);
        let answer = |pauses| {
            let body = trickle(pauses);
            let answer = HttpResponse::new(200.try_into().unwrap(), body);
            ByteStream::new(paced(answer, 20 * step).into_body()).collect()
        };
        // Twice as long as it may be silent.
        let moving = answer(vec![step; 40]).await.unwrap();
        assert_eq!(moving.into_bytes().len(), 40);
        let begun = Instant::now();
        assert!(answer(vec![step, 1000 * step]).await.is_err());
        assert!(begun.elapsed() >= 21 * step);
    }
}
