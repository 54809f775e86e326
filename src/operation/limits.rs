//! Limits of tenants by name, for all tenants or one, for all kinds together or one.
//!
//! A limit of one tenant replaces the limit for all tenants. A limit of one kind is added to that of all kinds
//! together: both hold.

use std::collections::BTreeMap;
use std::time::Duration;

use super::closed_set::closed_set;
use super::id::valid_label_key;
use super::{Kind, Submission, TenantId};

closed_set! {
    /// A limited quantity.
    pub enum LimitName {
        /// Operations that are not done; for all kinds together, or for one.
        Outstanding = 1 "outstanding",
        /// Running attempts; for all kinds together or for one, and for all operations or for each value of a label.
        Running = 2 "running",
        /// Submissions per second, with bursts of ten seconds' worth. Each server counts its own.
        SubmissionsPerSecond = 3 "submissions-per-second",
        /// Concurrent watches and waits. Each server counts its own.
        Watches = 4 "watches",
        /// Concurrent worker sessions. Each server counts its own.
        Sessions = 5 "sessions",
        /// The size of an input in bytes; for any kind, or for one.
        PayloadBytes = 6 "payload-bytes",
        /// The longest retention of done operations, in seconds.
        RetentionSeconds = 7 "retention-seconds",
        /// The tenant's turns for each turn of a tenant with weight 1, from 1 to 1,000: not a limit but a share.
        Weight = 8 "weight",
        /// The size of a result in bytes; for any kind, or for one.
        ResultBytes = 9 "result-bytes",
        /// Stored bytes, roughly. Each server counts by itself, now and then.
        StoredBytes = 10 "stored-bytes",
        /// Concurrent connections. Each server counts its own.
        Connections = 11 "connections",
        /// For one kind: 1 means that none of its operations start. 0 exempts a tenant from a pause for all tenants.
        Paused = 12 "paused",
    }
}

/// A limit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Limit {
    /// The limited quantity.
    pub name: LimitName,
    /// The tenant; `None`: each tenant without such a limit of its own.
    pub tenant: Option<TenantId>,
    /// The kind; `None`: all kinds together.
    pub kind: Option<Kind>,
    /// The label whose values are counted separately; `None`: all operations are counted together.
    pub label: Option<String>,
}

impl LimitName {
    /// Whether the limit can be for one kind.
    const fn may_be_of_kind(self) -> bool {
        matches!(
            self,
            Self::Outstanding
                | Self::Running
                | Self::PayloadBytes
                | Self::ResultBytes
                | Self::Paused
        )
    }

    /// The wrong fields of a limit with this name, each with the rule that it breaks.
    pub fn broken(
        self,
        has_kind: bool,
        label: Option<&str>,
        most: u64,
    ) -> Vec<(&'static str, String)> {
        let mut broken = Vec::new();
        if has_kind && !self.may_be_of_kind() {
            broken.push(("kind", format!("must be empty, because {self} has no kind")));
        }
        if self == Self::Paused && !has_kind {
            broken.push(("kind", "must be set for paused".to_owned()));
        }
        match label.map(valid_label_key) {
            Some(_) if self != Self::Running => {
                let rule = "must be empty, because only running has a label";
                broken.push(("label", rule.to_owned()));
            }
            Some(Err(rule)) => broken.push(("label", rule.to_string())),
            Some(Ok(())) | None => {}
        }
        if self == Self::Paused && most > 1 {
            let rule = "must be 1, or 0 to exempt a tenant from a pause of all";
            broken.push(("most", rule.to_owned()));
        }
        if self == Self::Weight && !(1..=1_000).contains(&most) {
            broken.push(("most", "must be from 1 to 1000".to_owned()));
        }
        broken
    }

    /// Parses a limit's name, with hyphens or underscores.
    pub fn read(text: &str) -> Result<Self, String> {
        let all = || Self::ALL.map(Self::as_str).join(", ");
        Self::parse(&text.replace('_', "-")).ok_or_else(|| format!("must be one of {}", all()))
    }
}

impl Limit {
    /// Refuses a limit that makes no sense; returns the wrong fields, each with the rule that it breaks.
    pub fn check(&self, most: u64) -> Result<(), Vec<(&'static str, String)>> {
        let broken = self.name.broken(self.kind.is_some(), self.label.as_deref(), most);
        if broken.is_empty() { Ok(()) } else { Err(broken) }
    }

    /// The same as one text, in the words of a file, where the limit's name is the field of its value.
    pub fn check_as_text(&self, most: u64) -> Result<(), String> {
        self.check(most).map_err(|broken| {
            let texts = broken.into_iter().map(|(field, rule)| match field {
                "most" => format!("{} {rule}", self.name),
                field => format!("{field} {rule}"),
            });
            texts.collect::<Vec<_>>().join("; ")
        })
    }

    /// A unique key of the limit: `running/acme/-/customer`.
    pub fn key(&self) -> String {
        let Self { name, tenant, kind, label } = self;
        let tenant = tenant.as_ref().map_or("-", TenantId::as_str);
        let kind = kind.as_ref().map_or("-", Kind::as_str);
        format!("{name}/{tenant}/{kind}/{}", label.as_deref().unwrap_or("-"))
    }
}

/// All limits; at most 1,000.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitTable(BTreeMap<Limit, u64>);

/// The running attempts that one limit counts together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The tenant.
    pub tenant: TenantId,
    /// The kind; `None`: all kinds.
    pub kind: Option<Kind>,
    /// The label and its value; `None`: all operations.
    pub label: Option<(String, String)>,
}

