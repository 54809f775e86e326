//! The courier's lease: renewed while it lasts, and checked by every change of the courier's state.

use std::time::Duration;

use tokio::sync::Mutex;

use super::Post;
use crate::catalogue::ChangeError;
use crate::engine::Moment;
use crate::service::webhooks::CourierState;

/// How long a courier may be silent before another replica takes over.
pub(super) const LEASE: Duration = Duration::from_secs(15);
/// How often the courier renews.
const BEAT: Duration = Duration::from_secs(4);

/// The pause before the store is tried again.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// Why a change of the state was not made.
pub(super) enum Lost {
    /// Another is the courier.
    Other,
    /// The store refused or failed.
    Store(ChangeError),
}

impl From<ChangeError> for Lost {
    fn from(error: ChangeError) -> Self {
        Self::Store(error)
    }
}

/// The courier's lease.
pub(super) struct Hold<'a> {
    pub(super) post: &'a Post,
    name: &'a str,
    /// When it was last renewed.
    renewed: Mutex<Moment>,
}

impl<'a> Hold<'a> {
    /// The lease under that name, which was just taken.
    pub(super) fn new(post: &'a Post, name: &'a str) -> Self {
        Self { post, name, renewed: Mutex::new(post.clock.moment()) }
    }

    /// Renews the lease until it is lost.
    pub(super) async fn keep(&self) {
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

    /// Changes the state, if this replica is still the courier.
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
