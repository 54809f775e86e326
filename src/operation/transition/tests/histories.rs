//! Arbitrary sequences of commands against the guarantees.

use proptest::prelude::*;

use super::*;

/// A step of a random history: a command made from small numbers, and the time that passes.
fn arbitrary_step() -> impl Strategy<Value = (Command, i64)> {
    let attempt = 0_u32..5;
    let former = prop::option::weighted(0.2, (1_u128..3).prop_map(session));
    let reporter = (1_u128..3, attempt.clone(), former)
        .prop_map(|(number, attempt, former)| Reporter { former, ..by(number, attempt) });
    let command = prop_oneof![
        4 => (1_u128..3).prop_map(acquire),
        3 => reporter.clone().prop_map(complete),
        1 => reporter.clone().prop_map(partial),
        3 => (reporter.clone(), any::<bool>()).prop_map(|(reporter, last)| fail(reporter, last)),
        2 => reporter.clone().prop_map(release),
        1 => reporter.prop_map(|reporter| Command::AddLog { reporter }),
        2 => attempt.prop_map(lose_lease),
        1 => Just(cancel()),
        1 => Just(Command::Delete),
        3 => (0.0..=1.0).prop_map(|chance| Command::Tick { chance }),
    ];
    // The clock may also stand still or be set back a little.
    (command, prop_oneof![Just(0), -2_000_000_i64..30_000_000])
}

fn digest(command: &Command) -> Option<ReportDigest> {
    match command {
        Command::Complete { digest, .. } | Command::Fail { digest, .. } => Some(*digest),
        Command::Release { .. } => Some(ReportDigest::of_release()),
        _ => None,
    }
}

proptest! {
    /// One outcome, a history without gaps, and one lease at a time, whatever happens in any order.
    #[test]
    fn any_history_keeps_the_guarantees(
        steps in prop::collection::vec(arbitrary_step(), 1..60),
        max_attempts in 1_u32..4,
        with_limits in any::<bool>(),
    ) {
        let mut settings = if with_limits { limited() } else { Settings::default() };
        settings.retry_policy.max_attempts = max_attempts;
        let (mut operation, mut now) = (submitted(settings), START);
        let mut recorded: Option<RecordedReport> = None;
        for (command, advance) in steps {
            now = Timestamp::from_micros(now.micros() + advance);
            let before = operation.clone();
            match decide(&before, &command, None, now) {
                Ok(Decision::Change(event)) => {
                    let life = &event.life;
                    // One outcome: nothing changes a terminal state.
                    prop_assert!(!before.is_done(), "{command:?} changed {before:?}");
                    // Revisions have no gaps and times do not run backwards, so a watcher misses nothing.
                    prop_assert_eq!(life.revision, before.life.revision.next());
                    prop_assert!(life.updated_at >= before.life.updated_at);
                    // One lease at a time: only a start raises the attempt, by one, and only from the queue.
                    let started = event.event_type == EventType::Started;
                    let raised = u32::from(started);
                    prop_assert_eq!(life.attempt.0, before.life.attempt.0 + raised);
                    prop_assert!(!started || before.life.state.lease().is_none());
                    // A report counts only for the current attempt, and from the session that holds it.
                    if let Some(reporter) = command.reporter() {
                        let lease = before.life.state.lease();
                        prop_assert_eq!(reporter.attempt, before.life.attempt);
                        prop_assert_eq!(lease.map(|lease| lease.session), Some(reporter.session));
                        let Reporter { attempt, session, .. } = *reporter;
                        recorded = digest(&command)
                            .map(|digest| RecordedReport { attempt, session, digest });
                    }
                    prop_assert_eq!(life.last_report, recorded);
                    prop_assert!(life.attempts_used <= max_attempts);
                    operation.life = event.life;
                    if operation.is_done() {
                        prop_assert_eq!(event.event_type, EventType::Finished);
                        prop_assert!(operation.ended_at().is_some());
                    }
                    // The same report, repeated, changes nothing.
                    if matches!(
                        command,
                        Command::Complete { .. } | Command::Fail { .. } | Command::Release { .. }
                    ) {
                        let again = decide(&operation, &command, None, now);
                        prop_assert_eq!(again, Ok(Decision::NoChange));
                    }
                }
                Ok(Decision::Remove) => {
                    prop_assert!(before.is_done());
                    break;
                }
                // A report that changes nothing is acknowledged only if it was recorded.
                Ok(Decision::NoChange) => {
                    if let (Some(digest), Some(reporter)) = (digest(&command), command.reporter()) {
                        let same = recorded.filter(|it| it.is_by(reporter) && it.digest == digest);
                        prop_assert!(same.is_some(), "{command:?} is acknowledged in {before:?}");
                    }
                }
                Err(rejection) => {
                    let reporter = command.reporter();
                    let is_stale = matches!(rejection, Rejection::StaleAttempt { .. });
                    prop_assert_eq!(is_stale, reporter.is_some());
                }
            }
        }
        // An operation that only waits for time ends by time alone.
        if with_limits {
            for _ in 0..20 {
                let Some(at) = operation.wake_at() else { break };
                match decide(&operation, &TICK, None, at) {
                    Ok(Decision::Change(event)) => operation.life = event.life,
                    Ok(Decision::Remove) => return Ok(()),
                    other => prop_assert!(false, "{at:?} {other:?} {operation:?}"),
                }
            }
            prop_assert!(false, "time does not end {operation:?}");
        }
    }
}
