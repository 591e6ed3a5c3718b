//! What happens to one request that a rule hits.

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use s3s::{Body, HttpRequest, HttpResponse};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::body::{Shape, StreamBody, shaped};
use super::{Answer, Fault, Request, RuleState};
use crate::{Next, ResetConnection};

/// Applies a fault to one request, for interceptors that choose the fault themselves. A fault that
/// holds the request holds it for ever.
pub async fn perform(
    fault: Fault,
    request: HttpRequest,
    next: &Next,
) -> Result<HttpResponse, ResetConnection> {
    let rule = RuleState {
        operation: String::new(),
        key: String::new(),
        skip: 0,
        times: AtomicUsize::new(1),
        fault,
        seen: AtomicUsize::new(0),
        hits: watch::Sender::new(0),
        released: CancellationToken::new(),
    };
    misbehave(&rule, request, next).await
}

pub(super) async fn misbehave(
    rule: &RuleState,
    request: HttpRequest,
    next: &Next,
) -> Result<HttpResponse, ResetConnection> {
    let shape = |response: HttpResponse, shape: Shape| {
        response.map(|body| shaped(body, shape, next.clone(), rule.released.clone()))
    };
    match rule.fault {
        Fault::Status(status, code) => {
            drain(request.into_body()).await;
            Ok(error_response(status, code))
        }
        Fault::ErrorIn200(code) => {
            drain(request.into_body()).await;
            Ok(error_response(200, code))
        }
        Fault::ResetBeforeHandling => Err(ResetConnection),
        Fault::LoseAnswer => {
            next.run(request).await;
            Err(ResetConnection)
        }
        Fault::CutRequest(bytes) => {
            let mut body = request.into_body();
            let mut read = 0;
            while read < bytes {
                match body.next().await {
                    Some(Ok(piece)) => read += piece.len() as u64,
                    _ => break,
                }
            }
            Err(ResetConnection)
        }
        Fault::StallRequest(bytes) => {
            let released = rule.released.clone();
            let stall = |body| shaped(body, Shape::Stall(bytes), next.clone(), released);
            Ok(next.run(request.map(stall)).await)
        }
        Fault::CorruptRequest => {
            let corrupt = |body| shaped(body, Shape::Corrupt, next.clone(), rule.released.clone());
            Ok(next.run(request.map(corrupt)).await)
        }
        Fault::CutBody(bytes) => Ok(shape(next.run(request).await, Shape::Cut(bytes))),
        Fault::ResetBody(bytes) => Ok(shape(next.run(request).await, Shape::Reset(bytes))),
        Fault::StallBody(bytes) => Ok(shape(next.run(request).await, Shape::Stall(bytes))),
        Fault::CorruptBody => Ok(shape(next.run(request).await, Shape::Corrupt)),
        Fault::Stall => {
            rule.released.cancelled().await;
            Ok(next.run(request).await)
        }
        Fault::StallAnswer => {
            let answer = next.run(request).await;
            rule.released.cancelled().await;
            Ok(answer)
        }
        Fault::WhiteSpace => Ok(white_space(request, next, rule.released.clone())),
        Fault::Delay(time) => {
            tokio::time::sleep(time).await;
            Ok(next.run(request).await)
        }
        Fault::Foreign(answer) => {
            drain(request.into_body()).await;
            Ok(foreign(answer))
        }
        Fault::ForeignAfter(answer) => {
            next.run(request).await;
            Ok(foreign(answer))
        }
        Fault::Edit(edit) => Ok(edited(next.run(request).await, edit).await),
        Fault::Shorten(bytes) => {
            let shorten = |_: &mut _, body: &mut Vec<u8>| body.truncate(bytes);
            Ok(edited(next.run(request).await, shorten).await)
        }
        Fault::Keys(keys) => Ok(xml(made_up_page(&Request::of(&request), keys))),
    }
}

