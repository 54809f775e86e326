//! Tells receivers of transitions: reads the log by position, stores what is to be sent, and sends it until it is
//! accepted or given up.
//!
//! ```text
//!   store::log  -> follow -> deliveries (rows) -> send -> receivers
//!                    |                              |
//!                    +-- courier (catalogue): the replica that delivers, and the position
//! ```
//!
//! One replica at a time does it, the *courier*. What it has read it stores first, under ids that anybody would make
//! the same, and then moves the position; so a courier that dies leaves nothing out, and the next one finds what is
//! there already. A delivery is marked only after its receiver has answered: so a receiver may be told twice, under
//! the same id. Slow and dead receivers harm nobody else: what they wait for is rows, and how many of them are asked at
//! once is bounded for each receiver, for each tenant and in all.
//!
//! Read next: `follow` for what is read, `plan` for which webhooks match, `message` for what is sent, `send` for when,
//! `courier` for the replica that does it.

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

/// How the courier works.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long a delivery is tried before it is given up.
    pub retry_for: Duration,
    /// How long a receiver may take.
    pub timeout: Duration,
}

/// Everything that the courier needs. Cheap to clone.
#[derive(Clone)]
pub struct Post {
    /// Whom to tell, and what became of it.
    pub webhooks: Webhooks,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Counts what happens.
    pub meters: Arc<Meters>,
    /// Sends.
    pub sender: Sender,
    /// How.
    pub options: Options,
    /// Where links in messages lead; empty where that is not known.
    pub base: Arc<str>,
    /// Changes when something may have been committed.
    pub commits: watch::Receiver<()>,
    /// Is told whether the log is still to be read.
    pub log_is_wanted: Arc<AtomicBool>,
}

impl Post {
    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        if self.webhooks.store.deliveries().is_none() {
            return stop.cancelled().await;
        }
        Courier::new(self).run(stop).await;
    }

    /// Returns after as long, by the monotonic clock.
    async fn pause(&self, pause: Duration) {
        self.clock.sleep_until_moment(self.clock.moment().after(pause)).await;
    }
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Post")
    }
}
