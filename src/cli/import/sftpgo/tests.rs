#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::cli::import::user::ImportedMount;

const HASH: &str = "$2b$04$8E5uUbvMVWGOxsRQoN5kY.AQRfEN2hyYQXvS/0kR3TFVnPGOYsrq6";

/// Imports one user, laid over a working one.
fn import(over: Value, rest: Value) -> (ImportedUser, Found) {
    let mut user = json!({
        "username": "a", "status": 1, "password": HASH, "permissions": { "/": ["*"] }, "filters": {},
        "filesystem": { "provider": 1, "s3config": { "bucket": "files", "key_prefix": "p/a/" } },
    });
    for (key, value) in over.as_object().unwrap() {
        user[key] = value.clone();
    }
    let mut dump = json!({ "users": [user] });
    for (key, value) in rest.as_object().unwrap() {
        dump[key] = value.clone();
    }
    let file = SourceFile {
        name: "dump.json".to_owned(),
        bytes: dump.to_string().into_bytes(),
    };
    let mut found = read(&[file]).unwrap_or_default();
    (found.users.remove(0), found)
}

/// Each mount: path, prefix, permissions.
fn mounts(user: &ImportedUser) -> Vec<(&str, &str, String)> {
    let mounts = user.mounts.iter().map(|(path, mount)| match mount {
        ImportedMount::Given => (path.as_str(), "(given)", String::new()),
        ImportedMount::Prefix {
            prefix,
            permissions,
            ..
        } => {
            let names = permissions
                .as_ref()
                .map_or("all".to_owned(), |names| names.join(" "));
            (path.as_str(), prefix.as_str(), names)
        }
    });
    mounts.collect()
}

#[test]
fn directories_with_permissions_of_their_own_are_mounts() {
    let (user, _) = import(
        json!({ "permissions": {
            "/": ["list", "download"],
            "/in": ["list", "upload", "create_dirs"],
            "/in/x/": ["*"],
            "/work": ["list", "upload", "overwrite", "delete_files", "rename", "chtimes"],
        }}),
        json!({}),
    );
    let expected = [
        ("/", "p/a/", "list read"),
        ("/in", "p/a/in/", "list write mkdir"),
        ("/in/x", "p/a/in/x/", "all"),
        (
            "/work",
            "p/a/work/",
            "list write overwrite append delete rename",
        ),
    ];
    assert_eq!(
        mounts(&user),
        expected.map(|(path, prefix, names)| (path, prefix, names.to_owned()))
    );
    assert!(!user.disabled && user.lost.is_empty(), "{:?}", user.lost);
}

#[test]
fn no_permission_becomes_more_than_it_was() {
    for (permissions, lost) in [
        (json!({ "/": ["*"], "/no": [] }), true),
        (json!({ "/": ["*"], "/a*": ["list"] }), true),
        (json!({ "/": [] }), true),
        (json!({}), true),
        (json!(null), true),
        (json!({ "/": ["chmod"] }), true),
        (json!({ "/": [], "/in": ["list"] }), false),
    ] {
        let (user, _) = import(json!({ "permissions": permissions }), json!({}));
        assert_eq!(user.disabled, lost, "{permissions}: {:?}", user.lost);
    }
    let (user, _) = import(
        json!({ "permissions": { "/": ["list", "rename_files"] } }),
        json!({}),
    );
    assert_eq!(mounts(&user)[0].2, "list");
    // On the mount of the command line nothing can be restricted.
    let local = json!({ "provider": 0 });
    let (user, _) = import(
        json!({ "filesystem": local, "permissions": { "/": ["list"] } }),
        json!({}),
    );
    assert!(user.disabled && user.mounts.is_empty());
    let (user, _) = import(json!({ "filesystem": local }), json!({}));
    assert!(!user.disabled && user.mounts.is_empty());
}

