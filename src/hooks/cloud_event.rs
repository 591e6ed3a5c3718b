//! An event as CloudEvents 1.0 JSON, in structured mode.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use crate::events::{Event, FieldValue};

/// The type of the content of a call.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json";

/// The body of a call. `source` names the server; source and id name the event.
pub(super) fn body(event: &Arc<Event>, source: &str, id: &str) -> Vec<u8> {
    let mut data = Map::new();
    event.visit(|name, value| {
        // Its name is the type.
        if name != "event" {
            data.insert(name.to_owned(), of(value));
        }
    });
    data.insert("level".to_owned(), event.level.name().into());
    let mut whole = json!({
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": format!("s3ftpd.{}", event.kind.name()),
        "time": event.time.to_string(),
        "datacontenttype": "application/json",
        "data": data,
    });
    // An attribute must not be empty.
    if let Some(path) = event.path.as_deref().filter(|path| !path.is_empty()) {
        whole["subject"] = path.into();
    }
    whole.to_string().into_bytes()
}

/// The source of a server's events: its replica's name, as a URI reference.
pub(super) fn source(replica: Option<&str>) -> String {
    let Some(name) = replica else {
        return "/s3ftpd".to_owned();
    };
    let mut source = "/s3ftpd/".to_owned();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                source.push(char::from(byte));
            }
            byte => source.push_str(&format!("%{byte:02X}")),
        }
    }
    source
}

fn of(value: FieldValue<'_>) -> Json {
    match value {
        FieldValue::Text(text) => text.into(),
        FieldValue::Made(text) => text.into(),
        FieldValue::Integer(number) => number.into(),
        // Without a value if it is not finite.
        FieldValue::Float(number) => number.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::events::{Class, Kind, Level};

    #[test]
    fn an_event_has_the_attributes_that_cloudevents_requires() {
        let mut event = Event::new(Kind::Transfer, Level::Info);
        event.path = Some("/in/ä \"b\".csv".into());
        event.bytes = Some(5);
        event.seconds = Some(0.25);
        event.class = Some(Class::Ok);
        let body = body(&Arc::new(event), "/s3ftpd/ftp-0", "a-1");
        let json: Json = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["specversion"], "1.0");
        assert_eq!(json["id"], "a-1");
        assert_eq!(json["source"], "/s3ftpd/ftp-0");
        assert_eq!(json["type"], "s3ftpd.transfer");
        assert_eq!(json["subject"], "/in/ä \"b\".csv");
        assert!(json["time"].as_str().unwrap().ends_with('Z'));
        assert_eq!(
            json["data"],
            json!({ "path": "/in/ä \"b\".csv", "bytes": 5, "seconds": 0.25, "class": "ok", "level": "info" })
        );
    }

    #[test]
    fn a_source_is_a_uri_reference() {
        assert_eq!(source(None), "/s3ftpd");
        assert_eq!(source(Some("ftp-0")), "/s3ftpd/ftp-0");
        assert_eq!(source(Some("a b/ü")), "/s3ftpd/a%20b%2F%C3%BC");
    }
}
