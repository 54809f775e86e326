//! What holds of submissions, histories, sightings and watches.

use std::collections::{BTreeMap, HashMap};

use longrun::proto::v1::event::Type as EventType;
use longrun::proto::v1::operation::State;

use super::{
    Final, History, Mark, Promise, Sighting, Violations, Watch, WatchEnd, WatchEntry, is_final,
};

/// Acknowledged submissions are there, as they were; acknowledged deletions are gone.
pub(super) fn submissions(history: &History, violations: &mut Violations) {
    for submission in &history.submissions {
        let name = &submission.name;
        match history.finals.get(name) {
            None if history.deletions.contains_key(name) => {}
            None => violations.add(Promise::NothingLost, name, "an acknowledged one is gone"),
            Some(last) if last.content != submission.content || last.key != submission.key => {
                let detail = format!("submitted {submission:?}, stored {last:?}");
                violations.add(Promise::ContentKept, name, detail);
            }
            Some(_) => {}
        }
    }
    for (name, _) in history.deletions.iter().filter(|(_, acknowledged)| **acknowledged) {
        if history.finals.contains_key(name) {
            violations.add(Promise::DeletedIsGone, name, "it is there again");
        }
    }
    for name in &history.missing {
        if !history.deletions.contains_key(name) {
            violations.add(Promise::NothingLost, name, "it was said not to exist");
        }
    }
}

/// A key names one operation with one content. Keys of deleted operations are not used again by
/// those who gather the facts.
pub(super) fn keys(history: &History, violations: &mut Violations) {
    let mut named: HashMap<&str, (&str, &str)> = HashMap::new();
    for submission in &history.submissions {
        let Some(key) = &submission.key else { continue };
        let this = (submission.name.as_str(), submission.content.as_str());
        let (name, content) = *named.entry(key).or_insert(this);
        if name != submission.name {
            let detail = format!("{key} names {name} as well");
            violations.add(Promise::KeyNamesOne, &submission.name, detail);
        }
        if content != submission.content {
            let detail = format!("{key} was taken with {content} and with {}", submission.content);
            violations.add(Promise::KeyKeepsContent, &submission.name, detail);
        }
    }
    let mut stored: HashMap<&str, &str> = HashMap::new();
    for (name, last) in &history.finals {
        if let Some(key) = &last.key
            && let Some(other) = stored.insert(key, name)
        {
            violations.add(Promise::KeyNamesOne, name, format!("{key} is stored in {other} too"));
        }
    }
}

/// A history is whole, agrees with its operation, and has one end.
pub(super) fn own_history(name: &str, last: &Final, violations: &mut Violations) {
    if !is_final(last.mark.state) {
        violations.add(Promise::EveryoneEnds, name, format!("it is still {:?}", last.mark.state));
    }
    for (event, expected) in last.events.iter().zip(1..) {
        if event.mark.revision != expected {
            let detail = format!("event {} stands where {expected} belongs", event.mark.revision);
            violations.add(Promise::HistoryIsWhole, name, detail);
            break;
        }
    }
    if last.events.last().map(|event| &event.mark) != Some(&last.mark) {
        let detail = format!("it is {:?}, and ends with {:?}", last.mark, last.events.last());
        violations.add(Promise::HistoryIsWhole, name, detail);
    }
    if last.listed.as_ref() != Some(&last.mark) {
        let detail = format!("it is {:?}, and is listed as {:?}", last.mark, last.listed);
        violations.add(Promise::HistoryIsWhole, name, detail);
    }
    let ends = last.events.iter().filter(|event| is_final(event.mark.state)).count();
    let end_is_last = last.events.iter().rev().skip(1).all(|event| !is_final(event.mark.state));
    if ends > 1 || !end_is_last {
        let detail = format!("{ends} ends: {:?}", last.events);
        violations.add(Promise::OneOutcome, name, detail);
    }
}

/// Attempts begin one after the other, each with the next number, and each event belongs to the
/// attempt that it must.
pub(super) fn attempts(name: &str, last: &Final, violations: &mut Violations) {
    let mut current: Option<i32> = None;
    let mut highest = 0;
    for event in &last.events {
        let Mark { attempt, state, .. } = event.mark;
        let fits = match event.event {
            EventType::Started => {
                let fits = current.is_none() && attempt == highest + 1 && state == State::Running;
                current = Some(attempt);
                highest = attempt;
                fits
            }
            EventType::CancelRequested => current == Some(attempt) && state == State::Cancelling,
            EventType::RetryScheduled | EventType::Released => {
                current.take() == Some(attempt) && state == State::Queued
            }
            EventType::Finished => {
                let by_attempt = current.take();
                // What succeeds was being executed; the others may end in the queue.
                let needs_attempt = matches!(state, State::Succeeded | State::PartiallySucceeded);
                attempt == highest && is_final(state) && (by_attempt.is_some() || !needs_attempt)
            }
            EventType::StartRequested => current.is_none() && state == State::Queued,
            EventType::Submitted => {
                event.mark.revision == 1 && attempt == 0 && state == State::Queued
            }
            EventType::Log | EventType::Unspecified => false,
        };
        if !fits {
            let detail = format!("{event:?} does not follow from what was before it");
            violations.add(Promise::OneAttempt, name, detail);
            return;
        }
    }
}

