//! Reads stores, mounts, groups and users, and checks that they fit together.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::auth::options::UserOptions;
use crate::config::mounts;
use crate::config::report::Report;
use crate::config::section::{Field, Section};
use crate::config::tree::Value;
use crate::config::users::{Around, Hashes, Mounts};
use crate::config::{stores, users};
use crate::object::options::StoreOptions;
use crate::server::options::ListenOptions;
use crate::tls::options::TlsOptions;

type Stores = BTreeMap<String, Arc<StoreOptions>>;
type Users = BTreeMap<String, Arc<UserOptions>>;

const NAMES: &str = "a table of names";

/// Reads the four tables.
pub(super) fn decode(
    root: &Section<'_>,
    hashes: Hashes,
    tls: Option<&TlsOptions>,
    listeners: &[ListenOptions],
    report: &Report,
) -> (Stores, Users) {
    let stores_written = named(root, "stores");
    let store_names: Vec<&str> = stores_written.iter().map(|(name, _)| *name).collect();
    let idle_connections = StoreOptions::share_of_idle_connections(stores_written.len());
    let stores = stores_written
        .iter()
        .filter_map(|(name, field)| {
            let store = stores::store(name, field, idle_connections)?;
            Some(((*name).to_owned(), Arc::new(store)))
        })
        .collect();
    let mounts: Mounts = named(root, "mounts")
        .iter()
        .map(|(name, field)| ((*name).to_owned(), mounts::mount(field, &store_names)))
        .collect();
    let around = Around {
        mounts: &mounts,
        stores: &store_names,
        hashes,
        tls,
        listeners,
        report,
    };
    let groups = named(root, "groups")
        .iter()
        .map(|(name, field)| (*name, users::group(field, &around)))
        .collect();
    let users_written = named(root, "users");
    let users = users_written
        .iter()
        .filter_map(|(name, field)| {
            let user = users::user(name, field, &groups, &around)?;
            Some(((*name).to_owned(), Arc::new(user)))
        })
        .collect();
    if store_names.is_empty() && !is_wrong_type(root, "stores") {
        root.wrong(
            "stores",
            "there is none",
            "at least one table [stores.NAME]",
        );
    }
    if users_written.is_empty() && !is_wrong_type(root, "users") {
        root.wrong("users", "there is none", "at least one table [users.NAME]");
    }
    (stores, users)
}

/// All names in such a table, including those with errors, so that a use of them does not get a
/// second error.
pub(super) fn names<'a>(root: &Section<'a>, key: &'static str) -> Vec<&'a str> {
    let Some(field) = root.field(key) else {
        return Vec::new();
    };
    match field.value() {
        Value::Table(table)
        | Value::Variable {
            table: Some(table), ..
        } => table.keys().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The entries of a table whose keys are names. An empty name, or one with a control character, is
/// an error.
fn named<'a>(root: &Section<'a>, key: &'static str) -> Vec<(&'a str, Field<'a>)> {
    let entries = root
        .field(key)
        .and_then(|field| field.entries(NAMES))
        .unwrap_or_default();
    for (name, field) in &entries {
        if name.is_empty() || name.chars().any(char::is_control) {
            field.wrong::<()>(
                "is not a name",
                "a name that is not empty and has no control character",
            );
        }
    }
    entries
}

/// Whether the key exists and is not a table. That error is reported elsewhere.
fn is_wrong_type(root: &Section<'_>, key: &'static str) -> bool {
    root.field(key).is_some_and(|field| {
        !matches!(
            field.value(),
            Value::Table(_) | Value::Variable { table: Some(_), .. }
        )
    })
}
