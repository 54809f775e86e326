//! Which workers get work, and when a session ends.

use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::engine::dispatch::roster::WorkerState;
use crate::engine::sample;
use crate::operation::{Kind, TenantId};
use crate::thread_time;

fn at(seconds: u64) -> Moment {
    Moment::new(Duration::from_secs(seconds))
}

fn session(number: u128) -> SessionId {
    SessionId::from_uuid(Uuid::from_u128(number))
}

fn operation(number: u128) -> OperationId {
    OperationId::from_uuid(Uuid::from_u128(number))
}

fn queue(kind: &str) -> QueueKey {
    let kind = Kind::parse(kind).expect("a kind");
    QueueKey { tenant: TenantId::default_tenant(), kind }
}

fn hello(kind: &str, max_in_flight: usize) -> WorkerHello {
    WorkerHello {
        in_process: false,
        scope: TenantId::default_tenant().into(),
        worker: WorkerId::parse("w").expect("a name"),
        kinds: vec![Kind::parse(kind).expect("a kind")],
        max_in_flight,
        resume: None,
        running: Vec::new(),
    }
}

/// A session that lives for ten seconds and can run two attempts of kind `a`.
fn connected(sessions: &mut Sessions) -> (StreamNumber, mpsc::Receiver<ToWorker>) {
    let (sender, receiver) = mpsc::channel(1);
    (sessions.connect(session(1), &hello("a", 2), sender, at(10)), receiver)
}

fn lease(sessions: &mut Sessions, number: u128) {
    let (tenant, worker) = (TenantId::default_tenant(), WorkerId::parse("w").expect("a name"));
    let lease = (operation(number), Attempt(1));
    sessions.restore(session(1), tenant, worker, lease, at(10));
}

/// The states to publish of sessions that have changed; `None`: it is gone.
fn published(sessions: &mut Sessions) -> Vec<(SessionId, Option<WorkerState>)> {
    let changed = sessions.take_unpublished().into_iter();
    changed.map(|(id, session)| (id, session.map(|session| session.seen().state))).collect()
}

fn message() -> ToWorker {
    ToWorker::NotCurrent { id: operation(9), attempt: Attempt(1) }
}

#[test]
fn a_session_takes_what_it_has_room_for() {
    let mut sessions = Sessions::default();
    let _stream = connected(&mut sessions);
    lease(&mut sessions, 1);
    assert_eq!(sessions.reserve(&queue("b")), None, "another kind");
    assert!(sessions.serves(&queue("a")) && !sessions.serves(&queue("b")));
    assert_eq!(sessions.reserve(&queue("a")), Some(session(1)));
    assert_eq!(sessions.reserve(&queue("a")), None, "what is reserved counts");
    sessions.settle([session(1)]);
    assert_eq!(sessions.reserve(&queue("a")), Some(session(1)));
    sessions.settle([session(1)]);
    sessions.drain(session(1));
    assert_eq!(sessions.reserve(&queue("a")), None, "it drains");
}

#[test]
fn a_stream_that_ends_takes_a_session_without_leases_with_it() {
    let mut sessions = Sessions::default();
    let (stream, _receiver) = connected(&mut sessions);
    sessions.disconnect(session(1), stream + 1);
    assert_eq!(sessions.reserve(&queue("a")), Some(session(1)), "that was another stream");
    sessions.settle([session(1)]);
    sessions.disconnect(session(1), stream);
    assert_eq!(sessions.len(), 0);
    assert!(sessions.serving.is_empty());
}

#[test]
fn a_session_with_leases_outlives_its_stream_and_takes_nothing_meanwhile() {
    let mut sessions = Sessions::default();
    let (stream, _receiver) = connected(&mut sessions);
    lease(&mut sessions, 1);
    sessions.disconnect(session(1), stream);
    assert_eq!(sessions.reserve(&queue("a")), None);
    assert!(sessions.holds(session(1), operation(1), Attempt(1)));
    assert!(!sessions.holds(session(1), operation(1), Attempt(2)));
    assert!(!sessions.holds(session(2), operation(1), Attempt(1)));
    let resume = WorkerHello { resume: Some(session(1)), ..hello("a", 2) };
    assert_eq!(sessions.resumable(&resume), Some(session(1)));
    let other = TenantId::parse("other").expect("a tenant");
    assert_eq!(sessions.resumable(&WorkerHello { scope: other.into(), ..resume }), None);
    // It ends with its last lease.
    assert_eq!(sessions.end_lease(session(1), (operation(1), Attempt(1))), []);
    assert_eq!(sessions.len(), 0);
}

