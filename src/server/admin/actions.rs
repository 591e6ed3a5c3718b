//! What an operator may change with the token: end a session, lift a ban, set the log's filter; and
//! the login itself.

use axum::extract::rejection::FormRejection;
use axum::extract::{Extension, Form, Path, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tokio::time::Instant;
use tracing::Level;

use crate::events::filter::LogFilter;
use crate::server::admin::access::{
    AdminError, Caller, authorise, check, html, json, same_origin, see_other,
};
use crate::server::admin::connection::OwnConnection;
use crate::server::admin::json::banned_address;
use crate::server::admin::page;
use crate::server::admin::status::SharedStatus;
use crate::server::admin::token::{COOKIE, COOKIE_TIME};

/// The longest filter of the log, bytes.
const LONGEST_FILTER: usize = 500;

#[derive(Deserialize)]
pub(super) struct LoginForm {
    token: String,
}

#[derive(Deserialize)]
pub(super) struct FilterForm {
    filter: String,
}

pub(super) async fn login_form(State(status): SharedStatus, headers: HeaderMap) -> Response {
    match status.token {
        Some(_) => html(page::login(None)),
        None => AdminError::ReadOnly.answer(&headers),
    }
}

pub(super) async fn login(
    State(status): SharedStatus,
    Extension(connection): OwnConnection,
    headers: HeaderMap,
    form: Result<Form<LoginForm>, FormRejection>,
) -> Response {
    let Ok(Form(form)) = form else {
        return AdminError::Wrong("the form must have a token".to_owned()).answer(&headers);
    };
    if !same_origin(&headers) {
        return AdminError::OtherOrigin.answer(&headers);
    }
    if let Err(error) = check(&status, &form.token, connection.peer).await {
        let mut response = error.answer(&headers);
        if error == AdminError::WrongToken {
            response = html(page::login(Some(&error.to_string())));
            *response.status_mut() = StatusCode::FORBIDDEN;
        }
        return response;
    }
    tracing::info!(peer = %connection.peer, "an operator has logged in at the admin port");
    let value = status
        .token
        .as_ref()
        .map(|token| token.cookie(Instant::now()));
    with_cookie(&value.unwrap_or_default(), COOKIE_TIME.as_secs())
}

pub(super) async fn logout(headers: HeaderMap) -> Response {
    match same_origin(&headers) {
        true => with_cookie("", 0),
        false => AdminError::OtherOrigin.answer(&headers),
    }
}

/// Back to the page, with this cookie. It is not `Secure`: the admin port itself has no TLS.
fn with_cookie(value: &str, seconds: u64) -> Response {
    let cookie = format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}");
    ([(SET_COOKIE, cookie)], see_other("/")).into_response()
}

pub(super) async fn end_session(
    State(status): SharedStatus,
    Extension(connection): OwnConnection,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    answer(&headers, async {
        let caller = authorise(&status, &headers, connection.peer).await?;
        let session = status.context.live.find(&id);
        let session = session.ok_or(AdminError::NotThere("session"))?;
        session.end();
        let facts = session.activity().facts;
        tracing::info!(
            operator = %connection.peer, session = &*facts.session, peer = %facts.peer,
            user = facts.user.as_deref().map(|user| user.escape_debug().to_string()),
            "an operator has ended a session"
        );
        Ok((caller, serde_json::json!({ "session": id })))
    })
    .await
}

pub(super) async fn lift_ban(
    State(status): SharedStatus,
    Extension(connection): OwnConnection,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    answer(&headers, async {
        let caller = authorise(&status, &headers, connection.peer).await?;
        let ban = id
            .parse()
            .ok()
            .and_then(|id| status.context.failures.lift_ban(id));
        let ban = ban.ok_or(AdminError::NotThere("ban"))?;
        tracing::info!(
            operator = %connection.peer, address = banned_address(&ban),
            user = ban.user.as_deref().map(|user| user.escape_debug().to_string()),
            "an operator has lifted a ban"
        );
        Ok((caller, serde_json::json!({ "ban": ban.id })))
    })
    .await
}

pub(super) async fn set_log_filter(
    State(status): SharedStatus,
    Extension(connection): OwnConnection,
    headers: HeaderMap,
    form: Result<Form<FilterForm>, FormRejection>,
) -> Response {
    answer(&headers, async {
        let caller = authorise(&status, &headers, connection.peer).await?;
        let log = status.log.as_ref();
        let log = log.ok_or(AdminError::NotThere("log"))?;
        let wrong = |text: &str| AdminError::Wrong(text.to_owned());
        let Form(form) = form.map_err(|_| wrong("the form must have a filter"))?;
        let filter = form.filter.trim();
        if filter.len() > LONGEST_FILTER {
            return Err(wrong("the filter is longer than 500 bytes"));
        }
        let problem = |problem| AdminError::Wrong(format!("filter: {problem}"));
        let line = || {
            tracing::info!(
                operator = %connection.peer, filter,
                "an operator has changed the filter of the log"
            );
        };
        // The filter that hides such lines may be the old one or the new one.
        let old = log.filter().parse::<LogFilter>().unwrap_or_default();
        let shown = old.targets().would_enable(module_path!(), &Level::INFO);
        if shown && filter.parse::<LogFilter>().is_ok() {
            line();
        }
        log.set_filter(filter).map_err(problem)?;
        if !shown {
            line();
        }
        Ok((caller, serde_json::json!({ "filter": log.filter() })))
    })
    .await
}

/// What was changed, to a program; a browser sees it on the page.
async fn answer(
    headers: &HeaderMap,
    change: impl Future<Output = Result<(Caller, serde_json::Value), AdminError>>,
) -> Response {
    match change.await {
        Ok((Caller::Program, changed)) => json(format!("{changed}\n")),
        Ok((Caller::Browser, _)) => see_other("/"),
        Err(error) => error.answer(headers),
    }
}
