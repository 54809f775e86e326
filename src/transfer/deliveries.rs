//! Deliveries of webhooks, and the position in the log from which the destination's server makes new ones.
//!
//! A position refers to its own store's log, so none is copied: the destination's server begins at the end of its log,
//! after everything that was copied. No part of the history is delivered twice, and nothing is lost: transitions that
//! the source's server had not read yet become deliveries of the destination here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::record::Sum;
use super::{Side, TransferError};
use crate::catalogue::{Catalogue, Entry as _, Snapshot};
use crate::operation::Timestamp;
use crate::service::webhooks::{CourierState, Webhook, delivery_text};
use crate::store::deliveries::{Delivery, DeliveryId};
use crate::store::log::{Position, ReadError, Reader};
use crate::store::{CatalogueChange, StoreError};
use crate::webhooks::Planner;

/// The catalogue's space that is not copied.
pub(super) const OWN_SPACE: &str = CourierState::SPACE;
/// How many deliveries are read and written at once, and how many changes of the log are read.
const PAGE: usize = 200;

/// Deliveries of transitions that the source's server had not read.
#[derive(Debug)]
pub(super) struct Unread {
    /// The position of the source's server; `None` if the source has no webhooks.
    position: Option<Position>,
    /// How long they are tried after `now`.
    retry_for: Duration,
    now: Timestamp,
    /// By id, the sum of the data that does not depend on the time of the copy.
    sums: HashMap<DeliveryId, [u8; 32]>,
    /// Whether the log after the position is gone, so that no deliveries can be made of it.
    pub(super) is_gap: bool,
}

impl Unread {
    /// Reads the source's log from its server's position.
    pub(super) async fn read(
        from: &Side,
        retry_for: Duration,
        now: Timestamp,
    ) -> Result<Self, TransferError> {
        let sums = HashMap::new();
        let mut unread = Self { position: None, retry_for, now, sums, is_gap: false };
        let Some(courier) = courier(from).await? else { return Ok(unread) };
        unread.position = Position::decode(&courier.position, &from.store.signing_key());
        unread.is_gap = unread.position.is_none();
        let Some(mut log) = unread.log(from).await? else { return Ok(unread) };
        loop {
            match log.next().await {
                Ok(None) => return Ok(unread),
                Ok(Some(page)) => {
                    for delivery in page {
                        if find(from, &delivery).await?.is_none() {
                            unread.sums.insert(delivery.id, lasting_sum(&delivery));
                        }
                    }
                }
                Err(ReadError::Gone(_)) => {
                    unread.is_gap = true;
                    return Ok(unread);
                }
                Err(ReadError::Store(error)) => return Err(from.failed()(error)),
            }
        }
    }

    async fn log<'a>(&self, from: &'a Side) -> Result<Option<Log<'a>>, TransferError> {
        let Some(position) = self.position.clone() else { return Ok(None) };
        let mut catalogue = Catalogue::new(Arc::clone(&from.store));
        let webhooks = catalogue.open::<Webhook>().await.map_err(from.failed())?;
        let planner = Planner::new(Arc::from(""), self.retry_for);
        let webhooks = webhooks.snapshot();
        Ok(Some(Log { from, reader: Reader::new(position), planner, webhooks, now: self.now }))
    }

    /// The number of these deliveries.
    pub(super) fn count(&self) -> usize {
        self.sums.len()
    }

    /// Whether a delivery of the destination, by id and sum, is one of these.
    pub(super) fn has(&self, (id, sum): &(DeliveryId, [u8; 32])) -> bool {
        self.sums.get(id) == Some(sum)
    }

    /// The sum of a delivery at the destination, comparable with the source's.
    fn sum(&self, delivery: &Delivery) -> [u8; 32] {
        match self.sums.contains_key(&delivery.id) {
            true => lasting_sum(delivery),
            false => whole_sum(delivery),
        }
    }
}

/// The source's log as deliveries, page by page.
struct Log<'a> {
    from: &'a Side,
    reader: Reader,
    planner: Planner,
    webhooks: Arc<Snapshot<Webhook>>,
    now: Timestamp,
}

impl Log<'_> {
    async fn next(&mut self) -> Result<Option<Vec<Delivery>>, ReadError> {
        let page = self.reader.read(&*self.from.store, PAGE).await?;
        let webhooks = Arc::clone(&self.webhooks);
        Ok((!page.is_empty()).then(|| self.planner.deliveries(&page, webhooks, self.now)))
    }
}

/// Refuses a destination with a delivery that the source lacks, or has in another form.
pub(super) async fn refuse_others(
    from: &Side,
    to: &Side,
    unread: &Unread,
) -> Result<(), TransferError> {
    let mut after = 0;
    loop {
        let page = scan(to, after).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = last.number;
        for delivery in page {
            let is_own = match unread.sums.get(&delivery.id) {
                Some(sum) => *sum == lasting_sum(&delivery),
                None => find(from, &delivery)
                    .await?
                    .is_some_and(|it| whole_sum(&it) == whole_sum(&delivery)),
            };
            if !is_own {
                let (from, to) = (from.name.clone(), to.name.clone());
                let id = delivery_text(&delivery.id);
                return Err(TransferError::OtherDelivery { from, to, id });
            }
        }
    }
}

