//! Health endpoints over HTTP, for probes: `/healthz` and `/readyz`; `/status`, the gauges of the
//! process; `/metrics`, for Prometheus; and the server that carries the status page
//! ([`crate::server::admin`]).
//!
//! A small HTTP server answers them. A connection carries one request, whose head must arrive
//! within a second, and ends after ten seconds at the latest. There are at most 64 connections. At
//! this limit a new one replaces the oldest silent one, or else the oldest, so that silent
//! connections never keep a probe from its answer.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{Request, StatusCode, header};
use axum::routing::get;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus_client::registry::Registry;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::memory::Budget;
use crate::object::{ActiveUploads, Replica};
use crate::server::admin::connection::{AdminConnection, ServedConnection};
use crate::server::scrape;
use crate::server::store_watch::StoreWatch;

/// Time limit of a connection, from its accept.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// Time limit for the head of its request, from its accept.
const HEAD_TIME: Duration = Duration::from_secs(1);
/// Limit of open connections; a further one replaces the oldest.
const CONNECTIONS: usize = 64;
/// The system's buffer for the answer of a connection, bytes. By itself it grows to megabytes, and
/// would hold the whole pages of clients that do not read them, whose number is not bounded then.
const SEND_BUFFER: usize = 64 * 1024;
/// Pause after an accept that failed for lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// The gauges of `/status`. All are 0 if nothing runs.
#[derive(Debug, Clone)]
pub struct Gauges {
    /// The stores.
    pub stores: Arc<StoreWatch>,
    /// What `/metrics` reports.
    pub metrics: Arc<Registry>,
    /// The sessions.
    pub sessions: TaskTracker,
    /// The memory that transfers share.
    pub budget: Budget,
    /// The name of the process.
    pub replica: Arc<Replica>,
    /// Its uploads.
    pub active_uploads: Arc<ActiveUploads>,
    /// The hash of its configuration now.
    pub configuration: ConfigurationHash,
    /// When it began.
    pub started: Instant,
}

/// Returns the hash of the configuration, which a reload changes.
#[derive(Clone)]
pub struct ConfigurationHash(pub Arc<dyn Fn() -> String + Send + Sync>);

impl fmt::Debug for ConfigurationHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&(self.0)())
    }
}

/// The state that the endpoints report.
#[derive(Debug, Clone)]
struct Shown {
    ready: watch::Receiver<bool>,
    gauges: Gauges,
}

/// The running health endpoints.
#[derive(Debug)]
pub struct Admin {
    /// The bound address.
    pub address: SocketAddr,
    /// Ends with its connections when `stop` is cancelled.
    pub task: JoinHandle<()>,
}

impl Admin {
    /// Answers requests on `listener` until `stop` is cancelled. Must be called on a runtime.
    ///
    /// - `/healthz`: 200 while the process runs.
    /// - `/readyz`: 200 while `ready` is true, else 503 `draining`; `/readyz?verbose`: the same, and
    ///   a line for each store and for each bucket that can't be used.
    /// - `/status`: 200, the gauges as a JSON object.
    /// - `/metrics`: 200, the metrics as OpenMetrics text.
    /// - What `pages` answers: the status page.
    ///
    /// # Errors
    /// The system does not report the listening address.
    pub fn start(
        listener: TcpListener,
        ready: watch::Receiver<bool>,
        gauges: Gauges,
        pages: Router,
        stop: CancellationToken,
    ) -> io::Result<Admin> {
        let address = listener.local_addr()?;
        #[expect(
            clippy::disallowed_methods,
            reason = "`Admin` owns the task, and `stop` ends it"
        )]
        let task = tokio::spawn(accept(
            listener,
            router(Shown { ready, gauges }).merge(pages),
            stop,
        ));
        Ok(Admin { address, task })
    }
}

fn router(shown: Shown) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .with_state(shown)
}

async fn status(State(shown): State<Shown>) -> ([(header::HeaderName, &'static str); 1], String) {
    let gauges = &shown.gauges;
    let status = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "replica": gauges.replica.name,
        "configuration": (gauges.configuration.0)(),
        "uptime": gauges.started.elapsed().as_secs(),
        "sessions": gauges.sessions.len(),
        "uploads": gauges.active_uploads.count(),
        "memory_in_use": gauges.budget.in_use(),
        "memory_budget": gauges.budget.total(),
    });
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, format!("{status}\n"))
}

async fn metrics(
    State(shown): State<Shown>,
) -> Result<([(header::HeaderName, &'static str); 1], String), StatusCode> {
    let text = scrape::text(&shown.gauges.metrics);
    let text = text.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(header::CONTENT_TYPE, scrape::CONTENT_TYPE)], text))
}

async fn readyz(State(shown): State<Shown>, RawQuery(query): RawQuery) -> (StatusCode, String) {
    let (code, word) = match *shown.ready.borrow() {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    };
    let query = query.unwrap_or_default();
    let verbose = query
        .split('&')
        .any(|part| part.split('=').next() == Some("verbose"));
    let mut text = word.to_owned();
    if verbose {
        let stores = shown.gauges.stores.states();
        stores
            .iter()
            .for_each(|store| text.push_str(&store.to_string()));
    }
    (code, text)
}

async fn accept(listener: TcpListener, router: Router, stop: CancellationToken) {
    // Its drop ends each connection.
    let mut tasks = JoinSet::new();
    // The oldest first.
    let mut connections: VecDeque<Connection> = VecDeque::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(ended) = tasks.join_next_with_id() => {
                let id = ended.map_or_else(|error| error.id(), |(id, _)| id);
                connections.retain(|connection| connection.task.id() != id);
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if connections.len() >= CONNECTIONS {
                        make_room(&mut connections);
                    }
                    let about = Arc::new(AdminConnection::new(peer));
                    let served = serve(stream, router.clone(), Arc::clone(&about));
                    let task = tasks.spawn(tokio::time::timeout(CONNECTION_TIME, served));
                    connections.push_back(Connection { task, about });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection to the health endpoints can't be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            },
        }
    }
}

