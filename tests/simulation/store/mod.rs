//! A store that can fail at every step, over a [`Disk`] that keeps exactly what was made durable.
//!
//! A commit happens at one instant between its call and its answer. What fails it, where, and whether
//! its caller can know, is drawn from the schedule's seed. A crash drops what waits here.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use longrun::engine::{Clock as _, Moment};
use longrun::operation::log::LogBook;
use longrun::operation::{
    ChildCounts, Command, Decision, ObjectId, Operation, OperationId, TenantId, Timestamp, decide,
};
use longrun::store::log::{Head, LogPage, LogQuery, SigningKey, Stamp};
use longrun::store::{
    Batch, CatalogueChange, CatalogueSpace, CatalogueVersions, HistoryEntry, HistoryQuery,
    ListQuery, Lookup, PayloadRole, Store, StoreError, Tombstone, TrimLog, Unfinished, Write,
};

use crate::clock::{SimClock, TICK, hop};
use crate::disk::Disk;

mod commits;

use commits::Pending;

/// What the storage is like for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weather {
    /// Nothing fails, nothing waits.
    #[default]
    Still,
    /// Nothing fails, but that others write as well.
    Calm,
    /// Now and then something does.
    Flaky,
    /// Nothing can be written.
    ReadOnly,
    /// Nothing works.
    Down,
    /// Every write takes long.
    Slow,
    /// Commits are done, and nobody hears of them.
    Mute,
}

/// What a store does wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lie {
    /// Nothing.
    #[default]
    None,
    /// It answers before what it was given is durable.
    AcknowledgesEarly,
    /// Now and then it says that a batch is written, and does not write it.
    Forgets,
    /// Now and then it leaves out an event.
    DropsEvents,
    /// It does not keep idempotency keys.
    LosesKeys,
    /// What it answers to be settled may still come to be.
    ClaimsNothing,
    /// It says that nothing was written where something was.
    DeniesWrites,
}

/// What a commit does to the disk at its instant.
type Landing = Box<dyn Fn(&mut Disk, &Batch, Stamp) -> Result<(), StoreError> + Send>;

struct State {
    /// Others may have it as well.
    disk: Arc<Mutex<Disk>>,
    landing: Landing,
    /// Without a log that a crash brings back.
    is_shared: bool,
    /// As it was before the last commit.
    before: Disk,
    pending: Option<Pending>,
    weather: Weather,
    /// The last name that was used; nothing while there is no connection that writes.
    last: Option<Stamp>,
    /// The name of the last commit, if it is not known whether that happened.
    in_doubt: Option<Stamp>,
    /// So many claims fail before the doubt can be ended.
    claims_to_fail: u32,
    /// How many claims failed at this time.
    failed_claims: (Moment, u32),
    is_closed: bool,
    /// A row that somebody else keeps locked, and how often it was waited for.
    locked: Option<OperationId>,
    waits: u32,
    lie: Lie,
    rng: fastrand::Rng,
    /// For reports: how often what was done.
    commits: u64,
    unknowns: u64,
    failures: u64,
}

/// The store. Clones are the same store.
#[derive(Clone)]
pub struct SimStore {
    clock: Arc<SimClock>,
    state: Arc<Mutex<State>>,
}

impl SimStore {
    pub fn new(clock: Arc<SimClock>, lie: Lie, rng: fastrand::Rng) -> Self {
        let store = Self::over(Arc::default(), Box::new(Disk::commit), clock, lie, rng);
        store.state().is_shared = false;
        store
    }

