//! The job of an upload: its stages from the data connection to the published object.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::timeout;

use crate::auth::TransferPermit;
use crate::data::rate::Throttle;
use crate::data::secure::DataConnection;
use crate::data::stream::DataStream;
use crate::memory::Budget;
use crate::namespace::VirtualPath;
use crate::object::{
    Location, NameLock, ObjectError, PublishError, Published, ResumableUpload, ResumeScope,
    TransferId, Upload, UploadOptions,
};
use ftp_proto::Reply;

use crate::session::data_setup::DataSetup;
use crate::session::options::Timeouts;
use crate::session::replies::{Refusal, success};
use crate::session::transfer::check::Check;
use crate::session::transfer::job::{ControlEnd, End, Link, Signal, TransferError};
use crate::session::transfer::pump::{Pump, drain, permitted};

/// The reply to an upload that broke off waits for its parts to be stored, for this time at most.
const STORE_WAIT: Duration = Duration::from_secs(5);

/// After an upload is cancelled, bytes that still arrive are taken for this time at most.
const DRAIN: Duration = Duration::from_millis(250);

/// An upload, ready to run.
pub(super) struct UploadJob {
    pub(super) path: VirtualPath,
    pub(super) location: Location,
    pub(super) id: TransferId,
    pub(super) start: UploadStart,
    pub(super) data: DataSetup,
    /// Counts it among the transfers of its user.
    pub(super) permit: TransferPermit,
    /// The scope in which its pieces may be stored while others wait for memory, even if it can't be
    /// resumed.
    pub(super) record_scope: Option<ResumeScope>,
    /// Who is asked before it is published, if anyone is.
    pub(super) check: Option<Check>,
    pub(super) budget: Budget,
    pub(super) timeouts: Timeouts,
    /// See [`crate::object::options::TransferOptions::part_size`].
    pub(super) part_size: u64,
    pub(super) convert: bool,
    pub(super) control_end: ControlEnd,
    /// Whether replies may show the byte of the object at which the upload begins.
    pub(super) shows_length: bool,
    /// The largest file that the user and the mount allow.
    pub(super) max_file_size: Option<u64>,
    /// The 150.
    pub(super) opening: Reply,
}

/// How an upload begins.
pub(super) enum UploadStart {
    New(Box<UploadOptions>),
    /// At the end of an interrupted upload.
    Resumed {
        scope: ResumeScope,
        interrupted: Box<ResumableUpload>,
        /// The number of bytes that the server has and the client sends again.
        resent: u64,
    },
}

/// What has cancelled an upload.
pub(super) enum CutBy {
    /// Its session.
    Aborted,
    /// Another session, which resumes it.
    Resumed,
}

impl UploadJob {
    /// Whether it is a whole file.
    pub(super) fn replaces(&self) -> bool {
        matches!(&self.start, UploadStart::New(options) if options.append.is_none())
    }

    /// The scope in which it can be resumed; `None` if it can't be.
    fn scope(&self) -> Option<&ResumeScope> {
        match &self.start {
            UploadStart::New(options) => options.keep.as_ref(),
            UploadStart::Resumed { scope, .. } => Some(scope),
        }
    }

    /// The number of bytes that the server has and the client sends again.
    fn resent(&self) -> u64 {
        match &self.start {
            UploadStart::New(_) => 0,
            UploadStart::Resumed { resent, .. } => *resent,
        }
    }

    pub(super) fn is_resumable(&self) -> bool {
        self.scope().is_some()
    }

