//! Limits of tenants: those that operators set while servers run, which replace those of the configuration file.
//!
//! Limits that operators set are in the store (`catalogue`), so that all replicas know them within a second. Each
//! replica has its own configuration file.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::{Action, Caller, Reason, Service, ServiceError, Violations, audit};
use crate::catalogue::{Catalogue, Change, Entry, Snapshot, Space};
use crate::engine::{Engine, EngineError};
use crate::operation::limits::{Limit, LimitName, LimitTable};
use crate::operation::{Kind, TenantId, Timestamp};
use crate::store::StoreError;

/// A stored limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
struct SetLimit {
    limit: Limit,
    most: u64,
    set_at: Timestamp,
    /// The subject that set it; may be empty.
    set_by: String,
}

impl Entry for SetLimit {
    const SPACE: &'static str = "limits";
}

/// A limit in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitRecord {
    /// The limit.
    pub limit: Limit,
    /// The value in force.
    pub most: u64,
    /// The value in this replica's configuration file.
    pub configured: Option<u64>,
    /// When an operator set it, and the operator's subject.
    pub set: Option<(Timestamp, String)>,
}

/// All limits. Cheap to clone.
#[derive(Clone)]
pub struct TenantLimits(Arc<Inner>);

struct Inner {
    configured: LimitTable,
    space: Arc<Space<SetLimit>>,
    /// Held while a table is passed to the engine, so that the latest one is passed last.
    turn: Mutex<()>,
}

impl TenantLimits {
    /// Reads the limits of the store.
    pub async fn open(
        catalogue: &mut Catalogue,
        configured: LimitTable,
    ) -> Result<Self, StoreError> {
        let (space, turn) = (catalogue.open().await?, Mutex::default());
        Ok(Self(Arc::new(Inner { configured, space, turn })))
    }

    /// The limits in force.
    pub fn table(&self) -> LimitTable {
        self.over_configured(&self.0.space.snapshot())
    }

    /// Passes limits that other replicas have set to the engine, until `stop`.
    pub async fn run(self, engine: Engine, stop: CancellationToken) {
        let mut changes = self.0.space.subscribe();
        let follow = async {
            // This fails when the engine, and with it the server, has ended.
            while self.apply(&engine).await.is_ok() && changes.changed().await.is_ok() {}
        };
        stop.run_until_cancelled(follow).await;
    }

    async fn apply(&self, engine: &Engine) -> Result<(), EngineError> {
        let _turn = self.0.turn.lock().await;
        let table = self.table();
        if *engine.limits() == table {
            return Ok(());
        }
        engine.set_limits(Arc::new(table)).await
    }

    fn over_configured(&self, set: &Snapshot<SetLimit>) -> LimitTable {
        let set = set.iter().map(|(_, set)| (set.limit.clone(), set.most));
        self.0.configured.clone().with(set)
    }

    fn record(&self, limit: &Limit, set: Option<&SetLimit>) -> Option<LimitRecord> {
        let configured = self.0.configured.of(limit);
        Some(LimitRecord {
            limit: limit.clone(),
            most: set.map(|set| set.most).or(configured)?,
            configured,
            set: set.map(|set| (set.set_at, set.set_by.clone())),
        })
    }
}

impl std::fmt::Debug for TenantLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TenantLimits")
    }
}

impl Service {
    pub(super) fn tenant_limits(&self) -> Result<&TenantLimits, ServiceError> {
        self.tenant_limits.as_ref().ok_or_else(|| {
            ServiceError::new(
                Reason::Unsupported,
                "this server was set up without limits of tenants",
            )
        })
    }

    /// All limits, in order; for one tenant, its own limits and those for all tenants.
    pub fn list_limits(
        &self,
        caller: &Caller,
        tenant: Option<&TenantId>,
    ) -> Result<Vec<LimitRecord>, ServiceError> {
        caller.may(Action::Operate)?;
        let limits = self.tenant_limits()?;
        let snapshot = limits.0.space.snapshot();
        let set: BTreeMap<&Limit, &SetLimit> =
            snapshot.iter().map(|(_, set)| (&set.limit, &**set)).collect();
        let is_wanted = |limit: &Limit| {
            tenant.is_none() || limit.tenant.is_none() || limit.tenant.as_ref() == tenant
        };
        let table = limits.over_configured(&snapshot);
        let wanted = table.iter().map(|(limit, _)| limit).filter(|limit| is_wanted(limit));
        Ok(wanted.filter_map(|limit| limits.record(limit, set.get(limit).copied())).collect())
    }

