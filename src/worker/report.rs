//! A report of an attempt, and the message that carries it.

use prost::Message as _;

use super::attempt_key::AttemptKey;
use super::outcome::{Failure, Outcome};
use super::spool::Contents;
use crate::proto::v1;
use crate::proto::v1::work_request::Message;

/// A report of an attempt.
#[derive(Clone, Debug)]
pub(super) enum Report {
    /// Lines for the history.
    Log(Vec<String>),
    /// It succeeded.
    Complete(Box<Outcome>),
    /// It failed.
    Fail(Failure),
    /// It is released.
    Release,
}

impl Report {
    /// The contents that must be sent in chunks before the report.
    pub(super) fn contents(&self) -> Option<&Contents> {
        match self {
            Self::Complete(outcome) => outcome.contents.as_ref(),
            Self::Log(_) | Self::Fail(_) | Self::Release => None,
        }
    }
}

/// A report that is not acknowledged.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) key: AttemptKey,
    pub(super) report: Report,
    /// Whether it replaces a report that was refused or too large. If this one is refused too, it is dropped.
    pub(super) stand_in: bool,
}

impl Pending {
    /// The report as a message with this number.
    pub(super) fn message(&self, report_id: i64) -> Message {
        let attempt = Some(v1::AttemptRef::from(&self.key));
        match self.report.clone() {
            Report::Log(lines) => Message::Log(v1::ReportLog { attempt, report_id, lines }),
            Report::Complete(outcome) => {
                let Outcome { result, contents, warnings, errors } = *outcome;
                let chunked_bytes = contents.map_or(0, |it| it.size_bytes().cast_signed());
                Message::Complete(v1::Complete {
                    attempt,
                    report_id,
                    result,
                    warnings,
                    errors,
                    chunked_bytes,
                })
            }
            Report::Fail(Failure { error, permanent, retry_delay, .. }) => {
                Message::Fail(v1::Fail {
                    attempt,
                    report_id,
                    error: Some(*error),
                    r#final: permanent,
                    retry_delay: retry_delay.and_then(|delay| delay.try_into().ok()),
                })
            }
            Report::Release => Message::Release(v1::Release { attempt, report_id }),
        }
    }

    /// The size of that message, in bytes.
    pub(super) fn encoded_len(&self, report_id: i64) -> usize {
        v1::WorkRequest { message: Some(self.message(report_id)) }.encoded_len()
    }
}
