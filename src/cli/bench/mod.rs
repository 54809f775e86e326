//! `longrun bench`: measures the throughput and latency of a server.
//!
//! A load generator with its own clients, workers and watchers, over the network. It measures from outside and knows
//! nothing of the server's internals. Read next: `clients`.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

pub(super) use self::args::Args;
use self::args::{Load, Span, Watch};
use self::clients::Run;
use self::endings::Waiting;
use self::log::Log;
use self::tally::Tally;
use super::connection::Connection;
use super::output::{Output, Usage};
use super::remote::Remote;
use super::signals::Signals;
use super::{Exit, host};
use crate::client::{Client, ClientError};
use crate::config::{ServeConfig, StoreUrl};
use crate::proto::v1::ListOperationsRequest;
use crate::server::Server;
use crate::worker::command::confinement::private_directory;
use crate::worker::{Outcome, Worker, WorkerError};

mod args;
mod clients;
mod endings;
mod histogram;
mod log;
mod report;
mod tally;

/// How long operations in flight may take to end when the time is up.
const LAST_ENDS: Duration = Duration::from_secs(10);
/// How much older than others an operation may be for a client to still wait for its end.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How long the workers have after that to give back their attempts.
const LAST_WORK: Duration = Duration::from_secs(3);

pub(super) async fn run(args: Args, connection: &Connection, out: &Output) -> anyhow::Result<Exit> {
    if args.load.workers == 0 && args.load.watch != Watch::None {
        let rule = "--workers 0 leaves everything undone, so that nothing ends that --watch waits for: add --watch none, e.g. \
             longrun bench --workers 0 --watch none";
        return Err(Usage(rule.to_owned()).into());
    }
    if !args.embedded {
        let others = args.replicas.iter().map(|url| connection.at(url));
        let replicas: Vec<_> = [connection.clone()].into_iter().chain(others).collect();
        return measure(&args, &replicas, out).await;
    }
    let directory =
        private_directory("longrun-bench-").context("failed to make a temporary directory")?;
    let mut config = ServeConfig::default();
    config.listen.addr.set_port(0);
    config.store.url = StoreUrl::Sqlite(directory.path().join("bench.db"));
    config.stop.drain_timeout = LAST_WORK;
    let server = Server::bind(config).await.context("failed to start the server")?;
    let replicas = [Connection::to(&format!("http://{}", server.local_addr()))];
    let stop = CancellationToken::new();
    let mut hosting = std::pin::pin!(host::host(server, Vec::new(), stop.clone()));
    let measured = tokio::select! {
        stopped = &mut hosting => stopped.and_then(|_| anyhow::bail!("the server ended by itself")),
        measured = measure(&args, &replicas, out) => measured,
    };
    stop.cancel();
    if measured.is_ok() {
        hosting.await?;
    }
    measured
}

/// Loads the replicas of a service, of which there is at least one, and reports the figures.
async fn measure(args: &Args, replicas: &[Connection], out: &Output) -> anyhow::Result<Exit> {
    let Args { load, span, .. } = args;
    let mut signals = Signals::catch()?;
    let urls: Vec<_> = replicas.iter().map(|replica| replica.server.as_str()).collect();
    let url = urls.join(", ");
    // The watchers use another replica than the first submitters.
    let remote = Remote::new(replicas.last().context("there is no server")?)?;
    let asked = ListOperationsRequest { page_size: 1, ..Default::default() };
    remote.client.list(asked).await.map_err(|error| remote.failed(&error, "begin"))?;
    report::announce(&url, load, out);

    let run = Arc::new(new_run(load, span));
    let workers_stop = CancellationToken::new();
    let mut workers = start_workers(&run, replicas, &workers_stop)?;
    let mut feeds = start_feeds(&run, &remote).await?;
    let began = Instant::now();
    let mut clients = start_clients(&run, replicas, began)?;
    let mut log = Log::new(began, span);
    let exit = loop {
        tokio::select! {
            ended = clients.join_next() => match ended {
                Some(ended) => ended?,
                None => break Exit::Ok,
            },
            () = sleep_until(log.next()) => if log.is_over(&run.tally, out)? {
                break Exit::Ok;
            },
            signal = signals.next() => break signal,
            Some(error) = feeds.join_next() => {
                return Err(remote.failed(&error?, "watch the operations"));
            }
            Some(ended) = workers.join_next() => {
                ended?.context("failed to execute the operations")?;
                anyhow::bail!("a worker ended by itself");
            }
        }
    };
    let mut measured = log.measured(&run.tally);
    run.stop.cancel();
    let ends = async { while clients.join_next().await.is_some() {} };
    if timeout(LAST_ENDS, ends).await.is_err() {
        measured.failed += clients.len() as u64;
        run.tally.fail(|| format!("not done {} s after the end", LAST_ENDS.as_secs()));
    }
    workers_stop.cancel();
    while workers.join_next().await.is_some() {}
    let failure = run.tally.first_failure();
    report::summary(load, &measured, failure, out)?;
    // Some failures are a figure of the report; a run with nothing but failures has no figures.
    let in_vain = measured.submit.count() == 0 && exit == Exit::Ok;
    Ok(if in_vain { Exit::Failure } else { exit })
}

