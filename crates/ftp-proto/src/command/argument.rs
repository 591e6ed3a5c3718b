//! The parameter of a command, and what most grammars ask of it.

use super::CommandError;
use super::verbs::Offered;

/// A command's verb and the text after the one space that follows it.
pub(super) struct Argument<'a> {
    pub offered: &'static Offered,
    pub text: &'a str,
    /// Whether a space follows the verb: then an empty text is intended.
    pub given: bool,
}

impl Argument<'_> {
    /// The error with the expected syntax.
    pub(super) fn wanted(&self) -> CommandError {
        CommandError::Syntax(format!("syntax: {}", self.offered.syntax))
    }

    /// The error for a valid argument that is not supported.
    pub(super) fn not_offered(&self) -> CommandError {
        CommandError::Parameter(format!("not offered; syntax: {}", self.offered.syntax))
    }

    /// The whole text, which must not be empty.
    pub(super) fn required(&self) -> Result<String, CommandError> {
        self.optional().ok_or_else(|| self.wanted())
    }

    pub(super) fn optional(&self) -> Option<String> {
        Some(self.text.to_owned()).filter(|text| !text.is_empty())
    }

    /// For parameters other than paths: ignores spaces around them.
    pub(super) fn trimmed(&self) -> &str {
        self.text.trim_matches(' ')
    }

    /// Its words in capitals.
    pub(super) fn words(&self) -> Vec<String> {
        self.text
            .split(' ')
            .filter(|word| !word.is_empty())
            .map(str::to_ascii_uppercase)
            .collect()
    }
}
