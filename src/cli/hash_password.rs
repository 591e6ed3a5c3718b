//! `hash-password`: reads a password from standard input and prints its hash.

use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::auth::{HashError, hash_password};

use super::output::{FAILURE, USAGE, failed, print};

/// The limit of the input, far above the longest password, bytes; the rest is not read.
const LONGEST_INPUT: u64 = 64 * 1024;

/// Reads one password and prints its hash, unless `shutdown` comes first.
pub(super) async fn run(shutdown: CancellationToken) -> ExitCode {
    // Reading blocks, and a signal must still end it.
    let reading = tokio::task::spawn_blocking(|| {
        let input = std::io::stdin();
        let terminal = input.is_terminal();
        if terminal {
            eprint!("Password (it will show): ");
        }
        hash_from(input.lock(), terminal)
    });
    let read = tokio::select! {
        () = shutdown.cancelled() => return ExitCode::from(FAILURE),
        read = reading => read,
    };
    match read {
        Ok(Ok(hash)) => print(&format!("{hash}\n")),
        Ok(Err(error @ InputError::Read(_))) => failed(FAILURE, &error.to_string()),
        Ok(Err(error)) => failed(USAGE, &error.to_string()),
        Err(error) => failed(FAILURE, &error.to_string()),
    }
}

/// Why standard input gives no hash.
#[derive(Debug, thiserror::Error)]
enum InputError {
    /// It can't be read, or is not UTF-8.
    #[error("standard input can't be read: {0}")]
    Read(#[from] std::io::Error),
    /// There is more than one line.
    #[error("standard input holds more than one line; a password is one line")]
    Lines,
    /// The password can't be hashed.
    #[error("{0}")]
    Password(#[from] HashError),
}

/// Hashes the one line in `input`. On a terminal, reads the first line and does not wait for more.
fn hash_from(input: impl Read, terminal: bool) -> Result<String, InputError> {
    let mut input = std::io::BufReader::new(input.take(LONGEST_INPUT));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut input, &mut line)?;
    if line.ends_with('\n') {
        line.pop();
        if line.ends_with('\r') {
            line.pop();
        }
    }
    if !terminal && input.read(&mut [0])? > 0 {
        return Err(InputError::Lines);
    }
    Ok(hash_password(&SecretString::from(line))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::auth::PasswordHash;

    #[test]
    fn the_password_is_one_line() {
        for input in ["changeme", "changeme\n", "changeme\r\n"] {
            let hash = hash_from(input.as_bytes(), false).unwrap();
            assert!(
                PasswordHash::parse(&hash.into())
                    .unwrap()
                    .verify(&"changeme".into()),
                "{input:?}"
            );
        }
        let spaces = hash_from(" change me \n".as_bytes(), false).unwrap();
        assert!(
            PasswordHash::parse(&spaces.into())
                .unwrap()
                .verify(&" change me ".into())
        );
        for input in ["", "\n", "\r\n"] {
            let empty = hash_from(input.as_bytes(), false);
            assert!(
                matches!(empty, Err(InputError::Password(HashError::Empty))),
                "{input:?}"
            );
        }
        assert!(matches!(
            hash_from("one\ntwo\n".as_bytes(), false),
            Err(InputError::Lines)
        ));
        assert!(hash_from("one\ntwo\n".as_bytes(), true).is_ok());
        assert!(matches!(
            hash_from(&b"\xff\n"[..], false),
            Err(InputError::Read(_))
        ));
    }
}
