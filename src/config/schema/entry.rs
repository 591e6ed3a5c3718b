//! What the tables of keys are written with.

use crate::config::schema::{Fallback, KeySchema, Kind, TableSchema};
use crate::units::{GIB, MIB, TIB};
use Fallback::Text;
use Kind::{List, Network, Number, Table, Word};

/// S3's smallest part; smaller ones are refused when an upload is completed.
pub(super) const SMALLEST_PART: u64 = 5 * MIB;
/// S3's largest part, PutObject and CopyObject.
pub(super) const LARGEST_PART: u64 = 5 * GIB;
/// No store holds a larger object.
pub(super) const LARGEST_FILE: u64 = 1024 * TIB;
/// No machine serves more sessions.
const MOST_SESSIONS: u64 = 10_000_000;

pub(super) const NONE: Fallback = Text("none");
pub(super) const PROTECTION: Kind = Word(&["required", "optional", "off"]);
pub(super) const SESSIONS: Kind = Number(1, MOST_SESSIONS);
pub(super) const NETWORKS: Kind = List(&Network, 0);

pub(super) const fn key(
    name: &'static str,
    kind: Kind,
    fallback: Fallback,
    about: &'static str,
) -> KeySchema {
    KeySchema {
        name,
        kind,
        fallback,
        about,
    }
}

pub(super) const fn section(
    name: &'static str,
    table: &'static TableSchema,
    about: &'static str,
) -> KeySchema {
    key(name, Table(table), Text("the defaults of its keys"), about)
}

macro_rules! table {
    ($name:ident, [$($key:expr),* $(,)?] $(, $rules:expr)?) => {
        pub(super) static $name: TableSchema = TableSchema {
            keys: &[$($key),*],
            rules: table!(@rules $($rules)?),
        };
    };
    (@rules) => { &[] };
    (@rules $rules:expr) => { $rules };
}

pub(super) use table;
