//! Waits for the end of an operation, over as many calls as necessary.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use tonic::Code;

use super::{Client, ClientError, Patience};
use crate::proto::v1::{Operation, OperationView, WaitOperationRequest};

/// The duration of one request of a wait: below 30 s, the shortest idle limit of common proxies.
const WAIT_SLICE: Duration = Duration::from_secs(25);
/// Extra time for a wait's request before it counts as lost.
const WAIT_MARGIN: Duration = Duration::from_secs(20);

impl Client {
    /// Waits until the operation is done, or until `limit` ends: then it returns the operation with `done` false.
    /// `None` waits without a limit. Outlives proxies, broken connections and restarts of the service, see
    /// [`Self::with_patience`].
    pub async fn wait(
        &self,
        name: &str,
        limit: Option<Duration>,
    ) -> Result<Operation, ClientError> {
        self.wait_with(Patience::new(self.patience, self.retries), name, limit).await
    }

    /// Like [`Self::wait`], for an operation that the service has just returned.
    pub async fn wait_on(
        &self,
        operation: &Operation,
        limit: Option<Duration>,
    ) -> Result<Operation, ClientError> {
        let mut patience = Patience::new(self.patience, self.retries);
        patience.is_there();
        self.wait_with(patience, &operation.name, limit).await
    }

    async fn wait_with(
        &self,
        mut patience: Patience,
        name: &str,
        limit: Option<Duration>,
    ) -> Result<Operation, ClientError> {
        let end = limit.and_then(|limit| Instant::now().checked_add(limit));
        let left = || end.map(|end| end.saturating_duration_since(Instant::now()));
        let pause = |wait: Duration| sleep(left().map_or(wait, |left| left.min(wait)));
        loop {
            let asked = Instant::now();
            // The first call returns at once, so that an unreachable service is noticed before a long wait.
            let most = if patience.has_begun() { WAIT_SLICE } else { Duration::ZERO };
            let left = left();
            let slice = left.map_or(most, |left| left.min(most));
            match self.wait_once(name, slice).await {
                Ok(operation) if operation.done || left == Some(slice) => return Ok(operation),
                // An early response means that the server is stopping: do not call it in a tight loop.
                Ok(_) if asked.elapsed() + Duration::from_secs(1) > slice => patience.works(),
                Ok(_) => {
                    patience.is_there();
                    pause(patience.pause()).await;
                }
                Err(error) if left.is_some_and(|left| left.is_zero()) => return Err(error),
                Err(error) => pause(patience.failed(error)?).await,
            }
        }
    }

    async fn wait_once(&self, name: &str, slice: Duration) -> Result<Operation, ClientError> {
        let request = WaitOperationRequest {
            name: name.to_owned(),
            timeout: prost_types::Duration::try_from(slice).ok(),
            view: OperationView::Unspecified.into(),
        };
        let call = async { Ok(self.operations().wait_operation(request).await?.into_inner()) };
        let late = |_elapsed| ClientError::local(Code::Unavailable, "the server did not respond");
        timeout_at(Instant::now() + slice + WAIT_MARGIN, call).await.map_err(late)?
    }
}
