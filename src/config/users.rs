//! Reads users and groups. A group's keys are defaults: a key of the user's own replaces it, except
//! that `mounts` and `attributes` are laid over those of the group entry by entry.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use secrecy::SecretString;

use crate::auth::PasswordHash;
use crate::auth::options::{UserLimits, UserOptions, WeakHashes};
use crate::config::mounts::{self, MOUNT, MountTemplate};
use crate::config::placeholders::Values;
use crate::config::references::{known, unknown};
use crate::config::report::Report;
use crate::config::section::{Field, Section};
use crate::config::tree::Value;
use crate::config::{secret, tls, values};
use crate::namespace::VirtualPath;
use crate::namespace::options::MountOptions;
use crate::namespace::template;
use crate::server::options::ListenOptions;
use crate::tls::options::TlsOptions;

const HASHES: &str = "what `s3ftpd hash-password` prints, or a hash of another program: argon2id, yescrypt ($y$), bcrypt ($2a$, $2b$, $2y$), sha512-crypt ($6$), sha256-crypt ($5$), md5-crypt ($1$), $apr1$, {SSHA}, {SHA}, $pbkdf2-sha256$ and its like";
const PLACES: &str = "a table such as { \"/\" = \"MOUNT\" }";
const DATES: &str = "a date such as \"2027-06-30\", the last day in UTC, or a time such as \"2027-06-30T18:00:00Z\"";

/// Values of placeholders.
type UserAttributes = BTreeMap<String, String>;

/// Mounts by name. A mount with an error is `None`, so that users of it do not get a second error.
pub(super) type Mounts = BTreeMap<String, Option<MountTemplate>>;

/// The other sections that a user or a group refers to.
pub(super) struct Around<'a> {
    pub(super) mounts: &'a Mounts,
    pub(super) stores: &'a [&'a str],
    pub(super) hashes: Hashes,
    pub(super) tls: Option<&'a TlsOptions>,
    pub(super) listeners: &'a [ListenOptions],
    pub(super) report: &'a Report,
}

/// What the hashes of passwords may be.
#[derive(Clone, Copy)]
pub(super) struct Hashes {
    /// The memory for a check, bytes.
    pub(super) budget: u64,
    /// Whether they may be weak.
    pub(super) weak: WeakHashes,
}

/// Checks a group by itself: that its keys are right. Returns its section if they are.
pub(super) fn group<'a>(field: &Field<'a>, around: &Around<'_>) -> Option<Section<'a>> {
    let before = around.report.len();
    let section = field.section("a table")?;
    for (path, place) in places(section.field("mounts")) {
        mounts::mount_path(path, &place);
        // Named mounts have been checked by themselves; templates are checked with each user's values.
        named_mount(&place, around);
    }
    tls::user(&section, around.tls, around.listeners);
    attributes(section.field("attributes"));
    networks(&section);
    start_directory(&section, None);
    section.number::<usize>("sessions");
    limits(&section);
    section.flag("lenient_close");
    section.flag("disabled");
    section.field("expires").and_then(|field| expires(&field));
    let section_again = field.section("a table")?;
    section.finish();
    (around.report.len() == before).then_some(section_again)
}

/// Reads a user. `groups` has `None` for a group with an error.
pub(super) fn user<'a>(
    name: &str,
    field: &Field<'a>,
    groups: &BTreeMap<&str, Option<Section<'a>>>,
    around: &Around<'_>,
) -> Option<UserOptions> {
    let mut section = field.section("a table")?;
    let group = match section.field("group") {
        None => None,
        Some(field) => {
            let names: Vec<&str> = groups.keys().copied().collect();
            let group = field.text(&known("group", &names))?;
            let defaults = match groups.get(group) {
                Some(defaults) => defaults.as_ref()?,
                None => {
                    return field.wrong(unknown("group", group, &names), known("group", &names));
                }
            };
            section = section.over(defaults);
            Some(group)
        }
    };
    let tls = tls::user(&section, around.tls, around.listeners);
    let certificate = tls::users_certificate(&section, around.tls);
    let asks_password = certificate.as_ref().is_none_or(|login| login.password);
    let passwords = passwords(&section, asks_password, around.hashes);
    let mut own = attributes(section.default_field("attributes"));
    own.extend(attributes(section.own_field("attributes")));
    let known_values = UserValues {
        user: name,
        group,
        attributes: &own,
    };
    let mounts = tree(&section, &known_values, around);
    let start_directory = start_directory(&section, mounts.as_ref());
    let options = UserOptions {
        group: group.map(str::to_owned),
        certificate,
        tls,
        lenient_close: section.flag_or_default("lenient_close"),
        sessions: section.number("sessions"),
        limits: limits(&section),
        networks: networks(&section),
        disabled: section.flag_or_default("disabled"),
        expires: section.field("expires").and_then(|field| expires(&field)),
        comment: section.line("comment"),
        ..UserOptions::new(name)
    };
    section.finish();
    let (password, next_password) = passwords?;
    Some(UserOptions {
        password,
        next_password,
        mounts: mounts?,
        start_directory: start_directory?,
        attributes: own,
        ..options
    })
}

