//! A raw-socket FTP client: sends exactly the bytes a test names, and reads replies as strictly as
//! RFC 959 writes them.
//!
//! It knows nothing by itself: no TYPE is set, no command is sent that the test did not ask for.
//! Each wait has a deadline, and a failure panics with the whole conversation so far.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a toolbox: not each test binary uses all of it, and tests fail by panics"
)]

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::BytesMut;
use rustls::ClientConnection;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::tls::Client;

/// How long anything may take before the test fails.
pub const DEADLINE: Duration = Duration::from_secs(60);

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
    /// What has arrived and is no whole reply yet.
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

    /// A FIN, under TLS behind close_notify.
    async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Wire::Plain(tcp) => tcp.shutdown().await,
            Wire::Tls(tls) => tls.shutdown().await,
            Wire::Gone => Ok(()),
        }
    }
}

/// One reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its code.
    pub code: u16,
    /// Its lines as they were sent, codes included, without their ends; bytes that are no UTF-8
    /// are replaced.
    pub lines: Vec<String>,
    /// Its bytes.
    pub raw: Vec<u8>,
}

impl Reply {
    /// The last line without its code.
    pub fn text(&self) -> &str {
        self.lines.last().map_or("", |line| &line[4..])
    }

    /// Whether it is a 1yz: another reply follows.
    pub fn is_preliminary(&self) -> bool {
        self.code < 200
    }
}

/// How the data connection of a transfer is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// EPSV.
    Passive,
    /// PASV.
    Pasv,
    /// PORT.
    Active,
    /// EPRT.
    Eprt,
}

impl Mode {
    /// Each of them.
    pub const ALL: [Mode; 4] = [Mode::Passive, Mode::Pasv, Mode::Active, Mode::Eprt];
}

/// Which command names the client's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Active {
    /// PORT.
    Port,
    /// EPRT.
    Eprt,
}

/// A data connection that is there, or that the server will make.
#[derive(Debug)]
pub enum DataSide {
    /// Passive mode.
    Connected(TcpStream),
    /// Active mode.
    Listening(TcpListener),
}

