//! A transfer as its job sees it: what it is, its link to the session, and how it can end.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::data::DataError;
use crate::data::secure::DataConnection;
use crate::namespace::VirtualPath;
use crate::object::{Location, ObjectError, TransferId};
use ftp_proto::Reply;

use crate::session::data_setup::DataSetup;

/// How long the 150 waits for a passive data connection when all else is ready.
const BEFORE_150: Duration = Duration::from_secs(1);

/// What a job tells its session.
#[derive(Debug)]
pub(in crate::session) enum Signal {
    /// The data connection is there: the 150.
    Preliminary(Reply),
    /// The transfer was refused before the data connection was used.
    Unused(DataSetup),
    /// The upload is whole and may be published, and waits for another session that is writing the same name.
    SameName,
    /// It waits no more.
    Publishing,
    /// The client's bytes have ended; `large`: with those that were there before they are more than one part.
    InputEnded { large: bool },
}

/// The one end of a transfer.
#[derive(Debug)]
pub(in crate::session) enum End {
    /// All is done; the text of the 226.
    Finished(String),
    /// All is done, without a data connection: the reply.
    Answered(Reply),
    /// The session has cut it; nothing was published.
    Aborted,
    /// It failed; nothing was published.
    Failed(TransferError),
}

/// Why a transfer failed.
#[derive(Debug, thiserror::Error)]
pub(in crate::session) enum TransferError {
    /// The store.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// No data connection.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The data connection broke.
    #[error("data connection broken: {0}")]
    Broken(#[from] std::io::Error),
    /// No byte moved on it.
    #[error("no data moved for {} s", .0.as_secs())]
    Stalled(Duration),
    /// Refused, in words found while preparing.
    #[error("{}", .0.lines.join(" "))]
    Refused(Reply),
}

/// What the end of its control connection means to a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum ControlEnd {
    /// An upload: broken off, unless a QUIT after the data's end came before.
    BreaksOff,
    /// An upload to a mount with `on_control_loss = "publish"`: only the data connection counts.
    Ignored,
    /// Nothing is published: served to the end if a QUIT announced it.
    NeedsQuit,
}

/// What a transfer is, for replies and logs.
#[derive(Debug, Clone)]
pub(in crate::session) struct Label {
    pub(in crate::session) id: TransferId,
    pub(in crate::session) verb: &'static str,
    pub(in crate::session) path: VirtualPath,
    pub(in crate::session) location: Option<Location>,
    pub(in crate::session) control_end: ControlEnd,
}

/// A job's side of the link to its session.
#[derive(Debug)]
pub(in crate::session) struct Link {
    /// Cancelled when the session gives the transfer up.
    pub(in crate::session) abort: CancellationToken,
    /// To the session.
    pub(in crate::session) signals: mpsc::UnboundedSender<Signal>,
    /// Comes when an upload may be published.
    pub(in crate::session) permit: oneshot::Receiver<()>,
    /// Bytes moved so far.
    pub(in crate::session) progress: TransferProgress,
}

/// What has moved on the data connection: written by the job, read by STAT and by the settling of an upload.
#[derive(Debug, Clone, Default)]
pub(in crate::session) struct TransferProgress(Arc<Moved>);

#[derive(Debug, Default)]
struct Moved {
    bytes: AtomicU64,
    input_arrived: AtomicBool,
}

impl TransferProgress {
    pub(in crate::session) fn add(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(in crate::session) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// The client's end has arrived, although bytes before it may still be unread.
    pub(in crate::session) fn note_input_arrived(&self) {
        self.0.input_arrived.store(true, Ordering::Relaxed);
    }

    pub(super) fn input_arrived(&self) -> bool {
        self.0.input_arrived.load(Ordering::Relaxed)
    }
}

impl Link {
    pub(in crate::session) fn signal(&self, signal: Signal) {
        // The session outlives its job: the receiver is there.
        let _ = self.signals.send(signal);
    }

    /// The data connection and `others`, all else that a transfer needs, in parallel. Then the 150 goes out, worded by
    /// what was found. A passive client may wait for the 150 before it connects: once all else is ready it is waited for
    /// [`BEFORE_150`] at most, then the 150 goes first. A refusal always comes without a 150.
    pub(in crate::session) async fn open<T>(
        &self,
        data: &mut DataSetup,
        deadline: Duration,
        others: impl Future<Output = Result<T, TransferError>>,
        opening: impl FnOnce(&T) -> String,
    ) -> Result<(T, DataConnection), TransferError> {
        let early = Instant::now() + BEFORE_150;
        let connects_later = matches!(data, DataSetup::Passive { .. }) && deadline > BEFORE_150;
        let begin = |found: &T| self.signal(Signal::Preliminary(Reply::new(150, opening(found))));
        let mut connecting = pin!(data.open(deadline));
        let mut others = pin!(others);
        let mut arrived = None;
        let found = loop {
            tokio::select! {
                biased;
                found = &mut others => break found?,
                arrival = &mut connecting, if arrived.is_none() => arrived = Some(arrival?),
            }
        };
        let arrival = match arrived {
            Some(arrival) => arrival,
            None if connects_later => match timeout_at(early, &mut connecting).await {
                Ok(arrival) => arrival?,
                Err(_) => {
                    begin(&found);
                    return Ok((found, connecting.await?));
                }
            },
            None => connecting.await?,
        };
        begin(&found);
        Ok((found, arrival))
    }
}
