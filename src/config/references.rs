//! Texts of errors about names that refer to other sections.

use crate::config::section::nearest;

/// The allowed names, as the text of an error.
pub(super) fn known(kind: &str, names: &[&str]) -> String {
    if names.is_empty() {
        return format!("the name of a {kind}, of which none is configured");
    }
    format!("the name of a {kind}: {}", names.join(", "))
}

pub(super) fn unknown(kind: &str, name: &str, names: &[&str]) -> String {
    match nearest(name, names) {
        Some(near) => format!("there is no {kind} {name:?}, did you mean {near:?}?"),
        None => format!("there is no {kind} {name:?}"),
    }
}
