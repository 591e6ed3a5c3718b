//! What happens now: the numbers at the top, and the sessions.

use maud::{Markup, html};

use crate::auth::Ban;
use crate::events::Direction;
use crate::server::admin::status::{Rights, Status};
use crate::server::admin::text::{length, number, rate, shown, size};
use crate::server::admin::view::LiveRow;
use crate::session::LiveTransfer;

/// The most sessions of a page. The JSON has more.
const MOST: usize = 100;

pub(super) fn overview(status: &Status, bans: &[Ban]) -> Markup {
    let context = &status.context;
    let all = context.live.all();
    let running: Vec<_> = all
        .iter()
        .filter_map(|session| session.activity().transfer)
        .collect();
    let total = |wanted: Direction| -> f64 {
        let wanted = running.iter().filter(|one| one.direction == Some(wanted));
        wanted.map(|transfer| transfer.rate()).sum()
    };
    let (used, budget) = (context.budget.in_use(), context.budget.total());
    html! {
        section #overview aria-label="Overview" {
            dl.cards {
                (card("Sessions", &number(all.len() as u64), match context.drain.is_cancelled() {
                    true => "draining",
                    false => "",
                }))
                (card("Transfers", &number(running.len() as u64), ""))
                (card("Uploading", &rate(total(Direction::In)), ""))
                (card("Downloading", &rate(total(Direction::Out)), ""))
                div {
                    dt { "Memory of transfers" }
                    dd {
                        (size(used)) small { "of " (size(budget)) }
                        progress max=(budget) value=(used) {}
                    }
                }
                (card("Bans", &number(bans.len() as u64), ""))
            }
        }
    }
}

fn card(name: &str, value: &str, note: &str) -> Markup {
    html! {
        div { dt { (name) } dd { (value) @if !note.is_empty() { small { (note) } } } }
    }
}

pub(super) fn sessions(rows: &[LiveRow], rights: Rights) -> Markup {
    html! {
        section #sessions aria-label="Sessions" {
            h2 { "Sessions " span { (number(rows.len() as u64)) } }
            @if rows.is_empty() { p.soft { "None." } } @else {
                table {
                    thead { tr {
                        th { "User" } th { "Client" } th { "Connected" } th { "Now" }
                        th { "Transfer" }
                        @if rights == Rights::LoggedIn { th { "" } }
                    } }
                    tbody { @for row in rows.iter().take(MOST) { (session(row, rights)) } }
                }
                @if rows.len() > MOST {
                    p.soft { "The first " (MOST) " are shown." }
                }
            }
        }
    }
}

fn session(row: &LiveRow, rights: Rights) -> Markup {
    let activity = &row.activity;
    let facts = &activity.facts;
    let user = facts.user.as_deref();
    let under = facts.tls.unwrap_or("no TLS");
    html! {
        tr {
            td data-label="User" { div {
                @match user {
                    Some(user) => { bdi { (shown(user)) } },
                    None => { span.soft { "not logged in" } },
                }
                small { code { (facts.session) } }
            } }
            td data-label="Client" { div {
                (facts.peer) ", " (under)
                @if let Some(host) = &facts.host { ", " bdi { (shown(host)) } }
                @if let Some(client) = &facts.client { small { bdi { (shown(client)) } } }
            } }
            td data-label="Connected" { (length(row.age)) }
            td data-label="Now" {
                @match activity.verb {
                    Some(verb) => { code { (verb) } },
                    None => { span.soft { "idle for " (length(activity.idle)) } },
                }
            }
            td.transfer data-label="Transfer" {
                @if let Some(transfer) = &activity.transfer { div { (progress(transfer)) } }
            }
            @if rights == Rights::LoggedIn {
                td data-label="" {
                    form method="post" action={ "/sessions/" (facts.session) "/end" }
                        data-confirm={ "End the session of " (user.map_or_else(|| "a client".to_owned(), shown)) "?" } {
                        button.danger id={ "end-" (facts.session) } { "End" }
                    }
                }
            }
        }
    }
}

fn progress(transfer: &LiveTransfer) -> Markup {
    let bytes = transfer.bytes();
    html! {
        bdi { (shown(&transfer.path)) }
        @if let Some(expected) = transfer.expected() {
            progress max=(expected.max(1)) value=(bytes) {}
        }
        small {
            (size(bytes))
            @if let Some(expected) = transfer.expected() {
                " of " (size(expected))
                " (" ((bytes as f64 / expected.max(1) as f64 * 100.0).min(100.0) as u64) " %)"
            }
            ", " (rate(transfer.rate())) ", " (length(transfer.age()))
        }
    }
}
