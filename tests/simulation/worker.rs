//! A worker that does everything that workers do, and some things that they should not: it hangs beyond
//! its leases, forgets its session or its attempts, and reports what is no longer its own.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use longrun::engine::{Clock as _, ToWorker, WorkerHello};
use longrun::operation::{
    Attempt, ErrorSource, Kind, OperationError, OperationId, Progress, SessionId, TenantId,
    Timestamp, WorkerId,
};
use longrun::service::{Reason, Report, WorkerSession};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::TICK;
use crate::history::ReportKind;
use crate::record::ReportIndex;
use crate::submitter::{KINDS, text};
use crate::world::{CallError, LEASE, World, hops};

/// An attempt as a worker knows it.
type Held = (OperationId, Attempt);

/// A report that has no answer yet.
#[derive(Clone)]
struct Sent {
    index: ReportIndex,
    held: Held,
    kind: ReportKind,
    token: String,
}

pub struct Worker {
    world: Rc<World>,
    number: usize,
    rng: fastrand::Rng,
    session: Option<SessionId>,
    /// Rises with every memory lost.
    life: u32,
    /// The first serves all kinds, so that somebody does.
    kinds: Vec<Kind>,
    max_in_flight: usize,
    /// The attempts that it executes, and when the next thing happens to them.
    running: BTreeMap<Held, Timestamp>,
    unanswered: VecDeque<Sent>,
    /// Attempts that are no longer its own.
    lost: Vec<Held>,
    made: u64,
}

/// One stream, as the worker has it.
struct Stream {
    session: WorkerSession,
    messages: mpsc::Receiver<ToWorker>,
    answers: mpsc::UnboundedReceiver<(Sent, Result<(), CallError>)>,
    answer_to: mpsc::UnboundedSender<(Sent, Result<(), CallError>)>,
    /// Cancelled when the stream is cut, or the server dies.
    cut: CancellationToken,
}

enum Step {
    Heard(Option<ToWorker>),
    Answered(Sent, Result<(), CallError>),
    Due,
    Heartbeat,
    Cut,
}

impl Worker {
    pub fn new(world: Rc<World>, number: usize) -> Self {
        let mut rng = world.fork();
        let mut kinds: Vec<Kind> = KINDS.iter().map(|kind| Kind::parse(kind).unwrap()).collect();
        if number > 0 && rng.bool() {
            kinds.truncate(1);
        }
        Self {
            kinds,
            max_in_flight: rng.usize(1..4),
            world,
            number,
            rng,
            session: None,
            life: 0,
            running: BTreeMap::new(),
            unanswered: VecDeque::new(),
            lost: Vec::new(),
            made: 0,
        }
    }

    /// Works for ever: whoever spawned it ends it.
    pub async fn run(mut self) {
        loop {
            if let Some(stream) = self.open().await {
                self.work(stream).await;
            }
            self.world.pause(&mut self.rng, 10).await;
        }
    }

    async fn open(&mut self) -> Option<Stream> {
        if self.rng.u32(..20) == 0
            && let Some(forgotten) = self.running.keys().next().copied()
        {
            // The server gives it out again, with the same number.
            self.running.remove(&forgotten);
            self.unanswered.retain(|report| report.held != forgotten);
        }
        let reported = self.unanswered.iter().map(|report| report.held);
        let hello = WorkerHello {
            in_process: false,
            scope: TenantId::default_tenant().into(),
            worker: WorkerId::parse(&format!("worker-{}", self.number)).unwrap(),
            kinds: self.kinds.clone(),
            max_in_flight: self.max_in_flight,
            resume: self.session,
            running: self.running.keys().copied().chain(reported).collect(),
        };
        let connection = self.world.connect(&mut self.rng)?;
        let (caller, cut) = (World::caller(), connection.dead.child_token());
        let connected = self
            .world
            .call_over(&connection, &mut self.rng, move |service| async move {
                service.connect_worker(&caller, hello).await
            })
            .await;
        let (number, record) = (self.number, &self.world.record);
        record.note(|| match &connected {
            Ok((session, _)) => format!(
                "worker {number} connects to {}, resumed: {}",
                connection.replica,
                session.resumed()
            ),
            Err(error) => format!("worker {number} does not connect: {error:?}"),
        });
        let (session, messages) = match connected {
            Ok(connected) => connected,
            Err(error) => {
                if !error.is_transient() {
                    self.world.record.odd("", format!("a hello was refused: {error:?}"));
                }
                return None;
            }
        };
        if self.session.is_some() && !session.resumed() {
            self.lose_all();
        }
        self.session = Some(session.id());
        let (answer_to, answers) = mpsc::unbounded_channel();
        Some(Stream { session, messages, answers, answer_to, cut })
    }

