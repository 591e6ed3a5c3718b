#![allow(clippy::unwrap_used)]

use super::*;

const HASH: &str = "$2b$04$8E5uUbvMVWGOxsRQoN5kY.AQRfEN2hyYQXvS/0kR3TFVnPGOYsrq6";

fn file(name: &str, text: &str) -> SourceFile {
    SourceFile {
        name: name.to_owned(),
        bytes: text.as_bytes().to_vec(),
    }
}

fn user<'f>(found: &'f Found, name: &str) -> &'f ImportedUser {
    found.users.iter().find(|user| user.name == name).unwrap()
}

#[test]
fn lists_admit_or_refuse_users() {
    let hashes = format!("a:{HASH}\nb:{HASH}\n");
    for (options, list, disabled) in [
        ("", "a\n", [false, false]),
        ("userlist_enable=YES\n", "a\r\n", [true, false]),
        (
            "userlist_enable=YES\nuserlist_deny=NO\n",
            "a\n",
            [false, true],
        ),
        (
            "userlist_enable=YES\nuserlist_file=/etc/allowed\nuserlist_deny=NO\n",
            "a\n",
            [true, true],
        ),
    ] {
        let files = vec![
            file("user_list", list),
            file("vsftpd.conf", options),
            file("pwd", &hashes),
        ];
        let found = read(files, &[], &[]);
        let Ok(found) = found else {
            // The list has another name than the one in the configuration.
            assert_eq!(disabled, [true, true], "{options}");
            continue;
        };
        let seen = ["a", "b"].map(|name| user(&found, name).disabled);
        assert_eq!(seen, disabled, "{options}");
    }
    let files = vec![
        file("vsftpd.conf", "userlist_enable=YES"),
        file("pwd", &hashes),
    ];
    let found = read(files, &[], &[]).unwrap_or_default();
    assert!(user(&found, "a").disabled, "the list is missing");
    let files = vec![file("ftpusers", "b\n"), file("pwd", &hashes)];
    let found = read(files, &[], &[]).unwrap_or_default();
    assert!(user(&found, "b").disabled && !user(&found, "a").disabled);
}

#[test]
fn options_become_keys() {
    let options = "listen=YES\nlisten_port=2100\npasv_min_port=4000\npasv_max_port=4010\nmax_per_ip=5\n\
                   ftpd_banner=Welcome\nwrite_enable=YES\nanonymous_enable=NO\nlocal_max_rate=1000\n\
                   local_root=/srv/$USER\nuser_sub_token=$USER\nidle_session_timeout=600\n";
    let own = file("conf.d/a", "write_enable=NO\nlocal_max_rate=500\n");
    let files = vec![
        file("vsftpd.conf", options),
        file("pwd", &format!("a:{HASH}\nb:{HASH}\n")),
    ];
    let found = read(files, &[own], &[]).unwrap_or_default();
    let value = |key: &str| {
        let setting = found
            .server
            .settings
            .iter()
            .find(|setting| setting.key == key);
        setting.map(|setting| setting.value.as_str())
    };
    assert_eq!(value("listen"), Some("[\"0.0.0.0:2100\"]"));
    assert_eq!(value("ports"), Some("\"4000-4010\""));
    assert_eq!(value("sessions_per_address"), Some("5"));
    assert_eq!(value("greeting"), Some("\"Welcome\""));
    assert_eq!(value("idle"), Some("600"));
    assert!(found.server.lost.is_empty(), "{:?}", found.server.lost);
    let (a, b) = (user(&found, "a"), user(&found, "b"));
    assert!(a.disabled && !b.disabled, "a may not write");
    assert_eq!((a.upload_rate, b.upload_rate), (Some(500), Some(1000)));
    assert!(b.notes.concat().contains("/srv/b "), "{:?}", b.notes);
}

#[test]
fn what_has_no_counterpart_is_lost() {
    let options = "ssl_enable=YES\nrsa_cert_file=/etc/x.pem\ndeny_file={*.exe}\nnew_option=7\n";
    let files = vec![
        file("vsftpd.conf", options),
        file("pwd", &format!("a:{HASH}")),
    ];
    let found = read(files, &[], &[]).unwrap_or_default();
    let lost = found.server.lost.join("\n");
    for option in [
        "ssl_enable",
        "rsa_cert_file",
        "deny_file",
        "new_option",
        "anonymous_enable",
        "write_enable",
    ] {
        assert!(lost.contains(option), "{option} in {lost}");
    }
}

#[test]
fn virtual_users_are_read_only_if_the_file_is_given_as_such() {
    let list = || file("logins.txt", "a\nsecret1\nb\nsecret2\n\n");
    assert!(read(vec![list()], &[], &[]).is_err());
    let found = read(Vec::new(), &[], &[list()]).unwrap_or_default();
    assert_eq!(found.users.len(), 2);
    assert!(found.users.iter().all(|user| user.password.is_some()));
    assert!(read(Vec::new(), &[], &[file("odd", "a\nb\nc\n")]).is_err());
}
