//! A tenant's limits, and how much of each is used.

use super::{Caller, Service};
use crate::operation::Kind;
use crate::operation::limits::{Limit, LimitName};

/// A limit of a tenant, and how much of it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitUse {
    /// The limit.
    pub limit: Limit,
    /// Its value.
    pub most: u64,
    /// How much of it is used, as far as this server knows; `None` if nothing adds up, as with the size of one payload,
    /// and for limits by the value of a label.
    pub used: Option<u64>,
}

impl Service {
    /// The limits of the caller's tenant, in order.
    pub(super) fn limits_in_use(&self, caller: &Caller) -> Vec<LimitUse> {
        let table = self.engine.limits();
        let of = table.of_tenant(&caller.tenant).map(|(limit, most)| LimitUse {
            limit: limit.clone(),
            most,
            used: self.used(caller, limit),
        });
        of.collect()
    }

    fn used(&self, caller: &Caller, limit: &Limit) -> Option<u64> {
        if limit.label.is_some() {
            return None;
        }
        let not_done = || self.engine.not_done(&caller.tenant, limit.kind.as_ref());
        match limit.name {
            LimitName::Outstanding => Some(not_done().0),
            LimitName::Running => {
                Some(not_done().1.saturating_sub(self.running_batches(caller, limit)))
            }
            name @ (LimitName::Watches | LimitName::Sessions | LimitName::Connections) => {
                Some(self.held(caller, name))
            }
            LimitName::StoredBytes => Some(self.stored(&caller.tenant)),
            LimitName::SubmissionsPerSecond
            | LimitName::PayloadBytes
            | LimitName::ResultBytes
            | LimitName::RetentionSeconds
            | LimitName::Weight
            | LimitName::Paused => None,
        }
    }

    /// The running batches among the operations of a limit of all kinds: no limit of running attempts counts them.
    fn running_batches(&self, caller: &Caller, limit: &Limit) -> u64 {
        match (&limit.kind, Kind::of_batches()) {
            (None, Ok(batches)) => self.engine.not_done(&caller.tenant, Some(&batches)).1,
            _ => 0,
        }
    }
}
