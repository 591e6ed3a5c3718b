//! Users, groups, and what stands in their place in mounts.

use super::*;
use crate::auth::options::{UserLimits, UserOptions};
use crate::tls::options::Protection;

/// A group and two of its users.
const GROUP: &str = r#"
mounts.inbox = { store = "main", bucket = "exchange", prefix = "{customer}/{group}/in" }
mounts.outbox = { store = "main", bucket = "exchange", prefix = "{customer}/out", permissions = ["list", "read"] }
[groups.partner]
mounts = { "/in" = "inbox", "/out" = "outbox" }
attributes = { customer = "unnamed", region = "eu" }
networks = ["203.0.113.0/24", "2001:db8::/32"]
sessions = 4
transfers = 8
upload_rate = "20MiB"
download_rate = 1000000
idle = "10m"
max_file_size = "1GiB"
start_directory = "/in"
lenient_close = true
expires = 2027-06-30
[users.p1]
group = "partner"
password = "HASH"
attributes = { customer = "acme" }
comment = "ACME GmbH, CHG-1234"
[users.p2]
group = "partner"
password = "HASH"
next_password = "HASH"
mounts = { "/out" = { store = "main", bucket = "other", prefix = "{region}-{user}" }, "/more" = "scans" }
networks = ["192.0.2.7"]
sessions = 1
transfers = 2
upload_rate = "1KiB"
idle = 5
start_directory = "/more/deep"
lenient_close = false
disabled = true
expires = "2027-06-30T18:00:00+02:00"
"#;

fn users() -> impl Fn(&str) -> UserOptions {
    let config = with(&GROUP.replace("HASH", HASH)).unwrap();
    move |name| (*config.users[name]).clone()
}

fn prefixes(user: &UserOptions) -> Vec<(String, String)> {
    let mounts = user.mounts.iter();
    mounts
        .map(|(path, mount)| {
            (
                path.to_string(),
                format!("{}/{}", mount.bucket, mount.prefix),
            )
        })
        .collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(one, other): &(&str, &str)| ((*one).to_owned(), (*other).to_owned());
    pairs.iter().map(owned).collect()
}

#[test]
fn a_groups_keys_are_defaults() {
    let user = users()("p1");
    let expected = [
        ("/in", "exchange/acme/partner/in/"),
        ("/out", "exchange/acme/out/"),
    ];
    assert_eq!(prefixes(&user), pairs(&expected));
    assert_eq!(user.group.as_deref(), Some("partner"));
    assert_eq!(user.sessions, Some(4));
    assert_eq!(
        user.limits,
        UserLimits {
            transfers: Some(8),
            upload_rate: Some(20 << 20),
            download_rate: Some(1_000_000),
            idle: Some(Duration::from_secs(600)),
            max_file_size: Some(1 << 30),
        }
    );
    assert_eq!(user.networks.len(), 2);
    assert_eq!(user.start_directory.to_string(), "/in");
    assert!(user.lenient_close && !user.disabled && user.next_password.is_none());
    assert_eq!(user.expires.unwrap().to_string(), "2027-07-01T00:00:00Z");
    assert_eq!(user.comment.as_deref(), Some("ACME GmbH, CHG-1234"));
    assert_eq!(
        user.attributes.into_iter().collect::<Vec<_>>(),
        pairs(&[("customer", "acme"), ("region", "eu")])
    );
}

#[test]
fn a_users_keys_replace_those_of_the_group() {
    let user = users()("p2");
    let expected = [
        ("/in", "exchange/unnamed/partner/in/"),
        ("/more", "scans/p2/"),
        ("/out", "other/eu-p2/"),
    ];
    assert_eq!(prefixes(&user), pairs(&expected));
    assert_eq!(
        user.mounts[&VirtualPath::root().join("out").unwrap()].permissions,
        Permissions::all()
    );
    assert_eq!(user.sessions, Some(1));
    assert_eq!(
        user.limits,
        UserLimits {
            transfers: Some(2),
            upload_rate: Some(1024),
            download_rate: Some(1_000_000),
            idle: Some(Duration::from_secs(5)),
            max_file_size: Some(1 << 30),
        }
    );
    assert_eq!(user.networks.len(), 1);
    assert_eq!(user.start_directory.to_string(), "/more/deep");
    assert!(!user.lenient_close && user.disabled && user.next_password.is_some());
    assert_eq!(user.expires.unwrap().to_string(), "2027-06-30T16:00:00Z");
}

