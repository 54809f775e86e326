//! A copy: one whole store into another that is empty, or has a part of an earlier copy.
//!
//! Everything in the destination must be in the source, and equal: this is checked before anything is written. Then
//! operations are copied by rising id, in groups: the next group is read while one is committed. An operation is
//! written whole, after its objects, so the next copy continues where one has ended.

use std::time::Duration;

use futures_util::future::try_join_all;

use super::deliveries::{self, Unread};
use super::leases::Leases;
use super::record::{PAGE, Record, groups};
use super::verify::{Verified, verify};
use super::{Progress, Side, Stage, TransferError, Watcher, bring_object, catalogue, payloads};
use crate::operation::{Operation, OperationId, Timestamp};
use crate::store::{Batch, Lookup};

/// How many tombstones are copied at once.
const TOMBSTONES: usize = 500;

/// The numbers of a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Operations written.
    pub operations: u64,
    /// Operations that existed already.
    pub skipped: u64,
    /// Objects written.
    pub objects: u64,
    /// Tombstones written.
    pub tombstones: u64,
    /// Entries of the catalogue written.
    pub catalogue: u64,
    /// Deliveries of webhooks written.
    pub deliveries: u64,
    /// Whether some transitions are not delivered: the source's server had not read them for webhooks, and the source's
    /// log no longer has them.
    pub has_gap: bool,
    /// The result of the comparison at the end.
    pub verified: Verified,
}

/// Settings of the server that a copy needs.
#[derive(Clone, Copy, Debug)]
pub struct CopyOptions {
    /// If sessions are rows, those with leases are kept for this long after the end of the copy.
    pub lease_duration: Duration,
    /// How long deliveries are tried for transitions that the source's server had not read for webhooks.
    pub retry_for: Duration,
    /// The present time.
    pub now: Timestamp,
}

/// Copies everything in `from` to `to`, and compares both. No other process may write to either meanwhile.
pub async fn copy(
    from: &Side,
    to: &Side,
    options: CopyOptions,
    watcher: Watcher<'_>,
) -> Result<Copied, TransferError> {
    let CopyOptions { lease_duration, retry_for, now } = options;
    tokio::try_join!(from.refuse_in_use(), to.refuse_in_use())?;
    refuse_others(from, to, watcher).await?;
    catalogue::refuse_others(from, to).await?;
    let unread = Unread::read(from, retry_for, now).await?;
    deliveries::refuse_others(from, to, &unread).await?;
    let total = from.store.count().await.map_err(from.failed())?;
    let leases = Leases::new(to, lease_duration);
    let copied = Copied::default();
    let mut copying = Copying { from, to, leases, watcher, total, copied };
    copying.operations().await?;
    copying.tombstones().await?;
    let Copying { leases, mut copied, .. } = copying;
    copied.catalogue = catalogue::copy(from, to).await?;
    copied.deliveries = deliveries::copy(from, to, &unread).await?;
    copied.has_gap = unread.is_gap;
    copied.verified = verify(from, to, (total, &unread), watcher).await?;
    leases.renew().await?;
    // Last, so that an interrupted copy delivers nothing of the history.
    deliveries::begin_at_end(to, &unread).await?;
    Ok(copied)
}

