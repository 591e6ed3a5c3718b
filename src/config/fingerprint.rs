//! A hash of a configuration, by which operators compare what processes run with.
//!
//! It covers what was written, after all files and variables were laid over each other: neither the
//! order of the keys nor comments, nor in which file a key stands. Of a secret it covers the place (a
//! file, a variable), never the text: the hash is shown, and a guess at a short secret could else be
//! checked with it.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::config::schema::keys::ROOT;
use crate::config::schema::{Kind, TableSchema};
use crate::config::tree::{Node, Table, Value};

/// 16 hexadecimal digits.
pub(super) fn of(tree: &Node) -> String {
    let mut hash = Sha256::new();
    if let Value::Table(root) = &tree.value {
        entries(&mut hash, root, Some(Below::Schema(&ROOT)));
    }
    let digest = hash.finalize();
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The same of each top-level key.
pub(super) fn of_sections(tree: &Node) -> BTreeMap<String, String> {
    let Value::Table(root) = &tree.value else {
        return BTreeMap::new();
    };
    let sections = root.iter().map(|(name, node)| {
        let alone = Table::from([(name.clone(), node.clone())]);
        let hash = of(&Node::table(node.source.clone(), alone));
        (name.clone(), hash)
    });
    sections.collect()
}

/// How the keys of a table are read.
#[derive(Clone, Copy)]
enum Below {
    /// By this schema.
    Schema(&'static TableSchema),
    /// Each is a name; their values are read by this schema.
    Names(&'static TableSchema),
    /// Each is a path or a name; their values are of this kind.
    Paths(&'static Kind),
    /// Where a secret is.
    Place,
}

fn add(hash: &mut Sha256, value: &Value, kind: &'static Kind) {
    let secret = matches!(kind, Kind::Secret);
    match value {
        Value::Nothing => text(hash, "nothing", ""),
        Value::Text(_) | Value::Variable { .. } if secret => text(hash, "secret", ""),
        Value::Variable {
            table: Some(table), ..
        } if below(kind).is_some() => entries(hash, table, below(kind)),
        // A variable is a text whatever it stands for, so other values count by their texts too.
        Value::Variable { text: value, .. } | Value::Text(value) => text(hash, "value", value),
        Value::Bool(value) => text(hash, "value", &value.to_string()),
        Value::Integer(value) => text(hash, "value", &value.to_string()),
        Value::Float(value) => text(hash, "value", &value.to_string()),
        Value::List(items) => {
            text(hash, "list", &items.len().to_string());
            for item in items {
                add(hash, &item.value, kind.item());
            }
        }
        Value::Table(table) => entries(hash, table, below(kind)),
    }
}

/// `None` if it is not a table.
fn below(kind: &'static Kind) -> Option<Below> {
    Some(match kind {
        Kind::Table(schema) => Below::Schema(schema),
        Kind::Named(schema) => Below::Names(schema),
        Kind::Map(kind) | Kind::Paths(kind) => Below::Paths(kind),
        Kind::Secret => Below::Place,
        Kind::Either(one, other) => return below(one).or_else(|| below(other)),
        _ => return None,
    })
}

fn entries(hash: &mut Sha256, table: &Table, by: Option<Below>) {
    let set = table
        .iter()
        .filter(|(_, node)| !matches!(node.value, Value::Nothing));
    text(hash, "table", &set.clone().count().to_string());
    for (name, node) in set {
        text(hash, "key", name);
        let kind = match by {
            Some(Below::Schema(schema)) => schema.key(name).map(|key| &key.kind),
            Some(Below::Paths(kind)) => Some(kind),
            Some(Below::Names(_) | Below::Place) | None => None,
        };
        match (by, kind, &node.value) {
            (Some(Below::Names(schema)), _, Value::Table(table)) => {
                entries(hash, table, Some(Below::Schema(schema)));
            }
            (_, kind, value) => add(hash, value, kind.unwrap_or(&Kind::File)),
        }
    }
}

/// With its length, so that no two configurations read the same.
fn text(hash: &mut Sha256, what: &str, text: &str) {
    hash.update(what.as_bytes());
    hash.update(text.len().to_be_bytes());
    hash.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crate::config::from_str;

    const BASE: &str = "
        [stores.a]
        endpoint = 'http://127.0.0.1:1'
        access_key_id = 'KEY'
        secret_access_key = 'SECRET'
        [mounts.m]
        store = 'a'
        bucket = 'files'
        [users.u]
        password = '$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'
        mounts = { '/' = 'm' }
    ";

    fn hash(more: &str) -> String {
        from_str(&format!("{BASE}{more}"), "test").unwrap().hash
    }

    fn replaced(from: &str, to: &str) -> String {
        assert!(BASE.contains(from), "{from}");
        from_str(&BASE.replace(from, to), "test").unwrap().hash
    }

    #[test]
    fn it_changes_with_values_and_not_with_their_form() {
        let one = hash("[limits]\nsessions = 5\nlogin_attempts = 2");
        assert_eq!(one.len(), 16);
        let form = hash("[limits] # the same\nlogin_attempts = 2\nsessions = 5");
        assert_eq!(form, one);
        for other in [
            "",
            "[limits]\nsessions = 6\nlogin_attempts = 2",
            "[limits]\nsessions = 5",
            "[limits]\nsessions = 2\nlogin_attempts = 5",
        ] {
            assert_ne!(hash(other), one, "{other}");
        }
        assert_ne!(replaced("files", "filez"), hash(""));
        assert_ne!(replaced("'/' = 'm'", "'/a' = 'm'"), hash(""));
        assert_ne!(replaced("users.u", "users.v"), hash(""));
    }

    #[test]
    fn it_shows_nothing_of_a_secret_but_where_it_is() {
        assert_eq!(replaced("SECRET", "OTHER"), hash(""));
        assert_eq!(replaced("$2b$05$CCCC", "$2b$05$CCCD"), hash(""));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "SECRET").unwrap();
        let place = format!("{{ file = '{}' }}", file.path().display());
        let kept = replaced("'SECRET'", &place);
        assert_ne!(kept, hash(""));
        std::fs::write(&file, "OTHER").unwrap();
        assert_eq!(replaced("'SECRET'", &place), kept);
    }
}
