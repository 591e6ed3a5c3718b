//! The reader of a tree: tables and values, each with what the schema says of it.

use crate::config::report::{Report, Source};
use crate::config::schema::keys::ROOT;
use crate::config::schema::{KeySchema, Kind, TableSchema};
use crate::config::tree::{Node, Table, Value, join};

/// One table being read by the schema.
pub(super) struct Section<'a> {
    table: Option<&'a Table>,
    schema: &'static TableSchema,
    source: Source,
    path: String,
    /// Where keys are looked up that the table does not have.
    defaults: Option<Defaults<'a>>,
    report: &'a Report,
}

/// Keys that hold if a section does not set them: those of a user's group.
#[derive(Clone)]
struct Defaults<'a> {
    table: &'a Table,
    path: String,
}

/// One value being read by the schema.
#[derive(Clone)]
pub(super) struct Field<'a> {
    node: &'a Node,
    kind: &'static Kind,
    key: String,
    report: &'a Report,
}

impl<'a> Section<'a> {
    /// The whole document.
    pub(super) fn root(node: &'a Node, report: &'a Report) -> Self {
        let table = match &node.value {
            Value::Table(table) => Some(table),
            _ => None,
        };
        Section {
            table,
            schema: &ROOT,
            source: node.source.clone(),
            path: String::new(),
            defaults: None,
            report,
        }
    }

    /// The section with the keys of another one as defaults.
    pub(super) fn over(mut self, defaults: &Section<'a>) -> Self {
        self.defaults = defaults.table.map(|table| Defaults {
            table,
            path: defaults.path.clone(),
        });
        self
    }

