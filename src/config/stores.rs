//! Reads stores.

use secrecy::ExposeSecret;

use crate::config::secret;
use crate::config::section::{Field, Section};
use crate::config::tree::Value;
use crate::config::values;
use crate::object::options::{Capability, StaticCredentials, StoreOptions};

/// Reads a store. `idle_connections` is its share of the connections that are kept open.
pub(super) fn store(
    name: &str,
    field: &Field<'_>,
    idle_connections: usize,
) -> Option<StoreOptions> {
    let section = field.section("a table")?;
    let endpoint = section
        .field("endpoint")
        .map(|field| values::endpoint(&field));
    let credentials = credentials(&section);
    let wants_equal = endpoint.as_ref().and_then(Option::as_ref);
    let wants_equal = wants_equal.is_some_and(|endpoint| is_r2(endpoint));
    let store = StoreOptions {
        name: name.to_owned(),
        // Few stores other than AWS have a host name for each bucket.
        path_style: section.flag("path_style").unwrap_or(endpoint.is_some()),
        equal_parts: section.flag("equal_parts").unwrap_or(wants_equal),
        endpoint: endpoint.flatten(),
        region: section.line("region"),
        credentials,
        checksums: section.word_or_default(
            "checksums",
            &[Capability::Auto, Capability::Yes, Capability::No],
        ),
        conditional_writes: capability(&section, "conditional_writes"),
        conditional_deletes: capability(&section, "conditional_deletes"),
        files_hide_directories: capability(&section, "files_hide_directories"),
        sign_payload: section.flag_or_default("sign_payload"),
        connect_timeout: section.time_or_default("connect_timeout"),
        request_timeout: section.time_or_default("request_timeout"),
        attempts: section.number_or_default("attempts"),
        copy_limit: section.size_or_default("copy_limit"),
        required: section.flag_or_default("required"),
        idle_connections,
    };
    section.finish();
    Some(store)
}

/// Whether an endpoint is Cloudflare R2, the only known store that requires equal parts.
fn is_r2(endpoint: &str) -> bool {
    let uri = endpoint.parse::<http::Uri>().ok();
    let host = uri.as_ref().and_then(http::Uri::host).unwrap_or_default();
    host.to_ascii_lowercase()
        .ends_with(".r2.cloudflarestorage.com")
}

/// Reads `"auto"`, `true` or `false`.
fn capability(section: &Section<'_>, key: &'static str) -> Capability {
    let read = |field: Field<'_>| read_capability(&field);
    section.field(key).and_then(read).unwrap_or_default()
}

fn read_capability(field: &Field<'_>) -> Option<Capability> {
    let allowed = "\"auto\", true, false";
    match field.value() {
        Value::Bool(true) => Some(Capability::Yes),
        Value::Bool(false) => Some(Capability::No),
        Value::Text(text) if text == "auto" => Some(Capability::Auto),
        Value::Text(text) => field.wrong(format!("{text:?} is unknown"), allowed),
        Value::Variable { text, .. } => match text.trim().to_lowercase().as_str() {
            "auto" => Some(Capability::Auto),
            "true" => Some(Capability::Yes),
            "false" => Some(Capability::No),
            _ => field.wrong(format!("{text:?} is unknown"), allowed),
        },
        _ => field.wrong_type(allowed),
    }
}

/// Reads the access key and the secret key: both or none.
fn credentials(section: &Section<'_>) -> Option<StaticCredentials> {
    const TOGETHER: &str =
        "access_key_id and secret_access_key together, or neither for the AWS default chain";
    let id = section.field("access_key_id");
    let secret = section.field("secret_access_key");
    let token = section.field("session_token");
    match (&id, &secret, &token) {
        (Some(_), None, _) => {
            section.wrong("access_key_id", "is without secret_access_key", TOGETHER)
        }
        (None, Some(_), _) => {
            section.wrong("secret_access_key", "is without access_key_id", TOGETHER)
        }
        (None, None, Some(_)) => section.wrong("session_token", "is without the keys", TOGETHER),
        _ => {}
    }
    let read = |field: Option<Field<'_>>| field.and_then(|field| secret::read(&field));
    let (id, secret, session_token) = (read(id), read(secret), read(token));
    Some(StaticCredentials {
        access_key_id: id?.expose_secret().to_owned(),
        secret_access_key: secret?,
        session_token,
    })
}