/// Reads both passwords, if the user has any. `None`: one of them is wrong.
fn passwords(
    section: &Section<'_>,
    asked: bool,
    hashes: Hashes,
) -> Option<(Option<SecretString>, Option<SecretString>)> {
    if asked {
        let first = section.required("password", HASHES);
        let first = first.and_then(|field| password(&field, hashes));
        let next = match section.field("next_password") {
            Some(field) => Some(password(&field, hashes)?),
            None => None,
        };
        return Some((Some(first?), next));
    }
    for key in ["password", "next_password"] {
        if let Some(field) = section.field(key) {
            field.wrong::<()>(
                "is never asked for: certificate.password is \"none\"",
                "certificate.password = \"required\", or leave it out",
            );
        }
    }
    Some((None, None))
}

/// Reads the hash of a password. No error quotes it, since it may be the password itself.
///
/// A check of the password takes its memory from the budget, so a hash that needs more than the
/// budget is an error.
fn password(field: &Field<'_>, hashes: Hashes) -> Option<SecretString> {
    let secret = secret::read(field)?;
    match PasswordHash::parse(&secret) {
        Ok(hash) if hash.memory() > hashes.budget => field.wrong(
            format!(
                "this hash needs {} of memory to be checked",
                crate::units::human_bytes(hash.memory())
            ),
            "a hash that needs less, or a larger memory.budget",
        ),
        Ok(hash) => match hash.weakness() {
            Some(weakness) if hashes.weak == WeakHashes::Refuse => field.wrong(
                format!("is a weak hash: {weakness}"),
                "another kind of hash, or auth.weak_hashes = \"warn\"",
            ),
            _ => Some(secret),
        },
        Err(error) => field.wrong(error.to_string(), HASHES),
    }
}

/// The values of one user's placeholders.
struct UserValues<'v> {
    user: &'v str,
    group: Option<&'v str>,
    attributes: &'v UserAttributes,
}

impl Values for UserValues<'_> {
    fn value(&self, name: &str) -> Option<&str> {
        match name {
            template::USER => Some(self.user),
            template::GROUP => self.group,
            name => self.attributes.get(name).map(String::as_str),
        }
    }

    fn names(&self) -> Vec<&str> {
        let group = self.group.map(|_| template::GROUP);
        let own = self.attributes.keys().map(String::as_str);
        [template::USER]
            .into_iter()
            .chain(group)
            .chain(own)
            .collect()
    }
}

/// The entries of a table of mounts.
fn places<'a>(field: Option<Field<'a>>) -> Vec<(&'a str, Field<'a>)> {
    let entries = field.and_then(|field| field.entries(PLACES));
    entries.unwrap_or_default()
}

/// Reads the user's tree: the group's mounts, and over them the user's own.
fn tree(
    section: &Section<'_>,
    values: &UserValues<'_>,
    around: &Around<'_>,
) -> Option<BTreeMap<VirtualPath, Arc<MountOptions>>> {
    let written = section.required("mounts", PLACES)?;
    let mut complete = true;
    let mut tree = BTreeMap::new();
    for field in [section.default_field("mounts"), section.own_field("mounts")] {
        let mut own = BTreeMap::new();
        for (path, place) in places(field) {
            let path = mounts::mount_path(path, &place);
            let mount = user_mount(&place, values, around);
            let (Some(path), Some(mount)) = (path, mount) else {
                complete = false;
                continue;
            };
            if own.contains_key(&path) {
                place.wrong::<()>(format!("two mounts are on {path}"), "one mount a path");
            }
            own.insert(path, mount);
        }
        tree.extend(own);
    }
    if complete && tree.is_empty() {
        return match written.value() {
            // The error is there: it is not a table.
            value if !is_table(value) => None,
            _ => written.wrong("is empty", PLACES),
        };
    }
    complete.then_some(tree)
}

