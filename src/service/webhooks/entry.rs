//! Stored webhooks.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::catalogue::Entry;
use crate::operation::{CallbackUrl, Owner, StateName, TenantId, Timestamp};

/// The id of the entry for a tenant's callbacks, listed with its subscriptions.
pub const CALLBACKS: &str = "callbacks";

/// The name under which that entry is stored.
pub fn callbacks_of(tenant: &TenantId) -> String {
    format!("{CALLBACKS}/{tenant}")
}

/// The endpoint of a webhook: deliveries to one endpoint share a circuit breaker.
pub fn endpoint_of_webhook(tenant: &TenantId, name: &str) -> String {
    format!("{tenant}/{name}")
}

/// The format of a webhook's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A JSON object of `type`, `timestamp` and `data`.
    #[default]
    Plain,
    /// A CloudEvent in structured mode.
    CloudEvents,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 2] = [Self::Plain, Self::CloudEvents];

    /// The format's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::CloudEvents => "cloudevents",
        }
    }

    /// The media type of messages.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Plain => "application/json",
            Self::CloudEvents => "application/cloudevents+json",
        }
    }
}

/// A tenant's subscription; without a URL, the entry for its callbacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Webhook {
    /// The tenant whose operations it covers.
    pub tenant: TenantId,
    /// The receiver's URL; `None` for callbacks, each of which has its own.
    pub url: Option<CallbackUrl>,
    /// The operations that it covers.
    pub filter: String,
    /// The states whose transitions it covers.
    pub states: Vec<StateName>,
    /// The format of its messages.
    pub format: Format,
    /// The operations that its maker may read.
    pub owner: Option<Owner>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The subject that made it; may be empty.
    pub created_by: String,
    /// The number of its secret, from 1.
    pub secret_number: u64,
    /// Until when the previous secret signs too.
    pub former_secret_until: Option<Timestamp>,
    /// When it was paused; `None`: not paused.
    pub paused_at: Option<Timestamp>,
}

impl Entry for Webhook {
    const SPACE: &'static str = "webhooks";
}

/// A webhook as it is listed.
#[derive(Clone, Debug)]
pub struct WebhookRecord {
    /// Its id.
    pub id: String,
    /// Its stored data.
    pub webhook: Arc<Webhook>,
}

/// The stored JSON. Times are in microseconds.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    tenant: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    url: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    filter: String,
    #[serde(default)]
    states: Vec<String>,
    #[serde(default)]
    format: Format,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(default)]
    sees_all: bool,
    created_at: i64,
    #[serde(default)]
    created_by: String,
    secret_number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    former_secret_until: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused_at: Option<i64>,
}

impl From<Webhook> for Stored {
    fn from(webhook: Webhook) -> Self {
        Self {
            tenant: webhook.tenant.to_string(),
            url: webhook.url.map(|url| url.as_str().to_owned()).unwrap_or_default(),
            filter: webhook.filter,
            states: webhook.states.iter().map(|state| state.as_str().to_owned()).collect(),
            format: webhook.format,
            sees_all: webhook.owner.as_ref().is_some_and(Owner::sees_all),
            owner: webhook.owner.map(|owner| owner.as_str().to_owned()),
            created_at: webhook.created_at.micros(),
            created_by: webhook.created_by,
            secret_number: webhook.secret_number,
            former_secret_until: webhook.former_secret_until.map(Timestamp::micros),
            paused_at: webhook.paused_at.map(Timestamp::micros),
        }
    }
}

impl TryFrom<Stored> for Webhook {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        let url = match stored.url.as_str() {
            "" => None,
            url => Some(CallbackUrl::parse(url).map_err(|rule| format!("url {rule}"))?),
        };
        let states = stored.states.iter().map(|name| StateName::parse(name));
        let owner = stored.owner.map(|text| {
            let owner = Owner::stored(&text);
            if stored.sees_all { owner.seeing_all() } else { owner }
        });
        Ok(Self {
            tenant: TenantId::parse(&stored.tenant).map_err(|rule| format!("tenant {rule}"))?,
            url,
            filter: stored.filter,
            states: states.collect::<Option<_>>().ok_or("a state is unknown")?,
            format: stored.format,
            owner,
            created_at: Timestamp::from_micros(stored.created_at),
            created_by: stored.created_by,
            secret_number: stored.secret_number.max(1),
            former_secret_until: stored.former_secret_until.map(Timestamp::from_micros),
            paused_at: stored.paused_at.map(Timestamp::from_micros),
        })
    }
}
