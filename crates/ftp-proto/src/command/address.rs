//! The address of an active data connection: the parameters of PORT (RFC 959, 4.1.2) and EPRT
//! (RFC 2428, 2).
//!
//! This module checks only the form, and that the port is not 0. The session decides whether the
//! server connects there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Why a parameter is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressError {
    /// It is malformed.
    Syntax,
    /// EPRT's protocol is neither 1 nor 2.
    Protocol,
}

/// `h1,h2,h3,h4,p1,p2`: six decimal numbers from 0 to 255.
pub(super) fn port(text: &str) -> Option<SocketAddr> {
    let numbers: Vec<u8> = text.split(',').map(number).collect::<Option<_>>()?;
    let [a, b, c, d, high, low] = numbers[..] else {
        return None;
    };
    let port = u16::from_be_bytes([high, low]);
    (port != 0).then(|| SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), port))
}

/// `|protocol|address|port|`; any character from 33 to 126 can replace the bar.
pub(super) fn eprt(text: &str) -> Result<SocketAddr, AddressError> {
    let syntax = AddressError::Syntax;
    let delimiter = text
        .chars()
        .next()
        .filter(char::is_ascii_graphic)
        .ok_or(syntax)?;
    let fields: Vec<&str> = text.split(delimiter).collect();
    let ["", protocol, address, port, ""] = fields[..] else {
        return Err(syntax);
    };
    let address: IpAddr = match number::<u32>(protocol).ok_or(syntax)? {
        1 => address.parse::<Ipv4Addr>().map_err(|_| syntax)?.into(),
        2 => address.parse::<Ipv6Addr>().map_err(|_| syntax)?.into(),
        _ => return Err(AddressError::Protocol),
    };
    let port = number(port).filter(|port| *port != 0).ok_or(syntax)?;
    Ok(SocketAddr::new(address, port))
}

/// A decimal number without a sign.
pub(super) fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    // `parse` alone would accept `+1`.
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn addresses_of_port() {
        for (text, expected) in [
            ("127,0,0,1,4,1", Some("127.0.0.1:1025")),
            ("255,255,255,255,255,255", Some("255.255.255.255:65535")),
            ("010,000,0,01,0,21", Some("10.0.0.1:21")),
            ("127,0,0,1,0,0", None),
            ("127,0,0,1,4", None),
            ("127,0,0,1,4,1,", None),
            ("127,0,0,1,4,1,1", None),
            ("256,0,0,1,4,1", None),
            ("127,0,0,1,4,256", None),
            ("127,0,0,1,-4,1", None),
            ("127,0,0,1,+4,1", None),
            ("127,,0,1,4,1", None),
            ("127, 0,0,1,4,1", None),
            ("127.0.0.1,4,1", None),
            ("", None),
            (",,,,,", None),
            ("١,0,0,1,4,1", None),
        ] {
            assert_eq!(
                port(text),
                expected.map(|address| address.parse().unwrap()),
                "{text}"
            );
        }
    }

    #[test]
    fn addresses_of_eprt() {
        for (text, expected) in [
            ("|1|132.235.1.2|6275|", Ok("132.235.1.2:6275")),
            (
                "|2|1080::8:800:200C:417A|5282|",
                Ok("[1080::8:800:200c:417a]:5282"),
            ),
            ("!1!10.0.0.1!1!", Ok("10.0.0.1:1")),
            ("~2~::1~65535~", Ok("[::1]:65535")),
            ("|3|10.0.0.1|21|", Err(AddressError::Protocol)),
            ("|0|10.0.0.1|21|", Err(AddressError::Protocol)),
            ("||10.0.0.1|21|", Err(AddressError::Syntax)),
            ("|x|10.0.0.1|21|", Err(AddressError::Syntax)),
            ("|2|10.0.0.1|21|", Err(AddressError::Syntax)),
            ("|1|::1|21|", Err(AddressError::Syntax)),
            ("|2|fe80::1%eth0|21|", Err(AddressError::Syntax)),
            ("|1|10.0.0.1|0|", Err(AddressError::Syntax)),
            ("|1|10.0.0.1|65536|", Err(AddressError::Syntax)),
            ("|1|10.0.0.1|+21|", Err(AddressError::Syntax)),
            ("|1|10.0.0.1||", Err(AddressError::Syntax)),
            ("|1|10.0.0.1|21", Err(AddressError::Syntax)),
            ("|1|10.0.0.1|21|x", Err(AddressError::Syntax)),
            ("|1|10.0.0.1|21||", Err(AddressError::Syntax)),
            (":2:::1:21:", Err(AddressError::Syntax)),
            (" 1 10.0.0.1 21 ", Err(AddressError::Syntax)),
            ("é1é10.0.0.1é21é", Err(AddressError::Syntax)),
            ("|", Err(AddressError::Syntax)),
            ("", Err(AddressError::Syntax)),
        ] {
            assert_eq!(
                eprt(text),
                expected.map(|address: &str| address.parse().unwrap()),
                "{text}"
            );
        }
    }
}
