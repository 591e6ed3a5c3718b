//! The check of an upload before it is published (`[before_publish]`).
//!
//! ```text
//!   all bytes ─▶ staged whole ─▶ settle window ─▶ asked ─▶ permit ─▶ name ─▶ copied ─▶ 226
//!                └─────────── ABOR, loss of control, drain ───────┘
//! ```
//!
//! [`Check::ask`] knows nothing of the command: STOR, STOU and APPE ask with it, and RNTO of a
//! temporary file, which lies whole at a key of its own already.

use std::net::IpAddr;
use std::sync::Arc;

use tracing::warn;

use crate::hooks::options::OnHookFailure;
use crate::hooks::{BeforePublish, CallError, Decision, Question};
use crate::namespace::VirtualPath;
use crate::object::{Location, TransferId};

use crate::session::replies::{Detail, Refusal};
use crate::session::state::Session;

/// Who is asked, and for whom.
#[derive(Debug)]
pub(in crate::session) struct Check {
    hook: Arc<BeforePublish>,
    /// The user who has sent the file.
    user: String,
    /// The client's address.
    peer: IpAddr,
}

/// A whole file that is not visible yet.
#[derive(Debug, Clone, Copy)]
pub(in crate::session) struct UncheckedFile<'a> {
    /// Where it is to appear.
    pub(in crate::session) path: &'a VirtualPath,
    /// Where it lies.
    pub(in crate::session) at: &'a Location,
    /// The transfer that has written it.
    pub(in crate::session) transfer: &'a TransferId,
    /// Bytes.
    pub(in crate::session) size: u64,
}

/// What becomes of an upload that was asked about.
#[derive(Debug)]
pub(in crate::session) enum CheckResult {
    /// It is published.
    Allowed,
    /// It is published without an answer.
    Unchecked(CallError),
    /// It is removed, for this reason.
    Refused(String),
    /// There was no answer: it is kept.
    Unknown(CallError),
}

impl Session {
    /// Who is asked before a file of this session is published, if anyone is.
    pub(in crate::session) fn check(&self) -> Result<Option<Check>, Refusal> {
        let user = &self.user()?.config.name;
        Ok(self.context.before_publish.clone().map(|hook| Check {
            hook,
            user: user.clone(),
            peer: self.control.peer.ip(),
        }))
    }
}

impl Check {
    /// Asks once. Cancel safe.
    pub(in crate::session) async fn ask(&self, file: UncheckedFile<'_>) -> CheckResult {
        let question = Question {
            transfer: file.transfer.as_str(),
            user: &self.user,
            peer: self.peer,
            path: file.path.to_string(),
            size: file.size,
            store: file.at.store.name(),
            bucket: &file.at.bucket,
            key: &file.at.key,
        };
        match Box::pin(self.hook.ask(&question)).await {
            Ok(Decision::Allowed) => CheckResult::Allowed,
            Ok(Decision::Refused(reason)) => CheckResult::Refused(reason),
            Err(error) => match self.hook.on_failure() {
                OnHookFailure::Open => {
                    warn!(
                        transfer = question.transfer,
                        user = %self.user.escape_debug(),
                        path = %question.path.escape_debug(),
                        %error,
                        "before_publish did not answer, the upload is published unchecked"
                    );
                    CheckResult::Unchecked(error)
                }
                OnHookFailure::Closed => CheckResult::Unknown(error),
            },
        }
    }
}

/// The detail of an event whose file was published without an answer.
pub(in crate::session) fn published_unchecked(error: &CallError) -> String {
    format!("published unchecked: before_publish: {error}")
}

/// Why there is no answer, for the operator.
pub(in crate::session) fn unanswered(error: &CallError) -> Detail {
    Detail::of(format_args!("before_publish: {error}"))
}
