//! The order of uploads of one user and name: a task puts its record in the place of another's, or
//! gives way to it.
//!
//! The newest upload has the record. An older one that broke off is discarded; one that may still
//! run is set aside under a name of its own, so that the sweep finds it if its process dies. If it
//! cannot be decided which of two is the newer one, neither is kept: a resume would add the end of
//! one to the beginning of the other.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::sleep;
use tracing::info;

use crate::object::error::ObjectError;
use crate::object::location::Location;
use crate::object::multipart::list_parts::list_parts;
use crate::object::resume::discard::remove_object;
use crate::object::resume::keys::set_aside_at;
use crate::object::resume::order::BeganOrder;
use crate::object::resume::record::{RecordState, new_attempt};
use crate::object::resume::record_task::ownership::{Ownership, SlotView};
use crate::object::resume::record_task::task::RecordTask;
use crate::object::resume::records::{self, LaterRecord, SaveError, SlotContent};
use crate::object::resume::stored::StoredRecord;

/// The number of attempts to replace a record that changes at the same time.
const ROUNDS: u32 = 6;

/// Between these attempts, from the second on.
const PAUSE: Duration = Duration::from_millis(50);

/// A record that was set aside.
struct Aside {
    key: String,
    /// The multipart upload that it names, and the key that this is an upload of.
    upload: Option<(Location, String)>,
}

/// What a task does after it has met another record.
enum Met {
    /// It replaces what has this ETag, or nothing.
    Replaces(Option<String>),
    /// It gives way.
    GivesWay(Ownership),
}

impl RecordTask {
    /// Puts our record in the place of what is there, unless that goes before ours.
    pub(in crate::object) async fn claim(&mut self) -> Result<(), ObjectError> {
        // The record that was set aside in the last round, as long as ours is not in its place.
        let mut aside = None;
        let at = self.at();
        for round in 0..ROUNDS {
            // To store an interrupted upload takes time: a newer one may have come meanwhile, and
            // even have been published.
            if !self.record.state.is_running() && self.guard.is_superseded() {
                self.ownership = Ownership::Superseded;
                break;
            }
            if self.slot == SlotView::Unwritten {
                self.slot = SlotView::Maybe;
            }
            self.record.attempt.generation += 1;
            let found = match records::save(&at, &self.record, self.slot.etag()).await {
                Ok(etag) => {
                    let had = self.slot.has_version();
                    self.slot = SlotView::Version(etag);
                    if !had {
                        self.guard.status().supersede_earlier();
                    }
                    // With conditions its writer had not ended the record that ours has replaced.
                    if !at.store.conditional_writes(&at.bucket).await {
                        self.remove_if_ended(aside).await;
                    }
                    return Ok(());
                }
                Err(SaveError::Object(error)) => return Err(error),
                Err(SaveError::Conflict(found)) => found,
            };
            // It is not in the store any more that this names: its writer has ended it, or has
            // written it again.
            if let Some(aside) = aside.take() {
                remove_object(&at, aside.key).await;
            }
            let had = self.slot.take().is_some();
            match self.meets(found, had, &mut aside).await? {
                Met::Replaces(Some(etag)) => self.slot = SlotView::Version(etag),
                Met::Replaces(None) => {}
                Met::GivesWay(ownership) => {
                    self.ownership = ownership;
                    self.remove_if_ended(aside).await;
                    return Ok(());
                }
            }
            if round > 0 {
                sleep(PAUSE).await;
            }
        }
        match self.ownership {
            Ownership::Ours => Err(ObjectError::Conflict),
            Ownership::Superseded | Ownership::TakenOver => Ok(()),
        }
    }

    /// `had`: ours was there before.
    async fn meets(
        &mut self,
        found: SlotContent,
        had: bool,
        aside: &mut Option<Aside>,
    ) -> Result<Met, ObjectError> {
        let runs = self.record.state.is_running();
        let found = match found {
            SlotContent::Nothing | SlotContent::Empty(_) if had && !runs => {
                // Another session has published an object of the name or deleted it, or a lifecycle
                // rule was at work.
                return Ok(Met::GivesWay(Ownership::Superseded));
            }
            SlotContent::Nothing | SlotContent::Empty(_) => {
                if had {
                    // The same; but as long as it runs a record has to name it.
                    self.record.state = RecordState::Doubtful;
                }
                return Ok(Met::Replaces(match found {
                    SlotContent::Empty(etag) => Some(etag),
                    _ => None,
                }));
            }
            SlotContent::Garbage(etag) => return Ok(Met::Replaces(Some(etag))),
            SlotContent::Later(later) => return self.meets_later(*later, had, aside).await,
            SlotContent::Record(found) => found,
        };
        if found.record.is_same(&self.record) {
            return Ok(Met::Replaces(Some(found.etag)));
        }
        let removing = found.record.state == RecordState::Removing;
        if found.record.transfer == self.record.transfer && !removing {
            self.failed.send_replace(Some(ObjectError::Superseded));
            return Ok(Met::GivesWay(Ownership::TakenOver));
        }
        // Its writer knew both.
        if had && (removing || self.had_seen_ours(&found).await) {
            return Ok(Met::GivesWay(Ownership::Superseded));
        }
        let object = self.target.location.clone();
        if removing {
            found.discard(&object).await;
            return Ok(Met::Replaces(None));
        }
        if self.record.began.order(&found.record.began) == BeganOrder::Before {
            return Ok(Met::GivesWay(Ownership::Superseded));
        }
        self.doubt(&found);
        if found.still_running(&object) {
            let at = self.at();
            let upload = found.record.upload.as_ref();
            let upload = upload.map(|upload| (upload.at(&object, &at), upload.id.clone()));
            let by = &found.record.attempt.id;
            self.set_aside(by, serde_body(&found)?, upload, aside)
                .await?;
            self.set_aside
                .extend(aside.as_ref().map(|aside| aside.key.clone()));
            return self.replaces(found.etag, runs).await;
        }
        info!(
            key = object.key,
            transfer = found.record.transfer,
            "an interrupted upload is given up for a new one"
        );
        found.discard(&object).await;
        Ok(match self.record.state {
            RecordState::Doubtful if !runs => Met::GivesWay(Ownership::Superseded),
            _ => Met::Replaces(None),
        })
    }

