//! The steps of a stop, each with a time limit: let handlers finish, cancel the rest, drop them and release their
//! attempts, wait for the server's acknowledgements, end.

use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};
use tokio_util::sync::CancellationToken;

/// How long cancelled handlers have to stop.
const STOP_GRACE: Duration = Duration::from_secs(1);
/// How long to wait for the last acknowledgements.
const LAST_ACKS: Duration = Duration::from_secs(1);

/// The worker's phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It takes assignments.
    Serving,
    /// It takes no more; handlers may finish.
    Draining,
    /// Handlers have been cancelled.
    Stopping,
    /// Handlers have been dropped, their attempts released.
    Closing,
    /// Out of time.
    Over,
}

/// The phases of a stop.
#[derive(Debug)]
pub(super) struct Drain {
    stop: CancellationToken,
    timeout: Duration,
    phase: Phase,
    began_at: Instant,
    lasts: Duration,
}

impl Drain {
    /// Begins when `stop` is cancelled; handlers have `timeout` to finish.
    pub(super) fn new(stop: CancellationToken, timeout: Duration) -> Self {
        Self {
            stop,
            timeout,
            phase: Phase::Serving,
            began_at: Instant::now(),
            lasts: Duration::ZERO,
        }
    }

    /// The current phase.
    pub(super) fn phase(&self) -> Phase {
        self.phase
    }

    /// Waits for the next phase and enters it. May be dropped and called again.
    pub(super) async fn advance(&mut self) -> Phase {
        match self.phase {
            Phase::Serving => self.stop.cancelled().await,
            Phase::Over => std::future::pending().await,
            _ => self.rest().await,
        }
        let (phase, lasts) = match self.phase {
            Phase::Serving => (Phase::Draining, self.timeout),
            Phase::Draining => (Phase::Stopping, STOP_GRACE),
            Phase::Stopping => (Phase::Closing, LAST_ACKS),
            Phase::Closing | Phase::Over => (Phase::Over, Duration::ZERO),
        };
        (self.phase, self.lasts, self.began_at) = (phase, lasts, Instant::now());
        phase
    }

    /// The remaining time of the phase. A sleep, because an instant cannot be arbitrarily late.
    fn rest(&self) -> Sleep {
        sleep(self.lasts.saturating_sub(self.began_at.elapsed()))
    }
}
