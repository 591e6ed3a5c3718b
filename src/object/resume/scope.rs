//! [`ResumeScope`]: whose interrupted uploads, in which bucket, and what a session does with them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::object::active_uploads::EarlierUploads;
use crate::object::error::ObjectError;
use crate::object::head::{ObjectInfo, head};
use crate::object::list::{Key, RawPage};
use crate::object::location::Location;
use crate::object::resume::keys::{is_aside, name_of, record_at, records_of, tail_at, user_hash};
use crate::object::resume::lookup::{Lookup, Resumer, Staging, judge};
use crate::object::resume::record::BaseObject;
use crate::object::resume::records::{self, SlotContent};
use crate::object::resume::stored::{StoredRecord, written_since};
use crate::object::transfer_id::TransferId;

/// For whom, where and how long interrupted uploads are stored.
#[derive(Debug, Clone)]
pub struct ResumeScope {
    /// The user they belong to.
    pub user: Arc<str>,
    /// The client's address.
    pub peer: Option<IpAddr>,
    /// The bucket of records and tails, in the same store.
    pub state_bucket: Arc<str>,
    /// How long an interrupted upload can be resumed if an object of its name exists.
    pub over_object: Duration,
    /// Where the bytes of its uploads go.
    pub staging: Staging,
}

impl ResumeScope {
    /// A new staged key for an upload of this object, if its bytes are to go to one.
    pub fn staged_at(&self, object: &Location) -> Option<Location> {
        match self.staging {
            Staging::Direct => None,
            Staging::Staged => Some(tail_at(object, &self.state_bucket, &self.user)),
        }
    }

    /// The uploads of this object by the same user in this process.
    pub fn earlier_uploads(&self, object: &Location) -> EarlierUploads {
        let active = &object.store.context().active_uploads;
        active.earlier(&name_of(object), &self.user)
    }

    /// What there is to resume of an object, and the object itself, for which `info` asks while the
    /// record is read. 1 GetObject; if it finds a record, the requests of `judge`.
    pub async fn lookup(
        &self,
        object: &Location,
        info: impl Future<Output = Result<Option<ObjectInfo>, ObjectError>>,
    ) -> Result<(Lookup, Option<ObjectInfo>), ObjectError> {
        let (content, info) = tokio::join!(self.read(object), info);
        let info = info?;
        let stored = match content? {
            SlotContent::Record(stored) => stored,
            SlotContent::Later(later) => {
                // A new upload of the name has to set it aside.
                let cache = &object.store.context().record_cache;
                cache.insert(&name_of(object), &user_hash(&self.user));
                return Ok((Lookup::LaterFormat(later.names.format), info));
            }
            SlotContent::Nothing | SlotContent::Empty(_) | SlotContent::Garbage(_) => {
                return Ok((Lookup::None, info));
            }
        };
        let lookup = match &info {
            // A GET of an empty object reports neither its ETag nor its time, which decide.
            Some(info) if info.etag.is_empty() || info.modified == jiff::Timestamp::UNIX_EPOCH => {
                let info = match head(object).await {
                    Ok(info) => Some(info),
                    Err(ObjectError::NotFound) => None,
                    Err(error) => return Err(error),
                };
                judge(&stored, object, self.resumer(), info.as_ref()).await?
            }
            info => judge(&stored, object, self.resumer(), info.as_ref()).await?,
        };
        Ok((lookup, info))
    }

