//! Lives as bytes.

use prost::Message as _;

use super::Damage;
use super::parts::{ErrorMessage, PayloadMessage, offset, time_at};
use crate::operation::state::CancelRequest;
use crate::operation::{
    Attempt, Lease, Life, Outcome, PayloadInfo, Progress, RecordedReport, ReportDigest, Revision,
    SessionId, State, StateName, Timestamp, WorkerId,
};

#[derive(Clone, PartialEq, prost::Message)]
struct LifeMessage {
    /// The number of the state's name.
    #[prost(uint32, tag = "1")]
    state: u32,
    #[prost(uint64, tag = "2")]
    revision: u64,
    /// The base of all other times.
    #[prost(int64, tag = "3")]
    updated_at: i64,
    #[prost(uint32, tag = "4")]
    attempt: u32,
    /// The number of attempts that do not count towards the maximum.
    #[prost(sint64, tag = "5")]
    attempts_uncounted: i64,
    #[prost(string, optional, tag = "6")]
    worker: Option<String>,
    // Tag 7 was the kind of the report that ended the attempt. It is not read, because it names neither the reporter
    // nor the report's contents: no report can be acknowledged by it.
    #[prost(sint64, optional, tag = "8")]
    started_at: Option<i64>,
    #[prost(message, optional, tag = "9")]
    progress: Option<ProgressMessage>,
    #[prost(message, optional, tag = "10")]
    last_error: Option<ErrorMessage>,
    #[prost(message, optional, tag = "11")]
    cancel: Option<CancelMessage>,

    /// QUEUED only.
    #[prost(sint64, tag = "12")]
    not_before: i64,
    /// RUNNING and CANCELLING only, like the attempt's deadline and the grace period's end.
    #[prost(bytes = "vec", tag = "13")]
    session: Vec<u8>,
    #[prost(sint64, optional, tag = "14")]
    attempt_deadline: Option<i64>,
    #[prost(sint64, tag = "15")]
    grace_until: i64,
    /// Terminal states only, like all fields below.
    #[prost(sint64, tag = "16")]
    ended_at: i64,
    #[prost(sint64, tag = "17")]
    purge_at: i64,
    #[prost(message, optional, tag = "18")]
    result: Option<PayloadMessage>,
    #[prost(message, repeated, tag = "19")]
    warnings: Vec<ErrorMessage>,
    /// Any number for a partial success; one for a failure or cancel.
    #[prost(message, repeated, tag = "20")]
    errors: Vec<ErrorMessage>,

