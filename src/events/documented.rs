//! Compares docs/reference/events.md with the code: the page lists each kind, class, cause and
//! field, in the order of the code.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::FieldValue;
use super::{Cause, Class, Direction, Event, Kind, Level, Representation, SessionFacts, Totals};

/// The first two columns of the table of a section; names without their quotes.
fn table(heading: &str) -> Vec<(String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/events.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let rows = rows.map(|row| {
        let (name, rest) = row.split_once("` | ").unwrap();
        let second = rest.split(" | ").next().unwrap();
        (name.to_owned(), second.trim_end_matches(" |").to_owned())
    });
    // The head of the table of fields has no quotes.
    rows.skip(usize::from(heading != "Fields")).collect()
}

fn names(heading: &str) -> Vec<String> {
    table(heading).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn the_page_lists_each_kind_class_and_cause() {
    let kinds: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(names("Kinds"), kinds);
    let classes: Vec<_> = Class::ALL.iter().map(|class| class.name()).collect();
    assert_eq!(names("Classes"), classes);
    let causes: Vec<_> = Cause::ALL.iter().map(|cause| cause.name()).collect();
    assert_eq!(names("Causes"), causes);
}

#[test]
fn the_page_lists_each_field_with_its_type() {
    let mut fields = Vec::new();
    let note = |fields: &mut Vec<(String, String)>, event: &Event| {
        event.visit(|name, value| {
            let kind = match value {
                FieldValue::Text(_) | FieldValue::Made(_) => "text",
                FieldValue::Integer(_) => "integer",
                FieldValue::Float(_) => "number",
            };
            fields.push((name.to_owned(), kind.to_owned()));
        });
    };
    note(&mut fields, &full(Kind::Transfer));
    let place = fields
        .iter()
        .position(|(name, _)| name == "transfer")
        .unwrap();
    // The id of all other kinds has another name.
    fields.insert(place + 1, ("request".to_owned(), "text".to_owned()));
    assert_eq!(table("Fields"), fields);
    let mut of_others = Vec::new();
    note(&mut of_others, &full(Kind::Refused));
    fields.remove(place);
    assert_eq!(of_others, fields);
}

/// An event with all fields.
fn full(kind: Kind) -> Event {
    let text = || Some("x".into());
    let address = ([192, 0, 2, 1], 5000).into();
    Event {
        kind,
        level: Level::Info,
        time: jiff::Timestamp::UNIX_EPOCH,
        session: Some(Arc::new(SessionFacts {
            session: "x".into(),
            user: Some("x".into()),
            peer: address,
            client: Some("x".into()),
            tls: Some("x"),
            host: Some("x".into()),
        })),
        user: None,
        peer: None,
        id: Some("x".into()),
        verb: Some("STOR"),
        direction: Some(Direction::In),
        representation: Some(Representation::Binary),
        path: text(),
        to: text(),
        mount: text(),
        store: text(),
        bucket: Some("x".into()),
        key: text(),
        offset: Some(1),
        bytes: Some(1),
        size: Some(1),
        etag: text(),
        version_id: text(),
        crc32: Some(1),
        seconds: Some(1.0),
        code: Some(226),
        class: Some(Class::Ok),
        cause: Some(Cause::Password),
        reason: text(),
        detail: text(),
        data_peer: Some(address),
        count: Some(1),
        totals: Some(Totals::default()),
    }
}
