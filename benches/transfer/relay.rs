//! The reference for CPU: a process that only passes bytes from one socket to another.
//!
//! A gateway can't need less than the kernel needs for this. Source and sink are threads of the
//! benchmark, so their cost is not counted.
//!
//! Under TLS the relay is a server as the gateway is: it decrypts uploads and encrypts downloads,
//! with the gateway's library and the same cipher suite. What the gateway needs in addition is not
//! due to TLS itself. The handshake, a full one, is counted.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, ensure};
use rustls::ClientConfig;

use crate::args::{Args, Role};
use crate::client::Stream;
use crate::process::{self, Process, Sample};
use crate::sdk::Direction;
use crate::tls::{self, Identity, Tls};

/// Bytes of one read at most.
const BUFFER: usize = 256 << 10;

/// The connection of the relay that is under TLS, with its certificate.
#[derive(Debug, Clone, Copy)]
pub struct Secure<'a> {
    /// Up: that from the source; down: that to the sink.
    pub direction: Direction,
    /// The relay's certificate.
    pub identity: &'a Identity,
}

/// The child's side: accepts one connection, passes it to `--to`, and prints the cost.
pub fn contend(args: &Args, role: Role) -> Result<()> {
    let to = args.to.context("this role needs --to")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?);
    let from = listener.accept()?.0;
    let to = TcpStream::connect(to)?;
    let (sample, ()) = Sample::measure(|| match role {
        Role::RelayTlsUp => pass(accept(from, args)?, Stream::Plain(to)),
        Role::RelayTlsDown => pass(Stream::Plain(from), accept(to, args)?),
        _ => pass(Stream::Plain(from), Stream::Plain(to)),
    })?;
    println!("{}", sample.to_line());
    Ok(())
}

fn accept(tcp: TcpStream, args: &Args) -> Result<Stream> {
    let directory: &Path = args.identity.as_deref().context("no --identity")?;
    let config = Arc::new(tls::server_config(directory)?);
    Ok(Stream::Tls(Box::new(Tls::accept(&config, tcp, BUFFER)?)))
}

fn pass(mut from: Stream, mut to: Stream) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(to.end()?),
            length => to.write_all(&buffer[..length])?,
        }
    }
}

/// The benchmark's side: sends `size` bytes through a relay, and returns what the relay used.
pub fn measure(size: u64, secure: Option<Secure<'_>>) -> Result<Sample> {
    let sink = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let role = match secure.map(|secure| secure.direction) {
        None => Role::Relay,
        Some(Direction::Up) => Role::RelayTlsUp,
        Some(Direction::Down) => Role::RelayTlsDown,
    };
    let mut command = process::role(role)?;
    command.args(["--to", &sink.local_addr()?.to_string()]);
    if let Some(secure) = secure {
        command.arg("--identity").arg(secure.identity.directory());
    }
    let mut relay = Process::start(&mut command)?;
    let mut output = relay.stdout()?;
    let source = TcpStream::connect(process::read_line(&mut output)?)?;
    // The client's side of TLS, on the connection that has it.
    let client = |at: Direction| {
        let secure = secure.filter(|secure| secure.direction == at)?;
        Some(secure.identity.client())
    };
    let (up, down) = (client(Direction::Up), client(Direction::Down));
    let drain = thread::spawn(move || -> Result<u64> {
        let mut from = connect(sink.accept()?.0, down)?;
        let (mut buffer, mut total) = (vec![0; BUFFER], 0);
        loop {
            match from.read(&mut buffer)? {
                0 => return Ok(total),
                length => total += length as u64,
            }
        }
    });
    let mut source = connect(source, up)?;
    let (buffer, mut left) = (vec![0; BUFFER], size);
    while left > 0 {
        let length = left.min(BUFFER as u64) as usize;
        source.write_all(&buffer[..length])?;
        left -= length as u64;
    }
    source.end()?;
    drop(source);
    let line = process::read_line(&mut output)?;
    let arrived = drain.join().ok().context("the sink panicked")??;
    ensure!(
        arrived == size,
        "the relay passed {arrived} bytes of {size}"
    );
    Sample::from_line(&line).with_context(|| format!("not a sample: {line:?}"))
}

fn connect(tcp: TcpStream, config: Option<Arc<ClientConfig>>) -> Result<Stream> {
    Ok(match config {
        Some(config) => Stream::Tls(Box::new(Tls::connect(&config, tcp, BUFFER)?)),
        None => Stream::Plain(tcp),
    })
}
