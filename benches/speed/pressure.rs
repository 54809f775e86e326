//! PostgreSQL beside a transaction that stays open, so that no version of a row can be cleaned away: lives at half the
//! maximum, how long claims and looks for what is due take, and the maximum before and after. Operations expire after
//! ten seconds, so that as many are removed as are made.

use std::fmt;
use std::time::Duration;

use crate::figures::{figure, verdict};
use crate::postgres_support::{Cluster, connect, has_server};
use crate::processes::{Server, longrun_round};

const CLIENTS: usize = 64;
const SEGMENT: Duration = Duration::from_secs(15);
/// How long the transaction stays open, unless `LONGRUN_BENCH_SECONDS` says something else.
const SECONDS: u64 = 60;
const RETENTION: &str = "10s";

/// What holds the snapshot.
const CELLS: [(&str, &str); 2] = [
    ("idle in transaction", "SELECT count(*) FROM replicas"),
    ("a long reader", "DECLARE reader CURSOR FOR SELECT * FROM operations; FETCH 1 FROM reader"),
];

pub(crate) async fn run() -> anyhow::Result<()> {
    println!(
        "\nPostgreSQL beside a transaction that stays open: one replica, 64 in flight, 300 B in and out"
    );
    if !has_server() {
        println!("  left out: PostgreSQL's server is not here (apt-get install postgresql)");
        return Ok(());
    }
    let seconds = std::env::var("LONGRUN_BENCH_SECONDS");
    let seconds = seconds.ok().and_then(|it| it.parse().ok()).unwrap_or(SECONDS);
    let settings = ["shared_preload_libraries=pg_stat_statements", "shared_buffers=256MB"];
    let cluster = Cluster::start_with(&settings);
    let admin = connect(&cluster.url("postgres")).await;
    admin.batch_execute("CREATE EXTENSION pg_stat_statements").await?;
    for (number, (name, hold)) in CELLS.into_iter().enumerate() {
        let database = format!("longrun_{number}");
        admin.batch_execute(&format!("CREATE DATABASE {database}")).await?;
        let url = cluster.url(&database);
        let server = Server::on_store(&url)?;
        let maximum = sustained(&server)?;
        let rate = maximum / 2.0;
        let before = segment(&admin, &server, SEGMENT, rate).await?;
        let holder = connect(&url).await;
        holder.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await?;
        holder.batch_execute(hold).await?;
        println!(
            "  {name}, {rate:.0} lives/s: p50 and p99 of a life, mean of a claim and of a look for what is due, ms"
        );
        println!("    {:<12} {before}", "before");
        let mut last = None;
        for begin in (0..seconds).step_by(SEGMENT.as_secs() as usize) {
            let now = segment(&admin, &server, SEGMENT, rate).await?;
            let when = format!("after {} s", begin + SEGMENT.as_secs());
            println!("    {when:<12} {now}");
            last = Some(now);
        }
        let after = sustained(&server)?;
        holder.batch_execute("ROLLBACK").await?;
        let ratio = after / maximum;
        let value = format!("{ratio:.2} ({maximum:.0} to {after:.0})");
        figure("    the maximum after, against before", value, &verdict(ratio >= 0.8, "0.80"));
        if let Some(last) = last {
            let kept = last.rate / rate;
            let value = format!("{kept:.2}");
            figure("    half the maximum is kept", value, &verdict(kept >= 0.95, "0.95"));
        }
    }
    Ok(())
}

struct Segment {
    rate: f64,
    p50: f64,
    p99: f64,
    /// Milliseconds in the database.
    claim: f64,
    due: f64,
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p99, claim, due, .. } = self;
        write!(f, "{p50:>9.1} {p99:>9.1} {claim:>9.2} {due:>9.2}")
    }
}

/// The most lives per second while as many operations expire.
fn sustained(server: &Server) -> anyhow::Result<f64> {
    lives(server, SEGMENT, None)?;
    Ok(lives(server, SEGMENT, None)?.rate)
}

/// Lives at this rate.
async fn segment(
    admin: &tokio_postgres::Client,
    server: &Server,
    time: Duration,
    rate: f64,
) -> anyhow::Result<Segment> {
    admin.batch_execute("SELECT pg_stat_statements_reset()").await?;
    let round = lives(server, time, Some(rate))?;
    let mean = async |query: &str| {
        let sql = "SELECT sum(total_exec_time) / greatest(sum(calls), 1) FROM pg_stat_statements
                   WHERE query LIKE $1";
        let mean: Option<f64> = admin.query_one(sql, &[&query]).await?.try_get(0)?;
        anyhow::Ok(mean.unwrap_or(f64::NAN))
    };
    let claim = mean("%most%SKIP LOCKED%").await?;
    let due = mean("SELECT id, wake_at FROM operations%SKIP LOCKED%").await?;
    Ok(Segment { rate: round.rate, p50: round.p50, p99: round.p99, claim, due })
}

fn lives(
    server: &Server,
    time: Duration,
    rate: Option<f64>,
) -> anyhow::Result<crate::processes::Round> {
    let rate = rate.map(|rate| format!("{rate:.0}"));
    let mut more = vec!["--watch", "feed", "--retention", RETENTION];
    more.extend(rate.iter().flat_map(|rate| ["--rate", rate]));
    tokio::task::block_in_place(|| longrun_round(server, "end", CLIENTS, time, &more))
}
