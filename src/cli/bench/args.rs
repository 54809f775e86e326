//! The arguments of `longrun bench`.

use std::time::Duration;

use clap::ValueEnum;

use crate::config::whole;
use crate::time_text::parse_duration;

const EXAMPLES: &str = "\
Examples:
  longrun bench --embedded                           figures of this machine, from one command
  longrun bench --clients 256 --duration 30s         as fast as 256 clients can
  longrun bench --rate 2000 --duration 1h --interval 10s --retention 5m        a soak
  longrun bench --watch operation --payload 4096     each client watches its own operation
  longrun bench --workers 0 --watch none             submissions alone; nothing executes them
  longrun bench --count 100000 --json | jq .livesPerSecond

Each client has one operation in flight: it submits, learns of the end, and begins again. The
workers are in this process as well, and finish at once unless --work says otherwise. The kinds have
names of their own, so no other work is touched; the server deletes the operations after
--retention. With --rate, a submission that has to wait for a free client counts from when it was
due.

submit  from the call to the response, when the operation is durable
push    from the call of submit to the worker's handler
end     from the call of submit to the moment at which the watcher learns that it is done

With --embedded the server shares the processors with the load and keeps its store in a temporary
directory. If that directory is in memory, the figures mean nothing; TMPDIR names another.";

/// Arguments of `bench`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// Start a server for the run, on a free port with a temporary store
    #[arg(long)]
    pub(super) embedded: bool,
    /// Another replica of the same service: connections, workers and watches are spread over all
    /// replicas; repeatable
    #[arg(long = "replica", value_name = "URL", conflicts_with = "embedded")]
    pub(super) replicas: Vec<String>,
    #[command(flatten)]
    pub(super) load: Load,
    #[command(flatten)]
    pub(super) span: Span,
}

/// The load.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Load")]
pub(super) struct Load {
    /// Number of clients that submit, each with one operation in flight
    #[arg(long, short, value_name = "N", default_value_t = 64, value_parser = whole(1_u32..=100_000))]
    pub(super) clients: u32,
    /// Number of connections that the clients share
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = whole(1_u32..=1_000))]
    pub(super) connections: u32,
    /// Number of workers, each with a connection of its own; 0 for none
    #[arg(long, short, value_name = "N", default_value_t = 1, value_parser = whole(0_u32..=1_000))]
    pub(super) workers: u32,
    /// Attempts that a worker runs at once [default: the number of clients]
    #[arg(long, value_name = "N", value_parser = whole(1_u32..=10_000))]
    pub(super) concurrency: Option<u32>,
    /// Number of kinds that the work is spread over
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole(1_u32..=100))]
    pub(super) kinds: u32,
    /// Bytes of each input, at least 8, which hold the time
    #[arg(long, value_name = "BYTES", default_value_t = 300, value_parser = whole(8..=u32::MAX))]
    pub(super) payload: u32,
    /// Bytes of each result
    #[arg(long, value_name = "BYTES", default_value_t = 300, value_parser = whole(0..=u32::MAX))]
    pub(super) result: u32,
    /// Duration of the work
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration)]
    pub(super) work: Duration,
    /// How clients learn that their operation is done
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    pub(super) watch: Watch,
    /// Submissions per second of all clients together [default: unlimited]
    #[arg(long, value_name = "N", value_parser = whole(1..=u32::MAX))]
    pub(super) rate: Option<u32>,
    /// How long the server keeps done operations
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_duration)]
    pub(super) retention: Duration,
}

/// How long to measure, and how often to report.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Length")]
pub(super) struct Span {
    /// How long to measure
    #[arg(long, short, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub(super) duration: Duration,
    /// Measure this number of operations instead
    #[arg(long, short = 'n', value_name = "N", conflicts_with = "duration", value_parser = whole(1..=u64::MAX))]
    pub(super) count: Option<u64>,
    /// How long to run before the measurement begins [default: 1s, with --count 0s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(super) warmup: Option<Duration>,
    /// Interval between reports
    #[arg(long, short, value_name = "DURATION", value_parser = interval)]
    pub(super) interval: Option<Duration>,
}

/// How clients learn that their operation is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Watch {
    /// One WatchOperations stream per kind for all clients; the cheapest
    #[default]
    Feed,
    /// A WatchOperation stream for each operation
    Operation,
    /// SubmitAndWatch: the submission is the watch
    Submit,
    /// A WaitOperation call for each operation
    Wait,
    /// Not at all: submissions alone
    None,
}

impl Load {
    pub(super) fn concurrency(&self) -> u32 {
        self.concurrency.unwrap_or_else(|| self.clients.min(10_000))
    }
}

impl Span {
    pub(super) fn warmup(&self) -> Duration {
        let usual = if self.count.is_some() { Duration::ZERO } else { Duration::from_secs(1) };
        self.warmup.unwrap_or(usual)
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let interval = parse_duration(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(100) {
        return Err("must be at least 100ms".to_owned());
    }
    Ok(interval)
}
