//! Each refusal has a reply that a client can read.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use super::*;

/// A value for the data of a variant.
pub(super) trait Sample {
    fn sample() -> Self;
}

impl Sample for VirtualPath {
    fn sample() -> Self {
        VirtualPath::root()
    }
}

impl Sample for Permission {
    fn sample() -> Self {
        Permission::Overwrite
    }
}

impl Sample for String {
    fn sample() -> Self {
        "Something".to_owned()
    }
}

impl Sample for &'static str {
    fn sample() -> Self {
        "HOST"
    }
}

impl Sample for Detail {
    fn sample() -> Self {
        Detail::of("the error")
    }
}

impl Sample for u64 {
    fn sample() -> Self {
        40
    }
}

impl Sample for usize {
    fn sample() -> Self {
        2
    }
}

impl Sample for u32 {
    fn sample() -> Self {
        3
    }
}

impl Sample for u16 {
    fn sample() -> Self {
        22
    }
}

impl Sample for u8 {
    fn sample() -> Self {
        2
    }
}

impl Sample for Box<Refusal> {
    fn sample() -> Self {
        Box::new(Refusal::StoreTimeout(VirtualPath::root()))
    }
}

#[test]
fn each_refusal_is_one_line_with_a_code_of_refusals() {
    for (name, refusal) in Refusal::samples() {
        let reply = Reply::from(refusal);
        assert!((400..600).contains(&reply.code), "{name}: {}", reply.code);
        let [text] = reply.lines.as_slice() else {
            panic!("{name}: {:?}", reply.lines);
        };
        assert!(text.len() < 200, "{name}: {text}");
        let begins = text.starts_with(|first: char| first == '/' || first.is_uppercase());
        assert!(begins, "{name}: {text}");
        assert!(!text.ends_with(['.', ' ', ',']), "{name}: {text}");
        assert!(
            !text.contains("  ") && !text.contains('\n'),
            "{name}: {text}"
        );
    }
}

#[test]
fn no_two_refusals_have_one_text() {
    // PORT with the wrong protocol gets 501, EPRT 522, with the same text. The parser gives some
    // texts.
    let alike = ["PortNetworkProtocol", "Syntax", "ParameterNotOffered"];
    let mut texts = BTreeSet::new();
    for (name, refusal) in Refusal::samples() {
        let new = texts.insert(refusal.to_string());
        assert!(new || alike.contains(&name), "{name}: {refusal}");
    }
}

/// Replies of several lines are data, and are made by their handlers. All others have their texts
/// here.
#[test]
fn only_these_files_make_replies_of_one_line() {
    let mut directories = vec![format!("{}/src", env!("CARGO_MANIFEST_DIR"))];
    let mut read = 0;
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let shown = path.to_str().unwrap().to_owned();
            if path.is_dir() && !shown.ends_with("/src/session/replies") {
                directories.push(shown);
            } else if shown.ends_with(".rs") {
                read += 1;
                let text = std::fs::read_to_string(&path).unwrap();
                let made = text.split("Reply::new(").skip(1);
                let numbers = made.filter(|rest| rest.trim_start().starts_with(char::is_numeric));
                assert_eq!(numbers.count(), 0, "{shown}");
            }
        }
    }
    assert!(read > 100, "{read}");
}

/// Refusals that no event of a file command has: those of TLS, of PORT and EPSV, and of a login,
/// whose sample has the cause of a file command.
const OF_NO_FILE: [&str; 8] = [
    "NoSuchProtocol",
    "ProtLevel",
    "CccUnderTls",
    "CccWithoutTls",
    "AfterEpsvAll",
    "PortNetworkProtocol",
    "EarlyCommands",
    "LastLogin",
];

/// The codes in a cell such as `421, 500 to 504`.
fn codes(cell: &str) -> BTreeSet<u16> {
    let range = |part: &str| match part.split_once(" to ") {
        Some((first, last)) => first.parse().unwrap()..=last.parse().unwrap(),
        None => part.parse().unwrap()..=part.parse().unwrap(),
    };
    cell.split(", ").flat_map(range).collect()
}

#[test]
fn the_troubleshooting_page_has_each_code_of_a_class() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/docs/operations/troubleshooting.md"
    );
    let page = std::fs::read_to_string(path).unwrap();
    let (_, table) = page.split_once("\n## By class\n").unwrap();
    let table = table.split("\n## ").next().unwrap();
    for (name, refusal) in Refusal::samples() {
        if OF_NO_FILE.contains(&name) {
            continue;
        }
        let class = refusal.class().name();
        let row = table.split_once(&format!("\n| `{class}` | ")).unwrap().1;
        let cell = row.split(" | ").next().unwrap();
        let code = refusal.code();
        assert!(
            codes(cell).contains(&code),
            "{name}: {class} {code}, not {cell}"
        );
    }
}
