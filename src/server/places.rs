//! Places for connections: their number, which are idle, and which one makes room.
//!
//! A connection without a running call is idle. If all places are taken, the connection that has been idle for longest
//! is closed, so that unused connections keep no client out. A few more places are reserved for health checks, because
//! those matter most when no places are left.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The number of places reserved for health checks.
const FOR_HEALTH: usize = 8;
/// The maximum number of connections that have lost their places and not ended yet.
const MOST_LEAVING: usize = 32;

/// All places of a server.
#[derive(Debug)]
pub(super) struct Places {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    any: Room,
    for_health: Room,
    leaving: usize,
    /// Numbers rise with time.
    last_number: u64,
}

/// The places of one kind.
#[derive(Debug)]
struct Room {
    most: usize,
    taken: usize,
    /// By the number of the moment when they became idle.
    idle: BTreeMap<u64, Arc<Seat>>,
}

/// A connection's place. Dropping it frees it.
#[derive(Clone, Debug)]
pub(super) struct Place(Arc<Occupied>);

#[derive(Debug)]
struct Occupied {
    places: Arc<Places>,
    seat: Arc<Seat>,
}

#[derive(Debug)]
struct Seat {
    is_for_health: bool,
    calls: AtomicUsize,
    /// Cancelled when the place is given to another connection.
    given_up: CancellationToken,
    /// Since when it is idle. Changed under the lock of the places.
    idle: Mutex<Option<(u64, Instant)>>,
}

/// A running call.
#[derive(Debug)]
pub(super) struct Busy(Place);

impl Places {
    /// Makes `most` places.
    pub(super) fn new(most: usize) -> Arc<Self> {
        let room = |most| Room { most, taken: 0, idle: BTreeMap::new() };
        let (any, for_health) = (room(most), room(FOR_HEALTH));
        let state = State { any, for_health, leaving: 0, last_number: 0 };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Takes a place for a connection, which is idle for now; `None` if none is free.
    pub(super) fn take(self: &Arc<Self>) -> Option<Place> {
        let mut state = self.state();
        let is_for_health = [false, true].into_iter().find(|it| state.has_room(*it))?;
        state.room(is_for_health).taken += 1;
        let seat = Arc::new(Seat {
            is_for_health,
            calls: AtomicUsize::new(0),
            given_up: CancellationToken::new(),
            idle: Mutex::new(None),
        });
        state.settle(&seat);
        drop(state);
        Some(Place(Arc::new(Occupied { places: Arc::clone(self), seat })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn room(&mut self, is_for_health: bool) -> &mut Room {
        if is_for_health { &mut self.for_health } else { &mut self.any }
    }

    /// Whether there is a free place; takes one from an idle connection if need be.
    fn has_room(&mut self, is_for_health: bool) -> bool {
        let may_leave = self.leaving < MOST_LEAVING;
        let room = self.room(is_for_health);
        if room.taken < room.most {
            return true;
        }
        let longest = if may_leave { room.idle.pop_first() } else { None };
        let Some((_, seat)) = longest else { return false };
        room.taken -= 1;
        self.leaving += 1;
        seat.given_up.cancel();
        true
    }

    /// Updates whether the place is idle.
    fn settle(&mut self, seat: &Arc<Seat>) {
        let mut idle = seat.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let is_idle = seat.calls.load(Ordering::SeqCst) == 0 && !seat.given_up.is_cancelled();
        match *idle {
            Some((number, _)) if !is_idle => {
                self.room(seat.is_for_health).idle.remove(&number);
                *idle = None;
            }
            None if is_idle => {
                self.last_number += 1;
                let number = self.last_number;
                self.room(seat.is_for_health).idle.insert(number, Arc::clone(seat));
                *idle = Some((number, Instant::now()));
            }
            _ => {}
        }
    }
}

impl Place {
    /// Whether the place is for health checks only.
    pub(super) fn is_for_health(&self) -> bool {
        self.0.seat.is_for_health
    }

    /// Returns when the place is given to another connection, so that this one must end.
    pub(super) async fn given_up(&self) {
        self.0.seat.given_up.cancelled().await;
    }

    /// How long it has been idle; `None` if it is not idle.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        let idle = self.0.seat.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.map(|(_, since)| since.elapsed())
    }

    /// Begins a call.
    pub(super) fn call(&self) -> Busy {
        if self.0.seat.calls.fetch_add(1, Ordering::SeqCst) == 0 {
            self.settle();
        }
        Busy(self.clone())
    }

    fn settle(&self) {
        self.0.places.state().settle(&self.0.seat);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.0.0.seat.calls.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.settle();
        }
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        let mut state = self.places.state();
        let idle = self.seat.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let is_given_up = self.seat.given_up.is_cancelled();
        let room = state.room(self.seat.is_for_health);
        if let Some((number, _)) = idle {
            room.idle.remove(&number);
        }
        match is_given_up {
            false => room.taken -= 1,
            true => state.leaving -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn is_given_up(place: &Place) -> bool {
        place.given_up().now_or_never().is_some()
    }

    #[test]
    fn the_one_that_is_idle_for_longest_makes_room() {
        let places = Places::new(3);
        let held: Vec<Place> = (0..3).map(|_| places.take().unwrap()).collect();
        drop(held[0].call());
        let busy = held[1].call();
        let fourth = places.take().unwrap();
        assert!(!fourth.is_for_health());
        assert_eq!([0, 1, 2].map(|at| is_given_up(&held[at])), [false, false, true]);
        let fifth = places.take().unwrap();
        assert!(is_given_up(&held[0]) && !is_given_up(&fourth));
        drop((held, busy));
        let busy = [fourth.call(), fifth.call(), places.take().unwrap().call()];
        assert!(places.take().unwrap().is_for_health(), "none of the others is idle");
        drop(busy);
        assert!(!places.take().unwrap().is_for_health());
    }

    #[test]
    fn places_for_health_are_taken_in_turns_as_well_and_none_is_lost() {
        let places = Places::new(1);
        let busy = places.take().unwrap().call();
        let held: Vec<Place> = (0..FOR_HEALTH).map(|_| places.take().unwrap()).collect();
        let calls: Vec<Busy> = held.iter().skip(1).map(Place::call).collect();
        let another = places.take().unwrap();
        assert!(another.is_for_health() && is_given_up(&held[0]));
        let last = another.call();
        assert!(places.take().is_none());
        drop((held, calls, another, last, busy));
        let state = places.state();
        assert_eq!((state.any.taken, state.for_health.taken, state.leaving), (0, 0, 0));
        assert!(state.any.idle.is_empty() && state.for_health.idle.is_empty());
    }

    #[test]
    fn only_so_many_leave_at_once() {
        let places = Places::new(MOST_LEAVING + 1);
        let held: Vec<Place> = (0..=MOST_LEAVING).map(|_| places.take().unwrap()).collect();
        let more: Vec<Place> = (0..MOST_LEAVING).map(|_| places.take().unwrap()).collect();
        assert!(more.iter().all(|place| !place.is_for_health()));
        assert!(places.take().unwrap().is_for_health());
        drop(held);
        assert!(!places.take().unwrap().is_for_health());
    }

    #[test]
    fn how_long_a_place_is_idle_is_known() {
        let places = Places::new(1);
        let place = places.take().unwrap();
        assert!(place.idle_for().is_some());
        let calls = [place.call(), place.call()];
        assert_eq!(place.idle_for(), None);
        drop(calls);
        assert!(place.idle_for().is_some());
    }
}
