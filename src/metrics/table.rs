//! Every metric, declared once. A test compares `docs/metrics.md` with this.

use prometheus_client::metrics::MetricType;

/// Declares the metrics: each with its description, its name without the suffix `_total`, its type, and its labels.
macro_rules! metrics {
    ($($(#[doc = $about:literal])+ $metric:ident = $name:literal, $kind:ident, [$($label:literal),*];)+) => {
        /// A metric.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Metric {
            $($(#[doc = $about])+ $metric,)+
        }

        impl Metric {
            /// All metrics, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$metric),+];

            /// The name, without a counter's suffix `_total`.
            const fn stem(self) -> &'static str {
                match self { $(Self::$metric => $name,)+ }
            }

            /// Whether it is a counter, a gauge or a histogram.
            pub(super) const fn kind(self) -> MetricType {
                match self { $(Self::$metric => MetricType::$kind,)+ }
            }

            /// The names of its labels.
            pub const fn labels(self) -> &'static [&'static str] {
                match self { $(Self::$metric => &[$($label),*],)+ }
            }

            /// The description.
            pub fn about(self) -> &'static str {
                match self { $(Self::$metric => concat!($($about),+).trim(),)+ }
            }
        }
    };
}

metrics! {
    /// Operations that were submitted.
    Submissions = "longrun_submissions", Counter, ["kind"];
    /// Transitions of operations, by the state that they led to. An attempt begins with one to RUNNING.
    Transitions = "longrun_transitions", Counter, ["kind", "state"];
    /// Attempts that were given up because their worker was lost.
    LeasesLost = "longrun_leases_lost", Counter, ["kind"];
    /// Operations that wait for an attempt: QUEUED, those included whose start time has not come.
    Queued = "longrun_queued_operations", Gauge, ["kind"];
    /// Operations with a running attempt: RUNNING or CANCELLING.
    Running = "longrun_running_operations", Gauge, ["kind"];
    /// Age of the oldest QUEUED operation, from its submission; 0 if there is none.
    OldestQueued = "longrun_oldest_queued_age_seconds", Gauge, ["kind"];
    /// Time from when an operation may start, or start again, to the start of an attempt.
    QueueDuration = "longrun_queue_duration_seconds", Histogram, ["kind"];
    /// Time from the start of an attempt to its end, however it ended. An attempt after the first that was told to stop is left out.
    AttemptDuration = "longrun_attempt_duration_seconds", Histogram, ["kind"];
    /// Time from when an operation may start to its end, queues and pauses included.
    OperationDuration = "longrun_operation_duration_seconds", Histogram, ["kind"];
    /// Operations that a commit wrote or removed.
    CommitSize = "longrun_commit_operations", Histogram, [];
    /// Time that the store took for a commit, whatever came of it.
    CommitDuration = "longrun_commit_duration_seconds", Histogram, [];
    /// Commits that failed: `conflict`, `locked` and `sessions_taken` are races between replicas, which are decided again; the others are the store's.
    StoreErrors = "longrun_store_errors", Counter, ["error"];
    /// Times at which the store stopped to take writes.
    StoreOutages = "longrun_store_outages", Counter, [];
    /// 1 while the store takes writes, 0 while it does not.
    StoreWritable = "longrun_store_writable", Gauge, [];
    /// Size of the files of an SQLite store, its log included.
    StoreSize = "longrun_store_size_bytes", Gauge, [];
    /// Watches of one operation that are open, waits included.
    Watchers = "longrun_watchers", Gauge, [];
    /// Watches over filters that are open.
    Feeds = "longrun_feeds", Gauge, [];
    /// Sessions of workers at this server: `serving`, `draining`, or `away` where the connection is lost; without the server's own worker of batches.
    Sessions = "longrun_worker_sessions", Gauge, ["state"];
    /// Attempts that the workers at this server may run at once, batches left out.
    Places = "longrun_worker_places", Gauge, [];
    /// Requests that a limit refused, by the limit: of tenants as in `docs/limits.md`, and the server's own.
    Refusals = "longrun_refusals", Counter, ["limit"];
    /// Calls over gRPC and gRPC-Web that have ended, by method and code. `none` stands for paths of no method.
    RpcCalls = "longrun_grpc_calls", Counter, ["method", "code"];
    /// Time from the head of a call to the end of its answer. Streams last for minutes.
    RpcDuration = "longrun_grpc_call_duration_seconds", Histogram, ["method"];
    /// Calls over gRPC that are under way, streams included.
    OpenRpcs = "longrun_grpc_open_calls", Gauge, [];
    /// Requests over HTTP that have ended, by route (its `operationId` in `/openapi.json`) and status. 499: the client was gone before the answer.
    HttpRequests = "longrun_http_requests", Counter, ["route", "code"];
    /// Time from the head of a request to the end of its response. Streams of events last for minutes.
    HttpDuration = "longrun_http_request_duration_seconds", Histogram, ["route"];
    /// Requests over HTTP that are under way, streams included.
    OpenRequests = "longrun_http_open_requests", Gauge, [];
    /// Connections that are open, those of workers within the server included.
    Connections = "longrun_connections", Gauge, [];
    /// Connections that were accepted.
    Accepted = "longrun_accepted_connections", Counter, [];
    /// Connections that were refused because of `--max-connections`.
    TurnedAway = "longrun_refused_connections", Counter, [];
    /// Attempts to deliver webhooks, by outcome: `delivered`, `failed` (to be tried again), `dead` (given up); `dropped` are deliveries beyond those that a tenant may have waiting.
    Deliveries = "longrun_webhook_deliveries", Counter, ["outcome"];
    /// Deliveries of webhooks that wait, at the replica that sends.
    PendingDeliveries = "longrun_webhook_pending_deliveries", Gauge, [];
    /// Times at which changes were no longer kept when webhooks were to tell of them.
    WebhookGaps = "longrun_webhook_gaps", Counter, [];
    /// The program; always 1.
    Build = "longrun_build_info", Gauge, ["version"];
    /// Time on processors.
    ProcessCpu = "process_cpu_seconds", Counter, [];
    /// Memory in use.
    ProcessResident = "process_resident_memory_bytes", Gauge, [];
    /// Memory that is mapped.
    ProcessVirtual = "process_virtual_memory_bytes", Gauge, [];
    /// Threads.
    ProcessThreads = "process_threads", Gauge, [];
    /// Open files.
    ProcessFiles = "process_open_fds", Gauge, [];
    /// Files that may be open (`ulimit -n`).
    ProcessMostFiles = "process_max_fds", Gauge, [];
    /// When the process started, in seconds since 1970.
    ProcessStarted = "process_start_time_seconds", Gauge, [];
}

