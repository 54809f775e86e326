//! Every state against every command as a table, and single rules.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::operation::state::Submission;
use crate::operation::{
    Kind, OperationId, Payload, PayloadForm, RetryPolicy, Settings, StateName, sample,
};

mod histories;
mod reports;

const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

fn submission(settings: Settings) -> Arc<Submission> {
    let kind = Kind::parse("test.kind").expect("a kind");
    let submission = sample::submission(OperationId::from_uuid(Uuid::nil()), START);
    Arc::new(Submission { kind, settings, ..submission })
}

fn limited() -> Settings {
    Settings {
        queue_timeout: Some(Duration::from_secs(10)),
        attempt_timeout: Some(Duration::from_secs(20)),
        deadline: Some(Duration::from_secs(100)),
        cancel_grace: Duration::from_secs(5),
        retention: Duration::from_secs(1_000),
        retry_policy: RetryPolicy { max_attempts: 2, jitter: 0.0, ..RetryPolicy::default() },
        ..Settings::default()
    }
}

fn session(number: u128) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(number))
}

fn acquire(number: u128) -> Command {
    Command::Acquire { session: session(number), worker: WorkerId::parse("w").expect("an id") }
}

fn app_error(code: &str) -> OperationError {
    OperationError {
        source: crate::operation::ErrorSource::Application,
        ..OperationError::service(code, 2, "it went wrong")
    }
}

/// A reporter: the session with that number, on an attempt.
fn by(number: u128, attempt: u32) -> Reporter {
    Reporter { attempt: Attempt(attempt), session: session(number), former: None }
}

fn complete(reporter: Reporter) -> Command {
    Command::complete(reporter, None, Vec::new(), Vec::new())
}

fn partial(reporter: Reporter) -> Command {
    Command::complete(reporter, None, Vec::new(), vec![app_error("Some")])
}

fn fail(reporter: Reporter, is_final: bool) -> Command {
    Command::fail(reporter, app_error("Wrong"), is_final, None, 0.5)
}

fn release(reporter: Reporter) -> Command {
    Command::Release { reporter }
}

fn lose_lease(attempt: u32) -> Command {
    Command::LoseLease { attempt: Attempt(attempt) }
}

fn cancel() -> Command {
    Command::Cancel { reason: "enough".to_owned() }
}

const TICK: Command = Command::Tick { chance: 0.5 };

fn after(seconds: u64) -> Timestamp {
    START.after(Duration::from_secs(seconds))
}

/// Applies a command that must change the operation.
fn changed(operation: &Operation, command: &Command, now: Timestamp) -> Operation {
    match decide(operation, command, None, now) {
        Ok(Decision::Change(event)) => {
            Operation { submission: Arc::clone(&operation.submission), life: event.life }
        }
        other => panic!("{command:?} in {}: {other:?}", operation.state_name()),
    }
}

fn submitted(settings: Settings) -> Operation {
    submit(submission(settings)).0
}

fn sequence(commands: &[Command]) -> Operation {
    let submitted = submitted(limited());
    commands.iter().fold(submitted, |operation, command| changed(&operation, command, after(1)))
}

fn states() -> Vec<(&'static str, Operation)> {
    let retried = sequence(&[acquire(1), fail(by(1, 1), false)]);
    vec![
        ("QUEUED", sequence(&[])),
        ("QUEUED backing off", retried.clone()),
        ("QUEUED released", sequence(&[acquire(1), release(by(1, 1))])),
        ("QUEUED after a loss", sequence(&[acquire(1), lose_lease(1)])),
        ("RUNNING", sequence(&[acquire(1)])),
        ("RUNNING last attempt", changed(&retried, &acquire(1), after(3))),
        ("CANCELLING", sequence(&[acquire(1), cancel()])),
        ("SUCCEEDED", sequence(&[acquire(1), complete(by(1, 1))])),
        ("PARTIALLY_SUCCEEDED", sequence(&[acquire(1), partial(by(1, 1))])),
        ("FAILED", sequence(&[acquire(1), fail(by(1, 1), true)])),
        ("CANCELLED", sequence(&[cancel()])),
        ("CANCELLED after a failure", changed(&retried, &cancel(), after(3))),
    ]
}

