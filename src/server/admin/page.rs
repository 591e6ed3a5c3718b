//! The status page as HTML. It works without its script, which only brings new values every two
//! seconds and asks before a session is ended.
//!
//! Names, paths and keys come from clients: `maud` escapes every value, and [`shown`] writes out the
//! characters that would hide or move others. The script and the style stand in the page, and the
//! policy ([`content_security_policy`]) allows these two by their hashes and nothing else.

mod now;
mod past;
mod setup;

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use crate::events::Class;
use crate::server::admin::query::{Asked, FAILED};
use crate::server::admin::status::{Rights, Status};
use crate::server::admin::text::{length, shown};
use crate::server::admin::view::live_rows;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Allows this page's script and style, its own requests and forms, and nothing else.
pub(super) fn content_security_policy() -> &'static str {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
        format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src \
             'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            hash(SCRIPT),
            hash(STYLE)
        )
    });
    &POLICY
}

/// The whole page.
pub(super) fn whole(status: &Status, asked: &Asked, rights: Rights) -> Markup {
    let replica = status.replica.name.as_deref();
    let body = html! {
        header {
            h1 { "s3ftpd" @if let Some(replica) = replica { " " span.soft { (shown(replica)) } } }
            p {
                "version " (env!("CARGO_PKG_VERSION")) " · up " (length(status.started.elapsed()))
                " · configuration " code { (status.configuration()) }
                " · " span #state role="status" { "reload for new values" }
            }
            @match rights {
                Rights::ReadOnly => {},
                Rights::LoggedOut => { a href="/login" { "Log in" } },
                Rights::LoggedIn => {
                    form method="post" action="/logout" { button { "Log out" } }
                },
            }
        }
        form.line #search method="get" action="/" {
            label { "User" input name="user" value=(asked.user) autocomplete="off"; }
            label { "Path" input name="path" value=(asked.path) autocomplete="off"; }
            label { "Result" (class_choice(asked)) }
            label { "Id" input name="id" value=(asked.id) autocomplete="off"; }
            button { "Search" }
            @if asked.narrows() { a href="/" { "Show all" } }
        }
        main #live { (live(status, asked, rights)) }
        (log_filter(status, rights))
        footer { p.soft {
            "As JSON: " a href="/sessions" { "sessions" } ", " a href="/transfers" { "transfers" }
            ", " a href="/stores" { "stores" } ", " a href="/bans" { "bans" } "."
        } }
    };
    document("s3ftpd", &body)
}

/// The sections that change while the page is open.
pub(super) fn live(status: &Status, asked: &Asked, rights: Rights) -> Markup {
    let rows = live_rows(status, asked);
    let bans = status.context.failures.list_bans();
    html! {
        (now::overview(status, &bans))
        (now::sessions(&rows, rights))
        (past::recent(status, asked))
        (setup::stores(status))
        (setup::banned(&bans, rights))
        (setup::certificates(status))
    }
}

/// The form for the token.
pub(super) fn login(problem: Option<&str>) -> Markup {
    let body = html! {
        header { h1 { "s3ftpd" } }
        main.narrow {
            h2 { "Log in" }
            p.soft { "With the token of the configuration (" code { "admin.token" } ")." }
            @if let Some(problem) = problem { p.problem role="alert" { (problem) } }
            form.line method="post" action="/login" {
                label {
                    "Token"
                    input name="token" type="password" required autofocus
                        autocomplete="current-password";
                }
                button { "Log in" }
            }
            p { a href="/" { "Back to the status" } }
        }
    };
    document("Log in · s3ftpd", &body)
}

/// Why a request did nothing.
pub(super) fn problem(text: &str) -> Markup {
    let body = html! {
        header { h1 { "s3ftpd" } }
        main.narrow {
            p.problem role="alert" { (shown(text)) }
            p { a href="/" { "Back to the status" } }
        }
    };
    document("s3ftpd", &body)
}

fn document(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                link rel="icon" href="data:,";
                style { (PreEscaped(STYLE)) }
            }
            body {
                (body)
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

fn class_choice(asked: &Asked) -> Markup {
    html! {
        select name="class" {
            option value="" { "any" }
            option value=(FAILED) selected[asked.class == FAILED] { "failed" }
            @for class in Class::ALL {
                option value=(class.name()) selected[asked.class == class.name()] {
                    (class.name())
                }
            }
        }
    }
}

fn log_filter(status: &Status, rights: Rights) -> Markup {
    let (Some(log), Rights::LoggedIn) = (&status.log, rights) else {
        return html! {};
    };
    html! {
        section #log aria-label="Log" {
            h2 { "Log" }
            form.line method="post" action="/log/filter" {
                label {
                    "Filter"
                    input #filter name="filter" value=(log.filter()) required maxlength="500"
                        autocomplete="off";
                }
                button { "Set" }
            }
            p.soft {
                "A level (" code { "info" } ") or levels by target ("
                code { "s3ftpd=debug,info" } "), until the next start."
            }
        }
    }
}
