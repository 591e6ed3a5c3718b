//! The embedded store as an HTTP server: a listener, s3s for protocol and signatures, a
//! [`Backend`].
//!
//! Each connection is a task of a tracker that [`EmbeddedStore::stop`] empties. On its way to s3s a
//! request passes the [`Interceptor`], if there is one. There tests count, delay, change and refuse
//! requests, and reset connections.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::config::{S3Config, S3ConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpRequest, HttpResponse};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::backend::Backend;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// How far the date of a request may be off. The service compares it with the system's clock; a
/// client that has seen the backend's clock signs by that one, which may be ahead.
struct ClockConfig {
    backend: Backend,
    usual: Arc<S3Config>,
}

impl S3ConfigProvider for ClockConfig {
    fn snapshot(&self) -> Arc<S3Config> {
        let ahead = self.backend.clock_ahead();
        if ahead.is_zero() {
            return Arc::clone(&self.usual);
        }
        let mut config = S3Config::clone(&self.usual);
        let ahead = u32::try_from(ahead.as_secs()).unwrap_or(u32::MAX);
        let skew = &mut config.presigned_url_max_skew_time_secs;
        *skew = skew.saturating_add(ahead);
        Arc::new(config)
    }
}

/// Options of an [`EmbeddedStore`].
#[derive(Clone)]
pub struct StoreOptions {
    /// Listening address; with port 0 the system chooses one.
    pub listen: SocketAddr,
    /// The data directory; `None`: in memory.
    pub data: Option<PathBuf>,
    /// The access key that it accepts.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// Called with each request, before the store.
    pub interceptor: Option<Arc<dyn Interceptor>>,
}

impl Default for StoreOptions {
    /// In memory, on an ephemeral port of 127.0.0.1, key `demo` and secret `demo-secret`.
    fn default() -> StoreOptions {
        StoreOptions {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data: None,
            access_key_id: "demo".to_owned(),
            secret_access_key: "demo-secret".to_owned(),
            interceptor: None,
        }
    }
}

/// Handles requests before the store.
pub trait Interceptor: Send + Sync + 'static {
    /// Answers a request: as the store does (`next.run(request)`), in another way, or not at all.
    fn intercept(
        &self,
        request: HttpRequest,
        next: Next,
    ) -> BoxFuture<'static, Result<HttpResponse, ResetConnection>>;
}

/// Returned by an [`Interceptor`] instead of an answer: reset the connection (RST).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResetConnection;

/// The store that an [`Interceptor`] can call, and the connection of the request.
#[derive(Debug, Clone)]
pub struct Next {
    service: S3Service,
    backend: Backend,
    connection: Connection,
}

impl Next {
    /// Has the store handle the request.
    pub async fn run(&self, request: HttpRequest) -> HttpResponse {
        match self.service.call(request).await {
            Ok(mut response) => {
                // A clock that was set ahead is the store's.
                if let Some(date) = self.backend.date() {
                    response.headers_mut().insert(http::header::DATE, date);
                }
                response
            }
            // s3s answers refused requests; this is a failure of s3s.
            Err(_) => {
                let mut response = HttpResponse::new(Body::empty());
                *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        }
    }

    /// Resets the connection (RST), also while the body of the answer is being sent.
    pub fn reset_connection(&self) {
        self.connection.reset();
    }
}

/// A switch that ends one connection.
#[derive(Debug, Clone)]
struct Connection {
    end: CancellationToken,
    with_reset: Arc<AtomicBool>,
}

impl Connection {
    fn reset(&self) {
        self.with_reset.store(true, Ordering::Release);
        self.end.cancel();
    }
}

/// An S3 store that runs in this process.
pub struct EmbeddedStore {
    backend: Backend,
    options: StoreOptions,
    address: SocketAddr,
    /// If the system chose the port: a socket that is bound to it and never listens. It reserves
    /// the port while the store does not serve, and connections are refused.
    place: Option<Socket>,
    service: S3Service,
    running: tokio::sync::Mutex<Option<Running>>,
}

/// The part that ends with [`EmbeddedStore::stop`] or with the drop of the store.
struct Running {
    stopped: CancellationToken,
    tasks: TaskTracker,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopped.cancel();
    }
}

