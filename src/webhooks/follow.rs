//! Reads the log, and stores the deliveries of each page before the position after it.

use std::time::Duration;

use super::bookmark::Bookmark;
use super::hold::{Hold, PAUSE};
use super::plan::Planner;
use crate::store::StoreError;
use crate::store::log::{Logged, ReadError};

/// How many changes are read at a time.
const PAGE: usize = 256;
/// How often the log is read without a notification: in a shared store, and in one that only this process uses.
const POLL_SHARED: Duration = Duration::from_millis(500);
const POLL_ALONE: Duration = Duration::from_secs(5);

/// Reads from `position` until another replica is the courier.
pub(super) async fn follow(hold: &Hold<'_>, position: &str) {
    // `None`: another replica is the courier.
    let _ = read_on(hold, position).await;
}

async fn read_on(hold: &Hold<'_>, position: &str) -> Option<()> {
    let (post, store) = (hold.post, &*hold.post.webhooks.store);
    let poll = if store.shared().is_some() { POLL_SHARED } else { POLL_ALONE };
    let (mut bookmark, mut reader) = Bookmark::open(hold, position).await?;
    let mut commits = post.commits.clone();
    let mut planner = Planner::new(post.base.clone(), post.options.retry_for);
    loop {
        commits.mark_unchanged();
        match reader.read(store, PAGE).await {
            Ok(page) if page.is_empty() => {
                bookmark.caught_up(&reader).await?;
                tokio::select! {
                    _ = commits.changed() => {}
                    () = post.pause(poll) => {}
                }
            }
            Ok(page) => {
                bookmark.read_page();
                if store_page(hold, &page, &mut planner).await {
                    bookmark.save(&reader).await?;
                    post.webhooks.wake.notify_one();
                }
            }
            Err(ReadError::Store(error)) => {
                tracing::debug!(%error, "the log cannot be read for webhooks");
                post.pause(PAUSE).await;
            }
            Err(ReadError::Gone(gone)) => {
                tracing::error!(%gone, "transitions were not delivered to webhooks: a gap");
                reader = bookmark.restart().await?;
            }
        }
    }
}

/// Stores the deliveries of a page; retries until that succeeds. Returns whether there were any.
async fn store_page(hold: &Hold<'_>, page: &[Logged], planner: &mut Planner) -> bool {
    loop {
        match try_store(hold, page, planner).await {
            Ok(stored) => return stored,
            Err(error) => tracing::debug!(%error, "deliveries cannot be stored"),
        }
        hold.post.pause(PAUSE).await;
    }
}

async fn try_store(
    hold: &Hold<'_>,
    page: &[Logged],
    planner: &mut Planner,
) -> Result<bool, StoreError> {
    let webhooks = &hold.post.webhooks;
    // Read after the page, so that no webhook is older than one of its transitions.
    let current = webhooks.hooks.current().await?;
    let deliveries = planner.deliveries(page, current, hold.post.clock.now());
    let is_some = !deliveries.is_empty();
    if is_some {
        webhooks.deliveries()?.put_deliveries(deliveries).await?;
    }
    Ok(is_some)
}
