//! The right to send: renewed while it lasts, and asked for by every change of the courier's state.

use std::time::Duration;

use tokio::sync::Mutex;

use super::Post;
use crate::catalogue::ChangeError;
use crate::engine::Moment;
use crate::service::webhooks::CourierState;

/// How long a courier may be silent.
pub(super) const LEASE: Duration = Duration::from_secs(15);
/// How often it gives a sign.
const BEAT: Duration = Duration::from_secs(4);

/// How long to wait before the store is asked again.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

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

impl<'a> Hold<'a> {
    /// The right of that name, which was just taken.
    pub(super) fn new(post: &'a Post, name: &'a str) -> Self {
        Self { post, name, renewed: Mutex::new(post.clock.moment()) }
    }

    /// Gives signs of life until they are not taken any more.
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
