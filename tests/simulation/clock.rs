//! The only clock of a schedule. It stands still until it is moved, in either direction, and wakes in an
//! order that does not depend on chance. Within one instant, tasks take turns by [`hop`].

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use longrun::engine::Clock;
use longrun::operation::Timestamp;

/// When it starts: 2026-01-01.
const START: i64 = 1_767_225_600_000_000;
/// The least step. After each step back the clock shows times that it never showed before: ids of one
/// millisecond that were made before and after it would be in an order of chance.
pub const TICK: Duration = Duration::from_millis(64);

#[derive(Debug)]
pub struct SimClock(Mutex<State>);

#[derive(Debug)]
struct State {
    now: i64,
    steps_back: i64,
    sleepers: BTreeMap<(Timestamp, u64), Waker>,
    last: u64,
}

impl Default for SimClock {
    fn default() -> Self {
        let sleepers = BTreeMap::new();
        Self(Mutex::new(State { now: START, steps_back: 0, sleepers, last: 0 }))
    }
}

impl SimClock {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Goes on by so many ticks.
    pub fn advance(&self, ticks: u32) {
        let mut state = self.state();
        state.now += i64::from(ticks) * TICK.as_micros() as i64;
        state.wake();
    }

    /// Is set back by so many ticks.
    pub fn set_back(&self, ticks: u32) {
        let mut state = self.state();
        state.steps_back += 1;
        let ticks = i64::from(ticks) * TICK.as_micros() as i64;
        let phase = state.steps_back % 16 * 4_000;
        state.now = START.max((state.now - ticks) / 64_000 * 64_000) + phase;
        state.wake();
    }
}

impl State {
    fn wake(&mut self) {
        while let Some(first) = self.sleepers.first_entry() {
            if first.key().0 > Timestamp::from_micros(self.now) {
                break;
            }
            first.remove().wake();
        }
    }
}

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.state().now)
    }

    async fn sleep_until(&self, at: Timestamp) {
        struct Place<'a>(&'a SimClock, Option<(Timestamp, u64)>);
        impl Drop for Place<'_> {
            fn drop(&mut self) {
                if let Some(key) = self.1.take() {
                    self.0.state().sleepers.remove(&key);
                }
            }
        }
        let mut place = Place(self, None);
        poll_fn(|context| {
            let mut state = self.state();
            if state.now >= at.micros() {
                return Poll::Ready(());
            }
            state.last += 1;
            let number = state.last;
            let key = *place.1.get_or_insert((at, number));
            state.sleepers.insert(key, context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// The clock as a replica has it: a little different, so that ids of two replicas are never of one millisecond.
#[derive(Debug)]
pub struct ReplicaClock(Arc<SimClock>, Duration);

impl ReplicaClock {
    pub fn new(clock: Arc<SimClock>, number: usize) -> Self {
        Self(clock, Duration::from_millis(number as u64))
    }
}

#[async_trait]
impl Clock for ReplicaClock {
    fn now(&self) -> Timestamp {
        self.0.now().after(self.1)
    }

    async fn sleep_until(&self, at: Timestamp) {
        let ahead = self.1.as_micros() as i64;
        self.0.sleep_until(Timestamp::from_micros(at.micros() - ahead)).await;
    }
}

/// Lets everybody else go first, once.
pub async fn hop() {
    let mut hopped = false;
    poll_fn(|context| {
        if hopped {
            return Poll::Ready(());
        }
        hopped = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
