//! Assignments, and the effects of an abandoned draft.

use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::engine::EngineConfig;
use crate::engine::sample::{at, id, operation};
use crate::operation::limits::{Limit, LimitName};
use crate::operation::{Attempt, Kind, Reporter, TenantId, WorkerId};

const NOW: (Timestamp, Moment) = (Timestamp::from_micros(5_000_000), Moment::new(Duration::ZERO));

fn session() -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(1))
}

fn draft() -> Draft {
    Draft::new(at(5), &EngineConfig::default())
}

/// A worker for kind `a`.
fn hello() -> WorkerHello {
    WorkerHello {
        scope: TenantId::default_tenant().into(),
        worker: WorkerId::parse("w").expect("a name"),
        kinds: vec![Kind::parse("a").expect("a kind")],
        max_in_flight: 1,
        resume: None,
        in_process: false,
        running: Vec::new(),
    }
}

/// A dispatcher with one worker for kind `a`, and the messages to it.
fn with_worker(slots: usize) -> (Dispatcher, mpsc::Receiver<ToWorker>) {
    let mut dispatcher = Dispatcher::default();
    let (sender, receiver) = mpsc::channel(10);
    let hello = WorkerHello { max_in_flight: slots, ..hello() };
    dispatcher.connect(session(), hello, sender, Moment::MAX, false);
    (dispatcher, receiver)
}

/// Makes the draft know waiting operations as stored.
fn waiting(dispatcher: &mut Dispatcher, draft: &mut Draft, numbers: &[u128]) {
    for number in numbers {
        let operation = Arc::new(operation(*number, at(0)));
        dispatcher.queue_mut().put(&operation, at(5));
        draft.learn(operation);
    }
    dispatcher.queue_mut().commit();
}

/// Operation 1 while the worker runs it.
fn running(attempt: u32) -> Arc<Operation> {
    let mut running = operation(1, at(0));
    let lease = crate::operation::Lease { session: session(), attempt_deadline: None };
    running.life.state = State::Running { lease };
    running.life.attempt = Attempt(attempt);
    Arc::new(running)
}

/// Gives the worker its lease.
fn restore(dispatcher: &mut Dispatcher, attempt: u32) {
    let (tenant, worker) = (TenantId::default_tenant(), WorkerId::parse("w").expect("a name"));
    let lease = (id(1), Attempt(attempt));
    dispatcher.sessions_mut().restore(session(), tenant, worker, lease, Moment::MAX);
}

fn matches(dispatcher: &mut Dispatcher, most: usize) -> Vec<(SessionId, OperationId)> {
    dispatcher.matches(most, NOW, &Quarantine::default(), |_| false)
}

#[test]
fn what_was_matched_is_offered_again_when_its_draft_is_abandoned() {
    let (mut dispatcher, _receiver) = with_worker(1);
    let mut draft = draft();
    waiting(&mut dispatcher, &mut draft, &[1, 2]);
    for _ in 0..2 {
        assert_eq!(matches(&mut dispatcher, 9), [(session(), id(1))]);
        assert!(dispatcher.acquire(session(), id(1), &mut draft).is_some());
        assert_eq!(matches(&mut dispatcher, 9), [], "its slot is reserved");
        dispatcher.abandoned(&draft);
        draft = Draft::new(at(5), &EngineConfig::default());
        draft.learn(Arc::new(operation(1, at(0))));
    }
}

#[test]
fn what_is_matched_when_its_limit_is_up_ends() {
    let (mut dispatcher, _receiver) = with_worker(1);
    let (mut draft, mut late) = (draft(), operation(1, at(0)));
    let mut submission = crate::operation::Submission::clone(&late.submission);
    submission.settings.queue_timeout = Some(Duration::from_secs(5));
    late.submission = Arc::new(submission);
    let late = Arc::new(late);
    dispatcher.queue_mut().put(&late, at(4));
    draft.learn(late);
    waiting(&mut dispatcher, &mut draft, &[2]);
    assert_eq!(matches(&mut dispatcher, 9), [(session(), id(1))]);
    assert!(dispatcher.acquire(session(), id(1), &mut draft).is_none());
    assert!(draft.current(id(1)).is_some_and(|ended| ended.is_done()));
    dispatcher.mark_starved();
    dispatcher.committed(&draft, Vec::new(), |_| Moment::MAX, |_| true);
    assert_eq!(matches(&mut dispatcher, 9), [(session(), id(2))], "its slot is free");
}

