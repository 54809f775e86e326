//! Shows that the check can fail: a sound record is sabotaged in every way that it must notice.

use longrun::proto::v1::event::Type as EventType;
use longrun::proto::v1::operation::State;

use super::{
    EventFact, Final, History, Mark, Promise, Report, ReportKind, Sighting, Submission, Watch,
    WatchEnd, WatchEntry, check,
};

const A: &str = "operations/a";
const B: &str = "operations/b";

fn mark(revision: i64, state: State, attempt: i32) -> Mark {
    let worker = if attempt == 0 { String::new() } else { format!("worker-{attempt}") };
    Mark { revision, state, attempt, worker, time: 1_000 * revision }
}

fn event(event: EventType, mark: Mark, tokens: &[&str]) -> EventFact {
    EventFact { mark, event, tokens: tokens.iter().map(|token| (*token).to_owned()).collect() }
}

fn report(attempt: i32, kind: ReportKind, token: &str) -> Report {
    Report {
        name: A.to_owned(),
        attempt,
        kind,
        token: token.to_owned(),
        is_forged: false,
        sent: 1,
        acknowledged: 1,
        refused: 0,
    }
}

fn sighting(mark: &Mark, between: Option<(u64, u64)>) -> Sighting {
    Sighting { name: A.to_owned(), mark: mark.clone(), between }
}

/// `a` fails once, writes a line, and succeeds; it is watched twice. `b` waits in the queue and is
/// cancelled.
fn sound() -> History {
    let events = vec![
        event(EventType::Submitted, mark(1, State::Queued, 0), &[]),
        event(EventType::Started, mark(2, State::Running, 1), &[]),
        event(EventType::RetryScheduled, mark(3, State::Queued, 1), &["failed"]),
        event(EventType::Started, mark(4, State::Running, 2), &[]),
        event(EventType::Finished, mark(5, State::Succeeded, 2), &[]),
    ];
    let entry = |fact: &EventFact| WatchEntry { mark: fact.mark.clone(), event: Some(fact.event) };
    let from_first = events.iter().map(entry).collect();
    let snapshot = WatchEntry { mark: events[2].mark.clone(), event: None };
    let from_snapshot = [snapshot].into_iter().chain(events[3..].iter().map(entry)).collect();
    let watch = |from_snapshot, entries| Watch {
        name: A.to_owned(),
        from_snapshot,
        entries,
        end: WatchEnd::Finished,
    };
    let submission = |name: &str, key: &str| Submission {
        name: name.to_owned(),
        key: Some(key.to_owned()),
        content: format!("content of {key}"),
    };
    let mut history = History {
        submissions: vec![submission(A, "key-a"), submission(A, "key-a"), submission(B, "key-b")],
        sightings: vec![
            sighting(&events[0].mark, Some((0, 1))),
            sighting(&events[3].mark, Some((2, 5))),
            sighting(&events[2].mark, Some((3, 4))),
            sighting(&events[4].mark, None),
        ],
        watches: vec![watch(false, from_first), watch(true, from_snapshot)],
        reports: vec![
            report(1, ReportKind::FailForRetry, "failed"),
            report(2, ReportKind::Log, "a line"),
            report(2, ReportKind::Complete, "done"),
        ],
        ..History::default()
    };
    let last = Final {
        mark: events[4].mark.clone(),
        listed: Some(events[4].mark.clone()),
        key: Some("key-a".to_owned()),
        content: "content of key-a".to_owned(),
        tokens: vec!["done".to_owned()],
        events,
        log: vec![(2, "a line".to_owned())],
    };
    history.finals.insert(A.to_owned(), last);
    let events = vec![
        event(EventType::Submitted, mark(1, State::Queued, 0), &[]),
        event(EventType::Finished, mark(2, State::Cancelled, 0), &[]),
    ];
    let cancelled = Final {
        mark: events[1].mark.clone(),
        listed: Some(events[1].mark.clone()),
        key: Some("key-b".to_owned()),
        content: "content of key-b".to_owned(),
        tokens: Vec::new(),
        events,
        log: Vec::new(),
    };
    history.finals.insert(B.to_owned(), cancelled);
    history
}

