//! The schema's versions and how a file gets from one to the next.

use rusqlite::{Connection, TransactionBehavior};

/// Marks a file as ours in SQLite's header: "LRun".
pub(super) const APPLICATION_ID: u32 = 0x4c52_756e;

/// The scripts, each of which leads from the version of its position to the next.
const MIGRATIONS: [&str; 4] = [
    include_str!("../migrations/sqlite/0001_initial.sql"),
    include_str!("../migrations/sqlite/0002_tombstones.sql"),
    include_str!("../migrations/sqlite/0003_objects.sql"),
    include_str!("../migrations/sqlite/0004_log.sql"),
];

/// The newest version that this program knows.
pub(super) const VERSION: u32 = MIGRATIONS.len() as u32;

/// The version that the file has; 0 before the first script.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Runs the scripts that the file has not seen, each in a transaction of its own that also raises
/// the version: a crash leaves the file at a version, never between two.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    let found = version(connection)?;
    for (script, version) in MIGRATIONS.iter().zip(1_u32..) {
        if version > found {
            let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            change.execute_batch(script)?;
            change.pragma_update(None, "application_id", APPLICATION_ID)?;
            change.pragma_update(None, "user_version", version)?;
            change.commit()?;
        }
    }
    Ok(())
}
