//! Answers that break off, are lost, or come from another server: just enough HTTP by hand.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::object::tests::server::store_at;

/// Reads one request and gives its line and headers, lower case; its body is thrown away.
async fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, Vec<String>)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let length = header(&lines, "content-length").and_then(|text| text.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    Some((lines.remove(0), lines))
}

fn header(lines: &[String], name: &str) -> Option<String> {
    lines.iter().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    })
}

fn range(lines: &[String]) -> (usize, usize) {
    let text = header(lines, "range").unwrap();
    let (first, last) = text
        .strip_prefix("bytes=")
        .unwrap()
        .split_once('-')
        .unwrap();
    (first.parse().unwrap(), last.parse::<usize>().unwrap() + 1)
}

/// Serves ranges of `data`; each answer breaks off after at most `piece` bytes.
async fn breaking_store(data: Bytes, piece: usize, gets: Arc<AtomicUsize>) -> Arc<Store> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (data, gets) = (data.clone(), Arc::clone(&gets));
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let Some((_, headers)) = request(&mut stream).await else {
                    return;
                };
                if gets.fetch_add(1, Ordering::SeqCst) > 0 {
                    assert_eq!(header(&headers, "if-match").as_deref(), Some("\"v1\""));
                }
                let (first, end) = range(&headers);
                let end = end.min(data.len());
                let head = format!(
                    "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{}/{}\r\n\
                     ETag: \"v1\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n",
                    end - first,
                    end - 1,
                    data.len(),
                );
                let _ = stream.write_all(head.as_bytes()).await;
                let _ = stream.write_all(&data[first..end.min(first + piece)]).await;
            });
        }
    });
    store_at(address, 64 << 20, |_| {}).await
}

pub(super) fn at(store: &Arc<Store>) -> Location {
    Location {
        store: Arc::clone(store),
        bucket: "bucket".into(),
        key: "key".to_owned(),
        attributes: None,
    }
}

#[tokio::test]
async fn broken_bodies_are_resumed() {
    let gets = Arc::new(AtomicUsize::new(0));
    let data = pattern(2 * PART);
    let store = breaking_store(data.clone(), PART / 2 + 1, Arc::clone(&gets)).await;
    assert_eq!(download(&at(&store), 0).await.unwrap(), data);
    assert_eq!(gets.load(Ordering::SeqCst), 4, "two for each range");
    idle(&store).await;
}

#[tokio::test]
async fn a_body_that_never_comes_is_an_error() {
    let gets = Arc::new(AtomicUsize::new(0));
    let store = breaking_store(pattern(1000), 0, Arc::clone(&gets)).await;
    let failed = download(&at(&store), 0).await;
    assert!(
        matches!(failed, Err(ObjectError::Unavailable(_))),
        "{failed:?}"
    );
    assert_eq!(gets.load(Ordering::SeqCst), 3);
    idle(&store).await;
}

#[tokio::test]
async fn an_ignored_range_is_skipped_to() {
    let data = pattern(1000);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let body = data.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            request(&mut stream).await;
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\
                        ETag: \"v1\"\r\n\r\n";
            // The client may go away in the middle.
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&body).await;
        }
    });
    let store = store_at(address, 64 << 20, |_| {}).await;
    assert_eq!(download(&at(&store), 0).await.unwrap(), data);
    assert_eq!(download(&at(&store), 300).await.unwrap(), data.slice(300..));
    assert!(download(&at(&store), 1000).await.unwrap().is_empty());
    let beyond = download(&at(&store), 1001).await;
    assert!(
        matches!(beyond, Err(ObjectError::OutOfRange { size: Some(1000) })),
        "{beyond:?}"
    );
}

/// A store that answers each method with one fixed answer, and notes the request lines.
pub(super) async fn answering(
    answers: fn(&str, usize) -> String,
) -> (Arc<Store>, Arc<std::sync::Mutex<Vec<String>>>) {
    answering_with(|config| config.attempts = 1, answers).await
}

/// The same with another configuration.
pub(super) async fn answering_with(
    change: impl FnOnce(&mut crate::object::options::StoreOptions),
    answers: fn(&str, usize) -> String,
) -> (Arc<Store>, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let log = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&log);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                while let Some((line, headers)) = request(&mut stream).await {
                    let id = header(&headers, "x-amz-meta-s3ftpd-transfer").unwrap_or_default();
                    let count = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(format!("{line} {id}"));
                        seen.len()
                    };
                    let id = known_id(&seen.lock().unwrap());
                    let answer = answers(&line, count).replace("{id}", &id);
                    if answer.is_empty() {
                        return;
                    }
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    (store_at(address, 64 << 20, change).await, log)
}

