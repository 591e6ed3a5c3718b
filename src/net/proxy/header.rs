//! A PROXY header, as far as it has come: what is still to be read, what it tells, or what is wrong with it.
//!
//! Pure: the socket's side asks [`step`] after each read, and never reads beyond what surely belongs to the header.

use std::net::SocketAddr;

use crc_fast::CrcAlgorithm;
use ppp::HeaderResult;
use ppp::{v1, v2};

/// The longest header of version 1, its line end included (specification, 2.1).
pub(super) const LONGEST_V1: usize = 107;
/// The longest header of version 2 that is taken: addresses need 52 bytes, the rest are a load balancer's own
/// remarks. The format would allow 64 KiB.
const LONGEST_V2: usize = 2048;
/// `PROXY UNKNOWN\r\n`. No header is shorter.
const SHORTEST: usize = 15;
/// The part of a header of version 2 before its addresses.
const FIXED_V2: usize = 16;
const V1: &[u8] = b"PROXY ";
const V2: &[u8] = v2::PROTOCOL_PREFIX;
/// Version 2, and the command by which a load balancer speaks for itself.
const LOCAL: u8 = 0x20;
/// The type of the remark that is a checksum (2.2.3).
const CRC32C: u8 = 0x03;

/// What a header tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// Where the client is, and which address it has reached.
    Addresses {
        /// The client.
        source: SocketAddr,
        /// What it has connected to.
        destination: SocketAddr,
    },
    /// Nothing: LOCAL, UNKNOWN, or a client that has no IP address.
    Unknown,
}

/// Why bytes are no header. Quotes nothing of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// They begin in another way.
    #[error("no PROXY header where one is required")]
    Missing,
    /// Longer than a header may be.
    #[error("the PROXY header is too long")]
    TooLong,
    /// They can't be read.
    #[error("the PROXY header is malformed: {0}")]
    Malformed(String),
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// At least so many bytes more belong to the header.
    Take(usize),
    /// It goes on to the end of the line, at most for so many bytes.
    TakeLine(usize),
    /// It is there.
    Whole(ProxyHeader),
}

/// Looks at what has come of a header; it must not hold anything beyond it.
pub(super) fn step(seen: &[u8]) -> Result<Step, HeaderError> {
    let begins = |signature: &[u8]| {
        let common = seen.len().min(signature.len());
        seen[..common] == signature[..common]
    };
    if begins(V2) {
        step_v2(seen)
    } else if begins(V1) {
        step_v1(seen)
    } else {
        Err(HeaderError::Missing)
    }
}

/// Reads a header that stands at the beginning of `bytes`: what it tells, and its length. `None`: it goes on.
///
/// # Errors
/// [`HeaderError`].
pub fn parse(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, HeaderError> {
    let mut end = 0;
    loop {
        let more = match step(&bytes[..end])? {
            Step::Whole(told) => return Ok(Some((told, end))),
            Step::Take(more) => more,
            Step::TakeLine(most) => bytes[end..]
                .iter()
                .take(most)
                .position(|byte| *byte == b'\n')
                .map_or(most, |line_end| line_end + 1),
        };
        if end == bytes.len() {
            return Ok(None);
        }
        end = bytes.len().min(end + more);
    }
}

fn step_v1(seen: &[u8]) -> Result<Step, HeaderError> {
    if seen.len() < SHORTEST {
        return Ok(Step::Take(SHORTEST - seen.len()));
    }
    if seen.last() == Some(&b'\n') {
        return whole(seen);
    }
    if seen.contains(&b'\n') {
        // Only within the first bytes, which are taken at once.
        return Err(HeaderError::Malformed("its line is too short".to_owned()));
    }
    match LONGEST_V1.checked_sub(seen.len()) {
        None | Some(0) => Err(HeaderError::TooLong),
        Some(most) => Ok(Step::TakeLine(most)),
    }
}

fn step_v2(seen: &[u8]) -> Result<Step, HeaderError> {
    let Some(&[high, low]) = seen.get(FIXED_V2 - 2..FIXED_V2) else {
        // Until the signature is there it may still be a header of version 1, which can be one byte shorter.
        let next = if seen.len() < V2.len() {
            SHORTEST
        } else {
            FIXED_V2
        };
        return Ok(Step::Take(next - seen.len()));
    };
    let length = FIXED_V2 + usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST_V2 {
        return Err(HeaderError::TooLong);
    }
    match length.checked_sub(seen.len()) {
        // What the load balancer says for itself, such as a health check: of which family, and what else is in it, is to
        // be ignored (specification, 2.2).
        Some(0) if seen[V2.len()] == LOCAL => Ok(Step::Whole(ProxyHeader::Unknown)),
        Some(0) => {
            check_crc32c(seen)?;
            whole(seen)
        }
        Some(more) => Ok(Step::Take(more)),
        None => Err(HeaderError::Malformed("bytes behind its end".to_owned())),
    }
}

/// Verifies the checksum of a whole header of version 2 where it has one (2.2.3): CRC32C of it all, its own bytes taken
/// as zero. What else is wrong with the header is not looked at here.
fn check_crc32c(header: &[u8]) -> Result<(), HeaderError> {
    let addresses = match header[V2.len() + 1] >> 4 {
        1 => 12,
        2 => 36,
        3 => 216,
        _ => 0,
    };
    let mut at = FIXED_V2 + addresses;
    while let Some(&[kind, high, low]) = header.get(at..at + 3) {
        let value = at + 3..at + 3 + usize::from(u16::from_be_bytes([high, low]));
        if kind == CRC32C {
            let told = header.get(value.clone()).map(<[u8; 4]>::try_from);
            let Some(Ok(told)) = told else {
                return Err(HeaderError::Malformed("its checksum is none".to_owned()));
            };
            let mut sum = crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi);
            sum.update(&header[..value.start]);
            sum.update(&[0; 4]);
            sum.update(&header[value.end..]);
            if sum.finalize() != u64::from(u32::from_be_bytes(told)) {
                return Err(HeaderError::Malformed("its checksum is wrong".to_owned()));
            }
        }
        at = value.end;
    }
    Ok(())
}

