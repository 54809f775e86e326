//! Reports of workers: acknowledged once durable, refused unless current, each refused by itself.

use std::collections::BTreeMap;

use longrun::config::StoreUrl;
use longrun::proto::v1::operation::State;
use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::work_response::Message as Down;
use longrun::proto::v1::*;

use crate::support::*;

fn wrong(code: &str) -> Error {
    Error { code: code.to_owned(), ..Error::default() }
}

fn nested(depth: usize) -> Error {
    let mut error = wrong("Innermost");
    for _ in 1..depth {
        error = Error { causes: vec![error], ..wrong("Outer") };
    }
    error
}

#[tokio::test]
async fn a_partial_success_keeps_result_warnings_and_nested_errors() {
    let mut server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    let error = Error {
        code: "DeviceNotExists".to_owned(),
        message: "grüße".to_owned(),
        status_code: 5,
        metadata: BTreeMap::from([("device".to_owned(), "7".to_owned())]),
        causes: vec![nested(7), wrong("Other")],
        source: error::Source::Service.into(),
    };
    let complete = Complete {
        attempt: attempt_of(&assignment),
        result: Some(text("some of it")),
        warnings: vec![wrong("Slow")],
        errors: vec![error.clone(), wrong("Second")],
        ..Complete::default()
    };
    assert_eq!(worker.try_complete(complete).await, None);
    drop(worker);
    for restarted in [false, true] {
        let operation = server.get(&name).await;
        assert_eq!(operation.state(), State::PartiallySucceeded, "{restarted}");
        let result = operation.result.unwrap().content.unwrap();
        assert_eq!(result, payload::Content::Text("some of it".to_owned()));
        assert_eq!(operation.warnings[0].code, "Slow");
        assert_eq!(operation.errors.len(), 2);
        let got = &operation.errors[0];
        assert_eq!((&got.code, &got.message), (&error.code, &error.message));
        assert_eq!((got.status_code, &got.metadata), (5, &error.metadata));
        assert_eq!(got.source(), error::Source::Application, "set by the server");
        assert_eq!(operation.errors[1].status_code, 2, "UNKNOWN where it is not given");
        let mut depth = 1;
        let mut cause = &got.causes[0];
        while let Some(next) = cause.causes.first() {
            (depth, cause) = (depth + 1, next);
        }
        assert_eq!((depth, cause.code.as_str()), (7, "Innermost"));
        assert_eq!(got.causes[1].code, "Other");
        if !restarted {
            server.restart().await;
        }
    }
}

#[tokio::test]
async fn warnings_alone_leave_it_a_success() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    let complete = Complete {
        attempt: attempt_of(&assignment),
        warnings: vec![wrong("Slow")],
        ..Complete::default()
    };
    assert_eq!(worker.try_complete(complete).await, None);
    let operation = server.get(&name).await;
    assert_eq!((operation.state(), operation.warnings.len()), (State::Succeeded, 1));
    assert_eq!((operation.result, operation.error), (None, None));
}

#[tokio::test]
async fn a_second_opinion_after_the_end_is_refused() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    worker.complete(&assignment, None).await;
    let done = server.get(&name).await;
    let attempt = attempt_of(&assignment);
    let fail = Fail { attempt: attempt.clone(), error: Some(wrong("Late")), ..Fail::default() };
    let refusals = [
        worker.try_fail(fail).await,
        worker.try_log(&assignment, vec!["late".to_owned()]).await,
        worker.report(|report_id| Up::Release(Release { attempt, report_id })).await,
    ];
    for refused in refusals {
        let refused = refused.unwrap();
        assert_eq!((refused.status_code, refused.reason.as_str()), (9, "STALE_ATTEMPT"));
    }
    assert_eq!(server.get(&name).await, done);
    assert_eq!(server.events(&name).await.len(), 3);
}

#[tokio::test]
async fn only_the_current_attempt_is_listened_to() {
    let server = TestServer::start().await;
    let name = server.submit(with_settings(submission("demo"), attempts(3))).await.name;
    let mut worker = server.worker("demo", 1).await;
    let first = worker.assignment().await;
    worker.fail(&first, "Again").await;
    let second = worker.assignment().await;
    let before = server.get(&name).await;
    for attempt in [1, 3, i32::MAX] {
        let reference = Some(AttemptRef { operation: name.clone(), attempt });
        let complete = Complete { attempt: reference, ..Complete::default() };
        let refused = worker.try_complete(complete).await.unwrap();
        assert_eq!((refused.status_code, refused.reason.as_str()), (9, "STALE_ATTEMPT"));
        assert_eq!(server.get(&name).await, before);
    }
    worker.complete(&second, None).await;
}

