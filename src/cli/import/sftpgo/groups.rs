//! Settings of groups, put into a user as SFTPGo does at a login.

use serde_json::{Value, json};

use crate::cli::import::sftpgo::values::is_set;
use crate::cli::import::source::shown;
use crate::cli::import::user::ImportedUser;
use Membership::{Primary, Secondary};

/// A day, milliseconds.
const DAY: i64 = 86_400_000;

/// How a user is in a group.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Membership {
    /// Its settings are defaults of the user.
    Primary,
    /// It adds to the user's settings.
    Secondary,
}

/// The user with the settings of its groups.
pub(super) fn merge(written: &Value, dump: &Value, user: &mut ImportedUser) -> Value {
    let mut merged = written.clone();
    if !merged["filters"].is_object() {
        merged["filters"] = json!({});
    }
    let groups = written["groups"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let of_kind = |kind: i64| {
        groups
            .iter()
            .filter(move |group| group["type"].as_i64() == Some(kind))
    };
    for (number, kind) in [(1, Primary), (2, Secondary)] {
        for membership in of_kind(number) {
            let name = membership["name"].as_str().unwrap_or_default();
            let all = dump["groups"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            match all
                .iter()
                .find(|group| group["name"].as_str() == Some(name))
            {
                Some(group) => merge_group(&mut merged, group, kind, &user.name),
                None => user.lose_restriction(format!(
                    "the group {:?}: the dump does not have it",
                    shown(name)
                )),
            }
        }
    }
    merged
}

fn merge_group(user: &mut Value, group: &Value, kind: Membership, name: &str) {
    let settings = replaced(&group["user_settings"], name);
    if kind == Primary {
        if settings["filesystem"]["provider"].as_i64().unwrap_or(0) != 0 {
            user["filesystem"] = settings["filesystem"].clone();
        }
        for key in [
            "max_sessions",
            "quota_size",
            "quota_files",
            "upload_bandwidth",
            "download_bandwidth",
            "upload_data_transfer",
            "download_data_transfer",
            "total_data_transfer",
        ] {
            take_default(user, &settings, key);
        }
        let days = settings["expires_in"].as_i64().filter(|days| *days > 0);
        if let Some(days) = days
            && user["expiration_date"].as_i64().unwrap_or(0) == 0
        {
            let created = user["created_at"].as_i64().unwrap_or(0);
            user["expiration_date"] = json!(created.saturating_add(days.saturating_mul(DAY)));
        }
        for key in [
            "max_upload_file_size",
            "tls_username",
            "is_anonymous",
            "ftp_security",
            "start_directory",
            "password_expiration",
        ] {
            take_default(&mut user["filters"], &settings["filters"], key);
        }
    }
    for key in [
        "bandwidth_limits",
        "allowed_ip",
        "denied_ip",
        "denied_login_methods",
        "denied_protocols",
        "two_factor_protocols",
        "access_time",
        "file_patterns",
    ] {
        append(&mut user["filters"], &settings["filters"], key);
    }
    let folders = replaced(&group["virtual_folders"], name);
    add_folders(user, &folders, kind);
    add_permissions(user, &settings["permissions"], kind);
}

/// Takes a value of the group if the user has none.
fn take_default(user: &mut Value, settings: &Value, key: &str) {
    if !is_set(&user[key]) && is_set(&settings[key]) {
        user[key] = settings[key].clone();
    }
}

fn append(user: &mut Value, settings: &Value, key: &str) {
    let Some(more) = settings[key].as_array() else {
        return;
    };
    if !user.is_object() {
        return;
    }
    match user[key].as_array_mut() {
        Some(items) => items.extend(more.iter().cloned()),
        None => user[key] = json!(more),
    }
}

fn add_folders(user: &mut Value, folders: &Value, kind: Membership) {
    let folders = folders.as_array().map(Vec::as_slice).unwrap_or_default();
    for folder in folders {
        let path = folder["virtual_path"].as_str().unwrap_or_default();
        let own = user["virtual_folders"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let has = own
            .iter()
            .any(|own| own["virtual_path"].as_str() == Some(path));
        if !has && (path != "/" || kind == Primary) {
            let one = json!({ "virtual_folders": [folder] });
            append(user, &one, "virtual_folders");
        }
    }
}

fn add_permissions(user: &mut Value, permissions: &Value, kind: Membership) {
    let Some(permissions) = permissions.as_object() else {
        return;
    };
    if !user["permissions"].is_object() {
        user["permissions"] = json!({});
    }
    let Some(own) = user["permissions"].as_object_mut() else {
        return;
    };
    for (path, names) in permissions {
        let replaces = path == "/" && kind == Primary;
        if replaces || (path != "/" && !own.contains_key(path)) {
            own.insert(path.clone(), names.clone());
        }
    }
}

/// A value in which `%username%` is the user's name, in keys of tables too.
fn replaced(value: &Value, name: &str) -> Value {
    let text = |text: &str| text.replace("%username%", name);
    match value {
        Value::String(written) => Value::String(text(written)),
        Value::Array(items) => items.iter().map(|item| replaced(item, name)).collect(),
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| (text(key), replaced(value, name)))
            .collect(),
        other => other.clone(),
    }
}
