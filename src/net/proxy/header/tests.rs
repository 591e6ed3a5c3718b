#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

fn addresses(source: &str, destination: &str) -> ProxyHeader {
    ProxyHeader::Addresses {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [V2, &[command, family], &length, rest].concat()
}

/// With a checksum among its extensions.
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
    let ipv4 = addresses("192.0.2.7:40000", "198.51.100.1:21");
    let ipv6 = addresses("[2001:db8::1]:40000", "[2001:db8::2]:21");
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
        // A connection of the load balancer's own, with any content.
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

/// Bytes that look like a header at first.
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
