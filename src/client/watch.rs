//! One operation's transitions, over as many streams as necessary.
//!
//! The server ends streams so that they outlive proxies, proxies cut them, servers restart. A watch continues from the
//! last revision that it delivered, so that each transition is delivered exactly once and in order.

use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::time::{sleep, timeout};
use tonic::{Code, Streaming};

use super::{Client, ClientError, Patience};
use crate::proto::v1::watch_operation_response::Type;
use crate::proto::v1::{
    OperationView, SubmitRequest, WatchOperationRequest, WatchOperationResponse,
};

/// Several of the server's heartbeat intervals: a stream that is silent for longer is dead, whatever TCP reports.
pub(super) const SILENCE: Duration = Duration::from_secs(75);

/// If a stream does not begin within this time, the client calls again, because the request may be lost.
const OPENING: Duration = Duration::from_secs(20);

/// A watch of one operation: each transition exactly once and in order, to the terminal one.
///
/// It fails, and then ends, when the server reports that there is nothing to watch, or when the service has been
/// unavailable for longer than the client tolerates.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    /// The submission with which the watch begins, until a message with its operation arrives.
    submission: Option<SubmitRequest>,
    /// `after_revision` advances with each delivered transition.
    request: WatchOperationRequest,
    link: Link<WatchOperationResponse>,
    ended: bool,
}

impl Watch {
    pub(super) fn new(client: Client, request: WatchOperationRequest) -> Self {
        let link = Link::new(Patience::new(client.patience, client.retries));
        Self { client, submission: None, request, link, ended: false }
    }

    /// A watch that begins with a submission, which must have an idempotency key.
    pub(super) fn of_submission(client: Client, submission: SubmitRequest) -> Self {
        let request = WatchOperationRequest { include_progress: true, ..Default::default() };
        let mut watch = Self::new(client, request);
        watch.submission = Some(submission);
        watch
    }

    /// The next message, never a heartbeat; `None` after the terminal transition or an error. May be dropped and called
    /// again without loss.
    pub async fn next(&mut self) -> Option<Result<WatchOperationResponse, ClientError>> {
        if self.ended {
            return None;
        }
        let next = self.advance().await;
        self.ended = match &next {
            Ok(Some(message)) => ends(message),
            Ok(None) | Err(_) => true,
        };
        next.transpose()
    }

    /// The operation's name; empty if the watch begins with a submission and no message has arrived yet.
    pub fn name(&self) -> &str {
        &self.request.name
    }

    /// The revision to resume from: that of the last delivered message, or the requested one.
    pub fn revision(&self) -> Option<i64> {
        self.request.after_revision
    }

    /// The messages as a stream.
    pub fn into_stream(
        self,
    ) -> impl Stream<Item = Result<WatchOperationResponse, ClientError>> + Send {
        stream::unfold(self, |mut watch| async move { Some((watch.next().await?, watch)) })
    }

    async fn advance(&mut self) -> Result<Option<WatchOperationResponse>, ClientError> {
        loop {
            if self.link.stream.is_none() {
                self.link.pause().await;
                let mut rpc = self.client.operations();
                let opened = async {
                    match &self.submission {
                        Some(submission) => rpc.submit_and_watch(submission.clone()).await,
                        None => rpc.watch_operation(self.request.clone()).await,
                    }
                };
                if !self.link.open(opened).await? {
                    continue;
                }
            }
            match self.link.receive().await? {
                Received::Message(message) if self.is_news(&message) => {
                    return Ok(Some(message));
                }
                // The terminal transition was delivered before; this is the server's response to resuming after it.
                Received::Message(message) if ends(&message) => return Ok(None),
                Received::Message(_) | Received::Broken => {}
                Received::End { heard } => {
                    let is_known = self.submission.is_none();
                    if is_known && !heard {
                        match self.nothing_left().await {
                            Ok(true) => return Ok(None),
                            Ok(false) => {}
                            Err(error) => self.link.failed(error)?,
                        }
                    }
                }
            }
        }
    }

