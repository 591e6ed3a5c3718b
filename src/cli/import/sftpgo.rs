//! SFTPGo's JSON dump (`dumpdata`): users, groups and folders.
//!
//! Settings of groups are put into each user, as SFTPGo does at a login. A user whose filesystem is
//! in S3 gets mounts, one for each directory with permissions of its own, and the stores that they
//! need are in the server's part.

mod groups;
mod mounts;
mod values;

use ipnet::IpNet;
use jiff::Timestamp;
use serde_json::Value;

use crate::cli::import::source::{SourceFile, comment, network, shown};
use crate::cli::import::user::{Found, ImportedUser};
use mounts::DumpedStores;
use values::{is_set, texts};

/// Reads the dumps.
///
/// # Errors
/// What is wrong with the files, a line each.
pub(super) fn read(files: &[SourceFile]) -> Result<Found, Vec<String>> {
    let mut found = Found::default();
    let mut stores = DumpedStores::default();
    for file in files {
        let name = shown(&file.name);
        let bytes = file.bytes.strip_prefix(b"\xef\xbb\xbf");
        let parsed = serde_json::from_slice(bytes.unwrap_or(&file.bytes));
        let dump: Value = parsed.map_err(|error| {
            // Its text shows nothing of the file.
            let (line, column) = (error.line(), error.column());
            vec![format!("{name}, line {line}, column {column}: is not JSON")]
        })?;
        let Some(users) = dump["users"].as_array() else {
            return Err(vec![format!("{name}: has no list of users: is it a dump?")]);
        };
        for (index, written) in users.iter().enumerate() {
            let origin = format!("{name}, users[{index}]");
            let Some(login) = written["username"].as_str() else {
                found.server.lost.push(format!("{origin}: has no username"));
                continue;
            };
            let mut user = ImportedUser::new(login, origin);
            let merged = groups::merge(written, &dump, &mut user);
            take(&mut user, &merged);
            mounts::take(&mut user, &merged, &dump, &mut stores);
            found.users.push(user);
        }
    }
    stores.into_server(&mut found.server);
    Ok(found)
}

/// Takes everything but the mounts.
fn take(user: &mut ImportedUser, written: &Value) {
    let filters = &written["filters"];
    let description = [&written["description"], &written["additional_info"]];
    let description: Vec<&str> = description.into_iter().filter_map(Value::as_str).collect();
    user.comment = comment(&description.join(" "));
    match written["password"].as_str().unwrap_or_default() {
        "" => user.lose_restriction("the password: the dump has none"),
        hash => user.take_hash(hash),
    }
    if written["status"].as_i64().unwrap_or(0) < 1 {
        user.notes
            .push("the user was not active: it is disabled".to_owned());
        user.disabled = true;
    }
    if let Some(milliseconds) = written["expiration_date"].as_i64().filter(|time| *time > 0) {
        match Timestamp::from_millisecond(milliseconds) {
            Ok(time) => user.expires = Some(time.to_string()),
            Err(_) => user.lose_restriction("expiration_date: it is not a time"),
        }
    }
    take_networks(user, filters);
    user.sessions = written["max_sessions"]
        .as_u64()
        .filter(|number| *number > 0);
    let rate = |key: &str| written[key].as_u64().filter(|rate| *rate > 0);
    user.upload_rate = rate("upload_bandwidth").map(|rate| rate.saturating_mul(1024));
    user.download_rate = rate("download_bandwidth").map(|rate| rate.saturating_mul(1024));
    let start = filters["start_directory"].as_str().unwrap_or_default();
    if !matches!(start, "" | "/") {
        user.start_directory = Some(start.to_owned());
    }
    take_ways_to_log_in(user, filters);
    for (value, what) in [
        (&written["quota_size"], "quota_size"),
        (&written["quota_files"], "quota_files"),
        (&written["upload_data_transfer"], "upload_data_transfer"),
        (&written["download_data_transfer"], "download_data_transfer"),
        (&written["total_data_transfer"], "total_data_transfer"),
        (
            &filters["max_upload_file_size"],
            "max_upload_file_size: max_file_size of a mount",
        ),
        (
            &filters["bandwidth_limits"],
            "bandwidth_limits: rates that depend on the address",
        ),
        (&filters["password_expiration"], "password_expiration"),
        (
            &filters["tls_username"],
            "tls_username: certificate of the user",
        ),
        (&filters["tls_certs"], "tls_certs: certificate of the user"),
    ] {
        if is_set(value) && value.as_str() != Some("None") {
            user.lose(what);
        }
    }
    for (value, what) in [
        (
            &filters["file_patterns"],
            "file_patterns: names that are allowed or denied",
        ),
        (
            &filters["file_extensions"],
            "file_extensions: names that are allowed or denied",
        ),
        (
            &filters["access_time"],
            "access_time: the times at which the user may log in",
        ),
        (
            &filters["require_password_change"],
            "require_password_change",
        ),
    ] {
        if is_set(value) {
            user.lose_restriction(what);
        }
    }
    if is_set(&written["public_keys"]) {
        user.notes.push("public_keys are for SFTP".to_owned());
    }
}

fn take_networks(user: &mut ImportedUser, filters: &Value) {
    for text in texts(&filters["allowed_ip"]) {
        match network(text) {
            Some(network) => user.networks.push(network),
            None => user.lose_restriction(format!("allowed_ip: {text:?} is not a network")),
        }
    }
    let denied = texts(&filters["denied_ip"]);
    let parsed = |text: &str| {
        text.parse::<IpNet>()
            .ok()
            .or_else(|| Some(text.parse::<std::net::IpAddr>().ok()?.into()))
    };
    let allowed: Vec<IpNet> = user
        .networks
        .iter()
        .filter_map(|text| parsed(text))
        .collect();
    // Networks outside those that are allowed are denied anyhow.
    let matters = |text: &&str| match parsed(text) {
        Some(net) => {
            allowed.is_empty()
                || allowed
                    .iter()
                    .any(|other| other.contains(&net) || net.contains(other))
        }
        None => true,
    };
    let denied: Vec<&str> = denied.into_iter().filter(matters).collect();
    if !denied.is_empty() {
        user.lose_restriction(format!("denied_ip: {}", denied.join(", ")));
    }
}

fn take_ways_to_log_in(user: &mut ImportedUser, filters: &Value) {
    let has = |key: &str, value: &str| texts(&filters[key]).contains(&value);
    for (is_denied, why) in [
        (has("denied_protocols", "FTP"), "denied_protocols has FTP"),
        (
            has("denied_login_methods", "password"),
            "denied_login_methods has password",
        ),
    ] {
        if is_denied {
            user.notes.push(format!("{why}: the user is disabled"));
            user.disabled = true;
        }
    }
    let totp = &filters["totp_config"];
    let second =
        totp["enabled"].as_bool() == Some(true) && texts(&totp["protocols"]).contains(&"FTP");
    if second || has("two_factor_protocols", "FTP") {
        user.lose_restriction("a second factor for FTP");
    }
    if filters["ftp_security"].as_i64() == Some(1) {
        user.lose_restriction(
            "ftp_security: with [tls], tls = { control = \"required\", data = \"required\" }",
        );
    }
    if filters["is_anonymous"].as_bool() == Some(true) {
        user.lose_restriction("is_anonymous: a login without a password");
    }
}

#[cfg(test)]
mod tests;
