//! Sends due deliveries: for each receiver a few at a time, for each tenant at most its part.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use super::Post;
use super::hold::Hold;
use super::patience::{self, Breaker, LONGEST_RETRY_AFTER};
use super::post::{Letter, Refusal};
use crate::operation::{TenantId, Timestamp};
use crate::service::webhooks::{CALLBACKS, Record, Webhooks, delivery_text};
use crate::store::StoreError;
use crate::store::deliveries::{
    Delivery, DeliveryChange, DeliveryId, DeliveryState, ForgetDeliveries, WaitingEndpoint,
};

/// The maximum number of concurrent requests: to one receiver, for one tenant, in all.
const OF_ENDPOINT: usize = 8;
const OF_TENANT: usize = 64;
const IN_ALL: usize = 256;
/// How many receivers of a tenant are read, those that have waited longest.
const ENDPOINTS: usize = 256;
/// How many receivers are remembered for their failures.
const REMEMBERED: usize = 10_000;
/// How often due deliveries are looked for without a notification.
const LOOK: Duration = Duration::from_secs(1);
/// How often old deliveries are deleted.
const SWEEP: Duration = Duration::from_secs(60);
/// How long, and how many per tenant, finished deliveries are kept.
const KEEP_DELIVERED: (Duration, u64) = (Duration::from_secs(3 * 24 * 3_600), 10_000);
const KEEP_DEAD: (Duration, u64) = (Duration::from_secs(30 * 24 * 3_600), 10_000);
/// How many pending deliveries a tenant may have; beyond that, the oldest are given up.
const KEEP_PENDING: u64 = 50_000;
/// How many rows are deleted or given up at a time.
const BATCH: usize = 500;

/// The outcome of an attempt.
struct Sent {
    endpoint: String,
    tenant: TenantId,
    /// Whether the receiver accepted it; `None`: it was not asked.
    is_accepted: Option<bool>,
    change: DeliveryChange,
}

/// A receiver.
#[derive(Default)]
struct Endpoint {
    breaker: Breaker,
    busy: HashSet<DeliveryId>,
}

struct Sending<'a> {
    post: &'a Post,
    /// Receivers with running requests or failures.
    endpoints: HashMap<String, Endpoint>,
    of_tenant: HashMap<TenantId, usize>,
    under_way: FuturesUnordered<BoxFuture<'a, Sent>>,
}

/// Sends until the future is dropped.
pub(super) async fn send(hold: &Hold<'_>) {
    let post = hold.post;
    let mut sending = Sending {
        post,
        endpoints: HashMap::new(),
        of_tenant: HashMap::new(),
        under_way: FuturesUnordered::new(),
    };
    let mut sweep_at = post.clock.moment().after(SWEEP);
    loop {
        loop {
            match sending.begin().await {
                Ok(Begun::Postponed) => {}
                Ok(Begun::AllThatCan) => break,
                Err(error) => {
                    tracing::debug!(%error, "deliveries cannot be read");
                    break;
                }
            }
        }
        let mut done = Vec::new();
        tokio::select! {
            Some(sent) = sending.under_way.next() => done.push(sent),
            () = post.webhooks.wake.notified() => {}
            () = post.pause(LOOK) => {}
            () = post.clock.sleep_until_moment(sweep_at) => {
                sweep_at = post.clock.moment().after(SWEEP);
                if let Err(error) = sweep(post).await {
                    tracing::debug!(%error, "old deliveries cannot be forgotten");
                }
            }
        }
        while let Some(Some(sent)) = futures_util::FutureExt::now_or_never(sending.under_way.next())
        {
            done.push(sent);
        }
        if !done.is_empty() {
            sending.end(done).await;
        }
    }
}

/// What a look at the receivers led to.
enum Begun {
    /// Everything for which there is room was started.
    AllThatCan,
    /// Receivers that rest were postponed: others may have been behind them in the list.
    Postponed,
}

