//! Download: ranged GETs ahead of the reader, pinned to one ETag.
//!
//! The first GET gives size and ETag, and its body goes straight to the reader. In parallel, tasks
//! fetch further ranges into memory of the budget, if some is free at the moment. If not, range
//! follows range without a buffer, so that no task waits for memory while it holds some. How many
//! ranges are ahead follows the reader: whenever it has waited for bytes the window doubles, since
//! then the store is what is slow; a reader that has not waited at all through two whole windows
//! gets a smaller one.

mod range;
mod whole;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::types::ChecksumMode;
use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use crate::memory::{Admission, Grant};
use crate::object::attributes::{CustomerKey, with_key};
use crate::object::connector::READ;
use crate::object::customer_key::read_with_key;
use crate::object::download::range::{PinnedObject, RangeReader};
use crate::object::download::whole::WholeCheck;
use crate::object::error::{NotS3, ObjectError, RequestFailure, failure};
use crate::object::head::{
    Attributes, OTHER_RANGE, ObjectInfo, attributes_of, head, starts_at, timestamp, total_size,
    whole_crc,
};
use crate::object::location::Location;

/// The window doubles after the reader has waited for this number of bytes.
const RAMP: u64 = 128 * 1024;

/// If others wait for memory, a range or a page of a listing returns its memory after this time.
pub const HELD: Duration = Duration::from_secs(10);

/// A download under way. Dropping it ends its requests.
#[derive(Debug)]
pub struct Download {
    source: Arc<PinnedObject>,
    info: ObjectInfo,
    /// The next byte for the reader.
    position: u64,
    /// Where the reader ends: at the object's end, or before.
    stop: u64,
    /// First byte of the next range to ask for.
    next_range: u64,
    /// What the reader reads from.
    current: Option<CurrentRange>,
    /// Ranges after that, in order.
    ahead: VecDeque<Ahead>,
    /// How many ranges may be ahead.
    window: usize,
    /// Bytes the reader waited for since the window was widened.
    waited: u64,
    /// Ranges read since the reader last waited.
    unwaited: usize,
    /// Ranges that may be asked for at once.
    parallel: usize,
    /// The CRC-32 of the whole object, if the first answer had all of it and the store holds one.
    crc: Option<u32>,
    /// Compares what passes with it.
    check: Option<WholeCheck>,
    /// Covers what is streamed through.
    _admission: Option<Admission>,
}

#[derive(Debug)]
enum CurrentRange {
    /// Straight from the store.
    Direct(RangeReader),
    /// From memory.
    Fetched(Ahead),
}

/// A range being fetched ahead, or fetched.
#[derive(Debug)]
struct Ahead {
    chunks: mpsc::UnboundedReceiver<Result<Bytes, ObjectError>>,
    /// Bytes not yet read: what the memory is still needed for.
    rest: u64,
    grant: Grant,
    since: Instant,
    _task: AbortOnDropHandle<()>,
}

impl Download {
    /// Opens the object at `offset` with the first ranged GET; no HEAD. An offset at the object's
    /// end gives an empty download, for which most stores report only the size.
    pub async fn open(
        location: Location,
        admission: Admission,
        offset: u64,
    ) -> Result<Download, ObjectError> {
        Download::start(location, Some(admission), offset, u64::MAX, None).await
    }

    /// The bytes from `offset` to before `stop`, or to the object's end where that comes first.
    pub async fn open_between(
        location: Location,
        admission: Admission,
        offset: u64,
        stop: u64,
    ) -> Result<Download, ObjectError> {
        Download::start(location, Some(admission), offset, stop, None).await
    }

    /// Bytes of a known object, to flow into an upload; [`ObjectError::Changed`] if it is another
    /// object now. The caller's admission covers its memory. It requests one range at a time: with
    /// ranges ahead it would hold memory while the upload waits for memory, and several such
    /// uploads would wait for each other.
    pub(super) async fn open_pinned(
        location: Location,
        info: &ObjectInfo,
        bytes: std::ops::Range<u64>,
    ) -> Result<Download, ObjectError> {
        Download::start(location, None, bytes.start, bytes.end, Some(info)).await
    }