/// Commands about that attempt, which session 1 holds or held.
fn commands(attempt: u32) -> Vec<(&'static str, Command, Timestamp)> {
    let soon = after(4);
    let (holder, stranger) = (by(1, attempt), by(7, attempt));
    let successor = Reporter { former: Some(session(1)), ..stranger };
    let stale = by(1, attempt.saturating_sub(1));
    let other_result = Payload::new(PayloadForm::Text, "", "other".into());
    let other = Command::complete(holder, Some(&other_result), Vec::new(), Vec::new());
    let fail_other = Command::fail(holder, app_error("Other"), false, None, 0.5);
    vec![
        ("acquire", acquire(7), soon),
        ("complete", complete(holder), soon),
        ("complete, other", other, soon),
        ("complete in part", partial(holder), soon),
        ("fail", fail(holder, false), soon),
        ("fail, other", fail_other, soon),
        ("fail finally", fail(holder, true), soon),
        ("release", release(holder), soon),
        ("add log", Command::AddLog { reporter: holder }, soon),
        ("lose lease", lose_lease(attempt), soon),
        ("complete, stale", complete(stale), soon),
        ("fail, stale", fail(stale, false), soon),
        ("complete, ahead", complete(by(1, attempt + 1)), soon),
        ("complete, stranger", complete(stranger), soon),
        ("fail, stranger", fail(stranger, false), soon),
        ("release, stranger", release(stranger), soon),
        ("add log, stranger", Command::AddLog { reporter: stranger }, soon),
        ("complete, successor", complete(successor), soon),
        ("fail, successor", fail(successor, false), soon),
        ("cancel", cancel(), soon),
        ("run now", Command::RunNow, after(1)),
        ("delete", Command::Delete, soon),
        ("tick, nothing up", TICK, soon),
        ("tick, own limit up", TICK, after(30)),
        ("tick, deadline up", TICK, after(100)),
        ("tick, retention up", TICK, after(2_000)),
    ]
}

/// The code of the life's error, final or not.
fn code(life: &Life) -> String {
    let error = match &life.state {
        State::Done {
            outcome: Outcome::Failed { error } | Outcome::Cancelled { error }, ..
        } => Some(error),
        _ => life.last_error.as_ref(),
    };
    error.map(|error| format!(" {}", error.code)).unwrap_or_default()
}

#[test]
fn every_state_against_every_command() {
    let mut table = String::new();
    for (state, operation) in states() {
        let _ = writeln!(table, "{state}");
        for (name, command, now) in commands(operation.life.attempt.0) {
            let outcome = match decide(&operation, &command, None, now) {
                Ok(Decision::Change(event)) => {
                    format!("{}{}", event.state(), code(&event.life))
                }
                Ok(Decision::NoChange) => "-".to_owned(),
                Ok(Decision::Remove) => "removed".to_owned(),
                Err(rejection) => format!("refused: {rejection}"),
            };
            let _ = writeln!(table, "  {name:<20}{outcome}");
        }
    }
    let expected = include_str!("table.txt");
    assert!(table == expected, "the rules differ from table.txt; they say now:\n{table}");
}

#[test]
fn each_limit_is_named_and_the_earliest_counts() {
    let code_of = |operation: &Operation| code(&operation.life).trim().to_owned();
    let queued = submitted(limited());
    assert_eq!(queued.wake_at(), Some(after(10)));
    assert_eq!(code_of(&changed(&queued, &TICK, after(500))), "QUEUE_TIMEOUT");

    let running = changed(&queued, &acquire(1), after(1));
    assert_eq!(running.wake_at(), Some(after(21)));
    let retrying = changed(&running, &TICK, after(21));
    assert_eq!(retrying.state_name(), StateName::Queued);
    assert_eq!(code_of(&retrying), "ATTEMPT_TIMEOUT");
    // The queue timeout ends with the first attempt.
    assert_eq!(retrying.wake_at(), Some(after(100)));
    let failed = changed(&retrying, &TICK, after(100));
    assert_eq!(code_of(&failed), "DEADLINE_EXCEEDED");
    let State::Done { outcome: Outcome::Failed { error }, .. } = &failed.life.state else {
        panic!("{failed:?}")
    };
    assert_eq!(error.causes[0].code, "ATTEMPT_TIMEOUT");

    let last = changed(&retrying, &acquire(2), after(30));
    assert_eq!(code_of(&changed(&last, &TICK, after(50))), "ATTEMPT_TIMEOUT");
    assert_eq!(changed(&last, &TICK, after(50)).state_name(), StateName::Failed);
}

#[test]
fn a_limit_that_is_up_stops_a_start_even_before_its_timer() {
    let queued = submitted(limited());
    assert_eq!(decide(&queued, &acquire(1), None, after(10)), Err(Rejection::NotDue));
    let mut later = Submission::clone(&queued.submission);
    later.start_at = after(5);
    let delayed = submit(Arc::new(later)).0;
    assert_eq!(decide(&delayed, &acquire(1), None, after(4)), Err(Rejection::NotDue));
    assert!(decide(&delayed, &acquire(1), None, after(5)).is_ok());
}

#[test]
fn what_is_put_off_runs_now_when_it_is_asked_to() {
    let mut later = Submission::clone(&submitted(limited()).submission);
    later.start_at = after(5);
    let delayed = submit(Arc::new(later)).0;
    assert_eq!(decide(&delayed, &acquire(1), None, after(1)), Err(Rejection::NotDue));
    let due = changed(&delayed, &Command::RunNow, after(1));
    assert_eq!(due.life.revision, delayed.life.revision.next());
    // Whatever the clock says.
    assert!(decide(&due, &acquire(1), None, after(0)).is_ok());
    assert_eq!(decide(&due, &Command::RunNow, None, after(1)), Ok(Decision::NoChange));
    assert_eq!(due.next_limit(), delayed.next_limit());
}

