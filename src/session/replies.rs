//! The codes and texts of all replies: [`Refusal`] for what does not work, [`success`] for the rest.

mod errors;
mod refusal;
pub(super) mod success;

pub(super) use refusal::{Detail, Refusal};

use crate::auth::Refused;
use crate::object::TransferId;
use ftp_proto::Reply;

/// What a handler answers.
pub(super) type Handled = Result<Reply, Refusal>;

/// Adds the transfer's id, by which the log is searched.
pub(super) fn with_transfer(mut reply: Reply, id: &TransferId) -> Reply {
    if let Some(last) = reply.lines.last_mut() {
        last.push_str(&format!(", transfer {id}"));
    }
    reply
}

/// Adds the id of the event of a command that failed, by which the log is searched.
pub(super) fn with_request(mut reply: Reply, id: &TransferId) -> Reply {
    if let Some(last) = reply.lines.last_mut() {
        last.push_str(&format!(", request {id}"));
    }
    reply
}

/// The reply to a client that gets no session.
pub(crate) fn no_session(refused: Refused) -> Reply {
    Refusal::from(refused).into()
}
