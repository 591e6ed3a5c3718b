//! Parsers of single values: each returns what was meant, or reports what is wrong and what is
//! allowed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use crate::config::schema::Kind;
use crate::config::section::Field;
use crate::config::tree::Value;
use crate::data::options::PassivePorts;
use crate::namespace::{NamePattern, NamePatterns};
use crate::units::{human_bytes, parse_size, seconds};
use ipnet::IpNet;

/// No deadline is longer.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// A whole number between the schema's bounds, both included.
pub(super) fn integer(field: &Field<'_>) -> Option<u64> {
    let (least, most) = match field.kind() {
        Kind::Number(least, most) => (*least, *most),
        _ => (0, u64::MAX),
    };
    let allowed = format!("a whole number from {least} to {most}");
    let number = match field.value() {
        Value::Integer(number) => i128::from(*number),
        Value::Variable { text, .. } => match text.trim().parse::<i128>() {
            Ok(number) => number,
            Err(_) => return field.wrong(format!("{text:?} is not a whole number"), allowed),
        },
        _ => return field.wrong_type(&allowed),
    };
    match u64::try_from(number) {
        Ok(number) if (least..=most).contains(&number) => Some(number),
        _ => field.wrong(format!("{number} is out of range"), allowed),
    }
}

/// `true` or `false`.
pub(super) fn boolean(field: &Field<'_>) -> Option<bool> {
    match field.value() {
        Value::Bool(value) => Some(*value),
        Value::Variable { text, .. } => match text.trim().to_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => field.wrong(format!("{text:?} is neither"), "true, false"),
        },
        _ => field.wrong_type("true, false"),
    }
}

/// One of the schema's words, as the value of its place in their list.
pub(super) fn word<T: Copy>(field: &Field<'_>, values: &[T]) -> Option<T> {
    let words = match field.kind() {
        Kind::Word(words) => *words,
        _ => &[],
    };
    debug_assert_eq!(words.len(), values.len(), "a value for each word");
    let names: Vec<String> = words.iter().map(|name| format!("{name:?}")).collect();
    let allowed = names.join(", ");
    let text = field.text(&allowed)?;
    let place = words.iter().position(|name| *name == text);
    match place.and_then(|place| values.get(place)) {
        Some(value) => Some(*value),
        None => field.wrong(format!("{text:?} is unknown"), allowed),
    }
}

/// A number of seconds, or a text such as `30s`, `5m`, `500ms`; zero only if the schema says so.
pub(super) fn duration(field: &Field<'_>) -> Option<Duration> {
    let zero = matches!(field.kind(), Kind::TimeOrZero);
    let least = if zero { "0" } else { "more than 0" };
    let longest = match field.kind() {
        Kind::Days(days) => Duration::from_secs(u64::from(*days) * 24 * 3600),
        _ => LONGEST,
    };
    let days = longest.as_secs() / (24 * 3600);
    let allowed = format!(
        "a number of seconds, or a text such as \"30s\", \"5m\", \"500ms\"; {least}, at most {days} days"
    );
    let (shown, seconds) = match field.value() {
        // A number so large that this loses precision is out of range anyway.
        Value::Integer(number) => (number.to_string(), Some(*number as f64)),
        Value::Float(number) => (number.to_string(), Some(*number)),
        Value::Text(text) | Value::Variable { text, .. } => (format!("{text:?}"), seconds(text)),
        _ => return field.wrong_type(&allowed),
    };
    let Some(seconds) = seconds else {
        return field.wrong(format!("{shown} is not a length of time"), allowed);
    };
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if duration <= longest && (zero || !duration.is_zero()) => Some(duration),
        _ => field.wrong(format!("{shown} is out of range"), allowed),
    }
}

/// A list of patterns of names.
pub(super) fn name_patterns(field: &Field<'_>) -> Option<NamePatterns> {
    let allowed =
        "a list of names and globs, such as [\"*.tmp\", \".in.*\"], without \"/\"; not \"*\"";
    let items = field.items(allowed)?;
    // Each wrong one is reported.
    let patterns: Vec<Option<NamePattern>> = items
        .iter()
        .map(|item| {
            let text = item.text(allowed)?;
            NamePattern::parse(text)
                .map_err(|error| item.wrong::<()>(format!("{text:?} {error}"), allowed))
                .ok()
        })
        .collect();
    if patterns.is_empty() {
        return field.wrong("is empty", allowed);
    }
    patterns.into_iter().collect()
}

/// A number of bytes, or a text such as `512MiB`.
pub(super) fn size(field: &Field<'_>) -> Option<u64> {
    let (least, most) = match field.kind() {
        Kind::Size(least, most) => (*least, *most),
        _ => (0, u64::MAX),
    };
    let allowed = format!(
        "a number of bytes, or a text such as \"512MiB\" (B, KiB, MiB, GiB, TiB, kB, MB, GB, TB); from {} to {}",
        human_bytes(least),
        human_bytes(most)
    );
    let (shown, size) = match field.value() {
        Value::Integer(number) => (number.to_string(), u64::try_from(*number).ok()),
        Value::Text(text) | Value::Variable { text, .. } => match parse_size(text) {
            Some(size) => (format!("{text:?}"), size),
            None => return field.wrong(format!("{text:?} is not a size"), allowed),
        },
        _ => return field.wrong_type(&allowed),
    };
    match size {
        Some(size) if (least..=most).contains(&size) => Some(size),
        _ => field.wrong(format!("{shown} is out of range"), allowed),
    }
}

