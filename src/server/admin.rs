//! The status page on the admin port, and the same as JSON.
//!
//! ```text
//! sessions ──▶ session::LiveSessions ─┐
//! events ────▶ RecentEvents ──────────┼─▶ Status ─▶ page (HTML), json
//! bans, certificates, memory, stores ─┘      ▲
//!                                   token ─▶ actions: end a session, lift a ban, filter the log
//! ```
//!
//! Everybody who reaches the port may read; changes need `admin.token` (`access`). The server of
//! the health endpoints ([`crate::server::health`]) carries the requests, and ends each connection
//! after a fixed time. Pages may be a megabyte, so only a few are sent at the same time (`permits`).
//! Probes and changes never wait for one.

mod access;
mod actions;
pub(super) mod connection;
mod json;
mod page;
mod permits;
mod query;
pub(super) mod recent;
pub mod status;
mod text;
mod token;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Extension, Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use access::{AdminError, html, knows_token, rights};
use connection::OwnConnection;
use query::{Asked, AskedError};
use status::{SharedStatus, Status};

/// The largest body of a request, bytes.
const LARGEST_BODY: usize = 8 * 1024;

/// Headers of all answers, besides the policy of the content.
const HEADERS: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    // Not "no-referrer": browsers would then send no origin with the page's forms.
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// The pages of a server.
pub(super) fn router(status: Arc<Status>) -> Router {
    Router::new()
        .route("/", get(whole))
        .route("/live", get(live))
        .route("/sessions", get(sessions))
        .route("/transfers", get(transfers))
        .route("/stores", get(stores))
        .route("/bans", get(bans))
        .route_layer(from_fn_with_state(Arc::clone(&status), admit))
        // Their answers are small.
        .route("/login", get(actions::login_form).post(actions::login))
        .route("/logout", post(actions::logout))
        .route("/sessions/{id}/end", post(actions::end_session))
        .route("/bans/{id}/lift", post(actions::lift_ban))
        .route("/log/filter", post(actions::set_log_filter))
        .route_layer(from_fn(add_headers))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(status)
}

type AskedFor = Result<Query<Asked>, QueryRejection>;

/// Bounds the pages that are sent at the same time.
async fn admit(
    State(status): SharedStatus,
    Extension(connection): OwnConnection,
    request: Request,
    next: Next,
) -> Response {
    let permit = match status.pages.take(connection.peer.ip()) {
        Some(permit) => Some(permit),
        None => match knows_token(&status, request.headers(), connection.peer).await {
            Ok(true) => status.pages.take_reserved(),
            Ok(false) => None,
            Err(error) => return error.answer(request.headers()),
        },
    };
    match permit {
        Some(permit) => {
            connection.hold(permit);
            next.run(request).await
        }
        None => {
            let busy = "too many pages at once, try again\n";
            (StatusCode::SERVICE_UNAVAILABLE, busy).into_response()
        }
    }
}

/// Adds the headers of all answers.
async fn add_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let policy = page::content_security_policy();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    for (name, value) in HEADERS {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    response
}

async fn whole(State(status): SharedStatus, headers: HeaderMap, asked: AskedFor) -> Response {
    match understood(asked) {
        Ok(asked) => html(page::whole(&status, &asked, rights(&status, &headers))),
        Err(error) => error.answer(&headers),
    }
}

async fn live(State(status): SharedStatus, headers: HeaderMap, asked: AskedFor) -> Response {
    match understood(asked) {
        Ok(asked) => html(page::live(&status, &asked, rights(&status, &headers))),
        Err(error) => error.answer(&headers),
    }
}

async fn sessions(State(status): SharedStatus, headers: HeaderMap, asked: AskedFor) -> Response {
    let found = understood(asked).and_then(|asked| Ok(json::sessions(&status, &asked)?));
    json_answer(&headers, found)
}

async fn transfers(State(status): SharedStatus, headers: HeaderMap, asked: AskedFor) -> Response {
    let found = understood(asked).and_then(|asked| Ok(json::transfers(&status, &asked)?));
    json_answer(&headers, found)
}

async fn stores(State(status): SharedStatus) -> Response {
    access::json(json::stores(&status))
}

async fn bans(State(status): SharedStatus) -> Response {
    access::json(json::bans(&status))
}

fn json_answer(headers: &HeaderMap, found: Result<String, AdminError>) -> Response {
    match found {
        Ok(found) => access::json(found),
        Err(error) => error.answer(headers),
    }
}

fn understood(asked: AskedFor) -> Result<Asked, AdminError> {
    match asked {
        Ok(Query(asked)) => Ok(asked),
        Err(rejection) => Err(AdminError::Wrong(rejection.body_text())),
    }
}

impl From<AskedError> for AdminError {
    fn from(error: AskedError) -> AdminError {
        AdminError::Wrong(error.to_string())
    }
}
