//! Metrics: what the server counts while it works, and how that is written for Prometheus.
//!
//! The code that does the work holds a handle and adds to atomic numbers: no lock, no name and no allocation on the way. Names,
//! labels and texts come in with a scrape. Labels have few values: no ids, no tenants, and kinds up to a number.
//!
//! Read next: `table` for what there is, `kinds` and `calls` for the handles, `scrape` for the text.

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

/// Kinds with figures of their own, unless the configuration says otherwise.
pub const DEFAULT_KINDS: usize = 100;

/// Everything that a server counts.
#[derive(Debug)]
pub struct Meters {
    /// Operations, by kind.
    pub kinds: Kinds,
    /// Commits, and how the store took them.
    pub commits: Commits,
    /// Calls over gRPC and requests over HTTP.
    pub calls: Calls,
    /// Requests that a limit refused, by the limit's name.
    pub refusals: CounterSet,
    /// Watches of one operation that are open.
    pub watchers: Arc<Gauge>,
    /// Watches over filters that are open.
    pub feeds: Arc<Gauge>,
    /// Connections that are open.
    pub connections: Arc<Gauge>,
    /// Connections that were accepted.
    pub accepted: Counter,
    /// Connections that were refused for want of room.
    pub turned_away: Counter,
    /// What became of deliveries of webhooks.
    pub webhooks: WebhookMeters,
    /// The files of the store, where it has any.
    files: OnceLock<Vec<PathBuf>>,
}

impl Meters {
    /// For at most this many kinds, these methods of gRPC, routes of HTTP and names of limits.
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

    /// The store is in these files. Counts once.
    pub fn measure_files(&self, files: Vec<PathBuf>) {
        let _ = self.files.set(files);
    }

    /// The files of the store; `None` where it has none that are known.
    pub fn files(&self) -> Option<&[PathBuf]> {
        self.files.get().map(Vec::as_slice)
    }
}