impl Metric {
    /// The served name.
    pub fn name(self) -> String {
        match self.kind() {
            MetricType::Counter => format!("{}_total", self.stem()),
            _ => self.stem().to_owned(),
        }
    }

    /// The name for the encoder, without its unit, and the unit.
    pub(super) fn parts(self) -> (&'static str, Option<&'static str>) {
        let stem = self.stem();
        let unit = ["seconds", "bytes"].into_iter().find(|unit| stem.ends_with(*unit));
        let name = unit.and_then(|unit| stem.strip_suffix(unit)?.strip_suffix('_'));
        (name.unwrap_or(stem), unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_metrics_is_true() {
        let page = include_str!("../../docs/metrics.md");
        let rows = Metric::ALL.iter().map(|metric| {
            let labels: Vec<String> = metric.labels().iter().map(|it| format!("`{it}`")).collect();
            let (name, kind, labels) = (metric.name(), metric.kind(), labels.join(", "));
            format!("| `{name}` | {} | {labels} | {} |\n", kind.as_str(), metric.about())
        });
        let head = "| metric | type | labels | what it is |\n| --- | --- | --- | --- |\n";
        let table = head.to_owned() + &rows.collect::<String>();
        assert!(page.contains(&table), "docs/metrics.md must have this table:\n{table}");
    }
}
