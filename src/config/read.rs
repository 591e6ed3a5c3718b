//! Typed reads of a table's keys: bounds and defaults are the schema's.

use std::time::Duration;

use crate::config::schema::{KeySchema, Kind};
use crate::config::section::Section;
use crate::config::values;
use crate::units;

impl Section<'_> {
    /// `true` or `false`.
    pub(super) fn flag(&self, key: &'static str) -> Option<bool> {
        values::boolean(&self.field(key)?)
    }

    /// A [`Section::flag`], else its default.
    pub(super) fn flag_or_default(&self, key: &'static str) -> bool {
        let default = || self.default(key, |text| text.parse().ok());
        self.flag(key).unwrap_or_else(default)
    }

    /// A whole number.
    pub(super) fn number<N: TryFrom<u64>>(&self, key: &'static str) -> Option<N> {
        values::integer(&self.field(key)?).and_then(|number| N::try_from(number).ok())
    }

    /// A [`Section::number`], else its default.
    pub(super) fn number_or_default<N: TryFrom<u64> + Default>(&self, key: &'static str) -> N {
        let parse = |text: &str| {
            text.parse()
                .ok()
                .and_then(|number| N::try_from(number).ok())
        };
        self.number(key).unwrap_or_else(|| self.default(key, parse))
    }

    /// Bytes, else the default.
    pub(super) fn size_or_default(&self, key: &'static str) -> u64 {
        let field = self.field(key);
        let size = field.and_then(|field| values::size(&field));
        size.unwrap_or_else(|| self.default(key, |text| units::parse_size(text).flatten()))
    }

    /// A length of time, else the default.
    pub(super) fn time_or_default(&self, key: &'static str) -> Duration {
        let field = self.field(key);
        let time = field.and_then(|field| values::duration(&field));
        time.unwrap_or_else(|| self.default(key, |text| units::duration(text).ok()))
    }

    /// One line of text.
    pub(super) fn line(&self, key: &'static str) -> Option<String> {
        values::line(&self.field(key)?)
    }

    /// A [`Section::line`], else its default.
    pub(super) fn line_or_default(&self, key: &'static str) -> String {
        let default = || self.default(key, |text| Some(text.to_owned()));
        self.line(key).unwrap_or_else(default)
    }

    /// A word, as the value of its place in the schema's list.
    pub(super) fn word<T: Copy>(&self, key: &'static str, values: &[T]) -> Option<T> {
        values::word(&self.field(key)?, values)
    }

    /// A [`Section::word`], else its default.
    pub(super) fn word_or_default<T: Copy + Default>(&self, key: &'static str, values: &[T]) -> T {
        let default = |text: &str| match &self.key(key)?.kind {
            Kind::Word(words) => {
                let place = words.iter().position(|word| *word == text)?;
                values.get(place).copied()
            }
            _ => None,
        };
        self.word(key, values)
            .unwrap_or_else(|| self.default(key, default))
    }

    /// The default of a key. There is always one: a test decodes a configuration of defaults.
    pub(super) fn default_of<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&'static str) -> Option<T>,
    ) -> Option<T> {
        let value = self.key(key).and_then(KeySchema::default).and_then(parse);
        debug_assert!(value.is_some(), "{key} has no default of its kind");
        value
    }

    /// The same, for types with a default of their own.
    fn default<T: Default>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&'static str) -> Option<T>,
    ) -> T {
        self.default_of(key, parse).unwrap_or_default()
    }
}
