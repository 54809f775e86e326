//! Deliveries of a page of the log: which webhooks match each transition, and the message that each gets.
//!
//! No I/O. Every server makes the same deliveries of the same log, under the same ids.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::message;
use crate::catalogue::Snapshot;
use crate::operation::filter::Filter;
use crate::operation::{CallbackUrl, Operation, TenantId, Timestamp};
use crate::service::webhooks::{
    Format, Record, Webhook, Webhooks, callbacks_of, delivery_id, endpoint_of_webhook,
};
use crate::store::deliveries::{Delivery, DeliveryState};
use crate::store::log::{Change, Logged};

/// Makes deliveries.
#[derive(Debug)]
pub struct Planner {
    /// The server's public URL, for links in messages; empty if unknown.
    base: Arc<str>,
    retry_for: Duration,
    /// The webhooks that `filters` and `by_tenant` were made of.
    webhooks: Option<Arc<Snapshot<Webhook>>>,
    filters: HashMap<String, Filter>,
    by_tenant: HashMap<TenantId, Vec<String>>,
}

/// The receiver of a message, and the message's format.
struct Receiver<'a> {
    /// The name of the webhook.
    name: &'a str,
    endpoint: String,
    url: &'a CallbackUrl,
    format: Format,
}

impl Planner {
    /// A planner whose deliveries are tried for `retry_for`.
    pub fn new(base: Arc<str>, retry_for: Duration) -> Self {
        let (filters, by_tenant) = Default::default();
        Self { base, retry_for, webhooks: None, filters, by_tenant }
    }

    /// The deliveries of a page of the log. `webhooks` must be at least as new as the page, so that no webhook older
    /// than one of its transitions is missing.
    pub fn deliveries(
        &mut self,
        page: &[Logged],
        webhooks: Arc<Snapshot<Webhook>>,
        now: Timestamp,
    ) -> Vec<Delivery> {
        self.use_webhooks(webhooks);
        let mut deliveries = Vec::new();
        for logged in page {
            match &logged.change {
                Change::Transition { after, .. } => self.add(after, now, &mut deliveries),
                Change::Removed { last, is_only_word: true } if last.is_done() => {
                    self.add(last, now, &mut deliveries);
                }
                Change::Removed { .. } => {}
            }
        }
        deliveries
    }

    /// Adds the deliveries of the transition that led to `operation`.
    fn add(&self, operation: &Arc<Operation>, now: Timestamp, deliveries: &mut Vec<Delivery>) {
        let tenant = &operation.submission.tenant;
        if let Some(url) = operation.submission.callback.as_ref().filter(|_| operation.is_done()) {
            let endpoint = Webhooks::endpoint_of_callback(tenant, url);
            let (name, format) = (callbacks_of(tenant), Format::Plain);
            let receiver = Receiver { name: &name, endpoint, url, format };
            deliveries.push(self.delivery(receiver, operation, now));
        }
        for (name, webhook) in self.matching(operation) {
            let Some(url) = &webhook.url else { continue };
            let (endpoint, format) = (endpoint_of_webhook(tenant, name), webhook.format);
            let receiver = Receiver { name, endpoint, url, format };
            deliveries.push(self.delivery(receiver, operation, now));
        }
    }

    fn delivery(
        &self,
        receiver: Receiver<'_>,
        operation: &Arc<Operation>,
        now: Timestamp,
    ) -> Delivery {
        let Receiver { name, endpoint, url, format } = receiver;
        let revision = operation.life.revision;
        let id = delivery_id(operation.id(), revision, name);
        let event = message::event(operation.state_name());
        let body = message::body(operation, &id, &event, format, &self.base);
        let record = Record {
            webhook: name.to_owned(),
            operation: operation.id().to_string(),
            revision: revision.0,
            event,
            url: url.as_str().to_owned(),
            content_type: format.content_type().to_owned(),
            created_at: now.micros(),
            give_up_at: now.after(self.retry_for).micros(),
            attempts: 0,
            tried_at: None,
            status: None,
            error: String::new(),
        };
        Delivery {
            number: 0,
            id,
            tenant: operation.submission.tenant.clone(),
            webhook: name.to_owned(),
            operation: operation.id(),
            endpoint,
            state: DeliveryState::Pending,
            due_at: now,
            record: record.encode(),
            body,
        }
    }

    fn use_webhooks(&mut self, webhooks: Arc<Snapshot<Webhook>>) {
        if self.webhooks.as_ref().is_some_and(|known| Arc::ptr_eq(known, &webhooks)) {
            return;
        }
        (self.filters, self.by_tenant) = Default::default();
        for (name, webhook) in webhooks.iter().filter(|(_, it)| it.url.is_some()) {
            let Some(filter) = webhook.parsed_filter() else {
                tracing::error!(webhook = name, "the filter of a webhook cannot be read");
                continue;
            };
            self.filters.insert(name.to_owned(), filter);
            self.by_tenant.entry(webhook.tenant.clone()).or_default().push(name.to_owned());
        }
        self.webhooks = Some(webhooks);
    }

    /// The webhooks that match the transition to `operation`, by name.
    fn matching<'a>(
        &'a self,
        operation: &'a Operation,
    ) -> impl Iterator<Item = (&'a str, &'a Arc<Webhook>)> {
        let names = self.by_tenant.get(&operation.submission.tenant).into_iter().flatten();
        names.filter_map(move |name| {
            let webhook = self.webhooks.as_ref()?.get(name)?;
            let is_match = webhook.states.contains(&operation.state_name())
                && operation.is_readable_by(webhook.owner.as_ref())
                && self.filters.get(name).is_some_and(|filter| filter.matches(operation));
            is_match.then_some((name.as_str(), webhook))
        })
    }
}