    /// Sets a limit, for all replicas.
    pub async fn set_limit(
        &self,
        caller: &Caller,
        limit: Limit,
        most: u64,
    ) -> Result<LimitRecord, ServiceError> {
        caller.may(Action::Operate)?;
        self.put_limit(caller, limit, most).await
    }

    pub(super) async fn put_limit(
        &self,
        caller: &Caller,
        limit: Limit,
        most: u64,
    ) -> Result<LimitRecord, ServiceError> {
        let limits = self.tenant_limits()?;
        if let Err(broken) = limit.check(most) {
            let mut found = Violations::default();
            broken.into_iter().for_each(|(field, rule)| found.note(field, rule));
            return Err(found.refusal());
        }
        let set_by = caller.subject().unwrap_or_default().to_owned();
        let set = SetLimit { limit, most, set_at: self.now(), set_by };
        let key = set.limit.key();
        let changed = limits.0.space.change::<_, ServiceError>(|before| {
            let table = limits.over_configured(before);
            if table.len() >= LimitTable::MOST && table.of(&set.limit).is_none() {
                let message = format!(
                    "there are {} limits, the most that may be set: unset one first",
                    LimitTable::MOST
                );
                return Err(ServiceError::new(Reason::ResourceExhausted, message));
            }
            Ok((Change::put(&key, set.clone()), ()))
        });
        changed.await?;
        limits.apply(&self.engine).await?;
        audit::changed(caller.actor(), "set-limit", &format!("{key} {most}"));
        let SetLimit { limit, set_at, set_by, .. } = set;
        let configured = limits.0.configured.of(&limit);
        Ok(LimitRecord { limit, most, configured, set: Some((set_at, set_by)) })
    }

    /// Deletes a limit that was set, and returns the value that is in force instead.
    pub async fn delete_limit(
        &self,
        caller: &Caller,
        limit: &Limit,
    ) -> Result<Option<LimitRecord>, ServiceError> {
        caller.may(Action::Operate)?;
        self.drop_limit(caller, limit).await
    }

    pub(super) async fn drop_limit(
        &self,
        caller: &Caller,
        limit: &Limit,
    ) -> Result<Option<LimitRecord>, ServiceError> {
        let limits = self.tenant_limits()?;
        let key = limit.key();
        let changed = limits.0.space.change::<_, ServiceError>(|before| match before.get(&key) {
            Some(_) => Ok((Change::delete(&key), ())),
            None => {
                let message = match limits.0.configured.of(limit) {
                    Some(_) => "the limit is in the configuration file, and cannot be deleted: set another value instead",
                    None => "no such limit is set",
                };
                Err(ServiceError::new(Reason::LimitNotFound, message))
            }
        });
        changed.await?;
        limits.apply(&self.engine).await?;
        audit::changed(caller.actor(), "delete-limit", &key);
        Ok(limits.record(limit, None))
    }
}

/// The stored JSON. Times are in microseconds.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    most: u64,
    set_at: i64,
    #[serde(default)]
    set_by: String,
}

impl From<SetLimit> for Stored {
    fn from(set: SetLimit) -> Self {
        let Limit { name, tenant, kind, label } = set.limit;
        Self {
            what: name.as_str().to_owned(),
            tenant: tenant.map(|tenant| tenant.to_string()),
            kind: kind.map(|kind| kind.to_string()),
            label,
            most: set.most,
            set_at: set.set_at.micros(),
            set_by: set.set_by,
        }
    }
}

impl TryFrom<Stored> for SetLimit {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        let tenant = stored.tenant.map(|name| TenantId::parse(&name)).transpose();
        let kind = stored.kind.map(|name| Kind::parse(&name)).transpose();
        let limit = Limit {
            name: LimitName::read(&stored.what)?,
            tenant: tenant.map_err(|rule| format!("tenant {rule}"))?,
            kind: kind.map_err(|rule| format!("kind {rule}"))?,
            label: stored.label,
        };
        limit.check_as_text(stored.most)?;
        let set_at = Timestamp::from_micros(stored.set_at);
        Ok(Self { limit, most: stored.most, set_at, set_by: stored.set_by })
    }
}
