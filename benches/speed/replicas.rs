//! Whole lives on PostgreSQL with one, two and three replicas, beside what the same server does when `pgbench` makes
//! one life of four transactions of one row each.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use longrun::client::Client;
use longrun::proto::v1::{
    ListOperationsRequest, OperationView, SubmitRequest, WatchOperationRequest,
};

use crate::figures::{figure, median, verdict};
use crate::postgres_support::{Cluster, connect, has_server};
use crate::processes::{Server, longrun_round};

const TIME: Duration = Duration::from_secs(4);
const ROUNDS: usize = 3;
const CLIENTS: usize = 64;
/// A million operations like one that is done, a little older than all others, and their histories.
const FILL: &str = "
CREATE TEMP TABLE model AS SELECT * FROM operations WHERE state >= 4 LIMIT 1;
CREATE TEMP TABLE filled AS SELECT g,
  (lpad(to_hex(1649267441664 + g), 12, '0') || '7abc8' || lpad(to_hex(g), 15, '0'))::uuid AS id
  FROM generate_series(1, 1000000) AS g;
INSERT INTO operations (id, tenant, kind, state, priority, attempt, revision, created_at, updated_at,
    started_at, ended_at, wake_at, submission, life, input, result)
  SELECT f.id, tenant, kind, state, priority, attempt, revision, created_at, updated_at, started_at,
    ended_at - g, wake_at + 86400000000, submission, life, input, result
  FROM model, filled f;
INSERT INTO events (id, revision, type, life)
  SELECT f.id, e.revision, e.type, e.life FROM model m JOIN events e ON e.id = m.id, filled f;
ANALYZE operations;
ANALYZE events;
CHECKPOINT";
/// How often an operation and a list are read.
const READS: usize = 300;
/// How many transitions are told across replicas.
const TOLD: usize = 100;

/// A life as a table of jobs has it: submitted, claimed, got on with, done.
const LIFE: &str = "\\set id random(1, 9000000000000000)
INSERT INTO lives VALUES (:id, 1, 0, repeat('x', 300), NULL) ON CONFLICT DO NOTHING;
UPDATE lives SET state = 2, wake_at = 1 WHERE id = :id;
UPDATE lives SET wake_at = 2 WHERE id = :id;
UPDATE lives SET state = 4, result = repeat('y', 300) WHERE id = :id;
";

/// What one round showed.
struct Round {
    lives: f64,
    p50: f64,
    p99: f64,
    /// Per life.
    commits: f64,
    statements: f64,
    wal: f64,
}

pub(crate) async fn run() -> anyhow::Result<()> {
    println!("\nPostgreSQL: whole lives, 64 in flight, 300 B in and out, beside pgbench");
    if !has_server() {
        println!("  left out: PostgreSQL's server is not here (apt-get install postgresql)");
        return Ok(());
    }
    let settings = ["shared_preload_libraries=pg_stat_statements", "shared_buffers=256MB"];
    let cluster = Cluster::start_with(&settings);
    let admin = connect(&cluster.url("postgres")).await;
    admin.batch_execute("CREATE EXTENSION pg_stat_statements").await?;
    let table = "CREATE TABLE lives (id bigint PRIMARY KEY, state int, wake_at bigint, body text, result text)";
    admin.batch_execute(table).await?;
    admin.batch_execute("CREATE DATABASE longrun").await?;
    let store = cluster.url("longrun");
    let servers = (0..3).map(|_| Server::on_store(&store)).collect::<anyhow::Result<Vec<_>>>()?;

    let mut rounds: [Vec<Round>; 4] = Default::default();
    for _ in 0..ROUNDS {
        rounds[0].push(measured(&admin, || pgbench(&cluster)).await?);
        for replicas in 1..=servers.len() {
            let load = || lives(&servers[..replicas]);
            rounds[replicas].push(measured(&admin, load).await?);
        }
    }
    println!(
        "  {:<26} {:>8} {:>8} {:>8} {:>8} {:>11} {:>10} {:>10}",
        "", "lives/s", "p50 ms", "p99 ms", "ratio", "statements", "commits", "WAL B"
    );
    let bare = median(&rounds[0], |round| round.lives);
    for (replicas, rounds) in rounds.iter().enumerate() {
        let of = |figure: fn(&Round) -> f64| median(rounds, figure);
        let (name, note) = match replicas {
            0 => ("pgbench, four transactions".to_owned(), "4 commits".to_owned()),
            1 => {
                let met = of(|round| round.lives) >= bare;
                ("1 replica".to_owned(), verdict(met, "at least as many"))
            }
            replicas => (format!("{replicas} replicas"), String::new()),
        };
        println!(
            "  {name:<26} {:>8.0} {:>8.2} {:>8.2} {:>8.2} {:>11.2} {:>10.3} {:>10.0}  {note}",
            of(|round| round.lives),
            of(|round| round.p50),
            of(|round| round.p99),
            of(|round| round.lives) / bare,
            of(|round| round.statements),
            of(|round| round.commits),
            of(|round| round.wal),
        );
    }
    println!("  statements, commits (each one round trip) and write-ahead log are for one life");
    grown(&admin, &connect(&store).await, &servers[0]).await?;
    let across = across(&servers[0], &servers[1]).await?;
    let goal = verdict(across < 50.0, "under 50 ms");
    figure(
        "from a commit at one replica to a watcher at another, p50",
        format!("{across:.1} ms"),
        &goal,
    );
    Ok(())
}

