//! The parameter of HOST (RFC 7151, 3.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The server that a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostName {
    /// A domain name, as the client wrote it.
    Name(String),
    /// An address: `192.0.2.1`, `[2001:db8::1]`.
    Address(IpAddr),
}

impl HostName {
    /// Letters, digits and hyphens between dots, or an address, without a port; `None` for anything
    /// else. Clients send names beyond ASCII as A-labels (`xn--…`).
    pub(super) fn parse(text: &str) -> Option<HostName> {
        if let Some(inner) = text.strip_prefix('[') {
            let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
            return Some(HostName::Address(IpAddr::V6(address).to_canonical()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(HostName::Address(address.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        (name.len() <= 253 && name.split('.').all(label)).then(|| HostName::Name(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_and_addresses() {
        for name in [
            "ftp.example.com",
            "FTP.Example.COM.",
            "localhost",
            "xn--bcher-kva.example",
            "1a.2b",
        ] {
            assert_eq!(HostName::parse(name), Some(HostName::Name(name.to_owned())));
        }
        for (text, address) in [
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[::ffff:192.0.2.1]", "192.0.2.1"),
        ] {
            let address = HostName::Address(address.parse().unwrap());
            assert_eq!(HostName::parse(text), Some(address));
        }
        let long = ["a23456789"; 26].join(".");
        for wrong in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "a_b",
            "a b",
            "ftp.example.com:21",
            "2001:db8::1",
            "[192.0.2.1]",
            "[::1",
            "[]",
            "bücher.example",
            "a\u{1}",
            "*.example.com",
            "a/b",
            &long,
        ] {
            assert_eq!(HostName::parse(wrong), None, "{wrong:?}");
        }
    }
}
