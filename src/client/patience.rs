//! When to retry, and when to give up: one rule for waits, watches and streams of contents.
//!
//! A client tolerates unavailability for a given time, counted from the first failure. Before the first success the
//! time is shorter, because the address may be wrong, or it is the configured number of tries.

use std::time::Duration;

use tokio::time::Instant;

use super::{Backoff, ClientError, FIRST_BACKOFF, MAX_BACKOFF};

/// How long a service that was never reached may be unavailable.
const UNREACHED: Duration = Duration::from_secs(90);

/// The state of retries of one wait, watch or stream.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    /// Remaining tries before the first response, if they are counted.
    tries_left: Option<u32>,
    has_begun: bool,
    away_since: Option<Instant>,
    backoff: Backoff,
}

impl Patience {
    /// Tolerates failures for `limit`; until the service has responded, at most `retries` of them if given.
    pub(super) fn new(limit: Duration, retries: Option<u32>) -> Self {
        let backoff = Backoff::new(FIRST_BACKOFF, MAX_BACKOFF);
        Self { limit, tries_left: retries, has_begun: false, away_since: None, backoff }
    }

    /// Whether the service has responded before.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Notes that the service has responded.
    pub(super) fn is_there(&mut self) {
        (self.has_begun, self.away_since) = (true, None);
    }

    /// Notes that a call succeeded.
    pub(super) fn works(&mut self) {
        self.is_there();
        self.backoff.reset();
    }

    /// The pause after the service has ended a call too early.
    pub(super) fn pause(&mut self) -> Duration {
        self.backoff.wait(None)
    }

    /// The pause before the next try; the error if another try would not help.
    pub(super) fn failed(&mut self, error: ClientError) -> Result<Duration, ClientError> {
        self.failed_at(Instant::now(), error)
    }

    fn failed_at(&mut self, now: Instant, error: ClientError) -> Result<Duration, ClientError> {
        let away_since = *self.away_since.get_or_insert(now);
        self.has_begun |= error.was_reached();
        let away = now.duration_since(away_since);
        let is_patient = match (self.has_begun, self.tries_left) {
            (true, _) => away < self.limit,
            (false, None) => away < self.limit.min(UNREACHED),
            (false, Some(tries_left)) => tries_left > 0,
        };
        if !error.is_transient() || !is_patient {
            return Err(error);
        }
        self.tries_left = self.tries_left.map(|left| left.saturating_sub(1));
        Ok(self.backoff.wait(error.retry_after()))
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(300);

    fn unavailable() -> ClientError {
        ClientError::local(Code::Unavailable, "away")
    }

    fn unconnected() -> ClientError {
        tonic::Status::from_error(Box::new(tonic::ConnectError("refused".into()))).into()
    }

    #[test]
    fn a_service_that_was_never_heard_is_borne_for_a_shorter_time() {
        let (mut patience, now) = (Patience::new(LIMIT, None), Instant::now());
        for seconds in [0, 5, 60, 89] {
            let at = now + Duration::from_secs(seconds);
            assert!(patience.failed_at(at, unconnected()).is_ok(), "{seconds}");
        }
        assert!(patience.failed_at(now + UNREACHED, unconnected()).is_err());
    }

    #[test]
    fn a_service_that_was_never_heard_is_tried_as_often_as_the_client_says() {
        let mut patience = Patience::new(LIMIT, Some(2));
        assert!(patience.failed(unconnected()).is_ok());
        assert!(patience.failed(unconnected()).is_ok());
        assert!(patience.failed(unconnected()).is_err());
        // A broken connection proves that the service was reached.
        assert!(patience.failed(unavailable()).is_ok());
        assert!(patience.failed(unconnected()).is_ok());
    }

    #[test]
    fn one_that_was_heard_is_borne_for_its_time_after_any_silence() {
        let (mut patience, mut now) = (Patience::new(LIMIT, Some(0)), Instant::now());
        let mut fails_after = |patience: &mut Patience, wait: Duration| {
            now += wait;
            patience.failed_at(now, unavailable()).is_err()
        };
        for _ in 0..2 {
            patience.works();
            assert!(!fails_after(&mut patience, LIMIT * 2));
            assert!(!fails_after(&mut patience, LIMIT - Duration::from_secs(1)));
        }
        assert!(fails_after(&mut patience, Duration::from_secs(1)));
    }

    #[test]
    fn what_another_try_does_not_change_is_told_at_once() {
        let mut patience = Patience::new(LIMIT, None);
        patience.works();
        assert!(patience.failed(ClientError::local(Code::NotFound, "no")).is_err());
    }
}