    fn resumer(&self) -> Resumer<'_> {
        Resumer {
            user: &self.user,
            over_object: self.over_object,
            staging: self.staging,
        }
    }

    /// GetObject of the user's record. One that is not of this object counts as none.
    async fn read(&self, object: &Location) -> Result<SlotContent, ObjectError> {
        let at = record_at(object, &self.state_bucket, &self.user);
        let content = Box::pin(records::read(&at)).await?;
        Ok(match content.is_of(object) {
            true => content,
            false => SlotContent::Nothing,
        })
    }

    /// The format of the user's record, if it is a later one than this version reads. 1 GetObject,
    /// if this process knows that there is a record.
    pub async fn later_format(&self, object: &Location) -> Result<Option<u32>, ObjectError> {
        if !self.knows_own_record(object) {
            return Ok(None);
        }
        Ok(match self.read(object).await? {
            SlotContent::Later(later) => Some(later.names.format),
            _ => None,
        })
    }

    fn knows_own_record(&self, object: &Location) -> bool {
        let cache = &object.store.context().record_cache;
        let own = user_hash(&self.user);
        cache.contains(&name_of(object), |user| user == own)
    }

    /// The records of all users of this object: 1 ListObjectsV2, and 1 GetObject for each.
    async fn all_records(&self, object: &Location) -> Result<Vec<StoredRecord>, ObjectError> {
        let state = Location {
            store: object.store.clone(),
            bucket: self.state_bucket.clone(),
            key: String::new(),
            attributes: object.attributes.clone(),
        };
        let prefix = records_of(object);
        let mut found = Vec::new();
        let mut token = None;
        loop {
            let page = RawPage::fetch(&state, &prefix, None, 1000, token).await?;
            // An empty one counts as none; one that was set aside is of an upload that may be
            // running.
            let wanted = |key: &Key| key.size > 0 && !is_aside(&key.key);
            for key in page.keys.into_iter().filter(wanted) {
                let at = Location {
                    key: key.key,
                    ..state.clone()
                };
                if let SlotContent::Record(stored) = Box::pin(records::read(&at)).await? {
                    found.push(*stored);
                }
            }
            if page.next.is_none() {
                found.retain(|stored| stored.record.is_of(object));
                return Ok(found);
            }
            token = page.next;
        }
    }

    /// Whether this process knows of a record of this object, or has written the object without a
    /// look at its records.
    fn may_have_records(&self, object: &Location) -> bool {
        let cache = &object.store.context().record_cache;
        let name = name_of(object);
        cache.take_unchecked_write(&name) || cache.contains(&name, |_| true)
    }

    /// Whether this process knows that the user may have an upload of this object. Makes no
    /// request.
    pub fn may_have_upload(&self, object: &Location) -> bool {
        let active = &object.store.context().active_uploads;
        self.knows_own_record(object) || active.has_upload_by(&name_of(object), &self.user)
    }

    /// The object has been written in another way than by an upload.
    pub fn object_written(&self, object: &Location) {
        let cache = &object.store.context().record_cache;
        cache.insert_unchecked_write(&name_of(object));
    }

    /// The object has been removed, whose content was `info`. Nothing shows any more that an
    /// interrupted upload of its name is older than that, so those are discarded. 1 ListObjectsV2
    /// and a GetObject for each record, if this process knows that there may be any.
    pub async fn object_removed(
        &self,
        object: &Location,
        info: &ObjectInfo,
    ) -> Result<(), ObjectError> {
        if !self.may_have_records(object) {
            return Ok(());
        }
        for stored in self.all_records(object).await? {
            if stored.is_idle(object) && written_since(&stored.record, Some(info)) {
                Box::pin(stored.discard(object)).await;
            }
        }
        Ok(())
    }

    /// As [`object_removed`](Self::object_removed), of an object that only this user can have
    /// uploads of. 1 HEAD, if this process knows that there may be one.
    pub async fn own_object_removed(
        &self,
        object: &Location,
        info: &ObjectInfo,
    ) -> Result<(), ObjectError> {
        if !self.may_have_records(object) {
            return Ok(());
        }
        match head(&record_at(object, &self.state_bucket, &self.user)).await {
            Ok(record) if record.size > 0 => {}
            Ok(_) | Err(ObjectError::NotFound) => return Ok(()),
            Err(error) => return Err(error),
        }
        if let SlotContent::Record(stored) = self.read(object).await?
            && stored.is_idle(object)
            && written_since(&stored.record, Some(info))
        {
            Box::pin(stored.discard(object)).await;
        }
        Ok(())
    }

    /// The interrupted uploads that end with an object that its user is about to delete, and are
    /// then to be discarded: the user's own, and those of other users that began before the object
    /// was written, which nothing would show afterwards. Not those that are running. 1
    /// ListObjectsV2 and a GetObject for each record, if this process knows that there may be any,
    /// and 1 HEAD if one is another user's.
    pub async fn ended_by_delete(
        &self,
        object: &Location,
    ) -> Result<Vec<StoredRecord>, ObjectError> {
        if !self.may_have_records(object) {
            return Ok(Vec::new());
        }
        let mut ends = Vec::new();
        let mut info = None;
        for stored in self.all_records(object).await? {
            if !stored.is_idle(object) {
                continue;
            }
            if *stored.record.user != *self.user {
                let info = match &mut info {
                    Some(info) => info,
                    None => info.insert(Box::pin(head(object)).await?),
                };
                if !written_since(&stored.record, Some(info)) {
                    continue;
                }
            }
            ends.push(stored);
        }
        Ok(ends)
    }

    /// The object has been published by a transfer: discards the interrupted uploads of all users
    /// that began before. 1 ListObjectsV2 and a GetObject for each record.
    pub(in crate::object) async fn object_published(
        &self,
        object: &Location,
        transfer: &TransferId,
    ) -> Result<(), ObjectError> {
        for stored in self.all_records(object).await? {
            let since = match &stored.record.base {
                BaseObject::Object(base) => base.transfer.as_deref() == Some(transfer.as_str()),
                BaseObject::Unknown | BaseObject::Absent => false,
            };
            if !since && !stored.still_running(object) {
                stored.discard(object).await;
            }
        }
        Ok(())
    }

    /// Discards the user's interrupted upload of an object, if it is not running; returns whether
    /// there was one.
    pub async fn discard(&self, object: &Location) -> Result<bool, ObjectError> {
        match self.read(object).await? {
            SlotContent::Record(stored) if stored.is_idle(object) => {
                Box::pin(stored.discard(object)).await;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}
