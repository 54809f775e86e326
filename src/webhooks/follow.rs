//! Reads the log, and stores what receivers are to be told of.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::hold::{Hold, Lost};
use super::message;
use crate::catalogue::Snapshot;
use crate::operation::filter::Filter;
use crate::operation::{CallbackUrl, Operation, TenantId, Timestamp};
use crate::service::webhooks::{
    CourierState, Format, Record, Webhook, Webhooks, callbacks_of, delivery_id,
};
use crate::store::StoreError;
use crate::store::deliveries::{Delivery, DeliveryState};
use crate::store::log::{Change, Logged, Position, ReadError, Reader};

/// How many changes are read at a time.
const PAGE: usize = 256;
/// How often the log is read where others write as well, whatever is heard; and how often if nobody else does.
const POLL_SHARED: Duration = Duration::from_millis(500);
const POLL_ALONE: Duration = Duration::from_secs(5);
/// How long to wait where the store does not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// How often the position is stored while there is nothing to deliver.
const SAVE_IDLE: Duration = Duration::from_secs(60);
/// How long a reader may go on without coming to the end before it counts as behind.
const BEHIND: Duration = Duration::from_secs(60);

/// Filters as they were read, by the version of what they were read from.
#[derive(Default)]
struct Filters {
    of: Option<Arc<Snapshot<Webhook>>>,
    parsed: HashMap<String, Filter>,
    by_tenant: HashMap<TenantId, Vec<String>>,
}

/// Reads from `position` on until another is the courier.
pub(super) async fn follow(hold: &Hold<'_>, position: &str) {
    let (post, store) = (hold.post, &*hold.post.webhooks.store);
    let decoded = Position::decode(position, &store.signing_key());
    let mut reader = match decoded {
        Some(position) => Reader::new(position),
        None => {
            // As in a copy of another store.
            tracing::error!("the position of webhooks is none of this store: a gap");
            post.meters.webhooks.gaps.one();
            match restart(hold).await {
                Some(reader) => reader,
                None => return,
            }
        }
    };
    let mut commits = post.commits.clone();
    let mut filters = Filters::default();
    let (mut is_behind, mut caught_up, mut saved) =
        (true, post.clock.moment(), post.clock.moment());
    loop {
        commits.mark_unchanged();
        match reader.read(store, PAGE).await {
            Ok(page) if page.is_empty() => {
                let now = post.clock.moment();
                caught_up = now;
                post.log_is_wanted.store(false, Ordering::Relaxed);
                if is_behind || now.since(saved) > SAVE_IDLE {
                    if save(hold, &reader, false).await.is_none() {
                        return;
                    }
                    (is_behind, saved) = (false, now);
                }
                let is_shared = store.shared().is_some();
                tokio::select! {
                    _ = commits.changed() => {}
                    () = post.pause(if is_shared { POLL_SHARED } else { POLL_ALONE }) => {}
                }
            }
            Ok(page) => {
                let now = post.clock.moment();
                if now.since(caught_up) > BEHIND {
                    is_behind = true;
                    post.log_is_wanted.store(true, Ordering::Relaxed);
                }
                if store_page(hold, &page, &mut filters).await {
                    if save(hold, &reader, is_behind).await.is_none() {
                        return;
                    }
                    saved = now;
                    post.webhooks.wake.notify_one();
                }
            }
            Err(ReadError::Store(error)) => {
                tracing::debug!(%error, "the log cannot be read for webhooks");
                post.pause(PAUSE).await;
            }
            Err(ReadError::Gone(gone)) => {
                tracing::error!(%gone, "receivers of webhooks were not told of changes: a gap");
                post.meters.webhooks.gaps.one();
                match restart(hold).await {
                    Some(anew) => reader = anew,
                    None => return,
                }
            }
        }
    }
}

/// A reader at the log's end, which is stored; `None` if another is the courier.
async fn restart(hold: &Hold<'_>) -> Option<Reader> {
    loop {
        match hold.post.webhooks.store.head().await {
            Ok(head) => {
                let reader = Reader::new(Position::at(head.frontier()));
                return save(hold, &reader, true).await.map(|()| reader);
            }
            Err(error) => tracing::debug!(%error, "the log's end cannot be read"),
        }
        hold.post.pause(PAUSE).await;
    }
}

/// Stores the position, however long that takes; `None` if another is the courier.
async fn save(hold: &Hold<'_>, reader: &Reader, is_behind: bool) -> Option<()> {
    let position = reader.certain_position().encode(&hold.post.webhooks.store.signing_key());
    loop {
        let edit = |state: &mut CourierState| {
            state.position.clone_from(&position);
            state.is_behind = is_behind;
        };
        match hold.change(edit).await {
            Ok(()) => return Some(()),
            Err(Lost::Other) => return None,
            Err(Lost::Store(error)) => tracing::debug!(%error, "the position cannot be stored"),
        }
        hold.post.pause(PAUSE).await;
    }
}

