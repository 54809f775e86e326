//! Chooses the replica that sends. The catalogue has its name, and a number that rises while it lives. Another replica
//! takes over when it has stopped, or when the number has not changed for long by the other's own monotonic clock.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::hold::{Hold, LEASE, Lost};
use super::{Post, follow, send};
use crate::engine::Moment;
use crate::service::webhooks::CourierState;

/// How long a courier that stops tries to release its lease; short compared with the time of a stop.
const RELEASE: Duration = Duration::from_millis(300);
/// How often the other replicas check.
const LOOK: Duration = Duration::from_millis(500);

/// The courier, or a replica that may become it.
pub(super) struct Courier {
    post: Post,
    /// This replica's random name.
    name: String,
    /// When the state was last seen to change.
    seen: Option<(CourierState, Moment)>,
}

impl Courier {
    pub(super) fn new(post: Post) -> Self {
        Self { post, name: Uuid::now_v7().to_string(), seen: None }
    }

    /// Sends whenever this replica is the courier, until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                state = self.turn() => {
                    let Some(state) = state else { continue };
                    let hold = Hold::new(&self.post, &self.name);
                    tracing::info!("this replica sends webhooks");
                    let is_over = work(&hold, &state, &stop).await;
                    if is_over {
                        return;
                    }
                    tracing::info!("another replica may send webhooks");
                }
            }
            self.seen = None;
        }
    }

    /// Waits until this replica may become the courier, and takes over; returns the state before that.
    async fn turn(&mut self) -> Option<CourierState> {
        let is_alone = self.post.webhooks.store.shared().is_none();
        let mut changes = self.post.webhooks.courier.subscribe();
        loop {
            changes.mark_unchanged();
            let now = self.post.clock.moment();
            let state = CourierState::of(&self.post.webhooks.courier.snapshot()).cloned();
            match state {
                None => self.seen = None,
                Some(state) => {
                    let since = match &self.seen {
                        Some((seen, since)) if *seen == state => *since,
                        _ => {
                            self.seen = Some((state.clone(), now));
                            now
                        }
                    };
                    let is_free = is_alone || state.holder.is_empty() || state.holder == self.name;
                    let is_silent = now.since(since) >= LEASE;
                    self.post.log_is_wanted.store(state.is_behind || is_silent, Ordering::Relaxed);
                    if is_free || is_silent {
                        match self.take(&state).await {
                            Ok(()) => return Some(state),
                            Err(Lost::Other) => {}
                            Err(Lost::Store(error)) => {
                                tracing::debug!(%error, "webhooks wait for the store");
                            }
                        }
                    }
                }
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = self.post.pause(LOOK) => {}
            }
        }
    }

    async fn take(&self, expected: &CourierState) -> Result<(), Lost> {
        let taken = self.post.webhooks.courier.change(|before| {
            let Some(state) = CourierState::of(before).filter(|it| *it == expected) else {
                return Err(Lost::Other);
            };
            let (holder, beat) = (self.name.clone(), state.beat + 1);
            Ok((CourierState { holder, beat, is_behind: true, ..state.clone() }.put(), ()))
        });
        taken.await
    }
}

/// Reads and sends until another replica is the courier (false) or until `stop` (true).
async fn work(hold: &Hold<'_>, state: &CourierState, stop: &CancellationToken) -> bool {
    hold.post.log_is_wanted.store(true, Ordering::Relaxed);
    tokio::select! {
        biased;
        () = stop.cancelled() => {
            // So the next replica need not wait for the lease. A stop does not wait for an unavailable store.
            if hold.post.webhooks.store.shared().is_some() {
                let release = hold.change(|state| state.holder.clear());
                let _ = tokio::time::timeout(RELEASE, release).await;
            }
            true
        }
        () = hold.keep() => false,
        () = follow::follow(hold, &state.position) => false,
        () = send::send(hold) => false,
    }
}
