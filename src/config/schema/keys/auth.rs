//! Keys of `[auth]`.

use crate::config::schema::Fallback::Value;
use crate::config::schema::Kind::Word;
use crate::config::schema::TableSchema;
use crate::config::schema::entry::{key, table};

table!(
    AUTH,
    [key(
        "weak_hashes",
        Word(&["warn", "refuse", "allow"]),
        Value("\"warn\""),
        "what becomes of [weak hashes](#password-hashes): `warn` names their users at the start, `refuse` makes them errors",
    )]
);
