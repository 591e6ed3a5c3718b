//! A raw-socket FTP client: it sends exactly the bytes that a test names, and reads replies as
//! strictly as RFC 959 writes them.
//!
//! It sends no command that the test did not ask for, not even TYPE. Each wait has a deadline, and
//! a failure panics with the whole conversation so far.

mod data;
mod reply;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::BytesMut;
use rustls::ClientConnection;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::DEADLINE;
use crate::tls::Client;

pub use data::{
    Active, DataSide, Mode, connect_from, eprt_command, port_command, read_to_end_deadline,
    reset_stream,
};
pub use reply::{Reply, without_id};

use reply::parse_reply;

/// Telnet's "interpret as command" (RFC 854).
const IAC: u8 = 255;
/// Telnet's "interrupt process".
const IP: u8 = 244;
/// Telnet's "data mark", the end of a Synch.
const DM: u8 = 242;

/// A control connection.
#[derive(Debug)]
pub struct Ftp {
    stream: Wire,
    /// Bytes that have arrived and are not a whole reply yet.
    input: BytesMut,
    /// Both sides of the conversation, for the message of a failure.
    transcript: String,
}

/// What a control connection travels on.
#[derive(Debug)]
enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// A handshake has failed.
    Gone,
}

impl Wire {
    async fn read_buf(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Wire::Plain(tcp) => tcp.read_buf(buffer).await,
            Wire::Tls(tls) => tls.read_buf(buffer).await,
            Wire::Gone => Ok(0),
        }
    }

    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Wire::Plain(tcp) => tcp.write_all(bytes).await,
            Wire::Tls(tls) => {
                tls.write_all(bytes).await?;
                tls.flush().await
            }
            Wire::Gone => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// A FIN; under TLS after close_notify.
    async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(tcp) => tcp.shutdown().await,
            Wire::Tls(tls) => tls.shutdown().await,
            Wire::Gone => Ok(()),
        }
    }
}

// The control connection.
impl Ftp {
    /// Connects and reads the 220.
    pub async fn connect(server: SocketAddr) -> Ftp {
        let unspecified: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        Self::connect_from(unspecified, server).await
    }

    /// As [`Ftp::connect`], from another address of this machine (`127.0.0.2`).
    pub async fn connect_from(source: IpAddr, server: SocketAddr) -> Ftp {
        let mut ftp = Ftp::over(connect_from(source, server).await.unwrap());
        let greeting = ftp.reply().await;
        ftp.assert_code(&greeting, 220, "the greeting");
        ftp
    }

    /// A control connection over a stream of the test's. No greeting is read.
    pub fn over(stream: TcpStream) -> Ftp {
        // One `send_raw` is one segment.
        stream.set_nodelay(true).unwrap();
        Ftp {
            stream: Wire::Plain(stream),
            input: BytesMut::new(),
            transcript: String::new(),
        }
    }

    /// Connects, begins TLS and reads the 220.
    pub async fn connect_implicit(server: SocketAddr, client: &Client) -> Ftp {
        let stream = connect_from(Ipv4Addr::UNSPECIFIED.into(), server).await;
        let mut ftp = Ftp::over(stream.unwrap());
        ftp.handshake(client).await.unwrap();
        ftp.expect_reply(220).await;
        ftp
    }

    /// AUTH by `command`, and the handshake.
    pub async fn auth(&mut self, command: &str, client: &Client) {
        self.expect(command, 234).await;
        if let Err(error) = self.handshake(client).await {
            self.fail(&format!("TLS handshake: {error}"));
        }
    }

    /// A TLS handshake on the control connection.
    pub async fn handshake(&mut self, client: &Client) -> io::Result<()> {
        let Wire::Plain(tcp) = std::mem::replace(&mut self.stream, Wire::Gone) else {
            panic!("under TLS already");
        };
        let tls = client.connect(tcp).await?;
        self.note("C", b"(TLS)\n");
        self.stream = Wire::Tls(Box::new(tls));
        Ok(())
    }

