//! No input stops an import, and what is written loads.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::config;

/// A configuration around what was imported.
const AROUND: &str = "[stores.main]\n[mounts.home]\nstore = \"main\"\nbucket = \"files\"\nprefix = \"{user}/\"\n\
                      [groups.all]\nmounts = { \"/\" = \"home\" }\n\
                      [users.\"\u{1f512}\"]\npassword = '$2b$04$8E5uUbvMVWGOxsRQoN5kY.AQRfEN2hyYQXvS/0kR3TFVnPGOYsrq6'\nmounts = { \"/\" = \"home\" }\n";

const SERVERS: [ImportedServer; 6] = [
    ImportedServer::Passwd,
    ImportedServer::Vsftpd,
    ImportedServer::Proftpd,
    ImportedServer::PureFtpd,
    ImportedServer::Sftpgo,
    ImportedServer::Htpasswd,
];

fn read(server: ImportedServer, file: SourceFile) -> Result<Found, Vec<String>> {
    match server {
        ImportedServer::Passwd => passwd::read(&[file]),
        ImportedServer::Vsftpd => vsftpd::read(vec![file], &[], &[]),
        ImportedServer::Proftpd => proftpd::read(vec![file]),
        ImportedServer::PureFtpd => pure_ftpd::read(&[file]),
        ImportedServer::Sftpgo => sftpgo::read(&[file]),
        ImportedServer::Htpasswd => htpasswd::read(&[file]),
    }
}

/// Imports the bytes, and checks that each piece loads. Returns the number of users.
fn import_and_load(server: ImportedServer, name: &str, bytes: &[u8], place: &UserHome) -> usize {
    let file = SourceFile {
        name: name.to_owned(),
        bytes: bytes.to_vec(),
    };
    let Ok(found) = read(server, file) else {
        return 0;
    };
    if check(&found.users).is_err() {
        return 0;
    }
    let Ok(pieces) = toml::pieces(found, place) else {
        return 0;
    };
    let names = output::file_names(&pieces);
    let mut all = AROUND.to_owned();
    let mut users = 0;
    // The server's piece begins with keys of the top level.
    for (piece, name) in pieces.iter().zip(&names) {
        assert!(name.len() <= 255 && !name.contains(['/', '\0']) && !name.starts_with('.'));
        match piece.user {
            None => all = format!("{}\n{all}", piece.text),
            Some(_) => all = format!("{all}\n{}", piece.text),
        }
        users += usize::from(piece.user.is_some());
    }
    if let Err(errors) = config::from_str(&all, "all") {
        panic!("{errors}\n{all}");
    }
    users
}

#[test]
fn names_of_any_kind() {
    let hash = "$2b$04$8E5uUbvMVWGOxsRQoN5kY.AQRfEN2hyYQXvS/0kR3TFVnPGOYsrq6";
    let names = [
        "a b",
        "\"",
        "'",
        "\\",
        "a.b",
        "\u{1f600}",
        "..",
        "a/b",
        "{user}",
        "]",
        "=",
        "\u{85}",
        "A",
        "{",
    ];
    let text: String = names
        .iter()
        .map(|name| format!("{name}:{hash}\n"))
        .collect();
    let place = UserHome::Mount("home".to_owned());
    let users = import_and_load(ImportedServer::Htpasswd, "h", text.as_bytes(), &place);
    assert_eq!(users, names.len());
}

