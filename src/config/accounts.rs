//! Reads stores, mounts and users, and checks that they fit together.

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use crate::auth::PasswordHash;
use crate::auth::options::UserOptions;
use crate::config::secret;
use crate::config::section::{Field, Section, nearest};
use crate::config::tls;
use crate::config::tree::Value;
use crate::config::values;
use crate::namespace::options::{ControlLoss, MountOptions};
use crate::namespace::{Permission, Permissions, VirtualPath};
use crate::object::options::{Capability, StaticCredentials, StoreOptions};
use crate::server::options::ListenOptions;
use crate::tls::options::TlsOptions;

type Stores = BTreeMap<String, Arc<StoreOptions>>;
type Users = BTreeMap<String, Arc<UserOptions>>;
/// Mounts by name. A mount with an error is `None`, so that users of it do not get a second error.
type Mounts = BTreeMap<String, Option<Arc<MountOptions>>>;

const NAMES: &str = "a table of names";
const MOUNT: &str = "{ store = \"STORE\", bucket = \"BUCKET\", … }";

/// Reads the three tables. `budget` is the memory for password checks, in bytes.
pub(super) fn decode(
    root: &Section<'_>,
    budget: u64,
    tls: Option<&TlsOptions>,
    listeners: &[ListenOptions],
) -> (Stores, Users) {
    let stores_written = named(root, "stores");
    let store_names: Vec<&str> = stores_written.iter().map(|(name, _)| *name).collect();
    let idle_connections = StoreOptions::share_of_idle_connections(stores_written.len());
    let stores = stores_written
        .iter()
        .filter_map(|(name, field)| {
            let store = store(name, field, idle_connections)?;
            Some(((*name).to_owned(), Arc::new(store)))
        })
        .collect();
    let mounts: Mounts = named(root, "mounts")
        .iter()
        .map(|(name, field)| ((*name).to_owned(), mount(field, &store_names).map(Arc::new)))
        .collect();
    let users_written = named(root, "users");
    let around = Around {
        mounts: &mounts,
        stores: &store_names,
        budget,
        tls,
        listeners,
    };
    let users = users_written
        .iter()
        .filter_map(|(name, field)| {
            Some(((*name).to_owned(), Arc::new(user(name, field, &around)?)))
        })
        .collect();
    if store_names.is_empty() && !is_wrong_type(root, "stores") {
        root.wrong(
            "stores",
            "there is none",
            "at least one table [stores.NAME]",
        );
    }
    if users_written.is_empty() && !is_wrong_type(root, "users") {
        root.wrong("users", "there is none", "at least one table [users.NAME]");
    }
    (stores, users)
}

