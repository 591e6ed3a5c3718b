//! The documents: links lead somewhere, configurations are right, commands exist, lines are short.
//!
//! - Each relative link and `#heading` of a Markdown page exists (GitHub's rules for anchors).
//! - Each page that a source file or another page names exists, and so does each file that the
//!   pages about the code name.
//! - Each block `toml` of a page is a whole configuration; `toml,fragment` is a piece that is read
//!   over [`BASE`]. A block `yaml` with `config:` has values of the chart. `s3ftpd check` must find
//!   nothing wrong with any of them.
//! - Each line of a block `sh` that calls `s3ftpd` has a subcommand and options that exist.
//! - Each log line that a table names is in the sources, and each code of a refusal is in the page
//!   of replies.
//! - Lines of the pages have at most 100 columns.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Output};

/// The longest line of a page, in characters.
const COLUMNS: usize = 100;

/// What a `toml,fragment` is read over.
const BASE: &str = r#"
[stores.main]
endpoint = "http://127.0.0.1:9000"
region = "eu-central-1"

[mounts.scans]
store = "main"
bucket = "scans"

[users.scanner1]
password = "$argon2id$v=19$…"
mounts = { "/" = "scans" }
"#;

/// A hash of "changeme", which replaces the shortened ones of the pages.
const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$rN5F3DXFIO487OMJc7rwQg\
                    $3bb8XwhSTezPbtd6UeNQQaL71bSgk0OjrSswMG4tJxU";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below the repository's root, as paths from there; build output and seeds are left out.
fn files() -> Vec<PathBuf> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                if ![".git", "target", "corpus"].contains(&name.to_str().unwrap()) {
                    walk(&path, found);
                }
            } else {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), &mut found);
    found.sort();
    found
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension()
        .is_some_and(|extension| extensions.contains(&extension.to_str().unwrap()))
}

/// A line of a page, and whether it is text or in a code block.
struct Line<'a> {
    number: usize,
    text: &'a str,
    /// The text after the fence, in a code block; the fences themselves count as its lines.
    block: Option<&'a str>,
}

fn lines(page: &str) -> Vec<Line<'_>> {
    let mut block = None;
    let mut found = Vec::new();
    for (index, text) in page.lines().enumerate() {
        let fence = text.trim_start().strip_prefix("```");
        let before = block;
        match (fence, block) {
            (Some(info), None) => block = Some(info),
            (Some(_), Some(_)) => block = None,
            (None, _) => {}
        }
        found.push(Line {
            number: index + 1,
            text,
            block: before.or(block),
        });
    }
    assert!(block.is_none(), "a code block without an end");
    found
}

struct Page {
    path: PathBuf,
    text: String,
}

impl Page {
    fn lines(&self) -> Vec<Line<'_>> {
        lines(&self.text)
    }

    /// The anchors of its headings.
    fn anchors(&self) -> BTreeSet<String> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut found = BTreeSet::new();
        for line in self.lines().iter().filter(|line| line.block.is_none()) {
            let title = line.text.trim_start_matches('#');
            if title.len() == line.text.len() || !title.starts_with(' ') {
                continue;
            }
            let slug = slug(title.trim());
            let count = seen.entry(slug.clone()).or_default();
            found.insert(match *count {
                0 => slug,
                again => format!("{slug}-{again}"),
            });
            *count += 1;
        }
        found
    }

    /// Its code blocks whose fence says `info`, each with the number of its first line.
    fn blocks(&self, info: &str) -> Vec<(usize, String)> {
        let mut found: Vec<(usize, String)> = Vec::new();
        let mut inside = false;
        for line in self.lines() {
            if line.text.trim_start().starts_with("```") {
                inside = !inside;
                if inside && line.block == Some(info) {
                    found.push((line.number + 1, String::new()));
                }
            } else if line.block == Some(info) {
                let (_, text) = found.last_mut().unwrap();
                text.push_str(line.text);
                text.push('\n');
            }
        }
        found
    }
}

fn pages() -> Vec<Page> {
    files()
        .into_iter()
        .filter(|path| has_extension(path, &["md"]))
        .map(|path| Page {
            text: fs::read_to_string(root().join(&path)).unwrap(),
            path,
        })
        .collect()
}

