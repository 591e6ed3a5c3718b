//! Hooks: `[before_publish]` and `[events.NAME]`.

use std::collections::BTreeMap;

use secrecy::SecretString;

use crate::config::section::{Field, Section};
use crate::config::{secret, values};
use crate::events::Class;
use crate::hooks::check_secret;
use crate::hooks::options::{
    BeforePublishOptions, EventChoice, EventFilter, EventHookOptions, OnHookFailure,
};

/// `[before_publish]`, if it is there.
pub(super) fn before_publish(root: &Section<'_>) -> Option<BeforePublishOptions> {
    let section = root.section("before_publish");
    if !root.has("before_publish") {
        section.finish();
        return None;
    }
    let url = section.required("url", "an http or https URL");
    let url = url.and_then(|field| values::hook_url(&field));
    let timeout = section.time_or_default("timeout");
    let words = [OnHookFailure::Open, OnHookFailure::Closed];
    let on_failure = section
        .field("on_failure")
        .and_then(|field| values::word(&field, &words));
    let secret = signing_secret(&section);
    section.finish();
    url.map(|url| BeforePublishOptions {
        url,
        timeout,
        on_failure: on_failure.unwrap_or(OnHookFailure::Closed),
        secret,
    })
}

/// `[events.NAME]`.
pub(super) fn events(root: &Section<'_>) -> BTreeMap<String, EventHookOptions> {
    let entries = root.field("events");
    let entries = entries.and_then(|field| field.entries("a table of hooks"));
    let hooks = entries.unwrap_or_default().into_iter();
    hooks
        .filter_map(|(name, field)| Some((name.to_owned(), event_hook(&field)?)))
        .collect()
}

fn event_hook(field: &Field<'_>) -> Option<EventHookOptions> {
    let section = field.section("a table")?;
    let url = section.required("url", "an http or https URL");
    let url = url.and_then(|field| values::hook_url(&field));
    let choices: Vec<EventChoice> = EventChoice::ALL.iter().map(|(_, choice)| *choice).collect();
    let filter = EventFilter {
        on: words(&section, "on", &choices),
        classes: words(&section, "classes", Class::ALL),
    };
    let timeout = section.time_or_default("timeout");
    let retry_for = section.time_or_default("retry_for");
    let queue = section.number_or_default("queue");
    let secret = signing_secret(&section);
    section.finish();
    url.map(|url| EventHookOptions {
        url,
        filter,
        timeout,
        retry_for,
        queue,
        secret,
    })
}

/// The key of the signatures, if it is there.
fn signing_secret(section: &Section<'_>) -> Option<SecretString> {
    let field = section.field("secret")?;
    let secret = secret::read(&field)?;
    match check_secret(&secret) {
        Ok(()) => Some(secret),
        Err(problem) => field.wrong(
            problem.to_string(),
            "a text, or whsec_ and the base64 of at least 16 bytes",
        ),
    }
}

/// A list of words, if it is there.
fn words<T: Copy>(section: &Section<'_>, key: &'static str, values: &[T]) -> Option<Vec<T>> {
    let field = section.field(key)?;
    let items = field.items("a list of words")?;
    if items.is_empty() {
        return field.wrong("is empty", "a list of at least one word; left out: all");
    }
    let words = items.iter().filter_map(|item| values::word(item, values));
    Some(words.collect())
}
