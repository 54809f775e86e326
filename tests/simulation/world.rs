//! The servers of a schedule, the network before them, and what goes wrong with all of it.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use longrun::batches::Batches;
use longrun::engine::{Clock as _, Engine, EngineConfig, StoreHealth};
use longrun::objects::Objects;
use longrun::service::{Caller, Limits, Reason, Service, ServiceError};
use longrun::store::Store;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::{ReplicaClock, SimClock, TICK, hop};
use crate::disk::Disk;
use crate::gate::Gate;
use crate::record::Record;
use crate::replicas::{House, ReplicaStore};
use crate::store::{Lie, SimStore, Weather};

pub const LEASE: Duration = Duration::from_secs(5);

/// Everything that the actors of a schedule share.
pub struct World {
    pub clock: Arc<SimClock>,
    pub record: Record,
    /// No more new work.
    pub enough: Cell<bool>,
    /// One, or several that share the store.
    replicas: Vec<Replica>,
    /// What they share, if they are several.
    house: Option<House>,
    rng: RefCell<fastrand::Rng>,
    max_outstanding: u64,
    pub starts: Cell<u64>,
}

/// A place for a server.
struct Replica {
    number: usize,
    clock: Arc<ReplicaClock>,
    storage: RefCell<Storage>,
    server: RefCell<Option<Incarnation>>,
    /// Which may still be about to.
    starting: RefCell<Option<JoinHandle<()>>>,
}

/// A replica's store.
struct Storage {
    weather: Weather,
    store: SimStore,
    shared: Option<ReplicaStore>,
    /// What crashed replicas had under way may come to be later.
    left: Vec<SimStore>,
    /// Of those that are gone.
    counts: [u64; 3],
}

/// A server from its start to its crash.
struct Incarnation {
    service: Service,
    engine: Engine,
    /// Cancelled by the crash: whatever goes on within the server or over a connection to it ends.
    dead: CancellationToken,
    gate: Rc<Gate>,
    /// The engine, and the worker of batches.
    tasks: [JoinHandle<()>; 2],
}

/// A call that was not answered.
#[derive(Debug)]
pub enum CallError {
    /// By the network or a crash. It may have been carried out.
    Cut,
    /// But refused.
    Refused(ServiceError),
}

impl CallError {
    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Cut => true,
            Self::Refused(error) => {
                matches!(error.reason, Reason::Unavailable | Reason::ResourceExhausted)
            }
        }
    }

    pub fn is(&self, reason: Reason) -> bool {
        matches!(self, Self::Refused(error) if error.reason == reason)
    }
}

/// A way to a server as it is now.
#[derive(Clone)]
pub struct Connection {
    /// Which.
    pub replica: usize,
    pub service: Service,
    pub dead: CancellationToken,
    gate: Rc<Gate>,
}

impl Connection {
    /// What the server does for it; nothing once it is dead.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.dead.run_until_cancelled(self.gate.pass(work)).await
    }
}

/// What the network does with a call.
enum Fate {
    Delivered,
    RequestLost,
    /// The connection breaks after so many steps of the server.
    CutAfter(u32),
    /// It is carried out, and nobody hears of it.
    AnswerLost,
}

impl World {
    pub fn new(lie: Lie, replicas: usize, traced: bool, rng: &mut fastrand::Rng) -> Rc<Self> {
        let clock = Arc::new(SimClock::default());
        let house = (replicas > 1).then(|| House::new(Arc::clone(&clock)));
        let place = |number| {
            let store = SimStore::new(Arc::clone(&clock), lie, rng.fork());
            store.set_weather(Weather::Calm);
            let (shared, left, counts) = (None, Vec::new(), [0; 3]);
            let storage = Storage { weather: Weather::Calm, store, shared, left, counts };
            Replica {
                number,
                clock: Arc::new(ReplicaClock::new(Arc::clone(&clock), number)),
                storage: RefCell::new(storage),
                server: RefCell::new(None),
                starting: RefCell::new(None),
            }
        };
        let replicas = (0..replicas).map(place).collect();
        Rc::new(Self {
            clock,
            record: Record::new(traced),
            enough: Cell::new(false),
            replicas,
            house,
            max_outstanding: if rng.u32(..8) == 0 { 4 } else { 1_000 },
            rng: RefCell::new(rng.fork()),
            starts: Cell::new(0),
        })
    }

    /// Whether it takes more than a few operations that are not done.
    pub fn has_room(&self) -> bool {
        self.max_outstanding > 100
    }

    /// A source of chance of its own for a new actor.
    pub fn fork(&self) -> fastrand::Rng {
        self.rng.borrow_mut().fork()
    }

    pub fn caller() -> Caller {
        Caller::anonymous()
    }

    /// Begins to start a server on what is stored, and goes on until the store lets it.
    pub fn begin_to_start(self: &Rc<Self>, which: usize) {
        let (world, mut rng) = (Rc::clone(self), self.fork());
        self.clock.advance(1);
        let starting = tokio::task::spawn_local(async move {
            while !world.start(which).await {
                world.pause(&mut rng, 10).await;
            }
        });
        *self.replicas[which].starting.borrow_mut() = Some(starting);
    }

