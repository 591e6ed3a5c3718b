//! Filesystems, virtual folders and permissions → mounts and stores.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::cli::import::sftpgo::values::{is_set, texts};
use crate::cli::import::source::shown;
use crate::cli::import::toml::quoted;
use crate::cli::import::user::{ImportedMount, ImportedUser, ServerPart};

/// The number of S3 among SFTPGo's filesystems.
const S3: i64 = 1;
/// Their names.
const FILESYSTEMS: [&str; 7] = [
    "local disk",
    "S3",
    "GCS",
    "Azure",
    "encrypted disk",
    "SFTP",
    "HTTP",
];

/// Endpoints with their credentials, by the names that they get.
#[derive(Default)]
pub(super) struct DumpedStores {
    known: Vec<DumpedStore>,
}

#[derive(Clone, PartialEq, Eq)]
struct DumpedStore {
    endpoint: String,
    region: String,
    access_key: String,
    path_style: bool,
    role: String,
    /// If it is not encrypted.
    secret: Option<String>,
}

impl DumpedStores {
    /// The name of the store of a filesystem.
    fn name(&mut self, config: &Value) -> String {
        let text = |key: &str| config[key].as_str().unwrap_or_default().to_owned();
        let secret = &config["access_secret"];
        let plain = secret["status"].as_str() == Some("Plain");
        let secret = secret["payload"]
            .as_str()
            .filter(|payload| plain && !payload.is_empty());
        let store = DumpedStore {
            endpoint: match text("endpoint") {
                endpoint if endpoint.is_empty() || endpoint.contains("://") => endpoint,
                endpoint => format!("https://{endpoint}"),
            },
            region: text("region"),
            access_key: text("access_key"),
            path_style: config["force_path_style"].as_bool() == Some(true),
            role: text("role_arn"),
            secret: secret.map(str::to_owned),
        };
        let index = self.known.iter().position(|known| *known == store);
        let index = index.unwrap_or_else(|| {
            self.known.push(store);
            self.known.len() - 1
        });
        format!("sftpgo-{}", index + 1)
    }

    /// Writes the stores.
    pub(super) fn into_server(self, server: &mut ServerPart) {
        for (index, store) in self.known.into_iter().enumerate() {
            let name = format!("sftpgo-{}", index + 1);
            let table = format!("stores.{name}");
            if !store.endpoint.is_empty() {
                server.set(&table, "endpoint", quoted(&store.endpoint));
                server.set(&table, "path_style", store.path_style.to_string());
            }
            if !store.region.is_empty() {
                server.set(&table, "region", quoted(&store.region));
            } else if store.endpoint.is_empty() {
                // A store is a table, if an empty one.
                server.set(&table, "required", "false".to_owned());
            }
            match (&store.access_key, &store.secret) {
                (key, Some(secret)) if !key.is_empty() => {
                    server.set(&table, "access_key_id", quoted(key));
                    server.set(&table, "secret_access_key", quoted(secret));
                }
                (key, _) if !key.is_empty() => server.lost.push(format!(
                    "the secret of the access key {} of [{table}], which the dump has encrypted: set access_key_id and secret_access_key",
                    shown(key)
                )),
                _ => {}
            }
            if !store.role.is_empty() {
                let role = shown(&store.role);
                server.lost.push(format!("the role {role} of [{table}]"));
            }
        }
    }
}

/// Where a directory lies.
struct FolderPlace {
    store: String,
    bucket: String,
    prefix: String,
}

/// Takes the mounts of a user.
pub(super) fn take(
    user: &mut ImportedUser,
    written: &Value,
    dump: &Value,
    stores: &mut DumpedStores,
) {
    let mut places: BTreeMap<String, Option<FolderPlace>> = BTreeMap::new();
    let filesystem = &written["filesystem"];
    places.insert("/".to_owned(), place(user, "/", filesystem, stores));
    let folders = written["virtual_folders"].as_array().map(Vec::as_slice);
    for folder in folders.unwrap_or_default() {
        let Some(path) = folder["virtual_path"].as_str().and_then(normal) else {
            user.lose("a virtual folder without a path");
            continue;
        };
        if is_quota_set(folder) {
            user.lose(format!("the quota of the virtual folder {path}"));
        }
        let filesystem = match &folder["filesystem"] {
            Value::Object(_) => Some(&folder["filesystem"]),
            _ => folder_of(dump, folder["name"].as_str().unwrap_or_default()),
        };
        match filesystem.map(|filesystem| place(user, &path, filesystem, stores)) {
            Some(Some(place)) => {
                places.insert(path, Some(place));
            }
            // `place` has noted it.
            Some(None) => {}
            None => user.lose(format!(
                "the virtual folder {path}: the dump does not have it"
            )),
        }
    }
    take_permissions(user, written, &places);
}

fn is_quota_set(folder: &Value) -> bool {
    let keys = ["quota_size", "quota_files"];
    keys.iter()
        .any(|key| folder[*key].as_i64().is_some_and(|quota| quota > 0))
}

fn folder_of<'d>(dump: &'d Value, name: &str) -> Option<&'d Value> {
    let folders = dump["folders"].as_array()?;
    let folder = folders
        .iter()
        .find(|folder| folder["name"].as_str() == Some(name))?;
    Some(&folder["filesystem"])
}

