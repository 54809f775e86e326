//! The comparison at the end: reads both sides again, record by record.

use std::cmp::Ordering;
use std::collections::{BTreeSet, VecDeque};

use futures_util::future::try_join_all;

use super::deliveries::{self, Unread};
use super::record::{PAGE, Record, Sums, groups};
use super::tally::{Counting, Tally};
use super::{Progress, Side, Stage, TransferError, Watcher, catalogue, payloads};
use crate::objects::ObjectError;
use crate::operation::{Operation, OperationId};
use crate::service::webhooks::delivery_text;

/// The maximum number of differences that are described; all are counted.
const TOLD: usize = 10;

/// The comparison of two sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// The source.
    pub from: Tally,
    /// The destination.
    pub to: Tally,
    /// The number of operations, tombstones and objects that differ.
    pub differences: u64,
    /// The first differences, as text.
    pub told: Vec<String>,
}

impl Verified {
    /// Whether both sides are equal.
    pub fn is_same(&self) -> bool {
        self.differences == 0 && self.from == self.to
    }

    fn differs(&mut self, id: OperationId, how: impl FnOnce() -> String) {
        self.differs_in(|| format!("operation {id}: {}", how()));
    }

    fn differs_in(&mut self, what: impl FnOnce() -> String) {
        self.differences += 1;
        if self.told.len() < TOLD {
            self.told.push(what());
        }
    }
}

/// Reads both sides completely.
pub(super) async fn verify(
    from: &Side,
    to: &Side,
    (total, unread): (u64, &Unread),
    watcher: Watcher<'_>,
) -> Result<Verified, TransferError> {
    let sides = [from, to].map(|side| (side, Counting::default()));
    let [from, to] = sides;
    let mut comparing = Comparing { from, to, verified: Verified::default() };
    let mut after = None;
    loop {
        let done = comparing.from.1.tally.operations;
        watcher(Progress { stage: Stage::Verifying, done, total });
        let (mut left, mut right) =
            tokio::try_join!(scan(comparing.from.0, after), scan(comparing.to.0, after))?;
        // After the end of a full page there may be more, which the other side's page may contain already.
        let ends = [&left, &right].map(|page| page.get(PAGE - 1).map(Operation::id));
        after = ends.into_iter().flatten().min();
        if let Some(end) = after {
            left.retain(|operation| operation.id() <= end);
            right.retain(|operation| operation.id() <= end);
        }
        comparing.page(left, right).await?;
        if after.is_none() {
            break;
        }
    }
    comparing.tombstones().await?;
    comparing.catalogue().await?;
    comparing.deliveries(unread).await?;
    let Comparing { from, to, verified } = comparing;
    Ok(Verified { from: from.1.end(), to: to.1.end(), ..verified })
}

async fn scan(side: &Side, after: Option<OperationId>) -> Result<Vec<Operation>, TransferError> {
    side.store.scan(after, PAGE).await.map_err(side.failed())
}

