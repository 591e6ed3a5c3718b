//! What a failed or abandoned upload leaves, and its removal.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::ObjectError;
use super::super::multipart::{DonePart, Target};
use super::begin::Opening;

/// Parts in flight are given this long to end by themselves: most of them only wait for an answer then, and a part
/// that the store is still storing while the upload is aborted may stay behind.
const ENDING: Duration = Duration::from_millis(500);

/// An open multipart upload that nobody wants any more.
#[derive(Debug)]
pub(in crate::object) struct Leftovers {
    pub(super) target: Arc<Target>,
    pub(super) opening: Opening,
    pub(super) inflight: JoinSet<Result<DonePart, ObjectError>>,
    /// Whether the upload may have been completed.
    pub(super) look_first: bool,
}

impl Leftovers {
    /// Ends the requests in flight, then aborts the upload.
    pub(in crate::object) async fn remove(mut self) {
        let ended = async { while self.inflight.join_next().await.is_some() {} };
        if timeout(ENDING, ended).await.is_err() {
            self.inflight.shutdown().await;
        }
        // A Create that is still under way is waited for: its upload would stay open else.
        if let Ok(created) = self.opening.created().await {
            self.target.abort(&created.upload_id, self.look_first).await;
        }
    }
}
