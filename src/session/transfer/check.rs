//! The check of an upload before it is published (`[before_publish]`).
//!
//! ```text
//!   all bytes ─▶ staged whole ─▶ settle window ─▶ asked ─▶ permit ─▶ name ─▶ copied ─▶ 226
//!                └─────────── ABOR, loss of control, drain ───────┘
//! ```
//!
//! [`Check::ask`] knows nothing of the command: STOR, STOU and APPE ask with it.

use std::net::IpAddr;
use std::sync::Arc;

use tracing::warn;

use crate::hooks::options::OnHookFailure;
use crate::hooks::{BeforePublish, CallError, Decision, Question};
use crate::namespace::VirtualPath;
use crate::object::StagedUpload;

/// Who is asked, and for whom.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) hook: Arc<BeforePublish>,
    /// The user who has sent the file.
    pub(super) user: String,
    /// The client's address.
    pub(super) peer: IpAddr,
}

/// What becomes of an upload that was asked about.
#[derive(Debug)]
pub(super) enum CheckResult {
    /// It is published.
    Allowed,
    /// It is published without an answer.
    Unchecked(CallError),
    /// It is removed, for this reason.
    Refused(String),
    /// There was no answer: it is kept.
    Unknown(CallError),
}

impl Check {
    /// Asks once. Cancel safe.
    pub(super) async fn ask(&self, path: &VirtualPath, staged: &StagedUpload) -> CheckResult {
        let at = staged.at();
        let question = Question {
            transfer: staged.transfer().as_str(),
            user: &self.user,
            peer: self.peer,
            path: path.to_string(),
            size: staged.size(),
            store: at.store.name(),
            bucket: &at.bucket,
            key: &at.key,
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
