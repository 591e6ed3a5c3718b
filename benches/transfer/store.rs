//! An S3 endpoint that keeps no bytes: `--role null` and `--role null-slow`.
//!
//! It shares the machine's cores with the contestants, so it does as little as HTTP allows:
//! uploaded bytes are dropped in the kernel, downloaded ones are zeros from one buffer, and only
//! sizes are stored ([`objects`]). Each connection has a thread. There are few connections, and a
//! thread sleeps with a precision of some 50 µs, a timer wheel with a millisecond, which matters
//! for an answer after 20 ms.
//!
//! The slow store behaves like one that is a network away: a fixed time from the end of a request
//! to the first byte of its answer, and a fixed rate for each direction of a connection
//! ([`crate::pacer`]).

mod listing;
mod objects;
mod request;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::socket::{MsgFlags, recv};

use crate::args::Role;
use crate::pacer::Pacer;
use crate::process::{self, Process};

use objects::{Answer, Body, Objects};
use request::Request;

pub use listing::MILLION;
pub use objects::sized_key;
pub use request::{parse_range, percent_decode};

/// Bytes of one system call without a limit of the rate.
const BUFFER: usize = 512 << 10;
/// The same with a limit: 1.6 ms at 80 MB/s.
const PACED_BUFFER: usize = 128 << 10;
/// The bytes of downloads.
static ZEROS: [u8; BUFFER] = [0; BUFFER];

/// The speed of a store.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// From the end of a request to the first byte of its answer.
    latency: Duration,
    /// Bytes a second of each connection in each direction.
    rate: Option<f64>,
}

impl Pace {
    /// As fast as the machine.
    pub const FREE: Pace = Pace {
        latency: Duration::ZERO,
        rate: None,
    };
    /// 20 ms to the first byte and 80 MB/s a connection.
    pub const SLOW: Pace = Pace {
        latency: Duration::from_millis(20),
        rate: Some(80e6),
    };

    /// Bytes of one read or write.
    fn buffer(self) -> usize {
        if self.rate.is_some() {
            PACED_BUFFER
        } else {
            BUFFER
        }
    }
}

/// A store in a child process.
#[derive(Debug)]
pub struct Store {
    /// Its URL.
    pub url: String,
    _process: Process,
}

impl Store {
    /// Starts a store: [`Role::Null`] or [`Role::NullSlow`].
    pub fn start(role: Role) -> Result<Store> {
        let mut process = Process::start(&mut process::role(role)?)?;
        let address = process::read_line(&mut process.stdout()?)?;
        Ok(Store {
            url: format!("http://{address}"),
            _process: process,
        })
    }
}

/// The child's side: prints its address and serves until it is killed.
pub fn serve(pace: Pace) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?);
    let objects = Arc::new(Objects::default());
    for stream in listener.incoming() {
        let (stream, objects) = (stream?, Arc::clone(&objects));
        thread::spawn(move || {
            // A client may disconnect at any point; other errors are printed.
            if let Err(error) = converse(stream, &objects, pace)
                && !matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe
                        | io::ErrorKind::ConnectionReset
                        | io::ErrorKind::UnexpectedEof
                )
            {
                eprintln!("null store: {error}");
            }
        });
    }
    Ok(())
}

/// Answers the requests of one connection until the client closes it.
fn converse(stream: TcpStream, objects: &Objects, pace: Pace) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut scratch = vec![0; pace.buffer()];
    while let Some(request) = Request::read(&mut reader)? {
        if request.header("expect").is_some() {
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        discard(&mut reader, request.length(), &mut scratch, pace)?;
        let ended = Instant::now();
        let answer = objects.answer(&request);
        thread::sleep(pace.latency.saturating_sub(ended.elapsed()));
        send(&mut writer, &request, &answer, pace)?;
    }
    Ok(())
}

/// Drops the next `length` bytes: first the buffered ones, then those in the kernel, uncopied.
fn discard(
    reader: &mut BufReader<TcpStream>,
    length: u64,
    scratch: &mut [u8],
    pace: Pace,
) -> io::Result<()> {
    let mut pacer = Pacer::new(pace.rate, Instant::now());
    let buffered = length.min(reader.buffer().len() as u64) as usize;
    reader.consume(buffered);
    pacer.pass(buffered);
    let mut left = length - buffered as u64;
    while left > 0 {
        let want = left.min(scratch.len() as u64) as usize;
        let got = drop_bytes(reader.get_mut(), &mut scratch[..want])?;
        if got == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        pacer.pass(got);
        left -= got as u64;
    }
    pacer.finish();
    Ok(())
}

/// Drops up to `scratch.len()` bytes of the stream; 0 at its end. Linux drops them in place
/// (tcp(7), `MSG_TRUNC`).
fn drop_bytes(stream: &mut TcpStream, scratch: &mut [u8]) -> io::Result<usize> {
    if cfg!(target_os = "linux") {
        Ok(recv(stream.as_raw_fd(), scratch, MsgFlags::MSG_TRUNC)?)
    } else {
        stream.read(scratch)
    }
}

/// Writes an answer at the store's rate; without the body if it answers a HEAD.
fn send(writer: &mut TcpStream, request: &Request, answer: &Answer, pace: Pace) -> io::Result<()> {
    let mut head = answer.head().into_bytes();
    match &answer.body {
        _ if request.method == "HEAD" => writer.write_all(&head),
        Body::Text(text) => {
            head.extend_from_slice(text.as_bytes());
            writer.write_all(&head)
        }
        Body::Zeros(length) => {
            writer.write_all(&head)?;
            let mut pacer = Pacer::new(pace.rate, Instant::now());
            let mut left = *length;
            while left > 0 {
                let piece = left.min(pace.buffer() as u64) as usize;
                left -= piece as u64;
                // A piece has arrived with its last byte.
                pacer.pass(piece);
                if left == 0 {
                    pacer.finish();
                }
                writer.write_all(&ZEROS[..piece])?;
            }
            Ok(())
        }
    }
}
