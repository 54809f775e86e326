//! Everybody who uses the service during the test, and when they stop.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use longrun::client::Client;
use longrun::proto::v1::operations_client::OperationsClient;
use longrun::proto::v1::payload::Content;
use longrun::proto::v1::workers_client::WorkersClient;
use longrun::proto::v1::{ListOperationsRequest, Payload};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};

use crate::forger::Forger;
use crate::history::Name;
use crate::meddler::Meddler;
use crate::recorder::Recorder;
use crate::submitter::Submitter;
use crate::watcher;
use crate::worker::Worker;

/// About how long everybody pauses between two calls, and before trying again.
pub const PAUSE: Duration = Duration::from_millis(10);

/// How many take part.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    pub submitters: usize,
    pub workers: usize,
    pub meddlers: usize,
    pub forgers: usize,
}

impl Crowd {
    /// A crowd so many times as large.
    pub fn times(self, factor: usize) -> Self {
        let Self { submitters, workers, meddlers, forgers } = self;
        let [submitters, workers, meddlers, forgers] =
            [submitters, workers, meddlers, forgers].map(|number| number * factor);
        Self { submitters, workers, meddlers, forgers }
    }
}

/// What everybody needs. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    pub recorder: Arc<Recorder>,
    pub client: Client,
    /// No more submissions.
    pub enough: CancellationToken,
    /// Everything ends.
    pub over: CancellationToken,
    channel: Channel,
    watchers: Arc<Mutex<JoinSet<()>>>,
}

impl Context {
    /// For the service at `url`.
    pub fn new(url: &str) -> Self {
        Self {
            recorder: Arc::default(),
            // Trying again is left to those who call, who write it down.
            client: Client::from_channel(channel(url)).with_retries(0),
            enough: CancellationToken::new(),
            over: CancellationToken::new(),
            channel: channel(url),
            watchers: Arc::default(),
        }
    }

    /// The generated client: what it answers is what was on the wire, and it never tries again.
    pub fn operations(&self) -> OperationsClient<Channel> {
        OperationsClient::new(self.channel.clone())
    }

    /// The generated client for workers.
    pub fn work(&self) -> WorkersClient<Channel> {
        WorkersClient::new(self.channel.clone())
    }

    /// Begins to watch an operation.
    pub fn watch(&self, name: Name, rng: fastrand::Rng) {
        let watch = watcher::watch(self.clone(), name, rng);
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner).spawn(watch);
    }
}

/// A crowd at work.
pub struct Load {
    context: Context,
    /// They come to their end by themselves once it is enough.
    clients: JoinSet<()>,
    /// They go on until all is over.
    workers: JoinSet<()>,
}

impl Load {
    /// Sends the crowd to the service at `url`.
    pub fn start(url: &str, crowd: Crowd, rng: &mut fastrand::Rng) -> Self {
        let context = Context::new(url);
        let mut load = Self { context, clients: JoinSet::new(), workers: JoinSet::new() };
        // Each has a connection of its own, as programs have; watchers share one.
        let own = |context: &Context| Context { channel: channel(url), ..context.clone() };
        for number in 0..crowd.submitters {
            let submitter = Submitter::new(own(&load.context), number, rng.fork());
            load.clients.spawn(submitter.run());
        }
        for _ in 0..crowd.meddlers {
            load.clients.spawn(Meddler::new(load.context.clone(), rng.fork()).run());
        }
        for number in 0..crowd.workers {
            let worker = Worker::new(own(&load.context), number, rng.fork());
            load.workers.spawn(worker.run());
        }
        for number in 0..crowd.forgers {
            let forger = Forger::new(own(&load.context), number, rng.fork());
            load.workers.spawn(forger.run());
        }
        load
    }

    /// The record that they write.
    pub fn recorder(&self) -> Arc<Recorder> {
        Arc::clone(&self.context.recorder)
    }

    /// No more submissions; waits, at most until `deadline`, for everything that was submitted to
    /// be done and for everybody to have seen it. Then all go home.
    pub async fn drain(mut self, deadline: Instant) {
        self.context.enough.cancel();
        let _ = timeout_at(deadline, join(&mut self.clients)).await;
        let _ = timeout_at(deadline, all_done(&self.context.client)).await;
        let watchers = Arc::clone(&self.context.watchers);
        let mut watchers =
            std::mem::take(&mut *watchers.lock().unwrap_or_else(PoisonError::into_inner));
        let _ = timeout_at(deadline, join(&mut watchers)).await;
        self.context.over.cancel();
        for tasks in [&mut self.clients, &mut watchers, &mut self.workers] {
            join(tasks).await;
        }
    }
}

/// Waits for all, and passes panics on.
async fn join(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

/// Returns once every operation is done.
async fn all_done(client: &Client) {
    let request = ListOperationsRequest { filter: "done=false".to_owned(), ..Default::default() };
    loop {
        let Ok(page) = client.list(request.clone()).await else { continue };
        let Some(first) = page.operations.first() else { return };
        // Whatever it answers, the list tells whether there is more to wait for.
        let _ = client.wait(&first.name, Some(Duration::from_secs(5))).await;
    }
}

/// A connection that is made when it is needed, again and again.
fn channel(url: &str) -> Channel {
    let endpoint = Endpoint::from_shared(url.to_owned()).expect("the test's own URL is one");
    endpoint.tcp_nodelay(true).connect_lazy()
}

/// A duration on the wire.
pub fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(duration).expect("the test's durations are short")
}

/// A payload of text.
pub fn payload(text: String) -> Payload {
    Payload { content: Some(Content::Text(text)), ..Payload::default() }
}

/// The text of a payload; empty if there is none.
pub fn text(payload: &Option<Payload>) -> String {
    match payload.as_ref().and_then(|payload| payload.content.as_ref()) {
        Some(Content::Text(text)) => text.clone(),
        Some(Content::Data(data)) => String::from_utf8_lossy(data).into_owned(),
        _ => String::new(),
    }
}
