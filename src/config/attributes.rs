//! Reads what the objects of a mount are like. What depends on the user stays a template until
//! [`fill`].

use std::collections::BTreeMap;

use secrecy::ExposeSecret;

use crate::config::placeholders::{Values, missing};
use crate::config::schema::Kind;
use crate::config::section::{Field, Section};
use crate::config::{secret, values};
use crate::namespace::attributes::{AttributeError, MountAttributes};
use crate::namespace::template::Template;
use crate::object::{ContentType, CustomerKey, Encryption};

/// The longest id of a key of SSE-KMS, bytes.
const LONGEST_KEY_ID: usize = 2048;

/// Reads the keys of a mount. A wrong one is reported, and left out.
pub(super) fn decode(section: &Section<'_>) -> MountAttributes {
    let read = |key| section.field(key);
    let attributes = MountAttributes {
        content_type: read("content_type").and_then(|field| content_type(&field)),
        storage_class: read("storage_class").and_then(|field| storage_class(&field)),
        encryption: read("encryption").and_then(|field| encryption(&field)),
        acl: read("acl").and_then(|field| acl(&field)),
        tags: read("tags")
            .and_then(|field| templates(&field))
            .unwrap_or_default(),
        metadata: read("metadata")
            .and_then(|field| templates(&field))
            .unwrap_or_default(),
        part_size: read("part_size").and_then(|field| values::size(&field)),
        upload_parallel: section.number("upload_parallel"),
    };
    let checked = attributes
        .check_names()
        .and_then(|()| match attributes.depends_on_user() {
            true => Ok(()),
            false => attributes.check_values(),
        });
    if let Err(error) = checked {
        let (key, allowed) = limits(&error);
        section.wrong(key, error.to_string(), allowed);
    }
    attributes
}

/// What the objects of a user in a mount are like; `place` is where it stands in the user's tree.
pub(super) fn fill(
    attributes: &MountAttributes,
    place: &Field<'_>,
    values: &impl Values,
) -> Option<MountAttributes> {
    if !attributes.depends_on_user() {
        return Some(attributes.clone());
    }
    let filled = match attributes.fill(|name| values.value(name)) {
        Ok(filled) => filled,
        Err((key, name)) => return missing(place, key, &name, values),
    };
    match filled.check_values() {
        Ok(()) => Some(filled),
        Err(error) => {
            let (key, allowed) = limits(&error);
            place.wrong(format!("the {key} of this mount: {error}"), allowed)
        }
    }
}

/// The key of an error, and what is allowed there.
fn limits(error: &AttributeError) -> (&'static str, &'static str) {
    match error {
        AttributeError::TooManyTags | AttributeError::TagName(_) => (
            "tags",
            "at most 10, whose names have 1 to 128 letters, digits, spaces and + - = . _ : / @ and do not begin with aws:",
        ),
        AttributeError::TagValue(..) => (
            "tags",
            "at most 256 letters, digits, spaces and + - = . _ : / @",
        ),
        AttributeError::MetadataName(_) => ("metadata", "a-z, 0-9, \"-\", \"_\" and \".\""),
        AttributeError::OwnMetadata(_) => ("metadata", "another name"),
        AttributeError::TooMuchMetadata(_) => (
            "metadata",
            "at most 2048 bytes of names and values as they are sent",
        ),
    }
}

fn content_type(field: &Field<'_>) -> Option<ContentType> {
    let allowed =
        "\"by_name\", or a MIME type such as \"text/csv\" or \"text/plain; charset=utf-8\"";
    let text = field.text(allowed)?;
    if text == "by_name" {
        return Some(ContentType::ByName);
    }
    let printable = text
        .bytes()
        .all(|byte| byte == b' ' || byte.is_ascii_graphic());
    match text.parse::<mime_guess::Mime>() {
        Ok(_) if printable && text.len() <= 255 => Some(ContentType::Fixed(text.to_owned())),
        _ => field.wrong(format!("{text:?} is not a MIME type"), allowed),
    }
}

