//! TLS of the client and of the relay, with a server that handles tickets as the gateway does.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use rustls::server::StoresServerSessions;

use super::same;
use crate::relay::{self, Secure};
use crate::sdk::Direction;
use crate::tls::{Identity, Resumption, Tls, server_config};

/// Bytes of one read of a socket.
const BUFFER: usize = 64 << 10;
/// More than a server's tickets.
const CONNECTIONS: usize = 10;
/// No multiple of a record's 16 KiB.
const SIZE: usize = 1_000_003;

/// Bytes pass a relay under TLS in both directions, and none is lost.
pub fn relayed() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let identity = &Identity::create(directory.path())?;
    for direction in [Direction::Up, Direction::Down] {
        let secure = Secure {
            direction,
            identity,
        };
        let sample = relay::measure((20 << 20) + 1, Some(secure))?;
        ensure!(sample.wall > 0.0 && sample.peak > 0, "{sample:?}");
    }
    Ok(())
}

/// All data connections resume the session of the control connection, which works between them.
/// Both ends are noticed, and a FIN alone is not an end.
pub fn resumed() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let identity = Identity::create(directory.path())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let mut config = server_config(directory.path())?;
    config.session_storage = Arc::new(Kept::default());
    let server = thread::spawn(move || serve(&listener, config));

    let (mut control, resumption) = Resumption::begin(&identity, TcpStream::connect(address)?)?;
    for number in 0..CONNECTIONS {
        let tcp = TcpStream::connect(address)?;
        let mut data = resumption.resume(&mut control, tcp, BUFFER)?;
        data.write_all(&vec![7; SIZE])?;
        data.end()?;
        let mut line = [0; 3];
        control
            .read_exact(&mut line)
            .with_context(|| format!("after data connection {number}"))?;
        same(&line, b"226")?;
        let mut came = Vec::new();
        data.read_to_end(&mut came)?;
        ensure!(came == vec![7; SIZE], "{} bytes came back", came.len());
    }
    drop(control);
    let cut = TcpStream::connect(address)?;
    let mut cut = Tls::connect(&identity.client(), cut, BUFFER)?;
    ensure!(!cut.is_resumed(), "this client resumes nothing");
    match cut.read(&mut [0; 16]) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
        other => bail!("a FIN without close_notify gives {other:?}"),
    }
    server.join().ok().context("the server panicked")?
}

/// A control connection, data connections that it echoes after their end, and one that it cuts.
fn serve(listener: &TcpListener, mut config: rustls::ServerConfig) -> Result<()> {
    config.send_tls13_tickets = 4;
    let (with_tickets, tcp) = (Arc::new(config.clone()), listener.accept()?.0);
    let mut control = Tls::accept(&with_tickets, tcp, BUFFER)?;
    config.send_tls13_tickets = 0;
    let config = Arc::new(config);
    for _ in 0..CONNECTIONS {
        let mut data = Tls::accept(&config, listener.accept()?.0, BUFFER)?;
        ensure!(data.is_resumed());
        let mut came = Vec::new();
        data.read_to_end(&mut came)?;
        control.write_all(b"226")?;
        data.write_all(&came)?;
        data.end()?;
    }
    let tcp = listener.accept()?.0;
    let socket = tcp.try_clone()?;
    let _cut = Tls::accept(&config, tcp, BUFFER)?;
    Ok(socket.shutdown(Shutdown::Write)?)
}

/// Sessions that can be resumed any number of times.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<(Vec<u8>, Vec<u8>)>>);

impl StoresServerSessions for Kept {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push((key, value));
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|(of, _)| of == key);
        found.map(|(_, value)| value.clone())
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}