/// Writes all deliveries of the source, then those of the transitions that its server had not read; returns how many
/// were new.
pub(super) async fn copy(from: &Side, to: &Side, unread: &Unread) -> Result<u64, TransferError> {
    let (mut after, mut written) = (0, 0);
    loop {
        let page = scan(from, after).await?;
        let Some(last) = page.last() else { break };
        after = last.number;
        written += write(to, page).await?;
    }
    if let Some(mut log) = unread.log(from).await? {
        while let Some(mut page) = log.next().await.map_err(|error| match error {
            ReadError::Store(error) => from.failed()(error),
            ReadError::Gone(_) => TransferError::InUse(from.name.clone()),
        })? {
            page.retain(|delivery| unread.sums.contains_key(&delivery.id));
            written += write(to, page).await?;
        }
    }
    Ok(written)
}

async fn write(to: &Side, mut page: Vec<Delivery>) -> Result<u64, TransferError> {
    let mut new = Vec::with_capacity(page.len());
    for delivery in page.drain(..) {
        if find(to, &delivery).await?.is_none() {
            new.push(delivery);
        }
    }
    let count = new.len() as u64;
    if let Some(store) = to.store.deliveries().filter(|_| count > 0) {
        store.put_deliveries(new).await.map_err(to.failed())?;
    }
    Ok(count)
}

/// Makes the destination's server begin at the end of its log, if the source has webhooks.
pub(super) async fn begin_at_end(to: &Side, unread: &Unread) -> Result<(), TransferError> {
    if unread.position.is_none() && !unread.is_gap {
        return Ok(());
    }
    let head = to.store.head().await.map_err(to.failed())?;
    let position = Position::at(head.frontier()).encode(&to.store.signing_key());
    let state = CourierState { position, holder: String::new(), beat: 0, is_behind: true };
    let mut change = CatalogueChange { space: OWN_SPACE.to_owned(), ..Default::default() };
    for (name, entry) in state.put().put {
        let entry = serde_json::to_vec(&entry).map_err(|error| {
            to.failed()(StoreError::Unavailable(format!("a position is no JSON: {error}")))
        })?;
        change.put.insert(name, entry.into());
    }
    to.store.change_catalogue(change).await.map(drop).map_err(to.failed())
}

/// The sums of a side's deliveries, in order.
pub(super) struct Sums<'a> {
    side: &'a Side,
    unread: &'a Unread,
    after: u64,
}

impl<'a> Sums<'a> {
    pub(super) fn of(side: &'a Side, unread: &'a Unread) -> Self {
        Self { side, unread, after: 0 }
    }

    /// The sums of the next deliveries, by id; empty at the end.
    pub(super) async fn next(&mut self) -> Result<Vec<(DeliveryId, [u8; 32])>, TransferError> {
        let page = scan(self.side, self.after).await?;
        self.after = page.last().map_or(self.after, |last| last.number);
        Ok(page.iter().map(|delivery| (delivery.id, self.unread.sum(delivery))).collect())
    }
}

async fn courier(side: &Side) -> Result<Option<CourierState>, TransferError> {
    let mut catalogue = Catalogue::new(Arc::clone(&side.store));
    let courier = catalogue.open::<CourierState>().await.map_err(side.failed())?;
    Ok(CourierState::of(&courier.snapshot()).cloned())
}

async fn scan(side: &Side, after: u64) -> Result<Vec<Delivery>, TransferError> {
    match side.store.deliveries() {
        Some(store) => store.scan_deliveries(after, PAGE).await.map_err(side.failed()),
        None => Ok(Vec::new()),
    }
}

/// A side's copy of a delivery, if it has one.
async fn find(side: &Side, delivery: &Delivery) -> Result<Option<Delivery>, TransferError> {
    match side.store.deliveries() {
        Some(store) => store.delivery(&delivery.tenant, delivery.id).await.map_err(side.failed()),
        None => Ok(None),
    }
}

fn whole_sum(delivery: &Delivery) -> [u8; 32] {
    let mut sum = Sum::default();
    sum.bytes(&lasting_sum(delivery));
    sum.number(delivery.state.number().into());
    sum.bytes(&delivery.due_at.micros().to_be_bytes());
    sum.bytes(&delivery.record);
    sum.end()
}

/// The sum of the data that a delivery never changes.
fn lasting_sum(delivery: &Delivery) -> [u8; 32] {
    let mut sum = Sum::default();
    sum.bytes(&delivery.id);
    for text in [delivery.tenant.as_str(), &delivery.webhook, &delivery.endpoint] {
        sum.bytes(text.as_bytes());
    }
    sum.bytes(delivery.operation.as_bytes());
    sum.bytes(&delivery.body);
    sum.end()
}
