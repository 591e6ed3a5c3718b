//! The client's bytes → an upload.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::data::ascii::FromWire;
use crate::data::stream::DataStream;
use crate::memory::Budget;
use crate::namespace::VirtualPath;
use crate::object::{GivesBack, Upload};
use ftp_proto::Reply;

use crate::session::transfer::job::{Link, TransferError};
use crate::session::transfer::sink::with_stall;

/// What is still on its way when an upload is cut is taken so long as it comes without a pause of this length.
const DRAIN_PAUSE: Duration = Duration::from_millis(10);

/// How much is read at once where bytes are converted on their way.
const CONVERT_CHUNK: usize = 64 * 1024;

/// Moves the client's bytes into an upload.
pub(super) struct Pump<'a> {
    pub(super) budget: &'a Budget,
    pub(super) stall: Duration,
    pub(super) gives_back: GivesBack,
    pub(super) link: &'a Link,
}

impl Pump<'_> {
    /// Takes bytes that are there already.
    pub(super) async fn pass_over(
        &self,
        stream: &mut DataStream,
        bytes: u64,
        path: &VirtualPath,
    ) -> Result<(), TransferError> {
        let mut rest = usize::try_from(bytes).unwrap_or(usize::MAX);
        while rest > 0 {
            let mut again = BytesMut::with_capacity(rest);
            let read = self.read(stream, &mut again).await?;
            if read == 0 {
                return Err(TransferError::Refused(Reply::new(
                    554,
                    format!(
                        "{path}: the file ends before what is there of it, begin anew with STOR without REST"
                    ),
                )));
            }
            self.link.progress.add(read);
            // More than asked for can't be: there was no room for it, and it would be lost here.
            let left = rest.checked_sub(read);
            rest =
                left.ok_or_else(|| std::io::Error::other("more was read than there was room for"))?;
        }
        Ok(())
    }

    pub(super) async fn copy(
        &self,
        stream: &mut DataStream,
        upload: &mut Upload,
    ) -> Result<(), TransferError> {
        let mut failure = upload.failure();
        loop {
            let (space, relief) = self.beside(stream, upload.space_and_relief()).await?;
            let read = tokio::select! {
                biased;
                read = self.read(stream, space) => Some(read?),
                error = failure.wait() => return Err(error.into()),
                () = relief.wanted() => None,
            };
            let Some(read) = read else {
                self.beside(stream, upload.relieve()).await?;
                continue;
            };
            if read == 0 {
                return Ok(());
            }
            self.link.progress.add(read);
        }
    }

    pub(super) async fn convert(
        &self,
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
                self.beside(stream, upload.relieve()).await?;
                continue;
            };
            let converted: Bytes = if read == 0 {
                filter.finish()
            } else {
                filter.convert(buffer.freeze())
            };
            self.beside(stream, upload.write(converted)).await?;
            if read == 0 {
                return Ok(());
            }
            self.link.progress.add(read);
        }
    }

    /// Waits for the store. Meanwhile the client's end may arrive, which counts from then on: a QUIT after it is one
    /// after the data.
    async fn beside<T>(&self, stream: &DataStream, waiting: impl Future<Output = T>) -> T {
        let mut waiting = std::pin::pin!(waiting);
        std::future::poll_fn(|context| {
            let polled = waiting.as_mut().poll(context);
            if polled.is_pending() && stream.end_has_arrived() {
                self.link.progress.note_input_arrived();
            }
            polled
        })
        .await
    }

    /// Reads, unless nothing comes for the stall time; for less if others wait for the memory that the upload holds.
    async fn read(
        &self,
        stream: &mut DataStream,
        space: &mut BytesMut,
    ) -> Result<usize, TransferError> {
        let wanted = || match self.gives_back.now() {
            true => self.budget.crowded(),
            false => self.budget.contended(),
        };
        with_stall(wanted, self.stall, stream.read_into(space)).await
    }
}

/// Seals the upload and waits for the permit to publish it; gives the bytes that were received.
pub(super) async fn permitted(
    upload: &mut Upload,
    permit: &mut oneshot::Receiver<()>,
) -> Result<u64, TransferError> {
    upload.seal().await?;
    let received = upload.received();
    // A session that drops the permit has gone, and the transfer with it.
    permit
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::ConnectionAborted))?;
    Ok(received)
}

/// Takes what has arrived of an upload that was cut, as far as there is room without waiting: it need not be sent again.
pub(super) async fn drain(stream: &mut DataStream, upload: &mut Upload) {
    while let Some(Ok(space)) = upload.space().now_or_never() {
        match timeout(DRAIN_PAUSE, stream.read_into(space)).await {
            Ok(Ok(0)) => return upload.input_ended(),
            Ok(Ok(_)) => {}
            _ => return,
        }
    }
}
