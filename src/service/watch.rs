//! Watches of one operation.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::lifetime::{Lifetime, Pause};
use super::operations::{named, readable, visible};
use super::quotas::Watching;
use super::submissions::Road;
use super::{Action, Caller, Document, OperationName, Reason, Service, ServiceError, View};
use crate::engine::{WatchItem, Watcher};
use crate::operation::{EventType, NewOperation, Operation, Revision};

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

impl Service {
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
}
