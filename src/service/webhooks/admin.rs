//! Makes, lists and deletes subscriptions, and changes secrets.

use std::sync::Arc;

use super::entry::CALLBACKS;
use super::{
    Format, ROTATION, SigningSecret, Webhook, WebhookRecord, Webhooks, callbacks_of,
    endpoint_of_webhook,
};
use crate::catalogue::{Change, ChangeError, Snapshot};
use crate::operation::filter::Filter;
use crate::operation::{CallbackUrl, NewOperation, StateName, TenantId, Timestamp};
use crate::service::keys::KeyText;
use crate::service::{
    Action, Caller, Reason, Service, ServiceError, Violations, audit, echo, parse_filter,
};

/// The maximum number of a tenant's subscriptions.
pub const MAX_WEBHOOKS: usize = 100;
/// The maximum length of a filter, in bytes.
const MAX_FILTER_BYTES: usize = 4_096;
/// The prefix of ids.
const PREFIX: &str = "lrw_";

/// A subscription to make.
#[derive(Clone, Debug)]
pub struct NewWebhook {
    /// Its tenant; `None`: the caller's own.
    pub tenant: Option<TenantId>,
    /// The receiver's URL.
    pub url: CallbackUrl,
    /// The operations that it covers.
    pub filter: String,
    /// The states whose transitions it covers; empty: the final ones.
    pub states: Vec<StateName>,
    /// The format of its messages.
    pub format: Format,
}

impl Service {
    pub(super) fn webhooks(&self) -> Result<&Webhooks, ServiceError> {
        self.webhooks.as_ref().filter(|it| it.store.deliveries().is_some()).ok_or_else(|| {
            ServiceError::new(Reason::Unsupported, "this server was set up without webhooks")
        })
    }

    /// Makes a subscription; returns it with its secret. It covers what is committed from now on.
    pub async fn create_webhook(
        &self,
        caller: &Caller,
        new: NewWebhook,
    ) -> Result<(WebhookRecord, SigningSecret), ServiceError> {
        caller.may(Action::Administer)?;
        let webhooks = self.webhooks()?;
        let tenant = self.tenant_for(caller, new.tenant.clone())?;
        let webhook = self.checked(caller, tenant.clone(), new)?;
        let text = KeyText::generate_as(PREFIX).map_err(|error| {
            tracing::error!(error, "no id can be made");
            ServiceError::new(Reason::Internal, "no id can be made")
        })?;
        webhooks.begin().await.map_err(ServiceError::from)?;
        let id = text.id().to_owned();
        let made = webhooks.hooks.change::<_, ServiceError>(|before| {
            if own(before, &tenant).count() >= MAX_WEBHOOKS {
                let message =
                    format!("tenant {tenant} has {MAX_WEBHOOKS} webhooks, the most that it may have: delete one first");
                return Err(ServiceError::new(Reason::ResourceExhausted, message));
            }
            Ok((Change::put(id.clone(), webhook.clone()), ()))
        });
        made.await?;
        audit::changed(caller.actor(), "create-webhook", &id);
        let secrets = webhooks.secrets(&webhooks.hooks.snapshot(), &id, self.now());
        let record = WebhookRecord { id, webhook: Arc::new(webhook) };
        secrets.into_iter().next().map(|secret| (record, secret)).ok_or_else(no_secret)
    }

    fn checked(
        &self,
        caller: &Caller,
        tenant: TenantId,
        new: NewWebhook,
    ) -> Result<Webhook, ServiceError> {
        let mut found = Violations::default();
        if let Err(refused) = self.webhooks()?.check(&new.url) {
            found.note("url", refused.to_string());
        }
        found.take(check_filter(&new.filter));
        found.check()?;
        let mut states = new.states;
        if states.is_empty() {
            states = StateName::ALL.into_iter().filter(|state| state.is_done()).collect();
        }
        states.sort_unstable();
        states.dedup();
        Ok(Webhook {
            tenant,
            url: Some(new.url),
            filter: new.filter,
            states,
            format: new.format,
            owner: caller.owner.clone(),
            created_at: self.now(),
            created_by: caller.subject().unwrap_or_default().to_owned(),
            secret_number: 1,
            former_secret_until: None,
            paused_at: None,
        })
    }

