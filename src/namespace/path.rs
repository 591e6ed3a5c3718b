//! [`VirtualPath`]: an absolute, normalised path that can't leave its root.
//!
//! A path is a list of elements, each of which is checked when it is added, so later code does not
//! need to check for `..` or a control character. A name is taken literally: spaces at its ends,
//! backslashes and percent signs belong to it.

use crate::namespace::keys::MAX_KEY;

/// An absolute path in a user's tree: no `.`, `..` or empty element, no control character.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct VirtualPath {
    elements: Vec<String>,
}

/// Why a text is not a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A C0 or C1 control character, or DEL.
    #[error("the name holds a control character")]
    ControlCharacter,
    /// Longer than a key can be: [`MAX_KEY`] bytes, without the first slash.
    #[error("the path is longer than 1024 bytes")]
    TooLong,
    /// Empty, `.`, `..`, or with a `/`, in place of a single element.
    #[error("the name is not that of one file or directory")]
    NotAnElement,
}

impl VirtualPath {
    /// `/`.
    pub fn root() -> Self {
        Self::default()
    }

    /// Resolves `argument` relative to `self`: absolute if it begins with `/`; `.`, `..` and
    /// doubled slashes are resolved, and `..` at the root stays there. A slash at the end has no
    /// meaning.
    ///
    /// # Errors
    ///
    /// A control character anywhere in `argument`, or a result that is too long.
    pub fn join(&self, argument: &str) -> Result<VirtualPath, PathError> {
        if argument.chars().any(char::is_control) {
            return Err(PathError::ControlCharacter);
        }
        let mut elements = if argument.starts_with('/') {
            Vec::new()
        } else {
            self.elements.clone()
        };
        for element in argument.split('/') {
            match element {
                "" | "." => {}
                ".." => {
                    elements.pop();
                }
                name => elements.push(name.to_owned()),
            }
        }
        VirtualPath { elements }.checked()
    }

    /// Adds one element; `name` must be a valid single element.
    ///
    /// # Errors
    ///
    /// `name` is not [`nameable`](Self::nameable), or the result is too long.
    pub fn child(&self, name: &str) -> Result<VirtualPath, PathError> {
        if name.chars().any(char::is_control) {
            return Err(PathError::ControlCharacter);
        }
        if !Self::nameable(name) {
            return Err(PathError::NotAnElement);
        }
        let mut elements = Vec::with_capacity(self.elements.len() + 1);
        elements.extend_from_slice(&self.elements);
        elements.push(name.to_owned());
        VirtualPath { elements }.checked()
    }

    /// Its parent; `None` for the root.
    pub fn parent(&self) -> Option<VirtualPath> {
        let (_, elements) = self.elements.split_last()?;
        Some(VirtualPath {
            elements: elements.to_vec(),
        })
    }

    /// The last element; `None` for the root.
    pub fn name(&self) -> Option<&str> {
        self.elements.last().map(String::as_str)
    }

    /// The elements.
    pub fn elements(&self) -> &[String] {
        &self.elements
    }

    /// Whether it is `/`.
    pub fn is_root(&self) -> bool {
        self.elements.is_empty()
    }

    /// The rest of `self` below `ancestor` (empty if they are equal); `None` if it is not below it.
    /// By whole elements.
    pub fn strip_prefix(&self, ancestor: &VirtualPath) -> Option<&[String]> {
        self.elements.strip_prefix(ancestor.elements.as_slice())
    }

    /// Whether a key's element can be named by FTP: not empty, `.`, `..`, no `/`, no control
    /// character.
    pub fn nameable(element: &str) -> bool {
        !matches!(element, "" | "." | "..")
            && !element
                .chars()
                .any(|character| character == '/' || character.is_control())
    }

    /// Returns the path unless it is too long.
    fn checked(self) -> Result<VirtualPath, PathError> {
        let names: usize = self.elements.iter().map(String::len).sum();
        let slashes = self.elements.len().saturating_sub(1);
        if names + slashes > MAX_KEY {
            Err(PathError::TooLong)
        } else {
            Ok(self)
        }
    }
}

