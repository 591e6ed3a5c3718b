//! Several control listeners in one server.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use test_support::ftp::{Ftp, Mode};
use test_support::gateway::{BUCKET, Gateway, PASSWORD, USER};
use test_support::pattern;

/// This number of consecutive ports that are free on all addresses, outside the range from which
/// the system chooses.
fn free_ports(count: u16) -> (u16, u16) {
    let process = u16::try_from(std::process::id() % 1_000).unwrap();
    let free = |first: &u16| {
        let mut ports = *first..*first + count;
        ports.all(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok())
    };
    let mut starts = (0..1_000).map(|n| 20_000 + (process + n) % 1_000 * 10);
    let first = starts.find(free).expect("free ports");
    (first, first + count - 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wildcard_and_one_of_its_addresses_can_both_be_bound() {
    let (first, last) = free_ports(3);
    for listen in [
        "[\"0.0.0.0:0\", \"127.0.0.2:0\"]",
        "[\"127.0.0.2:0\", \"0.0.0.0:0\"]",
    ] {
        let ports = format!("[passive]\nports = \"{first}-{last}\"");
        let gateway = Gateway::builder()
            .with(&format!("listen = {listen}\n{ports}"))
            .start()
            .await;
        let bytes = pattern(100_000, 1);
        for bound in gateway.server.control_addresses() {
            let address = match bound.ip().is_unspecified() {
                true => SocketAddr::from((Ipv4Addr::LOCALHOST, bound.port())),
                false => *bound,
            };
            let mut ftp = Ftp::connect(address).await;
            ftp.login(USER, PASSWORD).await;
            for mode in [Mode::Passive, Mode::Pasv] {
                let reply = ftp.upload_with("STOR f", &bytes, mode).await;
                assert_eq!(reply.code, 226, "{address}: {reply:?}");
                assert_eq!(gateway.store.object(BUCKET, "f").as_ref(), Some(&bytes));
                let (got, reply) = ftp.download_with("RETR f", mode).await;
                assert_eq!(reply.code, 226, "{address}: {reply:?}");
                assert!(got == bytes);
            }
            let advertised = ftp.pasv().await;
            assert_eq!(advertised.ip(), address.ip());
            assert!((first..=last).contains(&advertised.port()), "{advertised}");
        }
        gateway.stop().await;
    }
}