/// A connection that is being served.
struct Connection {
    task: AbortHandle,
    about: Arc<AdminConnection>,
}

/// Ends the oldest connection without a request, else the oldest one.
fn make_room(connections: &mut VecDeque<Connection>) {
    let silent = |connection: &Connection| connection.about.is_silent();
    let oldest = connections.iter().position(silent).unwrap_or_default();
    if let Some(connection) = connections.remove(oldest) {
        connection.task.abort();
    }
}

async fn serve(stream: TcpStream, router: Router, about: Arc<AdminConnection>) {
    let _served = ServedConnection(Arc::clone(&about));
    if let Err(error) = SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER) {
        tracing::debug!(%error, "the send buffer of a connection can't be bounded");
    }
    let service = service_fn(move |mut request: Request<Incoming>| {
        about.note_asked();
        request.extensions_mut().insert(Arc::clone(&about));
        TowerToHyperService::new(router.clone()).call(request)
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection to the health endpoints broke");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    fn gauges() -> Gauges {
        Gauges {
            stores: Arc::default(),
            metrics: Arc::default(),
            sessions: TaskTracker::new(),
            budget: Budget::new(1 << 20),
            replica: Replica::new(Some("pod-\"0\"".to_owned()), SOON),
            active_uploads: Arc::default(),
            configuration: ConfigurationHash(Arc::new(|| "00ff".to_owned())),
            started: Instant::now(),
        }
    }

    async fn request(address: SocketAddr, path: &str) -> String {
        let exchange = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        tokio::time::timeout(SOON, exchange).await.unwrap()
    }

    #[tokio::test]
    async fn ready_until_draining() {
        let (ready, readiness) = watch::channel(true);
        let stop = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin =
            Admin::start(listener, readiness, gauges(), Router::new(), stop.clone()).unwrap();
        assert!(
            request(admin.address, "/healthz")
                .await
                .starts_with("HTTP/1.1 200 ")
        );
        assert!(
            request(admin.address, "/readyz")
                .await
                .starts_with("HTTP/1.1 200 ")
        );
        assert!(
            request(admin.address, "/")
                .await
                .starts_with("HTTP/1.1 404 ")
        );
        ready.send(false).unwrap();
        let draining = request(admin.address, "/readyz").await;
        assert!(
            draining.starts_with("HTTP/1.1 503 ") && draining.ends_with("draining\n"),
            "{draining}"
        );
        assert!(
            request(admin.address, "/healthz")
                .await
                .starts_with("HTTP/1.1 200 ")
        );
        // A client that never sends its request does not delay it.
        let idle = TcpStream::connect(admin.address).await.unwrap();
        stop.cancel();
        tokio::time::timeout(SOON, admin.task)
            .await
            .unwrap()
            .unwrap();
        drop(idle);
    }

    #[tokio::test]
    async fn silent_connections_keep_no_probe_from_its_answer() {
        let (_ready, readiness) = watch::channel(true);
        let stop = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin =
            Admin::start(listener, readiness, gauges(), Router::new(), stop.clone()).unwrap();
        let mut silent = Vec::new();
        for round in 0..3 * CONNECTIONS {
            let mut stream = TcpStream::connect(admin.address).await.unwrap();
            // Some send nothing, others half a request.
            if round % 2 == 0 {
                stream.write_all(b"GET /healthz HT").await.unwrap();
            }
            silent.push(stream);
            let answer = request(admin.address, "/healthz").await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{round}: {answer}");
        }
        // The oldest were replaced, and the others end by their time limit.
        for mut stream in silent {
            let end = tokio::time::timeout(SOON, stream.read_to_end(&mut Vec::new())).await;
            let _reset_or_closed = end.expect("a silent connection ends");
        }
        stop.cancel();
        admin.task.await.unwrap();
    }

    #[tokio::test]
    async fn the_status_follows_the_gauges() {
        let (_ready, readiness) = watch::channel(true);
        let stop = CancellationToken::new();
        let gauges = gauges();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = Admin::start(
            listener,
            readiness,
            gauges.clone(),
            Router::new(),
            stop.clone(),
        )
        .unwrap();
        let status = async || {
            let answer = request(admin.address, "/status").await;
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            assert!(head.contains("content-type: application/json"), "{head}");
            serde_json::from_str::<serde_json::Value>(body).unwrap()
        };
        let shown = status().await;
        assert_eq!(shown["replica"], "pod-\"0\"");
        assert_eq!(shown["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(shown["configuration"], "00ff");
        assert_eq!(shown["memory_budget"], 1 << 20);
        for gauge in ["sessions", "uploads", "memory_in_use"] {
            assert_eq!(shown[gauge], 0, "{gauge}");
        }
        let admission = gauges.budget.admit(SOON).await.unwrap();
        let session = gauges.sessions.spawn(std::future::pending::<()>());
        let shown = status().await;
        assert_eq!(shown["memory_in_use"], crate::memory::FIRST_MEMORY);
        assert_eq!(shown["sessions"], 1);
        drop(admission);
        session.abort();
        let _ = session.await;
        let shown = status().await;
        assert_eq!(shown["memory_in_use"], 0);
        assert_eq!(shown["sessions"], 0);
        stop.cancel();
        tokio::time::timeout(SOON, admin.task)
            .await
            .unwrap()
            .unwrap();
    }
}
