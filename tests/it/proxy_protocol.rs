//! The PROXY protocol: a load balancer at 127.0.0.1 says where its clients are.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use test_support::ftp::{Ftp, eprt_command, port_command, read_to_end_deadline};
use test_support::gateway::{BUCKET, Builder, Gateway, PASSWORD, USER};
use test_support::process::Process;
use test_support::transfers::{moved, nothing_left};
use test_support::{pattern, within};

/// The address of a client of the load balancer.
const CLIENT: &str = "127.0.0.9";

fn behind_a_load_balancer() -> Builder {
    Gateway::builder().with("[proxy_protocol]\nnetworks = [\"127.0.0.1/32\"]")
}

fn v1(client: &str) -> Vec<u8> {
    let protocol = if client.contains(':') { "6" } else { "4" };
    let reached = if client.contains(':') {
        "2001:db8::1"
    } else {
        "127.0.0.77"
    };
    format!("PROXY TCP{protocol} {client} {reached} 40000 21\r\n").into_bytes()
}

fn v2(client: &str) -> Vec<u8> {
    let (family, client, reached) = match client.parse().unwrap() {
        IpAddr::V4(client) => (0x11, client.octets().to_vec(), vec![127, 0, 0, 77]),
        IpAddr::V6(client) => (
            0x21,
            client.octets().to_vec(),
            [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[1]].concat(),
        ),
    };
    // And a TLV of the load balancer's own.
    let rest = [
        &client[..],
        &reached,
        &[0x9c, 0x40, 0, 21],
        &[4, 0, 2, 7, 7],
    ]
    .concat();
    let length = u8::try_from(rest.len()).unwrap();
    [
        b"\r\n\r\n\0\r\nQUIT\n",
        &[0x21, family, 0, length][..],
        &rest,
    ]
    .concat()
}

