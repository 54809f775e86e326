//! The batches that this replica has, and when each is looked at.
//!
//! A batch is looked at when one of its children has ended, but at most four times a second, and at most a twentieth of
//! the time is spent on it; and every few seconds without news.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Batches;
use super::step::{Next, Task};
use crate::engine::{Feed, FeedItem, FeedStart, Moment, ToWorker};
use crate::operation::filter::Filter;
use crate::operation::{Attempt, BatchRule, Operation, OperationId, Payload, Scope, SessionId};
use crate::service::{Report, WorkerSession};

/// The least time between two looks at a batch.
const LEAST: Duration = Duration::from_millis(250);
/// A batch is looked at for at most one part in this many of the time.
const SHARE: u32 = 20;
/// How often a batch is looked at without news: in a store that only this replica uses, and in a shared one.
const POLL_ALONE: Duration = Duration::from_secs(10);
const POLL_SHARED: Duration = Duration::from_secs(3);
/// The pause after an error.
const AGAIN: Duration = Duration::from_secs(1);
/// The maximum number of concurrent looks.
const AT_ONCE: usize = 4;
/// The time limit for releasing the batches.
const GIVING_BACK: Duration = Duration::from_secs(2);

/// Why the work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// The server stops.
    Stopped,
    /// The engine has ended the stream.
    Cut,
}

/// A batch of this replica.
struct Held {
    task: Task,
    /// When it is looked at next; `None` during a look.
    due: Option<Moment>,
    /// The earliest next look, even with news.
    earliest: Moment,
    /// Whether there was news during a look.
    is_news: bool,
}

/// The outcome of a look.
type Looked = (OperationId, Attempt, Duration, Result<(Task, Next), crate::service::ServiceError>);

pub(super) struct Desk {
    batches: Batches,
    session: WorkerSession,
    messages: mpsc::Receiver<ToWorker>,
    held: BTreeMap<OperationId, Held>,
    /// The batches that wait for a look, by its time.
    due: BTreeSet<(Moment, OperationId)>,
    looks: FuturesUnordered<BoxFuture<'static, Looked>>,
    /// The feed of children that end; open while there are batches.
    feed: Option<Feed>,
    poll: Duration,
}

/// An event at the desk.
enum Happened {
    Message(Option<ToWorker>),
    Looked(Box<Looked>),
    Feed(Option<FeedItem>),
    Due,
}

impl Desk {
    /// A desk with the batches of the former one, which had the same session.
    pub(super) fn new(
        batches: &Batches,
        session: WorkerSession,
        messages: mpsc::Receiver<ToWorker>,
        former: Option<Self>,
    ) -> Self {
        let poll = if batches.engine.is_shared() { POLL_SHARED } else { POLL_ALONE };
        let mut desk = Self {
            batches: batches.clone(),
            session,
            messages,
            held: BTreeMap::new(),
            due: BTreeSet::new(),
            looks: FuturesUnordered::new(),
            feed: None,
            poll,
        };
        for (_, held) in former.into_iter().flat_map(|former| former.held) {
            desk.hold(held.task);
        }
        desk
    }

    pub(super) fn session(&self) -> SessionId {
        self.session.id()
    }

    pub(super) fn running(&self) -> Vec<(OperationId, Attempt)> {
        self.held.values().map(|held| (held.task.id(), held.task.attempt())).collect()
    }

    /// Works until the server stops, or the stream ends.
    pub(super) async fn work(&mut self, stop: &CancellationToken) -> Left {
        loop {
            if self.held.is_empty() {
                self.feed = None;
            } else if self.feed.is_none() {
                let filter = Filter::ended_children();
                let feed = self.batches.engine.feed(Scope::All, filter, false, FeedStart::Now);
                self.feed = Some(feed);
            }
            let happened = tokio::select! {
                biased;
                () = stop.cancelled() => return Left::Stopped,
                happened = self.next() => happened,
            };
            match happened {
                Happened::Message(None | Some(ToWorker::Superseded)) => return Left::Cut,
                Happened::Message(Some(message)) => self.take(message),
                Happened::Looked(looked) => self.looked(*looked),
                Happened::Feed(item) => self.hear(item),
                Happened::Due => self.look(),
            }
        }
    }

