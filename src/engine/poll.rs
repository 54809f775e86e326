//! Attempts for workers without a stream: polls, and leases of single attempts.
//!
//! A poll has a slot for each attempt that it may take. A slot is an ordinary session, so polling workers and
//! workers with streams are served from the same queues, in the same turns. It has room for one attempt, and only
//! while the poll waits. After the poll, it is the session that holds the attempt's lease.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{mpsc, oneshot};

use super::calls::closed;
use super::request::{AttemptLease, Request};
use super::{Connected, Engine, EngineError, ToWorker, WorkerHello};
use crate::operation::{Operation, Payload, Progress, Scope, SessionId};

/// A waiting poll. Attempts that were handed to a poll which is dropped before [`Poll::end`] return to the queue at
/// once and do not count as attempts, because its client has not read them.
#[derive(Debug)]
pub struct Poll {
    engine: Engine,
    places: Vec<Connected>,
    messages: mpsc::Receiver<ToWorker>,
    handed: Vec<(Arc<Operation>, Option<Payload>)>,
}

impl Engine {
    /// Waits for attempts, at most as many as the worker runs at once. Each has a lease of its own that lasts `lease`
    /// without a sign of life. `session` names the session of each place: what is leased to that session is handed to
    /// this poll, and an earlier poll that waits with the same names ends.
    pub async fn poll(
        &self,
        hello: WorkerHello,
        lease: Duration,
        session: impl Fn(usize) -> Option<SessionId>,
    ) -> Result<Poll, EngineError> {
        let most = hello.max_in_flight;
        // Room for an assignment, a cancel and an end for each place.
        let (sender, messages) = mpsc::channel(3 * most.max(1));
        let (places, handed) = (Vec::with_capacity(most), Vec::new());
        let mut poll = Poll { engine: self.clone(), places, messages, handed };
        let hello = WorkerHello { max_in_flight: 1, running: Vec::new(), ..hello };
        // All at once, so that one commit can start as many attempts.
        let places = (0..most).map(|number| {
            let hello = WorkerHello { resume: session(number), ..hello.clone() };
            self.connect_to(hello, Some(lease), sender.clone())
        });
        let mut refused = None;
        for place in join_all(places).await {
            match place {
                Ok(place) => poll.places.push(place),
                Err(error) => refused = Some(error),
            }
        }
        refused.map_or(Ok(poll), Err)
    }

    /// Renews the lease of an attempt without a stream, and records its progress, if any, which later reads see.
    /// Returns whether the lease is known.
    pub async fn renew_attempt(
        &self,
        lease: AttemptLease,
        progress: Option<Progress>,
    ) -> Result<bool, EngineError> {
        let mut taken = None;
        loop {
            let (reply, answer) = oneshot::channel();
            let session = lease.session;
            let (lease, progress) = (lease.clone(), progress.clone());
            self.send(Request::RenewAttempt { lease, progress, taken, reply }).await?;
            if let Some(is_known) = answer.await.map_err(|_| closed())?? {
                return Ok(is_known);
            }
            // Any program that has the attempt's token may renew it.
            taken = Some(self.take_over(session, Scope::All).await);
        }
    }
}

impl Poll {
    /// Returns when an attempt has arrived, or none can arrive any more. Can be called again.
    pub async fn wait(&mut self) {
        while self.handed.is_empty() {
            match self.messages.recv().await {
                Some(message) => self.take(message),
                None => return,
            }
        }
    }

    /// Ends the poll and returns the attempts that were handed to it, with their inputs; their leases begin now.
    /// Returns Unavailable if a place holds an attempt that could not be handed over again.
    pub async fn end(mut self) -> Result<Vec<(Arc<Operation>, Option<Payload>)>, EngineError> {
        let (reply, answer) = oneshot::channel();
        let places = self.places.clone();
        self.engine.send(Request::EndPoll { places, reply }).await?;
        let is_whole = answer.await.map_err(|_| closed())?;
        // All senders are gone.
        while let Ok(message) = self.messages.try_recv() {
            self.take(message);
        }
        self.places.clear();
        if !is_whole {
            let message = "the attempts of this request cannot be read now";
            return Err(EngineError::Unavailable(message.to_owned()));
        }
        Ok(std::mem::take(&mut self.handed))
    }

    /// Keeps assignments only: the worker learns of a cancel or an end in the response to its first renewal.
    fn take(&mut self, message: ToWorker) {
        if let ToWorker::Assignment { operation, input } = message {
            self.handed.push((operation, input));
        }
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        for place in self.places.drain(..) {
            self.engine.disconnect(place);
        }
    }
}
