//! A store that can fail at every step, over a [`Disk`] that keeps exactly what was made durable.
//!
//! A commit happens at one instant between its call and its answer. What fails it, where, and whether
//! its caller can know, is drawn from the schedule's seed. A crash drops what waits here.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use longrun::engine::{Clock as _, Moment};
use longrun::operation::log::LogBook;
use longrun::operation::{Command, Decision, ObjectId, Operation, OperationId, Timestamp, decide};
use longrun::store::log::{Frontier, Head, LogKey, LogPage, LogQuery, Stamp};
use longrun::store::{
    Batch, Committed, HistoryEntry, HistoryQuery, ListQuery, Lookup, PayloadRole, Store,
    StoreError, Tombstone, TrimLog, Unfinished, Write,
};

use crate::clock::{SimClock, TICK, hop};
use crate::disk::Disk;

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

/// A commit whose outcome was not told.
#[derive(Clone)]
enum Pending {
    /// In the log, behind its end: the next write takes its place, a crash may bring it back.
    InLog(Batch, Stamp),
    /// Under way, seen by nobody, as one that waits for a standby: it comes to be or not, before its name can be
    /// claimed.
    UnderWay(Batch, Stamp),
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

/// What becomes of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Done,
    Refused,
    Conflict,
    UnknownDone,
    UnknownLost,
    UnknownInLog,
    UnknownUnderWay,
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
            if state.weather == Weather::Still {
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

    fn fate(&mut self, batch: &Batch) -> Fate {
        let is_race = !batch.writes.is_empty();
        match (self.weather, self.rng.u32(..100)) {
            (Weather::Still, _) => Fate::Done,
            (Weather::Calm, 0..2) | (Weather::Slow, 0..20) if is_race => Fate::Conflict,
            (Weather::Calm | Weather::Slow, _) => Fate::Done,
            (Weather::ReadOnly | Weather::Down, 0..80) => Fate::Refused,
            (Weather::ReadOnly | Weather::Down, 80..90) => Fate::UnknownLost,
            (Weather::ReadOnly | Weather::Down, _) => Fate::UnknownInLog,
            (Weather::Flaky, 0..10) => Fate::Refused,
            (Weather::Flaky, 10..18) if is_race => Fate::Conflict,
            (Weather::Flaky, 18..26) => Fate::UnknownDone,
            (Weather::Flaky, 26..32) => Fate::UnknownLost,
            (Weather::Flaky, 32..38) => Fate::UnknownInLog,
            (Weather::Flaky, 38..46) => Fate::UnknownUnderWay,
            (Weather::Flaky, _) => Fate::Done,
        }
    }

    fn commit(
        &mut self,
        mut batch: Batch,
        seen: Option<Frontier>,
    ) -> Result<Committed, StoreError> {
        let stamp = self.connect().next();
        let committed = Committed {
            stamp: batch.is_logged().then_some(stamp),
            seen: seen.filter(|_| batch.is_logged()).map(|seen| seen.with(stamp)),
        };
        let unknown = || StoreError::Unknown("the answer was lost".to_owned());
        let fate = self.fate(&batch);
        match fate {
            Fate::Refused => {
                self.failures += 1;
                if self.lie == Lie::DeniesWrites {
                    self.write(&batch, stamp)?;
                }
                return Err(StoreError::Unavailable("no room in this weather".to_owned()));
            }
            Fate::Conflict => {
                let at = self.rng.usize(..batch.writes.len());
                return Err(StoreError::Conflict(vec![batch.writes[at].operation.id()]));
            }
            Fate::Done | Fate::UnknownDone => {
                let seldom = self.rng.u32(..15) == 0;
                if self.lie == Lie::Forgets && seldom {
                    return Ok(committed);
                }
                if self.lie == Lie::LosesKeys {
                    for write in &mut batch.writes {
                        Arc::make_mut(&mut write.operation.submission).idempotency = None;
                    }
                }
                self.write(&batch, stamp)?;
                if self.lie == Lie::DropsEvents
                    && seldom
                    && let Some((id, _)) = batch.events.last()
                {
                    self.disk().drop_last_event(*id);
                }
                if fate == Fate::Done {
                    return Ok(committed);
                }
            }
            Fate::UnknownLost => {}
            Fate::UnknownInLog if !self.is_shared => {
                self.pending = Some(Pending::InLog(batch, stamp));
            }
            Fate::UnknownInLog | Fate::UnknownUnderWay => {
                self.pending = Some(Pending::UnderWay(batch, stamp));
            }
        }
        self.unknowns += 1;
        self.claims_to_fail = self.rng.u32(..4);
        self.in_doubt = Some(stamp);
        if self.is_shared {
            // With the connection.
            self.last = None;
        }
        Err(unknown())
    }

    /// The last name that was used by the connection that writes, which is made if there is none.
    fn connect(&mut self) -> Stamp {
        if let Some(last) = self.last {
            return last;
        }
        let nonce = self.rng.u64(..);
        let writer = self.disk().log.register(nonce);
        if !self.is_shared {
            // The file is locked: no other has it open.
            (1..writer).for_each(|ended| self.disk().log.disconnect(ended));
            self.disk().log.end_disconnected();
        }
        let last = Stamp { writer, sequence: 0 };
        self.last = Some(last);
        last
    }

    /// The connection that writes is gone, and what it had under way.
    fn disconnect(&mut self) {
        if let Some(last) = self.last.take() {
            self.disk().log.disconnect(last.writer);
        }
    }

    fn write(&mut self, batch: &Batch, stamp: Stamp) -> Result<(), StoreError> {
        if let Some(Pending::UnderWay(..)) = &self.pending {
            self.end_pending();
        }
        let before = self.disk().clone();
        self.land(batch, stamp)?;
        if batch.is_logged() {
            self.last = Some(stamp);
        }
        self.before = before;
        self.pending = None;
        self.commits += 1;
        Ok(())
    }

    fn settle(&mut self, now: Moment) -> Result<Option<Committed>, StoreError> {
        let is_doubtful = self.claims_to_fail > 0;
        self.claims_to_fail = self.claims_to_fail.saturating_sub(1);
        let fails = is_doubtful
            || match self.weather {
                Weather::Down | Weather::ReadOnly => true,
                Weather::Flaky => self.rng.u32(..3) == 0,
                Weather::Still | Weather::Calm | Weather::Slow => false,
            };
        let own = self.connect().next();
        let stamp = self.in_doubt.unwrap_or(own);
        if fails {
            self.failures += 1;
            let before = if self.failed_claims.0 == now { self.failed_claims.1 } else { 0 };
            self.failed_claims = (now, before + 1);
            assert!(before < 20, "the store is tried again and again without a pause");
            // The name may be taken all the same.
            if self.rng.bool() && self.lie != Lie::ClaimsNothing {
                self.claim(stamp);
            }
            return Err(StoreError::Unavailable("no claim in this weather".to_owned()));
        }
        let was_committed = match self.lie {
            Lie::ClaimsNothing => self.disk().log.was_committed(stamp),
            _ => self.claim(stamp),
        };
        if stamp == own {
            self.last = Some(own);
        }
        self.in_doubt = None;
        Ok(was_committed.then_some(Committed { stamp: Some(stamp), seen: None }))
    }

    /// Takes a name, once its commit has ended; whether that has happened.
    fn claim(&mut self, stamp: Stamp) -> bool {
        match &self.pending {
            Some(Pending::UnderWay(..)) => self.end_pending(),
            _ => self.pending = None,
        }
        let mut disk = self.disk();
        !disk.log.claim(stamp, true) && disk.log.was_committed(stamp)
    }

    /// What was not told comes to be, or not.
    fn end_pending(&mut self) {
        if let Some(Pending::InLog(batch, stamp) | Pending::UnderWay(batch, stamp)) =
            self.pending.take()
        {
            if self.rng.bool() {
                // Refused if others have written since; if nobody has, it fits.
                let _ = self.land(&batch, stamp);
            }
            if self.is_shared {
                self.disk().log.disconnect(stamp.writer);
            }
        }
    }

    fn land(&self, batch: &Batch, stamp: Stamp) -> Result<(), StoreError> {
        (self.landing)(&mut self.disk(), batch, stamp)
    }
}

#[async_trait]
impl Store for SimStore {
    async fn commit(&self, batch: Batch) -> Result<Committed, StoreError> {
        let (last, seen) = {
            let mut state = self.state();
            state.check_open()?;
            let last = state.connect();
            // Early: what others commit from here on is not seen.
            let asks = batch.asks_frontier && state.is_shared;
            (last, asks.then(|| state.disk().log.head().frontier()))
        };
        self.pause(true).await;
        let answer = {
            let mut state = self.state();
            if state.last == Some(last) {
                state.commit(batch, seen)
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

    async fn settle(&self) -> Result<Option<Committed>, StoreError> {
        self.state().check_open()?;
        self.pause(true).await;
        let answer = self.state().settle(self.clock.moment());
        self.pause(false).await;
        answer
    }

    async fn head(&self) -> Result<Head, StoreError> {
        if !self.state().is_shared {
            self.state().connect();
        }
        self.read(|disk| disk.log.head()).await
    }

    async fn list_with_head(&self, query: ListQuery) -> Result<(Vec<Operation>, Head), StoreError> {
        self.read(|disk| (disk.list(&query), disk.log.head())).await
    }

    async fn log(&self, query: LogQuery) -> Result<LogPage, StoreError> {
        self.read(|disk| disk.log_page(&query)).await
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

    fn log_key(&self) -> LogKey {
        LogKey([7; 32])
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
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<Vec<Unfinished>, StoreError> {
        self.read(|disk| disk.unfinished(after, limit)).await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<OperationId>, StoreError> {
        self.read(|disk| disk.due(now, limit)).await
    }

    async fn next_wake(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(Disk::next_wake).await
    }

    async fn close(&self) {
        self.state().is_closed = true;
    }
}
