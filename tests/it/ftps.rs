//! FTPS (RFC 4217): a file for each subject. Clients are rustls with the habits of real ones
//! (`test_support::tls`).

mod certificates;
mod commands;
mod control_endings;
mod edge;
mod endings;
mod handshakes;
mod policy;
mod same_name;
mod sessions;
mod transfers;

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use test_support::ftp::{Ftp, Mode, Reply};
use test_support::gateway::{Builder, Gateway, PASSWORD, USER};
use test_support::tls::{Client, Pki, read_all, send_and_end};

/// A gateway with an explicit and an implicit listener.
fn with_tls(pki: &Pki, more: &str) -> Builder {
    Gateway::builder()
        .with("listen = [\"127.0.0.1:0\", { address = \"127.0.0.1:0\", tls = \"implicit\" }]")
        .with(&pki.section(more))
}

/// The address of the implicit listener.
fn implicit(gateway: &Gateway) -> SocketAddr {
    gateway.server.control_addresses()[1]
}

/// A client under explicit TLS, logged in, its data connections private.
async fn secured(gateway: &Gateway, client: &Client) -> Ftp {
    let mut ftp = Ftp::connect(gateway.address).await;
    ftp.auth("AUTH TLS", client).await;
    ftp.login(USER, PASSWORD).await;
    ftp.expect("PBSZ 0", 200).await;
    ftp.expect("PROT P", 200).await;
    ftp.expect("TYPE I", 200).await;
    ftp
}

/// When a client begins its handshake on a data connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begins {
    /// Before the transfer command, and waits until it is done (aioftp).
    Early,
    /// After the 150 (Python's ftplib, curl).
    Late,
}

/// A data connection under TLS for `command`, after its 150.
async fn begin_tls(
    ftp: &mut Ftp,
    client: &Client,
    command: &str,
    mode: Mode,
    begins: Begins,
) -> TlsStream<TcpStream> {
    let data = ftp.data(mode).await;
    if begins == Begins::Early {
        let tls = client.connect(data.stream().await).await.unwrap();
        ftp.expect(command, 150).await;
        return tls;
    }
    ftp.expect(command, 150).await;
    client.connect(data.stream().await).await.unwrap()
}

/// An upload over EPSV; the final reply.
async fn upload(ftp: &mut Ftp, client: &Client, path: &str, bytes: &[u8]) -> Reply {
    let command = format!("STOR {path}");
    let mut tls = begin_tls(ftp, client, &command, Mode::Passive, Begins::Late).await;
    send_and_end(&mut tls, bytes).await.unwrap();
    ftp.reply().await
}

/// A download or listing over EPSV: the bytes up to a clean end, and the final reply.
async fn download(ftp: &mut Ftp, client: &Client, command: &str) -> (Vec<u8>, Reply) {
    let mut tls = begin_tls(ftp, client, command, Mode::Passive, Begins::Late).await;
    let (bytes, end) = read_all(&mut tls).await;
    end.unwrap();
    drop(tls);
    (bytes, ftp.reply().await)
}