/// The place of a filesystem, if it is in S3.
fn place(
    user: &mut ImportedUser,
    path: &str,
    filesystem: &Value,
    stores: &mut DumpedStores,
) -> Option<FolderPlace> {
    let provider = filesystem["provider"].as_i64().unwrap_or(0);
    if provider != S3 {
        let index = usize::try_from(provider).unwrap_or(usize::MAX);
        let name = FILESYSTEMS.get(index).unwrap_or(&"another place");
        match path {
            "/" => user.notes.push(format!("the files were in: {name}")),
            path => user.lose(format!("the virtual folder {path}, which is in: {name}")),
        }
        return None;
    }
    let config = &filesystem["s3config"];
    for key in ["storage_class", "acl", "sse_customer_key", "session_token"] {
        if is_set(&config[key]) && is_set_secret(&config[key]) {
            user.lose(format!("{key} of {path}"));
        }
    }
    let prefix = config["key_prefix"].as_str().unwrap_or_default();
    let prefix = prefix.trim_start_matches('/');
    if prefix.contains(['{', '}']) {
        user.lose_restriction(format!(
            "key_prefix {prefix:?} of {path}: a prefix can't have braces"
        ));
        return None;
    }
    Some(FolderPlace {
        store: stores.name(config),
        bucket: config["bucket"].as_str().unwrap_or_default().to_owned(),
        prefix: match prefix {
            "" => String::new(),
            prefix => format!("{}/", prefix.trim_end_matches('/')),
        },
    })
}

/// Secrets are tables, and can be empty ones.
fn is_set_secret(value: &Value) -> bool {
    !value.is_object() || is_set(&value["payload"])
}

/// Makes a mount of each place and of each directory with permissions of its own.
fn take_permissions(
    user: &mut ImportedUser,
    written: &Value,
    places: &BTreeMap<String, Option<FolderPlace>>,
) {
    let mut of_paths: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let permissions = written["permissions"].as_object();
    for (path, names) in permissions.into_iter().flatten() {
        let is_pattern = path.contains(['*', '?', '[', '\\']);
        match normal(path).filter(|_| !is_pattern) {
            Some(path) => {
                of_paths.insert(path, texts(names));
            }
            None => user.lose_restriction(format!("the permissions of {path}")),
        }
    }
    let is_given = |place: &Option<FolderPlace>| place.is_none();
    if places.len() == 1 && places.values().all(is_given) {
        // The mount of the command line, and nothing else.
        let all = |names: &Vec<&str>| names.contains(&"*");
        if of_paths.is_empty() || !of_paths.values().all(all) {
            let listed: Vec<String> = of_paths
                .iter()
                .map(|(path, names)| format!("{path}: {}", names.join(", ")))
                .collect();
            user.lose_restriction(format!("permissions: {}", listed.join("; ")));
        }
        return;
    }
    let paths: BTreeSet<&String> = places.keys().chain(of_paths.keys()).collect();
    for path in paths {
        let names = above(path, &of_paths).map_or(&[][..], |(_, names)| names);
        let Some((root, place)) = above(path, places) else {
            continue;
        };
        let all = names.contains(&"*");
        let Some(place) = place else {
            if !all {
                user.lose_restriction(format!("the permissions of {path}: {}", names.join(", ")));
            }
            user.mounts.insert("/".to_owned(), ImportedMount::Given);
            continue;
        };
        let below = path[root.len().min(path.len())..].trim_start_matches('/');
        let below = match below {
            "" => String::new(),
            below => format!("{below}/"),
        };
        let permissions = (!all).then(|| translated(user, path, names));
        let is_none = permissions.as_ref().is_some_and(Vec::is_empty);
        if is_none && path == "/" {
            // Without a mount the root shows the other mounts and nothing else.
            continue;
        }
        if is_none {
            user.lose_restriction(format!("that nothing is allowed in {path}"));
            continue;
        }
        let mount = ImportedMount::Prefix {
            store: place.store.clone(),
            bucket: place.bucket.clone(),
            prefix: format!("{}{below}", place.prefix),
            permissions,
        };
        user.mounts.insert(path.clone(), mount);
    }
    if user.mounts.is_empty() {
        user.lose_restriction("permissions: there are none");
    }
}

/// The entry of a path or of the nearest directory above it.
fn above<'m, T>(path: &str, entries: &'m BTreeMap<String, T>) -> Option<(&'m str, &'m T)> {
    let mut path = path;
    loop {
        if let Some((key, value)) = entries.get_key_value(path) {
            return Some((key, value));
        }
        match path.rsplit_once('/') {
            None => return None,
            Some(("", "")) => return None,
            Some(("", _)) => path = "/",
            Some((parent, _)) => path = parent,
        }
    }
}

/// A path in its normal form: absolute, without a slash at its end.
fn normal(path: &str) -> Option<String> {
    let elements: Vec<&str> = path
        .split('/')
        .filter(|element| !element.is_empty())
        .collect();
    let wrong = |element: &&str| matches!(*element, "." | "..");
    (path.starts_with('/') && !elements.iter().any(wrong))
        .then(|| format!("/{}", elements.join("/")))
}

/// SFTPGo's permissions as those of a mount. None gives more than it did.
fn translated(user: &mut ImportedUser, path: &str, names: &[&str]) -> Vec<&'static str> {
    let has = |name: &str| names.contains(&name);
    let upload = has("upload");
    let rename = has("rename") || (has("rename_files") && has("rename_dirs"));
    if !rename && (has("rename_files") || has("rename_dirs")) {
        user.lose(format!(
            "rename_files or rename_dirs of {path}: rename is for both"
        ));
    }
    [
        ("list", has("list")),
        ("read", has("download")),
        ("write", upload),
        ("overwrite", upload && has("overwrite")),
        ("append", upload && has("overwrite")),
        ("delete", has("delete") || has("delete_files")),
        ("rename", rename),
        ("mkdir", has("create_dirs")),
        ("rmdir", has("delete") || has("delete_dirs")),
    ]
    .into_iter()
    .filter_map(|(name, held)| held.then_some(name))
    .collect()
}
