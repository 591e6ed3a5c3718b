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

use std::fmt::{self, Write as _};
use std::sync::Arc;

use crate::events::{Event, EventSink, FieldValue, Level};

/// The target of the lines, for the filter.
pub const TARGET: &str = "s3ftpd::events";

/// What a line takes, bytes, if its names are short.
const USUAL_LINE: usize = 512;

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
        // Gathered first: a line has some eighty pieces, and each would pass through all writers
        // between here and the log.
        let mut line = String::with_capacity(USUAL_LINE);
        let mut outcome = Ok(());
        self.0.visit(|name, value| {
            if outcome.is_ok() {
                outcome = match json {
                    true => member(&mut line, name, &value),
                    false => field(&mut line, name, &value),
                };
            }
        });
        outcome?;
        f.write_str(&line)
    }
}

/// `"name":value`; the kind of the event is a member like the others.
fn member(line: &mut String, name: &str, value: &FieldValue<'_>) -> fmt::Result {
    if !line.is_empty() {
        line.push(',');
    }
    line.push('"');
    line.push_str(name);
    line.push_str("\":");
    match value {
        FieldValue::Text(text) => json_text(line, text),
        FieldValue::Made(text) => json_text(line, text),
        FieldValue::Integer(number) => write!(line, "{number}"),
        FieldValue::Float(number) => write!(line, "{}", Seconds(*number)),
    }
}

/// `name=value`, or the kind of the event alone.
fn field(line: &mut String, name: &str, value: &FieldValue<'_>) -> fmt::Result {
    if !line.is_empty() {
        line.push(' ');
        line.push_str(name);
        line.push('=');
    }
    match value {
        FieldValue::Text(text) => word(line, text),
        FieldValue::Made(text) => word(line, text),
        FieldValue::Integer(number) => write!(line, "{number}"),
        FieldValue::Float(number) => write!(line, "{}", Seconds(*number)),
    }
}

/// A text without quotes if it is one word.
fn word(to: &mut impl fmt::Write, text: &str) -> fmt::Result {
    let plain_ascii = |c: u8| c.is_ascii_graphic() && !matches!(c, b'"' | b'\'' | b'\\' | b'=');
    let plain = |c: char| match u8::try_from(c) {
        Ok(c) if c.is_ascii() => plain_ascii(c),
        _ => c.is_alphanumeric(),
    };
    // Nearly all texts are ASCII.
    let is_word = text.bytes().all(plain_ascii) || text.chars().all(plain);
    match !text.is_empty() && is_word {
        true => to.write_str(text),
        false => write!(to, "{text:?}"),
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
        json_text(f, self.0)
    }
}

fn json_text(to: &mut impl fmt::Write, text: &str) -> fmt::Result {
    to.write_str("\"")?;
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        if !needs_escape(c) {
            continue;
        }
        to.write_str(&text[plain..at])?;
        plain = at + c.len_utf8();
        match c {
            '"' => to.write_str("\\\"")?,
            '\\' => to.write_str("\\\\")?,
            '\n' => to.write_str("\\n")?,
            '\r' => to.write_str("\\r")?,
            '\t' => to.write_str("\\t")?,
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(to, "\\u{unit:04x}")?;
                }
            }
        }
    }
    to.write_str(&text[plain..])?;
    to.write_str("\"")
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