    pub(super) async fn run(self, link: Link) -> End {
        let path = self.path.clone();
        let resumed = matches!(self.start, UploadStart::Resumed { .. });
        let location = self.location.clone();
        let scope = self.scope().cloned();
        let resumable = scope.is_some();
        let record_scope = self.record_scope.clone();
        let max_file_size = self.max_file_size;
        let transferred = self.transfer(link).await;
        match (
            matches!(transferred, Ok(End::Finished(_))),
            scope,
            record_scope,
        ) {
            // After the reply the client may ask another replica, which must find the state after
            // this upload.
            (false, Some(scope), _) => {
                let _ = timeout(
                    STORE_WAIT,
                    scope.earlier_uploads(&location).wait_until_stored(),
                )
                .await;
            }
            // An interrupted upload of the name may be older than this file, and nothing shows this
            // after the file is deleted.
            (true, None, Some(scope)) => scope.object_written(&location),
            _ => {}
        }
        match transferred {
            Ok(end) => end,
            Err(
                TransferError::Object(ObjectError::Conflict)
                | TransferError::Publish(PublishError::Conflict),
            ) if resumed => End::Failed(Refusal::ResumedObjectWritten(path).into()),
            Err(TransferError::Object(ObjectError::TooLarge { limit }))
                if max_file_size == Some(limit) =>
            {
                End::Failed(Refusal::FileTooLarge(path, limit).into())
            }
            Err(TransferError::Object(ObjectError::Conflict)) => {
                End::Failed(Refusal::WrittenMeanwhile(path).into())
            }
            Err(TransferError::Object(ObjectError::Busy)) if resumable => {
                End::Failed(Refusal::BeingWrittenButSaved(path).into())
            }
            Err(failure) => End::Failed(failure),
        }
    }

    async fn transfer(mut self, mut link: Link) -> Result<End, TransferError> {
        let abort = link.abort.clone();
        let opened = tokio::select! {
            biased;
            opened = self.open(&link) => opened?,
            () = abort.cancelled() => return Ok(End::Aborted),
        };
        let (mut upload, arrival, begins_at) = opened;
        link.progress.note(|object| object.offset = Some(begins_at));
        let mut stream = tokio::select! {
            biased;
            secured = arrival.stream() => secured?,
            () = abort.cancelled() => return Ok(End::Aborted),
        };
        let stopped = upload.stopped();
        let cut = async {
            tokio::select! {
                () = abort.cancelled() => CutBy::Aborted,
                () = stopped.cancelled() => CutBy::Resumed,
            }
        };
        tokio::pin!(cut);
        let mut throttle = std::mem::take(&mut self.permit.throttle);
        // Bytes that the client sends again are not taken.
        let mut passed = false;
        let moved = tokio::select! {
            biased;
            moved = self.receive(&mut stream, &mut upload, &link, &mut throttle, &mut passed) => Ok(moved?),
            why = &mut cut => Err(why),
        };
        if let Err(why) = moved {
            // What has gathered of a client that was held back is not taken beyond the rate.
            if passed && !self.convert && !throttle.is_limited() {
                // A client that continues to send would never come to an end.
                let _ = timeout(DRAIN, drain(&mut stream, &mut upload)).await;
            }
            return Ok(self.cut(why));
        }
        drop(throttle);
        // Bytes that the client has sent again count as sent, as in the event.
        let received = upload.received() + self.resent();
        let large = begins_at + received > self.part_size;
        match upload.is_staged() {
            true => link.progress.note_input_arrived(),
            false => link.signal(Signal::InputEnded { large }),
        }
        stream.answer_end().await;
        drop(stream);
        let published = self.publish(upload, large, &mut link, cut.as_mut());
        match Box::pin(published).await {
            Ok(published) => {
                link.progress.note(|object| {
                    object.size = Some(published.size);
                    object.etag = published.etag;
                    object.version_id = published.version_id;
                    object.crc32 = published.crc32;
                });
                let after = if self.shows_length { begins_at } else { 0 };
                Ok(End::Finished(success::stored(received, after)))
            }
            Err(Unpublished::Cut(why)) => Ok(self.cut(why)),
            Err(Unpublished::Failed(error)) => Err(error),
        }
    }

    /// Publishes an upload, all of whose bytes have come. With the permit and the lock of the name
    /// it cannot be cancelled any more.
    async fn publish(
        &self,
        upload: Upload,
        large: bool,
        link: &mut Link,
        mut cut: Pin<&mut impl Future<Output = CutBy>>,
    ) -> Result<Published, Unpublished> {
        if upload.is_staged() {
            let checked = self.checked(upload, large, link, cut.as_mut());
            let staged = Box::pin(checked).await?;
            let lock = turn(link, staged.try_turn(), staged.turn(), cut).await?;
            return Ok(staged.publish(lock).await?);
        }
        let sealed = tokio::select! {
            biased;
            sealed = permitted(upload, &mut link.permit) => sealed?,
            why = &mut cut => return Err(Unpublished::Cut(why)),
        };
        let lock = turn(link, sealed.try_turn(), sealed.turn(), cut).await?;
        Ok(sealed.publish(lock).await?)
    }

