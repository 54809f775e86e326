//! Limits on running attempts across replicas: the claiming replica counts them while it holds the tenant's lock.
//!
//! The lock belongs to the claiming transaction, which ends with the commit that starts the claimed operations. So a
//! replica that counts sees all attempts that other replicas have started. No replica waits for the lock: while another
//! replica claims for a tenant, that tenant is left to it.

use std::collections::{BTreeSet, HashMap};

use tokio_postgres::Row;

use super::super::StoreError;
use super::super::shared::{Claimed, Wanted};
use super::step::Step;
use super::writer::Writer;
use crate::operation::limits::{Place, RunningLimit};
use crate::operation::{Kind, Operation, TenantId};

/// How many attempts run at each place, and which queues were not fully claimed.
#[derive(Debug, Default)]
pub(super) struct Running {
    taken: HashMap<Place, u64>,
    limits: HashMap<(TenantId, Kind), Vec<RunningLimit>>,
    /// Label values without a free place: tenant, kind or none, label, value.
    full: Vec<(String, String, String, String)>,
}

impl Running {
    /// Takes the locks and counts for the wanted queues with limits, and reduces what is wanted to the free places.
    /// Queues that may have more are noted in `claimed`.
    pub(super) async fn count(
        writer: &Writer,
        wanted: &mut Vec<Wanted>,
        claimed: &mut Claimed,
    ) -> Result<Self, StoreError> {
        let mut running = Self::default();
        let limited: Vec<Wanted> =
            wanted.iter().filter(|it| !it.limits.is_empty()).cloned().collect();
        if limited.is_empty() {
            return Ok(running);
        }
        let tenants: BTreeSet<&str> = limited.iter().map(|it| it.tenant.as_str()).collect();
        let tenants: Vec<&str> = tenants.into_iter().collect();
        let labels = limited.iter().flat_map(|it| &it.limits).filter_map(|it| it.label.as_deref());
        let labels: BTreeSet<&str> = labels.collect();
        let labels: Vec<&str> = labels.into_iter().collect();
        let steps = [lock(&tenants), of_kinds(&tenants), of_labels(&tenants, &labels)];
        let answers = writer.query(&steps).await?;
        let [locked, kinds, values] = answers.as_slice() else { return Ok(running) };
        let locked: Vec<&str> =
            locked.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        running.learn(kinds, values)?;
        for Wanted { tenant, kind, limits, .. } in &limited {
            running.limits.insert((tenant.clone(), kind.clone()), limits.clone());
        }
        wanted.retain_mut(|wanted| {
            if wanted.limits.is_empty() {
                return true;
            }
            let is_locked = locked.contains(&wanted.tenant.as_str());
            let room = if is_locked { running.room(wanted) } else { 0 };
            claimed.is_contended |= !is_locked;
            if room < wanted.limit as u64 {
                claimed.hold(wanted.tenant.clone(), wanted.kind.clone());
                wanted.limit = usize::try_from(room).unwrap_or(usize::MAX);
            }
            wanted.limit > 0
        });
        running.find_full();
        for (tenant, kind) in running.with_full() {
            claimed.hold(tenant, kind);
        }
        Ok(running)
    }

    fn learn(&mut self, kinds: &[Row], values: &[Row]) -> Result<(), StoreError> {
        let unreadable = |rule| StoreError::Corrupt(format!("a name in a row {rule}"));
        for (row, has_label) in
            kinds.iter().map(|it| (it, false)).chain(values.iter().map(|it| (it, true)))
        {
            let tenant = TenantId::parse(row.try_get(0)?).map_err(unreadable)?;
            let kind = Kind::parse(row.try_get(1)?).map_err(unreadable)?;
            let count = u64::try_from(row.try_get::<_, i64>(2)?).unwrap_or_default();
            let label = match has_label {
                true => Some((row.try_get(3)?, row.try_get(4)?)),
                false => None,
            };
            // Batches count only towards limits of their own.
            let all = (!kind.is_of_batches()).then_some(None);
            for kind in all.into_iter().chain([Some(kind)]) {
                let place = Place { tenant: tenant.clone(), kind, label: label.clone() };
                *self.taken.entry(place).or_default() += count;
            }
        }
        Ok(())
    }

