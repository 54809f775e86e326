//! Subscriptions to hints, and the channels that this replica listens on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::super::shared::{Listening, Topic};
use super::notify::Channels;

/// How long a channel stays subscribed after its last subscriber has left.
const LINGER: Duration = Duration::from_secs(30);

/// The subscriptions, counted by channel.
#[derive(Default)]
pub(super) struct Interest {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    wishes: [usize; 32],
    /// When its last subscriber left; `None` while there is one.
    idle: [Option<Instant>; 32],
    /// Channels that the present connection listens on.
    listening: Channels,
    /// Whether there is a connection. Without one no subscriber waits: all get `Missed` as soon as there is one.
    is_connected: bool,
    waiting: Vec<(Channels, watch::Sender<bool>)>,
}

/// A subscription; dropping it ends it.
struct Wish {
    channels: Channels,
    interest: Arc<Interest>,
}

impl std::fmt::Debug for Wish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Wish").field(&self.channels).finish()
    }
}

impl Drop for Wish {
    fn drop(&mut self) {
        let mut state = self.interest.state();
        for number in self.channels.numbers() {
            if let (Some(wishes), Some(idle)) = state.at(number) {
                *wishes = wishes.saturating_sub(1);
                *idle = (*wishes == 0).then(Instant::now);
            }
        }
    }
}

impl Interest {
    pub(super) fn wish(self: &Arc<Self>, topic: &Topic) -> Listening {
        let channels = Channels::of(topic);
        let mut state = self.state();
        for number in channels.numbers() {
            if let (Some(wishes), Some(idle)) = state.at(number) {
                *wishes += 1;
                *idle = None;
            }
        }
        let is_effective = !state.is_connected || state.listens_to(channels);
        let (sender, effective) = watch::channel(is_effective);
        if !is_effective {
            // Drop waiters whose listener is gone.
            state.waiting.retain(|(_, sender)| sender.receiver_count() > 0);
            state.waiting.push((channels, sender));
            self.changed.notify_one();
        }
        drop(state);
        Listening::new(effective, Box::new(Wish { channels, interest: Arc::clone(self) }))
    }

    /// Returns when there may be new channels.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Notes a new connection, which listens on no channel yet.
    pub(super) fn connected(&self) {
        let mut state = self.state();
        state.is_connected = true;
        state.listening = Channels::default();
    }

    /// Notes that there is no connection.
    pub(super) fn disconnected(&self) {
        let mut state = self.state();
        state.is_connected = false;
        state.listening = Channels::default();
        state.tell_waiting();
    }

    /// Channels to subscribe to.
    pub(super) fn missing(&self) -> Channels {
        let state = self.state();
        let wanted = (0..).zip(state.wishes).filter(|(_, wishes)| *wishes > 0);
        let wanted = wanted.fold(0, |bits, (number, _): (u32, _)| bits | 1 << number);
        Channels(wanted & !state.listening.0)
    }

    /// Notes that the connection listens on these.
    pub(super) fn listened(&self, channels: Channels) {
        let mut state = self.state();
        state.listening.0 |= channels.0;
        state.tell_waiting();
    }

    /// Channels without subscribers for a while. From now on they count as unsubscribed.
    pub(super) fn forsaken(&self) -> Channels {
        let mut state = self.state();
        let now = Instant::now();
        let is_old = |idle: &Option<Instant>| idle.is_some_and(|idle| now - idle >= LINGER);
        let idle = (0..).zip(&state.idle).filter(|(_, idle)| is_old(idle));
        let idle = idle.fold(0, |bits, (number, _): (u32, _)| bits | 1 << number);
        let forsaken = Channels(idle & state.listening.0);
        state.listening.0 &= !forsaken.0;
        forsaken
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn at(&mut self, number: u32) -> (Option<&mut usize>, Option<&mut Option<Instant>>) {
        (self.wishes.get_mut(number as usize), self.idle.get_mut(number as usize))
    }

    fn listens_to(&self, channels: Channels) -> bool {
        channels.0 & !self.listening.0 == 0
    }

    fn tell_waiting(&mut self) {
        let (is_connected, listening) = (self.is_connected, self.listening);
        self.waiting.retain(|(channels, sender)| {
            let is_effective = !is_connected || channels.0 & !listening.0 == 0;
            if is_effective {
                sender.send_replace(true);
            }
            !is_effective
        });
    }
}
