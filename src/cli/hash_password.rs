//! `hash-password`: reads a password from standard input and prints its hash.
//!
//! At a terminal it asks twice and hides what is typed.

use std::io::{BufRead, BufReader, IsTerminal, Read, Stdin};
use std::process::ExitCode;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

use crate::auth::{HashError, hash_password};

use super::output::{FAILURE, USAGE, failed, print};

/// The limit of the input, far above the longest password, bytes; the rest is not read.
const LONGEST_INPUT: u64 = 64 * 1024;

/// Reads one password and prints its hash, unless `shutdown` comes first.
pub(super) async fn run(shutdown: CancellationToken) -> ExitCode {
    // It is dropped on each way out of here, so that a signal leaves no terminal that hides.
    let hidden = match std::io::stdin().is_terminal() {
        true => match Hidden::begin(std::io::stdin()) {
            Ok(hidden) => Some(hidden),
            Err(error) => return failed(FAILURE, &format!("the terminal: {error}")),
        },
        false => None,
    };
    let terminal = hidden.is_some();
    // Reading blocks, and a signal must still end it.
    let reading = tokio::task::spawn_blocking(move || match terminal {
        true => hash_typed(std::io::stdin().lock(), |prompt| eprint!("{prompt}")),
        false => hash_from(std::io::stdin().lock()),
    });
    let read = tokio::select! {
        () = shutdown.cancelled() => return ExitCode::from(FAILURE),
        read = reading => read,
    };
    drop(hidden);
    match read {
        Ok(Ok(hash)) => print(&format!("{hash}\n")),
        Ok(Err(error @ InputError::Read(_))) => failed(FAILURE, &error.to_string()),
        Ok(Err(error)) => failed(USAGE, &error.to_string()),
        Err(error) => failed(FAILURE, &error.to_string()),
    }
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden {
    terminal: Stdin,
    before: Termios,
}

impl Hidden {
    fn begin(terminal: Stdin) -> nix::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut hiding = before.clone();
        hiding.local_flags.remove(LocalFlags::ECHO);
        // The line end shows.
        hiding.local_flags.insert(LocalFlags::ECHONL);
        // What was typed before, and has shown, is dropped.
        tcsetattr(&terminal, SetArg::TCSAFLUSH, &hiding)?;
        Ok(Hidden { terminal, before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before);
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
    /// The second time it was another one.
    #[error("the two passwords differ")]
    Differ,
    /// The password can't be hashed.
    #[error("{0}")]
    Password(#[from] HashError),
}

/// Hashes the one line in `input`.
fn hash_from(input: impl Read) -> Result<String, InputError> {
    let mut input = BufReader::new(input.take(LONGEST_INPUT));
    let password = line(&mut input)?;
    if input.read(&mut [0])? > 0 {
        return Err(InputError::Lines);
    }
    Ok(hash_password(&password)?)
}

/// Hashes the line that is typed twice.
fn hash_typed(input: impl Read, mut ask: impl FnMut(&str)) -> Result<String, InputError> {
    let mut input = BufReader::new(input.take(LONGEST_INPUT));
    ask("Password: ");
    let password = line(&mut input)?;
    // A mistake is reported before the second time.
    let hash = hash_password(&password)?;
    ask("The same again: ");
    if line(&mut input)?.expose_secret() != password.expose_secret() {
        return Err(InputError::Differ);
    }
    Ok(hash)
}

/// Reads a line, without its end.
fn line(input: &mut impl BufRead) -> Result<SecretString, InputError> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    if line.ends_with('\n') {
        line.pop();
        if line.ends_with('\r') {
            line.pop();
        }
    }
    Ok(SecretString::from(line))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::auth::PasswordHash;

    #[test]
    fn the_password_is_one_line() {
        for input in ["changeme", "changeme\n", "changeme\r\n"] {
            let hash = hash_from(input.as_bytes()).unwrap();
            assert!(
                PasswordHash::parse(&hash.into())
                    .unwrap()
                    .verify(&"changeme".into()),
                "{input:?}"
            );
        }
        let spaces = hash_from(" change me \n".as_bytes()).unwrap();
        assert!(
            PasswordHash::parse(&spaces.into())
                .unwrap()
                .verify(&" change me ".into())
        );
        for input in ["", "\n", "\r\n"] {
            let empty = hash_from(input.as_bytes());
            assert!(
                matches!(empty, Err(InputError::Password(HashError::Empty))),
                "{input:?}"
            );
        }
        assert!(matches!(
            hash_from("one\ntwo\n".as_bytes()),
            Err(InputError::Lines)
        ));
        assert!(matches!(
            hash_from(&b"\xff\n"[..]),
            Err(InputError::Read(_))
        ));
    }

    #[test]
    fn a_typed_password_is_asked_for_twice() {
        let mut asked = Vec::new();
        let typed = "pass word ü\npass word ü\n".as_bytes();
        let hash = hash_typed(typed, |prompt| asked.push(prompt.to_owned())).unwrap();
        assert!(
            PasswordHash::parse(&hash.into())
                .unwrap()
                .verify(&"pass word ü".into())
        );
        assert_eq!(asked, ["Password: ", "The same again: "]);
        for typed in ["one\ntwo\n", "one\nOne\n", "one\n", "one\n\n"] {
            let differ = hash_typed(typed.as_bytes(), |_| {});
            assert!(matches!(differ, Err(InputError::Differ)), "{typed:?}");
        }
        let mut asked = 0;
        let empty = hash_typed("\nx\n".as_bytes(), |_| asked += 1);
        assert!(matches!(empty, Err(InputError::Password(HashError::Empty))));
        assert_eq!(asked, 1);
    }
}
