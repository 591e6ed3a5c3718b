//! Pure-FTPd's `pureftpd.passwd`, as `pure-pw` writes it.

use crate::cli::import::passwd::{take_home, take_passwd_hash};
use crate::cli::import::source::{SourceFile, comment, fields, name_in_latin_1, network, shown};
use crate::cli::import::user::{Found, ImportedUser};

/// The fields of a line. Old versions wrote fewer.
const FIELDS: usize = 18;
const FEWEST: usize = 6;

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
            let mut fields = fields(line);
            if !(FEWEST..=FIELDS).contains(&fields.len()) {
                others.push(format!("{origin}: is not a line of pure-pw"));
                continue;
            }
            fields.resize(FIELDS, String::new());
            let mut user = user(&fields, origin);
            user.lost.extend(name_in_latin_1(line).map(str::to_owned));
            found.users.push(user);
        }
        if found.users.len() == before && !others.is_empty() {
            wrong.push(format!("{}: has no line of pure-pw", shown(&file.name)));
        }
        found.server.lost.append(&mut others);
    }
    match wrong.is_empty() {
        true => Ok(found),
        false => Err(wrong),
    }
}

/// The user of a line with all its fields.
fn user(fields: &[String], origin: String) -> ImportedUser {
    let mut user = ImportedUser::new(&fields[0], origin);
    user.comment = comment(&fields[4]);
    // "/./" ends the part of the path that the user does not see.
    take_home(&mut user, &fields[5]);
    take_passwd_hash(&mut user, &fields[1]);
    let number = |index: usize| fields[index].trim().parse::<u64>().ok().filter(|n| *n > 0);
    user.upload_rate = number(6);
    user.download_rate = number(7);
    if user.upload_rate.is_some() || user.download_rate.is_some() {
        let note = "the rates were those of each session, and are those of all sessions together";
        user.notes.push(note.to_owned());
    }
    user.sessions = number(10);
    for (indices, what) in [
        (&[8, 9][..], "the ratio of uploads to downloads"),
        (&[11], "the quota of files"),
        (&[12], "the quota of bytes"),
    ] {
        let set: Vec<&str> = indices
            .iter()
            .map(|index| fields[*index].trim())
            .filter(|value| !matches!(*value, "" | "0"))
            .collect();
        if !set.is_empty() {
            user.lose(format!("{what} ({})", set.join(":")));
        }
    }
    take_client_networks(&mut user, &fields[15]);
    for (index, what) in [
        (
            13,
            "the addresses of the server that the user may log in at",
        ),
        (
            14,
            "the addresses of the server that the user may not log in at",
        ),
        (16, "the addresses of clients that are refused"),
        (17, "the times of day at which the user may log in"),
    ] {
        let value = fields[index].trim();
        if !value.is_empty() && value != "0-0" {
            user.lose_restriction(format!("{what} ({value})"));
        }
    }
    user
}

/// Takes the list of networks that clients may come from.
fn take_client_networks(user: &mut ImportedUser, list: &str) {
    for item in list.split([',', ' ']).filter(|item| !item.is_empty()) {
        match network(item) {
            Some(network) => user.networks.push(network),
            None => user.lose_restriction(format!(
                "a network that the user may log in from ({item}): it is not an address"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user_of(line: &str) -> ImportedUser {
        let file = SourceFile {
            name: "p".to_owned(),
            bytes: line.as_bytes().to_vec(),
        };
        let mut found = read(&[file]).unwrap_or_default();
        found.users.remove(0)
    }

    #[test]
    fn all_fields() {
        let user = user_of(
            "bert:*:1:1:B:/srv/b/./:1024:2048:1:2:3:4:5:127.0.0.1:10.0.0.1:192.0.2.1/24,127.0.0.0/255.0.0.0:198.51.100.7:900-1800",
        );
        assert_eq!(
            (user.upload_rate, user.download_rate),
            (Some(1024), Some(2048))
        );
        assert_eq!(user.sessions, Some(3));
        assert_eq!(user.networks, ["192.0.2.0/24", "127.0.0.0/8"]);
        assert_eq!(user.lost.len(), 7, "{:?}", user.lost);
        assert!(user.disabled);
        assert!(user.notes[0].contains("/srv/b:"), "{:?}", user.notes);
    }

    #[test]
    fn a_network_that_is_a_name_disables_its_user() {
        let hash = "$2y$05$8E5uUbvMVWGOxsRQoN5kY.AQRfEN2hyYQXvS/0kR3TFVnPGOYsrq6";
        let user = user_of(&format!("a:{hash}:1:1::/a::::::::::10.0.0.1,example.com::"));
        assert!(user.disabled);
        assert_eq!(user.networks, ["10.0.0.1"]);
        let user = user_of(&format!("a:{hash}:1:1::/a"));
        assert!(!user.disabled);
        assert!(user.lost.is_empty(), "{:?}", user.lost);
    }
}
