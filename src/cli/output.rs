//! Standard output, standard error and exit codes.

use std::io::Write;
use std::process::ExitCode;

use crate::cli::log::print_last_words;

/// Failed while running.
pub(super) const FAILURE: u8 = 1;
/// Wrong usage or configuration; clap exits with the same code.
pub(super) const USAGE: u8 = 2;
/// A store can't be used as the configuration wants it.
pub(super) const STORE: u8 = 3;
/// `import` could not carry something over.
pub(super) const NOT_CARRIED_OVER: u8 = 3;

/// Prints to standard output. If the reader has closed it, that is a failure and not a panic.
pub(super) fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(FAILURE),
    }
}

/// Prints an error to standard error, and returns this exit code.
pub(super) fn failed(code: u8, problem: &str) -> ExitCode {
    print_last_words(problem);
    ExitCode::from(code)
}
