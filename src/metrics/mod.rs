//! Metrics: what the server counts while it works, and how that is written for Prometheus.
//!
//! The code that does the work holds a handle and adds to atomic numbers: without a lock, a name or an allocation. A
//! scrape adds names, labels and texts. Labels have few values: no ids, no tenants, and a limited number of kinds.
//!
//! Read next: `table` for the metrics, `kinds` and `calls` for the handles, `scrape` for the text.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

mod calls;
mod commits;
mod kinds;
mod process;
mod scrape;
mod table;
mod values;
mod webhooks;

pub use calls::{Begun, Calls, Metered, Route};
pub use commits::Commits;
pub use kinds::{KindMeters, KindRecorder, Kinds, OTHER, Times};
pub use process::Process;
pub use scrape::{Format, Scrape};
pub use table::Metric;
pub use values::{Counter, CounterSet, Gauge, Held, Histogram, Reading};
pub use webhooks::WebhookMeters;

/// The default number of kinds with figures of their own.
pub const DEFAULT_KINDS: usize = 100;

/// Everything that a server counts.
#[derive(Debug)]
pub struct Meters {
    /// Operations, by kind.
    pub kinds: Kinds,
    /// Commits, and the store's responses to them.
    pub commits: Commits,
    /// gRPC calls and HTTP requests.
    pub calls: Calls,
    /// Requests that a limit refused, by the limit's name.
    pub refusals: CounterSet,
    /// Open watches of one operation.
    pub watchers: Arc<Gauge>,
    /// Open watches over filters.
    pub feeds: Arc<Gauge>,
    /// Open connections.
    pub connections: Arc<Gauge>,
    /// Accepted connections.
    pub accepted: Counter,
    /// Connections refused for lack of room.
    pub turned_away: Counter,
    /// The outcomes of webhooks' deliveries.
    pub webhooks: WebhookMeters,
    /// The files of the store, if it has any.
    files: OnceLock<Vec<PathBuf>>,
}

impl Meters {
    /// Counters for at most this many kinds, these gRPC methods, HTTP routes and names of limits.
    pub fn new(most_kinds: usize, calls: Calls, limits: Vec<&'static str>) -> Arc<Self> {
        Arc::new(Self {
            kinds: Kinds::new(most_kinds),
            commits: Commits::default(),
            calls,
            refusals: CounterSet::new(limits),
            watchers: Arc::default(),
            feeds: Arc::default(),
            connections: Arc::default(),
            accepted: Counter::default(),
            turned_away: Counter::default(),
            webhooks: WebhookMeters::default(),
            files: OnceLock::new(),
        })
    }

    /// Sets the files of the store. Only the first call counts.
    pub fn measure_files(&self, files: Vec<PathBuf>) {
        let _ = self.files.set(files);
    }

    /// The files of the store; `None` if it has none.
    pub fn files(&self) -> Option<&[PathBuf]> {
        self.files.get().map(Vec::as_slice)
    }
}
