//! Attempts of workers without a stream: a poll acquires them, each with a token, and any program with the token can
//! renew the lease and report.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::attempt_token::AttemptToken;
use super::operations::named;
use super::reports::Report;
use super::{Budget, Caller, MAX_WAIT, Reason, Service, ServiceError};
use crate::engine::{AttemptLease, EngineError, WorkerHello};
use crate::operation::{
    Kind, Operation, Payload, Progress, RequestId, Scope, SessionId, TenantId, WorkerId, transition,
};
use crate::store::PayloadRole;

/// The maximum number of attempts in one poll.
pub const MAX_ACQUIRED: usize = 100;
/// The longest lease of an attempt without a stream; the shortest is a second.
pub const MAX_ATTEMPT_LEASE: Duration = Duration::from_secs(7 * 24 * 3_600);

/// A poll for attempts.
#[derive(Clone, Debug)]
pub struct Acquire {
    /// The worker's name for itself.
    pub worker: WorkerId,
    /// The kinds that it serves.
    pub kinds: Vec<Kind>,
    /// The maximum number of attempts, from 1 to [`MAX_ACQUIRED`].
    pub most: usize,
    /// How long each lease lasts without a sign of life, from 1 s to [`MAX_ATTEMPT_LEASE`], in whole seconds; `None`:
    /// as for streams.
    pub lease: Option<Duration>,
    /// How long to wait for the first attempt, at most [`MAX_WAIT`].
    pub wait: Duration,
    /// The poll's name: a later poll with the same name, worker, kinds and lease gets this one's running attempts.
    pub request: Option<RequestId>,
}

impl Acquire {
    /// The session of a place of this poll: the same for the same request, at any replica and after restarts, so that a
    /// retry finds the leases that it acquired. A digest, so that no other worker can name that session.
    fn session(&self, tenant: &TenantId, lease: Duration, number: usize) -> Option<SessionId> {
        let Self { worker, kinds, request, .. } = self;
        let mut digest = Sha256::new();
        let texts = [tenant.as_str(), worker.as_str(), request.as_ref()?.as_str()];
        for text in texts.into_iter().chain(kinds.iter().map(Kind::as_str)) {
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text);
        }
        digest.update((number as u64).to_be_bytes());
        let bytes = digest.finalize().first_chunk().copied()?;
        Some(SessionId::of_attempt(Uuid::from_bytes(bytes), lease))
    }
}

/// The outcome of a heartbeat.
#[derive(Clone, Debug)]
pub enum Renewal {
    /// The lease is renewed. The operation, as read shortly before; its state is CANCELLING if a client has requested a
    /// cancel.
    Renewed(Arc<Operation>),
    /// The attempt is over: the worker must stop, and report nothing.
    Over {
        /// Whether a report with this token ended it.
        is_recorded: bool,
    },
}

/// An attempt that was acquired.
#[derive(Clone, Debug)]
pub struct Acquired {
    /// The operation as of the attempt's start.
    pub operation: Arc<Operation>,
    /// Its input.
    pub input: Option<Payload>,
    /// The token for renewals and reports of the attempt.
    pub token: AttemptToken,
}