#[test]
fn a_committed_start_is_a_lease_and_a_message() {
    let (mut dispatcher, mut receiver) = with_worker(2);
    let mut draft = draft();
    waiting(&mut dispatcher, &mut draft, &[1]);
    assert_eq!(matches(&mut dispatcher, 9), [(session(), id(1))]);
    let operation = dispatcher.acquire(session(), id(1), &mut draft).expect("it starts");
    assert!(receiver.try_recv().is_err(), "nothing is said before the commit");
    let content = ToWorker::Assignment { operation, input: None };
    let messages = vec![Outgoing { session: session(), content }];
    dispatcher.committed(&draft, messages, |_| Moment::MAX, |_| true);
    assert!(dispatcher.sessions().holds(session(), id(1), Attempt(1)));
    assert!(matches!(receiver.try_recv(), Ok(ToWorker::Assignment { .. })));
    dispatcher.abandoned(&Draft::new(at(6), &EngineConfig::default()));
    assert_eq!(matches(&mut dispatcher, 9), [], "what is committed is not undone with the next");
}

#[test]
fn a_lease_of_a_session_that_has_gone_meanwhile_is_known_if_it_is_ours() {
    for is_ours in [true, false] {
        let (mut dispatcher, _receiver) = with_worker(2);
        let mut draft = draft();
        waiting(&mut dispatcher, &mut draft, &[1]);
        assert_eq!(matches(&mut dispatcher, 9), [(session(), id(1))]);
        assert!(dispatcher.acquire(session(), id(1), &mut draft).is_some());
        dispatcher.sessions_mut().hand_over(session());
        dispatcher.committed(&draft, Vec::new(), |_| Moment::MAX, |_| is_ours);
        assert_eq!(dispatcher.sessions().holds(session(), id(1), Attempt(1)), is_ours);
    }
}

#[test]
fn who_holds_a_lease_is_told_what_others_have_done_to_it() {
    let reporter = Reporter { attempt: Attempt(1), session: session(), former: None };
    let commands = [
        (Command::Cancel { reason: String::new() }, true),
        (Command::LoseLease { attempt: Attempt(1) }, true),
        (Command::Release { reporter }, false),
    ];
    for (command, is_told) in commands {
        let (mut dispatcher, mut receiver) = with_worker(2);
        restore(&mut dispatcher, 1);
        let (mut draft, running) = (draft(), running(1));
        draft.learn(Arc::clone(&running));
        draft.apply(&running, &command, None, None).expect("it can be");
        dispatcher.committed(&draft, Vec::new(), |_| Moment::MAX, |_| true);
        assert_eq!(receiver.try_recv().is_ok(), is_told, "{command:?}");
    }
}

#[test]
fn what_is_left_alone_does_not_hide_what_is_behind_it() {
    let (mut dispatcher, _receiver) = with_worker(1);
    let mut draft = draft();
    waiting(&mut dispatcher, &mut draft, &[1, 2, 3]);
    let mut quarantine = Quarantine::default();
    quarantine.add_damaged(id(1));
    quarantine.set_aside(id(2), NOW.1);
    let matched = dispatcher.matches(9, NOW, &quarantine, |_| false);
    assert_eq!(matched, [(session(), id(3))]);
    assert_eq!(dispatcher.next_due(), Some(at(35)), "what was only locked comes again");
    dispatcher.committed(&draft, Vec::new(), |_| Moment::MAX, |_| true);
    dispatcher.release_due(at(35));
    assert_eq!(matches(&mut dispatcher, 9), [(session(), id(2))], "the damaged one does not");
}