/// A limit on running attempts for one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningLimit {
    /// Whether it counts only the queue's kind.
    pub of_kind: bool,
    /// The label whose values are counted separately.
    pub label: Option<String>,
    /// The limit's value.
    pub most: u64,
}

impl LimitTable {
    /// The maximum number of limits.
    pub const MOST: usize = 1_000;

    /// A table of these limits. The error names the first limit that breaks a rule.
    pub fn new(limits: impl IntoIterator<Item = (Limit, u64)>) -> Result<Self, String> {
        let mut table = BTreeMap::new();
        for (limit, most) in limits {
            limit.check_as_text(most)?;
            table.insert(limit, most);
            if table.len() > Self::MOST {
                return Err(format!("there are more than {} limits", Self::MOST));
            }
        }
        Ok(Self(table))
    }

    /// Adds these limits; they replace those with the same name, tenant, kind and label.
    #[must_use]
    pub fn with(mut self, limits: impl IntoIterator<Item = (Limit, u64)>) -> Self {
        self.0.extend(limits);
        self
    }

    /// The number of limits.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no limits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of exactly this limit.
    pub fn of(&self, limit: &Limit) -> Option<u64> {
        self.0.get(limit).copied()
    }

    /// All limits, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Limit, u64)> {
        self.0.iter().map(|(limit, most)| (limit, *most))
    }

    /// The limits that hold for the tenant: its own, and those for all tenants that none of its own replaces.
    pub fn of_tenant(&self, tenant: &TenantId) -> impl Iterator<Item = (&Limit, u64)> {
        self.iter().filter(move |(limit, _)| match &limit.tenant {
            Some(of) => of == tenant,
            None => {
                let own = Limit { tenant: Some(tenant.clone()), ..(*limit).clone() };
                !self.0.contains_key(&own)
            }
        })
    }

    /// The tenant's limit of that name, for all kinds together or for one.
    pub fn get(&self, name: LimitName, tenant: &TenantId, kind: Option<&Kind>) -> Option<u64> {
        let limit = |tenant| Limit { name, tenant, kind: kind.cloned(), label: None };
        let own = self.0.get(&limit(Some(tenant.clone())));
        own.or_else(|| self.0.get(&limit(None))).copied()
    }

    /// The least of the tenant's limits of that name for all kinds together and for this one.
    pub fn least(&self, name: LimitName, tenant: &TenantId, kind: &Kind) -> Option<u64> {
        let of = [self.get(name, tenant, None), self.get(name, tenant, Some(kind))];
        of.into_iter().flatten().min()
    }

    /// Whether the kind is paused for the tenant.
    pub fn is_paused(&self, tenant: &TenantId, kind: &Kind) -> bool {
        self.get(LimitName::Paused, tenant, Some(kind)).is_some_and(|most| most > 0)
    }

    /// The kinds that are paused for the tenant.
    pub fn paused(&self, tenant: &TenantId) -> impl Iterator<Item = &Kind> {
        let of = self.0.keys().filter(move |limit| {
            limit.name == LimitName::Paused && limit.tenant.as_ref().is_none_or(|it| it == tenant)
        });
        of.filter_map(|limit| limit.kind.as_ref()).filter(|kind| self.is_paused(tenant, kind))
    }

    /// Whether any tenant has a limit of that name.
    pub fn has_any(&self, name: LimitName) -> bool {
        self.0.keys().any(|limit| limit.name == name)
    }

    /// The longest allowed retention of the tenant's done operations.
    pub fn retention(&self, tenant: &TenantId) -> Option<Duration> {
        self.get(LimitName::RetentionSeconds, tenant, None).map(Duration::from_secs)
    }

    /// The weights of the tenants that have one.
    pub fn weights(&self) -> impl Iterator<Item = (TenantId, u64)> {
        let of = self.0.iter().filter(|(limit, _)| limit.name == LimitName::Weight);
        of.filter_map(|(limit, weight)| Some((limit.tenant.clone()?, *weight)))
    }

    /// The limits on running attempts that apply to a queue. A paused kind has a limit of 0. Batches are only affected
    /// by a pause: they run as long as their children, which need the places.
    pub fn running(&self, tenant: &TenantId, kind: &Kind) -> Vec<RunningLimit> {
        let mut found = BTreeMap::new();
        // The limits for all tenants first, so that the tenant's own replace them.
        let tenants = [None, Some(tenant)].into_iter().filter(|_| !kind.is_of_batches());
        for tenant in tenants {
            let first = Limit {
                name: LimitName::Running,
                tenant: tenant.cloned(),
                kind: None,
                label: None,
            };
            let of = self.0.range(&first..).take_while(|(limit, _)| {
                limit.name == LimitName::Running && limit.tenant.as_ref() == tenant
            });
            for (limit, most) in of {
                if limit.kind.as_ref().is_none_or(|of| of == kind) {
                    found.insert((limit.kind.is_some(), limit.label.as_ref()), *most);
                }
            }
        }
        if self.is_paused(tenant, kind) {
            found.insert((true, None), 0);
        }
        let limit = |((of_kind, label), most): ((bool, Option<&String>), u64)| RunningLimit {
            of_kind,
            label: label.cloned(),
            most,
        };
        found.into_iter().map(limit).collect()
    }
}

impl RunningLimit {
    /// The place where the submission counts for this limit, if it does.
    pub fn place(&self, submission: &Submission) -> Option<Place> {
        let label = match &self.label {
            None => None,
            Some(key) => Some((key.clone(), submission.labels.get(key)?.clone())),
        };
        let kind = self.of_kind.then(|| submission.kind.clone());
        Some(Place { tenant: submission.tenant.clone(), kind, label })
    }
}

#[cfg(test)]
mod tests;