/// Stores what is to be told of a page, however long that takes; whether there was anything.
async fn store_page(hold: &Hold<'_>, page: &[Logged], filters: &mut Filters) -> bool {
    loop {
        match try_store(hold, page, filters).await {
            Ok(stored) => return stored,
            Err(error) => tracing::debug!(%error, "deliveries cannot be stored"),
        }
        hold.post.pause(PAUSE).await;
    }
}

async fn try_store(
    hold: &Hold<'_>,
    page: &[Logged],
    filters: &mut Filters,
) -> Result<bool, StoreError> {
    let webhooks = &hold.post.webhooks;
    // Asked behind the page: a subscription from before one of its changes is known then.
    filters.read(webhooks.hooks.current().await?);
    let now = hold.post.clock.now();
    let mut deliveries = Vec::new();
    for logged in page {
        let operation = match &logged.change {
            Change::Transition { after, .. } => after,
            Change::Removed { last, is_only_word: true } if last.is_done() => last,
            Change::Removed { .. } => continue,
        };
        deliveries.extend(told_of(hold, operation, filters, now));
    }
    let is_some = !deliveries.is_empty();
    if is_some {
        webhooks.deliveries()?.put_deliveries(deliveries).await?;
    }
    Ok(is_some)
}

/// What is to be sent because of a transition to this.
fn told_of(
    hold: &Hold<'_>,
    operation: &Arc<Operation>,
    filters: &Filters,
    now: Timestamp,
) -> Vec<Delivery> {
    let tenant = &operation.submission.tenant;
    let mut deliveries = Vec::new();
    if let Some(url) = operation.submission.callback.as_ref().filter(|_| operation.is_done()) {
        let endpoint = Webhooks::endpoint_of_callback(tenant, url);
        let (name, format) = (callbacks_of(tenant), Format::Plain);
        let new = Told { name: &name, endpoint, url, format };
        deliveries.push(new.delivery(hold, operation, now));
    }
    for (id, webhook) in filters.matching(operation) {
        let Some(url) = &webhook.url else { continue };
        let endpoint = format!("{tenant}/{id}");
        let new = Told { name: id, endpoint, url, format: webhook.format };
        deliveries.push(new.delivery(hold, operation, now));
    }
    deliveries
}

/// The receivers of a transition, with their formats.
struct Told<'a> {
    name: &'a str,
    endpoint: String,
    url: &'a CallbackUrl,
    format: Format,
}

impl Told<'_> {
    fn delivery(self, hold: &Hold<'_>, operation: &Arc<Operation>, now: Timestamp) -> Delivery {
        let Self { name, endpoint, url, format } = self;
        let revision = operation.life.revision;
        let id = delivery_id(operation.id(), revision, name);
        let event = message::event(operation.state_name());
        let body = message::body(operation, &id, &event, format, &hold.post.base);
        let record = Record {
            webhook: name.to_owned(),
            operation: operation.id().to_string(),
            revision: revision.0,
            event,
            url: url.as_str().to_owned(),
            content_type: format.content_type().to_owned(),
            created_at: now.micros(),
            give_up_at: now.after(hold.post.options.retry_for).micros(),
            attempts: 0,
            tried_at: None,
            status: None,
            error: String::new(),
        };
        Delivery {
            number: 0,
            id,
            tenant: operation.submission.tenant.clone(),
            endpoint,
            state: DeliveryState::Pending,
            due_at: now,
            record: record.encode(),
            body,
        }
    }
}

impl Filters {
    fn read(&mut self, snapshot: Arc<Snapshot<Webhook>>) {
        if self.of.as_ref().is_some_and(|known| Arc::ptr_eq(known, &snapshot)) {
            return;
        }
        (self.parsed, self.by_tenant) = Default::default();
        for (id, webhook) in snapshot.iter().filter(|(_, it)| it.url.is_some()) {
            let Some(filter) = webhook.parsed_filter() else {
                tracing::error!(webhook = id, "the filter of a webhook cannot be read");
                continue;
            };
            self.parsed.insert(id.to_owned(), filter);
            self.by_tenant.entry(webhook.tenant.clone()).or_default().push(id.to_owned());
        }
        self.of = Some(snapshot);
    }

    /// The subscriptions that want to know of a transition to this.
    fn matching<'a>(
        &'a self,
        operation: &'a Operation,
    ) -> impl Iterator<Item = (&'a str, &'a Arc<Webhook>)> {
        let ids = self.by_tenant.get(&operation.submission.tenant).into_iter().flatten();
        ids.filter_map(move |id| {
            let webhook = self.of.as_ref()?.get(id)?;
            let is_asked = webhook.states.contains(&operation.state_name())
                && operation.is_readable_by(webhook.owner.as_ref())
                && self.parsed.get(id).is_some_and(|filter| filter.matches(operation));
            is_asked.then_some((id.as_str(), webhook))
        })
    }
}