    /// A tenant's subscriptions by id, and the entry for its callbacks, last.
    pub fn list_webhooks(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
    ) -> Result<Vec<WebhookRecord>, ServiceError> {
        caller.may(Action::Administer)?;
        let webhooks = self.webhooks()?;
        let tenant = self.tenant_for(caller, tenant)?;
        let snapshot = webhooks.hooks.snapshot();
        let mut all: Vec<WebhookRecord> = own(&snapshot, &tenant)
            .map(|(id, webhook)| WebhookRecord { id: id.to_owned(), webhook: Arc::clone(webhook) })
            .collect();
        all.push(WebhookRecord {
            id: CALLBACKS.to_owned(),
            webhook: Arc::new(callbacks(&snapshot, &tenant)),
        });
        Ok(all)
    }

    /// Deletes a subscription with its pending deliveries.
    pub async fn delete_webhook(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        id: &str,
    ) -> Result<(), ServiceError> {
        caller.may(Action::Administer)?;
        let webhooks = self.webhooks()?;
        let tenant = self.tenant_for(caller, tenant)?;
        if id == CALLBACKS {
            let rule = "must not be callbacks, which are part of submissions: pause them instead";
            return Err(ServiceError::invalid_field("webhook_id", rule));
        }
        let deleted = webhooks.hooks.change::<_, ServiceError>(|before| {
            let found = own(before, &tenant).any(|(name, _)| name == id);
            if found { Ok((Change::delete(id), ())) } else { Err(no_webhook(id)) }
        });
        deleted.await?;
        audit::changed(caller.actor(), "delete-webhook", id);
        // Deliveries that the courier stores meanwhile are given up when it comes to send them.
        let endpoint = endpoint_of_webhook(&tenant, id);
        let store = webhooks.deliveries().map_err(ChangeError::Store)?;
        store.drop_endpoint(&endpoint).await.map_err(ChangeError::Store)?;
        Ok(())
    }

    /// Pauses a subscription, or a tenant's callbacks: deliveries are stored but not sent.
    pub async fn pause_webhook(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        id: &str,
    ) -> Result<WebhookRecord, ServiceError> {
        let now = self.now();
        let pause = |since: Option<Timestamp>| since.or(Some(now));
        self.set_pause(caller, tenant, (id, "pause-webhook"), pause).await
    }

    /// Resumes a subscription, or a tenant's callbacks: stored deliveries are sent.
    pub async fn resume_webhook(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        id: &str,
    ) -> Result<WebhookRecord, ServiceError> {
        self.set_pause(caller, tenant, (id, "resume-webhook"), |_| None).await
    }