/// GitHub's anchor of a heading: of links the text, lower case, letters, digits, `-` and `_`, and a
/// hyphen for each space.
fn slug(title: &str) -> String {
    let mut text = String::new();
    let mut rest = title;
    while let Some((before, link)) = rest.split_once("](") {
        text.push_str(before);
        rest = link.split_once(')').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    text.chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c if c.is_alphanumeric() => Some(c),
            _ => None,
        })
        .flat_map(char::to_lowercase)
        .collect()
}

/// The targets of the links in a line, without those in code spans.
fn links(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut code = false;
    for (index, c) in line.char_indices() {
        if c == '`' {
            code = !code;
        }
        if !code && line[index..].starts_with("](") {
            let target = &line[index + 2..];
            found.push(&target[..target.find(')').unwrap_or(target.len())]);
        }
    }
    found
}

/// `a/b/../c` → `a/c`.
fn normal(path: &Path) -> PathBuf {
    let mut found = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => assert!(found.pop(), "{} leaves the root", path.display()),
            Component::CurDir => {}
            other => found.push(other),
        }
    }
    found
}

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    let pages = pages();
    let anchors: BTreeMap<&Path, BTreeSet<String>> = pages
        .iter()
        .map(|page| (page.path.as_path(), page.anchors()))
        .collect();
    let mut broken = Vec::new();
    let mut checked = 0;
    for page in &pages {
        for line in page.lines().iter().filter(|line| line.block.is_none()) {
            for link in links(line.text) {
                if link.contains("://") || link.starts_with("mailto:") {
                    continue;
                }
                checked += 1;
                let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
                let target = match path {
                    "" => page.path.clone(),
                    path => normal(&page.path.parent().unwrap().join(path)),
                };
                let has_anchor = anchor.is_empty()
                    || anchors
                        .get(target.as_path())
                        .is_some_and(|anchors| anchors.contains(anchor));
                let there = root().join(&target).exists() && has_anchor;
                if !there {
                    broken.push(format!("{}:{}: {link}", page.path.display(), line.number));
                }
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
    assert!(checked > 50, "only {checked} links found");
}

#[test]
fn pages_that_sources_name_exist() {
    let names = ["docs/", "benches/", "tests/", "fuzz/", "crates/", "helm/"];
    let mut missing = Vec::new();
    let mut checked = 0;
    for path in files() {
        if !has_extension(
            &path,
            &["rs", "toml", "yaml", "sh", "py", "md", "txt", "tpl"],
        ) {
            continue;
        }
        let text = fs::read_to_string(root().join(&path)).unwrap();
        for (index, line) in text.lines().enumerate() {
            let words = line.split(|c: char| !c.is_ascii_alphanumeric() && !"/._-".contains(c));
            for word in words {
                let Some(end) = word.find(".md") else {
                    continue;
                };
                let name = &word[..end + 3];
                if names.iter().any(|start| name.starts_with(start)) {
                    checked += 1;
                    let relative = path.parent().unwrap().join(name);
                    let paths = [root().join(name), root().join(relative)];
                    if !paths.iter().any(|path| path.exists()) {
                        missing.push(format!("{}:{}: {name}", path.display(), index + 1));
                    }
                }
            }
        }
    }
    assert!(missing.is_empty(), "no such page:\n{}", missing.join("\n"));
    assert!(checked > 10, "only {checked} names found");
}

/// Names of files and directories in a text: what begins with the name of a directory at the root,
/// or, in a drawing, with that of a room.
fn named_paths<'a>(text: &'a str, rooms: &[&str]) -> Vec<&'a str> {
    let roots = [
        "src/",
        "crates/",
        "tests/",
        "test-support/",
        "benches/",
        "fuzz/",
        "ci/",
    ];
    text.split(|c: char| !c.is_ascii_alphanumeric() && !"/._-".contains(c))
        .map(|word| word.trim_end_matches('.'))
        .filter(|word| {
            roots
                .iter()
                .chain(rooms)
                .any(|start| word.starts_with(start))
        })
        .collect()
}

