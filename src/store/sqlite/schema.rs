//! The schema's versions and their upgrades.

use rusqlite::{Connection, TransactionBehavior};

/// Marks a file as longrun's in SQLite's header: "LRun".
pub(super) const APPLICATION_ID: u32 = 0x4c52_756e;

/// The scripts; each upgrades from its position in the list to the next version.
const MIGRATIONS: [&str; 11] = [
    include_str!("../migrations/sqlite/0001_initial.sql"),
    include_str!("../migrations/sqlite/0002_tombstones.sql"),
    include_str!("../migrations/sqlite/0003_objects.sql"),
    include_str!("../migrations/sqlite/0004_log.sql"),
    include_str!("../migrations/sqlite/0005_changes.sql"),
    include_str!("../migrations/sqlite/0006_catalogue.sql"),
    include_str!("../migrations/sqlite/0007_lean.sql"),
    include_str!("../migrations/sqlite/0008_webhooks.sql"),
    include_str!("../migrations/sqlite/0009_deliveries.sql"),
    include_str!("../migrations/sqlite/0010_children.sql"),
    include_str!("../migrations/sqlite/0011_batches.sql"),
];

/// The newest version that this program knows.
pub(super) const VERSION: u32 = MIGRATIONS.len() as u32;

/// The file's version; 0 before the first script.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Runs the missing scripts, each in a transaction of its own that also raises the version: a crash leaves the file at
/// a version, never between two.
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

#[cfg(test)]
mod tests {
    use super::super::commits;
    use super::*;
    use crate::operation::{OperationId, Revision};

    #[test]
    fn changes_of_before_move_to_their_commits() {
        let mut connection = Connection::open_in_memory().unwrap();
        for script in &MIGRATIONS[..4] {
            connection.execute_batch(script).unwrap();
        }
        let rows = "PRAGMA user_version = 4;
            INSERT INTO writers VALUES (2, 7, 0, 0, NULL);
            INSERT INTO commits VALUES (2, 9, 0);
            INSERT INTO events VALUES
              (x'00000000000000000000000000000001', 300, 1, x'', 2, 8),
              (x'00000000000000000000000000000001', 301, 1, x'', 2, 9),
              (x'00000000000000000000000000000002', 1, 1, x'', 2, 9),
              (x'00000000000000000000000000000003', 1, 1, x'', 1, 9),
              (x'00000000000000000000000000000004', 1, 1, x'', NULL, NULL);";
        connection.execute_batch(rows).unwrap();
        migrate(&mut connection).unwrap();
        let mut statement = connection.prepare("SELECT * FROM commits").unwrap();
        let found = statement.query_map([], |row| {
            let changes: Vec<u8> = row.get(3)?;
            let mut changes: Vec<(OperationId, Revision)> = commits::decode(&changes).collect();
            changes.sort_unstable();
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, changes))
        });
        let found: Vec<_> = found.unwrap().map(Result::unwrap).collect();
        // The forgotten writer's commits are never looked up.
        let at =
            |id: u128, revision| (OperationId::from_bytes(id.to_be_bytes()), Revision(revision));
        let expected: [(i64, i64, bool, Vec<_>); 2] =
            [(2, 8, false, vec![at(1, 300)]), (2, 9, false, vec![at(1, 301), at(2, 1)])];
        assert_eq!(found, expected);
        let events = "SELECT count(*) FROM events";
        assert_eq!(connection.query_row(events, [], |row| row.get::<_, i64>(0)).unwrap(), 5);
    }
}
