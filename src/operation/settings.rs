//! How the service treats one operation: time limits, retries, priority, retention.

use std::time::Duration;

use super::RetryPolicy;

/// The settings of a submission, defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// From 0 to 100; the higher goes first.
    pub priority: u8,
    /// Longest time from the start time to the start of the first attempt.
    pub queue_timeout: Option<Duration>,
    /// Longest time for one attempt.
    pub attempt_timeout: Option<Duration>,
    /// Longest time from submission to the end.
    pub deadline: Option<Duration>,
    /// How failed attempts are tried again.
    pub retry_policy: RetryPolicy,
    /// How long a worker has to stop after a cancel.
    pub cancel_grace: Duration,
    /// How long the record is kept once it is done.
    pub retention: Duration,
}

impl Settings {
    /// Highest priority.
    pub const MAX_PRIORITY: u8 = 100;
    /// Shortest time limit.
    pub const MIN_TIMEOUT: Duration = Duration::from_millis(1);
    /// Longest time limit and longest retention: ten years.
    pub const MAX_DURATION: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
    /// Longest grace period.
    pub const MAX_CANCEL_GRACE: Duration = Duration::from_secs(3600);
    /// Longest backoff.
    pub const MAX_BACKOFF: Duration = Duration::from_secs(24 * 3600);
    /// Most attempts.
    pub const MAX_ATTEMPTS: u32 = 1_000;
    /// Largest multiplier of backoffs.
    pub const MAX_MULTIPLIER: f64 = 100.0;
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            priority: 0,
            queue_timeout: None,
            attempt_timeout: None,
            deadline: None,
            retry_policy: RetryPolicy::default(),
            cancel_grace: Duration::from_secs(30),
            retention: Duration::from_secs(7 * 24 * 3600),
        }
    }
}
