//! Notifies receivers of transitions: reads the log by position, stores deliveries, and sends them until they are
//! accepted or given up.
//!
//! ```text
//!   store::log  -> follow -> deliveries (rows) -> send -> receivers
//!                    |                              |
//!                    +-- courier (catalogue): the replica that delivers, and the position
//! ```
//!
//! One replica at a time does this, the *courier*. It first stores the deliveries of what it has read, under ids that
//! any replica would choose, and then moves the position; so a courier that dies leaves nothing out, and the next one
//! finds what is already stored. A delivery is marked only after its receiver has responded: so a receiver may get it
//! twice, under the same id. Slow and dead receivers do not affect others: their deliveries wait as rows, and the
//! number of concurrent requests is limited for each receiver, for each tenant and in all.
//!
//! Read next: `follow` for reading, `plan` for which webhooks match, `message` for the messages, `send` for when they
//! are sent, `courier` for the replica that sends.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::engine::Clock;
use crate::metrics::Meters;
use crate::service::webhooks::Webhooks;

mod bookmark;
mod courier;
mod follow;
mod hold;
mod message;
mod patience;
mod plan;
mod post;
mod send;

pub use plan::Planner;
pub use post::Sender;

use courier::Courier;

/// The courier's options.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long a delivery is tried before it is given up.
    pub retry_for: Duration,
    /// The time limit of a request to a receiver.
    pub timeout: Duration,
}

/// Everything that the courier needs. Cheap to clone.
#[derive(Clone)]
pub struct Post {
    /// The webhooks and their deliveries.
    pub webhooks: Webhooks,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The server's counters.
    pub meters: Arc<Meters>,
    /// Sends requests to receivers.
    pub sender: Sender,
    /// The options.
    pub options: Options,
    /// The base of links in messages; empty if unknown.
    pub base: Arc<str>,
    /// Changes when something may have been committed.
    pub commits: watch::Receiver<()>,
    /// Set while the log is still needed.
    pub log_is_wanted: Arc<AtomicBool>,
}

impl Post {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        if self.webhooks.store.deliveries().is_none() {
            return stop.cancelled().await;
        }
        Courier::new(self).run(stop).await;
    }

    /// Waits by the monotonic clock.
    async fn pause(&self, pause: Duration) {
        self.clock.sleep_until_moment(self.clock.moment().after(pause)).await;
    }
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Post")
    }
}
