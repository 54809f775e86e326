//! What a bare server does on this machine: tonic with one SQLite writer and nothing else.
//!
//! Two calls. `Echo` answers with as many bytes as it is asked for. `Step` is one of the four
//! transitions of a life (submit, claim, progress, complete), answered after its group commit. The
//! client of a life makes all four calls itself.

use std::convert::Infallible;
use std::path::Path;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use rusqlite::{Connection, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// Most transitions of one commit.
const BATCH: usize = 256;
const OWNERS: u64 = 100;
const TYPES: u64 = 4;

#[derive(Clone, PartialEq, prost::Message)]
struct EchoRequest {
    #[prost(bytes = "bytes", tag = "1")]
    payload: bytes::Bytes,
    /// How many bytes to answer with.
    #[prost(uint32, tag = "2")]
    answer: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct EchoAnswer {
    #[prost(bytes = "bytes", tag = "1")]
    payload: bytes::Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StepRequest {
    /// 0 submit, 1 claim, 2 progress, 3 complete.
    #[prost(uint32, tag = "1")]
    step: u32,
    #[prost(bytes = "vec", tag = "2")]
    id: Vec<u8>,
    #[prost(uint64, tag = "3")]
    client: u64,
    #[prost(bytes = "vec", tag = "4")]
    payload: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StepAnswer {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
}

type Job = (StepRequest, oneshot::Sender<Option<Vec<u8>>>);

/// The service.
#[derive(Clone)]
struct Bare {
    jobs: mpsc::Sender<Job>,
}

impl tonic::server::NamedService for Bare {
    const NAME: &'static str = "bare.Bare";
}

impl tower::Service<http::Request<tonic::body::Body>> for Bare {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let jobs = self.jobs.clone();
        Box::pin(async move {
            if request.uri().path() == "/bare.Bare/Echo" {
                let codec = ProstCodec::<EchoAnswer, EchoRequest>::default();
                let echo = tower::service_fn(|request: Request<EchoRequest>| async move {
                    let EchoRequest { payload, answer } = request.into_inner();
                    let payload = match answer as usize {
                        same if same == payload.len() => payload,
                        other => vec![7; other].into(),
                    };
                    Ok::<_, Status>(Response::new(EchoAnswer { payload }))
                });
                return Ok(tonic::server::Grpc::new(codec).unary(echo, request).await);
            }
            let codec = ProstCodec::<StepAnswer, StepRequest>::default();
            let step = tower::service_fn(move |request: Request<StepRequest>| {
                let jobs = jobs.clone();
                async move {
                    let gone = |_| Status::unavailable("the writer has ended");
                    let (answer, answered) = oneshot::channel();
                    let job = (request.into_inner(), answer);
                    jobs.send(job)
                        .await
                        .map_err(|_| Status::unavailable("the writer has ended"))?;
                    match answered.await.map_err(gone)? {
                        Some(id) => Ok(Response::new(StepAnswer { id })),
                        None => Err(Status::not_found("there is none")),
                    }
                }
            });
            Ok(tonic::server::Grpc::new(codec).unary(step, request).await)
        })
    }
}

/// Serves on a free port, which it prints, until it is killed.
pub(crate) async fn serve(directory: &Path) -> anyhow::Result<()> {
    let (jobs, queue) = mpsc::channel(4_096);
    let connection = open(directory).context("the store cannot be opened")?;
    let writer = std::thread::spawn(move || write(connection, queue));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let served = tonic::transport::Server::builder()
        .add_service(Bare { jobs })
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await;
    served?;
    writer.join().map_err(|_| anyhow::anyhow!("the writer panicked"))?
}

fn open(directory: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(directory.join("bare.db"))?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-65536;
         CREATE TABLE op(n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, owner TEXT NOT NULL,
           type INT NOT NULL, state INT NOT NULL, priority INT NOT NULL, ready_time INT NOT NULL,
           create_time INT NOT NULL, update_time INT NOT NULL, lease_owner TEXT, lease_until INT,
           attempt INT NOT NULL, progress INT NOT NULL, seq INT NOT NULL, input BLOB NOT NULL,
           result BLOB) STRICT;
         CREATE INDEX op_ots ON op(owner, type, state, create_time);
         CREATE INDEX op_ct ON op(create_time);
         CREATE INDEX op_ready ON op(type, priority, ready_time) WHERE state = 0;
         CREATE TABLE event(op BLOB NOT NULL, seq INT NOT NULL, time INT NOT NULL, kind INT NOT NULL,
           note TEXT, PRIMARY KEY(op, seq)) STRICT, WITHOUT ROWID;",
    )?;
    Ok(connection)
}

fn write(mut connection: Connection, mut queue: mpsc::Receiver<Job>) -> anyhow::Result<()> {
    let mut jobs = Vec::with_capacity(BATCH);
    while let Some(first) = queue.blocking_recv() {
        jobs.push(first);
        while jobs.len() < BATCH
            && let Ok(job) = queue.try_recv()
        {
            jobs.push(job);
        }
        let steps: Vec<&StepRequest> = jobs.iter().map(|(step, _)| step).collect();
        let answers = commit(&mut connection, &steps)?;
        for ((_, answer), id) in jobs.drain(..).zip(answers) {
            let _ = answer.send(id);
        }
    }
    Ok(())
}

fn micros() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_micros() as i64
}

/// All of the batch in one durable commit.
fn commit(
    connection: &mut Connection,
    steps: &[&StepRequest],
) -> rusqlite::Result<Vec<Option<Vec<u8>>>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let now = micros();
    let lease = now + 30_000_000;
    let mut answers = Vec::with_capacity(steps.len());
    for step in steps {
        let changed: rusqlite::Result<(Vec<u8>, i64)> = match step.step {
            0 => {
                let id = uuid::Uuid::now_v7().as_bytes().to_vec();
                let owner = format!("projects/owner-{:04}", step.client % OWNERS);
                transaction
                    .prepare_cached(
                        "INSERT INTO op(id, owner, type, state, priority, ready_time, create_time,
                           update_time, attempt, progress, seq, input)
                         VALUES(?, ?, ?, 0, 5, ?, ?, ?, 0, 0, 0, ?)",
                    )?
                    .execute(params![
                        id,
                        owner,
                        (step.client % TYPES) as i64,
                        now,
                        now,
                        now,
                        step.payload
                    ])?;
                Ok((id, 0))
            }
            1 => transaction
                .prepare_cached(
                    "UPDATE op SET state = 1, lease_owner = 'worker-1', lease_until = ?2,
                       attempt = attempt + 1, seq = seq + 1, update_time = ?3
                     WHERE id = ?1 AND state = 0 RETURNING id, seq",
                )?
                .query_row(params![step.id, lease, now], |row| Ok((row.get(0)?, row.get(1)?))),
            2 => transaction
                .prepare_cached(
                    "UPDATE op SET progress = progress + 1, seq = seq + 1, update_time = ?2,
                       lease_until = ?3 WHERE id = ?1 AND state = 1 RETURNING id, seq",
                )?
                .query_row(params![step.id, now, lease], |row| Ok((row.get(0)?, row.get(1)?))),
            _ => transaction
                .prepare_cached(
                    "UPDATE op SET state = 2, result = ?3, seq = seq + 1, update_time = ?2,
                       lease_owner = NULL, lease_until = NULL
                     WHERE id = ?1 AND state = 1 RETURNING id, seq",
                )?
                .query_row(params![step.id, now, step.payload], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                }),
        };
        answers.push(match changed {
            Ok((id, seq)) => {
                transaction
                    .prepare_cached("INSERT INTO event VALUES(?, ?, ?, ?, ?)")?
                    .execute(params![id, seq, now, step.step, "transition by worker-1"])?;
                Some(id)
            }
            Err(rusqlite::Error::QueryReturnedNoRows) => None,
            Err(error) => return Err(error),
        });
    }
    transaction.commit()?;
    Ok(answers)
}

