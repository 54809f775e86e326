//! Log lines of attempts at several replicas are numbered in one row.

use longrun::proto::v1::event;
use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::work_response::Message as Down;
use longrun::proto::v1::{
    Ack, Assignment, Complete, Fail, ListEventsRequest, ReportLog, RetryPolicy, Settings,
    SubmitRequest,
};

use crate::postgres_support::database;
use crate::support::{Replica, Work, attempt};

async fn acked(work: &mut Work, report: Up) -> Ack {
    work.say(report).await;
    loop {
        if let Down::Ack(ack) = work.heard().await {
            return ack;
        }
    }
}

/// Lines in parts, as many of them as a report takes; all are acknowledged.
async fn log(work: &mut Work, assignment: &Assignment, count: usize) {
    let lines: Vec<String> =
        (0..count).map(|number| format!("{}-{number}", assignment.attempt)).collect();
    for lines in lines.chunks(400) {
        let lines = lines.to_vec();
        let log = ReportLog { attempt: Some(attempt(assignment)), report_id: 1, lines };
        assert_eq!(acked(work, Up::Log(log)).await.error, None);
    }
}

#[tokio::test]
async fn lines_of_attempts_at_several_replicas_are_all_kept_in_their_order() {
    let store = database().await.url;
    let [a, b] = [(); 2].map(|()| Replica::start(&store, &[]));
    let at_once = Some(prost_types::Duration { seconds: 0, nanos: 1_000 });
    let policy = RetryPolicy {
        max_attempts: 9,
        initial_backoff: at_once,
        max_backoff: at_once,
        ..RetryPolicy::default()
    };
    let settings = Some(Settings { retry_policy: Some(policy), ..Settings::default() });
    let request = SubmitRequest { kind: "k".to_owned(), settings, ..SubmitRequest::default() };
    let operation = a.operations().submit(request).await.unwrap().into_inner();
    // The second attempt pushes out what the first has left, and all that its replica knows of.
    for (replica, lines) in [(&a, 5), (&b, 1_200), (&a, 3)] {
        let mut work = replica.work("k", None, Vec::new()).await;
        let assignment = work.assignment().await;
        log(&mut work, &assignment, lines).await;
        if lines == 3 {
            let complete = Complete {
                attempt: Some(attempt(&assignment)),
                report_id: 2,
                ..Complete::default()
            };
            assert_eq!(acked(&mut work, Up::Complete(complete)).await.error, None);
            break;
        }
        work.say(Up::Drain(longrun::proto::v1::WorkerDrain {})).await;
        let fail = Fail {
            attempt: Some(attempt(&assignment)),
            report_id: 2,
            error: Some(longrun::proto::v1::Error { code: "X".to_owned(), ..Default::default() }),
            ..Fail::default()
        };
        assert_eq!(acked(&mut work, Up::Fail(fail)).await.error, None);
    }
    let (mut numbers, mut last, mut page_token) = (Vec::new(), Vec::new(), String::new());
    loop {
        let name = operation.name.clone();
        let request = ListEventsRequest { name, page_size: 500, page_token };
        let page = b.operations().list_events(request).await.unwrap().into_inner();
        for event in page.events.iter().filter(|event| event.r#type() == event::Type::Log) {
            let line = event.log.as_ref().unwrap();
            numbers.push(line.number);
            last.push(line.text.clone());
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    assert_eq!(numbers.last(), Some(&1_208), "5 and 1,200 and 3");
    assert_eq!(last[last.len() - 3..], ["3-0", "3-1", "3-2"]);
}
