//! The engine: owns the clock, the loop that commits, dispatch to workers, and watches.
//!
//! Every change takes the same road through one task: decide by the rules, commit, then respond, publish and
//! dispatch. Requests, workers and timers differ only in their commands. Nothing here knows of gRPC or HTTP.
//!
//! ```text
//! calls                      the calls of the service
//!     | Request, reply
//!     v
//!   commit::committer          take, commit, notify; outages, commits in doubt
//!     | Round       ^ Answers, Draft
//!     v             |
//! commit::planner            decides a round; committed(draft) or abandoned(draft) follows
//!     |            |
//!     v            v
//! dispatch/    round/        which worker runs what   the parts of one commit
//!     |            |
//!     +-----+------+
//!           v
//!   words and boards           request, cache, progress, course, health, watch::hub, clock
//!           ^
//! watch/                     watches: its parts read the store and the hub
//! ```
//!
//! No arrow points up. Read next: `commit::committer` for the road, `round` for how a round is split when it loses
//! races, `dispatch::dispatcher` for what happens on both sides of a commit, `watch` for how transitions reach
//! clients.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::metrics::Meters;
use crate::operation::limits::LimitTable;
use crate::spans::Spans;
use crate::store::Store;
use crate::store::shared::OtherWorker;

mod admission;
mod cache;
mod calls;
mod children;
pub mod clock;
mod commit;
mod config;
mod course;
mod dispatch;
mod health;
mod poll;
mod progress;
mod request;
mod round;
#[cfg(test)]
pub(crate) mod sample;
mod server_limit;
mod sharing;
mod watch;

pub use calls::figures::Figures;
pub use calls::standing::{KindFigures, OtherWorkers, WorkerFigures};
pub use calls::{Engine, EngineTask};
pub use clock::{Clock, Ids, ManualClock, Moment, SystemClock};
pub use commit::recent::Percentiles;
pub use config::EngineConfig;
pub use course::CoursePoint;
pub use dispatch::roster::WorkerState;
pub use health::StoreHealth;
pub use poll::Poll;
pub use request::{
    Applied, Apply, AttemptLease, Connected, EngineError, ServerLimit, Submitted, ToWorker,
    WorkerHello,
};
pub use watch::feed::Feed;
pub use watch::item::Committed;
pub use watch::item::{FeedItem, FeedStart};
pub use watch::watcher::{WatchItem, Watcher};

use cache::Cache;
use children::ChildrenBoard;
use commit::counts::Counts;
use dispatch::roster::Roster;
use health::HealthBoard;
use progress::ProgressBoard;
use watch::hub::Hub;

/// The shared state of the engine's parts.
struct Shared {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    ids: Ids,
    hub: Arc<Hub>,
    cache: Cache,
    progress: ProgressBoard,
    health: HealthBoard,
    children: ChildrenBoard,
    /// Only the committer updates them; callers that are about to submit read them.
    counts: Mutex<Counts>,
    /// The workers connected to this replica. Only the committer writes it.
    roster: Mutex<Roster>,
    /// Workers of other replicas, as the store had them at that moment.
    others: Mutex<Option<(Moment, Arc<[OtherWorker]>)>>,
    /// The engine's counters.
    meters: Arc<Meters>,
    /// Makes spans of operations' transitions.
    spans: Spans,
    /// The limits of tenants.
    limits: RwLock<Arc<LimitTable>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Shared {
    fn limits(&self) -> Arc<LimitTable> {
        Arc::clone(&self.limits.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set_limits(&self, limits: Arc<LimitTable>) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    fn roster(&self) -> MutexGuard<'_, Roster> {
        self.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