fn whole(seen: &[u8]) -> Result<Step, HeaderError> {
    let malformed = |error: String| HeaderError::Malformed(error);
    let told = match HeaderResult::parse(seen) {
        HeaderResult::V1(header) => {
            let header = header.map_err(|error| malformed(error.to_string()))?;
            of_v1(header.addresses)
        }
        HeaderResult::V2(header) => {
            let header = header.map_err(|error| malformed(error.to_string()))?;
            match (header.command, header.protocol) {
                (v2::Command::Proxy, v2::Protocol::Stream) => of_v2(header.addresses),
                // The load balancer speaks for itself, or of what is no TCP.
                _ => ProxyHeader::Unknown,
            }
        }
    };
    Ok(Step::Whole(told))
}

fn of_v1(addresses: v1::Addresses) -> ProxyHeader {
    match addresses {
        v1::Addresses::Tcp4(told) => addrs(
            (told.source_address, told.source_port),
            (told.destination_address, told.destination_port),
        ),
        v1::Addresses::Tcp6(told) => addrs(
            (told.source_address, told.source_port),
            (told.destination_address, told.destination_port),
        ),
        v1::Addresses::Unknown => ProxyHeader::Unknown,
    }
}

fn of_v2(addresses: v2::Addresses) -> ProxyHeader {
    match addresses {
        v2::Addresses::IPv4(told) => addrs(
            (told.source_address, told.source_port),
            (told.destination_address, told.destination_port),
        ),
        v2::Addresses::IPv6(told) => addrs(
            (told.source_address, told.source_port),
            (told.destination_address, told.destination_port),
        ),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => ProxyHeader::Unknown,
    }
}

