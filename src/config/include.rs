//! `include`: pieces of the configuration in files of their own.
//!
//! A piece has the same keys as the whole. It does not override the others: what two of
//! them define is an error that names both, since neither is known to be the later one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::report::{Report, Source};
use crate::config::schema::Kind;
use crate::config::schema::keys::ROOT;
use crate::config::tree::{self, Node, Table, Value};

/// The key.
pub(super) const INCLUDE: &str = "include";

const ALLOWED: &str = "a list of files and directories";

/// Reads the pieces that `include` names, and those that these name, and adds them to `root`.
/// `over` is the `include` of the environment, if it has one.
pub(super) fn resolve(root: &mut Table, over: Option<Node>, report: &Report) {
    let own = root.remove(INCLUDE);
    let Some(include) = over.or(own) else {
        return;
    };
    let mut reader = Reader {
        read: BTreeSet::new(),
        report,
    };
    reader.read(root, &include);
}

struct Reader<'r> {
    /// The files that were read, without links.
    read: BTreeSet<PathBuf>,
    report: &'r Report,
}

impl Reader<'_> {
    fn read(&mut self, root: &mut Table, include: &Node) {
        for path in self.paths(include) {
            if path.is_dir() {
                self.read_directory(root, &path, &include.source);
            } else {
                self.read_file(root, &path, &include.source);
            }
        }
    }

    /// The paths of a list. Relative ones are relative to the directory of the file that has the
    /// list.
    fn paths(&self, include: &Node) -> Vec<PathBuf> {
        let wrong = |problem: String| {
            let source = &include.source;
            self.report.push(source, INCLUDE, problem, ALLOWED);
        };
        let base = match &include.source {
            Source::File(name) => Path::new(name.as_ref()).parent(),
            Source::Variable(_) => None,
        };
        let list = match &include.value {
            Value::List(list) | Value::Variable { list, .. } => list,
            value => {
                wrong(format!("is {}", value.kind()));
                return Vec::new();
            }
        };
        let mut paths = Vec::new();
        for item in list {
            match &item.value {
                Value::Text(text) if !text.is_empty() => {
                    paths.push(base.unwrap_or(Path::new("")).join(text));
                }
                value => wrong(format!("has {}", value.kind())),
            }
        }
        paths
    }

    fn read_directory(&mut self, root: &mut Table, directory: &Path, source: &Source) {
        let problem = match self.report.note_directory(directory) {
            Ok(pieces) if !pieces.is_empty() => {
                for piece in pieces {
                    self.read_file(root, &piece, source);
                }
                return;
            }
            Ok(_) => "has no file *.toml, *.yaml or *.yml".to_owned(),
            Err(error) => format!("can't be read: {error}"),
        };
        let shown = directory.display();
        let problem = format!("the directory {shown} {problem}");
        self.report.push(source, INCLUDE, problem, ALLOWED);
    }

    fn read_file(&mut self, root: &mut Table, path: &Path, source: &Source) {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if !self.read.insert(real) {
            let problem = format!("{} is included twice", path.display());
            self.report.push(source, INCLUDE, problem, "each file once");
            return;
        }
        let mut piece = tree::read(path, self.report);
        let include = piece.remove(INCLUDE);
        self.add(root, piece, &mut Vec::new());
        if let Some(include) = include {
            self.read(root, &include);
        }
    }

    /// Adds the keys of a piece. `path` is where the tables are.
    fn add(&self, base: &mut Table, piece: Table, path: &mut Vec<String>) {
        for (key, node) in piece {
            if matches!(node.value, Value::Nothing) {
                continue;
            }
            let there = base
                .get_mut(&key)
                .filter(|there| !matches!(there.value, Value::Nothing));
            let Some(there) = there else {
                base.insert(key, node);
                continue;
            };
            path.push(key);
            match (&mut there.value, node.value) {
                (Value::Table(below), Value::Table(more)) if !is_definition(path) => {
                    self.add(below, more, path);
                }
                _ => {
                    let problem = format!("is defined in {} too", there.source);
                    let key = tree::dotted(path);
                    self.report
                        .push(&node.source, &key, problem, "one definition");
                }
            }
            path.pop();
        }
    }
}

/// Whether a table is one thing with a name, such as a user, which only one piece can define.
fn is_definition(path: &[String]) -> bool {
    match path {
        [table, _name] => ROOT
            .key(table)
            .is_some_and(|key| matches!(key.kind, Kind::Named(_))),
        [table] => ROOT
            .key(table)
            .is_some_and(|key| !matches!(key.kind, Kind::Named(_) | Kind::Table(_))),
        _ => true,
    }
}
