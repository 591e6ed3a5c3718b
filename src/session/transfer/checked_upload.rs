//! An upload that is checked before it is published: staged, settled, asked about.

use std::pin::Pin;

use tokio::sync::oneshot;

use crate::object::{StagedUpload, Upload};

use crate::session::replies::Refusal;
use crate::session::transfer::check::{
    CheckResult, UncheckedFile, published_unchecked, unanswered,
};
use crate::session::transfer::job::{Link, Signal, TransferError};
use crate::session::transfer::upload_job::{CutBy, Unpublished, UploadJob};

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
            let file = UncheckedFile {
                path: &self.path,
                at: staged.at(),
                transfer: staged.transfer(),
                size: staged.size(),
            };
            let checked = tokio::select! {
                biased;
                why = &mut cut => return Err(Unpublished::Cut(why)),
                checked = check.ask(file) => checked,
            };
            let path = self.path.clone();
            let refusal = match checked {
                CheckResult::Allowed => None,
                CheckResult::Unchecked(error) => {
                    let detail = published_unchecked(&error);
                    link.progress.note(|object| object.detail = Some(detail));
                    None
                }
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

/// A session drops its side only when it ends itself.
fn session_gone() -> TransferError {
    std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into()
}
