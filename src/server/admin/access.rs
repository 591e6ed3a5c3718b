//! Whether a request may change something.
//!
//! A program proves it with the token itself. A browser sends the cookie by itself, so its request
//! must come from this page: the cookie is `SameSite=Strict`, and the request's `Origin` must be the
//! host that it was sent to.

use std::net::SocketAddr;

use axum::body::Body;
use axum::http::header::{
    AUTHORIZATION, CONTENT_TYPE, COOKIE as COOKIES, HOST, HeaderName, LOCATION, ORIGIN,
    RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use crate::server::admin::page;
use crate::server::admin::status::{Rights, Status};
use crate::server::admin::token::{COOKIE, REFUSED_FOR, TokenError, WRONG_DELAY};

/// Who sends a request that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// Sent the token. Its answers are JSON.
    Program,
    /// Sent the cookie. It is sent back to the page.
    Browser,
}

/// Why a request changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum AdminError {
    /// No token is configured.
    #[error("this server's status is read-only: its configuration has no admin.token")]
    ReadOnly,
    /// Neither a token nor a cookie that counts.
    #[error("this needs the token of the configuration (admin.token)")]
    NoToken,
    /// Another token.
    #[error("the token is wrong")]
    WrongToken,
    /// Too many wrong tokens from this address.
    #[error("too many wrong tokens from your address, try again in a minute")]
    TooManyTokens,
    /// A request of a browser from another page.
    #[error("the request comes from another page")]
    OtherOrigin,
    /// What should be changed is not there.
    #[error("there is no such {0}, it may have ended")]
    NotThere(&'static str),
    /// A value is wrong.
    #[error("{0}")]
    Wrong(String),
}

