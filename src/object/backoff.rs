//! [`Backoff`]: the pauses between the attempts of a request that is made again here.
//!
//! The SDK repeats a request by itself (`client`). Here are the pauses of what it cannot repeat: a
//! request whose outcome is looked at first, several requests that belong together, and the rest of
//! a body. Each place names its own numbers.

use std::time::Duration;

use tokio::time::sleep;

/// Pauses that grow with the number of attempts that have failed in a row.
#[derive(Debug, Clone, Copy)]
pub(in crate::object) struct Backoff {
    first: Duration,
    growth: u32,
    longest: Duration,
}

impl Backoff {
    /// Each pause is twice as long as the one before.
    pub(in crate::object) const fn doubling(first: Duration) -> Self {
        Backoff {
            first,
            growth: 2,
            longest: Duration::MAX,
        }
    }

    /// Each pause is four times as long as the one before.
    pub(in crate::object) const fn quadrupling(first: Duration) -> Self {
        Backoff {
            growth: 4,
            ..Backoff::doubling(first)
        }
    }

    /// No pause is longer than this.
    pub(in crate::object) const fn at_most(self, longest: Duration) -> Self {
        Backoff { longest, ..self }
    }

    /// The pause after this number of failed attempts; the first pause follows the first of them.
    pub(in crate::object) fn after(self, failed: u32) -> Duration {
        let growth = self.growth.saturating_pow(failed.saturating_sub(1));
        self.first.saturating_mul(growth).min(self.longest)
    }

    /// Waits for that time. Cancel safe.
    pub(in crate::object) async fn pause(self, failed: u32) {
        sleep(self.after(failed)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest() {
        let millis = |backoff: Backoff| {
            [0, 1, 2, 3, 4, u32::MAX].map(|failed| backoff.after(failed).as_millis())
        };
        let doubling = Backoff::doubling(Duration::from_millis(100));
        let bounded = doubling.at_most(Duration::from_millis(500));
        assert_eq!(millis(bounded), [100, 100, 200, 400, 500, 500]);
        assert_eq!(millis(doubling)[..5], [100, 100, 200, 400, 800]);
        let quadrupling = Backoff::quadrupling(Duration::from_millis(500));
        assert_eq!(millis(quadrupling)[..5], [500, 500, 2_000, 8_000, 32_000]);
    }
}
