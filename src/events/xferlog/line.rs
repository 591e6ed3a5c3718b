//! One line of the transfer log: xferlog(5) of wu-ftpd.

use std::fmt::Write;

use jiff::tz::TimeZone;

use crate::events::{Class, Direction, Event, Kind, Representation};

/// Names of users without a password.
const ANONYMOUS: [&str; 2] = ["anonymous", "ftp"];

/// Whether the event has a line: the transfer of a file, whole or not, or a delete.
pub(super) fn is_wanted(event: &Event) -> bool {
    match event.kind {
        Kind::Transfer => event.direction.is_some(),
        Kind::Deleted => true,
        _ => false,
    }
}

/// Adds the line of an event, with its end.
pub(super) fn append(to: &mut String, event: &Event, zone: &TimeZone) {
    let time = event.time.to_zoned_datetime(zone.clone());
    // Old scripts divide by it.
    let seconds = match event.kind {
        Kind::Deleted => 0.0,
        _ => event.seconds.unwrap_or_default().round().max(1.0),
    };
    let host = match event.peer() {
        Some(peer) => peer.ip().to_canonical().to_string(),
        None => "unknown".to_owned(),
    };
    let bytes = event.bytes.or(event.size).unwrap_or_default();
    let direction = match (event.kind, event.direction) {
        (Kind::Deleted, _) => 'd',
        (_, Some(Direction::In)) => 'i',
        _ => 'o',
    };
    let user = event.user().unwrap_or_default();
    let anonymous = ANONYMOUS.iter().any(|name| user.eq_ignore_ascii_case(name));
    // Writing to a string does not fail.
    let _ = writeln!(
        to,
        "{date} {seconds} {host} {bytes} {file} {form} _ {direction} {mode} {user} ftp 0 * {end}",
        date = time.strftime("%a %b %e %H:%M:%S %Y"),
        file = one_field(event.path.as_deref().unwrap_or_default()),
        form = match event.representation {
            Some(Representation::Ascii) => 'a',
            _ => 'b',
        },
        mode = if anonymous { 'a' } else { 'r' },
        user = one_field(user),
        end = match event.class {
            None | Some(Class::Ok) => 'c',
            Some(_) => 'i',
        },
    );
}

/// A text as one field: white space and control characters become underscores, as in the logs of
/// other servers.
fn one_field(text: &str) -> String {
    if text.is_empty() {
        return "_".to_owned();
    }
    let shown = |c: char| match c.is_whitespace() || c.is_control() {
        true => '_',
        false => c,
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use super::*;
    use crate::events::{Level, SessionFacts};

    fn event(kind: Kind, user: &str, path: &str) -> Event {
        let mut event = Event::new(kind, Level::Info);
        event.time = "2026-11-06T07:49:07Z".parse().unwrap();
        event.session = Some(Arc::new(SessionFacts {
            session: "s1".into(),
            user: Some(user.into()),
            peer: "[::ffff:192.0.2.1]:5000".parse().unwrap(),
            client: None,
            tls: None,
            host: None,
        }));
        event.path = Some(path.into());
        event
    }

    fn line(event: &Event) -> String {
        let mut text = String::new();
        append(&mut text, event, &TimeZone::posix("CET-1").unwrap());
        text
    }

    #[test]
    fn each_field_is_where_xferlog_has_it() {
        let mut upload = event(Kind::Transfer, "ann", "/in/a.csv");
        upload.direction = Some(Direction::In);
        upload.bytes = Some(1234);
        upload.size = Some(5000);
        upload.seconds = Some(2.6);
        upload.class = Some(Class::Ok);
        let expected =
            "Fri Nov  6 08:49:07 2026 3 192.0.2.1 1234 /in/a.csv b _ i r ann ftp 0 * c\n";
        assert_eq!(line(&upload), expected);

        let mut download = event(Kind::Transfer, "anonymous", "/pub/README");
        download.direction = Some(Direction::Out);
        download.bytes = Some(7);
        download.seconds = Some(0.004);
        download.class = Some(Class::ClientAborted);
        download.representation = Some(Representation::Ascii);
        let expected =
            "Fri Nov  6 08:49:07 2026 1 192.0.2.1 7 /pub/README a _ o a anonymous ftp 0 * i\n";
        assert_eq!(line(&download), expected);

        let mut delete = event(Kind::Deleted, "ann", "/in/a.csv");
        delete.seconds = Some(0.1);
        let expected = "Fri Nov  6 08:49:07 2026 0 192.0.2.1 0 /in/a.csv b _ d r ann ftp 0 * c\n";
        assert_eq!(line(&delete), expected);
    }

    #[test]
    fn no_name_breaks_a_line_or_a_field() {
        for name in [
            "/a b",
            "/a\nFri Nov  6 08:49:07 2026 1 1.2.3.4 1 /x b _ i r y ftp 0 * c",
            "/a\r\n",
            "/a\tb\u{b}\u{c}",
            "/\u{1b}[2J",
            "/a\u{85}b\u{2028}c\u{a0}d\u{3000}e",
            "/\u{7f}\u{9b}31m",
            "",
            " ",
        ] {
            let mut upload = event(Kind::Transfer, name, name);
            upload.direction = Some(Direction::In);
            let line = line(&upload);
            assert!(line.ends_with(" c\n"), "{line:?}");
            let inner = line.trim_end_matches('\n');
            assert!(!inner.contains(|c: char| c.is_control()), "{line:?}");
            // The day's padding is one more space, which split_whitespace skips.
            assert_eq!(inner.split_whitespace().count(), 18, "{line:?}");
        }
    }

    #[test]
    fn only_files_have_lines() {
        let wanted = |kind| {
            let mut event = event(kind, "ann", "/x");
            let without = is_wanted(&event);
            event.direction = Some(Direction::In);
            (without, is_wanted(&event))
        };
        for kind in Kind::ALL {
            let expected = match kind {
                Kind::Transfer => (false, true),
                Kind::Deleted => (true, true),
                _ => (false, false),
            };
            assert_eq!(wanted(*kind), expected, "{kind:?}");
        }
    }
}
