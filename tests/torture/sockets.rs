//! Connections that are cut at every stage, and no descriptors for new ones.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::time::Duration;

use longrun::client::Client;
use longrun::proto::v1::operation::State;
use longrun::proto::v1::operations_client::OperationsClient;
use longrun::proto::v1::watch_operation_response::Type;
use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::work_response::Message as Down;
use longrun::proto::v1::workers_client::WorkersClient;
use longrun::proto::v1::{
    AttemptRef, Complete, Hello, ListOperationsRequest, WatchOperationRequest, WorkRequest,
};
use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::program::{PATIENCE, Program, Setup, connect, submission, variable};
use crate::proxy::{Cut, Proxy};

const NEVER: usize = usize::MAX;
/// What a call takes is well below this, each way.
const MOST_BYTES: usize = 1_200;

/// Cuts all over the bytes of a call, on the way up and on the way down.
fn cuts() -> Vec<Cut> {
    let count = variable("LONGRUN_TORTURE_CUTS", 24);
    let places = (0..count).map(|at| at * MOST_BYTES / count);
    places.flat_map(|at| [Cut { up: at, down: NEVER }, Cut { up: NEVER, down: at }]).collect()
}

fn server() -> (tempfile::TempDir, Program) {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::new(&directory.path().join("longrun.db"));
    let server = setup.with(&["--lease-duration", "1s"]).start();
    (directory, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submission_that_is_cut_off_is_taken_once_or_not_at_all() {
    let (_directory, server) = server();
    let direct = server.client();
    let (mut names, mut answered) = (BTreeSet::new(), 0);
    for (number, cut) in cuts().into_iter().enumerate() {
        let proxy = Proxy::start(&server.url, cut).await;
        let client = Client::connect_lazy(&proxy.url).unwrap().with_retries(0);
        let request = submission(&format!("key-{number}"), 100);
        let first = timeout(PATIENCE, client.submit(request.clone())).await.unwrap();
        let again = direct.submit(request).await.unwrap();
        match first {
            Ok(first) => {
                assert_eq!(first.name, again.name, "{cut:?}");
                answered += 1;
            }
            Err(error) => assert!(error.is_transient(), "{cut:?}: {error:?}"),
        }
        assert!(names.insert(again.name), "{cut:?}");
    }
    assert!((1..names.len()).contains(&answered), "{answered} of {} were answered", names.len());
    let list = direct.list_all(ListOperationsRequest::default());
    let listed: BTreeSet<String> = list.map(|operation| operation.unwrap().name).collect().await;
    assert_eq!(listed, names);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_that_is_cut_off_goes_on_where_it_was() {
    let (_directory, server) = server();
    let operation = server.client().submit(submission("watched", 10)).await.unwrap();
    server.client().cancel(&operation.name, "").await.unwrap();
    let mut whole = 0;
    for cut in cuts() {
        let (mut after, mut seen) = (0, Vec::new());
        let mut cut_off = Some(Proxy::start(&server.url, cut).await);
        while seen.last() != Some(&2) {
            // The first time through the proxy, then directly.
            let proxy = cut_off.take();
            let url = proxy.as_ref().map_or(&server.url, |proxy| &proxy.url).clone();
            let request = WatchOperationRequest {
                name: operation.name.clone(),
                after_revision: Some(after),
                ..WatchOperationRequest::default()
            };
            let Some(channel) = connect(&url).await else { continue };
            let mut client = OperationsClient::new(channel);
            let Ok(stream) = timeout(PATIENCE, client.watch_operation(request)).await.unwrap()
            else {
                continue;
            };
            let mut stream = stream.into_inner();
            while let Ok(Some(message)) = timeout(PATIENCE, stream.message()).await.unwrap() {
                assert_eq!(message.r#type(), Type::Transition);
                seen.push(message.revision);
                after = message.revision;
            }
            whole += usize::from(proxy.is_some() && after == 2);
        }
        assert_eq!(seen, [1, 2], "{cut:?}");
    }
    assert!(whole < cuts().len(), "nothing was cut off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_work_of_a_worker_that_is_cut_off_is_done_all_the_same() {
    let (_directory, server) = server();
    let direct = server.client();
    let mut operations = Vec::new();
    for (number, cut) in cuts().into_iter().enumerate() {
        let operation = direct.submit(submission(&format!("key-{number}"), 10)).await.unwrap();
        operations.push(operation.name);
        let proxy = Proxy::start(&server.url, cut).await;
        // Until it is cut off, or has nothing to do any more.
        let _ = timeout(Duration::from_millis(100), work(&proxy.url, "cut off")).await;
    }
    let url = server.url.clone();
    // Without heartbeats it is cut off after a lease, and comes back.
    let last = tokio::spawn(async move {
        loop {
            work(&url, "direct").await;
        }
    });
    for name in operations {
        let done = timeout(PATIENCE, direct.wait(&name, None)).await.unwrap().unwrap();
        assert_eq!(done.state(), State::Succeeded, "{done:?}");
    }
    last.abort();
}

/// A worker that completes whatever it is given, over one stream.
async fn work(url: &str, worker: &str) -> Option<()> {
    let mut client = WorkersClient::new(connect(url).await?);
    let (requests, receiver) = tokio::sync::mpsc::channel(16);
    let up = |message| WorkRequest { message: Some(message) };
    let hello = Hello {
        worker_id: worker.to_owned(),
        kinds: vec!["torture".to_owned()],
        max_in_flight: 1,
        ..Hello::default()
    };
    requests.send(up(Up::Hello(hello))).await.ok()?;
    let mut stream = client.work(ReceiverStream::new(receiver)).await.ok()?.into_inner();
    let mut report_id = 0;
    while let Some(message) = stream.message().await.ok()? {
        if let Some(Down::Assignment(assignment)) = message.message {
            let operation = assignment.operation?.name;
            let attempt = Some(AttemptRef { operation, attempt: assignment.attempt });
            report_id += 1;
            let complete = Complete { attempt, report_id, ..Complete::default() };
            requests.send(up(Up::Complete(complete))).await.ok()?;
        }
    }
    Some(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_descriptors_the_server_serves_on_and_recovers() {
    const DESCRIPTORS: u64 = 80;
    let (_directory, server) = server();
    let client = server.client();
    let first = client.submit(submission("first", 10)).await.unwrap();
    let maximum = getrlimit(Resource::Nofile).maximum;
    let few = Rlimit { current: Some(DESCRIPTORS), maximum };
    prlimit(Some(server.pid()), Resource::Nofile, few).unwrap();

    let address = server.url.trim_start_matches("http://").to_owned();
    // The system accepts on the server's behalf: these wait for it, and use up what it has.
    let idle: Vec<TcpStream> =
        (0..2 * DESCRIPTORS).filter_map(|_| TcpStream::connect(&address).ok()).collect();
    assert!(idle.len() as u64 > DESCRIPTORS);
    // Who is connected is served as ever, also with what needs the disk.
    for number in 0..20 {
        let request = submission(&format!("meanwhile-{number}"), 5_000);
        timeout(PATIENCE, client.submit(request)).await.unwrap().unwrap();
        timeout(PATIENCE, client.get(&first.name, Default::default())).await.unwrap().unwrap();
    }
    drop(idle);
    let newcomer = server.client();
    let operation = timeout(PATIENCE, newcomer.submit(submission("after", 10))).await.unwrap();
    server.has_all(&[first, operation.unwrap()]).await;
}