    async fn next(&mut self) -> Happened {
        let clock = Arc::clone(self.batches.engine.clock());
        let may_look = self.looks.len() < AT_ONCE;
        let next = self.due.first().map(|(at, _)| *at).filter(|_| may_look);
        let timer = async {
            match next {
                Some(at) => clock.sleep_until_moment(at).await,
                None => std::future::pending().await,
            }
        };
        let feed = async {
            match &mut self.feed {
                Some(feed) => match feed.next().await {
                    Ok(item) => Some(item),
                    Err(error) => {
                        tracing::debug!(%error, "children cannot be watched");
                        clock.sleep_until_moment(clock.moment().after(AGAIN)).await;
                        None
                    }
                },
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            message = self.messages.recv() => Happened::Message(message),
            Some(looked) = self.looks.next() => Happened::Looked(Box::new(looked)),
            item = feed => Happened::Feed(item),
            () = timer => Happened::Due,
        }
    }

    fn take(&mut self, message: ToWorker) {
        match message {
            ToWorker::Assignment { operation, input } => self.hold(task(operation, input)),
            ToWorker::CancelRequested { operation } => {
                if let Some(held) = self.held.get_mut(&operation.id()) {
                    held.task.cancel(operation);
                    let id = held.task.id();
                    self.hear_of(id);
                }
            }
            ToWorker::NotCurrent { id, attempt } => {
                if self.held.get(&id).is_some_and(|held| held.task.attempt() == attempt) {
                    self.drop_batch(id);
                }
            }
            ToWorker::Superseded => {}
        }
    }

    fn hold(&mut self, task: Task) {
        let (id, now) = (task.id(), self.batches.now());
        self.drop_batch(id);
        self.held.insert(id, Held { task, due: Some(now), earliest: now, is_news: false });
        self.due.insert((now, id));
    }

    fn drop_batch(&mut self, id: OperationId) {
        if let Some(Held { due: Some(at), .. }) = self.held.remove(&id) {
            self.due.remove(&(at, id));
        }
    }

    /// Handles an item of the feed of children that end.
    fn hear(&mut self, item: Option<FeedItem>) {
        match item {
            Some(FeedItem::Transition(committed)) => {
                if let Some(parent) = committed.operation.submission.parent {
                    self.hear_of(parent);
                }
            }
            // The feed reports everything from here on; a look finds what was before.
            Some(FeedItem::Synced) => self.hear_of_all(),
            // The feed fell behind or broke. A new one begins with the present state.
            Some(FeedItem::Reset) | None => self.feed = None,
            Some(_) => {}
        }
    }

    fn hear_of_all(&mut self) {
        let ids: Vec<OperationId> = self.held.keys().copied().collect();
        ids.into_iter().for_each(|id| self.hear_of(id));
    }

    /// Schedules the next look at a batch as early as possible.
    fn hear_of(&mut self, id: OperationId) {
        let now = self.batches.now();
        let Some(held) = self.held.get_mut(&id) else { return };
        match held.due {
            None => held.is_news = true,
            Some(at) => {
                let soon = held.earliest.max(now).min(at);
                self.due.remove(&(at, id));
                self.due.insert((soon, id));
                held.due = Some(soon);
            }
        }
    }

    /// Begins the due looks.
    fn look(&mut self) {
        let now = self.batches.now();
        while self.looks.len() < AT_ONCE
            && let Some((_, id)) = self.due.first().copied().filter(|(at, _)| *at <= now)
        {
            self.due.pop_first();
            let Some(held) = self.held.get_mut(&id) else { continue };
            (held.due, held.is_news) = (None, false);
            let (task, attempt) = (held.task.clone(), held.task.attempt());
            let (batches, session) = (self.batches.clone(), self.session.clone());
            let look = async move {
                let began = batches.now();
                let looked = task.step(&batches, &session).await;
                (id, attempt, batches.now().since(began), looked)
            };
            self.looks.push(look.boxed());
        }
    }

    fn looked(&mut self, (id, attempt, took, looked): Looked) {
        let now = self.batches.now();
        let Some(held) = self.held.get_mut(&id) else { return };
        if held.task.attempt() != attempt || held.due.is_some() {
            return;
        }
        let pause = match looked {
            Ok((_, Next::Over)) => return self.drop_batch(id),
            Ok((task, next)) => {
                held.task.proceed(task);
                match next {
                    Next::AtOnce => Duration::ZERO,
                    _ => self.poll,
                }
            }
            Err(error) => {
                tracing::debug!(%error, operation.id = %id, "a batch cannot be looked at");
                AGAIN
            }
        };
        held.earliest = now.after(LEAST.max(took * SHARE).min(self.poll)).min(now.after(pause));
        let at = if held.is_news { held.earliest } else { now.after(pause) };
        held.due = Some(at);
        self.due.insert((at, id));
    }

    /// Releases the batches, so that other replicas continue them.
    pub(super) async fn leave(mut self) {
        self.looks.clear();
        let session = &self.session;
        let _ = session.drain().await;
        let releases = self.held.values().map(|held| {
            // A batch that has ended meanwhile cannot be released; that is fine.
            session.report(held.task.id(), held.task.attempt(), Report::Release)
        });
        tokio::select! {
            biased;
            _ = join_all(releases) => {}
            () = self.batches.pause(GIVING_BACK) => {}
        }
        session.disconnect();
    }
}

/// The task of an assignment.
fn task(operation: Arc<Operation>, input: Option<Payload>) -> Task {
    let rule = input.and_then(|input| BatchRule::read(&input.data));
    Task::new(operation, rule)
}