    /// Records the message's revision; false for heartbeats and repetitions.
    fn is_news(&mut self, message: &WatchOperationResponse) -> bool {
        let seen = self.request.after_revision;
        match message.r#type() {
            Type::Snapshot | Type::Transition => {
                if let Some(operation) = &message.operation
                    && self.submission.take().is_some()
                {
                    self.request.name.clone_from(&operation.name);
                }
                let news = seen.is_none_or(|seen| message.revision > seen);
                self.request.after_revision = seen.max(Some(message.revision));
                news
            }
            Type::Progress => true,
            Type::Heartbeat | Type::Unspecified => false,
        }
    }

    /// A stream that ends with OK without a message was either rotated, or has nothing to send because the caller has
    /// seen the terminal transition: the operation's state decides.
    async fn nothing_left(&self) -> Result<bool, ClientError> {
        let operation = self.client.get(&self.request.name, OperationView::Basic).await?;
        let seen = self.request.after_revision;
        Ok(operation.done && seen.is_some_and(|seen| seen >= operation.revision))
    }
}

/// Whether nothing can follow this message.
fn ends(message: &WatchOperationResponse) -> bool {
    message.r#type() != Type::Progress
        && message.operation.as_ref().is_some_and(|operation| operation.done)
}

/// The result of reading a link.
#[derive(Debug)]
pub(super) enum Received<T> {
    /// A message.
    Message(T),
    /// The stream ended with OK.
    End {
        /// Whether the stream carried any message.
        heard: bool,
    },
    /// The stream broke; another may be opened.
    Broken,
}

/// The current stream of a watch, and the state of its retries.
#[derive(Debug)]
pub(super) struct Link<T> {
    pub(super) stream: Option<Streaming<T>>,
    patience: Patience,
    pause: Option<Duration>,
    heard: bool,
}

impl<T> Link<T> {
    /// A link without a stream.
    pub(super) fn new(patience: Patience) -> Self {
        Self { stream: None, patience, pause: None, heard: false }
    }

    /// Waits for the pause after the last failure.
    pub(super) async fn pause(&mut self) {
        if let Some(pause) = self.pause {
            sleep(pause).await;
            self.pause = None;
        }
    }

    /// Opens a stream by `call`. Returns whether it is open; an error if a retry would not help.
    pub(super) async fn open(
        &mut self,
        call: impl Future<Output = Result<tonic::Response<Streaming<T>>, tonic::Status>>,
    ) -> Result<bool, ClientError> {
        let opened = match timeout(OPENING, call).await {
            Ok(opened) => opened.map_err(ClientError::from),
            Err(_elapsed) => {
                Err(ClientError::local(Code::Unavailable, "the server did not respond"))
            }
        };
        match opened {
            Ok(response) => {
                self.patience.is_there();
                self.heard = false;
                self.stream = Some(response.into_inner());
                Ok(true)
            }
            Err(error) => self.failed(error).map(|()| false),
        }
    }

    /// The next message of the stream, or how it ended.
    pub(super) async fn receive(&mut self) -> Result<Received<T>, ClientError> {
        let Some(stream) = &mut self.stream else { return Ok(Received::Broken) };
        let error = match timeout(SILENCE, stream.message()).await {
            Ok(Ok(Some(message))) => {
                self.patience.works();
                self.heard = true;
                return Ok(Received::Message(message));
            }
            Ok(Ok(None)) => {
                self.stream = None;
                self.pause = Some(self.patience.pause());
                return Ok(Received::End { heard: self.heard });
            }
            Ok(Err(status)) => status.into(),
            Err(_elapsed) => ClientError::local(Code::Unavailable, "the stream fell silent"),
        };
        self.failed(error)?;
        Ok(Received::Broken)
    }

    fn failed(&mut self, error: ClientError) -> Result<(), ClientError> {
        self.stream = None;
        self.pause = Some(self.patience.failed(error)?);
        Ok(())
    }
}
