#![allow(clippy::unwrap_used)]

use super::*;

const HASH: &str = "$2b$04$8E5uUbvMVWGOxsRQoN5kY.AQRfEN2hyYQXvS/0kR3TFVnPGOYsrq6";

fn import(configuration: &str) -> Found {
    let file = |name: &str, text: &str| SourceFile {
        name: name.to_owned(),
        bytes: text.as_bytes().to_vec(),
    };
    let users = format!("a:{HASH}:1:1::/srv/a:/bin/false\nb:{HASH}:2:1::/srv/b:/bin/false\n");
    let files = vec![
        file("proftpd.conf", configuration),
        file("users", &users),
        file("groups", "staff:x:9:a\nothers:x:8:b,a\nall:x:1:\n"),
    ];
    read(files).unwrap_or_default()
}

#[test]
fn limits_of_logins() {
    for (limits, disabled, lost) in [
        ("", [false, false], 0),
        ("DenyUser a", [true, false], 0),
        ("DenyGroup staff", [true, false], 0),
        // Both have its number.
        ("DenyGroup all", [true, true], 0),
        ("DenyGroup missing", [true, true], 1),
        ("AllowUser a\nDenyAll", [false, true], 0),
        ("AllowGroup staff\nDenyAll", [false, true], 0),
        ("Order deny,allow\nAllowAll", [true, true], 1),
        ("DenyGroup staff,others", [true, true], 1),
        ("AllowUser regex ^x\nDenyAll", [true, true], 1),
        ("Deny from 10.0.0.0/8", [true, true], 1),
    ] {
        let found = import(&format!(
            "<Global>\n<Limit LOGIN>\n{limits}\n</Limit>\n</Global>\n"
        ));
        let users: Vec<_> = found.users.iter().collect();
        assert_eq!([users[0].disabled, users[1].disabled], disabled, "{limits}");
        assert_eq!(users[0].lost.len(), lost, "{limits}");
    }
}

#[test]
fn directives_become_keys_and_sections_are_lost() {
    let found = import(
        "Port 2100\nServerIdent on \"Hello there\"\nPassivePorts 4000 4010\nMaxClients 20 \"full\"\n\
         TimeoutIdle 600\nAllowOverwrite on\nUmask 022\nRootLogin off\n<IfModule mod_tls.c>\n\
         TLSEngine on\n</IfModule>\n<Directory /srv/*>\n<Limit WRITE>\nDenyAll\n</Limit>\n</Directory>\n\
         <Anonymous ~ftp>\nPort 21\n</Anonymous>\nNewDirective 1\n",
    );
    let value = |key: &str| {
        let setting = found
            .server
            .settings
            .iter()
            .find(|setting| setting.key == key);
        setting.map(|setting| setting.value.as_str())
    };
    assert_eq!(value("listen"), Some("[\"0.0.0.0:2100\"]"));
    assert_eq!(value("greeting"), Some("\"Hello there\""));
    assert_eq!(value("ports"), Some("\"4000-4010\""));
    assert_eq!(value("sessions"), Some("20"));
    assert_eq!(value("idle"), Some("600"));
    let lost = &found.server.lost;
    assert_eq!(lost.len(), 4, "{lost:?}");
    for (line, what) in lost
        .iter()
        .zip(["<Directory", "<Anonymous", "TLSEngine", "NewDirective"])
    {
        assert!(line.starts_with(what), "{line}");
    }
}