/// All names in such a table, including those with errors, so that a use of them does not get a
/// second error.
pub(super) fn names<'a>(root: &Section<'a>, key: &'static str) -> Vec<&'a str> {
    let Some(field) = root.field(key) else {
        return Vec::new();
    };
    match field.value() {
        Value::Table(table)
        | Value::Variable {
            table: Some(table), ..
        } => table.keys().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The entries of a table whose keys are names. An empty name, or one with a control character, is
/// an error.
fn named<'a>(root: &Section<'a>, key: &'static str) -> Vec<(&'a str, Field<'a>)> {
    let entries = root
        .field(key)
        .and_then(|field| field.entries(NAMES))
        .unwrap_or_default();
    for (name, field) in &entries {
        if name.is_empty() || name.chars().any(char::is_control) {
            field.wrong::<()>(
                "is not a name",
                "a name that is not empty and has no control character",
            );
        }
    }
    entries
}

/// Whether the key exists and is not a table. That error is reported elsewhere.
fn is_wrong_type(root: &Section<'_>, key: &'static str) -> bool {
    root.field(key).is_some_and(|field| {
        !matches!(
            field.value(),
            Value::Table(_) | Value::Variable { table: Some(_), .. }
        )
    })
}

fn store(name: &str, field: &Field<'_>, idle_connections: usize) -> Option<StoreOptions> {
    let section = field.section("a table")?;
    let endpoint = section
        .field("endpoint")
        .map(|field| values::endpoint(&field));
    let credentials = credentials(&section);
    let wants_equal = endpoint.as_ref().and_then(Option::as_ref);
    let wants_equal = wants_equal.is_some_and(|endpoint| is_r2(endpoint));
    let store = StoreOptions {
        name: name.to_owned(),
        // Few stores other than AWS have a host name for each bucket.
        path_style: section.flag("path_style").unwrap_or(endpoint.is_some()),
        equal_parts: section.flag("equal_parts").unwrap_or(wants_equal),
        endpoint: endpoint.flatten(),
        region: section.line("region"),
        credentials,
        checksums: section.word_or_default(
            "checksums",
            &[Capability::Auto, Capability::Yes, Capability::No],
        ),
        conditional_writes: capability(&section, "conditional_writes"),
        conditional_deletes: capability(&section, "conditional_deletes"),
        files_hide_directories: capability(&section, "files_hide_directories"),
        sign_payload: section.flag_or_default("sign_payload"),
        connect_timeout: section.time_or_default("connect_timeout"),
        request_timeout: section.time_or_default("request_timeout"),
        attempts: section.number_or_default("attempts"),
        copy_limit: section.size_or_default("copy_limit"),
        required: section.flag_or_default("required"),
        idle_connections,
    };
    section.finish();
    Some(store)
}

/// Whether an endpoint is Cloudflare R2, the only known store that requires equal parts.
fn is_r2(endpoint: &str) -> bool {
    let uri = endpoint.parse::<http::Uri>().ok();
    let host = uri.as_ref().and_then(http::Uri::host).unwrap_or_default();
    host.to_ascii_lowercase()
        .ends_with(".r2.cloudflarestorage.com")
}

/// Reads `"auto"`, `true` or `false`.
fn capability(section: &Section<'_>, key: &'static str) -> Capability {
    let read = |field: Field<'_>| read_capability(&field);
    section.field(key).and_then(read).unwrap_or_default()
}

fn read_capability(field: &Field<'_>) -> Option<Capability> {
    let allowed = "\"auto\", true, false";
    match field.value() {
        Value::Bool(true) => Some(Capability::Yes),
        Value::Bool(false) => Some(Capability::No),
        Value::Text(text) if text == "auto" => Some(Capability::Auto),
        Value::Text(text) => field.wrong(format!("{text:?} is unknown"), allowed),
        Value::Variable { text, .. } => match text.trim().to_lowercase().as_str() {
            "auto" => Some(Capability::Auto),
            "true" => Some(Capability::Yes),
            "false" => Some(Capability::No),
            _ => field.wrong(format!("{text:?} is unknown"), allowed),
        },
        _ => field.wrong_type(allowed),
    }
}

/// Reads the access key and the secret key: both or none.
fn credentials(section: &Section<'_>) -> Option<StaticCredentials> {
    const TOGETHER: &str =
        "access_key_id and secret_access_key together, or neither for the AWS default chain";
    let id = section.field("access_key_id");
    let secret = section.field("secret_access_key");
    let token = section.field("session_token");
    match (&id, &secret, &token) {
        (Some(_), None, _) => {
            section.wrong("access_key_id", "is without secret_access_key", TOGETHER)
        }
        (None, Some(_), _) => {
            section.wrong("secret_access_key", "is without access_key_id", TOGETHER)
        }
        (None, None, Some(_)) => section.wrong("session_token", "is without the keys", TOGETHER),
        _ => {}
    }
    let read = |field: Option<Field<'_>>| field.and_then(|field| secret::read(&field));
    let (id, secret, session_token) = (read(id), read(secret), read(token));
    Some(StaticCredentials {
        access_key_id: id?.expose_secret().to_owned(),
        secret_access_key: secret?,
        session_token,
    })
}

/// Reads a mount. `{user}` stays in its prefix.
fn mount(field: &Field<'_>, stores: &[&str]) -> Option<MountOptions> {
    let section = field.section(MOUNT)?;
    let configured = known("store", stores);
    let store = section.required("store", &configured).and_then(|field| {
        let name = field.text(&configured)?;
        if stores.contains(&name) {
            return Some(name.to_owned());
        }
        field.wrong(unknown("store", name, stores), configured.as_str())
    });
    let bucket = section
        .required("bucket", "the name of a bucket")
        .and_then(|field| values::bucket(&field));
    let prefix = section
        .field("prefix")
        .map_or(Some(String::new()), |field| values::prefix(&field));
    let permissions = section
        .field("permissions")
        .map_or(Some(Permissions::all()), |field| permissions(&field));
    let state_bucket = section
        .field("state_bucket")
        .and_then(|field| values::bucket(&field));
    let ascii_convert = section.word_or_default("ascii", &[false, true]);
    let times_metadata = section.word_or_default("times", &[false, true]);
    let verify_downloads = section.flag_or_default("verify_downloads");
    let keep_interrupted = section.word_or_default("interrupted", &[true, false]);
    let on_control_loss = section.word_or_default(
        "on_control_loss",
        &[ControlLoss::Keep, ControlLoss::Publish],
    );
    section.finish();
    Some(MountOptions {
        store: store?,
        bucket: bucket?,
        prefix: prefix?,
        permissions: permissions?,
        ascii_convert,
        times_metadata,
        verify_downloads,
        state_bucket,
        keep_interrupted,
        on_control_loss,
    })
}

fn permissions(field: &Field<'_>) -> Option<Permissions> {
    let names = Permission::ALL.map(Permission::name);
    let allowed = format!("a list of {}; left out: all", names.join(", "));
    let items = field.items(&allowed)?;
    if items.is_empty() {
        return field.wrong("is empty", allowed);
    }
    let mut permissions = Some(Permissions::none());
    for item in items {
        let name = item.text(&allowed);
        let found = name.and_then(|name| {
            let permission = Permission::ALL
                .into_iter()
                .find(|permission| permission.name() == name);
            permission.or_else(|| item.wrong(unknown("permission", name, &names), allowed.as_str()))
        });
        permissions = match (permissions, found) {
            (Some(permissions), Some(permission)) => Some(permissions.with(permission)),
            _ => None,
        };
    }
    permissions
}

/// The other sections that a user refers to.
struct Around<'a> {
    mounts: &'a Mounts,
    stores: &'a [&'a str],
    budget: u64,
    tls: Option<&'a TlsOptions>,
    listeners: &'a [ListenOptions],
}

