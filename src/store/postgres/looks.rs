//! Looks for floors, in the background, on a connection that nothing else waits for.

use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use tokio::time::Instant;

use super::super::StoreError;
use super::floors::{Floors, Look};
use super::link::Pool;
use super::server::Server;
use super::session::Session;

/// Makes looks, in the background.
pub(super) struct Looks {
    server: Arc<Server>,
    pool: Arc<Pool>,
}

impl Looks {
    pub(super) fn new(server: Arc<Server>, pool: Pool) -> Self {
        Self { server, pool: Arc::new(pool) }
    }

    /// Makes a look, if there is one to make. `find` reads the least value of each key, in order.
    pub(super) fn make<K, V, F>(
        &self,
        floors: &Arc<Floors<K, V>>,
        look: Option<Look<K, V>>,
        find: impl FnOnce(Arc<Session>, Vec<(K, Option<V>)>) -> F + Send + 'static,
    ) where
        K: Clone + Eq + Hash + Send + 'static,
        V: Copy + Ord + Send + 'static,
        F: Future<Output = Result<Vec<V>, StoreError>> + Send + 'static,
    {
        let Some(look) = look else { return };
        let (floors, pool) = (Arc::clone(floors), Arc::clone(&self.pool));
        let looking = async move {
            let from = look.from.clone();
            let found = pool.run(|session| find(session, from)).await;
            let found =
                found.inspect_err(|error| tracing::debug!(%error, "a look for floors failed"));
            floors.looked(look, found.ok(), Instant::now());
        };
        self.server.tasks.spawn(self.server.closing.clone().run_until_cancelled_owned(looking));
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// The least value of an index with one floor, from there on or of all. `sql` binds where to begin.
pub(super) async fn least(
    session: &Session,
    sql: &str,
    from: &[((), Option<i64>)],
) -> Result<Option<i64>, StoreError> {
    let floor = from.first().and_then(|(_, floor)| *floor).unwrap_or(i64::MIN);
    let found = session.query(sql, &[&floor]).await?;
    Ok(found.first().map(|row| row.try_get(0)).transpose()?.flatten())
}
