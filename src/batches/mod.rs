//! The worker of batches, within the server.
//!
//! A batch is an operation that this worker executes: it counts the batch's children by state, and ends the batch by
//! its rule. It takes leases like any worker, so a crash, a stop or a take-over by another replica needs no special
//! handling: the next holder of the lease counts again. The worker keeps no state beyond the store's; news of children
//! only says where to look.
//!
//! It connects when there is a first batch, and stays until the server stops: the session of a worker within the server
//! does not expire, so a batch that was assigned while the worker left would be held for ever.
//!
//! Read next: `desk` for when a batch is looked at, `step` for one look, `leftovers` for children that a crash left
//! behind.

use std::time::Duration;

use futures_util::future::join;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, Moment, ToWorker, WorkerHello};
use crate::operation::{Attempt, Kind, Operation, OperationId, Scope, SessionId, WorkerId};
use crate::service::{Service, ServiceError, WorkerSession};

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
        if stop.run_until_cancelled(self.wanted()).await.is_none() {
            return;
        }
        let mut desk = None;
        loop {
            let former = desk.as_ref().map(|desk: &Desk| (desk.session(), desk.running()));
            match self.connect(former).await {
                Ok((session, messages)) => {
                    let former = desk.take().filter(|_| session.resumed());
                    let mut connected = Desk::new(self, session, messages, former);
                    if connected.work(stop).await == Left::Stopped {
                        return connected.leave().await;
                    }
                    desk = Some(connected);
                }
                Err(error) => tracing::debug!(%error, "the worker of batches cannot connect"),
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

    async fn connect(
        &self,
        former: Option<(SessionId, Vec<(OperationId, Attempt)>)>,
    ) -> Result<(WorkerSession, mpsc::Receiver<ToWorker>), ServiceError> {
        let kind = Kind::of_batches();
        let kind = kind.map_err(|rule| ServiceError::invalid_field("kind", rule.to_string()))?;
        let worker = WorkerId::parse(WORKER);
        let worker =
            worker.map_err(|rule| ServiceError::invalid_field("worker", rule.to_string()))?;
        let (resume, running) = former.unzip();
        let hello = WorkerHello {
            scope: Scope::All,
            worker,
            kinds: vec![kind],
            max_in_flight: self.service.limits().max_in_flight.clamp(1, MOST),
            resume,
            in_process: true,
            running: running.unwrap_or_default(),
        };
        self.service.connect_batches(hello).await
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
