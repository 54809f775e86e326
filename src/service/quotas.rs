//! Limits of tenants on concurrency and rate. Each server counts for itself.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::operations::named;
use super::{Action, Caller, Service, ServiceError, Violations};
use crate::engine::{EngineError, Moment};
use crate::metrics::{self, Gauge};
use crate::operation::limits::{LimitName, LimitTable};
use crate::operation::{NewOperation, OperationId, TenantId};

/// The size of the bucket, in seconds of submissions.
pub const RATE_WINDOW: Duration = Duration::from_secs(10);

/// The counts. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Quotas(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    buckets: HashMap<TenantId, Bucket>,
    /// The present watches, sessions and connections of each tenant.
    held: HashMap<(LimitName, TenantId), u64>,
}

/// The submissions left of a tenant's rate. Negative if a large batch has used them in advance.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Moment,
}

/// A tenant's submissions compared with their limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Submissions in [`RATE_WINDOW`].
    pub quota: u64,
    /// The submissions that are allowed at once.
    pub remaining: u64,
    /// When the full quota is available again.
    pub reset: Duration,
}

/// One counted watch, session or connection; dropping it ends the count.
#[derive(Debug)]
pub(super) struct Held {
    quotas: Quotas,
    of: (LimitName, TenantId),
}

/// An open watch.
#[derive(Debug)]
pub(super) struct Watching {
    _held: Held,
    _counted: metrics::Held,
}

/// The tenants that use a connection.
#[derive(Debug, Default)]
pub struct ConnectionTenants(Mutex<Vec<Held>>);

impl Quotas {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.quotas.lock().held.entry(self.of.clone()) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

impl Bucket {
    fn filled(self, per_second: f64, now: Moment) -> Self {
        let came = now.since(self.at).as_secs_f64() * per_second;
        Self { left: (self.left + came).min(quota(per_second)), at: now }
    }
}

fn quota(per_second: f64) -> f64 {
    per_second * RATE_WINDOW.as_secs_f64()
}

impl Service {
    /// Replaces this server's limits.
    pub async fn set_limits(
        &self,
        caller: &Caller,
        limits: LimitTable,
    ) -> Result<(), ServiceError> {
        caller.may(Action::Operate)?;
        Ok(self.engine.set_limits(Arc::new(limits)).await?)
    }

    /// Counts submissions of the caller's tenant, or refuses them until the rate allows them. More than the full quota
    /// is accepted when none of it is used; later submissions then wait that much longer.
    pub(super) fn spend(&self, caller: &Caller, count: usize) -> Result<(), ServiceError> {
        let name = LimitName::SubmissionsPerSecond;
        let tenant = &caller.tenant;
        let Some(most) = self.engine.limits().get(name, tenant, None) else { return Ok(()) };
        let (per_second, count) = (most as f64, count as f64);
        let now = self.engine.clock().moment();
        let mut counts = self.quotas.lock();
        // A full bucket is the same as a new one.
        let is_whole = |bucket: &Bucket| now.since(bucket.at) > 2 * RATE_WINDOW;
        if counts.buckets.len() > 1_024 {
            counts.buckets.retain(|_, bucket| bucket.left < 0.0 || !is_whole(bucket));
        }
        let whole = Bucket { left: quota(per_second), at: now };
        let bucket = counts.buckets.entry(tenant.clone()).or_insert(whole);
        *bucket = bucket.filled(per_second, now);
        let needed = count.min(quota(per_second));
        if bucket.left >= needed && most > 0 {
            bucket.left -= count;
            return Ok(());
        }
        let seconds = (needed - bucket.left) / per_second;
        let wait = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(3_600));
        let limited = EngineError::Limited { tenant: tenant.clone(), kind: None, name, most };
        let limited = self.engine.refused(limited);
        Err(ServiceError { retry_after: Some(wait), ..limited.into() })
    }

    /// The caller's submissions compared with their limit, if there is one.
    pub fn rate(&self, caller: &Caller) -> Option<Rate> {
        let name = LimitName::SubmissionsPerSecond;
        let most = self.engine.limits().get(name, &caller.tenant, None)?;
        let per_second = most as f64;
        let now = self.engine.clock().moment();
        let bucket = self.quotas.lock().buckets.get(&caller.tenant).copied();
        let left = bucket.map_or_else(|| quota(per_second), |it| it.filled(per_second, now).left);
        let missing = (quota(per_second) - left) / per_second;
        Some(Rate {
            quota: quota(per_second) as u64,
            remaining: left.max(0.0) as u64,
            reset: Duration::try_from_secs_f64(missing).unwrap_or_default(),
        })
    }