    async fn start(
        location: Location,
        admission: Option<Admission>,
        offset: u64,
        stop: u64,
        pinned: Option<&ObjectInfo>,
    ) -> Result<Download, ObjectError> {
        let range_size = location.store.context().transfer.range_size.max(1);
        let last = offset
            .saturating_add(range_size - 1)
            .min(stop.max(offset.saturating_add(1)) - 1);
        let send = |key: Option<CustomerKey>| {
            let checksum = (offset == 0 && stop == u64::MAX).then_some(ChecksumMode::Enabled);
            let request = location
                .store
                .client()
                .get_object()
                .bucket(&*location.bucket)
                .key(&location.key)
                .range(format!("bytes={offset}-{last}"))
                .set_checksum_mode(checksum)
                .set_if_match(pinned.map(|info| info.etag.clone()));
            let answer = Box::pin(with_key!(request, key.as_ref()).send());
            async move { answer.await.map_err(failure) }
        };
        let (output, key_md5) = match Box::pin(read_with_key(&location, send)).await {
            Ok(answer) => answer,
            Err(failure) if failure.status == Some(416) => {
                return Download::empty(location, admission, offset, failure).await;
            }
            Err(failure) if failure.condition_failed() => return Err(ObjectError::Changed),
            Err(failure) => return Err(failure.error),
        };
        let info = ObjectInfo {
            size: total_size(output.content_range(), output.content_length())?,
            etag: output.e_tag().unwrap_or_default().to_owned(),
            modified: timestamp(output.last_modified()).unwrap_or(Timestamp::UNIX_EPOCH),
            attributes: attributes_of!(output, key_md5),
        };
        if pinned.is_some_and(|pinned| pinned.etag != info.etag) {
            return Err(ObjectError::Changed);
        }
        let size = info.size;
        // A store that ignores the range sends everything: what comes before the offset is skipped,
        // and there is no second range to ask for.
        let (skip, end) = match output.content_range() {
            Some(range) if !starts_at(range, offset) => {
                return Err(NotS3::result(206, OTHER_RANGE));
            }
            Some(_) => (0, size.min(last.saturating_add(1))),
            None => {
                // So does something between that has made a whole of a part: it is as long as the
                // part.
                if (offset > 0 || size == last.saturating_add(1))
                    && !Box::pin(is_all(&location, &info)).await?
                {
                    return Err(NotS3::result(200, OTHER_RANGE));
                }
                (offset, size)
            }
        };
        let crc = match (offset, end == size) {
            (0, true) => whole_crc!(output),
            _ => None,
        };
        if offset > size {
            return Err(ObjectError::OutOfRange { size: Some(size) });
        }
        let stop = stop.clamp(offset, size);
        let end = end.min(stop);
        let parallel = match pinned {
            Some(_) => 1,
            None => location.store.context().transfer.download_parallel,
        };
        let source = Arc::new(PinnedObject {
            key: location.key_of(&info.attributes).cloned(),
            location,
            etag: info.etag.clone(),
            size,
        });
        let reader = RangeReader::streaming(Arc::clone(&source), offset, end, output.body, skip);
        Ok(Download {
            source,
            info,
            position: offset,
            stop,
            next_range: end,
            current: (offset < stop).then_some(CurrentRange::Direct(reader)),
            ahead: VecDeque::new(),
            window: 1,
            waited: 0,
            unwaited: 0,
            parallel,
            crc,
            check: None,
            _admission: admission,
        })
    }

