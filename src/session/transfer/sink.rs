//! The sending half of a data connection, and the stall time that bounds each read and write.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::data::linger::Lingering;
use crate::data::rate::Throttle;
use crate::data::secure::DataConnection;
use crate::data::stream::DataStream;
use crate::memory::Budget;
use ftp_proto::Reply;

use crate::session::data_setup::DataSetup;
use crate::session::options::Timeouts;
use crate::session::transfer::job::{End, Link, TransferError};

/// A transfer without progress ends after this time if others wait for the memory that it holds.
const STALL_CONTENDED: Duration = Duration::from_secs(10);

/// How often the server looks whether others wait, after that time.
const CONTENDED_CHECK: Duration = Duration::from_secs(1);

/// What goes out on a data connection: the bytes of a file, or the lines of a listing.
pub(in crate::session) trait Outgoing {
    /// The next bytes, `None` after the last.
    async fn next(&mut self) -> Result<Option<Bytes>, TransferError>;

    /// Gives back memory that is held for a slow client if other transfers wait for memory.
    fn relieve(&mut self);
}

/// Why not all was sent.
#[derive(Debug)]
pub(in crate::session) enum Stop {
    /// The session has cancelled the transfer.
    Aborted,
    /// The transfer failed.
    Failed(TransferError),
}

impl<E: Into<TransferError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop::Failed(error.into())
    }
}

impl From<Stop> for End {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Aborted => End::Aborted,
            Stop::Failed(error) => End::Failed(error),
        }
    }
}

/// The data connection of a download or a listing.
pub(in crate::session) struct Sink {
    pub(in crate::session) data: DataSetup,
    pub(in crate::session) budget: Budget,
    pub(in crate::session) timeouts: Timeouts,
    pub(in crate::session) lingering: Lingering,
}

impl Sink {
    /// Opens the data connection in parallel with the source, then sends the 150 with the text of
    /// `opening`.
    pub(in crate::session) async fn open<T>(
        &mut self,
        link: &Link,
        source: impl Future<Output = Result<T, TransferError>>,
        opening: impl FnOnce(&T) -> Reply,
    ) -> Result<(T, DataConnection), Stop> {
        let deadline = self.timeouts.data_connect;
        tokio::select! {
            biased;
            () = link.abort.cancelled() => Err(Stop::Aborted),
            opened = link.open(&mut self.data, deadline, source, opening) => Ok(opened?),
        }
    }

    /// Sends all of a source and ends the data connection: cleanly after success, otherwise by a
    /// reset, so that no client takes a part for the whole. `throttle` holds it to the user's rate.
    pub(in crate::session) async fn send_all(
        &self,
        link: &Link,
        connection: DataConnection,
        source: &mut impl Outgoing,
        throttle: &mut Throttle,
    ) -> Result<(), Stop> {
        let mut stream = tokio::select! {
            biased;
            () = link.abort.cancelled() => return Err(Stop::Aborted),
            secured = connection.stream() => secured?,
        };
        let sending = async {
            while let Some(chunk) = source.next().await? {
                self.send(link, &mut stream, chunk, throttle, || source.relieve())
                    .await?;
            }
            Ok::<_, TransferError>(())
        };
        let sent = tokio::select! {
            biased;
            () = link.abort.cancelled() => Err(Stop::Aborted),
            sent = sending => sent.map_err(Stop::Failed),
        };
        if let Err(stop) = sent {
            stream.reset();
            return Err(stop);
        }
        stream.finish(self.timeouts.data_stall).await?;
        stream.linger(&self.lingering);
        Ok(())
    }

    /// Sends all of a chunk and calls `moved` after each write. Fails if no byte moves for the
    /// stall time; waits for the user's rate do not count.
    async fn send(
        &self,
        link: &Link,
        stream: &mut DataStream,
        mut chunk: Bytes,
        throttle: &mut Throttle,
        mut moved: impl FnMut(),
    ) -> Result<(), TransferError> {
        let stall = self.timeouts.data_stall;
        while !chunk.is_empty() {
            let most = held_back(throttle, &mut moved).await.min(chunk.len());
            // Memory held for a client without progress is given back first. Then only its
            // admission is of use to others.
            let wanted = || {
                moved();
                self.budget.crowded()
            };
            let written = with_stall(wanted, stall, stream.write_some(&chunk[..most])).await?;
            throttle.moved(written);
            bytes::Buf::advance(&mut chunk, written);
            link.progress.add(written);
            moved();
        }
        Ok(())
    }
}

/// Waits until the user's rate allows to send; returns the number of bytes. Memory can be needed
/// by others meanwhile, so `moved` is called repeatedly.
async fn held_back(throttle: &mut Throttle, moved: &mut impl FnMut()) -> usize {
    loop {
        if let Some(most) = throttle.ready() {
            return most;
        }
        if tokio::time::timeout(CONTENDED_CHECK, throttle.wait())
            .await
            .is_err()
        {
            moved();
        }
    }
}

/// Bounds one read or write by the stall time, or by [`STALL_CONTENDED`] if others wait for the
/// memory of this transfer. `wanted` answers whether they do; it is called repeatedly while no byte
/// moves.
pub(in crate::session) async fn with_stall<T>(
    mut wanted: impl FnMut() -> bool,
    stall: Duration,
    operation: impl Future<Output = io::Result<T>>,
) -> Result<T, TransferError> {
    let mut operation = std::pin::pin!(operation);
    let begun = Instant::now();
    let mut slice = stall.min(STALL_CONTENDED);
    loop {
        match tokio::time::timeout(slice, &mut operation).await {
            Ok(done) => return Ok(done?),
            Err(_) => {
                let waited = begun.elapsed();
                if waited >= stall || (waited >= STALL_CONTENDED && wanted()) {
                    return Err(TransferError::Stalled(waited));
                }
                // Others may begin to wait at any time.
                slice = CONTENDED_CHECK.min(stall - waited);
            }
        }
    }
}
