//! [`LogSink`]: events → lines of the log.
//!
//! ```text
//! LogSink ── at target s3ftpd::events, at the event's level ──▶ tracing ──▶ filter ──▶ form
//! ```
//!
//! An event of `tracing` has a fixed list of fields, of ours only those that say something. So a
//! line has one field, the `message`, whose `Debug` writes all others: as text, or with the
//! alternate flag (`{:#?}`) as the members of a JSON object. The log's JSON form asks for the
//! latter; any other subscriber shows the former. Nothing is built if the filter leaves the line
//! out.

use std::fmt;
use std::sync::Arc;

use crate::events::{Event, EventSink, FieldValue, Level};

/// The target of the lines, for the filter.
pub const TARGET: &str = "s3ftpd::events";

/// Writes each event to the log, at its level.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogSink;

impl EventSink for LogSink {
    fn take(&self, event: &Arc<Event>) {
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(target: TARGET, message = ?LogLine(event))
            };
        }
        match event.level {
            Level::Error => line!(error),
            Level::Warn => line!(warn),
            Level::Info => line!(info),
            Level::Debug => line!(debug),
        }
    }
}

/// An event as a line: `{:?}` as text, `{:#?}` as the members of a JSON object, without its braces.
/// It is one line whatever clients send, and has no character that changes what a terminal shows.
struct LogLine<'a>(&'a Event);

impl fmt::Debug for LogLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = f.alternate();
        let mut first = true;
        let mut outcome = Ok(());
        self.0.visit(|name, value| {
            if outcome.is_ok() {
                let begins = std::mem::take(&mut first);
                outcome = match json {
                    true => member(f, begins, name, &value),
                    false => field(f, begins, name, &value),
                };
            }
        });
        outcome
    }
}

/// `"name":value`; the kind of the event is a member like the others.
fn member(
    f: &mut fmt::Formatter<'_>,
    first: bool,
    name: &str,
    value: &FieldValue<'_>,
) -> fmt::Result {
    let comma = if first { "" } else { "," };
    write!(f, "{comma}\"{name}\":")?;
    match value {
        FieldValue::Text(text) => write!(f, "{}", JsonText(text)),
        FieldValue::Made(text) => write!(f, "{}", JsonText(text)),
        FieldValue::Integer(number) => write!(f, "{number}"),
        FieldValue::Float(number) => write!(f, "{}", Seconds(*number)),
    }
}

/// `name=value`, or the kind of the event alone.
fn field(
    f: &mut fmt::Formatter<'_>,
    first: bool,
    name: &str,
    value: &FieldValue<'_>,
) -> fmt::Result {
    if !first {
        write!(f, " {name}=")?;
    }
    match value {
        FieldValue::Text(text) => word(f, text),
        FieldValue::Made(text) => word(f, text),
        FieldValue::Integer(number) => write!(f, "{number}"),
        FieldValue::Float(number) => write!(f, "{}", Seconds(*number)),
    }
}

/// A text without quotes if it is one word.
fn word(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let plain = |c: char| {
        c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\' | '=')
            || !c.is_ascii() && c.is_alphanumeric()
    };
    match !text.is_empty() && text.chars().all(plain) {
        true => f.write_str(text),
        // Not f's own flags: those would be the alternate ones.
        false => write!(f, "{text:?}"),
    }
}

/// A value in a line of text: one plain word as it is, else in quotes.
pub(crate) struct Word<'a>(pub(crate) &'a str);

impl fmt::Display for Word<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        word(f, self.0)
    }
}

/// A JSON string. Beyond what JSON asks for, it escapes what a terminal or a viewer takes for a
/// command or a line end.
pub(crate) struct JsonText<'a>(pub(crate) &'a str);

impl fmt::Display for JsonText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0;
        f.write_str("\"")?;
        let mut plain = 0;
        for (at, c) in text.char_indices() {
            if !needs_escape(c) {
                continue;
            }
            f.write_str(&text[plain..at])?;
            plain = at + c.len_utf8();
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                c => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(f, "\\u{unit:04x}")?;
                    }
                }
            }
        }
        f.write_str(&text[plain..])?;
        f.write_str("\"")
    }
}

fn needs_escape(c: char) -> bool {
    match c {
        ' '..='~' => matches!(c, '"' | '\\'),
        // Line ends, marks of direction, characters without a width.
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => true,
        c => c.is_control() || c == '\u{feff}',
    }
}

/// Seconds to the microsecond, as short as they can be: `0.0042`, `900`.
struct Seconds(f64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded = (self.0 * 1e6).round() / 1e6;
        match rounded.is_finite() {
            true => write!(f, "{rounded}"),
            // JSON has no word for it.
            false => f.write_str("0"),
        }
    }
}