    fn cut(&self, why: CutBy) -> End {
        match why {
            CutBy::Aborted => End::Aborted,
            CutBy::Resumed => End::Failed(Refusal::ResumedByOther(self.path.clone()).into()),
        }
    }

    /// Opens the upload and the data connection and sends the 150. Also returns the byte of the
    /// object at which the client begins.
    async fn open(&mut self, link: &Link) -> Result<(Upload, DataConnection, u64), TransferError> {
        let connect = self.timeouts.data_connect;
        let admission = self
            .budget
            .admit(connect)
            .await
            .map_err(|_| ObjectError::Memory)?;
        let location = self.location.clone();
        let upload = async {
            Ok::<_, TransferError>(match &self.start {
                UploadStart::New(options) => {
                    Upload::begin(location, admission, (**options).clone()).await?
                }
                UploadStart::Resumed {
                    scope, interrupted, ..
                } => {
                    Upload::resume(location, admission, scope.clone(), (**interrupted).clone())
                        .await?
                }
            })
        };
        let opening = self.opening.clone();
        let (mut upload, arrival) = link
            .open(&mut self.data, connect, upload, |_| opening)
            .await?;
        if let Some(scope) = &self.record_scope {
            upload.may_store_pieces(scope);
        }
        if let Some(limit) = self.max_file_size {
            upload.limit_to(limit);
        }
        let begins_at = match &self.start {
            UploadStart::New(options) => options.append.as_ref().map_or(0, |append| append.keep),
            UploadStart::Resumed {
                interrupted,
                resent,
                ..
            } => interrupted.reported_len() + interrupted.overlap() - resent,
        };
        Ok((upload, arrival, begins_at))
    }

    /// Takes all bytes that the client sends.
    async fn receive(
        &self,
        stream: &mut DataStream,
        upload: &mut Upload,
        link: &Link,
        throttle: &mut Throttle,
        passed: &mut bool,
    ) -> Result<(), TransferError> {
        let mut pump = Pump {
            budget: &self.budget,
            stall: self.timeouts.data_stall,
            gives_back: upload.gives_back(),
            throttle,
            link,
        };
        if let UploadStart::Resumed { resent, .. } = &self.start {
            pump.pass_over(stream, *resent, &self.path).await?;
        }
        *passed = true;
        if self.convert {
            pump.convert(stream, upload).await?;
        } else {
            pump.copy(stream, upload).await?;
        }
        upload.input_ended();
        Ok(())
    }
}

/// Why an upload is not published.
pub(super) enum Unpublished {
    /// It was cancelled.
    Cut(CutBy),
    /// It has failed, or was refused.
    Failed(TransferError),
}

impl From<TransferError> for Unpublished {
    fn from(error: TransferError) -> Unpublished {
        Unpublished::Failed(error)
    }
}

impl From<ObjectError> for Unpublished {
    fn from(error: ObjectError) -> Unpublished {
        Unpublished::Failed(error.into())
    }
}

impl From<PublishError> for Unpublished {
    fn from(error: PublishError) -> Unpublished {
        Unpublished::Failed(error.into())
    }
}

/// The lock of the name: `free`, if no other session has it.
async fn turn(
    link: &Link,
    free: Option<NameLock>,
    turn: impl Future<Output = Result<NameLock, ObjectError>>,
    mut cut: Pin<&mut impl Future<Output = CutBy>>,
) -> Result<NameLock, Unpublished> {
    if let Some(lock) = free {
        return Ok(lock);
    }
    link.signal(Signal::SameName);
    let lock = tokio::select! {
        biased;
        why = &mut cut => return Err(Unpublished::Cut(why)),
        lock = turn => lock?,
    };
    link.signal(Signal::Publishing);
    Ok(lock)
}
