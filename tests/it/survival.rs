//! Whatever waits outlives its connection: the client through a proxy that drops, stalls and resets, and through a server
//! that is not there yet.

use std::time::Duration;

use longrun::client::{Client, ClientError};
use longrun::proto::v1::operation::State;
use longrun::proto::v1::*;
use longrun::worker::{Outcome, Worker};
use tonic::transport::Endpoint;

use crate::support::*;

const RESULT: usize = 300_000;

/// All that waits, and what it must come to, whatever became of its connections.
async fn all(client: &Client, kind: &str, done: &str) -> Result<(), ClientError> {
    let waits = async {
        let operation = client.clone().with_retries(60).submit(submission(kind)).await?;
        client.wait(&operation.name, None).await
    };
    let watches = async {
        let mut watch = client.submit_and_watch(submission(kind));
        let mut revisions = Vec::new();
        while let Some(message) = watch.next().await {
            let message = message?;
            let is_progress = message.r#type() == watch_operation_response::Type::Progress;
            (!is_progress).then(|| revisions.push(message.revision));
        }
        Ok(revisions)
    };
    let watches_many = async {
        let request =
            WatchOperationsRequest { filter: format!("kind={kind}"), ..Default::default() };
        let mut watch = client.watch_operations(request);
        let mut ended = std::collections::BTreeSet::new();
        while ended.len() < 2 {
            let message = watch.next().await.expect("it has no end")?;
            ended.extend(message.operation.filter(|it| it.done).map(|it| it.name));
        }
        Ok(())
    };
    let result = async { client.result_stream(done, 0).await?.collect().await };
    let input = async { client.input_stream(done, 0).await?.collect().await };
    let (waited, revisions, (), result, input) =
        tokio::try_join!(waits, watches, watches_many, result, input)?;
    assert_eq!(waited.state(), State::Succeeded);
    let expected: Vec<i64> = (revisions[0]..).take(revisions.len()).collect();
    assert_eq!(revisions, expected, "each once, in order");
    assert!(result.data.len() == RESULT && input.data.len() == RESULT);
    Ok(())
}

/// A server on which an operation with a large input and result is done, and its name.
async fn server() -> (TestServer, String) {
    // A worker whose first answer was lost comes back as another: its attempt is given out again soon.
    let server = TestServer::with(|config| {
        config.liveness.lease_duration = Duration::from_secs(3);
        config.liveness.heartbeat_interval = Duration::from_secs(1);
    })
    .await;
    let input = Some(data(vec![7; RESULT]));
    let name = server.submit(SubmitRequest { input, ..submission("large") }).await.name;
    let mut worker = server.worker("large", 1).await;
    let assignment = worker.assignment().await;
    worker.complete(&assignment, Some(data(vec![7; RESULT]))).await;
    (server, name)
}

/// A worker of the library at `url`, which runs as long as this is held.
fn worker(url: &str, kind: &str) -> tokio_util::sync::DropGuard {
    let stop = tokio_util::sync::CancellationToken::new();
    let worker = Worker::new(Client::connect_lazy(url).unwrap())
        .handler(kind, |_| async { Ok(Outcome::empty()) });
    spawn(worker.run(stop.clone()));
    stop.drop_guard()
}

#[tokio::test]
async fn a_server_that_is_away_for_five_seconds_at_first_ends_nothing() {
    let (server, name) = server().await;
    let proxy = Proxy::start(server.addr, Way::Closed).await;
    let _worker = worker(&proxy.url(), "late");
    let client = Client::connect_lazy(&proxy.url()).unwrap();
    let (done, ()) = tokio::join!(soon(all(&client, "late", &name)), async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        proxy.set(Way::Open);
    });
    done.unwrap();
}

#[tokio::test]
async fn connections_that_are_reset_at_any_byte_end_nothing() {
    let (server, name) = server().await;
    for (number, most) in [0, 1, 9, 40, 200, 1_000, 20_000, 200_000].into_iter().enumerate() {
        let proxy = Proxy::start(server.addr, Way::ResetAfter(most)).await;
        let kind = format!("reset{number}");
        let _worker = worker(&proxy.url(), &kind);
        let client = Client::connect_lazy(&proxy.url()).unwrap();
        let done = tokio::select! {
            done = soon(all(&client, &kind, &name)) => done,
            () = async {
                // The worker's, and several of the client's.
                proxy.connections(6).await;
                proxy.set(Way::Open);
                std::future::pending().await
            } => unreachable!("it goes on for ever"),
        };
        done.unwrap_or_else(|error| panic!("after {most} bytes: {error}"));
    }
}

#[tokio::test]
async fn a_connection_that_stalls_ends_nothing() {
    let (server, name) = server().await;
    let proxy = Proxy::start(server.addr, Way::Stalled).await;
    let _worker = worker(&format!("http://{}", server.addr), "stalled");
    // As the client's own, but sooner sure that nobody is there.
    let endpoint = Endpoint::from_shared(proxy.url()).unwrap();
    let endpoint = endpoint
        .http2_keep_alive_interval(Duration::from_millis(300))
        .keep_alive_timeout(Duration::from_millis(300));
    let client = Client::from_channel(endpoint.connect_lazy());
    let (done, ()) = tokio::join!(soon(all(&client, "stalled", &name)), async {
        soon(proxy.connections(3)).await;
        proxy.set(Way::Open);
    });
    done.unwrap();
}
