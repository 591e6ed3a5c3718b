//! [`Journal`]: the record of one upload, from its first part until the object is published or what is kept is stored.
//!
//! One task an upload does all that is written beside it, one request after the other, so that a record is never
//! overtaken by an older one of itself. It outlives the upload: what is left to do then is told it as an [`Ending`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::super::capabilities::Integrity;
use super::super::multipart::{Created, DonePart, Target, abort_upload};
use super::super::settle::{Sight, look};
use super::super::upload::{Leftovers, Opening, Part, put_part};
use super::super::{Location, ObjectError, head};
use super::find::{discard, now, remove_record, remove_tail, superseded};
use super::record::{self, Base, Keep, Read, Record, SaveError, TailNote, UploadNote, new_writer};
use super::running::{EntryHandle, Running, Ticket, name_of};
use crate::memory::Admission;

/// Parts in flight are given so long to end when an upload has broken off: each has its own deadlines.
const ENDING: Duration = Duration::from_secs(30);

/// How often a record is tried to be written when an upload has broken off, beyond the SDK's own attempts.
const ROUNDS: u32 = 4;

/// An upload's record in the making. Dropped without an ending, nothing more is done.
#[derive(Debug)]
pub(in crate::object) struct Journal {
    /// What the task will work with, until it begins.
    idle: Option<Box<Writer>>,
    /// Tells the task, once it has begun: two things at most.
    tell: Option<mpsc::UnboundedSender<News>>,
    entry: EntryHandle,
}

/// What the task is told.
#[derive(Debug)]
enum News {
    /// The upload has become multipart; so many parts hold old bytes.
    Opened(Opening, u32),
    /// The upload has ended.
    Ended(Ending),
}

/// How an upload has ended.
#[derive(Debug)]
enum Ending {
    Published,
    Broken(Box<Broken>),
    Restored(Option<Box<Leftovers>>),
}

/// An upload that was broken off.
#[derive(Debug)]
pub(in crate::object) struct Broken {
    /// The multipart upload, if there is one.
    pub(in crate::object) opening: Option<Opening>,
    /// Parts on their way.
    pub(in crate::object) inflight: JoinSet<Result<DonePart, ObjectError>>,
    /// Parts that are there.
    pub(in crate::object) done: Vec<DonePart>,
    /// Its first parts that hold old bytes of the object.
    pub(in crate::object) copied: u32,
    /// What comes behind the parts, in order.
    pub(in crate::object) rest: Vec<Part>,
    /// The number of a part that is in the rest, too: the last, which is shorter than others, so nothing can follow it.
    pub(in crate::object) sent_again: Option<u32>,
    /// Bytes of the object before the rest.
    pub(in crate::object) before: u64,
    /// Whether the data connection had ended by itself.
    pub(in crate::object) ended: bool,
    /// Whether it may have been published all the same.
    pub(in crate::object) look_first: bool,
    /// Whether it is to be kept; else removed.
    pub(in crate::object) keep: bool,
    /// The memory of the first chunks of the rest.
    pub(in crate::object) _admission: Option<Admission>,
}

/// What the task works with.
#[derive(Debug)]
struct Writer {
    target: Arc<Target>,
    keep: Keep,
    ticket: Ticket,
    record: Record,
    /// When the upload began, until its time by the store's clock is known.
    began: Option<Instant>,
    /// The ETag of our record as it is in the store.
    saved: Option<String>,
    /// How much was kept when this went on with it, where that may be all of the file.
    may_be_all: Option<u64>,
    /// Whether a record may be in the store that we know no ETag of.
    tried: bool,
    /// Another process goes on with this upload: nothing of it is ours any more.
    taken_over: bool,
    /// A newer upload of the same key has the record.
    displaced: bool,
    /// Where the upload hears that it is not ours any more.
    failed: watch::Sender<Option<ObjectError>>,
}

