//! [`ObjectError`]: what can go wrong with a store, sorted by who can mend it.

/// Why an S3 operation failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ObjectError {
    /// 404 of a key.
    #[error("no such object")]
    NotFound,
    /// 404 of a bucket.
    #[error("the bucket does not exist")]
    NoSuchBucket,
    /// 401, 403: credentials, policy.
    #[error("the store denies access: {0}")]
    Denied(String),
    /// A condition did not hold: the object exists (`If-None-Match: *`) or is another (`If-Match`).
    #[error("the object exists or has been changed by somebody else")]
    Conflict,
    /// The object changed while it was read.
    #[error("the object was changed while it was read")]
    Changed,
    /// The offset lies beyond the end of the object, whose size is given where known.
    #[error("the offset is beyond the end of the object ({size:?})")]
    OutOfRange {
        /// The object's size.
        size: Option<u64>,
    },
    /// Larger than 10,000 parts of this store and budget can be.
    #[error("larger than the largest object here, {limit} bytes")]
    TooLarge {
        /// The largest object, bytes.
        limit: u64,
    },
    /// What the store holds is not what was sent.
    #[error("checksum mismatch: {0}")]
    Integrity(String),
    /// 503 SlowDown and the like, after all retries.
    #[error("the store asks to slow down")]
    Throttled,
    /// Connection refused or reset, 5xx, after all retries.
    #[error("the store can't be reached: {0}")]
    Unavailable(String),
    /// No answer in time, after all retries.
    #[error("the store did not answer in time")]
    Timeout,
    /// Out of space or quota (507, QuotaExceeded, `XMinioStorageFull`).
    #[error("the store is full")]
    Full,
    /// No memory within the deadline.
    #[error("no memory free for the transfer")]
    Memory,
    /// Somebody else's object took the place of ours: it was whole, and is gone.
    #[error("another upload of the same name has replaced this one")]
    Superseded,
    /// The store can't do this.
    #[error("the store does not support it: {0}")]
    Unsupported(String),
    /// Anything else, with the store's code and message.
    #[error("the store answered: {0}")]
    Other(String),
}

impl ObjectError {
    /// Whether trying again later can help: 4xx replies, else 5xx.
    pub fn transient(&self) -> bool {
        matches!(
            self,
            Self::Throttled | Self::Unavailable(_) | Self::Timeout | Self::Memory | Self::Changed | Self::Integrity(_)
        )
    }
}