    /// A store over a disk that others may have as well.
    pub fn over(
        disk: Arc<Mutex<Disk>>,
        landing: Landing,
        clock: Arc<SimClock>,
        lie: Lie,
        rng: fastrand::Rng,
    ) -> Self {
        let state = State {
            disk,
            landing,
            is_shared: true,
            before: Disk::default(),
            pending: None,
            weather: Weather::Still,
            last: None,
            in_doubt: None,
            claims_to_fail: 0,
            failed_claims: (Moment::MAX, 0),
            is_closed: false,
            locked: None,
            waits: 0,
            lie,
            rng,
            commits: 0,
            unknowns: 0,
            failures: 0,
        };
        Self { clock, state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// The process is gone: what was made durable remains, and maybe what was about to be.
    pub fn crash(&self) {
        let mut state = self.state();
        if state.lie == Lie::AcknowledgesEarly && state.rng.bool() {
            let before = state.before.clone();
            *state.disk() = before;
        }
        state.end_pending();
        state.disconnect();
        state.in_doubt = None;
    }

    /// All connections are cut, and another server takes over: what is under way is gone.
    pub fn fail_over(&self) {
        let mut state = self.state();
        state.pending = None;
        state.disconnect();
    }

    /// Another writer cancels an operation that is queued.
    pub fn cancel(&self, id: OperationId, now: Timestamp) {
        let state = self.state();
        let operation = state.disk().load(&Lookup::Id(id)).unwrap();
        let cancel = Command::Cancel { reason: String::new() };
        let Ok(Decision::Change(event)) = decide(&operation, &cancel, None, now) else {
            panic!("{operation:?} cannot be cancelled");
        };
        let expected = Some(operation.life.revision);
        let operation = Operation { life: event.life.clone(), ..operation };
        let write = Write { operation, expected, input: None, result: None };
        let events = vec![(id, *event)];
        let batch = Batch { writes: vec![write], events, ..Batch::default() };
        let writer = state.disk().log.register(u64::MAX);
        state.land(&batch, Stamp { writer, sequence: 1 }).unwrap();
    }

    /// Somebody locks the row of that operation, and no other. Answers how often a row was waited for so far.
    pub fn lock(&self, id: Option<OperationId>) -> u32 {
        let mut state = self.state();
        state.locked = id;
        state.waits
    }

    /// What is under way comes to be at last, or not.
    pub fn land_pending(&self) {
        self.state().end_pending();
    }

    /// Lets a tick pass.
    pub async fn tick(&self) {
        self.clock.sleep_until_moment(self.clock.moment().after(TICK)).await;
    }

    /// A write of another kind than commits: it happens or not, and is answered or not.
    pub async fn write_else<T>(&self, write: impl FnOnce(&mut Disk) -> T) -> Result<T, StoreError> {
        self.pause(true).await;
        let written = {
            let mut state = self.state();
            state.check_open()?;
            let (happens, is_answered) = match (state.weather, state.rng.u32(..10)) {
                (Weather::Down | Weather::ReadOnly, _) | (Weather::Flaky, 0) => (false, false),
                (Weather::Flaky, 1) => (true, false),
                _ => (true, true),
            };
            let written = happens.then(|| write(&mut state.disk()));
            if !is_answered {
                state.failures += 1;
            }
            written.filter(|_| is_answered)
        };
        self.pause(true).await;
        written.ok_or_else(|| StoreError::Unavailable("no writing in this weather".to_owned()))
    }

    /// What is stored now.
    pub fn disk(&self) -> Disk {
        self.state().disk().clone()
    }

    /// How many commits, how many of unknown outcome, how many failures.
    pub fn counts(&self) -> [u64; 3] {
        let state = self.state();
        [state.commits, state.unknowns, state.failures]
    }

    /// A moment between steps, longer in some weathers.
    pub async fn pause(&self, writes: bool) {
        let (hops, ticks) = {
            let mut state = self.state();
            if matches!(state.weather, Weather::Still | Weather::Mute) {
                return;
            }
            let slow = writes && state.weather == Weather::Slow;
            let ticks = match slow {
                true if state.rng.u32(..3) == 0 => state.rng.u32(0..600),
                true => state.rng.u32(0..40),
                false if state.rng.u32(..20) == 0 => state.rng.u32(1..4),
                false => 0,
            };
            (state.rng.u32(..4), ticks)
        };
        for _ in 0..hops {
            hop().await;
        }
        if ticks > 0 {
            self.clock.sleep_until_moment(self.clock.moment().after(TICK * ticks)).await;
        }
    }

    pub async fn read<T>(&self, look: impl FnOnce(&Disk) -> T) -> Result<T, StoreError> {
        self.pause(false).await;
        let answer = {
            let mut state = self.state();
            state.check_open()?;
            let fails = match state.weather {
                Weather::Down => true,
                Weather::Flaky => state.rng.u32(..25) == 0,
                _ => false,
            };
            if fails {
                state.failures += 1;
                return Err(StoreError::Unavailable("no reading in this weather".to_owned()));
            }
            look(&state.disk())
        };
        self.pause(false).await;
        Ok(answer)
    }
}

impl State {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap()
    }

    fn check_open(&self) -> Result<(), StoreError> {
        let closed = || StoreError::Unavailable("the store is closed".to_owned());
        if self.is_closed { Err(closed()) } else { Ok(()) }
    }
}

#[async_trait]
impl Store for SimStore {
    async fn commit(&self, batch: Batch) -> Result<Option<Stamp>, StoreError> {
        let last = {
            let mut state = self.state();
            state.check_open()?;
            state.connect()
        };
        self.pause(true).await;
        let answer = {
            let mut state = self.state();
            if state.last == Some(last) {
                state.commit(batch)
            } else {
                // The connection is gone, and the transaction with it.
                state.unknowns += 1;
                state.in_doubt = Some(last.next());
                Err(StoreError::Unknown("the connection was cut".to_owned()))
            }
        };
        self.pause(true).await;
        answer
    }

