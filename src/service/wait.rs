//! Waiting for an operation within one call: until it is done, or until it has changed.
//!
//! A wait is a watch of which only the last word counts, so it wakes by the same path as every watch.

use std::sync::Arc;
use std::time::Duration;

use super::operations::{named, readable, visible};
use super::{Caller, Document, MAX_WAIT, OperationName, Service, ServiceError, View};
use crate::engine::WatchItem;
use crate::operation::{Operation, Revision};

impl Service {
    /// The operation once it is done, or as it is after `timeout` (at most 300 s).
    pub async fn wait(
        &self,
        caller: &Caller,
        name: &OperationName,
        timeout: Duration,
        view: View,
    ) -> Result<Document, ServiceError> {
        self.hold(caller, name, timeout, view, |_| false).await
    }

    /// The operation as soon as its revision is none that was seen, or as it is after `timeout` (at most 300 s),
    /// or once it is done: then nothing new can come.
    pub async fn wait_for_change(
        &self,
        caller: &Caller,
        name: &OperationName,
        seen: impl Fn(Revision) -> bool + Send,
        timeout: Duration,
        view: View,
    ) -> Result<Document, ServiceError> {
        let is_news = move |operation: &Operation| !seen(operation.life.revision);
        self.hold(caller, name, timeout, view, is_news).await
    }

    /// The operation once it is `enough` or done, or the time is up, or the server stops.
    async fn hold(
        &self,
        caller: &Caller,
        name: &OperationName,
        timeout: Duration,
        view: View,
        enough: impl Fn(&Operation) -> bool + Send,
    ) -> Result<Document, ServiceError> {
        let clock = Arc::clone(self.engine.clock());
        let until = clock.moment().after(timeout.min(MAX_WAIT));
        let id = visible(caller, name)?;
        let watch = self.engine.watch(&caller.tenant, id, None, false).await;
        let (mut watcher, found) = watch.map_err(|error| named(error, id))?;
        readable(caller, &found)?;
        let mut latest = None;
        loop {
            let operation = tokio::select! {
                biased;
                item = watcher.next() => match item? {
                    Some(WatchItem::Snapshot(now) | WatchItem::Progress(now)) => now,
                    Some(WatchItem::Transition(committed)) => committed.operation,
                    None => break,
                },
                () = clock.sleep_until_moment(until) => break,
                () = self.closing.cancelled() => break,
            };
            let is_enough = enough(&operation);
            latest = Some(operation);
            if is_enough {
                break;
            }
        }
        match latest {
            Some(operation) => self.document(operation, view).await,
            None => self.get(caller, name, view).await,
        }
    }
}
