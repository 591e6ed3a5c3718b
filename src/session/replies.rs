//! The codes and texts of all replies: [`Refusal`] for what does not work, [`success`] for the rest.

mod errors;
mod refusal;
pub(super) mod success;

pub(super) use refusal::Refusal;

use crate::data::DataError;
use crate::namespace::{Permission, VirtualPath};
use crate::object::ObjectError;
use ftp_proto::{CommandError, Reply};

/// What a handler answers.
pub(super) type Handled = Result<Reply, Refusal>;

/// No store holds an object of this size (1 PiB). Offsets beyond it never reach a store: what stores make of numbers near
/// 2^63 in a Range differs, and some ignore a Range that they cannot read.
const BEYOND_ANY_OBJECT: u64 = 1 << 50;

/// An offset of REST or RANG that no file reaches (RFC 3659, 5.3).
pub(super) fn check_offset(path: &VirtualPath, offset: u64) -> Result<(), Refusal> {
    if offset < BEYOND_ANY_OBJECT {
        return Ok(());
    }
    Err(Refusal::BeyondAnyFile(path.clone()))
}

// The session and its transfers still hand on replies; these go when they return refusals.

impl From<Reply> for Refusal {
    fn from(reply: Reply) -> Refusal {
        Refusal::Made(reply)
    }
}

pub(super) fn command_error(error: &CommandError) -> Reply {
    Refusal::from(error.clone()).into()
}

pub(super) fn forbidden(path: &VirtualPath, permission: Permission) -> Reply {
    Refusal::PermissionDenied(path.clone(), permission).into()
}

pub(super) fn object_error(path: &VirtualPath, error: &ObjectError) -> Reply {
    Refusal::store(path, error).into()
}

pub(super) fn data_error(error: &DataError) -> Reply {
    Refusal::from(error).into()
}