/// What a million operations that are done make of lives and reads.
async fn grown(
    admin: &tokio_postgres::Client,
    store: &tokio_postgres::Client,
    server: &Server,
) -> anyhow::Result<()> {
    let figures = async || -> anyhow::Result<[f64; 3]> {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            rounds.push(measured(admin, || lives(std::slice::from_ref(server))).await?);
        }
        let (get, list) = reads(server).await?;
        Ok([1e3 / median(&rounds, |round| round.lives), get, list])
    };
    let empty = figures().await?;
    store.batch_execute(FILL).await?;
    let full = figures().await?;
    let names = ["a life", "a Get", "a List of 50"];
    for ((name, empty), full) in names.iter().zip(empty).zip(full) {
        let goal = verdict(full <= 1.2 * empty, "within 20 %");
        let value = format!("{:.2} ({empty:.2} to {full:.2} ms)", full / empty);
        figure(&format!("{name} beside 1,000,000 operations, against none"), value, &goal);
    }
    Ok(())
}

/// Milliseconds at the median of a Get and of a List.
async fn reads(server: &Server) -> anyhow::Result<(f64, f64)> {
    let client = Client::connect(&server.url).await?;
    let (mut gets, mut lists) = (Vec::new(), Vec::new());
    for _ in 0..READS {
        let began = Instant::now();
        let page = ListOperationsRequest { page_size: 50, ..Default::default() };
        let page = client.list(page).await?;
        lists.push(began.elapsed().as_secs_f64() * 1e3);
        let name = &page.operations.last().context("an empty list")?.name;
        let began = Instant::now();
        client.get(name, OperationView::Basic).await?;
        gets.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok((median(&gets, |time| *time), median(&lists, |time| *time)))
}

/// Milliseconds at the median from the answer of a cancel at one replica to its being told at another.
async fn across(here: &Server, there: &Server) -> anyhow::Result<f64> {
    let (here, there) = (Client::connect(&here.url).await?, Client::connect(&there.url).await?);
    let mut times = Vec::new();
    for _ in 0..TOLD {
        let request = SubmitRequest { kind: "nobody".to_owned(), ..Default::default() };
        let name = here.submit(request).await?.name;
        let request = WatchOperationRequest { name: name.clone(), ..Default::default() };
        let mut watch = there.watch(request);
        watch.next().await.context("the watch has ended")??;
        let told = async {
            watch.next().await.context("the watch has ended")??;
            anyhow::Ok(Instant::now())
        };
        let answered = async {
            here.cancel(&name, "").await?;
            anyhow::Ok(Instant::now())
        };
        let (told, answered) = tokio::try_join!(told, answered)?;
        times.push(told.saturating_duration_since(answered).as_secs_f64() * 1e3);
    }
    Ok(median(&times, |time| *time))
}

/// A load, and what the database had to do for it.
async fn measured(
    admin: &tokio_postgres::Client,
    load: impl FnOnce() -> anyhow::Result<(f64, f64, f64, f64)>,
) -> anyhow::Result<Round> {
    admin.batch_execute("CHECKPOINT").await?;
    let before = counters(admin).await?;
    let (count, lives, p50, p99) = tokio::task::block_in_place(load)?;
    let after = counters(admin).await?;
    let per_life = |at: usize| (after[at] - before[at]) / count.max(1.0);
    Ok(Round { lives, p50, p99, commits: per_life(0), statements: per_life(1), wal: per_life(2) })
}

/// Commits, statements, bytes of write-ahead log, so far.
async fn counters(admin: &tokio_postgres::Client) -> anyhow::Result<[f64; 3]> {
    let counters = "SELECT
      (SELECT sum(calls) FROM pg_stat_statements WHERE query = 'COMMIT' OR query = 'END')::float8,
      (SELECT sum(calls) FROM pg_stat_statements)::float8,
      pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8";
    let row = admin.query_one(counters, &[]).await?;
    let number = |at| row.get::<_, Option<f64>>(at).unwrap_or(0.0);
    Ok([number(0), number(1), number(2)])
}

/// Lives, lives per second, and their latencies.
fn lives(servers: &[Server]) -> anyhow::Result<(f64, f64, f64, f64)> {
    let (first, others) = servers.split_first().context("no replica")?;
    let workers = servers.len().to_string();
    let mut more = vec!["--watch", "feed", "--workers", &workers];
    more.extend(others.iter().flat_map(|other| ["--replica", &other.url]));
    let round = longrun_round(first, "end", CLIENTS, TIME, &more)?;
    let count = round.report["lives"].as_f64().unwrap_or(0.0);
    Ok((count, round.rate, round.p50, round.p99))
}

fn pgbench(cluster: &Cluster) -> anyhow::Result<(f64, f64, f64, f64)> {
    let script = tempfile::NamedTempFile::new()?;
    std::fs::write(script.path(), LIFE)?;
    let mut command = Command::new(cluster.program("pgbench"));
    command.args(["-h", "127.0.0.1", "-U", "longrun", "-p", &cluster.port().to_string()]);
    command.args(["--no-vacuum", "--protocol=prepared", "--jobs=2"]);
    command.arg(format!("--client={CLIENTS}")).arg(format!("--time={}", TIME.as_secs()));
    command.arg("--file").arg(script.path()).arg("postgres");
    let output = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
    let number = |begin: &str| -> anyhow::Result<f64> {
        let line = said.lines().find_map(|line| line.strip_prefix(begin));
        let word = line.and_then(|rest| rest.split_whitespace().next());
        word.and_then(|word| word.parse().ok()).with_context(|| format!("no {begin:?} in {said}"))
    };
    let mean = number("latency average = ")?;
    let count = number("number of transactions actually processed: ")?;
    // It tells no percentiles.
    Ok((count, number("tps = ")?, mean, f64::NAN))
}
