//! What is read to answer: with many rows, few of them, through the right index.
//!
//! The database counts what it reads. A store that is closed has told it everything, so each question is
//! asked by a store of its own.

use std::time::{Duration, Instant};

use longrun::operation::{Revision, Scope, TenantId, Timestamp};
use longrun::store::log::{LogQuery, Range};
use longrun::store::shared::{TakeOver, Wanted};
use longrun::store::{HistoryPosition, HistoryQuery, ListPosition, ListQuery, Lookup, Store};
use tokio_postgres::Client;

use super::*;
use crate::lists::{ORDERS, query};

const ROWS: i64 = 50_000;
/// More than any question here should read. A list counts up to a thousand before it chooses, and has three pages.
const FEW: i64 = 5_000;
/// Has committed the events, one at a time.
const WRITER: u64 = 77;
/// Has removed operations that are in the table all the same, one at a time. Nine in ten of its records are dead rows, by
/// which PostgreSQL would rather read all of them.
const REMOVER: u64 = 78;
/// Has children: one in a hundred operations.
const BATCH: &str = "0191e2ab-7c1d-7000-8000-0123456789ab";
/// Those that lists may go through.
const ANY_INDEX: [&str; 9] = [
    "operations_id",
    "operations_active",
    "operations_queued",
    "operations_running",
    "operations_done",
    "operations_done_kind",
    "operations_ended",
    "operations_children",
    "labels_value",
];

/// A table with many rows: a hundred in progress and a hundred queued of each of two kinds, the others done.
async fn filled(last: &str) -> Database {
    let database = database().await;
    let store = open(&database).await;
    let first = with_label(with_key(submission(1), "order-1"), "team", "a");
    let first = stored(&store, first).await;
    store.commit(keeping(1)).await.unwrap();
    store.commit(leasing(&first, 1).1).await.unwrap();
    store.close().await;
    let admin = database.connect().await;
    // The ids of these begin with a time of their own.
    admin
        .batch_execute(&format!(
            "INSERT INTO operations SELECT
               (lpad(to_hex(1767225600000 + n * 10), 12, '0') || '7000800000' || lpad(to_hex(n), 10, '0'))::uuid,
               tenant, CASE WHEN n % 2 = 0 THEN kind ELSE 'other' END,
               CASE WHEN n % 250 = 0 THEN 1 WHEN n % 250 = 1 THEN 2 ELSE 4 + (n / 2) % 4 END,
               n % 3, attempt, revision, created_at + n, updated_at, started_at,
               CASE WHEN n % 250 < 2 THEN {max} ELSE created_at + n END,
               CASE WHEN n % 250 = 0 THEN created_at END,
               created_at + n, CASE WHEN n % 250 = 1 THEN md5((n % 50)::text)::uuid END,
               CASE WHEN n % 250 = 1 THEN 'worker' END, 'key-' || n, submission, life, input, result,
               CASE WHEN n % 100 = 0 THEN '{BATCH}'::uuid END
             FROM operations, generate_series(2, {ROWS}) AS n;
             INSERT INTO labels SELECT id, 'team', CASE WHEN n % 1000 = 0 THEN 'rare' ELSE 'b' END, tenant
               FROM (SELECT id, tenant, row_number() OVER () AS n FROM operations) AS o
               WHERE n > 1 ON CONFLICT DO NOTHING;
             INSERT INTO events SELECT id, 1, 1, life, {WRITER}, row_number() OVER () FROM operations
               ON CONFLICT DO NOTHING;
             INSERT INTO removals SELECT {REMOVER}, row_number() OVER (), id, revision, now(), tenant, kind, priority,
               created_at, NULL, submission, life FROM operations, generate_series(1, 4);
             DELETE FROM removals WHERE sequence % 10 <> 0;
             INSERT INTO writers (id, nonce) VALUES ({WRITER}, 0), ({REMOVER}, 0);
             INSERT INTO sessions SELECT md5(n::text)::uuid, 'default', 'worker', md5('x')::uuid, {expires} + n
               FROM generate_series(1, 200) AS n;
             {last}",
            max = i64::MAX,
            expires = at(0).micros(),
        ))
        .await
        .unwrap();
    database
}

