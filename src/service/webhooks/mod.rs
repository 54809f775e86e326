//! Webhooks: the receivers of transitions. Subscriptions of tenants, callbacks of operations, and the outcome of their
//! deliveries.
//!
//! This module decides which receivers are notified and which secret signs; `crate::webhooks` reads the log and sends.
//! A receiver's secret is not stored: it is a code of its name and a number, made with the server's own secret.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::catalogue::{Catalogue, Snapshot, Space};
use crate::operation::callback::RefusedUrl;
use crate::operation::secret::Secret;
use crate::operation::{CallbackUrl, Destinations, TenantId, Timestamp};
use crate::store::deliveries::DeliveryStore;
use crate::store::{Store, StoreError};

mod admin;
mod courier;
mod deliveries;
mod entry;
mod record;

pub use admin::{MAX_WEBHOOKS, NewWebhook, check_filter};
pub use courier::CourierState;
pub use deliveries::{DeliveryListing, DeliveryRecord, DeliverySelection};
pub use entry::{CALLBACKS, Format, Webhook, WebhookRecord, callbacks_of, endpoint_of_webhook};
pub use record::{Record, delivery_id, delivery_text};

/// The purpose that codes of secrets are bound to.
const PURPOSE: &str = "webhooks";
/// The prefix of a secret's text (Standard Webhooks).
pub const SECRET_PREFIX: &str = "whsec_";
/// How long the previous secret signs too.
pub const ROTATION: Duration = Duration::from_secs(24 * 3_600);

/// All webhooks. Cheap to clone.
#[derive(Clone)]
pub struct Webhooks {
    /// Subscriptions by id, and the entries for tenants' callbacks.
    pub hooks: Arc<Space<Webhook>>,
    /// The replica that delivers, and its position in the log.
    pub courier: Arc<Space<CourierState>>,
    /// The store of the deliveries.
    pub store: Arc<dyn Store>,
    /// The allowed destinations.
    pub destinations: Arc<Destinations>,
    /// Notified when there may be something new to send.
    pub wake: Arc<Notify>,
    secret: Secret,
}

impl Webhooks {
    /// Reads the webhooks of the store.
    pub async fn open(
        catalogue: &mut Catalogue,
        store: Arc<dyn Store>,
        secret: Secret,
        destinations: Destinations,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            hooks: catalogue.open().await?,
            courier: catalogue.open().await?,
            store,
            destinations: Arc::new(destinations),
            wake: Arc::default(),
            secret,
        })
    }

    /// The store of deliveries. An embedder's store may have none.
    pub fn deliveries(&self) -> Result<&dyn DeliveryStore, StoreError> {
        self.store.deliveries().ok_or_else(|| {
            StoreError::Unavailable("this store cannot store deliveries of webhooks".to_owned())
        })
    }

    /// The secrets that sign messages to a receiver at `now`, the present one first.
    pub fn secrets(
        &self,
        hooks: &Snapshot<Webhook>,
        name: &str,
        now: Timestamp,
    ) -> Vec<SigningSecret> {
        let found = hooks.get(name);
        let number = found.map_or(1, |hook| hook.secret_number);
        let former = found.and_then(|hook| hook.former_secret_until).is_some_and(|end| end > now);
        let mut secrets = vec![self.secret_of(name, number)];
        secrets.extend((former && number > 1).then(|| self.secret_of(name, number - 1)));
        secrets
    }

    fn secret_of(&self, name: &str, number: u64) -> SigningSecret {
        SigningSecret(self.secret.code(PURPOSE, &[name.as_bytes(), &number.to_be_bytes()]))
    }

    /// Refuses a URL that is not an allowed destination.
    pub fn check(&self, url: &CallbackUrl) -> Result<(), RefusedUrl> {
        self.destinations.check(url)
    }

    /// The key under which the retries of a callback's receiver are counted.
    pub fn endpoint_of_callback(tenant: &TenantId, url: &CallbackUrl) -> String {
        format!("{}/{}", callbacks_of(tenant), url.origin())
    }

    /// The names of all paused webhooks.
    pub fn paused(hooks: &Snapshot<Webhook>) -> Vec<String> {
        let paused = hooks.iter().filter(|(_, webhook)| webhook.paused_at.is_some());
        paused.map(|(name, _)| name.to_owned()).collect()
    }

    /// Whether nothing is sent to an endpoint because its webhook is paused.
    pub fn is_paused(hooks: &Snapshot<Webhook>, tenant: &TenantId, endpoint: &str) -> bool {
        let callbacks = callbacks_of(tenant);
        let is_callback = endpoint.strip_prefix(&callbacks).is_some_and(|it| it.starts_with('/'));
        let webhook = match is_callback {
            true => hooks.get(&callbacks),
            false => endpoint.rsplit_once('/').and_then(|(_, name)| hooks.get(name)),
        };
        webhook.is_some_and(|webhook| webhook.paused_at.is_some())
    }
}

impl std::fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Webhooks")
    }
}

/// The secret that signs messages to one receiver.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(pub [u8; 32]);

impl SigningSecret {
    /// The secret as its receiver gets it.
    pub fn text(&self) -> String {
        use base64::Engine as _;
        SECRET_PREFIX.to_owned() + &base64::engine::general_purpose::STANDARD.encode(self.0)
    }
}

impl std::fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningSecret")
    }
}
