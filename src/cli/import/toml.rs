//! What is found → TOML that the server loads.
//!
//! Each piece is tried with the configuration's own reader before it is written. A key that it
//! refuses is left out and listed as lost: a value out of range, or a key that this version lacks.

use std::fmt::Write as _;

use crate::cli::import::source::shown;
use crate::cli::import::user::{Found, ImportedMount, ImportedUser, ServerPart, Setting, exposed};
use crate::config;

/// A hash that fits no password: its digest is all zeros.
const NO_PASSWORD: &str = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// The longest login name, bytes: keys begin with it, and S3 allows 1,024 bytes.
const LONGEST_NAME: usize = 255;
/// The name under which a user is tried.
const TRIED: &str = "users.u";
/// The endpoint of a store whose own can't be used.
const NOWHERE: &str = "\"http://endpoint.invalid\"";
/// Keys whose loss gives a user more rights.
const RESTRICTIONS: [&str; 4] = ["password", "mounts", "networks", "expires"];

/// What users get who have no mount of their own.
pub(super) enum UserHome {
    /// `--mount NAME`.
    Mount(String),
    /// `--group NAME`.
    Group(String),
    /// Neither was given.
    None,
}

/// A piece of the configuration, and what is missing in it.
pub(super) struct ImportedFile {
    /// The user's name; of the server's part `None`.
    pub(super) user: Option<String>,
    /// The text of the file.
    pub(super) text: String,
    /// What could not be carried over.
    pub(super) lost: Vec<String>,
}

/// Writes all pieces: the server's, if there is one, and one a user.
///
/// # Errors
/// The users that need a mount and have none, a line each.
pub(super) fn pieces(found: Found, place: &UserHome) -> Result<Vec<ImportedFile>, Vec<String>> {
    let Found { users, mut server } = found;
    let homeless = users.iter().filter(|user| needs_place(user));
    let homeless: Vec<String> = match place {
        UserHome::None => homeless
            .map(|user| {
                let (name, origin) = (shown(&user.name), &user.origin);
                format!("{origin}: the user {name:?} needs a mount: give --mount or --group")
            })
            .collect(),
        _ => Vec::new(),
    };
    if !homeless.is_empty() {
        return Err(homeless);
    }
    let base = base(place);
    settle(&format!("{base}{USER}"), &mut server);
    let stores = server.settings.iter();
    let stores = stores.filter(|setting| setting.table.starts_with("stores."));
    let with_stores = base + &tables(stores);
    let mut pieces = Vec::new();
    if !(server.settings.is_empty() && server.notes.is_empty() && server.lost.is_empty()) {
        pieces.push(server_piece(server));
    }
    pieces.extend(
        users
            .into_iter()
            .map(|user| user_piece(user, place, &with_stores)),
    );
    Ok(pieces)
}

fn needs_place(user: &ImportedUser) -> bool {
    let given = |mount: &ImportedMount| matches!(mount, ImportedMount::Given);
    user.mounts.is_empty() || user.mounts.values().any(given)
}

/// A user for tries of the server's part.
const USER: &str = "[users.u]\npassword = \"$2b$04$8E5uUbvMVWGOxsRQoN5kY.AQRfEN2hyYQXvS/0kR3TFVnPGOYsrq6\"\nmounts = { \"/\" = { store = \"s\", bucket = \"bucket\" } }\n";

/// The least that a piece needs to be tried.
fn base(place: &UserHome) -> String {
    let mount = "store = \"s\"\nbucket = \"bucket\"\nprefix = \"{user}/\"\n";
    let store = "[stores.s]\n";
    match place {
        UserHome::Mount(name) => format!("{store}[mounts.{}]\n{mount}", quoted(name)),
        UserHome::Group(name) => {
            let inline = mount.trim_end().replace('\n', ", ");
            let name = quoted(name);
            format!("{store}[groups.{name}]\nmounts = {{ \"/\" = {{ {inline} }} }}\n")
        }
        UserHome::None => store.to_owned(),
    }
}

