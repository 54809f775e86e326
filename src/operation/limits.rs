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

    /// Parses a limit's name, with hyphens or underscores.
    pub fn read(text: &str) -> Result<Self, String> {
        let all = || Self::ALL.map(Self::as_str).join(", ");
        Self::parse(&text.replace('_', "-")).ok_or_else(|| format!("must be one of {}", all()))
    }
}

impl Limit {
    /// Refuses a limit that makes no sense; returns the wrong field and the reason.
    pub fn check(&self, most: u64) -> Result<(), (&'static str, String)> {
        let Self { name, kind, label, .. } = self;
        if kind.is_some() && !name.may_be_of_kind() {
            return Err(("kind", format!("{name} has no kind")));
        }
        if label.is_some() && *name != LimitName::Running {
            return Err(("label", format!("{name} has no label")));
        }
        if let Some(label) = label {
            valid_label_key(label).map_err(|rule| ("label", format!("the label {rule}")))?;
        }
        if *name == LimitName::Paused && kind.is_none() {
            return Err(("kind", "paused must have a kind".to_owned()));
        }
        if *name == LimitName::Paused && most > 1 {
            return Err((
                "most",
                "paused must be 1, or 0 to exempt a tenant from a pause of all".to_owned(),
            ));
        }
        if *name == LimitName::Weight && !(1..=1_000).contains(&most) {
            return Err(("most", "a weight must be from 1 to 1000".to_owned()));
        }
        Ok(())
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
            limit.check(most).map_err(|(_, rule)| rule)?;
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
mod tests {
    use super::*;

    fn limit(name: LimitName, tenant: &str, kind: &str, label: &str) -> Limit {
        Limit {
            name,
            tenant: TenantId::parse(tenant).ok(),
            kind: Kind::parse(kind).ok(),
            label: (!label.is_empty()).then(|| label.to_owned()),
        }
    }

    #[test]
    fn a_tenants_own_limit_takes_the_place_of_that_for_all() {
        use LimitName::{Outstanding, Running};
        let table = LimitTable::new([
            (limit(Outstanding, "", "", ""), 100),
            (limit(Outstanding, "a", "", ""), 5),
            (limit(Outstanding, "a", "k", ""), 3),
            (limit(Running, "", "", ""), 10),
            (limit(Running, "a", "", ""), 20),
            (limit(Running, "", "k", ""), 2),
            (limit(Running, "", "", "customer"), 1),
        ]);
        let table = table.expect("a table");
        let (a, b) = (TenantId::parse("a").expect("a"), TenantId::parse("b").expect("b"));
        let k = Kind::parse("k").expect("k");
        assert_eq!(table.get(Outstanding, &a, None), Some(5));
        assert_eq!(table.get(Outstanding, &a, Some(&k)), Some(3));
        assert_eq!(table.get(Outstanding, &b, None), Some(100));
        assert_eq!(table.get(Outstanding, &b, Some(&k)), None);
        let most = |tenant| {
            let of = table.running(tenant, &k).into_iter();
            of.map(|it| (it.of_kind, it.label.is_some(), it.most)).collect::<Vec<_>>()
        };
        assert_eq!(most(&a), [(false, false, 20), (false, true, 1), (true, false, 2)]);
        assert_eq!(most(&b), [(false, false, 10), (false, true, 1), (true, false, 2)]);
    }

    #[test]
    fn batches_take_no_places_but_can_be_paused() {
        use LimitName::{Paused, Running};
        let (a, batches) = (TenantId::parse("a").expect("a"), Kind::of_batches().expect("a kind"));
        let table = LimitTable::new([(limit(Running, "", "", ""), 1)]).expect("a table");
        assert_eq!(table.running(&a, &batches), []);
        let table = table.with([(limit(Paused, "", batches.as_str(), ""), 1)]);
        assert_eq!(table.running(&a, &batches).len(), 1);
    }

    #[test]
    fn a_paused_kind_has_no_places_and_keeps_its_limit() {
        use LimitName::{Paused, Running};
        let (a, b) = (TenantId::parse("a").expect("a"), TenantId::parse("b").expect("b"));
        let k = Kind::parse("k").expect("k");
        let limits = [(limit(Running, "a", "k", ""), 5), (limit(Paused, "", "k", ""), 1)];
        let table = LimitTable::new(limits).expect("a table");
        let most = |table: &LimitTable, tenant| -> Vec<u64> {
            table.running(tenant, &k).into_iter().map(|it| it.most).collect()
        };
        assert_eq!((most(&table, &a), most(&table, &b)), (vec![0], vec![0]));
        let table = table.with([(limit(Paused, "a", "k", ""), 0)]);
        assert_eq!((most(&table, &a), most(&table, &b)), (vec![5], vec![0]));
        assert_eq!((table.paused(&a).count(), table.paused(&b).count()), (0, 1));
    }

    #[test]
    fn a_limit_that_makes_no_sense_is_refused_by_its_rule() {
        use LimitName::{Outstanding, Paused, Running, Sessions, Weight};
        let refused = |limit, most| LimitTable::new([(limit, most)]).expect_err("refused");
        assert_eq!(refused(limit(Sessions, "", "k", ""), 1), "sessions has no kind");
        assert_eq!(refused(limit(Outstanding, "", "", "l"), 1), "outstanding has no label");
        assert_eq!(refused(limit(Weight, "a", "", ""), 0), "a weight must be from 1 to 1000");
        assert_eq!(refused(limit(Paused, "a", "", ""), 1), "paused must have a kind");
        assert!(refused(limit(Running, "", "", "!"), 1).starts_with("the label "));
    }
}