    #[prost(message, optional, tag = "21")]
    last_report: Option<ReportMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ReportMessage {
    #[prost(bytes = "vec", tag = "1")]
    session: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    digest: Vec<u8>,
    /// The number of attempts that have started since.
    #[prost(uint32, tag = "3")]
    attempts_since: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ProgressMessage {
    #[prost(double, optional, tag = "1")]
    percent: Option<f64>,
    #[prost(int64, optional, tag = "2")]
    done_units: Option<i64>,
    #[prost(int64, optional, tag = "3")]
    total_units: Option<i64>,
    #[prost(string, tag = "4")]
    message: String,
    #[prost(sint64, tag = "5")]
    at: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CancelMessage {
    #[prost(sint64, tag = "1")]
    at: i64,
    #[prost(string, tag = "2")]
    reason: String,
}

pub(super) fn encode(life: &Life) -> Vec<u8> {
    let base = life.updated_at;
    let mut message = LifeMessage {
        state: u32::from(life.state.name().number()),
        revision: life.revision.0,
        updated_at: base.micros(),
        attempt: life.attempt.0,
        attempts_uncounted: i64::from(life.attempt.0) - i64::from(life.attempts_used),
        worker: life.worker.as_ref().map(|worker| worker.as_str().to_owned()),
        last_report: life.last_report.as_ref().map(|report| ReportMessage {
            session: report.session.as_bytes().to_vec(),
            digest: report.digest.as_bytes().to_vec(),
            attempts_since: life.attempt.0.wrapping_sub(report.attempt.0),
        }),
        started_at: life.started_at.map(|at| offset(at, base)),
        progress: life.progress.as_ref().map(|progress| ProgressMessage {
            percent: progress.percent,
            done_units: progress.done_units,
            total_units: progress.total_units,
            message: progress.message.clone(),
            at: offset(progress.at, base),
        }),
        last_error: life.last_error.as_ref().map(ErrorMessage::encode),
        cancel: life.cancel.as_ref().map(|cancel| CancelMessage {
            at: offset(cancel.at, base),
            reason: cancel.reason.clone(),
        }),
        ..LifeMessage::default()
    };
    encode_state(&life.state, base, &mut message);
    message.encode_to_vec()
}

fn encode_state(state: &State, base: Timestamp, message: &mut LifeMessage) {
    match state {
        State::Queued { not_before } => message.not_before = offset(*not_before, base),
        State::Running { lease } => encode_lease(lease, base, message),
        State::Cancelling { lease, grace_until } => {
            encode_lease(lease, base, message);
            message.grace_until = offset(*grace_until, base);
        }
        State::Done { outcome, at, purge_at } => {
            message.ended_at = offset(*at, base);
            message.purge_at = offset(*purge_at, base);
            encode_outcome(outcome, message);
        }
    }
}

fn encode_lease(lease: &Lease, base: Timestamp, message: &mut LifeMessage) {
    message.session = lease.session.as_bytes().to_vec();
    message.attempt_deadline = lease.attempt_deadline.map(|at| offset(at, base));
}

fn encode_outcome(outcome: &Outcome, message: &mut LifeMessage) {
    let payload = |result: &Option<PayloadInfo>| result.as_ref().map(PayloadMessage::encode);
    match outcome {
        Outcome::Succeeded { result, warnings } => {
            message.result = payload(result);
            message.warnings = ErrorMessage::encode_all(warnings);
        }
        Outcome::PartiallySucceeded { result, errors, warnings } => {
            message.result = payload(result);
            message.errors = ErrorMessage::encode_all(errors);
            message.warnings = ErrorMessage::encode_all(warnings);
        }
        Outcome::Failed { error } | Outcome::Cancelled { error } => {
            message.errors = vec![ErrorMessage::encode(error)];
        }
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Life, Damage> {
    let mut message = LifeMessage::decode(bytes)?;
    let base = Timestamp::from_micros(message.updated_at);
    let state = decode_state(&mut message, base)?;
    let attempts_used = i64::from(message.attempt).checked_sub(message.attempts_uncounted);
    let attempts_used = attempts_used.and_then(|used| u32::try_from(used).ok());
    let worker = message.worker.map(|name| WorkerId::parse(&name)).transpose();
    Ok(Life {
        state,
        revision: Revision(message.revision),
        attempt: Attempt(message.attempt),
        attempts_used: attempts_used
            .ok_or_else(|| Damage("the attempts used are not a number".to_owned()))?,
        worker: worker.map_err(|rule| Damage(format!("the worker's name {rule}")))?,
        last_report: message
            .last_report
            .map(|report| report.decode(Attempt(message.attempt)))
            .transpose()?,
        updated_at: base,
        started_at: message.started_at.map(|at| time_at(at, base)),
        progress: message.progress.map(|progress| Progress {
            percent: progress.percent,
            done_units: progress.done_units,
            total_units: progress.total_units,
            message: progress.message,
            at: time_at(progress.at, base),
        }),
        last_error: message.last_error.map(ErrorMessage::decode).transpose()?,
        cancel: message
            .cancel
            .map(|cancel| CancelRequest { at: time_at(cancel.at, base), reason: cancel.reason }),
    })
}

impl ReportMessage {
    fn decode(self, Attempt(current): Attempt) -> Result<RecordedReport, Damage> {
        match (self.session.try_into(), self.digest.try_into()) {
            (Ok(session), Ok(digest)) => Ok(RecordedReport {
                attempt: Attempt(current.wrapping_sub(self.attempts_since)),
                session: SessionId::from_bytes(session),
                digest: ReportDigest::from_bytes(digest),
            }),
            _ => Err(Damage("a report's session or digest has another length".to_owned())),
        }
    }
}

/// Decodes the state; takes its parts out of the message.
fn decode_state(message: &mut LifeMessage, base: Timestamp) -> Result<State, Damage> {
    let name = u8::try_from(message.state).ok().and_then(StateName::from_number);
    let name = name.ok_or_else(|| Damage(format!("there is no state {}", message.state)))?;
    Ok(match name {
        StateName::Queued => State::Queued { not_before: time_at(message.not_before, base) },
        StateName::Running => State::Running { lease: decode_lease(message, base)? },
        StateName::Cancelling => State::Cancelling {
            lease: decode_lease(message, base)?,
            grace_until: time_at(message.grace_until, base),
        },
        done => State::Done {
            outcome: decode_outcome(done, message)?,
            at: time_at(message.ended_at, base),
            purge_at: time_at(message.purge_at, base),
        },
    })
}

fn decode_lease(message: &LifeMessage, base: Timestamp) -> Result<Lease, Damage> {
    let session = message.session.as_slice().try_into();
    let session = session.map_err(|_| Damage::missing("the lease's session"))?;
    Ok(Lease {
        session: SessionId::from_bytes(session),
        attempt_deadline: message.attempt_deadline.map(|at| time_at(at, base)),
    })
}

fn decode_outcome(name: StateName, message: &mut LifeMessage) -> Result<Outcome, Damage> {
    let result = message.result.take().map(PayloadMessage::decode).transpose()?;
    let warnings = ErrorMessage::decode_all(std::mem::take(&mut message.warnings))?;
    let mut errors = ErrorMessage::decode_all(std::mem::take(&mut message.errors))?;
    let mut error = || errors.pop().ok_or_else(|| Damage::missing("the error"));
    Ok(match name {
        StateName::Failed => Outcome::Failed { error: error()? },
        StateName::Cancelled => Outcome::Cancelled { error: error()? },
        StateName::PartiallySucceeded => Outcome::PartiallySucceeded { result, errors, warnings },
        _ => Outcome::Succeeded { result, warnings },
    })
}
