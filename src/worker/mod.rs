//! The library for workers.
//!
//! ```no_run
//! use longrun::client::Client;
//! use longrun::worker::{Context, Failure, Outcome, Progress, Worker};
//! use tokio_util::sync::CancellationToken;
//!
//! async fn shout(context: Context) -> Result<Outcome, Failure> {
//!     context.progress(Progress::message("shouting"));
//!     Ok(Outcome::text(context.input().text()?.to_uppercase()))
//! }
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect_lazy("http://127.0.0.1:7420")?;
//! Worker::new(client)
//!     .handler("shout", shout)
//!     // JSON both ways, by serde.
//!     .json_handler("sum", |_context, numbers: Vec<i64>| async move { Ok(numbers.iter().sum::<i64>()) })
//!     .run(CancellationToken::new())
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! Owns the conversation with the service: sessions that outlive streams, heartbeats on the same stream as the work,
//! reports that are sent until they are acknowledged, a stop that loses nothing. It must never use the server's own
//! types, and never run more attempts than it has announced.
//!
//! Execution is at least once: a handler may run again for an operation whose worker was lost.
//! [`Context::attempt`] rises with every attempt and serves as a fencing token.
//!
//! Read next: `work` for the decisions, `session` for one stream's life, `command` for handlers that are programs.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::attempt::{Attempts, Handler, Run};
use self::drain::Drain;
use self::input::Inputs;
use self::progress::ProgressBoard;
use self::reports::Reports;
use self::run::Runner;
use self::work::Work;
use crate::client::{Client, ClientError};

mod attempt;
mod attempt_key;
pub mod command;
mod context;
mod drain;
mod input;
mod note;
mod outcome;
mod progress;
mod report;
mod reports;
mod run;
mod session;
mod spool;
mod work;

pub use self::context::{CancelCause, Cancellation, Context};
pub use self::input::{Input, InputReader};
pub use self::outcome::{Failure, Outcome, Problem};
pub use self::progress::Progress;
pub use self::spool::{Spool, Spooled};

/// With the following steps, this is within the 10 s that service managers give a process to stop.
const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(8);
/// Below the 4 MiB that gRPC servers accept by default.
const DEFAULT_MAX_REPORT_BYTES: usize = (4 << 20) - (64 << 10);
/// The largest input that handlers get in memory.
const DEFAULT_MAX_INPUT_BYTES: u64 = 64 << 20;
/// The maximum number of concurrent attempts that the service accepts.
const MAX_CONCURRENCY: usize = 10_000;
/// The number of log lines and endings between handlers and the stream. Small, because a line may have 8 KiB.
const EVENTS: usize = 64;

/// A worker: handlers by kind, and how to run them.
#[must_use = "a worker does nothing before `run`"]
pub struct Worker {
    client: Client,
    worker_id: String,
    handlers: HashMap<String, Handler>,
    concurrency: usize,
    drain_timeout: Duration,
    max_report_bytes: usize,
    max_input_bytes: u64,
}

/// Why a worker ended without a clean stop.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The worker has no handlers.
    #[error("the worker has no handlers")]
    NoHandlers,
    /// The service refuses this worker; a retry would not help.
    #[error("the service refused the worker: {0}")]
    Refused(ClientError),
    /// The worker stopped in time, but the service has not acknowledged everything: these attempts will run again when
    /// their leases expire.
    #[error("stopped with {0} reports unacknowledged")]
    Unacknowledged(usize),
}

