//! Figures, not tests: `cargo test --release --test store_contract measure -- --ignored
//! --nocapture`. `MEASURE_OPERATIONS` sets how many.

use std::time::{Duration, Instant};

use longrun::operation::Kind;
use longrun::store::postgres::{PostgresOptions, PostgresStore};
use longrun::store::sqlite::{SqliteOptions, SqliteStore};
use longrun::store::{Batch, Forget, Lookup, Store, Tombstone};

use crate::lists::{ORDERS, query};
use crate::support::*;

const BATCH: u64 = 64;

fn operations() -> u64 {
    let count = std::env::var("MEASURE_OPERATIONS").ok().and_then(|count| count.parse().ok());
    count.unwrap_or(20_000)
}

/// CPU time of this process, all threads.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let fields: Vec<i64> = after_name.split_whitespace().filter_map(|it| it.parse().ok()).collect();
    // Of the numbers behind the state: utime and stime are the 11th and 12th, in 1/100 s.
    Duration::from_millis((fields[10] + fields[11]).unsigned_abs() * 10)
}

fn measured_submission(number: u64) -> longrun::operation::Submission {
    let mut submission = submission(number);
    submission.kind = Kind::parse(&format!("kind-{}", number % 4)).unwrap();
    if number % 20_000 == 7 {
        submission = with_label(submission, "order", "rare");
    }
    submission
}

fn one_batch(batches: Vec<Batch>) -> Batch {
    let mut all = Batch::default();
    for batch in batches {
        all.writes.extend(batch.writes);
        all.events.extend(batch.events);
    }
    all
}

