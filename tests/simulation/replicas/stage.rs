//! A few replicas over one store, moved step by step: nothing is left to chance.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use longrun::engine::{
    Applied, Apply, Clock as _, Connected, Engine, EngineConfig, EngineError, Submitted, ToWorker,
    WatchItem, Watcher, WorkerHello,
};
use longrun::operation::{
    Attempt, Command, Kind, NewOperation, Operation, OperationId, Progress, Reporter, Scope,
    SessionId, Settings, TenantId, Timestamp, WorkerId,
};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, LocalSet, yield_now};
use tokio_util::sync::CancellationToken;

use super::house::House;
use super::store::ReplicaStore;
use crate::clock::{ReplicaClock, SimClock};
use crate::gate::Gate;
use crate::store::Weather;

pub const LEASE: Duration = Duration::from_secs(10);

/// The replicas, by number.
pub struct Stage {
    pub clock: Arc<SimClock>,
    pub house: House,
    pub replicas: Vec<Replica>,
}

pub struct Replica {
    pub engine: Engine,
    pub store: ReplicaStore,
    gate: Rc<Gate>,
    task: JoinHandle<()>,
}

/// A worker's stream.
pub struct Work {
    pub session: SessionId,
    pub is_resumed: bool,
    pub connected: Connected,
    pub messages: mpsc::Receiver<ToWorker>,
}

/// Plays a scene with so many replicas.
pub fn play<F: Future<Output = ()>>(replicas: usize, scene: impl FnOnce(Stage) -> F) {
    let runtime = Builder::new_current_thread().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let clock = Arc::new(SimClock::default());
        let house = House::new(Arc::clone(&clock));
        let mut stage = Stage { clock, house, replicas: Vec::new() };
        for _ in 0..replicas {
            let replica = stage.open(stage.replicas.len()).await;
            stage.replicas.push(replica);
        }
        // Nobody is taken for lost before everybody could have come.
        for _ in 0..20 {
            stage.wait(1).await;
        }
        scene(stage).await;
    });
}

impl Stage {
    pub async fn open(&self, number: usize) -> Replica {
        let store = self.house.open(fastrand::Rng::with_seed(number as u64));
        let clock = Arc::new(ReplicaClock::new(Arc::clone(&self.clock), number));
        let config = EngineConfig { lease_duration: LEASE, ..EngineConfig::default() };
        let opened = Engine::open(Arc::new(store.clone()), clock, config).await;
        let (engine, task) = opened.unwrap();
        let gate = Rc::new(Gate::default());
        let running = Rc::clone(&gate);
        let task = tokio::task::spawn_local(async move {
            running.pass(task.run(CancellationToken::new())).await;
        });
        Replica { engine, store, gate, task }
    }

    pub fn engine(&self, at: usize) -> &Engine {
        &self.replicas[at].engine
    }

    /// The replica does not run.
    pub fn hold_up(&self, at: usize) {
        self.replicas[at].gate.shut();
    }

    /// It runs again.
    pub fn let_go(&self, at: usize) {
        self.replicas[at].gate.open();
    }

    pub async fn crash(&self, at: usize) {
        self.replicas[at].task.abort();
        self.rest().await;
        self.replicas[at].store.crash();
    }

    /// What the store is like for that replica from now on.
    pub fn set_weather(&self, at: usize, weather: Weather) {
        self.replicas[at].store.store.set_weather(weather);
    }

    /// For how long the session's row stands as it is.
    pub fn row(&self, session: SessionId) -> Option<Duration> {
        let row = self.house.sessions().remove(&session)?;
        Some(row.expires_at.since(self.clock.moment()))
    }

    pub async fn submit(&self, at: usize) -> OperationId {
        self.submit_with(at, Settings::default(), None).await
    }

    /// Submits so many in one commit.
    pub async fn submit_many(&self, at: usize, count: usize) -> Vec<OperationId> {
        let stored = self.engine(at).submit(vec![sample(); count]).await.unwrap();
        stored.into_iter().map(|stored| stored.unwrap().operation.id()).collect()
    }

    pub async fn submit_as(&self, at: usize, kind: &str) -> OperationId {
        let new = NewOperation { kind: Kind::parse(kind).unwrap(), ..sample() };
        let stored = self.engine(at).submit(vec![new]).await.unwrap().pop().unwrap();
        stored.unwrap().operation.id()
    }

