//! [`LogFilter`]: which lines the log has.

use std::fmt;
use std::str::FromStr;

use tracing_subscriber::filter::{LevelFilter, Targets};

/// Which lines are logged: `info`, or directives such as `s3ftpd=debug,info`. It is a part of what
/// the variable `RUST_LOG` takes elsewhere: levels by target, without spans and fields.
#[derive(Debug, Clone, PartialEq)]
pub struct LogFilter {
    text: String,
    targets: Targets,
}

/// A text that is not a filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a level nor TARGET=LEVEL; allowed: {ALLOWED}")]
pub struct LogFilterError(String);

/// What a filter may be.
pub const ALLOWED: &str = "off, error, warn, info, debug, trace, or directives such as \
    s3ftpd=debug,info";

const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

impl LogFilter {
    /// The levels by target.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }
}

impl Default for LogFilter {
    /// `info`
    fn default() -> LogFilter {
        LogFilter {
            text: "info".to_owned(),
            targets: Targets::new().with_default(LevelFilter::INFO),
        }
    }
}

/// The text that it was read from.
impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for LogFilter {
    type Err = LogFilterError;

    /// A word that is not a level is refused: elsewhere it stands for a target with all its lines,
    /// so that `inof` would silence the log without a word.
    fn from_str(text: &str) -> Result<LogFilter, LogFilterError> {
        let mut targets = Targets::new();
        for directive in text.split(',').map(str::trim) {
            let wrong = || LogFilterError(directive.to_owned());
            targets = match directive.split_once('=') {
                None => targets.with_default(level(directive).ok_or_else(wrong)?),
                Some((target, name)) if is_target(target) => {
                    targets.with_target(target, level(name).ok_or_else(wrong)?)
                }
                Some(_) => return Err(wrong()),
            };
        }
        Ok(LogFilter {
            text: text.trim().to_owned(),
            targets,
        })
    }
}

fn level(name: &str) -> Option<LevelFilter> {
    let named = |(word, _): &&(&str, LevelFilter)| word.eq_ignore_ascii_case(name);
    LEVELS.iter().find(named).map(|(_, level)| *level)
}

fn is_target(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-' | '.');
    !text.is_empty() && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tracing_subscriber::filter::LevelFilter;

    use super::*;

    fn allows(filter: &str, target: &str) -> LevelFilter {
        let filter: LogFilter = filter.parse().unwrap();
        let levels = LEVELS.iter().rev().filter_map(|(_, level)| {
            let wanted = level.into_level()?;
            let shown = filter.targets().would_enable(target, &wanted);
            shown.then_some(*level)
        });
        levels.max().unwrap_or(LevelFilter::OFF)
    }

    #[test]
    fn the_longest_target_decides() {
        for (filter, target, level) in [
            ("info", "s3ftpd::session", LevelFilter::INFO),
            ("INFO", "hyper", LevelFilter::INFO),
            ("off", "s3ftpd", LevelFilter::OFF),
            ("s3ftpd=debug,info", "s3ftpd::session", LevelFilter::DEBUG),
            ("s3ftpd=debug, info", "hyper::proto", LevelFilter::INFO),
            ("info,s3ftpd=debug", "hyper::proto", LevelFilter::INFO),
            ("s3ftpd=debug", "hyper", LevelFilter::OFF),
            (
                "s3ftpd=trace,s3ftpd::events=warn",
                "s3ftpd::events",
                LevelFilter::WARN,
            ),
        ] {
            assert_eq!(allows(filter, target), level, "{filter} of {target}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_what_is_allowed() {
        for (text, wrong) in [
            ("", ""),
            ("inof", "inof"),
            ("info,", ""),
            ("s3ftpd", "s3ftpd"),
            ("s3ftpd=loud,info", "s3ftpd=loud"),
            ("s3ftpd[span]=debug", "s3ftpd[span]=debug"),
            ("=info", "=info"),
            ("3", "3"),
            ("info\ndebug", "info\ndebug"),
        ] {
            let error = text.parse::<LogFilter>().unwrap_err();
            assert_eq!(error, LogFilterError(wrong.to_owned()));
            let shown = error.to_string();
            assert!(
                shown.contains("TARGET=LEVEL") && !shown.contains('\n'),
                "{shown}"
            );
        }
    }

    #[test]
    fn a_filter_shows_the_text_it_was_read_from() {
        for text in ["info", "s3ftpd=debug,info"] {
            let filter: LogFilter = text.parse().unwrap();
            assert_eq!(filter.to_string(), text);
        }
        assert_eq!(LogFilter::default(), "info".parse().unwrap());
    }
}