/// The promises that the sabotaged record shows to be broken.
fn broken_by(sabotage: impl FnOnce(&mut History)) -> Vec<Promise> {
    let mut history = sound();
    sabotage(&mut history);
    let mut promises: Vec<Promise> =
        check(&history).into_iter().map(|violation| violation.promise).collect();
    promises.sort_unstable();
    promises.dedup();
    promises
}

fn a(history: &mut History) -> &mut Final {
    history.finals.get_mut(A).unwrap()
}

#[test]
fn a_sound_record_breaks_no_promise() {
    assert_eq!(broken_by(|_| ()), []);
}

#[test]
fn a_lost_submission_is_noticed() {
    let lose = |history: &mut History| drop(history.finals.remove(B));
    assert_eq!(broken_by(lose), [Promise::NothingLost]);
    let deny = |history: &mut History| history.missing.extend([B.to_owned()]);
    assert_eq!(broken_by(deny), [Promise::NothingLost]);
    // Somebody asked for it to be deleted, which may have been heard.
    let deleted = |acknowledged| {
        move |history: &mut History| {
            history.deletions.insert(B.to_owned(), acknowledged);
            history.finals.remove(B);
        }
    };
    assert_eq!(broken_by(deleted(true)), []);
    assert_eq!(broken_by(deleted(false)), []);
}

#[test]
fn a_deleted_operation_that_comes_back_is_noticed() {
    let come_back = |history: &mut History| history.deletions.extend([(B.to_owned(), true)]);
    assert_eq!(broken_by(come_back), [Promise::DeletedIsGone]);
}

#[test]
fn another_content_is_noticed() {
    assert_eq!(
        broken_by(|history| a(history).content = "something else".to_owned()),
        [Promise::ContentKept]
    );
}

#[test]
fn a_key_of_two_operations_or_contents_is_noticed() {
    let two_answers = |history: &mut History| history.submissions[1].name = B.to_owned();
    assert!(broken_by(two_answers).contains(&Promise::KeyNamesOne));
    let two_stored = |history: &mut History| {
        history.submissions.pop();
        history.finals.get_mut(B).unwrap().key = Some("key-a".to_owned());
    };
    assert_eq!(broken_by(two_stored), [Promise::KeyNamesOne]);
    let two_contents = |history: &mut History| history.submissions[1].content = "else".to_owned();
    assert_eq!(broken_by(two_contents), [Promise::ContentKept, Promise::KeyKeepsContent]);
}

#[test]
fn an_operation_that_does_not_end_is_noticed() {
    let stay = |history: &mut History| {
        let queued = a(history).events[2].mark.clone();
        *a(history) = Final {
            mark: queued.clone(),
            listed: Some(queued),
            events: a(history).events[..3].to_vec(),
            tokens: Vec::new(),
            log: Vec::new(),
            ..a(history).clone()
        };
        history.sightings.truncate(1);
        history.watches.clear();
        history.reports.truncate(1);
    };
    assert_eq!(broken_by(stay), [Promise::EveryoneEnds]);
}

#[test]
fn a_second_end_is_noticed() {
    let end_again = |history: &mut History| {
        let again = mark(3, State::Failed, 0);
        let cancelled = history.finals.get_mut(B).unwrap();
        cancelled.events.push(event(EventType::Finished, again.clone(), &[]));
        cancelled.mark = again.clone();
        cancelled.listed = Some(again);
    };
    assert_eq!(broken_by(end_again), [Promise::OneOutcome]);
    // Somebody saw another end than the one that is there.
    let other_end = |history: &mut History| {
        history.sightings[3].mark = mark(5, State::Failed, 2);
    };
    assert_eq!(broken_by(other_end), [Promise::OneOutcome]);
}