    /// The range begins at the object's end, or beyond it.
    async fn empty(
        location: Location,
        admission: Option<Admission>,
        offset: u64,
        failure: RequestFailure,
    ) -> Result<Download, ObjectError> {
        // Only an empty object has no first byte.
        let size = failure.unsatisfiable_size().or((offset == 0).then_some(0));
        let info = match size {
            Some(size) => ObjectInfo {
                size,
                etag: failure.headers.etag.unwrap_or_default(),
                modified: failure
                    .headers
                    .last_modified
                    .unwrap_or(Timestamp::UNIX_EPOCH),
                attributes: Attributes::default(),
            },
            None => head(&location).await?,
        };
        if offset != info.size {
            return Err(ObjectError::OutOfRange {
                size: Some(info.size),
            });
        }
        let source = Arc::new(PinnedObject {
            key: location.key_of(&info.attributes).cloned(),
            location,
            etag: info.etag.clone(),
            size: info.size,
        });
        Ok(Download {
            source,
            position: offset,
            stop: info.size,
            next_range: info.size,
            info,
            current: None,
            ahead: VecDeque::new(),
            window: 0,
            waited: 0,
            unwaited: 0,
            parallel: 1,
            crc: None,
            check: None,
            _admission: admission,
        })
    }

    /// The result of the first GET.
    pub fn info(&self) -> &ObjectInfo {
        &self.info
    }

    /// Bytes still to come.
    pub fn remaining(&self) -> u64 {
        self.stop - self.position
    }

    /// Compares a download of the whole object with its CRC-32, before its last bytes are given
    /// out: [`ObjectError::Damaged`] if they differ. `known` is the CRC-32 of the version with an
    /// ETag. Without a checksum, and of a part of the object, nothing is compared.
    pub fn verify(&mut self, known: Option<(&str, u32)>) {
        let known = known.filter(|(etag, _)| !etag.is_empty() && *etag == self.info.etag);
        let crc = self.crc.or(known.map(|(_, crc)| crc));
        if self.position == 0 && self.stop == self.info.size {
            self.check = crc.map(|crc| WholeCheck::new(crc, self.info.size));
        }
    }

    /// The next bytes, `None` at the end, which is never before the last byte that was asked for.
    /// Cancel safe.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ObjectError> {
        loop {
            if let Some(check) = &mut self.check
                && let Some(passed) = check.pop()?
            {
                return Ok(Some(passed));
            }
            match (self.fetch().await?, &mut self.check) {
                (Some(chunk), Some(check)) => check.push(chunk),
                (chunk, _) => return Ok(chunk),
            }
        }
    }

    async fn fetch(&mut self) -> Result<Option<Bytes>, ObjectError> {
        loop {
            if self.position == self.stop {
                return Ok(None);
            }
            self.look_ahead();
            let current = match &mut self.current {
                Some(current) => current,
                None => {
                    let next = match self.ahead.pop_front() {
                        Some(ahead) => CurrentRange::Fetched(ahead),
                        None => {
                            let end = self.range_end();
                            let first = std::mem::replace(&mut self.next_range, end);
                            let source = Arc::clone(&self.source);
                            CurrentRange::Direct(RangeReader::new(source, first, end))
                        }
                    };
                    self.current.insert(next)
                }
            };
            let mut waited = false;
            let chunk = {
                let mut next = pin!(current.next());
                std::future::poll_fn(|context| {
                    let chunk = next.as_mut().poll(context);
                    waited |= chunk.is_pending();
                    chunk
                })
                .await?
            };
            match chunk {
                Some(chunk) => {
                    self.position += chunk.len() as u64;
                    self.pace(waited, chunk.len() as u64);
                    return Ok(Some(chunk));
                }
                None => {
                    self.current = None;
                    self.unwaited += 1;
                    // Ranges that were requested together arrive together, so the reader waits for
                    // one of a window even if the store is slow.
                    if self.unwaited > 2 * self.window {
                        self.unwaited = 0;
                        self.window = (self.window / 2).max(1);
                    }
                }
            }
        }
    }

    /// Returns the memory of a slow reader's ranges if others wait for memory. They are requested
    /// once more when the reader gets there. Call it periodically while the reader is busy.
    pub fn relieve(&mut self, now: Instant) {
        if !self.source.location.store.context().budget.contended() {
            return;
        }
        let current = match &self.current {
            Some(CurrentRange::Fetched(current)) => Some(current),
            _ => None,
        };
        let oldest = current.or(self.ahead.front());
        if oldest.is_none_or(|ahead| now.saturating_duration_since(ahead.since) < HELD) {
            return;
        }
        if let Some(CurrentRange::Fetched(_)) = self.current {
            self.current = None;
            self.next_range = self.position;
        } else {
            self.next_range -= self.ahead.iter().map(|ahead| ahead.rest).sum::<u64>();
        }
        self.ahead.clear();
        self.window = 1;
    }

    fn range_end(&self) -> u64 {
        let range_size = self
            .source
            .location
            .store
            .context()
            .transfer
            .range_size
            .max(1);
        self.next_range.saturating_add(range_size).min(self.stop)
    }

    /// Begins to fetch ranges ahead, as far as window and budget allow.
    fn look_ahead(&mut self) {
        while self.ahead.len() < self.window && self.next_range < self.stop {
            let context = self.source.location.store.context();
            // The range being read is one of those in flight.
            if self.ahead.len() + 1 >= self.parallel {
                return;
            }
            let end = self.range_end();
            let Some(grant) = context.budget.try_grant(end - self.next_range) else {
                return;
            };
            let first = std::mem::replace(&mut self.next_range, end);
            self.ahead
                .push_back(Ahead::start(&self.source, first, end, grant));
        }
    }

    fn pace(&mut self, waited: bool, bytes: u64) {
        if waited {
            self.unwaited = 0;
            self.waited += bytes;
            if self.waited >= RAMP {
                self.waited = 0;
                self.window = (self.window * 2).min(self.parallel);
            }
        }
    }
}

