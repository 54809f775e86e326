//! Handing work to workers: pushed on commit, in order, never more than a worker takes.

use longrun::proto::v1::operation::State;
use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::*;

use crate::support::*;

fn name_of(assignment: &Assignment) -> String {
    assignment.operation.as_ref().unwrap().name.clone()
}

fn prioritised(priority: i32) -> SubmitRequest {
    with_settings(submission("demo"), Settings { priority, ..Settings::default() })
}

#[tokio::test]
async fn an_assignment_is_the_operation_as_of_its_start_with_its_exact_input() {
    let server = ClockedServer::start().await;
    let mut worker = server.worker("demo", 1).await;
    let value = prost_types::Value { kind: Some(prost_types::value::Kind::NumberValue(1.0)) };
    let any = prost_types::Any { type_url: "x/y".to_owned(), value: vec![1, 2] };
    use payload::Content;
    let forms = [
        (Content::Data("\u{0}\u{1}".into()), Content::Data("\u{0}\u{1}".into())),
        (Content::Text("é".to_owned()), Content::Data("é".into())),
        (Content::Json(value), Content::Data("1".into())),
        (Content::Any(any.clone()), Content::Any(any)),
    ];
    for (given, expected) in forms {
        let input = Some(Payload { content: Some(given), ..Payload::default() });
        let settings =
            Settings { attempt_timeout: seconds(60), deadline: seconds(50), ..Settings::default() };
        let request = SubmitRequest { input, ..with_settings(submission("demo"), settings) };
        let name = server.submit(request).await.name;
        let assignment = worker.assignment().await;
        let operation = assignment.operation.clone().unwrap();
        assert_eq!((operation.state(), operation.revision), (State::Running, 2));
        assert_eq!(operation.name, name);
        assert_eq!((assignment.attempt, operation.attempt, operation.attempts_used), (1, 1, 1));
        assert_eq!(operation.worker_id, "test-worker");
        assert_eq!(operation.input.unwrap().content, None);
        assert_eq!(assignment.input.clone().unwrap().content, Some(expected));
        assert_eq!(assignment.deadline_time, operation.deadline_time, "the earlier of the two");
        worker.complete(&assignment, None).await;
    }
    server.submit(submission("demo")).await;
    let assignment = worker.assignment().await;
    assert_eq!((assignment.input, assignment.deadline_time), (None, None));
}

#[tokio::test]
async fn a_worker_gets_no_more_than_it_takes_and_the_next_when_it_has_room() {
    let server = TestServer::start().await;
    let mut worker = server.worker("demo", 2).await;
    let mut names = Vec::new();
    for _ in 0..5 {
        names.push(server.submit(submission("demo")).await.name);
    }
    // A submission is answered after the commit that would have started it.
    assert_eq!(server.matching("state=RUNNING").await, names[..2]);
    assert_eq!(server.matching("state=QUEUED").await, names[2..]);
    let first = worker.assignment().await;
    let second = worker.assignment().await;
    assert_eq!([name_of(&first), name_of(&second)], names[..2]);

    worker.complete(&second, None).await;
    let third = worker.assignment().await;
    assert_eq!(name_of(&third), names[2]);
    worker.fail(&first, "Broken").await;
    assert_eq!(name_of(&worker.assignment().await), names[3]);
    worker.release(&third).await;
    assert_eq!(name_of(&worker.assignment().await), names[2], "the oldest again");
    assert_eq!(server.matching("state=RUNNING").await.len(), 2);
    worker.heard_nothing_else();
}

#[tokio::test]
async fn a_backlog_is_handed_out_in_order_while_new_work_arrives() {
    let server = TestServer::start().await;
    server.submit_batch(vec![submission("demo"); 1_000]).await;
    let api = server.api.clone();
    let arriving = spawn(async move {
        for _ in 0..100 {
            api.submit(submission("demo")).await;
        }
    });
    let mut worker = server.worker("demo", 2_000).await;
    let mut names = Vec::new();
    for _ in 0..1_100 {
        names.push(name_of(&worker.assignment().await));
    }
    soon(arriving).await.unwrap();
    assert!(names.is_sorted_by(|a, b| a < b), "oldest first, each once");
    assert_eq!(server.matching("state=RUNNING").await, names);
}

#[tokio::test]
async fn the_higher_priority_goes_first_then_the_older() {
    let mut server = TestServer::start().await;
    let mut expected = Vec::new();
    for priority in [0, 50, 100, 50, 0] {
        expected.push((100 - priority, server.submit(prioritised(priority)).await.name));
    }
    server.restart().await;
    let mut worker = server.worker("demo", 1).await;
    expected.sort_unstable();
    let urgent_at = 2;
    for (at, (_, name)) in expected.iter().enumerate() {
        let assignment = worker.assignment().await;
        assert_eq!(name_of(&assignment), *name);
        if at == urgent_at {
            let urgent = server.submit(prioritised(99)).await.name;
            worker.complete(&assignment, None).await;
            let assignment = worker.assignment().await;
            assert_eq!(name_of(&assignment), urgent, "new work overtakes by its priority");
            worker.complete(&assignment, None).await;
        } else {
            worker.complete(&assignment, None).await;
        }
    }
}

