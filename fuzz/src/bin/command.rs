//! The command parser: any line is a command, or gets one well-formed refusal that repeats nothing.

#![no_main]

use ftp_proto::{Command, CommandError, Reply};
use libfuzzer_sys::fuzz_target;
use test_support::in_memory::StrictReply as Read;

fuzz_target!(|line: &[u8]| {
    let parsed = Command::parse(line);
    let space = line
        .iter()
        .position(|byte| *byte == b' ')
        .unwrap_or(line.len());
    let (verb, argument) = line.split_at(space);
    let argument = argument.get(1..).unwrap_or_default();

    let capitals = [&verb.to_ascii_uppercase(), &line[space..]].concat();
    match &parsed {
        Ok(command) => {
            assert_eq!(
                Command::parse(&capitals).as_ref(),
                Ok(command),
                "verbs in any case"
            );
            assert!(Command::verbs().any(|offered| offered == command.verb()));
            let verb = std::str::from_utf8(verb).expect("offered verbs are ASCII");
            let syntax = Command::syntax(verb).expect("offered verbs have a syntax");
            assert!(syntax.starts_with(&verb.to_ascii_uppercase()));
            if let Command::Pass(password) = command {
                assert_eq!(password.0.as_bytes(), argument);
                assert_eq!(format!("{command:?}"), "Pass(…)");
            }
            if let Some(path) = path_of(command) {
                assert_eq!(path.as_bytes(), argument, "paths are taken verbatim");
            }
        }
        Err(error) => {
            assert!((500..600).contains(&error.code()));
            let bytes = Reply::new(error.code(), error.to_string()).to_bytes();
            let (read, rest) = Read::parse(&bytes).expect("a reply").expect("a whole one");
            assert_eq!((read.code, rest.len()), (error.code(), 0));
            assert!(
                is_known(error, verb),
                "a refusal of no known words, which may repeat a secret: {error}"
            );
        }
    }
});

/// The argument of commands that take only a path.
fn path_of(command: &Command) -> Option<&str> {
    use Command as C;
    match command {
        C::User(path)
        | C::Cwd(path)
        | C::Mkd(path)
        | C::Rmd(path)
        | C::Retr(path)
        | C::Stor(path)
        | C::Appe(path)
        | C::Size(path)
        | C::Mdtm(path)
        | C::Dele(path)
        | C::Rnfr(path)
        | C::Rnto(path)
        | C::Hash(path) => Some(path),
        _ => None,
    }
}

/// Whether a refusal's text depends on the verb alone: the argument may be a secret.
fn is_known(error: &CommandError, verb: &[u8]) -> bool {
    let syntax = std::str::from_utf8(verb)
        .ok()
        .and_then(Command::syntax)
        .unwrap_or("unknown verb");
    match error {
        CommandError::Unknown
        | CommandError::Http
        | CommandError::Protocol
        | CommandError::NotUtf8 => true,
        CommandError::NotOffered(name) => {
            *name == "this SITE command" || verb.eq_ignore_ascii_case(name.as_bytes())
        }
        CommandError::Syntax(text) => {
            *text == format!("syntax: {syntax}") || text == "the line holds a NUL character"
        }
        CommandError::Parameter(text) => {
            *text == format!("not offered; syntax: {syntax}")
                || text.starts_with("not offered; one of SHA-256, ")
        }
    }
}