/// A text of one line that shows: no control character, not empty.
pub(super) fn line(field: &Field<'_>) -> Option<String> {
    let longest = match field.kind() {
        Kind::Line(longest) => *longest,
        _ => usize::MAX,
    };
    let allowed = format!("one line of 1 to {longest} bytes, without control characters");
    let text = field.text(&allowed)?;
    if text.is_empty() || text.len() > longest || text.chars().any(char::is_control) {
        return field.wrong("is not such a text", allowed);
    }
    Some(text.to_owned())
}

/// Whether they can't be listened on at once: the same port of one address, or of one and of all
/// addresses of a family. Port 0 is another port each time.
pub(super) fn collide(one: SocketAddr, other: SocketAddr) -> bool {
    let all = one.ip().is_unspecified() || other.ip().is_unspecified();
    let same = one.ip() == other.ip() || (all && one.is_ipv4() == other.is_ipv4());
    same && one.port() == other.port() && one.port() != 0
}

/// An address with its port.
pub(super) fn socket_address(field: &Field<'_>) -> Option<SocketAddr> {
    let allowed = "an IP address and a port: \"0.0.0.0:2121\", \"[::]:2121\"";
    let text = field.text(allowed)?;
    match text.parse() {
        Ok(address) => Some(address),
        Err(_) => field.wrong(format!("{text:?} is not such an address"), allowed),
    }
}

/// `"30000-30099"`, `"40000"`, `"auto"`, `"auto:16"`.
pub(super) fn passive_ports(field: &Field<'_>) -> Option<PassivePorts> {
    let allowed = "\"FIRST-LAST\" with ports from 1 to 65535, one port, \"auto\" or \"auto:N\" with N from 1 to 1024";
    let number;
    let text = match field.value() {
        Value::Integer(port) => {
            number = port.to_string();
            number.as_str()
        }
        _ => field.text(allowed)?,
    };
    let backwards = text.split_once('-').is_some_and(|(first, last)| {
        let port = |text: &str| text.trim().parse::<u16>().ok();
        matches!((port(first), port(last)), (Some(first), Some(last)) if first > last)
    });
    if backwards {
        return field.wrong(format!("{text:?} ends before it begins"), allowed);
    }
    ports_in(text).or_else(|| field.wrong(format!("{text:?} is not a range of ports"), allowed))
}

/// The ports that a text stands for.
pub(super) fn ports_in(text: &str) -> Option<PassivePorts> {
    match text.strip_prefix("auto") {
        Some("") => Some(PassivePorts::Ephemeral(16)),
        Some(count) => count
            .strip_prefix(':')
            .and_then(|count| count.trim().parse().ok())
            .filter(|count| (1..=1024).contains(count))
            .map(PassivePorts::Ephemeral),
        None => {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
                (Ok(first), Ok(last)) if first > 0 && first <= last => {
                    Some(PassivePorts::Range(first, last))
                }
                _ => None,
            }
        }
    }
}

/// An IP address or a host name.
pub(super) fn host(field: &Field<'_>) -> Option<String> {
    let allowed = "an IPv4 or IPv6 address without a port, or a host name";
    let text = field.text(allowed)?;
    if text.parse::<IpAddr>().is_ok() || is_host_name(text) {
        Some(text.to_owned())
    } else {
        field.wrong(format!("{text:?} is neither"), allowed)
    }
}

/// RFC 1123 section 2.1: letters, digits and hyphens; the last label is no number, else it is a
/// mistyped IPv4 address.
pub(super) fn is_host_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last_is_number = name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= 253 && name.split('.').all(label) && !last_is_number
}

/// `10.0.0.0/8`, or one address.
pub(super) fn network(field: &Field<'_>) -> Option<IpNet> {
    let allowed = "a network such as \"10.0.0.0/8\" or \"fd00::/8\", or one address";
    let text = field.text(allowed)?;
    let network = IpNet::from_str(text)
        .ok()
        .or_else(|| IpAddr::from_str(text).ok().map(IpNet::from));
    network.or_else(|| field.wrong(format!("{text:?} is not a network"), allowed))
}

/// A store's endpoint. Never quoted: it may hold a password (which is refused).
pub(super) fn endpoint(field: &Field<'_>) -> Option<String> {
    let allowed = "an http or https URL such as \"https://s3.example.com\", without a user, a query or a fragment";
    let text = field.text(allowed)?;
    let right = text.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri
                .authority()
                .is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
            && !text.contains('#')
    });
    if right {
        Some(text.to_owned())
    } else {
        field.wrong("is not such a URL", allowed)
    }
}

/// The URL of a hook. Never quoted: its query may be a secret.
pub(super) fn hook_url(field: &Field<'_>) -> Option<String> {
    let allowed = "an http or https URL such as \"https://scan.example.com/check\", without a user or a fragment";
    let text = field.text(allowed)?;
    let right = text.parse::<http::Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri
                .authority()
                .is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.host().is_some_and(|host| !host.is_empty())
            && !text.contains('#')
    });
    match right {
        true => Some(text.to_owned()),
        false => field.wrong("is not such a URL", allowed),
    }
}

/// A bucket's name, by the rules of S3 for general purpose buckets.
pub(super) fn bucket(field: &Field<'_>) -> Option<String> {
    let allowed = "3 to 63 lower-case letters, digits, dots and hyphens; begins and ends with a letter or digit, no two dots in a row, no IP address";
    let text = field.text(allowed)?;
    let outer =
        |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let right = (3..=63).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-')
        && outer(text.as_bytes().first())
        && outer(text.as_bytes().last())
        && !text.contains("..")
        && text.parse::<Ipv4Addr>().is_err();
    if right {
        Some(text.to_owned())
    } else {
        field.wrong(format!("{text:?} is not the name of a bucket"), allowed)
    }
}