    async fn start(&self, which: usize) -> bool {
        let replica = &self.replicas[which];
        let mut rng = self.fork();
        let config = EngineConfig {
            lease_duration: LEASE,
            max_outstanding: self.max_outstanding,
            max_sessions: 16,
            // Few, so that most operations are read from the store.
            cached_bytes: (16 + rng.usize(..20)) << 10,
            tombstone_retention: Duration::from_secs(60),
            seed: rng.u64(..),
            ..EngineConfig::default()
        };
        let store = replica.storage.borrow_mut().open(self.house.as_ref(), &mut rng);
        let opened = Engine::open(store, replica.clock.clone(), config).await;
        let Ok((engine, task)) = opened else { return false };
        let limits = Limits {
            lease_duration: LEASE,
            heartbeat_interval: Duration::from_secs(3),
            max_stream_age: Duration::from_secs(20),
            ..Limits::default()
        };
        // Nothing there is large.
        let objects = Objects::in_directory(&std::env::temp_dir()).expect("objects");
        let service = Service::new(engine.clone(), objects, limits, CancellationToken::new());
        let gate = Rc::new(Gate::default());
        let run = |work: LocalBoxFuture<'static, ()>| {
            let gate = Rc::clone(&gate);
            tokio::task::spawn_local(async move { gate.pass(work).await })
        };
        let batches = Batches::new(service.clone(), engine.clone());
        let tasks = [
            run(task.run(CancellationToken::new()).map(drop).boxed_local()),
            run(batches.run(CancellationToken::new()).boxed_local()),
        ];
        let dead = CancellationToken::new();
        self.starts.set(self.starts.get() + 1);
        self.record.note(|| format!("server {which} starts"));
        *replica.server.borrow_mut() = Some(Incarnation { service, engine, dead, gate, tasks });
        true
    }

    /// A server is gone, wherever it was.
    pub async fn crash(&self, which: usize) {
        self.record.note(|| format!("server {which} crashes"));
        let replica = &self.replicas[which];
        let starting = replica.starting.borrow_mut().take();
        if let Some(starting) = starting {
            starting.abort();
            let _ = starting.await;
        }
        let server = replica.server.borrow_mut().take();
        if let Some(server) = server {
            server.tasks.iter().for_each(JoinHandle::abort);
            for task in server.tasks {
                let ended = task.await;
                assert!(ended.is_err_and(|error| error.is_cancelled()), "it ended by itself");
            }
            server.dead.cancel();
        }
        replica.storage.borrow_mut().crash();
    }

    pub fn replicas(&self) -> usize {
        self.replicas.len()
    }

    pub fn is_starting_or_up(&self, which: usize) -> bool {
        self.replicas[which].starting.borrow().is_some()
    }

    /// Holds up a server, or lets it go on.
    pub fn hold_up(&self, which: usize, is_held_up: bool) {
        let server = self.replicas[which].server.borrow();
        let Some(gate) = server.as_ref().map(|server| Rc::clone(&server.gate)) else { return };
        if is_held_up == gate.is_shut() {
            return;
        }
        self.record.note(|| format!("server {which} is held up: {is_held_up}"));
        if is_held_up { gate.shut() } else { gate.open() }
    }

    pub fn set_weather(&self, which: usize, weather: Weather) {
        let mut storage = self.replicas[which].storage.borrow_mut();
        storage.weather = weather;
        storage.store.set_weather(weather);
        if let Some(shared) = &storage.shared {
            shared.mailbox.set_rough(!matches!(weather, Weather::Still | Weather::Calm));
        }
    }

    /// A replica hears nothing of the others for so many ticks.
    pub fn deafen(&self, which: usize, ticks: u32) {
        if let Some(shared) = &self.replicas[which].storage.borrow().shared {
            shared.mailbox.deafen(ticks);
        }
    }

    /// The clock of all is set back by so many ticks.
    pub fn set_back(&self, ticks: u32) {
        self.clock.set_back(ticks);
        for replica in &self.replicas {
            if let Some(shared) = &replica.storage.borrow().shared {
                shared.mailbox.hurry();
            }
        }
    }

    /// Another database server takes the place of the one that there was: what was under way is gone, and what was
    /// answered is not.
    pub fn fail_over(&self) {
        self.record.note(|| "the database fails over".to_owned());
        for replica in &self.replicas {
            let storage = replica.storage.borrow();
            storage.store.fail_over();
            storage.left.iter().for_each(SimStore::fail_over);
        }
    }

    /// What was under way somewhere comes to be, or not.
    pub fn land(&self, which: usize) {
        let mut storage = self.replicas[which].storage.borrow_mut();
        storage.store.land_pending();
        storage.left.drain(..).for_each(|left| left.land_pending());
    }

    /// What is stored now.
    pub fn disk(&self) -> Disk {
        match &self.house {
            Some(house) => house.disk.lock().unwrap().clone(),
            None => self.replicas[0].storage.borrow().store.disk(),
        }
    }

    /// How many commits, how many of unknown outcome, how many failures.
    pub fn counts(&self) -> [u64; 3] {
        let mut sum = [0; 3];
        for replica in &self.replicas {
            let storage = replica.storage.borrow();
            add(&mut sum, storage.counts);
            add(&mut sum, storage.store.counts());
        }
        sum
    }

    /// Whether an engine takes the store for one that does not answer.
    pub fn is_stalled(&self) -> bool {
        self.replicas.iter().any(|replica| {
            let server = replica.server.borrow();
            server.as_ref().is_some_and(|server| match &*server.engine.store_health().borrow() {
                StoreHealth::Failing { reason, .. } => reason.contains("takes longer"),
                StoreHealth::Writable => false,
            })
        })
    }

    /// How many operations the engines take for not done; `None` while none is up or one is in doubt.
    pub fn outstanding(&self) -> Option<u64> {
        let mut most = None;
        for replica in &self.replicas {
            let server = replica.server.borrow();
            let Some(Incarnation { engine, .. }) = server.as_ref() else { continue };
            if *engine.store_health().borrow() != StoreHealth::Writable {
                return None;
            }
            most = most.max(Some(engine.outstanding()));
        }
        most
    }

    /// A way to a server that is up, whichever it is.
    pub fn connect(&self, rng: &mut fastrand::Rng) -> Option<Connection> {
        let up: Vec<&Replica> =
            self.replicas.iter().filter(|replica| replica.server.borrow().is_some()).collect();
        let replica = match up.len() {
            0 | 1 => up.first()?,
            several => up[rng.usize(..several)],
        };
        let server = replica.server.borrow();
        let Incarnation { service, dead, gate, .. } = server.as_ref()?;
        let (service, dead, gate) = (service.clone(), dead.clone(), Rc::clone(gate));
        Some(Connection { replica: replica.number, service, dead, gate })
    }

    /// A call to any server.
    pub async fn call<T: 'static, F>(
        &self,
        rng: &mut fastrand::Rng,
        call: impl FnOnce(Service) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, ServiceError>> + 'static,
    {
        hops(rng, 4).await;
        let connection = self.connect(rng).ok_or(CallError::Cut)?;
        self.call_over(&connection, rng, call).await
    }

    /// A call over a network that may lose it, or its answer.
    pub async fn call_over<T: 'static, F>(
        &self,
        connection: &Connection,
        rng: &mut fastrand::Rng,
        call: impl FnOnce(Service) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, ServiceError>> + 'static,
    {
        let fate = match rng.u32(..100) {
            0..4 => Fate::RequestLost,
            4..10 => Fate::CutAfter(rng.u32(1..5)),
            10..15 => Fate::AnswerLost,
            _ => Fate::Delivered,
        };
        // What a service does is large, and would stand in every future around it.
        let call = Box::pin(call(connection.service.clone()));
        let answer = match fate {
            Fate::RequestLost => None,
            Fate::CutAfter(steps) => connection.run(cut_after(steps, call)).await.flatten(),
            Fate::AnswerLost => {
                let connection = connection.clone();
                tokio::task::spawn_local(async move { connection.run(call).await });
                None
            }
            Fate::Delivered => connection.run(call).await,
        };
        hops(rng, 4).await;
        match answer {
            Some(answer) => answer.map_err(CallError::Refused),
            None => Err(CallError::Cut),
        }
    }

    /// Lets a random time pass.
    pub async fn pause(&self, rng: &mut fastrand::Rng, most_ticks: u32) {
        let ticks = rng.u32(1..=most_ticks);
        self.clock.sleep_until(self.clock.now().after(TICK * ticks)).await;
    }
}

impl Storage {
    /// The store for a new server.
    fn open(&mut self, house: Option<&House>, rng: &mut fastrand::Rng) -> Arc<dyn Store> {
        let Some(house) = house else { return Arc::new(self.store.clone()) };
        self.crash();
        let shared = house.open(rng.fork());
        shared.store.set_weather(self.weather);
        add(&mut self.counts, self.store.counts());
        self.left.push(std::mem::replace(&mut self.store, shared.store.clone()));
        self.shared = Some(shared.clone());
        Arc::new(shared)
    }

    fn crash(&mut self) {
        match self.shared.take() {
            Some(shared) => shared.crash(),
            None => self.store.crash(),
        }
    }
}

fn add(sum: &mut [u64; 3], more: [u64; 3]) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

/// The answer, unless it needs more steps than that.
async fn cut_after<T>(steps: u32, call: impl Future<Output = T>) -> Option<T> {
    let (mut call, mut left) = (pin!(call), steps);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        call.as_mut().poll(context).map(Some)
    })
    .await
}

/// Lets others go first, a few times.
pub async fn hops(rng: &mut fastrand::Rng, most: u32) {
    for _ in 0..rng.u32(..most) {
        hop().await;
    }
}
