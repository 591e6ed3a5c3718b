//! Keys of metrics.

use crate::config::schema::Fallback::Value;
use crate::config::schema::Kind::Number;
use crate::config::schema::TableSchema;
use crate::config::schema::entry::{key, table};

/// A series for each user is much for Prometheus, whatever the server can count.
const MOST_LAST_UPLOADS: u64 = 1000;

table!(
    METRICS,
    [key(
        "last_uploads",
        Number(0, MOST_LAST_UPLOADS),
        Value("0"),
        "the number of users whose last upload `s3ftpd_last_upload_timestamp_seconds` reports. If more users upload, those with the latest uploads are reported. 0: none",
    )]
);