/// What anybody saw is part of the history, and everybody saw the same.
pub(super) fn sightings(history: &History, violations: &mut Violations) {
    let mut seen: HashMap<(&str, i64), &Mark> = HashMap::new();
    for Sighting { name, mark, .. } in &history.sightings {
        let first = *seen.entry((name, mark.revision)).or_insert(mark);
        if first != mark {
            let promise = taken_back(first, mark);
            violations.add(promise, name, format!("it was shown as {first:?} and as {mark:?}"));
        }
    }
    let mut by_name: BTreeMap<&str, Vec<&Mark>> = BTreeMap::new();
    for ((name, _), mark) in seen {
        by_name.entry(name).or_default().push(mark);
    }
    for (name, marks) in by_name {
        if let Some(last) = history.finals.get(name) {
            for mark in marks {
                let stored = last.events.iter().find(|event| event.mark.revision == mark.revision);
                if stored.map(|event| &event.mark) != Some(mark) {
                    let promise = taken_back(mark, &last.mark);
                    let detail =
                        format!("it was shown as {mark:?}, and its history has {stored:?}");
                    violations.add(promise, name, detail);
                }
            }
        } else if !history.deletions.contains_key(name) {
            violations.add(Promise::NothingLost, name, "it was shown, and is gone");
        }
    }
}

/// An end that is not kept is the worse for it.
fn taken_back(shown: &Mark, now: &Mark) -> Promise {
    if is_final(shown.state) && shown != now {
        Promise::OneOutcome
    } else {
        Promise::NothingTakenBack
    }
}

/// Whoever asks after somebody has seen a revision sees that one or a later one.
pub(super) fn reads_in_order(history: &History, violations: &mut Violations) {
    let mut reads: HashMap<&str, Vec<(u64, u64, i64)>> = HashMap::new();
    for Sighting { name, mark, between } in &history.sightings {
        if let Some((asked, seen)) = *between {
            reads.entry(name).or_default().push((asked, seen, mark.revision));
        }
    }
    for (name, mut asked) in reads {
        asked.sort_unstable();
        let mut by_seen: Vec<(u64, i64)> = asked.iter().map(|read| (read.1, read.2)).collect();
        by_seen.sort_unstable();
        let mut earlier = by_seen.into_iter().peekable();
        let mut known = 0;
        for (asked, _, revision) in asked {
            while let Some((_, seen)) = earlier.next_if(|(seen_at, _)| *seen_at < asked) {
                known = known.max(seen);
            }
            if revision < known {
                let detail = format!("revision {revision} was shown after {known} had been seen");
                violations.add(Promise::NeverBackInTime, name, detail);
            }
        }
    }
}

/// A watch is what the history is, from where it began to the end.
pub(super) fn watch(history: &History, watch: &Watch, violations: &mut Violations) {
    let Watch { name, from_snapshot, entries, end } = watch;
    let first = match entries.first() {
        Some(WatchEntry { mark, .. }) if *from_snapshot => mark.revision,
        _ => 1,
    };
    for (at, (entry, expected)) in entries.iter().zip(first..).enumerate() {
        let is_snapshot = entry.event.is_none();
        if entry.mark.revision != expected || is_snapshot != (*from_snapshot && at == 0) {
            let detail = format!("{entry:?} came where revision {expected} was due");
            violations.add(Promise::WatchIsWhole, name, detail);
            return;
        }
    }
    let deleted = history.deletions.contains_key(name);
    if let Some(last) = history.finals.get(name) {
        let stored: HashMap<i64, _> =
            last.events.iter().map(|event| (event.mark.revision, event)).collect();
        for entry in entries {
            let same = stored.get(&entry.mark.revision).is_some_and(|stored| {
                stored.mark == entry.mark && entry.event.is_none_or(|event| event == stored.event)
            });
            if !same {
                let detail = format!("{entry:?} is not what the history has");
                violations.add(Promise::WatchIsWhole, name, detail);
                return;
            }
        }
    } else if !deleted {
        violations.add(Promise::NothingLost, name, "it was watched, and is gone");
    }
    let at_end = entries.last().is_some_and(|entry| is_final(entry.mark.state));
    match end {
        WatchEnd::Finished if at_end => {}
        WatchEnd::Refused(reason) if deleted && reason == "OPERATION_NOT_FOUND" => {}
        _ => {
            let detail = format!("its watch ended with {:?}: {end:?}", entries.last());
            violations.add(Promise::WatchEnds, name, detail);
        }
    }
}
