//! What a failed or abandoned upload leaves, and its removal.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

use crate::object::delete::delete;
use crate::object::error::ObjectError;
use crate::object::location::Location;
use crate::object::multipart::{AbortMode, DonePart, Target};
use crate::object::parts::pending_create::PendingCreate;
use crate::object::parts::pieces::Pieces;

/// Parts in flight are given this long to end by themselves: most of them only wait for an answer
/// then, and a part that the store is still storing while the upload is aborted may stay there.
const ENDING: Duration = Duration::from_millis(500);

/// What lies in the store of an upload that is given up: an open multipart upload, pieces,
/// a staged file.
#[derive(Debug)]
pub(in crate::object) struct AbortCleanup {
    pub(in crate::object) target: Arc<Target>,
    pub(in crate::object) create: Option<PendingCreate>,
    pub(in crate::object) pieces: Option<Arc<Pieces>>,
    /// A whole file at its staged key.
    pub(in crate::object) staged: Option<Location>,
    pub(in crate::object) inflight: JoinSet<Result<DonePart, ObjectError>>,
    /// How the upload is aborted.
    pub(in crate::object) abort: AbortMode,
}

/// DeleteObject of a staged key. The sweep removes it if that fails.
pub(in crate::object) async fn remove_staged(at: &Location) {
    if let Err(error) = delete(at, None).await {
        warn!(key = at.key, %error, "a staged file could not be removed; it is left for the sweep");
    }
}

impl AbortCleanup {
    /// Ends the requests in flight, then aborts the upload and deletes the pieces.
    pub(in crate::object) async fn remove(mut self) {
        let ended = async { while self.inflight.join_next().await.is_some() {} };
        if timeout(ENDING, ended).await.is_err() {
            self.inflight.shutdown().await;
        }
        // A Create that is still under way is waited for: its upload would stay open else.
        if let Some(create) = &self.create
            && let Ok(created) = create.created().await
        {
            self.target.abort(&created.upload_id, self.abort).await;
        }
        if let Some(pieces) = &self.pieces {
            pieces.remove(pieces.live_but(&[])).await;
        }
        if let Some(staged) = &self.staged {
            remove_staged(staged).await;
        }
    }
}
