//! The one place where errors become replies.
//!
//! RFC 959, 4.2: 4yz says "try again later", 5yz "don't": a store that is down is 4yz, a file that is not there 5yz.

use crate::data::DataError;
use crate::namespace::{PathError, Permission, VirtualPath};
use crate::object::ObjectError;
use ftp_proto::{CommandError, Reply};

/// A line that is no command, or not one we take.
pub(super) fn command_error(error: &CommandError) -> Reply {
    Reply::new(error.code(), sentence(&error.to_string()))
}

/// A name that is no path.
pub(super) fn path_error(error: &PathError) -> Reply {
    Reply::new(553, sentence(&error.to_string()))
}

/// A path whose key a store can't hold.
pub(super) fn path_too_long() -> Reply {
    Reply::new(
        553,
        "The path is longer than a key can be (1024 bytes with the mount's prefix; a directory's ends in a slash)",
    )
}

/// A permission that is missing.
pub(super) fn forbidden(path: &VirtualPath, permission: Permission) -> Reply {
    Reply::new(
        550,
        format!("{path}: no permission to {}", permission.name()),
    )
}

/// No store holds an object of this size (1 PiB). Offsets beyond it never reach a store: what stores make of numbers near
/// 2^63 in a Range differs, and some ignore a Range that they cannot read.
const BEYOND_ANY_OBJECT: u64 = 1 << 50;

/// An offset of REST or RANG that no file reaches (RFC 3659, 5.3).
pub(super) fn check_offset(path: &VirtualPath, offset: u64) -> Result<(), Reply> {
    if offset < BEYOND_ANY_OBJECT {
        return Ok(());
    }
    Err(Reply::new(
        554,
        format!("{path}: the offset is beyond the end of any file"),
    ))
}

/// A path that names nothing.
pub(super) fn not_found(path: &VirtualPath) -> Reply {
    Reply::new(550, format!("{path}: no such file or directory"))
}

/// A store's error about a path.
pub(super) fn object_error(path: &VirtualPath, error: &ObjectError) -> Reply {
    let code = match error {
        ObjectError::NotFound
        | ObjectError::NoSuchBucket
        | ObjectError::Denied(_)
        | ObjectError::Conflict
        | ObjectError::IsDirectory
        | ObjectError::IsFile
        | ObjectError::BelowFile
        | ObjectError::Unsupported(_)
        | ObjectError::Other(_) => 550,
        ObjectError::OutOfRange { .. } => 554,
        ObjectError::TooLarge { .. } => 552,
        ObjectError::NameTooLong => 553,
        ObjectError::Full => 452,
        ObjectError::Memory | ObjectError::Busy => 450,
        ObjectError::Changed
        | ObjectError::Damaged
        | ObjectError::Integrity(_)
        | ObjectError::Throttled
        | ObjectError::Unavailable(_)
        | ObjectError::Timeout
        | ObjectError::Credentials(_)
        | ObjectError::Foreign(_)
        | ObjectError::Lost
        | ObjectError::Superseded => 451,
    };
    // What a store says can tell of its inside: the log has it whole, the client gets what he can act on.
    let text = match error {
        ObjectError::NotFound => "no such file or directory".to_owned(),
        ObjectError::Denied(_) => "the store denies access".to_owned(),
        ObjectError::Credentials(_) => {
            "the server's access to the store has expired or its clock is wrong, try again later"
                .to_owned()
        }
        ObjectError::Unavailable(_) => "the store can't be reached, try again later".to_owned(),
        ObjectError::Foreign(_) => {
            "something other than the store answered, try again later".to_owned()
        }
        ObjectError::Timeout => "the store did not answer in time, try again later".to_owned(),
        ObjectError::Throttled => "the store is overloaded, try again later".to_owned(),
        ObjectError::Integrity(_) => {
            "what the store received is not what was sent, try again".to_owned()
        }
        ObjectError::Memory => "no memory free for the transfer, try again later".to_owned(),
        ObjectError::Busy => "another session is writing this file, retry later".to_owned(),
        ObjectError::Unsupported(_) => "the store does not support this".to_owned(),
        ObjectError::Other(_) => "the store refused the operation".to_owned(),
        ObjectError::OutOfRange { size: Some(size) } => {
            format!("the offset is beyond the end, which is at {size}")
        }
        other => other.to_string(),
    };
    Reply::new(code, format!("{path}: {text}"))
}

/// No data connection.
pub(super) fn data_error(error: &DataError) -> Reply {
    let code = match error {
        DataError::Timeout | DataError::Connect(_) => 425,
        // RFC 4217: TLS on the data connection failed.
        DataError::Tls(_) | DataError::NotReused | DataError::OtherCertificate => 522,
    };
    Reply::new(code, sentence(&error.to_string()))
}

/// The first letter in upper case.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}
