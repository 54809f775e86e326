//! When to try again, and when to give up: the one rule of waits, watches and streams of contents.
//!
//! Before the service has been reached, a call is tried a few times: the address may be wrong. Once it has been, be it that
//! the connection broke before the answer, whatever it is unavailable for is borne for a stated time, counted from the
//! first failure, however long it was silent before.

use std::time::Duration;

use tokio::time::Instant;

use super::{Backoff, ClientError, FIRST_BACKOFF, MAX_BACKOFF};

/// How patient to be with a service.
#[derive(Debug)]
pub(super) struct Patience {
    limit: Duration,
    /// Tries that are left while nothing has been heard.
    tries_left: u32,
    has_begun: bool,
    away_since: Option<Instant>,
    backoff: Backoff,
}

impl Patience {
    /// Tries `retries` times until the service is heard, and bears `limit` of failures from then on.
    pub(super) fn new(limit: Duration, retries: u32) -> Self {
        let backoff = Backoff::new(FIRST_BACKOFF, MAX_BACKOFF);
        Self { limit, tries_left: retries, has_begun: false, away_since: None, backoff }
    }

    /// Whether the service has been heard.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// The service is there.
    pub(super) fn is_there(&mut self) {
        (self.has_begun, self.away_since) = (true, None);
    }

    /// The service does what it is asked for.
    pub(super) fn works(&mut self) {
        self.is_there();
        self.backoff.reset();
    }

    /// How long to wait before the service is asked again that has ended what it was asked for too early.
    pub(super) fn pause(&mut self) -> Duration {
        self.backoff.wait(None)
    }

    /// How long to wait before the next try; the error if there is no use in another.
    pub(super) fn failed(&mut self, error: ClientError) -> Result<Duration, ClientError> {
        self.failed_at(Instant::now(), error)
    }

    fn failed_at(&mut self, now: Instant, error: ClientError) -> Result<Duration, ClientError> {
        let away_since = *self.away_since.get_or_insert(now);
        self.has_begun |= error.was_reached();
        let is_patient = match self.has_begun {
            true => now.duration_since(away_since) < self.limit,
            false => self.tries_left > 0,
        };
        if !error.is_transient() || !is_patient {
            return Err(error);
        }
        self.tries_left = self.tries_left.saturating_sub(1);
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
    fn a_service_that_was_never_heard_is_tried_a_few_times() {
        let mut patience = Patience::new(LIMIT, 2);
        assert!(patience.failed(unconnected()).is_ok());
        assert!(patience.failed(unconnected()).is_ok());
        assert!(patience.failed(unconnected()).is_err());
        // A connection that broke was one.
        assert!(patience.failed(unavailable()).is_ok());
        assert!(patience.failed(unconnected()).is_ok());
    }

    #[test]
    fn one_that_was_heard_is_borne_for_its_time_after_any_silence() {
        let (mut patience, mut now) = (Patience::new(LIMIT, 0), Instant::now());
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
        let mut patience = Patience::new(LIMIT, 2);
        patience.works();
        assert!(patience.failed(ClientError::local(Code::NotFound, "no")).is_err());
    }
}
