//! The tables of a dialect's file, as they are written.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) id: Id,
    #[serde(default)]
    pub(super) owner: Owner,
    pub(super) trigger: Option<Spanned<TriggerTable>>,
    pub(super) limits: Option<LimitsTable>,
    pub(super) wait: Option<WaitTable>,
    pub(super) states: Spanned<BTreeMap<Spanned<String>, Spanned<String>>>,
    #[serde(default)]
    pub(super) codes: BTreeMap<String, String>,
    pub(super) submit: Vec<Spanned<AnswerTable>>,
    pub(super) route: Vec<Spanned<RouteTable>>,
    #[serde(default)]
    pub(super) problem: Vec<Spanned<AnswerTable>>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Id {
    #[default]
    Uuid,
    Hex,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Owner {
    #[default]
    Nobody,
    Credentials,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TriggerTable {
    #[serde(default)]
    pub(super) prefer: bool,
    pub(super) query: Option<String>,
    #[serde(default)]
    pub(super) values: Vec<String>,
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
    pub(super) parameter: String,
    pub(super) default: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteTable {
    pub(super) name: Spanned<String>,
    pub(super) method: Option<Spanned<String>>,
    pub(super) path: Spanned<String>,
    #[serde(default)]
    pub(super) action: ActionName,
    pub(super) answer: Vec<Spanned<AnswerTable>>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ActionName {
    #[default]
    Read,
    Cancel,
    Delete,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerTable {
    pub(super) when: Option<Spanned<String>>,
    pub(super) status: Option<Spanned<u16>>,
    #[serde(default)]
    pub(super) headers: BTreeMap<Spanned<String>, Spanned<String>>,
    pub(super) content_type: Option<Spanned<String>>,
    pub(super) body: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) replay: bool,
}
