//! `longrun.v1.Workers`: one stream per worker.
//!
//! The stream is driven by its reader: a worker that does not read is not read either, and its lease
//! runs out. Reports are acknowledged as they become durable, in any order.

use std::pin::Pin;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesUnordered};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::InProcess;
use super::caller;
use super::status::status;
use crate::engine::{ToWorker, WorkerHello};
use crate::operation::{
    Attempt, Kind, Operation, OperationId, SessionId, State, TenantId, WorkerId,
};
use crate::proto::v1::work_request::Message as Up;
use crate::proto::v1::work_response::Message as Down;
use crate::proto::v1::workers_server::Workers;
use crate::proto::v1::{self, cancel_attempt::Cause};
use crate::service::{
    Document, Intake, Lifetime, Pause, Reason, Report, ResultUploads, Service, ServiceError,
    Violation, WorkerSession,
};
use crate::wire::{decode, encode};

/// How long a worker may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Most reports of one stream that are not durable yet; then it is not read any further.
const MAX_PENDING_REPORTS: usize = 256;
/// Most log lines, and their bytes, in one report.
const MAX_LOG_LINES: usize = 1_000;
const MAX_LOG_BYTES: usize = 256 << 10;

/// The service's gRPC face for workers.
#[derive(Clone, Debug)]
pub(super) struct WorkersRpc {
    service: Service,
}

impl WorkersRpc {
    pub(super) fn new(service: Service) -> Self {
        Self { service }
    }
}

#[tonic::async_trait]
impl Workers for WorkersRpc {
    type WorkStream = Pin<Box<dyn Stream<Item = Result<v1::WorkResponse, Status>> + Send>>;

    async fn work(
        &self,
        request: Request<Streaming<v1::WorkRequest>>,
    ) -> Result<Response<Self::WorkStream>, Status> {
        let caller = caller(request.metadata());
        let service = self.service.clone();
        let in_process = request.extensions().get::<InProcess>().is_some();
        let requests = request.into_inner();
        // The headers go out before the hello comes in: some clients wait for them.
        let conversation = stream::once(async move {
            match Conversation::open(service, &caller, in_process, requests).await {
                Ok(conversation) => conversation.into_stream(),
                Err(error) => Box::pin(tokio_stream::once(Err(error))),
            }
        });
        Ok(Response::new(Box::pin(futures_util::StreamExt::flatten(conversation))))
    }
}

/// One stream of one worker.
struct Conversation {
    service: Service,
    session: WorkerSession,
    requests: Streaming<v1::WorkRequest>,
    /// `None` once the engine, or age, has ended the stream.
    from_engine: Option<mpsc::Receiver<ToWorker>>,
    pending: FuturesUnordered<BoxFuture<'static, v1::Ack>>,
    uploads: ResultUploads,
    lifetime: Lifetime,
    /// Said first.
    greeting: Option<v1::SessionStarted>,
    half_closed: bool,
    ended: bool,
}

/// What happened on the stream.
enum Step {
    Request(Option<Result<v1::WorkRequest, Status>>),
    FromEngine(Option<ToWorker>),
    Ack(v1::Ack),
    Pause(Pause),
}

