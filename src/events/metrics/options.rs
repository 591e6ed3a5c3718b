//! What is configured of metrics.

/// What metrics count beyond the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MetricsOptions {
    /// The number of users whose last upload is reported; 0: none.
    pub last_uploads: usize,
}
