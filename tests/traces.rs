//! Traces over OTLP (feature `otlp`): a collector of the test's own receives what the binary
//! exports.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use test_support::ftp::Ftp;
use test_support::gateway::{BUCKET, PASSWORD, USER};
use test_support::launcher::{Launcher, ServerProcess, command};
use test_support::settings::Settings;
use test_support::store::Store;
use test_support::{MIB, pattern, within};

/// A span as the collector has received it.
#[derive(Debug, Clone)]
struct Span {
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    name: String,
    attributes: BTreeMap<String, String>,
    failed: bool,
    /// The attributes of the process.
    resource: Arc<BTreeMap<String, String>>,
}

/// Receives spans over HTTP.
struct Collector {
    port: u16,
    received: Arc<Received>,
    _accepts: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Received {
    spans: Mutex<Vec<Span>>,
    bytes: Mutex<Vec<u8>>,
    came: Notify,
}

impl Collector {
    async fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received = Arc::<Received>::default();
        let accepts = tokio::spawn({
            let received = Arc::clone(&received);
            async move {
                let mut connections = JoinSet::new();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    connections.spawn(answer(stream, Arc::clone(&received)));
                }
            }
        });
        Collector {
            port,
            received,
            _accepts: AbortOnDropHandle::new(accepts),
        }
    }

    /// The variables of a server that exports to it.
    fn variables(&self) -> String {
        format!(
            "export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{} OTEL_BSP_SCHEDULE_DELAY=20",
            self.port
        )
    }

    /// Waits for a span of this name.
    async fn span(&self, name: &str) -> Span {
        within(name, async {
            loop {
                let came = self.received.came.notified();
                tokio::pin!(came);
                came.as_mut().enable();
                if let Some(span) = self.all().into_iter().find(|span| span.name == name) {
                    return span;
                }
                came.await;
            }
        })
        .await
    }

    fn all(&self) -> Vec<Span> {
        self.received.spans.lock().unwrap().clone()
    }
}

/// Serves the requests of one connection.
async fn answer(mut stream: TcpStream, received: Arc<Received>) {
    let mut read = Vec::new();
    loop {
        let (head, begin) = loop {
            if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break (String::from_utf8(read[..end].to_vec()).unwrap(), end + 4);
            }
            if stream.read_buf(&mut read).await.unwrap() == 0 {
                return;
            }
        };
        assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
        let head = head.to_ascii_lowercase();
        assert!(
            head.contains("content-type: application/x-protobuf"),
            "{head}"
        );
        let (_, length) = head.split_once("content-length: ").unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        while read.len() < begin + length {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0, "cut off");
        }
        let body: Vec<u8> = read.drain(..begin + length).skip(begin).collect();
        received.spans.lock().unwrap().extend(spans(&body));
        received.bytes.lock().unwrap().extend(body);
        received.came.notify_waiters();
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// The fields of a protobuf message that are messages, texts or bytes, and those that are numbers
/// as `None`, with their numbers.
fn fields(mut message: &[u8]) -> Vec<(u64, Option<&[u8]>, u64)> {
    fn varint(message: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (first, rest) = message.split_first().unwrap();
            *message = rest;
            value |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut found = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message);
        let (bytes, number) = match key & 7 {
            0 => (None, varint(&mut message)),
            kind @ (1 | 5) => {
                let length = if kind == 1 { 8 } else { 4 };
                message = &message[length..];
                (None, 0)
            }
            2 => {
                let length = usize::try_from(varint(&mut message)).unwrap();
                let (bytes, rest) = message.split_at(length);
                message = rest;
                (Some(bytes), 0)
            }
            kind => panic!("a field of the kind {kind}"),
        };
        found.push((key >> 3, bytes, number));
    }
    found
}

/// The messages, texts or bytes of one field.
fn all(message: &[u8], field: u64) -> impl Iterator<Item = &[u8]> {
    let found = fields(message).into_iter();
    found.filter_map(move |(number, bytes, _)| bytes.filter(|_| number == field))
}