/// How many rows of which table have been read in order, and how often which index was used for how many.
async fn reads(admin: &Client) -> Vec<(String, i64, i64)> {
    let rows = admin
        .query(
            "SELECT relname::text, seq_scan, seq_tup_read FROM pg_stat_user_tables
             WHERE relname IN ('operations', 'labels', 'events', 'log_lines', 'payloads')
             UNION ALL SELECT indexrelname::text, idx_scan, idx_tup_read FROM pg_stat_user_indexes",
            &[],
        )
        .await
        .unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

/// Waits until all connections but this one are gone, with what they have counted.
async fn alone(admin: &Client) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let others = "SELECT count(*) FROM pg_stat_activity
                      WHERE datname = current_database() AND pid <> pg_backend_pid()
                        AND backend_type = 'client backend'";
        let others: i64 = admin.query_one(others, &[]).await.unwrap().get(0);
        if others == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "connections outlive their store");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What has been read since, as far as it was anything.
async fn read_since(admin: &Client, before: &[(String, i64, i64)]) -> Vec<(String, i64)> {
    alone(admin).await;
    let after = reads(admin).await;
    let mut read = Vec::new();
    for (name, scans, rows) in after {
        let (_, scans_before, rows_before) = before.iter().find(|it| it.0 == name).unwrap();
        if scans > *scans_before {
            read.push((name, rows - rows_before));
        }
    }
    read
}

/// A question, and the index that must have been used for it.
macro_rules! ask {
    ($database:expr, $admin:expr, $index:expr, $what:expr, $ask:expr) => {{
        let before = reads($admin).await;
        let store = open($database).await;
        $ask(&store).await;
        store.close().await;
        let read = read_since($admin, &before).await;
        let what = $what;
        for table in ["operations", "labels", "events", "log_lines", "payloads"] {
            assert!(!read.iter().any(|it| it.0 == table), "{what} scans {table}: {read:?}");
        }
        let total: i64 = read.iter().map(|it| it.1).sum();
        assert!(total < FEW, "{what} reads much: {read:?}");
        let indexes: &[&str] = &$index;
        let is_used = read.iter().any(|it| indexes.contains(&&*it.0));
        assert!(is_used, "{what} is not by {indexes:?}: {read:?}");
    }};
}

#[tokio::test]
async fn reads_are_by_index_and_few() {
    let database = filled("ANALYZE").await;
    let (database, admin) = (&database, &database.connect().await);
    let tenant = TenantId::default_tenant;
    ask!(database, admin, ["operations_id"], "a look-up by id", async |store: &PostgresStore| {
        assert!(load(store, id(1)).await.is_some());
    });
    ask!(database, admin, ["operations_key"], "a look-up by key", async |store: &PostgresStore| {
        let lookups = vec![Lookup::Key(tenant(), key("order-1")), Lookup::Key(tenant(), key("no"))];
        assert_eq!(store.load(lookups).await.unwrap().iter().flatten().count(), 1);
    });
    ask!(database, admin, ["events_pkey"], "a history", async |store: &PostgresStore| {
        let after = HistoryPosition::default();
        let query = HistoryQuery { id: id(1), after, include_log: true, limit: 50 };
        assert_eq!(store.history(query).await.unwrap().len(), 2);
    });
    ask!(database, admin, ["events_pkey"], "many histories", async |store: &PostgresStore| {
        let after = (1..=200).map(|number| (id(number), Revision(0))).collect();
        let found = shared(store).transitions(after, 50).await.unwrap();
        assert_eq!(found[0].len(), 2);
    });
    ask!(database, admin, ["events_commit"], "a page of the log", async |store: &PostgresStore| {
        let range = Range { writer: WRITER, after: 20_000, up_to: 20_300 };
        let after = Some((id(2), Revision(1)));
        let page = store
            .log(LogQuery { ranges: vec![range], unsure: vec![range], after, limit: 100 })
            .await
            .unwrap();
        assert_eq!((page.entries.len(), page.head.lacks(&[range])), (100, false));
        assert!(page.next.is_some());
    });
    ask!(
        database,
        admin,
        ["removals_pkey"],
        "removals in the log",
        async |store: &PostgresStore| {
            let range = Range { writer: REMOVER, after: 20_000, up_to: 22_000 };
            let after = Some((id(2), Revision(1)));
            let query = LogQuery { ranges: vec![range], unsure: vec![range], after, limit: 100 };
            assert_eq!(store.log(query).await.unwrap().entries.len(), 100);
        }
    );
    ask!(
        database,
        admin,
        ["commits_pkey"],
        "a list and its head",
        async |store: &PostgresStore| {
            let (page, head) = store.list_with_head(query("", ORDERS[1], 20)).await.unwrap();
            assert_eq!(page.len(), 20);
            assert!(head.writers().len() > 1);
        }
    );
    ask!(
        database,
        admin,
        ["operations_active"],
        "a page of the unfinished",
        async |store: &PostgresStore| {
            assert_eq!(store.unfinished(Some((tenant(), id(1))), 100).await.unwrap().len(), 100);
        }
    );
    ask!(database, admin, ["operations_wake"], "the next time", async |store: &PostgresStore| {
        assert!(store.next_wake(at(0)).await.unwrap().is_some());
    });
    ask!(database, admin, ["operations_wake"], "what is due", async |store: &PostgresStore| {
        assert_eq!(store.due(Timestamp::MAX, 100).await.unwrap().len(), 100);
    });
    ask!(database, admin, ["operations_claim"], "a claim", async |store: &PostgresStore| {
        let mut all = wanted(20);
        let kind = longrun::operation::Kind::parse("other").unwrap();
        all.push(Wanted { tenant: tenant(), kind, limit: 20, limits: Vec::new() });
        let claimed = shared(store).claim(all, Vec::new(), at(100_000)).await.unwrap();
        assert!(claimed.operations.len() >= 20, "{}", claimed.operations.len());
    });
    ask!(database, admin, ["operations_claim"], "queues", async |store: &PostgresStore| {
        let kinds = vec![submission(1).kind, longrun::operation::Kind::parse("none").unwrap()];
        let found = shared(store).queues(kinds, None, 100).await.unwrap();
        assert_eq!((found.found.len(), found.last), (1, None));
    });
    ask!(
        database,
        admin,
        ["operations_session"],
        "what is expired",
        async |store: &PostgresStore| {
            let expired = shared(store).expired(20, 5).await.unwrap();
            assert_eq!(expired.len(), 20);
        }
    );
    ask!(
        database,
        admin,
        ["operations_children"],
        "a count of children",
        async |store: &PostgresStore| {
            let batch = longrun::operation::OperationId::parse(BATCH).unwrap();
            let found = store.children(vec![(tenant(), batch), (tenant(), id(1))]).await.unwrap();
            assert!(found[0].total() == 500 && found[1].total() == 0, "{found:?}");
        }
    );
    ask!(
        database,
        admin,
        ["operations_batches"],
        "batches of all tenants by end",
        async |store: &PostgresStore| {
            for behind in [None, Some(at(20_000)), Some(Timestamp::MAX)] {
                let after = behind.map(|end_time| ListPosition { end_time, id: id(9_000) });
                let list = ListQuery { scope: Scope::All, after, ..query("", ORDERS[2], 20) };
                store.list(list).await.unwrap();
            }
        }
    );
    ask!(database, admin, ["operations_session"], "a take-over", async |store: &PostgresStore| {
        let take = TakeOver { session: session(1), scope: tenant().into(), lease: Duration::ZERO };
        assert_eq!(shared(store).take_over(take).await.unwrap().unwrap().len(), 1);
    });
}