#[tokio::test]
async fn work_is_spread_over_workers_and_kept_within_kinds() {
    let server = TestServer::start().await;
    let both = Hello {
        kinds: vec!["demo".to_owned(), "other".to_owned(), "demo".to_owned()],
        ..hello("demo", 3)
    };
    let mut both = TestWorker::connect(&server, both).await;
    let mut demo = server.worker("demo", 3).await;
    let names: Vec<String> = {
        let mut names = Vec::new();
        for _ in 0..4 {
            names.push(server.submit(submission("demo")).await.name);
        }
        names
    };
    let mut given = Vec::new();
    for worker in [&mut both, &mut demo] {
        for _ in 0..2 {
            given.push(name_of(&worker.assignment().await));
        }
    }
    given.sort_unstable();
    assert_eq!(given, names, "two each, by turns");
    let other = server.submit(submission("other")).await.name;
    assert_eq!(name_of(&both.assignment().await), other);
    let nobodys = server.submit(submission("nobodys")).await.name;
    assert_eq!(server.matching("state=QUEUED").await, [nobodys]);
}

#[tokio::test]
async fn a_draining_worker_finishes_what_it_has_and_gets_no_more() {
    let server = TestServer::start().await;
    let mut worker = server.worker("demo", 2).await;
    server.submit(submission("demo")).await;
    let assignment = worker.assignment().await;
    worker.send(Up::Drain(WorkerDrain {})).await;
    worker.log(&assignment, &["the drain was heard before this"]).await;
    let left = server.submit(submission("demo")).await.name;
    worker.complete(&assignment, None).await;
    worker.heard_nothing_else();
    assert_eq!(server.matching("state=QUEUED").await, std::slice::from_ref(&left));
    let mut other = server.worker("demo", 1).await;
    assert_eq!(name_of(&other.assignment().await), left);
}

#[tokio::test]
async fn many_workers_do_much_work_once_each() {
    let server = TestServer::start().await;
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let api = server.api.clone();
            spawn(async move {
                let mut worker = api.worker("demo", 8).await;
                for _ in 0..75 {
                    let assignment = worker.assignment().await;
                    worker.complete(&assignment, assignment.input.clone()).await;
                }
            })
        })
        .collect();
    // As many workers have room for three hundred exactly, one must have its share taken.
    let input = Some(text("x"));
    let request = SubmitRequest { input, ..submission("demo") };
    server.submit_batch(vec![request; 332]).await;
    for worker in workers {
        soon(worker).await.unwrap();
    }
    let done = server.matching("state=SUCCEEDED").await;
    assert_eq!(done.len(), 300);
    let filter = "state=SUCCEEDED AND attempt=1".to_owned();
    assert_eq!(server.matching(&filter).await, done);
}

/// Whatever the order of names, of the hello and of age, and however much waits.
#[tokio::test]
async fn the_kinds_of_a_worker_take_turns() {
    for (few, many, slots) in [("a", "b", 1), ("b", "a", 1), ("a", "b", 4), ("b", "a", 4)] {
        let server = TestServer::start().await;
        server.submit_batch(vec![submission(few); 5]).await;
        server.submit_batch(vec![submission(many); 60]).await;
        let kinds = [many, few].map(str::to_owned).to_vec();
        let hello = Hello { kinds, ..hello(many, slots) };
        let mut worker = TestWorker::connect(&server, hello).await;
        let (mut order, mut held) = (Vec::new(), std::collections::VecDeque::new());
        while order.len() < 20 {
            let assignment = worker.assignment().await;
            order.push(assignment.operation.as_ref().unwrap().kind.clone());
            held.push_back(assignment);
            if held.len() == slots as usize {
                worker.complete(&held.pop_front().unwrap(), None).await;
            }
        }
        let places = (0..order.len()).filter(|at| order[*at] == few);
        for (number, at) in places.enumerate() {
            assert!(at <= 2 * number + 1, "{few} with {slots} slots: {order:?}");
        }
        assert_eq!(order.iter().filter(|kind| *kind == few).count(), 5, "{order:?}");
    }
}

#[tokio::test]
async fn urgent_work_of_another_kind_waits_for_one_turn_only() {
    let server = TestServer::start().await;
    server.submit_batch(vec![submission("bulk"); 60]).await;
    let kinds = ["bulk", "urgent"].map(str::to_owned).to_vec();
    let hello = Hello { kinds, ..hello("bulk", 2) };
    let mut worker = TestWorker::connect(&server, hello).await;
    let running = [worker.assignment().await, worker.assignment().await];
    let settings = Settings { priority: 100, ..Settings::default() };
    server.submit_batch(vec![with_settings(submission("urgent"), settings); 3]).await;
    worker.complete(&running[0], None).await;
    let next = worker.assignment().await;
    assert_eq!(next.operation.unwrap().kind, "urgent");
}
