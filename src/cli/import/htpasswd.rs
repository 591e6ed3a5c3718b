//! Apache's htpasswd files, and those of pam_pwdfile: `user:hash`.

use crate::cli::import::source::{SourceFile, fields, name_in_latin_1, shown};
use crate::cli::import::user::{Found, ImportedUser};

/// Reads the files.
///
/// # Errors
/// What is wrong with the files, a line each.
pub(super) fn read(files: &[SourceFile]) -> Result<Found, Vec<String>> {
    let mut found = Found::default();
    let mut wrong = Vec::new();
    for file in files {
        let before = found.users.len();
        let mut others = Vec::new();
        for (number, line) in file.lines() {
            let origin = file.line(number);
            match user(line, &origin) {
                Some(user) => found.users.push(user),
                None => others.push(format!("{origin}: is not a name, a colon and a hash")),
            }
        }
        if found.users.len() == before && !others.is_empty() {
            let name = shown(&file.name);
            wrong.push(format!(
                "{name}: has no line with a name, a colon and a hash"
            ));
        }
        found.server.lost.append(&mut others);
    }
    match wrong.is_empty() {
        true => Ok(found),
        false => Err(wrong),
    }
}

/// The user of a line. What follows a second colon is for other programs.
pub(super) fn user(line: &[u8], origin: &str) -> Option<ImportedUser> {
    let fields = fields(line);
    let [name, hash, more @ ..] = fields.as_slice() else {
        return None;
    };
    let mut user = ImportedUser::new(name, origin.to_owned());
    user.lost.extend(name_in_latin_1(line).map(str::to_owned));
    let is_digest = |text: &String| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    if more.len() == 1 && is_digest(&more[0]) {
        user.lose_restriction(
            "the password: it is a digest of htdigest, which the server does not check",
        );
    } else {
        user.take_hash(hash.trim());
    }
    Some(user)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lines_of_htpasswd() {
        for (line, name, lost) in [
            (
                "a:$2y$05$8E5uUbvMVWGOxsRQoN5kY.AQRfEN2hyYQXvS/0kR3TFVnPGOYsrq6",
                "a",
                None,
            ),
            ("b:6c08zjXmJhJJ6", "b", Some("DES")),
            ("c:plain text", "c", Some("this form")),
            ("d:", "d", Some("there is none")),
            (
                "e:realm:0123456789abcdef0123456789abcdef",
                "e",
                Some("htdigest"),
            ),
        ] {
            let user = user(line.as_bytes(), "f, line 1").unwrap();
            assert_eq!(user.name, name);
            assert_eq!(user.disabled, lost.is_some(), "{line}");
            match lost {
                Some(why) => assert!(user.lost[0].contains(why), "{:?}", user.lost),
                None => assert!(user.lost.is_empty(), "{:?}", user.lost),
            }
            assert!(!user.lost.concat().contains("plain text"));
        }
        assert!(user(b"no colon", "").is_none());
    }
}
