//! The only clocks of a schedule. They stand still until they are moved, wall time in either direction, and wake in
//! an order that does not depend on chance. Within one instant, tasks take turns by [`hop`].

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use longrun::engine::{Clock, Moment};
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
    moment: Moment,
    steps_back: i64,
    sleepers: Sleepers<Timestamp>,
    moment_sleepers: Sleepers<Moment>,
    last: u64,
}

type Sleepers<T> = BTreeMap<(T, u64), Waker>;

impl Default for SimClock {
    fn default() -> Self {
        Self(Mutex::new(State {
            now: START,
            moment: Moment::default(),
            steps_back: 0,
            sleepers: BTreeMap::new(),
            moment_sleepers: BTreeMap::new(),
            last: 0,
        }))
    }
}

impl SimClock {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Lets so many ticks pass.
    pub fn advance(&self, ticks: u32) {
        self.pass(TICK * ticks);
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        let mut state = self.state();
        state.now += time.as_micros() as i64;
        state.moment = state.moment.after(time);
        state.wake();
    }

    /// Wall time is set ahead by so many ticks. No time passes.
    pub fn set_ahead(&self, ticks: u32) {
        let mut state = self.state();
        state.now += i64::from(ticks) * TICK.as_micros() as i64;
        state.wake();
    }

    /// Wall time is set back by so many ticks. No time passes.
    pub fn set_back(&self, ticks: u32) {
        let mut state = self.state();
        state.steps_back += 1;
        let ticks = i64::from(ticks) * TICK.as_micros() as i64;
        let phase = state.steps_back % 16 * 4_000;
        state.now = START.max((state.now - ticks) / 64_000 * 64_000) + phase;
        state.wake();
    }

    /// Sleeps on one of the clocks, which `sleepers` chooses with what it shows.
    async fn sleep<T: Copy + Ord>(
        &self,
        at: T,
        sleepers: impl Fn(&mut State) -> (T, &mut Sleepers<T>),
    ) {
        struct Place<'a, T: Copy + Ord, F: Fn(&mut State) -> (T, &mut Sleepers<T>)> {
            clock: &'a SimClock,
            key: Option<(T, u64)>,
            sleepers: F,
        }
        impl<T: Copy + Ord, F: Fn(&mut State) -> (T, &mut Sleepers<T>)> Drop for Place<'_, T, F> {
            fn drop(&mut self) {
                if let Some(key) = self.key.take() {
                    (self.sleepers)(&mut self.clock.state()).1.remove(&key);
                }
            }
        }
        let mut place = Place { clock: self, key: None, sleepers };
        poll_fn(|context| {
            let mut state = self.state();
            state.last += 1;
            let number = state.last;
            let (now, sleepers) = (place.sleepers)(&mut state);
            if now >= at {
                return Poll::Ready(());
            }
            let key = *place.key.get_or_insert((at, number));
            sleepers.insert(key, context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl State {
    fn wake(&mut self) {
        let now = Timestamp::from_micros(self.now);
        wake(&mut self.sleepers, now);
        wake(&mut self.moment_sleepers, self.moment);
    }
}

fn wake<T: Copy + Ord>(sleepers: &mut Sleepers<T>, now: T) {
    while let Some(first) = sleepers.first_entry() {
        if first.key().0 > now {
            break;
        }
        first.remove().wake();
    }
}

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.state().now)
    }

    async fn sleep_until(&self, at: Timestamp) {
        self.sleep(at, |state| (Timestamp::from_micros(state.now), &mut state.sleepers)).await;
    }

    fn moment(&self) -> Moment {
        self.state().moment
    }

    async fn sleep_until_moment(&self, at: Moment) {
        self.sleep(at, |state| (state.moment, &mut state.moment_sleepers)).await;
    }
}

/// The clocks as a replica has them: wall time a little different, so that ids of two replicas are never of one
/// millisecond.
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

    fn moment(&self) -> Moment {
        self.0.moment()
    }

    async fn sleep_until_moment(&self, at: Moment) {
        self.0.sleep_until_moment(at).await;
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