impl Journal {
    /// The journal of an upload that begins anew.
    pub(in crate::object) fn new(
        target: &Arc<Target>,
        keep: Keep,
        sizes: (u64, u64),
        base: Base,
        old_bytes: u64,
        failed: watch::Sender<Option<ObjectError>>,
    ) -> Journal {
        let replica = &target.location.store.context().replica;
        let record = Record {
            bucket: target.location.bucket.to_string(),
            key: target.location.key.clone(),
            user: keep.user.to_string(),
            transfer: target.id.as_str().to_owned(),
            replica: replica.name.clone(),
            process: replica.process.clone(),
            writer: new_writer(),
            writes: 0,
            running: true,
            refresh_ms: u64::try_from(replica.refresh.as_millis()).unwrap_or(u64::MAX),
            started_ms: 0,
            upload: None,
            sizes,
            tail: None,
            base,
            ended: false,
            old_bytes,
            attributes: target.attributes.clone(),
            others: Vec::new(),
            given_up: Vec::new(),
        };
        Journal::of(target, keep, record, failed)
    }

    /// Takes a kept upload's record over. [`ObjectError::Conflict`] where another process was quicker.
    pub(in crate::object) async fn take_over(
        target: &Arc<Target>,
        keep: Keep,
        kept: &super::Kept,
        failed: watch::Sender<Option<ObjectError>>,
    ) -> Result<Journal, ObjectError> {
        let replica = &target.location.store.context().replica;
        let record = Record {
            replica: replica.name.clone(),
            process: replica.process.clone(),
            writer: new_writer(),
            writes: 0,
            running: true,
            refresh_ms: u64::try_from(replica.refresh.as_millis()).unwrap_or(u64::MAX),
            // What was not known stays so.
            ended: kept.record.ended || kept.record.running,
            ..kept.record.clone()
        };
        let at = record::record_at(&target.location, &keep.state_bucket);
        let may_be_all = record.ended.then(|| kept.size());
        // Entered before it is waited for, so that of two sessions here the later finds the earlier.
        let mut journal = Journal::of(target, keep, record, failed);
        journal.entry.received(kept.size(), false);
        if let Some(writer) = &mut journal.idle {
            match Box::pin(record::save(&at, &writer.record, Some(&kept.record_etag))).await {
                Ok(etag) => writer.saved = Some(etag),
                Err(SaveError::Displaced(_) | SaveError::InTheWay(_)) => {
                    return Err(ObjectError::Conflict);
                }
                Err(SaveError::Object(error)) => return Err(error),
            }
            writer.began = None;
            writer.may_be_all = may_be_all;
            journal.entry.displace_others();
        }
        Ok(journal)
    }

    fn of(
        target: &Arc<Target>,
        keep: Keep,
        record: Record,
        failed: watch::Sender<Option<ObjectError>>,
    ) -> Journal {
        let location = &target.location;
        let replica = &location.store.context().replica;
        let ticket = Running::enter(
            replica,
            name_of(location),
            Arc::clone(&keep.user),
            record.writer.clone(),
        );
        Journal {
            entry: ticket.entry(),
            tell: None,
            idle: Some(Box::new(Writer {
                target: Arc::clone(target),
                keep,
                ticket,
                record,
                began: Some(Instant::now()),
                saved: None,
                may_be_all: None,
                tried: false,
                taken_over: false,
                displaced: false,
                failed,
            })),
        }
    }

    /// Gives up what is kept of an earlier upload of the name by the same user: where this process knows of it, or
    /// `slow`ly sent bytes leave the time to ask. Whatever is sent from here on is no continuation of that, and must not be taken for one
    /// should this process be killed.
    pub(in crate::object) async fn give_up_earlier(&mut self, slow: bool) {
        let Some(writer) = &mut self.idle else {
            return;
        };
        if writer.saved.is_some() || !(slow || writer.ticket.hinted()) {
            return;
        }
        let read = record::read(&writer.at()).await;
        writer.date();
        let object = &writer.target.location;
        match read {
            Ok(Some(found)) if writer.is_earlier(&found) => {
                writer.ticket.take_hint();
                discard(&found, object, &writer.keep).await;
            }
            Ok(None) => {
                writer.ticket.take_hint();
            }
            Ok(_) => {}
            Err(error) => debug!(%error, "the record of an earlier upload could not be looked for"),
        }
    }

