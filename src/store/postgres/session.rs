//! One connection: its settings and its prepared statements.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hashlink::LruCache;
use tokio::time::timeout;
use tokio_postgres::error::Severity;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Error, Row, Statement};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::error::describe;
use super::server::{CONNECTING, Server};

/// The maximum number of prepared statements per connection. Lists make new ones as filters come.
const STATEMENTS: usize = 128;

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Writes, and reads that belong to a write.
    Write,
    /// Reads of a few rows by key.
    LookUp,
    /// Lists, whose time limit is set per list.
    List,
    /// Full scans, page by page, and trimming.
    Scan,
    /// Notifications.
    Listen,
}

impl Role {
    /// The settings on the server. Statements are written so that each uses an index; the planner gets no freedom,
    /// because tables grow faster than its statistics. No role waits for a lock for more than a second: a row that
    /// another program has locked delays its own operation, not the whole replica.
    fn settings(self) -> &'static str {
        match self {
            Self::Write => {
                "SET statement_timeout = '6s'; SET lock_timeout = '1s';
                 SET idle_in_transaction_session_timeout = '10s';
                 SET plan_cache_mode = force_generic_plan"
            }
            // Writes here only say that a replica is present, and nothing depends on their durability. Otherwise reads
            // would queue behind them while a standby is down.
            Self::LookUp => {
                "SET statement_timeout = '4s'; SET lock_timeout = '1s';
                 SET plan_cache_mode = force_generic_plan; SET synchronous_commit = local"
            }
            Self::List => "SET lock_timeout = '1s'; SET plan_cache_mode = force_custom_plan",
            Self::Scan => {
                "SET statement_timeout = '28s'; SET lock_timeout = '1s';
                 SET plan_cache_mode = force_custom_plan"
            }
            Self::Listen => "SET statement_timeout = '4s'; SET lock_timeout = '1s'",
        }
    }
}

const SETTINGS: &str = "SET jit = off; SET enable_seqscan = off; SET enable_bitmapscan = off;
    SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_sort = off;
    SET enable_incremental_sort = off; SET client_min_messages = warning;
    SET default_transaction_isolation = 'read committed';
    SELECT set_config('synchronous_commit', 'on', false)
      WHERE current_setting('synchronous_commit') = 'off'";

/// A connection. Dropping it closes it.
pub(super) struct Session {
    pub(super) client: Client,
    /// The server's process id, which notifications carry.
    pub(super) pid: i32,
    statements: Mutex<LruCache<String, Statement>>,
    warnings: Arc<AtomicU64>,
    _open: DropGuard,
}

impl Session {
    pub(super) async fn open(
        server: &Server,
        role: Role,
        mut hear: impl FnMut(AsyncMessage) + Send + 'static,
    ) -> Result<Self, String> {
        let warnings = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&warnings);
        let hear = move |message| {
            if let AsyncMessage::Notice(notice) = &message
                && notice.parsed_severity() == Some(Severity::Warning)
            {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            hear(message);
        };
        let open = CancellationToken::new();
        let client = server.connect(open.clone(), hear).await?;
        let mut session = Self {
            client,
            pid: 0,
            statements: Mutex::new(LruCache::new(STATEMENTS)),
            warnings,
            _open: open.drop_guard(),
        };
        match timeout(CONNECTING, session.set_up(role)).await {
            Ok(set_up) => set_up.map_err(|error| describe(&error))?,
            Err(_) => return Err("the database did not answer in time".to_owned()),
        }
        Ok(session)
    }

    async fn set_up(&mut self, role: Role) -> Result<(), Error> {
        self.client.batch_execute(role.settings()).await?;
        self.client.batch_execute(SETTINGS).await?;
        self.pid = self.client.query_one("SELECT pg_backend_pid()", &[]).await?.try_get(0)?;
        Ok(())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// How many warnings the server has sent on this connection.
    pub(super) fn warnings(&self) -> u64 {
        self.warnings.load(Ordering::SeqCst)
    }

    pub(super) async fn prepare(&self, sql: &str) -> Result<Statement, Error> {
        if let Some(statement) = self.statements().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        self.statements().insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    pub(super) async fn query(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, Error> {
        let statement = self.prepare(sql).await?;
        self.client.query(&statement, params).await
    }

    fn statements(&self) -> std::sync::MutexGuard<'_, LruCache<String, Statement>> {
        self.statements.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
