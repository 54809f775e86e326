//! The stream of a worker as it is on the wire, without any of the care that the library takes.

use std::collections::HashMap;

use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::work_response::Message as Down;
use longrun::proto::v1::{
    Ack, AttemptRef, Complete, Error, Fail, Hello, Release, ReportLog, SessionStarted, WorkRequest,
    WorkResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::history::{Name, ReportKind};
use crate::load::{Context, payload};
use crate::recorder::{Answer, ReportIndex};

/// Room for everything that a worker says while the server does not read.
const UNREAD: usize = 4_096;

/// A report on its way.
#[derive(Clone, Debug)]
pub struct Sent {
    pub index: ReportIndex,
    pub name: Name,
    pub attempt: i32,
    pub kind: ReportKind,
    pub token: String,
}

/// One stream, from hello to its end.
pub struct WorkStream {
    context: Context,
    requests: mpsc::Sender<WorkRequest>,
    responses: Streaming<WorkResponse>,
    pub session: SessionStarted,
    waiting: HashMap<i64, Sent>,
    last_id: i64,
}

impl WorkStream {
    /// Says hello and waits for the session.
    pub async fn open(context: &Context, hello: Hello) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::channel(UNREAD);
        let lost = |_| Status::unavailable("the stream is gone");
        requests.send(up(Up::Hello(hello))).await.map_err(lost)?;
        let answer = context.work().work(ReceiverStream::new(receiver)).await?;
        let mut responses = answer.into_inner();
        match responses.message().await?.and_then(|response| response.message) {
            Some(Down::Session(session)) => Ok(Self {
                context: context.clone(),
                requests,
                responses,
                session,
                waiting: HashMap::new(),
                last_id: 0,
            }),
            other => {
                context.recorder.odd("", format!("a hello was answered with {other:?}"));
                Err(Status::unavailable("no session"))
            }
        }
    }

    /// The next message that is not an answer to a report; answers are written down. May be dropped
    /// without loss.
    pub async fn next(&mut self) -> Result<Option<Down>, Status> {
        loop {
            match self.responses.message().await?.and_then(|response| response.message) {
                Some(Down::Ack(ack)) => self.answered(ack),
                other => return Ok(other),
            }
        }
    }

    /// Says something; whether it is heard shows in the answers only.
    pub fn say(&self, message: Up) {
        // Full or closed: the stream is about to break, which the next message tells.
        let _ = self.requests.try_send(up(message));
    }

    /// Sends a report, for the first time or again.
    pub fn report(&mut self, report: Sent) {
        self.last_id += 1;
        self.context.recorder.report_sent(report.index);
        self.say(message(&report, self.last_id));
        self.waiting.insert(self.last_id, report);
    }

    /// The reports that have no answer.
    pub fn unanswered(&self) -> impl Iterator<Item = &Sent> {
        self.waiting.values()
    }

    /// Ends the stream and gives back what was not answered, in the order in which it was sent.
    pub fn close(self) -> Vec<Sent> {
        let mut waiting: Vec<(i64, Sent)> = self.waiting.into_iter().collect();
        waiting.sort_unstable_by_key(|(id, _)| *id);
        waiting.into_iter().map(|(_, report)| report).collect()
    }

    fn answered(&mut self, ack: Ack) {
        let Some(report) = self.waiting.remove(&ack.report_id) else {
            self.context.recorder.odd("", format!("an answer to no report: {ack:?}"));
            return;
        };
        match ack.error {
            None => self.context.recorder.report_answered(report.index, Answer::Acknowledged),
            // Not refused: it may be sent again.
            Some(error) if error.status_code == Code::Unavailable as i32 => self.report(report),
            Some(error) => {
                let expected = ["STALE_ATTEMPT", "OPERATION_NOT_FOUND"];
                if !expected.contains(&error.reason.as_str()) {
                    let oddity = format!("{report:?} was refused: {error:?}");
                    self.context.recorder.odd(&report.name, oddity);
                }
                self.context.recorder.report_answered(report.index, Answer::Refused);
            }
        }
    }
}

/// The attempt as the protocol names it.
pub fn attempt_ref(name: &str, attempt: i32) -> AttemptRef {
    AttemptRef { operation: name.to_owned(), attempt }
}

fn message(report: &Sent, report_id: i64) -> Up {
    let attempt = Some(attempt_ref(&report.name, report.attempt));
    let token = report.token.clone();
    let error = || Error { code: "Crash".to_owned(), message: token.clone(), ..Error::default() };
    let fail = |is_final| {
        let error = Some(error());
        Up::Fail(Fail {
            attempt: attempt.clone(),
            report_id,
            error,
            r#final: is_final,
            ..Fail::default()
        })
    };
    let complete = |errors| {
        let (attempt, result) = (attempt.clone(), Some(payload(token.clone())));
        Up::Complete(Complete { attempt, report_id, result, errors, ..Complete::default() })
    };
    match report.kind {
        ReportKind::Complete => complete(Vec::new()),
        ReportKind::CompletePartly => complete(vec![error()]),
        ReportKind::FailForRetry => fail(false),
        ReportKind::FailForGood => fail(true),
        ReportKind::Release => Up::Release(Release { attempt, report_id }),
        ReportKind::Log => Up::Log(ReportLog { attempt, report_id, lines: vec![token] }),
    }
}

fn up(message: Up) -> WorkRequest {
    WorkRequest { message: Some(message) }
}
