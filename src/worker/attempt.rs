//! The running attempts of this worker: started, cancelled, ended. Each has one task; the table owns them and drops
//! them with itself.

use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::Instrument as _;

use super::attempt_key::{AttemptEvent, AttemptKey, Ending, Happened};
use super::context::{CancelCause, Cancellation, Context};
use super::input::Inputs;
use super::note::note;
use super::outcome::{Failure, Outcome};
use super::progress::ProgressBoard;
use crate::proto::v1;

/// How long a handler has to return once its attempt is no longer current; then it is dropped.
const ABANDON_GRACE: Duration = Duration::from_secs(10);

/// Runs one attempt.
pub(super) type Run =
    Arc<dyn Fn(Context) -> BoxFuture<'static, Result<Outcome, Failure>> + Send + Sync>;

/// A kind's handler.
#[derive(Clone)]
pub(super) struct Handler {
    pub(super) run: Run,
    /// Whether it reads its input itself; for other handlers the input is read first.
    pub(super) streams_input: bool,
}

/// An attempt that is current, as far as this worker knows.
#[derive(Debug)]
pub(super) struct Current {
    cancel: watch::Sender<Option<Cancellation>>,
    /// The last progress handed to a stream, which may have broken before it was sent.
    pub(super) sent_progress: Option<v1::Progress>,
}

impl Current {
    /// Why it was cancelled, if it was.
    pub(super) fn cancel_cause(&self) -> Option<CancelCause> {
        self.cancel.borrow().as_ref().map(|why| why.cause)
    }
}

/// The attempts that this worker runs.
pub(super) struct Attempts {
    handlers: HashMap<String, Handler>,
    inputs: Inputs,
    current: HashMap<AttemptKey, Current>,
    tasks: JoinSet<()>,
    slots: Arc<Semaphore>,
    concurrency: usize,
    board: Arc<ProgressBoard>,
    events: mpsc::Sender<AttemptEvent>,
}

impl Attempts {
    pub(super) fn new(
        handlers: HashMap<String, Handler>,
        inputs: Inputs,
        concurrency: usize,
        board: Arc<ProgressBoard>,
        events: mpsc::Sender<AttemptEvent>,
    ) -> Self {
        Self {
            handlers,
            inputs,
            current: HashMap::new(),
            tasks: JoinSet::new(),
            slots: Arc::new(Semaphore::new(concurrency)),
            concurrency,
            board,
            events,
        }
    }

