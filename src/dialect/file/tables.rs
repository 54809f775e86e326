//! The tables of a dialect's file, as written.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) id: Option<Spanned<String>>,
    pub(super) macros: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) owner: Owner,
    #[serde(default)]
    pub(super) body: Body,
    pub(super) trigger: Option<Spanned<TriggerTable>>,
    pub(super) limits: Option<LimitsTable>,
    pub(super) wait: Option<Spanned<WaitTable>>,
    pub(super) states: Spanned<BTreeMap<Spanned<String>, Spanned<String>>>,
    #[serde(default)]
    pub(super) codes: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) events: BTreeMap<String, Vec<Spanned<EventTable>>>,
    pub(super) submit: Vec<Spanned<AnswerTable>>,
    pub(super) route: Vec<Spanned<RouteTable>>,
    #[serde(default)]
    pub(super) problem: Vec<Spanned<AnswerTable>>,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Owner {
    #[default]
    Nobody,
    Credentials,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Body {
    #[default]
    Any,
    Object,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TriggerTable {
    #[serde(default)]
    pub(super) always: bool,
    #[serde(default)]
    pub(super) prefer: bool,
    pub(super) query: Option<String>,
    #[serde(default)]
    pub(super) values: Vec<String>,
    #[serde(default)]
    pub(super) methods: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) paths: Vec<Spanned<String>>,
    pub(super) share: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsTable {
    pub(super) capacity: Option<Spanned<u64>>,
    pub(super) queue_timeout: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitTable {
    pub(super) parameter: Option<String>,
    pub(super) default: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) prefer: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteTable {
    pub(super) name: Spanned<String>,
    pub(super) method: Option<Spanned<String>>,
    pub(super) path: Spanned<String>,
    pub(super) action: Option<Spanned<String>>,
    pub(super) list: Option<Spanned<ListTable>>,
    pub(super) answer: Vec<Spanned<AnswerTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListTable {
    pub(super) filter: Option<Spanned<String>>,
    pub(super) page_size: Option<Spanned<String>>,
    pub(super) page_token: Option<Spanned<String>>,
    pub(super) max_page_size: Option<Spanned<i64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerTable {
    pub(super) when: Option<Spanned<String>>,
    pub(super) status: Option<Spanned<toml::Value>>,
    #[serde(default)]
    pub(super) headers: BTreeMap<Spanned<String>, Spanned<String>>,
    pub(super) content_type: Option<Spanned<String>>,
    pub(super) body: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) replay: bool,
    #[serde(default)]
    pub(super) event: Vec<Spanned<EventTable>>,
    pub(super) events: Option<Spanned<String>>,
    pub(super) resume: Option<Spanned<String>>,
    pub(super) closing: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventTable {
    pub(super) when: Option<Spanned<String>>,
    pub(super) event: Option<Spanned<String>>,
    pub(super) id: Option<Spanned<String>>,
    pub(super) data: Spanned<String>,
}

impl AnswerTable {
    /// Whether it has a key of an answer that is a stream of events.
    pub(super) fn tells(&self) -> bool {
        !self.event.is_empty()
            || self.events.is_some()
            || self.resume.is_some()
            || self.closing.is_some()
    }
}