impl Worker {
    /// A worker of the service behind `client`, without handlers yet.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            worker_id: default_worker_id(),
            handlers: HashMap::new(),
            concurrency: 1,
            drain_timeout: DEFAULT_DRAIN_TIMEOUT,
            max_report_bytes: DEFAULT_MAX_REPORT_BYTES,
            max_input_bytes: DEFAULT_MAX_INPUT_BYTES,
        }
    }

    /// Sets the worker's name, for people; host and process id by default.
    pub fn worker_id(mut self, worker_id: impl Into<String>) -> Self {
        self.worker_id = worker_id.into();
        self
    }

    /// Serves a kind. A panic of the handler is a retryable failure; the worker continues.
    pub fn handler<F, Fut>(mut self, kind: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Outcome, Failure>> + Send + 'static,
    {
        let run: Run = Arc::new(move |context| handler(context).boxed());
        self.handlers.insert(kind.into(), Handler { run, streams_input: false });
        self
    }

    /// Serves a kind whose input and result are JSON. An input that the handler cannot take is a final failure,
    /// INVALID_INPUT, whose message names the place.
    pub fn json_handler<I, O, F, Fut>(self, kind: impl Into<String>, handler: F) -> Self
    where
        I: DeserializeOwned,
        O: Serialize,
        F: Fn(Context, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, Failure>> + Send + 'static,
    {
        self.handler(kind, move |context| {
            let handled = match context.input().json() {
                Ok(input) => Ok(handler(context, input)),
                Err(error) => {
                    Err(Failure::permanent("INVALID_INPUT", format!("the input: {error}"))
                        .with_status_code(tonic::Code::InvalidArgument))
                }
            };
            async move { Ok(Outcome::json(&handled?.await?)?) }
        })
    }

    /// Like [`Worker::handler`], for a handler that reads its input by [`Input::open`], whatever its size. For other
    /// handlers, large inputs are read before the call; see [`Worker::max_input_bytes`].
    pub fn streaming_handler<F, Fut>(mut self, kind: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Outcome, Failure>> + Send + 'static,
    {
        let run: Run = Arc::new(move |context| handler(context).boxed());
        self.handlers.insert(kind.into(), Handler { run, streams_input: true });
        self
    }

    /// Sets how many attempts run at once, all kinds together; 1 by default, at most 10,000.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.clamp(1, MAX_CONCURRENCY);
        self
    }

    /// Sets how long handlers may go on after `stop`; 8 s by default. Then the remaining ones are cancelled, a second
    /// later released, and another second later the worker ends.
    pub fn drain_timeout(mut self, drain_timeout: Duration) -> Self {
        self.drain_timeout = drain_timeout;
        self
    }

    /// Sets the largest input that is read into memory for a handler, in bytes; 64 MiB by default. A larger one is a
    /// final failure, INPUT_TOO_LARGE.
    pub fn max_input_bytes(mut self, max_input_bytes: u64) -> Self {
        self.max_input_bytes = max_input_bytes;
        self
    }

    /// Sets the largest report, in bytes; by default a little below the 4 MiB of servers' default. Results that do not
    /// fit are sent in chunks first; any other report that is too large becomes a final failure, RESULT_TOO_LARGE.
    pub fn max_report_bytes(mut self, max_report_bytes: usize) -> Self {
        self.max_report_bytes = max_report_bytes;
        self
    }

    /// Serves until `stop` is cancelled and the work is drained. Reconnects with its session whenever the connection is
    /// lost. Dropping this future drops every handler.
    pub async fn run(self, stop: CancellationToken) -> Result<(), WorkerError> {
        if self.handlers.is_empty() {
            return Err(WorkerError::NoHandlers);
        }
        let mut kinds: Vec<String> = self.handlers.keys().cloned().collect();
        kinds.sort_unstable();
        let (events, happened) = mpsc::channel(EVENTS);
        let board = Arc::new(ProgressBoard::default());
        let inputs = Inputs {
            client: self.client.clone(),
            max_bytes: self.max_input_bytes,
            session_id: String::new(),
        };
        let attempts =
            Attempts::new(self.handlers, inputs, self.concurrency, Arc::clone(&board), events);
        let reports = Reports::new(self.max_report_bytes);
        let drain = Drain::new(stop, self.drain_timeout);
        let runner = Runner {
            client: self.client,
            worker_id: self.worker_id,
            kinds,
            max_in_flight: i32::try_from(self.concurrency).unwrap_or(i32::MAX),
            work: Work::new(attempts, reports, board, happened, drain),
        };
        runner.run().await
    }
}

fn default_worker_id() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let host: String = host.chars().filter(|c| matches!(c, '!'..='~')).take(200).collect();
    format!("{host}-{}", std::process::id())
}
