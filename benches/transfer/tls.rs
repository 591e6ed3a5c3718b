//! TLS for the client and for the relay under TLS: TLS 1.3 with one cipher suite, over a blocking
//! socket.
//!
//! A read of the socket decrypts all records that it got, and a write encrypts all its bytes before
//! it writes once. So the relay under TLS needs few system calls, and its CPU time is little more
//! than that of the kernel and the cipher.

mod identity;
mod resumption;
mod rewind;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;

use anyhow::Result;
use rustls::pki_types::{IpAddr, ServerName};
use rustls::{
    ClientConfig, ClientConnection, Connection, HandshakeKind, ServerConfig, ServerConnection,
};

pub use identity::{Identity, server_config};
pub use resumption::Resumption;

/// The suite of all connections, with the name that curl and OpenSSL use.
pub const SUITE: &str = "TLS_AES_256_GCM_SHA384";
/// Length of a record's header: its type, a version, the length of the rest.
const HEADER: usize = 5;

/// A connection under TLS, its handshake done.
#[derive(Debug)]
pub struct Tls {
    connection: Connection,
    socket: Socket,
}

impl Tls {
    /// A handshake as the client; one read of the socket takes up to `buffer` bytes.
    pub fn connect(config: &Arc<ClientConfig>, tcp: TcpStream, buffer: usize) -> Result<Tls> {
        let name = ServerName::IpAddress(IpAddr::from(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let connection = ClientConnection::new(Arc::clone(config), name)?;
        Ok(Tls::handshake(connection.into(), tcp, buffer)?)
    }

    /// A handshake as the server.
    pub fn accept(config: &Arc<ServerConfig>, tcp: TcpStream, buffer: usize) -> Result<Tls> {
        let connection = ServerConnection::new(Arc::clone(config))?;
        Ok(Tls::handshake(connection.into(), tcp, buffer)?)
    }

    fn handshake(mut connection: Connection, tcp: TcpStream, buffer: usize) -> io::Result<Tls> {
        // A write makes all its records before it sends the first.
        connection.set_buffer_limit(None);
        let mut socket = Socket(BufReader::with_capacity(buffer, tcp));
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        let mut tls = Tls { connection, socket };
        tls.flush()?;
        Ok(tls)
    }

    /// Whether its handshake has resumed a session.
    pub fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Sends close_notify: this side sends no more bytes.
    pub fn end(&mut self) -> io::Result<()> {
        self.connection.send_close_notify();
        self.flush()
    }

    /// Reads the next record from the socket, undecrypted.
    fn read_record(&mut self) -> io::Result<Vec<u8>> {
        let mut record = vec![0; HEADER];
        self.socket.0.read_exact(&mut record)?;
        let length = u16::from_be_bytes([record[3], record[4]]);
        record.resize(HEADER + usize::from(length), 0);
        self.socket.0.read_exact(&mut record[HEADER..])?;
        Ok(record)
    }

    /// Handles bytes as if they came from the socket.
    fn feed(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.connection.read_tls(&mut bytes)?;
            self.connection
                .process_new_packets()
                .map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// 0: the other side's close_notify; a FIN without it is an error.
impl Read for Tls {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < out.len() {
            match self.connection.reader().read(&mut out[filled..]) {
                Ok(0) => break,
                Ok(length) => {
                    filled += length;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            let buffered = self.socket.0.buffer().len();
            if filled > 0 && buffered == 0 {
                break;
            }
            let mut bytes = self.socket.0.fill_buf()?;
            let had = bytes.len();
            self.connection.read_tls(&mut bytes)?;
            let taken = had - bytes.len();
            self.socket.0.consume(taken);
            self.connection
                .process_new_packets()
                .map_err(io::Error::other)?;
        }
        Ok(filled)
    }
}

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.connection.writer().write(bytes)?;
        self.flush()?;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.socket)?;
        }
        Ok(())
    }
}

/// A socket with large reads.
#[derive(Debug)]
struct Socket(BufReader<TcpStream>);

impl Read for Socket {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(bytes)
    }

    // All records in one system call.
    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.get_mut().write_vectored(pieces)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
