//! What the configuration may say: a table of all keys, each written once.
//!
//! The decoder takes bounds and defaults from here, and refuses to ask for a key that is not here.
//! `s3ftpd schema` ([`json`]), the tables of docs/reference/configuration.md (`markdown`), the
//! check of the sample file, and the `config` of the chart's values.schema.json come from it too, so
//! none of them can say something else.

mod entry;
pub(super) mod json;
pub(super) mod keys;
#[cfg(test)]
pub(super) mod markdown;

/// A table of the configuration.
pub(super) struct TableSchema {
    /// Its keys, in the order of documents and error messages.
    pub(super) keys: &'static [KeySchema],
    /// What holds between its keys.
    pub(super) rules: &'static [Rule],
}

/// What holds between the keys of a table.
pub(super) enum Rule {
    /// If the first key is set, so must be the second.
    Needs(&'static str, &'static str),
    /// One of them must be set, and only one.
    ExactlyOne(&'static [&'static str]),
}

/// A key.
pub(super) struct KeySchema {
    /// Its name.
    pub(super) name: &'static str,
    /// The values it takes.
    pub(super) kind: Kind,
    /// What holds if it is left out.
    pub(super) fallback: Fallback,
    /// What it is for, in Markdown; links are relative to docs/reference.
    pub(super) about: &'static str,
}

/// The values that a key takes.
pub(super) enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number between two bounds, both included.
    Number(u64, u64),
    /// Bytes between two bounds, both included.
    Size(u64, u64),
    /// A length of time of more than 0, at most 7 days.
    Time,
    /// A length of time of at most 7 days, which may be 0.
    TimeOrZero,
    /// A length of time of more than 0, at most this many days.
    Days(u32),
    /// A name, or a glob of names.
    NamePattern,
    /// One line of text of at most this many bytes.
    Line(usize),
    /// One of these words.
    Word(&'static [&'static str]),
    /// `"auto"`, `true` or `false`.
    Capability,
    /// Passive ports.
    Ports,
    /// An IP address or a host name.
    Host,
    /// An IP address with a port.
    Address,
    /// A network, or one address.
    Network,
    /// An http or https URL.
    Url,
    /// An http or https URL that is called: without a user or a fragment.
    HookUrl,
    /// The name of a bucket.
    Bucket,
    /// The prefix of keys.
    Prefix,
    /// The path of a file.
    File,
    /// A secret in any of its forms.
    Secret,
    /// A name that is defined elsewhere in the configuration, or a host name.
    Name,
    /// A list of at least this number of items.
    List(&'static Kind, usize),
    /// A table.
    Table(&'static TableSchema),
    /// A table whose keys are names of the user's choice.
    Named(&'static TableSchema),
    /// A table whose keys are names of the user's choice; each value is of this kind.
    Map(&'static Kind),
    /// An absolute path of the user's tree.
    Path,
    /// A day, or a time.
    Date,
    /// A table of absolute paths; each value is one of the two.
    Paths(&'static Kind),
    /// One or the other.
    Either(&'static Kind, &'static Kind),
}

/// What holds if a key is left out.
pub(super) enum Fallback {
    /// It must not be left out.
    Required,
    /// A value, as TOML writes it.
    Value(&'static str),
    /// What this text says, in Markdown.
    Text(&'static str),
}

impl TableSchema {
    /// The key of this name.
    pub(super) fn key(&self, name: &str) -> Option<&'static KeySchema> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The names of its keys.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name)
    }
}

impl KeySchema {
    /// The default without TOML's quotes; none if the default is not a value.
    pub(super) fn default(&self) -> Option<&'static str> {
        match self.fallback {
            Fallback::Value(text) => Some(text.trim_matches('"')),
            Fallback::Required | Fallback::Text(_) => None,
        }
    }
}

impl Kind {
    /// What the items of a list are, or the values of a table of names or paths; else itself.
    pub(super) fn item(&'static self) -> &'static Kind {
        match self {
            Kind::List(kind, _) | Kind::Map(kind) | Kind::Paths(kind) => kind,
            _ => self,
        }
    }

    /// The keys of the table that this is, or may be.
    pub(super) fn table(&self) -> Option<&'static TableSchema> {
        match self {
            Kind::Table(table) | Kind::Named(table) => Some(table),
            Kind::Either(one, other) => one.table().or_else(|| other.table()),
            Kind::Paths(kind) | Kind::List(kind, _) => kind.table(),
            _ => None,
        }
    }
}
