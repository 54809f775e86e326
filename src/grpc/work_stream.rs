//! One stream of one worker.
//!
//! The reader drives the stream: if a worker does not read, the server does not read from it, and its lease ends.
//! Reports are acknowledged as they become durable, in any order.

use std::pin::Pin;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesUnordered};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt};
use tonic::{Status, Streaming};

use super::status::status;
use super::work_messages;
use crate::engine::{ToWorker, WorkerHello};
use crate::operation::{Attempt, OperationId};
use crate::proto::v1::work_request::Message as Up;
use crate::proto::v1::work_response::Message as Down;
use crate::proto::v1::{self, cancel_attempt::Cause};
use crate::service::{
    Intake, Lifetime, Pause, Reason, Report, ResultUploads, Service, ServiceError, Violations,
    WorkerSession,
};
use crate::wire::{decode, encode, reports, time};

/// The time limit for a worker's hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// The maximum number of reports of one stream that are not durable yet; beyond it, the stream is not read.
const MAX_PENDING_REPORTS: usize = 256;

/// The messages to the worker.
pub(super) type Responses = Pin<Box<dyn Stream<Item = Result<v1::WorkResponse, Status>> + Send>>;

/// One stream of one worker.
pub(super) struct Conversation {
    service: Service,
    session: WorkerSession,
    requests: Streaming<v1::WorkRequest>,
    /// `None` once the engine, or age, has ended the stream.
    from_engine: Option<mpsc::Receiver<ToWorker>>,
    pending: FuturesUnordered<BoxFuture<'static, v1::Ack>>,
    uploads: ResultUploads,
    lifetime: Lifetime,
    /// The first message.
    greeting: Option<v1::SessionStarted>,
    half_closed: bool,
    ended: bool,
}

/// An event on the stream.
enum Step {
    Request(Option<Result<v1::WorkRequest, Status>>),
    FromEngine(Option<ToWorker>),
    Ack(v1::Ack),
    Pause(Pause),
}

impl Conversation {
    pub(super) async fn open(
        service: Service,
        caller: &crate::service::Caller,
        in_process: bool,
        mut requests: Streaming<v1::WorkRequest>,
    ) -> Result<Self, Status> {
        let first = tokio::select! {
            first = tokio::time::timeout(HELLO_TIMEOUT, requests.message()) => first,
            () = service.closing() => return Err(status(ServiceError::stopping())),
        };
        let late = |_| status(ServiceError::invalid_field("hello", "must be sent within 10 s"));
        let first = first.map_err(late)??;
        let Some(v1::WorkRequest { message: Some(Up::Hello(hello)) }) = first else {
            let rule = "must be the first message of the stream";
            return Err(status(ServiceError::invalid_field("hello", rule)));
        };
        let hello = work_messages::hello(&service, caller, hello).map_err(status)?;
        let hello = WorkerHello { in_process, ..hello };
        let (session, from_engine) = service.connect_worker(caller, hello).await.map_err(status)?;
        let limits = service.limits();
        let greeting = v1::SessionStarted {
            session_id: session.name(),
            resumed: session.resumed(),
            lease_duration: Some(time::encode_duration(limits.lease_duration)),
            heartbeat_interval: Some(time::encode_duration(limits.worker_heartbeat_interval())),
        };
        Ok(Self {
            lifetime: service.worker_lifetime(),
            uploads: ResultUploads::new(service.clone(), session.clone()),
            service,
            session,
            requests,
            from_engine: Some(from_engine),
            pending: FuturesUnordered::new(),
            greeting: Some(greeting),
            half_closed: false,
            ended: false,
        })
    }

    pub(super) fn into_stream(self) -> Responses {
        // Boxed, because the stream moves it for each message.
        Box::pin(stream::unfold(Box::new(self), |mut conversation| async move {
            let message = conversation.next().await?;
            conversation.lifetime.spoke();
            let message = message.map(|message| v1::WorkResponse { message: Some(message) });
            Some((message, conversation))
        }))
    }

