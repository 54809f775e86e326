//! Watches all operations, stream after stream, each from where the last one was cut: every transition of everything
//! comes once and in order over all of them, and at the end everything is known as it is, and nothing else.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use longrun::operation::{Operation, OperationId, Revision};
use longrun::service::{FeedItem, FeedMessage, FeedStart, parse_filter};
use longrun::store::Lookup;

use crate::disk::Disk;
use crate::world::{CallError, World, hops};

/// What the streams have told so far.
#[derive(Default)]
struct Told {
    by_id: BTreeMap<OperationId, Revision>,
    /// All that was there when the watch, or its last reset, began.
    is_synced: bool,
    /// Behind the last message that came.
    position: Option<String>,
    replica: usize,
}

/// A watch over everything.
pub struct Feed {
    world: Rc<World>,
    told: RefCell<Told>,
    rng: RefCell<fastrand::Rng>,
}

impl Feed {
    pub fn new(world: Rc<World>) -> Self {
        let rng = RefCell::new(world.fork());
        Self { world, told: RefCell::default(), rng }
    }

    /// Watches for ever: whoever spawned it ends it.
    pub async fn run(self: Rc<Self>) {
        let mut rng = self.rng.borrow_mut().fork();
        loop {
            // An end for whatever reason is followed by another stream.
            let _ = self.one_stream(&mut rng).await;
            // Now and then by a client that knows nothing.
            let forgets = !self.world.enough.get() && rng.u32(..10) == 0;
            if forgets || self.told.borrow().position.is_none() {
                *self.told.borrow_mut() = Told::default();
            }
            self.world.pause(&mut rng, 20).await;
        }
    }

    /// What the streams have not told, or told otherwise.
    pub fn lacks(&self, disk: &Disk) -> Option<String> {
        let told = self.told.borrow();
        if !told.is_synced {
            return None;
        }
        let stored: BTreeMap<OperationId, Revision> = disk.revisions().collect();
        let mut ids = stored.keys().chain(told.by_id.keys());
        let wrong = ids.find(|id| told.by_id.get(id) != stored.get(id));
        wrong.map(|id| {
            let (name, known) = (self.world.record.name(*id), told.by_id.get(id));
            let (at, revision) = (told.replica, stored.get(id));
            format!("a feed at {at} knows {name} at {known:?}, and it is at {revision:?}")
        })
    }

    async fn one_stream(&self, rng: &mut fastrand::Rng) -> Result<(), CallError> {
        hops(rng, 4).await;
        let connection = self.world.connect(rng).ok_or(CallError::Cut)?;
        let position = self.told.borrow().position.clone();
        let start = position.as_deref().map_or(FeedStart::Current, FeedStart::After);
        let filter = parse_filter("").map_err(CallError::Refused)?;
        let service = &connection.service;
        let stream = service.watch_all(&World::caller(), filter, rng.bool(), start, None);
        let mut stream = stream.expect("a caller who may");
        self.told.borrow_mut().replica = connection.replica;
        loop {
            let next = connection.run(stream.next()).await.ok_or(CallError::Cut)?;
            hops(rng, 6).await;
            if !self.world.enough.get() && rng.u32(..60) == 0 {
                return Err(CallError::Cut);
            }
            match next {
                None => return Ok(()),
                Some(Ok(FeedMessage::Item(item))) => self.take(item),
                Some(Ok(FeedMessage::Heartbeat)) => {}
                Some(Err(error)) => return Err(CallError::Refused(error)),
            }
            self.told.borrow_mut().position = stream.position();
        }
    }

    fn take(&self, item: FeedItem) {
        let mut told = self.told.borrow_mut();
        match item {
            FeedItem::Current(operation) => {
                self.world.record.streamed(&operation);
                let (id, revision) = (operation.id(), operation.life.revision);
                if let Some(before) = told.by_id.insert(id, revision) {
                    self.odd(&operation, &format!("is current after {before:?} had been told"));
                }
            }
            FeedItem::Transition(committed) | FeedItem::Left(committed) => {
                let operation = &committed.operation;
                self.world.record.streamed(operation);
                let (id, revision) = (operation.id(), operation.life.revision);
                let before = told.by_id.insert(id, revision);
                // What has gone meanwhile may be told from anywhere.
                let is_gone = self.world.disk().load(&Lookup::Id(id)).is_none();
                if revision != before.unwrap_or_default().next() && !is_gone {
                    self.odd(operation, &format!("came after {before:?} had been told"));
                }
            }
            FeedItem::Deleted(operation) => {
                told.by_id.remove(&operation.id());
            }
            FeedItem::Synced => told.is_synced = true,
            FeedItem::Reset => {
                told.by_id.clear();
                told.is_synced = false;
            }
            FeedItem::Progress(_) => {}
        }
    }

    fn odd(&self, operation: &Operation, what: &str) {
        let record = &self.world.record;
        let oddity = format!("in a feed {:?} {what}", operation.life.revision);
        record.odd(&record.name(operation.id()), oddity);
    }
}
