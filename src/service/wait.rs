//! Waits for an operation within one call: until it is done, or until it has changed.
//!
//! A wait is a watch whose last message alone counts, so it wakes by the same path as every watch.

use std::sync::Arc;
use std::time::Duration;

use super::operations::{named, readable, visible};
use super::{Action, Caller, Document, MAX_WAIT, OperationName, Service, ServiceError, View};
use crate::engine::WatchItem;
use crate::operation::Operation;

impl Service {
    /// The operation once it is done, or after `timeout` (at most 300 s).
    pub async fn wait(
        &self,
        caller: &Caller,
        name: &OperationName,
        timeout: Duration,
        view: View,
    ) -> Result<Document, ServiceError> {
        self.hold(caller, name, timeout, view, None::<fn(&Operation) -> bool>).await
    }

    /// The operation as soon as it has changed, progress included, or after `timeout` (at most 300 s), or once it is
    /// done, because nothing can change then.
    pub async fn wait_for_change(
        &self,
        caller: &Caller,
        name: &OperationName,
        seen: impl Fn(&Operation) -> bool + Send,
        timeout: Duration,
        view: View,
    ) -> Result<Document, ServiceError> {
        let is_news = move |operation: &Operation| !seen(operation);
        self.hold(caller, name, timeout, view, Some(is_news)).await
    }

    /// The operation once it is `enough` or done, the time is up, or the server stops. Progress is watched only if
    /// `enough` is given.
    async fn hold(
        &self,
        caller: &Caller,
        name: &OperationName,
        timeout: Duration,
        view: View,
        enough: Option<impl Fn(&Operation) -> bool + Send>,
    ) -> Result<Document, ServiceError> {
        caller.may(Action::Inspect)?;
        let _counted = self.begin_watch(caller, &self.meters().watchers)?;
        let view = caller.sees(view);
        let clock = Arc::clone(self.engine.clock());
        let until = clock.moment().after(timeout.min(MAX_WAIT));
        let (scope, id) = visible(caller, name)?;
        let watch = self.engine.watch(&scope, id, None, enough.is_some()).await;
        let (mut watcher, found) = watch.map_err(|error| named(error, id))?;
        readable(caller, &found)?;
        let mut latest = None;
        loop {
            let operation = tokio::select! {
                biased;
                item = watcher.next() => match item? {
                    Some(WatchItem::Snapshot(now) | WatchItem::Progress(now)) => now,
                    Some(WatchItem::Transition(committed, _)) => committed.operation,
                    None => break,
                },
                () = clock.sleep_until_moment(until) => break,
                () = self.closing.cancelled() => break,
            };
            let is_enough = enough.as_ref().is_some_and(|enough| enough(&operation));
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
