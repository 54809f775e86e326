//! Children that outlived their batch, because a server died between the batch's end and its last request to them.
//!
//! A batch that has ended takes no more children, so each needs to be looked at only once: again and again, the batches
//! that have ended since.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Batches;
use crate::operation::{Operation, Timestamp};
use crate::service::ServiceError;

/// How often.
const EVERY: Duration = Duration::from_secs(10);
/// Clocks of replicas may differ by this much, and an end may be stored so long after it was decided.
const SLACK: Duration = Duration::from_secs(3600);
/// How many pages of batches one sweep reads at most.
const MOST_PAGES: usize = 10;

/// Looks for them until `stop`.
pub(super) async fn run(batches: &Batches, stop: &CancellationToken) {
    let mut swept_at = None;
    loop {
        let now = batches.engine.clock().now();
        let swept = stop.run_until_cancelled(sweep(batches, swept_at, stop));
        match swept.await {
            None => return,
            Some(Ok(())) => swept_at = Some(now),
            Some(Err(error)) => tracing::debug!(%error, "children without a batch are not found"),
        }
        if stop.run_until_cancelled(batches.pause(EVERY)).await.is_none() {
            return;
        }
    }
}

/// Asks the children to stop that are left of batches which have ended since the last sweep.
async fn sweep(
    batches: &Batches,
    last: Option<Timestamp>,
    stop: &CancellationToken,
) -> Result<(), ServiceError> {
    let mut after = None;
    for _ in 0..MOST_PAGES {
        let page = batches.service.ended_batches(after.as_ref()).await?;
        let is_recent = |batch: &&Operation| {
            let until = batch.ended_at().map(|ended_at| ended_at.after(SLACK));
            last.is_none_or(|last| until >= Some(last))
        };
        for batch in page.iter().take_while(is_recent) {
            while !stop.is_cancelled() && batches.cancel_some_children(batch).await? {}
        }
        after = page.into_iter().next_back().filter(|oldest| is_recent(&oldest));
        if after.is_none() {
            return Ok(());
        }
    }
    Ok(())
}
