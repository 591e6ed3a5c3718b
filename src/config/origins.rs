//! [`Origins`]: the sections and files of the keys of a user.

use std::collections::BTreeMap;

use crate::config::tree::{Node, Table, Value, dotted};

/// The origin of each key of one user: the section, and the file or variable.
///
/// Keys have the names of the configuration; entries of `mounts` and `attributes` have keys such as
/// `mounts./in`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<String, String>);

impl Origins {
    /// The origin of a key; `None` if it has its default.
    pub fn of_key(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub(super) fn of(root: &Table, user: &str) -> Origins {
        let mut origins = Origins::default();
        let Some(own) = entry(root, "users", user) else {
            return origins;
        };
        let group = own.get("group").and_then(text);
        if let Some(name) = group
            && let Some(table) = entry(root, "groups", name)
        {
            origins.note(table, &["groups".to_owned(), name.to_owned()]);
        }
        origins.note(own, &["users".to_owned(), user.to_owned()]);
        origins
    }

    fn note(&mut self, table: &Table, section: &[String]) {
        let section = dotted(section);
        for (key, node) in table {
            let origin = |node: &Node| format!("{section} in {}", node.source);
            match below(node) {
                Some(entries) if matches!(key.as_str(), "mounts" | "attributes") => {
                    for (name, node) in entries {
                        self.0.insert(format!("{key}.{name}"), origin(node));
                    }
                }
                _ => {
                    self.0.insert(key.clone(), origin(node));
                }
            }
        }
    }
}

fn entry<'t>(root: &'t Table, table: &str, name: &str) -> Option<&'t Table> {
    below(below(root.get(table)?)?.get(name)?)
}

fn below(node: &Node) -> Option<&Table> {
    match &node.value {
        Value::Table(table)
        | Value::Variable {
            table: Some(table), ..
        } => Some(table),
        _ => None,
    }
}

fn text(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Text(text) | Value::Variable { text, .. } => Some(text),
        _ => None,
    }
}