/// A run without other work on the server.
fn new_run(load: &Load, span: &Span) -> Run {
    let id = format!("{:08x}", fastrand::u32(..));
    Run {
        load: load.clone(),
        kinds: (0..load.kinds).map(|number| format!("bench.{id}.{number}")).collect(),
        tally: Arc::new(Tally::new()),
        waiting: Arc::new(Waiting::default()),
        next: AtomicU64::new(0),
        count: span.count.unwrap_or(u64::MAX),
        stop: CancellationToken::new(),
        id,
    }
}

fn start_workers(
    run: &Run,
    replicas: &[Connection],
    stop: &CancellationToken,
) -> anyhow::Result<JoinSet<Result<(), WorkerError>>> {
    let Load { work, result, .. } = run.load;
    let result = Bytes::from(vec![b'y'; result as usize]);
    let mut workers = JoinSet::new();
    for (number, replica) in (0..run.load.workers).zip(replicas.iter().cycle()) {
        let mut worker = Worker::new(Remote::new(replica)?.client)
            .worker_id(format!("bench-{}-{number}", run.id))
            .concurrency(run.load.concurrency() as usize)
            .drain_timeout(LAST_WORK);
        for kind in &run.kinds {
            let (tally, result) = (Arc::clone(&run.tally), result.clone());
            worker = worker.handler(kind, move |context| {
                if let Some(begun) = tally.decode(context.input().bytes()) {
                    tally.push.record(begun.elapsed());
                }
                let result = result.clone();
                async move {
                    if !work.is_zero() {
                        sleep(work).await;
                    }
                    Ok(Outcome::bytes("application/octet-stream", result))
                }
            });
        }
        workers.spawn(worker.run(stop.clone()));
    }
    Ok(workers)
}

/// One stream for each kind, if clients learn of ends by streams.
async fn start_feeds(run: &Run, remote: &Remote) -> anyhow::Result<JoinSet<ClientError>> {
    let mut feeds = JoinSet::new();
    for kind in run.kinds.iter().filter(|_| run.load.watch == Watch::Feed) {
        let feed = endings::open_feed(&remote.client, kind).await;
        let feed = feed.map_err(|error| remote.failed(&error, "watch the operations"))?;
        let (client, waiting) = (remote.client.clone(), Arc::clone(&run.waiting));
        let longest = LONGEST_WAIT.max(run.load.work * 2);
        feeds.spawn(endings::follow(client, kind.clone(), feed, waiting, longest));
    }
    Ok(feeds)
}

fn start_clients(
    run: &Arc<Run>,
    replicas: &[Connection],
    began: Instant,
) -> anyhow::Result<JoinSet<()>> {
    let replicas = replicas.iter().cycle().take(run.load.connections as usize);
    let connections = replicas.map(|replica| Ok(Remote::new(replica)?.client));
    // A retried call would have two latencies.
    let connections: Vec<Client> = connections
        .map(|client: anyhow::Result<Client>| client.map(|client| client.with_retries(0)))
        .collect::<anyhow::Result<_>>()?;
    let mut clients = JoinSet::new();
    for connection in connections.iter().cycle().take(run.load.clients as usize) {
        clients.spawn(clients::submit(Arc::clone(run), connection.clone(), began));
    }
    Ok(clients)
}
