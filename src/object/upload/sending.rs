//! How an upload's parts go to the store: none yet, or by a multipart upload.

use std::collections::BTreeMap;

use tokio::task::{JoinError, JoinSet};

use crate::object::error::ObjectError;
use crate::object::multipart::DonePart;
use crate::object::parts::part::{Part, RetainedPart};
use crate::object::parts::pending_create::PendingCreate;

/// How the parts of an upload are sent.
#[derive(Debug)]
pub(super) enum Sending {
    /// What there is may be one PutObject. `first`: the first part, full, until a byte comes that
    /// does not fit in it.
    Single { first: Option<Part> },
    /// More than one part has come, or old bytes are copied.
    Multipart(InFlight),
}

/// A multipart upload and its parts.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) create: PendingCreate,
    /// Part numbers taken by the old bytes of an append: the sizes of other parts are counted from
    /// there.
    pub(super) copied: u32,
    /// How many of those are still being copied.
    pub(super) copying: usize,
    pub(super) tasks: JoinSet<Result<DonePart, ObjectError>>,
    /// What has been put in flight, by its number, while its bytes are at hand.
    pub(super) sent: BTreeMap<u32, RetainedPart>,
    pub(super) done: Vec<DonePart>,
    /// The number of the last part, which may be smaller than others, so that nothing could follow
    /// it: its bytes stay at hand also when it is stored.
    pub(super) last: Option<u32>,
}

impl Default for Sending {
    fn default() -> Self {
        Sending::Single { first: None }
    }
}

impl Sending {
    pub(super) fn is_multipart(&self) -> bool {
        matches!(self, Sending::Multipart(_))
    }

    /// Whether the first part is full, and not sent.
    pub(super) fn holds_first(&self) -> bool {
        matches!(self, Sending::Single { first: Some(_) })
    }

    /// The parts in flight, if there is a multipart upload.
    pub(super) fn in_flight(&mut self) -> Option<&mut InFlight> {
        match self {
            Sending::Single { .. } => None,
            Sending::Multipart(flight) => Some(flight),
        }
    }

    /// Whether a part is on its way, or is to be sent.
    pub(super) fn has_unstored(&self) -> bool {
        match self {
            Sending::Single { first } => first.is_some(),
            Sending::Multipart(flight) => !flight.tasks.is_empty(),
        }
    }

    /// Part numbers taken by old bytes.
    pub(super) fn copied(&self) -> u32 {
        match self {
            Sending::Single { .. } => 0,
            Sending::Multipart(flight) => flight.copied,
        }
    }
}

impl InFlight {
    /// A multipart upload without a part.
    pub(super) fn new(create: PendingCreate) -> Self {
        InFlight {
            create,
            copied: 0,
            copying: 0,
            tasks: JoinSet::new(),
            sent: BTreeMap::new(),
            done: Vec::new(),
            last: None,
        }
    }

    /// Takes the result of a part that has ended.
    pub(super) fn part_ended(
        &mut self,
        ended: Result<Result<DonePart, ObjectError>, JoinError>,
    ) -> Result<(), ObjectError> {
        let part = ended
            .map_err(|error| ObjectError::Other(format!("a part's task ended: {error}")))??;
        self.copying -= usize::from(part.number <= self.copied);
        if self.last != Some(part.number) {
            self.sent.remove(&part.number);
        }
        self.done.push(part);
        Ok(())
    }
}
