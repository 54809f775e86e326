//! Opening the shared store: its options, its connections, and the tasks behind them.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::floors::Floors;
use super::hints::Hints;
use super::interest::Interest;
use super::lanes::Lists;
use super::link::Pool;
use super::listen::Listener;
use super::looks::Looks;
use super::presence::Presence;
use super::server::Server;
use super::session::Role;
use super::tombstones::Tombstones;
use super::wakes::Wakes;
use super::writer::Writer;
use super::{PostgresStore, checkup, log, schema, url};
use crate::store::{LIST_TIME, OpenError, StoreError};

/// The time limits of a read of a few rows by key, and of a page of a full scan.
const LOOK_UP: Duration = Duration::from_secs(5);
const SCAN: Duration = Duration::from_secs(30);

/// The options of a PostgreSQL store.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Connections for reads of a few rows, each shared by many calls; at least 1.
    pub lookup_connections: usize,
    /// Connections for lists, each for one list at a time; at least 1. The store opens one more for slow lists, one for
    /// full scans, and, when it is needed, one for looks at floors (`floors`).
    pub list_connections: usize,
    /// The time limit of a list.
    pub list_time: Duration,
    /// A claim, or a look for what is due, that takes this much longer than the fastest one is assumed to read past rows
    /// that an open transaction keeps from being vacuumed (`floors`).
    pub slow_read: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            lookup_connections: 2,
            list_connections: 3,
            list_time: LIST_TIME,
            slow_read: Duration::from_millis(3),
        }
    }
}

impl PostgresStore {
    /// Connects to the database of a `postgres://` URL and brings its schema up to date.
    pub async fn open(url: &str, options: &PostgresOptions) -> Result<Self, OpenError> {
        let target = url::Target::parse(url).map_err(|reason| OpenError::Failed {
            path: "the PostgreSQL store".to_owned(),
            reason,
        })?;
        let name = target.name.clone();
        let failed = |reason: String| OpenError::Failed { path: name.clone(), reason };
        let server = tokio::task::spawn_blocking(|| Server::new(target))
            .await
            .unwrap_or_else(|error| Err(error.to_string()))
            .map_err(failed)?;
        checkup::check_pooler(&server).await.map_err(failed)?;
        schema::migrate(&server).await?;

        let replica = Uuid::now_v7();
        let writer = Arc::new(Writer::new(Arc::clone(&server), replica));
        let lookups =
            Arc::new(Pool::new(&server, Role::LookUp, options.lookup_connections, LOOK_UP));
        let lists = Lists::new(&server, options.list_connections, options.list_time);
        let scans = Pool::new(&server, Role::Scan, 1, SCAN);
        let (interest, hints) = (Arc::new(Interest::default()), Arc::new(Hints::default()));
        let presence = Presence::new(replica, Arc::clone(&writer), Arc::clone(&hints));
        let presence = Arc::new(presence);
        let unavailable = |error: StoreError| failed(error.to_string());
        writer.connect().await.map_err(unavailable)?;
        presence.renew(&lookups, true).await.map_err(unavailable)?;
        let key = lookups.run(|session| async move { log::key(&session).await });
        let key = key.await.map_err(unavailable)?;
        let listener = Listener {
            server: Arc::clone(&server),
            replica,
            writer: Arc::clone(&writer),
            presence: Arc::clone(&presence),
            interest: Arc::clone(&interest),
            hints: Arc::clone(&hints),
        };
        let closing = server.closing.clone();
        server.tasks.spawn(closing.clone().run_until_cancelled_owned(listener.run()));
        let keeping = Arc::clone(&presence).keep(Arc::clone(&lookups));
        server.tasks.spawn(closing.run_until_cancelled_owned(keeping));
        let looks = Looks::new(Arc::clone(&server), Pool::new(&server, Role::Scan, 1, SCAN));
        Ok(Self {
            replica,
            server,
            writer,
            queues: Arc::new(Floors::new(Some(options.slow_read))),
            wakes: Wakes::new(options.slow_read),
            tombstones: Tombstones::new(),
            looks,
            lookups,
            lists,
            scans,
            presence,
            interest,
            hints,
            key,
        })
    }
}