/// Bytes that parsers stumble over, between others.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        5 => proptest::collection::vec(any::<u8>(), 0..12),
        3 => "[ -~]{0,12}".prop_map(String::into_bytes),
        2 => "\\PC{0,6}".prop_map(String::into_bytes),
        6 => proptest::sample::select(vec![
            ":", "\n", "\r\n", "\"", "\\", "'''", "\"\"\"", "..", "/", "%", "#", "[users.x]", "]", "=", "\0",
            "\u{feff}", "\u{2028}", "!", "*", "$6$", "$2b$04$8E5uUbvMVWGOxsRQoN5kY.AQRfEN2hyYQXvS/0kR3TFVnPGOYsrq6",
            "0", "-1", "99999999999999999999", "10.0.0.0/8", "::1", "<Limit LOGIN>", "</Limit>", "{user}", "{",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

/// A line with this number of fields.
fn line(fields: usize) -> impl Strategy<Value = Vec<u8>> {
    let field = hostile().prop_map(|bytes| {
        let of_field = |byte: &u8| !matches!(byte, b':' | b'\n');
        bytes.into_iter().filter(of_field).collect::<Vec<u8>>()
    });
    proptest::collection::vec(field, fields).prop_map(|fields| fields.join(&b':'))
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let keys = vec![
        "users",
        "username",
        "password",
        "permissions",
        "filters",
        "allowed_ip",
        "filesystem",
        "provider",
        "s3config",
        "bucket",
        "key_prefix",
        "endpoint",
        "virtual_folders",
        "virtual_path",
        "groups",
        "name",
        "type",
        "user_settings",
        "folders",
        "expiration_date",
        "status",
        "max_sessions",
        "start_directory",
        "/",
        "/a",
    ];
    let texts = proptest::sample::select(vec![
        "*",
        "list",
        "upload",
        "",
        "a",
        "../b",
        "{user}",
        "files",
        "bucket",
        "/in",
        "/in/",
        "10.0.0.0/8",
        "https://x",
    ]);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        (-2i64..3).prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        texts.prop_map(Into::into),
        "\\PC{0,5}".prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        let key = proptest::sample::select(keys.clone()).prop_map(str::to_owned);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::vec((key, inner), 0..6)
                .prop_map(|entries| serde_json::Value::Object(entries.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_bytes_stop_an_import(bytes in hostile()) {
        let place = UserHome::Mount("home".to_owned());
        for server in SERVERS {
            for name in ["x.conf", "x"] {
                import_and_load(server, name, &bytes, &place);
            }
        }
    }

    #[test]
    fn whatever_the_fields_are_the_files_load(
        lines in (proptest::collection::vec(line(2), 0..4), proptest::collection::vec(line(7), 0..4),
                  proptest::collection::vec(line(9), 0..3), proptest::collection::vec(line(18), 0..4)),
    ) {
        let (pairs, passwd, mut shadow, pure) = lines;
        let place = UserHome::Group("all".to_owned());
        import_and_load(ImportedServer::Htpasswd, "x", &pairs.join(&b'\n'), &place);
        import_and_load(ImportedServer::Vsftpd, "x", &pairs.join(&b'\n'), &place);
        import_and_load(ImportedServer::Proftpd, "x", &passwd.join(&b'\n'), &place);
        import_and_load(ImportedServer::PureFtpd, "x", &pure.join(&b'\n'), &place);
        shadow.extend(passwd);
        import_and_load(ImportedServer::Passwd, "x", &shadow.join(&b'\n'), &place);
    }

    #[test]
    fn whatever_a_dump_says_the_files_load(
        users in proptest::collection::vec((json(), json(), json(), json()), 0..4), groups in json(),
    ) {
        let user = |(index, (permissions, filters, filesystem, folders)): (usize, _)| serde_json::json!({
            "username": format!("u{index}"), "permissions": permissions, "filters": filters,
            "filesystem": filesystem, "virtual_folders": folders, "groups": [{ "name": "g", "type": 1 }],
        });
        let users: Vec<_> = users.into_iter().enumerate().map(user).collect();
        let count = users.len();
        let dump = serde_json::json!({ "users": users, "groups": [{ "name": "g", "user_settings": groups }] });
        let place = UserHome::Mount("home".to_owned());
        let imported = import_and_load(ImportedServer::Sftpgo, "x", dump.to_string().as_bytes(), &place);
        prop_assert_eq!(imported, count);
    }
}