    /// Counts a watch or a wait of the caller's tenant, also in the gauge, until the returned value is dropped. Holders
    /// of shares get at most half of the tenant's watches, so that a leaked URL leaves watches for the tenant itself.
    pub(super) fn begin_watch(
        &self,
        caller: &Caller,
        gauge: &Arc<Gauge>,
    ) -> Result<Watching, ServiceError> {
        let held = self.count_one(LimitName::Watches, &caller.tenant, caller.is_of_share())?;
        Ok(Watching { _held: held, _counted: gauge.hold() })
    }

    /// Counts a connection as the tenant's, from the tenant's first request over it to its end. If the tenant has its
    /// maximum number of connections, its requests over this one are refused.
    pub fn connect(
        &self,
        tenant: &TenantId,
        connection: &ConnectionTenants,
    ) -> Result<(), ServiceError> {
        let mut tenants = connection.0.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.iter().all(|held| held.of.1 != *tenant) {
            tenants.push(self.count_one(LimitName::Connections, tenant, false)?);
        }
        Ok(())
    }

    fn count_one(
        &self,
        name: LimitName,
        tenant: &TenantId,
        leaves_half: bool,
    ) -> Result<Held, ServiceError> {
        let most = self.engine.limits().get(name, tenant, None);
        let most = most.map(|most| if leaves_half { most.div_ceil(2) } else { most });
        let of = (name, tenant.clone());
        let mut counts = self.quotas.lock();
        let count = counts.held.entry(of.clone()).or_default();
        if let Some(most) = most.filter(|most| *count >= *most) {
            if *count == 0 {
                counts.held.remove(&of);
            }
            let tenant = of.1;
            let limited = EngineError::Limited { tenant, kind: None, name, most };
            return Err(self.engine.refused(limited).into());
        }
        *count += 1;
        Ok(Held { quotas: self.quotas.clone(), of })
    }

    /// The number of the caller's tenant's present watches, sessions or connections, whichever the limit counts.
    pub(super) fn held(&self, caller: &Caller, name: LimitName) -> u64 {
        let of = (name, caller.tenant.clone());
        self.quotas.lock().held.get(&of).copied().unwrap_or_default()
    }

    /// The largest payload of the caller's tenant, of any kind, in bytes.
    pub fn payload_limit(&self, caller: &Caller) -> usize {
        let most = self.engine.limits().get(LimitName::PayloadBytes, &caller.tenant, None);
        let most = most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        most.min(self.limits.max_payload_bytes)
    }

    /// The submission within its tenant's limits: with a shorter retention if need be. Refused if its input is too
    /// large, or more than the tenant may store.
    pub(super) fn within_limits(
        &self,
        caller: &Caller,
        mut new: NewOperation,
        field: &str,
    ) -> Result<NewOperation, ServiceError> {
        let limits = self.engine.limits();
        let of_kind = limits.least(LimitName::PayloadBytes, &caller.tenant, &new.kind);
        let limit = (self.limits.max_payload_bytes as u64).min(of_kind.unwrap_or(u64::MAX));
        let size = new.input.as_ref().map_or(0, |input| input.info.size_bytes);
        // A batch's input is made by the server from its rule.
        if size > limit && !new.kind.is_of_batches() {
            let rule = format!("must be at most {limit} bytes, and is {size}");
            let mut found = Violations::default();
            found.too_large(field, rule);
            return Err(found.refusal());
        }
        self.has_storage(&caller.tenant, size)?;
        if let Some(most) = limits.retention(&caller.tenant) {
            new.settings.retention = new.settings.retention.min(most);
        }
        Ok(new)
    }

    /// Refuses a result that is larger than its tenant's limit for the kind.
    pub(super) async fn check_result(
        &self,
        caller: &Caller,
        id: OperationId,
        size: u64,
    ) -> Result<(), ServiceError> {
        let limits = self.engine.limits();
        if !limits.has_any(LimitName::ResultBytes) {
            return Ok(());
        }
        let found = self.engine.get(caller.scope(), id).await.map_err(|error| named(error, id))?;
        let (tenant, kind) = (&found.submission.tenant, &found.submission.kind);
        match limits.least(LimitName::ResultBytes, tenant, kind) {
            Some(most) if size > most && !kind.is_of_batches() => {
                let mut found = Violations::default();
                let rule = format!("must be at most {most} bytes for {kind}, and is {size}");
                found.too_large("result", rule);
                Err(found.refusal())
            }
            _ => Ok(()),
        }
    }
}
