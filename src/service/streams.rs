//! Watches as long calls: with heartbeats during silence, and a resumable end at a certain age, at the call's deadline,
//! and when the server stops.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::OptionFuture;
use tokio_util::sync::{CancellationToken, ReusableBoxFuture};

use super::operations::{named, readable, visible};
use super::quotas::Watching;
use super::submissions::Road;
use super::turns::Turns;
use super::{Action, Caller, Document, OperationName, Reason, Service, ServiceError, View};
pub use crate::engine::FeedItem;
use crate::engine::{self, Clock, Feed, Moment, WatchItem, Watcher};
use crate::operation::filter::Filter;
use crate::operation::{EventType, NewOperation, Operation, Revision, TenantId};
use crate::store::log::{Position, SigningKey};

/// The options of a watch.
#[derive(Clone, Copy, Debug)]
pub struct WatchOptions {
    /// Begin after this revision; `None`: with the operation's present state.
    pub after: Option<Revision>,
    /// Whether to include progress.
    pub include_progress: bool,
    /// The contents to include.
    pub view: View,
    /// The call's own deadline, from now.
    pub timeout: Option<Duration>,
}

/// A message of a watch.
#[derive(Clone, Debug)]
pub enum WatchMessage {
    /// The operation as it is.
    Snapshot(Document),
    /// A transition.
    Transition(Document, EventType),
    /// Progress since the latest transition.
    Progress(Document),
    /// A heartbeat, after some silence.
    Heartbeat,
}

/// A message of a watch over a filter.
#[derive(Clone, Debug)]
pub enum FeedMessage {
    /// News.
    Item(FeedItem),
    /// A heartbeat, after some silence.
    Heartbeat,
}

/// When a long call must send a heartbeat, and when it must end although more is to come.
#[derive(Debug)]
pub struct Lifetime {
    clock: Arc<dyn Clock>,
    heartbeat_interval: Duration,
    silent_since: Moment,
    ends_at: Moment,
    closing: CancellationToken,
    /// Fires when the call may have to send a heartbeat or end. It is set when the call first waits and left alone
    /// while the call sends, because a timer for each message would cost more than the message.
    alarm: Option<ReusableBoxFuture<'static, ()>>,
}

/// What to do after a pause in a long call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Send a heartbeat.
    Heartbeat,
    /// End the call, to be resumed.
    End,
}

impl Lifetime {
    /// The lifetime of a call that begins now. `timeout` is the call's own deadline.
    fn new(service: &Service, timeout: Option<Duration>) -> Self {
        let clock = Arc::clone(service.engine.clock());
        let now = clock.moment();
        // Spread by a fifth either way, so that watches that began together do not resume together.
        let age = service.limits.max_stream_age.mul_f64(0.8 + 0.4 * fastrand::f64());
        Self {
            heartbeat_interval: service.limits.heartbeat_interval,
            silent_since: now,
            ends_at: now.after(timeout.map_or(age, |timeout| timeout.min(age))),
            closing: service.closing.clone(),
            clock,
            alarm: None,
        }
    }

    /// Whether the call has lasted long enough. A call that always has something to send must ask, because it never
    /// waits in [`Lifetime::pause`].
    pub fn is_over(&self) -> bool {
        self.closing.is_cancelled() || self.ends_at <= self.clock.moment()
    }

    /// Returns when a heartbeat is due, or the call must end. Dropping the future loses nothing.
    pub async fn pause(&mut self) -> Pause {
        loop {
            let heartbeat_at = self.silent_since.after(self.heartbeat_interval);
            if self.is_over() {
                return Pause::End;
            }
            if heartbeat_at <= self.clock.moment() {
                return Pause::Heartbeat;
            }
            // The silence can only end later than expected when the alarm was set.
            let alarm = self.alarm.get_or_insert_with(|| {
                let (clock, closing) = (Arc::clone(&self.clock), self.closing.clone());
                let at = heartbeat_at.min(self.ends_at);
                ReusableBoxFuture::new(async move {
                    tokio::select! {
                        () = closing.cancelled() => {}
                        () = clock.sleep_until_moment(at) => {}
                    }
                })
            });
            alarm.await;
            self.alarm = None;
        }
    }

    /// Notes that a message was sent.
    pub fn spoke(&mut self) {
        self.silent_since = self.clock.moment();
    }
}

/// A watch of one operation.
#[derive(Debug)]
pub struct WatchStream {
    service: Service,
    watcher: Watcher,
    /// The operation, if the watch began after the terminal transition: it is sent once, so that the client learns that
    /// nothing will follow.
    last_word: Option<Arc<Operation>>,
    view: View,
    lifetime: Lifetime,
    ended: bool,
    _counted: Watching,
}

