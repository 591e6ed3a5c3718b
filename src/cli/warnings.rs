//! Warnings about settings that are allowed and probably mistakes.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::auth::PasswordHash;
use crate::auth::options::{UserOptions, WeakHashes};
use crate::namespace::options::MountOptions;
use crate::server::options::ServerOptions;
use crate::tls;
use crate::tls::options::Pem;
use crate::units::human_bytes;

/// The most names that a warning lists, and the most letters that it shows of each.
const MOST_NAMES: usize = 10;
const LONGEST_NAME: usize = 40;

/// The warnings for `check` and `serve`. `memory` is the memory available to the process, bytes.
pub(super) fn warnings(config: &ServerOptions, memory: Option<u64>, now: Timestamp) -> Vec<String> {
    let mut warnings = Vec::new();
    let budget = config.memory.budget;
    if let Some(memory) = memory.filter(|memory| budget > *memory) {
        warnings.push(format!(
            "memory.budget = {} is more than the {} that the process may use: it is killed before transfers wait for memory",
            human_bytes(budget),
            human_bytes(memory)
        ));
    }
    warnings.extend(weak_hashes(config));
    warnings.extend(expired(config, now));
    for (name, user) in &config.users {
        warnings.extend(overlaps(config, name, user));
    }
    warnings
}

/// Users whose passwords can be guessed quickly once their hashes are known, in one line.
fn weak_hashes(config: &ServerOptions) -> Option<String> {
    if config.auth.weak_hashes != WeakHashes::Warn {
        return None;
    }
    let weak: Vec<(&str, &str)> = config
        .users
        .iter()
        .filter_map(|(name, user)| {
            let mut hashes = user.password.iter().chain(&user.next_password);
            let weakness = hashes.find_map(|hash| PasswordHash::parse(hash).ok()?.weakness());
            Some((name.as_str(), weakness?))
        })
        .collect();
    let reasons: BTreeSet<&str> = weak.iter().map(|(_, reason)| *reason).collect();
    let reasons = Vec::from_iter(reasons).join(", ");
    let users = match weak.len() {
        0 => return None,
        1 => "1 user has a weak hash of the password".to_owned(),
        count => format!("{count} users have weak hashes of their passwords"),
    };
    let names = listed(weak.iter().map(|(name, _)| *name));
    Some(format!(
        "{users} ({reasons}): {names}. Set new passwords with `s3ftpd hash-password`, or auth.weak_hashes"
    ))
}

/// The first names, and the number of the others.
fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let others = names.len().saturating_sub(MOST_NAMES);
    let shorten = |name: &str| match name.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    };
    let shown: Vec<String> = names.take(MOST_NAMES).map(shorten).collect();
    match others {
        0 => shown.join(", "),
        others => format!("{} and {others} more", shown.join(", ")),
    }
}

/// Certificates that clients refuse today.
fn expired(config: &ServerOptions, now: Timestamp) -> impl Iterator<Item = String> {
    let files = config.tls.iter().flat_map(|tls| &tls.certificates);
    files.filter_map(move |files| {
        let Pem::File(path) = &files.certificate else {
            return None;
        };
        let ends = tls::certificate(files).ok()?.ends;
        let ends = Timestamp::from_second(ends).ok()?;
        (ends <= now).then(|| {
            let path = path.display();
            format!("{path}: the certificate expired at {ends}: clients that verify it end the connection")
        })
    })
}