impl Sending<'_> {
    /// Starts due deliveries for which there is room.
    async fn begin(&mut self) -> Result<Begun, StoreError> {
        let store = self.post.webhooks.deliveries()?;
        let hooks = self.post.webhooks.hooks.snapshot();
        // The store leaves them out, because they would fill the list.
        let paused = Webhooks::paused(&hooks);
        let waiting = store.waiting_endpoints(paused, ENDPOINTS).await?;
        self.post.meters.webhooks.set_pending(waiting.pending);
        let now = self.post.clock.now();
        let mut begun = Begun::AllThatCan;
        for WaitingEndpoint { endpoint, tenant, due_at } in waiting.endpoints {
            // They are ordered by time.
            if due_at > now || self.under_way.len() >= IN_ALL {
                break;
            }
            // Deliveries that an earlier version stored do not name their webhook.
            if Webhooks::is_paused(&hooks, &tenant, &endpoint) {
                continue;
            }
            let moment = self.post.clock.moment();
            let known = self.endpoints.get(&endpoint);
            if let Some(until) = known.and_then(|it| it.breaker.until(moment)) {
                give_up_late(self.post, &endpoint, now).await?;
                store.postpone_endpoint(&endpoint, now.after(until.since(moment))).await?;
                begun = Begun::Postponed;
                continue;
            }
            let most = known.map_or(OF_ENDPOINT, |it| it.breaker.places(moment, OF_ENDPOINT));
            let busy = known.map_or(0, |it| it.busy.len());
            let of_tenant = self.of_tenant.get(&tenant).copied().unwrap_or_default();
            let free = most
                .saturating_sub(busy)
                .min(OF_TENANT.saturating_sub(of_tenant))
                .min(IN_ALL - self.under_way.len());
            if free == 0 {
                continue;
            }
            let due = store.due_deliveries(&endpoint, now, busy + free).await?;
            let of_endpoint = self.endpoints.entry(endpoint).or_default();
            let new: Vec<Delivery> =
                due.into_iter().filter(|it| of_endpoint.busy.insert(it.id)).take(free).collect();
            *self.of_tenant.entry(tenant).or_default() += new.len();
            for delivery in new {
                self.under_way.push(Box::pin(attempt(self.post.clone(), delivery)));
            }
        }
        Ok(begun)
    }

    /// Stores the outcome of attempts; retries until that succeeds.
    async fn end(&mut self, done: Vec<Sent>) {
        let changes: Vec<DeliveryChange> = done.iter().map(|it| it.change.clone()).collect();
        loop {
            let stored = match self.post.webhooks.deliveries() {
                Ok(store) => store.change_deliveries(changes.clone()).await,
                Err(error) => Err(error),
            };
            match stored {
                Ok(()) => break,
                Err(error) => {
                    tracing::debug!(%error, "what became of deliveries is not stored yet")
                }
            }
            self.post.pause(LOOK).await;
        }
        let moment = self.post.clock.moment();
        for Sent { endpoint, tenant, is_accepted, change } in done {
            if let Some(of_endpoint) = self.endpoints.get_mut(&endpoint) {
                of_endpoint.busy.remove(&change.id);
                match is_accepted {
                    Some(true) => of_endpoint.breaker.succeeded(),
                    Some(false) => of_endpoint.breaker.failed(moment),
                    None => {}
                }
                if of_endpoint.busy.is_empty() && of_endpoint.breaker.is_new() {
                    self.endpoints.remove(&endpoint);
                }
            }
            if let Some(count) = self.of_tenant.get_mut(&tenant) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.of_tenant.remove(&tenant);
                }
            }
        }
        if self.endpoints.len() > REMEMBERED {
            // Drops idle receivers of callbacks. One of them may then get one request too many.
            self.endpoints.retain(|_, it| !it.busy.is_empty());
        }
    }
}

/// Gives up deliveries whose time is over, while nothing is sent to their receiver.
async fn give_up_late(post: &Post, endpoint: &str, now: Timestamp) -> Result<(), StoreError> {
    let store = post.webhooks.deliveries()?;
    // If those that have waited longest are not late, no other is.
    let oldest = store.due_deliveries(endpoint, now, 1).await?;
    let is_late = |delivery: &Delivery| {
        let record = Record::decode(&delivery.record);
        record.is_none_or(|record| record.give_up_at <= now.micros())
    };
    if !oldest.iter().any(is_late) {
        return Ok(());
    }
    let late = store.due_deliveries(endpoint, now, BATCH).await?.into_iter().filter(is_late);
    let given_up: Vec<DeliveryChange> = late
        .map(|delivery| {
            let why = "it was not sent in time, because its receiver failed again and again";
            dead(delivery, now, why)
        })
        .collect();
    post.meters.webhooks.add("dead", given_up.len() as u64);
    store.change_deliveries(given_up).await
}