impl Conversation {
    async fn open(
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
        let hello = WorkerHello { in_process, ..decode_hello(hello).map_err(status)? };
        let (session, from_engine) = service.connect_worker(caller, hello).await.map_err(status)?;
        let limits = service.limits();
        let greeting = v1::SessionStarted {
            session_id: session.id().to_string(),
            resumed: session.resumed(),
            lease_duration: Some(encode::duration(limits.lease_duration)),
            heartbeat_interval: Some(encode::duration(limits.worker_heartbeat_interval())),
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

    fn into_stream(self) -> <WorkersRpc as Workers>::WorkStream {
        Box::pin(stream::unfold(self, |mut conversation| async move {
            let message = conversation.next().await?;
            conversation.lifetime.spoke();
            let message = message.map(|message| v1::WorkResponse { message: Some(message) });
            Some((message, conversation))
        }))
    }

    /// The next message down; `None` at the end.
    async fn next(&mut self) -> Option<Result<Down, Status>> {
        if let Some(greeting) = self.greeting.take() {
            return Some(Ok(Down::Session(greeting)));
        }
        while !self.ended {
            match self.step().await {
                Some(Step::Ack(ack)) => return Some(Ok(Down::Ack(ack))),
                Some(Step::FromEngine(Some(message))) => {
                    if let ToWorker::NotCurrent { id, attempt } = message {
                        self.uploads.forget(id, attempt).await;
                    }
                    return Some(Ok(down(message)));
                }
                Some(Step::Pause(Pause::Heartbeat)) => {
                    return Some(Ok(Down::Heartbeat(v1::ServerHeartbeat {})));
                }
                // No more of either direction; what is pending is still acknowledged.
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
                // Gone, or not speaking the protocol.
                Some(Step::Request(Some(Err(error)))) => {
                    self.ended = true;
                    let message = format!("a message cannot be read: {}", error.message());
                    return Some(Err(status(ServiceError::new(Reason::InvalidArgument, message))));
                }
                // No more to say.
                Some(Step::Request(None)) => self.half_closed = true,
                None => self.ended = true,
            }
        }
        None
    }

    /// Waits for something to happen; `None` when nothing can any more.
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
            // Timers are set only when there is nothing else. None of the others can keep the rest waiting: acks
            // and assignments end where no requests are read.
            biased;
            Some(ack) = self.pending.next() => Step::Ack(ack),
            message = engine, if listening => Step::FromEngine(message),
            request = self.requests.next(),
                if listening && self.pending.len() < MAX_PENDING_REPORTS => Step::Request(request),
            pause = self.lifetime.pause(), if listening => Step::Pause(pause),
        })
    }

    /// Takes a message of the worker. An error ends the stream: the worker does not speak the protocol.
    async fn take(&mut self, request: v1::WorkRequest) -> Result<(), ServiceError> {
        match request.message {
            None => Err(ServiceError::invalid_field("message", "must be set")),
            Some(Up::Hello(_)) => {
                Err(ServiceError::invalid_field("hello", "must be sent only once"))
            }
            Some(Up::Heartbeat(_)) => self.session.renew().await,
            Some(Up::Drain(_)) => self.session.drain().await,
            Some(Up::Progress(report)) => {
                let (id, attempt) = decode::attempt("progress.attempt", report.attempt.as_ref())?;
                let progress =
                    decode::progress(report.progress.unwrap_or_default(), self.service.now());
                self.session.progress(id, attempt, progress).await
            }
            Some(Up::Log(report)) => {
                let v1::ReportLog { attempt, report_id, lines } = report;
                self.report(report_id, "log", attempt, || decode_log(lines));
                Ok(())
            }
            Some(Up::ResultChunk(chunk)) => {
                let v1::ResultChunk { attempt, offset_bytes, data } = chunk;
                let (id, attempt) = decode::attempt("result_chunk.attempt", attempt.as_ref())?;
                let offset = u64::try_from(offset_bytes).map_err(|_| {
                    ServiceError::invalid_field("result_chunk.offset_bytes", "must not be negative")
                })?;
                self.uploads.chunk(id, attempt, offset, data).await;
                Ok(())
            }
            Some(Up::Complete(report)) => {
                let v1::Complete { attempt, report_id, result, warnings, errors, chunked_bytes } =
                    report;
                let contents = self.take_chunks(attempt.as_ref(), chunked_bytes);
                self.report(report_id, "complete", attempt, || {
                    let contents = contents?;
                    let result = decode::payload(result, "complete.result")
                        .map_err(|violation| ServiceError::invalid(vec![violation]))?;
                    let warnings = decode::operation_errors("complete.warnings", warnings)?;
                    let errors = decode::operation_errors("complete.errors", errors)?;
                    Ok(Report::Complete { result, contents, warnings, errors })
                });
                Ok(())
            }
            Some(Up::Fail(report)) => {
                let v1::Fail { attempt, report_id, error, r#final: is_final, retry_delay } = report;
                self.report(report_id, "fail", attempt, || {
                    decode_failure(error, is_final, retry_delay)
                });
                Ok(())
            }
            Some(Up::Release(report)) => {
                self.report(report.report_id, "release", report.attempt, || Ok(Report::Release));
                Ok(())
            }
        }
    }

    /// The contents of a result that came in chunks.
    fn take_chunks(
        &mut self,
        attempt: Option<&v1::AttemptRef>,
        size: i64,
    ) -> Result<Option<Box<Intake>>, ServiceError> {
        if size == 0 {
            return Ok(None);
        }
        let (id, attempt) = decode::attempt("complete.attempt", attempt)?;
        self.uploads.take(id, attempt, size).map(|contents| Some(Box::new(contents)))
    }

    /// Sends a report on its way to the store. One that cannot be decoded is refused by itself; the
    /// stream goes on.
    fn report(
        &mut self,
        report_id: i64,
        field: &str,
        attempt: Option<v1::AttemptRef>,
        decode: impl FnOnce() -> Result<Report, ServiceError>,
    ) {
        let decoded = decode::attempt(&format!("{field}.attempt"), attempt.as_ref())
            .and_then(|attempt| Ok((attempt, decode()?)));
        let session = self.session.clone();
        self.pending.push(Box::pin(async move {
            let outcome = match decoded {
                Ok(((id, attempt), report)) => session.report(id, attempt, report).await,
                Err(error) => Err(error),
            };
            let error = outcome.err().map(|error| encode::request_error(&error));
            v1::Ack { report_id, error }
        }));
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.session.disconnect();
    }
}