#[test]
fn files_that_the_architecture_names_exist() {
    let rooms = ["session/", "object/", "data/", "namespace/"];
    let mut missing = Vec::new();
    let mut checked = 0;
    for path in [
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "docs/design/resume-protocol.md",
    ] {
        let text = fs::read_to_string(root().join(path)).unwrap();
        for line in lines(&text) {
            for name in named_paths(line.text, if line.block.is_some() { &rooms } else { &[] }) {
                checked += 1;
                let name_in_src = format!("src/{name}");
                let found = [name.to_owned(), format!("{name_in_src}.rs"), name_in_src];
                if !found.iter().any(|path| root().join(path).exists()) {
                    missing.push(format!("{path}:{}: {name}", line.number));
                }
            }
        }
    }
    assert!(missing.is_empty(), "no such file:\n{}", missing.join("\n"));
    assert!(checked > 30, "only {checked} names found");
}

/// The sources of the server as one text, string literals without their line breaks.
fn sources() -> String {
    let texts = files()
        .into_iter()
        .filter(|path| path.starts_with("src") && has_extension(path, &["rs"]))
        .map(|path| fs::read_to_string(root().join(path)).unwrap());
    let mut sources = String::new();
    for line in texts.collect::<String>().lines() {
        match line.strip_suffix('\\') {
            Some(begin) => sources.push_str(begin.trim_start()),
            None => {
                sources.push_str(line.trim_start());
                sources.push('\n');
            }
        }
    }
    sources
}

#[test]
fn log_lines_are_those_of_the_sources() {
    let sources = sources();
    let mut missing = Vec::new();
    let mut checked = 0;
    for path in [
        "docs/reference/logs-and-metrics.md",
        "docs/operations/troubleshooting.md",
    ] {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let mut is_of_log = false;
        for line in text.lines() {
            let Some(row) = line.strip_prefix("| ") else {
                is_of_log = false;
                continue;
            };
            let first = row.split(" | ").next().unwrap();
            is_of_log |= ["line", "log line"].contains(&first);
            if !is_of_log {
                continue;
            }
            for span in first.split('`').skip(1).step_by(2) {
                checked += 1;
                if !sources.contains(span.trim_end_matches(" …")) {
                    missing.push(format!("{path}: {span}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "not logged:\n{}", missing.join("\n"));
    assert!(checked > 30, "only {checked} lines found");
}

#[test]
fn the_page_of_replies_has_each_code_of_a_refusal() {
    let table = fs::read_to_string(root().join("src/session/replies/refusal.rs")).unwrap();
    let page = fs::read_to_string(root().join("docs/reference/replies.md")).unwrap();
    let codes: BTreeSet<&str> = table
        .split(" => ")
        .filter_map(|text| text.get(..4))
        .filter_map(|text| text.strip_suffix(','))
        .filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()))
        .collect();
    let missing: Vec<_> = codes.iter().filter(|code| !page.contains(**code)).collect();
    assert!(
        missing.is_empty(),
        "not in the page of replies: {missing:?}"
    );
    assert!(codes.len() > 15, "only {codes:?} found");
}

#[test]
fn lines_of_the_pages_are_short() {
    let mut long = Vec::new();
    for page in pages() {
        let path = page.path.to_str().unwrap();
        let checked = ["docs/", "benches/", "tests/"]
            .iter()
            .any(|start| path.starts_with(start))
            || ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].contains(&path);
        if !checked {
            continue;
        }
        for line in page.lines() {
            let exempt = line.block.is_some()
                || line.text.trim_start().starts_with('|')
                || line.text.contains("://");
            let columns = line.text.chars().count();
            if columns > COLUMNS && !exempt {
                long.push(format!("{path}:{}: {columns} columns", line.number));
            }
        }
    }
    assert!(
        long.is_empty(),
        "longer than {COLUMNS}:\n{}",
        long.join("\n")
    );
}

/// Files in a directory of the test's own in place of those that the pages name.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        let identity = rcgen::generate_simple_self_signed(["ftp.example.com".to_owned()]).unwrap();
        files.write("certificate", &identity.cert.pem());
        files.write("key", &identity.signing_key.serialize_pem());
        files.write("hash", HASH);
        files.write("secret", "not-a-secret");
        files
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.directory.path().join(name), text).unwrap();
        self.path(name)
    }

    /// A configuration of a page, its paths replaced by paths of these files.
    fn here(&self, text: &str) -> String {
        let mut here = String::new();
        let mut rest = text.replace("$argon2id$v=19$…", HASH);
        while let Some(start) = rest.find("/etc/s3ftpd/").or(rest.find("/run/secrets/")) {
            let is_of_path = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
            let path = &rest[start..];
            let path = &path[..path.find(|c| !is_of_path(c)).unwrap_or(path.len())];
            let name = path.rsplit('/').next().unwrap();
            let file = match name {
                name if name.ends_with(".crt") => "certificate",
                name if name.ends_with(".key") => "key",
                name if name.contains("s3") || name.contains("secret") => "secret",
                _ => "hash",
            };
            here.push_str(&rest[..start]);
            here.push_str(&self.path(file));
            rest.replace_range(..start + path.len(), "");
        }
        here + &rest
    }
}