    async fn work(&mut self, mut stream: Stream) {
        for report in std::mem::take(&mut self.unanswered) {
            self.send(&stream, report);
        }
        loop {
            let now = self.world.clock.now();
            let due = self.running.values().min().copied().unwrap_or(Timestamp::MAX);
            let heartbeat = now.after(LEASE / 4);
            let step = tokio::select! {
                biased;
                () = stream.cut.cancelled() => Step::Cut,
                heard = stream.messages.recv() => Step::Heard(heard),
                Some((report, answer)) = stream.answers.recv() => Step::Answered(report, answer),
                () = self.world.clock.sleep_until(due) => Step::Due,
                () = self.world.clock.sleep_until(heartbeat) => Step::Heartbeat,
            };
            hops(&mut self.rng, 3).await;
            match step {
                Step::Heard(Some(_)) if self.rng.u32(..25) == 0 => break, // Lost on its way.
                Step::Heard(Some(message)) => self.take(message, &stream).await,
                Step::Answered(report, answer) => self.answered(&stream, report, answer),
                Step::Due => self.go_on(&stream),
                Step::Heartbeat => {
                    let renew = stream.session.renew();
                    let _ = stream.cut.run_until_cancelled(renew).await;
                    self.report_lost(&stream);
                    if self.is_unwell().await {
                        break;
                    }
                }
                Step::Heard(None) | Step::Cut => break,
            }
        }
        self.world.record.note(|| format!("worker {} ends its stream", self.number));
        self.close(stream);
    }

    /// The stream ends; the server notices at once, or after a while.
    fn close(&mut self, stream: Stream) {
        let Stream { session, messages, mut answers, answer_to, cut } = stream;
        cut.cancel();
        drop((messages, answer_to));
        // What was answered before the end and not heard is not known.
        while let Ok((report, _)) = answers.try_recv() {
            if !self.unanswered.iter().any(|other| other.token == report.token) {
                self.unanswered.push_back(report);
            }
        }
        let (world, mut rng) = (Rc::clone(&self.world), self.rng.fork());
        tokio::task::spawn_local(async move {
            if rng.bool() {
                world.pause(&mut rng, 60).await;
            }
            session.disconnect();
        });
    }

    /// Now and then a worker loses its stream or its memory, or hangs.
    async fn is_unwell(&mut self) -> bool {
        if self.world.enough.get() {
            return false;
        }
        match self.rng.u32(..100) {
            0..6 => true,
            6..10 => {
                self.session = None;
                self.life += 1;
                self.unanswered.clear();
                self.lose_all();
                true
            }
            10..14 => {
                // Stopped beyond its leases, without its knowing.
                self.world.pause(&mut self.rng, 200).await;
                false
            }
            _ => false,
        }
    }

    async fn take(&mut self, message: ToWorker, stream: &Stream) {
        match message {
            ToWorker::Assignment { operation, input } => {
                let held = (operation.id(), operation.life.attempt);
                let holder = format!("worker {} life {}", self.number, self.life);
                self.world.record.assigned(&operation, &holder);
                let name = self.world.record.name(held.0);
                if input.is_none_or(|input| input.data.is_empty()) {
                    self.world.record.odd(&name, "it was assigned without its input".to_owned());
                }
                let known = self.unanswered.iter().any(|report| report.held == held);
                if self.running.contains_key(&held) || known {
                    self.world.record.odd(&name, format!("{held:?} was assigned twice"));
                }
                if self.rng.u32(..4) == 0 {
                    let progress = Progress {
                        percent: Some(50.0),
                        done_units: None,
                        total_units: None,
                        message: String::new(),
                        at: self.world.clock.now(),
                    };
                    let told = stream.session.progress(held.0, held.1, progress);
                    let _ = stream.cut.run_until_cancelled(told).await;
                }
                let due = self.soon();
                self.running.insert(held, due);
            }
            ToWorker::NotCurrent { id, attempt } => {
                if self.running.remove(&(id, attempt)).is_some() {
                    self.lost.push((id, attempt));
                }
            }
            ToWorker::Superseded => {}
            ToWorker::CancelRequested { operation } => {
                let held = (operation.id(), operation.life.attempt);
                let heeds = self.rng.bool();
                let now = self.world.clock.now();
                if let Some(due) = self.running.get_mut(&held)
                    && heeds
                {
                    *due = now;
                }
            }
        }
    }

    /// Most are quick; some go beyond their timeouts or a crash.
    fn soon(&mut self) -> Timestamp {
        let most = if self.rng.u32(..8) == 0 { 120 } else { 12 };
        self.world.clock.now().after(TICK * self.rng.u32(1..most))
    }