struct Comparing<'a> {
    from: (&'a Side, Counting),
    to: (&'a Side, Counting),
    verified: Verified,
}

impl Comparing<'_> {
    /// Compares all operations within a range of ids.
    async fn page(
        &mut self,
        left: Vec<Operation>,
        right: Vec<Operation>,
    ) -> Result<(), TransferError> {
        let objects: Vec<Operation> = right.iter().filter(|it| has_objects(it)).cloned().collect();
        let referred = left.iter().flat_map(payloads).filter(|(_, info)| info.object.is_some());
        self.from.1.tally.objects += referred.count() as u64;
        let (left, right) = tokio::try_join!(sums(self.from.0, left), sums(self.to.0, right))?;
        left.iter().for_each(|(_, sums)| self.from.1.add(sums));
        right.iter().for_each(|(_, sums)| self.to.1.add(sums));
        let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
        loop {
            let order = match (left.peek(), right.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((left, _)), Some((right, _))) => left.cmp(right),
            };
            let of_left = if order.is_le() { left.next() } else { None };
            let of_right = if order.is_ge() { right.next() } else { None };
            match (of_left, of_right) {
                (Some((id, left)), Some((_, right))) if left != right => {
                    self.verified.differs(*id, || which(left, right));
                }
                (Some((id, _)), None) => {
                    self.verified.differs(*id, || format!("it is not in {}", self.to.0.name));
                }
                (None, Some((id, _))) => {
                    self.verified.differs(*id, || format!("it is not in {}", self.from.0.name));
                }
                _ => {}
            }
        }
        for operation in &objects {
            self.objects(operation).await?;
        }
        Ok(())
    }

    /// Reads the objects of an operation at the destination.
    async fn objects(&mut self, operation: &Operation) -> Result<(), TransferError> {
        let (to, counting) = &mut self.to;
        for (role, info) in payloads(operation) {
            let Some(object) = info.object else { continue };
            let problem = match to.objects.sha256(object.id, info.size_bytes).await {
                Ok(sha256) if sha256 == object.sha256 => {
                    counting.tally.objects += 1;
                    continue;
                }
                Ok(_) => "does not have the SHA-256 that was recorded",
                Err(ObjectError::Missing(_)) => "is missing",
                Err(ObjectError::Damaged { how, .. }) => how,
                Err(error) => {
                    let (id, place) = (operation.id(), to.objects.to_string());
                    return Err(TransferError::Object {
                        id,
                        role,
                        from: place.clone(),
                        to: place,
                        error,
                    });
                }
            };
            self.verified.differs(operation.id(), || {
                format!("its {} in {} {problem}", super::name_of(role), to.objects)
            });
        }
        Ok(())
    }

    async fn catalogue(&mut self) -> Result<(), TransferError> {
        let (from, to) = (self.from.0, self.to.0);
        let (left, right) = tokio::try_join!(catalogue::read(from), catalogue::read(to))?;
        let names: BTreeSet<_> = left.keys().chain(right.keys()).collect();
        for (space, name) in names.iter().filter(|name| left.get(name) != right.get(name)) {
            self.verified.differs_in(|| format!("entry {name:?} of {space} is not the same"));
        }
        for (counting, entries) in [(&mut self.from.1, &left), (&mut self.to.1, &right)] {
            entries.iter().for_each(|(name, value)| counting.keep(name, value));
        }
        Ok(())
    }

    /// Both sides must have the same deliveries in the same order; after those of the source, the destination may have
    /// those of transitions that the source's server had not read.
    async fn deliveries(&mut self, unread: &Unread) -> Result<(), TransferError> {
        let mut sides = [self.from.0, self.to.0].map(|side| deliveries::Sums::of(side, unread));
        let mut pages = [VecDeque::new(), VecDeque::new()];
        let mut made = 0;
        loop {
            for (side, page) in sides.iter_mut().zip(&mut pages) {
                if page.is_empty() {
                    *page = side.next().await?.into();
                }
            }
            let [left, right] = pages.each_mut().map(VecDeque::pop_front);
            if left.is_none() && right.is_none() {
                break;
            }
            let is_made = left.is_none() && right.as_ref().is_some_and(|it| unread.has(it));
            made += usize::from(is_made);
            let in_source = if is_made { &right } else { &left };
            in_source.iter().for_each(|(_, sum)| self.from.1.deliver(sum));
            right.iter().for_each(|(_, sum)| self.to.1.deliver(sum));
            if let Some((id, _)) = in_source.as_ref().or(right.as_ref())
                && *in_source != right
            {
                let id = delivery_text(id);
                self.verified.differs_in(|| format!("delivery {id} is not the same"));
            }
        }
        if made != unread.count() {
            let missing = unread.count().saturating_sub(made);
            self.verified.differs_in(|| {
                format!("{missing} deliveries of unread transitions are not in {}", self.to.0.name)
            });
        }
        Ok(())
    }

    async fn tombstones(&mut self) -> Result<(), TransferError> {
        let (mut after_left, mut after_right) = (None, None);
        loop {
            let (from, to) = (self.from.0, self.to.0);
            let (left, right) = tokio::try_join!(
                async { from.store.tombstones(after_left, PAGE).await.map_err(from.failed()) },
                async { to.store.tombstones(after_right, PAGE).await.map_err(to.failed()) },
            )?;
            if left.is_empty() && right.is_empty() {
                return Ok(());
            }
            left.iter().for_each(|(id, tombstone)| self.from.1.bury(*id, tombstone));
            right.iter().for_each(|(id, tombstone)| self.to.1.bury(*id, tombstone));
            let differs = left.iter().zip(&right).find(|(left, right)| left != right);
            let odd = left.get(right.len()).or_else(|| right.get(left.len()));
            if let Some((id, _)) = differs.map(|(left, _)| left).or(odd) {
                self.verified.differs(*id, || "its tombstone is not the same".to_owned());
            }
            after_left = left.last().map(|(id, _)| *id).or(after_left);
            after_right = right.last().map(|(id, _)| *id).or(after_right);
        }
    }
}

fn has_objects(operation: &Operation) -> bool {
    payloads(operation).any(|(_, info)| info.object.is_some())
}

async fn sums(
    side: &Side,
    operations: Vec<Operation>,
) -> Result<Vec<(OperationId, Sums)>, TransferError> {
    let mut sums = Vec::with_capacity(operations.len());
    for group in groups(operations) {
        let each = group.into_iter().map(async |operation| {
            let id = operation.id();
            Ok::<_, TransferError>((id, Record::load(side, operation).await?.sums()))
        });
        sums.extend(try_join_all(each).await?);
    }
    Ok(sums)
}

fn which(left: &Sums, right: &Sums) -> String {
    let parts = [
        (left.operation != right.operation, "record"),
        (left.payloads != right.payloads, "payloads"),
        (left.history != right.history, "history"),
    ];
    let different = parts.iter().filter(|(differs, _)| *differs).map(|(_, part)| *part);
    format!("not the same: its {}", different.collect::<Vec<_>>().join(", its "))
}