/// Makes one attempt; returns its outcome.
async fn attempt(post: Post, delivery: Delivery) -> Sent {
    let now = post.clock.now();
    let (endpoint, tenant, id) = (delivery.endpoint.clone(), delivery.tenant.clone(), delivery.id);
    let hooks = post.webhooks.hooks.snapshot();
    let Some(mut record) = Record::decode(&delivery.record) else {
        let change = dead(delivery, now, "its record cannot be read");
        return Sent { endpoint, tenant, is_accepted: None, change };
    };
    let is_callback = record.webhook.starts_with(CALLBACKS);
    if !is_callback && hooks.get(&record.webhook).is_none() {
        let change = dead(delivery, now, "its webhook was deleted");
        return Sent { endpoint, tenant, is_accepted: None, change };
    }
    let secrets = post.webhooks.secrets(&hooks, &record.webhook, now);
    let letter = Letter {
        id: &delivery_text(&id),
        url: &record.url,
        content_type: &record.content_type,
        body: delivery.body,
        now: now.to_unix().0,
        secrets: &secrets,
    };
    let answer = post.sender.send(letter).await;
    let now = post.clock.now();
    record.attempts = record.attempts.saturating_add(1);
    record.tried_at = Some(now.micros());
    let (state, due_at, is_accepted) = match answer {
        Ok(status) => {
            (record.status, record.error) = (Some(status), String::new());
            (DeliveryState::Delivered, now, true)
        }
        Err(Refusal { status, error, retry_after, is_final }) => {
            (record.status, record.error) = (status, error);
            let pause = patience::pause(record.attempts, fastrand::f64());
            let pause = pause.max(retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER));
            let next = now.after(pause);
            let is_over = is_final || now.micros() >= record.give_up_at;
            // The last attempt is made when the delivery's time ends.
            let next = next.min(Timestamp::from_micros(record.give_up_at));
            match is_over {
                true => (DeliveryState::Dead, now, false),
                false => (DeliveryState::Pending, next, false),
            }
        }
    };
    count(&post, state, is_accepted, &record, &id);
    let change = DeliveryChange { id, state, due_at, record: record.encode() };
    Sent { endpoint, tenant, is_accepted: Some(is_accepted), change }
}

fn count(post: &Post, state: DeliveryState, is_accepted: bool, record: &Record, id: &DeliveryId) {
    let outcome = match (is_accepted, state) {
        (true, _) => "delivered",
        (false, DeliveryState::Dead) => "dead",
        (false, _) => "failed",
    };
    post.meters.webhooks.add(outcome, 1);
    if state == DeliveryState::Dead {
        let (id, error) = (delivery_text(id), &record.error);
        tracing::warn!(
            delivery = id,
            operation.id = record.operation,
            attempts = record.attempts,
            error,
            "a webhook was given up"
        );
    } else if !is_accepted {
        let (id, error) = (delivery_text(id), &record.error);
        tracing::debug!(
            delivery = id,
            operation.id = record.operation,
            attempts = record.attempts,
            error,
            "a webhook is tried again"
        );
    }
}

fn dead(delivery: Delivery, now: Timestamp, why: &str) -> DeliveryChange {
    let record = match Record::decode(&delivery.record) {
        Some(record) => Record { error: why.to_owned(), ..record }.encode(),
        None => delivery.record,
    };
    DeliveryChange { id: delivery.id, state: DeliveryState::Dead, due_at: now, record }
}

/// Deletes old deliveries, and a tenant's excess.
async fn sweep(post: &Post) -> Result<(), StoreError> {
    let store = post.webhooks.deliveries()?;
    let now = post.clock.now();
    let kinds = BTreeMap::from([
        (DeliveryState::Pending, (Timestamp::from_micros(i64::MIN), KEEP_PENDING)),
        (DeliveryState::Delivered, (now.before(KEEP_DELIVERED.0), KEEP_DELIVERED.1)),
        (DeliveryState::Dead, (now.before(KEEP_DEAD.0), KEEP_DEAD.1)),
    ]);
    for (state, (before, keep)) in kinds {
        for _ in 0..20 {
            let forget = ForgetDeliveries { state, before, keep, limit: BATCH };
            let gone = store.forget_deliveries(forget).await?;
            if gone > 0 && state == DeliveryState::Pending {
                post.meters.webhooks.add("dropped", gone);
                tracing::error!(
                    gone,
                    "a tenant has too many deliveries that wait: the oldest were dropped"
                );
            }
            if gone < BATCH as u64 {
                break;
            }
        }
    }
    Ok(())
}