    pub async fn submit_with(
        &self,
        at: usize,
        settings: Settings,
        start_at: Option<Timestamp>,
    ) -> OperationId {
        let new = NewOperation { settings, start_at, ..sample() };
        let stored = self.engine(at).submit(vec![new]).await.unwrap().pop().unwrap();
        stored.unwrap().operation.id()
    }

    /// Submits where so many may be there that are not done.
    pub async fn submit_within(&self, at: usize, limit: u64) -> Result<Submitted, EngineError> {
        let new = NewOperation { capacity: Some(limit), ..sample() };
        self.engine(at).submit(vec![new]).await?.pop().unwrap()
    }

    /// A tenant submits so many in one commit.
    pub async fn submit_of(&self, at: usize, tenant: &str, count: usize) -> Vec<OperationId> {
        let new = NewOperation { tenant: TenantId::parse(tenant).unwrap(), ..sample() };
        let stored = self.engine(at).submit(vec![new; count]).await.unwrap();
        stored.into_iter().map(|stored| stored.unwrap().operation.id()).collect()
    }

    /// A worker of all tenants, with so many places, connects there.
    pub async fn work_for_all(&self, at: usize, places: usize) -> Work {
        let (sender, messages) = mpsc::channel(100);
        let hello = WorkerHello {
            in_process: true,
            scope: Scope::All,
            worker: WorkerId::parse("worker").unwrap(),
            kinds: vec![Kind::parse("sim.a").unwrap()],
            max_in_flight: places,
            resume: None,
            running: Vec::new(),
        };
        let connected = self.engine(at).connect(hello, sender).await.unwrap();
        Work { session: connected.session, is_resumed: false, connected, messages }
    }

    /// A worker for these kinds, with one place, connects there.
    pub async fn work_for(&self, at: usize, kinds: &[&str]) -> Work {
        self.connect(at, kinds, 1, None, &[]).await.unwrap()
    }

    /// A worker with so many places connects there.
    pub async fn work(
        &self,
        at: usize,
        places: usize,
        resume: Option<SessionId>,
        running: &[(OperationId, Attempt)],
    ) -> Work {
        self.connect(at, &["sim.a"], places, resume, running).await.unwrap()
    }

    /// A worker asks to connect there.
    pub async fn connect(
        &self,
        at: usize,
        kinds: &[&str],
        places: usize,
        resume: Option<SessionId>,
        running: &[(OperationId, Attempt)],
    ) -> Result<Work, EngineError> {
        let (sender, messages) = mpsc::channel(100);
        let hello = WorkerHello {
            in_process: false,
            scope: TenantId::default_tenant().into(),
            worker: WorkerId::parse("worker").unwrap(),
            kinds: kinds.iter().map(|kind| Kind::parse(kind).unwrap()).collect(),
            max_in_flight: places,
            resume,
            running: running.to_vec(),
        };
        let connected = self.engine(at).connect(hello, sender).await?;
        let (session, is_resumed) = (connected.session, connected.resumed);
        Ok(Work { session, is_resumed, connected, messages })
    }

    pub async fn report(
        &self,
        at: usize,
        session: SessionId,
        id: OperationId,
        attempt: u32,
    ) -> Result<Applied, EngineError> {
        let command = Command::complete(reporter(session, attempt), None, Vec::new(), Vec::new());
        self.apply(at, id, command, Vec::new()).await
    }

    /// The worker gives an attempt back.
    pub async fn release(
        &self,
        at: usize,
        session: SessionId,
        id: OperationId,
        attempt: u32,
    ) -> Result<Applied, EngineError> {
        let command = Command::Release { reporter: reporter(session, attempt) };
        self.apply(at, id, command, Vec::new()).await
    }

    pub async fn log(
        &self,
        at: usize,
        session: SessionId,
        id: OperationId,
        line: &str,
    ) -> Result<Applied, EngineError> {
        let command = Command::AddLog { reporter: reporter(session, 1) };
        self.apply(at, id, command, vec![line.to_owned()]).await
    }

