//! The running sessions as they are listed: those that were asked for, busy ones first.

use std::time::Duration;

use crate::server::admin::query::Asked;
use crate::server::admin::recent::holds;
use crate::server::admin::status::Status;
use crate::session::Activity;

/// A session in a list.
pub(super) struct LiveRow {
    /// How long it has been connected.
    pub(super) age: Duration,
    /// What it does.
    pub(super) activity: Activity,
}

/// The sessions whose user and transfer fit. Those with a transfer come first, then those that were
/// busy last.
pub(super) fn live_rows(status: &Status, asked: &Asked) -> Vec<LiveRow> {
    let all = status.context.live.all();
    let rows = all.iter().map(|session| LiveRow {
        age: session.age(),
        activity: session.activity(),
    });
    let mut rows: Vec<LiveRow> = rows.filter(|row| fits(&row.activity, asked)).collect();
    rows.sort_by_key(|row| (row.activity.transfer.is_none(), row.activity.idle));
    rows
}

fn fits(activity: &Activity, asked: &Asked) -> bool {
    let (user, path) = (asked.user.trim(), asked.path.trim());
    let named = activity.facts.user.as_deref();
    let moved = activity.transfer.as_ref().map(|transfer| &*transfer.path);
    let has = |text: Option<&str>, part: &str| {
        part.is_empty() || text.is_some_and(|text| holds(text, part))
    };
    has(named, user) && has(moved, path)
}
