//! The table of keys as the tables of docs/reference/configuration.md.

use crate::config::schema::keys::ROOT;
use crate::config::schema::{Fallback, Kind, TableSchema};
use crate::units::human_bytes;

/// The table of a page's section, without its heading; `path` as in `limits`, `stores.NAME`,
/// `users.NAME.tls`. The keys that are tables with sections of their own are left out.
pub(in crate::config) fn table(path: &str) -> Option<String> {
    let mut keys: &TableSchema = &ROOT;
    for name in path
        .split('.')
        .filter(|name| !name.is_empty() && *name != "NAME")
    {
        keys = keys.key(name)?.kind.table()?;
    }
    let mut lines = vec![
        "| key | default | allowed | what |".to_owned(),
        "| --- | --- | --- | --- |".to_owned(),
    ];
    for key in keys.keys {
        let is_section = path.is_empty() && matches!(key.kind, Kind::Table(_) | Kind::Named(_));
        if !is_section {
            let default = match key.fallback {
                Fallback::Required => "required".to_owned(),
                Fallback::Value(value) => format!("`{value}`"),
                Fallback::Text(text) => text.to_owned(),
            };
            let allowed = allowed(&key.kind);
            lines.push(format!(
                "| `{}` | {default} | {allowed} | {} |",
                key.name, key.about
            ));
        }
    }
    Some(lines.join("\n"))
}

fn allowed(of: &Kind) -> String {
    match of {
        Kind::Flag => "`true`, `false`".to_owned(),
        Kind::Number(least, most) => format!("{least} to {most}"),
        Kind::Size(least, most) => {
            format!("size, {} to {}", human_bytes(*least), human_bytes(*most))
        }
        Kind::Time => "time".to_owned(),
        Kind::Days(days) => format!("time, at most {days} days"),
        Kind::NamePattern => "names and globs without `/`".to_owned(),
        Kind::TimeOrZero => "time, may be 0".to_owned(),
        Kind::Line(longest) => format!("one line, at most {longest} bytes"),
        Kind::Word(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
            words.join(", ")
        }
        Kind::Capability => "`\"auto\"`, `true`, `false`".to_owned(),
        Kind::Ports => "`\"FIRST-LAST\"`, one port, `\"auto\"` (16 free ports chosen by the system), `\"auto:N\"` (N from 1 to 1024)".to_owned(),
        Kind::Host => "an IP address or a host name".to_owned(),
        Kind::Address => "an IP address with a port".to_owned(),
        Kind::Network => "a network or an address".to_owned(),
        Kind::Url => "http or https URL without user, query or fragment".to_owned(),
        Kind::HookUrl => "http or https URL without user or fragment".to_owned(),
        Kind::Bucket => "3 to 63 lower-case letters, digits, dots, hyphens".to_owned(),
        Kind::Prefix => "path without empty elements, `.` or `..`".to_owned(),
        Kind::File => "path".to_owned(),
        Kind::Secret => "secret".to_owned(),
        Kind::Name => "name".to_owned(),
        Kind::List(item, _) => format!("list of: {}", allowed(item)),
        Kind::Table(keys) | Kind::Named(keys) => {
            let names: Vec<String> = keys.names().map(|name| format!("`{name}`")).collect();
            format!("table with {}", names.join(", "))
        }
        Kind::Path => "an absolute path in the user's tree".to_owned(),
        Kind::Map(value) => format!("table of names: {}", allowed(value)),
        Kind::Date => "a day (the last one, in UTC) such as `\"2027-06-30\"`, or a time such as `\"2027-06-30T18:00:00Z\"`".to_owned(),
        Kind::Paths(value) => format!("table of paths: {}", allowed(value)),
        Kind::Either(one, other) => format!("{}, or {}", allowed(one), allowed(other)),
    }
}