#[tokio::test]
async fn commits_are_by_index_and_few() {
    let database = filled("ANALYZE").await;
    let (database, admin) = (&database, &database.connect().await);
    ask!(database, admin, ["operations_id"], "a commit", async |store: &PostgresStore| {
        let first = load(store, id(1)).await.unwrap();
        store.commit(submitting((501..=520).map(submission))).await.unwrap();
        let done = changed(store, &first, &complete(&first)).await;
        store.commit(removing(&done)).await.unwrap();
    });
}

/// Which index it is, the database may know better where it has looked at the table.
#[tokio::test]
async fn lists_read_few() {
    read_few(&filled("ANALYZE").await).await;
}

/// A table may have grown a thousandfold since the database has looked at it.
#[tokio::test]
async fn lists_read_few_of_what_the_database_has_not_looked_at() {
    read_few(&filled("").await).await;
}

async fn read_few(database: &Database) {
    let admin = &database.connect().await;
    let range = "create_time>2026-01-01T00:00:05Z create_time<2026-01-01T00:00:06Z";
    let kinds = ["kind=other", "kind=other state=QUEUED", "kind=nothing"];
    let labels = ["labels.team=rare", "labels.team=b", "labels.team=b done=false"];
    let states =
        ["", "state=QUEUED", "state=RUNNING", "done=false", "done=true", "state=FAILED", range];
    let of_batch = format!("parent={BATCH}");
    let children = [of_batch.clone(), format!("{of_batch} state=QUEUED kind=other")];
    let children = [children[0].as_str(), children[1].as_str()];
    for filter in kinds.into_iter().chain(labels).chain(states).chain(children) {
        for order in ORDERS {
            let what = format!("{filter} in {order:?}");
            ask!(database, admin, ANY_INDEX, what, async |store: &PostgresStore| {
                for behind in [None, Some(at(20_000)), Some(Timestamp::MAX)] {
                    let mut query = query(filter, order, 20);
                    query.after = behind.map(|end_time| ListPosition { end_time, id: id(9_000) });
                    store.list(query).await.unwrap();
                }
            });
        }
    }
}
