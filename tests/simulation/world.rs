//! The server of a schedule, the network before it, and what goes wrong with both.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use longrun::engine::{Clock as _, Engine, EngineConfig, StoreHealth};
use longrun::objects::Objects;
use longrun::service::{Caller, Limits, Reason, Service, ServiceError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::{SimClock, TICK, hop};
use crate::record::Record;
use crate::store::{Lie, SimStore, Weather};

pub const LEASE: Duration = Duration::from_secs(5);

/// Everything that the actors of a schedule share.
pub struct World {
    pub clock: Arc<SimClock>,
    pub store: SimStore,
    pub record: Record,
    /// No more new work.
    pub enough: Cell<bool>,
    server: RefCell<Option<Incarnation>>,
    /// Which may still be about to.
    starting: RefCell<Option<JoinHandle<()>>>,
    rng: RefCell<fastrand::Rng>,
    max_outstanding: u64,
    pub starts: Cell<u64>,
}

/// A server from its start to its crash.
struct Incarnation {
    service: Service,
    engine: Engine,
    /// Cancelled by the crash: whatever goes on within the server or over a connection to it ends.
    dead: CancellationToken,
    task: JoinHandle<()>,
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

/// A way to the server as it is now.
#[derive(Clone)]
pub struct Connection {
    pub service: Service,
    pub dead: CancellationToken,
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
    pub fn new(lie: Lie, traced: bool, rng: &mut fastrand::Rng) -> Rc<Self> {
        let clock = Arc::new(SimClock::default());
        let store = SimStore::new(Arc::clone(&clock), lie, rng.fork());
        store.set_weather(Weather::Calm);
        Rc::new(Self {
            clock,
            store,
            record: Record::new(traced),
            enough: Cell::new(false),
            server: RefCell::new(None),
            starting: RefCell::new(None),
            max_outstanding: if rng.u32(..8) == 0 { 4 } else { 1_000 },
            rng: RefCell::new(rng.fork()),
            starts: Cell::new(0),
        })
    }

    /// A source of chance of its own for a new actor.
    pub fn fork(&self) -> fastrand::Rng {
        self.rng.borrow_mut().fork()
    }

    pub fn caller() -> Caller {
        Caller::anonymous()
    }

    /// Begins to start the server on what is stored, and goes on until the store lets it.
    pub fn begin_to_start(self: &Rc<Self>) {
        let (world, mut rng) = (Rc::clone(self), self.fork());
        self.clock.advance(1);
        let starting = tokio::task::spawn_local(async move {
            while !world.start().await {
                world.pause(&mut rng, 10).await;
            }
        });
        *self.starting.borrow_mut() = Some(starting);
    }

    async fn start(&self) -> bool {
        let mut rng = self.fork();
        let config = EngineConfig {
            lease_duration: LEASE,
            max_outstanding: self.max_outstanding,
            max_sessions: 16,
            // Few, so that most operations are read from the store.
            cached_operations: 2 + rng.usize(..20),
            tombstone_retention: Duration::from_secs(60),
            seed: rng.u64(..),
            ..EngineConfig::default()
        };
        let opened = Engine::open(Arc::new(self.store.clone()), self.clock.clone(), config).await;
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
        let task = tokio::task::spawn_local(task.run(CancellationToken::new()));
        let dead = CancellationToken::new();
        self.starts.set(self.starts.get() + 1);
        self.record.note(|| "the server starts".to_owned());
        *self.server.borrow_mut() = Some(Incarnation { service, engine, dead, task });
        true
    }

    /// The server is gone, wherever it was.
    pub async fn crash(&self) {
        self.record.note(|| "the server crashes".to_owned());
        let starting = self.starting.borrow_mut().take();
        if let Some(starting) = starting {
            starting.abort();
            let _ = starting.await;
        }
        let server = self.server.borrow_mut().take();
        if let Some(server) = server {
            server.task.abort();
            let ended = server.task.await;
            assert!(ended.is_err_and(|error| error.is_cancelled()), "the engine ended by itself");
            server.dead.cancel();
        }
        self.store.crash();
    }

    pub fn is_starting_or_up(&self) -> bool {
        self.starting.borrow().is_some()
    }

    /// Whether the engine takes the store for one that does not answer.
    pub fn is_stalled(&self) -> bool {
        let server = self.server.borrow();
        server.as_ref().is_some_and(|server| match &*server.engine.store_health().borrow() {
            StoreHealth::Failing { reason, .. } => reason.contains("takes longer"),
            StoreHealth::Writable => false,
        })
    }

    /// How many operations the engine takes for not done; `None` while it is down or in doubt.
    pub fn outstanding(&self) -> Option<u64> {
        let server = self.server.borrow();
        let engine = &server.as_ref()?.engine;
        let is_sure = *engine.store_health().borrow() == StoreHealth::Writable;
        is_sure.then(|| engine.outstanding())
    }

    pub fn connect(&self) -> Option<Connection> {
        let server = self.server.borrow();
        let Incarnation { service, dead, .. } = server.as_ref()?;
        Some(Connection { service: service.clone(), dead: dead.clone() })
    }

    /// A call over a network that may lose it, or its answer.
    pub async fn call<T: 'static, F>(
        &self,
        rng: &mut fastrand::Rng,
        call: impl FnOnce(Service) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, ServiceError>> + 'static,
    {
        hops(rng, 4).await;
        let Connection { service, dead } = self.connect().ok_or(CallError::Cut)?;
        let fate = match rng.u32(..100) {
            0..4 => Fate::RequestLost,
            4..10 => Fate::CutAfter(rng.u32(1..5)),
            10..15 => Fate::AnswerLost,
            _ => Fate::Delivered,
        };
        let call = call(service);
        let answer = match fate {
            Fate::RequestLost => None,
            Fate::CutAfter(steps) => {
                dead.run_until_cancelled(cut_after(steps, call)).await.flatten()
            }
            Fate::AnswerLost => {
                let dead = dead.clone();
                tokio::task::spawn_local(async move { dead.run_until_cancelled(call).await });
                None
            }
            Fate::Delivered => dead.run_until_cancelled(call).await,
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
