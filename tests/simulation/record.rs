//! What everybody in a schedule is told, written down for the checker, and a trace of it all.
//!
//! Operations are called by the order in which they were first seen, so that two runs of one seed read
//! the same.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};

use longrun::operation::state::Outcome;
use longrun::operation::{
    Attempt, ErrorSource, EventType, Life, Operation, OperationError, OperationId,
};
use longrun::proto::v1::event::Type;
use longrun::proto::v1::operation::State;

use crate::history::{
    EventFact, History, Mark, Name, Report, ReportKind, Sighting, Submission, Watch, WatchEnd,
    WatchEntry,
};
use crate::submitter::batches::Batches;

/// Operations that are kept for less than this may be gone when it is looked for them.
pub const SHORT_RETENTION_S: u64 = 3_600;

#[derive(Default)]
pub struct Record {
    history: RefCell<History>,
    names: RefCell<HashMap<OperationId, Name>>,
    /// In the order of first sight.
    ids: RefCell<Vec<OperationId>>,
    deletable: RefCell<Vec<OperationId>>,
    /// Operations that somebody waits for or watches, or did.
    listened_to: RefCell<BTreeSet<OperationId>>,
    /// Who was given an attempt: the worker's session, by number.
    holders: RefCell<BTreeMap<(Name, u32), String>>,
    batches: RefCell<Batches>,
    moment: Cell<u64>,
    trace: RefCell<Option<Vec<String>>>,
}

#[derive(Clone, Copy, Debug)]
pub struct ReportIndex(usize);

#[derive(Clone, Copy, Debug)]
pub struct WatchIndex(usize);

impl Record {
    pub fn new(traced: bool) -> Self {
        Self { trace: RefCell::new(traced.then(Vec::new)), ..Self::default() }
    }

    /// A line of the trace.
    pub fn note(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut *self.trace.borrow_mut() {
            trace.push(line());
        }
    }

    pub fn trace(&self) -> Vec<String> {
        self.trace.borrow_mut().take().unwrap_or_default()
    }

    /// What the operation is called here.
    pub fn name(&self, id: OperationId) -> Name {
        let mut names = self.names.borrow_mut();
        let next = names.len() + 1;
        let name = names.entry(id).or_insert_with(|| {
            self.ids.borrow_mut().push(id);
            format!("op-{next}")
        });
        name.clone()
    }

    /// A moment, for [`Record::read`]: take it before asking.
    pub fn now(&self) -> u64 {
        self.moment.set(self.moment.get() + 1);
        self.moment.get()
    }

    pub fn submitted(&self, content: &str, key: Option<&str>, asked: u64, operation: &Operation) {
        self.read(asked, operation);
        let name = self.name(operation.id());
        self.note(|| format!("{name} was submitted with {content}"));
        if key.is_none() {
            self.deletable.borrow_mut().push(operation.id());
        }
        let key = key.map(str::to_owned);
        let submission = Submission { name, key, content: content.to_owned() };
        self.history.borrow_mut().submissions.push(submission);
    }

    /// A batch was acknowledged, which so many children came with.
    pub fn batch(&self, id: OperationId, children: u64) {
        self.batches.borrow_mut().insert(id, children);
    }

    pub fn batches(&self) -> Batches {
        self.batches.borrow().clone()
    }

    pub fn any_batch(&self, rng: &mut fastrand::Rng) -> Option<OperationId> {
        rng.choice(self.batches.borrow().keys()).copied()
    }

    /// An operation was answered to a question that was asked at `asked`.
    pub fn read(&self, asked: u64, operation: &Operation) {
        self.saw(operation, Some((asked, self.now())));
    }

    /// An operation was shown in a stream.
    pub fn streamed(&self, operation: &Operation) {
        self.saw(operation, None);
    }

    fn saw(&self, operation: &Operation, between: Option<(u64, u64)>) {
        let (name, mark) = (self.name(operation.id()), mark(&operation.life));
        self.note(|| format!("{name} was shown as {mark:?}"));
        let mut history = self.history.borrow_mut();
        if operation.submission.settings.retention.as_secs() < SHORT_RETENTION_S {
            history.deletions.entry(name.clone()).or_insert(false);
        }
        history.sightings.push(Sighting { name, mark, between });
    }

    pub fn missing(&self, id: OperationId) {
        let name = self.name(id);
        self.note(|| format!("{name} is said not to exist"));
        self.history.borrow_mut().missing.insert(name);
    }

    pub fn odd(&self, name: &str, oddity: String) {
        self.note(|| format!("odd: {name}: {oddity}"));
        self.history.borrow_mut().oddities.push((name.to_owned(), oddity));
    }

    pub fn any(&self, rng: &mut fastrand::Rng) -> Option<OperationId> {
        rng.choice(&*self.ids.borrow()).copied()
    }

    /// An operation that nobody minds to be gone; from now on it may be.
    pub fn take_deletable(&self, rng: &mut fastrand::Rng) -> Option<OperationId> {
        let mut deletable = self.deletable.borrow_mut();
        let id = (!deletable.is_empty()).then(|| rng.usize(..deletable.len()))?;
        let id = deletable.swap_remove(id);
        self.history.borrow_mut().deletions.entry(self.name(id)).or_insert(false);
        Some(id)
    }

    pub fn deleted(&self, id: OperationId) {
        let name = self.name(id);
        self.note(|| format!("{name} was deleted"));
        self.history.borrow_mut().deletions.insert(name, true);
    }

