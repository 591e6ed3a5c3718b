//! A client that copes with every answer. It panics only for what no server may do.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest time to a reply: all attempts at the store with their deadlines, and the lookups
/// after lost answers.
const REPLY: Duration = Duration::from_secs(90);

/// Bytes that are handed to the socket at once.
const CHUNK: usize = 64 * 1024;

pub struct Client {
    control: BufReader<TcpStream>,
    address: SocketAddr,
}

/// How an upload breaks off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// It does not.
    None,
    /// RST on the data connection.
    Reset,
    /// ABOR.
    Abor,
    /// The control connection first, then the data connection, as the kernel closes both for a
    /// process that exits.
    Exit,
    /// RST on both.
    Vanish,
}

/// The result of an upload.
#[derive(Debug, Default)]
pub struct Sent {
    /// Bytes that were handed to the socket.
    pub bytes: u64,
    /// Whether the data connection was ended as for a whole file.
    pub ended: bool,
    /// The final reply, or the refusal; `None` if the connection ended first.
    pub reply: Option<(u16, String)>,
    /// Whether the connection was lost, and not closed by the client.
    pub lost: bool,
}

impl Client {
    pub async fn connect(address: SocketAddr, user: &str) -> io::Result<Client> {
        let stream = timeout(REPLY, TcpStream::connect(address)).await??;
        let mut client = Client {
            control: BufReader::new(stream),
            address,
        };
        // The port of a gateway that was just killed may be a passive port of the next one, which
        // sends no greeting.
        timeout(Duration::from_secs(15), client.reply()).await??;
        client.command(&format!("USER {user}")).await?;
        match client.command("PASS p").await?.0 {
            230 => {}
            code => return Err(io::Error::other(format!("{code} to PASS"))),
        }
        client.command("TYPE I").await?;
        Ok(client)
    }

    pub async fn send(&mut self, line: &str) -> io::Result<()> {
        let line = format!("{line}\r\n");
        timeout(REPLY, self.control.get_mut().write_all(line.as_bytes())).await?
    }

    pub async fn reply(&mut self) -> io::Result<(u16, String)> {
        let mut first: Option<String> = None;
        loop {
            let mut line = String::new();
            let read = timeout(REPLY, self.control.read_line(&mut line)).await;
            let read = read.unwrap_or_else(|_| panic!("no reply for {} s", REPLY.as_secs()))?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_owned();
            let (begin, text) = line.split_at(line.len().min(4));
            let code = begin.get(..3).and_then(|code| code.parse().ok());
            if begin.as_bytes().get(3) != Some(&b'-')
                && let Some(code) = code
            {
                return Ok((code, first.unwrap_or_else(|| text.to_owned())));
            }
            first.get_or_insert_with(|| text.to_owned());
        }
    }

    pub async fn command(&mut self, line: &str) -> io::Result<(u16, String)> {
        self.send(line).await?;
        self.reply().await
    }

    async fn data(&mut self) -> io::Result<Result<TcpStream, (u16, String)>> {
        let (code, text) = self.command("EPSV").await?;
        let port = text.split('|').nth(3).and_then(|port| port.parse().ok());
        match port {
            Some(port) if code == 229 => {
                let address = SocketAddr::new(self.address.ip(), port);
                Ok(Ok(timeout(REPLY, TcpStream::connect(address)).await??))
            }
            _ => Ok(Err((code, text))),
        }
    }

    /// Sends bytes by a command, and breaks off in the middle if asked to. `before` are commands
    /// such as REST.
    pub async fn upload(self, before: &[String], command: &str, bytes: &[u8], how: Break) -> Sent {
        let mut sent = Sent::default();
        if self
            .try_upload(before, command, bytes, how, &mut sent)
            .await
            .is_err()
        {
            sent.lost = true;
        }
        sent
    }

    async fn try_upload(
        mut self,
        before: &[String],
        command: &str,
        bytes: &[u8],
        how: Break,
        sent: &mut Sent,
    ) -> io::Result<()> {
        for line in before {
            let reply = self.command(line).await?;
            if reply.0 != 350 {
                sent.reply = Some(reply);
                return Ok(());
            }
        }
        let mut data = match self.data().await? {
            Ok(data) => data,
            Err(refused) => {
                sent.reply = Some(refused);
                return Ok(());
            }
        };
        let first = self.command(command).await?;
        if first.0 != 150 {
            sent.reply = Some(first);
            return Ok(());
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            match timeout(REPLY, data.write(&rest[..rest.len().min(CHUNK)])).await? {
                Ok(written) => {
                    sent.bytes += written as u64;
                    rest = &rest[written..];
                }
                // The reply says why.
                Err(_) => break,
            }
        }
        match how {
            Break::None => {
                if rest.is_empty() {
                    // From here on the server may have seen the end.
                    sent.ended = true;
                    let _ = data.shutdown().await;
                }
            }
            Break::Reset => reset(data),
            Break::Abor => {
                self.send("ABOR").await?;
                let first = self.reply().await?;
                assert!(
                    [426, 226, 450, 451, 425, 550, 452].contains(&first.0),
                    "{first:?}"
                );
                // One reply for the transfer, one for the ABOR.
                sent.reply = Some(first);
                let second = self.reply().await?;
                assert_eq!(second.0, 226, "{second:?}");
                return Ok(());
            }
            Break::Exit => {
                drop(self);
                drop(data);
                return Ok(());
            }
            Break::Vanish => {
                reset(self.control.into_inner());
                reset(data);
                return Ok(());
            }
        }
        sent.reply = Some(self.reply().await?);
        Ok(())
    }

    /// The bytes from `from` on that arrived, and the final reply.
    pub async fn download(
        &mut self,
        name: &str,
        from: u64,
    ) -> io::Result<(Vec<u8>, (u16, String))> {
        if from > 0 {
            self.command(&format!("REST {from}")).await?;
        }
        let mut data = match self.data().await? {
            Ok(data) => data,
            Err(refused) => return Ok((Vec::new(), refused)),
        };
        let first = self.command(&format!("RETR {name}")).await?;
        if first.0 != 150 {
            return Ok((Vec::new(), first));
        }
        let mut bytes = Vec::new();
        // A reset is not a clean end; its reply says why.
        let _ = timeout(REPLY, data.read_to_end(&mut bytes)).await?;
        Ok((bytes, self.reply().await?))
    }

    /// A whole file from a healthy gateway; `None` if it does not exist.
    pub async fn fetch(address: SocketAddr, user: &str, name: &str) -> Option<Vec<u8>> {
        let mut client = Client::connect(address, user).await.unwrap();
        let (bytes, (code, text)) = client.download(name, 0).await.unwrap();
        match code {
            226 => Some(bytes),
            550 => None,
            _ => panic!("{code} {text}"),
        }
    }
}

fn reset(stream: TcpStream) {
    let socket = socket2::SockRef::from(&stream);
    let _ = socket.set_linger(Some(Duration::ZERO));
}
