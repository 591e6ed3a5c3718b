//! `/etc/passwd` and `/etc/shadow`. Their lines are also what other servers keep users in.

use std::collections::BTreeMap;

use jiff::ToSpan;
use jiff::civil::{Date, date};

use crate::cli::import::source::{SourceFile, comment, fields, name_in_latin_1, shown};
use crate::cli::import::user::{Found, ImportedUser, ServerPart};

/// Users of lower numbers are accounts of the system (`UID_MIN` of login.defs).
const FIRST_USER: u32 = 1000;
/// The user that stands for no user.
const OVERFLOW: u32 = 65534;
/// A password that is older than this number of days counts as one that never gets too old.
const FOR_EVER: i64 = 10_000;

/// A line of passwd, with that of shadow.
pub(super) struct PasswdEntry {
    /// The login name.
    pub(super) name: String,
    /// The hash; `x` if it is in shadow.
    hash: String,
    uid: Option<u32>,
    /// The number of the primary group.
    pub(super) gid: Option<u32>,
    gecos: String,
    home: String,
    lost: Option<&'static str>,
    origin: String,
    shadow: Option<Vec<String>>,
}

/// Whether accounts of the system can exist in a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SystemAccounts {
    /// It is the system's file: they are disabled.
    Disabled,
    /// It is a file of the FTP server alone.
    None,
}

/// Reads files of either kind.
///
/// # Errors
/// What is wrong with the files, a line each.
pub(super) fn read(files: &[SourceFile]) -> Result<Found, Vec<String>> {
    let mut server = ServerPart::default();
    let entries = entries(files, &mut server)?;
    let users = entries
        .iter()
        .map(|entry| entry.user(SystemAccounts::Disabled))
        .collect();
    Ok(Found { users, server })
}

/// Whether a line has as many fields as one of passwd or of shadow.
pub(super) fn is_entry(fields: &[String]) -> bool {
    matches!(fields.len(), 7 | 9) && !fields[0].starts_with(['+', '-'])
}