    fn go_on(&mut self, stream: &Stream) {
        let now = self.world.clock.now();
        let due: Vec<Held> =
            self.running.iter().filter(|(_, due)| **due <= now).map(|(held, _)| *held).collect();
        for held in due {
            let kind = match self.rng.u32(..100) {
                _ if self.world.enough.get() => ReportKind::Complete,
                0..45 => ReportKind::Complete,
                45..55 => ReportKind::CompletePartly,
                55..70 => ReportKind::FailForRetry,
                70..75 => ReportKind::FailForGood,
                75..82 => ReportKind::Release,
                _ => ReportKind::Log,
            };
            let report = self.make(held, kind, false);
            // Twice at once: the second is a repetition. Log lines are not told apart.
            if kind != ReportKind::Log && self.rng.u32(..10) == 0 {
                self.send(stream, report.clone());
            }
            self.send(stream, report);
            if kind == ReportKind::Log {
                let due = self.soon();
                self.running.insert(held, due);
            } else {
                self.running.remove(&held);
            }
        }
    }

    /// What is not its own any more is reported all the same.
    fn report_lost(&mut self, stream: &Stream) {
        for held in std::mem::take(&mut self.lost) {
            let kinds = [ReportKind::Complete, ReportKind::FailForRetry, ReportKind::Release];
            let kind = self.rng.choice(kinds).unwrap_or(ReportKind::Log);
            let report = self.make(held, kind, true);
            self.send(stream, report);
        }
    }

    fn lose_all(&mut self) {
        self.lost.extend(std::mem::take(&mut self.running).into_keys());
    }

    fn make(&mut self, held: Held, kind: ReportKind, is_forged: bool) -> Sent {
        self.made += 1;
        let (record, number, made) = (&self.world.record, self.number, self.made);
        let name = record.name(held.0);
        let token = format!("{name}#{}#{kind:?}#worker-{number}.{made}", held.1.0);
        let index = record.report(held.0, held.1, kind, &token, is_forged);
        Sent { index, held, kind, token }
    }

    /// Sends a report, for the first time or again. The server carries it out in its own time, unless
    /// the stream is cut before.
    fn send(&mut self, stream: &Stream, report: Sent) {
        self.world.record.report_sent(report.index);
        if !self.unanswered.iter().any(|other| other.token == report.token) {
            self.unanswered.push_back(report.clone());
        }
        let (session, answer_to) = (stream.session.clone(), stream.answer_to.clone());
        let (cut, mut rng) = (stream.cut.clone(), self.rng.fork());
        tokio::task::spawn_local(async move {
            let reporting = async {
                hops(&mut rng, 3).await;
                let (id, attempt) = report.held;
                let answer = session.report(id, attempt, content(report.kind, &report.token)).await;
                hops(&mut rng, 3).await;
                answer
            };
            if let Some(answer) = cut.run_until_cancelled(reporting).await {
                // Unheard if the worker is gone by now.
                let _ = answer_to.send((report, answer.map_err(CallError::Refused)));
            }
        });
    }

    fn answered(&mut self, stream: &Stream, report: Sent, answer: Result<(), CallError>) {
        let taken = match answer {
            Ok(()) => true,
            Err(error) if error.is_transient() => {
                // Not refused: it may be sent again.
                if self.unanswered.iter().any(|other| other.token == report.token) {
                    let (world, cut) = (Rc::clone(&self.world), stream.cut.clone());
                    let (mut rng, answer_to) = (self.rng.fork(), stream.answer_to.clone());
                    let session = stream.session.clone();
                    self.world.record.report_sent(report.index);
                    tokio::task::spawn_local(async move {
                        let again = async {
                            world.pause(&mut rng, 20).await;
                            let (id, attempt) = report.held;
                            session.report(id, attempt, content(report.kind, &report.token)).await
                        };
                        if let Some(answer) = cut.run_until_cancelled(again).await {
                            let _ = answer_to.send((report, answer.map_err(CallError::Refused)));
                        }
                    });
                }
                return;
            }
            Err(error) => {
                let expected =
                    error.is(Reason::StaleAttempt) || error.is(Reason::OperationNotFound);
                if !expected {
                    let oddity = format!("{} was refused: {error:?}", report.token);
                    self.world.record.odd(&self.world.record.name(report.held.0), oddity);
                }
                false
            }
        };
        self.unanswered.retain(|other| other.token != report.token);
        self.world.record.report_answered(report.index, taken);
    }
}

/// What such a report says; the token tells it from all others.
pub fn content(kind: ReportKind, token: &str) -> Report {
    let error = || OperationError {
        code: "Simulated".to_owned(),
        message: token.to_owned(),
        status_code: 2,
        metadata: BTreeMap::new(),
        causes: Vec::new(),
        source: ErrorSource::Application,
    };
    let complete = |errors| Report::Complete {
        contents: None,
        result: Some(text(token)),
        warnings: Vec::new(),
        errors,
    };
    let fail = |is_final| Report::Fail { error: error(), is_final, retry_delay: None };
    match kind {
        ReportKind::Complete => complete(Vec::new()),
        ReportKind::CompletePartly => complete(vec![error()]),
        ReportKind::FailForRetry => fail(false),
        ReportKind::FailForGood => fail(true),
        ReportKind::Release => Report::Release,
        ReportKind::Log => Report::Log(vec![token.to_owned()]),
    }
}
