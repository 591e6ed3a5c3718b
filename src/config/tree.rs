//! Files → a tree of values that know where they were written.
//!
//! The `config` crate parses TOML and YAML into one model of values; this module turns them into
//! [`Node`]s and merges them. It keeps its own tree because a decoder that reports every error must
//! name the source of each value, tables included, and because a merge must not splice the two
//! forms of a secret into one (`{ file = … }` overridden by `{ env = … }`).

use std::collections::BTreeMap;
use std::path::Path;

use ::config::{ConfigError, File, FileFormat, Source as _, Value as Parsed, ValueKind};

use crate::config::report::{Report, Source};
use crate::config::yaml_keys;

/// The keys of a table.
pub(super) type Table = BTreeMap<String, Node>;

/// A value and its source. Deliberately without `Debug`: it may be a secret.
#[derive(Clone)]
pub(super) struct Node {
    /// Where it was written.
    pub(super) source: Source,
    /// The value.
    pub(super) value: Value,
}

/// A value as it was written.
#[derive(Clone)]
pub(super) enum Value {
    /// YAML's null: as if the key were left out.
    Nothing,
    /// `true`, `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(String),
    /// An environment variable: a text that stands for whatever type the schema wants there.
    Variable {
        /// As it was set.
        text: String,
        /// Read as a list: TOML's form, else parts between commas.
        list: Vec<Node>,
        /// Read as a TOML inline table, where it is one.
        table: Option<Table>,
    },
    /// A list.
    List(Vec<Node>),
    /// A table.
    Table(Table),
}

/// How a file is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// TOML 1.0.
    Toml,
    /// YAML 1.2.
    Yaml,
}

/// Reads a file; what is wrong with it goes to `report`.
pub(super) fn read(path: &Path, report: &Report) -> Table {
    report.note_file(path);
    let source = Source::File(path.display().to_string().into());
    let format = match path.extension().and_then(|extension| extension.to_str()) {
        Some("yaml" | "yml") => Format::Yaml,
        _ => Format::Toml,
    };
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, format, &source, report),
        Err(error) => {
            report.push(&source, "", format!("can't be read: {error}"), "");
            Table::new()
        }
    }
}

/// Parses a text; a syntax error goes to `report`.
pub(super) fn parse(text: &str, format: Format, source: &Source, report: &Report) -> Table {
    if format == Format::Yaml {
        let errors = report.len();
        yaml_keys::check(text, source, report);
        if report.len() > errors {
            return Table::new();
        }
    }
    match parse_text(text, format, source) {
        Ok(table) => table,
        Err(problem) => {
            let name = if format == Format::Yaml {
                "YAML"
            } else {
                "TOML"
            };
            report.push(source, "", problem, format!("a {name} document"));
            Table::new()
        }
    }
}

/// Parses a text; the error holds no piece of it but names of keys.
pub(super) fn parse_text(text: &str, format: Format, source: &Source) -> Result<Table, String> {
    let file_format = match format {
        Format::Toml => FileFormat::Toml,
        Format::Yaml => FileFormat::Yaml,
    };
    match File::from_str(text, file_format).collect() {
        Ok(table) => Ok(table
            .into_iter()
            .map(|(key, value)| (key, Node::from_parsed(value, source)))
            .collect()),
        Err(ConfigError::FileParse { cause, .. }) => Err(without_excerpt(&cause.to_string(), text)),
        Err(error) => Err(without_excerpt(&error.to_string(), text)),
    }
}

/// Lays `over` upon `base`: tables key by key, anything else as a whole.
pub(super) fn merge(base: &mut Table, over: Table) {
    for (key, node) in over {
        match (base.get_mut(&key), node) {
            (
                _,
                Node {
                    value: Value::Nothing,
                    ..
                },
            ) => {}
            (
                Some(Node {
                    value: Value::Table(below),
                    ..
                }),
                Node {
                    value: Value::Table(above),
                    ..
                },
            ) if !is_reference(below) && !is_reference(&above) => {
                merge(below, above);
            }
            (_, node) => {
                base.insert(key, node);
            }
        }
    }
}