    /// The TLS of the control connection.
    pub fn tls(&self) -> &ClientConnection {
        match &self.stream {
            Wire::Tls(tls) => tls.get_ref().1,
            _ => panic!("not under TLS"),
        }
    }

    /// The control connection's socket.
    pub fn tcp(&self) -> &TcpStream {
        match &self.stream {
            Wire::Plain(tcp) => tcp,
            Wire::Tls(tls) => tls.get_ref().0,
            Wire::Gone => panic!("the control connection is gone"),
        }
    }

    /// The control connection's socket alone. It is not under TLS.
    pub fn into_tcp(self) -> TcpStream {
        match self.stream {
            Wire::Plain(tcp) => tcp,
            Wire::Tls(_) | Wire::Gone => panic!("not a plain connection"),
        }
    }

    /// The client's end.
    pub fn local_addr(&self) -> SocketAddr {
        self.tcp().local_addr().unwrap()
    }

    /// The server's end.
    pub fn server_addr(&self) -> SocketAddr {
        self.tcp().peer_addr().unwrap()
    }

    /// The conversation so far.
    pub fn transcript(&self) -> &str {
        &self.transcript
    }

    /// Sends a line and its CRLF.
    pub async fn send(&mut self, line: &str) {
        self.send_raw(format!("{line}\r\n").as_bytes()).await;
    }