    /// Whether it has not become multipart.
    pub(in crate::object) fn is_idle(&self) -> bool {
        self.idle.is_some()
    }

    /// The upload has become multipart: the record is written as soon as its id is known, and refreshed from then on.
    pub(in crate::object) fn opened(&mut self, opening: &Opening, copied: u32) {
        self.running();
        if let Some(tell) = &self.tell {
            // The task ends with its ending, and not before.
            let _ = tell.send(News::Opened(opening.clone(), copied));
        }
    }

    /// The record is refreshed from now on.
    pub(in crate::object) fn running(&mut self) {
        let Some(writer) = self.idle.take() else {
            return;
        };
        let (tell, news) = mpsc::unbounded_channel();
        self.tell = Some(tell);
        let cleanups = writer.target.location.store.context().cleanups.clone();
        cleanups.spawn(writer.run(news));
    }

    /// Tells how much of the object has arrived.
    pub(in crate::object) fn received(&self, size: u64, sent: bool) {
        self.entry.received(size, sent);
    }

    /// Cancelled when another session goes on with this upload.
    pub(in crate::object) fn stopped(&self) -> CancellationToken {
        self.entry.stopped()
    }

    /// The object is there: the record goes, and whatever else was kept under its name.
    pub(in crate::object) fn published(mut self) {
        self.entry.published();
        let known = self
            .idle
            .as_ref()
            .is_some_and(|writer| writer.saved.is_some() || writer.ticket.hinted());
        if known || self.tell.is_some() {
            self.end(Ending::Published);
        }
    }

    /// The upload was broken off.
    pub(in crate::object) fn broken(mut self, broken: Broken) {
        self.entry.ending();
        self.end(Ending::Broken(Box::new(broken)));
    }

    /// A resumed upload ended before what was kept of it had been read again: everything stays as it was, but for an
    /// upload that was opened meanwhile.
    pub(in crate::object) fn restore(mut self, opened: Option<Leftovers>) {
        self.entry.ending();
        self.end(Ending::Restored(opened.map(Box::new)));
    }

    fn end(&mut self, ending: Ending) {
        if let Some(tell) = self.tell.take() {
            // The task ends with this, and not before.
            let _ = tell.send(News::Ended(ending));
        } else if let Some(writer) = self.idle.take()
            // Without a runtime there is nobody left to do it: the process is ending.
            && tokio::runtime::Handle::try_current().is_ok()
        {
            let cleanups = writer.target.location.store.context().cleanups.clone();
            cleanups.spawn(writer.finish(ending));
        }
    }
}

/// What a record says of a multipart upload.
fn note(created: &Created, copied: u32, transfer: &str) -> UploadNote {
    UploadNote {
        id: created.upload_id.to_string(),
        transfer: transfer.to_owned(),
        crc32: created.integrity == Integrity::Crc32,
        copied,
    }
}

