//! Attempts of workers without a stream: acquired by a poll, each with a token, by which whoever has it renews its lease
//! and reports.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::operations::named;
use super::reports::Report;
use super::{Caller, MAX_WAIT, OperationName, Reason, Service, ServiceError};
use crate::engine::{AttemptLease, EngineError, WorkerHello};
use crate::operation::{
    Attempt, Kind, Operation, OperationId, Payload, Progress, Reporter, SessionId, WorkerId,
    transition,
};
use crate::store::PayloadRole;
use crate::store::log::SigningKey;

/// Most attempts of one poll.
pub const MAX_ACQUIRED: usize = 100;
/// The longest lease of an attempt without a stream; the shortest is a second.
pub const MAX_ATTEMPT_LEASE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// What tokens of attempts are signed as.
const SORT: u8 = 2;

/// A poll for attempts.
#[derive(Clone, Debug)]
pub struct Acquire {
    /// The worker's name for itself.
    pub worker: WorkerId,
    /// The kinds that it serves.
    pub kinds: Vec<Kind>,
    /// At most this many attempts, from 1 to [`MAX_ACQUIRED`].
    pub most: usize,
    /// How long each lease lives without a sign of life, from 1 s to [`MAX_ATTEMPT_LEASE`], in whole seconds; `None` for
    /// that of streams.
    pub lease: Option<Duration>,
    /// How long to wait for the first attempt, at most [`MAX_WAIT`].
    pub wait: Duration,
}

/// An attempt that was acquired.
#[derive(Clone, Debug)]
pub struct Acquired {
    /// The operation as of the attempt's start.
    pub operation: Arc<Operation>,
    /// Its input.
    pub input: Option<Payload>,
    /// What the attempt is renewed and reported by.
    pub token: AttemptToken,
}

/// What names an attempt together with the right to report on it, and nothing else. It outlives connections, restarts
/// and replicas; it is of no use once the attempt is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptToken {
    id: OperationId,
    attempt: Attempt,
    session: SessionId,
}

impl AttemptToken {
    fn of(operation: &Operation) -> Option<Self> {
        let session = operation.life.state.lease()?.session;
        Some(Self { id: operation.id(), attempt: operation.life.attempt, session })
    }

    /// How long the attempt's lease lives without a sign of life; zero is never.
    pub fn lease(&self) -> Duration {
        self.session.attempt_lease().unwrap_or_default()
    }

    /// Whose lease it is.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The operation.
    pub fn name(&self) -> OperationName {
        OperationName { tenant: None, id: self.id }
    }

    fn reporter(&self) -> Reporter {
        Reporter { attempt: self.attempt, session: self.session, former: None }
    }

    fn sign(&self, key: &SigningKey) -> String {
        let Self { id, attempt, session } = self;
        let parts = [id.as_bytes(), &attempt.0.to_be_bytes()[..], session.as_bytes()];
        key.sign(SORT, &parts.concat())
    }

    fn verify(text: &str, key: &SigningKey) -> Option<Self> {
        let bytes = key.verify(SORT, text)?;
        let (id, rest) = bytes.split_first_chunk()?;
        let (attempt, session) = rest.split_first_chunk()?;
        let session = SessionId::from_bytes(session.try_into().ok()?);
        session.attempt_lease()?;
        let attempt = Attempt(u32::from_be_bytes(*attempt));
        Some(Self { id: OperationId::from_bytes(*id), attempt, session })
    }
}

impl Service {
    /// Waits for attempts and acquires them: as many as can start together when the first one can, or none where none
    /// can in time. Those of a call that is given up before it is answered go back to the queue.
    pub async fn acquire(
        &self,
        caller: &Caller,
        acquire: Acquire,
    ) -> Result<Vec<Acquired>, ServiceError> {
        caller.may_execute(&acquire.kinds)?;
        self.takes_work()?;
        let Acquire { worker, kinds, most, lease, wait } = acquire;
        let hello = WorkerHello {
            scope: caller.scope().clone(),
            worker,
            kinds,
            max_in_flight: most.clamp(1, MAX_ACQUIRED),
            resume: None,
            in_process: false,
            running: Vec::new(),
        };
        let lease = lease.unwrap_or(self.limits.lease_duration).min(MAX_ATTEMPT_LEASE);
        let clock = self.engine.clock();
        let until = clock.moment().after(wait.min(MAX_WAIT));
        let mut poll = self.engine.poll(hello, lease).await?;
        tokio::select! {
            biased;
            () = poll.wait() => {}
            () = self.stopping() => {}
            () = clock.sleep_until_moment(until) => {}
        }
        let handed = poll.end().await?.into_iter();
        let acquired = handed.filter_map(|(operation, input)| {
            let token = AttemptToken::of(&operation)?;
            Some(Acquired { operation, input, token })
        });
        Ok(acquired.collect())
    }