#[test]
fn a_history_with_a_gap_or_a_repetition_is_noticed() {
    let gap = |history: &mut History| drop(history.finals.get_mut(B).unwrap().events.remove(0));
    assert_eq!(broken_by(gap), [Promise::HistoryIsWhole]);
    let repetition = |history: &mut History| {
        let events = &mut a(history).events;
        events.insert(1, events[1].clone());
    };
    assert!(broken_by(repetition).contains(&Promise::HistoryIsWhole));
    let cut_off = |history: &mut History| drop(a(history).events.pop());
    assert!(broken_by(cut_off).contains(&Promise::HistoryIsWhole));
    assert_eq!(broken_by(|history| a(history).listed = None), [Promise::HistoryIsWhole]);
}

#[test]
fn a_transition_that_was_taken_back_is_noticed() {
    // Started again, by another worker, under the same revision and attempt.
    let again = |history: &mut History| history.sightings[1].mark.worker = "worker-9".to_owned();
    assert_eq!(broken_by(again), [Promise::NothingTakenBack]);
    let later = |history: &mut History| history.sightings[1].mark.time += 1;
    assert_eq!(broken_by(later), [Promise::NothingTakenBack]);
    let never = |history: &mut History| history.sightings[1].mark.revision = 6;
    assert_eq!(broken_by(never), [Promise::NothingTakenBack]);
    // It is deleted now, and still its two observers cannot both be right.
    let deleted = |history: &mut History| {
        history.finals.remove(A);
        history.deletions.insert(A.to_owned(), true);
        history.watches.clear();
        history.sightings.push(sighting(&mark(4, State::Queued, 1), None));
    };
    assert_eq!(broken_by(deleted), [Promise::NothingTakenBack]);
}

#[test]
fn an_answer_older_than_what_was_seen_before_is_noticed() {
    // Asked after another had seen the fourth revision.
    let back = |history: &mut History| history.sightings[2].between = Some((6, 7));
    assert_eq!(broken_by(back), [Promise::NeverBackInTime]);
}

#[test]
fn a_watch_with_a_gap_a_repetition_or_another_story_is_noticed() {
    for watch in [0, 1] {
        let gap = |history: &mut History| drop(history.watches[watch].entries.remove(1));
        assert_eq!(broken_by(gap), [Promise::WatchIsWhole]);
        let repetition = |history: &mut History| {
            let entries = &mut history.watches[watch].entries;
            entries.insert(1, entries[1].clone());
        };
        assert_eq!(broken_by(repetition), [Promise::WatchIsWhole]);
        let other = |history: &mut History| history.watches[watch].entries[1].mark.time += 1;
        assert_eq!(broken_by(other), [Promise::WatchIsWhole]);
        let swapped = |history: &mut History| history.watches[watch].entries.swap(0, 1);
        assert_eq!(broken_by(swapped), [Promise::WatchIsWhole]);
    }
    let no_first = |history: &mut History| drop(history.watches[0].entries.remove(0));
    assert_eq!(broken_by(no_first), [Promise::WatchIsWhole]);
    let other_event = |history: &mut History| {
        history.watches[0].entries[2].event = Some(EventType::Released);
    };
    assert_eq!(broken_by(other_event), [Promise::WatchIsWhole]);
}

#[test]
fn a_watch_that_does_not_come_to_the_end_is_noticed() {
    let early = |history: &mut History| drop(history.watches[0].entries.pop());
    assert_eq!(broken_by(early), [Promise::WatchEnds]);
    let stuck = |history: &mut History| history.watches[0].end = WatchEnd::None;
    assert_eq!(broken_by(stuck), [Promise::WatchEnds]);
    let refused = |history: &mut History| {
        history.watches[0].end = WatchEnd::Refused("REVISION_AHEAD".to_owned());
    };
    assert_eq!(broken_by(refused), [Promise::WatchEnds]);
}