    /// A worker says how far its first attempt has come.
    pub async fn progress(&self, at: usize, session: SessionId, id: OperationId, percent: f64) {
        let progress = self.percent(percent);
        self.engine(at).progress(session, id, Attempt(1), progress).await.unwrap();
    }

    /// Progress that is reported now.
    pub fn percent(&self, percent: f64) -> Progress {
        Progress {
            percent: Some(percent),
            done_units: None,
            total_units: None,
            message: String::new(),
            at: self.clock.now(),
        }
    }

    pub async fn cancel(&self, at: usize, id: OperationId) -> Result<Applied, EngineError> {
        let command = Command::Cancel { reason: String::new() };
        self.apply(at, id, command, Vec::new()).await
    }

    pub async fn apply(
        &self,
        at: usize,
        id: OperationId,
        command: Command,
        lines: Vec<String>,
    ) -> Result<Applied, EngineError> {
        let scope = TenantId::default_tenant().into();
        let work = Apply { scope, id, command, result: None, lines };
        self.engine(at).apply(work).await
    }

    /// A worker of all tenants completes an attempt.
    pub async fn complete_for_all(
        &self,
        at: usize,
        session: SessionId,
        id: OperationId,
        attempt: u32,
    ) {
        let command = Command::complete(reporter(session, attempt), None, Vec::new(), Vec::new());
        let work = Apply { scope: Scope::All, id, command, result: None, lines: Vec::new() };
        self.engine(at).apply(work).await.unwrap();
    }

    pub async fn get(&self, at: usize, id: OperationId) -> Operation {
        self.engine(at).get(&TenantId::default_tenant().into(), id).await.unwrap()
    }

    pub async fn watch(&self, at: usize, id: OperationId) -> Watcher {
        let tenant = TenantId::default_tenant();
        self.engine(at).watch(&tenant.into(), id, None, false).await.unwrap().0
    }

    /// The answer, while time passes, which the store may need.
    pub async fn in_time<T>(&self, answer: impl Future<Output = T>) -> T {
        let mut answer = pin!(answer);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                () = yield_now() => self.clock.advance(1),
            }
        }
    }

    /// Nobody has anything to do at this time.
    pub async fn rest(&self) {
        for _ in 0..200 {
            yield_now().await;
        }
    }

    /// Lets so many seconds pass.
    pub async fn wait(&self, seconds: u32) {
        for _ in 0..seconds {
            self.clock.advance(16);
            self.rest().await;
        }
    }

    /// The same, in which a worker says that it is alive.
    pub async fn wait_alive(&self, at: usize, session: SessionId, seconds: u32) {
        for _ in 0..seconds {
            self.engine(at).renew(session).await.unwrap();
            self.wait(1).await;
        }
    }
}

fn sample() -> NewOperation {
    NewOperation::of(Kind::parse("sim.a").unwrap())
}

impl Work {
    /// What has come.
    pub fn heard(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        while let Ok(message) = self.messages.try_recv() {
            heard.push(match message {
                ToWorker::Superseded => continue,
                ToWorker::Assignment { operation, .. } => {
                    Heard::Assigned(operation.id(), operation.life.attempt.0)
                }
                ToWorker::CancelRequested { operation } => Heard::Cancel(operation.id()),
                ToWorker::NotCurrent { id, attempt } => Heard::NotCurrent(id, attempt.0),
            });
        }
        heard
    }
}

/// A message, in short.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    Assigned(OperationId, u32),
    Cancel(OperationId),
    NotCurrent(OperationId, u32),
}

/// The revisions that a watch tells without waiting.
pub async fn revisions(watcher: &mut Watcher) -> Vec<u64> {
    let mut told = Vec::new();
    loop {
        let next = tokio::select! {
            biased;
            next = watcher.next() => next.unwrap(),
            () = async { for _ in 0..50 { yield_now().await; } } => return told,
        };
        match next {
            Some(WatchItem::Snapshot(operation) | WatchItem::Progress(operation)) => {
                told.push(operation.life.revision.0);
            }
            Some(WatchItem::Transition(committed, _)) => {
                told.push(committed.operation.life.revision.0);
            }
            None => return told,
        }
    }
}

fn reporter(session: SessionId, attempt: u32) -> Reporter {
    Reporter { attempt: Attempt(attempt), session, former: None }
}