/// A connection with these first bytes.
async fn beginning_with(to: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// A control connection of a client of the load balancer, after the greeting.
async fn connect(gateway: &Gateway, header: &[u8]) -> Ftp {
    let mut ftp = Ftp::over(beginning_with(gateway.address, header).await);
    ftp.expect_reply(220).await;
    ftp
}

async fn is_closed(mut stream: TcpStream) {
    let mut got = Vec::new();
    // An end, or a reset if something was unread.
    let _ = within("the end", stream.read_to_end(&mut got)).await;
    assert_eq!(got, b"");
}

#[tokio::test]
async fn the_client_of_the_header_is_the_peer() {
    let gateway = behind_a_load_balancer()
        .with("passive.networks = [{ clients = \"127.0.0.10/32\", address = \"10.1.2.3\" }]")
        .start()
        .await;
    gateway.store.put(BUCKET, "x", "for it only");
    for header in [v1(CLIENT), v2(CLIENT)] {
        let mut ftp = connect(&gateway, &header).await;
        ftp.login(USER, PASSWORD).await;
        let status = ftp.expect("STAT", 211).await.lines.join("\n");
        assert!(status.contains("Connected from 127.0.0.9"), "{status}");
        // PASV reports the address that the client has reached.
        let advertised = ftp.pasv().await;
        assert_eq!(advertised.ip().to_string(), "127.0.0.77");
        // It is the same client if the load balancer says so, and only there.
        let port = SocketAddr::new(gateway.address.ip(), advertised.port());
        for stranger in [
            v1("127.0.0.10"),
            v2("127.0.0.1"),
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        ] {
            is_closed(beginning_with(port, &stranger).await).await;
        }
        let mut data = beginning_with(port, &header).await;
        ftp.expect("RETR x", 150).await;
        assert_eq!(read_to_end_deadline(&mut data).await.0, b"for it only");
        ftp.expect_reply(226).await;
        // Active data connections go only to that client, from an address of the server's.
        ftp.expect("PORT 127,0,0,1,200,1", 504).await;
        ftp.expect("PORT 127,0,0,77,200,1", 504).await;
        let listener = TcpListener::bind((CLIENT, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        ftp.expect(&port_command(address), 200).await;
        ftp.expect("RETR x", 150).await;
        let (mut data, from) = within("the data connection", listener.accept())
            .await
            .unwrap();
        assert_eq!(from.ip(), gateway.address.ip());
        assert_eq!(read_to_end_deadline(&mut data).await.0, b"for it only");
        ftp.expect_reply(226).await;
        ftp.expect("QUIT", 221).await;
    }
    // The address for clients of a network follows the client's.
    let mut ftp = connect(&gateway, &v2("127.0.0.10")).await;
    ftp.login(USER, PASSWORD).await;
    assert_eq!(ftp.pasv().await.ip().to_string(), "10.1.2.3");
    gateway.stop().await;
}

#[tokio::test]
async fn an_ipv6_client_behind_an_ipv4_load_balancer_stays_one() {
    let gateway = behind_a_load_balancer().start().await;
    gateway.store.put(BUCKET, "x", "bytes");
    for header in [v1("::1"), v2("::1")] {
        let mut ftp = connect(&gateway, &header).await;
        ftp.login(USER, PASSWORD).await;
        ftp.expect("PASV", 425).await;
        ftp.expect("EPSV 1", 522).await;
        let port = ftp.epsv().await;
        let mut data = beginning_with(port, &header).await;
        ftp.expect("RETR x", 150).await;
        assert_eq!(read_to_end_deadline(&mut data).await.0, b"bytes");
        ftp.expect_reply(226).await;
        let Ok(listener) = TcpListener::bind("[::1]:0").await else {
            continue; // A machine without IPv6.
        };
        let address = listener.local_addr().unwrap();
        ftp.expect("EPRT |1|127.0.0.1|50000|", 522).await;
        ftp.expect(&eprt_command(address), 200).await;
        ftp.expect("RETR x", 150).await;
        let (mut data, _) = within("the data connection", listener.accept())
            .await
            .unwrap();
        assert_eq!(read_to_end_deadline(&mut data).await.0, b"bytes");
        ftp.expect_reply(226).await;
    }
    gateway.stop().await;
}

#[tokio::test]
async fn health_checks_and_direct_clients_keep_their_own_address() {
    let gateway = behind_a_load_balancer().start().await;
    let local = [b"\r\n\r\n\0\r\nQUIT\n", &[0x20, 0, 0, 0][..]].concat();
    for header in [&b"PROXY UNKNOWN\r\n"[..], &local] {
        let mut ftp = connect(&gateway, header).await;
        ftp.login(USER, PASSWORD).await;
        let status = ftp.expect("STAT", 211).await.lines.join("\n");
        assert!(status.contains("Connected from 127.0.0.1"), "{status}");
        assert_eq!(ftp.pasv().await.ip().to_string(), "127.0.0.1");
    }
    // From other addresses a header is an unknown command.
    let mut ftp = Ftp::connect_from("127.0.0.2".parse().unwrap(), gateway.address).await;
    ftp.send_raw(&v1(CLIENT)).await;
    ftp.expect_reply(500).await;
    ftp.login(USER, PASSWORD).await;
    let status = ftp.expect("STAT", 211).await.lines.join("\n");
    assert!(status.contains("Connected from 127.0.0.2"), "{status}");
    assert_eq!(ftp.store("y", b"1").await.code, 226);
    gateway.stop().await;
}

/// The load balancer is near and the client far: the client's two connections end one after the
/// other, with more than the round trip to the load balancer in between. That time is what is
/// tested, so it is slept here. Client and gateway run on one thread, whose timers fire in order,
/// so a machine that stalls changes nothing.
#[tokio::test]
async fn an_upload_whose_proxied_client_dies_is_not_published() {
    let gateway = behind_a_load_balancer().start().await;
    for header in [v1(CLIENT), v2(CLIENT)] {
        let mut ftp = connect(&gateway, &header).await;
        ftp.login(USER, PASSWORD).await;
        let port = ftp.epsv().await;
        let mut data = beginning_with(port, &header).await;
        ftp.expect("STOR x", 150).await;
        data.write_all(&pattern(1024, 1)).await.unwrap();
        moved(&mut ftp, 1024).await;
        data.shutdown().await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        ftp.close().await;
        nothing_left(&gateway, 0).await;
        assert_eq!(gateway.store.object(BUCKET, "x"), None);
        let kept = gateway.store.keys(BUCKET);
        assert!(
            !kept.is_empty() && kept.iter().all(|key| key.starts_with(".s3ftpd/")),
            "{kept:?}"
        );
    }
    gateway.stop().await;
}

#[tokio::test]
async fn limits_and_bans_go_by_the_clients_address() {
    let gateway = behind_a_load_balancer()
        .with("[limits]\nsessions_per_address = 1\n[login_failures]\nban_after = 2")
        .start()
        .await;
    let mut first = connect(&gateway, &v1(CLIENT)).await;
    let mut second = Ftp::over(beginning_with(gateway.address, &v2(CLIENT)).await);
    let full = second.expect_reply(421).await;
    assert_eq!(
        full.text(),
        "Too many sessions from your address, try again later"
    );
    let _other = connect(&gateway, &v1("127.0.0.10")).await;
    for _ in 0..2 {
        first.expect("USER u", 331).await;
        first.expect("PASS wrong", 530).await;
    }
    let mut banned = Ftp::over(beginning_with(gateway.address, &v2(CLIENT)).await);
    let reply = banned.expect_reply(421).await;
    assert!(
        reply.text().contains("failed logins from your address"),
        "{reply:?}"
    );
    connect(&gateway, &v1("127.0.0.11"))
        .await
        .login(USER, PASSWORD)
        .await;
    gateway.stop().await;
}

#[tokio::test]
async fn connections_without_a_header_delay_no_other_and_are_counted() {
    let gateway = behind_a_load_balancer()
        .with("[limits]\nsessions = 3\n[proxy_protocol]\nheader_timeout = \"4s\"")
        .start()
        .await;
    let silent = [
        beginning_with(gateway.address, b"").await,
        beginning_with(gateway.address, b"PROXY TCP4 ").await,
    ];
    let mut ftp = connect(&gateway, &v1(CLIENT)).await;
    let mut beyond = Ftp::over(TcpStream::connect(gateway.address).await.unwrap());
    let full = beyond.expect_reply(421).await;
    assert_eq!(full.text(), "Too many sessions, try again later");
    ftp.login(USER, PASSWORD).await;
    // The same on a data port.
    let port = ftp.epsv().await;
    let silent_data = beginning_with(port, b"\r\n\r\n").await;
    let mut data = beginning_with(port, &v1(CLIENT)).await;
    ftp.expect("STOR x", 150).await;
    data.write_all(b"bytes").await.unwrap();
    drop(data);
    ftp.expect_reply(226).await;
    for silent in silent.into_iter().chain([silent_data]) {
        is_closed(silent).await;
    }
    connect(&gateway, &v1(CLIENT)).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_header_ends_the_connection_and_is_in_the_log() {
    let settings = "[proxy_protocol]\nnetworks = [\"127.0.0.1/32\"]\nheader_timeout = \"300ms\"";
    let process = Process::start(settings).await;
    let huge = [b"\r\n\r\n\0\r\nQUIT\n", &[0x21, 0x11, 0xff, 0xff][..]].concat();
    for (bytes, logged) in [
        (
            &b"USER u\r\nPASS p\r\n"[..],
            "no PROXY header, but one is required",
        ),
        (b"PROXY TCP4 127.0.0.300 127.0.0.1 1 2\r\n", "malformed"),
        (&huge, "too long"),
        (b"PROXY", "no PROXY header within 300 ms"),
    ] {
        is_closed(beginning_with(process.address, bytes).await).await;
        process.logged(logged).await;
    }
    // What the client sends after its header is not lost, whatever the segments.
    let early = [&v1(CLIENT)[..], b"USER u\r\nPASS p\r\nPWD\r\n"].concat();
    let mut ftp = Ftp::over(beginning_with(process.address, &early).await);
    for code in [220, 331, 230, 257] {
        ftp.expect_reply(code).await;
    }
    process.logged("127.0.0.9:40000").await;
}