impl WatchStream {
    /// The next message; `None` at the end, either because the operation is done or because the client should resume.
    pub async fn next(&mut self) -> Option<Result<WatchMessage, ServiceError>> {
        let message = match self.news().await? {
            Ok(Some(item)) => self.message(item).await,
            Ok(None) => Ok(WatchMessage::Heartbeat),
            Err(error) => Err(error),
        };
        self.ended |= message.is_err();
        Some(message)
    }

    /// The next message as encoded by `write`. Watches share the encoded form of a transition, so a program must use
    /// only one `write`.
    pub async fn next_written(
        &mut self,
        write: fn(WatchMessage, Revision) -> Bytes,
    ) -> Option<Result<Bytes, ServiceError>> {
        let news = self.news().await?;
        let cursor = self.cursor();
        let written = match news {
            Ok(Some(WatchItem::Transition(committed, written))) => {
                let slot = if self.view == View::Basic { &written.basic } else { &written.result };
                let news = WatchItem::Transition(committed, Arc::clone(&written));
                let encoded = async || Ok(write(self.message(news).await?, cursor));
                slot.get_or_try_init(encoded).await.cloned()
            }
            Ok(Some(item)) => self.message(item).await.map(|message| write(message, cursor)),
            Ok(None) => Ok(write(WatchMessage::Heartbeat, cursor)),
            Err(error) => Err(error),
        };
        self.ended |= written.is_err();
        Some(written)
    }

    /// The next item; `Some(Ok(None))` is a heartbeat, `None` the end.
    async fn news(&mut self) -> Option<Result<Option<WatchItem>, ServiceError>> {
        if self.ended {
            return None;
        }
        if let Some(operation) = self.last_word.take() {
            self.ended = true;
            return Some(Ok(Some(WatchItem::Snapshot(operation))));
        }
        let news = tokio::select! {
            biased;
            item = self.watcher.next() => match item {
                Ok(item) => item.map(|item| Ok(Some(item))),
                Err(error) => Some(Err(error.into())),
            },
            pause = self.lifetime.pause() => match pause {
                Pause::Heartbeat => Some(Ok(None)),
                Pause::End => None,
            },
        };
        self.lifetime.spoke();
        self.ended = !matches!(news, Some(Ok(_)));
        news
    }

    /// Whether the watch began after the terminal transition, so that nothing will follow.
    pub fn is_over(&self) -> bool {
        self.watcher.is_over()
    }

    /// The revision to resume from.
    pub fn cursor(&self) -> Revision {
        self.watcher.cursor()
    }

    async fn message(&mut self, item: WatchItem) -> Result<WatchMessage, ServiceError> {
        Ok(match item {
            WatchItem::Snapshot(operation) => {
                let document = self.service.document(operation, self.view).await?;
                if self.view == View::Full {
                    self.view = View::Result;
                }
                WatchMessage::Snapshot(document)
            }
            WatchItem::Transition(committed, _) => {
                let document = self.contents(committed.operation).await?;
                WatchMessage::Transition(document, committed.event_type)
            }
            WatchItem::Progress(operation) => WatchMessage::Progress(Document::basic(operation)),
        })
    }

    async fn contents(&self, operation: Arc<Operation>) -> Result<Document, ServiceError> {
        let view = if self.view == View::Full { View::Result } else { self.view };
        self.service.document(operation, view).await
    }
}

/// Where a watch over a filter begins.
#[derive(Clone, Copy, Debug)]
pub enum FeedStart<'a> {
    /// With current matches.
    Current,
    /// With changes from now on.
    Now,
    /// After the position in a message of an earlier watch over the same filter.
    After(&'a str),
}

/// A watch over a filter.
#[derive(Debug)]
pub struct FeedStream {
    feed: Feed,
    turns: Turns,
    tenant: TenantId,
    key: SigningKey,
    lifetime: Lifetime,
    ended: bool,
    _counted: Watching,
}

impl FeedStream {
    /// The next message; `None` when the client should resume.
    pub async fn next(&mut self) -> Option<Result<FeedMessage, ServiceError>> {
        if self.ended || self.lifetime.is_over() {
            return None;
        }
        let news = async {
            // Many watches that begin together would leave no processor to others.
            let tenant = self.feed.is_behind().then_some(&self.tenant);
            let _turn = OptionFuture::from(tenant.map(|tenant| self.turns.take(tenant))).await;
            self.feed.next().await
        };
        let message = tokio::select! {
            // News first: timers are set only if there are none.
            biased;
            item = news => Some(item.map(FeedMessage::Item).map_err(Into::into)),
            pause = self.lifetime.pause() => match pause {
                Pause::Heartbeat => Some(Ok(FeedMessage::Heartbeat)),
                Pause::End => None,
            },
        };
        self.lifetime.spoke();
        self.ended = !matches!(message, Some(Ok(_)));
        message
    }