    /// An attempt was given to a worker, who goes by `holder` for the time of one session.
    pub fn assigned(&self, operation: &Operation, holder: &str) {
        self.streamed(operation);
        let (name, attempt) = (self.name(operation.id()), operation.life.attempt.0);
        self.note(|| format!("{name} attempt {attempt} goes to {holder}"));
        let mut holders = self.holders.borrow_mut();
        let first = holders.entry((name.clone(), attempt)).or_insert_with(|| holder.to_owned());
        if first != holder {
            let oddity = format!("attempt {attempt} was given to {first} and to {holder}");
            drop(holders);
            self.odd(&name, oddity);
        }
    }

    pub fn report(
        &self,
        id: OperationId,
        attempt: Attempt,
        kind: ReportKind,
        token: &str,
        is_forged: bool,
    ) -> ReportIndex {
        let name = self.name(id);
        self.note(|| format!("{token} is about to be reported, forged: {is_forged}"));
        let reports = &mut self.history.borrow_mut().reports;
        reports.push(Report {
            name,
            attempt: attempt.0 as i32,
            kind,
            token: token.to_owned(),
            is_forged,
            sent: 0,
            acknowledged: 0,
            refused: 0,
        });
        ReportIndex(reports.len() - 1)
    }

    pub fn report_sent(&self, report: ReportIndex) {
        self.history.borrow_mut().reports[report.0].sent += 1;
    }

    pub fn report_answered(&self, report: ReportIndex, taken: bool) {
        let report = &mut self.history.borrow_mut().reports[report.0];
        self.note(|| format!("{} was answered: {taken}", report.token));
        if taken {
            report.acknowledged += 1;
        } else {
            report.refused += 1;
        }
    }

    /// Whether nobody has listened to that operation so far. Of several, chance decides who is woken first,
    /// and that chance is not drawn from the seed.
    pub fn may_listen(&self, id: OperationId) -> bool {
        self.listened_to.borrow_mut().insert(id)
    }

    pub fn watch(&self, id: OperationId, from_snapshot: bool) -> WatchIndex {
        let name = self.name(id);
        let watches = &mut self.history.borrow_mut().watches;
        watches.push(Watch { name, from_snapshot, entries: Vec::new(), end: WatchEnd::None });
        WatchIndex(watches.len() - 1)
    }

    pub fn watched(&self, watch: WatchIndex, operation: &Operation, event: Option<EventType>) {
        self.streamed(operation);
        let event = event.map(event_type);
        let entry = WatchEntry { mark: mark(&operation.life), event };
        self.history.borrow_mut().watches[watch.0].entries.push(entry);
    }

    pub fn watch_ended(&self, watch: WatchIndex, end: WatchEnd) {
        self.history.borrow_mut().watches[watch.0].end = end;
    }

    pub fn all_watches_ended(&self) -> bool {
        self.history.borrow().watches.iter().all(|watch| watch.end != WatchEnd::None)
    }

    /// What has been written down.
    pub fn take(&self) -> History {
        std::mem::take(&mut *self.history.borrow_mut())
    }

    /// Everything that was ever seen.
    pub fn seen(&self) -> Vec<OperationId> {
        self.ids.borrow().clone()
    }
}

/// The latest transition, as it was shown.
pub fn mark(life: &Life) -> Mark {
    Mark {
        revision: life.revision.0 as i64,
        state: State::try_from(life.state.name() as i32).unwrap(),
        attempt: life.attempt.0 as i32,
        worker: life.worker.as_ref().map(ToString::to_string).unwrap_or_default(),
        time: life.updated_at.micros(),
    }
}

fn event_type(event: EventType) -> Type {
    match event {
        EventType::Submitted => Type::Submitted,
        EventType::Started => Type::Started,
        EventType::RetryScheduled => Type::RetryScheduled,
        EventType::Released => Type::Released,
        EventType::CancelRequested => Type::CancelRequested,
        EventType::Finished => Type::Finished,
        EventType::StartRequested => Type::StartRequested,
    }
}

/// A transition as a fact, with the tokens of the reports in its error.
pub fn event_fact(event: &longrun::operation::Event) -> EventFact {
    let error = match &event.life.state {
        longrun::operation::State::Done {
            outcome: Outcome::Failed { error } | Outcome::Cancelled { error },
            ..
        } => Some(error),
        longrun::operation::State::Queued { .. } => event.life.last_error.as_ref(),
        _ => None,
    };
    let is_own = event.event_type != EventType::Released;
    let tokens = error.filter(|_| is_own).map(tokens_of).unwrap_or_default();
    EventFact { mark: mark(&event.life), event: event_type(event.event_type), tokens }
}

/// The tokens in an operation's outcome, beside its result.
pub fn outcome_tokens(operation: &Operation) -> Vec<String> {
    match &operation.life.state {
        longrun::operation::State::Done { outcome, .. } => match outcome {
            Outcome::Failed { error } | Outcome::Cancelled { error } => tokens_of(error),
            Outcome::PartiallySucceeded { errors, .. } => {
                errors.iter().map(|error| error.message.clone()).collect()
            }
            Outcome::Succeeded { .. } => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The report that an error is of; what stands behind a deadline may be of an earlier attempt.
fn tokens_of(error: &OperationError) -> Vec<String> {
    match error.source {
        ErrorSource::Application => vec![error.message.clone()],
        ErrorSource::Service if error.code == OperationError::CANCELLED => {
            error.causes.iter().flat_map(tokens_of).collect()
        }
        ErrorSource::Service => Vec::new(),
    }
}