/// The server's configuration in values of the chart.
fn chart_config(values: &str) -> Option<String> {
    let mut lines = values.lines().skip_while(|line| *line != "config:");
    lines.next()?;
    let config: Vec<&str> = lines.map_while(|line| line.strip_prefix("  ")).collect();
    Some(config.join("\n"))
}

fn s3ftpd(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_s3ftpd"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn configurations_are_right() {
    let files = Files::new();
    let base = files.write("base.toml", &files.here(BASE));
    let mut wrong = Vec::new();
    let mut checked = 0;
    let mut check = |page: &Page, number: usize, configs: &[&str]| {
        checked += 1;
        let arguments: Vec<&str> = ["check", "--config"]
            .into_iter()
            .chain(configs.iter().copied())
            .collect();
        let output = s3ftpd(&arguments);
        if !output.status.success() {
            let problems = String::from_utf8_lossy(&output.stderr);
            wrong.push(format!("{}:{number}:\n{problems}", page.path.display()));
        }
    };
    for page in pages() {
        for (number, text) in page.blocks("toml") {
            let whole = files.write("whole.toml", &files.here(&text));
            check(&page, number, &[&whole]);
        }
        for (number, values) in page.blocks("yaml") {
            if let Some(text) = chart_config(&values) {
                let whole = files.write("whole.yaml", &files.here(&text));
                check(&page, number, &[&whole]);
            }
        }
        for (number, text) in page.blocks("toml,fragment") {
            let fragment = files.write("fragment.toml", &files.here(&text));
            check(&page, number, &[&base, &fragment]);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 1, "only {checked} configurations found");
}

#[test]
fn command_lines_have_options_that_exist() {
    let mut wrong = Vec::new();
    let mut checked = 0;
    for page in pages() {
        for (number, text) in page.blocks("sh") {
            for line in text.lines() {
                let line = line.split(['#', '<', '|', '>', '&']).next().unwrap();
                let Some(arguments) = line.trim().strip_prefix("s3ftpd ") else {
                    continue;
                };
                checked += 1;
                // `--help` comes last: what stands before it has been read by then.
                let arguments: Vec<&str> = arguments.split_whitespace().chain(["--help"]).collect();
                let output = s3ftpd(&arguments);
                if !output.status.success() {
                    let problems = String::from_utf8_lossy(&output.stderr);
                    wrong.push(format!(
                        "{}:{number}: {line}\n{problems}",
                        page.path.display()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 1, "only {checked} command lines found");
}

#[test]
fn anchors_are_those_of_github() {
    for (title, anchor) in [
        ("What SIZE reports to whom", "what-size-reports-to-whom"),
        ("`[users.NAME]`", "usersname"),
        (
            "Downloads: the store's *checksum*",
            "downloads-the-stores-checksum",
        ),
        ("A [link](b.md) and a_b", "a-link-and-a_b"),
        ("Größe — 5 MiB", "größe--5-mib"),
    ] {
        assert_eq!(slug(title), anchor, "{title}");
    }
}
