//! Webhooks and their deliveries, both ways.

use super::decode;
use super::time::encode_timestamp;
use crate::operation::callback::CallbackUrl;
use crate::operation::{StateName, TenantId, Timestamp};
use crate::proto::v1;
use crate::service::webhooks::{
    DeliveryListing, DeliveryRecord, DeliverySelection, Format, NewWebhook, WebhookRecord,
    check_filter,
};
use crate::service::{Caller, ServiceError, Violations};
use crate::store::deliveries::DeliveryState;

/// A subscription to make.
pub fn new_webhook(
    request: v1::CreateWebhookRequest,
    found: &mut Violations,
) -> Option<NewWebhook> {
    let tenant = found.take(tenant(&request.tenant));
    let url = CallbackUrl::parse(&request.url)
        .map_err(|refused| found.note("url", refused.to_string()))
        .ok();
    let format = match request.format.as_str() {
        "" => Some(Format::default()),
        name => Format::ALL.into_iter().find(|format| format.as_str() == name),
    };
    if format.is_none() {
        found.note("format", "must be plain or cloudevents");
    }
    let states = request.states.iter().map(|name| StateName::parse(name));
    let states: Option<Vec<StateName>> =
        Some(states).filter(|_| request.states.len() <= 100).and_then(Iterator::collect);
    if states.is_none() {
        let all = StateName::ALL.map(StateName::as_str).join(", ");
        found.note("states", format!("must be some of {all}"));
    }
    let filter = found.take(check_filter(&request.filter)).map(|()| request.filter);
    Some(NewWebhook {
        tenant: tenant?,
        url: url?,
        filter: filter?,
        states: states?,
        format: format?,
    })
}

/// The tenant, if the name is not empty.
pub fn tenant(name: &str) -> Result<Option<TenantId>, ServiceError> {
    if name.is_empty() {
        return Ok(None);
    }
    let tenant = TenantId::parse(name);
    tenant.map(Some).map_err(|rule| ServiceError::invalid_field("tenant", rule.to_string()))
}

/// The tenant of a call about one object, whose id is in `field` and must not be empty.
pub fn tenant_of(
    name: &str,
    (field, id): (&str, &str),
    found: &mut Violations,
) -> Option<Option<TenantId>> {
    let tenant = found.take(tenant(name));
    found.take(decode::given(field, id)).and(tenant)
}

/// The query of a list of deliveries.
pub fn listing(
    request: v1::ListDeliveriesRequest,
    caller: &Caller,
    found: &mut Violations,
) -> Option<DeliveryListing> {
    let tenant = found.take(tenant(&request.tenant));
    let state = match request.state.as_str() {
        "" => Some(None),
        name => DeliveryState::parse(name).map(Some),
    };
    if state.is_none() {
        found.note("state", "must be PENDING, DELIVERED or DEAD");
    }
    let operation = match request.operation.as_str() {
        "" => Some(None),
        name => found.take(decode::operation_name("operation", name)).map(|name| Some(name.id)),
    };
    let v1::ListDeliveriesRequest { page_size, page_token, webhook_id, .. } = request;
    let webhook = Some(webhook_id).filter(|id| !id.is_empty());
    let selection = tenant.zip(state).zip(operation).map(|((tenant, state), operation)| {
        DeliverySelection { tenant, state, webhook, operation }
    });
    DeliveryListing::read(caller, selection, page_size, &page_token, found)
}

/// A webhook in a list.
pub fn webhook(record: &WebhookRecord) -> v1::Webhook {
    let WebhookRecord { id, webhook } = record;
    let is_made = webhook.created_at != Timestamp::default();
    v1::Webhook {
        webhook_id: id.clone(),
        tenant: webhook.tenant.to_string(),
        url: webhook.url.as_ref().map(|url| url.as_str().to_owned()).unwrap_or_default(),
        filter: webhook.filter.clone(),
        states: webhook.states.iter().map(|state| state.as_str().to_owned()).collect(),
        format: webhook.format.as_str().to_owned(),
        create_time: is_made.then(|| encode_timestamp(webhook.created_at)),
        created_by: webhook.created_by.clone(),
        former_secret_expire_time: webhook.former_secret_until.map(encode_timestamp),
        pause_time: webhook.paused_at.map(encode_timestamp),
    }
}

/// A delivery in a list.
pub fn delivery(record: &DeliveryRecord) -> v1::Delivery {
    let DeliveryRecord { id, tenant, webhook, state, due_at, record } = record;
    let is_pending = *state == DeliveryState::Pending;
    let at = |micros| encode_timestamp(Timestamp::from_micros(micros));
    v1::Delivery {
        delivery_id: id.clone(),
        tenant: tenant.to_string(),
        webhook_id: webhook.clone(),
        url: record.url.clone(),
        operation: format!("operations/{}", record.operation),
        revision: record.revision.cast_signed(),
        event: record.event.clone(),
        state: state.as_str().to_owned(),
        attempts: record.attempts.cast_signed(),
        create_time: Some(at(record.created_at)),
        last_attempt_time: record.tried_at.map(at),
        next_attempt_time: is_pending.then(|| encode_timestamp(*due_at)),
        end_time: (!is_pending).then(|| encode_timestamp(*due_at)),
        last_status: record.status.map(i32::from).unwrap_or_default(),
        last_error: record.error.clone(),
    }
}