    /// The value of a key, if it is set here or among the defaults.
    pub(super) fn field(&self, key: &'static str) -> Option<Field<'a>> {
        self.own_field(key).or_else(|| self.default_field(key))
    }

    /// The value of a key, if it is set here.
    pub(super) fn own_field(&self, key: &'static str) -> Option<Field<'a>> {
        self.field_of(self.table?, &self.path, key)
    }

    /// The value of a key, if it is set among the defaults.
    pub(super) fn default_field(&self, key: &'static str) -> Option<Field<'a>> {
        let defaults = self.defaults.as_ref()?;
        self.field_of(defaults.table, &defaults.path, key)
    }

    fn field_of(&self, table: &'a Table, path: &str, key: &'static str) -> Option<Field<'a>> {
        let kind = &self.key(key)?.kind;
        let node = table.get(key)?;
        if matches!(node.value, Value::Nothing) {
            return None;
        }
        Some(Field {
            node,
            kind,
            key: join(path, key),
            report: self.report,
        })
    }

    /// The value of a key that must be set.
    pub(super) fn required(&self, key: &'static str, allowed: &str) -> Option<Field<'a>> {
        let field = self.field(key);
        if field.is_none() {
            self.report
                .push(&self.source, &join(&self.path, key), "is missing", allowed);
        }
        field
    }

    /// A table below this one; an empty one if it is left out or is not a table.
    pub(super) fn section(&self, key: &'static str) -> Section<'a> {
        let below = self.field(key).and_then(|field| field.section("a table"));
        let schema = self.key(key).and_then(|key| key.kind.table());
        below.unwrap_or_else(|| Section {
            table: None,
            schema: schema.unwrap_or(self.schema),
            source: self.source.clone(),
            path: join(&self.path, key),
            defaults: None,
            report: self.report,
        })
    }

    /// What the schema says of a key. The decoder asks for no other.
    pub(super) fn key(&self, name: &str) -> Option<&'static KeySchema> {
        let key = self.schema.key(name);
        debug_assert!(key.is_some(), "{name} is not in the schema");
        key
    }

    /// Whether a key is set, wrong or right.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Adds an error about one of its keys.
    pub(super) fn wrong(&self, key: &str, problem: impl Into<String>, allowed: impl Into<String>) {
        let own = self.table.and_then(|table| table.get(key));
        let default = self.defaults.as_ref().and_then(|defaults| {
            let node = defaults.table.get(key)?;
            Some((&node.source, defaults.path.as_str()))
        });
        let (source, path) = match (own, default) {
            (Some(node), _) => (&node.source, self.path.as_str()),
            (None, Some(default)) => default,
            (None, None) => (&self.source, self.path.as_str()),
        };
        self.report.push(source, &join(path, key), problem, allowed);
    }

    /// Reports every key that the schema does not know.
    pub(super) fn finish(self) {
        self.finish_with(|_| None);
    }

    /// Reports every key that the schema does not know. `special` can return a better text for a
    /// key.
    pub(super) fn finish_with(self, special: impl Fn(&str) -> Option<&'static str>) {
        let unknown = self
            .table
            .into_iter()
            .flatten()
            .filter(|(key, _)| self.schema.key(key).is_none());
        let names: Vec<&str> = self.schema.names().collect();
        for (key, node) in unknown {
            let problem = match (special(key), nearest(key, &names)) {
                (Some(text), _) => text.to_owned(),
                (None, Some(near)) => format!("unknown key, did you mean {near}?"),
                (None, None) => "unknown key".to_owned(),
            };
            self.report.push(
                &node.source,
                &join(&self.path, key),
                problem,
                names.join(", "),
            );
        }
    }
}

impl<'a> Field<'a> {
    /// What the schema says of it.
    pub(super) fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// The value.
    pub(super) fn value(&self) -> &'a Value {
        &self.node.value
    }

    /// Notes a file that its value was read from.
    pub(super) fn note_file(&self, path: &str) {
        self.report.note_file(std::path::Path::new(path));
    }

    /// Adds an error about it; returns `None`, so that a parser can end with it.
    pub(super) fn wrong<T>(
        &self,
        problem: impl Into<String>,
        allowed: impl Into<String>,
    ) -> Option<T> {
        self.report
            .push(&self.node.source, &self.key, problem, allowed);
        None
    }

    /// Adds the error that it is of another type; shows the type only.
    pub(super) fn wrong_type<T>(&self, allowed: &str) -> Option<T> {
        self.wrong(format!("is {}", self.node.value.kind()), allowed)
    }

    /// A text.
    pub(super) fn text(&self, allowed: &str) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) | Value::Variable { text, .. } => Some(text),
            _ => self.wrong_type(allowed),
        }
    }

    /// The items of a list.
    pub(super) fn items(&self, allowed: &str) -> Option<Vec<Field<'a>>> {
        match &self.node.value {
            Value::List(list) | Value::Variable { list, .. } => Some(
                list.iter()
                    .enumerate()
                    .map(|(index, node)| Field {
                        node,
                        kind: self.kind.item(),
                        key: format!("{}[{index}]", self.key),
                        report: self.report,
                    })
                    .collect(),
            ),
            _ => self.wrong_type(allowed),
        }
    }

    /// A table with keys that the schema knows.
    pub(super) fn section(&self, allowed: &str) -> Option<Section<'a>> {
        Some(Section {
            table: Some(self.as_table(allowed)?),
            schema: self.kind.table()?,
            source: self.node.source.clone(),
            path: self.key.clone(),
            defaults: None,
            report: self.report,
        })
    }

    /// The entries of a table whose keys the user chooses.
    pub(super) fn entries(&self, allowed: &str) -> Option<Vec<(&'a str, Field<'a>)>> {
        let table = self.as_table(allowed)?;
        let entry = |(name, node): (&'a String, &'a Node)| {
            (
                name.as_str(),
                Field {
                    node,
                    kind: self.kind.item(),
                    key: join(&self.key, name),
                    report: self.report,
                },
            )
        };
        Some(
            table
                .iter()
                .filter(|(_, node)| !matches!(node.value, Value::Nothing))
                .map(entry)
                .collect(),
        )
    }

    fn as_table(&self, allowed: &str) -> Option<&'a Table> {
        match &self.node.value {
            Value::Table(table)
            | Value::Variable {
                table: Some(table), ..
            } => Some(table),
            _ => self.wrong_type(allowed),
        }
    }
}

/// The name that was probably meant: at most a third of its letters differ.
pub(super) fn nearest<'n>(wrong: &str, names: &[&'n str]) -> Option<&'n str> {
    let wrong = wrong.to_lowercase();
    names
        .iter()
        .map(|name| (strsim::osa_distance(&wrong, &name.to_lowercase()), *name))
        .filter(|(distance, name)| *distance <= (name.chars().count() / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names() {
        let names = ["endpoint", "region", "read", "path_style"];
        for (wrong, near) in [
            ("endpont", Some("endpoint")),
            ("Endpoint", Some("endpoint")),
            ("raed", Some("read")),
            ("pathstyle", Some("path_style")),
            ("regiön", Some("region")),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong, &names), near, "{wrong}");
        }
    }
}
