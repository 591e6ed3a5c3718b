//! Texts with placeholders, such as `in/{customer}/`: prefixes, tags and metadata of mounts.
//!
//! A placeholder is the name of a value in braces: `{user}`, `{group}`, an attribute of the user or
//! of its group, and, except in prefixes, `{peer}`. The values of a user are put in once, when the
//! configuration is read; [`PEER`] stays, since it differs from session to session.

use std::fmt;

/// The placeholder for the login name.
pub const USER: &str = "user";
/// The placeholder for the name of the user's group.
pub const GROUP: &str = "group";
/// The placeholder for the client's address, which only a session knows.
pub const PEER: &str = "peer";

/// A text with placeholders.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Placeholder(String),
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace without its counterpart.
    #[error("a brace that is not part of a placeholder such as {{user}}")]
    Brace,
    /// Braces around something that is not a name.
    #[error("a placeholder whose name has characters other than a-z, 0-9, \"_\" and \"-\"")]
    Name,
}

impl Template {
    /// Reads a text.
    ///
    /// # Errors
    /// A brace without its counterpart, or braces around what [is not a name](is_placeholder).
    pub fn parse(text: &str) -> Result<Template, TemplateError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(brace) = rest.find(['{', '}']) {
            if brace > 0 {
                pieces.push(Piece::Text(rest[..brace].to_owned()));
            }
            let inner = rest[brace..].strip_prefix('{');
            let (name, after) = inner
                .and_then(|inner| inner.split_once('}'))
                .ok_or(TemplateError::Brace)?;
            if name.contains('{') {
                return Err(TemplateError::Brace);
            }
            if !is_placeholder(name) {
                return Err(TemplateError::Name);
            }
            pieces.push(Piece::Placeholder(name.to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Template { pieces })
    }

    /// The names of its placeholders, without the braces.
    pub fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Placeholder(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// Puts values in. [`PEER`] stays.
    ///
    /// # Errors
    /// The name of a placeholder without a value.
    pub fn fill<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> Result<Template, String> {
        let fill = |piece: &Piece| match piece {
            Piece::Placeholder(name) if name != PEER => value(name)
                .map(|value| Piece::Text(value.to_owned()))
                .ok_or_else(|| name.clone()),
            piece => Ok(piece.clone()),
        };
        let pieces = self.pieces.iter().map(fill).collect::<Result<_, _>>()?;
        Ok(Template { pieces })
    }

    /// The text. `peer` is the client's address.
    pub fn text(&self, peer: &str) -> String {
        let text = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text,
            Piece::Placeholder(_) => peer,
        });
        text.collect()
    }
}

/// As it was written.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => f.write_str(text)?,
                Piece::Placeholder(name) => write!(f, "{{{name}}}")?,
            }
        }
        Ok(())
    }
}

/// Whether a text can be the name of a placeholder, and so of an attribute.
pub fn is_placeholder(name: &str) -> bool {
    let right = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    !name.is_empty() && name.len() <= 64 && name.bytes().all(right)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn value(name: &str) -> Option<&'static str> {
        match name {
            "user" => Some("anna"),
            "braces" => Some("{user}"),
            "empty" => Some(""),
            _ => None,
        }
    }

    #[test]
    fn placeholders_are_replaced_once() {
        for (template, text) in [
            ("", ""),
            ("in/", "in/"),
            ("{user}", "anna"),
            ("a{user}b{user}", "aannabanna"),
            ("{empty}{peer}", "192.0.2.1"),
            // A value is not a template.
            ("{braces}", "{user}"),
        ] {
            let parsed = Template::parse(template).unwrap();
            assert_eq!(parsed.to_string(), template);
            assert_eq!(
                parsed.fill(value).unwrap().text("192.0.2.1"),
                text,
                "{template}"
            );
        }
        let unknown = Template::parse("{user}/{kunde}").unwrap();
        assert_eq!(unknown.fill(value), Err("kunde".to_owned()));
        assert_eq!(
            unknown.placeholders().collect::<Vec<_>>(),
            ["user", "kunde"]
        );
    }

    #[test]
    fn a_text_that_is_not_a_template() {
        for (text, error) in [
            ("{", TemplateError::Brace),
            ("}", TemplateError::Brace),
            ("{user", TemplateError::Brace),
            ("user}", TemplateError::Brace),
            ("{{user}}", TemplateError::Brace),
            ("{}", TemplateError::Name),
            ("{User}", TemplateError::Name),
            ("{a b}", TemplateError::Name),
            ("{ü}", TemplateError::Name),
        ] {
            assert_eq!(Template::parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        /// What is not a placeholder stays as it is, and a value never becomes a placeholder.
        #[test]
        fn texts_around_values_stay(before in "[^{}]{0,9}", user in ".{0,20}", after in "[^{}]{0,9}") {
            let template = Template::parse(&format!("{before}{{user}}{after}")).unwrap();
            let filled = template.fill(|_| Some(user.as_str())).unwrap();
            prop_assert_eq!(filled.text("peer"), format!("{before}{user}{after}"));
        }

        #[test]
        fn no_text_panics(text in ".*") {
            if let Ok(template) = Template::parse(&text) {
                prop_assert_eq!(template.to_string(), text);
            }
        }
    }
}