#[test]
fn a_later_attempt_of_the_same_session_is_adopted_and_an_earlier_one_is_not() {
    let (mut dispatcher, mut receiver) = with_worker(2);
    restore(&mut dispatcher, 1);
    let running = |attempt| {
        let mut draft = draft();
        draft.learn(running(attempt));
        draft
    };
    let later = running(3);
    assert!(!dispatcher.recheck(id(1), &later));
    assert!(dispatcher.sessions().holds(session(), id(1), Attempt(3)));
    let missed = dispatcher.resumed().missed(dispatcher.sessions(), &later);
    let missed: Vec<_> = missed.into_iter().map(|(_, it, what)| (it.id(), what)).collect();
    assert_eq!(missed, [(id(1), crate::engine::dispatch::resumed::Missed::Assignment)]);
    assert!(receiver.try_recv().is_err());
    assert!(dispatcher.recheck(id(1), &running(2)), "that is not what it holds");
    assert!(matches!(receiver.try_recv(), Ok(ToWorker::NotCurrent { .. })));
}

/// Starts in one commit what there is room for; whether operation `number` has begun that attempt.
fn starts(dispatcher: &mut Dispatcher, draft: &mut Draft, number: u128, attempt: u32) -> bool {
    for (session, id) in matches(dispatcher, 9) {
        dispatcher.acquire(session, id, draft);
    }
    dispatcher.committed(draft, Vec::new(), |_| Moment::MAX, |_| true);
    dispatcher.sessions().holds(session(), id(number), Attempt(attempt))
}

#[test]
fn an_attempt_that_follows_another_in_one_commit_has_its_place() {
    let (mut dispatcher, _receiver) = with_worker(9);
    dispatcher.places_mut().begin();
    let label = Some("customer".to_owned());
    let limit = Limit { name: LimitName::Running, tenant: None, kind: None, label };
    dispatcher.set_limits(&Arc::new(LimitTable::new([(limit, 1)]).expect("a limit")));
    let [one, two] = [1, 2].map(|number| {
        let mut operation = operation(number, at(0));
        let submission = Arc::make_mut(&mut operation.submission);
        submission.labels.insert("customer".to_owned(), "x".to_owned());
        Arc::new(operation)
    });
    let mut first = draft();
    dispatcher.queue_mut().put(&one, at(5));
    dispatcher.mark(QueueKey::of(&one));
    first.learn(one);
    assert!(starts(&mut dispatcher, &mut first, 1, 1));

    let (mut again, running) = (draft(), first.current(id(1)).expect("it runs"));
    again.learn(Arc::clone(&running));
    let lost = Command::LoseLease { attempt: Attempt(1) };
    again.apply(&running, &lost, None, None).expect("it can be lost");
    dispatcher.follow(again.transitions(), at(5));
    assert!(starts(&mut dispatcher, &mut again, 1, 2));

    let mut later = draft();
    dispatcher.queue_mut().put(&two, at(5));
    dispatcher.mark(QueueKey::of(&two));
    later.learn(Arc::clone(&two));
    assert!(!starts(&mut dispatcher, &mut later, 2, 1), "there is one place");

    dispatcher.set_limits(&Arc::default());
    let mut unlimited = draft();
    unlimited.learn(two);
    assert!(starts(&mut dispatcher, &mut unlimited, 2, 1), "it is looked at again");
}

#[test]
fn a_tenants_weight_is_its_share_of_turns() {
    let mut dispatcher = Dispatcher::default();
    let (sender, _receiver) = mpsc::channel(10);
    let hello = WorkerHello { scope: Scope::All, max_in_flight: 8, ..hello() };
    dispatcher.connect(session(), hello, sender, Moment::MAX, false);
    let [light, heavy] = ["light", "heavy"].map(|name| TenantId::parse(name).expect("a tenant"));
    let (name, tenant) = (LimitName::Weight, Some(heavy.clone()));
    let weight = Limit { name, tenant, kind: None, label: None };
    dispatcher.set_limits(&Arc::new(LimitTable::new([(weight, 3)]).expect("a limit")));
    for number in 0..16 {
        let tenant = if number < 8 { &light } else { &heavy };
        let key = QueueKey { tenant: tenant.clone(), kind: Kind::parse("a").expect("a kind") };
        dispatcher.queue_mut().put_back(key, (Reverse(4), id(number)));
    }
    let matched = matches(&mut dispatcher, 8);
    let of_light = matched.iter().filter(|(_, it)| *it < id(8)).count();
    assert_eq!((matched.len(), of_light), (8, 2), "{matched:?}");
}