/// What the clients are to do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Calls {
    /// Echoes of so many bytes, answered with so many.
    Echo { bytes: usize, answer: u32 },
    /// Lives of four calls each.
    Lives,
}

/// Calls in a closed loop; prints how many, and each one's microseconds at the median and the 99th
/// percentile.
pub(crate) async fn load(
    url: &str,
    calls: Calls,
    clients: usize,
    connections: usize,
    time: Duration,
) -> anyhow::Result<()> {
    let mut channels = Vec::new();
    for _ in 0..connections {
        channels.push(Endpoint::from_shared(url.to_owned())?.connect().await?);
    }
    let until = Instant::now() + time;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..clients {
        let channel = channels[number % connections].clone();
        tasks.spawn(client(channel, calls, number as u64, until));
    }
    let mut times = Vec::new();
    while let Some(more) = tasks.join_next().await {
        times.extend(more??);
    }
    times.sort_unstable();
    let at = |share: f64| {
        times.get((times.len().saturating_sub(1) as f64 * share) as usize).copied().unwrap_or(0)
    };
    println!("{} {} {}", times.len(), at(0.5), at(0.99));
    Ok(())
}

async fn client(
    channel: Channel,
    calls: Calls,
    number: u64,
    until: Instant,
) -> anyhow::Result<Vec<u32>> {
    let mut grpc = tonic::client::Grpc::new(channel);
    let mut times = Vec::new();
    loop {
        let began = Instant::now();
        if began >= until {
            return Ok(times);
        }
        match calls {
            Calls::Echo { bytes, answer } => {
                let request = EchoRequest { payload: vec![5; bytes].into(), answer };
                let codec = ProstCodec::<EchoRequest, EchoAnswer>::default();
                grpc.ready().await?;
                let path = http::uri::PathAndQuery::from_static("/bare.Bare/Echo");
                grpc.unary(Request::new(request), path, codec).await?;
            }
            Calls::Lives => {
                let mut id = Vec::new();
                for step in 0..4 {
                    let payload = if step % 3 == 0 { vec![5; 300] } else { Vec::new() };
                    let request = StepRequest { step, id, client: number, payload };
                    let codec = ProstCodec::<StepRequest, StepAnswer>::default();
                    grpc.ready().await?;
                    let path = http::uri::PathAndQuery::from_static("/bare.Bare/Step");
                    id = grpc.unary(Request::new(request), path, codec).await?.into_inner().id;
                }
            }
        }
        times.push(began.elapsed().as_micros() as u32);
    }
}