impl DataSide {
    /// The connection. In active mode after the preliminary reply.
    pub async fn stream(self) -> TcpStream {
        match self {
            DataSide::Connected(stream) => stream,
            DataSide::Listening(listener) => {
                let accepted = timeout(DEADLINE, listener.accept()).await;
                accepted.expect("the server to connect").unwrap().0
            }
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

    /// As [`Ftp::connect`], from another of this machine's addresses (`127.0.0.2`).
    pub async fn connect_from(source: IpAddr, server: SocketAddr) -> Ftp {
        let mut ftp = Ftp::over(connect_from(source, server).await.unwrap());
        let greeting = ftp.reply().await;
        ftp.assert_code(&greeting, 220, "the greeting");
        ftp
    }

    /// A control connection over a stream of the test's, from which no greeting is read.
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

    /// Our end.
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

    /// ABOR in the way of RFC 959, as BSD's client does it: Telnet IP and Synch before it, the
    /// Synch's IAC as urgent data.
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

    /// Asserts that no reply is left over: that of a NOOP is the next one.
    pub async fn in_step(&mut self) {
        let reply = self.command("NOOP").await;
        self.assert_code(&reply, 200, "NOOP, which no other reply may come before");
    }

    /// The same as [`in_step`](Self::in_step): proves without waiting that nothing more comes.
    pub async fn no_more_replies(&mut self) {
        self.in_step().await;
    }

    /// Asserts that the server closes the connection, and sends nothing more before.
    pub async fn expect_end(&mut self) {
        if let Some(reply) = self.reply_or_end().await {
            self.fail(&format!("{reply:?} where the connection was to end"));
        }
    }

    /// Asserts that the server ends the connection by an alert of TLS, without a reply.
    pub async fn ends_by_an_alert(&mut self) {
        let mut rest = BytesMut::new();
        let end = timeout(DEADLINE, self.stream.read_buf(&mut rest)).await;
        match end.expect("an end") {
            Err(_) => {}
            Ok(_) => self.fail(&format!("{rest:?} instead of an alert")),
        }
    }

    /// Sends a FIN and goes on reading.
    pub async fn end_sending(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Closes with a FIN.
    pub async fn close(mut self) {
        // An error says that the server was faster.
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

    /// Changes the keys of TLS 1.3: a record that is no command.
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

// Data connections.
impl Ftp {
    /// PASV, and the address it told.
    pub async fn pasv(&mut self) -> SocketAddr {
        let reply = self.expect("PASV", 227).await;
        parse_pasv(reply.text()).unwrap_or_else(|| self.fail("no address in the 227"))
    }

    /// EPSV, and the port it told at the control connection's address.
    pub async fn epsv(&mut self) -> SocketAddr {
        let reply = self.expect("EPSV", 229).await;
        let port = parse_epsv(reply.text()).unwrap_or_else(|| self.fail("no port in the 229"));
        SocketAddr::new(self.server_addr().ip(), port)
    }

    /// A data connection by EPSV, from the control connection's own address.
    pub async fn data_passive(&mut self) -> TcpStream {
        let address = self.epsv().await;
        self.connect_data(address).await
    }

    /// A data connection by PASV.
    pub async fn data_passive_pasv(&mut self) -> TcpStream {
        let address = self.pasv().await;
        self.connect_data(address).await
    }

    async fn connect_data(&mut self, address: SocketAddr) -> TcpStream {
        match connect_from(self.local_addr().ip(), address).await {
            Ok(stream) => stream,
            Err(error) => self.fail(&format!("no data connection to {address}: {error}")),
        }
    }

    /// Listens at the control connection's own address and tells the server so; answered by 200.
    pub async fn active(&mut self, by: Active) -> TcpListener {
        let listener = TcpListener::bind((self.local_addr().ip(), 0)).await;
        let listener = listener.unwrap();
        let address = listener.local_addr().unwrap();
        let command = match by {
            Active::Port => port_command(address),
            Active::Eprt => eprt_command(address),
        };
        self.expect(&command, 200).await;
        listener
    }

    /// Prepares a data connection; call it before the transfer command.
    pub async fn data(&mut self, mode: Mode) -> DataSide {
        match mode {
            Mode::Passive => DataSide::Connected(self.data_passive().await),
            Mode::Pasv => DataSide::Connected(self.data_passive_pasv().await),
            Mode::Active => DataSide::Listening(self.active(Active::Port).await),
            Mode::Eprt => DataSide::Listening(self.active(Active::Eprt).await),
        }
    }

    /// STOR over EPSV; the final reply. In whatever TYPE is set.
    pub async fn store(&mut self, path: &str, bytes: &[u8]) -> Reply {
        self.upload_with(&format!("STOR {path}"), bytes, Mode::Passive)
            .await
    }

    /// An upload by `command` (STOR, APPE, STOU with their arguments); the final reply, also where
    /// it comes before the server has taken all, or instead of the preliminary one.
    pub async fn upload_with(&mut self, command: &str, bytes: &[u8], mode: Mode) -> Reply {
        let data = self.data(mode).await;
        let reply = self.command(command).await;
        if !reply.is_preliminary() {
            return reply;
        }
        let mut stream = data.stream().await;
        let writing = async {
            // The server may close its end at any time; the reply tells why.
            if stream.write_all(bytes).await.is_ok() {
                let _ = stream.shutdown().await;
            }
        };
        tokio::select! {
            biased;
            reply = self.reply() => return reply,
            () = writing => {}
        }
        self.reply().await
    }

    /// RETR over EPSV: what came, and the final reply. In whatever TYPE is set. The bytes are those
    /// before a reset, if there was one.
    pub async fn retrieve(&mut self, path: &str) -> (Vec<u8>, Reply) {
        self.download_with(&format!("RETR {path}"), Mode::Passive)
            .await
    }

    /// A download by `command` (RETR, LIST, MLSD with their arguments): what came, and the final
    /// reply.
    pub async fn download_with(&mut self, command: &str, mode: Mode) -> (Vec<u8>, Reply) {
        let data = self.data(mode).await;
        let reply = self.command(command).await;
        if !reply.is_preliminary() {
            return (Vec::new(), reply);
        }
        let mut stream = data.stream().await;
        let (bytes, _) = read_to_end_deadline(&mut stream).await;
        drop(stream);
        (bytes, self.reply().await)
    }

    /// A listing over EPSV by `command` (`LIST -la /x`): its text, and the final reply.
    pub async fn list(&mut self, command: &str) -> (String, Reply) {
        let (bytes, reply) = self.download_with(command, Mode::Passive).await;
        (String::from_utf8_lossy(&bytes).into_owned(), reply)
    }
}

/// Connects from one of this machine's addresses, from any port.
pub async fn connect_from(source: IpAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind(SocketAddr::new(source, 0))?;
    timeout(DEADLINE, socket.connect(to)).await?
}

/// Closes a stream with a reset (RST).
pub fn reset_stream(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}

/// All that comes until the end, and whether that was a FIN or an error; panics at the deadline.
pub async fn read_to_end_deadline(stream: &mut TcpStream) -> (Vec<u8>, io::Result<()>) {
    let mut bytes = Vec::new();
    let end = timeout(DEADLINE, stream.read_to_end(&mut bytes)).await;
    match end {
        Ok(end) => (bytes, end.map(|_| ())),
        Err(_) => panic!("the data connection has no end; {} bytes came", bytes.len()),
    }
}

/// `PORT h1,h2,h3,h4,p1,p2` for an IPv4 address.
pub fn port_command(address: SocketAddr) -> String {
    let IpAddr::V4(ip) = address.ip() else {
        panic!("PORT is for IPv4, not {address}");
    };
    let [h1, h2, h3, h4] = ip.octets();
    let [p1, p2] = address.port().to_be_bytes();
    format!("PORT {h1},{h2},{h3},{h4},{p1},{p2}")
}

/// `EPRT |family|address|port|` (RFC 2428).
pub fn eprt_command(address: SocketAddr) -> String {
    let family = if address.is_ipv4() { 1 } else { 2 };
    format!("EPRT |{family}|{}|{}|", address.ip(), address.port())
}

/// The address in the text of a 227: six numbers in parentheses.
fn parse_pasv(text: &str) -> Option<SocketAddr> {
    let (_, rest) = text.split_once('(')?;
    let (inner, _) = rest.split_once(')')?;
    let numbers: Result<Vec<u8>, _> = inner.split(',').map(str::parse).collect();
    let [h1, h2, h3, h4, p1, p2] = numbers.ok()?.try_into().ok()?;
    let port = u16::from_be_bytes([p1, p2]);
    Some(SocketAddr::from(([h1, h2, h3, h4], port)))
}

/// The port in the text of a 229: `(|||port|)`.
fn parse_epsv(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("(|||")?;
    let (port, _) = rest.split_once("|)")?;
    port.parse().ok()
}

/// The first reply in `input`: `None` when it isn't all there yet, an error when it is none of
/// RFC 959 (section 4.2). A line ends in CRLF, and neither CR nor LF is in it; the last line of
/// several has the first one's code and a space, no line between has another code.
fn parse_reply(input: &[u8]) -> Result<Option<Reply>, String> {
    let mut lines: Vec<String> = Vec::new();
    let mut code = 0;
    let mut at = 0;
    while let Some(length) = input[at..].iter().position(|&byte| byte == b'\n') {
        let line = &input[at..at + length];
        at += length + 1;
        let line = line
            .strip_suffix(b"\r")
            .ok_or("a line that ends in a bare LF")?;
        if line.contains(&b'\r') {
            return Err("a CR within a line".to_owned());
        }
        let head = reply_head(line);
        let first = lines.is_empty();
        lines.push(String::from_utf8_lossy(line).into_owned());
        match head {
            None if first => return Err("a reply that begins with no code".to_owned()),
            None => continue,
            Some((own, _)) if !first && own != code => {
                return Err(format!("a line of code {own} within a reply {code}"));
            }
            Some((own, b'-')) => code = own,
            Some((own, _)) => {
                return Ok(Some(Reply {
                    code: own,
                    lines,
                    raw: input[..at].to_vec(),
                }));
            }
        }
    }
    Ok(None)
}

/// The code of a line and the space or hyphen after it.
fn reply_head(line: &[u8]) -> Option<(u16, u8)> {
    match line {
        [
            a @ b'1'..=b'6',
            b @ b'0'..=b'9',
            c @ b'0'..=b'9',
            mark @ (b' ' | b'-'),
            ..,
        ] => {
            let digit = |byte: &u8| u16::from(byte - b'0');
            Some((digit(a) * 100 + digit(b) * 10 + digit(c), *mark))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinHandle;

    use super::*;

    /// Serves one connection: `script` is what a server does with it.
    async fn serve<F, S>(script: S) -> (SocketAddr, JoinHandle<F::Output>)
    where
        S: FnOnce(Server) -> F + Send + 'static,
        F: Future<Output: Send + 'static> + Send,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            script(Server(stream)).await
        });
        (address, serving)
    }

    async fn join<T>(serving: JoinHandle<T>) -> T {
        timeout(DEADLINE, serving).await.unwrap().unwrap()
    }

    /// The server's end of a scripted conversation.
    struct Server(TcpStream);

    impl Server {
        async fn say(&mut self, bytes: &[u8]) {
            self.0.write_all(bytes).await.unwrap();
        }

        async fn hear(&mut self) -> String {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                let byte = self.0.read_u8().await.unwrap();
                line.push(byte);
            }
            line.truncate(line.len() - 2);
            String::from_utf8(line).unwrap()
        }

        /// Hears this line and answers.
        async fn play(&mut self, line: &str, answer: &str) {
            assert_eq!(self.hear().await, line);
            self.say(format!("{answer}\r\n").as_bytes()).await;
        }

        /// Answers an EPSV and takes the data connection.
        async fn passive(&mut self) -> TcpStream {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            self.play("EPSV", &format!("229 Listening (|||{port}|)"))
                .await;
            listener.accept().await.unwrap().0
        }
    }

    #[test]
    fn replies_are_parsed_wherever_they_are_cut() {
        let raw = b"211-Features:\r\n SIZE\r\n211-still\r\n\r\n 211 no end\r\n211 End\r\n";
        for cut in 0..raw.len() {
            assert_eq!(parse_reply(&raw[..cut]), Ok(None), "{cut}");
        }
        let more = [&raw[..], b"200 next\r\n"].concat();
        let reply = parse_reply(&more).unwrap().unwrap();
        assert_eq!((reply.code, reply.lines.len()), (211, 6));
        assert_eq!(reply.text(), "End");
        assert_eq!(reply.lines[1], " SIZE");
        assert_eq!(reply.raw, raw);
        let empty = parse_reply(b"200 \r\n").unwrap().unwrap();
        assert_eq!(empty.text(), "");
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for wrong in [
            &b"220 hello\n"[..],
            b"220 a\rb\r\n",
            b"220 a\r\r\n",
            b"hello\r\n",
            b"\r\n",
            b"22 hello\r\n",
            b"220\r\n",
            b"220hello\r\n",
            b"020 hello\r\n",
            b"720 hello\r\n",
            b"211-a\r\n226 b\r\n",
            b"211-a\r\n226-b\r\n",
            b"211-a\n211 b\r\n",
        ] {
            assert!(parse_reply(wrong).is_err(), "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn addresses_go_there_and_back() {
        let address: SocketAddr = "192.0.2.7:5001".parse().unwrap();
        let port = port_command(address);
        assert_eq!(port, "PORT 192,0,2,7,19,137");
        let numbers = port.strip_prefix("PORT ").unwrap();
        let text = format!("Entering Passive Mode ({numbers}).");
        assert_eq!(parse_pasv(&text), Some(address));
        assert_eq!(parse_pasv("(192,0,2,7,19)"), None);
        assert_eq!(parse_pasv("(192,0,2,256,19,1)"), None);
        assert_eq!(parse_epsv("Entering (|||5001|)"), Some(5001));
        assert_eq!(parse_epsv("Entering (||5001|)"), None);
        assert_eq!(eprt_command(address), "EPRT |1|192.0.2.7|5001|");
        let six = "[2001:db8::7]:5001".parse().unwrap();
        assert_eq!(eprt_command(six), "EPRT |2|2001:db8::7|5001|");
    }

    #[tokio::test]
    async fn a_login_an_upload_and_the_end() {
        let (address, serving) = serve(async |mut server: Server| {
            server.say(b"220-hello\r\n220 there\r\n").await;
            server.play("USER me", "331 password").await;
            server.play("PASS secret", "230 in").await;
            let mut data = server.passive().await;
            server.play("STOR a b", "150 go").await;
            let (bytes, end) = read_to_end_deadline(&mut data).await;
            end.unwrap();
            server.say(b"226 done\r\n").await;
            server.play("NOOP", "200 yes").await;
            server.play("QUIT", "221 bye").await;
            bytes
        })
        .await;
        let mut ftp = Ftp::connect(address).await;
        ftp.login("me", "secret").await;
        let reply = ftp.store("a b", b"some bytes").await;
        assert_eq!((reply.code, reply.text()), (226, "done"));
        ftp.in_step().await;
        ftp.expect("QUIT", 221).await;
        ftp.expect_end().await;
        assert_eq!(join(serving).await, b"some bytes");
        assert!(ftp.transcript().contains("C: STOR a b\\r\\n\nS: 150 go"));
    }

    #[tokio::test]
    async fn active_uploads_and_both_ways_to_say_so() {
        for (mode, verb) in [
            (Mode::Active, "PORT 127,0,0,1,"),
            (Mode::Eprt, "EPRT |1|127.0.0.1|"),
        ] {
            let (address, serving) = serve(async move |mut server: Server| {
                server.say(b"220 hello\r\n").await;
                let line = server.hear().await;
                assert!(line.starts_with(verb), "{line}");
                let to = match mode {
                    Mode::Active => parse_pasv(&format!("({})", &line[5..])).unwrap(),
                    _ => {
                        let port = line.split('|').nth(3).unwrap();
                        SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()))
                    }
                };
                server.say(b"200 so be it\r\n").await;
                server.play("APPE x", "150 go").await;
                let mut data = TcpStream::connect(to).await.unwrap();
                let (bytes, _) = read_to_end_deadline(&mut data).await;
                server.say(b"226 done\r\n").await;
                bytes
            })
            .await;
            let mut ftp = Ftp::connect(address).await;
            let reply = ftp.upload_with("APPE x", b"bytes", mode).await;
            assert_eq!(reply.code, 226);
            assert_eq!(join(serving).await, b"bytes");
        }
    }

    #[tokio::test]
    async fn a_refusal_is_the_final_reply_also_while_data_is_on_its_way() {
        let (address, serving) = serve(async |mut server: Server| {
            server.say(b"220 hello\r\n").await;
            let unused = server.passive().await;
            server.play("STOR x", "553 no").await;
            drop(unused);
            let _never_read = server.passive().await;
            server.play("STOR y", "150 go").await;
            server.say(b"452 full\r\n").await;
            let mut data = server.passive().await;
            server.play("RETR z", "150 go").await;
            data.write_all(b"half").await.unwrap();
            // The client's reset.
            data.read_u8().await.unwrap_err();
        })
        .await;
        let mut ftp = Ftp::connect(address).await;
        assert_eq!(ftp.store("x", b"bytes").await.code, 553);
        let too_much = vec![0; 64 << 20];
        assert_eq!(ftp.store("y", &too_much).await.code, 452);
        let mut data = ftp.data_passive().await;
        ftp.expect("RETR z", 150).await;
        let mut half = [0; 4];
        data.read_exact(&mut half).await.unwrap();
        assert_eq!(&half, b"half");
        reset_stream(data);
        join(serving).await;
    }

    #[tokio::test]
    async fn downloads_end_cleanly_or_not() {
        let (address, serving) = serve(async |mut server: Server| {
            server.say(b"220 hello\r\n").await;
            let mut data = server.passive().await;
            server.play("RETR x", "150 go").await;
            data.write_all(b"whole").await.unwrap();
            drop(data);
            server.say(b"226 done\r\n").await;
            let mut data = server.passive().await;
            server.play("LIST -la", "150 go").await;
            data.write_all("ä\r\n".as_bytes()).await.unwrap();
            drop(data);
            server.say(b"226 done\r\n").await;
            let data = server.passive().await;
            server.play("RETR y", "150 go").await;
            reset_stream(data);
            server.say(b"426 broken\r\n").await;
        })
        .await;
        let mut ftp = Ftp::connect(address).await;
        let (bytes, reply) = ftp.retrieve("x").await;
        assert_eq!((&bytes[..], reply.code), (&b"whole"[..], 226));
        let (text, reply) = ftp.list("LIST -la").await;
        assert_eq!((text.as_str(), reply.code), ("ä\r\n", 226));
        let (bytes, reply) = ftp.retrieve("y").await;
        assert_eq!((&bytes[..], reply.code), (&b""[..], 426));
        join(serving).await;
    }

    #[tokio::test]
    async fn a_reply_too_many_is_found() {
        let (address, _serving) = serve(async |mut server: Server| {
            server.say(b"220 hello\r\n226 once too often\r\n").await;
            server.play("NOOP", "200 yes").await;
        })
        .await;
        let mut ftp = Ftp::connect(address).await;
        let out_of_step = tokio::spawn(async move { ftp.in_step().await });
        let panic = timeout(DEADLINE, out_of_step).await.unwrap().unwrap_err();
        let message = *panic.into_panic().downcast::<String>().unwrap();
        assert!(message.starts_with("226 instead of 200"), "{message}");
        assert!(message.contains("S: 226 once too often"), "{message}");
    }

    #[tokio::test]
    async fn an_end_within_a_reply_is_no_end() {
        let (address, serving) = serve(async |mut server: Server| {
            server.say(b"220 hello\r\n421 go").await;
        })
        .await;
        let mut ftp = Ftp::connect(address).await;
        join(serving).await;
        let ending = tokio::spawn(async move { ftp.expect_end().await });
        let panic = timeout(DEADLINE, ending).await.unwrap().unwrap_err();
        let message = *panic.into_panic().downcast::<String>().unwrap();
        assert!(message.contains("ended within a reply"), "{message}");
    }

    #[tokio::test]
    async fn urgent_data_is_marked() {
        let (address, serving) = serve(async |mut server: Server| {
            server.say(b"220 hello\r\n").await;
            let mut bytes = Vec::new();
            // Not inline: the urgent byte is missing from the stream.
            server.0.read_to_end(&mut bytes).await.unwrap();
            bytes
        })
        .await;
        let mut ftp = Ftp::connect(address).await;
        ftp.send_abor_with_synch().await;
        ftp.close().await;
        assert_eq!(
            join(serving).await,
            [&[IAC, IP, DM], &b"ABOR\r\n"[..]].concat()
        );
    }

    #[tokio::test]
    async fn closing_and_resetting_differ() {
        for resets in [false, true] {
            let (address, serving) = serve(async |mut server: Server| {
                server.say(b"220 hello\r\n").await;
                server.0.read(&mut [0]).await
            })
            .await;
            let ftp = Ftp::connect(address).await;
            if resets {
                ftp.reset();
                let error = join(serving).await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            } else {
                ftp.close().await;
                assert_eq!(join(serving).await.unwrap(), 0);
            }
        }
    }

    #[tokio::test]
    async fn another_source_address_can_be_had() {
        let (address, serving) = serve(async |mut server: Server| {
            server.say(b"220 hello\r\n").await;
            server.0.peer_addr().unwrap().ip()
        })
        .await;
        let source = Ipv4Addr::new(127, 0, 0, 2).into();
        let ftp = Ftp::connect_from(source, address).await;
        assert_eq!(join(serving).await, source);
        assert_eq!(ftp.local_addr().ip(), source);
    }
}