#[test]
fn all_are_cut_off_and_their_sessions_remain() {
    let mut sessions = Sessions::default();
    let (_, mut receiver) = connected(&mut sessions);
    assert_eq!(published(&mut sessions), [(session(1), Some(WorkerState::Serving))]);
    assert_eq!(published(&mut sessions), []);
    sessions.disconnect_all();
    assert_eq!(published(&mut sessions), [(session(1), Some(WorkerState::Away))]);
    assert!(receiver.try_recv().is_err() && receiver.is_closed());
    assert_eq!((sessions.len(), sessions.reserve(&queue("a"))), (1, None));
}

#[test]
fn a_worker_that_does_not_read_is_cut_off() {
    let mut sessions = Sessions::default();
    let (_, mut receiver) = connected(&mut sessions);
    sessions.send(session(1), message());
    assert_eq!(sessions.reserve(&queue("a")), Some(session(1)));
    sessions.settle([session(1)]);
    sessions.send(session(1), message());
    assert_eq!(sessions.reserve(&queue("a")), None);
    assert!(receiver.try_recv().is_ok(), "what fitted in arrives");
    assert!(receiver.try_recv().is_err());
}

#[test]
fn a_session_expires_when_its_time_has_come() {
    let mut sessions = Sessions::default();
    let _stream = connected(&mut sessions);
    assert_eq!(sessions.expired(at(9)), []);
    sessions.renew(session(1), at(20));
    sessions.renew(session(1), at(15));
    assert_eq!(sessions.expired(at(19)), [], "a later sign of life is not taken back");
    lease(&mut sessions, 1);
    for _ in 0..2 {
        // It is returned until a commit ends the lease.
        assert_eq!(sessions.expired(at(20)), [(operation(1), Attempt(1))]);
        assert_eq!((sessions.len(), sessions.reserve(&queue("a"))), (1, None));
    }
    sessions.forget(operation(1));
    assert_eq!(sessions.expired(at(20)), []);
    assert_eq!(sessions.len(), 0);
    assert!(sessions.serving.is_empty());
}

#[test]
fn who_comes_back_for_other_kinds_is_given_those() {
    let mut sessions = Sessions::default();
    let _stream = connected(&mut sessions);
    let (sender, _receiver) = mpsc::channel(1);
    sessions.connect(session(1), &hello("b", 1), sender, at(10));
    assert_eq!(sessions.reserve(&queue("a")), None);
    assert_eq!(sessions.reserve(&queue("b")), Some(session(1)));
    assert_eq!(sessions.serving.len(), 1);
}

#[test]
fn after_a_gap_every_session_has_one_lease_to_be_heard_in() {
    let mut sessions = Sessions::default();
    let _stream = connected(&mut sessions);
    lease(&mut sessions, 1);
    sessions.renew_all(at(50));
    assert_eq!(sessions.expired(at(49)), []);
    sessions.renew_all(at(40));
    assert_eq!(sessions.expired(at(49)), [], "a later end is not taken back");
    assert_eq!(sessions.expired(at(50)), [(operation(1), Attempt(1))]);
}

#[test]
fn a_worker_within_the_process_does_not_expire_once_it_has_connected() {
    let mut sessions = Sessions::default();
    let id = SessionId::in_process(Uuid::from_u128(7));
    let (tenant, worker) = (TenantId::default_tenant(), WorkerId::parse("w").expect("a name"));
    let lease = (operation(1), Attempt(1));
    sessions.restore(id, tenant, worker, lease, at(1));
    assert_eq!(sessions.expired(at(1)), [lease], "it was one of an earlier process");
    let (sender, _receiver) = mpsc::channel(1);
    sessions.connect(id, &hello("a", 2), sender, at(10));
    assert_eq!(sessions.expired(at(1_000_000)), []);
}