    async fn settle(&self) -> Result<Option<Stamp>, StoreError> {
        self.state().check_open()?;
        self.pause(true).await;
        let answer = self.state().settle(self.clock.moment());
        self.pause(false).await;
        answer
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.read(|disk| disk.log.head()).await
    }

    async fn list_with_head(&self, query: ListQuery) -> Result<(Vec<Operation>, Head), StoreError> {
        self.read(|disk| (disk.list(&query), disk.log.head())).await
    }

    async fn log(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        self.read(|disk| disk.log_page(&query)).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        match self.state().weather {
            Weather::Down => Err(StoreError::Unavailable("the storage is not there".to_owned())),
            _ => Ok(()),
        }
    }

    async fn trim_log(&self, trim: TrimLog) -> Result<(), StoreError> {
        let keep = {
            let mut state = self.state();
            // In a schedule much earlier than any real store, so that it shows.
            match state.weather {
                Weather::Still => trim.keep as usize,
                _ => state.rng.usize(..20),
            }
        };
        self.write_else(|disk| disk.log.trim(keep)).await
    }

    async fn catalogue_versions(&self) -> Result<CatalogueVersions, StoreError> {
        self.read(Disk::catalogue_versions).await
    }

    async fn catalogue(&self, space: &str) -> Result<CatalogueSpace, StoreError> {
        self.read(|disk| disk.catalogue(space)).await
    }

    async fn change_catalogue(&self, change: CatalogueChange) -> Result<u64, StoreError> {
        self.write_else(|disk| disk.change_catalogue(change)).await?
    }

    fn signing_key(&self) -> SigningKey {
        SigningKey([7; 32])
    }

    async fn load(&self, lookups: Vec<Lookup>) -> Result<Vec<Option<Operation>>, StoreError> {
        self.read(|disk| lookups.iter().map(|lookup| disk.load(lookup)).collect()).await
    }

    async fn payload(
        &self,
        id: OperationId,
        role: PayloadRole,
    ) -> Result<Option<Bytes>, StoreError> {
        self.read(|disk| disk.payload(id, role)).await
    }

    async fn known_objects(&self, ids: Vec<ObjectId>) -> Result<Vec<bool>, StoreError> {
        self.read(|disk| disk.known_objects(&ids)).await
    }

    async fn tombstone(&self, id: OperationId) -> Result<Option<Tombstone>, StoreError> {
        self.read(|disk| disk.tombstone(id)).await
    }

    async fn list(&self, query: ListQuery) -> Result<Vec<Operation>, StoreError> {
        self.read(|disk| disk.list(&query)).await
    }

    async fn history(&self, query: HistoryQuery) -> Result<Vec<HistoryEntry>, StoreError> {
        self.read(|disk| disk.history(&query)).await
    }

    async fn log_book(&self, id: OperationId) -> Result<LogBook, StoreError> {
        self.read(|disk| disk.log_book(id)).await
    }

    async fn children(
        &self,
        batches: Vec<(TenantId, OperationId)>,
    ) -> Result<Vec<ChildCounts>, StoreError> {
        let of =
            |disk: &Disk, (tenant, batch): &(TenantId, OperationId)| disk.children(tenant, *batch);
        self.read(|disk| batches.iter().map(|batch| of(disk, batch)).collect()).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.read(Disk::count).await
    }

    async fn scan(
        &self,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<Vec<Operation>, StoreError> {
        self.read(|disk| disk.scan(after, limit)).await
    }

    async fn tombstones(
        &self,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<Vec<(OperationId, Tombstone)>, StoreError> {
        self.read(|disk| disk.tombstone_page(after, limit)).await
    }

    async fn unfinished(
        &self,
        after: Option<(TenantId, OperationId)>,
        limit: usize,
    ) -> Result<Vec<Unfinished>, StoreError> {
        self.read(|disk| disk.unfinished(after, limit)).await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<OperationId>, StoreError> {
        self.read(|disk| disk.due(now, limit)).await
    }

    async fn next_wake(&self, _now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.read(Disk::next_wake).await
    }

    async fn close(&self) {
        self.state().is_closed = true;
    }
}