fn storage_class(field: &Field<'_>) -> Option<String> {
    let allowed = "the name of a class in upper case, such as \"STANDARD_IA\"";
    let text = field.text(allowed)?;
    let right = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if text.is_empty() || text.len() > 64 || !text.bytes().all(right) {
        return field.wrong(format!("{text:?} is not a storage class"), allowed);
    }
    Some(text.to_owned())
}

fn acl(field: &Field<'_>) -> Option<String> {
    let names = match field.kind() {
        Kind::Word(names) => *names,
        _ => &[],
    };
    values::word(field, names).map(str::to_owned)
}

fn encryption(field: &Field<'_>) -> Option<Encryption> {
    #[derive(Clone, Copy)]
    enum Type {
        Store,
        Kms,
        DualLayerKms,
        Customer,
    }
    let allowed = "a table such as { type = \"AES256\" }";
    let section = field.section(allowed)?;
    let kind = section.required(
        "type",
        "\"AES256\", \"aws:kms\", \"aws:kms:dsse\", \"customer\"",
    );
    let kind = kind.and_then(|field| {
        let types = [Type::Store, Type::Kms, Type::DualLayerKms, Type::Customer];
        values::word(&field, &types)
    });
    let key = section.field("key");
    let bucket_key = section.flag("bucket_key");
    let only = |name: &'static str, allowed: &str| {
        if section.has(name) {
            section.wrong(name, "is for another type of encryption", allowed);
        }
    };
    let encryption = match kind {
        None => None,
        Some(Type::Store) => {
            only(
                "key",
                "a key with \"aws:kms\", \"aws:kms:dsse\" and \"customer\"",
            );
            only("bucket_key", "a bucket key with \"aws:kms\"");
            Some(Encryption::Store)
        }
        Some(kind @ (Type::Kms | Type::DualLayerKms)) => {
            let dual_layer = matches!(kind, Type::DualLayerKms);
            if dual_layer {
                only("bucket_key", "a bucket key with \"aws:kms\"");
            }
            let written = key.is_some();
            let key = key.and_then(|field| key_id(&field));
            (key.is_some() || !written).then_some(Encryption::Kms {
                dual_layer,
                key,
                bucket_key,
            })
        }
        Some(Type::Customer) => {
            only("bucket_key", "a bucket key with \"aws:kms\"");
            let key = section.required("key", CUSTOMER_KEY);
            key.and_then(|field| customer_key(&field))
                .map(Encryption::Customer)
        }
    };
    section.finish();
    encryption
}

const CUSTOMER_KEY: &str = "a secret of 32 bytes in base64, as `openssl rand -base64 32` prints it";

fn customer_key(field: &Field<'_>) -> Option<CustomerKey> {
    let text = secret::read(field)?;
    match CustomerKey::new(&text) {
        Ok(key) => Some(key),
        Err(error) => field.wrong(error.to_string(), CUSTOMER_KEY),
    }
}

fn key_id(field: &Field<'_>) -> Option<String> {
    let id = secret::read(field)?;
    let id = id.expose_secret();
    if id.len() > LONGEST_KEY_ID || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return field.wrong("is not the id of a key", "an id, an ARN or an alias");
    }
    Some(id.to_owned())
}

/// Reads a table name → template.
fn templates(field: &Field<'_>) -> Option<BTreeMap<String, Template>> {
    let entries = field.entries("a table such as { customer = \"{customer}\" }")?;
    let template = |(name, field): (&str, Field<'_>)| {
        let allowed = "a text; in braces user, group, peer or the name of an attribute";
        let text = field.text(allowed)?;
        match Template::parse(text) {
            Ok(template) => Some((name.to_owned(), template)),
            Err(error) => field.wrong(format!("{text:?} has {error}"), allowed),
        }
    };
    Some(entries.into_iter().filter_map(template).collect())
}
