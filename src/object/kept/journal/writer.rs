//! [`Writer`]: the task that writes an upload's record, refreshes it, and does what its ending asks for.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::super::super::capabilities::Integrity;
use super::super::super::multipart::{Created, Target, abort_upload};
use super::super::super::upload::Opening;
use super::super::super::{Location, ObjectError};
use super::super::Replica;
use super::super::find::{discard, remove_record, remove_tail};
use super::super::record::{self, Keep, Record, UploadNote};
use super::super::running::Ticket;
use super::{Ending, News};

/// What the task works with.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) target: Arc<Target>,
    pub(super) keep: Keep,
    pub(super) ticket: Ticket,
    pub(super) record: Record,
    /// When the upload began, until its time by the store's clock is known.
    pub(super) began: Option<Instant>,
    /// The ETag of our record as it is in the store.
    pub(super) saved: Option<String>,
    /// How much was kept when this went on with it, where that may be all of the file.
    pub(super) may_be_all: Option<u64>,
    /// Whether a record may be in the store that we know no ETag of.
    pub(super) tried: bool,
    /// Another process goes on with this upload: nothing of it is ours any more.
    pub(super) taken_over: bool,
    /// A newer upload of the same key has the record.
    pub(super) displaced: bool,
    /// Where the upload hears that it is not ours any more.
    pub(super) failed: watch::Sender<Option<ObjectError>>,
}

impl Writer {
    pub(super) async fn run(mut self: Box<Self>, mut news: mpsc::UnboundedReceiver<News>) {
        let refresh = self.replica().refresh;
        loop {
            tokio::select! {
                biased;
                news = news.recv() => match news {
                    Some(News::Opened(opening, copied)) => self.opened(&opening, copied).await,
                    Some(News::Ended(ending)) => return self.finish(ending).await,
                    None => return,
                },
                () = sleep(refresh), if !self.displaced && !self.taken_over => self.write().await,
            }
        }
    }

    pub(super) async fn opened(&mut self, opening: &Opening, copied: u32) {
        if let Ok(created) = opening.created().await {
            let upload = Some(note(&created, copied, &self.record.transfer));
            // A resumed upload has just written it.
            if self.saved.is_none() || self.record.upload != upload {
                self.record.upload = upload;
                self.write().await;
            }
        }
    }

    pub(super) async fn finish(mut self: Box<Self>, ending: Ending) {
        match ending {
            Ending::Published => self.published().await,
            Ending::Broken(broken) => self.broken(*broken).await,
            Ending::Restored(opened) => {
                if let Some(leftovers) = opened {
                    leftovers.remove().await;
                }
                self.record.running = false;
                self.write().await;
                // There is nothing to be restored where a newer one has come.
                if self.displaced && !self.taken_over {
                    if let Some(upload) = &self.record.upload {
                        abort_upload(&self.target.location, &upload.id).await;
                    }
                    self.sign_off(false).await;
                }
            }
        }
    }

    /// Writes the record of the running upload, the first time or again.
    pub(super) async fn write(&mut self) {
        self.date();
        if let Err(error) = self.claim(true).await {
            warn!(key = self.target.location.key, transfer = %self.target.id, %error,
                "the record of a running upload could not be written; it is tried again");
        }
    }
    /// Removes the record, and a tail it names.
    pub(super) async fn published(&mut self) {
        let object = &self.target.location;
        if self.taken_over {
            return;
        }
        if self.displaced || self.ticket.displaced() {
            return self.sign_off(false).await;
        }
        let hinted = self.ticket.take_hint();
        match &self.saved {
            Some(etag) => {
                if let Some(tail) = &self.record.tail {
                    remove_tail(object, &self.keep, &tail.key).await;
                }
                remove_record(object, &self.keep, &self.record, etag).await;
            }
            None if self.tried || hinted => {
                // Somebody's who is at it stays.
                match record::read(&self.at()).await {
                    Ok(Some(found)) if self.ends(&found) => {
                        discard(&found, object, &self.keep).await;
                    }
                    Ok(_) => {}
                    Err(error) => warn!(key = object.key, %error, "a record may stay behind"),
                }
            }
            None => {}
        }
    }

    /// An upload that has ended removes its own record, should it still be there, or the one that was left behind to
    /// remember it, and the tail that it went on from: whoever has taken the place of a running upload has left it to that.
    /// `give_up`: and what is kept of an earlier upload by the same user.
    pub(super) async fn sign_off(&mut self, give_up: bool) {
        let read = record::read(&self.at()).await;
        self.date();
        let object = &self.target.location;
        let tail = self.record.tail.as_ref().map(|tail| &tail.key);
        let found = match read {
            Ok(Some(found)) => found,
            Ok(None) => {
                if let Some(key) = tail {
                    remove_tail(object, &self.keep, key).await;
                }
                return;
            }
            Err(error) => {
                return warn!(key = object.key, %error, "a record may stay behind");
            }
        };
        let named = found.record.tail.as_ref().map(|tail| &tail.key);
        if let Some(key) = tail.filter(|key| Some(*key) != named) {
            remove_tail(object, &self.keep, key).await;
        }
        let id = self.record.upload.as_ref().map(|upload| &upload.id);
        let ours = |upload: &UploadNote| Some(&upload.id) == id;
        if found.record.is_same(&self.record) {
            if let Some(tail) = &found.record.tail {
                remove_tail(object, &self.keep, &tail.key).await;
            }
            remove_record(object, &self.keep, &found.record, &found.etag).await;
        } else if found.record.is_nobodys() && found.record.upload.as_ref().is_some_and(ours) {
            remove_record(object, &self.keep, &found.record, &found.etag).await;
        } else if give_up && self.is_earlier(&found) {
            discard(&found, object, &self.keep).await;
        }
    }
    /// Finds out when the upload began, as soon as the store has told its time.
    pub(super) fn date(&mut self) {
        if let Some(began) = self.began
            && let Some(now) = self.target.location.store.now()
        {
            let passed = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
            self.record.started_ms = now.as_millisecond().saturating_sub(passed);
            self.began = None;
        }
    }

    pub(super) fn at(&self) -> Location {
        record::record_at(&self.target.location, &self.keep.state_bucket)
    }

    pub(super) fn replica(&self) -> &Replica {
        &self.target.location.store.context().replica
    }
}

/// What a record says of a multipart upload.
pub(super) fn note(created: &Created, copied: u32, transfer: &str) -> UploadNote {
    UploadNote {
        id: created.upload_id.to_string(),
        transfer: transfer.to_owned(),
        crc32: created.integrity == Integrity::Crc32,
        copied,
    }
}
