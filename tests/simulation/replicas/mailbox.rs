//! What a replica hears of others: late, twice, in another order, or not at all until it is told that it missed
//! something.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use longrun::engine::Clock as _;
use longrun::operation::{OperationId, Timestamp};
use longrun::store::shared::{Hint, Listening, Topic};
use tokio::sync::{Notify, watch};

use crate::clock::{SimClock, TICK};

/// The mailbox of one replica. Clones are the same.
#[derive(Clone, Debug)]
pub struct Mailbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Arc<SimClock>,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug)]
struct State {
    /// By when they come.
    letters: BTreeMap<(Timestamp, u64), Hint>,
    /// Of one topic they come in the order in which they were sent.
    latest: HashMap<Option<Topic>, Timestamp>,
    wishes: BTreeMap<u64, Topic>,
    last: u64,
    /// What is sent before this time is lost.
    deaf_until: Timestamp,
    /// So many ticks late is everything.
    delay: u32,
    /// Whether anything is later or comes twice.
    is_rough: bool,
    rng: fastrand::Rng,
}

/// A wish that ends when it is dropped.
#[derive(Debug)]
struct Wish(Mailbox, u64);

impl Drop for Wish {
    fn drop(&mut self) {
        self.0.state().wishes.remove(&self.1);
    }
}

impl Mailbox {
    pub fn new(clock: Arc<SimClock>, rng: fastrand::Rng) -> Self {
        let state = State {
            // There was a time before.
            letters: BTreeMap::from([((Timestamp::from_micros(0), 0), Hint::Missed)]),
            latest: HashMap::new(),
            wishes: BTreeMap::new(),
            last: 0,
            deaf_until: Timestamp::from_micros(0),
            delay: 0,
            is_rough: false,
            rng,
        };
        Self(Arc::new(Inner { clock, state: Mutex::new(state), news: Notify::new() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    pub fn set_rough(&self, is_rough: bool) {
        self.state().is_rough = is_rough;
    }

    /// Whatever is sent from now on comes so many ticks later.
    pub fn delay(&self, ticks: u32) {
        self.state().delay = ticks;
    }

    /// Nothing more comes for so many ticks, and what was on its way is lost.
    pub fn deafen(&self, ticks: u32) {
        let until = self.0.clock.now().after(TICK * ticks);
        let mut state = self.state();
        state.deaf_until = until;
        state.letters.clear();
        state.last += 1;
        let number = state.last;
        state.letters.insert((until, number), Hint::Missed);
        self.0.news.notify_one();
    }

    /// The clock was set back: nothing takes the longer for it.
    pub fn hurry(&self) {
        let now = self.0.clock.now();
        let mut state = self.state();
        let letters = std::mem::take(&mut state.letters).into_iter();
        state.letters = letters.map(|((at, number), hint)| ((at.min(now), number), hint)).collect();
        state.latest.clear();
        state.deaf_until = state.deaf_until.min(now);
        self.0.news.notify_one();
    }

    /// Operations were changed by another replica.
    pub fn changed(&self, changed: &[OperationId]) {
        let heard: Vec<OperationId> = {
            let state = self.state();
            let hears = |topic| state.wishes.values().any(|wish| *wish == topic);
            let all = hears(Topic::Operations);
            changed.iter().copied().filter(|it| all || hears(Topic::Operation(*it))).collect()
        };
        // One hint may tell of many.
        if heard.len() > 1 && self.state().rng.bool() {
            return self.send(Some(Topic::Operations), Hint::Changed(heard));
        }
        for change in heard {
            self.send(Some(Topic::Operation(change)), Hint::Changed(vec![change]));
        }
    }

    /// Something was left in these queues by another replica.
    pub fn queued<'a>(&self, mut queues: impl Iterator<Item = &'a Topic>) {
        let is_heard = {
            let state = self.state();
            queues.any(|queue| {
                state.wishes.values().any(|wish| wish == queue || *wish == Topic::Queues)
            })
        };
        if is_heard {
            self.send(None, Hint::Queued);
        }
    }

    /// Sends what comes without being asked for, or was.
    pub fn send(&self, topic: Option<Topic>, hint: Hint) {
        let now = self.0.clock.now();
        let mut state = self.state();
        if state.deaf_until > now {
            return;
        }
        let is_rough = state.is_rough;
        let copies = if is_rough && state.rng.u32(..10) == 0 { 2 } else { 1 };
        for _ in 0..copies {
            let ticks = match state.rng.u32(..4) {
                _ if !is_rough => state.delay,
                0 => state.rng.u32(..40),
                1 => state.rng.u32(..4),
                _ => 0,
            };
            let soonest = state.latest.get(&topic).copied().unwrap_or(now);
            let at = now.after(TICK * ticks).max(soonest);
            state.latest.insert(topic.clone(), at);
            state.last += 1;
            let number = state.last;
            state.letters.insert((at, number), hint.clone());
        }
        self.0.news.notify_one();
    }

    /// The next hint.
    pub async fn next(&self) -> Hint {
        loop {
            let at = {
                let mut state = self.state();
                match state.letters.first_entry() {
                    Some(first) if first.key().0 <= self.0.clock.now() => return first.remove(),
                    Some(first) => first.key().0,
                    None => Timestamp::MAX,
                }
            };
            tokio::select! {
                biased;
                () = self.0.news.notified() => {}
                () = self.0.clock.sleep_until(at) => {}
            }
        }
    }

    /// Hears of a topic, after a while.
    pub fn listen(&self, topic: Topic) -> Listening {
        let (number, ticks) = {
            let mut state = self.state();
            state.last += 1;
            let is_late = state.is_rough && state.rng.bool();
            (state.last, if is_late { state.rng.u32(..8) } else { 0 })
        };
        let (effective, heard) = watch::channel(false);
        let wish = Wish(self.clone(), number);
        if ticks == 0 {
            self.state().wishes.insert(number, topic);
            effective.send_replace(true);
            return Listening::new(heard, Box::new((wish, effective)));
        }
        let mailbox = self.clone();
        tokio::task::spawn_local(async move {
            let clock = &mailbox.0.clock;
            let late = clock.sleep_until(clock.now().after(TICK * ticks));
            tokio::select! {
                biased;
                // Nobody wants to hear any more.
                () = effective.closed() => {}
                () = late => {
                    mailbox.state().wishes.insert(number, topic);
                    effective.send_replace(true);
                    effective.closed().await;
                    mailbox.state().wishes.remove(&number);
                }
            }
        });
        Listening::new(heard, Box::new(wish))
    }
}