#[test]
fn backoff_follows_the_policy_or_the_worker() {
    let running = changed(&submitted(limited()), &acquire(1), after(0));
    let not_before = |operation: &Operation| match operation.life.state {
        State::Queued { not_before } => not_before,
        ref other => panic!("{other:?}"),
    };
    assert_eq!(not_before(&changed(&running, &fail(by(1, 1), false), after(2))), after(3));
    let retry_delay = Some(Duration::from_secs(50));
    let told = Command::fail(by(1, 1), app_error("Wrong"), false, retry_delay, 0.5);
    assert_eq!(not_before(&changed(&running, &told, after(2))), after(52));
    assert_eq!(not_before(&changed(&running, &lose_lease(1), after(2))), after(2));
}

/// When the next attempt of a queued operation may start.
fn next_start(operation: &Operation) -> Timestamp {
    match operation.life.state {
        State::Queued { not_before } => not_before,
        _ => panic!("{operation:?} is not queued"),
    }
}

#[test]
fn a_released_attempt_does_not_count_but_its_number_is_never_used_again() {
    let mut operation = submitted(Settings::default());
    for number in 1..=10 {
        // Each attempt is released after more than any pause.
        let start = u64::from(number) * 100;
        operation = changed(&operation, &acquire(1), after(start));
        assert_eq!(operation.life.attempt, Attempt(number));
        operation = changed(&operation, &release(by(1, number)), after(start + 60));
        assert_eq!(operation.life.attempts_used, 0);
        assert_eq!(next_start(&operation), after(start + 60), "at once");
    }
}

#[test]
fn attempts_that_are_released_at_once_follow_each_other_more_and_more_slowly() {
    let mut operation = submitted(Settings::default());
    let (mut now, mut pauses) = (1, Vec::new());
    for number in 1..=12_u32 {
        operation = changed(&operation, &acquire(1), after(now));
        operation = changed(&operation, &release(by(1, number)), after(now));
        let next = next_start(&operation);
        pauses.push(next.since(after(now)).as_secs());
        now += pauses[pauses.len() - 1];
    }
    assert_eq!(pauses, [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
    // Setting the clock back must not lengthen a pause.
    let running = changed(&operation, &acquire(1), after(now));
    let release = release(by(1, running.life.attempt.0));
    assert_eq!(next_start(&changed(&running, &release, after(now - 50))), after(now + 10));
}

#[test]
fn progress_becomes_part_of_the_next_transition_and_starts_anew_with_an_attempt() {
    let progress = Progress {
        percent: Some(50.0),
        done_units: None,
        total_units: None,
        message: "half".to_owned(),
        at: after(2),
    };
    let running = changed(&submitted(limited()), &acquire(1), after(1));
    let decision = decide(&running, &fail(by(1, 1), false), Some(&progress), after(3));
    let Ok(Decision::Change(event)) = decision else { panic!("{decision:?}") };
    assert_eq!(event.life.progress.as_ref(), Some(&progress));
    let queued = Operation { submission: running.submission, life: event.life };
    assert_eq!(changed(&queued, &acquire(1), after(9)).life.progress, None);
}

#[test]
fn the_start_is_that_of_the_first_attempt() {
    let first = changed(&submitted(limited()), &acquire(1), after(1));
    assert_eq!(first.life.started_at, Some(after(1)));
    let failed = changed(&first, &fail(by(1, 1), false), after(2));
    let second = changed(&failed, &acquire(2), after(5));
    assert_eq!(second.life.started_at, Some(after(1)));
}

#[test]
fn a_lost_worker_is_told_of_as_the_last_only_when_it_was() {
    let lost = changed(&sequence(&[acquire(1)]), &lose_lease(1), after(2));
    let message = |error: &OperationError| error.message.clone();
    let first = lost.life.last_error.as_ref().map(message).unwrap_or_default();
    assert_eq!(first, "worker w was lost during attempt 1");
    let ended = changed(&changed(&lost, &acquire(2), after(2)), &lose_lease(2), after(3));
    let State::Done { outcome: Outcome::Failed { error }, .. } = &ended.life.state else {
        panic!("{:?}", ended.life.state);
    };
    assert!(error.message.ends_with("because at most 2 may be made"), "{}", error.message);
}

#[test]
fn a_cancel_is_kept_wherever_it_met_the_operation() {
    let request = CancelRequest { at: after(7), reason: "enough".to_owned() };
    for met in [&[][..], &[acquire(1)]] {
        let cancelled = changed(&sequence(met), &cancel(), after(7));
        assert_eq!(cancelled.life.cancel.as_ref(), Some(&request), "{met:?}");
    }
}
