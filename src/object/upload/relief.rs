//! How fast a client sends, and when its upload is to give memory back.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::memory::Budget;
use crate::object::parts::piece_support::PieceSupport;
use crate::object::parts::pieces::Pieces;

/// How fast the client sends.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When it could begin to send, and the bytes that were there before.
    begun: Option<(Instant, u64)>,
    /// When it could continue after the upload last waited, and the bytes that were there.
    since: Option<(Instant, u64)>,
    /// How long the server has held it back.
    held_back: Duration,
}

impl Pace {
    /// The client can send from now on.
    pub(super) fn begin(&mut self, bytes: u64) {
        if self.begun.is_none() {
            self.begun = Some((Instant::now(), bytes));
            self.since = self.begun;
        }
    }

    /// The server has held the client back since `from`.
    pub(super) fn held_back(&mut self, from: Instant, bytes: u64) {
        self.held_back += from.elapsed();
        self.since = Some((Instant::now(), bytes));
    }

    /// Bytes that it sends within a time. What has gathered on the way while it was held back comes
    /// at once, so this is the less of what it has sent on average and since then.
    pub(super) fn within(&self, time: Duration, bytes: u64) -> u64 {
        let part_of = |since: Option<(Instant, u64)>, less: Duration| {
            let (since, before) = since?;
            let passed = since.elapsed().saturating_sub(less).as_millis().max(1);
            let sent = u128::from(bytes.saturating_sub(before)) * time.as_millis() / passed;
            Some(u64::try_from(sent).unwrap_or(u64::MAX))
        };
        let average = part_of(self.begun, self.held_back);
        let recent = part_of(self.since, Duration::ZERO);
        average.min(recent).unwrap_or(u64::MAX)
    }
}

/// Whether an upload can give a part's memory back while its client stands still.
#[derive(Debug, Clone)]
pub struct GivesBack(pub(super) Option<Arc<Pieces>>);

impl GivesBack {
    /// As far as is known now.
    pub fn now(&self) -> bool {
        let taken = self.0.as_ref().map(|pieces| pieces.support());
        taken == Some(PieceSupport::Yes)
    }
}

/// Resolves when the upload is to give its memory back.
#[derive(Default)]
pub struct Relief(Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>);

impl std::fmt::Debug for Relief {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Relief").field(&self.0.is_some()).finish()
    }
}

impl Relief {
    /// Waits until [`Upload::relieve`](super::running::Upload::relieve) is to be called. Cancel
    /// safe.
    pub async fn wanted(&mut self) {
        match &mut self.0 {
            Some(pressed) => {
                pressed.as_mut().await;
                self.0 = None;
            }
            None => std::future::pending().await,
        }
    }

    pub(super) fn hold(&mut self, budget: &Budget) {
        let (budget, since) = (budget.clone(), Instant::now());
        self.0 = Some(Box::pin(async move { budget.pressed(since).await }));
    }

    /// It holds nothing.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }
}
