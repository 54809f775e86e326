//! One worker's session: the kinds that it serves, its leases, and the channel to its worker.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::queue::Lane;
use super::roster::{Seen, WorkerState};
use crate::engine::clock::Moment;
use crate::engine::request::{StreamNumber, ToWorker};
use crate::operation::{Attempt, Kind, OperationId, Scope, SessionId, WorkerId};

#[derive(Debug)]
pub(crate) struct Session {
    pub(super) scope: Scope,
    pub(super) worker: WorkerId,
    pub(super) kinds: Arc<[Kind]>,
    pub(super) max_in_flight: usize,
    pub(super) leases: BTreeMap<OperationId, Attempt>,
    /// Slots reserved in this round; not committed yet.
    pub(super) reserved: usize,
    pub(super) stream: Option<(StreamNumber, mpsc::Sender<ToWorker>)>,
    /// When its leases end, unless the worker gives a sign of life before.
    pub(super) expires_at: Moment,
    pub(super) draining: bool,
    /// Set if it is assigned nothing more, whatever it serves.
    pub(super) is_retired: bool,
    /// The place of a poll that it is or was.
    pub(super) place: Option<Place>,
}

/// A place for one attempt in a poll, for a worker without a stream. It takes an attempt while the poll waits, and
/// outlives the poll as the session that holds this attempt's lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The poll's number.
    pub(super) poll: StreamNumber,
    pub(super) state: PlaceState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlaceState {
    /// The poll waits.
    Free,
    /// An attempt was handed to the poll, whose client has not confirmed reading it.
    Taken,
    /// The client has the attempt.
    Read,
}

impl Session {
    /// A session whose worker is disconnected, without leases yet.
    pub(super) fn away(id: SessionId, scope: Scope, worker: WorkerId, expires_at: Moment) -> Self {
        // Its leases say whose session it is, not whose operations it would execute.
        let scope = if id.is_in_process() { Scope::All } else { scope };
        let place = Place { poll: 0, state: PlaceState::Read };
        Self {
            scope,
            worker,
            kinds: Arc::from([]),
            max_in_flight: 0,
            leases: BTreeMap::new(),
            reserved: 0,
            stream: None,
            expires_at,
            draining: false,
            is_retired: false,
            place: id.attempt_lease().map(|_| place),
        }
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(crate) fn worker(&self) -> &WorkerId {
        &self.worker
    }

    pub(crate) fn leases(&self) -> impl Iterator<Item = (OperationId, Attempt)> + '_ {
        self.leases.iter().map(|(id, attempt)| (*id, *attempt))
    }

    pub(crate) fn has_lease(&self, id: OperationId) -> bool {
        self.leases.contains_key(&id)
    }

    /// Whether it is a place of a poll that may still end without an attempt.
    pub(crate) fn is_free_place(&self) -> bool {
        self.place.is_some_and(|place| place.state == PlaceState::Free)
    }

    /// Whether its worker can be reached, as far as is known.
    fn is_connected(&self) -> bool {
        self.stream.as_ref().is_some_and(|(_, sender)| !sender.is_closed())
    }

    pub(super) fn can_take_more(&self) -> bool {
        self.is_connected()
            && !self.draining
            && self.leases.len() + self.reserved < self.max_in_flight
            && self.place.is_none_or(|place| place.state == PlaceState::Free)
    }

    /// The published state of the session's worker.
    pub(crate) fn seen(&self) -> Seen {
        let (is_polled, running) = (self.place.is_some(), self.leases.len());
        // A place outlives its poll while the attempt runs; after that the worker polls again.
        let is_busy_place = is_polled && running > 0;
        let state = if self.draining {
            WorkerState::Draining
        } else if self.is_connected() || is_busy_place {
            WorkerState::Serving
        } else {
            WorkerState::Away
        };
        Seen {
            scope: self.scope.clone(),
            worker: self.worker.clone(),
            kinds: Arc::clone(&self.kinds),
            places: self.max_in_flight,
            running,
            is_polled,
            state,
        }
    }

    /// The lanes that the session serves.
    pub(super) fn lanes(&self) -> impl Iterator<Item = Lane> + '_ {
        let kinds = self.kinds.iter().filter(|_| !self.is_retired);
        kinds.map(|kind| Lane { scope: self.scope.clone(), kind: kind.clone() })
    }
}
