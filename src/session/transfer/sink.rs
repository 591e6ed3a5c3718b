//! The sending half of a data connection, and the stall time that bounds each read and write.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::data::linger::Lingering;
use crate::data::stream::DataStream;
use crate::memory::Budget;
use crate::session::transfer::job::{Link, TransferError};

/// A client that moves nothing while others wait for the memory it holds is cut after this long.
const STALL_CONTENDED: Duration = Duration::from_secs(10);

/// How often it is looked at whether others wait, once a client has moved nothing for that long.
const CONTENDED_CHECK: Duration = Duration::from_secs(1);

/// The data connection of a download or a listing.
pub(in crate::session) struct Sink<'a> {
    pub(in crate::session) stream: DataStream,
    pub(in crate::session) budget: &'a Budget,
    pub(in crate::session) stall: Duration,
    pub(in crate::session) link: &'a Link,
}

impl Sink<'_> {
    /// Sends all of a chunk, with something to be done each time that some bytes have moved; fails when nothing moves for
    /// the stall time.
    pub(in crate::session) async fn send_beside(
        &mut self,
        mut chunk: Bytes,
        mut moved: impl FnMut(),
    ) -> Result<(), TransferError> {
        while !chunk.is_empty() {
            // What is held for a client that stands still is given back first; then only its admission is of use to others.
            let wanted = || {
                moved();
                self.budget.crowded()
            };
            let written = with_stall(wanted, self.stall, self.stream.write_some(&chunk)).await?;
            bytes::Buf::advance(&mut chunk, written);
            self.link.progress.add(written);
            moved();
        }
        Ok(())
    }

    /// Ends the data connection: cleanly after success; else by a reset, so that no client takes a part for the whole.
    pub(in crate::session) async fn close(
        mut self,
        lingering: &Lingering,
        sent: Result<(), Option<TransferError>>,
    ) -> Result<(), Option<TransferError>> {
        match sent {
            Ok(()) => {
                self.stream
                    .finish(self.stall)
                    .await
                    .map_err(|error| Some(TransferError::Broken(error)))?;
                self.stream.linger(lingering);
                Ok(())
            }
            Err(why) => {
                self.stream.reset();
                Err(why)
            }
        }
    }
}

/// Bounds one read or write by the stall time, or by less if what this transfer holds is `wanted`: others wait for it.
/// That is asked for now and then while nothing moves.
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
                // Others may begin to wait at any time from now on.
                slice = CONTENDED_CHECK.min(stall - waited);
            }
        }
    }
}
