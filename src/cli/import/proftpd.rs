//! ProFTPD: `AuthUserFile` (the form of passwd), `AuthGroupFile` and `proftpd.conf`.

mod directives;

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::import::passwd::{self, SystemAccounts};
use crate::cli::import::source::{SourceFile, fields, shown};
use crate::cli::import::user::{Found, ImportedUser};
use directives::Directives;

/// A group of AuthGroupFile.
#[derive(Default)]
struct GroupEntry {
    gid: Option<u32>,
    members: BTreeSet<String>,
}

type Groups = BTreeMap<String, GroupEntry>;

/// Reads the files.
///
/// # Errors
/// What is wrong with the files, a line each.
pub(super) fn read(files: Vec<SourceFile>) -> Result<Found, Vec<String>> {
    let mut found = Found::default();
    let mut directives = Directives::default();
    let mut groups = Groups::new();
    let mut accounts = Vec::new();
    let mut wrong = Vec::new();
    for file in files {
        let widths: BTreeSet<usize> = file.lines().map(|(_, line)| fields(line).len()).collect();
        if file.name.ends_with(".conf") {
            directives.read(&file);
        } else if widths.contains(&7) || widths.contains(&9) {
            accounts.push(file);
        } else if !widths.is_empty() && widths.iter().all(|width| *width == 4) {
            read_groups(&file, &mut groups);
        } else {
            let name = shown(&file.name);
            wrong.push(format!(
                "{name}: is neither proftpd.conf (its name ends in .conf) nor an AuthUserFile nor an AuthGroupFile"
            ));
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let entries = passwd::entries(&accounts, &mut found.server)?;
    directives.login.look_up(|group| groups.contains_key(group));
    for entry in &entries {
        let mut user = entry.user(SystemAccounts::None);
        let has = |group: &GroupEntry| {
            let primary = group.gid.is_some() && group.gid == entry.gid;
            primary || group.members.contains(&entry.name)
        };
        let of_user = groups.iter().filter(|(_, group)| has(group));
        let groups: Vec<&str> = of_user.map(|(name, _)| name.as_str()).collect();
        if !groups.is_empty() {
            user.notes.push(format!("groups: {}", groups.join(", ")));
        }
        admit(&mut user, &groups, &directives);
        found.users.push(user);
    }
    directives.apply_to_server(&mut found.server);
    Ok(found)
}

fn read_groups(file: &SourceFile, groups: &mut Groups) {
    for (_, line) in file.lines() {
        let fields = fields(line);
        let names = fields[3].split(',').map(|name| name.trim().to_owned());
        let names = names.filter(|name| !name.is_empty());
        let group = groups.entry(fields[0].clone()).or_default();
        group.gid = fields[2].trim().parse().ok();
        group.members.extend(names);
    }
}

/// Disables a user whom `<Limit LOGIN>` refuses.
fn admit(user: &mut ImportedUser, groups: &[&str], directives: &Directives) {
    let login = &directives.login;
    let named = |list: &BTreeSet<String>| list.contains(&user.name);
    let in_group = |list: &BTreeSet<String>| groups.iter().any(|group| list.contains(*group));
    let denied = named(&login.deny_users) || in_group(&login.deny_groups);
    let allowed = named(&login.allow_users) || in_group(&login.allow_groups);
    if denied || (login.deny_all && !allowed) {
        user.notes
            .push("<Limit LOGIN> refused the user: it is disabled".to_owned());
        user.disabled = true;
    }
    if let Some(place) = &login.unclear {
        user.lose_restriction(format!(
            "<Limit LOGIN> ({place}): the user may have been refused"
        ));
    }
}

#[cfg(test)]
mod tests;