#[test]
fn attempts_that_do_not_rise_or_overlap_are_noticed() {
    let twice_the_same = |history: &mut History| {
        a(history).events[3].mark.attempt = 1;
        history.watches.clear();
        history.sightings.clear();
    };
    assert_eq!(broken_by(twice_the_same), [Promise::OneAttempt]);
    let overlap = |history: &mut History| {
        let events = &mut a(history).events;
        events[2] = event(EventType::Started, mark(3, State::Running, 2), &[]);
        history.watches.clear();
        history.sightings.clear();
        history.reports.remove(0);
    };
    assert_eq!(broken_by(overlap), [Promise::OneAttempt]);
    let without = |history: &mut History| {
        let end = &mut history.finals.get_mut(B).unwrap().events[1];
        end.mark.state = State::Succeeded;
        let end = end.mark.clone();
        let cancelled = history.finals.get_mut(B).unwrap();
        (cancelled.mark, cancelled.listed) = (end.clone(), Some(end));
    };
    assert_eq!(broken_by(without), [Promise::OneAttempt]);
}

#[test]
fn an_acknowledged_report_that_does_not_show_is_noticed() {
    let no_result = |history: &mut History| a(history).tokens.clear();
    assert_eq!(broken_by(no_result), [Promise::ReportShows]);
    let no_failure = |history: &mut History| a(history).events[2].tokens.clear();
    assert_eq!(broken_by(no_failure), [Promise::ReportShows]);
    let no_line = |history: &mut History| a(history).log.clear();
    assert_eq!(broken_by(no_line), [Promise::ReportShows]);
    let other_end = |history: &mut History| history.reports[2].kind = ReportKind::FailForGood;
    assert_eq!(broken_by(other_end), [Promise::ReportShows]);
    let unanswered = |history: &mut History| {
        history.reports[2].acknowledged = 0;
    };
    assert_eq!(broken_by(unanswered), []);
}

#[test]
fn a_second_report_that_ends_an_attempt_is_noticed() {
    let second = |history: &mut History| {
        history.reports.push(report(2, ReportKind::Complete, "done twice"));
        a(history).tokens.push("done twice".to_owned());
    };
    assert_eq!(broken_by(second), [Promise::OneReport]);
}

#[test]
fn what_a_stranger_or_a_stale_attempt_did_is_noticed() {
    let stale = |history: &mut History| {
        history.reports[2].attempt = 1;
        history.reports[2].acknowledged = 0;
    };
    assert_eq!(broken_by(stale), [Promise::NothingFromStrangers]);
    let forged = |history: &mut History| {
        history.reports[2].is_forged = true;
        history.reports[2].acknowledged = 0;
    };
    assert_eq!(broken_by(forged), [Promise::NothingFromStrangers]);
    let invented = |history: &mut History| a(history).log.push((1, "whose?".to_owned()));
    assert_eq!(broken_by(invented), [Promise::NothingFromStrangers]);
    let refused = |history: &mut History| {
        let report = &mut history.reports[2];
        (report.acknowledged, report.refused) = (0, 1);
    };
    assert_eq!(broken_by(refused), [Promise::NothingFromStrangers]);
    let of_another = |history: &mut History| {
        history.reports[2].name = B.to_owned();
        history.reports[2].acknowledged = 0;
    };
    assert_eq!(broken_by(of_another), [Promise::NothingFromStrangers]);
    // Sent twice: taken the first time, without an answer, and refused the second.
    let taken_first = |history: &mut History| {
        let report = &mut history.reports[2];
        (report.sent, report.acknowledged, report.refused) = (2, 0, 1);
    };
    assert_eq!(broken_by(taken_first), []);
}

#[test]
fn a_forged_report_that_is_acknowledged_is_noticed() {
    let forge = |kind| {
        move |history: &mut History| {
            let forged = Report { is_forged: true, ..report(2, kind, "forged") };
            history.reports.push(forged);
        }
    };
    for kind in [ReportKind::CompletePartly, ReportKind::Release, ReportKind::Log] {
        assert_eq!(broken_by(forge(kind)), [Promise::ReportShows], "{kind:?}");
    }
}

#[test]
fn an_odd_answer_is_noticed() {
    let odd = |history: &mut History| history.oddities.push((A.to_owned(), "odd".to_owned()));
    assert_eq!(broken_by(odd), [Promise::AnswersAreSound]);
}