fn user(name: &str, field: &Field<'_>, around: &Around<'_>) -> Option<UserOptions> {
    let section = field.section("a table")?;
    let (tls, certificate) = tls::user(&section, around.tls, around.listeners);
    let lenient_close = section.flag_or_default("lenient_close");
    let asks_password = certificate.as_ref().is_none_or(|login| login.password);
    let password = if asks_password {
        let written = section.required("password", HASHES);
        Some(written.and_then(|field| password(&field, around.budget)))
    } else {
        if let Some(field) = section.field("password") {
            field.wrong::<()>(
                "is never asked for: certificate.password is \"none\"",
                "certificate.password = \"required\", or leave it out",
            );
        }
        None
    };
    let wanted = "a table such as { \"/\" = \"MOUNT\" }";
    let places = section.required("mounts", wanted);
    let entries = places.as_ref().and_then(|field| field.entries(wanted));
    if let (Some(field), Some([])) = (&places, entries.as_deref()) {
        field.wrong::<()>("is empty", wanted);
    }
    let mut tree = BTreeMap::new();
    let mut complete = true;
    for (path, place) in entries.unwrap_or_default() {
        let path = mount_path(path, &place);
        let mount = user_mount(name, &place, around.mounts, around.stores);
        match (path, mount) {
            (Some(path), Some(mount)) => {
                if tree.contains_key(&path) {
                    place.wrong::<()>(format!("two mounts are on {path}"), "one mount a path");
                }
                tree.insert(path, mount);
            }
            _ => complete = false,
        }
    }
    let sessions = section.number("sessions");
    section.finish();
    (complete && !tree.is_empty()).then_some(())?;
    Some(UserOptions {
        name: name.to_owned(),
        password: match password {
            Some(password) => Some(password?),
            None => None,
        },
        certificate,
        tls,
        lenient_close,
        mounts: tree,
        sessions,
    })
}