    /// Sends these bytes.
    pub async fn send_raw(&mut self, bytes: &[u8]) {
        self.note("C", bytes);
        match timeout(DEADLINE, self.stream.write_all(bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.fail(&format!("can't send: {error}")),
            Err(_) => self.fail("the server takes nothing"),
        }
    }

    /// Sends these bytes as urgent data (`MSG_OOB`): TCP marks the last one.
    pub async fn send_urgent(&mut self, bytes: &[u8]) {
        self.note("C urgent", bytes);
        let mut rest = bytes;
        while !rest.is_empty() {
            let writable = timeout(DEADLINE, self.tcp().writable()).await;
            writable.expect("the server to take something").unwrap();
            let sent = self.tcp().try_io(tokio::io::Interest::WRITABLE, || {
                SockRef::from(self.tcp()).send_out_of_band(rest)
            });
            match sent {
                Ok(sent) => rest = &rest[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => self.fail(&format!("can't send: {error}")),
            }
        }
    }

    /// ABOR as RFC 959 describes it and BSD's client sends it: after Telnet IP and Synch, the IAC
    /// of the Synch as urgent data.
    pub async fn send_abor_with_synch(&mut self) {
        self.send_urgent(&[IAC, IP, IAC]).await;
        self.send_raw(&[&[DM], &b"ABOR\r\n"[..]].concat()).await;
    }

    /// The next reply. Cancel safe.
    pub async fn reply(&mut self) -> Reply {
        match timeout(DEADLINE, self.next_reply()).await {
            Ok(Some(reply)) => reply,
            Ok(None) => self.fail("the server closed the control connection"),
            Err(_) => self.fail("no reply in time"),
        }
    }

    /// The next reply, `None` when the server has closed the connection (or reset it) instead.
    pub async fn reply_or_end(&mut self) -> Option<Reply> {
        match timeout(DEADLINE, self.next_reply()).await {
            Ok(reply) => reply,
            Err(_) => self.fail("neither a reply nor the end in time"),
        }
    }

    async fn next_reply(&mut self) -> Option<Reply> {
        loop {
            match parse_reply(&self.input) {
                Ok(Some(reply)) => {
                    let bytes = self.input.split_to(reply.raw.len());
                    self.note("S", &bytes);
                    return Some(reply);
                }
                Ok(None) => {}
                Err(what) => self.fail(&format!(
                    "{what} in {:?}",
                    self.input.escape_ascii().to_string()
                )),
            }
            match self.stream.read_buf(&mut self.input).await {
                Ok(0) if !self.input.is_empty() => self.fail(&format!(
                    "the connection ended within a reply: {:?}",
                    self.input.escape_ascii().to_string()
                )),
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return None,
                Err(error) => self.fail(&format!("can't read: {error}")),
            }
        }
    }

    /// Sends a line and reads one reply.
    pub async fn command(&mut self, line: &str) -> Reply {
        self.send(line).await;
        self.reply().await
    }

    /// Sends a line and reads one reply, which must have this code.
    pub async fn expect(&mut self, line: &str, code: u16) -> Reply {
        let reply = self.command(line).await;
        self.assert_code(&reply, code, line);
        reply
    }

    /// Reads one reply, which must have this code.
    pub async fn expect_reply(&mut self, code: u16) -> Reply {
        let reply = self.reply().await;
        self.assert_code(&reply, code, "what was sent");
        reply
    }

    /// USER and PASS, answered by 331 and 230.
    pub async fn login(&mut self, user: &str, password: &str) {
        self.expect(&format!("USER {user}"), 331).await;
        self.expect(&format!("PASS {password}"), 230).await;
    }

    /// Asserts that no other reply comes: the next one is that of a NOOP.
    pub async fn in_step(&mut self) {
        let reply = self.command("NOOP").await;
        self.assert_code(&reply, 200, "NOOP, which no other reply may come before");
    }

    /// The same as [`in_step`](Self::in_step): shows without waiting that no other reply comes.
    pub async fn no_more_replies(&mut self) {
        self.in_step().await;
    }

    /// Asserts that the server closes the connection without another reply.
    pub async fn expect_end(&mut self) {
        if let Some(reply) = self.reply_or_end().await {
            self.fail(&format!("{reply:?} where the connection was to end"));
        }
    }

    /// Asserts that the server ends the connection by a TLS alert, without a reply.
    pub async fn ends_by_an_alert(&mut self) {
        let mut rest = BytesMut::new();
        let end = timeout(DEADLINE, self.stream.read_buf(&mut rest)).await;
        match end.expect("an end") {
            Err(_) => {}
            Ok(_) => self.fail(&format!("{rest:?} instead of an alert")),
        }
    }

    /// Sends a FIN and continues to read.
    pub async fn end_sending(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Closes with a FIN.
    pub async fn close(mut self) {
        // An error means that the server closed first.
        let _ = timeout(DEADLINE, self.stream.shutdown()).await;
    }

    /// Closes with close_notify alone: TCP stays open.
    pub async fn close_notify(&mut self) {
        let Wire::Tls(tls) = &mut self.stream else {
            panic!("not under TLS");
        };
        tls.get_mut().1.send_close_notify();
        tls.flush().await.unwrap();
    }

    /// A FIN alone: under TLS without close_notify.
    pub async fn tcp_fin(&mut self) {
        let socket = SockRef::from(self.tcp());
        socket.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Changes the keys of TLS 1.3, which is a record and not a command.
    pub async fn update_keys(&mut self) {
        let Wire::Tls(tls) = &mut self.stream else {
            panic!("not under TLS");
        };
        tls.get_mut().1.refresh_traffic_keys().unwrap();
        tls.flush().await.unwrap();
    }

    /// Closes with a reset (RST).
    pub fn reset(self) {
        match self.stream {
            Wire::Plain(tcp) => reset_stream(tcp),
            Wire::Tls(tls) => reset_stream(tls.into_inner().0),
            Wire::Gone => {}
        }
    }

    fn assert_code(&self, reply: &Reply, code: u16, to: &str) {
        if reply.code != code {
            self.fail(&format!("{} instead of {code} to {to}", reply.code));
        }
    }

    fn note(&mut self, who: &str, bytes: &[u8]) {
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            let _ = writeln!(self.transcript, "{who}: {}", line.escape_ascii());
        }
    }

    fn fail(&self, what: &str) -> ! {
        panic!("{what}\n--- the conversation:\n{}---", self.transcript);
    }
}