impl std::fmt::Display for VirtualPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.elements.is_empty() {
            return f.write_str("/");
        }
        for element in &self.elements {
            f.write_str("/")?;
            f.write_str(element)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> VirtualPath {
        VirtualPath::root().join(text).unwrap()
    }

    #[test]
    fn arguments_are_resolved_from_the_working_directory() {
        for (from, argument, expected) in [
            ("/", "", "/"),
            ("/a/b", "", "/a/b"),
            ("/a", "b", "/a/b"),
            ("/a", "/b", "/b"),
            ("/a", "//b", "/b"),
            ("/a", "b//c/", "/a/b/c"),
            ("/a", "./b/.", "/a/b"),
            ("/a/b", "..", "/a"),
            ("/a/b", "../c", "/a/c"),
            ("/a/b", "../../../../c", "/c"),
            ("/", "..", "/"),
            ("/", "/..", "/"),
            ("/a", "/../../etc/passwd", "/etc/passwd"),
            ("/a", "/", "/"),
            ("/a", "///", "/"),
            ("/a", "...", "/a/..."),
            ("/a", "..b", "/a/..b"),
            ("/a", " b ", "/a/ b "),
            ("/a", " /..", "/a"),
            ("/a", "b\\..\\c", "/a/b\\..\\c"),
            ("/a", "%2e%2e/%2F", "/a/%2e%2e/%2F"),
            ("/a", "日本/é", "/a/日本/é"),
            ("/a", "~", "/a/~"),
            ("/a", "C:/x", "/a/C:/x"),
            ("/a", "．．/x", "/a/．．/x"),
        ] {
            let joined = path(from).join(argument).unwrap();
            assert_eq!(joined.to_string(), expected, "{from} {argument}");
        }
    }

    #[test]
    fn control_characters_are_refused() {
        for argument in [
            "a\0b",
            "a\nb",
            "\r",
            "a\u{1b}[31m",
            "a\u{7f}",
            "a\u{80}",
            "a\u{9f}",
            "a\tb",
            "x\0/..",
        ] {
            assert_eq!(
                VirtualPath::root().join(argument),
                Err(PathError::ControlCharacter),
                "{argument:?}"
            );
            assert_eq!(
                VirtualPath::root().child(argument),
                Err(PathError::ControlCharacter),
                "{argument:?}"
            );
            assert!(!VirtualPath::nameable(argument), "{argument:?}");
        }
        assert!(VirtualPath::nameable("a\u{a0}b"));
    }

    #[test]
    fn a_path_is_no_longer_than_a_key() {
        let longest = "é".repeat(MAX_KEY / 2 - 1);
        let parent = path("a");
        assert_eq!(
            parent.join(&longest).unwrap().to_string().len(),
            MAX_KEY + 1
        );
        assert!(parent.child(&longest).is_ok());
        let longer = format!("{longest}x");
        assert_eq!(parent.join(&longer), Err(PathError::TooLong));
        assert_eq!(parent.child(&longer), Err(PathError::TooLong));
        // Only the result counts.
        assert_eq!(path(&"a/../".repeat(1000)), VirtualPath::root());
        assert!(VirtualPath::root().join(&"a/".repeat(512)).is_ok());
        assert_eq!(
            VirtualPath::root().join(&"a/".repeat(513)),
            Err(PathError::TooLong)
        );
    }

    #[test]
    fn children_are_single_elements() {
        for name in ["", ".", "..", "/", "a/b", "a/", "/a"] {
            assert_eq!(
                path("/a").child(name),
                Err(PathError::NotAnElement),
                "{name:?}"
            );
            assert!(!VirtualPath::nameable(name), "{name:?}");
        }
        for name in [" ", "...", ".a", "a\\b", "-", "*"] {
            let child = path("/a").child(name).unwrap();
            assert_eq!(child.name(), Some(name));
            assert_eq!(child.parent(), Some(path("/a")));
        }
    }

    #[test]
    fn the_root_has_neither_name_nor_parent() {
        assert_eq!(VirtualPath::root().name(), None);
        assert_eq!(VirtualPath::root().parent(), None);
        assert!(VirtualPath::root().is_root());
        assert_eq!(VirtualPath::root().to_string(), "/");
        assert_eq!(path("/a").parent(), Some(VirtualPath::root()));
    }

    #[test]
    fn ancestors_are_compared_by_whole_elements() {
        assert_eq!(
            path("/alice/a/b").strip_prefix(&path("/alice")),
            Some(&["a".to_owned(), "b".to_owned()][..])
        );
        assert_eq!(path("/alice").strip_prefix(&path("/alice")), Some(&[][..]));
        assert_eq!(path("/alice-archive/a").strip_prefix(&path("/alice")), None);
        assert_eq!(path("/alice").strip_prefix(&path("/alice/a")), None);
    }

    /// Arguments with many dots and slashes.
    fn argument() -> impl Strategy<Value = String> {
        prop_oneof![
            "(\\.|\\.\\.|/|a|b| ){0,12}",
            "[./ab\\\\\u{0}-\u{2}é]{0,20}",
            any::<String>()
        ]
    }

    proptest! {
        #[test]
        fn no_argument_leaves_the_root(from in "(/[ab.]{1,3}){0,4}", argument in argument()) {
            if let Ok(joined) = path(&from).join(&argument) {
                prop_assert!(joined.elements().iter().all(|element| VirtualPath::nameable(element)));
                let text = joined.to_string();
                prop_assert!(text.starts_with('/') && text.len() <= MAX_KEY + 1);
                prop_assert!(!text.contains("//") && !text.contains("/../") && !text.ends_with("/.."));
                // Its text, parsed relative to any directory, is the same path.
                prop_assert_eq!(path("/x/y").join(&text).unwrap(), joined.clone());
                prop_assert_eq!(joined.join("").unwrap(), joined.clone());
                prop_assert_eq!(joined.join(".").unwrap(), joined);
            } else {
                prop_assert!(argument.len() > 1000 || argument.contains(char::is_control));
            }
        }

        #[test]
        fn a_child_is_joined_and_left_again(from in "(/[ab]{1,3}){0,4}", name in "\\PC{1,20}") {
            let from = path(&from);
            if let Ok(child) = from.child(&name) {
                prop_assert_eq!(from.join(&name).unwrap(), child.clone());
                prop_assert_eq!(child.join("..").unwrap(), from.clone());
                prop_assert_eq!(child.parent().unwrap(), from);
            } else {
                prop_assert!(name == "." || name == ".." || name.contains('/'));
            }
        }

        #[test]
        fn a_sibling_is_never_below(name in "[a-z]{1,6}", suffix in "[a-z.-]{1,4}", rest in "(/[a-z]{1,3}){0,3}") {
            let mount = path(&name);
            let sibling = path(&format!("{name}{suffix}{rest}"));
            prop_assert_eq!(sibling.strip_prefix(&mount), None);
            let below = path(&format!("{name}{rest}"));
            prop_assert!(below.strip_prefix(&mount).is_some());
        }
    }
}