/// The users of files of passwd's and shadow's form. Other lines are listed as lost.
///
/// # Errors
/// Names that occur twice, and files without such a line.
pub(super) fn entries(
    files: &[SourceFile],
    server: &mut ServerPart,
) -> Result<Vec<PasswdEntry>, Vec<String>> {
    let mut wrong = Vec::new();
    let mut order = Vec::new();
    let mut passwd: BTreeMap<String, PasswdEntry> = BTreeMap::new();
    let mut shadow: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    for file in files {
        let mut fitting = 0;
        let mut others = Vec::new();
        for (number, line) in file.lines() {
            let origin = file.line(number);
            let fields = fields(line);
            if !is_entry(&fields) {
                others.push(format!("{origin}: is neither of passwd nor of shadow"));
                continue;
            }
            fitting += 1;
            let name = fields[0].clone();
            let before = if fields.len() == 9 {
                let before = shadow.insert(name.clone(), (origin.clone(), fields));
                before.map(|(before, _)| before)
            } else {
                order.push(name.clone());
                let entry = PasswdEntry {
                    lost: name_in_latin_1(line),
                    ..PasswdEntry::of(&fields, origin.clone())
                };
                passwd.insert(name.clone(), entry).map(|entry| entry.origin)
            };
            if let Some(before) = before {
                wrong.push(twice(&name, &before, &origin));
            }
        }
        if fitting == 0 && !others.is_empty() {
            let name = shown(&file.name);
            wrong.push(format!(
                "{name}: has no line of passwd (7 fields) or shadow (9 fields)"
            ));
        }
        server.lost.append(&mut others);
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let mut entries: Vec<PasswdEntry> = order
        .iter()
        .filter_map(|name| {
            let shadow = shadow.remove(name).map(|(_, fields)| fields);
            passwd
                .remove(name)
                .map(|entry| PasswdEntry { shadow, ..entry })
        })
        .collect();
    for (name, (origin, fields)) in shadow {
        entries.push(PasswdEntry {
            name,
            hash: "x".to_owned(),
            uid: None,
            gid: None,
            gecos: String::new(),
            home: String::new(),
            lost: None,
            origin,
            shadow: Some(fields),
        });
    }
    Ok(entries)
}

/// The error for a name that occurs twice.
pub(super) fn twice(name: &str, first: &str, second: &str) -> String {
    let name = shown(name);
    format!("the user {name:?} is defined twice: {first}, and {second}")
}

impl PasswdEntry {
    fn of(fields: &[String], origin: String) -> PasswdEntry {
        PasswdEntry {
            name: fields[0].clone(),
            hash: fields[1].clone(),
            uid: fields[2].parse().ok(),
            gid: fields[3].parse().ok(),
            gecos: fields[4].clone(),
            home: fields[5].clone(),
            lost: None,
            origin,
            shadow: None,
        }
    }

    /// The user of this entry.
    pub(super) fn user(&self, system: SystemAccounts) -> ImportedUser {
        let mut user = ImportedUser::new(&self.name, self.origin.clone());
        user.lost.extend(self.lost.map(str::to_owned));
        user.comment = comment(self.gecos.trim_end_matches(','));
        take_home(&mut user, &self.home);
        match &self.shadow {
            Some(shadow) => take_shadow(&mut user, shadow),
            None if self.hash == "x" => user.lose_restriction(
                "the password: it is in /etc/shadow, and that file was not given",
            ),
            None => take_passwd_hash(&mut user, &self.hash),
        }
        let of_system = |uid: u32| uid < FIRST_USER || uid == OVERFLOW;
        if system == SystemAccounts::Disabled
            && let Some(uid) = self.uid.filter(|uid| of_system(*uid))
        {
            let note = format!("it is an account of the system (UID {uid}), and disabled");
            match user.password.is_some() && !user.disabled {
                true => user.lose_restriction(note),
                false => user.notes.push(note),
            }
            user.disabled = true;
        }
        user
    }
}

/// Takes a hash as passwd and shadow write it: `!` and `*` lock it.
pub(super) fn take_passwd_hash(user: &mut ImportedUser, hash: &str) {
    if hash.is_empty() {
        user.lose_restriction("the login without a password: set one with `s3ftpd hash-password`");
        return;
    }
    let rest = hash.trim_start_matches(['!', '*']);
    if rest.len() == hash.len() {
        user.take_hash(hash);
        return;
    }
    user.disabled = true;
    if rest.contains('$') || rest.len() >= 13 {
        user.notes.push("the password is locked".to_owned());
        user.take_hash(rest);
    } else {
        user.notes.push("it has no password".to_owned());
    }
}

/// Notes the home directory, and the place of its files in the bucket.
pub(super) fn take_home(user: &mut ImportedUser, home: &str) {
    if home.is_empty() {
        return;
    }
    let home = home.replace("/./", "/");
    let home = match home.trim_end_matches('/') {
        "" => "/",
        home => home,
    };
    user.notes.push(format!(
        "the home directory was {home}: with prefix = \"{{user}}/\" in the mount its files belong below {}/ in the bucket",
        user.name
    ));
}

/// Takes hash, expiry and age of the password from a line of shadow.
fn take_shadow(user: &mut ImportedUser, fields: &[String]) {
    take_passwd_hash(user, &fields[1]);
    let number = |index: usize| fields[index].trim().parse::<i64>().ok();
    if !fields[7].trim().is_empty() {
        // The first day on which the account can't be used.
        match number(7).and_then(last_day) {
            Some(last) => user.expires = Some(last.to_string()),
            None => user.lose_restriction("the expiry of the account: it is not a day"),
        }
    }
    if number(2) == Some(0) && user.password.is_some() {
        user.lose_restriction("the password has to be changed at the next login");
    }
    if let Some(days) = number(4).filter(|days| (0..FOR_EVER).contains(days)) {
        user.lose(format!(
            "the password has to be changed after {days} days: passwords have no age"
        ));
    }
}

/// The day before this number of days after 1970-01-01.
fn last_day(days: i64) -> Option<Date> {
    let before = days.checked_sub(1)?;
    let span = ToSpan::days(i64::from(i32::try_from(before).ok()?));
    date(1970, 1, 1)
        .checked_add(span)
        .ok()
        .filter(|day| day.year() >= 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn file(name: &str, text: &str) -> SourceFile {
        SourceFile {
            name: name.to_owned(),
            bytes: text.as_bytes().to_vec(),
        }
    }

    #[test]
    fn an_account_ends_before_the_day_of_shadow() {
        // chage -E 2037-06-30
        assert_eq!(last_day(24652).unwrap().to_string(), "2037-06-29");
        assert_eq!(last_day(0).unwrap().to_string(), "1969-12-31");
        assert_eq!(last_day(i64::MIN), None);
        assert_eq!(last_day(i64::MAX), None);
    }

    #[test]
    fn states_of_a_password() {
        const HASH: &str = "$2b$04$8E5uUbvMVWGOxsRQoN5kY.AQRfEN2hyYQXvS/0kR3TFVnPGOYsrq6";
        for (hash, disabled, password, lost) in [
            (HASH, false, true, 0),
            (&format!("!{HASH}"), true, true, 0),
            (&format!("!!{HASH}"), true, true, 0),
            ("!", true, false, 0),
            ("*", true, false, 0),
            ("*LK*", true, false, 0),
            ("!*", true, false, 0),
            ("", true, false, 1),
            ("x", true, false, 1),
            ("1VaB6Rhv7P3Sc", true, false, 1),
            ("$7$C6..../....", true, false, 1),
        ] {
            let text = format!("a:{hash}:1000:1000::/home/a:/bin/sh\n");
            let found = read(&[file("passwd", &text)]).unwrap_or_default();
            let user = &found.users[0];
            let seen = (user.disabled, user.password.is_some(), user.lost.len());
            assert_eq!(seen, (disabled, password, lost), "{hash}: {:?}", user.lost);
        }
    }

    #[test]
    fn a_name_twice_is_an_error_that_names_both_lines() {
        let twice = file("p", "a:*:1::::\nb:*:1::::\n\na:*:2::::\n");
        let Err(errors) = read(&[twice]) else {
            panic!("no error")
        };
        assert_eq!(
            errors,
            ["the user \"a\" is defined twice: p, line 1, and p, line 4"]
        );
    }

    #[test]
    fn other_files_are_errors_and_other_lines_are_lost() {
        assert!(read(&[file("h", "a:b\nc:d")]).is_err());
        let found = read(&[file("p", "a:*:1::::\n+::::::\n-x\n")]).unwrap_or_default();
        assert_eq!(found.users.len(), 1);
        assert_eq!(found.server.lost.len(), 2);
    }
}
