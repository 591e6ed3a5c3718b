//! The memory of TLS handshakes that never end.

use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::greeted;
use test_support::ftp::connect_from;
use test_support::process::Process;
use test_support::tls::Pki;
use test_support::{MIB, within};

/// From each address; by default 250 of them are accepted.
const TRIED: usize = 300;
const ADDRESSES: usize = 5;
const ADMITTED: usize = 250 * ADDRESSES;
/// The most that a handshake may hold, that an idle session may take, and the rest of its TLS.
const MOST_EACH: usize = (16 + 24 + 16) * 1024;

/// Almost all of a ClientHello that never ends: its header says 65,520 bytes, in records of 4 KiB.
fn half_a_hello() -> Vec<u8> {
    let mut message = vec![1, 0, 0xff, 0xf0, 3, 3];
    message.resize(16_000, 0xa5);
    let records = message.chunks(4 * 1024).flat_map(|part| {
        let length = u16::try_from(part.len()).unwrap().to_be_bytes();
        [&[22, 3, 1][..], &length, part].concat()
    });
    records.collect()
}

/// Waits until the server has read everything that was sent to it, so that nothing is in the
/// kernel.
async fn all_read(port: u16) {
    let port = format!(":{port:04X}");
    within("the server has read everything", async {
        loop {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let unread = table.lines().any(|line| {
                let mut fields = line.split_whitespace().skip(1);
                let local = fields.next().unwrap_or_default();
                let queues = fields.nth(2).unwrap_or_default();
                local.ends_with(&port) && queues.contains(':') && queues != "00000000:00000000"
            });
            if !unread {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

async fn half_a_handshake(from: &str, to: SocketAddr, hello: &[u8]) -> Option<TcpStream> {
    let from: IpAddr = from.parse().unwrap();
    let mut stream = connect_from(from, to).await.unwrap();
    if !line(&mut stream).await.starts_with("220 ") {
        return None;
    }
    stream.write_all(b"AUTH TLS\r\n").await.unwrap();
    assert!(line(&mut stream).await.starts_with("234 "));
    stream.write_all(hello).await.unwrap();
    Some(stream)
}

/// One line, and no byte after it.
async fn line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.push(within("a reply", stream.read_u8()).await.unwrap());
    }
    String::from_utf8(line).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_never_end_take_bounded_memory() {
    let pki = Pki::new();
    let settings = "[timeouts]\nlogin = \"10m\"\ntls_handshake = \"10m\"\n";
    let mut process = Process::start(&format!("{settings}{}", pki.section(""))).await;
    let client = pki.client().build();
    let mut early = greeted("127.0.0.100", process.address).await;
    early.auth("AUTH TLS", &client).await;
    early.login("u", "p").await;
    let before = process.resident();
    let hello = half_a_hello();
    let mut held = Vec::new();
    for number in 0..ADDRESSES {
        let from = format!("127.0.0.{}", 10 + number);
        for _ in 0..TRIED {
            held.extend(half_a_handshake(&from, process.address, &hello).await);
        }
    }
    all_read(process.address.port()).await;
    assert_eq!(held.len(), ADMITTED);
    let grown = process.resident().saturating_sub(before);
    println!(
        "{} handshakes: {} bytes each",
        held.len(),
        grown / held.len()
    );
    assert!(grown < ADMITTED * MOST_EACH, "grown by {} MiB", grown / MIB);
    // Other clients still get in, and existing sessions are served.
    let mut ftp = greeted("127.0.0.101", process.address).await;
    ftp.auth("AUTH TLS", &client).await;
    ftp.login("u", "p").await;
    early.in_step().await;
    drop(held);
    process.stop().await;
}
