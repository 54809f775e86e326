//! A worker that does everything that workers do, and some things that they should not: it forgets its
//! session, forgets attempts, and reports what is no longer its own.

use std::collections::BTreeMap;
use std::time::Duration;

use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::work_response::Message as Down;
use longrun::proto::v1::{Assignment, CancelAttempt, Heartbeat, Hello, Progress, ReportProgress};
use tokio::time::{Instant, sleep_until};

use crate::history::{Name, ReportKind};
use crate::load::{Context, PAUSE, text};
use crate::submitter::KINDS;
use crate::work_stream::{Sent, WorkStream, attempt_ref};

/// Well below a lease of one second.
const HEARTBEAT: Duration = Duration::from_millis(250);

/// One worker.
pub struct Worker {
    context: Context,
    number: usize,
    rng: fastrand::Rng,
    session: String,
    /// The attempts that it executes, and when the next thing happens to them.
    running: BTreeMap<(Name, i32), Instant>,
    /// Reports to be sent again.
    unanswered: Vec<Sent>,
    /// Attempts that are no longer its own.
    lost: Vec<(Name, i32)>,
    made: u64,
}

/// What a worker does next.
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
enum Step {
    Heard(Option<Down>),
    Due,
    Heartbeat,
}

impl Worker {
    pub fn new(context: Context, number: usize, rng: fastrand::Rng) -> Self {
        Self {
            context,
            number,
            rng,
            session: String::new(),
            running: BTreeMap::new(),
            unanswered: Vec::new(),
            lost: Vec::new(),
            made: 0,
        }
    }

    /// Works until all is over.
    pub async fn run(mut self) {
        let over = self.context.over.clone();
        over.run_until_cancelled(async {
            loop {
                let hello = self.hello();
                if let Ok(stream) = WorkStream::open(&self.context, hello).await {
                    self.work(stream).await;
                }
                tokio::time::sleep(PAUSE).await;
            }
        })
        .await;
    }

    fn hello(&mut self) -> Hello {
        if self.rng.u32(..20) == 0
            && let Some(forgotten) = self.running.keys().next().cloned()
        {
            // The server gives it out again, with the same number.
            self.running.remove(&forgotten);
        }
        let reported = self.unanswered.iter().map(|report| (&report.name, report.attempt));
        let running = self.running.keys().map(|(name, attempt)| (name, *attempt));
        let running = running.chain(reported);
        Hello {
            worker_id: format!("worker-{}", self.number),
            kinds: (0..2).map(|add| KINDS[(self.number + add) % KINDS.len()].to_owned()).collect(),
            max_in_flight: 8,
            session_id: self.session.clone(),
            running: running.map(|(name, attempt)| attempt_ref(name, attempt)).collect(),
        }
    }

