//! An HTTP receiver for hooks, which behaves as a test says: it answers, is silent, trickles, breaks
//! off, or is down.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::within;

/// A request that has arrived.
#[derive(Debug, Clone)]
pub struct Call {
    /// `POST /path HTTP/1.1`.
    pub line: String,
    /// By their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Call {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What the receiver does with a request.
#[derive(Debug, Clone)]
pub enum Reaction {
    /// This status with this body.
    Answer(u16, String),
    /// These bytes, whatever they are, then the end of the connection.
    Raw(Vec<u8>),
    /// A status line and headers, then a byte every 20 ms, without an end.
    Trickle,
    /// No answer.
    Silence,
    /// The connection is reset.
    Reset,
}

type Handler = Arc<dyn Fn(Call) -> BoxFuture<'static, Reaction> + Send + Sync>;

/// A running receiver.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: Mutex<Option<JoinSet<()>>>,
}

struct Shared {
    handler: Mutex<Handler>,
    calls: watch::Sender<Vec<Call>>,
}

impl Receiver {
    /// Starts one that answers 200 and `{"allow": true}`.
    pub async fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Shared {
            handler: Mutex::new(always(allow())),
            calls: watch::Sender::default(),
        };
        let receiver = Receiver {
            address: listener.local_addr().unwrap(),
            shared: Arc::new(shared),
            serving: Mutex::default(),
        };
        receiver.serve(listener);
        receiver
    }

    /// A URL of it.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// From now on each request gets this reaction.
    pub fn react(&self, reaction: Reaction) {
        *self.shared.handler.lock().unwrap() = always(reaction);
    }

    /// From now on each request gets the reaction that this returns.
    pub fn react_by<F>(&self, handler: impl Fn(Call) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Reaction> + Send + 'static,
    {
        *self.shared.handler.lock().unwrap() = Arc::new(move |call| handler(call).boxed());
    }

    /// The requests so far.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.borrow().clone()
    }

    /// Waits until this number of requests have arrived, and returns them.
    pub async fn called(&self, times: usize) -> Vec<Call> {
        let mut calls = self.shared.calls.subscribe();
        let arrived = calls.wait_for(|calls| calls.len() >= times);
        let arrived = within(&format!("{times} calls of the hook"), arrived).await;
        arrived.unwrap().clone()
    }

    /// Ends all connections, and refuses new ones.
    pub async fn down(&self) {
        let serving = self.serving.lock().unwrap().take();
        if let Some(mut serving) = serving {
            serving.shutdown().await;
        }
    }

    /// Listens again, at the same address.
    pub fn up(&self) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        self.serve(socket.listen(64).unwrap());
    }

    fn serve(&self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve_connection(stream, Arc::clone(&shared)));
            }
        });
        *self.serving.lock().unwrap() = Some(serving);
    }
}

/// `{"allow": true}`.
pub fn allow() -> Reaction {
    Reaction::Answer(200, "{\"allow\": true}".to_owned())
}

/// `{"allow": false}` with a reason.
pub fn refuse(reason: &str) -> Reaction {
    let body = serde_json::json!({ "allow": false, "reason": reason });
    Reaction::Answer(200, body.to_string())
}

fn always(reaction: Reaction) -> Handler {
    Arc::new(move |_| std::future::ready(reaction.clone()).boxed())
}

/// One request after the other, until the client closes.
async fn serve_connection(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut buffer = Vec::new();
    while let Some(call) = read_call(&mut stream, &mut buffer).await {
        shared.calls.send_modify(|calls| calls.push(call.clone()));
        let handler = Arc::clone(&shared.handler.lock().unwrap());
        let wanted = handler(call);
        // A client that leaves meanwhile ends it.
        let reaction = tokio::select! {
            reaction = wanted => reaction,
            _ = stream.readable_end() => return,
        };
        match reaction {
            Reaction::Answer(status, body) => {
                let head = format!(
                    "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\n\
                     location: http://127.0.0.1:1/elsewhere\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                if stream.write_all((head + &body).as_bytes()).await.is_err() {
                    return;
                }
            }
            Reaction::Raw(bytes) => {
                let _ = stream.write_all(&bytes).await;
                return;
            }
            Reaction::Trickle => {
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n")
                    .await;
                while stream.write_all(b" ").await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                return;
            }
            Reaction::Silence => {
                stream.readable_end().await;
                return;
            }
            Reaction::Reset => {
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                return;
            }
        }
    }
}

/// The end of what a client sends.
trait ReadableEnd {
    async fn readable_end(&mut self);
}

impl ReadableEnd for TcpStream {
    async fn readable_end(&mut self) {
        let mut byte = [0];
        while let Ok(1) = self.peek(&mut byte).await {
            // A second request in advance: hooks send none.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn read_call(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Call> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let line = lines.next().unwrap().to_owned();
    let headers: BTreeMap<String, String> = lines
        .map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        })
        .collect();
    let length: usize = headers["content-length"].parse().unwrap();
    while buffer.len() < end + 4 + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer[end + 4..end + 4 + length].to_vec();
    buffer.drain(..end + 4 + length);
    Some(Call {
        line,
        headers,
        body,
    })
}
