//! The end of a poll: its client has read what the poll was handed, or never will.

use super::Sessions;
use crate::engine::clock::Moment;
use crate::engine::dispatch::session::PlaceState;
use crate::engine::request::StreamNumber;
use crate::operation::{OperationId, Reporter, SessionId};

impl Sessions {
    /// Ends a poll: its worker has the attempt of this place until `expires_at`; a place without one is removed.
    /// Returns false if the place holds an attempt of an earlier poll, which this one was not handed.
    pub(crate) fn end_poll(
        &mut self,
        id: SessionId,
        poll: StreamNumber,
        expires_at: Moment,
    ) -> bool {
        let Some(session) = self.edit(id) else { return true };
        let place = session.place.as_mut().filter(|place| place.poll == poll);
        let Some(place) = place else { return true };
        let is_whole = place.state != PlaceState::Free || session.leases.is_empty();
        place.state = PlaceState::Read;
        session.expires_at = expires_at;
        session.stream = None;
        match session.leases.is_empty() {
            true => drop(self.take_out(id)),
            false => self.retire(id),
        }
        is_whole
    }

    /// Attempts of polls that no client has read, each with the report of its holder.
    pub(crate) fn given_up(&self) -> Vec<(OperationId, Reporter)> {
        let held = self.given_up.iter().filter_map(|id| Some((*id, self.by_id.get(id)?)));
        let leases = held.flat_map(|(session, held)| {
            let reporter = move |attempt| Reporter { attempt, session, former: None };
            held.leases().map(move |(id, attempt)| (id, reporter(attempt)))
        });
        leases.collect()
    }

    /// Whether there are more such attempts since the last call.
    pub(crate) fn take_given_up(&mut self) -> bool {
        std::mem::take(&mut self.has_given_up)
    }

    pub(super) fn give_up(&mut self, id: SessionId) {
        self.retire(id);
        self.given_up.insert(id);
        self.has_given_up = true;
    }
}
