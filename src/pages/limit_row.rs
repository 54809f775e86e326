//! A limit and how full it is, as templates see it.

use std::time::Duration;

use serde::Serialize;

use crate::operation::limits::LimitName;
use crate::service::LimitUse;
use crate::words;

/// A limit, for people.
#[derive(Debug, Serialize)]
pub(super) struct LimitRow {
    /// `running`, `running by customer`.
    pub(super) name: String,
    /// `3 of 8`, or only its value if nothing adds up.
    pub(super) text: String,
    /// How much is used, if that is known.
    pub(super) used: Option<u64>,
    pub(super) most: u64,
}

impl LimitRow {
    pub(super) fn of(it: &LimitUse) -> Self {
        let name = it.limit.name;
        let label = it.limit.label.as_ref().map(|label| format!(" by {label}"));
        let most = said(name, it.most);
        let text = match it.used {
            Some(used) => format!("{} of {most}", said(name, used)),
            None => most,
        };
        let name = format!("{}{}", name.as_str(), label.unwrap_or_default());
        Self { name, text, used: it.used, most: it.most }
    }
}

/// A value in the unit of its limit.
fn said(name: LimitName, value: u64) -> String {
    match name {
        LimitName::PayloadBytes | LimitName::ResultBytes | LimitName::StoredBytes => {
            words::bytes(value)
        }
        LimitName::RetentionSeconds => words::duration(Duration::from_secs(value)),
        LimitName::Outstanding
        | LimitName::Running
        | LimitName::SubmissionsPerSecond
        | LimitName::Watches
        | LimitName::Sessions
        | LimitName::Weight
        | LimitName::Connections
        | LimitName::Paused => value.to_string(),
    }
}
