//! Connects a worker, to a resumed session or a new one.

use std::time::Duration;

use tokio::sync::mpsc;
use uuid::Uuid;

use super::dispatcher::Dispatcher;
use super::replicas::Replicas;
use crate::engine::clock::Moment;
use crate::engine::request::{Connected, EngineError, ServerLimit, Taken, ToWorker, WorkerHello};
use crate::operation::limits::{LimitName, LimitTable};
use crate::operation::{Scope, SessionId};

pub(super) struct Arrival {
    pub(super) hello: WorkerHello,
    /// For a place of a poll: how long its attempt's lease lasts by itself.
    pub(super) attempt_lease: Option<Duration>,
    /// Receives the messages to the worker.
    pub(super) sender: mpsc::Sender<ToWorker>,
    /// The session to resume, if it was read from the store.
    pub(super) taken: Option<Taken>,
}

impl Arrival {
    /// Connects the worker; `None`: the session to resume may be another replica's; take it over first. A new session's
    /// id is made of `uuid`. There may be `most` sessions, and as many of a tenant as its limit allows.
    pub(super) fn connect(
        self,
        (dispatcher, mut replicas): (&mut Dispatcher, Option<&mut Replicas>),
        (most, table): (usize, &LimitTable),
        uuid: Uuid,
        expires_at: Moment,
    ) -> Result<Option<Connected>, EngineError> {
        let Self { hello, attempt_lease, sender, taken } = self;
        let resume = hello.resume;
        let has_row = matches!(taken, Some(Taken::Over(_)));
        let resumed = match &mut replicas {
            None => dispatcher.sessions().resumable(&hello),
            Some(replicas) => {
                match replicas.resume(&hello, taken, dispatcher.sessions_mut(), expires_at)? {
                    Some(resumed) => resumed,
                    None => return Ok(None),
                }
            }
        };
        if resumed.is_none() && dispatcher.sessions().len() >= most {
            return Err(EngineError::Full { what: ServerLimit::Sessions, limit: most as u64 });
        }
        if let (None, None, Scope::Tenant(tenant)) = (resumed, attempt_lease, &hello.scope)
            && let Some(limit) = table.get(LimitName::Sessions, tenant, None)
            && dispatcher.sessions().count_of(&hello.scope) >= limit
        {
            let (tenant, name, most) = (tenant.clone(), LimitName::Sessions, limit);
            return Err(EngineError::Limited { tenant, kind: None, name, most });
        }
        let session = resumed.unwrap_or_else(|| match (attempt_lease, hello.in_process) {
            // A worker without a stream that retries its request gets the same id.
            (Some(lease), _) => resume.unwrap_or_else(|| SessionId::of_attempt(uuid, lease)),
            (None, true) => SessionId::in_process(uuid),
            (None, false) => SessionId::from_uuid(uuid),
        });
        let resumed = resumed.is_some();
        if attempt_lease.is_none() {
            tracing::info!(worker.id = %hello.worker, resumed, "a worker connected");
        }
        if let Some(replicas) = replicas {
            replicas.connected(session, has_row, &hello);
        }
        let stream = dispatcher.connect(session, hello, sender, expires_at, resumed);
        Ok(Some(Connected { session, resumed, stream }))
    }
}
