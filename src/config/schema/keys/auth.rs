//! Keys of `[auth]`.

use crate::config::schema::Fallback::Value;
use crate::config::schema::Kind::{TimeOrZero, Word};
use crate::config::schema::TableSchema;
use crate::config::schema::entry::{key, table};

table!(
    AUTH,
    [
        key(
            "cache",
            TimeOrZero,
            Value("\"60s\""),
            "how long a [repeated login](#repeated-logins) needs no check of the password's hash; at most 60 s; 0: never",
        ),
        key(
            "weak_hashes",
            Word(&["warn", "refuse", "allow"]),
            Value("\"warn\""),
            "what becomes of [weak hashes](#password-hashes): `warn` names their users at the start, `refuse` makes them errors",
        ),
    ]
);