/// The transfer id that a request has brought.
fn known_id(seen: &[String]) -> String {
    let mut ids = seen
        .iter()
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(_, id)| id);
    ids.rfind(|id| id.len() == 20)
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn a_lost_answer_is_looked_for() {
    // The connection breaks instead of an answer to the PutObject; the object is there at the
    // second look.
    let (store, log) = answering(|line, count| match (line.starts_with("PUT"), count) {
        (true, _) => String::new(),
        (false, 2) => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nETag: \"v1\"\r\nx-amz-meta-s3ftpd-transfer: {id}\r\n\r\n"
            .to_owned(),
    })
    .await;
    let published = upload(&at(&store), options(), &pattern(10)).await.unwrap();
    assert_eq!(published.etag.as_deref(), Some("\"v1\""));
    assert_eq!(log.lock().unwrap().len(), 3, "{log:?}");
}

/// Something between has a clock of its own: by that a running upload would be an old one.
#[tokio::test]
async fn an_answer_that_is_not_the_stores_does_not_tell_its_time() {
    let (store, _) = answering(|_, count| {
        let (status, page, day) = match count {
            1 | 3 => ("200 OK", "", "Thu, 01 Jan 2026"),
            _ => (
                "503 Service Unavailable",
                "Content-Type: text/html\r\n",
                "Tue, 01 Jan 2036",
            ),
        };
        format!(
            "HTTP/1.1 {status}\r\nContent-Length: 10\r\nETag: \"v1\"\r\n{page}\
             Date: {day} 00:00:0{count} GMT\r\n\r\n"
        )
    })
    .await;
    let year = || store.now().map(|now| now.strftime("%Y").to_string());
    assert_eq!(year(), None);
    head(&at(&store)).await.unwrap();
    assert_eq!(year().as_deref(), Some("2026"));
    let foreign = head(&at(&store)).await;
    assert!(
        matches!(foreign, Err(ObjectError::Foreign(_))),
        "{foreign:?}"
    );
    assert_eq!(year().as_deref(), Some("2026"));
    head(&at(&store)).await.unwrap();
    assert_eq!(year().as_deref(), Some("2026"));
}