    async fn set_pause(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        (id, act): (&str, &'static str),
        paused_at: impl Fn(Option<Timestamp>) -> Option<Timestamp>,
    ) -> Result<WebhookRecord, ServiceError> {
        caller.may(Action::Administer)?;
        let webhooks = self.webhooks()?;
        let tenant = self.tenant_for(caller, tenant)?;
        let changed = webhooks.hooks.change::<_, ServiceError>(|before| {
            let (name, webhook) = named(before, &tenant, id)?;
            let changed = Webhook { paused_at: paused_at(webhook.paused_at), ..webhook };
            Ok((Change::put(name, changed.clone()), changed))
        });
        let webhook = Arc::new(changed.await?);
        audit::changed(caller.actor(), act, id);
        webhooks.wake.notify_one();
        Ok(WebhookRecord { id: id.to_owned(), webhook })
    }

    /// A subscription, or the entry for a tenant's callbacks.
    pub fn webhook(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        id: &str,
    ) -> Result<WebhookRecord, ServiceError> {
        caller.may(Action::Administer)?;
        let tenant = self.tenant_for(caller, tenant)?;
        let (_, webhook) = named(&self.webhooks()?.hooks.snapshot(), &tenant, id)?;
        Ok(WebhookRecord { id: id.to_owned(), webhook: Arc::new(webhook) })
    }

    /// The secret of a subscription, or of a tenant's callbacks.
    pub fn webhook_secret(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        id: &str,
    ) -> Result<(WebhookRecord, SigningSecret), ServiceError> {
        caller.may(Action::Administer)?;
        let webhooks = self.webhooks()?;
        let tenant = self.tenant_for(caller, tenant)?;
        let snapshot = webhooks.hooks.snapshot();
        let (name, webhook) = named(&snapshot, &tenant, id)?;
        audit::changed(caller.actor(), "read-webhook-secret", &name);
        let secret = webhooks.secrets(&snapshot, &name, self.now()).into_iter().next();
        let record = WebhookRecord { id: id.to_owned(), webhook: Arc::new(webhook) };
        secret.map(|secret| (record, secret)).ok_or_else(no_secret)
    }

    /// Makes a new secret. The previous one also signs for a day.
    pub async fn rotate_webhook_secret(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        id: &str,
    ) -> Result<(WebhookRecord, SigningSecret), ServiceError> {
        caller.may(Action::Administer)?;
        let webhooks = self.webhooks()?;
        let tenant = self.tenant_for(caller, tenant)?;
        let until = self.now().after(ROTATION);
        let changed = webhooks.hooks.change::<_, ServiceError>(|before| {
            let (name, webhook) = named(before, &tenant, id)?;
            let secret_number = webhook.secret_number + 1;
            let former_secret_until = Some(until);
            let changed = Webhook { secret_number, former_secret_until, ..webhook };
            Ok((Change::put(name, changed), ()))
        });
        changed.await?;
        audit::changed(caller.actor(), "rotate-webhook-secret", id);
        self.webhook_secret(caller, Some(tenant), id)
    }

    /// Ensures that the courier runs, for a submission with a callback.
    pub(in crate::service) async fn prepare_callback(
        &self,
        new: &NewOperation,
        field: &str,
    ) -> Result<(), ServiceError> {
        let Some(url) = &new.callback else { return Ok(()) };
        let webhooks = self.webhooks()?;
        webhooks
            .check(url)
            .map_err(|refused| ServiceError::invalid_field(field, refused.to_string()))?;
        Ok(webhooks.begin().await?)
    }
}

/// Refuses a filter that a webhook cannot have.
pub fn check_filter(filter: &str) -> Result<(), ServiceError> {
    if filter.len() > MAX_FILTER_BYTES {
        let rule = format!("must have at most {MAX_FILTER_BYTES} bytes");
        return Err(ServiceError::invalid_field("filter", rule));
    }
    parse_filter(filter).map(drop)
}

/// The subscriptions of a tenant.
fn own<'a>(
    snapshot: &'a Snapshot<Webhook>,
    tenant: &'a TenantId,
) -> impl Iterator<Item = (&'a str, &'a Arc<Webhook>)> {
    snapshot.iter().filter(move |(_, it)| it.tenant == *tenant && it.url.is_some())
}

/// The entry for a tenant's callbacks, whose secret signs them.
fn callbacks(snapshot: &Snapshot<Webhook>, tenant: &TenantId) -> Webhook {
    let found = snapshot.get(&callbacks_of(tenant));
    found.map(|found| Webhook::clone(found)).unwrap_or_else(|| Webhook {
        tenant: tenant.clone(),
        url: None,
        filter: String::new(),
        states: StateName::ALL.into_iter().filter(|state| state.is_done()).collect(),
        format: Format::Plain,
        owner: None,
        created_at: Timestamp::default(),
        created_by: String::new(),
        secret_number: 1,
        former_secret_until: None,
        paused_at: None,
    })
}

/// A tenant's webhook with that id, and the name under which it is stored.
fn named(
    snapshot: &Snapshot<Webhook>,
    tenant: &TenantId,
    id: &str,
) -> Result<(String, Webhook), ServiceError> {
    if id == CALLBACKS {
        return Ok((callbacks_of(tenant), callbacks(snapshot, tenant)));
    }
    let found = own(snapshot, tenant).find(|(name, _)| *name == id);
    found.map(|(name, it)| (name.to_owned(), Webhook::clone(it))).ok_or_else(|| no_webhook(id))
}

fn no_webhook(id: &str) -> ServiceError {
    ServiceError::new(Reason::WebhookNotFound, format!("there is no webhook {}", echo(id)))
}

fn no_secret() -> ServiceError {
    ServiceError::new(Reason::Internal, "there is no secret")
}

impl Webhook {
    /// The filter; `None` if it cannot be read, and then nothing matches.
    pub fn parsed_filter(&self) -> Option<Filter> {
        Filter::parse(&self.filter).ok()
    }
}