    /// Skips what was committed before this call.
    pub async fn skip(&mut self) -> Result<(), ServiceError> {
        Ok(self.feed.skip().await?)
    }

    /// The position after the last message; `None`: start from the beginning.
    pub fn position(&self) -> Option<String> {
        self.feed.position().map(|position| position.encode(&self.key))
    }
}

impl Service {
    /// How long a client whose stream has ended should wait before it reconnects, unless it decides itself. Spread, so
    /// that clients that a restart has disconnected together do not return together.
    pub fn reconnect_delay(&self) -> Duration {
        Duration::from_millis(fastrand::u64(1_000..3_000))
    }

    /// The lifetime of a worker's stream: the server sends as many heartbeats as it expects.
    pub fn worker_lifetime(&self) -> Lifetime {
        let mut lifetime = Lifetime::new(self, None);
        lifetime.heartbeat_interval =
            lifetime.heartbeat_interval.min(self.limits.worker_heartbeat_interval());
        lifetime
    }

    /// Stores a submission durably, and watches its operation: first as stored, then each transition and its progress,
    /// to the end. A repeated submission watches the existing operation, from its present state.
    pub async fn submit_and_watch(
        &self,
        caller: &Caller,
        new: NewOperation,
        timeout: Option<Duration>,
    ) -> Result<WatchStream, ServiceError> {
        // The time for storing counts towards the call's deadline.
        let lifetime = Lifetime::new(self, timeout);
        let _counted = self.begin_watch(caller, &self.meters().watchers)?;
        let stored = self.submit_one(caller, new, Road::Watched).await?;
        readable(caller, &stored.operation)?;
        let id = stored.operation.id();
        let watcher = self.engine.follow(stored, true).await.map_err(|error| named(error, id))?;
        let (service, view) = (self.clone(), caller.sees(View::Result));
        let (last_word, ended) = (None, false);
        Ok(WatchStream { service, watcher, last_word, view, lifetime, ended, _counted })
    }

    /// Watches an operation.
    pub async fn watch(
        &self,
        caller: &Caller,
        name: &OperationName,
        options: WatchOptions,
    ) -> Result<WatchStream, ServiceError> {
        caller.may(Action::Inspect)?;
        let _counted = self.begin_watch(caller, &self.meters().watchers)?;
        let WatchOptions { after, include_progress, view, timeout } = options;
        let view = caller.sees(view);
        let (scope, id) = visible(caller, name)?;
        let watch = self.engine.watch(&scope, id, after, include_progress).await;
        let (watcher, found) = watch.map_err(|error| named(error, id))?;
        readable(caller, &found)?;
        let revision = found.life.revision;
        if after.is_some_and(|after| after > revision) {
            let message = format!("{} is only at revision {}", id.name(), revision.0);
            return Err(ServiceError::new(Reason::RevisionAhead, message)
                .with("operation", id.name())
                .with("revision", revision.0.to_string()));
        }
        let last_word = watcher.is_over().then(|| Arc::new(found));
        let (service, lifetime) = (self.clone(), Lifetime::new(self, timeout));
        Ok(WatchStream { service, watcher, last_word, view, lifetime, ended: false, _counted })
    }

    /// Watches all of the caller's operations that match the filter.
    pub fn watch_all(
        &self,
        caller: &Caller,
        filter: Filter,
        include_progress: bool,
        start: FeedStart<'_>,
        timeout: Option<Duration>,
    ) -> Result<FeedStream, ServiceError> {
        caller.may(Action::List)?;
        let _counted = self.begin_watch(caller, &self.meters().feeds)?;
        let filter = filter.of(caller.owner.as_ref());
        let key = self.engine.signing_key();
        let start = match start {
            FeedStart::Current => engine::FeedStart::Current,
            FeedStart::Now => engine::FeedStart::Now,
            // A position of another store is handled like one whose history is gone.
            FeedStart::After(token) => Position::decode(token, &key)
                .map_or(engine::FeedStart::Reset, engine::FeedStart::After),
        };
        let feed = self.engine.feed(caller.tenant.clone(), filter, include_progress, start);
        let lifetime = Lifetime::new(self, timeout);
        let (turns, tenant) = (self.stream_turns.clone(), caller.tenant.clone());
        Ok(FeedStream { feed, turns, tenant, key, lifetime, ended: false, _counted })
    }
}
