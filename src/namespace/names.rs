//! Which names files may have in a mount, and how the names that clients send are changed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ftp_proto::glob::Glob;

/// The rules of a mount.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameRules {
    /// A new file's name must match one of these; empty: every name is allowed.
    pub allow: Vec<NameGlob>,
    /// A new file's name must match none of these.
    pub deny: Vec<NameGlob>,
    /// How names that clients send are changed.
    pub change: NameChange,
}

/// A glob for the last element of a path. Upper and lower case differ.
#[derive(Debug, Clone)]
pub struct NameGlob {
    text: String,
    /// `None`: the text is a name.
    glob: Option<Glob>,
}

/// How the elements of the paths that clients send are changed. To change a name twice changes no
/// more than to change it once, if each value of `replace` stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NameChange {
    /// First the case.
    pub case: NameCase,
    /// Then characters are replaced.
    pub replace: BTreeMap<char, String>,
}

/// The case of letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameCase {
    /// As the client sends them.
    #[default]
    Keep,
    /// All are made lower-case letters.
    Lower,
    /// All are made upper-case letters.
    Upper,
}

impl NameRules {
    /// Whether every name is allowed, and none is changed.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty() && self.change.is_empty()
    }

    /// Why a new file must not have this name, as the key and its patterns; `None` if it may.
    pub fn refusal(&self, name: &str) -> Option<String> {
        let matched = |pattern: &&NameGlob| pattern.matches(name);
        if let Some(denied) = self.deny.iter().find(matched) {
            return Some(format!("deny_names: {}", denied.text));
        }
        if self.allow.is_empty() || self.allow.iter().any(|pattern| matched(&pattern)) {
            return None;
        }
        let allowed: Vec<&str> = self.allow.iter().map(|pattern| &*pattern.text).collect();
        Some(format!("allow_names: {}", allowed.join(", ")))
    }
}

impl NameGlob {
    /// A glob, or a name.
    pub fn new(text: &str) -> Self {
        NameGlob {
            text: text.to_owned(),
            glob: Glob::new(text),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match &self.glob {
            Some(glob) => glob.matches(name),
            None => self.text == name,
        }
    }
}

impl PartialEq for NameGlob {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for NameGlob {}

impl NameChange {
    /// Whether it changes no name.
    pub fn is_empty(&self) -> bool {
        self.case == NameCase::Keep && self.replace.is_empty()
    }

    /// The name in place of this one.
    pub fn apply<'n>(&self, name: &'n str) -> Cow<'n, str> {
        match self.is_empty() {
            true => Cow::Borrowed(name),
            false => Cow::Owned(self.changed(name, |_| false)),
        }
    }

    /// The glob in place of this one: its special characters stay.
    pub fn apply_to_glob(&self, glob: &str) -> String {
        self.changed(glob, |character| "*?[]!^-\\".contains(character))
    }

    fn changed(&self, name: &str, stays: impl Fn(char) -> bool) -> String {
        let mut changed = String::with_capacity(name.len());
        for character in name.chars() {
            match self.case {
                _ if stays(character) => changed.push(character),
                NameCase::Keep => self.replaced(character, &mut changed),
                NameCase::Lower => {
                    let lower = character.to_lowercase();
                    lower.for_each(|letter| self.replaced(letter, &mut changed));
                }
                NameCase::Upper => {
                    let upper = character.to_uppercase();
                    upper.for_each(|letter| self.replaced(letter, &mut changed));
                }
            }
        }
        changed
    }

    fn replaced(&self, character: char, changed: &mut String) {
        match self.replace.get(&character) {
            Some(other) => changed.push_str(other),
            None => changed.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules(allow: &[&str], deny: &[&str]) -> NameRules {
        let patterns = |texts: &[&str]| texts.iter().map(|text| NameGlob::new(text)).collect();
        NameRules {
            allow: patterns(allow),
            deny: patterns(deny),
            change: NameChange::default(),
        }
    }

    fn change(case: NameCase, replace: &[(char, &str)]) -> NameChange {
        let replace = replace.iter().map(|(from, to)| (*from, (*to).to_owned()));
        NameChange {
            case,
            replace: replace.collect(),
        }
    }

    #[test]
    fn a_name_is_allowed_if_it_matches_a_pattern_and_none_that_denies_it() {
        let csv = rules(&["*.csv", "READY"], &["~*", "*.tmp.csv"]);
        for (name, reason) in [
            ("a.csv", None),
            (".csv", None),
            ("READY", None),
            ("ready", Some("allow_names: *.csv, READY")),
            ("a.CSV", Some("allow_names: *.csv, READY")),
            ("a.csv.gz", Some("allow_names: *.csv, READY")),
            ("~a.csv", Some("deny_names: ~*")),
            ("a.tmp.csv", Some("deny_names: *.tmp.csv")),
        ] {
            assert_eq!(csv.refusal(name).as_deref(), reason, "{name}");
        }
        let deny = rules(&[], &["*.[eE][xX][eE]"]);
        for (name, denied) in [
            ("a.exe", true),
            ("a.EXE", true),
            ("exe", false),
            ("a.exe ", false),
        ] {
            assert_eq!(deny.refusal(name).is_some(), denied, "{name}");
        }
        assert!(rules(&[], &[]).refusal("any").is_none());
    }

    #[test]
    fn letters_change_first_and_then_characters() {
        let device = change(NameCase::Lower, &[(' ', "_"), ('ä', "ae"), ('\\', "-")]);
        for (name, changed) in [
            ("SCAN 01.PDF", "scan_01.pdf"),
            ("Gerät Ä", "geraet_ae"),
            ("C:\\Out", "c:-out"),
            ("\u{130}", "i\u{307}"),
            ("scan_01.pdf", "scan_01.pdf"),
        ] {
            assert_eq!(device.apply(name), changed);
        }
        let upper = change(NameCase::Upper, &[]);
        assert_eq!(upper.apply("straße é"), "STRASSE É");
        assert_eq!(change(NameCase::Keep, &[]).apply("Any name"), "Any name");
        assert_eq!(
            device.apply_to_glob("S*N ?[A-C]\\*.PDF"),
            "s*n_?[a-c]\\*.pdf"
        );
    }

    proptest! {
        #[test]
        fn to_change_a_name_twice_changes_no_more(name in "\\PC{0,20}") {
            for case in [NameCase::Keep, NameCase::Lower, NameCase::Upper] {
                let change = change(case, &[(' ', "_"), ('a', "4"), ('A', "4"), ('ß', "55")]);
                let once = change.apply(&name).into_owned();
                prop_assert_eq!(&*change.apply(&once), &*once);
            }
        }
    }
}
