//! The labels of the metrics. Each has a bounded number of values.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

/// The label of what has no label of its own.
pub const OTHER: &str = "other";

/// The S3 operations that the server uses, sorted, and last the label of all others.
pub(super) const OPERATIONS: [&str; 16] = [
    "AbortMultipartUpload",
    "CompleteMultipartUpload",
    "CopyObject",
    "CreateMultipartUpload",
    "DeleteObject",
    "DeleteObjects",
    "GetObject",
    "HeadBucket",
    "HeadObject",
    "ListMultipartUploads",
    "ListObjectsV2",
    "ListParts",
    "PutObject",
    "UploadPart",
    "UploadPartCopy",
    OTHER,
];

/// The statuses of answers that have a value of their own.
const STATUSES: [u16; 22] = [
    200, 204, 206, 301, 304, 307, 400, 401, 403, 404, 405, 408, 409, 411, 412, 413, 416, 429, 500,
    502, 503, 504,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindLabels {
    pub(super) kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResultLabels {
    pub(super) result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ClassLabels {
    pub(super) class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BanLabels {
    pub(super) of: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CommandLabels {
    pub(super) verb: &'static str,
    pub(super) code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct VerbLabels {
    pub(super) verb: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RefusalLabels {
    pub(super) verb: &'static str,
    pub(super) class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct TransferLabels {
    pub(super) direction: &'static str,
    pub(super) class: &'static str,
    pub(super) mount: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct BytesLabels {
    pub(super) direction: &'static str,
    pub(super) mount: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StoreLabels {
    pub(super) store: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct HookLabels {
    pub(super) hook: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct HookCallLabels {
    pub(super) hook: Arc<str>,
    pub(super) result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OperationLabels {
    pub(super) store: Arc<str>,
    pub(super) operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) store: Arc<str>,
    pub(super) operation: &'static str,
    pub(super) status: RequestStatus,
}

/// How an attempt of a request to a store has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestStatus {
    /// The store has answered with this HTTP status.
    Answered(u16),
    /// No answer came in time.
    Timeout,
    /// There was no connection, or it broke.
    Unreachable,
    /// The request was not sent, or its answer could not be read.
    Failed,
    /// The server has given it up: its client has left, or another request has answered first.
    Cancelled,
}

impl RequestStatus {
    /// As a label: statuses that no store should send become their class.
    pub(super) fn bounded(self) -> RequestStatus {
        match self {
            RequestStatus::Answered(code) if !STATUSES.contains(&code) => {
                RequestStatus::Answered((code / 100).min(9))
            }
            status => status,
        }
    }
}

impl EncodeLabelValue for RequestStatus {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        match self {
            RequestStatus::Answered(class @ 0..10) => write!(encoder, "{class}xx"),
            RequestStatus::Answered(code) => write!(encoder, "{code}"),
            RequestStatus::Timeout => encoder.write_str("timeout"),
            RequestStatus::Unreachable => encoder.write_str("unreachable"),
            RequestStatus::Failed => encoder.write_str("failed"),
            RequestStatus::Cancelled => encoder.write_str("cancelled"),
        }
    }
}

/// The number of an S3 operation in [`OPERATIONS`].
pub(super) fn operation(name: &str) -> usize {
    // Lower case sorts after the names of operations, so `other` is in its place, too.
    OPERATIONS
        .binary_search(&name)
        .unwrap_or(OPERATIONS.len() - 1)
}

/// Texts of the configuration as labels: at most `most` of them, all later ones are [`OTHER`].
#[derive(Debug)]
pub(super) struct BoundedTexts {
    most: usize,
    other: Arc<str>,
    known: RwLock<HashSet<Arc<str>>>,
}

impl BoundedTexts {
    pub(super) fn new(most: usize) -> BoundedTexts {
        BoundedTexts {
            most,
            other: OTHER.into(),
            known: RwLock::default(),
        }
    }

    /// The label for a text.
    pub(super) fn label(&self, text: &str) -> Arc<str> {
        {
            // Each step leaves the set whole.
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            match known.get(text) {
                Some(label) => return Arc::clone(label),
                None if known.len() >= self.most => return Arc::clone(&self.other),
                None => {}
            }
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(label) = known.get(text) {
            return Arc::clone(label);
        }
        if known.len() >= self.most {
            return Arc::clone(&self.other);
        }
        let label: Arc<str> = text.into();
        known.insert(Arc::clone(&label));
        label
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_can_be_searched() {
        assert!(OPERATIONS.is_sorted() && STATUSES.is_sorted());
        assert_eq!(OPERATIONS[operation("PutObject")], "PutObject");
        for other in ["PutObjectAcl", "", "z"] {
            assert_eq!(OPERATIONS[operation(other)], OTHER);
        }
    }

    #[test]
    fn a_status_that_no_store_should_send_is_its_class() {
        for (code, expected) in [(200, 200), (503, 503), (299, 2), (599, 5), (1000, 9)] {
            let bounded = RequestStatus::Answered(code).bounded();
            assert_eq!(bounded, RequestStatus::Answered(expected));
        }
    }

    #[test]
    fn texts_beyond_the_bound_are_one_label() {
        let texts = BoundedTexts::new(2);
        for _ in 0..2 {
            let labels = ["/", "/in", "/out", "/x"].map(|text| texts.label(text).to_string());
            assert_eq!(labels, ["/", "/in", OTHER, OTHER]);
        }
    }
}
