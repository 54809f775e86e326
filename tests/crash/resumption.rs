//! A worker that comes back is given again what it does not know of, and nothing else.

use std::sync::Arc;

use longrun::client::Client;
use longrun::proto::v1::work_response::Message as Down;
use longrun::proto::v1::{AttemptRef, Hello, SubmitRequest};
use longrun::store::sqlite::{SqliteOptions, SqliteStore};

use crate::history::ReportKind;
use crate::host::Host as _;
use crate::in_process::InProcess;
use crate::load::{Context, payload};
use crate::submitter::KINDS;
use crate::work_stream::{Sent, WorkStream, attempt_ref};

fn hello(session: &str, running: Vec<AttemptRef>) -> Hello {
    Hello {
        worker_id: "worker".to_owned(),
        kinds: vec![KINDS[0].to_owned()],
        max_in_flight: 10,
        session_id: session.to_owned(),
        running,
    }
}

/// The next attempt that is assigned.
async fn assigned(stream: &mut WorkStream) -> (String, i32) {
    loop {
        if let Down::Assignment(assignment) = stream.next().await.unwrap().unwrap() {
            return (assignment.operation.unwrap().name, assignment.attempt);
        }
    }
}

async fn submit(client: &Client) -> String {
    let input = Some(payload("anything".to_owned()));
    let request = SubmitRequest { kind: KINDS[0].to_owned(), input, ..SubmitRequest::default() };
    client.submit(request).await.unwrap().name
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_the_worker_lists_is_not_assigned_again_beside_an_earlier_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut host = InProcess::new(directory.path().join("longrun.db"), false, |path| {
        Ok(Arc::new(SqliteStore::open(path, &SqliteOptions::default())?))
    });
    host.start().await.unwrap();
    let context = Context::new(&host.url());
    let name = submit(&context.client).await;

    let mut stream = WorkStream::open(&context, hello("", Vec::new())).await.unwrap();
    assert_eq!(assigned(&mut stream).await, (name.clone(), 1));
    let kind = ReportKind::Release;
    let index = context.recorder.report(&name, 1, kind, "released", false);
    let token = "released".to_owned();
    stream.report(Sent { index, name: name.clone(), attempt: 1, kind, token });
    assert_eq!(assigned(&mut stream).await, (name.clone(), 2));
    let session = stream.session.session_id.clone();
    drop(stream);

    for running in [[2, 1], [1, 2]] {
        let running = running.map(|attempt| attempt_ref(&name, attempt)).to_vec();
        let mut stream = WorkStream::open(&context, hello(&session, running)).await.unwrap();
        assert!(stream.session.resumed);
        let other = submit(&context.client).await;
        assert_eq!(assigned(&mut stream).await, (other.clone(), 1));
        let index = context.recorder.report(&other, 1, ReportKind::Complete, "done", false);
        let token = "done".to_owned();
        let kind = ReportKind::Complete;
        stream.report(Sent { index, name: other.clone(), attempt: 1, kind, token });
        let wait = context.client.wait(&other, None);
        tokio::select! {
            done = wait => assert!(done.unwrap().done),
            heard = stream.next() => panic!("{heard:?}"),
        }
    }
    let mut stream = WorkStream::open(&context, hello(&session, Vec::new())).await.unwrap();
    assert_eq!(assigned(&mut stream).await, (name, 2), "what it does not list is assigned again");
}
