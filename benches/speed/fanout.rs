//! Many watchers: how many messages they get per second, and how late.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail, ensure};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use longrun::client::Client;
use longrun::proto::v1::operations_client::OperationsClient;
use longrun::proto::v1::watch_operation_response::Type;
use longrun::proto::v1::work_request::Message as Up;
use longrun::proto::v1::work_response::Message as Down;
use longrun::proto::v1::workers_client::WorkersClient;
use longrun::proto::v1::{
    AttemptRef, Error, Fail, Hello, OperationView, RetryPolicy, Settings, SubmitRequest,
    WatchOperationRequest, WorkRequest,
};

use crate::processes::{Server, directory};

/// Longest time for anything here.
const LONGEST: Duration = Duration::from_secs(60);
/// How often each operation is started and fails, to be started again.
const ATTEMPTS: i32 = 5;

/// A form of fan-out: so many operations, so many watchers of each, over so many connections.
struct Shape {
    name: &'static str,
    operations: usize,
    watchers: usize,
    connections: usize,
}

const SHAPES: [Shape; 3] = [
    Shape {
        name: "1 operation × 10,000 watchers",
        operations: 1,
        watchers: 10_000,
        connections: 10,
    },
    Shape {
        name: "10,000 operations × 1 watcher",
        operations: 10_000,
        watchers: 1,
        connections: 10,
    },
    Shape {
        name: "10 operations × 1,000 watchers, one connection each",
        operations: 10,
        watchers: 1_000,
        connections: 10,
    },
];

pub(crate) async fn run() -> anyhow::Result<()> {
    println!("\nWatch fan-out, from the decision (its commit included) to the client");
    println!("  {:<52} {:>11} {:>9} {:>9} {:>9}", "", "messages/s", "p50 ms", "p99 ms", "srv µs");
    for shape in SHAPES {
        one(&shape).await.with_context(|| shape.name.to_owned())?;
    }
    Ok(())
}

async fn one(shape: &Shape) -> anyhow::Result<()> {
    let directory = directory()?;
    let server = Server::longrun(directory.path())?;
    let client = Client::connect(&server.url).await?;
    let names = submit(&client, shape.operations).await?;
    let watching = Watching::open(&server, shape, &names).await?;
    let cpu = server.cpu()?;
    let mut times = timeout(LONGEST, watching.drive(&server, shape)).await??;
    let spent = server.cpu()? - cpu;
    times.late.sort_unstable();
    let at = |share: f64| {
        let at = (times.late.len() - 1) as f64 * share;
        times.late[at as usize].as_secs_f64() * 1e3
    };
    println!(
        "  {:<52} {:>11.0} {:>9.1} {:>9.1} {:>9.1}",
        shape.name,
        times.late.len() as f64 / times.span.as_secs_f64(),
        at(0.5),
        at(0.99),
        spent.as_secs_f64() * 1e6 / times.late.len() as f64,
    );
    Ok(())
}

/// Operations that wait for a worker, and will fail often.
async fn submit(client: &Client, count: usize) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::with_capacity(count);
    while names.len() < count {
        let batch = (count - names.len()).min(1_000);
        let request = SubmitRequest {
            kind: "fanout".to_owned(),
            settings: Some(Settings {
                retry_policy: Some(RetryPolicy { max_attempts: 1_000, ..Default::default() }),
                ..Settings::default()
            }),
            ..SubmitRequest::default()
        };
        for answer in client.submit_batch(vec![request; batch]).await? {
            names.push(answer?.name);
        }
    }
    Ok(names)
}

/// All watchers, open, and what they see.
struct Watching {
    tasks: JoinSet<anyhow::Result<Vec<Duration>>>,
    /// How many messages have come in, all watchers together.
    seen: Arc<watch::Sender<u64>>,
}

struct Times {
    late: Vec<Duration>,
    span: Duration,
}

