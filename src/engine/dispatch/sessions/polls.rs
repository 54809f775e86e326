//! The end of a poll: its client has read what it was handed, or never will.

use super::Sessions;
use crate::engine::clock::Moment;
use crate::engine::dispatch::session::PlaceState;
use crate::engine::request::StreamNumber;
use crate::operation::{OperationId, Reporter, SessionId};

impl Sessions {
    /// A poll is over, and its worker has what it was handed in this place until `expires_at`. Without an attempt the
    /// place goes. Whether the poll was handed all that the place holds: what it held before, it may not have been.
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

    /// Attempts of polls that no client has read, as their holders would report on them.
    pub(crate) fn given_up(&self) -> Vec<(OperationId, Reporter)> {
        let held = self.given_up.iter().filter_map(|id| Some((*id, self.by_id.get(id)?)));
        let leases = held.flat_map(|(session, held)| {
            let reporter = move |attempt| Reporter { attempt, session, former: None };
            held.leases().map(move |(id, attempt)| (id, reporter(attempt)))
        });
        leases.collect()
    }

    /// Whether there are more such attempts since this was asked.
    pub(crate) fn take_given_up(&mut self) -> bool {
        std::mem::take(&mut self.has_given_up)
    }

    pub(super) fn give_up(&mut self, id: SessionId) {
        self.retire(id);
        self.given_up.insert(id);
        self.has_given_up = true;
    }
}