impl AdminError {
    fn status(&self) -> StatusCode {
        match self {
            AdminError::NoToken => StatusCode::UNAUTHORIZED,
            AdminError::ReadOnly | AdminError::WrongToken | AdminError::OtherOrigin => {
                StatusCode::FORBIDDEN
            }
            AdminError::TooManyTokens => StatusCode::TOO_MANY_REQUESTS,
            AdminError::NotThere(_) => StatusCode::NOT_FOUND,
            AdminError::Wrong(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// The answer: a page for browsers, else JSON.
    pub(super) fn answer(&self, headers: &HeaderMap) -> Response {
        let mut response = match (wants_html(headers), self) {
            (true, AdminError::NoToken) => return see_other("/login"),
            (true, _) => html(page::problem(&self.to_string())),
            (false, _) => json(format!(
                "{}\n",
                serde_json::json!({ "error": self.to_string() })
            )),
        };
        *response.status_mut() = self.status();
        let more: Option<(HeaderName, String)> = match self {
            AdminError::NoToken => Some((WWW_AUTHENTICATE, "Bearer".to_owned())),
            AdminError::TooManyTokens => Some((RETRY_AFTER, REFUSED_FOR.as_secs().to_string())),
            _ => None,
        };
        if let Some((name, value)) = more
            && let Ok(value) = value.parse()
        {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// Whether the request may change something.
///
/// # Errors
/// Why not. A wrong token is answered late.
pub(super) async fn authorise(
    status: &Status,
    headers: &HeaderMap,
    peer: SocketAddr,
) -> Result<Caller, AdminError> {
    if status.token.is_none() {
        return Err(AdminError::ReadOnly);
    }
    if let Some(token) = bearer(headers) {
        return check(status, token, peer).await.map(|()| Caller::Program);
    }
    if rights(status, headers) != Rights::LoggedIn {
        return Err(AdminError::NoToken);
    }
    match same_origin(headers) {
        true => Ok(Caller::Browser),
        false => Err(AdminError::OtherOrigin),
    }
}

/// Whether the request comes from a client that knows the token: it has the token, or the cookie.
///
/// # Errors
/// As of [`check`].
pub(super) async fn knows_token(
    status: &Status,
    headers: &HeaderMap,
    peer: SocketAddr,
) -> Result<bool, AdminError> {
    match bearer(headers) {
        Some(token) if status.token.is_some() => check(status, token, peer).await.map(|()| true),
        _ => Ok(rights(status, headers) == Rights::LoggedIn),
    }
}

/// Whether a client has sent the token.
///
/// # Errors
/// Another one, or too many wrong ones. A wrong token is answered late.
pub(super) async fn check(
    status: &Status,
    given: &str,
    peer: SocketAddr,
) -> Result<(), AdminError> {
    let token = status.token.as_ref().ok_or(AdminError::ReadOnly)?;
    match token.check(given, peer.ip(), Instant::now()) {
        Ok(()) => Ok(()),
        Err(TokenError::TooMany) => Err(AdminError::TooManyTokens),
        Err(TokenError::Wrong) => {
            tracing::warn!(%peer, "a wrong admin.token was sent to the admin port");
            tokio::time::sleep(WRONG_DELAY).await;
            Err(AdminError::WrongToken)
        }
    }
}

/// What the reader of a page may do, by the cookie.
pub(super) fn rights(status: &Status, headers: &HeaderMap) -> Rights {
    let Some(token) = &status.token else {
        return Rights::ReadOnly;
    };
    let now = Instant::now();
    match cookies(headers).any(|cookie| token.knows(cookie, now)) {
        true => Rights::LoggedIn,
        false => Rights::LoggedOut,
    }
}

/// Whether a request of a browser comes from this server's own pages. Browsers send the origin with
/// each request that is not a GET.
pub(super) fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(ORIGIN), text(HOST)) else {
        return false;
    };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// Whether the client is a browser that shows the answer to a person.
pub(super) fn wants_html(headers: &HeaderMap) -> bool {
    let accept = headers.get("accept").and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

pub(super) fn see_other(path: &'static str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, path)]).into_response()
}

pub(super) fn html(markup: maud::Markup) -> Response {
    let kind = [(CONTENT_TYPE, "text/html; charset=utf-8")];
    (kind, Body::from(markup.into_string())).into_response()
}

pub(super) fn json(text: String) -> Response {
    let kind = [(CONTENT_TYPE, "application/json")];
    (kind, Body::from(text)).into_response()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The values of the page's cookie. There may be several, of other paths or domains.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(COOKIES).into_iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &'static str)| {
            let name = HeaderName::from_static(name);
            (name, axum::http::HeaderValue::from_static(value))
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn only_requests_of_the_own_pages_have_their_origin() {
        for (origin, host, same) in [
            (
                Some("http://ftp.example:8080"),
                Some("ftp.example:8080"),
                true,
            ),
            (Some("https://FTP.example"), Some("ftp.example"), true),
            (Some("http://evil.example"), Some("ftp.example"), false),
            (Some("http://ftp.example:81"), Some("ftp.example:80"), false),
            (Some("http://ftp.example.evil"), Some("ftp.example"), false),
            (Some("null"), Some("ftp.example"), false),
            (None, Some("ftp.example"), false),
            (Some("http://ftp.example"), None, false),
        ] {
            let mut lines = Vec::new();
            lines.extend(origin.map(|origin| ("origin", origin)));
            lines.extend(host.map(|host| ("host", host)));
            assert_eq!(same_origin(&headers(&lines)), same, "{lines:?}");
        }
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let headers = headers(&[("cookie", "a=1; s3ftpd_admin=x.y; s3ftpd_admin2=z; b")]);
        assert_eq!(cookies(&headers).collect::<Vec<_>>(), ["x.y"]);
    }

    #[test]
    fn the_scheme_of_a_token_has_no_case() {
        let token = |value| headers(&[("authorization", value)]);
        assert_eq!(bearer(&token("bearer abc")), Some("abc"));
        assert_eq!(bearer(&token("Basic abc")), None);
        assert_eq!(bearer(&token("abc")), None);
    }
}
