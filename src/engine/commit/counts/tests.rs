//! What counts towards limits, and what operators see.

use std::sync::Arc;

use super::*;
use crate::engine::sample::{at, key, new_operation, operation};
use crate::operation::limits::Limit;
use crate::operation::{EventType, Lease, SessionId, State};

fn full(result: Result<(), EngineError>) -> Option<u64> {
    match result {
        Ok(()) => None,
        Err(EngineError::Full { limit, .. }) => Some(limit),
        Err(error) => panic!("{error:?}"),
    }
}

fn new(kind: &str, capacity: Option<u64>) -> NewOperation {
    NewOperation { capacity, ..new_operation(kind) }
}

#[test]
fn what_a_draft_adds_counts_before_it_is_committed() {
    let (counts, mut added) = (Counts::new(3), Added::default());
    let none = LimitTable::default();
    assert_eq!(full(counts.submit(&new("a", Some(2)), &mut added, &none)), None);
    assert_eq!(full(counts.submit(&new("a", Some(2)), &mut added, &none)), None);
    assert_eq!(full(counts.submit(&new("a", Some(2)), &mut added, &none)), Some(2));
    assert_eq!(full(counts.submit(&new("b", Some(2)), &mut added, &none)), None);
    assert_eq!(full(counts.submit(&new("b", None), &mut added, &none)), Some(3));
    assert_eq!(counts.room(), 3, "nothing is committed");
    assert_eq!(full(counts.submit(&new("b", None), &mut Added::default(), &none)), None);
}

#[test]
fn an_operation_counts_from_its_submission_to_its_end() {
    let mut counts = Counts::new(1);
    let queued = operation(1, at(0));
    let after = |operation: &Operation| Arc::new(operation.clone());
    let (event_type, by_report) = (EventType::Submitted, false);
    let submitted = Transition { before: None, after: after(&queued), event_type, by_report };
    counts.committed(&submitted, Moment::default());
    assert_eq!((counts.all(), counts.room()), (1, 0));
    let done = crate::engine::sample::cancelled(&queued);
    let before = Some(after(&queued));
    let done = Transition { before, after: Arc::new(done), event_type, by_report };
    counts.committed(&done, Moment::default());
    assert_eq!((counts.all(), counts.room()), (0, 1));
    assert!(counts.of.is_empty());
}

#[test]
fn a_tenants_limit_counts_what_the_draft_adds_of_each_kind_and_of_all() {
    let limit = |kind: Option<&str>| Limit {
        name: LimitName::Outstanding,
        tenant: None,
        kind: kind.map(|kind| Kind::parse(kind).expect("a kind")),
        label: None,
    };
    let table = LimitTable::new([(limit(None), 3), (limit(Some("a")), 2)]).expect("limits");
    let (mut counts, mut added) = (Counts::new(100), Added::default());
    let tenant = TenantId::default_tenant();
    counts.found(QueueKey { tenant, ..key("t", "b") }, false);
    let mut submit = |kind| match counts.submit(&new(kind, None), &mut added, &table) {
        Ok(()) => None,
        Err(EngineError::Limited { kind, most, .. }) => Some((kind.is_some(), most)),
        Err(error) => panic!("{error:?}"),
    };
    assert_eq!(["a", "a", "b"].map(&mut submit), [None, None, Some((false, 3))]);
    let (counts, mut added) = (Counts::new(100), Added::default());
    let mut submit = |kind| counts.submit(&new(kind, None), &mut added, &table).is_ok();
    assert_eq!(["a", "a", "a", "b", "b"].map(&mut submit), [true, true, false, true, false]);
}

#[test]
fn a_running_attempt_counts_from_its_start_to_its_end() {
    let mut counts = Counts::new(9);
    let queued = Arc::new(operation(1, at(0)));
    let mut started = Operation::clone(&queued);
    let session = SessionId::from_uuid(uuid::Uuid::from_u128(1));
    started.life.state = State::Running { lease: Lease { session, attempt_deadline: None } };
    let started = Arc::new(started);
    let live = |counts: &Counts| {
        let key = QueueKey::of(&queued);
        let (of, of_tenant) = (counts.live(&key), counts.live_of_tenant(&key.tenant));
        assert_eq!(of, of_tenant);
        (of.all, of.running)
    };
    let mut commit = |before: Option<&Arc<Operation>>, after: &Arc<Operation>| {
        let (before, after) = (before.cloned(), Arc::clone(after));
        let event_type = EventType::Started;
        let transition = Transition { before, after, event_type, by_report: false };
        counts.committed(&transition, Moment::default());
        live(&counts)
    };
    assert_eq!(commit(None, &queued), (1, 0));
    assert_eq!(commit(Some(&queued), &started), (1, 1));
    assert_eq!(commit(Some(&started), &queued), (1, 0));
    assert_eq!(commit(Some(&queued), &started), (1, 1));
    assert_eq!(commit(None, &Arc::new(operation(2, at(0)))), (2, 1));
    let done = Arc::new(crate::engine::sample::cancelled(&queued));
    assert_eq!(commit(Some(&started), &done), (1, 0));
}

#[test]
fn kinds_are_summed_over_tenants_and_the_longest_queues_come_first() {
    let mut counts = Counts::new(9);
    let found = [("t", "a", true), ("t", "a", false), ("u", "a", false), ("u", "a", false)];
    for (tenant, kind, is_running) in found.into_iter().chain([("u", "b", true)]) {
        counts.found(key(tenant, kind), is_running);
    }
    assert_eq!((counts.all(), counts.room()), (5, 4));
    let live = |all, running| Live { all, running };
    assert_eq!(counts.live_of_tenant(&key("u", "a").tenant), live(3, 1));
    let kinds = counts.by_kind().into_values().collect::<Vec<_>>();
    assert_eq!(kinds, [live(4, 1), live(1, 1)]);
    assert_eq!(counts.longest_queues(9), [key("u", "a"), key("t", "a")]);
    assert_eq!(counts.longest_queues(1), [key("u", "a")]);
    let of = |tenant, kind, count, running| {
        let QueueKey { tenant, kind } = key(tenant, kind);
        Outstanding { tenant, kind, count, running }
    };
    counts.set(vec![of("t", "a", 2, 1), of("v", "b", 4, 0)]);
    assert_eq!((counts.all(), counts.live(&key("t", "a"))), (6, live(2, 1)));
    assert_eq!(counts.longest_queues(9), [key("v", "b"), key("t", "a")]);
    let kinds: Vec<String> = (1..=20).map(|number| format!("k{number}")).collect();
    let sizes = kinds.iter().zip(1..).map(|(kind, count)| of("t", kind.as_str(), count, 0));
    counts.set(sizes.collect());
    let longest = counts.longest_queues(20).into_iter().map(|key| key.kind.as_str().to_owned());
    assert!(longest.eq(kinds.iter().rev().cloned()));
    counts.set(vec![of("t", "a", 2, 1), of("v", "b", 4, 0)]);
    assert!(counts.has_kind(|kind| kind.as_str() == "b"));
    assert_eq!(counts.live_of_tenant(&key("u", "a").tenant), Live::default());
}
