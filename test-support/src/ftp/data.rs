//! Data connections, and the transfers over them.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use super::reply::{parse_epsv, parse_pasv};
use super::{Ftp, Reply};
use crate::DEADLINE;

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

/// A data connection that exists, or that the server will make.
#[derive(Debug)]
pub enum DataSide {
    /// Passive mode.
    Connected(TcpStream),
    /// Active mode.
    Listening(TcpListener),
}

impl DataSide {
    /// The connection. In active mode call it after the preliminary reply.
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

// Data connections.
impl Ftp {
    /// PASV, and the address in its reply.
    pub async fn pasv(&mut self) -> SocketAddr {
        let reply = self.expect("PASV", 227).await;
        parse_pasv(reply.text()).unwrap_or_else(|| self.fail("no address in the 227"))
    }

    /// EPSV, and the port in its reply at the control connection's address.
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

    /// Listens at the control connection's own address and sends that to the server, which answers
    /// 200.
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

    /// STOR over EPSV, and the final reply. It sets no TYPE.
    pub async fn store(&mut self, path: &str, bytes: &[u8]) -> Reply {
        self.upload_with(&format!("STOR {path}"), bytes, Mode::Passive)
            .await
    }

    /// An upload by `command` (STOR, APPE, STOU with their arguments), and the final reply, also if
    /// it comes before the server has read everything or in place of the preliminary one.
    pub async fn upload_with(&mut self, command: &str, bytes: &[u8], mode: Mode) -> Reply {
        let data = self.data(mode).await;
        let reply = self.command(command).await;
        if !reply.is_preliminary() {
            return reply;
        }
        let mut stream = data.stream().await;
        let writing = async {
            // The server may close its end at any time; the reply says why.
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

    /// RETR over EPSV: the bytes, and the final reply. It sets no TYPE. After a reset the bytes are
    /// those before it.
    pub async fn retrieve(&mut self, path: &str) -> (Vec<u8>, Reply) {
        self.download_with(&format!("RETR {path}"), Mode::Passive)
            .await
    }

    /// A download by `command` (RETR, LIST, MLSD with their arguments): the bytes, and the final
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

/// All bytes until the end, and whether that was a FIN or an error; panics at the deadline.
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