/// Tables with their keys; those of the top level first.
fn tables<'s>(settings: impl Iterator<Item = &'s Setting>) -> String {
    let settings: Vec<&Setting> = settings.collect();
    let mut names: Vec<&str> = Vec::new();
    for setting in &settings {
        if !names.contains(&setting.table.as_str()) {
            names.push(&setting.table);
        }
    }
    names.sort_by_key(|name| !name.is_empty());
    let mut text = String::new();
    for name in names {
        if !name.is_empty() {
            let _ = writeln!(text, "\n[{name}]");
        }
        for setting in settings.iter().filter(|setting| setting.table == name) {
            let _ = writeln!(text, "{} = {}", setting.key, setting.value);
        }
    }
    text
}

/// Leaves out the keys that the configuration refuses.
fn settle(base: &str, server: &mut ServerPart) {
    let ServerPart { settings, lost, .. } = server;
    while let Some(RefusedKey { key, problem }) = refused(base, settings) {
        // If no key can be blamed, the last one is.
        let Some(index) = key.or(settings.len().checked_sub(1)) else {
            return;
        };
        let Setting { table, key, value } = settings.remove(index);
        let path = match table.as_str() {
            "" => key.to_owned(),
            table => format!("{table}.{key}"),
        };
        if key == "endpoint" && value != NOWHERE {
            // Without an endpoint the store would be AWS.
            let value = NOWHERE.to_owned();
            settings.push(Setting { table, key, value });
        }
        lost.push(format!("{path}: {problem}"));
    }
}

/// What the configuration refuses.
struct RefusedKey {
    /// The index of the key that is wrong, if one of them is.
    key: Option<usize>,
    /// Why.
    problem: String,
}

