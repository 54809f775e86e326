//! The courier's position in the log: when it is stored, and where reading continues after a gap.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::hold::{Hold, Lost, PAUSE};
use crate::engine::Moment;
use crate::service::webhooks::CourierState;
use crate::store::log::{Position, Reader};

/// How often the position is stored while there is nothing to deliver.
const SAVE_IDLE: Duration = Duration::from_secs(60);
/// A reader that has not reached the log's end for this long is behind: then the store keeps old parts of the log.
const BEHIND: Duration = Duration::from_secs(60);

/// The stored position of the courier. Methods return `None` once another replica is the courier.
pub(super) struct Bookmark<'a> {
    hold: &'a Hold<'a>,
    is_behind: bool,
    /// When the reader was last at the log's end.
    caught_up: Moment,
    saved: Moment,
}

impl<'a> Bookmark<'a> {
    /// The bookmark, and a reader that begins at `position`.
    pub(super) async fn open(hold: &'a Hold<'a>, position: &str) -> Option<(Self, Reader)> {
        let now = hold.post.clock.moment();
        let mut bookmark = Self { hold, is_behind: true, caught_up: now, saved: now };
        let key = hold.post.webhooks.store.signing_key();
        let reader = match Position::decode(position, &key) {
            Some(position) => Reader::new(position),
            None => {
                tracing::error!("the position of webhooks is not one of this store: a gap");
                bookmark.restart().await?
            }
        };
        Some((bookmark, reader))
    }

    /// Notes that the reader is at the log's end.
    pub(super) async fn caught_up(&mut self, reader: &Reader) -> Option<()> {
        self.caught_up = self.hold.post.clock.moment();
        self.hold.post.log_is_wanted.store(false, Ordering::Relaxed);
        if self.is_behind || self.caught_up.since(self.saved) > SAVE_IDLE {
            self.is_behind = false;
            self.save(reader).await?;
        }
        Some(())
    }

    /// Notes that a page was read, so the reader may not be at the log's end.
    pub(super) fn read_page(&mut self) {
        if self.hold.post.clock.moment().since(self.caught_up) > BEHIND {
            self.is_behind = true;
            self.hold.post.log_is_wanted.store(true, Ordering::Relaxed);
        }
    }

    /// Stores the reader's position; retries until that succeeds.
    pub(super) async fn save(&mut self, reader: &Reader) -> Option<()> {
        let post = self.hold.post;
        let position = reader.certain_position().encode(&post.webhooks.store.signing_key());
        loop {
            let edit = |state: &mut CourierState| {
                state.position.clone_from(&position);
                state.is_behind = self.is_behind;
            };
            match self.hold.change(edit).await {
                Ok(()) => break,
                Err(Lost::Other) => return None,
                Err(Lost::Store(error)) => {
                    tracing::debug!(%error, "the position of webhooks cannot be stored");
                }
            }
            post.pause(PAUSE).await;
        }
        self.saved = post.clock.moment();
        Some(())
    }

    /// Counts a gap, and continues at the log's end.
    pub(super) async fn restart(&mut self) -> Option<Reader> {
        let post = self.hold.post;
        post.meters.webhooks.gaps.one();
        loop {
            match post.webhooks.store.head().await {
                Ok(head) => {
                    let reader = Reader::new(Position::at(head.frontier()));
                    self.is_behind = true;
                    return self.save(&reader).await.map(|()| reader);
                }
                Err(error) => tracing::debug!(%error, "the log's end cannot be read"),
            }
            post.pause(PAUSE).await;
        }
    }
}