#[test]
fn restrictions_are_kept_or_disable_the_user() {
    for (filters, disabled, networks) in [
        (
            json!({ "allowed_ip": ["192.0.2.7/24", "::1/128"] }),
            false,
            2,
        ),
        (json!({ "denied_ip": ["10.0.0.0/8"] }), true, 0),
        (
            json!({ "allowed_ip": ["192.0.2.0/24"], "denied_ip": ["10.0.0.0/8"] }),
            false,
            1,
        ),
        (
            json!({ "allowed_ip": ["10.0.0.0/8"], "denied_ip": ["10.1.0.0/16"] }),
            true,
            1,
        ),
        (json!({ "allowed_ip": ["nowhere"] }), true, 0),
        (json!({ "denied_protocols": ["SSH"] }), false, 0),
        (json!({ "denied_protocols": ["FTP"] }), true, 0),
        (json!({ "denied_login_methods": ["password"] }), true, 0),
        (json!({ "denied_login_methods": ["publickey"] }), false, 0),
        (json!({ "ftp_security": 1 }), true, 0),
        (
            json!({ "totp_config": { "enabled": true, "protocols": ["FTP"] } }),
            true,
            0,
        ),
        (
            json!({ "totp_config": { "enabled": true, "protocols": ["SSH"] } }),
            false,
            0,
        ),
        (
            json!({ "file_patterns": [{ "path": "/", "denied_patterns": ["*.exe"] }] }),
            true,
            0,
        ),
        (
            json!({ "access_time": [{ "day_of_week": 1, "from": "08:00", "to": "17:00" }] }),
            true,
            0,
        ),
        (json!({ "max_upload_file_size": 5 }), false, 0),
    ] {
        let (user, _) = import(json!({ "filters": filters }), json!({}));
        assert_eq!(
            (user.disabled, user.networks.len()),
            (disabled, networks),
            "{filters}"
        );
    }
    let (user, _) = import(json!({ "status": 0 }), json!({}));
    assert!(user.disabled && user.lost.is_empty());
    let (user, _) = import(
        json!({ "expiration_date": 2_145_916_800_000_i64 }),
        json!({}),
    );
    assert_eq!(user.expires.as_deref(), Some("2038-01-01T00:00:00Z"));
}

#[test]
fn a_primary_group_gives_what_the_user_lacks() {
    let group = json!({ "groups": [{ "name": "g", "user_settings": {
        "max_sessions": 3,
        "permissions": { "/": ["list"], "/%username%": ["*"] },
        "filters": { "allowed_ip": ["10.0.0.0/8"], "start_directory": "/%username%" },
        "filesystem": { "provider": 1, "s3config": { "bucket": "g", "key_prefix": "g/%username%" } },
    }}]});
    let member = json!({ "groups": [{ "name": "g", "type": 1 }], "filters": { "allowed_ip": ["192.0.2.0/24"] } });
    let (user, _) = import(member, group);
    assert_eq!(user.sessions, Some(3));
    assert_eq!(user.networks, ["192.0.2.0/24", "10.0.0.0/8"]);
    assert_eq!(user.start_directory.as_deref(), Some("/a"));
    let expected = [("/", "g/a/", "list"), ("/a", "g/a/a/", "all")];
    assert_eq!(
        mounts(&user),
        expected.map(|(path, prefix, names)| (path, prefix, names.to_owned()))
    );
    let (user, _) = import(json!({ "groups": [{ "name": "g", "type": 1 }] }), json!({}));
    assert!(user.disabled, "its group is missing");
}

#[test]
fn stores_are_shared_and_secrets_are_taken_only_if_they_can_be_read() {
    let s3 = |key: &str, status: &str| {
        json!({ "provider": 1, "s3config": {
            "bucket": "b", "endpoint": "minio:9000", "access_key": key,
            "access_secret": { "status": status, "payload": "hidden" },
        }})
    };
    let folder =
        |path: &str, filesystem: Value| json!({ "virtual_path": path, "filesystem": filesystem });
    let (user, found) = import(
        json!({ "filesystem": s3("A", "Secretbox"), "virtual_folders": [
            folder("/x", s3("A", "Secretbox")), folder("/y", s3("B", "Plain")), { "virtual_path": "/z", "name": "f" },
        ]}),
        json!({ "folders": [{ "name": "f", "filesystem": s3("B", "Plain") }] }),
    );
    assert_eq!(mounts(&user).len(), 4);
    let of = |key: &str| {
        let settings = found
            .server
            .settings
            .iter()
            .filter(|setting| setting.key == key);
        settings
            .map(|setting| (setting.table.as_str(), setting.value.as_str()))
            .collect::<Vec<_>>()
    };
    assert_eq!(of("secret_access_key"), [("stores.sftpgo-2", "\"hidden\"")]);
    let endpoint = "\"https://minio:9000\"";
    assert_eq!(
        of("endpoint"),
        [("stores.sftpgo-1", endpoint), ("stores.sftpgo-2", endpoint)]
    );
    assert_eq!(found.server.lost.len(), 1);
    assert!(!found.server.lost[0].contains("hidden"));
}

#[test]
fn a_prefix_with_braces_is_not_a_template() {
    let filesystem =
        json!({ "provider": 1, "s3config": { "bucket": "b", "key_prefix": "{user}/" } });
    let (user, _) = import(json!({ "filesystem": filesystem }), json!({}));
    assert!(user.disabled && user.mounts.is_empty());
}