    async fn work(&mut self, mut stream: WorkStream) {
        if !stream.session.resumed {
            self.lose_all();
        }
        self.session = stream.session.session_id.clone();
        for report in std::mem::take(&mut self.unanswered) {
            stream.report(report);
        }
        let mut heartbeats = tokio::time::interval(HEARTBEAT);
        loop {
            let due = self.running.values().min().copied();
            let step = tokio::select! {
                heard = stream.next() => match heard {
                    Ok(heard) => Step::Heard(heard),
                    Err(_broken) => break,
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Step::Due,
                _ = heartbeats.tick() => Step::Heartbeat,
            };
            match step {
                Step::Heard(Some(Down::Assignment(assignment))) => self.take(assignment, &stream),
                Step::Heard(Some(Down::Cancel(cancel))) => self.cancelled(cancel),
                Step::Heard(Some(Down::Drain(_)) | None) => break,
                Step::Heard(Some(_)) => {}
                Step::Due => self.go_on(&mut stream),
                Step::Heartbeat => {
                    stream.say(Up::Heartbeat(Heartbeat {}));
                    self.report_lost(&mut stream);
                    if self.is_unwell() {
                        break;
                    }
                }
            }
        }
        self.unanswered.extend(stream.close());
    }

    /// Now and then a worker loses its stream, or its memory.
    fn is_unwell(&mut self) -> bool {
        match self.rng.u32(..100) {
            0..3 => true,
            3..6 => {
                self.session.clear();
                self.lose_all();
                true
            }
            _ => false,
        }
    }

    fn take(&mut self, assignment: Assignment, stream: &WorkStream) {
        let Assignment { operation: Some(operation), attempt, input, .. } = assignment else {
            return self.context.recorder.odd("", "an assignment of nothing".to_owned());
        };
        self.context.recorder.assigned(&operation, attempt);
        if operation.attempt != attempt || text(&input).is_empty() {
            let oddity = format!("attempt {attempt} was assigned with {operation:?} and {input:?}");
            self.context.recorder.odd(&operation.name, oddity);
        }
        // Most are quick; some go beyond their timeouts or a crash.
        let most = if self.rng.u32(..10) == 0 { 600 } else { 60 };
        let due = Instant::now() + Duration::from_millis(self.rng.u64(..most));
        if self.rng.bool() {
            let progress = Progress { percent: Some(self.rng.f64() * 100.0), ..Default::default() };
            stream.say(Up::Progress(ReportProgress {
                attempt: Some(attempt_ref(&operation.name, attempt)),
                progress: Some(progress),
            }));
        }
        self.running.insert((operation.name, attempt), due);
    }

    fn cancelled(&mut self, cancel: CancelAttempt) {
        let Some(attempt) = &cancel.attempt else {
            return self.context.recorder.odd("", format!("a cancel of nothing: {cancel:?}"));
        };
        let attempt = (attempt.operation.clone(), attempt.attempt);
        if cancel.cause() == longrun::proto::v1::cancel_attempt::Cause::NotCurrent {
            if self.running.remove(&attempt).is_some() {
                self.lost.push(attempt);
            }
        } else if self.rng.bool()
            && let Some(due) = self.running.get_mut(&attempt)
        {
            // The others go on beyond the grace period, or finish first.
            *due = Instant::now();
        }
    }

    /// Reports on the attempts that are due: a log line, after which there is more to do, or its end.
    fn go_on(&mut self, stream: &mut WorkStream) {
        let now = Instant::now();
        let due: Vec<_> = self.running.iter().filter(|(_, due)| **due <= now).collect();
        let due: Vec<(Name, i32)> = due.into_iter().map(|(attempt, _)| attempt.clone()).collect();
        for (name, attempt) in due {
            let kind = match self.rng.u32(..100) {
                0..45 => ReportKind::Complete,
                45..55 => ReportKind::CompletePartly,
                55..70 => ReportKind::FailForRetry,
                70..75 => ReportKind::FailForGood,
                75..82 => ReportKind::Release,
                _ => ReportKind::Log,
            };
            let report = self.make(&name, attempt, kind, false);
            // Twice at once: the second is a repetition. Log lines are not told apart.
            if kind != ReportKind::Log && self.rng.u32(..10) == 0 {
                stream.report(report.clone());
            }
            stream.report(report);
            if kind == ReportKind::Log {
                let due = now + Duration::from_millis(self.rng.u64(..40));
                self.running.insert((name, attempt), due);
            } else {
                self.running.remove(&(name, attempt));
            }
        }
    }

    /// What is not its own any more is reported all the same.
    fn report_lost(&mut self, stream: &mut WorkStream) {
        for (name, attempt) in std::mem::take(&mut self.lost) {
            let kinds = [
                ReportKind::Complete,
                ReportKind::CompletePartly,
                ReportKind::FailForRetry,
                ReportKind::FailForGood,
                ReportKind::Release,
                ReportKind::Log,
            ];
            let kind = self.rng.choice(kinds).unwrap_or(ReportKind::Complete);
            let report = self.make(&name, attempt, kind, true);
            stream.report(report);
        }
    }

    fn lose_all(&mut self) {
        self.lost.extend(std::mem::take(&mut self.running).into_keys());
    }

    fn make(&mut self, name: &str, attempt: i32, kind: ReportKind, is_forged: bool) -> Sent {
        self.made += 1;
        let token = format!("{name}#{attempt}#{kind:?}#worker-{}.{}", self.number, self.made);
        let index = self.context.recorder.report(name, attempt, kind, &token, is_forged);
        Sent { index, name: name.to_owned(), attempt, kind, token }
    }
}
