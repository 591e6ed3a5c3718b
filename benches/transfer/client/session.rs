//! An FTP session over blocking sockets, as simple as RFC 959, RFC 2428 and, under TLS, RFC 4217
//! allow.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{Door, Stream};
use crate::gateway::USER;
use crate::tls::{Identity, Resumption};

/// Bytes of one read or write of a data connection.
const BUFFER: usize = 256 << 10;
/// Time limit for the next byte of a reply or of data.
const DEADLINE: Duration = Duration::from_secs(120);

/// A session that is logged in.
#[derive(Debug)]
pub struct Session {
    control: BufReader<Stream>,
    /// The control connection's TLS session; `None`: plaintext.
    resumption: Option<Resumption>,
    /// Allocated by the first transfer, since an idle session needs none.
    buffer: Vec<u8>,
}

impl Session {
    /// Connects and logs in; under TLS in the order that curl uses.
    pub fn open(door: Door<'_>) -> Result<Session> {
        let mut session = Session {
            control: lines(Stream::Plain(connect(door.port)?)),
            resumption: None,
            buffer: Vec::new(),
        };
        session.reply("220")?;
        if let Some(identity) = door.identity {
            session = session.secure(identity)?;
        }
        session.command(&format!("USER {USER}"), "331")?;
        session.command(&format!("PASS {USER}"), "230")?;
        if session.resumption.is_some() {
            session.command("PBSZ 0", "200")?;
            session.command("PROT P", "200")?;
        }
        Ok(session)
    }

    /// Starts TLS on the control connection.
    fn secure(mut self, identity: &Identity) -> Result<Session> {
        self.command("AUTH TLS", "234")?;
        let Stream::Plain(tcp) = self.control.into_inner() else {
            bail!("the control connection is under TLS");
        };
        let (tls, resumption) = Resumption::begin(identity, tcp)?;
        Ok(Session {
            control: lines(Stream::Tls(Box::new(tls))),
            resumption: Some(resumption),
            ..self
        })
    }

    /// Uploads `size` bytes.
    pub fn store(&mut self, name: &str, size: u64) -> Result<()> {
        let data = self.data()?;
        self.command(&format!("STOR {name}"), "150")?;
        let mut data = self.protect(data)?;
        let mut left = size;
        while left > 0 {
            let length = left.min(BUFFER as u64) as usize;
            data.write_all(&self.buffer[..length])?;
            left -= length as u64;
        }
        data.end()?;
        drop(data);
        self.reply("226").map(drop)
    }

    /// Uploads `size` bytes at a rate in bytes a second, in pieces of a tenth of a second.
    pub fn store_slowly(&mut self, name: &str, size: u64, rate: f64) -> Result<()> {
        let data = self.data()?;
        self.command(&format!("STOR {name}"), "150")?;
        let mut data = self.protect(data)?;
        let begun = Instant::now();
        let piece = ((rate / 10.0) as u64).clamp(1, BUFFER as u64);
        let mut sent = 0;
        while sent < size {
            let length = piece.min(size - sent);
            data.write_all(&self.buffer[..length as usize])?;
            sent += length;
            let due = begun + Duration::from_secs_f64(sent as f64 / rate);
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        data.end()?;
        drop(data);
        self.reply("226").map(drop)
    }

    /// Downloads `size` bytes and drops them, after SIZE as curl does.
    pub fn retrieve(&mut self, name: &str, size: u64) -> Result<()> {
        let data = self.data()?;
        let reply = self.command(&format!("SIZE {name}"), "213")?;
        ensure!(
            reply == format!("213 {size}"),
            "{name} has {size} bytes: {reply}"
        );
        self.command(&format!("RETR {name}"), "150")?;
        let data = self.protect(data)?;
        let mut came = 0;
        self.drain(data, |bytes| came += bytes.len() as u64)?;
        ensure!(came == size, "{came} bytes came of {size}");
        Ok(())
    }

    /// Lists a directory, in pieces as the lines arrive.
    pub fn list(&mut self, directory: &str, piece: impl FnMut(&[u8])) -> Result<()> {
        self.command(&format!("CWD {directory}"), "250")?;
        let data = self.data()?;
        self.command("LIST", "150")?;
        let data = self.protect(data)?;
        self.drain(data, piece)
    }

    /// A passive data connection. Before the first one it selects binary mode.
    fn data(&mut self) -> Result<TcpStream> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; BUFFER];
            self.command("TYPE I", "200")?;
        }
        let reply = self.command("EPSV", "229")?;
        connect(parse_port(&reply).with_context(|| format!("no port in {reply:?}"))?)
    }

    /// The handshake of a data connection, after the 150; none in plaintext.
    fn protect(&mut self, tcp: TcpStream) -> Result<Stream> {
        match (&self.resumption, self.control.get_mut()) {
            (Some(resumption), Stream::Tls(control)) => {
                let tls = resumption.resume(control, tcp, BUFFER)?;
                Ok(Stream::Tls(Box::new(tls)))
            }
            _ => Ok(Stream::Plain(tcp)),
        }
    }

    /// Reads data to its end, ends this side too, then reads the final reply.
    fn drain(&mut self, mut data: Stream, mut piece: impl FnMut(&[u8])) -> Result<()> {
        loop {
            match data.read(&mut self.buffer)? {
                0 => break,
                length => piece(&self.buffer[..length]),
            }
        }
        data.end()?;
        self.reply("226").map(drop)
    }

    /// Sends a command and returns its reply, which must have this code.
    fn command(&mut self, command: &str, code: &str) -> Result<String> {
        // In one write, so that it is one segment.
        let line = format!("{command}\r\n");
        self.control.get_mut().write_all(line.as_bytes())?;
        self.reply(code)
    }

    /// Reads one reply (RFC 959, 4.2), checks its code and returns its last line.
    fn reply(&mut self, code: &str) -> Result<String> {
        loop {
            let mut line = String::new();
            if self.control.read_line(&mut line)? == 0 {
                bail!("the control connection was closed");
            }
            let line = line.trim_end();
            let last = line.starts_with(|c: char| c.is_ascii_digit())
                && line.as_bytes().get(3) != Some(&b'-');
            if last {
                ensure!(line.starts_with(code), "expected {code}, got {line:?}");
                return Ok(line.to_owned());
            }
        }
    }
}

/// A control connection that is read by lines.
fn lines(stream: Stream) -> BufReader<Stream> {
    BufReader::with_capacity(1024, stream)
}

fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    Ok(stream)
}

/// The port in a reply to EPSV: `229 … (|||PORT|)`.
pub fn parse_port(reply: &str) -> Option<u16> {
    let (port, _) = reply.split_once("(|||")?.1.split_once("|)")?;
    port.parse().ok()
}
