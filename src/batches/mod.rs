//! The worker of batches, within the server.
//!
//! A batch is an operation that this worker executes: it counts the batch's children by state, and ends the batch by
//! its rule. It takes leases like any worker, so a crash, a stop or a take-over by another replica needs no special
//! handling: the next holder of the lease counts again. The worker keeps no state beyond the store's; news of children
//! only says where to look.
//!
//! It is connected only while there are batches. Read next: `desk` for when a batch is looked at, `step` for one look,
//! `leftovers` for children that a crash left behind.

use std::time::Duration;

use futures_util::future::join;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, Moment, WorkerHello};
use crate::operation::{Kind, Operation, Scope, WorkerId};
use crate::service::{Service, ServiceError};

mod desk;
mod leftovers;
mod report;
mod step;

use desk::{Desk, Left};

/// How often other replicas' batches are looked for while there are none here.
const LOOK: Duration = Duration::from_secs(2);
/// The pause before reconnecting.
const PAUSE: Duration = Duration::from_secs(1);
/// The worker's name for itself.
const WORKER: &str = "batches";
/// The maximum number of batches at one replica.
const MOST: usize = 10_000;

/// The worker of batches.
#[derive(Clone, Debug)]
pub struct Batches {
    service: Service,
    engine: Engine,
}

impl Batches {
    /// The worker of a server.
    pub fn new(service: Service, engine: Engine) -> Self {
        Self { service, engine }
    }

    /// Runs until `stop`, then releases its batches.
    pub async fn run(self, stop: CancellationToken) {
        join(self.work(&stop), leftovers::run(&self, &stop)).await;
    }

    async fn work(&self, stop: &CancellationToken) {
        let mut desk = None;
        loop {
            if desk.is_none() {
                let wanted = stop.run_until_cancelled(self.wanted()).await;
                if wanted.is_none() {
                    return;
                }
            }
            match self.connect(desk).await {
                Ok(mut connected) => match connected.work(stop).await {
                    Left::Idle => {
                        connected.leave().await;
                        desk = None;
                    }
                    Left::Stopped => return connected.leave().await,
                    Left::Cut => desk = Some(connected),
                },
                Err(error) => {
                    tracing::debug!(%error, "the worker of batches cannot connect");
                    desk = None;
                }
            }
            if stop.run_until_cancelled(self.pause(PAUSE)).await.is_none() {
                if let Some(desk) = desk {
                    desk.leave().await;
                }
                return;
            }
        }
    }

    /// Returns when there are unfinished batches.
    async fn wanted(&self) {
        while !self.engine.has_batches() {
            tokio::select! {
                biased;
                () = self.engine.batch_submitted() => return,
                () = self.pause(LOOK) => {}
            }
        }
    }

    async fn connect(&self, former: Option<Desk>) -> Result<Desk, ServiceError> {
        let kind = Kind::of_batches();
        let kind = kind.map_err(|rule| ServiceError::invalid_field("kind", rule.to_string()))?;
        let worker = WorkerId::parse(WORKER);
        let worker =
            worker.map_err(|rule| ServiceError::invalid_field("worker", rule.to_string()))?;
        let hello = WorkerHello {
            scope: Scope::All,
            worker,
            kinds: vec![kind],
            max_in_flight: self.service.limits().max_in_flight.clamp(1, MOST),
            resume: former.as_ref().map(Desk::session),
            in_process: true,
            running: former.as_ref().map(Desk::running).unwrap_or_default(),
        };
        let (session, messages) = self.service.connect_batches(hello).await?;
        let kept = former.filter(|_| session.resumed());
        Ok(Desk::new(self, session, messages, kept))
    }

    /// Cancels some children of a batch. Returns whether there may be more.
    async fn cancel_some_children(&self, batch: &Operation) -> Result<bool, ServiceError> {
        let name = batch.id().name();
        let reason = match &batch.life.cancel {
            Some(cancel) if !cancel.reason.is_empty() => cancel.reason.clone(),
            Some(_) => format!("its batch, {name}, was cancelled"),
            None => format!("its batch, {name}, has ended"),
        };
        self.service.cancel_some_children(batch, &reason).await
    }

    async fn pause(&self, pause: Duration) {
        let clock = self.engine.clock();
        clock.sleep_until_moment(clock.moment().after(pause)).await;
    }

    fn now(&self) -> Moment {
        self.engine.clock().moment()
    }
}