/// Whether a table is `{ file = … }` or `{ env = … }`: the form of a secret kept elsewhere.
pub(super) fn is_reference(table: &Table) -> bool {
    !table.is_empty()
        && table.iter().all(|(key, node)| {
            (key == "file" || key == "env") && !matches!(node.value, Value::Table(_))
        })
}

/// `path.key`, the key quoted where TOML wants it.
pub(super) fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty()
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = if bare {
        key.to_owned()
    } else {
        format!("{key:?}")
    };
    if path.is_empty() {
        key
    } else {
        format!("{path}.{key}")
    }
}

/// The keys of a path, as [`join`] writes them.
pub(super) fn dotted(path: &[String]) -> String {
    let mut keys = path.iter();
    let first = keys.next().map_or_else(String::new, |key| join("", key));
    keys.fold(first, |path, key| join(&path, key))
}

/// A parser's message without what it shows of the text, which may be a secret.
///
/// Only the forms known to be harmless pass:
/// - TOML: `TOML parse error at line 2, column 5`, a framed excerpt (left out), then the reason.
/// - YAML: `reason at byte 20 line 2 column 5`.
///
/// The name of a doubled key in TOML is taken from the text: names of keys are not secrets.
fn without_excerpt(message: &str, text: &str) -> String {
    let mut lines = message.lines();
    let first = lines.next().unwrap_or_default();
    if let Some(place) = first.strip_prefix("TOML parse error at ") {
        // The frame is three lines: its upper edge, the text, the marker.
        let reason: Vec<&str> = lines
            .skip(3)
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let reason = reason.join(", ");
        let key = reason
            .contains("duplicate key")
            .then(|| key_at(text, place))
            .flatten()
            .map_or_else(String::new, |key| format!(" {key}"));
        return format!("{place}: {reason}{key}");
    }
    let Some((reason, place)) = first.rsplit_once(" at byte ") else {
        return "is not a table of keys and values, or a number in it is too large".to_owned();
    };
    let place = place.split_once(' ').map_or(place, |(_, place)| place);
    format!("{place}: {reason}")
}

/// The key, bare or quoted, that begins at `line 2, column 5` of a TOML text.
fn key_at<'t>(text: &'t str, place: &str) -> Option<&'t str> {
    let (line, column) = place.strip_prefix("line ")?.split_once(", column ")?;
    let line = text
        .lines()
        .nth(line.parse::<usize>().ok()?.checked_sub(1)?)?;
    let before = column.parse::<usize>().ok()?.checked_sub(1)?;
    let (start, first) = line.char_indices().nth(before)?;
    let rest = &line[start..];
    let end = match first {
        '"' | '\'' => rest[1..].find(first)? + 2,
        _ => rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-')
            .unwrap_or(rest.len()),
    };
    (end > 0).then(|| &rest[..end])
}

impl Node {
    /// A table.
    pub(super) fn table(source: Source, table: Table) -> Self {
        Node {
            source,
            value: Value::Table(table),
        }
    }

    fn from_parsed(parsed: Parsed, source: &Source) -> Self {
        let value = match parsed.kind {
            ValueKind::Nil => Value::Nothing,
            ValueKind::Boolean(value) => Value::Bool(value),
            ValueKind::I64(value) => Value::Integer(value),
            // Neither parser produces these; beyond i64 every one of our ranges has ended.
            ValueKind::U64(value) => Value::Integer(i64::try_from(value).unwrap_or(i64::MAX)),
            ValueKind::I128(value) => Value::Integer(i64::try_from(value).unwrap_or(i64::MAX)),
            ValueKind::U128(value) => Value::Integer(i64::try_from(value).unwrap_or(i64::MAX)),
            ValueKind::Float(value) => Value::Float(value),
            ValueKind::String(value) => Value::Text(value),
            ValueKind::Table(table) => Value::Table(
                table
                    .into_iter()
                    .map(|(key, value)| (key, Node::from_parsed(value, source)))
                    .collect(),
            ),
            ValueKind::Array(list) => Value::List(
                list.into_iter()
                    .map(|value| Node::from_parsed(value, source))
                    .collect(),
            ),
        };
        Node {
            source: source.clone(),
            value,
        }
    }
}

impl Value {
    /// What it is, for an error: the type and never the content.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Nothing => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Integer(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a string",
            Value::Variable { .. } => "another text",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}