    /// The next message to the worker; `None` at the end.
    async fn next(&mut self) -> Option<Result<Down, Status>> {
        if let Some(greeting) = self.greeting.take() {
            return Some(Ok(Down::Session(greeting)));
        }
        while !self.ended {
            match self.step().await {
                Some(Step::Ack(ack)) => return Some(Ok(Down::Ack(ack))),
                Some(Step::FromEngine(Some(ToWorker::NotCurrent { id, attempt }))) => {
                    self.uploads.forget(id, attempt).await;
                    let was_recorded = self.session.was_recorded(id, attempt).await;
                    let cause = if was_recorded { Cause::Recorded } else { Cause::NotCurrent };
                    return Some(Ok(work_messages::stop(id, attempt, cause)));
                }
                Some(Step::FromEngine(Some(ToWorker::Superseded))) => {
                    self.ended = true;
                    return Some(Err(status(superseded())));
                }
                Some(Step::FromEngine(Some(ToWorker::Assignment { operation, input }))) => {
                    return Some(Ok(work_messages::assignment(&self.service, operation, input)));
                }
                Some(Step::FromEngine(Some(ToWorker::CancelRequested { operation }))) => {
                    return Some(Ok(work_messages::cancel_requested(&operation)));
                }
                Some(Step::Pause(Pause::Heartbeat)) => {
                    return Some(Ok(Down::Heartbeat(v1::ServerHeartbeat {})));
                }
                // Nothing more is read or sent, except that pending reports are acknowledged.
                Some(Step::FromEngine(None) | Step::Pause(Pause::End)) => {
                    self.from_engine = None;
                    return Some(Ok(Down::Drain(v1::ServerDrain {})));
                }
                Some(Step::Request(Some(Ok(request)))) => {
                    if let Err(error) = self.take(request).await {
                        self.ended = true;
                        return Some(Err(status(error)));
                    }
                }
                // The worker is gone, or does not follow the protocol.
                Some(Step::Request(Some(Err(error)))) => {
                    self.ended = true;
                    let message = format!("a message cannot be read: {}", error.message());
                    return Some(Err(status(ServiceError::new(Reason::InvalidArgument, message))));
                }
                // The worker has finished sending.
                Some(Step::Request(None)) => self.half_closed = true,
                None => self.ended = true,
            }
        }
        None
    }

    /// Waits for the next event; `None` if none is possible any more.
    async fn step(&mut self) -> Option<Step> {
        let listening = self.from_engine.is_some() && !self.half_closed;
        if !listening && self.pending.is_empty() {
            return None;
        }
        if listening && self.lifetime.is_over() {
            return Some(Step::Pause(Pause::End));
        }
        let engine = async {
            match &mut self.from_engine {
                Some(receiver) => receiver.recv().await,
                None => std::future::pending().await,
            }
        };
        Some(tokio::select! {
            // Timers are set only if there is nothing else. None of the others can starve the rest: acknowledgements
            // and assignments stop when no requests are read.
            biased;
            Some(ack) = self.pending.next() => Step::Ack(ack),
            message = engine, if listening => Step::FromEngine(message),
            request = self.requests.next(),
                if listening && self.pending.len() < MAX_PENDING_REPORTS => Step::Request(request),
            pause = self.lifetime.pause(), if listening => Step::Pause(pause),
        })
    }

