//! Workers that join and leave by the thousand, over few connections.

use std::sync::Arc;
use std::time::Duration;

use longrun::client::Client;
use longrun::proto::v1::operation::State;
use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::work_response::Message as Down;
use longrun::proto::v1::workers_client::WorkersClient;
use longrun::proto::v1::{AttemptRef, Complete, Hello, OperationView, WorkRequest};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use crate::program::{PATIENCE, Setup, submission, variable};

/// Connections, and workers at a time.
const CONNECTIONS: usize = 8;
const AT_A_TIME: usize = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_workers_join_and_leave_and_all_work_is_done() {
    let workers = variable("LONGRUN_TORTURE_WORKERS", 1_000);
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::new(&directory.path().join("longrun.db"));
    let server = setup.with(&["--lease-duration", "1s"]).start();
    let client = server.client();
    let requests = (0..workers / 2).map(|number| submission(&format!("key-{number}"), 10));
    let mut operations = Vec::new();
    for batch in requests.collect::<Vec<_>>().chunks(500) {
        for operation in client.submit_batch(batch.to_vec()).await.unwrap() {
            operations.push(operation.unwrap().name);
        }
    }
    let endpoint = Endpoint::from_shared(server.url.clone()).unwrap();
    let channels: Vec<Channel> = (0..CONNECTIONS).map(|_| endpoint.connect_lazy()).collect();
    let room = Arc::new(Semaphore::new(AT_A_TIME));
    let mut crowd = JoinSet::new();
    for number in 0..workers {
        let (channel, room) = (channels[number % CONNECTIONS].clone(), Arc::clone(&room));
        crowd.spawn(async move {
            let _place = room.acquire().await;
            // A third vanishes with what it was given.
            let completes = number % 3 != 0;
            let stay = work(channel, number, completes);
            let _ = timeout(Duration::from_millis(200), stay).await;
        });
    }
    while let Some(ended) = crowd.join_next().await {
        ended.unwrap();
    }
    // What the vanished ones held comes back to those who stay.
    let mut steady = JoinSet::new();
    for (number, channel) in channels.iter().take(4).enumerate() {
        let channel = channel.clone();
        steady.spawn(async move {
            // Without heartbeats it is cut off after a lease, and comes back.
            loop {
                work(channel.clone(), workers + number, true).await;
            }
        });
    }
    let patient = Client::connect(&server.url).await.unwrap();
    for name in operations {
        let Ok(done) = timeout(PATIENCE, patient.wait(&name, None)).await else {
            let operation = patient.get(&name, OperationView::Basic).await;
            panic!("{operation:?} is not done: {}", server.log());
        };
        let done = done.unwrap();
        let given_up = done.error.as_ref().is_some_and(|error| error.code == "WORKER_LOST");
        assert!(done.state() == State::Succeeded || given_up, "{done:?}");
    }
    steady.shutdown().await;
    assert_eq!(server.get("/readyz").0, 200);
}

/// Takes work, and completes it or sits on it.
async fn work(channel: Channel, number: usize, completes: bool) -> Option<()> {
    let (requests, receiver) = tokio::sync::mpsc::channel(16);
    let up = |message| WorkRequest { message: Some(message) };
    let hello = Hello {
        worker_id: format!("worker-{number}"),
        kinds: vec!["torture".to_owned()],
        max_in_flight: 2,
        ..Hello::default()
    };
    requests.send(up(Up::Hello(hello))).await.ok()?;
    let stream = WorkersClient::new(channel).work(ReceiverStream::new(receiver)).await;
    let mut stream = stream.ok()?.into_inner();
    let mut report_id = 0;
    while let Some(message) = stream.message().await.ok()? {
        if let Some(Down::Assignment(assignment)) = message.message
            && completes
        {
            let operation = assignment.operation?.name;
            let attempt = Some(AttemptRef { operation, attempt: assignment.attempt });
            report_id += 1;
            let complete = Complete { attempt, report_id, ..Complete::default() };
            requests.send(up(Up::Complete(complete))).await.ok()?;
        }
    }
    Some(())
}
