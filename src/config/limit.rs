//! Limits of tenants, from the configuration file: `[[limit]]` tables.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use crate::dialect::FileError;
use crate::operation::limits::{Limit, LimitName, LimitTable};
use crate::operation::{Kind, TenantId};

/// Limits of one tenant, or of all tenants without their own; for all kinds together, or for one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    tenant: Option<String>,
    kind: Option<String>,
    outstanding: Option<u64>,
    running: Option<u64>,
    /// Limits for operations with the same value of a label.
    #[serde(default)]
    running_per_label: BTreeMap<String, u64>,
    submissions_per_second: Option<u64>,
    watches: Option<u64>,
    sessions: Option<u64>,
    payload_bytes: Option<u64>,
    result_bytes: Option<u64>,
    stored_bytes: Option<u64>,
    connections: Option<u64>,
    retention_seconds: Option<u64>,
    weight: Option<u64>,
}

impl Table {
    fn limits(self) -> Result<Vec<(Limit, u64)>, String> {
        let tenant = self.tenant.map(|name| TenantId::parse(&name)).transpose();
        let tenant = tenant.map_err(|rule| format!("tenant: {rule}"))?;
        let kind = self.kind.map(|name| Kind::parse(&name)).transpose();
        let kind = kind.map_err(|rule| format!("kind: {rule}"))?;
        let limit = |name, label| Limit { name, tenant: tenant.clone(), kind: kind.clone(), label };
        let whole = [
            (LimitName::Outstanding, self.outstanding),
            (LimitName::Running, self.running),
            (LimitName::SubmissionsPerSecond, self.submissions_per_second),
            (LimitName::Watches, self.watches),
            (LimitName::Sessions, self.sessions),
            (LimitName::PayloadBytes, self.payload_bytes),
            (LimitName::ResultBytes, self.result_bytes),
            (LimitName::StoredBytes, self.stored_bytes),
            (LimitName::Connections, self.connections),
            (LimitName::RetentionSeconds, self.retention_seconds),
            (LimitName::Weight, self.weight),
        ];
        let whole = whole.into_iter().filter_map(|(name, most)| Some((limit(name, None), most?)));
        let labelled = self.running_per_label.into_iter();
        let labelled = labelled.map(|(label, most)| (limit(LimitName::Running, Some(label)), most));
        let limits: Vec<_> = whole.chain(labelled).collect();
        // Each limit is checked by its own rules.
        LimitTable::new(limits.clone()).map(|_| limits)
    }
}

/// The limits of all tables. Each may be given only once.
pub(super) fn table(text: &str, tables: Vec<Spanned<Table>>) -> Result<LimitTable, FileError> {
    let mut all: BTreeMap<Limit, u64> = BTreeMap::new();
    for spanned in tables {
        let at = spanned.span().start;
        let wrong = |reason| FileError::at(text, at, reason);
        for (limit, most) in spanned.into_inner().limits().map_err(wrong)? {
            let name = limit.name;
            if all.insert(limit, most).is_some() {
                return Err(FileError::at(text, at, format!("{name} is given twice")));
            }
        }
    }
    LimitTable::new(all).map_err(|reason| FileError::at(text, 0, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct File {
        limit: Vec<Spanned<Table>>,
    }

    fn read(text: &str) -> Result<LimitTable, FileError> {
        table(text, FileError::read::<File>(text)?.limit)
    }

    #[test]
    fn tables_are_read() {
        let text = "[[limit]]\noutstanding = 10\n\n[[limit]]\ntenant = \"a\"\nkind = \"k\"\n\
                    running = 3\nrunning_per_label = { customer = 1 }\n";
        let table = read(text).expect("limits");
        let (a, k) = (TenantId::parse("a").expect("a"), Kind::parse("k").expect("k"));
        assert_eq!(table.get(LimitName::Outstanding, &a, None), Some(10));
        assert_eq!(table.running(&a, &k).len(), 2);
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_place() {
        for (text, reason) in [
            ("[[limit]]\ntenant = \"A\"\n", "tenant:"),
            (
                "[[limit]]\nkind = \"k\"\nwatches = 1\n",
                "kind must be empty, because watches has no kind",
            ),
            ("[[limit]]\nwatches = 1\n\n[[limit]]\nwatches = 2\n", "watches is given twice"),
            ("[[limit]]\nruning = 1\n", "runing"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
