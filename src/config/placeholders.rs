//! The values of placeholders in the texts of mounts.

use crate::config::section::Field;

/// What the placeholders of one user stand for.
pub(super) trait Values {
    /// The value of a placeholder.
    fn value(&self, name: &str) -> Option<&str>;
    /// The names of those that have a value.
    fn names(&self) -> Vec<&str>;
}

/// Adds the error that a placeholder has no value.
pub(super) fn missing<T>(
    place: &Field<'_>,
    key: &str,
    name: &str,
    values: &impl Values,
) -> Option<T> {
    let problem =
        format!("the {key} of this mount has {{{name}}}, and this user has no such value");
    let names = values.names().join(", ");
    place.wrong(
        problem,
        format!("a group or an attribute of that name for the user; it has: {names}"),
    )
}
