//! The options of the log, as `[log]` has them.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::events::filter::LogFilter;

/// What is logged, in which form, and the place of the transfer log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogOptions {
    /// Which lines; `--log` and `RUST_LOG` come first.
    pub filter: LogFilter,
    /// Their form; `--log-format` comes first.
    pub format: LogFormat,
    /// The transfer log; `None`: off.
    pub xferlog: Option<TransferLogPlace>,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Where the transfer log is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferLogPlace {
    /// To standard output.
    Stdout,
    /// To this file, at its end.
    File(PathBuf),
}
