//! The schema's versions, and how a database is upgraded from one to the next.
//!
//! Replicas of two adjacent versions of longrun may run side by side, so a schema has two numbers: `version`, of the
//! script that was run last, and `compatible_with`, the oldest program that may use it. A script that only adds what
//! older programs need not know leaves the second unchanged; any other script raises it to its own version, and older
//! programs must be stopped first. One that still runs is refused when it opens its next writing connection.

use std::time::Duration;

use tokio::time::timeout;

use super::super::{OpenError, StoreError};
use super::error::describe;
use super::server::Server;
use super::session::{Role, Session};

/// A script that upgrades from its position in the list to the next version.
struct Migration {
    script: &'static str,
    /// The oldest program that may use the resulting schema.
    compatible_with: i32,
}

const MIGRATIONS: [Migration; 10] = [
    Migration {
        script: include_str!("../migrations/postgres/0001_initial.sql"),
        compatible_with: 1,
    },
    Migration {
        script: include_str!("../migrations/postgres/0002_progress.sql"),
        compatible_with: 1,
    },
    Migration { script: include_str!("../migrations/postgres/0003_log.sql"), compatible_with: 3 },
    Migration {
        script: include_str!("../migrations/postgres/0004_catalogue.sql"),
        compatible_with: 3,
    },
    Migration {
        script: include_str!("../migrations/postgres/0005_workers.sql"),
        compatible_with: 3,
    },
    Migration { script: include_str!("../migrations/postgres/0006_lean.sql"), compatible_with: 3 },
    Migration {
        script: include_str!("../migrations/postgres/0007_webhooks.sql"),
        compatible_with: 3,
    },
    Migration {
        script: include_str!("../migrations/postgres/0008_deliveries.sql"),
        compatible_with: 3,
    },
    Migration {
        script: include_str!("../migrations/postgres/0009_children.sql"),
        compatible_with: 3,
    },
    Migration {
        script: include_str!("../migrations/postgres/0010_batches.sql"),
        compatible_with: 3,
    },
];

/// The newest version that this program knows.
const VERSION: i32 = MIGRATIONS.len() as i32;

/// The lock under which one replica at a time runs scripts: "longrun\0" as a number.
const LOCK: i64 = 0x6c6f_6e67_7275_6e00;
/// How long to wait for another replica's scripts.
const WAITING: Duration = Duration::from_secs(120);
/// The oldest server that is known to work.
const OLDEST_SERVER: i32 = 140_000;

/// Makes sure that the database is longrun's, and brings its schema up to date.
pub(super) async fn migrate(server: &Server) -> Result<(), OpenError> {
    let path = || server.name.clone();
    let failed = |reason: String| OpenError::Failed { path: path(), reason };
    let session = Session::open(server, Role::List, |_| {}).await.map_err(failed)?;
    let lost = |error: tokio_postgres::Error| failed(describe(&error));
    check_server(&session, server).await?;
    let found = version(&session).await.map_err(lost)?;
    if is_enough(found, server)? {
        return Ok(());
    }
    let unbounded = "SET statement_timeout = 0; SET lock_timeout = 0";
    session.client.batch_execute(unbounded).await.map_err(lost)?;
    let migrating = async {
        session.query("SELECT pg_advisory_lock($1)", &[&LOCK]).await.map_err(lost)?;
        // Another replica may have upgraded it meanwhile.
        let found = version(&session).await.map_err(lost)?;
        if is_enough(found, server)? {
            return Ok(());
        }
        if found.is_none() && has_tables(&session).await.map_err(lost)? {
            let reason = "it has tables of another program: give longrun a database of its own, or a \
                          schema by options=-csearch_path%3DNAME";
            return Err(OpenError::NotAStore { path: path(), reason: reason.to_owned() });
        }
        let found = found.map_or(0, |(version, _)| version);
        for (migration, version) in MIGRATIONS.iter().zip(1..) {
            if version > found {
                session.client.batch_execute(&migration.sql(version)).await.map_err(lost)?;
            }
        }
        Ok(())
    };
    timeout(WAITING, migrating)
        .await
        .unwrap_or_else(|_| {
            let reason = "its schema could not be migrated: another longrun has been migrating it for too long, or the \
                          commit waits for a standby that is away";
            Err(failed(reason.to_owned()))
        })
}

impl Migration {
    /// The script with the change of the version, in one transaction.
    fn sql(&self, version: i32) -> String {
        let Self { script, compatible_with } = self;
        format!(
            "BEGIN;
             CREATE TABLE IF NOT EXISTS longrun_schema
               (version INTEGER NOT NULL, compatible_with INTEGER NOT NULL);
             {script};
             DELETE FROM longrun_schema;
             INSERT INTO longrun_schema VALUES ({version}, {compatible_with});
             COMMIT"
        )
    }
}

/// Refuses a database that a newer program has upgraded since this one started to a schema that this one must not
/// write.
pub(super) async fn check_compatible(session: &Session) -> Result<(), StoreError> {
    match version(session).await? {
        Some((version, compatible_with)) if compatible_with > VERSION => {
            Err(StoreError::Unavailable(format!(
                "the database has schema version {version}, and this longrun knows versions up to {VERSION}: use the \
                 newer longrun"
            )))
        }
        Some(_) => Ok(()),
        None => Err(StoreError::Unavailable("the database has no longrun schema".to_owned())),
    }
}

/// Whether the schema is current; an error if the database cannot be used at all.
fn is_enough(found: Option<(i32, i32)>, server: &Server) -> Result<bool, OpenError> {
    let Some((version, compatible_with)) = found else { return Ok(false) };
    if compatible_with > VERSION {
        return Err(OpenError::NewerSchema {
            path: server.name.clone(),
            found: u32::try_from(version).unwrap_or_default(),
            known: VERSION as u32,
        });
    }
    Ok(version >= VERSION)
}

async fn version(session: &Session) -> Result<Option<(i32, i32)>, tokio_postgres::Error> {
    let is_there = "SELECT to_regclass('longrun_schema') IS NOT NULL";
    let is_there: bool = session.client.query_one(is_there, &[]).await?.try_get(0)?;
    if !is_there {
        return Ok(None);
    }
    let numbers = "SELECT version, compatible_with FROM longrun_schema";
    let found = session.client.query_opt(numbers, &[]).await?;
    found.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
}

async fn has_tables(session: &Session) -> Result<bool, tokio_postgres::Error> {
    let sql = "SELECT bool_or(to_regclass(name) IS NOT NULL)
               FROM unnest(ARRAY['operations', 'events', 'sessions', 'labels', 'objects']) AS name";
    session.client.query_one(sql, &[]).await?.try_get(0)
}

async fn check_server(session: &Session, server: &Server) -> Result<(), OpenError> {
    let failed = |reason: String| OpenError::Failed { path: server.name.clone(), reason };
    let sql = "SELECT current_setting('server_version_num')::integer,
                 current_setting('server_version'), current_setting('server_encoding')";
    let row = session.client.query_one(sql, &[]).await;
    let row = row.map_err(|error| failed(describe(&error)))?;
    let (number, name, encoding): (i32, &str, &str) = (row.get(0), row.get(1), row.get(2));
    if number < OLDEST_SERVER {
        return Err(failed(format!("it is PostgreSQL {name}, and longrun needs 14 or later")));
    }
    if encoding != "UTF8" {
        return Err(failed(format!("its encoding is {encoding}, and longrun needs UTF8")));
    }
    Ok(())
}