    /// A record of a later format: what it names stays until the sweep removes it.
    async fn meets_later(
        &mut self,
        later: LaterRecord,
        had: bool,
        aside: &mut Option<Aside>,
    ) -> Result<Met, ObjectError> {
        let ours = self.record.upload.as_ref().map(|upload| &upload.id);
        let theirs = later.names.upload.as_ref();
        if had && ours.is_some() && ours == theirs.map(|upload| &upload.id) {
            self.failed.send_replace(Some(ObjectError::Superseded));
            return Ok(Met::GivesWay(Ownership::TakenOver));
        }
        if had {
            return Ok(Met::GivesWay(Ownership::Superseded));
        }
        let (object, at) = (&self.target.location, self.at());
        let theirs = theirs.map(|upload| (upload.at(object, &at), upload.id.clone()));
        self.set_aside(&new_attempt(), later.body, theirs, aside)
            .await?;
        Ok(Met::Replaces(Some(later.etag)))
    }

    /// Takes the place of a record that was set aside. An upload in doubt that has ended leaves an
    /// empty one there: the other one learns by it that it is in doubt, too.
    async fn replaces(&mut self, etag: String, runs: bool) -> Result<Met, ObjectError> {
        if self.record.state == RecordState::Doubtful && !runs {
            self.end(&etag).await;
            return Ok(Met::GivesWay(Ownership::Superseded));
        }
        Ok(Met::Replaces(Some(etag)))
    }

    /// Writes the record of another upload under a name of its own.
    async fn set_aside(
        &self,
        by: &str,
        body: Bytes,
        upload: Option<(Location, String)>,
        aside: &mut Option<Aside>,
    ) -> Result<(), ObjectError> {
        let at = set_aside_at(&self.at(), by);
        records::copy_to(&at, body).await?;
        *aside = Some(Aside {
            key: at.key,
            upload,
        });
        Ok(())
    }

    /// Removes a record that was set aside if its upload has ended. The writer of that upload
    /// removes it only if it finds another record in the slot. If it ends its own record there in
    /// the moment in which ours takes the place, it does not see ours. But it ends the upload
    /// before the record, so the upload is closed now. 1 ListParts.
    async fn remove_if_ended(&self, aside: Option<Aside>) {
        if let Some(Aside {
            key,
            upload: Some((parts, id)),
        }) = aside
            && let Ok(None) = list_parts(&parts, &id).await
        {
            remove_object(&self.at(), key).await;
        }
    }

    /// Whether the writer of the record that has replaced ours had seen ours. It replaces ours only
    /// if its own is newer, or in doubt. On a store without conditions it may have looked before
    /// ours was written.
    async fn had_seen_ours(&self, found: &StoredRecord) -> bool {
        let at = self.at();
        let may_replace_ours = match self.record.began.order(&found.record.began) {
            BeganOrder::Before => true,
            BeganOrder::Unclear => found.record.state == RecordState::Doubtful,
            BeganOrder::After => false,
        };
        may_replace_ours || at.store.conditional_writes(&at.bucket).await
    }

    /// Ours is not kept if it cannot be decided whether it is newer than another.
    pub(in crate::object) fn doubt(&mut self, found: &StoredRecord) {
        if self.record.began.order(&found.record.began) == BeganOrder::Unclear {
            info!(
                key = self.target.location.key,
                transfer = %self.target.id,
                "two uploads began in the same second in two processes: neither is kept"
            );
            self.record.state = RecordState::Doubtful;
        }
    }

    /// Whether a record is of an interrupted upload of the same user and object.
    pub(in crate::object) fn may_discard(&self, found: &StoredRecord) -> bool {
        found.record.is_of(&self.target.location)
            && *found.record.user == *self.scope.user
            && found.record.state != RecordState::Removing
            && !found.still_running(&self.target.location)
    }

    /// Whether a record is of an interrupted upload of the same user that ends with ours, since it
    /// is the earlier one or that cannot be ruled out.
    pub(in crate::object) fn is_earlier(&self, found: &StoredRecord) -> bool {
        self.may_discard(found)
            && !self.is_superseded()
            && self.record.began.order(&found.record.began) != BeganOrder::Before
    }
}

/// The bytes of a record.
fn serde_body(found: &StoredRecord) -> Result<Bytes, ObjectError> {
    serde_json::to_vec(&found.record)
        .map(Bytes::from)
        .map_err(|error| ObjectError::Other(error.to_string()))
}