#[tokio::test]
async fn only_the_session_that_holds_the_lease_is_listened_to() {
    let server = TestServer::start().await;
    let name = server.submit(submission("demo")).await.name;
    let mut holder = server.worker("demo", 1).await;
    let assignment = holder.assignment().await;
    let before = server.get(&name).await;
    let mut other = server.worker("demo", 1).await;
    let attempt = attempt_of(&assignment);
    let complete = Complete { attempt: attempt.clone(), ..Complete::default() };
    let fail = Fail { attempt, error: Some(wrong("Foreign")), ..Fail::default() };
    let refusals = [
        other.try_complete(complete).await,
        other.try_fail(fail).await,
        other.try_log(&assignment, vec!["foreign".to_owned()]).await,
    ];
    for refused in refusals {
        assert_eq!(refused.unwrap().reason, "STALE_ATTEMPT");
    }
    other.progress(&assignment, Progress { percent: Some(50.0), ..Progress::default() }).await;
    other.try_log(&assignment, vec![String::new()]).await.unwrap();
    assert_eq!(server.get(&name).await, before);
    holder.complete(&assignment, None).await;
}

#[tokio::test]
async fn a_refusal_names_every_rule_and_what_is_owed() {
    let server = TestServer::start().await;
    server.submit(submission("demo")).await;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    let attempt = attempt_of(&assignment);
    let at_nothing = Some(AttemptRef { operation: "x".to_owned(), attempt: 0 });
    let complete = Complete {
        attempt: at_nothing.clone(),
        result: Some(Payload { content_type: "\u{e9}".to_owned(), ..data("result") }),
        warnings: vec![wrong("")],
        errors: vec![Error { status_code: 17, ..wrong("") }],
        chunked_bytes: -1,
        ..Complete::default()
    };
    let refused = worker.try_complete(complete).await.unwrap();
    assert!(refused.message.contains("correct this report"), "{refused:?}");
    let fields: Vec<_> = refused.field_violations.iter().map(|it| it.field.as_str()).collect();
    let expected = [
        "complete.attempt.operation",
        "complete.attempt.attempt",
        "complete.result.content_type",
        "complete.warnings[0].code",
        "complete.errors[0].code",
        "complete.errors[0].status_code",
        "complete.chunked_bytes",
    ];
    assert_eq!(fields, expected);

    // Messages without a report's id are refused by an acknowledgement without one.
    let progress = ReportProgress { attempt: at_nothing.clone(), progress: None };
    let chunk = ResultChunk { attempt: at_nothing, offset_bytes: -1, data: Default::default() };
    for (message, violations) in [(Up::Progress(progress), 2), (Up::ResultChunk(chunk), 3)] {
        worker.send(message).await;
        let Some(Down::Ack(ack)) = worker.next().await.unwrap() else { panic!("no answer") };
        let refused = ack.error.unwrap();
        assert_eq!((ack.report_id, refused.field_violations.len()), (0, violations));
    }

    // Contents come in chunks or in the report.
    let bytes = bytes::Bytes::from_static(b"chunk");
    let chunk = ResultChunk { attempt: attempt.clone(), offset_bytes: 0, data: bytes };
    worker.send(Up::ResultChunk(chunk)).await;
    let complete = Complete { attempt, result: Some(data("result")), ..Complete::default() };
    for (chunked_bytes, field) in [(0, "complete.chunked_bytes"), (5, "complete.result")] {
        let complete = Complete { chunked_bytes, ..complete.clone() };
        let refused = worker.try_complete(complete).await.unwrap();
        assert_eq!(refused.field_violations[0].field, field, "{refused:?}");
    }
    let complete = Complete { chunked_bytes: 5, result: None, ..complete };
    assert_eq!(worker.try_complete(complete).await, None);
}