#[test]
fn who_may_log_in_from_where_and_until_when() {
    let users = users();
    let (one, two) = (users("p1"), users("p2"));
    for (address, admitted) in [
        ("203.0.113.255", true),
        ("203.0.114.0", false),
        ("::ffff:203.0.113.1", true),
        ("2001:db8::1", true),
        ("2001:db9::1", false),
        ("192.0.2.7", false),
    ] {
        assert_eq!(one.admits(address.parse().unwrap()), admitted, "{address}");
    }
    assert!(two.admits("192.0.2.7".parse().unwrap()) && !two.admits("192.0.2.8".parse().unwrap()));
    assert!(UserOptions::new("x").admits("192.0.2.8".parse().unwrap()));
    for (time, ended) in [
        ("2027-06-30T23:59:59.999Z", false),
        ("2027-07-01T00:00:00Z", true),
    ] {
        assert_eq!(one.ended(time.parse().unwrap()), ended, "{time}");
    }
    assert!(
        two.ended("2000-01-01T00:00:00Z".parse().unwrap()),
        "disabled"
    );
    assert!(!UserOptions::new("x").ended("9000-01-01T00:00:00Z".parse().unwrap()));
}

#[test]
fn a_group_can_have_rules_for_tls() {
    let text = "[tls]\ncertificate = \"CERT\"\nkey = \"CERT\"\n[groups.g]\ntls = { control = \"required\", data = \"required\" }\n\
                [users.a]\ngroup = \"g\"\npassword = \"HASH\"\nmounts = { \"/\" = \"scans\" }\n\
                [users.b]\ngroup = \"g\"\npassword = \"HASH\"\nmounts = { \"/\" = \"scans\" }\ntls = { data = \"off\" }\n";
    let folder = tempfile::tempdir().unwrap();
    let issued = rcgen::generate_simple_self_signed(["ftp.example.com".to_owned()]).unwrap();
    let file = folder.path().join("both.pem");
    std::fs::write(
        &file,
        format!(
            "{}{}",
            issued.cert.pem(),
            issued.signing_key.serialize_pem()
        ),
    )
    .unwrap();
    let text = text
        .replace("HASH", HASH)
        .replace("CERT", file.to_str().unwrap());
    let config = with(&text).unwrap();
    assert_eq!(config.users["a"].tls.data, Some(Protection::Required));
    let own = config.users["b"].tls;
    assert_eq!(
        (own.control, own.data),
        (None, Some(Protection::Off)),
        "the user's table replaces the group's"
    );
}

#[test]
fn what_is_wrong_with_users_and_groups() {
    check(
        r#"
        users.b = { password = "HASH", group = "g" } => users.b.group | there is no group "g" | of which none is configured
        groups.g = { mount = {} } => groups.g.mount | unknown key, did you mean mounts?
        groups.g = { password = "HASH" } => groups.g.password | unknown key
        groups.g = { mounts = { "/" = "nothing" } } => groups.g.mounts."/" | there is no mount "nothing"
        groups.g = { mounts = { "x" = "scans" } } => groups.g.mounts.x | begins with "/"
        groups.g = { sessions = 0 } => groups.g.sessions | out of range
        groups.g = { networks = ["x"] } => groups.g.networks[0] | is not a network
        groups.g = { networks = [] } => groups.g.networks | is empty
        groups.g = { attributes = { user = "x" } } => groups.g.attributes.user | is not the name of an attribute
        groups.g = { attributes = { peer = "x" } } => groups.g.attributes.peer | is not the name of an attribute
        groups.g = { attributes = { "A B" = "x" } } => groups.g.attributes."A B" | is not the name of an attribute
        groups.g = { attributes = { a = "" } } => groups.g.attributes.a | is not such a text
        groups.g = { expires = "soon" } => groups.g.expires | "soon" is neither | "2027-06-30"
        groups.g = { expires = "2027-02-29" } => groups.g.expires | "2027-02-29" is neither
        groups.g = { expires = "2027-06-30T18:00" } => groups.g.expires | is neither
        groups.g = { start_directory = "in" } => groups.g.start_directory | begins with "/"
        users.b = { password = "HASH", mounts = { "/in" = "scans" }, start_directory = "/out" } => users.b.start_directory | is in no mount of the user
        users.b = { password = "HASH", mounts = { "/" = "scans" }, next_password = "SECRET" } => users.b.next_password
        users.b = { password = "HASH" } => users.b.mounts | is missing
        mounts.m = { store = "main", bucket = "files", prefix = "{customer" } => mounts.m.prefix | a brace
        mounts.m = { store = "main", bucket = "files", prefix = "{peer}/" } => mounts.m.prefix | has {peer}
        mounts.m = { store = "main", bucket = "files", prefix = "{A}/" } => mounts.m.prefix | a placeholder whose name
        mounts.m = { store = "main", bucket = "files", prefix = ".s3ftpd/x" } => mounts.m.prefix | the server's own state
        "#,
    );
}

