//! The schema of `[log]`.

use std::path::PathBuf;

use crate::config::section::{Field, Section};
use crate::events::filter::{ALLOWED, LogFilter};
use crate::events::options::{LogFormat, LogOptions, TransferLogPlace};

pub(super) fn decode(section: Section<'_>) -> LogOptions {
    let options = LogOptions {
        filter: section
            .field("level")
            .and_then(|field| filter(&field))
            .or_else(|| section.default_of("level", |text| text.parse().ok()))
            .unwrap_or_default(),
        format: section.word_or_default("format", &[LogFormat::Text, LogFormat::Json]),
        xferlog: section.field("xferlog").and_then(|field| place(&field)),
    };
    section.finish();
    options
}

fn filter(field: &Field<'_>) -> Option<LogFilter> {
    let text = field.text(ALLOWED)?;
    match text.parse() {
        Ok(filter) => Some(filter),
        Err(_) => field.wrong(format!("{text:?} is not a filter of log lines"), ALLOWED),
    }
}

fn place(field: &Field<'_>) -> Option<TransferLogPlace> {
    let allowed = "the path of a file, or \"stdout\"";
    match field.text(allowed)? {
        "" => field.wrong("is empty", allowed),
        "stdout" | "-" => Some(TransferLogPlace::Stdout),
        path => Some(TransferLogPlace::File(PathBuf::from(path))),
    }
}
