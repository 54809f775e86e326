//! How clients learn that their operations are done: one stream for all of them, or a call each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use prost_types::Timestamp;
use tokio::sync::oneshot;

use super::args::Watch;
use crate::client::{self, Client, ClientError, WatchAll};
use crate::proto::v1::watch_operations_response::Type;
use crate::proto::v1::{Operation, OperationView, WatchOperationRequest, WatchOperationsRequest};

/// The waiters for ends of operations, by idempotency key, because an end may arrive
/// before the response to the submission.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<HashMap<String, oneshot::Sender<Operation>>>);

impl Waiting {
    pub(super) fn register(&self, key: String) -> oneshot::Receiver<Operation> {
        let (told, end) = oneshot::channel();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, told);
        end
    }

    pub(super) fn forget(&self, key: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    fn tell(&self, operation: Operation) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = waiting.remove(&operation.idempotency_key) {
            // The client has stopped waiting.
            let _ = told.send(operation);
        }
    }
}

/// An open stream of the operations of one kind that are done.
pub(super) async fn open_feed(client: &Client, kind: &str) -> Result<WatchAll, ClientError> {
    let mut feed = client.watch_operations(WatchOperationsRequest {
        filter: done(kind),
        include_progress: false,
        skip_current: true,
        ..Default::default()
    });
    while let Some(message) = feed.next().await {
        if message?.r#type() == Type::Synced {
            break;
        }
    }
    Ok(feed)
}

fn done(kind: &str) -> String {
    format!("kind = \"{kind}\" AND done = true")
}

/// Notifies waiting clients of ends, until the stream fails. No client waits for an operation that is older by `longest`
/// than one whose end was delivered.
pub(super) async fn follow(
    client: Client,
    kind: String,
    mut feed: WatchAll,
    waiting: Arc<Waiting>,
    longest: Duration,
) -> ClientError {
    let mut latest = Timestamp::default();
    loop {
        match feed.next().await {
            // A new stream begins with all matches: in a long run far more than clients wait for.
            Some(Ok(message)) if message.r#type() == Type::Reset => {
                let seconds = latest.seconds.saturating_sub_unsigned(longest.as_secs());
                let since = Timestamp { seconds, nanos: 0 };
                feed = client.watch_operations(WatchOperationsRequest {
                    filter: format!("{} AND create_time >= \"{since}\"", done(&kind)),
                    include_progress: false,
                    ..Default::default()
                });
            }
            Some(Ok(message)) => {
                let created = message.operation.as_ref().and_then(|it| it.create_time);
                if created.is_some_and(|it| it.seconds > latest.seconds) {
                    latest = created.unwrap_or_default();
                }
                // CURRENT: an end while no stream was open.
                if let Some(operation) = message.operation.filter(|operation| operation.done) {
                    waiting.tell(operation);
                }
            }
            Some(Err(error)) => return error,
            None => std::future::pending().await,
        }
    }
}

/// Waits by a call for this operation; `None` if clients do not wait.
pub(super) async fn wait(
    client: &Client,
    submitted: &Operation,
    watch: Watch,
) -> anyhow::Result<Option<Operation>> {
    match watch {
        Watch::Feed | Watch::Submit | Watch::None => Ok(None),
        Watch::Wait => match client.wait_on(submitted, None).await {
            Ok(operation) => Ok(Some(operation)),
            Err(error) => bail!("{}", error.message()),
        },
        Watch::Operation => {
            let watch = client.watch(WatchOperationRequest {
                name: submitted.name.clone(),
                after_revision: Some(submitted.revision),
                include_progress: false,
                view: OperationView::Basic.into(),
            });
            last_word(watch).await.map(Some)
        }
    }
}

/// The operation of a watch once it is done.
pub(super) async fn last_word(mut watch: client::Watch) -> anyhow::Result<Operation> {
    while let Some(message) = watch.next().await {
        match message {
            Ok(message) => match message.operation {
                Some(operation) if operation.done => return Ok(operation),
                _ => {}
            },
            Err(error) => bail!("{}", error.message()),
        }
    }
    bail!("the watch of {} ended before its end", watch.name())
}
