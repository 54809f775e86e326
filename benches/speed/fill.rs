//! Stores with many operations, written past the server.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::bail;
use bytes::Bytes;

use longrun::engine::Ids;
use longrun::operation::transition::submit;
use longrun::operation::{
    Attempt, Command, Decision, Event, Kind, Operation, OperationId, Payload, PayloadForm,
    Reporter, SessionId, Settings, Submission, TenantId, Timestamp, WorkerId, decide,
};
use longrun::store::sqlite::{SqliteOptions, SqliteStore};
use longrun::store::{Batch, Store as _, Write};

const BATCH: u64 = 4_000;
const PAYLOAD: usize = 300;
/// Kinds over which they are spread.
const KINDS: u64 = 4;

/// In which state they are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Queued,
    Finished,
}

/// Writes `count` operations of the last hours into a store; answers the ids of some.
pub(crate) async fn fill(
    directory: &Path,
    count: u64,
    left: Left,
) -> anyhow::Result<Vec<OperationId>> {
    let path = directory.join("longrun.db");
    let store = SqliteStore::open(&path, &SqliteOptions::default())?;
    let ids = Ids::default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros() as i64;
    let begin = now - count as i64 * 1_000;
    let mut some = Vec::new();
    for first in (0..count).step_by(BATCH as usize) {
        let mut batch = Batch::default();
        for number in first..(first + BATCH).min(count) {
            let at = Timestamp::from_micros(begin + number as i64 * 1_000);
            let id = ids.operation(at);
            if number % (count / 1_000).max(1) == 0 {
                some.push(id);
            }
            add(&mut batch, id, number, at, left)?;
        }
        store.commit(batch).await?;
    }
    store.close().await;
    Ok(some)
}

/// How many bytes the store takes, with its log.
pub(crate) fn bytes(directory: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

fn add(
    batch: &mut Batch,
    id: OperationId,
    number: u64,
    at: Timestamp,
    left: Left,
) -> anyhow::Result<()> {
    let payload = |mark: u8| Bytes::from(vec![mark; PAYLOAD]);
    let (input, result) = (payload(1), Payload::new(PayloadForm::Data, "", payload(2)));
    let submission = Submission {
        id,
        tenant: TenantId::default_tenant(),
        kind: Kind::parse(&format!("fill-{}", number % KINDS))?,
        labels: BTreeMap::new(),
        settings: Settings::default(),
        created_at: at,
        start_at: at,
        idempotency: None,
        retry_of: None,
        parent: None,
        trace: None,
        callback: None,
        input: Some(result.info.clone()),
    };
    let (mut operation, event_type) = submit(Arc::new(submission));
    batch.events.push((id, Event { event_type, life: operation.life.clone() }));
    if left == Left::Finished {
        let session = SessionId::from_bytes([1; 16]);
        let acquire = Command::Acquire { session, worker: WorkerId::parse("worker-1")? };
        let reporter = Reporter { attempt: Attempt(1), session, former: None };
        let complete = Command::complete(reporter, Some(&result), Vec::new(), Vec::new());
        for command in [acquire, complete] {
            let later = operation.life.updated_at.after(Duration::from_millis(1));
            let Decision::Change(event) = decide(&operation, &command, None, later)? else {
                bail!("{command:?} changes nothing");
            };
            operation =
                Operation { submission: operation.submission.clone(), life: event.life.clone() };
            batch.events.push((id, *event));
        }
    }
    batch.writes.push(Write {
        expected: None,
        input: Some(input),
        result: (left == Left::Finished).then_some(result.data),
        operation,
    });
    Ok(())
}
