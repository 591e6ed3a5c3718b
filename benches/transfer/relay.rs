//! The yardstick for CPU: a process that passes bytes from one socket to another and does nothing else.
//!
//! No gateway can need less than its kernel does for this. Source and sink are threads of the benchmark's own
//! process, so their cost is not counted.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context, Result, ensure};

use crate::args::Role;
use crate::process::{self, Process, Sample};

/// Bytes that one read may take.
const BUFFER: usize = 256 << 10;

/// The child's side: accepts one connection, passes it on to `to`, prints what that cost.
pub fn contend(to: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?);
    let mut from = listener.accept()?.0;
    let mut to = TcpStream::connect(to)?;
    let mut buffer = vec![0; BUFFER];
    let (sample, ()) = Sample::measure(|| {
        loop {
            match from.read(&mut buffer)? {
                0 => return Ok(()),
                length => to.write_all(&buffer[..length])?,
            }
        }
    })?;
    println!("{}", sample.to_line());
    Ok(())
}

/// The benchmark's side: sends `size` bytes through a relay and returns what the relay needed.
pub fn measure(size: u64) -> Result<Sample> {
    let sink = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut relay = Process::start(
        process::role(Role::Relay)?.args(["--to", &sink.local_addr()?.to_string()]),
    )?;
    let mut output = relay.stdout()?;
    let mut source = TcpStream::connect(process::read_line(&mut output)?)?;
    let drain = thread::spawn(move || -> std::io::Result<u64> {
        let mut from = sink.accept()?.0;
        let (mut buffer, mut total) = (vec![0; BUFFER], 0);
        loop {
            match from.read(&mut buffer)? {
                0 => return Ok(total),
                length => total += length as u64,
            }
        }
    });
    let (buffer, mut left) = (vec![0; BUFFER], size);
    while left > 0 {
        let length = left.min(BUFFER as u64) as usize;
        source.write_all(&buffer[..length])?;
        left -= length as u64;
    }
    drop(source);
    let line = process::read_line(&mut output)?;
    let arrived = drain.join().ok().context("the sink panicked")??;
    ensure!(
        arrived == size,
        "the relay passed {arrived} bytes of {size}"
    );
    Sample::from_line(&line).with_context(|| format!("not a sample: {line:?}"))
}