/// The first key that the configuration refuses.
fn refused(base: &str, settings: &[Setting]) -> Option<RefusedKey> {
    let top = tables(settings.iter().filter(|setting| setting.table.is_empty()));
    let others = tables(settings.iter().filter(|setting| !setting.table.is_empty()));
    let errors = config::from_str(&format!("{top}{base}{others}"), "import").err()?;
    let blamed = |key: &str| {
        settings.iter().position(|setting| {
            let path = match setting.table.as_str() {
                "" => setting.key.to_owned(),
                table => format!("{table}.{}", setting.key),
            };
            let rest = key.strip_prefix(path.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    };
    let errors = errors.errors();
    let of_a_key = errors.iter().find_map(|error| {
        let key = Some(blamed(&error.key)?);
        let problem = error.problem.clone();
        Some(RefusedKey { key, problem })
    });
    of_a_key.or_else(|| {
        let problem = errors.first()?.problem.clone();
        Some(RefusedKey { key: None, problem })
    })
}

fn server_piece(server: ServerPart) -> ImportedFile {
    let mut text = String::from("# Imported by s3ftpd: what is not about one user.\n");
    remarks(&mut text, &server.lost, &server.notes);
    text.push_str(&tables(server.settings.iter()));
    ImportedFile {
        user: None,
        text,
        lost: server.lost,
    }
}

/// Lists of what is missing and of what may help, as comments.
fn remarks(text: &mut String, lost: &[String], notes: &[String]) {
    for (title, lines) in [("Not carried over:", lost), ("Notes:", notes)] {
        if lines.is_empty() {
            continue;
        }
        let _ = writeln!(text, "# {title}");
        for line in lines {
            let _ = writeln!(text, "# - {}", shown(line));
        }
    }
}

fn user_piece(mut user: ImportedUser, place: &UserHome, base: &str) -> ImportedFile {
    let mut text = format!("# Imported by s3ftpd from {}\n", user.origin);
    let section = match name_problem(&user.name) {
        Some(problem) => {
            user.lose(format!("the user: {problem}"));
            None
        }
        None => section_of(&mut user, place, base),
    };
    if user.password.is_none() && section.is_some() {
        let note =
            "`password` is a hash that fits no password: replace it before you enable the user";
        user.notes.push(note.to_owned());
    }
    remarks(&mut text, &user.lost, &user.notes);
    if let Some(settings) = section {
        let _ = writeln!(text, "\n[users.{}]", quoted(&user.name));
        for Setting { key, value, .. } in settings {
            let _ = writeln!(text, "{key} = {value}");
        }
    }
    ImportedFile {
        user: Some(user.name),
        text,
        lost: user.lost,
    }
}

/// Why a user can't have this name.
fn name_problem(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("the name is empty")
    } else if name.chars().any(char::is_control) {
        Some("the name has a control character")
    } else if name.contains('/') || matches!(name, "." | "..") {
        Some("the name can't be an element of a key, which {user} in a prefix needs")
    } else if name.len() > LONGEST_NAME {
        Some("the name is longer than 255 bytes")
    } else {
        None
    }
}

/// The keys of a user, without those that the configuration refuses; `None`: it can't be a user.
fn section_of(user: &mut ImportedUser, place: &UserHome, base: &str) -> Option<Vec<Setting>> {
    // Its hash fits no password, and an operator may replace it first.
    user.disabled |= user.password.is_none();
    let mut settings = settings(user, place);
    while let Some(RefusedKey { key, problem }) = refused(base, &settings) {
        let Some(index) = key else {
            user.lose(format!("the user: {problem}"));
            return None;
        };
        let Setting { key, value, .. } = settings.remove(index);
        let what = match key {
            "password" => format!("password: {problem}"),
            key => format!("{key} = {value}: {problem}"),
        };
        match RESTRICTIONS.contains(&key) {
            true => user.lose_restriction(what),
            false => user.lose(what),
        }
        match key {
            "password" if user.password.take().is_some() => {
                settings.push(setting(key, quoted(NO_PASSWORD)));
            }
            "mounts" if !user.mounts.is_empty() && !matches!(place, UserHome::None) => {
                user.mounts.clear();
                if let UserHome::Group(name) = place {
                    settings.retain(|setting| setting.key != "group");
                    settings.push(setting("group", quoted(name)));
                }
                settings.extend(mounts(user, place).map(|value| setting(key, value)));
            }
            "password" | "mounts" | "group" => return None,
            _ => {}
        }
    }
    // A restriction that was lost on the way.
    if user.disabled && !settings.iter().any(|setting| setting.key == "disabled") {
        settings.push(setting("disabled", "true".to_owned()));
    }
    Some(settings)
}

fn setting(key: &'static str, value: String) -> Setting {
    let table = TRIED.to_owned();
    Setting { table, key, value }
}

/// The keys of a user as they were found.
fn settings(user: &ImportedUser, place: &UserHome) -> Vec<Setting> {
    let text = |text: &String| quoted(text);
    let number = |number: u64| number.to_string();
    let networks: Vec<String> = user.networks.iter().map(text).collect();
    let networks = (!networks.is_empty()).then(|| format!("[{}]", networks.join(", ")));
    let password = user.password.as_ref().map_or(NO_PASSWORD, exposed);
    let group = match place {
        UserHome::Group(name) if needs_place(user) => Some(quoted(name)),
        _ => None,
    };
    [
        ("comment", user.comment.as_ref().map(text)),
        ("group", group),
        ("password", Some(quoted(password))),
        ("mounts", mounts(user, place)),
        ("disabled", user.disabled.then(|| "true".to_owned())),
        ("expires", user.expires.as_ref().map(text)),
        ("networks", networks),
        ("sessions", user.sessions.map(number)),
        ("start_directory", user.start_directory.as_ref().map(text)),
        ("upload_rate", user.upload_rate.map(number)),
        ("download_rate", user.download_rate.map(number)),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some(setting(key, value?)))
    .collect()
}

/// The table of mounts; `None` if the group has it all.
fn mounts(user: &ImportedUser, place: &UserHome) -> Option<String> {
    let given = match place {
        UserHome::Mount(name) => Some(quoted(name)),
        UserHome::Group(_) | UserHome::None => None,
    };
    let mut entries = Vec::new();
    if user.mounts.is_empty() {
        entries.extend(given.as_ref().map(|name| format!("\"/\" = {name}")));
    }
    for (path, mount) in &user.mounts {
        let path = quoted(path);
        let value = match mount {
            ImportedMount::Given => given.clone(),
            ImportedMount::Prefix {
                store,
                bucket,
                prefix,
                permissions,
            } => {
                let (store, bucket, prefix) = (quoted(store), quoted(bucket), quoted(prefix));
                let permissions = permissions.as_ref().map_or(String::new(), |names| {
                    let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
                    format!(", permissions = [{}]", names.join(", "))
                });
                Some(format!(
                    "{{ store = {store}, bucket = {bucket}, prefix = {prefix}{permissions} }}"
                ))
            }
        };
        entries.extend(value.map(|value| format!("{path} = {value}")));
    }
    (!entries.is_empty()).then(|| format!("{{ {} }}", entries.join(", ")))
}

/// A basic string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}
