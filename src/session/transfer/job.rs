//! A transfer from its job's side: its label, its link to the session, and how it can end.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::data::DataError;
use crate::data::secure::DataConnection;
use crate::events::Direction;
use crate::namespace::VirtualPath;
use crate::object::{Location, ObjectError, PublishError, TransferId};
use ftp_proto::Reply;

use crate::session::data_setup::DataSetup;
use crate::session::replies::Refusal;

/// How long the 150 waits for a passive data connection when everything else is ready.
const BEFORE_150: Duration = Duration::from_secs(1);

/// What a job reports to its session.
#[derive(Debug)]
pub(in crate::session) enum Signal {
    /// The 150: the data connection is open, or the client may wait for the 150 before it connects.
    Preliminary(Reply),
    /// The transfer was refused before the data connection was used.
    Unused(DataSetup),
    /// The upload is whole and may be published, and waits for another session that is writing the
    /// same name.
    SameName,
    /// The other session has ended, and the upload is being published.
    Publishing,
    /// The client's bytes have ended. `large`: together with the bytes before them they are more
    /// than one part.
    InputEnded { large: bool },
    /// The upload lies whole at its staged key: after the settle window the session reports that, and
    /// keeps the permit.
    Staged {
        large: bool,
        settled: oneshot::Sender<()>,
    },
    /// The upload is being checked before it is published.
    Checking,
    /// It may be published: the session gives the permit if the client is still there.
    Checked,
}

/// The one end of a transfer.
#[derive(Debug)]
pub(in crate::session) enum End {
    /// The transfer is complete: the 226, without the transfer's id.
    Finished(Reply),
    /// The transfer had no data connection and is complete; the reply.
    Answered(Reply),
    /// The session has cancelled it. Nothing was published.
    Aborted,
    /// It failed. Nothing was published.
    Failed(TransferError),
}

/// Why a transfer failed.
#[derive(Debug, thiserror::Error)]
pub(in crate::session) enum TransferError {
    /// The store.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// An upload that has come to its end was not published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// No data connection.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The data connection broke.
    #[error("data connection broken: {0}")]
    Broken(#[from] std::io::Error),
    /// No byte moved on it for this time.
    #[error("no data moved for {} s", .0.as_secs())]
    Stalled(Duration),
    /// Refused by the session.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// What the end of the control connection means to a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum ControlEnd {
    /// An upload: broken off, unless a QUIT after the data's end came before.
    BreaksOff,
    /// An upload to a mount with `on_control_loss = "publish"`: only the data connection counts.
    Ignored,
    /// Not an upload: it continues to its end if a QUIT came before.
    NeedsQuit,
}

/// What identifies a transfer in replies and logs.
#[derive(Debug, Clone)]
pub(in crate::session) struct Label {
    pub(in crate::session) id: TransferId,
    pub(in crate::session) verb: &'static str,
    pub(in crate::session) path: VirtualPath,
    pub(in crate::session) location: Option<Location>,
    pub(in crate::session) control_end: ControlEnd,
}

impl Label {
    /// `None` if no file is transferred: a listing, a digest.
    pub(in crate::session) fn direction(&self) -> Option<Direction> {
        match self.verb {
            "STOR" | "STOU" | "APPE" => Some(Direction::In),
            "RETR" => Some(Direction::Out),
            _ => None,
        }
    }
}

/// A job's side of the link to its session.
#[derive(Debug)]
pub(in crate::session) struct Link {
    /// Cancelled when the session cancels the transfer.
    pub(in crate::session) abort: CancellationToken,
    /// To the session.
    pub(in crate::session) signals: mpsc::UnboundedSender<Signal>,
    /// The permit to publish an upload.
    pub(in crate::session) permit: oneshot::Receiver<()>,
    /// The bytes transferred so far.
    pub(in crate::session) progress: TransferProgress,
}

/// The progress of a transfer: the job writes it, STAT and the settle window of an upload read it.
#[derive(Debug, Clone, Default)]
pub(in crate::session) struct TransferProgress(Arc<Moved>);

#[derive(Debug, Default)]
struct Moved {
    bytes: AtomicU64,
    /// One more than the bytes that there will be; 0 if that is not known.
    expected: AtomicU64,
    input_arrived: AtomicBool,
    object: Mutex<ObjectFacts>,
}

/// What is known of the object of a transfer, for its event.
#[derive(Debug, Clone, Default)]
pub(in crate::session) struct ObjectFacts {
    /// The byte of the object at which the client begins.
    pub(in crate::session) offset: Option<u64>,
    /// Bytes of the whole object.
    pub(in crate::session) size: Option<u64>,
    /// With its quotes, as S3 gives it.
    pub(in crate::session) etag: Option<String>,
    /// The version that was written.
    pub(in crate::session) version_id: Option<String>,
    /// For the operator.
    pub(in crate::session) detail: Option<String>,
    /// The CRC-32 of all bytes.
    pub(in crate::session) crc32: Option<u32>,
}

impl TransferProgress {
    /// Adds to what is known of the object.
    pub(in crate::session) fn note(&self, note: impl FnOnce(&mut ObjectFacts)) {
        note(&mut self.0.object.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What is known of the object.
    pub(in crate::session) fn object(&self) -> ObjectFacts {
        let object = self.0.object.lock();
        object.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(in crate::session) fn add(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(in crate::session) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Notes how many bytes there will be.
    pub(in crate::session) fn expect(&self, bytes: u64) {
        let noted = bytes.saturating_add(1);
        self.0.expected.store(noted, Ordering::Relaxed);
    }

    /// How many bytes there will be, if that is known.
    pub(in crate::session) fn expected(&self) -> Option<u64> {
        self.0.expected.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Notes that the client's end has arrived, although bytes before it may be unread.
    pub(in crate::session) fn note_input_arrived(&self) {
        self.0.input_arrived.store(true, Ordering::Relaxed);
    }

    pub(super) fn input_arrived(&self) -> bool {
        self.0.input_arrived.load(Ordering::Relaxed)
    }
}

impl Link {
    pub(in crate::session) fn signal(&self, signal: Signal) {
        // The session outlives its job, and so does the receiver.
        let _ = self.signals.send(signal);
    }

    /// Opens the data connection in parallel with `others`, which is everything else that a
    /// transfer needs. Then the 150 goes out, with the text of `opening`. A passive client may wait
    /// for the 150 before it connects: when everything else is ready, the server waits for it for
    /// [`BEFORE_150`] at most, then sends the 150 first. A refusal always comes without a 150.
    pub(in crate::session) async fn open<T>(
        &self,
        data: &mut DataSetup,
        deadline: Duration,
        others: impl Future<Output = Result<T, TransferError>>,
        opening: impl FnOnce(&T) -> Reply,
    ) -> Result<(T, DataConnection), TransferError> {
        let early = Instant::now() + BEFORE_150;
        let connects_later = matches!(data, DataSetup::Passive { .. }) && deadline > BEFORE_150;
        let begin = |found: &T| self.signal(Signal::Preliminary(opening(found)));
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