/// Refuses a destination with data that the source lacks.
async fn refuse_others(from: &Side, to: &Side, watcher: Watcher<'_>) -> Result<(), TransferError> {
    let differs = |id: OperationId, how: String| TransferError::Differs {
        from: from.name.clone(),
        to: to.name.clone(),
        id,
        how,
    };
    let total = to.store.count().await.map_err(to.failed())?;
    let (mut after, mut done) = (None, 0);
    loop {
        watcher(Progress { stage: Stage::Checking, done, total });
        let page = to.store.scan(after, PAGE).await.map_err(to.failed())?;
        let Some(last) = page.last() else { break };
        after = Some(last.id());
        done += page.len() as u64;
        for (here, there) in page.iter().zip(load(from, &page).await?) {
            let Some(there) = there else {
                return Err(differs(here.id(), format!("is not in {}", from.name)));
            };
            if there != *here {
                let (here_at, there_at) = (here.life.revision.0, there.life.revision.0);
                let how = match here_at == there_at {
                    true => format!("is another one in {}", from.name),
                    false => {
                        format!("is at revision {here_at}, and at {there_at} in {}", from.name)
                    }
                };
                return Err(differs(here.id(), how));
            }
        }
    }
    let mut after = None;
    loop {
        let page = to.store.tombstones(after, TOMBSTONES).await.map_err(to.failed())?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(*last);
        let there = try_join_all(page.iter().map(|(id, _)| from.store.tombstone(*id))).await;
        for ((id, here), there) in page.into_iter().zip(there.map_err(from.failed())?) {
            if there != Some(here) {
                let how = format!("has a tombstone, and another or none in {}", from.name);
                return Err(differs(id, how));
            }
        }
    }
}

async fn load(
    side: &Side,
    operations: &[Operation],
) -> Result<Vec<Option<Operation>>, TransferError> {
    let lookups = operations.iter().map(|operation| Lookup::Id(operation.id())).collect();
    side.store.load(lookups).await.map_err(side.failed())
}

/// A running copy.
struct Copying<'a> {
    from: &'a Side,
    to: &'a Side,
    leases: Leases<'a>,
    watcher: Watcher<'a>,
    total: u64,
    copied: Copied,
}

impl Copying<'_> {
    async fn operations(&mut self) -> Result<(), TransferError> {
        let to = self.to;
        let (mut after, mut ready) = (None, Batch::default());
        loop {
            self.tell();
            let page = self.from.store.scan(after, PAGE).await.map_err(self.from.failed())?;
            let Some(last) = page.last() else { break };
            after = Some(last.id());
            for group in groups(page) {
                let commit = to.commit(std::mem::take(&mut ready));
                (ready, ()) = tokio::try_join!(self.read(group), commit)?;
                self.tell();
            }
        }
        to.commit(ready).await
    }

    /// The batch for these operations; copies their objects.
    async fn read(&mut self, group: Vec<Operation>) -> Result<Batch, TransferError> {
        let known = load(self.to, &group).await?;
        let mut batch = Batch::default();
        let mut new = Vec::new();
        for (operation, known) in group.into_iter().zip(known) {
            self.leases.keep(&operation, known.is_none(), &mut batch.sessions).await?;
            if known.is_some() {
                self.copied.skipped += 1;
                continue;
            }
            for (role, info) in payloads(&operation) {
                let objects = (&self.from.objects, &self.to.objects);
                let is_new = bring_object(objects, operation.id(), role, info).await?;
                self.copied.objects += u64::from(is_new);
            }
            new.push(operation);
        }
        self.copied.operations += new.len() as u64;
        let records = new.into_iter().map(|operation| Record::load(self.from, operation));
        for record in try_join_all(records).await? {
            record.write(&mut batch);
        }
        Ok(batch)
    }

    async fn tombstones(&mut self) -> Result<(), TransferError> {
        let (from, to) = (self.from, self.to);
        let mut after = None;
        loop {
            let page = from.store.tombstones(after, TOMBSTONES).await.map_err(from.failed())?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(*last);
            let known = try_join_all(page.iter().map(|(id, _)| to.store.tombstone(*id))).await;
            let known = known.map_err(to.failed())?;
            let new = page.into_iter().zip(known).filter(|(_, known)| known.is_none());
            let tombstones: Vec<_> = new.map(|(tombstone, _)| tombstone).collect();
            self.copied.tombstones += tombstones.len() as u64;
            to.commit(Batch { tombstones, ..Batch::default() }).await?;
        }
    }

    fn tell(&self) {
        let done = self.copied.operations + self.copied.skipped;
        (self.watcher)(Progress { stage: Stage::Copying, done, total: self.total });
    }
}