/// Pairs of a user's mounts that reach the same keys with different permissions.
fn overlaps(config: &ServerOptions, name: &str, user: &UserOptions) -> Vec<String> {
    let endpoint = |mount: &MountOptions| {
        let store = config.stores.get(&mount.store);
        store.and_then(|store| store.endpoint.clone())
    };
    let same_keys = |one: &MountOptions, other: &MountOptions| {
        one.bucket == other.bucket
            && (one.store == other.store || endpoint(one) == endpoint(other))
            && (one.prefix.starts_with(&other.prefix) || other.prefix.starts_with(&one.prefix))
    };
    let mounts: Vec<_> = user.mounts.iter().collect();
    let mut warnings = Vec::new();
    for (index, (path, one)) in mounts.iter().enumerate() {
        for (other_path, other) in &mounts[index + 1..] {
            if same_keys(one, other) && one.permissions != other.permissions {
                let prefix = match one.prefix.len() > other.prefix.len() {
                    true => &one.prefix,
                    false => &other.prefix,
                };
                warnings.push(format!(
                    "users.{name}: {path} and {other_path} reach the same keys, {}/{prefix}, with other permissions: \
                     what one of them forbids the other may allow",
                    one.bucket
                ));
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config;

    const GIB: u64 = 1 << 30;

    /// `more` before the sections, and the mounts of the user `u`.
    fn config(more: &str, mounts: &str) -> ServerOptions {
        let text = format!(
            "{more}\n[stores.main]\nendpoint = \"http://127.0.0.1:1\"\naccess_key_id = \"x\"\nsecret_access_key = \"x\"\n\
             [stores.alias]\nendpoint = \"http://127.0.0.1:1\"\naccess_key_id = \"y\"\nsecret_access_key = \"y\"\n\
             [users.u]\npassword = \"$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\"\nmounts = {{ {mounts} }}\n"
        );
        config::from_str(&text, "test").unwrap()
    }

    const ONE_MOUNT: &str = r#""/" = { store = "main", bucket = "files" }"#;

    #[test]
    fn a_budget_above_the_memory_is_a_warning() {
        let config = config("memory.budget = \"900GiB\"", ONE_MOUNT);
        let found = warnings(&config, Some(24 * GIB), Timestamp::UNIX_EPOCH);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains("900 GiB is more than the 24 GiB"),
            "{found:?}"
        );
        assert_eq!(
            warnings(&config, Some(900 * GIB), Timestamp::UNIX_EPOCH),
            [""; 0]
        );
        assert_eq!(warnings(&config, None, Timestamp::UNIX_EPOCH), [""; 0]);
    }

    #[test]
    fn two_ways_to_the_same_keys_with_other_permissions_are_a_warning() {
        let all = r#"store = "main", bucket = "files""#;
        let alias = r#"store = "alias", bucket = "files""#;
        for (mounts, expected) in [
            (
                format!(
                    r#""/" = {{ {all} }}, "/in" = {{ {all}, prefix = "in", permissions = ["write"] }}"#
                ),
                1,
            ),
            (
                format!(
                    r#""/" = {{ {all} }}, "/in" = {{ {alias}, prefix = "in", permissions = ["write"] }}"#
                ),
                1,
            ),
            (
                format!(r#""/" = {{ {all} }}, "/in" = {{ {all}, prefix = "in" }}"#),
                0,
            ),
            (
                format!(
                    r#""/a" = {{ {all}, prefix = "a" }}, "/b" = {{ {all}, prefix = "ab", permissions = ["read"] }}"#
                ),
                0,
            ),
            (
                format!(
                    r#""/a" = {{ {all} }}, "/b" = {{ store = "main", bucket = "other", permissions = ["read"] }}"#
                ),
                0,
            ),
        ] {
            let config = config("", &mounts);
            let found = overlaps(&config, "u", &config.users["u"]);
            assert_eq!(found.len(), expected, "{mounts}: {found:?}");
        }
    }

    #[test]
    fn weak_hashes_are_one_warning_that_names_their_users() {
        const WEAK: &str = "$1$abcd1234$rHRYPu3ZwPZEmH9jHfHS/0";
        let user = |name: &str, hash: &str| {
            format!("\n[users.{name}]\npassword = '{hash}'\nmounts = {{ {ONE_MOUNT} }}")
        };
        let found = |more: &str| weak_hashes(&config(more, ONE_MOUNT));
        assert_eq!(found(""), None);
        let one = found(&user("anna", WEAK)).unwrap();
        assert!(
            one.starts_with("1 user has a weak hash of the password ($1$): anna. "),
            "{one}"
        );
        let two = user("anna", WEAK) + &user("bert", "{SHA}+pvrmeQCmtWmYVOZ57uuITVghrM=");
        let named = found(&two).unwrap();
        assert!(named.contains("($1$, {SHA}): anna, bert. "), "{named}");
        assert_eq!(found(&format!("auth.weak_hashes = 'allow'{two}")), None);

        let many: String = (0..300)
            .map(|number| user(&format!("{}{number}", "x".repeat(200)), WEAK))
            .collect();
        let line = found(&many).unwrap();
        assert!(
            line.starts_with("300 users") && line.contains(" and 290 more"),
            "{line}"
        );
        assert!(line.len() < 800 && !line.contains('\n'), "{line}");
    }

    #[test]
    fn an_expired_certificate_is_a_warning() {
        let directory = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["ftp.example.com".to_owned()]).unwrap();
        let (certificate, key) = (
            directory.path().join("c.pem"),
            directory.path().join("k.pem"),
        );
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let tls = format!(
            "[tls]\ncertificate = {certificate:?}\nkey = {key:?}\ncontrol = \"optional\"\ndata = \"optional\""
        );
        let config = config(&tls, ONE_MOUNT);
        assert_eq!(expired(&config, Timestamp::UNIX_EPOCH).count(), 0);
        // The certificates of rcgen end in the year 4096.
        let late: Timestamp = "5000-01-01T00:00:00Z".parse().unwrap();
        let found: Vec<_> = expired(&config, late).collect();
        assert!(
            found.len() == 1 && found[0].contains("c.pem: the certificate expired at 4096"),
            "{found:?}"
        );
    }
}
