//! Courses of events that chance takes long to come by, step by step.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use longrun::batches::Batches;
use longrun::engine::{
    Apply, Clock as _, Engine, EngineConfig, EngineError, Feed, FeedItem, FeedStart, StoreHealth,
    ToWorker, WorkerHello,
};
use longrun::objects::Objects;
use longrun::operation::filter::Filter;
use longrun::operation::{
    BatchRule, Command, IdempotencyKey, Kind, NewOperation, OperationId, SessionId, Settings,
    StateName, TenantId, Timestamp, WorkerId,
};
use longrun::service::{Limits, Service};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::{LocalSet, yield_now};
use tokio_util::sync::CancellationToken;

use crate::clock::{SimClock, TICK};
use crate::store::{Lie, SimStore, Weather};
use crate::submitter::KINDS;

struct Scene {
    clock: Arc<SimClock>,
    store: SimStore,
    engine: Engine,
}

/// Plays a scene in which nothing is left to chance but what `seed` makes of failing storage.
fn play<F: Future<Output = ()>>(seed: u64, scene: impl FnOnce(Scene) -> F) {
    let runtime = Builder::new_current_thread().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let clock = Arc::new(SimClock::default());
        let rng = fastrand::Rng::with_seed(seed);
        let store = SimStore::new(Arc::clone(&clock), Lie::None, rng);
        let lease_duration = Duration::MAX;
        let config = EngineConfig { lease_duration, max_sessions: 2, ..EngineConfig::default() };
        let opened = Engine::open(Arc::new(store.clone()), clock.clone(), config).await;
        let (engine, task) = opened.unwrap();
        tokio::task::spawn_local(task.run(CancellationToken::new()));
        clock.advance(1_000);
        scene(Scene { clock, store, engine }).await;
    });
}

impl Scene {
    async fn submit(&self, start_at: Option<Timestamp>) -> OperationId {
        self.submit_as("sim.a", start_at).await
    }

    async fn submit_as(&self, kind: &str, start_at: Option<Timestamp>) -> OperationId {
        let new = NewOperation { start_at, ..NewOperation::of(Kind::parse(kind).unwrap()) };
        let stored = self.engine.submit(vec![new]).await.unwrap().pop().unwrap();
        stored.unwrap().operation.id()
    }

    async fn work(&self, resume: Option<SessionId>) -> (SessionId, mpsc::Receiver<ToWorker>) {
        self.try_to_work(resume).await.unwrap()
    }

    async fn try_to_work(
        &self,
        resume: Option<SessionId>,
    ) -> Result<(SessionId, mpsc::Receiver<ToWorker>), EngineError> {
        let (sender, messages) = mpsc::channel(10);
        let hello = WorkerHello {
            in_process: false,
            scope: TenantId::default_tenant().into(),
            worker: WorkerId::parse("worker").unwrap(),
            kinds: KINDS.iter().map(|kind| Kind::parse(kind).unwrap()).collect(),
            max_in_flight: 1,
            resume,
            running: Vec::new(),
        };
        let connected = self.in_time(self.engine.connect(hello, sender)).await?;
        Ok((connected.session, messages))
    }