/// The interval of the white space.
const WHITE_SPACE: Duration = Duration::from_millis(20);

fn white_space(request: HttpRequest, next: &Next, released: CancellationToken) -> HttpResponse {
    const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
    let spaces = futures::stream::unfold(released.clone(), |released| async move {
        tokio::select! {
            biased;
            () = released.cancelled() => None,
            () = tokio::time::sleep(WHITE_SPACE) => Some((Ok(Bytes::from_static(b" ")), released)),
        }
    });
    let next = next.clone();
    let end = futures::stream::once(async move {
        let mut body = next.run(request).await.into_body();
        let mut text = Vec::new();
        while let Some(Ok(piece)) = body.next().await {
            text.extend_from_slice(&piece);
        }
        let text = String::from_utf8(text).unwrap();
        Ok(Bytes::from(text.replace(DECLARATION, "")))
    });
    let begin = futures::stream::once(async { Ok(Bytes::from_static(DECLARATION.as_bytes())) });
    let pieces = begin.chain(spaces).chain(end);
    let mut response = xml(String::new());
    *response.body_mut() = Body::http_body_unsync(StreamBody::of(pieces));
    response
}

async fn drain(mut body: Body) {
    while let Some(Ok(_)) = body.next().await {}
}

fn foreign(answer: Answer) -> HttpResponse {
    let mut response = HttpResponse::new(Body::from(answer.body.to_owned()));
    *response.status_mut() = http::StatusCode::from_u16(answer.status).unwrap();
    for (name, value) in answer.headers {
        let value = http::HeaderValue::from_static(value);
        response.headers_mut().insert(*name, value);
    }
    response
}

/// An answer whose body has been read and edited; its length is that of the new body.
async fn edited(
    answer: HttpResponse,
    edit: impl FnOnce(&mut http::response::Parts, &mut Vec<u8>),
) -> HttpResponse {
    let (mut parts, mut body) = answer.into_parts();
    let mut bytes = Vec::new();
    while let Some(Ok(piece)) = body.next().await {
        bytes.extend_from_slice(&piece);
    }
    parts.headers.remove("content-length");
    edit(&mut parts, &mut bytes);
    HttpResponse::from_parts(parts, Body::from(bytes))
}

fn error_response(status: u16, code: &str) -> HttpResponse {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code>\
         <Message>on cue</Message><RequestId>test</RequestId></Error>"
    );
    let mut response = xml(text);
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
    response
}

fn xml(text: String) -> HttpResponse {
    let mut response = HttpResponse::new(Body::from(text));
    let xml = http::HeaderValue::from_static("application/xml");
    response.headers_mut().insert("content-type", xml);
    response
}

/// A page of a listing of `keys` objects under the request's prefix. Its token is the number of the
/// next one.
fn made_up_page(request: &Request, keys: u64) -> String {
    let number = |name| request.parameter(name).and_then(|text| text.parse().ok());
    let first: u64 = number("continuation-token").unwrap_or(0);
    let most = number("max-keys").unwrap_or(1000).min(1000);
    let end = keys.min(first + most);
    // In the query and, with `encoding-type=url`, in the answer it is percent-encoded.
    let prefix = request.parameter("prefix").unwrap_or_default();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult><Name>{}</Name><Prefix>{prefix}</Prefix>\
         <EncodingType>url</EncodingType><MaxKeys>{most}</MaxKeys><KeyCount>{}</KeyCount>\
         <IsTruncated>{}</IsTruncated>",
        request.bucket,
        end - first,
        end < keys,
    );
    if end < keys {
        text += &format!("<NextContinuationToken>{end}</NextContinuationToken>");
    }
    for number in first..end {
        text += &format!(
            "<Contents><Key>{prefix}{number:07}</Key><LastModified>2026-11-01T00:00:00.000Z</LastModified>\
             <ETag>&quot;0&quot;</ETag><Size>{number}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        );
    }
    text + "</ListBucketResult>"
}
