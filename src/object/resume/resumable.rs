//! [`ResumableUpload`]: an interrupted upload that can be resumed.

use std::net::IpAddr;

use jiff::Timestamp;

use crate::object::multipart::DonePart;
use crate::object::parts::tail::TailNote;
use crate::object::precondition::Precondition;
use crate::object::resume::record::Record;
use crate::object::transfer_id::TransferId;

/// An interrupted upload that can be resumed. It is a picture of one moment: a resume takes the
/// record over, which fails if another was quicker.
#[derive(Debug, Clone)]
pub struct ResumableUpload {
    pub(in crate::object) record: Record,
    pub(in crate::object) record_etag: String,
    /// The unbroken run of parts from the first.
    pub(in crate::object) parts: Vec<DonePart>,
    /// Whether the store still knows its multipart upload, which may have no part yet.
    pub(in crate::object) open: bool,
    /// The tail, if the end of the run is in it or at its begin.
    pub(in crate::object) tail: Option<TailNote>,
    /// The number of bytes of the tail that are in parts already: a resume that broke off had read
    /// them back.
    pub(in crate::object) skip: u64,
    /// The object that must still be there when it is published.
    pub(in crate::object) precondition: Precondition,
    /// When the record was written, by the store's clock.
    pub(in crate::object) written: Timestamp,
}

impl ResumableUpload {
    /// Bytes of the object that are there.
    pub(in crate::object) fn size(&self) -> u64 {
        let parts: u64 = self.parts.iter().map(|part| part.size).sum();
        parts + self.tail.as_ref().map_or(0, |tail| tail.size - self.skip)
    }

    /// The length that is reported, and the offset to resume at: one less than what is there. All
    /// bytes of the file may have come, whatever ended the upload, and a client that sees its whole
    /// length takes the file for stored.
    pub fn reported_len(&self) -> u64 {
        self.size().saturating_sub(1)
    }

    /// Bytes from [`reported_len`](Self::reported_len) on that are there, and come again.
    pub fn overlap(&self) -> u64 {
        self.size() - self.reported_len()
    }

    /// Whether a client that begins at this byte resumes it: at the end of all that is there, or at
    /// the byte before, which is the length that SIZE reports.
    pub fn resumes_at(&self, offset: u64) -> bool {
        let end = self.size();
        offset == end || offset + 1 == end
    }

    /// Whether it begins with bytes of the object that is there.
    pub fn appends(&self) -> bool {
        self.record.old_bytes > 0
    }

    /// The transfer it was begun by, whose name the object will have.
    pub fn transfer(&self) -> TransferId {
        TransferId::named(&self.record.transfer)
    }

    /// The address of the client that sent it.
    pub fn peer(&self) -> Option<IpAddr> {
        self.record.peer
    }

    /// When it last moved: when its record was written after it broke off, by the store's clock.
    pub fn written(&self) -> Timestamp {
        self.written
    }
}