#[test]
fn a_lease_is_never_taken_back_to_an_earlier_attempt() {
    let mut sessions = Sessions::default();
    let _stream = connected(&mut sessions);
    for attempt in [2, 1, 3, 2] {
        let (tenant, worker) = (TenantId::default_tenant(), WorkerId::parse("w").expect("a name"));
        sessions.restore(session(1), tenant, worker, (operation(1), Attempt(attempt)), at(10));
    }
    assert!(sessions.holds(session(1), operation(1), Attempt(3)));
    // The end of an earlier attempt may be reported when a later one has begun elsewhere.
    sessions.end_lease(session(1), (operation(1), Attempt(2)));
    assert!(sessions.holds(session(1), operation(1), Attempt(3)));
    sessions.end_lease(session(1), (operation(1), Attempt(3)));
    assert!(!sessions.holds(session(1), operation(1), Attempt(3)));
}

#[test]
fn a_stream_that_nobody_reads_is_given_nothing_and_ends() {
    let mut sessions = Sessions::default();
    let (_, receiver) = connected(&mut sessions);
    drop(receiver);
    assert_eq!(sessions.reserve(&queue("a")), None);
    sessions.end_closed_streams();
    assert_eq!(sessions.len(), 0, "it holds nothing");
}

/// A place of a poll for an attempt of kind `a`, with a lease of its own of ten seconds.
fn place(sessions: &mut Sessions) -> (SessionId, StreamNumber, mpsc::Receiver<ToWorker>) {
    let id = SessionId::of_attempt(Uuid::from_u128(5), Duration::from_secs(10));
    let (sender, receiver) = mpsc::channel(3);
    (id, sessions.connect(id, &hello("a", 1), sender, at(10)), receiver)
}

/// Leases an attempt to the place, and hands it to its poll.
fn hand(sessions: &mut Sessions, id: SessionId) {
    let (tenant, worker) = (TenantId::default_tenant(), WorkerId::parse("w").expect("a name"));
    sessions.restore(id, tenant, worker, (operation(1), Attempt(1)), at(10));
    let operation = std::sync::Arc::new(sample::operation(1, sample::at(0)));
    sessions.send(id, ToWorker::Assignment { operation, input: None });
}

fn given_up(sessions: &Sessions) -> Vec<OperationId> {
    sessions.given_up().into_iter().map(|(id, _)| id).collect()
}

#[test]
fn a_place_takes_one_attempt_whose_lease_begins_when_it_was_read() {
    let mut sessions = Sessions::default();
    let (id, poll, mut receiver) = place(&mut sessions);
    assert_eq!(sessions.expired(at(1_000)), [], "a poll may wait for long");
    assert_eq!(sessions.reserve(&queue("a")), Some(id));
    sessions.settle([id]);
    hand(&mut sessions, id);
    // A caller may have cancelled it meanwhile.
    sessions.end_lease(id, (operation(1), Attempt(1)));
    assert_eq!(sessions.reserve(&queue("a")), None, "one is one");
    hand(&mut sessions, id);
    sessions.disconnect_all();
    sessions.end_poll(id, poll + 1, at(20));
    assert!(receiver.try_recv().is_ok() && receiver.try_recv().is_ok() && !receiver.is_closed());
    sessions.end_poll(id, poll, at(20));
    assert!(receiver.try_recv().is_err() && sessions.serving.is_empty());
    assert_eq!((given_up(&sessions), sessions.expired(at(19))), (vec![], vec![]));
    assert_eq!(sessions.expired(at(20)), [(operation(1), Attempt(1))]);
    assert_eq!(sessions.end_lease(id, (operation(1), Attempt(1))), []);
    assert_eq!(sessions.len(), 0);
}

#[test]
fn a_poll_that_nobody_has_read_gives_up_what_it_was_handed() {
    for is_told in [true, false] {
        let mut sessions = Sessions::default();
        let (id, poll, receiver) = place(&mut sessions);
        hand(&mut sessions, id);
        assert_eq!((given_up(&sessions), sessions.take_given_up()), (vec![], false));
        drop(receiver);
        if is_told {
            sessions.disconnect(id, poll);
        } else {
            sessions.end_closed_streams();
        }
        assert_eq!((sessions.take_given_up(), sessions.take_given_up()), (true, false));
        for _ in 0..2 {
            // It is returned until the release is committed.
            assert_eq!(given_up(&sessions), [operation(1)]);
        }
        sessions.end_lease(id, (operation(1), Attempt(1)));
        assert_eq!((given_up(&sessions), sessions.len()), (vec![], 0));
    }
}

