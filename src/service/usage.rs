//! How much tenants have stored, approximately: each server scans all operations now and then, and adds its own new
//! ones in between.
//!
//! The next scan finds payloads that other servers accept, and removals; so a tenant may store a little more than its
//! limit, or be refused a little too long. A scan begins 20 times the duration of the last one after it, at least 10 s,
//! and there is none while no tenant has such a limit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Service, ServiceError};
use crate::engine::{Engine, EngineError};
use crate::operation::limits::LimitName;
use crate::operation::{Operation, TenantId};
use crate::store::{Store, StoreError};

/// The shortest pause between two scans.
const PAUSE: Duration = Duration::from_secs(10);
/// Scans take at most one part in this many of the time.
const SHARE: u32 = 20;
/// How many operations are read at once.
const PAGE: usize = 1_000;

/// The stored bytes of each tenant. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Usage(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    of: HashMap<TenantId, u64>,
    /// Bytes accepted since the current scan began.
    since: HashMap<TenantId, u64>,
}

impl Usage {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds accepted bytes.
    pub(super) fn add(&self, tenant: &TenantId, bytes: u64) {
        let Counts { of, since } = &mut *self.lock();
        for counts in [of, since] {
            match counts.get_mut(tenant) {
                Some(count) => *count += bytes,
                None => drop(counts.insert(tenant.clone(), bytes)),
            }
        }
    }

    /// Scans all operations that existed when it began.
    async fn walk(&self, engine: &Engine, store: &dyn Store) -> Result<(), StoreError> {
        let began = engine.clock().now();
        self.lock().since.clear();
        let (mut found, mut after): (HashMap<TenantId, u64>, _) = (HashMap::new(), None);
        loop {
            let page = store.scan(after, PAGE).await?;
            after = page.last().map(Operation::id);
            let is_last = page.len() < PAGE;
            for operation in page.iter().filter(|it| it.submission.created_at < began) {
                let count = found.entry(operation.submission.tenant.clone()).or_default();
                *count += stored_bytes(operation);
            }
            if is_last {
                break;
            }
        }
        let mut counts = self.lock();
        for (tenant, bytes) in &counts.since {
            *found.entry(tenant.clone()).or_default() += bytes;
        }
        counts.of = found;
        Ok(())
    }
}

/// An operation's approximate size in the store: its input, its result, and its record.
pub(super) fn stored_bytes(operation: &Operation) -> u64 {
    let payloads = [operation.submission.input.as_ref(), operation.result()];
    let payloads: u64 = payloads.into_iter().flatten().map(|payload| payload.size_bytes).sum();
    payloads + operation.size() as u64
}

impl Service {
    /// Scans until `stop`.
    pub async fn watch_usage(self, store: Arc<dyn Store>, stop: CancellationToken) {
        let Self { engine, usage, .. } = self;
        let count = async {
            loop {
                let mut took = Duration::ZERO;
                if engine.limits().has_any(LimitName::StoredBytes) {
                    let began = Instant::now();
                    if let Err(error) = usage.walk(&engine, &*store).await {
                        tracing::debug!(%error, "what is stored cannot be counted");
                    }
                    took = began.elapsed();
                }
                tokio::time::sleep(PAUSE.max(took * SHARE)).await;
            }
        };
        stop.run_until_cancelled(count).await;
    }

    /// The tenant's stored bytes, approximately.
    pub(super) fn stored(&self, tenant: &TenantId) -> u64 {
        self.usage.lock().of.get(tenant).copied().unwrap_or_default()
    }

    /// Refuses more than the tenant may store.
    pub(super) fn has_storage(&self, tenant: &TenantId, more: u64) -> Result<(), ServiceError> {
        let name = LimitName::StoredBytes;
        let Some(most) = self.engine.limits().get(name, tenant, None) else { return Ok(()) };
        if self.stored(tenant).saturating_add(more) <= most {
            return Ok(());
        }
        let limited = EngineError::Limited { tenant: tenant.clone(), kind: None, name, most };
        let limited = self.engine.refused(limited);
        Err(ServiceError { retry_after: Some(PAUSE), ..limited.into() })
    }
}
