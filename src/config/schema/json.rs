//! The table of keys as a JSON Schema (draft 2020-12).

use serde_json::{Map, Value, json};

use crate::config::schema::keys::ROOT;
use crate::config::schema::{Fallback, Kind, Rule, TableSchema};

/// Sizes as text.
const SIZE: &str = "^ *[0-9]+ *([kKMGT]i?B|B)? *$";
/// Times as text.
const TIME: &str = "^ *[0-9.]+ *(ms|s|m|min|h|d)? *$";

/// The schema of the whole configuration.
pub(in crate::config) fn document() -> Value {
    let mut schema = table(&ROOT);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("Configuration of s3ftpd");
    schema
}

fn table(of: &TableSchema) -> Value {
    let properties: Map<String, Value> = of
        .keys
        .iter()
        .map(|key| {
            let mut schema = kind(&key.kind);
            schema["description"] = json!(key.about);
            match key.fallback {
                // TOML writes these values as JSON does.
                Fallback::Value(text) => {
                    schema["default"] = serde_json::from_str(text).unwrap_or_default();
                }
                Fallback::Text(text) => {
                    schema["description"] = json!(format!("{}; left out: {text}", key.about));
                }
                Fallback::Required => {}
            }
            (key.name.to_owned(), schema)
        })
        .collect();
    let mut schema = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    });
    let required: Vec<&str> = of
        .keys
        .iter()
        .filter(|key| matches!(key.fallback, Fallback::Required))
        .map(|key| key.name)
        .collect();
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    for rule in of.rules {
        match rule {
            Rule::Needs(key, other) => schema["dependentRequired"][key] = json!([other]),
            Rule::ExactlyOne(keys) => {
                let each: Vec<Value> = keys
                    .iter()
                    .map(|key| json!({ "required": [key] }))
                    .collect();
                schema["oneOf"] = json!(each);
            }
        }
    }
    schema
}

fn kind(of: &Kind) -> Value {
    let text = || json!({ "type": "string", "minLength": 1 });
    match of {
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Number(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Kind::Size(least, most) => json!({
            "type": ["integer", "string"], "minimum": least, "maximum": most, "pattern": SIZE,
        }),
        Kind::Time | Kind::Days(_) => {
            json!({ "type": ["number", "string"], "exclusiveMinimum": 0, "pattern": TIME })
        }
        Kind::TimeOrZero => json!({ "type": ["number", "string"], "minimum": 0, "pattern": TIME }),
        Kind::Line(longest) => json!({
            "type": "string", "minLength": 1, "maxLength": longest, "pattern": "^[^\\r\\n]*$",
        }),
        Kind::Word(words) => json!({ "enum": words }),
        Kind::Capability => json!({ "enum": ["auto", true, false] }),
        Kind::Ports => json!({ "type": ["integer", "string"], "minimum": 1, "maximum": 65535 }),
        Kind::Url | Kind::HookUrl => json!({ "type": "string", "pattern": "^https?://" }),
        Kind::Bucket => json!({ "type": "string", "minLength": 3, "maxLength": 63 }),
        Kind::Prefix => json!({ "type": "string" }),
        Kind::NamePattern => json!({ "type": "string", "pattern": "^[^/]+$" }),
        Kind::Secret => {
            let reference = |key: &str| {
                json!({
                    "type": "object",
                    "additionalProperties": false,
                    "properties": { key: text() },
                    "required": [key],
                })
            };
            json!({ "oneOf": [text(), reference("file"), reference("env")] })
        }
        Kind::Host | Kind::Address | Kind::Network | Kind::File | Kind::Name => text(),
        Kind::List(item, least) => {
            json!({ "type": "array", "items": kind(item), "minItems": least })
        }
        Kind::Table(keys) => table(keys),
        Kind::Named(keys) => json!({ "type": "object", "additionalProperties": table(keys) }),
        Kind::Path => json!({ "type": "string", "pattern": "^/" }),
        Kind::Map(value) => json!({ "type": "object", "additionalProperties": kind(value) }),
        Kind::Date => json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}" }),
        Kind::Paths(value) => json!({
            "type": "object",
            "minProperties": 1,
            "propertyNames": { "pattern": "^/" },
            "additionalProperties": kind(value),
        }),
        Kind::Either(one, other) => json!({ "oneOf": [kind(one), kind(other)] }),
    }
}