fn one(message: &[u8], field: u64) -> &[u8] {
    all(message, field).next().unwrap_or_default()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Attributes: a list of a key and a value, which is a text, a number or of another kind.
fn attributes(message: &[u8], field: u64) -> BTreeMap<String, String> {
    let attribute = |pair: &[u8]| {
        let value = match fields(one(pair, 2)).first() {
            Some((1, Some(bytes), _)) => text(bytes),
            Some((3, None, number)) => number.to_string(),
            other => format!("{other:?}"),
        };
        (text(one(pair, 1)), value)
    };
    all(message, field).map(attribute).collect()
}

/// The spans of an ExportTraceServiceRequest.
fn spans(request: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    for of_resource in all(request, 1) {
        let resource = Arc::new(attributes(one(of_resource, 1), 1));
        for span in all(of_resource, 2).flat_map(|of_scope| all(of_scope, 2)) {
            spans.push(Span {
                trace: one(span, 1).to_vec(),
                id: one(span, 2).to_vec(),
                parent: one(span, 4).to_vec(),
                name: text(one(span, 5)),
                attributes: attributes(span, 9),
                // STATUS_CODE_ERROR
                failed: fields(one(span, 15)).contains(&(3, None, 2)),
                resource: Arc::clone(&resource),
            });
        }
    }
    spans
}

async fn serve(before: &str, options: &[&str]) -> (Store, ServerProcess) {
    let store = Store::start(&[BUCKET]).await;
    let text = Settings::least(&store)
        .with("[transfer]\npart_size = \"5MiB\"\n[login_failures]\ndelay = 0")
        .text();
    let launcher = Launcher::of_text(&text).after(before).options(options);
    let server = launcher.start().await;
    (store, server)
}

async fn login(server: &ServerProcess) -> Ftp {
    let mut ftp = Ftp::connect(server.address).await;
    ftp.login(USER, PASSWORD).await;
    ftp
}

#[tokio::test]
async fn a_command_has_a_span_and_each_of_its_requests_a_child() {
    let collector = Collector::start().await;
    let (_store, mut server) = serve(&collector.variables(), &[]).await;
    let mut ftp = login(&server).await;
    assert_eq!(ftp.store("a.csv", b"bytes").await.code, 226);
    let stor = collector.span("STOR").await;
    assert_eq!(stor.resource["service.name"], "s3ftpd");
    assert_eq!(stor.resource["service.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((stor.trace.len(), stor.id.len()), (16, 8));
    assert!(stor.parent.is_empty() && !stor.failed, "{stor:?}");
    for (name, value) in [
        ("event", "transfer"),
        ("user", USER),
        ("path", "/a.csv"),
        ("key", "a.csv"),
        ("bytes", "5"),
        ("code", "226"),
        ("class", "ok"),
    ] {
        assert_eq!(stor.attributes[name], value, "{name} of {stor:?}");
    }
    let put = collector.span("S3.PutObject").await;
    assert_eq!((&put.trace, &put.parent), (&stor.trace, &stor.id));
    assert_eq!(put.attributes["rpc.method"], "PutObject");
    let pass = collector.span("PASS").await;
    assert_eq!(pass.attributes["session"], stor.attributes["session"]);
    assert_ne!(pass.trace, stor.trace);
    server.stop().await;
}

#[tokio::test]
async fn the_requests_of_tasks_belong_to_their_command() {
    let collector = Collector::start().await;
    let (_store, mut server) = serve(&collector.variables(), &[]).await;
    let mut ftp = login(&server).await;
    let large = pattern(16 * MIB, 1);
    assert_eq!(ftp.store("large", &large).await.code, 226);
    assert_eq!(ftp.retrieve("large").await.0, large);
    ftp.expect("QUIT", 221).await;
    // Its end exports what is left.
    server.stop().await;
    let all = collector.all();
    let children = |of: &Span, name: &str| {
        let children = all.iter().filter(|span| span.parent == of.id);
        children.filter(|span| span.name == name).count()
    };
    let stor = collector.span("STOR").await;
    for (name, number) in [
        ("S3.CreateMultipartUpload", 1),
        ("S3.UploadPart", 4),
        ("S3.CompleteMultipartUpload", 1),
    ] {
        assert_eq!(children(&stor, name), number, "{name} in {all:#?}");
    }
    let retr = collector.span("RETR").await;
    assert_eq!(children(&retr, "S3.GetObject"), 2, "{all:#?}");
}

#[tokio::test]
async fn a_refused_command_is_a_failed_span_with_its_id() {
    let collector = Collector::start().await;
    let (_store, mut server) = serve(&collector.variables(), &[]).await;
    let mut ftp = login(&server).await;
    let reply = ftp.expect("DELE none", 550).await;
    let dele = collector.span("DELE").await;
    assert!(dele.failed, "{dele:?}");
    assert_eq!(dele.attributes["class"], "not_found");
    let id = &dele.attributes["request"];
    assert!(
        reply.lines.concat().contains(id.as_str()),
        "{reply:?} and {id}"
    );
    // A command that is refused before it runs has a span too.
    for (line, verb) in [("SITE UTIME x /f", "SITE"), ("MFMT x", "MFMT")] {
        let reply = ftp.expect(line, 501).await;
        let span = collector.span(verb).await;
        assert!(span.failed, "{span:?}");
        assert_eq!(span.attributes["class"], "invalid");
        let id = &span.attributes["request"];
        assert!(reply.text().contains(id.as_str()), "{reply:?} and {id}");
    }
    let mut early = Ftp::connect(server.address).await;
    early.expect("STOR x", 530).await;
    let stor = collector.span("STOR").await;
    assert!(stor.failed, "{stor:?}");
    assert_eq!(stor.attributes["class"], "permission");
    server.stop().await;
}

#[tokio::test]
async fn no_secret_is_in_a_span_and_no_span_in_the_log() {
    let collector = Collector::start().await;
    let options = ["--log", "s3ftpd=trace,info"];
    let (store, mut server) = serve(&collector.variables(), &options).await;
    let mut ftp = Ftp::connect(server.address).await;
    ftp.expect("USER u", 331).await;
    ftp.expect("PASS wrong-secret", 530).await;
    ftp.login(USER, PASSWORD).await;
    assert_eq!(ftp.store("x", b"content-secret").await.code, 226);
    ftp.expect("QUIT", 221).await;
    let log = server.stop().await;
    collector.span("S3.PutObject").await;
    let sent = collector.received.bytes.lock().unwrap().clone();
    let sent = String::from_utf8_lossy(&sent).into_owned();
    let (key, secret) = store.credentials();
    for hidden in [key, secret, "-secret"] {
        assert!(!sent.contains(hidden), "{hidden} in {sent:?}");
    }
    assert!(!log.contains("command{") && !log.contains("otel"), "{log}");
    assert!(!log.contains("S3.PutObject{"), "{log}");
}

#[tokio::test]
async fn a_collector_that_is_down_is_reported_once_and_delays_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let variables = format!(
        "export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{port} OTEL_BSP_SCHEDULE_DELAY=20"
    );
    let (_store, mut server) = serve(&variables, &[]).await;
    let mut ftp = login(&server).await;
    for number in 0..20 {
        assert_eq!(ftp.store(&format!("{number}"), b"x").await.code, 226);
    }
    server.logged("spans can't be exported").await;
    ftp.expect("QUIT", 221).await;
    let log = server.stop().await;
    let reports = log
        .lines()
        .filter(|line| line.contains("can't be exported"));
    assert_eq!(reports.count(), 1, "{log}");
}

#[tokio::test]
async fn without_a_variable_nothing_is_exported_and_a_wrong_one_is_a_wrong_usage() {
    let (_store, mut server) = serve("unset OTEL_EXPORTER_OTLP_ENDPOINT", &[]).await;
    let mut ftp = login(&server).await;
    assert_eq!(ftp.store("x", b"x").await.code, 226);
    ftp.expect("QUIT", 221).await;
    let log = server.stop().await;
    assert!(!log.contains("WARN"), "{log}");

    let mut command = command(&["schema"]);
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "not a URL");
    let output = within("its end", command.output()).await.unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("traces: "), "{error}");
}