fn addrs(source: impl Into<SocketAddr>, destination: impl Into<SocketAddr>) -> ProxyHeader {
    ProxyHeader::Addresses {
        source: source.into(),
        destination: destination.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use proptest::prelude::*;

    use super::*;

    fn told(source: &str, destination: &str) -> ProxyHeader {
        ProxyHeader::Addresses {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [V2, &[command, family], &length, rest].concat()
    }

    /// With a checksum among its remarks.
    fn checked(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mark = [
            &[4, 0, 2, 7, 7][..],
            &[CRC32C, 0, 4],
            &[0; 4],
            &[4, 0, 1, 7],
        ]
        .concat();
        let mut header = binary(command, family, &[addresses, &mark].concat());
        // Computed bit by bit: the polynomial of Castagnoli, reflected.
        let mut crc = u32::MAX;
        for byte in &header {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
            }
        }
        let at = header.len() - 8;
        header[at..at + 4].copy_from_slice(&(!crc).to_be_bytes());
        header
    }

    const IPV4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x9c, 0x40, 0, 21];

    #[test]
    fn headers_of_both_versions() {
        let v6 = [
            &[0x20, 0x01, 0x0d, 0xb8][..],
            &[0; 11],
            &[1, 0x20, 0x01, 0x0d, 0xb8],
            &[0; 11],
            &[2, 0x9c, 0x40, 0, 21],
        ]
        .concat();
        let ipv4 = told("192.0.2.7:40000", "198.51.100.1:21");
        let ipv6 = told("[2001:db8::1]:40000", "[2001:db8::2]:21");
        let remarks = [&IPV4[..], &[0x20, 0, 5, 1, 0, 0, 0, 0]].concat();
        for (header, expected) in [
            (
                b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 21\r\n".to_vec(),
                ipv4,
            ),
            (
                b"PROXY TCP6 2001:db8::1 2001:db8::2 40000 21\r\n".to_vec(),
                ipv6,
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), ProxyHeader::Unknown),
            (
                b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"
                    .to_vec(),
                ProxyHeader::Unknown,
            ),
            (binary(0x21, 0x11, &IPV4), ipv4),
            (binary(0x21, 0x11, &remarks), ipv4),
            (binary(0x21, 0x21, &v6), ipv6),
            (binary(0x20, 0x00, &[]), ProxyHeader::Unknown),
            (binary(0x20, 0x11, &IPV4), ProxyHeader::Unknown),
            (binary(0x21, 0x00, &[]), ProxyHeader::Unknown),
            (binary(0x21, 0x31, &[0; 216]), ProxyHeader::Unknown),
            (binary(0x21, 0x12, &IPV4), ProxyHeader::Unknown),
            (checked(0x21, 0x11, &IPV4), ipv4),
            (checked(0x21, 0x21, &v6), ipv6),
            (checked(0x21, 0x00, &[]), ProxyHeader::Unknown),
            // The load balancer speaks for itself: whatever it says.
            (binary(0x20, 0x41, &IPV4), ProxyHeader::Unknown),
            (binary(0x20, 0xff, &[]), ProxyHeader::Unknown),
            (binary(0x20, 0x11, &IPV4[..11]), ProxyHeader::Unknown),
            (binary(0x20, 0x21, &[]), ProxyHeader::Unknown),
            (binary(0x20, 0x11, &[&IPV4[..], &[3, 0, 4, 1, 1, 1, 1]].concat()), ProxyHeader::Unknown),
            (binary(0x20, 0x00, &[3, 0xff]), ProxyHeader::Unknown),
        ] {
            assert_eq!(parse(&header), Ok(Some((expected, header.len()))));
            for end in 0..header.len() {
                assert_eq!(parse(&header[..end]), Ok(None), "{end} bytes of it");
            }
            let more = [&header[..], b"USER u\r\n"].concat();
            assert_eq!(parse(&more), Ok(Some((expected, header.len()))));
        }
    }

    #[test]
    fn what_is_no_header_is_refused_as_soon_as_it_shows() {
        for bytes in [
            &b"U"[..],
            b"USER u\r\n",
            b"proxy",
            b"\r\n\r\n\r",
            b"\x16\x03\x01",
        ] {
            assert_eq!(parse(bytes), Err(HeaderError::Missing), "{bytes:?}");
        }
        let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 93]].concat();
        assert_eq!(long.len(), LONGEST_V1);
        assert_eq!(parse(&long), Err(HeaderError::TooLong));
        let huge = [V2, &[0x21, 0x11, 0xff, 0xff]].concat();
        assert_eq!(parse(&huge), Err(HeaderError::TooLong));
        for bytes in [
            b"PROXY TCP4 192.0.2.7 198.51.100.1 40000\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.700 198.51.100.1 40000 21\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 65536\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::1 2001:db8::2 40000 21\r\n".to_vec(),
            b"PROXY UDP4 192.0.2.7 198.51.100.1 40000 21\r\n".to_vec(),
            b"PROXY UNKNOWN\nxxx".to_vec(),
            b"PROXY \r\nUSER u\r\n".to_vec(),
            binary(0x11, 0x11, &IPV4),
            binary(0x22, 0x11, &IPV4),
            binary(0x21, 0x41, &IPV4),
            binary(0x21, 0x11, &IPV4[..11]),
            binary(
                0x21,
                0x11,
                &[&IPV4[..], &[CRC32C, 0, 4, 1, 1, 1, 1]].concat(),
            ),
            binary(0x21, 0x11, &[&IPV4[..], &[CRC32C, 0, 3, 1, 1, 1]].concat()),
            binary(0x21, 0x11, &[&IPV4[..], &[CRC32C, 0, 4, 1, 1, 1]].concat()),
            {
                let mut damaged = checked(0x21, 0x11, &IPV4);
                damaged[19] ^= 1;
                damaged
            },
        ] {
            assert!(
                matches!(parse(&bytes), Err(HeaderError::Malformed(_))),
                "{bytes:?}: {:?}",
                parse(&bytes)
            );
        }
    }

    /// Bytes that look like a header for a while.
    fn nearly() -> impl Strategy<Value = Vec<u8>> {
        let begin = prop_oneof![
            Just(V1.to_vec()),
            Just(b"PROXY TCP4 1.2.3.4 ".to_vec()),
            Just(V2.to_vec()),
            Just(binary(0x21, 0x11, &IPV4)),
            Just(Vec::new()),
        ];
        (begin, proptest::collection::vec(any::<u8>(), 0..300))
            .prop_map(|(begin, rest)| [begin, rest].concat())
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer_that_more_bytes_do_not_change(bytes in nearly(), cut in 0_usize..400) {
            let whole = parse(&bytes);
            let part = parse(&bytes[..cut.min(bytes.len())]);
            if part != Ok(None) {
                prop_assert_eq!(&part, &whole);
            }
            if let Ok(Some((_, length))) = whole {
                prop_assert!(length <= bytes.len() && length <= LONGEST_V2);
            }
        }
    }
}
