//! [`RangeReader`]: one range of an object. It repeats the GET if the body breaks off or stalls.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

use crate::object::attributes::{CustomerKey, with_key};
use crate::object::backoff::Backoff;
use crate::object::error::{NotS3, ObjectError, failure};
use crate::object::head::{OTHER_RANGE, starts_at, total_size};
use crate::object::location::Location;
use crate::object::retry::Attempts;

/// After a body that broke off.
const PAUSES: Backoff =
    Backoff::doubling(Duration::from_millis(100)).at_most(Duration::from_millis(6_400));

/// The one version of an object that all its ranges are of.
#[derive(Debug)]
pub(super) struct PinnedObject {
    /// The object.
    pub(super) location: Location,
    /// Its ETag, with quotes; empty if the store gives none.
    pub(super) etag: String,
    /// Its size, bytes.
    pub(super) size: u64,
    /// The customer's key that it is encrypted with.
    pub(super) key: Option<CustomerKey>,
}

/// Reads a range. Cancel safe: what is under way is kept in it.
pub(super) struct RangeReader {
    source: Arc<PinnedObject>,
    /// The next byte.
    position: u64,
    /// The range's end, exclusive.
    end: u64,
    state: ReadState,
    /// Breaks since the last byte.
    breaks: u32,
    /// When the body is late.
    late: Option<Instant>,
}

enum ReadState {
    /// No request is running; the next one waits for this time.
    Idle(Duration),
    Opening(BoxFuture<'static, Result<Body, ObjectError>>),
    Streaming(Body),
}

struct Body {
    stream: ByteStream,
    /// Bytes that come before those asked for: the store has ignored the range.
    skip: u64,
}

impl std::fmt::Debug for RangeReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RangeReader")
            .field("position", &self.position)
            .field("end", &self.end)
            .field("breaks", &self.breaks)
            .finish_non_exhaustive()
    }
}

impl RangeReader {
    /// A range that is yet to be asked for.
    pub(super) fn new(source: Arc<PinnedObject>, first: u64, end: u64) -> Self {
        RangeReader {
            source,
            position: first,
            end,
            state: ReadState::Idle(Duration::ZERO),
            breaks: 0,
            late: None,
        }
    }

    /// A range whose body is there; `skip` bytes of it come before the range.
    pub(super) fn streaming(
        source: Arc<PinnedObject>,
        first: u64,
        end: u64,
        stream: ByteStream,
        skip: u64,
    ) -> Self {
        let mut reader = RangeReader::new(source, first, end);
        reader.state = ReadState::Streaming(Body { stream, skip });
        reader
    }

    /// The next bytes, `None` at the range's end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ObjectError> {
        loop {
            if self.position == self.end {
                return Ok(None);
            }
            match &mut self.state {
                ReadState::Idle(pause) => {
                    let (source, pause) = (Arc::clone(&self.source), *pause);
                    let (first, end) = (self.position, self.end);
                    let attempts = (self.breaks > 0).then(|| Attempts::after(self.breaks));
                    self.state = ReadState::Opening(Box::pin(async move {
                        sleep(pause).await;
                        open(&source, first, end, attempts).await
                    }));
                }
                ReadState::Opening(opening) => match opening.await {
                    Ok(body) => self.state = ReadState::Streaming(body),
                    Err(error) => {
                        // Not to be polled again once it has ended.
                        self.state = ReadState::Idle(Duration::ZERO);
                        return Err(error);
                    }
                },
                ReadState::Streaming(body) => {
                    let timeout = self.source.location.store.config().request_timeout;
                    let late = *self.late.get_or_insert_with(|| Instant::now() + timeout);
                    let read = timeout_at(late, body.stream.next()).await;
                    self.late = None;
                    match read {
                        Ok(Some(Ok(chunk))) => {
                            if let Some(chunk) = self.take(chunk) {
                                return Ok(Some(chunk));
                            }
                        }
                        Ok(Some(Err(error))) => {
                            self.broken(ObjectError::Unavailable(error.to_string()))?;
                        }
                        Ok(None) => {
                            let text = "the answer ended too early".to_owned();
                            self.broken(ObjectError::Unavailable(text))?;
                        }
                        Err(_) => self.broken(ObjectError::Timeout)?,
                    }
                }
            }
        }
    }

    /// What of a chunk belongs to the range.
    fn take(&mut self, mut chunk: Bytes) -> Option<Bytes> {
        if let ReadState::Streaming(body) = &mut self.state
            && body.skip > 0
        {
            let skipped = body.skip.min(chunk.len() as u64);
            body.skip -= skipped;
            chunk = chunk.slice(usize::try_from(skipped).unwrap_or(usize::MAX)..);
        }
        let rest = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        chunk.truncate(rest);
        if chunk.is_empty() {
            return None;
        }
        self.breaks = 0;
        self.position += chunk.len() as u64;
        Some(chunk)
    }

    /// The body broke off: the rest is asked for again after a while, unless it has been so too
    /// often.
    fn broken(&mut self, error: ObjectError) -> Result<(), ObjectError> {
        self.breaks += 1;
        let location = &self.source.location;
        debug!(key = location.key, position = self.position, breaks = self.breaks, %error,
            "a body broke off");
        if self.breaks >= location.store.config().attempts.max(2) {
            return Err(error);
        }
        self.state = ReadState::Idle(PAUSES.after(self.breaks));
        Ok(())
    }
}

/// GetObject of `first..end`, of the version we know. `attempts`: those before, if there were any.
async fn open(
    source: &PinnedObject,
    first: u64,
    end: u64,
    attempts: Option<Attempts>,
) -> Result<Body, ObjectError> {
    let location = &source.location;
    let request = location
        .store
        .client()
        .get_object()
        .bucket(&*location.bucket)
        .key(&location.key)
        .range(format!("bytes={first}-{}", end - 1))
        .set_if_match((!source.etag.is_empty()).then(|| source.etag.clone()));
    let request = with_key!(request, source.key.as_ref());
    let answer = match attempts {
        None => Box::pin(request.send()).await,
        Some(attempts) => Box::pin(request.customize().interceptor(attempts).send()).await,
    };
    let output = match answer.map_err(failure) {
        Ok(output) => output,
        // Overwritten, deleted, or shorter than it was.
        Err(failure) if matches!(failure.status, Some(404 | 412 | 416)) => {
            return Err(ObjectError::Changed);
        }
        Err(failure) => return Err(failure.error),
    };
    // Not every store honours If-Match.
    let size = total_size(output.content_range(), output.content_length())?;
    if output.e_tag().unwrap_or_default() != source.etag || size != source.size {
        return Err(ObjectError::Changed);
    }
    let skip = match output.content_range() {
        None => first,
        Some(range) if starts_at(range, first) => 0,
        Some(_) => return Err(NotS3::result(206, OTHER_RANGE)),
    };
    Ok(Body {
        stream: output.body,
        skip,
    })
}
