//! Holds the source to its layout: rooms know only those below them, no two files import each other
//! in a circle, and no type name is defined twice in a crate.
//!
//! The test reads the `use` lines and the paths that begin with `crate::`; test modules are left
//! out. A failure names the imports that tie the knot.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of `src`, the topmost first. A room may import those after it.
const ROOMS: &[&str] = &[
    "main",
    "cli",
    "config",
    "server",
    "session",
    "auth",
    "namespace",
    "data",
    "net",
    "tls",
    "hooks",
    "object",
    "events",
    "memory",
    "units",
];

/// The sources of the crates.
const CRATES: [&str; 4] = [
    "src",
    "crates/ftp-proto/src",
    "crates/s3-embedded/src",
    "test-support/src",
];

#[test]
fn rooms_import_only_rooms_below_them() {
    let source = Source::read("src");
    let place = |room: &str| ROOMS.iter().position(|name| *name == room);
    let mut wrong = Vec::new();
    for (file, imports) in &source.imports {
        let room = room_of(file);
        if room == "lib" {
            continue;
        }
        let Some(from) = place(room) else {
            wrong.push(format!("{file}: the room {room} is not in ROOMS"));
            continue;
        };
        for import in imports {
            let other = room_of(import);
            if place(other).is_none_or(|to| to < from) {
                wrong.push(format!("{file} imports {import}, upward"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    for root in CRATES {
        let circles = Source::read(root).circles();
        assert!(circles.is_empty(), "in {root}:\n{}", circles.join("\n"));
    }
}

#[test]
fn no_type_name_is_defined_twice_in_a_crate() {
    for root in CRATES {
        let mut defined: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (file, text) in Source::read(root).texts {
            for line in text.lines() {
                let words = line.split_whitespace();
                let mut words = words.skip_while(|word| word.starts_with("pub"));
                // `pub(in crate::x) struct`: the visibility is two words.
                let first = match words.next() {
                    Some(word) if word.ends_with(')') => words.next(),
                    first => first,
                };
                if let (Some("struct" | "enum" | "trait" | "type"), Some(name)) =
                    (first, words.next())
                {
                    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
                    let name = &name[..end.unwrap_or(name.len())];
                    // An associated type is indented; its name is its trait's.
                    if first != Some("type") || !line.starts_with(' ') {
                        defined
                            .entry(name.to_owned())
                            .or_default()
                            .push(file.clone());
                    }
                }
            }
        }
        let twice: Vec<_> = defined
            .into_iter()
            .filter(|(_, files)| files.len() > 1)
            .map(|(name, files)| format!("{name}: {}", files.join(", ")))
            .collect();
        assert!(twice.is_empty(), "in {root}:\n{}", twice.join("\n"));
    }
}

fn room_of(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

/// The files of a crate by their module paths.
struct Source {
    /// Without comments and test modules.
    texts: BTreeMap<String, String>,
    /// Which files each file names.
    imports: BTreeMap<String, BTreeSet<String>>,
}

impl Source {
    fn read(root: &str) -> Source {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
        let mut texts = BTreeMap::new();
        for path in files_below(&root) {
            let module = path
                .strip_prefix(&root)
                .unwrap()
                .with_extension("")
                .to_str()
                .unwrap()
                .replace('/', "::");
            if module.split("::").any(|part| part == "tests") {
                continue;
            }
            texts.insert(module, code_of(&fs::read_to_string(path).unwrap()));
        }
        assert!(texts.len() > 5, "no source in {}", root.display());
        let imports = texts
            .iter()
            .map(|(module, text)| {
                let named = paths_in(text, module);
                let files = named
                    .iter()
                    .filter_map(|path| file_of(path, &texts))
                    .filter(|file| file != module)
                    .collect();
                (module.clone(), files)
            })
            .collect();
        Source { texts, imports }
    }

    /// Each group of files that reach each other, with the imports between them.
    fn circles(&self) -> Vec<String> {
        let reach: BTreeMap<&String, BTreeSet<&String>> = self
            .imports
            .keys()
            .map(|file| (file, self.reachable(file)))
            .collect();
        let mut seen = BTreeSet::new();
        let mut circles = Vec::new();
        for (file, reached) in &reach {
            if !reached.contains(*file) || !seen.insert(*file) {
                continue;
            }
            let circle: BTreeSet<&String> = reached
                .iter()
                .copied()
                .filter(|other| reach[*other].contains(*file))
                .collect();
            seen.extend(circle.iter().copied());
            for from in &circle {
                for to in self.imports[*from].iter().filter(|to| circle.contains(to)) {
                    circles.push(format!("{from} imports {to}"));
                }
            }
        }
        circles
    }

    fn reachable<'a>(&'a self, from: &'a String) -> BTreeSet<&'a String> {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&String> = self.imports[from].iter().collect();
        while let Some(file) = next.pop() {
            if reached.insert(file) {
                next.extend(self.imports.get(file).into_iter().flatten());
            }
        }
        reached
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Without line comments, and without what stands from the first test module on.
fn code_of(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    text[..end]
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The paths within the crate that a file names, as `room::file::item`.
fn paths_in(text: &str, module: &str) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    // `use super::x` and `use crate::a::{b, c::d}`.
    for (start, _) in text.match_indices("use ") {
        let before = text[..start].lines().last().unwrap_or_default();
        let is_use = before.trim().is_empty() || before.trim_start().starts_with("pub");
        if let (true, Some(end)) = (is_use, text[start..].find(';')) {
            let tree: String = text[start + 4..start + end]
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            for path in expanded(&tree) {
                paths.extend(within_crate(&path, module));
            }
        }
    }
    // A path in the middle of code.
    for prefix in ["crate::", "super::"] {
        for (start, _) in text.match_indices(prefix) {
            let rest = &text[start..];
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
            paths.extend(within_crate(&rest[..end.unwrap_or(rest.len())], module));
        }
    }
    paths
}

/// `a::{b, c::{d, e}}` → `a::b`, `a::c::d`, `a::c::e`.
fn expanded(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((prefix, inner)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree);
        return vec![path.trim().trim_end_matches("::self").to_owned()];
    };
    let inner = inner.strip_suffix('}').unwrap_or(inner);
    let mut paths = Vec::new();
    let (mut depth, mut begin) = (0, 0);
    for (at, character) in inner.char_indices().chain([(inner.len(), ',')]) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let item = inner[begin..at].trim();
                if !item.is_empty() {
                    paths.extend(expanded(&format!("{prefix}{item}")));
                }
                begin = at + 1;
            }
            _ => {}
        }
    }
    paths
}

/// Absolute below the crate's root; none for what is outside the crate.
fn within_crate(path: &str, module: &str) -> Option<String> {
    if let Some(rest) = path.strip_prefix("crate::") {
        return Some(rest.to_owned());
    }
    let mut base: Vec<&str> = module.split("::").filter(|part| *part != "lib").collect();
    if let Some(rest) = path.strip_prefix("self::") {
        base.push(rest);
        return Some(base.join("::"));
    }
    let mut rest = path;
    while let Some(above) = rest.strip_prefix("super::") {
        base.pop();
        rest = above;
    }
    if rest == path {
        return None;
    }
    base.push(rest);
    Some(base.join("::"))
}

/// The file that holds what a path names: the longest prefix that is one.
fn file_of(path: &str, files: &BTreeMap<String, String>) -> Option<String> {
    let parts: Vec<&str> = path.split("::").collect();
    (1..=parts.len())
        .rev()
        .map(|length| parts[..length].join("::"))
        .find(|file| files.contains_key(file))
}
