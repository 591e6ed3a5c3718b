//! Lines of MLSD and MLST (RFC 3659, 7).

use std::io::Write as _;

use jiff::Timestamp;

use super::{printable, time};

/// The facts that a session has chosen (OPTS MLST): a bit each, in the canonical order of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactSet(u8);

/// Names of the facts, in canonical order.
const NAMES: [&str; 6] = ["type", "size", "modify", "perm", "unique", "UNIX.mode"];

const TYPE: u8 = 1;
const SIZE: u8 = 1 << 1;
const MODIFY: u8 = 1 << 2;
const PERM: u8 = 1 << 3;
const UNIQUE: u8 = 1 << 4;
const UNIX_MODE: u8 = 1 << 5;

/// The type of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FactType {
    /// file
    File,
    /// dir
    Directory,
    /// cdir: the listed directory
    Current,
    /// pdir: its parent
    Parent,
}

/// The facts of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Name (MLSD) or path (MLST).
    pub name: &'a str,
    /// type
    pub kind: FactType,
    /// size, files only
    pub size: Option<u64>,
    /// modify, if known
    pub modified: Option<Timestamp>,
    /// perm letters, in the order of RFC 3659, e.g. `adfrw`, `elcmp`
    pub perm: String,
    /// unique
    pub unique: Option<String>,
}

impl FactSet {
    /// All facts: type, size, modify, perm, unique, UNIX.mode.
    pub fn all() -> Self {
        FactSet(0x3f)
    }

    /// The facts in `names`, in any case. Ignores unknown names (RFC 3659, 7.9).
    pub fn select(names: &[String]) -> Self {
        let wanted = |fact: &str| names.iter().any(|name| name.eq_ignore_ascii_case(fact));
        FactSet(
            bits()
                .filter(|(_, fact)| wanted(fact))
                .fold(0, |set, (bit, _)| set | bit),
        )
    }

    /// `type;size;…` in canonical order: the reply to OPTS MLST. Empty if no fact is chosen.
    pub fn chosen(&self) -> String {
        bits()
            .filter(|(bit, _)| self.has(*bit))
            .map(|(_, fact)| format!("{fact};"))
            .collect()
    }

    /// `type*;size*;modify;…`: the line of FEAT, with a star after each chosen fact.
    pub fn feat(&self) -> String {
        bits()
            .map(|(bit, fact)| format!("{fact}{};", if self.has(bit) { "*" } else { "" }))
            .collect()
    }

    fn has(&self, bit: u8) -> bool {
        self.0 & bit != 0
    }
}

/// Each fact's bit and name.
fn bits() -> impl Iterator<Item = (u8, &'static str)> {
    NAMES
        .iter()
        .enumerate()
        .map(|(number, name)| (1 << number, *name))
}

/// Appends `facts name` without a line end. UNIX.mode follows from `perm`: 0644/0444, 0755/0555.
///
/// Without facts the line is a space and the name. Control characters become `?`.
pub fn fact_line(out: &mut Vec<u8>, facts: &Facts<'_>, set: &FactSet) {
    if set.has(TYPE) {
        push_fact(out, "type", facts.kind.name());
    }
    if let Some(size) = facts.size.filter(|_| set.has(SIZE)) {
        // Writing to a Vec does not fail.
        let _ = write!(out, "size={size};");
    }
    if let Some(modified) = facts.modified.filter(|_| set.has(MODIFY)) {
        push_fact(out, "modify", &time::format(modified));
    }
    if set.has(PERM) {
        push_fact(out, "perm", &facts.perm);
    }
    if let Some(unique) = facts.unique.as_ref().filter(|_| set.has(UNIQUE)) {
        push_fact(out, "unique", unique);
    }
    if set.has(UNIX_MODE) {
        push_fact(out, "UNIX.mode", facts.unix_mode());
    }
    out.push(b' ');
    printable::push(out, facts.name);
}

fn push_fact(out: &mut Vec<u8>, fact: &str, value: &str) {
    debug_assert!(
        !value.contains([';', ' ']),
        "{value:?} can't be a fact's value"
    );
    out.extend_from_slice(fact.as_bytes());
    out.push(b'=');
    printable::push(out, value);
    out.push(b';');
}

impl FactType {
    fn name(self) -> &'static str {
        match self {
            FactType::File => "file",
            FactType::Directory => "dir",
            FactType::Current => "cdir",
            FactType::Parent => "pdir",
        }
    }
}

