//! Secrets: written in the configuration, in a file of their own, or in an environment variable.

use secrecy::SecretString;

use crate::config::section::Field;
use crate::config::tree::Value;
use crate::units::KIB;

/// A secret's file holds no more.
const FILE_LIMIT: u64 = 64 * KIB;

/// A secret: a text, `{ file = "…" }` or `{ env = "NAME" }`. Nothing of it is ever quoted.
pub(super) fn read(field: &Field<'_>) -> Option<SecretString> {
    let allowed = "a string, { file = \"PATH\" } or { env = \"NAME\" }";
    let entries = match field.value() {
        Value::Table(_) => field.entries(allowed)?,
        _ => {
            let text = field.text(allowed)?;
            return not_empty(field, text.to_owned());
        }
    };
    let [(form, reference)] = entries.as_slice() else {
        return field.wrong("must have exactly one of the keys file and env", allowed);
    };
    match *form {
        "file" => from_file(reference),
        "env" => {
            let name = reference.text("the name of an environment variable")?;
            match std::env::var(name) {
                Ok(text) => not_empty(reference, text),
                Err(std::env::VarError::NotPresent) => reference.wrong(
                    format!("the environment variable {name:?} is not set"),
                    allowed,
                ),
                Err(std::env::VarError::NotUnicode(_)) => reference.wrong(
                    format!("the environment variable {name:?} is not UTF-8"),
                    allowed,
                ),
            }
        }
        _ => field.wrong("must have exactly one of the keys file and env", allowed),
    }
}

fn from_file(field: &Field<'_>) -> Option<SecretString> {
    let allowed = "the path of a file that holds the secret alone";
    let path = field.text(allowed)?;
    field.note_file(path);
    match std::fs::metadata(path).map(|metadata| metadata.len()) {
        Ok(length) if length > FILE_LIMIT => {
            return field.wrong(
                format!(
                    "{path:?} is larger than {}",
                    crate::units::human_bytes(FILE_LIMIT)
                ),
                allowed,
            );
        }
        Ok(_) => {}
        Err(error) => return field.wrong(format!("{path:?} can't be read: {error}"), allowed),
    }
    match std::fs::read_to_string(path) {
        Ok(mut text) => {
            if text.ends_with('\n') {
                text.pop();
                if text.ends_with('\r') {
                    text.pop();
                }
            }
            not_empty(field, text)
        }
        Err(error) => field.wrong(format!("{path:?} can't be read: {error}"), allowed),
    }
}

fn not_empty(field: &Field<'_>, text: String) -> Option<SecretString> {
    if text.is_empty() {
        return field.wrong("is empty", "a secret of at least one character");
    }
    Some(SecretString::from(text))
}
