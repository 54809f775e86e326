//! A worker that does what the script says, on the raw stream.

use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::work_response::Message as Down;
use longrun::proto::v1::*;

use super::{Api, soon};

/// A worker on its stream.
#[derive(Debug)]
pub struct TestWorker {
    pub session: SessionStarted,
    up: mpsc::Sender<WorkRequest>,
    down: Streaming<WorkResponse>,
    /// Heard while waiting for something else.
    heard: VecDeque<Down>,
    last_report: i64,
}

/// Introduces a worker of one kind that takes this many attempts at once.
pub fn hello(kind: &str, max_in_flight: i32) -> Hello {
    Hello {
        worker_id: "test-worker".to_owned(),
        kinds: vec![kind.to_owned()],
        max_in_flight,
        ..Hello::default()
    }
}

/// Opens the stream and says `first`.
pub async fn open_stream(
    api: &Api,
    first: Option<Up>,
) -> (mpsc::Sender<WorkRequest>, Streaming<WorkResponse>) {
    let (up, requests) = mpsc::channel(1_024);
    if first.is_some() {
        up.try_send(WorkRequest { message: first }).unwrap();
    }
    let stream = soon(api.workers().work(ReceiverStream::new(requests))).await.unwrap();
    (up, stream.into_inner())
}

/// The attempt of an assignment.
pub fn attempt_of(assignment: &Assignment) -> Option<AttemptRef> {
    let operation = assignment.operation.as_ref().unwrap().name.clone();
    Some(AttemptRef { operation, attempt: assignment.attempt })
}

impl TestWorker {
    pub async fn connect(api: &Api, hello: Hello) -> Self {
        let (up, mut down) = open_stream(api, Some(Up::Hello(hello))).await;
        match message(&mut down).await.unwrap() {
            Some(Down::Session(session)) => {
                Self { session, up, down, heard: VecDeque::new(), last_report: 0 }
            }
            other => panic!("expected a session, got {other:?}"),
        }
    }

    /// Breaks the stream, as a network does.
    pub fn disconnect(self) -> SessionStarted {
        self.session
    }

    /// Says something.
    pub async fn send(&mut self, message: Up) {
        let message = WorkRequest { message: Some(message) };
        soon(self.up.send(message)).await.expect("the server must take it");
    }

    /// The next message, whatever it is; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Down>, Status> {
        match self.heard.pop_front() {
            Some(heard) => Ok(Some(heard)),
            None => message(&mut self.down).await,
        }
    }

    /// The next message that `wanted` takes; what comes before it is kept for later.
    async fn first<T>(&mut self, wanted: impl Fn(&Down) -> Option<T>) -> T {
        if let Some(at) = self.heard.iter().position(|down| wanted(down).is_some()) {
            let down = self.heard.remove(at).unwrap();
            return wanted(&down).unwrap();
        }
        loop {
            let down = message(&mut self.down).await.unwrap().expect("the stream must not end");
            match wanted(&down) {
                Some(found) => return found,
                None => self.heard.push_back(down),
            }
        }
    }

    pub async fn assignment(&mut self) -> Assignment {
        self.first(|down| match down {
            Down::Assignment(assignment) => Some(assignment.clone()),
            _ => None,
        })
        .await
    }

    pub async fn told_to_stop(&mut self) -> CancelAttempt {
        self.first(|down| match down {
            Down::Cancel(cancel) => Some(cancel.clone()),
            _ => None,
        })
        .await
    }

    /// Waits until the server wants the stream to end.
    pub async fn told_to_drain(&mut self) {
        self.first(|down| matches!(down, Down::Drain(_)).then_some(())).await;
    }

    /// Fails unless the stream ends with OK.
    pub async fn ended(&mut self) {
        let next = message(&mut self.down).await.unwrap();
        assert!(next.is_none(), "must end, got {next:?}");
    }

    pub async fn heartbeat(&mut self) {
        self.first(|down| matches!(down, Down::Heartbeat(_)).then_some(())).await;
    }

    /// Fails if anything but acks was heard and not asked for.
    pub fn heard_nothing_else(&self) {
        assert_eq!(self.heard, VecDeque::new());
    }

    /// Sends a report, made with a new id, and waits for its ack. What was heard before it is kept.
    pub async fn report(&mut self, report: impl FnOnce(i64) -> Up) -> Option<RequestError> {
        self.last_report += 1;
        let id = self.last_report;
        self.send(report(id)).await;
        self.first(move |down| match down {
            Down::Ack(ack) if ack.report_id == id => Some(ack.error.clone()),
            _ => None,
        })
        .await
    }

    pub async fn try_complete(&mut self, complete: Complete) -> Option<RequestError> {
        self.report(|report_id| Up::Complete(Complete { report_id, ..complete })).await
    }

    pub async fn try_fail(&mut self, fail: Fail) -> Option<RequestError> {
        self.report(|report_id| Up::Fail(Fail { report_id, ..fail })).await
    }

    pub async fn try_log(
        &mut self,
        assignment: &Assignment,
        lines: Vec<String>,
    ) -> Option<RequestError> {
        let attempt = attempt_of(assignment);
        self.report(|report_id| Up::Log(ReportLog { attempt, report_id, lines })).await
    }

    /// Succeeds with this result, durably.
    pub async fn complete(&mut self, assignment: &Assignment, result: Option<Payload>) {
        let attempt = attempt_of(assignment);
        let ack = self.try_complete(Complete { attempt, result, ..Complete::default() }).await;
        assert_eq!(ack, None);
    }

    /// Fails with this code, durably; the retry policy says what follows.
    pub async fn fail(&mut self, assignment: &Assignment, code: &str) {
        let error = Error { code: code.to_owned(), ..Error::default() };
        let attempt = attempt_of(assignment);
        let ack = self.try_fail(Fail { attempt, error: Some(error), ..Fail::default() }).await;
        assert_eq!(ack, None);
    }

    pub async fn release(&mut self, assignment: &Assignment) {
        let attempt = attempt_of(assignment);
        let ack = self.report(|report_id| Up::Release(Release { attempt, report_id })).await;
        assert_eq!(ack, None);
    }

    pub async fn log(&mut self, assignment: &Assignment, lines: &[&str]) {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        assert_eq!(self.try_log(assignment, lines).await, None);
    }

    pub async fn progress(&mut self, assignment: &Assignment, progress: Progress) {
        let attempt = attempt_of(assignment);
        self.send(Up::Progress(ReportProgress { attempt, progress: Some(progress) })).await;
    }
}

async fn message(down: &mut Streaming<WorkResponse>) -> Result<Option<Down>, Status> {
    let message = soon(down.message()).await?;
    Ok(message.map(|message| message.message.expect("no message is empty")))
}
