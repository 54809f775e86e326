//! The workers connected to this replica, as the committer has published them for callers.
//!
//! A copy, so that reading it does not delay the committer, and works while the store does not respond.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::queue::{Lane, QueueKey};
use crate::operation::limits::Place;
use crate::operation::{Kind, Scope, SessionId, Timestamp, WorkerId};

/// A worker's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkerState {
    /// Connected and takes work.
    Serving,
    /// Connected, finishes its attempts, and takes no more.
    Draining,
    /// Disconnected; may still resume and keep its attempts.
    Away,
}

/// A worker, by its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) scope: Scope,
    pub(crate) worker: WorkerId,
    pub(crate) kinds: Arc<[Kind]>,
    /// The maximum number of attempts that it runs at once.
    pub(crate) places: usize,
    /// The number of attempts that it runs.
    pub(crate) running: usize,
    /// Whether it is a place of a worker without a stream.
    pub(crate) is_polled: bool,
    pub(crate) state: WorkerState,
}

/// A worker with the time when it connected.
#[derive(Clone, Debug)]
pub struct WorkerRecord {
    /// The worker's name for itself.
    pub worker: WorkerId,
    /// Whether the worker executes every tenant's operations.
    pub is_shared: bool,
    /// The kinds that the worker serves.
    pub kinds: Arc<[Kind]>,
    /// The maximum number of attempts that the worker runs at once.
    pub places: usize,
    /// The number of attempts that the worker runs.
    pub running: usize,
    /// The worker's state.
    pub state: WorkerState,
    /// When the worker connected.
    pub since: Timestamp,
}

/// The workers that serve a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Workers {
    /// Sessions of workers.
    pub(crate) count: usize,
    /// The maximum number of attempts that they run at once.
    pub(crate) places: usize,
    /// The number of attempts that they run.
    pub(crate) running: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Roster {
    seen: BTreeMap<SessionId, (Seen, Timestamp)>,
    lanes: HashMap<Lane, BTreeSet<SessionId>>,
    /// Running attempts by the limit that counts them, if this process counts.
    taken: HashMap<Place, u64>,
}

impl Roster {
    /// Updates a session; `None`: it is gone.
    pub(crate) fn publish(&mut self, id: SessionId, seen: Option<Seen>, now: Timestamp) {
        let old = self.seen.remove(&id);
        let since = old.as_ref().map_or(now, |(_, since)| *since);
        let is_as_before = |(old, _): &(Seen, Timestamp)| {
            seen.as_ref().is_some_and(|new| new.kinds == old.kinds && new.scope == old.scope)
        };
        if !old.as_ref().is_some_and(is_as_before) {
            for lane in old.iter().flat_map(|(old, _)| lanes(old)) {
                if let Some(sessions) = self.lanes.get_mut(&lane) {
                    sessions.remove(&id);
                    if sessions.is_empty() {
                        self.lanes.remove(&lane);
                    }
                }
            }
            for lane in seen.iter().flat_map(lanes) {
                self.lanes.entry(lane).or_default().insert(id);
            }
        }
        if let Some(seen) = seen {
            self.seen.insert(id, (seen, since));
        }
    }

    /// Sets the number of running attempts that count towards a limit.
    pub(crate) fn set_taken(&mut self, place: Place, count: u64) {
        match count {
            0 => self.taken.remove(&place),
            count => self.taken.insert(place, count),
        };
    }

    /// The running attempts that count towards a limit, if this process counts them.
    pub(crate) fn taken(&self, place: &Place) -> u64 {
        self.taken.get(place).copied().unwrap_or_default()
    }

    /// The workers that take work of the queue, whether or not they have a free slot.
    pub(crate) fn workers_for(&self, key: &QueueKey) -> Workers {
        let lanes = key.lanes();
        let ids = lanes.iter().filter_map(|lane| self.lanes.get(lane)).flatten();
        let seen = ids.filter_map(|id| self.seen.get(id)).map(|(seen, _)| seen);
        let serving = seen.filter(|seen| seen.state == WorkerState::Serving);
        serving.fold(Workers::default(), |sum, seen| Workers {
            count: sum.count + 1,
            places: sum.places + seen.places,
            running: sum.running + seen.running,
        })
    }

    /// The number of sessions in each state, and of attempts that they may run at once, without the server's own worker
    /// of batches: its thousands of places execute nothing else.
    pub(crate) fn sessions(&self) -> (BTreeMap<WorkerState, usize>, usize) {
        let is_of_batches = |seen: &Seen| seen.kinds.iter().any(Kind::is_of_batches);
        let all = self.seen.values().map(|(seen, _)| seen).filter(|seen| !is_of_batches(seen));
        let (mut states, mut places) = (BTreeMap::new(), 0);
        for seen in all {
            *states.entry(seen.state).or_default() += 1;
            places += seen.places;
        }
        (states, places)
    }

    /// The kinds that workers serve for callers of the scope, with the number of workers.
    pub(crate) fn serving(&self, scope: &Scope) -> BTreeMap<Kind, usize> {
        let is_of = |lane: &Lane| lane.scope == Scope::All || lane.scope == *scope;
        let is_serving = |id: &&SessionId| {
            self.seen.get(id).is_some_and(|(it, _)| it.state == WorkerState::Serving)
        };
        let mut kinds = BTreeMap::new();
        for (lane, sessions) in self.lanes.iter().filter(|(lane, _)| is_of(lane)) {
            let count = sessions.iter().filter(is_serving).count();
            if count > 0 {
                *kinds.entry(lane.kind.clone()).or_default() += count;
            }
        }
        kinds
    }

    /// The workers of the scope and those of every tenant, by name; the places of one polling worker are one entry.
    pub(crate) fn workers(&self, scope: &Scope) -> Vec<WorkerRecord> {
        let is_of = |seen: &Seen| seen.scope == Scope::All || seen.scope == *scope;
        let mut streams = Vec::new();
        let mut polls: BTreeMap<(WorkerId, bool), WorkerRecord> = BTreeMap::new();
        for (seen, since) in self.seen.values().filter(|(seen, _)| is_of(seen)) {
            let record = record(seen, *since);
            if !seen.is_polled {
                streams.push(record);
                continue;
            }
            polls
                .entry((record.worker.clone(), record.is_shared))
                .and_modify(|all| {
                    all.places += record.places;
                    all.running += record.running;
                    all.since = all.since.min(record.since);
                    all.state = all.state.min(record.state);
                    if all.kinds.len() < record.kinds.len() {
                        all.kinds = Arc::clone(&record.kinds);
                    }
                })
                .or_insert(record);
        }
        streams.extend(polls.into_values());
        streams.sort_by(|a, b| (&a.worker, a.since).cmp(&(&b.worker, b.since)));
        streams
    }
}

fn record(seen: &Seen, since: Timestamp) -> WorkerRecord {
    WorkerRecord {
        worker: seen.worker.clone(),
        is_shared: seen.scope == Scope::All,
        kinds: Arc::clone(&seen.kinds),
        // After a restart of the server, a disconnected worker's number of places is unknown.
        places: seen.places.max(seen.running),
        running: seen.running,
        state: seen.state,
        since,
    }
}

fn lanes(seen: &Seen) -> impl Iterator<Item = Lane> + '_ {
    seen.kinds.iter().map(|kind| Lane { scope: seen.scope.clone(), kind: kind.clone() })
}

#[cfg(test)]
mod tests;