fn decode_hello(hello: v1::Hello) -> Result<WorkerHello, ServiceError> {
    let mut violations = Vec::new();
    let mut note = |field: String, rule: String| violations.push(Violation::new(field, rule));
    let worker = WorkerId::parse(&hello.worker_id)
        .map_err(|invalid| note("hello.worker_id".to_owned(), invalid.to_string()));
    if hello.kinds.is_empty() || hello.kinds.len() > 100 {
        note("hello.kinds".to_owned(), "must have from 1 to 100 entries".to_owned());
    }
    let mut kinds = Vec::with_capacity(hello.kinds.len().min(100));
    for (at, kind) in hello.kinds.iter().enumerate().take(100) {
        match Kind::parse(kind) {
            Ok(kind) if kinds.contains(&kind) => {}
            Ok(kind) => kinds.push(kind),
            Err(invalid) => note(format!("hello.kinds[{at}]"), invalid.to_string()),
        }
    }
    let running = hello
        .running
        .iter()
        .enumerate()
        .map(|(at, running)| decode::attempt(&format!("hello.running[{at}]"), Some(running)))
        .collect::<Result<Vec<(OperationId, Attempt)>, _>>()?;
    match worker {
        Ok(worker) if violations.is_empty() => Ok(WorkerHello {
            tenant: TenantId::default_tenant(),
            worker,
            kinds,
            // Out of range is refused by the service, which knows the limit.
            max_in_flight: usize::try_from(hello.max_in_flight).unwrap_or(0),
            resume: SessionId::parse(&hello.session_id),
            in_process: false,
            running,
        }),
        _ => Err(ServiceError::invalid(violations)),
    }
}

fn decode_log(lines: Vec<String>) -> Result<Report, ServiceError> {
    let bytes: usize = lines.iter().map(String::len).sum();
    if lines.len() > MAX_LOG_LINES || bytes > MAX_LOG_BYTES {
        let rule = format!("must be at most {MAX_LOG_LINES} lines and {MAX_LOG_BYTES} bytes");
        return Err(ServiceError::invalid_field("log.lines", rule));
    }
    Ok(Report::Log(lines))
}

fn decode_failure(
    error: Option<v1::Error>,
    is_final: bool,
    retry_delay: Option<prost_types::Duration>,
) -> Result<Report, ServiceError> {
    let Some(error) = error else {
        return Err(ServiceError::invalid_field("fail.error", "must be set"));
    };
    let error = decode::operation_error("fail.error", error)?;
    let longest = crate::operation::Settings::MAX_BACKOFF;
    let retry_delay = match retry_delay {
        None => None,
        Some(delay) => {
            let delay = decode::duration(&delay).filter(|delay| *delay <= longest);
            Some(delay.ok_or_else(|| {
                ServiceError::invalid_field("fail.retry_delay", "must be from 0 s to 24 h")
            })?)
        }
    };
    Ok(Report::Fail { error, is_final, retry_delay })
}

fn down(message: ToWorker) -> Down {
    match message {
        ToWorker::Assignment { operation, input } => {
            let deadlines = [
                operation.life.state.lease().and_then(|lease| lease.attempt_deadline),
                operation.submission.deadline(),
            ];
            Down::Assignment(v1::Assignment {
                attempt: operation.life.attempt.0.cast_signed(),
                input: input.map(encode::exact_payload),
                deadline_time: deadlines.into_iter().flatten().min().map(encode::timestamp),
                operation: Some(encode::operation(&Document::basic(operation))),
            })
        }
        ToWorker::CancelRequested { operation } => Down::Cancel(v1::CancelAttempt {
            attempt: Some(reference(operation.id(), operation.life.attempt)),
            cause: Cause::CancelRequested.into(),
            reason: operation.life.cancel.as_ref().map(|c| c.reason.clone()).unwrap_or_default(),
            grace_deadline_time: grace_deadline(&operation),
        }),
        ToWorker::NotCurrent { id, attempt } => Down::Cancel(v1::CancelAttempt {
            attempt: Some(reference(id, attempt)),
            cause: Cause::NotCurrent.into(),
            ..v1::CancelAttempt::default()
        }),
    }
}

fn grace_deadline(operation: &Operation) -> Option<prost_types::Timestamp> {
    match operation.life.state {
        State::Cancelling { grace_until, .. } => Some(encode::timestamp(grace_until)),
        _ => None,
    }
}

fn reference(id: OperationId, attempt: Attempt) -> v1::AttemptRef {
    v1::AttemptRef { operation: id.name(), attempt: attempt.0.cast_signed() }
}