impl EmbeddedStore {
    /// Starts a store.
    ///
    /// # Errors
    /// The data directory can't be used ([`Backend::open`]) or the address can't be bound.
    pub async fn start(options: StoreOptions) -> io::Result<EmbeddedStore> {
        let backend = match &options.data {
            None => Backend::in_memory(),
            Some(directory) => Backend::open(directory)?,
        };
        let service = {
            let mut builder = S3ServiceBuilder::new(backend.clone());
            builder.set_auth(SimpleAuth::from_single(
                options.access_key_id.clone(),
                options.secret_access_key.clone(),
            ));
            builder.set_config(Arc::new(ClockConfig {
                backend: backend.clone(),
                usual: Arc::default(),
            }));
            builder.build()
        };
        let chosen = options.listen.port() == 0;
        let listener = listen(options.listen, chosen)?;
        let address = listener.local_addr()?;
        let place = match chosen {
            true => Some(bind(address, chosen)?),
            false => None,
        };
        let running = serve(
            listener,
            service.clone(),
            backend.clone(),
            options.interceptor.clone(),
        );
        Ok(EmbeddedStore {
            backend,
            options,
            address,
            place,
            service,
            running: tokio::sync::Mutex::new(Some(running)),
        })
    }

    /// Its listening address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its endpoint URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its content.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Access key and secret that it accepts.
    pub fn credentials(&self) -> (&str, &str) {
        (&self.options.access_key_id, &self.options.secret_access_key)
    }

    /// Stops serving as if the store had died: resets connections. Afterwards no process listens on
    /// the port. The content stays.
    pub async fn stop(&self) {
        let running = self.running.lock().await.take();
        if let Some(running) = running {
            running.stopped.cancel();
            running.tasks.wait().await;
        }
    }

    /// Serves on the same port after [`stop`](EmbeddedStore::stop); does nothing if it serves.
    ///
    /// # Errors
    /// Another process has the port now. This happens only to a port in [`StoreOptions::listen`].
    pub async fn restart(&self) -> io::Result<()> {
        let mut running = self.running.lock().await;
        if running.is_none() {
            let listener = listen(self.address, self.place.is_some())?;
            *running = Some(serve(
                listener,
                self.service.clone(),
                self.backend.clone(),
                self.options.interceptor.clone(),
            ));
        }
        Ok(())
    }
}

fn listen(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = bind(address, shared)?;
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// A socket with this address. If `shared`, other shared sockets of this user can have it too.
fn bind(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn serve(
    listener: TcpListener,
    service: S3Service,
    backend: Backend,
    interceptor: Option<Arc<dyn Interceptor>>,
) -> Running {
    let stopped = CancellationToken::new();
    let tasks = TaskTracker::new();
    tasks.spawn(accept(
        listener,
        service,
        backend,
        interceptor,
        stopped.clone(),
        tasks.clone(),
    ));
    tasks.close();
    Running { stopped, tasks }
}

async fn accept(
    listener: TcpListener,
    service: S3Service,
    backend: Backend,
    interceptor: Option<Arc<dyn Interceptor>>,
    stopped: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let end = stopped.child_token();
                tasks.spawn(converse(
                    stream,
                    service.clone(),
                    backend.clone(),
                    interceptor.clone(),
                    end,
                ));
            }
            Err(error) => {
                // Probably out of descriptors: other connections must end first.
                tracing::warn!(%error, "embedded store: accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// One connection, until the client closes it or it is cut.
async fn converse(
    stream: TcpStream,
    service: S3Service,
    backend: Backend,
    interceptor: Option<Arc<dyn Interceptor>>,
    end: CancellationToken,
) {
    let _best_effort = stream.set_nodelay(true);
    let with_reset = Arc::new(AtomicBool::new(false));
    let connection = Connection {
        end: end.clone(),
        with_reset: Arc::clone(&with_reset),
    };
    let io = TokioIo::new(Resettable { stream, with_reset });
    let switch = connection.clone();
    let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
        let next = Next {
            service: service.clone(),
            backend: backend.clone(),
            connection: connection.clone(),
        };
        answer(request.map(Body::from), next, interceptor.clone())
    });
    let http = hyper::server::conn::http1::Builder::new().serve_connection(io, service);
    tokio::select! {
        // Errors are a client that disconnects or a body that was cut; requests get answers.
        _ended = http => {}
        // Set before the drop of `http`, which owns the stream, so that stopping resets
        // connections.
        () = end.cancelled() => switch.reset(),
    }
}

async fn answer(
    request: HttpRequest,
    next: Next,
    interceptor: Option<Arc<dyn Interceptor>>,
) -> Result<HttpResponse, std::convert::Infallible> {
    let answered = match interceptor {
        None => Ok(next.run(request).await),
        Some(interceptor) => interceptor.intercept(request, next.clone()).await,
    };
    match answered {
        Ok(response) => Ok(response),
        Err(ResetConnection) => {
            next.reset_connection();
            // The task of the connection drops this future with the connection.
            std::future::pending().await
        }
    }
}

/// A TCP stream that closes with RST instead of FIN if the switch is set.
struct Resettable {
    stream: TcpStream,
    with_reset: Arc<AtomicBool>,
}

impl Drop for Resettable {
    fn drop(&mut self) {
        if self.with_reset.load(Ordering::Acquire) {
            let socket = socket2::SockRef::from(&self.stream);
            let _best_effort = socket.set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for Resettable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
