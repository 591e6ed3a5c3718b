//! The client's bytes → an upload.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::data::ascii::FromWire;
use crate::data::rate::Throttle;
use crate::data::stream::DataStream;
use crate::memory::Budget;
use crate::namespace::VirtualPath;
use crate::object::{GivesBack, SealedUpload, Upload};

use crate::session::replies::Refusal;
use crate::session::transfer::job::{Link, TransferError};
use crate::session::transfer::sink::with_stall;

/// After an upload is cancelled, bytes that still arrive are taken until they pause for this time.
const DRAIN_PAUSE: Duration = Duration::from_millis(10);

/// How much is read at once if line ends are converted.
const CONVERT_CHUNK: usize = 64 * 1024;

/// Moves the client's bytes into an upload.
pub(super) struct Pump<'a> {
    pub(super) budget: &'a Budget,
    pub(super) stall: Duration,
    pub(super) gives_back: GivesBack,
    pub(super) throttle: &'a mut Throttle,
    pub(super) link: &'a Link,
}

impl Pump<'_> {
    /// Reads and discards bytes that the server already has.
    pub(super) async fn pass_over(
        &mut self,
        stream: &mut DataStream,
        bytes: u64,
        path: &VirtualPath,
    ) -> Result<(), TransferError> {
        let mut rest = usize::try_from(bytes).unwrap_or(usize::MAX);
        while rest > 0 {
            let mut again = BytesMut::with_capacity(rest);
            let read = self.read(stream, &mut again).await?;
            if read == 0 {
                return Err(Refusal::ShorterThanStored(path.clone()).into());
            }
            self.link.progress.add(read);
            // A longer read cannot happen: there was no room for it. Its bytes would be lost here.
            let left = rest.checked_sub(read);
            rest =
                left.ok_or_else(|| std::io::Error::other("more was read than there was room for"))?;
        }
        Ok(())
    }

    pub(super) async fn copy(
        &mut self,
        stream: &mut DataStream,
        upload: &mut Upload,
    ) -> Result<(), TransferError> {
        let mut failure = upload.failure();
        loop {
            let (space, relief) =
                wait_alongside(self.link, stream, upload.space_and_relief()).await?;
            let read = tokio::select! {
                biased;
                read = self.read(stream, space) => Some(read?),
                error = failure.wait() => return Err(error.into()),
                () = relief.wanted() => None,
            };
            let Some(read) = read else {
                wait_alongside(self.link, stream, upload.relieve()).await?;
                continue;
            };
            if read == 0 {
                return Ok(());
            }
            self.link.progress.add(read);
        }
    }

    pub(super) async fn convert(
        &mut self,
        stream: &mut DataStream,
        upload: &mut Upload,
    ) -> Result<(), TransferError> {
        let mut failure = upload.failure();
        let mut filter = FromWire::default();
        loop {
            let mut buffer = BytesMut::with_capacity(CONVERT_CHUNK);
            let read = tokio::select! {
                biased;
                read = self.read(stream, &mut buffer) => Some(read?),
                error = failure.wait() => return Err(error.into()),
                () = upload.relief().wanted() => None,
            };
            let Some(read) = read else {
                wait_alongside(self.link, stream, upload.relieve()).await?;
                continue;
            };
            let converted: Bytes = if read == 0 {
                filter.finish()
            } else {
                filter.convert(buffer.freeze())
            };
            wait_alongside(self.link, stream, upload.write(converted)).await?;
            if read == 0 {
                return Ok(());
            }
            self.link.progress.add(read);
        }
    }

    /// Waits until the user's rate allows to read, and reads. Fails if nothing comes for the stall
    /// time, or for less if others wait for the memory of the upload; the wait for the rate does not
    /// count. Cancel safe.
    async fn read(
        &mut self,
        stream: &mut DataStream,
        space: &mut BytesMut,
    ) -> Result<usize, TransferError> {
        let most = match self.throttle.ready() {
            Some(most) => most,
            None => wait_alongside(self.link, stream, self.throttle.wait()).await,
        };
        let wanted = || match self.gives_back.now() {
            true => self.budget.crowded(),
            false => self.budget.contended(),
        };
        let read = with_stall(wanted, self.stall, stream.read_up_to(space, most)).await?;
        self.throttle.moved(read);
        Ok(read)
    }
}

/// Waits while the server holds the client back, and notes whether the client's end arrives
/// meanwhile: a QUIT after it comes after the data.
async fn wait_alongside<T>(
    link: &Link,
    stream: &DataStream,
    waiting: impl Future<Output = T>,
) -> T {
    let mut waiting = std::pin::pin!(waiting);
    std::future::poll_fn(|context| {
        let polled = waiting.as_mut().poll(context);
        if polled.is_pending() && stream.end_has_arrived() {
            link.progress.note_input_arrived();
        }
        polled
    })
    .await
}

/// Seals the upload and waits for the permit to publish it.
pub(super) async fn permitted(
    upload: Upload,
    permit: &mut oneshot::Receiver<()>,
) -> Result<SealedUpload, TransferError> {
    let sealed = upload.seal().await?;
    // A session drops the permit only when it ends itself.
    permit
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::ConnectionAborted))?;
    Ok(sealed)
}

/// Takes the bytes of a cancelled upload that have arrived, as long as there is room without
/// waiting. The client need not send them again.
pub(super) async fn drain(stream: &mut DataStream, upload: &mut Upload) {
    while let Some(Ok(space)) = upload.space().now_or_never() {
        match timeout(DRAIN_PAUSE, stream.read_into(space)).await {
            Ok(Ok(0)) => return upload.input_ended(),
            Ok(Ok(_)) => {}
            _ => return,
        }
    }
}
