//! Standard output, standard error and exit codes.

use std::io::Write;
use std::process::ExitCode;

/// Failed while running.
pub(super) const FAILURE: u8 = 1;
/// Wrong usage or configuration; clap ends with it too.
pub(super) const USAGE: u8 = 2;

/// Prints to standard output. A reader who has gone is a failure, and no panic.
pub(super) fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(FAILURE),
    }
}

/// Prints what went wrong to standard error, and returns this exit code.
pub(super) fn failed(code: u8, problem: &str) -> ExitCode {
    // Nothing is left to be done where standard error is closed.
    let _ = writeln!(std::io::stderr(), "{problem}");
    ExitCode::from(code)
}