    /// Assigns attempts that start from now on to this session.
    pub(super) fn belong_to(&mut self, session_id: &str) {
        session_id.clone_into(&mut self.inputs.session_id);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.current.is_empty()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &AttemptKey> {
        self.current.keys()
    }

    pub(super) fn get_mut(&mut self, key: &AttemptKey) -> Option<&mut Current> {
        self.current.get_mut(key)
    }

    pub(super) fn contains(&self, key: &AttemptKey) -> bool {
        self.current.contains_key(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&AttemptKey, &Current)> {
        self.current.iter()
    }

    /// Starts an attempt, or lets it wait for a slot, because attempts that are no longer current may still hold
    /// theirs. False if it cannot run here.
    pub(super) fn start(&mut self, key: AttemptKey, assignment: v1::Assignment) -> bool {
        self.reap();
        let kind = assignment.operation.as_ref().map_or("", |operation| &operation.kind);
        let handler = self.handlers.get(kind).cloned();
        let crowded = self.slots.is_closed() || self.tasks.len() >= 2 * self.concurrency;
        let Some(handler) = handler.filter(|_| !crowded) else { return false };
        let span = tracing::info_span!(
            "attempt",
            operation.name = &*key.operation,
            operation.kind = kind,
            attempt = key.attempt
        );
        let (cancel, cancelled) = watch::channel(None);
        let (board, events) = (Arc::clone(&self.board), self.events.clone());
        let mut assignment = assignment;
        let input = self.inputs.of(&mut assignment);
        let context =
            Context::new(key.clone(), assignment, input, cancelled.clone(), board, events.clone());
        self.current.insert(key.clone(), Current { cancel, sent_progress: None });
        let slots = Arc::clone(&self.slots);
        let is_within_server = self.inputs.client.is_within_server();
        let task = async move {
            note!(is_within_server, "began");
            let ending = execute(handler, context, &slots, cancelled).await;
            ending.log(is_within_server);
            // If the receiver is gone, nothing needs the message.
            let _ = events.send(AttemptEvent { key, happened: Happened::Ended(ending) }).await;
        };
        self.tasks.spawn(task.instrument(span));
        true
    }

    /// Cancels an attempt.
    pub(super) fn cancel(&mut self, key: &AttemptKey, why: Cancellation) {
        if let Some(current) = self.current.get(key) {
            current.cancel.send_replace(Some(why));
        }
    }

    /// Cancels all attempts because the worker stops.
    pub(super) fn cancel_all(&mut self) {
        for current in self.current.values() {
            let why = Cancellation::new(CancelCause::WorkerStopping);
            current.cancel.send_replace(Some(why));
        }
    }

    /// Removes an attempt from the table; its task ends by itself.
    pub(super) fn remove(&mut self, key: &AttemptKey) -> Option<Current> {
        self.reap();
        self.current.remove(key)
    }

    /// Removes an attempt that is no longer current from the table and notifies it.
    pub(super) fn abandon(&mut self, key: &AttemptKey) {
        self.cancel(key, Cancellation::new(CancelCause::NotCurrent));
        self.current.remove(key);
    }

    /// Removes every attempt from the table and notifies them that they are no longer current.
    pub(super) fn abandon_all(&mut self) {
        for (_, current) in self.current.drain() {
            let why = Cancellation::new(CancelCause::NotCurrent);
            current.cancel.send_replace(Some(why));
        }
    }

    /// Lets no further attempt start; those that wait for a slot end at once.
    pub(super) fn close(&self) {
        self.slots.close();
    }

    /// Drops every handler at once and returns the attempts that were current.
    pub(super) fn abort_all(&mut self) -> Vec<AttemptKey> {
        self.tasks.abort_all();
        self.current.drain().map(|(key, _)| key).collect()
    }

    /// Drops every handler and waits until all are gone.
    pub(super) async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
    }

    fn reap(&mut self) {
        while self.tasks.try_join_next().is_some() {}
    }
}

async fn execute(
    handler: Handler,
    context: Context,
    slots: &Semaphore,
    mut cancelled: watch::Receiver<Option<Cancellation>>,
) -> Ending {
    let _slot = tokio::select! {
        biased;
        _why = cancelled.wait_for(Option::is_some) => return Ending::NotStarted,
        slot = slots.acquire() => match slot {
            Ok(slot) => slot,
            Err(_closed) => return Ending::NotStarted,
        },
    };
    // The handler's call is within the future, so that its panic is caught too.
    let run = async move {
        if !handler.streams_input {
            context.input().load().await?;
        }
        (handler.run)(context).await
    };
    let run = AssertUnwindSafe(run).catch_unwind();
    tokio::select! {
        result = run => {
            let result = result.unwrap_or_else(|panic| Err(panicked(&*panic)));
            Ending::Returned(result.map(Box::new))
        }
        () = overstayed(cancelled) => Ending::Dropped,
    }
}

/// Waits until the attempt has not been current for longer than the grace.
async fn overstayed(mut cancelled: watch::Receiver<Option<Cancellation>>) {
    let over = |why: &Option<Cancellation>| {
        why.as_ref().is_some_and(|why| why.cause == CancelCause::NotCurrent)
    };
    // If the sender is gone, the attempt has ended in another way, which the table handles.
    if cancelled.wait_for(over).await.is_err() {
        std::future::pending::<()>().await;
    }
    sleep(ABANDON_GRACE).await;
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Failure::retryable("PANIC", format!("the handler panicked: {}", text.unwrap_or("no message")))
}
