//! Parses a PROXY header from the bytes that have arrived: how much is still to be read, its
//! contents, or what is wrong with it.
//!
//! Pure: the reader of the socket calls [`step`] after each read, and never reads beyond what
//! surely belongs to the header.

use std::net::SocketAddr;

use crc_fast::CrcAlgorithm;
use ppp::HeaderResult;
use ppp::{v1, v2};

/// The longest header of version 1, its line end included (specification, 2.1).
pub(super) const LONGEST_V1: usize = 107;
/// The longest header of version 2 that is accepted: addresses need 52 bytes, the rest are
/// extensions (TLVs) of the load balancer. The format would allow 64 KiB.
const LONGEST_V2: usize = 2048;
/// `PROXY UNKNOWN\r\n`. No header is shorter.
const SHORTEST: usize = 15;
/// The part of a header of version 2 before its addresses.
const FIXED_V2: usize = 16;
const V1: &[u8] = b"PROXY ";
const V2: &[u8] = v2::PROTOCOL_PREFIX;
/// Version 2, and the command LOCAL, by which a load balancer opens a connection of its own.
const LOCAL: u8 = 0x20;
/// The type of the extension with the checksum (2.2.3).
const CRC32C: u8 = 0x03;

/// The contents of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The addresses of the client's connection.
    Addresses {
        /// The client.
        source: SocketAddr,
        /// The address that the client connected to.
        destination: SocketAddr,
    },
    /// No addresses: LOCAL, UNKNOWN, or a client that has no IP address.
    Unknown,
}

/// Why bytes are not a header. Quotes none of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// They begin in another way.
    #[error("no PROXY header, but one is required")]
    Missing,
    /// Longer than the limit.
    #[error("the PROXY header is too long")]
    TooLong,
    /// They can't be parsed.
    #[error("the PROXY header is malformed: {0}")]
    Malformed(String),
}

/// The next step of the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// At least this many more bytes belong to the header.
    Take(usize),
    /// It continues to the end of the line, at most for this many bytes.
    TakeLine(usize),
    /// It is complete.
    Whole(ProxyHeader),
}

/// Examines the part of a header that has been read, which must not contain anything beyond it.
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

/// Parses a header at the beginning of `bytes`: its contents and its length. `None`: it is
/// incomplete.
///
/// # Errors
/// [`HeaderError`].
pub fn parse(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, HeaderError> {
    let mut end = 0;
    loop {
        let more = match step(&bytes[..end])? {
            Step::Whole(header) => return Ok(Some((header, end))),
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
        // Only within the first bytes, which are read at once.
        return Err(HeaderError::Malformed("its line is too short".to_owned()));
    }
    match LONGEST_V1.checked_sub(seen.len()) {
        None | Some(0) => Err(HeaderError::TooLong),
        Some(most) => Ok(Step::TakeLine(most)),
    }
}

fn step_v2(seen: &[u8]) -> Result<Step, HeaderError> {
    let Some(&[high, low]) = seen.get(FIXED_V2 - 2..FIXED_V2) else {
        // Until the signature is complete it may still be a header of version 1, which can be one
        // byte shorter.
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
        // In a connection of the load balancer's own, such as a health check, the address family
        // and the rest are to be ignored (specification, 2.2).
        Some(0) if seen[V2.len()] == LOCAL => Ok(Step::Whole(ProxyHeader::Unknown)),
        Some(0) => {
            check_crc32c(seen)?;
            whole(seen)
        }
        Some(more) => Ok(Step::Take(more)),
        None => Err(HeaderError::Malformed("bytes after its end".to_owned())),
    }
}

/// Verifies the checksum of a complete header of version 2, if it has one (2.2.3): CRC32C of all
/// bytes, with its own bytes as zero. Does not check the rest of the header.
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
            let checksum = header.get(value.clone()).map(<[u8; 4]>::try_from);
            let Some(Ok(checksum)) = checksum else {
                return Err(HeaderError::Malformed(
                    "its checksum is not 4 bytes".to_owned(),
                ));
            };
            let mut sum = crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi);
            sum.update(&header[..value.start]);
            sum.update(&[0; 4]);
            sum.update(&header[value.end..]);
            if sum.finalize() != u64::from(u32::from_be_bytes(checksum)) {
                return Err(HeaderError::Malformed("its checksum is wrong".to_owned()));
            }
        }
        at = value.end;
    }
    Ok(())
}

fn whole(seen: &[u8]) -> Result<Step, HeaderError> {
    let malformed = |error: String| HeaderError::Malformed(error);
    let contents = match HeaderResult::parse(seen) {
        HeaderResult::V1(header) => {
            let header = header.map_err(|error| malformed(error.to_string()))?;
            of_v1(header.addresses)
        }
        HeaderResult::V2(header) => {
            let header = header.map_err(|error| malformed(error.to_string()))?;
            match (header.command, header.protocol) {
                (v2::Command::Proxy, v2::Protocol::Stream) => of_v2(header.addresses),
                // A connection of the load balancer's own, or not TCP.
                _ => ProxyHeader::Unknown,
            }
        }
    };
    Ok(Step::Whole(contents))
}

fn of_v1(addresses: v1::Addresses) -> ProxyHeader {
    match addresses {
        v1::Addresses::Tcp4(addresses) => addrs(
            (addresses.source_address, addresses.source_port),
            (addresses.destination_address, addresses.destination_port),
        ),
        v1::Addresses::Tcp6(addresses) => addrs(
            (addresses.source_address, addresses.source_port),
            (addresses.destination_address, addresses.destination_port),
        ),
        v1::Addresses::Unknown => ProxyHeader::Unknown,
    }
}

fn of_v2(addresses: v2::Addresses) -> ProxyHeader {
    match addresses {
        v2::Addresses::IPv4(addresses) => addrs(
            (addresses.source_address, addresses.source_port),
            (addresses.destination_address, addresses.destination_port),
        ),
        v2::Addresses::IPv6(addresses) => addrs(
            (addresses.source_address, addresses.source_port),
            (addresses.destination_address, addresses.destination_port),
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
mod tests;
