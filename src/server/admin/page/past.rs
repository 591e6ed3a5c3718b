//! What has happened: the last transfers and failures.

use maud::{Markup, html};

use crate::events::{Class, Event, Kind};
use crate::server::admin::query::{Asked, AskedError};
use crate::server::admin::recent::Numbered;
use crate::server::admin::status::Status;
use crate::server::admin::text::{number, rate, shown, size};

/// The most events of a page. The JSON has more.
const MOST: usize = 50;

pub(super) fn recent(status: &Status, asked: &Asked) -> Markup {
    let found = asked
        .search()
        .map(|search| status.recent.find(&search, MOST));
    html! {
        section #recent aria-label="Recent transfers and failures" {
            h2 { "Recent transfers and failures " span {
                (number(status.recent.count() as u64)) " in memory"
            } }
            @match found {
                Err(error) => { (wrong_search(&error)) },
                Ok((events, _)) if events.is_empty() => { p.soft { "None." } },
                Ok((events, older)) => {
                    table {
                        thead { tr {
                            th { "Time (UTC)" } th { "User" } th { "File" } th { "Size" }
                            th { "Result" }
                        } }
                        tbody { @for event in &events { (recent_row(&event.event)) } }
                    }
                    @if older { (older_than(asked, events.last())) }
                }
            }
        }
    }
}

fn wrong_search(error: &AskedError) -> Markup {
    html! { p.problem role="alert" { (error) } }
}

fn older_than(asked: &Asked, last: Option<&Numbered>) -> Markup {
    html! {
        form method="get" action="/" {
            input type="hidden" name="user" value=(asked.user);
            input type="hidden" name="path" value=(asked.path);
            input type="hidden" name="class" value=(asked.class);
            input type="hidden" name="id" value=(asked.id);
            @if let Some(last) = last {
                input type="hidden" name="before" value=(last.number);
            }
            button #older { "Older" }
        }
    }
}

fn recent_row(event: &Event) -> Markup {
    let session = event.session.as_deref();
    html! {
        tr {
            td.time data-label="Time (UTC)" { time datetime={ (format!("{:.3}", event.time)) } {
                (event.time.strftime("%m-%d %H:%M:%S"))
            } }
            td data-label="User" { div {
                @if let Some(user) = event.user() { bdi { (shown(user)) } }
                @if let Some(peer) = event.peer() { small { (peer.ip()) } }
                @if let Some(client) = session.and_then(|session| session.client.as_deref()) {
                    small { bdi { (shown(client)) } }
                }
            } }
            td.path data-label="File" { div { (file(event)) } }
            td data-label="Size" { @if let Some(bytes) = event.bytes { div {
                (size(event.size.unwrap_or(bytes)))
                @if let Some(seconds) = event.seconds {
                    small { (format!("{seconds:.1} s, ")) (rate(bytes as f64 / seconds.max(0.001))) }
                }
            } } }
            td data-label="Result" { div { (result(event)) } }
        }
    }
}

/// Which file, and its object.
fn file(event: &Event) -> Markup {
    html! {
        @if let Some(verb) = event.verb { code { (verb) } " " }
        @if event.kind == Kind::LoginRefused { "login" }
        @if let Some(path) = &event.path { bdi { (shown(path)) } }
        @if let Some(to) = &event.to { " → " bdi { (shown(to)) } }
        @if let (Some(bucket), Some(key)) = (&event.bucket, &event.key) {
            small {
                @if let Some(store) = &event.store { (store) ": " }
                bdi { (bucket) "/" (shown(key)) }
            }
        }
    }
}

fn result(event: &Event) -> Markup {
    let name = event.class.map_or("refused", Class::name);
    let mark = match event.class {
        Some(Class::Ok) => "class ok",
        _ => "class failed",
    };
    html! {
        span class=(mark) { (name) }
        @if let Some(code) = event.code { " " (code) }
        @if let Some(cause) = event.cause { " (" (cause.name()) ")" }
        @if event.class != Some(Class::Ok) {
            @if let Some(reason) = &event.reason { small { bdi { (shown(reason)) } } }
            @if let Some(detail) = &event.detail { small { bdi { (shown(detail)) } } }
        }
        @if let Some(id) = &event.id { small { code { (id) } } }
    }
}
