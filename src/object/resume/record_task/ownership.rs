//! What a record task knows of its slot: the one place in the store for the record of a user and an
//! object.
//!
//! These are two facts, and each pair of them occurs:
//!
//! - [`SlotView`]: what the store has there, as far as this task has seen. The next write is
//!   conditional on it, and what must be removed at the end depends on it.
//! - [`Ownership`]: whose the slot and the upload are. What is kept at the end depends on it.
//!
//! An upload is superseded before it has written anything, while the answer to a write is lost, or
//! while its record is in the slot; [`RecordTask::withdraw`] makes other requests in each case. A
//! superseded upload that becomes multipart still writes a record if the slot is empty, since no
//! multipart upload is to be open that no record names: it gets a version and stays superseded.
//! One enum would need a variant for each pair.
//!
//! [`RecordTask::withdraw`]: crate::object::resume::record_task::task::RecordTask::withdraw

/// What the store has in the slot, as far as this task has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::object) enum SlotView {
    /// Nothing of ours: no record was written.
    Unwritten,
    /// A record of ours may be there, or may have been.
    Maybe,
    /// What has this ETag: our record, or one that gives way to ours. The next write replaces it.
    Version(String),
}

/// Whose the slot and the upload are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::object) enum Ownership {
    /// Both are ours.
    Ours,
    /// A newer upload of the same user has the slot, or nothing of ours may be stored for another
    /// reason.
    Superseded,
    /// Another process resumes this upload: nothing of it is ours any more.
    TakenOver,
}

impl SlotView {
    /// The ETag that the next write replaces.
    pub(in crate::object) fn etag(&self) -> Option<&str> {
        match self {
            SlotView::Version(etag) => Some(etag),
            SlotView::Unwritten | SlotView::Maybe => None,
        }
    }

    pub(in crate::object) fn has_version(&self) -> bool {
        matches!(self, SlotView::Version(_))
    }

    /// Gives the ETag up, if there is one.
    pub(in crate::object) fn take(&mut self) -> Option<String> {
        match std::mem::replace(self, SlotView::Maybe) {
            SlotView::Version(etag) => Some(etag),
            other => {
                *self = other;
                None
            }
        }
    }
}