    /// Handles a worker's message. An error ends the stream, because the worker does not follow the protocol.
    async fn take(&mut self, request: v1::WorkRequest) -> Result<(), ServiceError> {
        match request.message {
            None => Err(ServiceError::invalid_field("message", "must be set")),
            Some(Up::Hello(_)) => {
                Err(ServiceError::invalid_field("hello", "must be sent only once"))
            }
            Some(Up::Heartbeat(_)) => self.session.renew().await,
            Some(Up::Drain(_)) => self.session.drain().await,
            Some(Up::Progress(report)) => self.progress(report).await,
            Some(Up::Log(report)) => {
                let v1::ReportLog { attempt, report_id, lines } = report;
                self.report(report_id, "log", attempt, |_, _, found| {
                    reports::log("log.", lines, found)
                });
                Ok(())
            }
            Some(Up::ResultChunk(chunk)) => {
                self.result_chunk(chunk).await;
                Ok(())
            }
            Some(Up::Complete(report)) => {
                let v1::Complete { attempt, report_id, result, warnings, errors, chunked_bytes } =
                    report;
                self.report(report_id, "complete", attempt, |this, attempt, found| {
                    let has_contents = result.as_ref().is_some_and(|it| it.content.is_some());
                    let most = this.service.limits().max_message_payload_bytes();
                    let (result, warnings, errors) =
                        reports::success("complete.", result, (warnings, errors), most, found);
                    let contents = this.take_chunks(attempt, chunked_bytes, has_contents, found);
                    Report::Complete { result, contents, warnings, errors }
                });
                Ok(())
            }
            Some(Up::Fail(report)) => {
                let v1::Fail { attempt, report_id, error, r#final: is_final, retry_delay } = report;
                self.report(report_id, "fail", attempt, |_, _, found| {
                    reports::failure("fail.", error, is_final, retry_delay, found)
                });
                Ok(())
            }
            Some(Up::Release(report)) => {
                let v1::Release { attempt, report_id } = report;
                self.report(report_id, "release", attempt, |_, _, _| Report::Release);
                Ok(())
            }
        }
    }

    async fn progress(&mut self, report: v1::ReportProgress) -> Result<(), ServiceError> {
        let mut found = Violations::default();
        let attempt = decode::attempt("progress.attempt", report.attempt.as_ref(), &mut found);
        let Some((id, attempt)) = attempt else {
            self.refuse(&found.refusal());
            return self.session.renew().await;
        };
        let progress = decode::progress(report.progress.unwrap_or_default(), self.service.now());
        self.session.progress(id, attempt, progress).await
    }

    async fn result_chunk(&mut self, chunk: v1::ResultChunk) {
        let v1::ResultChunk { attempt, offset_bytes, data } = chunk;
        let mut found = Violations::default();
        let attempt = decode::attempt("result_chunk.attempt", attempt.as_ref(), &mut found);
        let offset = found.take(decode::offset("result_chunk.offset_bytes", offset_bytes));
        let most = self.service.limits().max_message_payload_bytes();
        if data.len() > most {
            let rule = format!("must be at most {most} bytes, and is {}", data.len());
            found.too_large("result_chunk.data", rule);
        }
        match found.settle(attempt.zip(offset)) {
            Ok(((id, attempt), offset)) => self.uploads.chunk(id, attempt, offset, data).await,
            Err(error) => self.refuse(&error),
        }
    }

    /// The contents of a result that arrived in chunks.
    fn take_chunks(
        &mut self,
        attempt: Option<(OperationId, Attempt)>,
        size: i64,
        has_contents: bool,
        found: &mut Violations,
    ) -> Option<Box<Intake>> {
        let size = found.take(decode::offset("complete.chunked_bytes", size));
        if size > Some(0) && has_contents {
            let rule = "must have no contents, because they were sent in chunks";
            found.note("complete.result", rule);
        }
        let ((id, attempt), size) = attempt.zip(size)?;
        self.uploads.take(id, attempt, size, found).map(Box::new)
    }

    /// Responds to a wrong message without a `report_id`; the stream continues.
    fn refuse(&mut self, error: &ServiceError) {
        let error = Some(encode::request_error(error));
        self.pending.push(Box::pin(async move { v1::Ack { report_id: 0, error } }));
    }

    /// Starts to store a report. A report that cannot be decoded is refused by itself, with all violations; the stream
    /// continues.
    fn report(
        &mut self,
        report_id: i64,
        field: &str,
        attempt: Option<v1::AttemptRef>,
        decode: impl FnOnce(&mut Self, Option<(OperationId, Attempt)>, &mut Violations) -> Report,
    ) {
        let mut found = Violations::default();
        let attempt = decode::attempt(&format!("{field}.attempt"), attempt.as_ref(), &mut found);
        let report = decode(self, attempt, &mut found);
        let decoded = found.settle(attempt.map(|attempt| (attempt, report)));
        let (session, is_owed) = (self.session.clone(), field != "log");
        self.pending.push(Box::pin(async move {
            let outcome = match decoded {
                Ok(((id, attempt), report)) => session.report(id, attempt, report).await,
                Err(error) => Err(error),
            };
            let outcome = outcome.map_err(|error| if is_owed { still_owed(error) } else { error });
            let error = outcome.err().map(|error| encode::request_error(&error));
            v1::Ack { report_id, error }
        }));
    }
}

/// The refusal of a report, with a note if the attempt continues without it.
fn still_owed(mut error: ServiceError) -> ServiceError {
    if matches!(error.reason, Reason::InvalidArgument | Reason::PayloadTooLarge) {
        let owed = "; the attempt goes on: correct this report, or report that the attempt failed";
        error.message.push_str(owed);
    }
    error
}

fn superseded() -> ServiceError {
    let message = "another stream has resumed this session; a worker that is not the one on that stream needs a \
                   session of its own: say hello without session_id";
    ServiceError::new(Reason::SessionSuperseded, message)
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.session.disconnect();
    }
}
