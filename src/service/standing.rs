//! The connected workers, and the counts of each kind.

use super::{Action, Caller, Service, ServiceError, parse_filter};
use crate::engine::KindFigures;
pub use crate::engine::{Percentiles, WorkerFigures, WorkerState};
use crate::operation::{Kind, Timestamp};
use crate::store::{ListOrder, ListQuery, OrderBy};

/// Most workers or kinds in one answer.
pub const MAX_LISTED: usize = 1_000;

/// How much there is of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindRecord {
    /// The figures.
    pub figures: KindFigures,
    /// When the oldest operation that waits was submitted.
    pub oldest_at: Option<Timestamp>,
}

impl Service {
    /// The workers that execute the caller's operations, by name, and how many there are: at most [`MAX_LISTED`] are
    /// returned. Only those that serve `kind`, if there is one.
    pub async fn list_workers(
        &self,
        caller: &Caller,
        kind: Option<&Kind>,
    ) -> Result<(Vec<WorkerFigures>, usize), ServiceError> {
        caller.may(Action::Inspect)?;
        let mut workers = self.engine.workers(&caller.tenant, &self.engine.other_workers().await);
        workers.retain(|worker| kind.is_none_or(|kind| worker.kinds.contains(kind)));
        let total = workers.len();
        workers.truncate(MAX_LISTED);
        Ok((workers, total))
    }

    /// The caller's kinds by name, and how many there are: at most [`MAX_LISTED`] are returned.
    pub async fn list_kinds(
        &self,
        caller: &Caller,
    ) -> Result<(Vec<KindRecord>, usize), ServiceError> {
        caller.may(Action::Inspect)?;
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
            tenant: caller.tenant.clone(),
            filter: filter.of(caller.owner.as_ref()),
            order: ListOrder { by: OrderBy::CreateTime, descending: false },
            after: None,
            limit: 1,
        };
        let oldest = self.engine.list(query).await?;
        Ok(oldest.first().map(|operation| operation.submission.created_at))
    }
}
