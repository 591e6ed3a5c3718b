//! [`LineForm`]: how a line is written.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::{self, Format, Full, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::events::log::{JsonText, TARGET, Word};

/// The longest text of a library's line, characters. The SDK appends all of an error's structure to
/// its words.
const LONGEST: usize = 500;

/// Text, or one JSON object a line. The fields of the server's events are members of that object,
/// like the fields of all other lines.
pub(super) struct LineForm {
    text: Format<Full>,
    json: Arc<AtomicBool>,
}

impl LineForm {
    /// `json`: which form; it can change at any time.
    pub(super) fn new(json: Arc<AtomicBool>) -> LineForm {
        LineForm {
            text: format::format(),
            json,
        }
    }
}

impl<S, N> FormatEvent<S, N> for LineForm
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.json.load(Ordering::Relaxed) {
            return object(&mut writer, event);
        }
        if !is_cut(event.metadata()) {
            return self.text.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.text
            .format_event(context, Writer::new(&mut line), event)?;
        writeln!(writer, "{}", cut(line.trim_end()))
    }
}

/// Writes a field of a line of text as `name=value`, and the message as it is. A value that is not
/// one plain word stands in quotes.
pub(super) fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    if field.name() == "message" {
        return write!(writer, "{value:?}");
    }
    let text = format!("{value:?}");
    match is_quoted(&text) {
        true => write!(writer, "{}={text}", field.name()),
        false => write!(writer, "{}={}", field.name(), Word(&text)),
    }
}

/// Whether a text is one string in quotes: what a field of type `str` is written as.
fn is_quoted(text: &str) -> bool {
    let inner = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let mut escaped = false;
    inner.is_some_and(|inner| {
        let whole = inner.chars().all(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            !ends
        });
        whole && !escaped
    })
}

/// Whether a line may be too long: a library's. Those for debugging stay whole.
fn is_cut(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO && !metadata.target().starts_with("s3ftpd")
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A line as a JSON object.
fn object(writer: &mut Writer<'_>, event: &Event<'_>) -> fmt::Result {
    let metadata = event.metadata();
    writer.write_str("{\"timestamp\":\"")?;
    SystemTime.format_time(writer)?;
    write!(writer, "\",\"level\":\"{}\"", metadata.level())?;
    let mut members = Members {
        writer,
        // The message of one of the server's events writes its fields.
        spliced: metadata.target() == TARGET,
        cut: is_cut(metadata),
        outcome: Ok(()),
    };
    event.record(&mut members);
    members.outcome?;
    writeln!(writer, ",\"target\":{}}}", JsonText(metadata.target()))
}

/// Writes fields as members of an object, each after a comma.
struct Members<'w, 'a> {
    writer: &'w mut Writer<'a>,
    spliced: bool,
    cut: bool,
    outcome: fmt::Result,
}

impl Members<'_, '_> {
    fn write(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if self.outcome.is_ok() {
            let name = JsonText(field.name());
            self.outcome = write!(self.writer, ",{name}:{value}");
        }
    }

    fn write_text(&mut self, field: &Field, text: &str) {
        match self.cut {
            true => self.write(field, format_args!("{}", JsonText(&cut(text)))),
            false => self.write(field, format_args!("{}", JsonText(text))),
        }
    }
}

impl Visit for Members<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if !self.spliced {
            self.write_text(field, &format!("{value:?}"));
        } else if self.outcome.is_ok() {
            self.outcome = write!(self.writer, ",{value:#?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write_text(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write(field, format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, format_args!("{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        match value.is_finite() {
            true => self.write(field, format_args!("{value}")),
            false => self.write_text(field, &value.to_string()),
        }
    }
}
