//! One course of events that chance takes long to come by: what was due is no longer, because the clock
//! was set back before anybody could start it.

use std::sync::Arc;
use std::time::Duration;

use longrun::engine::{Clock as _, Engine, EngineConfig, ToWorker, WorkerHello};
use longrun::operation::{Kind, NewOperation, Settings, TenantId, WorkerId};
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::{LocalSet, yield_now};
use tokio_util::sync::CancellationToken;

use crate::clock::{SimClock, TICK};
use crate::store::{Lie, SimStore};

#[test]
fn what_was_due_before_the_clock_was_set_back_is_started_when_it_is_due_again() {
    let runtime = Builder::new_current_thread().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let clock = Arc::new(SimClock::default());
        let store = SimStore::new(Arc::clone(&clock), Lie::None, fastrand::Rng::with_seed(0));
        let config = EngineConfig { lease_duration: Duration::MAX, ..EngineConfig::default() };
        let opened = Engine::open(Arc::new(store), clock.clone(), config).await;
        let (engine, task) = opened.unwrap();
        tokio::task::spawn_local(task.run(CancellationToken::new()));
        clock.advance(1_000);
        let kind = Kind::parse("sim.a").unwrap();
        let new = NewOperation {
            capacity: None,
            tenant: TenantId::default_tenant(),
            kind: kind.clone(),
            labels: Default::default(),
            settings: Settings::default(),
            start_at: Some(clock.now().after(TICK * 10)),
            idempotency_key: None,
            retry_of: None,
            input: None,
        };
        engine.submit(vec![new]).await.unwrap().pop().unwrap().unwrap();
        clock.advance(20);
        rest().await;

        clock.set_back(100);
        let (sender, mut messages) = mpsc::channel(10);
        let hello = WorkerHello {
            in_process: false,
            tenant: TenantId::default_tenant(),
            worker: WorkerId::parse("worker").unwrap(),
            kinds: vec![kind],
            max_in_flight: 1,
            resume: None,
            running: Vec::new(),
        };
        engine.connect(hello, sender).await.unwrap();
        rest().await;
        assert!(messages.try_recv().is_err(), "it is not due any more");
        clock.advance(200);
        rest().await;
        assert!(matches!(messages.try_recv(), Ok(ToWorker::Assignment { .. })), "it is due again");
    });
}

/// Until nobody has anything to do.
async fn rest() {
    for _ in 0..50 {
        yield_now().await;
    }
}
