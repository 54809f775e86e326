//! What holds of the reports of workers: the acknowledged ones show, the refused ones do not.

use std::collections::{BTreeSet, HashMap};

use longrun::proto::v1::event::Type as EventType;
use longrun::proto::v1::operation::State;

use super::{EventFact, Final, History, Promise, Report, ReportKind, Violations};

pub(super) fn check(history: &History, violations: &mut Violations) {
    let mut by_token: HashMap<&str, &Report> = HashMap::new();
    for report in &history.reports {
        by_token.insert(&report.token, report);
    }
    for (name, last) in &history.finals {
        shown(name, last, &by_token, violations);
    }
    let mut endings: HashMap<(&str, i32), BTreeSet<(ReportKind, &str)>> = HashMap::new();
    for report in &history.reports {
        // What was deleted cannot be looked at any more.
        let Some(last) = history.finals.get(&report.name) else { continue };
        if report.acknowledged > 0 {
            acknowledged(report, last, violations);
        }
        if report.acknowledged > 0 && !report.is_forged && report.kind != ReportKind::Log {
            let attempt = (report.name.as_str(), report.attempt);
            endings.entry(attempt).or_default().insert((report.kind, &report.token));
        }
    }
    for ((name, attempt), reports) in endings {
        if reports.len() > 1 {
            let detail = format!("attempt {attempt} was ended by each of {reports:?}");
            violations.add(Promise::OneReport, name, detail);
        }
    }
}

/// Whatever shows was sent for that operation and that attempt, by its holder, and not refused.
fn shown(name: &str, last: &Final, by_token: &HashMap<&str, &Report>, violations: &mut Violations) {
    let of_events = last
        .events
        .iter()
        .flat_map(|event| event.tokens.iter().map(move |token| (event.mark.attempt, token)));
    let of_log = last.log.iter().map(|(attempt, text)| (*attempt, text));
    let of_result = last.tokens.iter().map(|token| (last.mark.attempt, token));
    for (attempt, token) in of_events.chain(of_log).chain(of_result) {
        let why = match by_token.get(token.as_str()) {
            None => "nobody sent it",
            Some(report) if report.name != name => "it is of another operation",
            Some(report) if report.attempt != attempt => "it is of another attempt",
            Some(report) if report.is_forged => "its sender did not hold the attempt",
            // One that had no answer may have been taken before it was sent again and refused.
            Some(report) if report.refused == report.sent => "it was refused",
            Some(_) => continue,
        };
        violations.add(Promise::NothingFromStrangers, name, format!("{token} shows: {why}"));
    }
}

/// An acknowledged report shows where it must, and was its attempt's holder's.
fn acknowledged(report: &Report, last: &Final, violations: &mut Violations) {
    let Report { attempt, token, .. } = report;
    let ending = last.events.iter().find(|event| ends(event, *attempt));
    let shows = !report.is_forged
        && match report.kind {
            ReportKind::Log => last.log.iter().any(|line| *line == (*attempt, token.clone())),
            kind => ending.is_some_and(|event| ends_as(kind, event)),
        };
    let carried = match report.kind {
        ReportKind::Complete | ReportKind::CompletePartly => &last.tokens,
        ReportKind::FailForRetry | ReportKind::FailForGood => {
            ending.map_or(&last.tokens, |event| &event.tokens)
        }
        ReportKind::Release | ReportKind::Log => return must(shows, report, ending, violations),
    };
    must(shows && carried.contains(token), report, ending, violations);
}

fn must(holds: bool, report: &Report, ending: Option<&EventFact>, violations: &mut Violations) {
    if !holds {
        let detail = format!("{report:?} was acknowledged, and its attempt ended with {ending:?}");
        violations.add(Promise::ReportShows, &report.name, detail);
    }
}

fn ends(event: &EventFact, attempt: i32) -> bool {
    let ending = [EventType::RetryScheduled, EventType::Released, EventType::Finished];
    event.mark.attempt == attempt && ending.contains(&event.event)
}

/// Whether the attempt ended as such a report ends it. A cancelled operation whose worker fails or
/// releases it is cancelled.
fn ends_as(kind: ReportKind, event: &EventFact) -> bool {
    let (event, state) = (event.event, event.mark.state);
    match kind {
        ReportKind::Complete => state == State::Succeeded,
        ReportKind::CompletePartly => state == State::PartiallySucceeded,
        ReportKind::FailForRetry => {
            event == EventType::RetryScheduled || matches!(state, State::Failed | State::Cancelled)
        }
        ReportKind::FailForGood => matches!(state, State::Failed | State::Cancelled),
        ReportKind::Release => event == EventType::Released || state == State::Cancelled,
        ReportKind::Log => true,
    }
}
