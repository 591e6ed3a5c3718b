//! What becomes of an upload that was broken off: its tail and record are written, or nothing of it stays.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::super::super::capabilities::Integrity;
use super::super::super::multipart::Created;
use super::super::super::settle::{Sight, look};
use super::super::super::upload::{Part, put_part};
use super::super::super::{Location, ObjectError, head};
use super::super::find::{remove_tail, superseded};
use super::super::record::{self, Base, TailNote};
use super::Broken;
use super::writer::{Writer, note};

/// Parts in flight are given so long to end, where nothing of the upload will be kept or the process ends. Else they
/// have all the time that they need, which their own deadlines bound.
const ENDING: Duration = Duration::from_secs(30);

/// And so long has a tail that is on its way when the process ends: the record has to be written behind it.
const LAST_TAIL: Duration = Duration::from_secs(10);

/// How often it is looked which of both it is.
const LOOK: Duration = Duration::from_secs(1);

/// How often a tail and a record are tried to be written then, beyond the SDK's own attempts.
const ROUNDS: u32 = 4;

/// Between two of these; the second time twice as long, and so on.
const PAUSE: Duration = Duration::from_millis(500);

impl Writer {
    pub(super) async fn broken(&mut self, mut broken: Broken) {
        self.parts_end(&mut broken).await;
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

    /// Waits until the parts in flight have ended; the record is refreshed meanwhile, so that nobody takes this process
    /// for dead.
    async fn parts_end(&mut self, broken: &mut Broken) {
        let begun = Instant::now();
        let mut written = begun;
        loop {
            match timeout(LOOK, broken.inflight.join_next()).await {
                Ok(None) => return,
                Ok(Some(Ok(Ok(part)))) => broken.done.push(part),
                Ok(Some(_)) | Err(_) => {}
            }
            let kept = broken.keep && !self.ticket.displaced() && !self.displaced;
            if begun.elapsed() >= ENDING && (!kept || self.process_ends()) || self.taken_over {
                broken.inflight.abort_all();
                // Some may have ended, and have given their bytes back.
                while let Some(ended) = broken.inflight.join_next().await {
                    broken.done.extend(ended.ok().and_then(Result::ok));
                }
                return;
            }
            if kept && written.elapsed() >= self.replica().refresh {
                written = Instant::now();
                self.write().await;
            }
        }
    }

    /// Whether what is still to be done is waited for by a process that is about to end.
    fn process_ends(&self) -> bool {
        self.target.location.store.context().cleanups.is_closed()
    }

    /// Stores the tail and the record. Whether the multipart upload is to stay.
    pub(super) async fn keep(&mut self, broken: &mut Broken, created: Option<&Created>) -> bool {
        let object = self.target.location.clone();
        let all = broken.size;
        let (run, tail) = gather(broken);
        // What was kept before stays good where nothing longer has come of it: a part that the store has refused, say.
        let end = run + tail.as_ref().map_or(0, Part::size);
        let standing = self.record.tail.clone().filter(|old| {
            let old_end = old.offset + old.size;
            (old.offset..old_end).contains(&run) && (tail.is_none() || old_end >= end)
        });
        let tail = tail.filter(|_| standing.is_none());
        let size = match (&tail, &standing) {
            (Some(tail), _) => run + tail.size(),
            (None, Some(old)) => old.offset + old.size,
            (None, None) => run,
        };
        if size <= self.record.old_bytes {
            return false;
        }
        // One that had all its bytes was refused where it was to be published: somebody may have written the object since
        // it began, and nothing would ask for what is kept of it then.
        let unknown = self.record.base == Base::Unknown;
        if unknown || broken.ended {
            let info = head(&object).await;
            self.date();
            match info {
                Ok(info) if superseded(&self.record, Some(&info)) => {
                    info!(key = object.key, transfer = %self.target.id, "somebody has written the object since the upload began: nothing of it is kept");
                    return false;
                }
                Ok(info) if unknown => self.record.base = Base::Etag(info.etag),
                Err(ObjectError::NotFound) if unknown => self.record.base = Base::Absent,
                Ok(_) | Err(ObjectError::NotFound) => {}
                Err(error) => debug!(%error, "the object could not be looked at"),
            }
        }
        self.date();
        // The record keeps the old one until there is another: it may be written meanwhile.
        let old_tail = self.record.tail.clone();
        if tail.is_none() {
            self.record.tail.clone_from(&standing);
        }
        if let Some(tail) = tail {
            let at = record::tail_at(&object, &self.keep.state_bucket);
            let (size, crc32) = (tail.size(), tail.crc32());
            match self.put_tail(&at, tail).await {
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
        let mut pause = PAUSE;
        for round in 1..=ROUNDS {
            let had = self.saved.is_some();
            match self.claim(false).await {
                // The one before is of use to whoever goes on with it.
                Ok(()) if self.taken_over => {
                    let old = old_tail.as_ref().map(|old| &old.key);
                    if let Some(key) = new_tail.filter(|key| Some(key) != old) {
                        remove_tail(&object, &self.keep, &key).await;
                    }
                    return true;
                }
                Ok(()) if self.displaced || self.ticket.displaced() => {
                    // A newer one has come in the meantime: the record goes, and the tails with it.
                    for key in old_tail.map(|old| old.key).into_iter().chain(new_tail) {
                        remove_tail(&object, &self.keep, &key).await;
                    }
                    self.record.tail = None;
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

    /// Stores a tail, whatever a store that is gone for some seconds says: what it holds is nowhere else, and its length may
    /// have been told. Not where a newer upload makes an end of it.
    async fn put_tail(&mut self, at: &Location, mut tail: Part) -> Result<String, ObjectError> {
        if at.store.integrity(&at.bucket).await == Integrity::Signed {
            tail.join();
        }
        let mut pause = PAUSE;
        let mut round = 1;
        loop {
            let error = match self.put_tail_once(at, tail.clone()).await {
                Err(error) if error.transient() && round < ROUNDS && !self.ticket.displaced() => {
                    error
                }
                result => return result,
            };
            debug!(key = at.key, %error, round, "the tail of a broken upload is tried again");
            sleep(pause).await;
            pause *= 2;
            round += 1;
        }
    }

    /// The record is refreshed meanwhile, so that nobody takes this process for dead.
    async fn put_tail_once(&mut self, at: &Location, tail: Part) -> Result<String, ObjectError> {
        let mut written = Instant::now();
        let mut ends = None;
        let mut put = pin!(put_part(at, tail));
        loop {
            if let Ok(result) = timeout(LOOK, &mut put).await {
                return result;
            }
            if self.process_ends() {
                let since: &mut Instant = ends.get_or_insert_with(Instant::now);
                if since.elapsed() >= LAST_TAIL {
                    return Err(ObjectError::Other("the process ends".to_owned()));
                }
            }
            if written.elapsed() >= self.replica().refresh {
                written = Instant::now();
                self.write().await;
                if self.taken_over || self.displaced {
                    return Err(ObjectError::Superseded);
                }
            }
        }
    }
}

/// Bytes in the unbroken run of parts from the first, and what is at hand behind that run without a gap. A part that the
/// store has behind one that failed is not at hand any more, and lost with what follows it.
fn gather(broken: &mut Broken) -> (u64, Option<Part>) {
    let (last, mut next) = (broken.last, 1);
    broken.done.retain(|part| Some(part.number) != last);
    broken.done.sort_unstable_by_key(|part| part.number);
    let mut run = 0;
    for part in &broken.done {
        if part.number != next {
            break;
        }
        run += part.size;
        next += 1;
    }
    let mut tail = Vec::new();
    while let Some(part) = broken.sent.remove(&next).map(|part| part.take())
        && part.size() > 0
    {
        tail.push(part);
        next += 1;
    }
    let (number, rest) = std::mem::take(&mut broken.rest);
    if number == next {
        tail.push(rest);
    }
    broken.sent.clear();
    (run, Part::joined(tail))
}