#[test]
fn what_comes_too_late_for_a_poll_is_given_up() {
    let mut sessions = Sessions::default();
    let (id, poll, receiver) = place(&mut sessions);
    drop(receiver);
    hand(&mut sessions, id);
    assert_eq!(given_up(&sessions), [operation(1)]);
    sessions.forget(operation(1));
    assert_eq!(sessions.len(), 0, "it is damaged, and nobody's");

    let (id, again, _receiver) = place(&mut sessions);
    assert!(again > poll);
    sessions.end_poll(id, again, at(20));
    assert_eq!(sessions.len(), 0, "without an attempt the place goes");
    // The commit was in doubt meanwhile.
    hand(&mut sessions, id);
    assert_eq!(given_up(&sessions), [operation(1)]);
}

#[test]
fn what_a_place_held_before_is_handed_to_its_next_poll() {
    let mut sessions = Sessions::default();
    let (id, poll, _receiver) = place(&mut sessions);
    hand(&mut sessions, id);
    assert!(sessions.end_poll(id, poll, at(20)));
    let (_, again, _receiver) = place(&mut sessions);
    assert_eq!(sessions.reserve(&queue("a")), None, "it takes nothing else");
    assert!(!sessions.end_poll(id, again, at(30)), "it was not handed");
    assert!(!sessions.get(id).expect("it has a lease").is_free_place());
    assert!(sessions.end_poll(session(9), again, at(30)), "of what is gone nothing is left");
    let (_, again, mut receiver) = place(&mut sessions);
    hand(&mut sessions, id);
    // The earlier poll ends now, and its client has disconnected.
    sessions.disconnect(id, poll);
    assert!(receiver.try_recv().is_ok() && sessions.end_poll(id, again, at(40)));
    assert_eq!((given_up(&sessions), sessions.expired(at(39))), (vec![], vec![]));
    assert_eq!(sessions.expired(at(40)), [(operation(1), Attempt(1))]);
}

#[test]
fn a_lease_that_was_found_lives_for_as_long_as_its_session_says() {
    let mut sessions = Sessions::default();
    let (tenant, worker) = (TenantId::default_tenant(), WorkerId::parse("w").expect("a name"));
    let id = SessionId::of_attempt(Uuid::from_u128(5), Duration::from_secs(10));
    let lease = (operation(1), Attempt(1));
    sessions.restore(id, tenant, worker, lease, at(10));
    assert!(sessions.renew(id, at(0).after(id.lease(Duration::from_secs(1)) * 2)));
    assert_eq!((given_up(&sessions), sessions.expired(at(19))), (vec![], vec![]));
    assert_eq!(sessions.expired(at(20)), [lease]);
    assert!(!sessions.renew(session(9), at(30)), "it is not known");
}

/// Commits wait while workers leave. Eight times as many workers may take eight times as long, times four for caches that
/// they do not fit in.
#[test]
fn that_thousands_of_workers_leave_takes_time_by_their_number_only() {
    let kinds: Vec<Kind> =
        (0..50).map(|at| Kind::parse(&format!("k{at}")).expect("a kind")).collect();
    let leaving = |count: u128| {
        let mut sessions = Sessions::default();
        let hello = WorkerHello { kinds: kinds.clone(), ..hello("a", 1) };
        let streams: Vec<_> = (0..count)
            .map(|number| {
                let (sender, receiver) = mpsc::channel(1);
                (number, sessions.connect(session(number), &hello, sender, at(10)), receiver)
            })
            .collect();
        let took = thread_time::of(|| {
            // The last arrivals first, because they are farthest behind.
            for (number, stream, _) in streams.iter().rev() {
                sessions.disconnect(session(*number), *stream);
            }
        });
        assert!(sessions.serving.is_empty());
        took
    };
    let best = |count| (0..3).map(|_| leaving(count)).min().expect("three");
    let (few, many) = (best(250), best(2_000));
    assert!(many < few * 8 * 4, "{few:?} for 250, {many:?} for 2,000");
}
