//! Connects, resumes the session, and backs off, stream after stream, until the work is finished. Without a stream,
//! handlers continue and their reports wait.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::Code;

use super::WorkerError;
use super::note::note;
use super::session::{Ended, Link};
use super::work::Work;
use crate::client::{Backoff, Client, ClientError};
use crate::proto::v1;

const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// Well below any sensible lease, because the session must be resumed within it.
const MAX_BACKOFF: Duration = Duration::from_secs(3);
/// A stream that lasted this long resets the backoff.
const WELL_AFTER: Duration = Duration::from_secs(5);

/// A running worker.
pub(super) struct Runner {
    pub(super) client: Client,
    pub(super) worker_id: String,
    pub(super) kinds: Vec<String>,
    pub(super) max_in_flight: i32,
    pub(super) work: Work,
}

impl Runner {
    /// Runs until the work is finished or the service refuses the worker.
    pub(super) async fn run(mut self) -> Result<(), WorkerError> {
        let refused = self.serve().await;
        let left = self.work.finish().await;
        match refused {
            Some(error) => Err(WorkerError::Refused(error)),
            None if left > 0 => Err(WorkerError::Unacknowledged(left)),
            None => Ok(()),
        }
    }

    async fn serve(&mut self) -> Option<ClientError> {
        let mut session_id = String::new();
        let mut backoff = Backoff::new(FIRST_BACKOFF, MAX_BACKOFF);
        while !self.work.is_finished() {
            let hello = self.hello(&session_id);
            let hint = match work_on(&mut self.work, Link::open(&self.client, hello)).await? {
                Ok(link) => {
                    link.session().session_id.clone_into(&mut session_id);
                    self.serve_link(link, &mut session_id, &mut backoff).await
                }
                Err(error) if session_id.is_empty() && is_refusal(&error) => return Some(error),
                Err(error) => {
                    tracing::warn!(server = self.client.url(), %error, "no connection to the service");
                    error.retry_after()
                }
            };
            let pause = sleep(backoff.wait(hint));
            work_on(&mut self.work, pause).await?;
        }
        None
    }

    async fn serve_link(
        &mut self,
        link: Link,
        session_id: &mut String,
        backoff: &mut Backoff,
    ) -> Option<Duration> {
        let resumed = link.session().resumed;
        let server = self.client.url().map(ToOwned::to_owned);
        let is_within_server = self.client.is_within_server();
        note!(is_within_server, worker.id = self.worker_id, server, resumed, "connected");
        self.work.stream_began(link.session());
        let began = Instant::now();
        let ended = link.serve(&mut self.work).await;
        if began.elapsed() >= WELL_AFTER {
            backoff.reset();
        }
        match ended {
            Ended::Finished => None,
            Ended::ByServer => {
                tracing::info!(server, "the server closed the stream");
                None
            }
            Ended::Broken(error) => {
                tracing::warn!(server, %error, "the stream broke");
                if error.reason() == "SESSION_SUPERSEDED" {
                    // The other worker continues its attempts.
                    session_id.clear();
                }
                error.retry_after()
            }
        }
    }

    fn hello(&self, session_id: &str) -> v1::Hello {
        v1::Hello {
            worker_id: self.worker_id.clone(),
            kinds: self.kinds.clone(),
            max_in_flight: self.max_in_flight,
            session_id: session_id.to_owned(),
            running: self.work.held(),
        }
    }
}

/// Works while waiting for `other`; `None` if the work finished first.
async fn work_on<T>(work: &mut Work, other: impl Future<Output = T>) -> Option<T> {
    tokio::pin!(other);
    while !work.is_finished() {
        tokio::select! {
            result = &mut other => return Some(result),
            () = work.step() => {}
        }
    }
    None
}

/// Whether the service will never accept this worker. Only before the first session, because a worker that was accepted
/// once will be accepted again.
fn is_refusal(error: &ClientError) -> bool {
    matches!(
        error.code(),
        Code::InvalidArgument
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::Unimplemented
    )
}
