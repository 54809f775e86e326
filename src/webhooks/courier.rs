//! Which replica sends. The catalogue has its name, and a number that rises while it lives; another takes its place when
//! it has stopped, or when the number has stood still for long by the other's own monotonic clock.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Post, follow, send};
use crate::catalogue::ChangeError;
use crate::engine::Moment;
use crate::service::webhooks::CourierState;

/// How long a courier may be silent.
const LEASE: Duration = Duration::from_secs(15);
/// How often it gives a sign.
const BEAT: Duration = Duration::from_secs(4);
/// How often others look.
const LOOK: Duration = Duration::from_millis(500);

/// The courier, or a replica that may become it.
pub(super) struct Courier {
    post: Post,
    /// The name that this replica has made up.
    name: String,
    /// When the state was last seen to change.
    seen: Option<(CourierState, Moment)>,
}

/// Why a change of the state was not made.
pub(super) enum Lost {
    /// Another is the courier.
    Other,
    /// The store did not take it.
    Store(ChangeError),
}

impl From<ChangeError> for Lost {
    fn from(error: ChangeError) -> Self {
        Self::Store(error)
    }
}

/// The right to send, while it lasts.
pub(super) struct Hold<'a> {
    pub(super) post: &'a Post,
    name: &'a str,
    /// When it was last renewed.
    renewed: Mutex<Moment>,
}

impl Courier {
    pub(super) fn new(post: Post) -> Self {
        Self { post, name: Uuid::now_v7().to_string(), seen: None }
    }

    /// Sends whenever it is this replica's turn, until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                state = self.turn() => {
                    let Some(state) = state else { continue };
                    let hold = Hold {
                        post: &self.post,
                        name: &self.name,
                        renewed: Mutex::new(self.post.clock.moment()),
                    };
                    tracing::info!("this replica sends webhooks");
                    let is_over = hold.work(&state, &stop).await;
                    if is_over {
                        return;
                    }
                    tracing::info!("another replica may send webhooks");
                }
            }
            self.seen = None;
        }
    }

    /// Waits until it is this replica's turn, and takes it; the state as it was then.
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

impl Hold<'_> {
    /// Reads and sends until another is the courier, or until `stop`; whether it was that.
    async fn work(&self, state: &CourierState, stop: &CancellationToken) -> bool {
        self.post.log_is_wanted.store(true, Ordering::Relaxed);
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                // For the next, which need not wait then.
                let _ = tokio::time::timeout(BEAT, self.change(|state| state.holder.clear())).await;
                true
            }
            () = self.keep() => false,
            () = follow::follow(self, &state.position) => false,
            () = send::send(self) => false,
        }
    }

    /// Gives signs of life until they are not taken any more.
    async fn keep(&self) {
        loop {
            self.post.pause(BEAT).await;
            let is_shared = self.post.webhooks.store.shared().is_some();
            if !is_shared {
                continue;
            }
            match self.change(|_| ()).await {
                Ok(()) => {}
                Err(Lost::Other) => return,
                Err(Lost::Store(_)) => {
                    let renewed = *self.renewed.lock().await;
                    if self.post.clock.moment().since(renewed) > LEASE {
                        return;
                    }
                }
            }
        }
    }

    /// Changes the state, if this is still the courier.
    pub(super) async fn change(&self, edit: impl Fn(&mut CourierState)) -> Result<(), Lost> {
        let mut renewed = self.renewed.lock().await;
        let now = self.post.clock.moment();
        let changed = self.post.webhooks.courier.change(|before| {
            let Some(state) = CourierState::of(before).filter(|it| it.holder == self.name) else {
                return Err(Lost::Other);
            };
            let mut state = state.clone();
            state.beat += 1;
            edit(&mut state);
            Ok((state.put(), ()))
        });
        changed.await?;
        *renewed = now;
        Ok(())
    }
}
