//! [`Location`]: a bucket and a key in a store, and the lock of that name.

use std::sync::Arc;

use crate::object::attributes::ObjectAttributes;
use crate::object::client::Store;
use crate::object::error::ObjectError;
use crate::object::name_lock::{NameLock, NameWatch, ObjectName, Participation, Patience, Purpose};

/// A bucket and key in a store (a directory's key ends in `/`, or is empty).
#[derive(Debug, Clone)]
pub struct Location {
    /// The store.
    pub store: Arc<Store>,
    /// The bucket.
    pub bucket: Arc<str>,
    /// The key.
    pub key: String,
    /// What the objects of its mount are like; `None`: as the store makes them.
    pub attributes: Option<Arc<ObjectAttributes>>,
}

impl Location {
    /// Whether both are in one bucket, which may be reached by two stores of one endpoint (AWS's
    /// bucket names are everybody's).
    pub fn same_bucket(&self, other: &Location) -> bool {
        self.bucket == other.bucket
            && (Arc::ptr_eq(&self.store, &other.store)
                || self.store.endpoint() == other.store.endpoint())
    }

    /// Whether both are one object.
    pub fn same_object(&self, other: &Location) -> bool {
        self.key == other.key && self.same_bucket(other)
    }
}

impl Location {
    /// Locks the name, after those that wait for it already. [`ObjectError::Busy`] if it is not
    /// free in time. Cancel safe.
    pub(in crate::object) async fn lock(
        &self,
        patience: Patience,
    ) -> Result<NameLock, ObjectError> {
        let names = &self.store.context().names;
        names.lock(self.name(), patience).await
    }

    /// Locks the name as the source of a rename, of a file or a directory. [`ObjectError::Busy`] if
    /// it is not free in time. Cancel safe.
    pub async fn lock_as_source(&self) -> Result<NameLock, ObjectError> {
        let names = &self.store.context().names;
        let name = ObjectName {
            purpose: Purpose::Source,
            ..self.name()
        };
        names.lock(name, Patience::Command).await
    }

    /// Locks the name if it is free.
    pub(in crate::object) fn try_lock(&self) -> Option<NameLock> {
        self.store.context().names.try_lock(self.name())
    }

    /// Begins to watch the name: to be called before the look that is compared later.
    pub fn watch(&self) -> NameWatch {
        self.store.context().names.watch(self.name())
    }

    /// Takes part in what is done to the name by several sessions at once. Locks nothing.
    pub fn take_part(&self) -> Participation {
        self.store.context().names.take_part(self.name())
    }

    /// Whether this is the lock of the name.
    pub(in crate::object) fn is_locked_by(&self, lock: &NameLock) -> bool {
        *lock.name() == self.name()
    }

    fn name(&self) -> ObjectName {
        ObjectName {
            endpoint: self.store.endpoint(),
            bucket: Arc::clone(&self.bucket),
            key: self.key.clone(),
            purpose: Purpose::Write,
        }
    }
}