const HASHES: &str = "what `s3ftpd hash-password` prints, or another argon2id, bcrypt ($2a$, $2b$, $2y$) or sha512-crypt ($6$) hash";

/// Reads the hash of a password. No error quotes it, since it may be the password itself.
///
/// A check of the password takes its memory from the budget, so a hash that needs more than the
/// budget is an error.
fn password(field: &Field<'_>, budget: u64) -> Option<SecretString> {
    let secret = secret::read(field)?;
    match PasswordHash::parse(&secret) {
        Ok(hash) if hash.memory() > budget => field.wrong(
            format!(
                "this hash needs {} of memory to be checked",
                crate::units::human_bytes(hash.memory())
            ),
            "a hash with a smaller m, or a larger memory.budget",
        ),
        Ok(_) => Some(secret),
        Err(error) => field.wrong(error.to_string(), HASHES),
    }
}

/// Reads a mount of one user: a name or an inline table. Replaces `{user}`.
fn user_mount(
    user: &str,
    place: &Field<'_>,
    mounts: &Mounts,
    stores: &[&str],
) -> Option<Arc<MountOptions>> {
    let template = match place.value() {
        Value::Table(_) | Value::Variable { table: Some(_), .. } => Arc::new(mount(place, stores)?),
        _ => {
            let names: Vec<&str> = mounts.keys().map(String::as_str).collect();
            let allowed = format!("{}, or {MOUNT}", known("mount", &names));
            let name = place.text(&allowed)?;
            match mounts.get(name) {
                Some(mount) => mount.clone()?,
                None => return place.wrong(unknown("mount", name, &names), allowed),
            }
        }
    };
    if !template.prefix.contains(values::USER) {
        return Some(template);
    }
    // The name becomes an element of keys, so it must not lead out of its own directory.
    if user.contains('/') || user == "." || user == ".." {
        return place.wrong(
            "the prefix of this mount has {user}, and the user's name can't be an element of a key",
            "a name without \"/\" that is neither \".\" nor \"..\"",
        );
    }
    let prefix = template.prefix.replace(values::USER, user);
    if prefix.len() > 1000 {
        return place.wrong(
            "the prefix with the user's name is longer than 1000 bytes",
            "a shorter one",
        );
    }
    Some(Arc::new(MountOptions {
        prefix,
        ..(*template).clone()
    }))
}

/// Reads a path of a user's tree. It must be in its normal form, except for one trailing slash.
fn mount_path(text: &str, place: &Field<'_>) -> Option<VirtualPath> {
    let allowed = "an absolute path such as \"/\" or \"/archive\", without an empty element, \".\", \"..\" or a control character";
    let Some(inner) = text.strip_prefix('/') else {
        return place.wrong("the path of a mount begins with \"/\"", allowed);
    };
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    let normal = text.len() <= 1
        || inner
            .split('/')
            .all(|element| !matches!(element, "" | "." | ".."));
    if !normal || inner.chars().any(char::is_control) {
        return place.wrong("the path of this mount is not in its normal form", allowed);
    }
    match VirtualPath::root().join(&format!("/{inner}")) {
        Ok(path) => Some(path),
        Err(error) => place.wrong(error.to_string(), allowed),
    }
}

/// The allowed names, as the text of an error.
fn known(kind: &str, names: &[&str]) -> String {
    if names.is_empty() {
        return format!("the name of a {kind}, of which none is configured");
    }
    format!("the name of a {kind}: {}", names.join(", "))
}

fn unknown(kind: &str, name: &str, names: &[&str]) -> String {
    match nearest(name, names) {
        Some(near) => format!("there is no {kind} {name:?}, did you mean {near:?}?"),
        None => format!("there is no {kind} {name:?}"),
    }
}
