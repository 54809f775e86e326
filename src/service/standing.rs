//! The connected workers, and the counts of each kind.

use super::{Action, Caller, Service, ServiceError, parse_filter, room};
use crate::engine::{KindFigures, StoreHealth};
pub use crate::engine::{Percentiles, WorkerFigures, WorkerState};
use crate::operation::limits::Limit;
use crate::operation::{Kind, Timestamp};
use crate::store::{ListOrder, ListQuery, OrderBy};

/// The maximum number of workers or kinds in one response.
pub const MAX_LISTED: usize = 1_000;

/// The numbers of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindRecord {
    /// The numbers.
    pub figures: KindFigures,
    /// When the oldest queued operation was submitted.
    pub oldest_at: Option<Timestamp>,
}

/// This server's state, beside its operations.
#[derive(Clone, Debug)]
pub struct SystemFigures {
    /// Whether the store accepts writes.
    pub store: StoreHealth,
    /// Whether the server has been asked to stop.
    pub is_stopping: bool,
    /// The number of other replicas, if there may be some.
    pub other_replicas: Option<u64>,
    /// Watches, waits and live pages of the caller's tenant at this server.
    pub watches: u64,
    /// All tenants' operations that are not done; for operators only.
    pub outstanding: Option<u64>,
    /// The limits of the caller's tenant.
    pub limits: Vec<(Limit, u64)>,
}

impl Service {
    /// The state of this server.
    pub async fn system(&self, caller: &Caller) -> Result<SystemFigures, ServiceError> {
        caller.may(Action::List)?;
        let limits = self.engine.limits();
        let is_own = |limit: &Limit| limit.tenant.as_ref().is_none_or(|it| *it == caller.tenant);
        let limits = limits.iter().filter(|(limit, _)| is_own(limit));
        let limits = limits.map(|(limit, most)| (limit.clone(), most)).collect();
        let store = self.engine.store_health().borrow().clone();
        Ok(SystemFigures {
            store,
            is_stopping: self.is_stopping(),
            other_replicas: self.engine.other_replicas().await,
            watches: self.watches(caller),
            outstanding: caller.can(Action::Operate).then(|| self.engine.outstanding()),
            limits,
        })
    }

    /// The workers that execute the caller's operations, by name, and their number: at most [`MAX_LISTED`] are
    /// returned. With `kind`, only those that serve it.
    pub async fn list_workers(
        &self,
        caller: &Caller,
        kind: Option<&Kind>,
    ) -> Result<(Vec<WorkerFigures>, usize), ServiceError> {
        caller.may(Action::List)?;
        let mut workers = self.engine.workers(&caller.tenant, &self.engine.other_workers().await);
        workers.retain(|worker| kind.is_none_or(|kind| worker.kinds.contains(kind)));
        let total = workers.len();
        workers.truncate(MAX_LISTED);
        Ok((workers, total))
    }

    /// The caller's kinds by name, and their number: at most [`MAX_LISTED`] are returned.
    pub async fn list_kinds(
        &self,
        caller: &Caller,
    ) -> Result<(Vec<KindRecord>, usize), ServiceError> {
        caller.may(Action::List)?;
        // It lists the oldest operation of each kind.
        room::take_turn(self.turns.take(&caller.tenant)).await;
        let mut kinds = self.engine.kinds(&caller.tenant, &self.engine.other_workers().await);
        let total = kinds.len();
        kinds.truncate(MAX_LISTED);
        let mut records = Vec::with_capacity(kinds.len());
        for figures in kinds {
            let oldest_at = match figures.queued {
                0 => None,
                _ => self.oldest_queued(caller, &figures.kind).await?,
            };
            records.push(KindRecord { figures, oldest_at });
        }
        Ok((records, total))
    }

    async fn oldest_queued(
        &self,
        caller: &Caller,
        kind: &Kind,
    ) -> Result<Option<Timestamp>, ServiceError> {
        let filter = parse_filter(&format!("state=QUEUED AND kind=\"{kind}\""))?;
        let query = ListQuery {
            scope: caller.tenant.clone().into(),
            filter: filter.of(caller.owner.as_ref()),
            order: ListOrder { by: OrderBy::CreateTime, descending: false },
            after: None,
            limit: 1,
        };
        let oldest = self.engine.list(query).await?;
        Ok(oldest.first().map(|operation| operation.submission.created_at))
    }
}