/// Whether what an answer without a range says of an object is said by a HEAD as well.
async fn is_all(location: &Location, info: &ObjectInfo) -> Result<bool, ObjectError> {
    let found = head(location).await?;
    Ok(found.size == info.size && found.etag == info.etag)
}

impl CurrentRange {
    async fn next(&mut self) -> Result<Option<Bytes>, ObjectError> {
        match self {
            CurrentRange::Direct(reader) => reader.next().await,
            CurrentRange::Fetched(ahead) => ahead.next().await,
        }
    }
}

/// A piece of memory of [`READ`] bytes of which less than three quarters are used is copied: what
/// waits for its reader is to take little more memory than it is granted.
fn compact(chunk: Bytes) -> Bytes {
    match chunk.len() < READ / 4 * 3 {
        true => Bytes::copy_from_slice(&chunk),
        false => chunk,
    }
}

impl Ahead {
    fn start(source: &Arc<PinnedObject>, first: u64, end: u64, grant: Grant) -> Self {
        // Bounded by the grant: no more than the range comes.
        #[expect(
            clippy::disallowed_methods,
            reason = "the grant limits what it holds to one range"
        )]
        let (sender, chunks) = mpsc::unbounded_channel();
        let mut reader = RangeReader::new(Arc::clone(source), first, end);
        let reading = async move {
            loop {
                match reader.next().await {
                    Ok(Some(chunk)) => {
                        if sender.send(Ok(compact(chunk))).is_err() {
                            return;
                        }
                    }
                    Ok(None) => return,
                    Err(error) => {
                        // The receiver may be gone.
                        let _ = sender.send(Err(error));
                        return;
                    }
                }
            }
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "`Ahead` owns the task and aborts it when dropped"
        )]
        let task = tokio::spawn(reading.in_current_span());
        Ahead {
            chunks,
            rest: end - first,
            grant,
            since: Instant::now(),
            _task: AbortOnDropHandle::new(task),
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, ObjectError> {
        match self.chunks.recv().await {
            Some(Ok(chunk)) => {
                self.rest -= chunk.len() as u64;
                self.grant.shrink_to(self.rest);
                Ok(Some(chunk))
            }
            Some(Err(error)) => Err(error),
            None if self.rest == 0 => Ok(None),
            None => Err(ObjectError::Other(
                "a range's task ended too early".to_owned(),
            )),
        }
    }
}
