//! A worker without a stream: it polls, and reports on each attempt by its token, at any server. It loses answers,
//! falls silent beyond its leases, forgets attempts, and reports what is no longer its own.

use std::rc::Rc;
use std::time::Duration;

use longrun::engine::Clock as _;
use longrun::operation::{Attempt, Kind, OperationId, Progress, RequestId, State, WorkerId};
use longrun::service::{Acquire, Acquired, Reason, Renewal};
use tokio::task::JoinSet;

use crate::clock::TICK;
use crate::history::ReportKind;
use crate::submitter::KINDS;
use crate::worker::content;
use crate::world::{CallError, World};

pub struct Caller {
    world: Rc<World>,
    number: usize,
    rng: fastrand::Rng,
    made: u64,
    /// A poll with a name, whose answer it lost.
    lost: Option<Acquire>,
    /// The attempts that it executes; they end with it.
    attempts: JoinSet<()>,
}

/// An attempt as it was acquired.
struct Running {
    world: Rc<World>,
    rng: fastrand::Rng,
    id: OperationId,
    attempt: Attempt,
    token: String,
    /// Names its reports.
    name: String,
    made: u64,
}

impl Caller {
    pub fn new(world: Rc<World>, number: usize) -> Self {
        let rng = world.fork();
        Self { world, number, rng, made: 0, lost: None, attempts: JoinSet::new() }
    }

    /// Polls for ever: whoever spawned it ends it.
    pub async fn run(mut self) {
        loop {
            while self.attempts.try_join_next().is_some_and(|ended| ended.is_ok()) {}
            self.poll().await;
            self.world.pause(&mut self.rng, 20).await;
        }
    }

    fn acquire(&mut self) -> Acquire {
        self.made += 1;
        let leases = [None, Some(Duration::from_secs(2)), Some(Duration::from_secs(9))];
        Acquire {
            worker: WorkerId::parse(&format!("caller-{}", self.number)).unwrap(),
            kinds: KINDS.iter().map(|kind| Kind::parse(kind).unwrap()).collect(),
            most: self.rng.usize(1..4),
            lease: leases[self.rng.usize(..leases.len())],
            wait: TICK * self.rng.u32(..40),
            request: self.rng.bool().then(|| RequestId::parse(&format!("{}", self.made)).unwrap()),
        }
    }

    async fn poll(&mut self) {
        let acquire = self.lost.take().unwrap_or_else(|| self.acquire());
        let again =
            Some(acquire.clone()).filter(|it| it.request.is_some() && self.rng.u32(..4) > 0);
        let acquired = self.world.call(&mut self.rng, move |service| async move {
            let acquired = service.acquire(&World::caller(), acquire).await?;
            let signed = acquired.into_iter().map(|it| (service.sign_attempt(&it.token), it));
            Ok(signed.collect::<Vec<_>>())
        });
        match acquired.await {
            Ok(acquired) => acquired.into_iter().for_each(|(token, it)| self.begin(token, it)),
            Err(error) if error.is_transient() => self.lost = again,
            Err(error) => self.world.record.odd("", format!("a poll was refused: {error:?}")),
        }
    }

    fn begin(&mut self, token: String, acquired: Acquired) {
        self.made += 1;
        let (operation, name) =
            (acquired.operation, format!("caller-{}.{}", self.number, self.made));
        self.world.record.assigned(&operation, &name);
        if acquired.input.is_none_or(|input| input.data.is_empty()) {
            let called = self.world.record.name(operation.id());
            self.world.record.odd(&called, "it was acquired without its input".to_owned());
        }
        let running = Running {
            world: Rc::clone(&self.world),
            rng: self.rng.fork(),
            id: operation.id(),
            attempt: operation.life.attempt,
            token,
            name,
            made: 0,
        };
        self.attempts.spawn_local(running.run());
    }
}

impl Running {
    async fn run(mut self) {
        loop {
            // Most are quick; some go beyond their leases.
            let most = if self.rng.u32(..8) == 0 { 150 } else { 15 };
            self.world.clone().pause(&mut self.rng, most).await;
            let is_over = self.rng.u32(..3) == 0 && !self.renew().await;
            let kind = match self.rng.u32(..100) {
                _ if is_over => ReportKind::FailForRetry,
                _ if self.world.enough.get() => ReportKind::Complete,
                0..45 => ReportKind::Complete,
                45..55 => ReportKind::CompletePartly,
                55..65 => ReportKind::FailForRetry,
                65..70 => ReportKind::FailForGood,
                70..77 => ReportKind::Release,
                77..85 => return, // Forgotten.
                _ => ReportKind::Log,
            };
            self.report(kind, is_over).await;
            if kind != ReportKind::Log {
                return;
            }
        }
    }

    /// A sign of life. Whether the attempt goes on, as far as is known.
    async fn renew(&mut self) -> bool {
        let progress = self.rng.bool().then(|| Progress {
            percent: Some(50.0),
            done_units: None,
            total_units: None,
            message: String::new(),
            at: self.world.clock.now(),
        });
        let (token, id, attempt) = (self.token.clone(), self.id, self.attempt);
        let world = Rc::clone(&self.world);
        let renewed = world.call(&mut self.rng, move |service| async move {
            let token = service.attempt_of("token", &token)?;
            service.renew_attempt(&World::caller(), &token, progress).await
        });
        match renewed.await {
            Ok(Renewal::Over { .. }) => false,
            Ok(Renewal::Renewed(operation)) => {
                let state = &operation.life.state;
                let is_held = matches!(state, State::Running { .. } | State::Cancelling { .. });
                if !is_held || (operation.id(), operation.life.attempt) != (id, attempt) {
                    let name = self.world.record.name(id);
                    self.world.record.odd(&name, format!("it was renewed as {state:?}"));
                }
                true
            }
            Err(error) => !self.is_over(&error),
        }
    }

    /// Whether a refusal says so.
    fn is_over(&self, error: &CallError) -> bool {
        let over = [Reason::StaleAttempt, Reason::OperationNotFound, Reason::OperationExpired];
        let is_over = over.into_iter().any(|reason| error.is(reason));
        if !is_over && !error.is_transient() {
            let name = self.world.record.name(self.id);
            self.world.record.odd(&name, format!("{} was refused: {error:?}", self.name));
        }
        is_over
    }

    /// Reports until there is an answer, perhaps of several servers.
    async fn report(&mut self, kind: ReportKind, is_forged: bool) {
        self.made += 1;
        let world = Rc::clone(&self.world);
        let (id, attempt, called) = (self.id, self.attempt, world.record.name(self.id));
        let said = format!("{called}#{}#{kind:?}#{}.{}", attempt.0, self.name, self.made);
        let index = world.record.report(id, attempt, kind, &said, is_forged);
        loop {
            world.record.report_sent(index);
            let (token, said) = (self.token.clone(), said.clone());
            let answer = world.call(&mut self.rng, move |service| async move {
                let token = service.attempt_of("token", &token)?;
                service.report_attempt(&World::caller(), &token, content(kind, &said)).await
            });
            match answer.await {
                Ok(()) => return world.record.report_answered(index, true),
                Err(error) if error.is_transient() => world.pause(&mut self.rng, 20).await,
                Err(error) => {
                    self.is_over(&error);
                    return world.record.report_answered(index, false);
                }
            }
        }
    }
}
