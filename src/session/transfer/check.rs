//! The check of an upload before it is published (`[before_publish]`).
//!
//! ```text
//!   all bytes ─▶ staged whole ─▶ settle window ─▶ asked ─▶ permit ─▶ name ─▶ copied ─▶ 226
//!                └─────────── ABOR, loss of control, drain ───────┘
//! ```
//!
//! [`Check::ask`] knows nothing of the command: STOR, STOU and APPE ask with it.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::warn;

use crate::hooks::options::OnHookFailure;
use crate::hooks::{BeforePublish, CallError, Decision, Question};
use crate::namespace::VirtualPath;
use crate::object::{StagedUpload, Upload};

use crate::session::replies::{Detail, Refusal};
use crate::session::transfer::job::{Link, Signal, TransferError};
use crate::session::transfer::upload_job::{CutBy, Unpublished, UploadJob};

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
                    CheckResult::Allowed
                }
                OnHookFailure::Closed => CheckResult::Unknown(error),
            },
        }
    }
}

impl UploadJob {
    /// Writes an upload, all of whose bytes have come, whole to its staged key, asks about it, and
    /// waits for the permit to publish it. Until then `cut` ends it.
    pub(super) async fn checked(
        &self,
        upload: Upload,
        large: bool,
        link: &mut Link,
        mut cut: Pin<&mut impl Future<Output = CutBy>>,
    ) -> Result<StagedUpload, Unpublished> {
        let stage = async { Ok::<_, Unpublished>(upload.seal().await?.stage().await?) };
        let staged = tokio::select! {
            biased;
            staged = stage => staged?,
            why = &mut cut => return Err(Unpublished::Cut(why)),
        };
        let (settled, window) = oneshot::channel();
        link.signal(Signal::Staged { large, settled });
        tokio::select! {
            biased;
            why = &mut cut => return Err(Unpublished::Cut(why)),
            passed = window => passed.map_err(|_| session_gone())?,
        }
        if let Some(check) = &self.check {
            link.signal(Signal::Checking);
            let checked = tokio::select! {
                biased;
                why = &mut cut => return Err(Unpublished::Cut(why)),
                checked = check.ask(&self.path, &staged) => checked,
            };
            let path = self.path.clone();
            let refusal = match checked {
                CheckResult::Allowed => None,
                CheckResult::Refused(reason) => Some(Refusal::RefusedByCheck(path, reason)),
                CheckResult::Unknown(error) if self.is_resumable() && staged.holds_new_bytes() => {
                    Some(Refusal::UncheckedButSaved(path, unanswered(&error)))
                }
                CheckResult::Unknown(error) => Some(Refusal::Unchecked(path, unanswered(&error))),
            };
            if let Some(refusal) = refusal {
                if matches!(refusal, Refusal::RefusedByCheck(..)) {
                    staged.discard();
                }
                return Err(TransferError::from(refusal).into());
            }
        }
        link.signal(Signal::Checked);
        tokio::select! {
            biased;
            permit = &mut link.permit => permit.map_err(|_| session_gone())?,
            why = &mut cut => return Err(Unpublished::Cut(why)),
        }
        Ok(staged)
    }
}

fn unanswered(error: &CallError) -> Detail {
    Detail::of(format_args!("before_publish: {error}"))
}

/// A session drops its side only when it ends itself.
fn session_gone() -> TransferError {
    std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into()
}
