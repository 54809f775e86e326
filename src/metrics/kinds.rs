//! The figures of operations, by kind.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::Meters;
use super::values::{Counter, Histogram};
use crate::operation::{
    Attempt, ErrorSource, EventType, Kind, Operation, OperationError, Outcome, State, StateName,
};

/// The name of the common figures of all kinds without their own; a kind with this name is among them.
pub const OTHER: &str = "other";
/// The bounds in microseconds: from 5 ms to a day.
const DURATIONS: [u64; 17] = [
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    900_000_000,
    3_600_000_000,
    86_400_000_000,
];

/// The figures of one kind, from this server's commits.
#[derive(Debug)]
pub struct KindMeters {
    /// Submitted operations.
    pub submissions: Counter,
    transitions: [Counter; StateName::ALL.len()],
    /// Attempts whose worker was lost.
    pub leases_lost: Counter,
    /// The time from when an operation may start to the start of an attempt.
    pub waited: Histogram,
    /// The duration of attempts.
    pub attempts: Histogram,
    /// The time from when an operation may start to its end.
    pub took: Histogram,
}

impl KindMeters {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            submissions: Counter::default(),
            transitions: std::array::from_fn(|_| Counter::default()),
            leases_lost: Counter::default(),
            waited: Histogram::of_durations(&DURATIONS),
            attempts: Histogram::of_durations(&DURATIONS),
            took: Histogram::of_durations(&DURATIONS),
        })
    }

    /// Transitions, by the resulting state.
    pub fn transitions(&self) -> impl Iterator<Item = (StateName, u64)> + '_ {
        StateName::ALL.into_iter().zip(self.transitions.iter().map(Counter::get))
    }

    fn record(&self, before: Option<&Operation>, after: &Operation, event_type: EventType) {
        let at = after.life.updated_at;
        if event_type == EventType::Submitted {
            self.submissions.one();
        }
        let state = StateName::ALL.iter().position(|state| *state == after.state_name());
        if let Some(counter) = state.and_then(|state| self.transitions.get(state)) {
            counter.one();
        }
        if is_lost(after, event_type) {
            self.leases_lost.one();
        }
        if after.is_done() {
            self.took.add_duration(at.since(after.submission.start_at));
        }
        let times = before.map(|before| Times::of(before, after)).unwrap_or_default();
        if let Some(waited) = times.waited {
            self.waited.add_duration(waited);
        }
        if let Some(took) = times.attempt {
            self.attempts.add_duration(took);
        }
    }
}

/// The durations that end with a transition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// From when the operation may start, or start again, to the start of an attempt.
    pub waited: Option<Duration>,
    /// From the start of an attempt to its end. The life lacks the start of a cancelled attempt after the first.
    pub attempt: Option<Duration>,
}

impl Times {
    /// The durations that end with the transition between these two.
    pub fn of(before: &Operation, after: &Operation) -> Self {
        let (entered, at) = (before.life.updated_at, after.life.updated_at);
        let (mut waited, mut attempt) = (None, None);
        match (&before.life.state, after.life.state.lease()) {
            (State::Queued { not_before }, Some(_)) => {
                waited = Some(at.since(entered.max(*not_before)));
            }
            (State::Running { .. }, None) => attempt = Some(at.since(entered)),
            (State::Cancelling { .. }, None) if after.life.attempt == Attempt(1) => {
                attempt = Some(at.since(after.life.started_at.unwrap_or(entered)));
            }
            _ => {}
        }
        Self { waited, attempt }
    }
}

/// The figures of all kinds.
#[derive(Debug)]
pub struct Kinds {
    most: usize,
    known: RwLock<BTreeMap<Kind, Arc<KindMeters>>>,
    other: Arc<KindMeters>,
}

impl Kinds {
    pub(super) fn new(most: usize) -> Self {
        Self { most, known: RwLock::default(), other: KindMeters::new() }
    }

    /// The figures of a kind; while there is room, a new kind gets its own.
    fn of(&self, kind: &Kind) -> Arc<KindMeters> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(meters) = known.get(kind) {
            return Arc::clone(meters);
        }
        if known.len() >= self.most || kind.as_str() == OTHER {
            return Arc::clone(&self.other);
        }
        Arc::clone(known.entry(kind.clone()).or_insert_with(KindMeters::new))
    }

    /// The figures by the kind's name; those of all others last.
    pub fn all(&self) -> Vec<(String, Arc<KindMeters>)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let known = known.iter().map(|(kind, of)| (kind.as_str().to_owned(), Arc::clone(of)));
        known.chain([(OTHER.to_owned(), Arc::clone(&self.other))]).collect()
    }

    /// The name under which a kind is shown.
    pub fn name<'a>(&self, kind: &'a Kind) -> &'a str {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.contains_key(kind) || (known.len() < self.most && kind.as_str() != OTHER) {
            true => kind.as_str(),
            false => OTHER,
        }
    }
}

/// Records transitions. Owned by the committer, so that it finds a kind's figures without a lock.
#[derive(Debug)]
pub struct KindRecorder {
    meters: Arc<Meters>,
    known: HashMap<Kind, Arc<KindMeters>>,
}

impl KindRecorder {
    /// Records into `meters`.
    pub fn new(meters: Arc<Meters>) -> Self {
        Self { meters, known: HashMap::new() }
    }

    /// Records a committed transition.
    pub fn record(&mut self, before: Option<&Operation>, after: &Operation, event_type: EventType) {
        let kind = &after.submission.kind;
        if let Some(of) = self.known.get(kind) {
            return of.record(before, after, event_type);
        }
        let of = self.meters.kinds.of(kind);
        of.record(before, after, event_type);
        if !Arc::ptr_eq(&of, &self.meters.kinds.other) {
            self.known.insert(kind.clone(), of);
        }
    }
}

/// Whether the transition ended an attempt whose worker was lost.
fn is_lost(after: &Operation, event_type: EventType) -> bool {
    let error = match (&after.life.state, event_type) {
        (State::Done { outcome: Outcome::Failed { error }, .. }, _) => Some(error),
        (_, EventType::RetryScheduled) => after.life.last_error.as_ref(),
        _ => None,
    };
    error.is_some_and(|error| {
        error.source == ErrorSource::Service && error.code == OperationError::WORKER_LOST
    })
}
