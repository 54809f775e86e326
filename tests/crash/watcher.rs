//! Watches one operation to its end, over as many streams as it takes.
//!
//! Writes down everything that comes, as it comes: nothing is sorted out, so that the checker sees
//! what a client without any care of its own would see.

use longrun::proto::v1::watch_operation_response::Type;
use longrun::proto::v1::{WatchOperationRequest, WatchOperationResponse};
use tonic::{Code, Status};

use crate::history::{WatchEnd, is_final};
use crate::load::{Context, PAUSE};
use crate::recorder::WatchIndex;

/// Watches until the service ends the watch for good, or all is over.
pub async fn watch(context: Context, name: String, mut rng: fastrand::Rng) {
    // Half begin with the operation as it is, the others with its first transition.
    let from_snapshot = rng.bool();
    let mut watcher = Watcher {
        index: context.recorder.watch(&name, from_snapshot),
        request: WatchOperationRequest {
            name,
            after_revision: (!from_snapshot).then_some(0),
            include_progress: rng.bool(),
            ..WatchOperationRequest::default()
        },
        done: false,
        context,
    };
    let over = watcher.context.over.clone();
    over.run_until_cancelled(watcher.run()).await;
}

struct Watcher {
    context: Context,
    index: WatchIndex,
    /// `after_revision` moves on with what was received.
    request: WatchOperationRequest,
    done: bool,
}

impl Watcher {
    async fn run(&mut self) {
        loop {
            let end = match self.one_stream().await {
                // The last transition was there and the stream ended by itself.
                Ok(()) if self.done => WatchEnd::Finished,
                Ok(()) => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(status) => match refusal(&status) {
                    Some(reason) => WatchEnd::Refused(reason),
                    None => {
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                },
            };
            self.context.recorder.watch_ended(self.index, end);
            return;
        }
    }

    async fn one_stream(&mut self) -> Result<(), Status> {
        let answer = self.context.operations().watch_operation(self.request.clone()).await?;
        let mut stream = answer.into_inner();
        while let Some(message) = stream.message().await? {
            self.take(message);
        }
        Ok(())
    }

    fn take(&mut self, message: WatchOperationResponse) {
        let kind = message.r#type();
        let (recorder, name) = (&self.context.recorder, &self.request.name);
        match (kind, &message.operation, &message.event) {
            // Says again that it is done to a watch that resumes behind the end.
            (Type::Snapshot, Some(operation), None)
                if self.done && Some(operation.revision) == self.request.after_revision =>
            {
                return;
            }
            (Type::Snapshot, Some(operation), None) => {
                recorder.watched(self.index, operation, None);
            }
            (Type::Transition, Some(operation), Some(event)) => {
                if event.revision != operation.revision || event.state() != operation.state() {
                    recorder.odd(name, format!("an event beside another's operation: {message:?}"));
                }
                recorder.watched(self.index, operation, Some(event));
            }
            (Type::Progress, Some(operation), None)
                if Some(operation.revision) == self.request.after_revision =>
            {
                return;
            }
            (Type::Heartbeat, None, None) => return,
            _ => return recorder.odd(name, format!("no such message belongs here: {message:?}")),
        }
        self.request.after_revision = Some(message.revision);
        self.done |= message.operation.as_ref().is_some_and(|now| is_final(now.state()));
    }
}

/// Why the service does not go on with the watch; `None` if it is only not there.
fn refusal(status: &Status) -> Option<String> {
    match status.code() {
        // Transports name a broken connection in many ways, none of which have details.
        Code::Unavailable => None,
        _ if status.details().is_empty() => None,
        _ => {
            let error = longrun::client::ClientError::from(status.clone());
            Some(error.reason().to_owned())
        }
    }
}