impl Writer {
    async fn run(mut self: Box<Self>, mut news: mpsc::UnboundedReceiver<News>) {
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

    async fn opened(&mut self, opening: &Opening, copied: u32) {
        if let Ok(created) = opening.created().await {
            let upload = Some(note(&created, copied, &self.record.transfer));
            // A resumed upload has just written it.
            if self.saved.is_none() || self.record.upload != upload {
                self.record.upload = upload;
                self.write().await;
            }
        }
    }

    async fn finish(mut self: Box<Self>, ending: Ending) {
        match ending {
            Ending::Published => self.published().await,
            Ending::Broken(broken) => self.broken(*broken).await,
            Ending::Restored(opened) => {
                if let Some(leftovers) = opened {
                    leftovers.remove().await;
                }
                self.record.running = false;
                self.write().await;
            }
        }
    }

    /// Writes the record of the running upload, the first time or again.
    async fn write(&mut self) {
        self.date();
        if let Err(error) = self.claim(true).await {
            warn!(key = self.target.location.key, transfer = %self.target.id, %error,
                "the record of a running upload could not be written; it is tried again");
        }
    }

    /// Puts our record in the place of whatever is there, unless that goes before ours (see [`Writer::yields_to`]).
    /// Uploads that may still run are remembered in ours, others are aborted once it is there.
    async fn claim(&mut self, running: bool) -> Result<(), ObjectError> {
        let mut given_up = None;
        for _ in 0..ROUNDS {
            // Keeping takes its time: a newer upload may have come meanwhile, and even have been published.
            if !running && self.ticket.displaced() {
                self.displaced = true;
                return Ok(());
            }
            self.tried = true;
            self.record.writes += 1;
            let at = self.at();
            let saved = record::save(&at, &self.record, self.saved.as_deref()).await;
            let found = match saved {
                Ok(etag) => {
                    if self.saved.replace(etag).is_none() {
                        self.ticket.entry().displace_others();
                    }
                    if let Some(found) = given_up {
                        self.give_up(found).await;
                    }
                    return Ok(());
                }
                Err(SaveError::Object(error)) => return Err(error),
                Err(SaveError::Displaced(found)) => found,
                Err(SaveError::InTheWay(etag)) => {
                    self.saved = Some(etag);
                    continue;
                }
            };
            let had = self.saved.take();
            let Some(found) = found else {
                // Removed: by whoever has published an object of the name, or by a lifecycle rule.
                if had.is_some() && !running {
                    self.displaced = true;
                    return Ok(());
                }
                continue;
            };
            if found.record.is_same(&self.record) {
                self.saved = Some(found.etag);
                continue;
            }
            if found.record.transfer == self.record.transfer && !found.record.is_nobodys() {
                self.taken_over = true;
                self.failed.send_replace(Some(ObjectError::Superseded));
                return Ok(());
            }
            // Whoever has come after us keeps the record.
            if had.is_some() || self.yields_to(&found, running) {
                self.displaced = true;
                return Ok(());
            }
            self.record.others.clone_from(&found.record.others);
            self.record.given_up.clone_from(&found.record.given_up);
            if found.record.is_nobodys() || self.lives(&found) {
                self.record.others.extend(found.record.upload.clone());
                given_up = None;
            } else {
                self.record.given_up.extend(found.record.upload.clone());
                given_up = Some(found.record);
            }
            self.saved = Some(found.etag);
        }
        Err(ObjectError::Conflict)
    }

    /// Whether another upload's record goes before ours. Of one user's uploads the newest is the one that is kept:
    /// who sends something anew under a name means no earlier one of his. Another user's that runs stays, unless
    /// ours runs too.
    fn yields_to(&self, found: &Read, running: bool) -> bool {
        let other = &found.record;
        if other.is_nobodys() {
            return false;
        }
        if *other.user != *self.keep.user {
            return self.lives(found) && !running;
        }
        match self.ticket.after(&other.writer) {
            // Both are in this process.
            Some(after) => !after,
            // What two processes know of the store's time differs by less than a second; below that their own clocks
            // tell, which are in their transfers' names.
            None if other.started_ms.abs_diff(self.record.started_ms) < 1000 => {
                other.transfer > self.record.transfer
            }
            None => other.started_ms > self.record.started_ms,
        }
    }

    /// Whether the upload of a record runs.
    fn lives(&self, found: &Read) -> bool {
        self.ticket.after(&found.record.writer).is_some()
            || found
                .alive_for(self.replica(), now(&self.target.location))
                .is_some()
    }

    /// Whether a record is of the same object, and what it is of does not run: it ends with ours.
    fn ends(&self, found: &Read) -> bool {
        found.record.is_of(&self.target.location)
            && !found.record.is_nobodys()
            && !self.lives(found)
    }

    /// Whether a record is of what is kept of an earlier upload by the same user.
    fn is_earlier(&self, found: &Read) -> bool {
        *found.record.user == *self.keep.user
            && self.ends(found)
            && !self.displaced
            && !self.ticket.displaced()
            && !self.yields_to(found, false)
    }

    /// Removes what a record names that ours has taken the place of.
    async fn give_up(&mut self, found: Record) {
        let object = &self.target.location;
        info!(
            key = object.key,
            transfer = found.transfer,
            "what was kept of an earlier upload is given up for a new one"
        );
        if let Some(upload) = &found.upload {
            abort_upload(object, &upload.id).await;
        }
        if let Some(tail) = &found.tail {
            remove_tail(object, &self.keep, &tail.key).await;
        }
        self.record
            .given_up
            .retain(|other| Some(other) != found.upload.as_ref());
    }

    /// Removes the record, and a tail it names.
    async fn published(&mut self) {
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
    /// remember it. `give_up`: and what is kept of an earlier upload by the same user.
    async fn sign_off(&mut self, give_up: bool) {
        let read = record::read(&self.at()).await;
        self.date();
        let object = &self.target.location;
        let found = match read {
            Ok(Some(found)) => found,
            Ok(None) => return,
            Err(error) => {
                return warn!(key = object.key, %error, "a record may stay behind");
            }
        };
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

    async fn broken(&mut self, mut broken: Broken) {
        let ended = async {
            while let Some(ended) = broken.inflight.join_next().await {
                if let Ok(Ok(part)) = ended {
                    broken.done.push(part);
                }
            }
        };
        if timeout(ENDING, ended).await.is_err() {
            broken.inflight.shutdown().await;
        }
        // A Create that is still under way is waited for: its upload would stay open else.
        let created = match &broken.opening {
            Some(opening) => opening.created().await.ok(),
            None => None,
        };
        if broken.look_first
            && matches!(
                look(&self.target.location, &self.target.id, None).await,
                Sight::Ours(_)
            )
        {
            warn!(key = self.target.location.key, transfer = %self.target.id,
                "the upload was completed after it had been given up");
            return self.published().await;
        }
        if self.taken_over {
            return;
        }
        let keep = broken.keep && !self.ticket.displaced() && !self.displaced;
        if keep && self.keep(&mut broken, created.as_ref()).await {
            return;
        }
        // Another process may go on with it, and this one not have heard of that.
        if self.saved.is_some()
            && let Ok(Some(found)) = record::read(&self.at()).await
            && found.record.transfer == self.record.transfer
            && !found.record.is_same(&self.record)
            && !found.record.is_nobodys()
        {
            return;
        }
        if let Some(created) = created {
            self.target
                .abort(&created.upload_id, broken.look_first)
                .await;
        }
        // What was kept of an earlier upload of the name is no beginning of this one: a client that has sent more than
        // has come of it would go on there, and mix the two.
        self.sign_off(true).await;
    }

    /// Stores the tail and the record. Whether the multipart upload is to stay.
    async fn keep(&mut self, broken: &mut Broken, created: Option<&Created>) -> bool {
        let object = self.target.location.clone();
        let all = broken.before + broken.rest.iter().map(Part::size).sum::<u64>();
        let run = run(broken);
        let tail = if run == broken.before {
            Part::joined(std::mem::take(&mut broken.rest))
        } else {
            None
        };
        // What was kept before stays good where nothing longer has come of it: a part that the store has refused, say.
        let standing = self
            .record
            .tail
            .clone()
            .filter(|old| tail.is_none() && (old.offset..old.offset + old.size).contains(&run));
        let size = match (&tail, &standing) {
            (Some(tail), _) => run + tail.size(),
            (None, Some(old)) => old.offset + old.size,
            (None, None) => run,
        };
        if size <= self.record.old_bytes {
            return false;
        }
        if self.record.base == Base::Unknown {
            let info = head(&object).await;
            self.date();
            match info {
                Ok(info) if superseded(&self.record, Some(&info)) => {
                    info!(key = object.key, transfer = %self.target.id, "somebody has written the object since the upload began: nothing of it is kept");
                    return false;
                }
                Ok(info) => self.record.base = Base::Etag(info.etag),
                Err(ObjectError::NotFound) => self.record.base = Base::Absent,
                Err(error) => debug!(%error, "the object could not be looked at"),
            }
        }
        self.date();
        let old_tail = self.record.tail.take();
        self.record.tail.clone_from(&standing);
        if let Some(tail) = tail {
            let at = record::tail_at(&object, &self.keep.state_bucket);
            let (size, crc32) = (tail.size(), tail.crc32());
            match put_part(&at, tail).await {
                Ok(etag) => {
                    self.record.tail = Some(TailNote {
                        key: at.key,
                        etag,
                        offset: run,
                        size,
                        crc32,
                    });
                }
                // The one before may still be of use.
                Err(error) => {
                    warn!(key = object.key, transfer = %self.target.id, %error, "the tail of a broken upload could not be stored");
                    self.record.tail.clone_from(&old_tail);
                }
            }
        }
        self.record.upload =
            created.map(|created| note(created, broken.copied, &self.record.transfer));
        self.record.running = false;
        // An attempt to go on of which nothing new has come changes nothing of what may be all. And where a part is
        // missing that had come, it is not all.
        let ended = broken.ended && size >= all;
        self.record.ended = ended || self.may_be_all.is_some_and(|whole| size <= whole);
        let new_tail = self.record.tail.as_ref().map(|tail| tail.key.clone());
        let mut pause = Duration::from_millis(500);
        for round in 1..=ROUNDS {
            let had = self.saved.is_some();
            match self.claim(false).await {
                Ok(()) if self.taken_over || self.displaced => {
                    if let Some(key) =
                        new_tail.filter(|key| old_tail.as_ref().is_none_or(|old| old.key != *key))
                    {
                        remove_tail(&object, &self.keep, &key).await;
                    }
                    return self.taken_over;
                }
                Ok(()) if self.ticket.displaced() => {
                    // A newer one has come in the meantime: the record goes, and the tails with it.
                    for key in old_tail.map(|old| old.key).into_iter().chain(new_tail) {
                        remove_tail(&object, &self.keep, &key).await;
                    }
                    return false;
                }
                Ok(()) => {
                    if let Some(old) = old_tail.filter(|old| Some(&old.key) != new_tail.as_ref()) {
                        remove_tail(&object, &self.keep, &old.key).await;
                    }
                    self.ticket.hint();
                    info!(key = object.key, transfer = %self.target.id, bytes = size, "kept what had arrived of a broken upload");
                    return true;
                }
                Err(error) => {
                    warn!(key = object.key, transfer = %self.target.id, %error, round, "the record of a broken upload could not be written");
                    // The one before still tells of the parts.
                    if round == ROUNDS {
                        let old = old_tail.as_ref().map(|old| &old.key);
                        if let Some(key) = new_tail.filter(|key| Some(key) != old) {
                            remove_tail(&object, &self.keep, &key).await;
                        }
                        return had;
                    }
                }
            }
            sleep(pause).await;
            pause *= 2;
        }
        false
    }

    /// Finds out when the upload began, as soon as the store has told its time.
    fn date(&mut self) {
        if let Some(began) = self.began
            && let Some(now) = self.target.location.store.now()
        {
            let passed = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
            self.record.started_ms = now.as_millisecond().saturating_sub(passed);
            self.began = None;
        }
    }

    fn at(&self) -> Location {
        record::record_at(&self.target.location, &self.keep.state_bucket)
    }

    fn replica(&self) -> &super::Replica {
        &self.target.location.store.context().replica
    }
}

/// Bytes in the unbroken run of parts from the first, those not counted that are also in the rest.
fn run(broken: &mut Broken) -> u64 {
    let again = broken.sent_again;
    broken.done.retain(|part| Some(part.number) != again);
    broken.done.sort_unstable_by_key(|part| part.number);
    (1..)
        .zip(&broken.done)
        .take_while(|(number, part)| part.number == *number)
        .map(|(_, part)| part.size)
        .sum()
}
