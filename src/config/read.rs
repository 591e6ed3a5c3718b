//! Reads the keys of a table by type. The schema has their bounds and defaults.
//!
//! A key that is missing, or whose value is wrong and reported, reads as `None` or as its default.

use std::time::Duration;

use crate::config::schema::{KeySchema, Kind};
use crate::config::section::Section;
use crate::config::values;
use crate::units;

impl Section<'_> {
    /// Reads `true` or `false`.
    pub(super) fn flag(&self, key: &'static str) -> Option<bool> {
        values::boolean(&self.field(key)?)
    }

    /// [`Section::flag`] with the default of the schema.
    pub(super) fn flag_or_default(&self, key: &'static str) -> bool {
        let default = || self.default(key, |text| text.parse().ok());
        self.flag(key).unwrap_or_else(default)
    }

    /// Reads a whole number.
    pub(super) fn number<N: TryFrom<u64>>(&self, key: &'static str) -> Option<N> {
        values::integer(&self.field(key)?).and_then(|number| N::try_from(number).ok())
    }

    /// [`Section::number`] with the default of the schema.
    pub(super) fn number_or_default<N: TryFrom<u64> + Default>(&self, key: &'static str) -> N {
        let parse = |text: &str| {
            text.parse()
                .ok()
                .and_then(|number| N::try_from(number).ok())
        };
        self.number(key).unwrap_or_else(|| self.default(key, parse))
    }

    /// Reads a size in bytes.
    pub(super) fn size(&self, key: &'static str) -> Option<u64> {
        values::size(&self.field(key)?)
    }

    /// [`Section::size`] with the default of the schema.
    pub(super) fn size_or_default(&self, key: &'static str) -> u64 {
        self.size(key)
            .unwrap_or_else(|| self.default(key, |text| units::parse_size(text).flatten()))
    }

    /// Reads a length of time.
    pub(super) fn time(&self, key: &'static str) -> Option<Duration> {
        values::duration(&self.field(key)?)
    }

    /// [`Section::time`] with the default of the schema.
    pub(super) fn time_or_default(&self, key: &'static str) -> Duration {
        self.time(key)
            .unwrap_or_else(|| self.default(key, |text| units::duration(text).ok()))
    }

    /// Reads one line of text.
    pub(super) fn line(&self, key: &'static str) -> Option<String> {
        values::line(&self.field(key)?)
    }

    /// [`Section::line`] with the default of the schema.
    pub(super) fn line_or_default(&self, key: &'static str) -> String {
        let default = || self.default(key, |text| Some(text.to_owned()));
        self.line(key).unwrap_or_else(default)
    }

    /// Reads a word. `values` has one value for each word in the schema's list, in the same order.
    pub(super) fn word<T: Copy>(&self, key: &'static str, values: &[T]) -> Option<T> {
        values::word(&self.field(key)?, values)
    }

    /// [`Section::word`] with the default of the schema.
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

    /// The default of a key. `None` is a bug of the schema; a test decodes a configuration that
    /// consists of defaults.
    pub(super) fn default_of<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&'static str) -> Option<T>,
    ) -> Option<T> {
        let value = self.key(key).and_then(KeySchema::default).and_then(parse);
        debug_assert!(value.is_some(), "{key} has no default of its kind");
        value
    }

    /// [`Section::default_of`] for types that implement `Default`.
    fn default<T: Default>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&'static str) -> Option<T>,
    ) -> T {
        self.default_of(key, parse).unwrap_or_default()
    }
}