#[tokio::test]
async fn a_refusal_is_final() {
    let (store, log) = answering(|_, _| {
        let body = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";
        format!(
            "HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    })
    .await;
    let denied = upload(&at(&store), options(), &pattern(10)).await;
    assert!(
        matches!(&denied, Err(ObjectError::Denied(text)) if text == "AccessDenied: no"),
        "{denied:?}"
    );
    assert_eq!(log.lock().unwrap().len(), 1);
    assert!(matches!(
        head(&at(&store)).await,
        Err(ObjectError::Denied(_))
    ));
}

#[tokio::test]
async fn a_failed_part_ends_the_upload_and_aborts_it() {
    let (store, log) = answering(|line, _| {
        let body = if line.starts_with("POST") {
            "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>"
        } else {
            "<Error><Code>XMinioStorageFull</Code></Error>"
        };
        let status = match line {
            line if line.starts_with("POST") => "200 OK",
            line if line.starts_with("DELETE") => "204 No Content\r\nX: y",
            _ => "507 Insufficient Storage",
        };
        if status.starts_with("204") {
            return format!("HTTP/1.1 {status}\r\n\r\n");
        }
        format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    })
    .await;
    let admission = admission(&store).await;
    let mut upload = Upload::begin(at(&store), admission, options())
        .await
        .unwrap();
    upload.write(pattern(PART + 1)).await.unwrap();
    upload.space().await.unwrap();
    let failed = tokio::time::timeout(LONG, upload.failure().wait())
        .await
        .unwrap();
    assert!(matches!(failed, ObjectError::Full), "{failed:?}");
    assert!(matches!(upload.space().await, Err(ObjectError::Full)));
    assert!(matches!(upload.store_parts().await, Err(ObjectError::Full)));
    upload.abandon().await;
    let log = log.lock().unwrap().clone();
    assert!(log.last().unwrap().starts_with("DELETE"), "{log:?}");
    idle(&store).await;
}

/// A multipart upload of two parts up to its Complete, the fourth request, whose answer is lost;
/// `after` answers what follows.
fn losing_complete(line: &str, count: usize, after: impl Fn(&str, usize) -> String) -> String {
    match (line.split(' ').next(), count) {
        (Some("POST"), 1) => ok(
            "",
            "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>",
        ),
        (Some("PUT"), _) => ok("ETag: \"p\"\r\n", ""),
        (Some("POST"), 4) => String::new(),
        (Some("DELETE"), _) => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        _ => after(line, count),
    }
}

pub(super) fn ok(headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The answer to a HEAD of an object of this size.
pub(super) fn head_of(headers: &str, size: usize) -> String {
    ok(headers, "").replace("Content-Length: 0", &format!("Content-Length: {size}"))
}

pub(super) fn not_found(headers: &str, body: &str) -> String {
    ok(headers, body).replace("200 OK", "404 Not Found")
}

pub(super) fn methods(log: &std::sync::Mutex<Vec<String>>) -> String {
    let log = log.lock().unwrap();
    log.iter()
        .filter_map(|line| line.split(' ').next())
        .collect::<Vec<_>>()
        .join(" ")
}

#[tokio::test]
async fn a_lost_complete_is_looked_for() {
    let (store, log) = answering(|line, count| {
        losing_complete(line, count, |_, _| {
            head_of(
                "ETag: \"v1\"\r\nx-amz-meta-s3ftpd-transfer: {id}\r\n",
                PART + 1,
            )
        })
    })
    .await;
    let published = upload(&at(&store), options(), &pattern(PART + 1))
        .await
        .unwrap();
    assert_eq!(
        (published.parts, published.etag.as_deref()),
        (2, Some("\"v1\""))
    );
    assert_eq!(methods(&log), "POST PUT PUT POST HEAD");
    idle(&store).await;
    assert_eq!(
        methods(&log),
        "POST PUT PUT POST HEAD",
        "what is published is not aborted"
    );
}

const NO_SUCH_UPLOAD: &str = "<Error><Code>NoSuchUpload</Code></Error>";
const DATE: &str = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

#[tokio::test]
async fn a_complete_that_was_overtaken_is_superseded() {
    let (store, log) = answering(|line, count| {
        losing_complete(line, count, |line, count| {
            match (line.starts_with("HEAD"), count) {
                (true, 5) => not_found("", ""),
                (true, _) => ok(
                    "ETag: \"w\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
                    "",
                ),
                (false, _) => not_found(DATE, NO_SUCH_UPLOAD),
            }
        })
    })
    .await;
    let superseded = upload(&at(&store), options(), &pattern(PART + 1)).await;
    assert!(
        matches!(superseded, Err(ObjectError::Superseded)),
        "{superseded:?}"
    );
    assert!(
        methods(&log).starts_with("POST PUT PUT POST HEAD POST HEAD"),
        "{log:?}"
    );
    idle(&store).await;
}

#[tokio::test]
async fn an_upload_that_vanished_is_not_superseded_by_an_older_object() {
    let (store, _) = answering(|line, count| {
        losing_complete(line, count, |line, _| match line.starts_with("HEAD") {
            true => ok(
                "ETag: \"w\"\r\nLast-Modified: Sun, 06 Nov 1994 08:40:00 GMT\r\n",
                "",
            ),
            false => not_found(DATE, NO_SUCH_UPLOAD),
        })
    })
    .await;
    let failed = upload(&at(&store), options(), &pattern(PART + 1)).await;
    assert!(matches!(failed, Err(ObjectError::Lost)), "{failed:?}");
    idle(&store).await;
}

#[tokio::test]
async fn a_reader_that_waits_gets_ranges_ahead() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let data = pattern(4 * PART);
    let whole = data.clone();
    // The ranges after the first come only when all three of them are asked for.
    let together = Arc::new(tokio::sync::Barrier::new(3));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (data, together) = (whole.clone(), Arc::clone(&together));
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                while let Some((_, headers)) = request(&mut stream).await {
                    let (first, end) = range(&headers);
                    if first > 0 {
                        together.wait().await;
                    }
                    let head = format!(
                        "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{}/{}\r\n\
                         ETag: \"v1\"\r\n\r\n",
                        end - first,
                        end - 1,
                        data.len(),
                    );
                    let _ = stream.write_all(head.as_bytes()).await;
                    let _ = stream.write_all(&data[first..end]).await;
                }
            });
        }
    });
    let store = store_at(address, 64 << 20, |_| {}).await;
    let got = tokio::time::timeout(LONG, download(&at(&store), 0))
        .await
        .unwrap();
    assert_eq!(got.unwrap(), data);
    idle(&store).await;
}