impl Facts<'_> {
    /// A file is writable if it can be stored or appended to, a directory if entries can be made in
    /// it.
    fn unix_mode(&self) -> &'static str {
        match self.kind {
            FactType::File if self.perm.contains(['a', 'w']) => "0644",
            FactType::File => "0444",
            _ if self.perm.contains(['c', 'm']) => "0755",
            _ => "0555",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn set(names: &[&str]) -> FactSet {
        FactSet::select(&names.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    fn line(facts: &Facts<'_>, set: &FactSet) -> String {
        let mut out = Vec::new();
        fact_line(&mut out, facts, set);
        String::from_utf8(out).unwrap()
    }

    fn file(name: &str) -> Facts<'_> {
        Facts {
            name,
            kind: FactType::File,
            size: Some(1024),
            modified: Some("2020-01-02T03:04:05.678Z".parse().unwrap()),
            perm: "adfrw".to_owned(),
            unique: Some("0123456789abcdef".to_owned()),
        }
    }

    fn directory(kind: FactType, perm: &str) -> Facts<'_> {
        Facts {
            name: "d",
            kind,
            size: None,
            modified: None,
            perm: perm.to_owned(),
            unique: None,
        }
    }

    #[test]
    fn sets_of_facts() {
        assert_eq!(
            FactSet::all().feat(),
            "type*;size*;modify*;perm*;unique*;UNIX.mode*;"
        );
        assert_eq!(
            FactSet::all().chosen(),
            "type;size;modify;perm;unique;UNIX.mode;"
        );
        let some = set(&["unix.MODE", "Size", "charset", "TYPE", "size"]);
        assert_eq!(some.chosen(), "type;size;UNIX.mode;");
        assert_eq!(some.feat(), "type*;size*;modify;perm;unique;UNIX.mode*;");
        assert_eq!(set(&[]).chosen(), "");
        assert_eq!(set(&NAMES), FactSet::all());
    }

    #[test]
    fn lines_of_facts() {
        let all = FactSet::all();
        assert_eq!(
            line(&file("a b;c=d"), &all),
            "type=file;size=1024;modify=20200102030405;perm=adfrw;unique=0123456789abcdef;UNIX.mode=0644; a b;c=d"
        );
        assert_eq!(
            line(&file(" x "), &set(&["size", "modify"])),
            "size=1024;modify=20200102030405;  x "
        );
        assert_eq!(line(&file("x"), &set(&[])), " x");
        assert_eq!(line(&file("a\r\nb"), &set(&[])), " a??b");
        assert_eq!(
            line(&directory(FactType::Directory, "el"), &all),
            "type=dir;perm=el;UNIX.mode=0555; d"
        );
        assert_eq!(
            line(&directory(FactType::Current, "cdeflmp"), &all),
            "type=cdir;perm=cdeflmp;UNIX.mode=0755; d"
        );
        assert_eq!(
            line(&directory(FactType::Parent, ""), &all),
            "type=pdir;perm=;UNIX.mode=0555; d"
        );
    }

    #[test]
    fn modes_follow_the_permissions() {
        let mode = set(&["UNIX.mode"]);
        for (perm, expected) in [
            ("r", "0444"),
            ("dfr", "0444"),
            ("ar", "0644"),
            ("w", "0644"),
            ("", "0444"),
        ] {
            let facts = Facts {
                perm: perm.to_owned(),
                ..file("x")
            };
            assert_eq!(
                line(&facts, &mode),
                format!("UNIX.mode={expected}; x"),
                "{perm}"
            );
        }
        for (perm, expected) in [("elp", "0555"), ("cel", "0755"), ("elm", "0755")] {
            let facts = directory(FactType::Directory, perm);
            assert_eq!(
                line(&facts, &mode),
                format!("UNIX.mode={expected}; d"),
                "{perm}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_client_reads_the_facts_back(
            name in any::<String>(),
            size in proptest::option::of(any::<u64>()),
            second in proptest::option::of(0_i64..253_402_000_000),
            perm in "[adfrw]{0,5}",
            unique in proptest::option::of("[0-9a-f]{16}"),
            wanted in proptest::sample::subsequence(NAMES.to_vec(), 0..=NAMES.len()),
        ) {
            let modified = second.map(|second| Timestamp::from_second(second).unwrap());
            let facts = Facts { name: &name, kind: FactType::File, size, modified, perm: perm.clone(), unique: unique.clone() };
            let line = line(&facts, &set(&wanted));
            let (facts_text, read_name) = line.split_once(' ').unwrap();
            prop_assert_eq!(read_name, name.replace(char::is_control, "?"));
            let mut read = std::collections::BTreeMap::new();
            for fact in facts_text.split_terminator(';') {
                let (fact, value) = fact.split_once('=').unwrap();
                prop_assert!(wanted.contains(&fact));
                prop_assert_eq!(read.insert(fact, value.to_owned()), None);
            }
            let asked = |fact: &str| wanted.contains(&fact);
            prop_assert_eq!(read.get("size").cloned(), size.filter(|_| asked("size")).map(|size| size.to_string()));
            prop_assert_eq!(
                read.get("modify").map(|time| time::parse(time).unwrap()),
                modified.filter(|_| asked("modify"))
            );
            prop_assert_eq!(read.get("perm").cloned(), Some(perm).filter(|_| asked("perm")));
            prop_assert_eq!(read.get("unique").cloned(), unique.filter(|_| asked("unique")));
            prop_assert_eq!(read.contains_key("type"), asked("type"));
            prop_assert_eq!(read.contains_key("UNIX.mode"), asked("UNIX.mode"));
        }
    }
}