#[tokio::test]
async fn a_bad_report_is_refused_by_its_field_and_the_stream_goes_on() {
    let server = TestServer::with(|config| config.limits.max_payload_bytes = 64 << 10).await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let assignment = worker.assignment().await;
    let before = server.get(&name).await;
    let attempt = attempt_of(&assignment);

    let at =
        |operation: &str, attempt| Some(AttemptRef { operation: operation.to_owned(), attempt });
    let complete = || Complete { attempt: attempt.clone(), ..Complete::default() };
    let metadata = (0..65).map(|n| (n.to_string(), String::new())).collect();
    let completes = [
        ("complete.attempt", Complete { attempt: None, ..complete() }),
        ("complete.attempt.operation", Complete { attempt: at("x", 1), ..complete() }),
        ("complete.attempt.attempt", Complete { attempt: at(&name, 0), ..complete() }),
        ("complete.attempt.attempt", Complete { attempt: at(&name, -1), ..complete() }),
        ("complete.result", Complete { result: Some(data(vec![0; 65_537])), ..complete() }),
        (
            "complete.warnings[1].code",
            Complete { warnings: vec![wrong("Fine"), wrong("")], ..complete() },
        ),
        (
            "complete.errors[0].code",
            Complete { errors: vec![wrong(&"c".repeat(129))], ..complete() },
        ),
        (
            "complete.errors[0].status_code",
            Complete { errors: vec![Error { status_code: 17, ..wrong("Code") }], ..complete() },
        ),
        (
            "complete.errors[0].metadata",
            Complete { errors: vec![Error { metadata, ..wrong("Code") }], ..complete() },
        ),
        (
            "complete.errors[0].message",
            Complete {
                errors: vec![Error { message: "m".repeat(65_537), ..wrong("Code") }],
                ..complete()
            },
        ),
        ("complete.errors", Complete { errors: vec![wrong("Code"); 1_001], ..complete() }),
    ];
    for (field, report) in completes {
        let refused = worker.try_complete(report).await.unwrap();
        assert_eq!(refused.status_code, 3, "{refused:?}");
        assert_eq!(refused.field_violations[0].field, field);
    }
    let nine = format!("fail.error{}", ".causes[0]".repeat(8));
    let fail = || Fail { attempt: attempt.clone(), error: Some(wrong("Code")), ..Fail::default() };
    let fails = [
        ("fail.error", Fail { error: None, ..fail() }),
        (nine.as_str(), Fail { error: Some(nested(9)), ..fail() }),
        (
            "fail.retry_delay",
            Fail { retry_delay: Some(prost_types::Duration { seconds: -1, nanos: 0 }), ..fail() },
        ),
        ("fail.retry_delay", Fail { retry_delay: seconds(24 * 3600 + 1), ..fail() }),
    ];
    for (field, report) in fails {
        let refused = worker.try_fail(report).await.unwrap();
        assert_eq!(refused.field_violations[0].field, field, "{refused:?}");
    }
    let unknown = at("operations/01890000-0000-7000-8000-000000000000", 1);
    let refused = worker.try_complete(Complete { attempt: unknown, ..complete() }).await.unwrap();
    assert_eq!((refused.status_code, refused.reason.as_str()), (5, "OPERATION_NOT_FOUND"));

    assert_eq!(server.get(&name).await, before, "nothing has changed");
    let at_most = Fail { error: Some(nested(8)), r#final: true, ..fail() };
    assert_eq!(worker.try_fail(at_most).await, None);
}

#[tokio::test]
async fn a_worker_is_not_read_while_as_many_of_its_reports_wait_as_may() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("longrun.db");
    let store = StoreUrl::Sqlite(path.clone());
    let server = TestServer::with(|config| config.store.url = store).await;
    let name = server.submit(submission("demo")).await.name;
    let mut worker = server.worker("demo", 1).await;
    let attempt = attempt_of(&worker.assignment().await);
    // The store waits for whoever holds this lock, and so do the reports.
    let lock = rusqlite::Connection::open(&path).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    for report_id in 1..=256 {
        let (attempt, lines) = (attempt.clone(), vec![String::new()]);
        worker.send(Up::Log(ReportLog { attempt, report_id, lines })).await;
    }
    // Said twice, it ends the stream as soon as it is read.
    worker.send(Up::Hello(hello("demo", 1))).await;
    // What comes on the same connection afterwards is served.
    for _ in 0..20 {
        server.get(&name).await;
    }
    lock.execute_batch("ROLLBACK").unwrap();
    let first = worker.next().await.expect("no error before an acknowledgement");
    assert!(matches!(first, Some(work_response::Message::Ack(_))), "{first:?}");
}