/// Three transitions of each operation, 300 bytes in and out.
async fn lives(store: &dyn Store, from: u64, count: u64) {
    for first in (from..from + count).step_by(BATCH as usize) {
        let mut batch = submitting((first..first + BATCH).map(measured_submission));
        for write in &mut batch.writes {
            write.input = Some(vec![1; 300].into());
        }
        let queued: Vec<_> = batch.writes.iter().map(|write| write.operation.clone()).collect();
        store.commit(batch).await.unwrap();
        let (running, batches): (Vec<_>, Vec<_>) = queued
            .iter()
            .map(|it| changing(it, &acquire(1), it.life.updated_at.after(Duration::from_millis(1))))
            .unzip();
        store.commit(one_batch(batches)).await.unwrap();
        let batches = running.iter().map(|it| {
            changing(it, &complete(it), it.life.updated_at.after(Duration::from_millis(9))).1
        });
        let mut batch = one_batch(batches.collect());
        for write in &mut batch.writes {
            write.result = Some(vec![2; 300].into());
        }
        store.commit(batch).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "figures"]
async fn measure() {
    let (_directory, path) = directory();
    let store = SqliteStore::open(&path, &SqliteOptions::default()).unwrap();
    let count = operations() / BATCH * BATCH;
    let (wall, before) = (Instant::now(), cpu());
    lives(&store, 1, count).await;
    let transitions = count * 3;
    let per = |spent: Duration| spent.as_secs_f64() * 1e6 / transitions as f64;
    println!("{transitions} transitions at {BATCH} per commit");
    println!("{:.1} us CPU, {:.1} us wall each", per(cpu() - before), per(wall.elapsed()));

    let waiting: Vec<_> = (count + 1..count + 4).map(measured_submission).collect();
    store.commit(submitting(waiting)).await.unwrap();
    store.close().await;
    let size = std::fs::metadata(&path).unwrap().len();
    println!("{} bytes on disk per finished operation", size / count);

    let store = SqliteStore::open(&path, &SqliteOptions::default()).unwrap();
    let range = "create_time>2026-01-01T00:00:05Z create_time<2026-01-01T00:00:15Z";
    let filters = ["", "state=QUEUED", "kind=kind-1", "kind=kind-1 state=SUCCEEDED"];
    let more =
        ["kind=kind-1 state=QUEUED", "state=FAILED", "labels.order=rare", range, "done=true"];
    for filter in filters.into_iter().chain(more) {
        for order in [ORDERS[0], ORDERS[2]] {
            let mut times: Vec<_> = Vec::new();
            let mut found = 0;
            for _ in 0..20 {
                let start = Instant::now();
                found = store.list(query(filter, order, 50)).await.unwrap().len();
                times.push(start.elapsed());
            }
            let first = times[0];
            times.sort();
            let by = order.by;
            println!("{filter:70} {by:?}: {found} in {:?} (first {first:?})", times[10]);
        }
    }
    let lookups: Vec<_> = (1..=BATCH).map(|number| Lookup::Id(id(number * 37 % count))).collect();
    let start = Instant::now();
    for _ in 0..100 {
        store.load(lookups.clone()).await.unwrap();
    }
    println!("load of {BATCH}: {:?}", start.elapsed() / 100);
}

#[tokio::test]
#[ignore = "figures"]
async fn measure_postgres() {
    let database = crate::postgres_support::database().await;
    let store = PostgresStore::open(&database.url, &PostgresOptions::default()).await.unwrap();
    let admin = database.connect().await;
    let wal = async || -> i64 {
        let sql = "SELECT (pg_current_wal_lsn() - '0/0')::bigint";
        admin.query_one(sql, &[]).await.unwrap().get(0)
    };
    // A checkpoint is followed by whole pages, which are another matter.
    admin.batch_execute("SET statement_timeout = 0; CHECKPOINT").await.unwrap();
    let count = operations() / BATCH * BATCH;
    lives(&store, 1, BATCH).await;
    let (wall, before, written) = (Instant::now(), cpu(), wal().await);
    lives(&store, BATCH + 1, count).await;
    let transitions = count * 3;
    let per = |spent: Duration| spent.as_secs_f64() * 1e6 / transitions as f64;
    println!("{transitions} transitions at {BATCH} per commit");
    println!("{:.1} us CPU here, {:.1} us wall each", per(cpu() - before), per(wall.elapsed()));
    println!("{} bytes of log per transition", (wal().await - written) / transitions as i64);
    admin.batch_execute("VACUUM ANALYZE").await.unwrap();
    let sizes = "SELECT relname::text, pg_table_size(oid), pg_indexes_size(oid) FROM pg_class
                 WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1";
    let mut total = 0;
    for row in admin.query(sizes, &[]).await.unwrap() {
        let (table, rows, indexes): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let count = count as i64;
        println!("{table}: {} + {} bytes per operation", rows / count, indexes / count);
        total += rows + indexes;
    }
    println!("{} bytes on disk per finished operation", total / count as i64);
    store.close().await;
}

#[tokio::test]
#[ignore = "figures"]
async fn measure_unfinished() {
    let (_directory, path) = directory();
    let store = SqliteStore::open(&path, &SqliteOptions::default()).unwrap();
    let count = operations();
    for first in (1..=count).step_by(4_000) {
        let last = (first + 3_999).min(count);
        store.commit(submitting((first..=last).map(measured_submission))).await.unwrap();
    }
    drop(store);
    let store = SqliteStore::open(&path, &SqliteOptions::default()).unwrap();
    let (start, mut told, mut after) = (Instant::now(), 0, None);
    loop {
        let page = store.unfinished(after, 10_000).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.tenant.clone(), last.id));
        told += page.len();
    }
    println!("{told} unfinished operations told in {:?}", start.elapsed());
}

#[tokio::test]
#[ignore = "figures"]
async fn measure_removals() {
    for buried in [false, true, false, true] {
        let (_directory, path) = directory();
        let store = SqliteStore::open(&path, &SqliteOptions::default()).unwrap();
        let count = operations() / BATCH * BATCH;
        lives(&store, 1, count).await;
        let (wall, before) = (Instant::now(), cpu());
        for first in (1..=count).step_by(BATCH as usize) {
            let mut batch = Batch::default();
            for number in first..first + BATCH {
                let operation = load(&store, id(number)).await.unwrap();
                let mut removal = removing(&operation).removals.remove(0);
                removal.tombstone = buried.then(|| Tombstone {
                    tenant: operation.submission.tenant.clone(),
                    purged_at: at(1),
                    forget_at: at(2),
                });
                batch.removals.push(removal);
            }
            batch.forget = buried.then(|| Forget { until: at(1), keep: count / 2 });
            store.commit(batch).await.unwrap();
        }
        let per = |spent: Duration| spent.as_secs_f64() * 1e6 / count as f64;
        let (cpu, wall) = (per(cpu() - before), per(wall.elapsed()));
        println!("tombstones {buried}: {cpu:.1} us CPU, {wall:.1} us wall per removal");
    }
}