    /// The answer, while time passes, which the store may need.
    async fn in_time<T>(&self, answer: impl Future<Output = T>) -> T {
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
    async fn rest(&self) {
        for _ in 0..100 {
            yield_now().await;
        }
    }

    /// Lets so many seconds pass.
    async fn wait(&self, seconds: u32) {
        for _ in 0..seconds {
            self.clock.advance(16);
            self.rest().await;
        }
    }

    fn is_writable(&self) -> bool {
        *self.engine.store_health().borrow() == StoreHealth::Writable
    }
}

fn cancel(id: OperationId) -> Apply {
    Apply {
        scope: TenantId::default_tenant().into(),
        id,
        command: Command::Cancel { reason: String::new() },
        result: None,
        lines: Vec::new(),
    }
}

/// The attempts that a worker was given.
fn assigned(messages: &mut mpsc::Receiver<ToWorker>) -> Vec<(OperationId, u32)> {
    let mut assigned = Vec::new();
    while let Ok(message) = messages.try_recv() {
        if let ToWorker::Assignment { operation, .. } = message {
            assigned.push((operation.id(), operation.life.attempt.0));
        }
    }
    assigned
}

#[test]
fn what_was_due_before_the_clock_was_set_back_is_started_when_it_is_due_again() {
    play(0, |scene| async move {
        let id = scene.submit(Some(scene.clock.now().after(TICK * 10))).await;
        scene.clock.advance(20);
        scene.rest().await;
        scene.clock.set_back(100);
        let (_, mut messages) = scene.work(None).await;
        scene.rest().await;
        assert_eq!(assigned(&mut messages), [], "it is not due any more");
        scene.clock.advance(200);
        scene.rest().await;
        assert_eq!(assigned(&mut messages), [(id, 1)], "it is due again");
    });
}

#[test]
fn what_could_not_be_started_in_an_outage_is_started_after_it_without_anybody_asking() {
    // Refused, lost and in the log, as the seed has it.
    for seed in 0..40 {
        play(seed, |scene| async move {
            let id = scene.submit(None).await;
            scene.store.set_weather(Weather::ReadOnly);
            let (_, mut messages) = scene.work(None).await;
            scene.wait(3).await;
            assert!(!scene.is_writable(), "seed {seed}");
            assert_eq!(assigned(&mut messages), [], "seed {seed}");
            let [.., failures] = scene.store.counts();
            scene.wait(120).await;
            let [.., later] = scene.store.counts();
            assert!((2..=10).contains(&(later - failures)), "tried {} times", later - failures);
            scene.store.set_weather(Weather::Still);
            scene.wait(40).await;
            assert!(scene.is_writable(), "seed {seed}");
            assert_eq!(assigned(&mut messages), [(id, 1)], "seed {seed}");
        });
    }
}

#[test]
fn what_could_not_be_cancelled_in_an_outage_is_started_after_it() {
    for seed in 0..20 {
        play(seed, |scene| async move {
            let id = scene.submit(None).await;
            scene.store.set_weather(Weather::ReadOnly);
            // The worker is about to be given it in the commit that would have cancelled it.
            let both = async { tokio::join!(scene.engine.apply(cancel(id)), scene.work(None)) };
            let (cancelled, (_, mut messages)) = scene.in_time(both).await;
            assert!(cancelled.is_err(), "seed {seed}");
            scene.store.set_weather(Weather::Still);
            scene.wait(60).await;
            assert_eq!(assigned(&mut messages), [(id, 1)], "seed {seed}");
        });
    }
}

#[test]
fn a_place_that_was_not_needed_is_offered_to_whom_it_was_refused() {
    for seed in 0..20 {
        play(seed, |scene| async move {
            // The worker has one place, which the first is about to get and does not.
            let first = scene.submit_as("sim.a", None).await;
            let second = scene.submit_as("sim.b", None).await;
            scene.store.set_weather(Weather::ReadOnly);
            let (_, mut messages) = scene.work(None).await;
            scene.wait(2).await;
            scene.store.cancel(first, scene.clock.now());
            scene.store.set_weather(Weather::Still);
            scene.wait(60).await;
            assert_eq!(assigned(&mut messages), [(second, 1)], "seed {seed}");
        });
    }
}

#[test]
fn who_comes_back_while_a_commit_is_in_doubt_is_told_everything_once() {
    for seed in 0..200 {
        play(seed, |scene| async move {
            let id = scene.submit(None).await;
            // Anything may come of the commit that starts it, and of the attempts to find out.
            scene.store.set_weather(Weather::Flaky);
            let (session, first) = scene.work(None).await;
            scene.rest().await;
            scene.store.set_weather(Weather::ReadOnly);
            drop(first);
            let (resumed, mut messages) = scene.work(Some(session)).await;
            scene.wait(2).await;
            scene.store.set_weather(Weather::Still);
            scene.wait(60).await;
            assert!(scene.is_writable(), "seed {seed}");
            assert_eq!(session, resumed, "seed {seed}");
            assert_eq!(assigned(&mut messages), [(id, 1)], "seed {seed}");
        });
    }
}

#[test]
fn a_commit_in_doubt_is_settled_whatever_else_is_found_to_fail_meanwhile() {
    for seed in 0..100 {
        play(seed, |scene| async move {
            let id = scene.submit(None).await;
            // Some of the commits that start it stay in doubt.
            scene.store.set_weather(Weather::Flaky);
            let (_, mut messages) = scene.work(None).await;
            scene.rest().await;
            scene.store.set_weather(Weather::Down);
            scene.engine.check_store().await;
            scene.rest().await;
            scene.store.set_weather(Weather::Still);
            scene.wait(60).await;
            assert_eq!(assigned(&mut messages), [(id, 1)], "seed {seed}");
        });
    }
}

#[test]
fn a_store_that_answers_at_last_is_written_to_again_whatever_it_answers() {
    for seed in 0..200 {
        play(seed, |scene| async move {
            let id = scene.submit(None).await;
            // The commit that starts it takes long, or loses a race after a long time.
            scene.store.set_weather(Weather::Slow);
            let (_, mut messages) = scene.work(None).await;
            for _ in 0..8 {
                assert!(scene.is_writable(), "seed {seed}: it does not take long yet");
                scene.wait(1).await;
            }
            scene.wait(12).await;
            scene.store.set_weather(Weather::Still);
            scene.wait(60).await;
            assert_eq!(assigned(&mut messages), [(id, 1)], "seed {seed}");
            assert!(scene.is_writable(), "seed {seed}");
        });
    }
}

#[test]
fn a_batch_is_known_again_while_its_children_take_part_in_the_same_commit() {
    play(0, |scene| async move {
        let key = |text| Some(IdempotencyKey::parse(text).unwrap());
        let batch = NewOperation::of_batch(Kind::of_batches().unwrap(), BatchRule::ALL);
        let child = NewOperation::of(Kind::parse("sim.a").unwrap());
        let items = vec![
            NewOperation { idempotency_key: key("batch"), ..batch },
            NewOperation { idempotency_key: key("child"), ..child },
        ];
        let ids = async || -> Vec<OperationId> {
            let stored = scene.engine.submit_batch(items.clone()).await.unwrap();
            stored.into_iter().map(|one| one.unwrap().operation.id()).collect()
        };
        let first = ids().await;
        let (cancelled, again) = tokio::join!(scene.engine.apply(cancel(first[1])), ids());
        assert!(cancelled.is_ok());
        assert_eq!(again, first);
    });
}

#[test]
fn children_that_outlived_their_batch_are_asked_to_stop() {
    play(0, |scene| async move {
        let start_at = Some(scene.clock.now().after(Duration::from_secs(3_600)));
        // As a crash leaves it: the batch has ended, and its child was not told.
        let leave_child = async || -> OperationId {
            let batch = NewOperation::of_batch(Kind::of_batches().unwrap(), BatchRule::ALL);
            let child = NewOperation::of(Kind::parse("sim.a").unwrap());
            let items = vec![NewOperation { start_at, ..batch }, child];
            let stored = scene.engine.submit_batch(items).await.unwrap();
            let ids: Vec<_> = stored.into_iter().map(|one| one.unwrap().operation.id()).collect();
            scene.engine.apply(cancel(ids[0])).await.unwrap();
            ids[1]
        };
        let state = async |id: OperationId| -> StateName {
            let found = scene.engine.get(&TenantId::default_tenant().into(), id).await;
            found.unwrap().state_name()
        };
        let first = leave_child().await;
        assert_eq!(state(first).await, StateName::Queued);
        let objects = Objects::in_directory(&std::env::temp_dir()).unwrap();
        let stop = CancellationToken::new();
        let service = Service::new(scene.engine.clone(), objects, Limits::default(), stop.clone());
        let batches = Batches::new(service, scene.engine.clone());
        let batches = tokio::task::spawn_local(batches.run(stop.clone()));
        scene.wait(2).await;
        assert_eq!(state(first).await, StateName::Cancelled);
        let second = leave_child().await;
        scene.wait(90).await;
        assert_eq!(state(second).await, StateName::Cancelled);
        stop.cancel();
        scene.in_time(batches).await.unwrap();
    });
}

#[test]
fn what_is_due_while_its_row_is_locked_is_seen_to_when_it_is_free() {
    play(0, |scene| async move {
        let queue_timeout = Some(Duration::from_secs(1));
        let settings = Settings { queue_timeout, ..Settings::default() };
        let new = NewOperation { settings, ..NewOperation::of(Kind::parse("sim.a").unwrap()) };
        let stored = scene.engine.submit(vec![new]).await.unwrap().pop().unwrap();
        let id = stored.unwrap().operation.id();
        let tenant = TenantId::default_tenant().into();
        let state = async || scene.engine.get(&tenant, id).await.unwrap().state_name();
        scene.store.lock(Some(id));
        scene.wait(5).await;
        assert!((1..10).contains(&scene.store.lock(None)), "it is tried now and then");
        assert_eq!(state().await, StateName::Queued);
        scene.wait(60).await;
        assert_eq!(state().await, StateName::Failed);
    });
}

#[test]
fn a_watch_that_has_begun_waits_until_the_store_can_be_read_again() {
    play(0, |scene| async move {
        let mut ids = Vec::new();
        for _ in 0..20 {
            ids.push(scene.submit(None).await);
        }
        let tenant = TenantId::default_tenant();
        let watch = || {
            let start = FeedStart::Current;
            scene.engine.feed(tenant.clone(), Filter::default(), false, start)
        };
        let mut begun = watch();
        let mut listed = Vec::new();
        let mut next = async |feed: &mut Feed| match feed.next().await {
            Ok(FeedItem::Current(operation)) => listed.push(operation.id()),
            other => panic!("{other:?}"),
        };
        next(&mut begun).await;
        scene.store.set_weather(Weather::Down);
        assert!(watch().next().await.is_err(), "who begins is told");
        let rest = async {
            for _ in 1..20 {
                next(&mut begun).await;
            }
        };
        let back = async {
            scene.wait(5).await;
            scene.store.set_weather(Weather::Still);
            scene.wait(5).await;
        };
        tokio::join!(rest, back);
        assert_eq!(listed, ids);
    });
}

#[test]
fn one_worker_too_many_is_refused_and_one_that_comes_back_is_not() {
    play(0, |scene| async move {
        let (first, _messages) = scene.work(None).await;
        let _second = scene.work(None).await;
        let refused = scene.try_to_work(None).await;
        assert!(matches!(refused, Err(EngineError::Full { limit: 2, .. })), "{refused:?}");
        assert_eq!(scene.work(Some(first)).await.0, first);
    });
}