    fn at(&self, place: &Place) -> u64 {
        self.taken.get(place).copied().unwrap_or_default()
    }

    /// How many operations of the queue may be claimed, whatever their labels.
    fn room(&self, wanted: &Wanted) -> u64 {
        let rooms = wanted.limits.iter().filter(|limit| limit.label.is_none()).map(|limit| {
            let kind = limit.of_kind.then(|| wanted.kind.clone());
            let place = Place { tenant: wanted.tenant.clone(), kind, label: None };
            limit.most.saturating_sub(self.at(&place))
        });
        rooms.min().unwrap_or(u64::MAX)
    }

    /// The label values that may not run more often in a queue.
    fn full_in(
        &self,
        tenant: &TenantId,
        kind: &Kind,
        limit: &RunningLimit,
    ) -> Vec<(String, String)> {
        let of_kind = limit.of_kind.then_some(kind);
        let full = self.taken.iter().filter(|(place, count)| {
            place.tenant == *tenant && place.kind.as_ref() == of_kind && **count >= limit.most
        });
        let labels = full.filter_map(|(place, _)| place.label.clone());
        labels.filter(|(key, _)| limit.label.as_ref() == Some(key)).collect()
    }

    fn find_full(&mut self) {
        let mut found = Vec::new();
        for ((tenant, kind), limits) in &self.limits {
            let labels = limits.iter().flat_map(|limit| self.full_in(tenant, kind, limit));
            found.extend(
                labels.map(|(key, value)| (tenant.to_string(), kind.to_string(), key, value)),
            );
        }
        found.sort_unstable();
        self.full = found;
    }

    /// The queues in which operations are skipped.
    fn with_full(&self) -> Vec<(TenantId, Kind)> {
        let has_full = |(tenant, kind): &&(TenantId, Kind)| {
            self.full.iter().any(|(t, k, ..)| t == tenant.as_str() && k == kind.as_str())
        };
        self.limits.keys().filter(has_full).cloned().collect()
    }

    /// Label values without a free place, whose operations are skipped.
    pub(super) fn full(&self) -> &[(String, String, String, String)] {
        &self.full
    }

    /// Takes the operation's places. Returns whether they were free.
    pub(super) fn take(&mut self, operation: &Operation, claimed: &mut Claimed) -> bool {
        let submission = &operation.submission;
        let key = (submission.tenant.clone(), submission.kind.clone());
        let Some(limits) = self.limits.get(&key) else { return true };
        let places = limits.iter().filter_map(|limit| Some((limit.place(submission)?, limit.most)));
        let places: Vec<(Place, u64)> = places.collect();
        if places.iter().any(|(place, most)| self.at(place) >= *most) {
            claimed.hold(key.0, key.1);
            return false;
        }
        for (place, _) in places {
            *self.taken.entry(place).or_default() += 1;
        }
        true
    }
}

fn lock<'a>(tenants: &[&'a str]) -> Step<'a> {
    Step::new(
        "SELECT t FROM unnest($1::text[]) AS t
         WHERE pg_try_advisory_xact_lock(hashtextextended('longrun running ' || t, 0))",
    )
    .with(tenants.to_vec())
}

fn of_kinds<'a>(tenants: &[&'a str]) -> Step<'a> {
    Step::new(
        "SELECT tenant, kind, count(*) FROM operations
         WHERE tenant = ANY($1) AND state IN (2, 3) AND revision > 0 GROUP BY tenant, kind",
    )
    .with(tenants.to_vec())
}

fn of_labels<'a>(tenants: &[&'a str], labels: &[&'a str]) -> Step<'a> {
    Step::new(
        "SELECT o.tenant, o.kind, count(*), l.key, l.value FROM operations AS o
         JOIN labels AS l ON l.id = o.id
         WHERE o.tenant = ANY($1) AND o.state IN (2, 3) AND o.revision > 0 AND l.key = ANY($2)
         GROUP BY o.tenant, o.kind, l.key, l.value",
    )
    .with(tenants.to_vec())
    .with(labels.to_vec())
}
