//! Examines a database: the settings that a store needs, and whether a pooler breaks them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};
use tokio_util::sync::CancellationToken;

use super::error::describe;
use super::server::Server;
use super::url::Target;

/// How often two connections are compared, because a pooler returns idle connections, mostly the latest.
const ROUNDS: usize = 3;
/// Settings that matter to a store.
const SETTINGS: &str = "SELECT name, setting FROM pg_settings WHERE name IN ('server_version', \
    'server_version_num', 'fsync', 'full_page_writes', 'synchronous_commit', 'autovacuum', 'max_connections', \
    'idle_session_timeout', 'transaction_read_only')";
const STATE: &str = "SELECT extract(epoch FROM clock_timestamp())::float8, \
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), \
    (SELECT coalesce(max(extract(epoch FROM now() - xact_start)), 0)::float8 FROM pg_stat_activity \
     WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid() AND backend_type = 'client backend')";

/// The result of an examination.
#[derive(Clone, Debug, Default)]
pub struct Examination {
    /// Settings by name.
    pub settings: BTreeMap<String, String>,
    /// The server's time since 1970.
    pub time: Duration,
    /// Connections of clients.
    pub connections: u64,
    /// The age of the oldest transaction whose snapshot keeps vacuum from removing rows.
    pub oldest_snapshot: Duration,
}

/// The message about a pooler that gives each transaction another connection.
pub(super) const POOLED: &str = "a pooler in front of the database gives each transaction another connection, as \
    PgBouncer does with pool_mode = transaction: locks, notifications and settings of a session would be lost. Connect \
    to the database itself, or through a pool with pool_mode = session";

/// Examines the database of a URL. The error says why it cannot be used.
pub async fn examine(url: &str) -> Result<Examination, String> {
    let target = Target::parse(url)?;
    let server = tokio::task::spawn_blocking(|| Server::new(target)).await;
    let server: Arc<Server> = server.unwrap_or_else(|error| Err(error.to_string()))?;
    check_pooler(&server).await?;
    let open = CancellationToken::new();
    let _open = open.clone().drop_guard();
    let client = server.connect(open, |_| {}).await?;
    let mut found = Examination::default();
    for row in rows(&client, SETTINGS).await? {
        found.settings.insert(text(&row, 0), text(&row, 1));
    }
    for row in rows(&client, STATE).await? {
        let seconds =
            |column| Duration::try_from_secs_f64(text(&row, column).parse().unwrap_or(0.0));
        found.time = seconds(0).unwrap_or_default();
        found.connections = text(&row, 1).parse().unwrap_or_default();
        found.oldest_snapshot = seconds(2).unwrap_or_default();
    }
    Ok(found)
}

/// Refuses a pooler that gives each transaction another connection. Without one, two connections never share a process
/// of the database, and a connection keeps its process.
pub(super) async fn check_pooler(server: &Server) -> Result<(), String> {
    let open = CancellationToken::new();
    let _open = open.clone().drop_guard();
    let one = server.connect(open.clone(), |_| {}).await?;
    let other = server.connect(open, |_| {}).await?;
    let own = process(&one).await?;
    for _ in 0..ROUNDS {
        other.simple_query("BEGIN").await.map_err(|error| describe(&error))?;
        let others = process(&other).await?;
        let same = process(&one).await?;
        other.simple_query("ROLLBACK").await.map_err(|error| describe(&error))?;
        if others == own || same != own {
            return Err(POOLED.to_owned());
        }
    }
    Ok(())
}

async fn process(client: &Client) -> Result<String, String> {
    let rows = rows(client, "SELECT pg_backend_pid()").await?;
    rows.first().map(|row| text(row, 0)).ok_or_else(|| "the database returned nothing".to_owned())
}

/// Without prepared statements, because poolers may lose them.
async fn rows(client: &Client, sql: &str) -> Result<Vec<SimpleQueryRow>, String> {
    let messages = client.simple_query(sql).await.map_err(|error| describe(&error))?;
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    Ok(rows.collect())
}

fn text(row: &SimpleQueryRow, column: usize) -> String {
    row.try_get(column).ok().flatten().unwrap_or_default().to_owned()
}