    /// The text of an attempt's token, as it is handed out.
    pub fn sign_attempt(&self, token: &AttemptToken) -> String {
        token.sign(&self.engine.signing_key())
    }

    /// The token of that text, if it is one that a server over this store has given out. `field` is where it stands.
    pub fn attempt_of(&self, field: &str, text: &str) -> Result<AttemptToken, ServiceError> {
        let rule = "must be the token of an attempt, whole and as it was given";
        AttemptToken::verify(text, &self.engine.signing_key())
            .ok_or_else(|| ServiceError::invalid_field(field, rule))
    }

    /// A sign of life of an attempt, perhaps with its progress: the lease lives on. Answers the operation as it was found,
    /// not long before, whose state tells whether somebody has asked for it to stop.
    pub async fn renew_attempt(
        &self,
        caller: &Caller,
        token: &AttemptToken,
        progress: Option<Progress>,
    ) -> Result<Arc<Operation>, ServiceError> {
        let operation = self.operation_of_attempt(caller, token).await?;
        let AttemptToken { id, attempt, session } = *token;
        let tenant = operation.submission.tenant.clone();
        let worker = operation.life.worker.clone();
        let worker = worker.ok_or_else(|| ServiceError::from(EngineError::NotFound))?;
        let lease = AttemptLease { id, attempt, session, tenant, worker };
        match self.engine.renew_attempt(lease, progress).await? {
            true => Ok(Arc::new(operation)),
            false => {
                let message = "the attempt's lease is just changing hands";
                Err(ServiceError::new(Reason::Unavailable, message))
            }
        }
    }

    /// A report on an attempt; `Ok` once it is durable.
    pub async fn report_attempt(
        &self,
        caller: &Caller,
        token: &AttemptToken,
        report: Report,
    ) -> Result<(), ServiceError> {
        if matches!(report, Report::Log(_)) {
            // Lines are numbered by who holds the lease, and by nobody else.
            self.renew_attempt(caller, token, None).await?;
        }
        let reported = self.report(caller, token.id, token.reporter(), report).await;
        if reported.as_ref().is_err_and(|error| error.reason == Reason::OperationNotFound) {
            // Why it is not there, a read tells.
            self.admit_report(caller, token).await?;
        }
        reported
    }

    /// Refuses an attempt on which nothing can be reported any more, before its result is taken in.
    pub async fn admit_report(
        &self,
        caller: &Caller,
        token: &AttemptToken,
    ) -> Result<(), ServiceError> {
        self.check_may_report(caller, token.id, &token.reporter()).await
    }

    /// An attempt that is under way, as it was acquired. Not a sign of life.
    pub async fn attempt(
        &self,
        caller: &Caller,
        token: &AttemptToken,
    ) -> Result<Acquired, ServiceError> {
        let operation = self.operation_of_attempt(caller, token).await?;
        let id = operation.id();
        let input = match operation.submission.input.clone() {
            Some(info) if info.object.is_some() => Some(Payload { info, data: Bytes::new() }),
            Some(info) => {
                let data = self.engine.payload(id, PayloadRole::Input).await?;
                data.map(|data| Payload { info, data })
            }
            None => None,
        };
        Ok(Acquired { operation: Arc::new(operation), input, token: *token })
    }

    /// The operation, if the attempt is its current one. Not a sign of life.
    pub async fn operation_of_attempt(
        &self,
        caller: &Caller,
        token: &AttemptToken,
    ) -> Result<Operation, ServiceError> {
        let operation = self.engine.get(caller.scope(), token.id).await;
        let operation = operation.map_err(|error| named(error, token.id))?;
        transition::check_holder(&operation, &token.reporter())
            .map_err(|stale| named(EngineError::Rejected(stale), token.id))?;
        Ok(operation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_one_attempt_and_for_nothing_else() {
        let key = SigningKey([1; 32]);
        let id = OperationId::from_bytes([7; 16]);
        let lease = Duration::from_secs(60);
        let session = SessionId::of_attempt(uuid::Uuid::from_bytes([9; 16]), lease);
        let token = AttemptToken { id, attempt: Attempt(3), session };
        let text = token.sign(&key);
        assert_eq!(AttemptToken::verify(&text, &key), Some(token));
        assert_eq!(token.lease(), lease);
        assert_eq!(AttemptToken::verify(&text, &SigningKey([2; 32])), None, "another store's");
        for (at, _) in text.char_indices() {
            let mut forged = text.clone();
            forged.replace_range(at..=at, if text[at..].starts_with('A') { "B" } else { "A" });
            assert_eq!(AttemptToken::verify(&forged, &key), None, "{at}");
        }
        let position = crate::store::log::Position::at(crate::store::log::Frontier::default());
        assert_eq!(AttemptToken::verify(&position.encode(&key), &key), None);
        let stream = AttemptToken { session: SessionId::from_bytes([9; 16]), ..token };
        assert_eq!(AttemptToken::verify(&stream.sign(&key), &key), None, "a stream's session");
    }
}
