//! Whose record it is: a writer puts his in the place of another's, or gives way to it.

use tracing::info;

use super::super::super::ObjectError;
use super::super::super::multipart::abort_upload;
use super::super::find::{now, remove_tail};
use super::super::record::{self, Read, Record, SaveError};
use super::writer::Writer;

/// How often is tried to put a record in the place of one that changes at the same time.
const ROUNDS: u32 = 4;

impl Writer {
    /// Puts our record in the place of whatever is there, unless that goes before ours (see [`Writer::yields_to`]).
    /// Uploads that may still run are remembered in ours, others are aborted once it is there.
    pub(super) async fn claim(&mut self, running: bool) -> Result<(), ObjectError> {
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
    pub(super) fn yields_to(&self, found: &Read, running: bool) -> bool {
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

    /// Whether the upload of a record runs. One that says that it does not has written all that there is of it, even if
    /// its writer is still about: whoever takes its place removes what it names.
    pub(super) fn lives(&self, found: &Read) -> bool {
        let here = || self.ticket.after(&found.record.writer).is_some();
        let elsewhere = || found.alive_for(self.replica(), now(&self.target.location));
        found.record.running && (here() || elsewhere().is_some())
    }

    /// Whether a record is of the same object, and what it is of does not run: it ends with ours.
    pub(super) fn ends(&self, found: &Read) -> bool {
        found.record.is_of(&self.target.location)
            && !found.record.is_nobodys()
            && !self.lives(found)
    }

    /// Whether a record is of what is kept of an earlier upload by the same user.
    pub(super) fn is_earlier(&self, found: &Read) -> bool {
        *found.record.user == *self.keep.user
            && self.ends(found)
            && !self.displaced
            && !self.ticket.displaced()
            && !self.yields_to(found, false)
    }

    /// Removes what a record names that ours has taken the place of.
    pub(super) async fn give_up(&mut self, found: Record) {
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
}
