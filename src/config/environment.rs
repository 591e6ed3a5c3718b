//! Environment variables, which override the files.
//!
//! `S3FTPD__STORES__MAIN__ENDPOINT` is the key `stores.main.endpoint`: two underscores separate the
//! levels. Variables are upper case by custom, but names of stores, mounts and users can have any
//! case. So a level means the first of these keys that exists: the key with the same spelling, the
//! key that differs only in case, the key that differs only in characters that a variable can't
//! contain (`MY_STORE` means `my-store`). If none exists, the level is a new key, in lower case if
//! the variable is all upper case.
//!
//! The value of a variable is text, and the schema decides its type. A list is items between commas
//! or TOML's form (`["a", "b"]`), a table is TOML's inline form. A secret is the text itself.

use std::ffi::OsString;

use crate::config::report::{Report, Source};
use crate::config::tree::{self, Format, Node, Table, Value};

const PREFIX: &str = "S3FTPD__";
const SEPARATOR: &str = "__";

/// Applies every variable that begins with the prefix.
pub(super) fn apply(
    root: &mut Table,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    report: &Report,
) {
    let mut ours: Vec<(String, OsString)> = variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    // So `A` comes before `A__FILE`, and errors always have the same order.
    ours.sort_by(|one, other| one.0.cmp(&other.0));
    for (name, value) in ours {
        let source = Source::Variable(name.as_str().into());
        let path: Vec<&str> = name[PREFIX.len()..].split(SEPARATOR).collect();
        let problem = match value.into_string() {
            Err(_) => Err("is not UTF-8".to_owned()),
            Ok(_) if path.iter().any(|level| level.is_empty()) => {
                Err("has an empty level between its underscores".to_owned())
            }
            Ok(text) => set(root, &path, variable(text, &source)),
        };
        if let Err(problem) = problem {
            report.push(&source, "", problem, "S3FTPD__SECTION__KEY=value");
        }
    }
}

/// Sets the key that `path` names.
fn set(table: &mut Table, path: &[&str], node: Node) -> Result<(), String> {
    let Some((level, rest)) = path.split_first() else {
        return Ok(());
    };
    let key = matching_key(table, level)?;
    if rest.is_empty() {
        table.insert(key, node);
        return Ok(());
    }
    let child = table
        .entry(key)
        .or_insert_with(|| Node::table(node.source.clone(), Table::new()));
    match (&mut child.value, &child.source) {
        (Value::Variable { .. }, Source::Variable(other)) => {
            return Err(format!("contradicts {other}, which sets the whole of it"));
        }
        // A secret in another form (`{ file = … }`): the variable replaces all of it.
        (Value::Table(below), Source::File(_)) if tree::is_reference(below) => {
            *child = Node::table(node.source.clone(), Table::new());
        }
        (Value::Table(_), _) => {}
        _ => *child = Node::table(node.source.clone(), Table::new()),
    }
    match &mut child.value {
        Value::Table(below) => set(below, rest, node),
        // It was made a table above.
        _ => Ok(()),
    }
}

/// The key that a level of a variable's name means.
fn matching_key(table: &Table, level: &str) -> Result<String, String> {
    if table.contains_key(level) {
        return Ok(level.to_owned());
    }
    for same in [differs_in_case, differs_in_symbols] {
        let found: Vec<&String> = table.keys().filter(|key| same(key, level)).collect();
        match found.as_slice() {
            [] => {}
            [only] => return Ok((*only).clone()),
            several => {
                let names: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
                return Err(format!("{level} can mean each of {}", names.join(", ")));
            }
        }
    }
    if level.chars().any(char::is_lowercase) {
        Ok(level.to_owned())
    } else {
        Ok(level.to_lowercase())
    }
}

fn differs_in_case(key: &str, level: &str) -> bool {
    key.to_lowercase() == level.to_lowercase()
}

fn differs_in_symbols(key: &str, level: &str) -> bool {
    let plain = |text: &str| -> String {
        text.to_lowercase()
            .chars()
            .map(|c| if c.is_alphanumeric() { c } else { '_' })
            .collect()
    };
    plain(key) == plain(level)
}

/// A variable's text in each of the forms that the schema may ask for.
fn variable(text: String, source: &Source) -> Node {
    let trimmed = text.trim();
    let structured = trimmed.starts_with(['[', '{']);
    let toml = structured
        .then(|| tree::parse_text(&format!("value = {trimmed}"), Format::Toml, source).ok())
        .flatten()
        .and_then(|mut document| document.remove("value"))
        .map(|node| node.value);
    let (list, table) = match toml {
        Some(Value::List(list)) => (list, None),
        Some(Value::Table(table)) => (Vec::new(), Some(table)),
        // `[::]:2121` begins like a list but is an address.
        _ => (split(trimmed, source), None),
    };
    Node {
        source: source.clone(),
        value: Value::Variable { text, list, table },
    }
}

/// The items between commas; an empty text has no items.
fn split(text: &str, source: &Source) -> Vec<Node> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| Node {
            source: source.clone(),
            value: Value::Text(part.to_owned()),
        })
        .collect()
}