#[test]
fn what_is_wrong_with_values_of_placeholders() {
    let user = |attributes: &str, prefix: &str| {
        format!(
            "[mounts.m]\nstore = \"main\"\nbucket = \"files\"\nprefix = \"{prefix}\"\n\
             [users.b]\npassword = \"{HASH}\"\nmounts = {{ \"/\" = \"m\" }}\nattributes = {{ {attributes} }}\n"
        )
    };
    for (attributes, prefix, pieces) in [
        (
            "",
            "{customer}",
            "the prefix of this mount has {customer}, and this user has no such value; allowed: a group or an attribute of that name for the user; it has: user",
        ),
        ("a = 'x'", "{group}", "has {group}"),
        ("a = '..'", "{a}", "the attribute a can't be an element"),
        ("a = '.'", "x/{a}/y", "the attribute a can't be an element"),
        ("a = 'x/y'", "{a}", "the attribute a can't be an element"),
        ("a = '/'", "{a}", "the attribute a can't be an element"),
        (
            "a = '.', b = '.'",
            "{a}{b}",
            "the attribute a can't be an element",
        ),
        (
            "a = '.s3ftpd'",
            "{a}",
            "becomes \".s3ftpd/\", which has the server's own state",
        ),
        (
            "a = '.s3', b = 'ftpd'",
            "{a}{b}/x",
            "becomes \".s3ftpd/x/\"",
        ),
        ("a = '.'", "{a}.", "can't be an element"),
        (
            &format!("a = '{}'", "x".repeat(499)),
            "{a}{a}/{a}",
            "more than 1000 bytes",
        ),
    ] {
        let lines = lines(with(&user(attributes, prefix)));
        let [line] = lines.as_slice() else {
            panic!("{attributes} {prefix}: {lines:#?}")
        };
        assert!(
            line.contains("users.b.mounts.\"/\"") && line.contains(pieces),
            "{line}\nlacks {pieces}"
        );
    }
}

#[test]
fn wrong_limits_are_errors_in_groups_too() {
    check(
        "groups.g.transfers = 0 => groups.g.transfers: 0 is out of range
         groups.g.upload_rate = 1023 => groups.g.upload_rate: 1023 is out of range | from 1 KiB to
         groups.g.download_rate = \"20\" => groups.g.download_rate: \"20\" is out of range
         groups.g.download_rate = \"fast\" => groups.g.download_rate: \"fast\" is not a size
         groups.g.max_file_size = 0 => groups.g.max_file_size: 0 is out of range
         groups.g.idle = 0 => groups.g.idle: 0 is out of range",
    );
}

/// The state prefix of the server, and a name that leads out of its directory.
#[test]
fn no_login_name_leads_elsewhere() {
    for name in ["..", ".", "a/b", "../x", ".s3ftpd"] {
        let text = format!(
            "[users.\"{name}\"]\npassword = \"{HASH}\"\nmounts = {{ \"/\" = \"scans\" }}\n"
        );
        let lines = lines(with(&text));
        assert_eq!(lines.len(), 1, "{name}: {lines:?}");
    }
}

mod hostile {
    use proptest::prelude::*;

    use super::*;

    /// Texts that are likely to lead elsewhere.
    fn value() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            ".", "..", "/", "a", "\\", "%2e", "{user}", "{", "}", " ", "\u{2025}", "\u{2215}",
            ".s3ftpd", "\r\n", "ä", "\0",
        ]);
        prop::collection::vec(pieces, 0..4).prop_map(|pieces| pieces.concat())
    }

    /// A TOML string; JSON writes it the same way.
    fn toml(text: &str) -> String {
        serde_json::Value::from(text).to_string()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// Whatever a user, a group and attributes are called: a configuration is refused, or each
        /// prefix is below what its template names.
        #[test]
        fn no_value_leads_out_of_its_directory(user in value(), group in value(), one in value(), two in value()) {
            let text = format!(
                "[mounts.m]\nstore = \"main\"\nbucket = \"files\"\nprefix = \"base/{{user}}/x{{one}}{{two}}/{{group}}-/{{two}}\"\n\
                 [groups.{group}]\nattributes = {{ one = {one}, two = {two} }}\n\
                 [users.{user}]\ngroup = {group}\npassword = \"{HASH}\"\nmounts = {{ \"/\" = \"m\" }}\n",
                group = toml(&group), user = toml(&user), one = toml(&one), two = toml(&two),
            );
            if let Ok(config) = with(&text) {
                let user_options = &config.users[&user];
                let prefix = &user_options.mounts[&VirtualPath::root()].prefix;
                prop_assert_eq!(prefix, &format!("base/{user}/x{one}{two}/{group}-/{two}/"));
                let elements: Vec<&str> = prefix.split('/').collect();
                prop_assert_eq!(elements.len(), 6, "{}", prefix);
                for element in &elements[..5] {
                    prop_assert!(!matches!(*element, "" | "." | ".."), "{}", prefix);
                }
                prop_assert!(!prefix.chars().any(char::is_control), "{}", prefix);
            }
        }
    }
}
