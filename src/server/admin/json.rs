//! The status as JSON: `/sessions`, `/transfers`, `/stores`, `/bans`.
//!
//! An answer has at most [`LARGEST`] bytes of items: names may be long, and the process's memory is
//! bounded.

use std::net::IpAddr;

use serde_json::{Map, Value as Json, json};
use tokio::time::Instant;

use crate::auth::Ban;
use crate::events::{Event, FieldValue};
use crate::object::look::LookFailure;
use crate::server::admin::query::{Asked, AskedError};
use crate::server::admin::recent::Numbered;
use crate::server::admin::status::Status;
use crate::server::admin::view::{LiveRow, live_rows};
use crate::server::store_watch::StoreHealth;

/// The most bytes of the items of an answer.
const LARGEST: usize = 1024 * 1024;
/// Items of an answer, usually and at most.
const USUAL: usize = 100;
const MOST: usize = 1000;

/// The sessions that run: those with a transfer first.
pub(super) fn sessions(status: &Status, asked: &Asked) -> Result<String, AskedError> {
    let limit = asked.limit(USUAL, MOST)?;
    let rows = live_rows(status, asked);
    let (items, shown) = fitting(rows.iter().take(limit).map(session));
    Ok(format!(
        "{{\"total\":{},\"more\":{},\"sessions\":[{items}]}}\n",
        rows.len(),
        shown < rows.len(),
    ))
}

fn session(row: &LiveRow) -> Json {
    let facts = &row.activity.facts;
    let transfer = row.activity.transfer.as_ref().map(|transfer| {
        json!({
            "transfer": *transfer.id,
            "verb": transfer.verb,
            "direction": transfer.direction.map(|direction| direction.name()),
            "path": *transfer.path,
            "bytes": transfer.bytes(),
            "expected": transfer.expected(),
            "seconds": transfer.age().as_secs_f64(),
            "rate": transfer.rate().round(),
        })
    });
    json!({
        "session": *facts.session,
        "user": facts.user.as_deref(),
        "peer": facts.peer.to_string(),
        "client": facts.client.as_deref(),
        "tls": facts.tls,
        "host": facts.host.as_deref(),
        "seconds": row.age.as_secs_f64(),
        "idle": row.activity.idle.as_secs_f64(),
        "verb": row.activity.verb,
        "transfer": transfer,
    })
}

/// The last transfers and failures, the newest first. `next` is the `before` of the older ones.
pub(super) fn transfers(status: &Status, asked: &Asked) -> Result<String, AskedError> {
    let limit = asked.limit(USUAL, MOST)?;
    let (found, older) = status.recent.find(&asked.search()?, limit);
    let (items, shown) = fitting(found.iter().map(event));
    let next = match older || shown < found.len() {
        true => shown.checked_sub(1).and_then(|last| found.get(last)),
        false => None,
    };
    let next = json!(next.map(|last| last.number));
    Ok(format!("{{\"transfers\":[{items}],\"next\":{next}}}\n"))
}

/// An event with its fields, as in the log.
fn event(numbered: &Numbered) -> Json {
    let event: &Event = &numbered.event;
    let mut fields = Map::new();
    fields.insert("number".to_owned(), numbered.number.into());
    fields.insert("time".to_owned(), format!("{:.3}", event.time).into());
    fields.insert("level".to_owned(), event.level.name().into());
    event.visit(|name, value| {
        let value = match value {
            FieldValue::Text(text) => text.into(),
            FieldValue::Integer(number) => number.into(),
            FieldValue::Float(number) => number.into(),
            FieldValue::Made(text) => text.into(),
        };
        fields.insert(name.to_owned(), value);
    });
    Json::Object(fields)
}

/// The stores of the configuration, and what the last looks at them have found.
pub(super) fn stores(status: &Status) -> String {
    let states = status.stores.states();
    let (items, _) = fitting(states.iter().map(|state| {
        let (name, failure) = health(&state.health);
        let buckets = state.buckets.iter().map(|bucket| {
            json!({
                "bucket": &*bucket.name,
                "class": bucket.failure.as_ref().map(|failure| failure.trouble.name()),
                "reason": bucket.failure.as_ref().map(|failure| &*failure.reason),
            })
        });
        json!({
            "store": state.name,
            "endpoint": status.endpoint(&state.name),
            "state": name,
            "seconds": state.since.elapsed().as_secs(),
            "class": failure.map(|failure| failure.trouble.name()),
            "reason": failure.map(|failure| &*failure.reason),
            "buckets": buckets.collect::<Json>(),
        })
    }));
    format!("{{\"stores\":[{items}]}}\n")
}

/// The name of a store's health, and what is wrong with it.
pub(super) fn health(health: &StoreHealth) -> (&'static str, Option<&LookFailure>) {
    match health {
        StoreHealth::Unknown => ("unknown", None),
        StoreHealth::Up => ("up", None),
        StoreHealth::Down(failure) => ("down", Some(failure)),
    }
}

/// The bans that hold, the newest first.
pub(super) fn bans(status: &Status) -> String {
    let now = Instant::now();
    let bans = status.context.failures.list_bans();
    let (items, _) = fitting(bans.iter().map(|ban| {
        json!({
            "id": ban.id,
            "address": banned_address(ban),
            "user": ban.user.as_deref(),
            "seconds": ban.until.duration_since(now).as_secs_f64().round(),
        })
    }));
    format!("{{\"bans\":[{items}]}}\n")
}

/// The address at which a ban holds; of IPv6 its network.
pub(super) fn banned_address(ban: &Ban) -> Option<String> {
    Some(match ban.address? {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{address}/64"),
    })
}

/// The first items that fit into an answer, and how many they are.
fn fitting(items: impl Iterator<Item = Json>) -> (String, usize) {
    let (mut text, mut count) = (String::new(), 0);
    for item in items {
        let item = item.to_string();
        if count > 0 {
            if text.len() + item.len() > LARGEST {
                break;
            }
            text.push(',');
        }
        text.push_str(&item);
        count += 1;
    }
    (text, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_before_it_gets_too_large() {
        let long = Json::String("x".repeat(LARGEST / 4));
        let (text, count) = fitting(std::iter::repeat_n(long, 100));
        assert_eq!(count, 3);
        assert!(text.len() <= LARGEST);
        let huge = Json::String("x".repeat(2 * LARGEST));
        assert_eq!(fitting(std::iter::once(huge)).1, 1);
    }
}
