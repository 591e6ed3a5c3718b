//! What the server has: stores, bans, certificates.

use maud::{Markup, html};
use tokio::time::Instant;

use crate::auth::Ban;
use crate::server::admin::json::{banned_address, health};
use crate::server::admin::status::{Rights, Status};
use crate::server::admin::text::{length, number, shown};
use crate::server::store_watch::{StoreHealth, StoreState};

/// The most bans of a page. The JSON has all.
const MOST: usize = 100;

pub(super) fn stores(status: &Status) -> Markup {
    let states = status.stores.states();
    html! {
        section #stores aria-label="Stores" {
            h2 { "Stores" }
            table {
                thead { tr { th { "Store" } th { "Endpoint" } th { "State" } th { "Buckets" } } }
                tbody { @for state in &states { (store(state, status.endpoint(&state.name))) } }
            }
        }
    }
}

fn store(state: &StoreState, endpoint: Option<String>) -> Markup {
    let (name, failure) = health(&state.health);
    let mark = match state.health {
        StoreHealth::Unknown => "soft",
        StoreHealth::Up => "class ok",
        StoreHealth::Down(_) => "class failed",
    };
    html! {
        tr {
            td data-label="Store" { (state.name) }
            td data-label="Endpoint" { bdi { (endpoint.as_deref().unwrap_or("AWS")) } }
            td data-label="State" { div {
                span class=(mark) { (name) }
                @if state.health != StoreHealth::Unknown { " for " (length(state.since.elapsed())) }
                @if let Some(failure) = failure { small { bdi { (shown(&failure.to_string())) } } }
            } }
            td data-label="Buckets" { div {
                @for bucket in &state.buckets {
                    div {
                        (bucket.name)
                        @if let Some(failure) = &bucket.failure {
                            small.failed { bdi { (shown(&failure.to_string())) } }
                        }
                    }
                }
            } }
        }
    }
}

pub(super) fn banned(bans: &[Ban], rights: Rights) -> Markup {
    let now = Instant::now();
    html! {
        section #bans aria-label="Bans" {
            h2 { "Bans " span { (number(bans.len() as u64)) } }
            @if bans.is_empty() { p.soft { "None." } } @else {
                table {
                    thead { tr {
                        th { "Address" } th { "User" } th { "Ends in" }
                        @if rights == Rights::LoggedIn { th { "" } }
                    } }
                    tbody { @for ban in bans.iter().take(MOST) {
                        tr {
                            td data-label="Address" {
                                (banned_address(ban).unwrap_or_else(|| "every".to_owned()))
                            }
                            td data-label="User" {
                                bdi { (ban.user.as_deref().map_or_else(|| "every".to_owned(), shown)) }
                            }
                            td data-label="Ends in" { (length(ban.until.duration_since(now))) }
                            @if rights == Rights::LoggedIn {
                                td data-label="" {
                                    form method="post" action={ "/bans/" (ban.id) "/lift" } {
                                        button id={ "lift-" (ban.id) } { "Lift" }
                                    }
                                }
                            }
                        }
                    } }
                }
                @if bans.len() > MOST {
                    p.soft { "The newest " (MOST) " are shown." }
                }
            }
        }
    }
}

pub(super) fn certificates(status: &Status) -> Markup {
    let Some(tls) = &status.context.tls else {
        return html! {};
    };
    html! {
        section #certificates aria-label="Certificates" {
            h2 { "Certificates" }
            table {
                thead { tr { th { "Names" } th { "Ends" } } }
                tbody { @for certificate in tls.certificates() {
                    tr {
                        td data-label="Names" { bdi { (shown(&certificate.names.join(", "))) } }
                        td data-label="Ends" { (ends(certificate.ends)) }
                    }
                } }
            }
        }
    }
}

/// When a certificate ends, and how long that is from now.
#[expect(
    clippy::disallowed_methods,
    reason = "certificates expire by the machine's clock"
)]
fn ends(seconds: i64) -> Markup {
    let left = seconds - jiff::Timestamp::now().as_second();
    let date = jiff::Timestamp::from_second(seconds).ok();
    html! {
        @if let Some(date) = date { (date.strftime("%Y-%m-%d")) " " }
        @if left <= 0 { span.failed { "expired" } } @else {
            span class=(if left < 14 * 86400 { "failed" } else { "soft" }) {
                "in " (left / 86400) " d"
            }
        }
    }
}
