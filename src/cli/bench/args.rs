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
workers are in this process as well, and answer at once unless --work says otherwise. The kinds have
names of their own, so that nobody else's work is touched; what was done is deleted when --retention
is up. With --rate a submission that is late for want of a free client counts from when it was due.

submit  from the call to the answer, durable by then
push    from the call of submit to the handler at the worker
end     from the call of submit to the news, at the watcher, that it is done

With --embedded the server shares the processors with the load and keeps its store in a
temporary directory: figures mean nothing where that is in memory (TMPDIR names another).";

/// Arguments of `bench`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// Start a server for this, on a free port with a temporary store
    #[arg(long)]
    pub(super) embedded: bool,
    /// Another replica of the same service, may be repeated: connections, workers and watches are
    /// spread over all of them
    #[arg(long = "replica", value_name = "URL", conflicts_with = "embedded")]
    pub(super) replicas: Vec<String>,
    #[command(flatten)]
    pub(super) load: Load,
    #[command(flatten)]
    pub(super) span: Span,
}

/// What is asked of the server.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Load")]
pub(super) struct Load {
    /// How many clients submit, each with one operation in flight
    #[arg(long, short, value_name = "N", default_value_t = 64, value_parser = whole(1_u32..=100_000))]
    pub(super) clients: u32,
    /// How many connections they share
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = whole(1_u32..=1_000))]
    pub(super) connections: u32,
    /// How many workers execute, each over a connection of its own; 0 for none
    #[arg(long, short, value_name = "N", default_value_t = 1, value_parser = whole(0_u32..=1_000))]
    pub(super) workers: u32,
    /// How many attempts a worker runs at once [default: as many as there are clients]
    #[arg(long, value_name = "N", value_parser = whole(1_u32..=10_000))]
    pub(super) concurrency: Option<u32>,
    /// How many kinds the work is spread over
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole(1_u32..=100))]
    pub(super) kinds: u32,
    /// Bytes of each input, at least the 8 that carry the time
    #[arg(long, value_name = "BYTES", default_value_t = 300, value_parser = whole(8_u32..))]
    pub(super) payload: u32,
    /// Bytes of each result
    #[arg(long, value_name = "BYTES", default_value_t = 300, value_parser = whole(0_u32..))]
    pub(super) result: u32,
    /// How long the work takes
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration)]
    pub(super) work: Duration,
    /// How clients learn that their operation is done
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    pub(super) watch: Watch,
    /// Submissions per second, all clients together [default: as many as can be]
    #[arg(long, value_name = "N", value_parser = whole(1_u32..))]
    pub(super) rate: Option<u32>,
    /// How long the server keeps what is done
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
    #[arg(long, short = 'n', value_name = "N", conflicts_with = "duration", value_parser = whole(1_u64..))]
    pub(super) count: Option<u64>,
    /// How long to run before the measuring begins [default: 1s, with --count 0s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(super) warmup: Option<Duration>,
    /// Say how it goes this often
    #[arg(long, short, value_name = "DURATION", value_parser = interval)]
    pub(super) interval: Option<Duration>,
}

/// How clients learn that their operation is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Watch {
    /// One WatchOperations stream per kind for all clients: the cheapest
    #[default]
    Feed,
    /// A WatchOperation stream for each operation
    Operation,
    /// SubmitAndWatch: the submission is the watch
    Submit,
    /// A WaitOperation call for each operation
    Wait,
    /// They do not: submissions alone
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
