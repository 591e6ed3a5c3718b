//! [`NamePatterns`]: patterns of the last element of a path, as a mount's `temporary` has them.

use std::sync::Arc;

use ftp_proto::glob::Glob;

/// Patterns of names. Upper and lower case differ. Clones share them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamePatterns(Arc<[NamePattern]>);

/// One pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamePattern {
    /// A text without a special character: this name.
    Name(String),
    /// `*`, `?`, `[a-z]`, `[!a]`; `\` makes the next character literal.
    Glob(Glob),
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NamePatternError {
    /// It is empty, or has a `/` or a control character.
    #[error("is not a pattern of names")]
    NoName,
    /// It consists of `*` only.
    #[error("matches every name")]
    EveryName,
}

impl NamePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// No name can match, or every name does.
    pub fn parse(text: &str) -> Result<NamePattern, NamePatternError> {
        let no_element = |character: char| character == '/' || character.is_control();
        if text.is_empty() || text.contains(no_element) {
            return Err(NamePatternError::NoName);
        }
        if text.chars().all(|character| character == '*') {
            return Err(NamePatternError::EveryName);
        }
        Ok(match Glob::new(text) {
            Some(glob) => NamePattern::Glob(glob),
            None => NamePattern::Name(text.to_owned()),
        })
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            NamePattern::Name(text) => text == name,
            NamePattern::Glob(glob) => glob.matches(name),
        }
    }
}

impl NamePatterns {
    /// Whether one of them matches the whole name.
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<NamePattern> for NamePatterns {
    fn from_iter<I: IntoIterator<Item = NamePattern>>(patterns: I) -> Self {
        NamePatterns(patterns.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn patterns(texts: &[&str]) -> NamePatterns {
        texts
            .iter()
            .map(|text| NamePattern::parse(text).unwrap())
            .collect()
    }

    #[test]
    fn globs_and_whole_names_match() {
        let temporary = patterns(&["*.tmp", "*.filepart", ".in.*", "upload[0-9]", "part"]);
        for name in [
            "a.tmp",
            ".tmp",
            "a.tmp.tmp",
            "x.filepart",
            ".in.a.csv",
            ".in.",
            "upload7",
            "part",
        ] {
            assert!(temporary.matches(name), "{name}");
        }
        for name in ["a.TMP", "a.tmp2", "in.a", "a.in.b", "uploadx", "part1", ""] {
            assert!(!temporary.matches(name), "{name}");
        }
        assert!(!patterns(&[]).matches("a") && patterns(&[]).is_empty());
    }

    #[test]
    fn a_pattern_leaves_names_for_finished_files() {
        for text in ["", "a/b", "/", "a\n"] {
            assert_eq!(NamePattern::parse(text), Err(NamePatternError::NoName));
        }
        for text in ["*", "**"] {
            assert_eq!(NamePattern::parse(text), Err(NamePatternError::EveryName));
        }
        assert!(NamePattern::parse("?*").is_ok());
    }
}