impl Watching {
    async fn open(server: &Server, shape: &Shape, names: &[String]) -> anyhow::Result<Self> {
        let mut channels = Vec::new();
        for _ in 0..shape.connections {
            let endpoint = Endpoint::from_shared(server.url.clone())?
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(16 << 20);
            channels.push(endpoint.connect().await?);
        }
        let seen = Arc::new(watch::Sender::new(0));
        let (opened, mut open) = mpsc::channel(64);
        let mut tasks = JoinSet::new();
        let all = shape.operations * shape.watchers;
        let per_connection = all.div_ceil(shape.connections);
        for number in 0..all {
            let name = names[number / shape.watchers].clone();
            let channel = channels[number / per_connection].clone();
            tasks.spawn(follow(channel, name, opened.clone(), Arc::clone(&seen)));
        }
        drop(opened);
        for _ in 0..all {
            timeout(LONGEST, open.recv()).await?.context("a watch could not be opened")?;
        }
        Ok(Self { tasks, seen })
    }

    /// Starts and fails every operation again and again. With few operations one transition is told to all
    /// before the next; many are in the works at once.
    async fn drive(mut self, server: &Server, shape: &Shape) -> anyhow::Result<Times> {
        let channel = Endpoint::from_shared(server.url.clone())?.connect().await?;
        let (up, requests) = mpsc::channel(64);
        let hello = Hello {
            worker_id: "fanout".to_owned(),
            kinds: vec!["fanout".to_owned()],
            max_in_flight: 256,
            ..Hello::default()
        };
        up.send(WorkRequest { message: Some(Up::Hello(hello)) }).await?;
        let began = Instant::now();
        let mut workers = WorkersClient::new(channel);
        let mut down = workers.work(ReceiverStream::new(requests)).await?.into_inner();
        let attempts = shape.operations as i64 * i64::from(ATTEMPTS);
        let mut seen = self.seen.subscribe();
        let mut report_id = 0;
        while report_id < attempts {
            let message = down.message().await?.context("the worker's stream ended")?;
            let Some(Down::Assignment(assignment)) = message.message else { continue };
            report_id += 1;
            if shape.operations == 1 {
                // The start has been told to all.
                let wanted = (2 * report_id as u64 - 1) * shape.watchers as u64;
                seen.wait_for(|count| *count >= wanted).await?;
            }
            let operation = assignment.operation.context("an operation")?.name;
            let last = assignment.attempt == ATTEMPTS;
            let fail = Fail {
                attempt: Some(AttemptRef { operation, attempt: assignment.attempt }),
                report_id,
                error: Some(Error { code: "AGAIN".to_owned(), ..Error::default() }),
                r#final: last,
                retry_delay: (!last).then(prost_types::Duration::default),
            };
            up.send(WorkRequest { message: Some(Up::Fail(fail)) }).await?;
        }
        let mut late = Vec::new();
        while let Some(ended) = self.tasks.join_next().await {
            late.extend(ended??);
        }
        let wanted = 2 * attempts as usize * shape.watchers;
        ensure!(late.len() == wanted, "{} messages of {wanted}", late.len());
        Ok(Times { late, span: began.elapsed() })
    }
}

/// How late each transition comes, up to the last.
async fn follow(
    channel: Channel,
    name: String,
    opened: mpsc::Sender<()>,
    seen: Arc<watch::Sender<u64>>,
) -> anyhow::Result<Vec<Duration>> {
    let request = WatchOperationRequest {
        name,
        view: OperationView::Basic.into(),
        ..WatchOperationRequest::default()
    };
    let mut stream = OperationsClient::new(channel).watch_operation(request).await?.into_inner();
    let mut late = Vec::with_capacity(2 * ATTEMPTS as usize);
    while let Some(message) = stream.message().await? {
        match message.r#type() {
            Type::Snapshot => opened.send(()).await?,
            Type::Transition => {
                let operation = message.operation.context("an operation")?;
                let decided = operation.update_time.context("a time")?;
                let decided = SystemTime::try_from(decided)?;
                late.push(SystemTime::now().duration_since(decided).unwrap_or_default());
                seen.send_modify(|count| *count += 1);
                if operation.done {
                    return Ok(late);
                }
            }
            _ => {}
        }
    }
    bail!("the watch ended early")
}