impl Service {
    /// Waits for attempts and acquires them: as many as can start together with the first one, or none if none can
    /// start in time. If the call is dropped before it returns, its attempts go back to the queue.
    pub async fn acquire(
        &self,
        caller: &Caller,
        acquire: Acquire,
    ) -> Result<Vec<Acquired>, ServiceError> {
        caller.may_execute(&acquire.kinds)?;
        super::batch_kind::not_of_batches("kinds", &acquire.kinds)?;
        self.takes_work()?;
        let lease = acquire.lease.unwrap_or(self.limits.lease_duration).min(MAX_ATTEMPT_LEASE);
        let hello = WorkerHello {
            scope: caller.scope().clone(),
            worker: acquire.worker.clone(),
            kinds: acquire.kinds.clone(),
            max_in_flight: acquire.most.clamp(1, MAX_ACQUIRED),
            resume: None,
            in_process: false,
            running: Vec::new(),
        };
        let clock = self.engine.clock();
        let until = clock.moment().after(acquire.wait.min(MAX_WAIT));
        let session = |number| acquire.session(&caller.tenant, lease, number);
        let mut poll = self.engine.poll(hello, lease, session).await?;
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

    /// The attempts with their inputs' contents, as far as `budget` has room. While the object store does not respond,
    /// attempts that need it go back to the queue; refused if none remains.
    pub async fn with_inputs(
        &self,
        caller: &Caller,
        acquired: Vec<Acquired>,
        budget: &mut Budget,
    ) -> Result<Vec<Acquired>, ServiceError> {
        let (mut ready, mut unavailable) = (Vec::with_capacity(acquired.len()), None);
        for one in acquired {
            match self.input_within(&one, budget).await {
                Ok(input) => ready.push(Acquired { input, ..one }),
                Err(error) => {
                    // The attempt may have ended meanwhile.
                    let _ = self.report_attempt(caller, &one.token, Report::Release).await;
                    unavailable = Some(error);
                }
            }
        }
        unavailable.filter(|_| ready.is_empty()).map_or(Ok(ready), Err)
    }

    /// The input, with contents if `budget` has room for them.
    async fn input_within(
        &self,
        one: &Acquired,
        budget: &mut Budget,
    ) -> Result<Option<Payload>, ServiceError> {
        let Some(Payload { info, data }) = one.input.clone() else { return Ok(None) };
        let has_room = usize::try_from(info.size_bytes).is_ok_and(|size| budget.has_room(size));
        let data = match (has_room, info.object) {
            (true, None) => data,
            (false, _) => Bytes::new(),
            (true, Some(_)) => {
                let limit = usize::MAX;
                let (id, role) = (one.operation.id(), PayloadRole::Input);
                match self.whole(id, role, info.clone(), limit).await {
                    Err(error) if error.reason == Reason::Unavailable => return Err(error),
                    // Damage is permanent: the worker gets the error when it reads the input.
                    read => read.ok().flatten().unwrap_or_default(),
                }
            }
        };
        Ok(Some(Payload { info, data }))
    }

    /// The text of an attempt's token.
    pub fn sign_attempt(&self, token: &AttemptToken) -> String {
        token.sign(&self.engine.signing_key())
    }

    /// Reads an attempt's token; refuses one that no server over this store has issued. `field` is its place.
    pub fn attempt_of(&self, field: &str, text: &str) -> Result<AttemptToken, ServiceError> {
        let rule = "must be the whole, unchanged token of an attempt";
        AttemptToken::verify(text, &self.engine.signing_key())
            .ok_or_else(|| ServiceError::invalid_field(field, rule))
    }

    /// Renews an attempt's lease, perhaps with progress. An attempt that is over is not an error, so that a worker has
    /// one reason to stop.
    pub async fn renew_attempt(
        &self,
        caller: &Caller,
        token: &AttemptToken,
        progress: Option<Progress>,
    ) -> Result<Renewal, ServiceError> {
        let operation = match self.engine.get(caller.scope(), token.id()).await {
            Ok(operation) => operation,
            // The operation belongs to another tenant.
            Err(EngineError::NotFound)
                if self.engine.get(&Scope::All, token.id()).await.is_ok() =>
            {
                return Err(named(EngineError::NotFound, token.id()));
            }
            Err(EngineError::NotFound | EngineError::Expired { .. }) => {
                return Ok(Renewal::Over { is_recorded: false });
            }
            Err(error) => return Err(error.into()),
        };
        let reporter = token.reporter();
        if transition::check_holder(&operation, &reporter).is_err() {
            let is_recorded = transition::may_report(&operation, &reporter).is_ok();
            return Ok(Renewal::Over { is_recorded });
        }
        let operation = self.renew_lease(token, operation, progress).await?;
        Ok(Renewal::Renewed(Arc::new(operation)))
    }

    /// Renews the lease of an operation whose current attempt this is.
    async fn renew_lease(
        &self,
        token: &AttemptToken,
        operation: Operation,
        progress: Option<Progress>,
    ) -> Result<Operation, ServiceError> {
        let (id, attempt, session) = (token.id(), token.attempt(), token.session());
        let tenant = operation.submission.tenant.clone();
        let worker = operation.life.worker.clone();
        let worker = worker.ok_or_else(|| ServiceError::from(EngineError::NotFound))?;
        let lease = AttemptLease { id, attempt, session, tenant, worker };
        match self.engine.renew_attempt(lease, progress).await? {
            true => Ok(operation),
            false => {
                let message = "the attempt's lease is changing: repeat the call";
                Err(ServiceError::new(Reason::Unavailable, message))
            }
        }
    }

    /// Records a report on an attempt; returns once it is durable.
    pub async fn report_attempt(
        &self,
        caller: &Caller,
        token: &AttemptToken,
        report: Report,
    ) -> Result<(), ServiceError> {
        if matches!(report, Report::Log(_)) {
            // Only the holder of the lease numbers lines.
            let operation = self.operation_of_attempt(caller, token).await?;
            self.renew_lease(token, operation, None).await?;
        }
        let reported = self.report(caller, token.id(), token.reporter(), report).await;
        if reported.as_ref().is_err_and(|error| error.reason == Reason::OperationNotFound) {
            // A read finds out why the operation is missing.
            self.admit_report(caller, token).await?;
        }
        reported
    }

    /// Refuses an attempt on which nothing can be reported any more, before its result is received.
    pub async fn admit_report(
        &self,
        caller: &Caller,
        token: &AttemptToken,
    ) -> Result<(), ServiceError> {
        self.check_may_report(caller, token.id(), &token.reporter()).await
    }

    /// A running attempt, as it was acquired. Does not renew its lease.
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

    /// The operation, if the attempt is its current one. Does not renew the lease.
    pub async fn operation_of_attempt(
        &self,
        caller: &Caller,
        token: &AttemptToken,
    ) -> Result<Operation, ServiceError> {
        let operation = self.engine.get(caller.scope(), token.id()).await;
        let operation = operation.map_err(|error| named(error, token.id()))?;
        transition::check_holder(&operation, &token.reporter())
            .map_err(|stale| named(EngineError::Rejected(stale), token.id()))?;
        Ok(operation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_request_has_the_same_sessions_and_no_other_has() {
        let (tenant, lease) = (TenantId::default_tenant(), Duration::from_secs(60));
        let acquire = Acquire {
            worker: WorkerId::parse("w").expect("a worker"),
            kinds: vec![Kind::parse("a").expect("a kind")],
            most: 2,
            lease: None,
            wait: Duration::ZERO,
            request: RequestId::parse("r").ok(),
        };
        let first = acquire.session(&tenant, lease, 0).expect("a session");
        assert_eq!(first.attempt_lease(), Some(lease));
        let more = Acquire { most: 3, wait: lease, ..acquire.clone() };
        assert_eq!(more.session(&tenant, lease, 0), Some(first));
        let kind = Kind::parse("b").expect("a kind");
        let others = [
            acquire.session(&tenant, lease, 1),
            acquire.session(&TenantId::parse("t").expect("a tenant"), lease, 0),
            acquire.session(&tenant, lease * 2, 0),
            Acquire { request: RequestId::parse("s").ok(), ..acquire.clone() }
                .session(&tenant, lease, 0),
            Acquire { worker: WorkerId::parse("v").expect("a worker"), ..acquire.clone() }
                .session(&tenant, lease, 0),
            Acquire { kinds: [acquire.kinds.clone(), vec![kind]].concat(), ..acquire.clone() }
                .session(&tenant, lease, 0),
        ];
        for other in others {
            assert_ne!(other.expect("a session"), first);
        }
        assert_eq!(Acquire { request: None, ..acquire }.session(&tenant, lease, 0), None);
    }
}
