//! Lists deliveries and their outcomes, and redelivers.

use super::record::parse_id;
use super::{CALLBACKS, Record, callbacks_of, delivery_text};
use crate::catalogue::ChangeError;
use crate::engine::EngineError;
use crate::operation::{OperationId, TenantId, Timestamp};
use crate::service::page::PageRequest;
use crate::service::{Action, Caller, Reason, Service, ServiceError, Violations, audit, echo};
use crate::store::deliveries::{Delivery, DeliveryChange, DeliveryQuery, DeliveryState};

/// The default number of deliveries on a page.
const PAGE: usize = 50;
/// How long a redelivery is tried.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(24 * 3_600);

/// The deliveries to list.
#[derive(Clone, Debug, Default)]
pub struct DeliverySelection {
    /// The tenant; `None`: the caller's own.
    pub tenant: Option<TenantId>,
    /// The state; `None`: any.
    pub state: Option<DeliveryState>,
    /// The webhook's id; `None`: any.
    pub webhook: Option<String>,
    /// The operation; `None`: any.
    pub operation: Option<OperationId>,
}

/// A valid request for a page of deliveries.
#[derive(Clone, Debug)]
pub struct DeliveryListing {
    selection: DeliverySelection,
    page: PageRequest,
}

impl DeliveryListing {
    /// A request for at most `page_size` deliveries (0: the default) after `page_token` (empty: the latest). `selection`
    /// is `None` if a part of it is wrong. Notes every broken rule.
    pub fn read(
        caller: &Caller,
        selection: Option<DeliverySelection>,
        page_size: i32,
        page_token: &str,
        found: &mut Violations,
    ) -> Option<Self> {
        let of = selection.clone().unwrap_or_default();
        let tenant = of.tenant.as_ref().unwrap_or(&caller.tenant);
        let state = of.state.map_or("", DeliveryState::as_str);
        let webhook = of.webhook.map(|id| stored_name(id, tenant)).unwrap_or_default();
        let operation = of.operation.map(|id| id.to_string()).unwrap_or_default();
        let about = ["deliveries", tenant.as_str(), state, &webhook, &operation];
        let page = PageRequest::read(&about, (page_size, PAGE), page_token, found);
        Some(Self { selection: selection?, page: page? })
    }
}

/// The name under which the webhook with that id is stored.
fn stored_name(id: String, tenant: &TenantId) -> String {
    if id == CALLBACKS { callbacks_of(tenant) } else { id }
}

/// A delivery as it is listed.
#[derive(Clone, Debug)]
pub struct DeliveryRecord {
    /// Its id, as receivers get it.
    pub id: String,
    /// The tenant.
    pub tenant: TenantId,
    /// The id of its webhook.
    pub webhook: String,
    /// Its state.
    pub state: DeliveryState,
    /// When it is tried next; for a finished delivery, when it finished.
    pub due_at: Timestamp,
    /// Its record.
    pub record: Record,
}

impl Service {
    /// A page of a tenant's deliveries, the latest first, and the token of the next page.
    pub async fn list_deliveries(
        &self,
        caller: &Caller,
        listing: DeliveryListing,
    ) -> Result<(Vec<DeliveryRecord>, String), ServiceError> {
        caller.may(Action::Administer)?;
        let webhooks = self.webhooks()?;
        let DeliveryListing { selection, page } = listing;
        let tenant = self.tenant_for(caller, selection.tenant)?;
        // What is no id has no deliveries; not every store could be asked for it.
        let is_id = |id: &String| id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if selection.webhook.as_ref().is_some_and(|id| !is_id(id)) {
            return Ok((Vec::new(), String::new()));
        }
        let before = page.after.and_then(|place| place.first_chunk().copied());
        let query = DeliveryQuery {
            state: selection.state,
            webhook: selection.webhook.map(|id| stored_name(id, &tenant)),
            operation: selection.operation,
            tenant,
            before: before.map(u64::from_be_bytes),
            limit: page.limit + 1,
        };
        let store = webhooks.deliveries().map_err(EngineError::from)?;
        let mut listed = store.list_deliveries(query).await.map_err(EngineError::from)?;
        let has_more = listed.len() > page.limit;
        listed.truncate(page.limit);
        let last = listed.last().filter(|_| has_more);
        let next = last.map_or_else(String::new, |last| {
            let mut place = [0; 24];
            place.iter_mut().zip(last.number.to_be_bytes()).for_each(|(to, from)| *to = from);
            page.token(place)
        });
        Ok((listed.into_iter().filter_map(record_of).collect(), next))
    }

    /// Sends a finished or waiting delivery once more, as soon as possible.
    pub async fn redeliver(
        &self,
        caller: &Caller,
        tenant: Option<TenantId>,
        id: &str,
    ) -> Result<DeliveryRecord, ServiceError> {
        caller.may(Action::Administer)?;
        let webhooks = self.webhooks()?;
        let tenant = self.tenant_for(caller, tenant)?;
        let missing = || {
            let message = format!("there is no delivery {}", echo(id));
            ServiceError::new(Reason::DeliveryNotFound, message)
        };
        let store = webhooks.deliveries().map_err(EngineError::from)?;
        let key = parse_id(id).ok_or_else(missing)?;
        let found = store.delivery(&tenant, key).await.map_err(EngineError::from)?;
        let found = found.ok_or_else(missing)?;
        let mut record = Record::decode(&found.record).ok_or_else(missing)?;
        let now = self.now();
        record.give_up_at = record.give_up_at.max(now.after(AGAIN).micros());
        let change = DeliveryChange {
            id: key,
            state: DeliveryState::Pending,
            due_at: now,
            record: record.encode(),
        };
        store.change_deliveries(vec![change]).await.map_err(ChangeError::Store)?;
        webhooks.wake.notify_one();
        audit::changed(caller.actor(), "redeliver", id);
        let again = Delivery { state: DeliveryState::Pending, due_at: now, ..found };
        record_of(Delivery { record: record.encode(), ..again }).ok_or_else(missing)
    }
}

fn record_of(delivery: Delivery) -> Option<DeliveryRecord> {
    let record = Record::decode(&delivery.record)?;
    let webhook = record.webhook.split('/').next().unwrap_or_default();
    let webhook = if webhook == CALLBACKS { CALLBACKS } else { &record.webhook };
    Some(DeliveryRecord {
        id: delivery_text(&delivery.id),
        tenant: delivery.tenant,
        webhook: webhook.to_owned(),
        state: delivery.state,
        due_at: delivery.due_at,
        record,
    })
}
