//! vsftpd: `vsftpd.conf`, its lists of users, the files of `user_config_dir`, and users of the
//! system (passwd, shadow), of pam_pwdfile and of pam_userdb.

mod options;

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::import::htpasswd;
use crate::cli::import::passwd::{self, SystemAccounts};
use crate::cli::import::source::{SourceFile, fields, shown, text};
use crate::cli::import::user::{Found, ImportedUser};
use options::VsftpdOptions;

/// The files of vsftpd, by what they are.
#[derive(Default)]
struct VsftpdFiles {
    options: VsftpdOptions,
    /// Options of single users.
    of_users: BTreeMap<String, VsftpdOptions>,
    /// Names in `userlist_file`.
    user_list: Option<BTreeSet<String>>,
    /// Names that PAM refuses.
    refused: BTreeSet<String>,
    accounts: Vec<SourceFile>,
    hashes: Vec<SourceFile>,
}

/// Reads the files. `single` are those of directories: options of the user of that name.
/// `virtual_users` hold names and passwords in turn.
///
/// # Errors
/// What is wrong with the files, a line each.
pub(super) fn read(
    files: Vec<SourceFile>,
    single: &[SourceFile],
    virtual_users: &[SourceFile],
) -> Result<Found, Vec<String>> {
    let mut found = Found::default();
    let mut files = sort(files)?;
    for file in single {
        let name = file.file_name().to_owned();
        files.of_users.insert(name, VsftpdOptions::read(file)?);
    }
    let entries = passwd::entries(&files.accounts, &mut found.server)?;
    let of_system = entries
        .iter()
        .map(|entry| entry.user(SystemAccounts::Disabled));
    found.users.extend(of_system);
    let mut hashes = htpasswd::read(&files.hashes)?;
    found.users.append(&mut hashes.users);
    found.server.lost.append(&mut hashes.server.lost);
    for file in virtual_users {
        found.users.extend(names_and_passwords(file)?);
    }
    let known: BTreeSet<String> = found.users.iter().map(|user| user.name.clone()).collect();
    for (name, options) in &files.of_users {
        if !known.contains(name) {
            let mut user = ImportedUser::new(name, options.origin.clone());
            user.lose_restriction("the password: it is in none of the files");
            found.users.push(user);
        }
    }
    for user in &mut found.users {
        let own = files.of_users.get(&user.name);
        admit(user, &files);
        files.options.apply_to(user, own);
    }
    files.options.apply_to_server(&mut found.server);
    Ok(found)
}

/// Finds out what each file is.
fn sort(given: Vec<SourceFile>) -> Result<VsftpdFiles, Vec<String>> {
    let mut files = VsftpdFiles::default();
    let (options, others): (Vec<_>, Vec<_>) = given.into_iter().partition(is_options);
    for file in &options {
        files.options.merge(VsftpdOptions::read(file)?);
    }
    let mut wrong = Vec::new();
    for file in others {
        let name = file.file_name().to_owned();
        let listed_as = |option: &str, fallback: &str| {
            let path = files.options.get(option).unwrap_or(fallback);
            path.rsplit('/').next() == Some(name.as_str())
        };
        let widths: BTreeSet<usize> = file.lines().map(|(_, line)| fields(line).len()).collect();
        if listed_as("userlist_file", "user_list") || name == "vsftpd.user_list" {
            files.user_list = Some(names(&file));
        } else if name.ends_with("ftpusers") {
            files.refused = names(&file);
        } else if listed_as("chroot_list_file", "chroot_list") || name == "vsftpd.chroot_list" {
            // Every user sees only their mounts.
        } else if widths.contains(&7) || widths.contains(&9) {
            files.accounts.push(file);
        } else if !widths.is_empty() && !widths.contains(&1) {
            files.hashes.push(file);
        } else {
            wrong.push(format!(
                "{}: is neither vsftpd.conf nor a list that it names, nor has it users with hashes; names and passwords in turn are read with --virtual-users",
                shown(&file.name)
            ));
        }
    }
    match wrong.is_empty() {
        true => Ok(files),
        false => Err(wrong),
    }
}

/// Whether a file consists of lines `option=value`.
fn is_options(file: &SourceFile) -> bool {
    let mut lines = file.lines().peekable();
    let is_option = |line: &[u8]| {
        let key = line.split(|byte| *byte == b'=').next().unwrap_or_default();
        let letter =
            |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_';
        key.len() < line.len() && !key.is_empty() && key.iter().all(letter)
    };
    file.name.ends_with(".conf")
        || (lines.peek().is_some() && lines.all(|(_, line)| is_option(line)))
}

/// The names in a list, one a line.
fn names(file: &SourceFile) -> BTreeSet<String> {
    let names = file.lines().map(|(_, line)| text(line.trim_ascii()));
    names.collect()
}

/// The users of a text for `db_load -T`: a line with a name, a line with their password.
fn names_and_passwords(file: &SourceFile) -> Result<Vec<ImportedUser>, Vec<String>> {
    let mut lines: Vec<(usize, &[u8])> = file.all_lines().collect();
    while lines.last().is_some_and(|(_, line)| line.is_empty()) {
        lines.pop();
    }
    let (pairs, rest) = lines.as_chunks::<2>();
    if let [(number, _)] = rest {
        let origin = file.line(*number);
        return Err(vec![format!("{origin}: is a name without a password")]);
    }
    let mut users: Vec<ImportedUser> = Vec::new();
    for [(number, name), (_, password)] in pairs {
        let origin = file.line(*number);
        let mut user = ImportedUser::new(&text(name), origin);
        let password = text(password);
        // pam_userdb with crypt=crypt.
        match password.starts_with('$') {
            true => user.take_hash(&password),
            false => user.take_password(&password),
        }
        users.push(user);
    }
    Ok(users)
}

/// Disables a user that the lists do not admit.
fn admit(user: &mut ImportedUser, files: &VsftpdFiles) {
    if files.refused.contains(&user.name) {
        user.notes
            .push("PAM refused the user (ftpusers): it is disabled".to_owned());
        user.disabled = true;
    }
    if !files.options.is_on("userlist_enable", false) {
        return;
    }
    let Some(list) = &files.user_list else {
        user.lose_restriction("userlist_enable: the list was not given, so the user is disabled");
        return;
    };
    let listed = list.contains(&user.name);
    if listed == files.options.is_on("userlist_deny", true) {
        let note = match listed {
            true => "userlist_file refused the user: it is disabled",
            false => "the user is not in userlist_file: it is disabled",
        };
        user.notes.push(note.to_owned());
        user.disabled = true;
    }
}

#[cfg(test)]
mod tests;