fn is_table(value: &Value) -> bool {
    matches!(
        value,
        Value::Table(_) | Value::Variable { table: Some(_), .. }
    )
}

/// Reads a mount of one user: a name or an inline table.
fn user_mount(
    place: &Field<'_>,
    values: &UserValues<'_>,
    around: &Around<'_>,
) -> Option<Arc<MountOptions>> {
    if is_table(place.value()) {
        let template = mounts::mount(place, around.stores)?;
        return template.fill(place, values);
    }
    named_mount(place, around)?.fill(place, values)
}

/// Finds a mount by its name; `None` for an inline table too.
fn named_mount<'m>(place: &Field<'_>, around: &Around<'m>) -> Option<&'m MountTemplate> {
    if is_table(place.value()) {
        return None;
    }
    let names = || around.mounts.keys().map(String::as_str).collect::<Vec<_>>();
    let allowed = || format!("{}, or {MOUNT}", known("mount", &names()));
    let name = match place.value() {
        Value::Text(name) | Value::Variable { text: name, .. } => name,
        _ => return place.wrong_type(&allowed()),
    };
    match around.mounts.get(name) {
        Some(mount) => mount.as_ref(),
        None => place.wrong(unknown("mount", name, &names()), allowed()),
    }
}

/// Reads attributes: what placeholders of their names stand for.
fn attributes(field: Option<Field<'_>>) -> UserAttributes {
    const ALLOWED: &str = "a table such as { customer = \"acme\" }";
    let entries = field.and_then(|field| field.entries(ALLOWED));
    let mut attributes = UserAttributes::new();
    for (name, field) in entries.unwrap_or_default() {
        let reserved = [template::USER, template::GROUP, template::PEER].contains(&name);
        if reserved || !template::is_placeholder(name) {
            field.wrong::<()>(
                "is not the name of an attribute",
                "at most 64 characters of a-z, 0-9, \"_\" and \"-\"; not user, group, or peer",
            );
        }
        if let Some(value) = values::line(&field) {
            attributes.insert(name.to_owned(), value);
        }
    }
    attributes
}

/// Reads what bounds a user's transfers and idle sessions.
fn limits(section: &Section<'_>) -> UserLimits {
    UserLimits {
        transfers: section.number("transfers"),
        upload_rate: section.size("upload_rate"),
        download_rate: section.size("download_rate"),
        idle: section.time("idle"),
        max_file_size: section.size("max_file_size"),
    }
}

/// Reads the networks that a user may come from.
fn networks(section: &Section<'_>) -> Vec<IpNet> {
    let allowed = "a list of networks, such as [\"192.0.2.0/24\"]";
    let items = section.field("networks").and_then(|field| {
        let items = field.items(allowed)?;
        match items.is_empty() {
            true => field.wrong("is empty, so that the user could not log in", allowed),
            false => Some(items),
        }
    });
    let items = items.unwrap_or_default();
    items.iter().filter_map(values::network).collect()
}

/// Reads when an account ends: the end of a day, or a time.
fn expires(field: &Field<'_>) -> Option<Timestamp> {
    let text = field.text(DATES)?;
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let end_of = |day: Date| {
        let next = day.tomorrow().ok()?.to_datetime(Time::midnight());
        TimeZone::UTC.to_timestamp(next).ok()
    };
    let day = (text.len() == "2027-06-30".len()).then(|| text.parse().ok());
    let end = day.flatten().and_then(end_of);
    end.or_else(|| field.wrong(format!("{text:?} is neither"), DATES))
}

/// Reads where sessions of the user begin. It must be in the user's tree.
fn start_directory(
    section: &Section<'_>,
    mounts: Option<&BTreeMap<VirtualPath, Arc<MountOptions>>>,
) -> Option<VirtualPath> {
    let Some(field) = section.field("start_directory") else {
        return Some(VirtualPath::root());
    };
    let allowed = "an absolute path in the user's tree, such as \"/in\"";
    let path = mounts::mount_path(field.text(allowed)?, &field)?;
    let Some(mounts) = mounts else {
        return Some(path);
    };
    let mut points = mounts.keys();
    let inside = points
        .any(|mount| path.strip_prefix(mount).is_some() || mount.strip_prefix(&path).is_some());
    match inside {
        true => Some(path),
        false => field.wrong("is in no mount of the user, and above none", allowed),
    }
}
