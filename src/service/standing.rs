//! The connected workers, and the counts of each kind.

use std::collections::HashMap;
use std::sync::Arc;

use super::limit_use::LimitUse;
use super::{
    Action, Caller, Document, ListParameters, Service, ServiceError, View, Violations,
    parse_filter, room,
};
use crate::engine::{KindFigures, StoreHealth};
pub use crate::engine::{Percentiles, WorkerFigures, WorkerState};
use crate::operation::limits::LimitName;
use crate::operation::{Kind, Operation, Timestamp, WorkerId};
use crate::store::{ListOrder, ListQuery, OrderBy};

/// The maximum number of workers or kinds in one response.
pub const MAX_LISTED: usize = 1_000;
/// The maximum number of running operations that are read for the workers that execute them.
const MAX_RUNNING: i32 = 1_000;
/// The maximum number of operations that are listed of one worker.
const MAX_OF_WORKER: usize = 10;

/// The numbers of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindRecord {
    /// The numbers.
    pub figures: KindFigures,
    /// When the oldest queued operation was submitted.
    pub oldest_at: Option<Timestamp>,
    /// The tenant's limits for this kind alone.
    pub limits: Vec<LimitUse>,
}

/// A worker with what it does.
#[derive(Clone, Debug)]
pub struct WorkerRecord {
    /// The worker.
    pub figures: WorkerFigures,
    /// Operations that it executes, of those that the caller may see: the oldest 10 at most.
    pub operations: Vec<Arc<Operation>>,
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
    /// Sessions of the tenant's workers at this server; for operators those of all tenants' workers.
    pub sessions: u64,
    /// How long this server's latest commits took; for operators only.
    pub commits: Option<Percentiles>,
    /// All tenants' operations that are not done; for operators only.
    pub outstanding: Option<u64>,
    /// The limits of the caller's tenant.
    pub limits: Vec<LimitUse>,
}

impl Service {
    /// The state of this server.
    pub async fn system(&self, caller: &Caller) -> Result<SystemFigures, ServiceError> {
        caller.may(Action::List)?;
        let store = self.engine.store_health().borrow().clone();
        Ok(SystemFigures {
            store,
            is_stopping: self.is_stopping(),
            other_replicas: self.engine.other_replicas().await,
            watches: self.held(caller, LimitName::Watches),
            sessions: match caller.can(Action::Operate) {
                true => self.engine.sessions(),
                false => self.held(caller, LimitName::Sessions),
            },
            commits: self.engine.latest_commits().filter(|_| caller.can(Action::Operate)),
            outstanding: caller.can(Action::Operate).then(|| self.engine.outstanding()),
            limits: self.limits_in_use(caller),
        })
    }

    /// The workers that execute the caller's operations, by name, and their number: at most [`MAX_LISTED`] are
    /// returned. With `kind`, only those that serve it.
    pub async fn workers(
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

    /// The same with the operations that they execute.
    pub async fn list_workers(
        &self,
        caller: &Caller,
        kind: Option<&Kind>,
    ) -> Result<(Vec<WorkerRecord>, usize), ServiceError> {
        let (workers, total) = self.workers(caller, kind).await?;
        // It lists running operations.
        room::take_turn(self.turns.take(&caller.tenant)).await;
        let mut running = match workers.iter().any(|worker| worker.running > 0) {
            // While the store does not respond, the workers themselves are known.
            true => self.running(caller).await.unwrap_or_default(),
            false => HashMap::new(),
        };
        let records = workers.into_iter().map(|figures| {
            // Workers may share a name; then the first one has the operations of all.
            let operations = running.remove(&figures.worker).unwrap_or_default();
            WorkerRecord { figures, operations }
        });
        Ok((records.collect(), total))
    }

    /// The caller's operations with a running attempt by worker, some of each.
    async fn running(
        &self,
        caller: &Caller,
    ) -> Result<HashMap<WorkerId, Vec<Arc<Operation>>>, ServiceError> {
        let parameters = ListParameters {
            page_size: MAX_RUNNING,
            filter: "state=RUNNING OR state=CANCELLING",
            order_by: "create_time",
            ..ListParameters::default()
        };
        let mut found = Violations::default();
        let request = parameters.read(caller, &mut found);
        let request = found.settle(request)?.unsent();
        let running = self.list(caller, request, View::Basic, |it| it.operation.size()).await?;
        let mut of: HashMap<WorkerId, Vec<Arc<Operation>>> = HashMap::new();
        for Document { operation, .. } in running.entries {
            let Some(worker) = operation.life.worker.clone() else { continue };
            let operations = of.entry(worker).or_default();
            if operations.len() < MAX_OF_WORKER {
                operations.push(operation);
            }
        }
        Ok(of)
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
        let mut limits = self.limits_in_use(caller);
        limits.retain(|it| it.limit.name != LimitName::Paused);
        let mut records = Vec::with_capacity(kinds.len());
        for figures in kinds {
            let oldest_at = match figures.queued {
                0 => None,
                _ => self.oldest_queued(caller, &figures.kind).await?,
            };
            let of_kind = |it: &&LimitUse| it.limit.kind.as_ref() == Some(&figures.kind);
            let limits = limits.iter().filter(of_kind).cloned().collect();
            records.push(KindRecord { figures, oldest_at, limits });
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
